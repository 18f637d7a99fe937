//! MQTT's packets, as far as a publisher needs them, of versions 3.1.1 and 5.
//!
//! ```text
//! packet      type(4) flags(4), remaining length(1-4, seven bits each, lowest first), rest
//! CONNECT     "MQTT" level(1) flags(1) keep-alive(2) [properties] client-id [user] [password]
//! CONNACK     flags(1) code(1) [properties]
//! PUBLISH     topic [packet-id(2) unless QoS 0] [properties] payload
//! PUBACK, PUBREC, PUBREL, PUBCOMP   packet-id(2) [reason(1) [properties]]
//! DISCONNECT  [reason(1) [properties]]
//! properties  length(1-4), each: identifier(1), value    (version 5 only)
//! text        length(2), UTF-8
//! ```
//!
//! Reference: <https://docs.oasis-open.org/mqtt/mqtt/v5.0/mqtt-v5.0.html>, sections 2 and 3;
//! <https://docs.oasis-open.org/mqtt/mqtt/v3.1.1/mqtt-v3.1.1.html>.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// Longest packet of a broker that is read, bytes. What it says to a publisher is short.
const LONGEST: usize = 64 * 1024;

/// The greatest remaining length, bytes (section 1.5.5).
pub(super) const MOST: usize = 268_435_455;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Version {
    /// 3.1.1.
    Four,
    Five,
}

/// What a broker says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Said {
    Welcome {
        code: u8,
        properties: Properties,
    },
    /// `PUBACK`, `PUBREC` or `PUBCOMP`.
    Answer {
        stage: Stage,
        packet: u16,
        reason: u8,
        words: Option<String>,
    },
    Pong,
    /// Version 5 only.
    Farewell {
        reason: u8,
        words: Option<String>,
    },
    Else,
}

/// Which answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stage {
    /// The end at QoS 1.
    Acknowledged,
    /// The middle at QoS 2.
    Received,
    /// The end at QoS 2.
    Complete,
}

/// What is of use in a packet's properties.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Properties {
    /// Packets that may be without an answer at a time.
    pub(super) receive_maximum: Option<u16>,
    /// Longest packet that the broker takes, bytes.
    pub(super) maximum_packet: Option<u32>,
    /// Greatest QoS that the broker takes.
    pub(super) maximum_qos: Option<u8>,
    pub(super) words: Option<String>,
}

/// Takes one packet off what came, once it is there whole.
pub(super) fn take(unread: &mut BytesMut) -> Result<Option<Said>, String> {
    let Some((first, mut rest)) = unread.split_first() else { return Ok(None) };
    let (kind, flags, before) = (first >> 4, first & 0xf, rest.len());
    if !matches!((kind, flags), (3, _) | (2 | 4 | 5 | 7 | 9 | 11 | 13 | 14, 0)) {
        return Err(format!("a packet that makes no sense, of type {kind}"));
    }
    let Some(length) = varint(&mut rest).or_else(|| (before >= 4).then_some(usize::MAX)) else { return Ok(None) };
    if length > LONGEST {
        return Err("a packet that makes no sense".to_owned());
    }
    if rest.len() < length {
        return Ok(None);
    }
    let start = 1 + before - rest.len();
    unread.advance(start);
    let body = unread.split_to(length).freeze();
    said(kind, &body).map(Some).ok_or_else(|| format!("a packet that makes no sense, of type {kind}"))
}

fn said(kind: u8, body: &[u8]) -> Option<Said> {
    let mut rest = body;
    match kind {
        2 => {
            let _flags = byte(&mut rest)?;
            let code = byte(&mut rest)?;
            Some(Said::Welcome { code, properties: properties(rest)? })
        }
        4 | 5 | 7 => {
            let stage = match kind {
                4 => Stage::Acknowledged,
                5 => Stage::Received,
                _ => Stage::Complete,
            };
            let packet = u16::from(byte(&mut rest)?) << 8 | u16::from(byte(&mut rest)?);
            let reason = byte(&mut rest).unwrap_or(0);
            Some(Said::Answer { stage, packet, reason, words: properties(rest)?.words })
        }
        13 => Some(Said::Pong),
        14 => {
            let reason = byte(&mut rest).unwrap_or(0);
            Some(Said::Farewell { reason, words: properties(rest)?.words })
        }
        // What is published to us, though we never ask for anything, and answers to what we never ask.
        3 | 9 | 11 => Some(Said::Else),
        _ => None,
    }
}

fn byte(bytes: &mut &[u8]) -> Option<u8> {
    let (first, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(*first)
}

fn part<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (first, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(first)
}

fn number(bytes: &mut &[u8], length: usize) -> Option<u32> {
    Some(part(bytes, length)?.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
}

/// A length of up to four bytes.
fn varint(bytes: &mut &[u8]) -> Option<usize> {
    let mut number = 0;
    for place in 0..4 {
        let next = byte(bytes)?;
        number |= usize::from(next & 0x7f) << (7 * place);
        if next & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn text(bytes: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(number(bytes, 2)?).ok()?;
    Some(String::from_utf8_lossy(part(bytes, length)?).into_owned())
}

/// Properties, which version 3.1.1 and short answers of version 5 do not have. The kinds of values are
/// those of section 2.2.2.2.
fn properties(mut bytes: &[u8]) -> Option<Properties> {
    let mut found = Properties::default();
    if bytes.is_empty() {
        return Some(found);
    }
    let length = varint(&mut bytes)?;
    let mut rest = part(&mut bytes, length)?;
    while !rest.is_empty() {
        match byte(&mut rest)? {
            31 => found.words = Some(text(&mut rest)?),
            33 => found.receive_maximum = u16::try_from(number(&mut rest, 2)?).ok(),
            36 => found.maximum_qos = Some(byte(&mut rest)?),
            39 => found.maximum_packet = Some(number(&mut rest, 4)?),
            1 | 23 | 25 | 37 | 40 | 41 | 42 => {
                byte(&mut rest)?;
            }
            19 | 34 | 35 => {
                number(&mut rest, 2)?;
            }
            2 | 17 | 24 => {
                number(&mut rest, 4)?;
            }
            3 | 8 | 9 | 18 | 21 | 22 | 26 | 28 => {
                text(&mut rest)?;
            }
            38 => {
                text(&mut rest)?;
                text(&mut rest)?;
            }
            11 => {
                varint(&mut rest)?;
            }
            _ => return None,
        }
    }
    Some(found)
}

/// Writes a packet. `rest` has at most [`MOST`] bytes.
fn packet(first: u8, rest: &[u8], out: &mut BytesMut) {
    out.put_u8(first);
    put_varint(rest.len(), out);
    out.extend_from_slice(rest);
}

fn put_varint(mut number: usize, out: &mut BytesMut) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or(0);
        number >>= 7;
        out.put_u8(if number > 0 { low | 0x80 } else { low });
        if number == 0 {
            break;
        }
    }
}

/// Text of at most 65,535 bytes, which whoever reads the configuration looks after.
fn put_text(text: &str, out: &mut BytesMut) {
    let text = text.get(..text.floor_char_boundary(usize::from(u16::MAX))).unwrap_or(text);
    out.put_u16(u16::try_from(text.len()).unwrap_or(u16::MAX));
    out.extend_from_slice(text.as_bytes());
}

/// Greets, with a clean session and no keep-alive.
pub(super) fn connect(version: Version, client: &str, login: Option<(&str, Option<&str>)>) -> Bytes {
    let mut rest = BytesMut::new();
    put_text("MQTT", &mut rest);
    let (user, password) = (login.is_some(), login.is_some_and(|(_, password)| password.is_some()));
    rest.put_u8(if version == Version::Five { 5 } else { 4 });
    rest.put_u8(u8::from(user) << 7 | u8::from(password) << 6 | 0b10);
    rest.put_u16(0);
    if version == Version::Five {
        put_varint(0, &mut rest);
    }
    put_text(client, &mut rest);
    if let Some((user, password)) = login {
        put_text(user, &mut rest);
        password.into_iter().for_each(|password| put_text(password, &mut rest));
    }
    let mut out = BytesMut::new();
    packet(0x10, &rest, &mut out);
    out.freeze()
}

/// A message; `number` is left out at QoS 0. With version 5 it says that its payload is UTF-8, and its id.
pub(super) fn publish(
    version: Version,
    qos: u8,
    number: u16,
    topic: &str,
    id: Option<&str>,
    payload: &str,
) -> BytesMut {
    let mut rest = BytesMut::with_capacity(payload.len() + topic.len() + 96);
    put_text(topic, &mut rest);
    if qos > 0 {
        rest.put_u16(number);
    }
    if version == Version::Five {
        let mut properties = BytesMut::from([1, 1].as_slice());
        if let Some(id) = id {
            properties.put_u8(38);
            put_text("aviary.id", &mut properties);
            put_text(id, &mut properties);
        }
        put_varint(properties.len(), &mut rest);
        rest.extend_from_slice(&properties);
    }
    rest.extend_from_slice(payload.as_bytes());
    let mut out = BytesMut::with_capacity(rest.len() + 5);
    packet(0x30 | qos << 1, &rest, &mut out);
    out
}

/// The third step of QoS 2.
pub(super) fn release(number: u16, out: &mut BytesMut) {
    packet(0x62, &number.to_be_bytes(), out);
}

/// Asks for a [`Said::Pong`].
pub(super) fn ping(out: &mut BytesMut) {
    packet(0xc0, &[], out);
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

    const TALK: &[u8] = b"\x20\x02\x00\x05\
        \x20\x14\x01\x00\x11\x21\x00\x14\x27\x00\x01\x00\x00\x24\x01\x1f\x00\x02hi\x2a\x01\
        \x40\x02\x01\x02\x40\x03\x00\x07\x10\x50\x08\x00\x08\x97\x04\x1f\x00\x01x\x70\x02\x00\x09\xd0\x00\xe0\x01\x8e\xe0\x00\x30\x03\x00\x01a";

    #[test]
    fn reads_all_that_brokers_say() {
        let words = |text: &str| Some(text.to_owned());
        let answer = |stage, packet, reason, words| Said::Answer { stage, packet, reason, words };
        let told = Properties {
            receive_maximum: Some(20),
            maximum_packet: Some(65_536),
            maximum_qos: Some(1),
            words: words("hi"),
        };
        let expected = [
            Said::Welcome { code: 5, properties: Properties::default() },
            Said::Welcome { code: 0, properties: told },
            answer(Stage::Acknowledged, 0x102, 0, None),
            answer(Stage::Acknowledged, 7, 16, None),
            answer(Stage::Received, 8, 0x97, words("x")),
            answer(Stage::Complete, 9, 0, None),
            Said::Pong,
            Said::Farewell { reason: 0x8e, words: None },
            Said::Farewell { reason: 0, words: None },
            Said::Else,
        ];
        let (said, rest) = all(TALK).expect("good");
        assert_eq!((said.as_slice(), rest), (expected.as_slice(), 0));
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
            b"HTTP/1.1 400 Bad Request\r\n\r\n".as_slice(),
            b"\x40\xff\xff\xff\xff\x01",
            b"\x40\xff\xff\x7f",
            b"\x40\x01\x00",
            b"\x20\x01\x00",
            b"\x20\x05\x00\x00\x02\x21\x00",
            b"\x20\x05\x00\x00\x02\x7e\x00",
            b"\x20\x06\x00\x00\x03\x1f\x00\x05",
            b"\x00",
            b"\x10",
            b"\x41",
        ] {
            assert!(all(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn writes_what_the_specification_asks_for() {
        let hello = connect(Version::Four, "c1", Some(("u", Some("p"))));
        assert_eq!(hello, b"\x10\x14\x00\x04MQTT\x04\xc2\x00\x00\x00\x02c1\x00\x01u\x00\x01p".as_slice());
        let hello = connect(Version::Five, "c", None);
        assert_eq!(hello, b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01c".as_slice());
        let message = publish(Version::Four, 1, 0x102, "a/b", Some("7"), "hi");
        assert_eq!(message, b"\x32\x09\x00\x03a/b\x01\x02hi".as_slice());
        let message = publish(Version::Five, 2, 1, "a", Some("7"), "hi");
        assert_eq!(message, b"\x34\x19\x00\x01a\x00\x01\x11\x01\x01\x26\x00\x09aviary.id\x00\x017hi".as_slice());
        let message = publish(Version::Four, 0, 1, "a", None, &"x".repeat(200));
        assert!(message.starts_with(b"\x30\xcb\x01\x00\x01ax") && message.len() == 206);
        let mut out = BytesMut::new();
        release(0x102, &mut out);
        ping(&mut out);
        assert_eq!(out, b"\x62\x02\x01\x02\xc0\x00".as_slice());
    }
}
