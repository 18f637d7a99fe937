//! Events for people: one line each, coloured by how much they mean.
//!
//! Everything a peer sent is escaped: a terminal obeys control bytes.

use aviary_event::{Event, Port, Value};

use crate::paint::{Ink, Style};

/// Longest value shown, in characters.
const VALUE: usize = 60;
/// Longest data shown of one event, in characters; `aviary tail --json` has the whole.
const DATA: usize = 200;

/// Keys that tell most, shown before the others.
const FIRST: &[&str] = &["USERNAME", "PASSWORD", "METHOD", "TARGET", "COMMAND", "CMD", "REMOTEVERSION", "HASSH"];

/// Prints events.
pub(crate) struct Painter {
    style: Style,
    /// The canary's own name in events; those with another say whose they are.
    node_id: String,
}

impl Painter {
    /// For the events of a canary of this name and its hosts.
    pub(crate) const fn new(style: Style, node_id: String) -> Self {
        Self { style, node_id }
    }

    /// One line: time, kind, service, who, whom, what.
    pub(crate) fn event(&self, event: &Event) -> String {
        let time = event.local_time_adjusted.as_deref().and_then(|time| time.split(' ').nth(1)).unwrap_or("");
        let time = time.get(..12).unwrap_or(time);
        let kind = event.aviary.as_ref().map_or("event", |ours| ours.kind.as_str());
        let ink = match (event.honeycred, kind) {
            (Some(true), _) => Ink::Alarm,
            (_, "login") => Ink::Alarm,
            (_, "command" | "violation" | "scan") => Ink::Notice,
            (_, "lifecycle") => Ink::Quiet,
            _ => Ink::Good,
        };
        let service = event.service().unwrap_or("-");
        let mut line = format!(
            "{}  {}  {}",
            self.style.paint(Ink::Quiet, time),
            self.style.paint(ink, &format!("{kind:<10}")),
            self.style.paint(Ink::Strong, &format!("{service:<12}")),
        );
        if let Some(src) = event.src.as_ref().filter(|src| !src.host.is_empty()) {
            let dst = event.dst.as_ref().map(|dst| port(&dst.port)).unwrap_or_default();
            let other = event.node_id.as_deref().filter(|node| *node != self.node_id);
            let whose = other.map(|node| format!("{}:", printable(node))).unwrap_or_default();
            line.push_str(&format!("{} → {whose}{dst}  ", src.host));
        }
        line.push_str(&cut(summary(&event.logdata), DATA));
        if event.honeycred == Some(true) {
            line.push_str(&self.style.paint(Ink::Alarm, "  PLANTED CREDENTIAL"));
        }
        line
    }
}

fn port(port: &Port) -> String {
    match port {
        Port::Number(number) => number.to_string(),
        Port::Text(text) => printable(text),
    }
}

fn summary(data: &Value) -> String {
    // OpenCanary nests its own messages: {"msg": {"logdata": text}}.
    if let Some(text) = data.get("msg").and_then(|msg| msg.get("logdata")).and_then(Value::as_str) {
        return printable(text);
    }
    match data.as_map() {
        Some(map) => {
            let mut parts: Vec<String> = Vec::new();
            for key in FIRST {
                if let Some(value) = map.get(*key) {
                    parts.push(format!("{key}={}", short(value)));
                }
            }
            for (key, value) in map {
                if !FIRST.contains(&key.as_str()) && !is_empty(value) {
                    parts.push(format!("{}={}", printable(key), short(value)));
                }
            }
            parts.join(" ")
        }
        None => short(data),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Text(text) => text.is_empty(),
        Value::Bytes(bytes) => bytes.is_empty(),
        Value::List(items) => items.is_empty(),
        Value::Map(map) => map.is_empty(),
        _ => false,
    }
}

fn short(value: &Value) -> String {
    let text = match value {
        Value::Text(text) => printable(text),
        Value::Bytes(bytes) => match bytes.as_str() {
            Some(text) => printable(text),
            None => bytes.as_bytes().escape_ascii().to_string(),
        },
        Value::List(items) => format!("[{}]", items.iter().map(short).collect::<Vec<_>>().join(", ")),
        Value::Map(_) => format!("{{{}}}", summary(value)),
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
    };
    cut(text, VALUE)
}

fn cut(text: String, longest: usize) -> String {
    if text.chars().count() > longest { text.chars().take(longest).collect::<String>() + "…" } else { text }
}

/// Text without anything that a terminal would obey: controls of either range, and the marks that
/// turn the direction of writing.
fn printable(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    text.chars().map(|c| if hidden(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_passes_a_control_byte_to_the_terminal() {
        let line = r#"{"logdata": {"PASSWORD": "\u001b[2Jx\u009b\u202e", "USERNAME": "r\u00f6t"}, "logtype": 2000,
            "dst_host": "a", "dst_port": 21, "src_host": "b", "src_port": 1}"#;
        let shown = Painter::new(Style::Plain, String::new()).event(&Event::parse(line).unwrap());
        assert!(!shown.chars().any(|c| c.is_control() || c == '\u{202e}'), "{shown:?}");
        assert!(shown.contains("USERNAME=röt PASSWORD=\\u{1b}[2Jx"), "{shown}");
    }

    #[test]
    fn names_the_host_where_it_is_not_the_canary_itself() {
        let shown = |node_id: &str| {
            let line = format!(
                r#"{{"logdata": {{}}, "logtype": 2000, "node_id": "{node_id}", "dst_host": "a", "dst_port": 21,
                    "src_host": "b", "src_port": 1}}"#
            );
            Painter::new(Style::Plain, "rack".to_owned()).event(&Event::parse(&line).unwrap())
        };
        assert!(shown("rack").contains("b → 21"), "{}", shown("rack"));
        assert!(shown("rack/printer").contains("b → rack/printer:21"), "{}", shown("rack/printer"));
    }
}
