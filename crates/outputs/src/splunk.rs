//! `aviary.splunk`: Splunk's HTTP Event Collector.
//!
//! | key | meaning |
//! |---|---|
//! | `url` | `https://splunk.example:8088`; the path is added when there is none |
//! | `token` | the collector's token |
//! | `ack` | whether to wait until the events are indexed; the token must be one with acknowledgement; `false` |
//! | `ack_timeout` | seconds until unacknowledged events are sent again; 60 |
//! | `index`, `source`, `sourcetype` | where they go and what they are; the token's index, `aviary`, `aviary:event` |
//! | `format` | `native` (the event's line), `ecs` or `ocsf`; `native` |
//! | `batch` | most events a request, 1 to 10000; 256, with `ack` 2000, since each waits for its acknowledgement |
//! | `verify`, `timeout` | as for every HTTP output |
//!
//! A request holds a batch of objects, one after the other: `{"time": 1795384801.000000, "host": NODE,
//! "source": ..., "sourcetype": ..., "event": {...}}`. The event is an object, not text.
//!
//! With `ack` the requests go out on a channel of their own, a GUID made at start, and the answer's
//! `ackId` is asked for at `/services/collector/ack` until it is true; only then are the events
//! delivered. Without it an answer means that Splunk has them in memory.
//!
//! Refused are events that the collector cannot read (its codes 5, 6, 12, 13 and 15, and 413); of a
//! batch with such an event each is sent alone, so that the others arrive. A wrong token, index
//! or channel can be mended, and the events wait.
//!
//! LIMIT: events sent again after a lost answer are indexed twice; `aviary.id` tells. Not tried with
//! Splunk: a receiver written from the reference checks the requests. Reference:
//! <https://docs.splunk.com/Documentation/Splunk/latest/Data/TroubleshootHTTPEventCollector>.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use aviary_event::{Event, write_json_string};
use aviary_output::{Blueprint, Delivery, DeliveryError, Entry, Failure, LineFormat, Output, Rejection};
use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use uuid::{Builder, Uuid};

use crate::http::{Answer, Http, address, authorization, below, quoted, try_again};
use crate::options::Options;
use crate::subject::{Subject, strict_line};
use crate::worker::temporary;

/// Splunk.
pub(crate) static ENTRY: Entry = Entry {
    name: "splunk",
    classes: &["aviary.splunk"],
    summary: "batches to Splunk's HTTP Event Collector, acknowledged if asked",
    options: &[
        "url",
        "token",
        "ack",
        "ack_timeout",
        "index",
        "source",
        "sourcetype",
        "format",
        "batch",
        "verify",
        "timeout",
    ],
    build,
};

/// The collector's steps for events.
const STEPS: &[&str] = &["services", "collector", "event"];

/// Bytes of a request after which no further event is added; a collector takes 1 MB unless told otherwise.
const FULL: usize = 800_000;

/// The first wait between two questions for an acknowledgement; each is half as long again, up to the last.
const FIRST_QUESTION: Duration = Duration::from_millis(100);
const LAST_QUESTION: Duration = Duration::from_secs(5);

fn build(blueprint: &Blueprint<'_>) -> Result<Box<dyn Output>, Rejection> {
    let options = Options(blueprint.options);
    let base =
        address("url", options.needed_text("url", "https://splunk.example:8088")?, "https://splunk.example:8088")?;
    let mut headers = HeaderMap::new();
    authorization(options, "token", "Splunk", &mut headers)?;
    if headers.is_empty() {
        return Err(Rejection::new("token", "is missing; it takes the collector's token"));
    }
    let url = if base.path() == "/" { below(&base, STEPS) } else { base };
    let ack = options.flag("ack", false)?;
    let channel = ack.then(channel).transpose()?;
    Ok(Box::new(Splunk {
        questions: questions(&url, channel),
        url,
        headers,
        channel,
        encoder: Encoder::new(blueprint)?,
        patience: options.seconds("ack_timeout")?.unwrap_or(Duration::from_secs(60)),
        batch: usize::try_from(options.whole("batch", if ack { 2000 } else { 256 }, 1, 10_000)?).unwrap_or(256),
        http: Http::new(options)?,
    }))
}

/// A name for a channel that nobody else has.
fn channel() -> Result<Uuid, Rejection> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)
        .map_err(|error| Rejection::new("ack", format!("needs a random channel, and the system has none: {error}")))?;
    Ok(Builder::from_random_bytes(random).into_uuid())
}

/// Where acknowledgements are asked for: beside where events are sent.
fn questions(url: &Url, channel: Option<Uuid>) -> Url {
    let mut url = url.clone();
    let steps: Vec<_> = url.path().split('/').map(str::to_owned).collect();
    let kept = steps.iter().position(|step| step == "collector").map_or(steps.len(), |at| at + 1);
    let path = steps.get(..kept).unwrap_or_default().join("/");
    url.set_path(&format!("{path}/ack"));
    if let Some(channel) = channel {
        url.set_query(Some(&format!("channel={channel}")));
    }
    url
}

/// What the event itself looks like.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    Native,
    Ecs,
    Ocsf,
}

/// Turns events into the collector's objects.
#[derive(Debug)]
struct Encoder {
    form: Form,
    extended: bool,
    /// Everything but time, host and event.
    rest: String,
}

impl Encoder {
    fn new(blueprint: &Blueprint<'_>) -> Result<Self, Rejection> {
        let options = Options(blueprint.options);
        // The event goes as an object, so the formatter is only checked.
        let extended = LineFormat::new(blueprint)?.extended();
        let form = match options.choice("format", &["native", "ecs", "ocsf"])? {
            Some("ecs") => Form::Ecs,
            Some("ocsf") => Form::Ocsf,
            _ => Form::Native,
        };
        let mut rest = String::new();
        for (key, default) in [("source", Some("aviary")), ("sourcetype", Some("aviary:event")), ("index", None)] {
            if let Some(text) = options.name(key)?.or(default) {
                let _ = write!(rest, ", \"{key}\": ");
                write_json_string(&mut rest, text);
            }
        }
        Ok(Self { form, extended, rest })
    }

    fn encode(&self, event: &Event) -> String {
        let subject = Subject(event);
        let mut out = String::with_capacity(1024);
        out.push('{');
        if let Some(micros) = subject.micros().filter(|micros| *micros >= 0) {
            let _ = write!(out, "\"time\": {}.{:06}, ", micros / 1_000_000, micros % 1_000_000);
        }
        out.push_str("\"host\": ");
        write_json_string(&mut out, subject.node());
        out.push_str(&self.rest);
        out.push_str(", \"event\": ");
        out.push_str(&match self.form {
            Form::Native => strict_line(event, self.extended),
            Form::Ecs => event.to_ecs(),
            Form::Ocsf => event.to_ocsf(),
        });
        out.push('}');
        out
    }
}

struct Splunk {
    url: Url,
    questions: Url,
    headers: HeaderMap,
    channel: Option<Uuid>,
    encoder: Encoder,
    patience: Duration,
    batch: usize,
    http: Http,
}

/// What became of a request.
enum Outcome {
    Taken,
    /// Something in it is not to the collector's liking.
    Unreadable(String),
}

impl Splunk {
    async fn send(&mut self, body: String) -> Result<Outcome, DeliveryError> {
        let client = self.http.client().await?;
        let mut request = client.post(self.url.clone()).headers(self.headers.clone());
        request = request.header(CONTENT_TYPE, "application/json");
        if let Some(channel) = self.channel {
            request = request.header("X-Splunk-Request-Channel", channel.to_string());
        }
        let answer = self.http.send(request.body(body)).await?;
        let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if !(200..300).contains(&answer.status) {
            return judge(&answer, &said);
        }
        match (self.channel, said.get("ackId").and_then(Value::as_u64)) {
            (None, _) => Ok(Outcome::Taken),
            (Some(_), Some(id)) => self.acknowledged(id).await.map(|()| Outcome::Taken),
            (Some(_), None) => Err(temporary(format!(
                "`ack` is true, but no `ackId` came; has the token acknowledgement? {}",
                quoted(&answer)
            ))),
        }
    }

    /// Asks until the events are indexed.
    async fn acknowledged(&mut self, id: u64) -> Result<(), DeliveryError> {
        let client = self.http.client().await?;
        let until = Instant::now() + self.patience;
        let mut pause = FIRST_QUESTION;
        loop {
            let request = client.post(self.questions.clone()).headers(self.headers.clone());
            let request = request.header(CONTENT_TYPE, "application/json").body(format!("{{\"acks\": [{id}]}}"));
            let answer = self.http.send(request).await?;
            let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            if !(200..300).contains(&answer.status) {
                return Err(try_again(&answer, format!("asked whether events are indexed, {}", quoted(&answer))));
            }
            if said.pointer(&format!("/acks/{id}")) == Some(&Value::Bool(true)) {
                return Ok(());
            }
            if Instant::now() + pause > until {
                return Err(temporary(format!("not acknowledged within {} s", self.patience.as_secs_f32())));
            }
            sleep(pause).await;
            pause = (pause * 3 / 2).min(LAST_QUESTION);
        }
    }
}

/// Codes of the collector that concern an event: no data, invalid format, event missing, event blank,
/// wrong indexed fields.
const UNREADABLE: [u64; 5] = [5, 6, 12, 13, 15];

fn judge(answer: &Answer, said: &Value) -> Result<Outcome, DeliveryError> {
    let code = said.get("code").and_then(Value::as_u64);
    let concerns_event = match (answer.status, code) {
        (413, _) => true,
        (400, Some(code)) => UNREADABLE.contains(&code),
        _ => false,
    };
    if concerns_event { Ok(Outcome::Unreadable(quoted(answer))) } else { Err(try_again(answer, quoted(answer))) }
}

impl Output for Splunk {
    fn deliver<'a>(&'a mut self, batch: &'a [Arc<Event>]) -> Delivery<'a> {
        Box::pin(async move {
            let mut delivered = 0;
            // Once something was not readable, events go one by one.
            let mut alone = false;
            while delivered < batch.len() {
                let mut body = String::new();
                let mut count = 0;
                for event in batch.iter().skip(delivered) {
                    let object = self.encoder.encode(event);
                    if count > 0 && (alone || body.len() + object.len() > FULL) {
                        break;
                    }
                    body.push_str(&object);
                    count += 1;
                }
                match self.send(body).await {
                    Ok(Outcome::Taken) => delivered += count,
                    Ok(Outcome::Unreadable(reason)) if count == 1 => {
                        return Err(Failure { delivered, error: DeliveryError::Refused { reason } });
                    }
                    Ok(Outcome::Unreadable(_)) => alone = true,
                    Err(error) => return Err(Failure { delivered, error }),
                }
            }
            Ok(())
        })
    }

    fn batch_limit(&self) -> usize {
        self.batch
    }

    fn time_limit(&self) -> Duration {
        // A batch may be several requests; the limits of each say what was slow.
        (self.http.time_limit() + if self.channel.is_some() { self.patience } else { Duration::ZERO }) * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, json};

    fn encoder(options: &Value) -> Result<Encoder, Rejection> {
        let empty = Map::new();
        let options = options.as_object().unwrap_or(&empty);
        Encoder::new(&Blueprint { name: "s", options, format: "%(message)s", extended: true, node_id: "n" })
    }

    #[test]
    fn writes_an_object_around_the_event() {
        let line = r#"{"logdata": {"USERNAME": "a\"b"}, "logtype": 2000, "node_id": "n\u00e4", "utc_time": "2026-11-22 22:00:01.000020"}"#;
        let event = Event::parse(line).expect("an event");
        let encode = |options| encoder(&options).expect("good").encode(&event);
        let head = r#"{"time": 1795384801.000020, "host": "n\u00e4", "source": "aviary", "sourcetype": "aviary:event""#;
        assert_eq!(encode(json!({})), format!("{head}, \"event\": {line}}}"));
        let options = json!({"index": "canary", "source": "s", "sourcetype": "t", "format": "ecs"});
        let head =
            r#"{"time": 1795384801.000020, "host": "n\u00e4", "source": "s", "sourcetype": "t", "index": "canary""#;
        assert_eq!(encode(options), format!("{head}, \"event\": {}}}", event.to_ecs()));
        assert!(encode(json!({"format": "ocsf"})).ends_with(&format!("\"event\": {}}}", event.to_ocsf())));
    }

    #[test]
    fn asks_beside_where_it_sends() {
        let channel = Uuid::from_u128(1);
        for (url, expected) in [
            ("https://h:8088/services/collector/event", "https://h:8088/services/collector/ack"),
            ("https://h/x/services/collector", "https://h/x/services/collector/ack"),
        ] {
            let url = questions(&Url::parse(url).expect("an address"), Some(channel));
            assert_eq!(url.as_str(), format!("{expected}?channel={channel}"));
        }
    }
}
