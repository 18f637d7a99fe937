//! `aviary.clickhouse`: rows of a ClickHouse table, over HTTP.
//!
//! | key | meaning |
//! |---|---|
//! | `url` | `http://clickhouse.example:8123` |
//! | `database`, `table` | `default`, `aviary_events` |
//! | `user`, `password` | `default`, none |
//! | `settings` | an object of ClickHouse settings for the insert |
//! | `batch` | most rows an insert, 1 to 10000; 1000 |
//! | `verify`, `timeout` | as for every HTTP output |
//!
//! A batch is one `INSERT INTO table (columns) FORMAT JSONEachRow`. `async_insert` is off, so an answer
//! means that the rows are stored, and `insert_deduplication_token` is the first and the last id of
//! the batch, so the same batch sent again is stored once. A batch that is put together anew after a
//! restart has another token; the table of `docs/outputs` then keeps the last row of each id
//! (`ReplacingMergeTree`, read with `FINAL`).
//!
//! Columns: `id`, `seq`, `time`, `node_id`, `logtype`, `kind`, `service`, `session`, `src_host`, `src_port`,
//! `dst_host`, `dst_port`, `honeycred`, `technique`, `logdata` (JSON text) and `event` (the whole line).
//! A column that the table does not have is left out by the server, and one that has a default may
//! be missing here.
//!
//! Refused are rows that ClickHouse cannot read into the columns' types or that break a constraint; of
//! a batch with such a row each goes alone. A missing table, a wrong password or too many parts
//! can be mended, and the rows wait.
//!
//! Tried with ClickHouse's engine 26.9 (chDB). Reference: <https://clickhouse.com/docs/interfaces/http>.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use aviary_event::{Event, Timestamp, write_json_string};
use aviary_output::{Blueprint, Delivery, DeliveryError, Entry, Failure, LineFormat, Output, Rejection, moment};
use jiff::tz::TimeZone;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::Value;
use uuid::Uuid;

use crate::http::{Http, address, quoted, try_again};
use crate::options::{Options, wrong};
use crate::subject::{json, port};

/// ClickHouse.
pub(crate) static ENTRY: Entry = Entry {
    name: "clickhouse",
    classes: &["aviary.clickhouse"],
    summary: "rows of a ClickHouse table, inserted over HTTP",
    options: &["url", "database", "table", "user", "password", "settings", "batch", "verify", "timeout"],
    build,
};

/// Columns in the order of the statement.
const COLUMNS: &str = "id, seq, time, node_id, logtype, kind, service, session, src_host, src_port, dst_host, dst_port, \
    honeycred, technique, logdata, event";

/// What an insert has set unless `settings` says otherwise.
const SETTINGS: [(&str, &str); 4] = [
    ("async_insert", "0"),
    ("wait_end_of_query", "1"),
    ("date_time_input_format", "best_effort"),
    ("input_format_skip_unknown_fields", "1"),
];

/// Bytes of a request after which no further row is added.
const FULL: usize = 10_000_000;

/// ClickHouse's codes for what is wrong with a row: `CANNOT_PARSE_*`, `TYPE_MISMATCH`,
/// `INCORRECT_DATA`, `CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN`, `VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE`,
/// `VIOLATED_CONSTRAINT`. Source: `src/Common/ErrorCodes.cpp`.
const UNREADABLE: [u32; 16] = [6, 25, 26, 27, 38, 41, 53, 69, 72, 117, 130, 131, 321, 349, 376, 469];

fn build(blueprint: &Blueprint<'_>) -> Result<Box<dyn Output>, Rejection> {
    let options = Options(blueprint.options);
    let example = "http://clickhouse.example:8123";
    let mut url = address("url", options.needed_text("url", example)?, example)?;
    let (database, table) = (identifier(options, "database")?, identifier(options, "table")?);
    let table = table.unwrap_or_else(|| "`aviary_events`".to_owned());
    let place = database.map_or_else(|| table.clone(), |database| format!("{database}.{table}"));
    let mut settings: Vec<(String, String)> =
        SETTINGS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    if let Some(value) = options.get("settings") {
        let accepted = "an object of settings with text, numbers or flags";
        let Value::Object(map) = value else { return Err(wrong("settings", value, accepted)) };
        for (name, value) in map {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Bool(flag) => u8::from(*flag).to_string(),
                _ => return Err(wrong("settings", value, accepted)),
            };
            settings.retain(|(known, _)| known != name);
            settings.push((name.clone(), text));
        }
    }
    let statement = format!("INSERT INTO {place} ({COLUMNS}) FORMAT JSONEachRow");
    url.query_pairs_mut().append_pair("query", &statement).extend_pairs(settings);
    let mut headers = HeaderMap::new();
    for (key, header) in [("user", "x-clickhouse-user"), ("password", "x-clickhouse-key")] {
        if let Some(value) = options.get(key) {
            // The value is not repeated, since it may be a secret.
            let refused = || Rejection::new(key, "takes text on one line");
            let text = value.as_str().ok_or_else(refused)?;
            let mut value = HeaderValue::from_str(text).map_err(|_| refused())?;
            value.set_sensitive(true);
            headers.insert(header, value);
        }
    }
    Ok(Box::new(ClickHouse {
        url,
        headers,
        extended: LineFormat::new(blueprint)?.extended(),
        batch: usize::try_from(options.whole("batch", 1000, 1, 10_000)?).unwrap_or(1000),
        http: Http::new(options)?,
    }))
}

/// A name in backticks, as it stands in a statement.
fn identifier(options: Options<'_>, key: &str) -> Result<Option<String>, Rejection> {
    let Some(name) = options.name(key)? else { return Ok(None) };
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    if !plain {
        return Err(wrong(key, &Value::from(name), "a name of letters, digits, `_`, `-` and `.`"));
    }
    Ok(Some(format!("`{name}`")))
}

/// One row.
fn encode(event: &Event, extended: bool) -> String {
    let ours = event.aviary.as_ref();
    let mut out = String::with_capacity(1500);
    let text = |out: &mut String, name: &str, value: &str| {
        let _ = write!(out, ",\"{name}\":");
        write_json_string(out, value);
    };
    let _ = write!(out, "{{\"id\":\"{}\"", ours.map_or_else(Uuid::nil, |ours| ours.id));
    let _ = write!(out, ",\"seq\":{}", ours.map_or(0, |ours| ours.seq));
    let time = moment(event).unwrap_or_else(|| Timestamp::from_micros(0)).to_rfc3339(&TimeZone::UTC);
    text(&mut out, "time", &time);
    text(&mut out, "node_id", event.node_id.as_deref().unwrap_or_default());
    let _ = write!(out, ",\"logtype\":{}", event.logtype.unwrap_or(0));
    text(&mut out, "kind", event.class().word());
    text(&mut out, "service", event.service().unwrap_or_default());
    text(&mut out, "session", ours.and_then(|ours| ours.session.as_deref()).unwrap_or_default());
    for (name, origin) in [("src", &event.src), ("dst", &event.dst)] {
        text(&mut out, &format!("{name}_host"), origin.as_ref().map(|origin| origin.host.as_str()).unwrap_or_default());
        let number = origin.as_ref().and_then(port).unwrap_or(0);
        let _ = write!(out, ",\"{name}_port\":{number}");
    }
    let planted = event.honeycred.map_or("null", |planted| if planted { "true" } else { "false" });
    let _ = write!(out, ",\"honeycred\":{planted},\"technique\":[");
    for (n, technique) in ours.iter().flat_map(|ours| &ours.technique).enumerate() {
        out.push_str(if n > 0 { "," } else { "" });
        write_json_string(&mut out, technique);
    }
    out.push(']');
    text(&mut out, "logdata", &json(&event.logdata));
    text(&mut out, "event", &event.to_line(extended));
    out.push_str("}\n");
    out
}

struct ClickHouse {
    url: Url,
    headers: HeaderMap,
    extended: bool,
    batch: usize,
    http: Http,
}

/// What became of an insert.
enum Outcome {
    Stored,
    /// A row in it has what its column cannot take.
    Unreadable(String),
}

impl ClickHouse {
    async fn insert(&mut self, rows: &[Arc<Event>], body: String) -> Result<Outcome, DeliveryError> {
        let mut url = self.url.clone();
        let id = |event: Option<&Arc<Event>>| Some(event?.aviary.as_ref()?.id.to_string());
        if let (Some(first), Some(last)) = (id(rows.first()), id(rows.last())) {
            url.query_pairs_mut().append_pair("insert_deduplication_token", &format!("{first}-{last}"));
        }
        let request = self.http.client().await?.post(url).headers(self.headers.clone());
        let answer = self.http.send(request.body(body)).await?;
        let code = answer.headers.get("x-clickhouse-exception-code").and_then(|code| code.to_str().ok()?.parse().ok());
        match code {
            // An insert's answer has no text: one that has comes from somebody else, or is an exception that came late.
            None if (200..300).contains(&answer.status) && answer.body.trim_ascii().is_empty() => Ok(Outcome::Stored),
            None if (200..300).contains(&answer.status) => {
                Err(try_again(&answer, format!("not an answer to an insert: {}", quoted(&answer))))
            }
            Some(code) if UNREADABLE.contains(&code) => Ok(Outcome::Unreadable(quoted(&answer))),
            _ => Err(try_again(&answer, quoted(&answer))),
        }
    }
}

impl Output for ClickHouse {
    fn deliver<'a>(&'a mut self, batch: &'a [Arc<Event>]) -> Delivery<'a> {
        Box::pin(async move {
            let mut delivered = 0;
            // Once a row was not readable, rows go one by one.
            let mut alone = false;
            while delivered < batch.len() {
                let rest = batch.get(delivered..).unwrap_or_default();
                let mut body = String::new();
                let mut count = 0;
                for event in rest {
                    let row = encode(event, self.extended);
                    if count > 0 && (alone || body.len() + row.len() > FULL) {
                        break;
                    }
                    body.push_str(&row);
                    count += 1;
                }
                match self.insert(rest.get(..count).unwrap_or_default(), body).await {
                    Ok(Outcome::Stored) => delivered += count,
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
        // A batch may be several inserts; the limit of each says what was slow.
        self.http.time_limit() * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_a_row_with_every_column() {
        let line = r#"{"aviary": {"id": "01990000-0000-7000-8000-000000000001", "kind": "login", "seq": 7, "service": "ftp", "session": "aa", "technique": ["T1110", "T1078"], "time": "2026-11-22T22:00:01.000010+00:00"}, "dst_host": "192.0.2.1", "dst_port": "21", "honeycred": false, "logdata": {"USERNAME": "a\"\\\n"}, "logtype": 2000, "node_id": "n", "src_host": "192.0.2.7", "src_port": 40000}"#;
        let event = Event::parse(line).expect("an event");
        let expected = concat!(
            r#"{"id":"01990000-0000-7000-8000-000000000001","seq":7,"time":"2026-11-22T22:00:01.000010+00:00","node_id":"n","logtype":2000,"#,
            r#""kind":"login","service":"ftp","session":"aa","src_host":"192.0.2.7","src_port":40000,"dst_host":"192.0.2.1","#,
            r#""dst_port":21,"honeycred":false,"technique":["T1110","T1078"],"#,
            r#""logdata":"{\"USERNAME\": \"a\\\"\\\\\\n\"}","event":"#,
        );
        assert_eq!(encode(&event, true), format!("{expected}{}}}\n", Value::from(line)));
        let names: Vec<_> = serde_json::from_str::<serde_json::Map<String, Value>>(&encode(&event, true))
            .expect("JSON")
            .keys()
            .cloned()
            .collect();
        assert_eq!(names.join(", "), COLUMNS);
    }

    #[test]
    fn writes_zeros_and_nothing_for_what_is_not_known() {
        let row = encode(&Event::parse("{}").expect("an event"), false);
        let start = r#"{"id":"00000000-0000-0000-0000-000000000000","seq":0,"time":"1970-01-01T00:00:00.000000+00:00","node_id":"","logtype":0,"#;
        assert!(row.starts_with(start) && row.contains(r#""honeycred":null,"technique":[],"logdata":"null""#), "{row}");
    }
}
