//! NATS's client protocol, as far as a publisher needs it: text lines, and payloads after some of them.
//!
//! ```text
//! CONNECT {json}\r\n   SUB subject sid\r\n   PING\r\n   PONG\r\n
//! PUB subject [reply] bytes\r\n payload \r\n
//! HPUB subject [reply] header-bytes all-bytes\r\n NATS/1.0\r\n name: value\r\n \r\n payload \r\n
//!
//! INFO {json}\r\n   +OK\r\n   -ERR 'text'\r\n   PING\r\n   PONG\r\n
//! MSG subject sid [reply] bytes\r\n payload \r\n
//! HMSG subject sid [reply] header-bytes all-bytes\r\n header payload \r\n
//! ```
//!
//! Reference: <https://docs.nats.io/reference/reference-protocols/nats-protocol>.

use bytes::{Buf as _, Bytes, BytesMut};

/// Longest line of a server, bytes. `INFO` of a large cluster takes some 10 KiB.
const LINE: usize = 64 * 1024;

/// Longest message to us, bytes; JetStream's acknowledgements have some 100.
const MESSAGE: usize = 64 * 1024;

/// What a server says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Said {
    Info(Bytes),
    /// Without its quotes.
    Error(String),
    Ping,
    Pong,
    Message {
        subject: String,
        /// Empty without a header.
        header: Bytes,
        payload: Bytes,
    },
    Else,
}

/// Takes one thing off what came, once it is there whole.
pub(super) fn take(unread: &mut BytesMut) -> Result<Option<Said>, String> {
    let head = unread.get(..LINE.min(unread.len())).unwrap_or_default();
    let Some(end) = memchr::memmem::find(head, b"\r\n") else {
        return if unread.len() < LINE { Ok(None) } else { Err("a line that is too long".to_owned()) };
    };
    let line = String::from_utf8_lossy(head.get(..end).unwrap_or_default()).into_owned();
    let (word, rest) = line.split_once([' ', '\t']).unwrap_or((&line, ""));
    let rest = rest.trim();
    let is = |known: &str| word.eq_ignore_ascii_case(known);
    if is("MSG") || is("HMSG") {
        let with_header = is("HMSG");
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let odd = || format!("a line that makes no sense: {}", line.escape_debug());
        let number =
            |at: usize| fields.iter().rev().nth(at).and_then(|text| text.parse::<usize>().ok()).ok_or_else(odd);
        let least = if with_header { 4 } else { 3 };
        if !(least..=least + 1).contains(&fields.len()) {
            return Err(odd());
        }
        let (all, header) = (number(0)?, if with_header { number(1)? } else { 0 });
        if all > MESSAGE || header > all {
            return Err(odd());
        }
        let whole = end + 2 + all + 2;
        if unread.len() < whole {
            return Ok(None);
        }
        let subject = fields.first().copied().unwrap_or_default().to_owned();
        unread.advance(end + 2);
        let header = unread.split_to(header).freeze();
        let payload = unread.split_to(all - header.len()).freeze();
        if unread.get(..2) != Some(b"\r\n".as_slice()) {
            return Err("a message without an end".to_owned());
        }
        unread.advance(2);
        return Ok(Some(Said::Message { subject, header, payload }));
    }
    let said = if is("INFO") {
        Said::Info(Bytes::copy_from_slice(rest.as_bytes()))
    } else if is("-ERR") {
        Said::Error(rest.trim_matches('\'').to_owned())
    } else if is("PING") {
        Said::Ping
    } else if is("PONG") {
        Said::Pong
    } else if is("+OK") {
        Said::Else
    } else {
        return Err(format!(
            "a line that makes no sense: {}",
            line.chars().take(60).collect::<String>().escape_debug()
        ));
    };
    unread.advance(end + 2);
    Ok(Some(said))
}

/// The status of a header, `503`.
pub(super) fn status(header: &[u8]) -> Option<&str> {
    let line = std::str::from_utf8(header.strip_prefix(b"NATS/1.0")?).ok()?.lines().next()?;
    line.split_ascii_whitespace().next()
}

/// A header with these names and values, none of which has a line end in it.
pub(super) fn header(fields: &[(&str, &str)]) -> String {
    let mut text = "NATS/1.0\r\n".to_owned();
    for (name, value) in fields {
        text.push_str(name);
        text.push_str(": ");
        text.push_str(value);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text
}

/// A message; `header` is empty for none, and so is `reply`.
pub(super) fn publish(subject: &str, reply: &str, header: &str, payload: &str, out: &mut BytesMut) {
    let reply = if reply.is_empty() { String::new() } else { format!("{reply} ") };
    let line = if header.is_empty() {
        format!("PUB {subject} {reply}{}\r\n", payload.len())
    } else {
        format!("HPUB {subject} {reply}{} {}\r\n", header.len(), header.len() + payload.len())
    };
    for part in [&line, header, payload, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Result<(Vec<Said>, usize), String> {
        let mut unread = BytesMut::from(bytes);
        let mut said = Vec::new();
        while let Some(one) = take(&mut unread)? {
            said.push(one);
        }
        Ok((said, unread.len()))
    }

    const TALK: &[u8] = b"INFO {\"a\":1} \r\nPING\r\npong\r\n+OK\r\n-ERR 'Stale Connection'\r\nMSG _I.1 1 3\r\na\r\n\r\nHMSG _I.2 1 r 16 18\r\nNATS/1.0 503\r\n\r\nhi\r\n";

    #[test]
    fn reads_all_that_servers_say() {
        let (said, rest) = all(TALK).expect("good");
        let message = |subject: &str, header: &'static [u8], payload: &'static [u8]| Said::Message {
            subject: subject.to_owned(),
            header: Bytes::from_static(header),
            payload: Bytes::from_static(payload),
        };
        let expected = [
            Said::Info(Bytes::from_static(b"{\"a\":1}")),
            Said::Ping,
            Said::Pong,
            Said::Else,
            Said::Error("Stale Connection".to_owned()),
            message("_I.1", b"", b"a\r\n"),
            message("_I.2", b"NATS/1.0 503\r\n\r\n", b"hi"),
        ];
        assert_eq!((said.as_slice(), rest), (expected.as_slice(), 0));
        assert_eq!(status(b"NATS/1.0 503\r\n\r\n"), Some("503"));
        assert_eq!(status(b"NATS/1.0\r\nA: b\r\n\r\n"), None);
    }

    #[test]
    fn every_beginning_waits_for_the_rest() {
        let whole = all(TALK).expect("good").0;
        for length in 0..TALK.len() {
            let (said, _) = all(&TALK[..length]).expect("a beginning is no mistake");
            assert!(said.len() < whole.len() && whole.starts_with(&said), "{length}");
        }
    }

    #[test]
    fn rejects_nonsense_without_waiting_for_more() {
        for bytes in [
            b"HTTP/1.1 400 Bad Request\r\n".as_slice(),
            b"MSG a 1\r\n",
            b"MSG a 1 b 3 4\r\n",
            b"MSG a 1 99999999999999999999\r\n",
            b"MSG a 1 70000\r\n",
            b"HMSG a 1 9 8\r\n",
            b"MSG a 1 1\r\nabc",
            b"\r\n",
            &[b'x'; LINE],
        ] {
            assert!(all(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn writes_messages_with_and_without_headers() {
        let mut out = BytesMut::new();
        publish("a.b", "", "", "é", &mut out);
        publish("a.b", "_I.1", &header(&[("Nats-Msg-Id", "7")]), "x", &mut out);
        let expected = "PUB a.b 2\r\né\r\nHPUB a.b _I.1 28 29\r\nNATS/1.0\r\nNats-Msg-Id: 7\r\n\r\nx\r\n";
        assert_eq!(out, expected.as_bytes());
    }
}
