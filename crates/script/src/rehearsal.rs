//! Rehearsals: a transcript of what a peer sends in, what comes of it out. No socket, no clock.
//!
//! A transcript has a line for each thing, in order:
//!
//! ```text
//! # a remark
//! > what the peer sends, with \r \n \t \\ and \xNN
//! < what is sent back
//! ! 99000 {"LOGDATA": "of an event"}
//! ~ 250 (a pause, in milliseconds)
//! . (the service closes)
//! = (the peer closes)
//! ```

use std::sync::Arc;

use aviary_event::{Timestamp, Value};
use aviary_service::{Dialogue as _, Facts, Outbox, SessionId, Step};

use crate::dialogue::Scripted;
use crate::manifest::Transport;
use crate::module::Module;
use crate::service::{Running, ScriptService};
use crate::values::write_json;

/// The moment of every rehearsal: 2026-11-22 22:00:00 UTC.
const NOW: i64 = 1_795_384_800_000_000;

/// What a rehearsal gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rehearsal {
    /// What happened, in a transcript's form.
    pub lines: Vec<String>,
    /// What the given transcript says, remarks left out.
    pub expected: Vec<String>,
}

impl Rehearsal {
    /// Whether the given transcript says more than what a peer sends.
    #[must_use]
    pub fn expects_something(&self) -> bool {
        self.expected.iter().any(|line| !line.starts_with(['>', '=']))
    }

    /// The first place where what happened is not what was expected: line number of what happened, from 1,
    /// what was expected there and what happened.
    #[must_use]
    pub fn difference(&self) -> Option<(usize, Option<&str>, Option<&str>)> {
        let most = self.lines.len().max(self.expected.len());
        let pair = |at: usize| (self.expected.get(at).map(String::as_str), self.lines.get(at).map(String::as_str));
        let at = (0..most).find(|at| matches!(pair(*at), (a, b) if a != b))?;
        let (expected, happened) = pair(at);
        Some((at.saturating_add(1), expected, happened))
    }
}

/// Plays a transcript to a module with its defaults.
///
/// # Errors
/// With the line of the transcript that is not one.
pub fn rehearse(module: Module, transcript: &str) -> Result<Rehearsal, String> {
    let mut expected = Vec::new();
    for (at, line) in transcript.lines().enumerate() {
        let read = read(line).map_err(|why| format!("line {}: {why}", at.saturating_add(1)))?;
        expected.extend(read);
    }
    let port = module.manifest.port;
    let is_udp = module.manifest.transport == Transport::Udp;
    let settings = aviary_config::Settings::default();
    let service = ScriptService(Arc::new(Running::new(module, &settings, "srv01")));
    let mut stage = Stage { lines: Vec::new(), closed: false };
    let facts = facts(port);
    let mut dialogue = Scripted::new(Arc::clone(&service.0), &facts);
    if !is_udp {
        stage.act(|out| dialogue.open(out));
    }
    let mut waiting = Vec::new();
    for line in expected.iter().filter(|line| line.starts_with(['>', '='])) {
        stage.lines.push(line.clone());
        let ended = line.starts_with('=');
        let bytes = unescape(content(line)).unwrap_or_default();
        if is_udp {
            let mut out = Outbox::for_datagrams(Timestamp::from_micros(NOW));
            aviary_service::Service::datagram(&service, 0, &facts, &bytes, &mut out);
            stage.write(out);
        } else if !ended {
            waiting.extend(bytes);
            stage.feed(&mut dialogue, &mut waiting);
        }
        if ended || stage.closed {
            break;
        }
    }
    if !is_udp && !stage.closed {
        stage.act(|out| dialogue.ended(&waiting, out));
    }
    // What a peer sends after the end is nobody's, and stays in the transcript to be seen as different.
    Ok(Rehearsal { lines: stage.lines, expected })
}

/// A line in the one form in which two are compared; nothing for a remark.
fn read(line: &str) -> Result<Option<String>, String> {
    let Some(sign) = line.chars().next() else { return Ok(None) };
    let content = content(line);
    Ok(match sign {
        '#' => None,
        '>' | '<' => Some(format!("{sign} {}", escape(&unescape(content)?))),
        '!' => {
            let (number, data) = content.split_once(' ').unwrap_or((content, "{}"));
            let data: serde_json::Value = serde_json::from_str(data).map_err(|error| format!("no JSON: {error}"))?;
            Some(format!("! {number} {}", json(&of_json(&data))))
        }
        '~' => Some(format!("~ {}", content.split(' ').next().unwrap_or_default())),
        '.' | '=' => Some(sign.to_string()),
        _ => return Err("it begins with none of # > < ! ~ . =".to_owned()),
    })
}

pub(crate) fn of_json(value: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match value {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => number.as_i64().map_or_else(|| Value::Text(number.to_string()), Value::Int),
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(items) => Value::List(items.iter().map(of_json).collect()),
        Json::Object(map) => Value::Map(map.iter().map(|(key, value)| (key.clone(), of_json(value))).collect()),
    }
}

struct Stage {
    lines: Vec<String>,
    closed: bool,
}

impl Stage {
    fn act(&mut self, call: impl FnOnce(&mut Outbox)) {
        let mut out = Outbox::new(Timestamp::from_micros(NOW));
        call(&mut out);
        self.write(out);
    }

    fn feed(&mut self, dialogue: &mut Scripted, waiting: &mut Vec<u8>) {
        while !waiting.is_empty() && !self.closed {
            let mut used = 0;
            self.act(|out| used = dialogue.feed(waiting, out).min(waiting.len()));
            waiting.drain(..used);
            if used == 0 {
                break;
            }
        }
    }

    fn write(&mut self, out: Outbox) {
        for step in out.into_steps() {
            match step {
                Step::Reply(bytes) => self.lines.push(format!("< {}", escape(&bytes))),
                Step::Report(kind, data) => self.lines.push(format!("! {} {}", kind.number, json(&data.into()))),
                Step::Pause(time) => self.lines.push(format!("~ {}", time.as_millis())),
                Step::Close { .. } => {
                    self.lines.push(".".to_owned());
                    self.closed = true;
                }
                _ => {}
            }
        }
    }
}

fn facts(port: u16) -> Facts {
    let address = |last: u8, port| std::net::SocketAddr::from(([192, 0, 2, last], port));
    Facts {
        session: SessionId(1),
        peer: address(66, 40_000),
        local: address(7, port),
        transport: aviary_service::Transport::Plain,
        entropy: [7; 32],
        count: 1,
        host_name: Arc::from("srv01"),
    }
}

/// The data as it will stand in the event's line.
pub(crate) fn json(data: &Value) -> String {
    let mut text = String::new();
    write_json(data, &mut text);
    text
}

/// What stands after the sign and one space.
pub(crate) fn content(line: &str) -> &str {
    let mut rest = line.chars();
    rest.next();
    let rest = rest.as_str();
    rest.strip_prefix(' ').unwrap_or(rest)
}

/// Bytes as a transcript writes them: UTF-8 as it is, but for control characters, the backslash, and a space
/// that nobody would see.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\r' => text.push_str("\\r"),
                '\n' => text.push_str("\\n"),
                '\t' => text.push_str("\\t"),
                '\\' => text.push_str("\\\\"),
                c if u32::from(c) < 0x20 || c == '\x7f' => text.push_str(&format!("\\x{:02x}", u32::from(c))),
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    if text.ends_with(' ') {
        text.pop();
        text.push_str("\\x20");
    }
    text
}

pub(crate) fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let escape = rest.next();
        bytes.push(match escape {
            Some('r') => b'\r',
            Some('n') => b'\n',
            Some('t') => b'\t',
            Some('\\') => b'\\',
            Some('x') => {
                let digits: String = rest.by_ref().take(2).collect();
                u8::from_str_radix(&digits, 16).map_err(|_| format!("`\\x{digits}` is no byte"))?
            }
            _ => return Err(format!("`\\{}` is none of \\r \\n \\t \\\\ \\xNN", escape.unwrap_or(' '))),
        });
    }
    Ok(bytes)
}
