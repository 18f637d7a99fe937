//! A handler's `template`: text with fields of the event in it, the same language for every output.
//!
//! `%(NAME)s` stands for a value and `%%` for a percent sign; any other percent sign is one. What is not known of an
//! event is empty. Values come from peers: an output whose text has a markup escapes them for it, and in plain text
//! what is not seen, or would break or turn the line, is written out ([`visible`]).

use aviary_event::Event;
use serde_json::{Map, Value};

use crate::{Rejection, Telling};

/// Fields that a template may name, beside `logdata.KEY`.
const FIELDS: &[&str] = &[
    "message",
    "summary",
    "details",
    "time",
    "asctime",
    "service",
    "kind",
    "severity",
    "logtype",
    "node_id",
    "src_host",
    "src_port",
    "src_name",
    "src_mac",
    "src_vendor",
    "dst_host",
    "dst_port",
    "username",
    "password",
    "id",
    "process",
];

/// A template that was read.
#[derive(Clone, Debug)]
pub struct Template {
    pieces: Vec<Piece>,
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As it stands in the file.
    Literal(String),
    /// A name for [`Telling::field`].
    Field(String),
}

impl Template {
    /// The handler's key `template`, if it is there.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn of(options: &Map<String, Value>) -> Result<Option<Self>, Rejection> {
        match options.get("template") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Self::read("template", text).map(Some),
            Some(other) => Err(Rejection::new("template", format!("is {other}; it takes text such as `%(summary)s`"))),
        }
    }

    /// Reads what a key says.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn read(key: &str, text: &str) -> Result<Self, Rejection> {
        if text.trim().is_empty() || text.contains('\0') {
            return Err(Rejection::new(key, "says nothing; it takes text such as `%(summary)s`"));
        }
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, from)) = rest.split_once('%') {
            literal.push_str(before);
            if let Some(after) = from.strip_prefix('%') {
                literal.push('%');
                rest = after;
            } else if let Some((name, after)) = from.strip_prefix('(').and_then(|from| from.split_once(')')) {
                if !FIELDS.contains(&name) && !name.starts_with("logdata.") {
                    let known = FIELDS.join(", ");
                    let name = Value::from(name);
                    return Err(Rejection::new(key, format!("names {name}; there are {known} and logdata.KEY")));
                }
                // Widths and numbers are of formats, where Python's own fields stand.
                let Some(after) = after.strip_prefix('s') else {
                    return Err(Rejection::new(key, format!("has `%({name})` without the `s` that follows a name")));
                };
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                pieces.push(Piece::Field(name.to_owned()));
                rest = after;
            } else {
                literal.push('%');
                rest = from;
            }
        }
        literal.push_str(rest);
        pieces.push(Piece::Literal(literal));
        pieces.retain(|piece| *piece != Piece::Literal(String::new()));
        Ok(Self { pieces })
    }

    /// Its parts in order, for outputs with a markup of their own.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Whether the template itself is one line; values always are.
    #[must_use]
    pub fn is_line(&self) -> bool {
        !self.pieces.iter().any(|piece| matches!(piece, Piece::Literal(text) if text.contains(is_break)))
    }

    /// The text without a markup. `details` are on one line, too.
    pub fn write(&self, telling: &Telling<'_>, out: &mut String) {
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => out.push_str(text),
                Piece::Field(name) => out.push_str(&visible(&telling.field(name))),
            }
        }
    }

    /// The text of an event whose line in the handler's format is `line`.
    #[must_use]
    pub fn text(&self, event: &Event, line: String, extended: bool) -> String {
        let mut text = String::new();
        self.write(&Telling::new(event, line, extended), &mut text);
        text
    }
}

/// Ends a line, or is a control character that no line needs.
fn is_break(c: char) -> bool {
    (c.is_control() && c != '\t') || matches!(c, '\u{2028}' | '\u{2029}')
}

/// The text with everything that is not seen, or that turns round or breaks the line, as Rust and
/// Python write it: `\n`, `\u{202e}`.
#[must_use]
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        let hidden = matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' | '\u{61c}');
        match c {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            c if c.is_control() && u32::from(c) < 256 => shown.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if hidden || c.is_control() => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        let line = r#"{"dst_host": "192.0.2.1", "dst_port": 21, "logdata": {"USERNAME": "a\nb", "PASSWORD": "\u202ex", "N": [1]}, "logtype": 2000, "node_id": "n1", "src_host": "192.0.2.7", "src_port": 40000, "utc_time": "2026-11-22 22:00:00.123456"}"#;
        Event::parse(line).expect("the line is an event")
    }

    fn text(template: &str) -> String {
        let template = Template::read("template", template).unwrap_or_else(|rejection| panic!("{rejection}"));
        template.text(&event(), "LINE".to_owned(), true)
    }

    #[test]
    fn fields_are_put_in_on_one_line_whatever_a_peer_sent() {
        for (template, expected) in [
            ("100% %(src_host)s:%(src_port)s %% %d", "100% 192.0.2.7:40000 % %d"),
            ("%(username)s|%(password)s", "a\\nb|\\u{202e}x"),
            ("%(logdata.N)s%(logdata.none)s", "[1]"),
            ("%(message)s", "LINE"),
            ("%(asctime)s %(time)s", "2026-11-22 22:00:00,123 2026-11-22 22:00:00 UTC"),
            ("%(summary)s", "Login attempt on port 21 of n1 from 192.0.2.7"),
        ] {
            assert_eq!(text(template), expected, "{template}");
        }
        let details = text("%(details)s");
        assert!(details.starts_with("Source: 192.0.2.7:40000; Decoy: ") && !details.contains('\n'), "{details}");
        assert_eq!(text("%(process)s"), std::process::id().to_string());
    }

    #[test]
    fn mistakes_say_what_there_is() {
        let error = |text: &str| Template::read("subject", text).map(|_| ()).expect_err(text).to_string();
        assert!(error(" ").starts_with("`subject`: says nothing; it takes"), "{}", error(" "));
        assert!(error("%(massage)s").contains("names \"massage\"; there are message, summary"));
        assert!(error("%(src_port)d").contains("has `%(src_port)` without the `s`"));
        let options = serde_json::json!({"template": 5}).as_object().expect("an object").clone();
        assert_eq!(Template::of(&options).map(|_| ()).expect_err("no text").option, "template");
    }

    #[test]
    fn a_line_break_of_the_operators_own_is_seen() {
        let is_line = |text: &str| Template::read("template", text).expect("good").is_line();
        assert!(is_line("%(summary)s\t%%") && !is_line("a\n%(summary)s") && !is_line("x\u{2028}"));
    }
}
