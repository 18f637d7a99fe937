//! Chat and push services: one message an event, in the vendor's own form.
//!
//! | key | meaning |
//! |---|---|
//! | `template` | the message's text, with `%(summary)s`, `%(details)s`, `%(message)s`, `%(username)s` and others; headline and facts if missing |
//! | `per_minute` | most messages in a minute; the vendor's own limit if it names one, else 0, which is none |
//! | `verify`, `timeout` | as in `opencanary.logger.WebhookHandler` |
//! | `lifecycle` | whether events about the canary itself are sent too; `false` |
//!
//! Beside these each vendor's file names its own keys. A vendor encodes (pure) and judges the answer,
//! since some say 200 to everything and put an error code into the body. What peers sent is escaped
//! for the vendor's markup, so that nobody on the network can mention a channel, set a link or break
//! out of a line; what is invisible is shown as an escape. Texts are cut at the vendor's limit, facts
//! last; the whole event is in the journal and in the outputs that are logs.
//!
//! LIMIT: these services know no idempotent requests, so an event whose answer was lost appears
//! twice; its id is in the text and, as `Idempotency-Key`, in the header.

mod alert;
mod alertmanager;
mod dingtalk;
mod discord;
mod feishu;
pub(crate) mod headline;
mod markup;
mod mattermost;
mod ntfy;
mod pushover;
mod slack;
mod teams;
mod telegram;
mod template;
mod verdict;
mod wecom;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use aviary_event::Event;
use aviary_output::{Blueprint, Delivery, DeliveryError, Failure, LineFormat, Output, Rejection};
use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use crate::http::{Answer, Http, address};
use crate::options::Options;
use alert::Alert;
use template::Words;
use verdict::Verdict;

pub(crate) use alertmanager::ENTRY as ALERTMANAGER;
pub(crate) use dingtalk::ENTRY as DINGTALK;
pub(crate) use discord::ENTRY as DISCORD;
pub(crate) use feishu::{ENTRY as FEISHU, hmac_base64};
pub(crate) use mattermost::ENTRY as MATTERMOST;
pub(crate) use ntfy::ENTRY as NTFY;
pub(crate) use pushover::ENTRY as PUSHOVER;
pub(crate) use slack::ENTRY as SLACK;
pub(crate) use teams::ENTRY as TEAMS;
pub(crate) use telegram::ENTRY as TELEGRAM;
pub(crate) use wecom::ENTRY as WECOM;

/// A chat or push service.
trait Vendor: Send + Sync + 'static {
    /// The request for an event; pure. `now` is for signatures.
    fn encode(&self, alert: &Alert<'_>, now: jiff::Timestamp) -> Post;

    /// What the answer means.
    fn judge(&self, answer: &Answer) -> Verdict {
        verdict::by_status(answer)
    }

    /// What must not appear in logs; addresses are left out anyway.
    fn secrets(&self) -> Vec<&str>;
}

/// A request, always `POST`.
#[derive(Debug)]
struct Post {
    url: Url,
    headers: HeaderMap,
    content_type: &'static str,
    body: String,
}

impl Post {
    fn json(url: Url, body: &Value) -> Self {
        Self { url, headers: HeaderMap::new(), content_type: "application/json", body: body.to_string() }
    }
}

/// One minute, over which messages are counted.
const MINUTE: Duration = Duration::from_secs(60);

/// Shortest secret that is looked for in errors; a shorter one may be part of any word.
const SECRET: usize = 6;

struct Chat {
    vendor: Box<dyn Vendor>,
    lines: LineFormat,
    http: Http,
    lifecycle: bool,
    /// Most messages in a minute; 0 is no limit.
    per_minute: usize,
    /// When the latest were sent, at most `per_minute` of them.
    sent: VecDeque<Instant>,
}

/// Builds the output of a vendor. `per_minute` is the limit that the vendor documents.
fn build(
    blueprint: &Blueprint<'_>,
    per_minute: u64,
    make: impl FnOnce(Options<'_>, Words) -> Result<Box<dyn Vendor>, Rejection>,
) -> Result<Box<dyn Output>, Rejection> {
    let options = Options(blueprint.options);
    let per_minute = options.whole("per_minute", per_minute, 0, 6000)?;
    Ok(Box::new(Chat {
        lines: LineFormat::new(blueprint)?,
        http: Http::new(options)?,
        lifecycle: options.flag("lifecycle", false)?,
        per_minute: usize::try_from(per_minute).unwrap_or(usize::MAX),
        sent: VecDeque::new(),
        vendor: make(options, Words::new(options)?)?,
    }))
}

impl Output for Chat {
    fn deliver<'a>(&'a mut self, batch: &'a [Arc<Event>]) -> Delivery<'a> {
        Box::pin(async move {
            for (delivered, event) in batch.iter().enumerate() {
                self.send(event).await.map_err(|error| Failure { delivered, error })?;
            }
            Ok(())
        })
    }

    fn takes_lifecycle(&self) -> bool {
        self.lifecycle
    }

    /// One, so that a time limit never cuts between messages that arrived and messages that did not.
    fn batch_limit(&self) -> usize {
        1
    }

    fn time_limit(&self) -> Duration {
        let pause = if self.per_minute > 0 { MINUTE } else { Duration::ZERO };
        self.http.time_limit() + pause
    }
}

impl Chat {
    async fn send(&mut self, event: &Event) -> Result<(), DeliveryError> {
        self.pause().await;
        let alert = Alert::new(event, self.lines.line(event), self.lines.extended());
        // The moment of sending, which signatures are about.
        let post = self.vendor.encode(&alert, jiff::Timestamp::now());
        let client = self.http.client().await?;
        let mut request = client.post(post.url).headers(post.headers).header(CONTENT_TYPE, post.content_type);
        if let Some(ours) = &event.aviary {
            request = request.header("Idempotency-Key", ours.id.hyphenated().to_string());
        }
        let answer = self.http.send(request.body(post.body)).await?;
        if self.per_minute > 0 {
            self.sent.push_back(Instant::now());
        }
        self.vendor.judge(&self.without_secrets(answer))
    }

    /// Waits until one more message stays within the limit. Nothing is lost when the wait is given up.
    async fn pause(&mut self) {
        while self.sent.len() >= self.per_minute.max(1) {
            if let Some(oldest) = self.sent.front() {
                sleep_until(*oldest + MINUTE).await;
            }
            self.sent.pop_front();
        }
    }

    /// Takes out what only the handler's owner knows: some vendors repeat the address or the key.
    fn without_secrets(&self, mut answer: Answer) -> Answer {
        let secrets = self.vendor.secrets();
        let secrets = secrets.iter().filter(|secret| secret.len() >= SECRET);
        let mut text = String::from_utf8_lossy(&answer.body).into_owned();
        for secret in secrets {
            text = text.replace(secret, "…");
        }
        answer.body = text.into_bytes();
        answer
    }
}

/// The address of an incoming webhook, which is itself the secret.
fn webhook_url(options: Options<'_>, example: &str) -> Result<Url, Rejection> {
    address("webhook_url", options.needed_text("webhook_url", example)?, example)
}

/// The parts of an address that may be its secret: long parts of its path, long values of its query.
/// The keys of all vendors are longer than the words of their paths.
fn secrets_of(url: &Url) -> Vec<&str> {
    let path = url.path_segments().into_iter().flatten();
    let query = url.query().into_iter().flat_map(|query| query.split('&'));
    let parts = path.chain(query.filter_map(|pair| pair.split_once('=').map(|(_, value)| value)));
    parts.filter(|part| part.len() >= 16).collect()
}

/// The path of an address with more appended, whether it ends in a slash or not.
fn below(base: &Url, path: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    url
}

/// A header's value that is a secret.
fn secret_header(option: &str, text: &str) -> Result<HeaderValue, Rejection> {
    let mut value =
        HeaderValue::from_str(text).map_err(|_| Rejection::new(option, "holds what cannot stand in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Basic authentication as a header; `auth` is `["user", "password"]`, `token` a bearer token.
fn authorization(options: Options<'_>) -> Result<Option<HeaderValue>, Rejection> {
    use base64::Engine as _;
    if let Some(token) = options.text("token")? {
        return secret_header("token", &format!("Bearer {token}")).map(Some);
    }
    let Some(value) = options.get("auth") else { return Ok(None) };
    match value.as_array().map(Vec::as_slice) {
        Some([Value::String(user), Value::String(password)]) => {
            let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
            secret_header("auth", &format!("Basic {pair}")).map(Some)
        }
        _ => Err(Rejection::new("auth", "takes `[\"user\", \"password\"]`")),
    }
}

/// Short text of the file that the vendor shows, such as a name.
fn label(options: Options<'_>, key: &str) -> Result<Option<String>, Rejection> {
    match options.text(key)? {
        Some(text) if text.is_empty() || text.len() > 200 || text.chars().any(char::is_control) => {
            Err(Rejection::new(key, "is empty, too long or no plain text; it takes at most 200 bytes on one line"))
        }
        text => Ok(text.map(str::to_owned)),
    }
}

/// Keys that every vendor knows.
macro_rules! keys {
    ($($key:literal),*) => {
        &[$($key,)* "template", "per_minute", "verify", "timeout", "lifecycle"]
    };
}
use keys;

#[cfg(test)]
mod tests;
