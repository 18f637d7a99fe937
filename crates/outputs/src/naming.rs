//! Names that events make: subjects of NATS and topics of MQTT, `canary.{service}.{kind}`.

use aviary_event::Event;
use aviary_output::Rejection;
use serde_json::Value;

use crate::options::{Options, wrong};
use crate::subject::Subject;

/// What stands between braces.
const FIELDS: &str = "{service}, {kind}, {node_id} and {logtype}";

/// Longest text that one field puts in, bytes.
const FIELD: usize = 64;

/// Longest name as it stands in the file, bytes. With all fields filled in it stays below NATS's
/// control line of 4096 bytes and MQTT's topic of 65,535.
const LONGEST: usize = 512;

/// How names are written somewhere.
pub(crate) struct Grammar {
    /// What a name is called, for messages: `a subject`.
    pub(crate) what: &'static str,
    /// Divides a name into levels.
    pub(crate) separator: char,
    /// Characters that no level may have. Control characters never may.
    pub(crate) forbidden: &'static [char],
    /// Whether a level may be empty.
    pub(crate) empty_levels: bool,
}

/// A name with fields.
pub(crate) struct Naming {
    pieces: Vec<Piece>,
    grammar: &'static Grammar,
}

enum Piece {
    Literal(String),
    Service,
    Kind,
    Node,
    Code,
}

impl Naming {
    /// Reads the key; `default` where it is missing.
    pub(crate) fn read(
        options: Options<'_>,
        key: &str,
        default: &str,
        grammar: &'static Grammar,
    ) -> Result<Self, Rejection> {
        let text = options.text(key)?.unwrap_or(default);
        let refused = || {
            let accepted =
                format!("{} of at most {LONGEST} bytes such as `{default}`, with {FIELDS} where wanted", grammar.what);
            wrong(key, &Value::from(text), &accepted)
        };
        let is_odd = |c: char| c.is_control() || grammar.forbidden.contains(&c);
        if text.is_empty() || text.len() > LONGEST || text.contains(is_odd) {
            return Err(refused());
        }
        if !grammar.empty_levels && text.split(grammar.separator).any(str::is_empty) {
            return Err(refused());
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once('{') {
            let (field, after) = after.split_once('}').ok_or_else(refused)?;
            pieces.push(Piece::Literal(literal.to_owned()));
            pieces.push(match field {
                "service" => Piece::Service,
                "kind" => Piece::Kind,
                "node_id" => Piece::Node,
                "logtype" => Piece::Code,
                _ => return Err(refused()),
            });
            rest = after;
        }
        pieces.push(Piece::Literal(rest.to_owned()));
        Ok(Self { pieces, grammar })
    }

    /// The event's name. What a field puts in is one level, whatever the event says.
    pub(crate) fn of(&self, event: &Event) -> String {
        let mut name = String::with_capacity(64);
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => name.push_str(text),
                Piece::Service => self.push(Subject(event).service(), &mut name),
                Piece::Kind => self.push(event.class().word(), &mut name),
                Piece::Node => self.push(Subject(event).node(), &mut name),
                Piece::Code => name.push_str(&Subject(event).code()),
            }
        }
        name
    }

    fn push(&self, text: &str, name: &mut String) {
        let text = text.get(..text.floor_char_boundary(FIELD)).unwrap_or(text);
        let safe = |c: char| {
            let odd = c.is_control() || c == self.grammar.separator || self.grammar.forbidden.contains(&c);
            if odd { '_' } else { c }
        };
        name.extend(text.chars().map(safe));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    static DOTTED: Grammar =
        Grammar { what: "a subject", separator: '.', forbidden: &[' ', '*', '>'], empty_levels: false };

    fn name(text: &str, line: &Value) -> Result<String, String> {
        let Value::Object(map) = json!({ "subject": text }) else { unreachable!("an object was written") };
        let naming = Naming::read(Options(&map), "subject", "canary.{kind}", &DOTTED);
        let event = Event::parse(&line.to_string()).expect("an event");
        naming.map(|naming| naming.of(&event)).map_err(|rejection| rejection.to_string())
    }

    #[test]
    fn fields_are_one_level_whatever_they_say() {
        let ours = json!({"id": "01990000-0000-7000-8000-000000000001", "seq": 7, "kind": "login", "service": "f t>p",
                          "time": "2026-11-22T22:00:01.000010+00:00"});
        let line = json!({"logtype": 2000, "node_id": "a.b *\nc", "aviary": ours});
        assert_eq!(name("x.{node_id}.{service}-{logtype}.{kind}", &line), Ok("x.a_b___c.f_t_p-2000.login".to_owned()));
        assert_eq!(name("{service}.{node_id}", &json!({})), Ok("opencanary.opencanary".to_owned()));
        let long = json!({"node_id": "ä".repeat(100)});
        assert_eq!(name("{node_id}", &long), Ok("ä".repeat(32)));
    }

    #[test]
    fn rejects_what_is_no_name_and_says_what_is() {
        for text in ["", "a..b", ".a", "a b", "a.>", "a.{src_host}", "a.{kind", "a\u{7f}", &"x".repeat(513)] {
            let message = name(text, &json!({})).expect_err(text);
            assert!(message.contains("it takes a subject of at most 512 bytes such as `canary.{kind}`"), "{message}");
        }
    }
}
