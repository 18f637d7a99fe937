//! An event as a mail.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use aviary_event::Event;
use aviary_output::{LineFormat, Rejection, moment};
use lettre::Message;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};

/// Longest subject, in characters; mail programs show less.
const SUBJECT: usize = 200;

/// Longest value in the table, in characters. The text has all of it.
const CELL: usize = 2000;

/// Most rows of the table.
const ROWS: usize = 200;

/// The latest date that a mail has, seconds: the end of the year 9999.
const LATEST: u64 = 253_402_300_799;

/// All of a mail but the event.
pub(super) struct Letter {
    pub(super) from: Mailbox,
    pub(super) to: Vec<Mailbox>,
    pub(super) subject: Subject,
    pub(super) html: bool,
    pub(super) lines: LineFormat,
}

impl Letter {
    /// The mail, ready to be sent.
    pub(super) fn encode(&self, event: &Event) -> Result<Vec<u8>, lettre::error::Error> {
        let id = event.aviary.as_ref().map(|ours| ours.id.hyphenated().to_string());
        let seconds = moment(event).and_then(|time| u64::try_from(time.as_micros()).ok()).unwrap_or(0) / 1_000_000;
        let subject = self.subject.fill(event);
        let mut mail = Message::builder()
            .from(self.from.clone())
            .subject(subject.as_str())
            .date(UNIX_EPOCH + Duration::from_secs(seconds.min(LATEST)))
            .message_id(Some(format!("<{}@aviary>", id.as_deref().unwrap_or("unnumbered"))))
            // Nobody's absence note shall come back (RFC 3834, section 5).
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ));
        for mailbox in &self.to {
            mail = mail.to(mailbox.clone());
        }
        let text = SinglePart::plain(self.lines.line(event));
        let mail = if self.html {
            let boundary = format!("aviary-{}", id.as_deref().unwrap_or("part"));
            let parts = MultiPart::alternative().boundary(boundary);
            mail.multipart(parts.singlepart(text).singlepart(SinglePart::html(table(&subject, event))))?
        } else {
            mail.singlepart(text)?
        };
        Ok(mail.formatted())
    }
}

/// A subject with fields.
#[derive(Debug)]
pub(super) struct Subject(Vec<Piece>);

#[derive(Debug, PartialEq)]
enum Piece {
    Literal(String),
    Field(String),
}

impl Subject {
    /// Reads `{name}`; braces around anything else are text.
    pub(super) fn new(text: &str) -> Result<Self, Rejection> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let name = after.split_once('}').filter(|(name, _)| {
                !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
            });
            match name {
                Some((name, after)) => {
                    if !known(name) {
                        let reason = format!("names the unknown field `{name}`; there are {}", FIELDS.join(", "));
                        return Err(Rejection::new("subject", format!("{reason}, logdata.NAME, aviary.NAME")));
                    }
                    pieces.push(Piece::Literal(before.to_owned()));
                    pieces.push(Piece::Field(name.to_owned()));
                    rest = after;
                }
                None => {
                    pieces.push(Piece::Literal(format!("{before}{{")));
                    rest = after;
                }
            }
        }
        pieces.push(Piece::Literal(rest.to_owned()));
        if text.contains('\0') {
            return Err(Rejection::new("subject", "holds a NUL byte; it takes text on one line"));
        }
        Ok(Self(pieces))
    }

    /// The subject of an event: one line, not endless. What the event lacks is `-`.
    fn fill(&self, event: &Event) -> String {
        let values = flat(event);
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Field(name) => {
                    let name = match name.as_str() {
                        "service" | "kind" => &format!("aviary.{name}"),
                        name => name,
                    };
                    let value = values.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
                    text.push_str(value.filter(|value| !value.is_empty()).unwrap_or("-"));
                }
            }
        }
        shorten(&text, SUBJECT)
    }
}

/// Fields of a subject without a dot.
const FIELDS: &[&str] = &[
    "dst_host",
    "dst_port",
    "honeycred",
    "kind",
    "local_time",
    "local_time_adjusted",
    "logtype",
    "node_id",
    "service",
    "src_host",
    "src_port",
    "utc_time",
];

fn known(name: &str) -> bool {
    FIELDS.contains(&name) || name.starts_with("logdata.") || name.starts_with("aviary.")
}

/// Every value of the event under its name, in the order of the table.
fn flat(event: &Event) -> Vec<(String, String)> {
    let line = serde_json::from_str(&event.to_line(true)).unwrap_or(serde_json::Value::Null);
    let mut rows = Vec::new();
    spread("", &line, &mut rows);
    // Stable: who and what first, what the canary adds last.
    rows.sort_by_key(|(name, _)| match name.split('.').next() {
        Some("node_id") => 0,
        Some("src_host" | "src_port") => 1,
        Some("dst_host" | "dst_port") => 2,
        Some("logtype" | "honeycred") => 3,
        Some("logdata") => 4,
        Some("aviary") => 6,
        _ => 5,
    });
    rows
}

fn spread(name: &str, value: &serde_json::Value, rows: &mut Vec<(String, String)>) {
    match value {
        serde_json::Value::Object(members) if !members.is_empty() => {
            for (key, value) in members {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                spread(&name, value, rows);
            }
        }
        serde_json::Value::String(text) => rows.push((name.to_owned(), text.clone())),
        other => rows.push((name.to_owned(), other.to_string())),
    }
}

/// One line of so many characters; what cannot be shown is escaped.
fn shorten(text: &str, most: usize) -> String {
    let mut line = String::new();
    for (place, c) in text.chars().enumerate() {
        if place == most {
            line.push('…');
            break;
        }
        if hidden(c) {
            let _ = write!(line, "{}", c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

/// Control characters, and those that turn the direction of text around.
fn hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
}

/// The event as a table in HTML. Nothing of it is a link, and nothing is fetched.
fn table(subject: &str, event: &Event) -> String {
    let mut page = String::from("<!DOCTYPE html>\r\n<html><body style=\"font-family:sans-serif\">\r\n<h2>");
    escape(subject, &mut page);
    page.push_str("</h2>\r\n<table style=\"border-collapse:collapse\">\r\n");
    for (name, value) in flat(event).into_iter().take(ROWS) {
        page.push_str("<tr><th style=\"text-align:left;vertical-align:top;padding:2px 12px 2px 0\">");
        escape(&shorten(&name, CELL), &mut page);
        page.push_str("</th><td style=\"font-family:monospace;padding:2px 0;word-break:break-all\">");
        escape(&shorten(&value, CELL), &mut page);
        page.push_str("</td></tr>\r\n");
    }
    page.push_str("</table>\r\n</body></html>\r\n");
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use aviary_output::Blueprint;
    use serde_json::Map;

    const LINE: &str = r#"{"aviary": {"id": "01990000-0000-7000-8000-000000000001", "kind": "login", "seq": 1, "service": "ftp", "technique": [], "time": "2026-11-22T22:00:01.000000Z"}, "dst_host": "192.0.2.1", "dst_port": 21, "logdata": {"PASSWORD": "<b>&\"'\u0000\u202e", "USERNAME": "a\r\nBcc: x@example.org"}, "logtype": 2000, "node_id": "n1", "src_host": "192.0.2.7", "src_port": 40000, "utc_time": "2026-11-22 22:00:01.000000"}"#;

    fn letter(subject: &str, html: bool) -> Letter {
        let options = Map::new();
        let format = "%(message)s";
        let blueprint = Blueprint { name: "m", options: &options, format, extended: false, node_id: "n1" };
        Letter {
            from: "Canary <canary@example.org>".parse().expect("an address"),
            to: vec!["a@example.org".parse().expect("an address"), "b@example.org".parse().expect("an address")],
            subject: Subject::new(subject).expect("good"),
            html,
            lines: LineFormat::new(&blueprint).expect("good"),
        }
    }

    fn mail(subject: &str, html: bool) -> String {
        let event = Event::parse(LINE).expect("an event");
        String::from_utf8(letter(subject, html).encode(&event).expect("a mail")).expect("text")
    }

    #[test]
    fn writes_the_line_as_plain_text() {
        let event = Event::parse(r#"{"logtype": 2000, "utc_time": "2026-11-22 22:00:01.000000"}"#).expect("an event");
        let mail = String::from_utf8(letter("Canary", false).encode(&event).expect("a mail")).expect("text");
        let expected = "From: Canary <canary@example.org>\r\n\
            Subject: Canary\r\n\
            Date: Sun, 22 Nov 2026 22:00:01 +0000\r\n\
            Message-ID: <unnumbered@aviary>\r\n\
            Auto-Submitted: auto-generated\r\n\
            To: a@example.org, b@example.org\r\n\
            MIME-Version: 1.0\r\n\
            Content-Type: text/plain; charset=utf-8\r\n\
            Content-Transfer-Encoding: quoted-printable\r\n\r\n\
            {\"logdata\": null, \"logtype\": 2000, \"utc_time\": \"2026-11-22 22:00:01.000000\"}\r\n";
        assert_eq!(mail, expected);
    }

    #[test]
    fn fills_the_subject_and_lets_nothing_out_of_its_line() {
        let subject = |text: &str| {
            let event = Event::parse(LINE).expect("an event");
            Subject::new(text).expect("good").fill(&event)
        };
        assert_eq!(subject("{service} {kind} from {src_host}:{src_port}"), "ftp login from 192.0.2.7:40000");
        assert_eq!(subject("{honeycred} {logdata.NONE} {} {a b} 100% {"), "- - {} {a b} 100% {");
        assert_eq!(subject("{logdata.USERNAME}"), "a\\r\\nBcc: x@example.org");
        assert_eq!(subject(&"x".repeat(300)).chars().count(), 201);
        let text = mail("{logdata.USERNAME}", false);
        let headers = text.split("\r\n\r\n").next().expect("headers");
        assert!(!headers.contains("\nBcc"), "{headers}");
        assert!(Subject::new("{nobody}").is_err());
    }

    #[test]
    fn escapes_what_peers_send_in_the_table() {
        let page = table("<s>", &Event::parse(LINE).expect("an event"));
        assert!(page.contains("&lt;b&gt;&amp;&quot;&#39;\\u{0}\\u{202e}</td>"), "{page}");
        assert!(page.contains("<h2>&lt;s&gt;</h2>") && !page.contains("<b>"), "{page}");
        let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("no {text}"));
        assert!(place("src_host") < place("logdata.USERNAME") && place("logdata.USERNAME") < place("aviary.id"));
        let long = format!(r#"{{"logdata": "{}"}}"#, "y".repeat(5000));
        let page = table("s", &Event::parse(&long).expect("an event"));
        assert!(page.len() < 3000 && page.contains("y…</td>"));
    }

    #[test]
    fn writes_text_and_html_as_alternatives() {
        let text = mail("{src_host}", true);
        assert!(
            text.contains("multipart/alternative;\r\n boundary=\"aviary-01990000-0000-7000-8000-000000000001\""),
            "{text}"
        );
        assert!(text.contains("Message-ID: <01990000-0000-7000-8000-000000000001@aviary>\r\n"), "{text}");
        assert!(text.contains("Content-Type: text/plain") && text.contains("Content-Type: text/html"), "{text}");
    }
}
