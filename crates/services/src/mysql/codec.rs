//! Packets of the client/server protocol: framing, field by field reading, and what a server sends.
//!
//! ```text
//! packet     length:u24le  sequence:u8  payload
//! greeting   0a  version\0  id:u32le  salt[..8]  00  capabilities[..2]  charset:u8  status:u16le  tail
//! error      ff  code:u16le  [ "#" state[5] ]  text
//! switch     fe  plugin\0  salt[20]  00
//! more       01  data
//! ```
//!
//! A length-encoded number is one byte up to fa; fc, fd and fe announce two, three and eight bytes.

use super::persona::{Persona, Tail};
use super::scramble::Salt;

/// Bytes of a header.
pub(super) const HEADER: usize = 4;

/// Most bytes of a payload that are looked at. The server takes 64 KiB of connection attributes, and
/// refuses a handshake that claims more.
pub(super) const LONGEST: usize = 72 * 1024;

/// What waits at the front of the input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Framed<'a> {
    /// The packet is not whole.
    Partial,
    /// Its header has another sequence number than expected; a server does not wait for the rest.
    OutOfOrder,
    /// A packet, or the first [`LONGEST`] bytes of one that is longer.
    Packet {
        /// Its payload.
        payload: &'a [u8],
        /// Whether more was announced.
        cut: bool,
        /// Bytes that it takes, header included.
        used: usize,
    },
}

/// The first packet of the input.
pub(super) fn next_packet(input: &[u8], expected: u8) -> Framed<'_> {
    let Some((&[a, b, c, sequence], rest)) = input.split_first_chunk::<HEADER>() else { return Framed::Partial };
    if sequence != expected {
        return Framed::OutOfOrder;
    }
    let announced = usize::try_from(u32::from_le_bytes([a, b, c, 0])).unwrap_or(usize::MAX);
    let length = announced.min(LONGEST);
    match rest.get(..length) {
        Some(payload) => Framed::Packet { payload, cut: announced > length, used: length.saturating_add(HEADER) },
        None => Framed::Partial,
    }
}

/// Takes fields off a payload. What it cannot give it leaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// Exactly so many bytes.
    pub(super) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (field, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(field)
    }

    /// One byte.
    pub(super) fn u8(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    /// A number of up to four bytes.
    pub(super) fn number(&mut self, count: usize) -> Option<u32> {
        Some(self.bytes(count)?.iter().rev().fold(0, |number: u32, byte| number << 8 | u32::from(*byte)))
    }

    /// Text up to a NUL, which is taken too.
    pub(super) fn text(&mut self) -> Option<&'a [u8]> {
        let end = memchr::memchr(0, self.0)?;
        let field = self.bytes(end)?;
        self.u8()?;
        Some(field)
    }

    /// Text up to a NUL or the end.
    pub(super) fn text_or_rest(&mut self) -> &'a [u8] {
        self.text().unwrap_or_else(|| std::mem::take(&mut self.0))
    }

    /// A length in one byte, then as many.
    pub(super) fn short(&mut self) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let length = ahead.u8()?;
        let field = ahead.bytes(usize::from(length))?;
        *self = ahead;
        Some(field)
    }

    /// A length-encoded length, then as many bytes.
    pub(super) fn long(&mut self) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let length = ahead.length()?;
        let field = ahead.bytes(length)?;
        *self = ahead;
        Some(field)
    }

    /// A length-encoded length.
    pub(super) fn length(&mut self) -> Option<usize> {
        let mut ahead = *self;
        let length = match ahead.u8()? {
            0xfc => ahead.number(2)?,
            0xfd => ahead.number(3)?,
            0xfe => {
                let low = ahead.number(4)?;
                // No packet is this long.
                if ahead.number(4)? == 0 { low } else { u32::MAX }
            }
            // fb is NULL and ff an error; a server takes both for nothing.
            0xfb | 0xff => 0,
            small => u32::from(small),
        };
        *self = ahead;
        usize::try_from(length).ok()
    }
}

/// A packet to send. Nothing that is sent comes near the 16 MiB at which a packet is continued.
pub(super) fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let [a, b, c, ..] = u32::try_from(payload.len()).unwrap_or_default().to_le_bytes();
    [&[a, b, c, sequence], payload].concat()
}

/// The first packet.
pub(super) fn greeting(banner: &[u8], persona: &Persona, id: u32, salt: &Salt) -> Vec<u8> {
    let (first, second) = salt.split_at_checked(8).unwrap_or_default();
    let mut payload = vec![10];
    payload.extend_from_slice(banner);
    payload.push(0);
    payload.extend_from_slice(&id.to_le_bytes());
    payload.extend_from_slice(first);
    payload.push(0);
    payload.extend_from_slice(&persona.lower.to_le_bytes());
    // SERVER_STATUS_AUTOCOMMIT.
    payload.extend_from_slice(&[persona.charset, 2, 0]);
    match persona.tail {
        Tail::Nothing => payload.extend_from_slice(&[0; 13]),
        Tail::Salt => {
            payload.extend_from_slice(&[0; 13]);
            payload.extend_from_slice(second);
            payload.push(0);
        }
        Tail::Plugin { upper, extended } => {
            payload.extend_from_slice(&upper.to_le_bytes());
            // Length of the salt with its NUL, then six reserved bytes and MariaDB's further flags.
            payload.extend_from_slice(&[21, 0, 0, 0, 0, 0, 0]);
            payload.extend_from_slice(&extended.to_le_bytes());
            payload.extend_from_slice(second);
            payload.push(0);
            payload.extend_from_slice(persona.plugins.first().map_or("", |plugin| plugin.name()).as_bytes());
            payload.push(0);
        }
    }
    packet(0, &payload)
}

/// Asks the client to go on with another plugin.
pub(super) fn switch(plugin: &str, salt: &Salt) -> Vec<u8> {
    [&[0xfe], plugin.as_bytes(), &[0], salt, &[0]].concat()
}

/// What a plugin says to its other half.
pub(super) fn more(data: &[u8]) -> Vec<u8> {
    [&[1], data].concat()
}

/// An error, as the server numbers and words it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    code: u16,
    state: &'static str,
    text: Vec<u8>,
}

impl Refusal {
    const fn of(code: u16, state: &'static str, text: Vec<u8>) -> Self {
        Self { code, state, text }
    }

    /// 1043, ER_HANDSHAKE_ERROR.
    pub(super) fn bad_handshake() -> Self {
        Self::of(1043, "08S01", b"Bad handshake".to_vec())
    }

    /// 1045, ER_ACCESS_DENIED_ERROR.
    pub(super) fn access_denied(text: Vec<u8>) -> Self {
        Self::of(1045, "28000", text)
    }

    /// 1156, ER_NET_PACKETS_OUT_OF_ORDER.
    pub(super) fn out_of_order() -> Self {
        Self::of(1156, "08S01", b"Got packets out of order".to_vec())
    }

    /// 1158, ER_NET_READ_ERROR.
    pub(super) fn read_error() -> Self {
        Self::of(1158, "08S01", b"Got an error reading communication packets".to_vec())
    }

    /// 1159, ER_NET_READ_INTERRUPTED.
    pub(super) fn read_timeout() -> Self {
        Self::of(1159, "08S01", b"Got timeout reading communication packets".to_vec())
    }

    /// 1251, ER_NOT_SUPPORTED_AUTH_MODE.
    pub(super) fn client_too_old() -> Self {
        let text =
            "Client does not support authentication protocol requested by server; consider upgrading MySQL client";
        Self::of(1251, "08004", text.into())
    }

    /// The payload. Clients before 4.1 know no states.
    pub(super) fn payload(&self, with_state: bool) -> Vec<u8> {
        let mut payload = vec![0xff];
        payload.extend_from_slice(&self.code.to_le_bytes());
        if with_state {
            payload.push(b'#');
            payload.extend_from_slice(self.state.as_bytes());
        }
        payload.extend_from_slice(&self.text);
        payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_of_a_packet_is_incomplete() {
        let good = packet(1, b"hello");
        for end in 0..good.len() {
            assert_eq!(next_packet(&good[..end], 1), Framed::Partial, "{end}");
        }
        let whole = Framed::Packet { payload: b"hello", cut: false, used: 9 };
        assert_eq!(next_packet(&good, 1), whole);
        assert_eq!(next_packet(&[good, packet(2, b"next")].concat(), 1), whole);
    }

    #[test]
    fn a_header_alone_tells_of_disorder() {
        assert_eq!(next_packet(b"\xff\xff\xff\xff", 1), Framed::OutOfOrder);
        assert_eq!(next_packet(b"\0\0\0\0", 1), Framed::OutOfOrder);
        assert_eq!(next_packet(b"\0\0\0\x01", 1), Framed::Packet { payload: b"", cut: false, used: 4 });
    }

    #[test]
    fn a_packet_that_is_too_long_is_cut() {
        let mut input = b"\xff\xff\xff\x01".to_vec();
        input.resize(HEADER + LONGEST - 1, b'A');
        assert_eq!(next_packet(&input, 1), Framed::Partial);
        input.push(b'A');
        assert!(matches!(next_packet(&input, 1), Framed::Packet { cut: true, used, .. } if used == HEADER + LONGEST));
    }

    #[test]
    fn lengths_are_read_in_every_size() {
        for (bytes, length) in [
            (&b"\x05"[..], Some(5)),
            (b"\xfa", Some(250)),
            (b"\xfc\x01\x02", Some(0x201)),
            (b"\xfd\x01\x02\x03", Some(0x30201)),
            (b"\xfe\x01\0\0\0\0\0\0\0", Some(1)),
            (b"\xfe\x01\0\0\0\0\0\0\x01", Some(0xffff_ffff)),
            (b"\xfb", Some(0)),
            (b"\xfc\x01", None),
            (b"", None),
        ] {
            assert_eq!(Reader(bytes).length(), length, "{bytes:?}");
        }
    }

    #[test]
    fn a_length_beyond_the_payload_takes_nothing() {
        let mut reader = Reader(b"\x05abc");
        assert_eq!((reader.short(), reader.0), (None, &b"\x05abc"[..]));
        assert_eq!((reader.long(), reader.0), (None, &b"\x05abc"[..]));
        assert_eq!((reader.text(), reader.text_or_rest()), (None, &b"\x05abc"[..]));
        assert_eq!(Reader(b"\x03abcd").long(), Some(&b"abc"[..]));
    }
}
