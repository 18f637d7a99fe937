//! The event and its compact JSON line.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::tz::{Offset, TimeZone};
use uuid::Uuid;

use crate::json::{from_json, read, write_string, write_value};
use crate::{Class, Kind, LogData, Origin, Port, Timestamp, Value, raw};

/// Why a line is not an event.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// The line is not JSON.
    #[error("not JSON")]
    Json(#[from] serde_json::Error),
    /// The line is JSON, but not an object.
    #[error("not a JSON object")]
    NotAnObject,
    /// A key that the contract fixes has another type.
    #[error("`{key}` is not {expected}")]
    Field {
        /// The key.
        key: &'static str,
        /// What it should have been.
        expected: &'static str,
    },
}

/// Levels of nesting that `logdata` keeps. JSON readers refuse deep nesting, serde_json at 128.
const DEEPEST: usize = 64;

/// What only Aviary knows of an event: the extra top-level object.
#[derive(Clone, Debug, PartialEq)]
pub struct Aviary {
    /// Unique for ever (UUID version 7, of digests version 8); receivers drop what they have seen.
    pub id: Uuid,
    /// Position in this canary's journal, from 1.
    pub seq: u64,
    /// All events of one connection share it.
    pub session: Option<String>,
    /// The imitated service, `ssh`; `aviary` for the canary itself.
    pub service: String,
    /// When it happened.
    pub time: Timestamp,
    /// The class, see [`Class::word`].
    pub kind: String,
    /// MITRE ATT&CK techniques.
    pub technique: Vec<String>,
    /// Members that have no field here: `src_mac`, `fingerprint`, what newer versions add.
    pub more: BTreeMap<String, Value>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Whom the peer reached; `None` if a foreign line did not say.
    pub dst: Option<Origin>,
    /// Who did it.
    pub src: Option<Origin>,
    /// The log type; OpenCanary writes `null` for one error of its own.
    pub logtype: Option<i64>,
    /// What was sent or done.
    pub logdata: Value,
    /// The canary's name.
    pub node_id: Option<String>,
    /// Whether the credential is a planted one, when that could be said.
    pub honeycred: Option<bool>,
    /// OpenCanary's `local_time`: UTC, in spite of its name.
    pub local_time: Option<String>,
    /// Local time.
    pub local_time_adjusted: Option<String>,
    /// UTC.
    pub utc_time: Option<String>,
    /// Ours; `None` for lines of other canaries.
    pub aviary: Option<Aviary>,
    /// Top-level keys that the contract does not name, such as `level`.
    pub more: BTreeMap<String, Value>,
}

impl Event {
    /// A new event of ours. `zone` is the canary's local time zone.
    ///
    /// LIMIT: what is nested deeper than 64 levels is kept as its JSON text, so that every line can
    /// be read back.
    #[must_use]
    #[expect(clippy::too_many_arguments, reason = "one call site, in the reporter; each is a field of the contract")]
    pub fn new(
        kind: Kind,
        logdata: LogData,
        id: Uuid,
        time: Timestamp,
        zone: &TimeZone,
        node_id: &str,
        service: &str,
        session: Option<&str>,
        src: Origin,
        dst: Origin,
    ) -> Self {
        let utc = time.to_opencanary(&TimeZone::UTC);
        Self {
            dst: Some(dst),
            src: Some(src),
            logtype: Some(kind.number),
            logdata: Value::from(logdata).flattened_below(DEEPEST),
            node_id: Some(node_id.to_owned()),
            honeycred: None,
            local_time: Some(utc.clone()),
            local_time_adjusted: Some(time.to_opencanary(zone)),
            utc_time: Some(utc),
            aviary: Some(Aviary {
                id,
                seq: 0,
                session: session.map(str::to_owned),
                service: service.to_owned(),
                time,
                kind: kind.class.word().to_owned(),
                technique: kind.technique.iter().map(|t| (*t).to_owned()).collect(),
                more: BTreeMap::new(),
            }),
            more: BTreeMap::new(),
        }
    }

    /// Whether the event is about the canary itself and not about a peer.
    #[must_use]
    pub fn is_lifecycle(&self) -> bool {
        match &self.aviary {
            Some(ours) => ours.kind == Class::Lifecycle.word(),
            None => self.logtype.is_some_and(|number| (1000..=1005).contains(&number)),
        }
    }

    /// The imitated service, if known.
    #[must_use]
    pub fn service(&self) -> Option<&str> {
        self.aviary.as_ref().map(|ours| ours.service.as_str())
    }

    /// The line without its newline; `extended` adds the `aviary` object.
    #[must_use]
    pub fn to_line(&self, extended: bool) -> String {
        let mut line = String::with_capacity(512);
        self.write_line(&mut line, extended);
        line
    }

    /// Appends the line without its newline.
    pub fn write_line(&self, out: &mut String, extended: bool) {
        let mut members = Members { out, more: self.more.iter().peekable(), first: true };
        members.out.push('{');
        if extended && let Some(ours) = &self.aviary {
            members.key("aviary");
            self.write_aviary(members.out, ours);
        }
        members.origin("dst_host", "dst_port", self.dst.as_ref());
        if let Some(flag) = self.honeycred {
            members.value("honeycred", &Value::Bool(flag));
        }
        members.text("local_time", self.local_time.as_deref());
        members.text("local_time_adjusted", self.local_time_adjusted.as_deref());
        members.value("logdata", &self.logdata);
        members.value("logtype", &self.logtype.map_or(Value::Null, Value::Int));
        members.text("node_id", self.node_id.as_deref());
        members.origin("src_host", "src_port", self.src.as_ref());
        members.text("utc_time", self.utc_time.as_deref());
        members.rest();
        out.push('}');
    }

    fn write_aviary(&self, out: &mut String, ours: &Aviary) {
        let mut members = Members { out, more: ours.more.iter().peekable(), first: true };
        members.out.push('{');
        members.key("id");
        let _ = write!(members.out, "\"{}\"", ours.id.hyphenated());
        members.text("kind", Some(&ours.kind));
        if raw::is_needed(&self.logdata) {
            members.value("raw", &Value::Map(raw::collect(&self.logdata)));
        }
        members.key("seq");
        let _ = write!(members.out, "{}", ours.seq);
        members.text("service", Some(&ours.service));
        members.text("session", ours.session.as_deref());
        if !ours.technique.is_empty() {
            members.key("technique");
            for (n, technique) in ours.technique.iter().enumerate() {
                members.out.push_str(if n == 0 { "[" } else { ", " });
                write_string(members.out, technique);
            }
            members.out.push(']');
        }
        let local = self.local_time_adjusted.as_deref().and_then(|reading| ours.time.offset_of(reading));
        members.key("time");
        members.out.push('"');
        ours.time.write_rfc3339(members.out, local.unwrap_or(Offset::UTC));
        members.out.push('"');
        members.rest();
        out.push('}');
    }

    /// Reads a line: ours, OpenCanary's, or that of a program that writes the same keys.
    ///
    /// # Errors
    /// When the line is no JSON object, or a key of the contract has a type it never has.
    pub fn parse(line: &str) -> Result<Self, ParseError> {
        let serde_json::Value::Object(map) = read(line)? else {
            return Err(ParseError::NotAnObject);
        };
        let mut map: BTreeMap<String, Value> = map.into_iter().map(|(k, v)| (k, from_json(v))).collect();
        let mut logdata = map.remove("logdata").unwrap_or(Value::Null);
        let aviary = match map.remove("aviary") {
            Some(Value::Map(ours)) => Some(parse_aviary(ours, &mut logdata)?),
            Some(_) => return Err(ParseError::Field { key: "aviary", expected: "an object" }),
            None => None,
        };
        Ok(Self {
            dst: take_origin(&mut map, "dst_host", "dst_port")?,
            src: take_origin(&mut map, "src_host", "src_port")?,
            logtype: match map.remove("logtype") {
                Some(Value::Int(number)) => Some(number),
                Some(Value::Null) | None => None,
                Some(_) => return Err(ParseError::Field { key: "logtype", expected: "a number" }),
            },
            logdata,
            node_id: take_text(&mut map, "node_id")?,
            honeycred: match map.remove("honeycred") {
                Some(Value::Bool(flag)) => Some(flag),
                None => None,
                Some(_) => return Err(ParseError::Field { key: "honeycred", expected: "true or false" }),
            },
            local_time: take_text(&mut map, "local_time")?,
            local_time_adjusted: take_text(&mut map, "local_time_adjusted")?,
            utc_time: take_text(&mut map, "utc_time")?,
            aviary,
            more: map,
        })
    }
}

/// Writes members in order and slips the unnamed ones in where they sort.
struct Members<'a, I: Iterator<Item = (&'a String, &'a Value)>> {
    out: &'a mut String,
    more: std::iter::Peekable<I>,
    first: bool,
}

impl<'a, I: Iterator<Item = (&'a String, &'a Value)>> Members<'a, I> {
    fn raw_key(&mut self, key: &str) {
        if !self.first {
            self.out.push_str(", ");
        }
        self.first = false;
        write_string(self.out, key);
        self.out.push_str(": ");
    }

    fn key(&mut self, key: &str) {
        while let Some((other, value)) = self.more.next_if(|(other, _)| other.as_str() < key) {
            self.raw_key(other);
            write_value(self.out, value);
        }
        self.raw_key(key);
    }

    fn value(&mut self, key: &str, value: &Value) {
        self.key(key);
        write_value(self.out, value);
    }

    fn text(&mut self, key: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.key(key);
            write_string(self.out, text);
        }
    }

    fn origin(&mut self, host: &str, port: &str, origin: Option<&Origin>) {
        let Some(origin) = origin else { return };
        self.text(host, Some(&origin.host));
        self.key(port);
        match &origin.port {
            Port::Number(number) => {
                let _ = write!(self.out, "{number}");
            }
            Port::Text(text) => write_string(self.out, text),
        }
    }

    fn rest(&mut self) {
        while let Some((key, value)) = self.more.next() {
            self.raw_key(key);
            write_value(self.out, value);
        }
    }
}

fn parse_aviary(mut ours: BTreeMap<String, Value>, logdata: &mut Value) -> Result<Aviary, ParseError> {
    if let Some(Value::Map(raw)) = ours.remove("raw") {
        for (path, value) in raw {
            raw::restore(logdata, &path, &value)
                .ok_or(ParseError::Field { key: "aviary.raw", expected: "paths of `logdata` with base64" })?;
        }
    }
    let id = take_text(&mut ours, "id")?.and_then(|text| Uuid::try_parse(&text).ok());
    let time = take_text(&mut ours, "time")?.and_then(|text| Timestamp::parse_rfc3339(&text));
    let seq = match ours.remove("seq") {
        Some(Value::Int(number)) => u64::try_from(number).ok(),
        _ => None,
    };
    let technique = match ours.remove("technique") {
        Some(Value::List(items)) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    Ok(Aviary {
        id: id.ok_or(ParseError::Field { key: "aviary.id", expected: "a UUID" })?,
        seq: seq.ok_or(ParseError::Field { key: "aviary.seq", expected: "a whole number" })?,
        session: take_text(&mut ours, "session")?,
        service: take_text(&mut ours, "service")?.unwrap_or_default(),
        time: time.ok_or(ParseError::Field { key: "aviary.time", expected: "RFC 3339" })?,
        kind: take_text(&mut ours, "kind")?.unwrap_or_default(),
        technique,
        more: ours,
    })
}

fn take_text(map: &mut BTreeMap<String, Value>, key: &'static str) -> Result<Option<String>, ParseError> {
    match map.remove(key) {
        Some(Value::Text(text)) => Ok(Some(text)),
        None => Ok(None),
        Some(_) => Err(ParseError::Field { key, expected: "text" }),
    }
}

fn take_origin(
    map: &mut BTreeMap<String, Value>,
    host: &'static str,
    port: &'static str,
) -> Result<Option<Origin>, ParseError> {
    let host = take_text(map, host)?;
    let number = match map.remove(port) {
        Some(Value::Int(number)) => Some(Port::Number(number)),
        Some(Value::Text(text)) => Some(Port::Text(text)),
        None => None,
        Some(_) => return Err(ParseError::Field { key: port, expected: "a number or text" }),
    };
    Ok(match (host, number) {
        (None, None) => None,
        (host, port) => Some(Origin { host: host.unwrap_or_default(), port: port.unwrap_or(Port::Number(-1)) }),
    })
}
