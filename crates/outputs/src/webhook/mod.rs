//! `opencanary.logger.WebhookHandler`: one HTTP request an event.
//!
//! | key | meaning |
//! |---|---|
//! | `url` | where to; `http` or `https` |
//! | `method` | `POST` if missing |
//! | `data` | the body: text, object or list, with `%(message)s` anywhere; `{"message": "%(message)s"}` if missing |
//! | `status_code` | number or list of numbers that mean success; any 2xx if missing |
//! | `ignore` | events whose line holds one of these texts are not sent |
//! | `headers`, `params`, `cookies` | objects of names and values |
//! | `auth` | `["user", "password"]` for basic authentication |
//! | `verify` | `false` trusts any certificate, a path names the only trusted ones (PEM); `true` |
//! | `timeout` | seconds, or `[connecting, answering]`; 10 |
//! | `lifecycle` | whether events about the canary itself are sent too; `false` |
//!
//! As in OpenCanary the body is JSON when a header's value is `application/json`, and a form or plain
//! text otherwise; other spellings of that media type in `Content-Type` count here as well. Each
//! request carries the event's id in `Idempotency-Key`, since an event whose answer was lost is sent
//! again. `ignore` looks at the line as OpenCanary writes it, without the `aviary` object, so that a
//! list written for OpenCanary hides nothing more here.
//!
//! LIMIT: redirects are not followed, proxies come from the environment (`HTTPS_PROXY`). Tried with
//! Python's http.server. Reference: <https://docs.python-requests.org/en/latest/api/>.

mod answer;
mod template;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aviary_event::Event;
use aviary_output::{Blueprint, Delivery, DeliveryError, Entry, Failure, LineFormat, Output, Rejection};
use reqwest::header::{CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Client, Method, Url};
use serde_json::Value;

use crate::options::{Options, seconds_of, whole_of, wrong};
use crate::worker::temporary;
use answer::{Expected, QUOTED, judge};
use template::{Template, plain};

/// HTTP requests.
pub(crate) static ENTRY: Entry = Entry {
    name: "webhook",
    classes: &["opencanary.logger.WebhookHandler"],
    summary: "an HTTP request for each event",
    options: &[
        "url",
        "method",
        "data",
        "status_code",
        "ignore",
        "headers",
        "params",
        "cookies",
        "auth",
        "verify",
        "timeout",
        "allow_redirects",
        "lifecycle",
    ],
    build,
};

/// Arguments of Python's `requests` that OpenCanary would pass on and that have no meaning here.
const UNSUPPORTED: &[&str] = &["proxies", "cert", "files", "json", "stream", "hooks"];

/// Times that a request may take, when the file does not say.
const CONNECTING: Duration = Duration::from_secs(5);
const ANSWERING: Duration = Duration::from_secs(10);

/// Bytes of an answer that are read so that the connection can be used again.
const READ: usize = 64 * 1024;

/// Who we say we are, unless `headers` says otherwise.
const AGENT: &str = concat!("aviary/", env!("CARGO_PKG_VERSION"));

fn build(blueprint: &Blueprint<'_>) -> Result<Box<dyn Output>, Rejection> {
    let options = Options(blueprint.options);
    if let Some(key) = UNSUPPORTED.iter().find(|key| options.get(key).is_some()) {
        return Err(Rejection::new(*key, "is an argument of Python's `requests` that is not supported"));
    }
    if options.flag("allow_redirects", false)? {
        return Err(Rejection::new("allow_redirects", "is true; redirects are not followed, give the final `url`"));
    }
    let headers = headers(options)?;
    let json = headers.iter().any(|(name, value)| {
        let media = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        media.eq_ignore_ascii_case(b"application/json")
            || (name == CONTENT_TYPE && media.to_ascii_lowercase().ends_with(b"+json"))
    });
    let lines = LineFormat::new(blueprint)?;
    let (connecting, answering) = timeouts(options)?;
    Ok(Box::new(Webhook {
        url: url(options)?,
        method: method(options)?,
        template: Template::new(options.get("data"), json)?,
        expected: expected(options)?,
        ignore: ignore(options)?,
        plain_lines: lines.plain(),
        lines,
        auth: auth(options)?,
        trust: trust(options)?,
        connecting,
        answering,
        lifecycle: options.flag("lifecycle", false)?,
        headers,
        client: None,
    }))
}

struct Webhook {
    url: Url,
    method: Method,
    headers: HeaderMap,
    template: Template,
    expected: Expected,
    ignore: Vec<String>,
    lines: LineFormat,
    plain_lines: LineFormat,
    auth: Option<(String, String)>,
    trust: Trust,
    connecting: Duration,
    answering: Duration,
    lifecycle: bool,
    /// Made at the first delivery, since it reads certificates.
    client: Option<Client>,
}

/// Whose certificates are trusted.
#[derive(Clone, Debug, PartialEq)]
enum Trust {
    System,
    Anybody,
    File(PathBuf),
}

impl Output for Webhook {
    fn deliver<'a>(&'a mut self, batch: &'a [Arc<Event>]) -> Delivery<'a> {
        Box::pin(async move {
            for (delivered, event) in batch.iter().enumerate() {
                self.send(event).await.map_err(|error| Failure { delivered, error })?;
            }
            Ok(())
        })
    }

    fn wants(&self, event: &Event) -> bool {
        if self.ignore.is_empty() {
            return true;
        }
        let line = self.plain_lines.line(event);
        !self.ignore.iter().any(|text| line.contains(text))
    }

    fn takes_lifecycle(&self) -> bool {
        self.lifecycle
    }

    /// One, so that a time limit never cuts between events that arrived and events that did not.
    fn batch_limit(&self) -> usize {
        1
    }

    /// More than a request may take, so that the request's own limit says what was slow.
    fn time_limit(&self) -> Duration {
        self.connecting + self.answering + Duration::from_secs(5)
    }
}

impl Webhook {
    async fn send(&mut self, event: &Event) -> Result<(), DeliveryError> {
        let client = self.client().await?;
        let body = self.template.fill(&self.lines.line(event));
        let mut request = client.request(self.method.clone(), self.url.clone()).headers(self.headers.clone());
        if let Some(content_type) = body.content_type.filter(|_| !self.headers.contains_key(CONTENT_TYPE)) {
            request = request.header(CONTENT_TYPE, content_type);
        }
        if let Some(ours) = event.aviary.as_ref().filter(|_| !self.headers.contains_key("idempotency-key")) {
            request = request.header("Idempotency-Key", ours.id.hyphenated().to_string());
        }
        if let Some((user, password)) = &self.auth {
            request = request.basic_auth(user, Some(password));
        }
        let mut answer = request.body(body.text).send().await.map_err(|error| unsent(&error))?;
        let status = answer.status().as_u16();
        let mut said = Vec::new();
        // The body only explains; an answer that breaks off in it is an answer all the same.
        while let Ok(Some(piece)) = answer.chunk().await {
            said.extend_from_slice(&piece);
            if said.len() >= READ {
                break;
            }
        }
        if self.expected.holds(status) {
            return Ok(());
        }
        said.truncate(QUOTED);
        Err(judge(status, answer.headers(), &said))
    }

    async fn client(&mut self) -> Result<Client, DeliveryError> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let builder = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(AGENT)
            .connect_timeout(self.connecting)
            .timeout(self.connecting + self.answering)
            .tcp_keepalive(Duration::from_secs(60))
            .pool_max_idle_per_host(1);
        let trust = self.trust.clone();
        // Reading the certificates of the system or of a file takes milliseconds or, on a bad disk, longer.
        let made = tokio::task::spawn_blocking(move || match trust {
            Trust::System => builder.build().map_err(|error| error.to_string()),
            Trust::Anybody => builder.tls_danger_accept_invalid_certs(true).build().map_err(|error| error.to_string()),
            Trust::File(path) => {
                let pem = std::fs::read(&path).map_err(|error| format!("`{}`: {error}", path.display()))?;
                let certificates = Certificate::from_pem_bundle(&pem)
                    .ok()
                    .filter(|found| !found.is_empty())
                    .ok_or_else(|| format!("`{}` holds no PEM certificate", path.display()))?;
                builder.tls_certs_only(certificates).build().map_err(|error| error.to_string())
            }
        });
        let client = match made.await {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => return Err(temporary(format!("cannot set up TLS: {error}"))),
            Err(error) => return Err(temporary(format!("cannot set up TLS: {error}"))),
        };
        self.client = Some(client.clone());
        Ok(client)
    }
}

/// Why no answer came. The address is left out, since it often holds a secret.
fn unsent(error: &reqwest::Error) -> DeliveryError {
    let mut reason = match (error.is_timeout(), error.is_connect()) {
        (true, true) => "no connection within the time limit".to_owned(),
        (true, false) => "no answer within the time limit".to_owned(),
        (false, true) => "cannot connect".to_owned(),
        (false, false) => "cannot send".to_owned(),
    };
    // The last of the causes is the one that people can act on.
    let mut cause = std::error::Error::source(error);
    let mut last = None;
    while let Some(error) = cause {
        last = Some(error.to_string());
        cause = error.source();
    }
    if let Some(last) = last {
        reason.push_str(": ");
        reason.push_str(&last);
    }
    temporary(reason)
}

fn url(options: Options<'_>) -> Result<Url, Rejection> {
    let text = options.needed_text("url", "https://alerts.example/hook")?;
    let mut url = Url::parse(text.trim())
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| wrong("url", &Value::from(text), "an address such as `https://alerts.example/hook`"))?;
    if let Some(params) = options.get("params") {
        let Value::Object(params) = params else { return Err(wrong("params", params, "an object")) };
        let mut pairs = url.query_pairs_mut();
        for (name, value) in params {
            let values = match value {
                Value::Array(values) => values.as_slice(),
                one => std::slice::from_ref(one),
            };
            for text in values.iter().filter_map(plain) {
                pairs.append_pair(name, &text);
            }
        }
    }
    Ok(url)
}

fn method(options: Options<'_>) -> Result<Method, Rejection> {
    let text = options.text("method")?.unwrap_or("POST");
    let method = Method::from_bytes(text.to_ascii_uppercase().as_bytes());
    method.map_err(|_| wrong("method", &Value::from(text), "an HTTP method such as `POST` or `PUT`"))
}

fn headers(options: Options<'_>) -> Result<HeaderMap, Rejection> {
    let mut headers = HeaderMap::new();
    if let Some(value) = options.get("headers") {
        let Value::Object(map) = value else { return Err(wrong("headers", value, "an object of names and texts")) };
        for (name, value) in map {
            let known = HeaderName::from_bytes(name.as_bytes());
            let text = plain(value).and_then(|text| HeaderValue::from_str(&text).ok());
            let (Ok(known), Some(mut text)) = (known, text) else {
                return Err(Rejection::new(format!("headers.{name}"), "is not a header's name and text on one line"));
            };
            text.set_sensitive(true);
            headers.insert(known, text);
        }
    }
    if let Some(value) = options.get("cookies") {
        let Value::Object(map) = value else { return Err(wrong("cookies", value, "an object of names and texts")) };
        let pairs: Vec<String> =
            map.iter().filter_map(|(name, value)| Some(format!("{name}={}", plain(value)?))).collect();
        if !pairs.is_empty() {
            let mut text = HeaderValue::from_str(&pairs.join("; "))
                .map_err(|_| Rejection::new("cookies", "hold what cannot stand in a header"))?;
            text.set_sensitive(true);
            headers.insert(COOKIE, text);
        }
    }
    Ok(headers)
}

fn expected(options: Options<'_>) -> Result<Expected, Rejection> {
    let Some(value) = options.get("status_code") else { return Ok(Expected::Success) };
    let codes = match value {
        Value::Array(codes) => codes.as_slice(),
        one => std::slice::from_ref(one),
    };
    let read = |code| whole_of(code).and_then(|code| u16::try_from(code).ok()).filter(|code| (100..600).contains(code));
    let codes: Option<Vec<u16>> = codes.iter().map(read).collect();
    let codes = codes.filter(|codes| !codes.is_empty());
    codes
        .map(Expected::Exactly)
        .ok_or_else(|| wrong("status_code", value, "a status code such as 200, or a list of them"))
}

fn ignore(options: Options<'_>) -> Result<Vec<String>, Rejection> {
    let Some(value) = options.get("ignore") else { return Ok(Vec::new()) };
    let texts = match value {
        Value::Array(texts) => texts.as_slice(),
        one => std::slice::from_ref(one),
    };
    let texts: Option<Vec<String>> = texts.iter().map(|text| text.as_str().map(str::to_owned)).collect();
    // An empty text is part of every line and would silence the output.
    texts
        .filter(|texts| !texts.iter().any(String::is_empty))
        .ok_or_else(|| wrong("ignore", value, "a list of texts, none of them empty"))
}

fn auth(options: Options<'_>) -> Result<Option<(String, String)>, Rejection> {
    let Some(value) = options.get("auth") else { return Ok(None) };
    match value.as_array().map(Vec::as_slice) {
        Some([Value::String(user), Value::String(password)]) => Ok(Some((user.clone(), password.clone()))),
        // The value is not repeated, since it is a secret.
        _ => Err(Rejection::new("auth", "takes `[\"user\", \"password\"]`")),
    }
}

fn trust(options: Options<'_>) -> Result<Trust, Rejection> {
    match options.get("verify") {
        None | Some(Value::Bool(true)) => Ok(Trust::System),
        Some(Value::Bool(false)) => Ok(Trust::Anybody),
        Some(Value::String(path)) if !path.is_empty() => Ok(Trust::File(PathBuf::from(path))),
        Some(other) => Err(wrong("verify", other, "true, false, or the path of a PEM file")),
    }
}

fn timeouts(options: Options<'_>) -> Result<(Duration, Duration), Rejection> {
    match options.get("timeout").and_then(Value::as_array).map(Vec::as_slice) {
        Some([connecting, answering]) => Ok((seconds_of("timeout", connecting)?, seconds_of("timeout", answering)?)),
        _ => {
            let answering = options.seconds("timeout")?.unwrap_or(ANSWERING);
            Ok((answering.min(CONNECTING), answering))
        }
    }
}
