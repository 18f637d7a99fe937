//! An event as a mail.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use aviary_event::Event;
use aviary_output::{LineFormat, moment};
use lettre::Message;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};

use crate::chat::headline::{Headline, facts};

/// Longest subject, in UTF-16 units; mail programs show less.
const SUBJECT: usize = 200;

/// Longest value in the table, in characters. The text has all of it.
const CELL: usize = 2000;

/// The latest date that a mail has, seconds: the end of the year 9999.
const LATEST: u64 = 253_402_300_799;

/// All of a mail but the event.
pub(super) struct Letter {
    pub(super) from: Mailbox,
    pub(super) to: Vec<Mailbox>,
    pub(super) subject: Headline,
    pub(super) html: bool,
    pub(super) lines: LineFormat,
}

impl Letter {
    /// The mail, ready to be sent.
    pub(super) fn encode(&self, event: &Event) -> Result<Vec<u8>, lettre::error::Error> {
        let id = event.aviary.as_ref().map(|ours| ours.id.hyphenated().to_string());
        let seconds = moment(event).and_then(|time| u64::try_from(time.as_micros()).ok()).unwrap_or(0) / 1_000_000;
        let line = self.lines.line(event);
        let subject = self.subject.text(event, self.lines.format_line(event), SUBJECT);
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
        let text = SinglePart::plain(line);
        let mail = if self.html {
            let boundary = format!("aviary-{}", id.as_deref().unwrap_or("part"));
            let parts = MultiPart::alternative().boundary(boundary);
            mail.multipart(parts.singlepart(text).singlepart(SinglePart::html(table(event))))?
        } else {
            mail.singlepart(text)?
        };
        Ok(mail.formatted())
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
fn table(event: &Event) -> String {
    let (title, facts) = facts(event);
    let mut page = String::from("<!DOCTYPE html>\r\n<html><body style=\"font-family:sans-serif\">\r\n<h2>");
    escape(&shorten(&title, CELL), &mut page);
    page.push_str("</h2>\r\n<table style=\"border-collapse:collapse\">\r\n");
    for (name, value) in facts {
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
            subject: Headline::new("subject", subject).expect("good"),
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
    fn lets_nothing_out_of_the_subject_line() {
        let text = mail("%(service)s %(kind)s: 100% %(logdata.USERNAME)s", false);
        let headers = text.split("\r\n\r\n").next().expect("headers");
        assert!(!headers.contains("\nBcc"), "{headers}");
        assert!(headers.contains("\nSubject: ftp login: 100% a"), "{headers}");
        let long = Headline::new("subject", &"%(logdata.USERNAME)s".repeat(100)).expect("good");
        let event = Event::parse(LINE).expect("an event");
        assert!(long.text(&event, String::new(), SUBJECT).encode_utf16().count() <= SUBJECT);
    }

    #[test]
    fn escapes_what_peers_send_in_the_table() {
        let page = table(&Event::parse(LINE).expect("an event"));
        assert!(page.contains("&lt;b&gt;&amp;&quot;&#39;\\u{0}\\u{202e}</td>"), "{page}");
        assert!(page.contains("<h2>Login attempt on ftp of n1 from 192.0.2.7</h2>") && !page.contains("<b>"), "{page}");
        let long = format!(r#"{{"logdata": {{"A": "{}"}}}}"#, "y".repeat(5000));
        let page = table(&Event::parse(&long).expect("an event"));
        assert!(page.len() < 3500 && page.contains("y…</td>"));
    }

    #[test]
    fn writes_text_and_html_as_alternatives() {
        let text = mail("%(src_host)s", true);
        assert!(
            text.contains("multipart/alternative;\r\n boundary=\"aviary-01990000-0000-7000-8000-000000000001\""),
            "{text}"
        );
        assert!(text.contains("Message-ID: <01990000-0000-7000-8000-000000000001@aviary>\r\n"), "{text}");
        assert!(text.contains("Content-Type: text/plain") && text.contains("Content-Type: text/html"), "{text}");
    }
}
