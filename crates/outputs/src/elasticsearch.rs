//! `aviary.elasticsearch`: Elasticsearch's and OpenSearch's bulk interface.
//!
//! | key | meaning |
//! |---|---|
//! | `url` | `https://elastic.example:9200` |
//! | `index` | data stream or index; `logs-aviary-default` |
//! | `format` | `ecs`, `ocsf` or `native` (the event's line and `@timestamp`); `ecs` |
//! | `auth` | `["user", "password"]` |
//! | `api_key` | instead: an encoded API key |
//! | `headers` | an object of names and texts |
//! | `pipeline` | name of an ingest pipeline |
//! | `batch` | most events a request, 1 to 1000; 256 |
//! | `verify`, `timeout` | as for every HTTP output |
//!
//! Each event is two lines of `POST /INDEX/_bulk`: `{"create": {"_id": ID}}`, as data streams want it,
//! and the document. The id is the event's own, so one that is sent again meets itself and is answered
//! with 409, which counts as delivered. Each item of the answer is judged for itself: 429, 5xx, and what
//! concerns access or the index (401, 403, 404) are tried again, everything else is a refusal of
//! that event alone. A request that is too large (413) is sent in halves.
//!
//! LIMIT: the same id is the same document within a backing index; after a rollover in between it may
//! stand in two. Not tried with Elasticsearch: a receiver written from the reference checks the
//! requests. References:
//! <https://www.elastic.co/guide/en/elasticsearch/reference/8.17/docs-bulk.html>,
//! <https://docs.opensearch.org/latest/api-reference/document-apis/bulk/>.

use std::sync::Arc;
use std::time::Duration;

use aviary_event::{Event, Timestamp};
use aviary_output::{Blueprint, Delivery, DeliveryError, Entry, Failure, LineFormat, Output, Rejection, moment};
use jiff::tz::TimeZone;
use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::Value;

use crate::http::{Answer, Http, address, authorization, below, headers, judge_access, login, quoted, with_login};
use crate::options::Options;
use crate::subject::{bounded, strict_line};
use crate::worker::temporary;

/// Elasticsearch and OpenSearch.
pub(crate) static ENTRY: Entry = Entry {
    name: "elasticsearch",
    classes: &["aviary.elasticsearch", "aviary.opensearch"],
    summary: "documents to Elasticsearch or OpenSearch in bulk",
    options: &["url", "index", "format", "auth", "api_key", "headers", "pipeline", "batch", "verify", "timeout"],
    build,
};

/// Bytes of a request after which no further event is added.
const FULL: usize = 5_000_000;

/// Bytes of an item's error that are kept.
const REASON: usize = 250;

fn build(blueprint: &Blueprint<'_>) -> Result<Box<dyn Output>, Rejection> {
    let options = Options(blueprint.options);
    let example = "https://elastic.example:9200";
    let base = address("url", options.needed_text("url", example)?, example)?;
    let index = options.name("index")?.unwrap_or("logs-aviary-default");
    let mut url = below(&base, &[index, "_bulk"]);
    if let Some(pipeline) = options.name("pipeline")? {
        url.query_pairs_mut().append_pair("pipeline", pipeline);
    }
    let mut headers = headers(options)?;
    authorization(options, "api_key", "ApiKey", &mut headers)?;
    let login = login(options)?;
    if login.is_some() && options.get("api_key").is_some() {
        return Err(Rejection::new("api_key", "is given, and so is `auth`; one of both is enough"));
    }
    Ok(Box::new(Elasticsearch {
        url,
        headers,
        login,
        encoder: Encoder::new(blueprint)?,
        batch: usize::try_from(options.whole("batch", 256, 1, 1000)?).unwrap_or(256),
        http: Http::new(options)?,
    }))
}

/// What a document looks like.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    Ecs,
    Ocsf,
    Native,
}

/// Turns events into lines of a bulk request.
#[derive(Debug)]
struct Encoder {
    form: Form,
    extended: bool,
}

impl Encoder {
    fn new(blueprint: &Blueprint<'_>) -> Result<Self, Rejection> {
        let form = match Options(blueprint.options).choice("format", &["ecs", "ocsf", "native"])? {
            Some("native") => Form::Native,
            Some("ocsf") => Form::Ocsf,
            _ => Form::Ecs,
        };
        // The event goes as an object, so the formatter is only checked.
        Ok(Self { form, extended: LineFormat::new(blueprint)?.extended() })
    }

    /// Two lines.
    fn encode(&self, event: &Event) -> String {
        let document = match self.form {
            Form::Ecs => event.to_ecs(),
            Form::Ocsf => event.to_ocsf(),
            Form::Native => strict_line(event, self.extended),
        };
        let mut out = match &event.aviary {
            Some(ours) => format!("{{\"create\":{{\"_id\":\"{}\"}}}}\n", ours.id),
            None => "{\"create\":{}}\n".to_owned(),
        };
        match document.strip_prefix('{') {
            // A data stream takes no document without a time; one that says none happened at the beginning.
            Some(rest) if self.form != Form::Ecs || !document.contains("\"@timestamp\": ") => {
                let time = moment(event).unwrap_or_else(|| Timestamp::from_micros(0)).to_rfc3339(&TimeZone::UTC);
                out.push_str(&format!("{{\"@timestamp\": \"{time}\", {rest}"));
            }
            _ => out.push_str(&document),
        }
        out.push('\n');
        out
    }
}

struct Elasticsearch {
    url: Url,
    headers: HeaderMap,
    login: Option<(String, String)>,
    encoder: Encoder,
    batch: usize,
    http: Http,
}

impl Elasticsearch {
    async fn send(&mut self, body: String) -> Result<Answer, DeliveryError> {
        let request = self.http.client().await?.post(self.url.clone()).headers(self.headers.clone());
        let request = with_login(request.header(CONTENT_TYPE, "application/x-ndjson"), self.login.as_ref());
        self.http.send_large(request.body(body)).await
    }
}

/// What became of the items: how many at the head are delivered, and what stopped the next.
fn judge_items(answer: &Answer, count: usize) -> Result<(), Failure> {
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if said.get("errors") == Some(&Value::Bool(false)) {
        return Ok(());
    }
    let Some(items) = said.get("items").and_then(Value::as_array).filter(|items| items.len() == count) else {
        return Err(Failure {
            delivered: 0,
            error: temporary(format!("not an answer of `_bulk`: {}", quoted(answer))),
        });
    };
    for (delivered, item) in items.iter().enumerate() {
        let result = item.as_object().and_then(|item| item.values().next());
        let status = result.and_then(|result| result.get("status")).and_then(Value::as_u64).unwrap_or(0);
        let part = |name: &str| result.and_then(|result| result.pointer(&format!("/error/{name}"))?.as_str());
        let reason = format!("{status} {}: {}", part("type").unwrap_or("?"), part("reason").unwrap_or("?"));
        let reason = bounded(&reason, REASON).to_owned();
        let error = match status {
            // Another one with the same id is this one.
            200..=299 | 409 => continue,
            0 | 401 | 403 | 404 | 429 | 500.. => temporary(reason),
            _ => DeliveryError::Refused { reason },
        };
        return Err(Failure { delivered, error });
    }
    Ok(())
}

impl Output for Elasticsearch {
    fn deliver<'a>(&'a mut self, batch: &'a [Arc<Event>]) -> Delivery<'a> {
        Box::pin(async move {
            let (mut delivered, mut most) = (0, usize::MAX);
            while delivered < batch.len() {
                let mut body = String::new();
                let mut count = 0;
                for event in batch.iter().skip(delivered).take(most) {
                    let lines = self.encoder.encode(event);
                    if count > 0 && body.len() + lines.len() > FULL {
                        break;
                    }
                    body.push_str(&lines);
                    count += 1;
                }
                let answer = self.send(body).await.map_err(|error| Failure { delivered, error })?;
                match answer.status {
                    200..=299 => {
                        let more = |failure: Failure| Failure { delivered: delivered + failure.delivered, ..failure };
                        judge_items(&answer, count).map_err(more)?;
                        delivered += count;
                    }
                    413 if count > 1 => most = count / 2,
                    // One item's refusal is in its item; the whole request is refused for its form, which
                    // only an event alone can be blamed for.
                    400 if count > 1 => most = 1,
                    _ => return Err(Failure { delivered, error: judge_access(&answer) }),
                }
            }
            Ok(())
        })
    }

    fn batch_limit(&self) -> usize {
        self.batch
    }

    fn time_limit(&self) -> Duration {
        // A batch may be several requests; the limit of each says what was slow.
        self.http.time_limit() * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderMap;
    use serde_json::json;

    #[test]
    fn writes_two_lines_an_event() {
        let line = r#"{"aviary": {"id": "01990000-0000-7000-8000-000000000001", "kind": "login", "seq": 1, "service": "ftp", "time": "2026-11-22T22:00:01.000000+00:00"}, "logdata": {"USERNAME": "a\n"}, "logtype": 2000}"#;
        let event = Event::parse(line).expect("an event");
        let encode = |form| Encoder { form, extended: true }.encode(&event);
        let action = "{\"create\":{\"_id\":\"01990000-0000-7000-8000-000000000001\"}}\n";
        assert_eq!(encode(Form::Ecs), format!("{action}{}\n", event.to_ecs()));
        let time = "{\"@timestamp\": \"2026-11-22T22:00:01.000000+00:00\", ";
        assert_eq!(encode(Form::Native), format!("{action}{time}{}\n", &line[1..]));
        assert_eq!(encode(Form::Ocsf), format!("{action}{time}{}\n", &event.to_ocsf()[1..]));
        assert_eq!(event.to_ecs().matches("\"@timestamp\": ").count(), 1);
    }

    #[test]
    fn gives_a_time_to_what_has_none() {
        let event = Event::parse("{}").expect("an event");
        let text = Encoder { form: Form::Ecs, extended: true }.encode(&event);
        let start = "{\"create\":{}}\n{\"@timestamp\": \"1970-01-01T00:00:00.000000+00:00\", ";
        assert!(
            text.starts_with(start) && serde_json::from_str::<Value>(text.lines().last().unwrap()).is_ok(),
            "{text}"
        );
    }

    #[test]
    fn judges_each_item_for_itself() {
        let item = |status: u16| json!({"create": {"status": status, "error": {"type": "t", "reason": "r"}}});
        let judged = |statuses: &[u16]| {
            let body =
                json!({"errors": true, "items": statuses.iter().map(|status| item(*status)).collect::<Vec<_>>()});
            let answer = Answer { status: 200, headers: HeaderMap::new(), body: body.to_string().into_bytes() };
            judge_items(&answer, statuses.len()).map_err(|failure| (failure.delivered, failure.error.to_string()))
        };
        assert_eq!(judged(&[201, 409, 200]), Ok(()));
        assert_eq!(judged(&[201, 409, 429, 400]), Err((2, "429 t: r".to_owned())));
        assert_eq!(judged(&[201, 400, 201]), Err((1, "refused: 400 t: r".to_owned())));
        for status in [401, 403, 404, 500, 503] {
            assert_eq!(judged(&[status]), Err((0, format!("{status} t: r"))));
        }
    }

    #[test]
    fn takes_nothing_for_an_answer_that_is_none() {
        for body in
            ["", "{}", "<html>", r#"{"errors": true, "items": []}"#, r#"{"errors": true, "items": [1, {"x": 2}]}"#]
        {
            let answer = Answer { status: 200, headers: HeaderMap::new(), body: body.as_bytes().to_vec() };
            let failure = judge_items(&answer, 2).expect_err(body);
            assert!(failure.delivered == 0 && matches!(failure.error, DeliveryError::Temporary { .. }), "{body}");
        }
    }
}
