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

mod request;
mod template;

use std::sync::Arc;
use std::time::Duration;

use aviary_event::Event;
use aviary_output::{Blueprint, Delivery, DeliveryError, Entry, Failure, LineFormat, Output, Rejection};
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;

use crate::options::{Options, wrong};
pub(crate) use request::Request;
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
    let request = Request::read(options)?;
    let json = request.headers().iter().any(|(name, value)| {
        let media = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        media.eq_ignore_ascii_case(b"application/json")
            || (name == CONTENT_TYPE && media.to_ascii_lowercase().ends_with(b"+json"))
    });
    let lines = LineFormat::with_text(blueprint)?;
    Ok(Box::new(Webhook {
        request,
        template: Template::new(options.get("data"), json)?,
        ignore: ignore(options)?,
        plain_lines: lines.plain(),
        lines,
        lifecycle: options.flag("lifecycle", false)?,
    }))
}

struct Webhook {
    request: Request,
    template: Template,
    ignore: Vec<String>,
    lines: LineFormat,
    plain_lines: LineFormat,
    lifecycle: bool,
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
        self.request.time_limit()
    }
}

impl Webhook {
    async fn send(&mut self, event: &Event) -> Result<(), DeliveryError> {
        let body = self.template.fill(&self.lines.line(event));
        let id = event.aviary.as_ref().map(|ours| ours.id.hyphenated().to_string());
        self.request.send(body.text.into_bytes(), body.content_type, id.as_deref()).await
    }
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
