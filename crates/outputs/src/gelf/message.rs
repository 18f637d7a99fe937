//! GELF 1.1: what a message says.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use aviary_event::{Event, Value, write_json_string};
use aviary_output::{Blueprint, LineFormat, Rejection};

use crate::subject::{Subject, bounded, ip, plain, port, syslog_severity};

/// Longest value of an additional field, bytes. Graylog stores such a field as one term, Lucene's
/// longest term has 32,766 bytes, and a message with a longer one is not stored at all.
const LONGEST: usize = 32_766;

/// Most members of `logdata` that become fields; an index has 1,000 unless told otherwise.
const MOST: usize = 100;

/// Deepest object in `logdata` whose members become fields of their own.
const DEEPEST: usize = 8;

/// Turns events into messages.
#[derive(Debug)]
pub(super) struct Encoder {
    lines: LineFormat,
    node_id: String,
}

impl Encoder {
    pub(super) fn new(blueprint: &Blueprint<'_>) -> Result<Self, Rejection> {
        Ok(Self { lines: LineFormat::with_template(blueprint)?, node_id: blueprint.node_id.to_owned() })
    }

    /// One JSON object, in ASCII and without control characters.
    pub(super) fn encode(&self, event: &Event) -> String {
        let subject = Subject(event);
        let node = event.node_id.as_deref().unwrap_or(&self.node_id);
        let mut out = String::with_capacity(2048);
        out.push_str(r#"{"version":"1.1","host":"#);
        write_json_string(&mut out, if node.is_empty() { "opencanary" } else { node });
        out.push_str(r#","short_message":"#);
        write_json_string(&mut out, &self.lines.template_text(event).unwrap_or_else(|| subject.headline()));
        out.push_str(r#","full_message":"#);
        write_json_string(&mut out, &self.lines.format_line(event));
        if let Some(micros) = subject.micros() {
            let sign = if micros < 0 { "-" } else { "" };
            let micros = micros.unsigned_abs();
            let _ = write!(out, r#","timestamp":{sign}{}.{:06}"#, micros / 1_000_000, micros % 1_000_000);
        }
        let _ = write!(out, r#","level":{}"#, syslog_severity(event.severity()));
        for (name, value) in fields(event) {
            let _ = write!(out, r#","_{name}":"#);
            match value {
                Datum::Number(number) => {
                    let _ = write!(out, "{number}");
                }
                Datum::Text(text) => write_json_string(&mut out, bounded(&text, LONGEST)),
            }
        }
        out.push('}');
        out
    }
}

enum Datum {
    Number(i64),
    Text(String),
}

/// Additional fields by name. A name always has values of one type, since an index takes the first
/// type that it sees and then no other: what is in `logdata` is text.
fn fields(event: &Event) -> BTreeMap<String, Datum> {
    let subject = Subject(event);
    let mut fields = BTreeMap::new();
    let mut text = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            fields.insert(name.to_owned(), Datum::Text(value));
        }
    };
    let ours = event.aviary.as_ref();
    text("kind", Some(event.class().word().to_owned()));
    text("service", Some(subject.service().to_owned()));
    // `_id` is not allowed.
    text("event_id", ours.map(|ours| ours.id.to_string()));
    text("session", ours.and_then(|ours| ours.session.clone()));
    text("technique", ours.map(|ours| ours.technique.join(",")));
    text("honeycred", event.honeycred.map(|planted| planted.to_string()));
    for (name, origin) in [("src", subject.source()), ("dst", subject.destination())] {
        text(&format!("{name}_host"), origin.map(|origin| origin.host.clone()));
        text(&format!("{name}_ip"), origin.and_then(ip).map(|ip| ip.to_string()));
    }
    for (name, value) in ours.iter().flat_map(|ours| &ours.more) {
        if let Value::Map(map) = value {
            map.iter()
                .for_each(|(key, value)| text(&format!("{}_{}", plainly(name), plainly(key)), Some(plain(value))));
        } else {
            text(&plainly(name), Some(plain(value)));
        }
    }
    let mut known = Vec::new();
    flatten("", &event.logdata, DEEPEST, &mut known);
    for (name, value) in known {
        text(&format!("logdata{name}"), Some(value));
    }
    let mut number = |name: &str, value: Option<i64>| {
        if let Some(value) = value {
            fields.insert(name.to_owned(), Datum::Number(value));
        }
    };
    number("logtype", event.logtype);
    number("seq", ours.and_then(|ours| i64::try_from(ours.seq).ok()));
    number("src_port", subject.source().and_then(port).map(i64::from));
    number("dst_port", subject.destination().and_then(port).map(i64::from));
    fields
}

fn flatten(name: &str, value: &Value, levels: usize, found: &mut Vec<(String, String)>) {
    match value {
        _ if found.len() >= MOST => {}
        Value::Null => {}
        Value::Map(map) if levels > 0 => {
            for (key, value) in map {
                flatten(&format!("{name}_{}", plainly(key)), value, levels - 1, found);
            }
        }
        other => found.push((name.to_owned(), plain(other))),
    }
}

/// A name as GELF takes it: letters, digits, `_`, `-` and `.`; no dots, which Elasticsearch reads as
/// objects inside objects.
fn plainly(key: &str) -> String {
    key.chars().take(100).map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, Value as Json};

    fn encode(line: &str) -> Json {
        let options = Map::new();
        let blueprint =
            Blueprint { name: "g", options: &options, format: "%(message)s", extended: true, node_id: "node" };
        let encoder = Encoder::new(&blueprint).expect("a good format");
        let text = encoder.encode(&Event::parse(line).expect("an event"));
        assert!(text.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{text}");
        serde_json::from_str(&text).expect("JSON")
    }

    #[test]
    fn writes_every_field_of_an_event() {
        let line = r#"{"aviary": {"fingerprint": {"ja4": "t13d"}, "id": "01990000-0000-7000-8000-000000000001", "kind": "login", "raw": {"USERNAME": "/w=="}, "seq": 7, "service": "ftp", "session": "aa", "src_mac": "02:00:00:00:00:66", "technique": ["T1110"], "time": "2026-11-22T22:00:01.000010+00:00"}, "dst_host": "192.0.2.1", "dst_port": "21", "honeycred": true, "logdata": {"HEADERS": {"via.x": ["a", "b"]}, "PORT": 5, "USERNAME": "\\xff"}, "logtype": 2000, "node_id": "n", "src_host": "192.0.2.7", "src_port": 40000}"#;
        let expected = format!(
            r#"{{"version":"1.1","host":"n","short_message":{},"full_message":{},"timestamp":1795384801.000010,"level":1,
            "_dst_host":"192.0.2.1","_dst_ip":"192.0.2.1","_dst_port":21,"_event_id":"01990000-0000-7000-8000-000000000001",
            "_fingerprint_ja4":"t13d","_honeycred":"true","_kind":"login","_logdata_HEADERS_via_x":"[\"a\", \"b\"]",
            "_logdata_PORT":"5","_logdata_USERNAME":"\\xff","_logtype":2000,"_seq":7,"_service":"ftp","_session":"aa",
            "_src_host":"192.0.2.7","_src_ip":"192.0.2.7","_src_mac":"02:00:00:00:00:66","_src_port":40000,"_technique":"T1110"}}"#,
            Json::from(r#"login on ftp by "\\xff" from 192.0.2.7"#),
            Json::from(line),
        );
        let expected: Json = serde_json::from_str(&expected).expect("JSON");
        assert_eq!(encode(line), expected);
    }

    #[test]
    fn has_the_three_fields_that_must_be_there_whatever_comes() {
        for line in ["{}", r#"{"node_id": "", "logtype": 1001, "logdata": {"msg": {"logdata": "x"}}}"#] {
            let message = encode(line);
            for field in ["version", "host", "short_message"] {
                assert!(message[field].as_str().is_some_and(|text| !text.is_empty()), "{field} of {line}");
            }
        }
        assert_eq!(encode("{}")["host"], "node");
    }

    #[test]
    fn names_no_field_as_it_must_not_be_named() {
        let message = encode(r#"{"logdata": {"": 1, "a b/ä.c": {"": {"id": "x"}}, "n": null}}"#);
        let names: Vec<_> =
            message.as_object().expect("an object").keys().filter(|name| name.starts_with('_')).collect();
        assert_eq!(names, ["_kind", "_logdata_", "_logdata_a_b___c__id", "_service"]);
    }

    #[test]
    fn bounds_fields_and_their_number() {
        let many: Vec<_> = (0..300).map(|n| format!("\"k{n:03}\": \"v\"")).collect();
        let line = format!(r#"{{"logdata": {{"0": "{}", {}}}}}"#, "ä".repeat(40_000), many.join(", "));
        let message = encode(&line);
        assert_eq!(message["_logdata_0"].as_str().map(str::len), Some(LONGEST));
        let fields = message.as_object().expect("an object").keys().filter(|name| name.starts_with("_logdata")).count();
        assert_eq!(fields, MOST);
        assert!(message["full_message"].as_str().is_some_and(|text| text.contains("k299")));
    }
}
