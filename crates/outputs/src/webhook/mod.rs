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

mod template;

use std::sync::Arc;
use std::time::Duration;

use aviary_event::Event;
use aviary_output::{Blueprint, Delivery, DeliveryError, Entry, Failure, LineFormat, Output, Rejection};
use reqwest::header::{CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde_json::Value;

use crate::http::{Http, address, judge};
use crate::options::{Options, whole_of, wrong};
use template::Template;
pub(crate) use template::{encode as encode_form, plain, write_json};

/// HTTP requests.
pub(crate) static ENTRY: Entry = Entry {
    name: "webhook",
    classes: &["opencanary.logger.WebhookHandler"],
    summary: "an HTTP request for each event",
    options: &[
        "template",
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
    let lines = LineFormat::with_text(blueprint)?;
    Ok(Box::new(Webhook {
        url: url(options)?,
        method: method(options)?,
        template: Template::new(options.get("data"), json)?,
        expected: expected(options)?,
        ignore: ignore(options)?,
        plain_lines: lines.plain(),
        lines,
        auth: auth(options)?,
        http: Http::new(options)?,
        lifecycle: options.flag("lifecycle", false)?,
        headers,
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
    http: Http,
    lifecycle: bool,
}

/// Status codes that count as success.
#[derive(Clone, Debug, PartialEq)]
enum Expected {
    /// Any from 200 to 299.
    Success,
    /// These.
    Exactly(Vec<u16>),
}

impl Expected {
    fn holds(&self, status: u16) -> bool {
        match self {
            Self::Success => (200..300).contains(&status),
            Self::Exactly(codes) => codes.contains(&status),
        }
    }
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

    fn time_limit(&self) -> Duration {
        self.http.time_limit()
    }
}

impl Webhook {
    async fn send(&mut self, event: &Event) -> Result<(), DeliveryError> {
        let client = self.http.client().await?;
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
        let answer = self.http.send(request.body(body.text)).await?;
        if self.expected.holds(answer.status) {
            return Ok(());
        }
        Err(judge(answer.status, &answer.headers, &answer.body))
    }
}

fn url(options: Options<'_>) -> Result<Url, Rejection> {
    let text = options.needed_text("url", "https://alerts.example/hook")?;
    let mut url = address("url", text, "https://alerts.example/hook")?;
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
