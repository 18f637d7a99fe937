//! TDS packets ([MS-TDS] 2.2.3): the frame around everything, and around a TLS handshake.
//!
//! [MS-TDS]: https://learn.microsoft.com/openspecs/windows_protocols/ms-tds/

use aviary_service::Wrapping;

/// Bytes of a packet's header.
pub(super) const HEADER: usize = 8;
/// Longest packet that a client may send: the greatest size that can be agreed ([MS-TDS] 2.2.6.4).
const LONGEST: usize = 32_767;
/// Size of packets before a login agreed on another ([MS-TDS] 2.2.3.1.3).
const SIZE: usize = 4096;
/// The status bit of a message's last packet.
const LAST: u8 = 0x01;

/// Types of packets.
pub(super) mod kind {
    /// SQL batch.
    pub(crate) const BATCH: u8 = 0x01;
    /// Login before TDS 7.
    pub(crate) const OLD_LOGIN: u8 = 0x02;
    /// Remote procedure call.
    pub(crate) const RPC: u8 = 0x03;
    /// What a server answers.
    pub(crate) const RESPONSE: u8 = 0x04;
    /// Attention: cancel what runs.
    pub(crate) const ATTENTION: u8 = 0x06;
    /// Bulk load.
    pub(crate) const BULK: u8 = 0x07;
    /// Token of federated authentication.
    pub(crate) const FEDERATED: u8 = 0x08;
    /// Transaction manager.
    pub(crate) const TRANSACTION: u8 = 0x0e;
    /// LOGIN7.
    pub(crate) const LOGIN: u8 = 0x10;
    /// SSPI token.
    pub(crate) const SSPI: u8 = 0x11;
    /// PRELOGIN, and what carries a TLS handshake.
    pub(crate) const PRELOGIN: u8 = 0x12;
}

/// What a message of that type is, for a report; nothing for a type that no client sends.
pub(super) const fn name(kind: u8) -> Option<&'static str> {
    Some(match kind {
        kind::BATCH => "SQL batch",
        kind::OLD_LOGIN => "login of TDS 4.2",
        kind::RPC => "remote procedure call",
        kind::ATTENTION => "attention",
        kind::BULK => "bulk load",
        kind::FEDERATED => "federated authentication token",
        kind::TRANSACTION => "transaction manager request",
        kind::LOGIN => "LOGIN7",
        kind::SSPI => "SSPI message",
        kind::PRELOGIN => "PRELOGIN",
        _ => return None,
    })
}

/// One packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packet<'a> {
    /// Its type, one of [`kind`].
    pub(super) kind: u8,
    /// Whether it is its message's last.
    pub(super) last: bool,
    /// What it holds.
    pub(super) payload: &'a [u8],
    /// Bytes that it takes.
    pub(super) used: usize,
}

/// The first packet of `input`, `None` when it is not whole yet. The header: type (1), status (1),
/// length of the packet with its header (2, big endian), SPID (2), packet number (1), window (1).
///
/// # Errors
/// With the reason, when it is no packet of a client.
pub(super) fn packet(input: &[u8]) -> Result<Option<Packet<'_>>, &'static str> {
    let Some(&[kind, status, high, low, ..]) = input.first_chunk::<HEADER>() else { return Ok(None) };
    if name(kind).is_none() {
        return Err("no packet type of a client");
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if !(HEADER..=LONGEST).contains(&length) {
        return Err("packet length out of bounds");
    }
    let payload = input.get(HEADER..length);
    Ok(payload.map(|payload| Packet { kind, last: status & LAST != 0, payload, used: length }))
}

/// A message of ours in packets of the size that holds before a login.
pub(super) fn message(kind: u8, spid: u16, payload: &[u8]) -> Vec<u8> {
    let pieces: Vec<&[u8]> = payload.chunks(SIZE.saturating_sub(HEADER)).collect();
    let mut out = Vec::with_capacity(payload.len().saturating_add(HEADER));
    for (n, piece) in pieces.iter().enumerate() {
        let last = n.saturating_add(1) == pieces.len();
        let length = u16::try_from(piece.len().saturating_add(HEADER)).unwrap_or(u16::MAX);
        let number = u8::try_from(n.saturating_add(1) & 0xff).unwrap_or(0);
        out.extend_from_slice(&[kind, u8::from(last)]);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&spid.to_be_bytes());
        out.extend_from_slice(&[number, 0]);
        out.extend_from_slice(piece);
    }
    out
}

/// Whether a packet carries TLS: PRELOGIN begins with an option, of which none has the number of a
/// handshake record.
pub(super) fn is_tls(packet: &Packet<'_>) -> bool {
    packet.kind == kind::PRELOGIN && packet.payload.first() == Some(&0x16)
}

/// The length of the TLS record at the front of `input` with its header, `None` when that is not
/// whole yet. The header: type (1), version 3.x (2), length (2, big endian).
///
/// # Errors
/// With the reason, when it is no record.
pub(super) fn record(input: &[u8]) -> Result<Option<usize>, &'static str> {
    let Some(&[_, major, _, high, low]) = input.first_chunk() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([high, low])).saturating_add(5);
    // RFC 8446, section 5.1: 2^14 bytes and the expansion of encryption.
    if major != 3 || length > 5 + 16_384 + 2048 {
        return Err("no TLS record");
    }
    Ok((input.len() >= length).then_some(length))
}

/// Carries a TLS handshake in PRELOGIN packets.
pub(super) struct InPackets;

impl Wrapping for InPackets {
    fn take_out<'a>(&mut self, input: &'a [u8]) -> Result<Option<(usize, &'a [u8])>, String> {
        match packet(input) {
            Ok(Some(packet)) if packet.kind != kind::PRELOGIN => Err("another packet inside the handshake".to_owned()),
            Ok(whole) => Ok(whole.map(|packet| (packet.used, packet.payload))),
            Err(reason) => Err(reason.to_owned()),
        }
    }

    fn put_in(&mut self, tls: &[u8]) -> Vec<u8> {
        message(kind::PRELOGIN, 0, tls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_of_a_packet_is_incomplete() {
        let whole = message(kind::LOGIN, 0, b"payload");
        for end in 0..whole.len() {
            assert_eq!(packet(&whole[..end]), Ok(None), "{end}");
        }
        let expected = Packet { kind: kind::LOGIN, last: true, payload: b"payload", used: 15 };
        assert_eq!(packet(&[&whole[..], b"more"].concat()), Ok(Some(expected)));
    }

    #[test]
    fn rejects_types_and_lengths_that_no_client_sends() {
        for wrong in [
            &b"GET / HTTP/1.0\r\n"[..],
            b"\x12\x01\0\x07\0\0\0\0",
            b"\x12\x01\x80\0\0\0\0\0",
            b"\x04\x01\0\x08\0\0\0\0",
        ] {
            assert!(packet(wrong).is_err(), "{}", wrong.escape_ascii());
        }
        assert!(packet(b"\x12\x01\0\x08\0\0\0\0").is_ok_and(|packet| packet.is_some()));
    }

    #[test]
    fn long_messages_come_in_packets_of_which_one_is_the_last() {
        let bytes = message(kind::RESPONSE, 0x34, &[7; 5000]);
        let header = |at: usize| &bytes[at..at + HEADER];
        assert_eq!(header(0), b"\x04\x00\x10\x00\x00\x34\x01\x00");
        assert_eq!(header(4096), b"\x04\x01\x03\x98\x00\x34\x02\x00");
        assert_eq!(bytes.len(), 5000 + 2 * HEADER);
    }

    #[test]
    fn every_prefix_of_a_record_is_incomplete() {
        let whole = b"\x16\x03\x01\x00\x03abc";
        for end in 0..whole.len() {
            assert_eq!(record(&whole[..end]), Ok(None), "{end}");
        }
        assert_eq!(record(&[&whole[..], b"more"].concat()), Ok(Some(8)));
        assert!(record(b"\x16\x04\x01\x00\x03").is_err());
        assert!(record(b"\x16\x03\x01\xff\xff").is_err());
    }

    #[test]
    fn a_handshake_travels_in_prelogin_packets_only() {
        let put = InPackets.put_in(b"\x16\x03\x03");
        assert_eq!(put, b"\x12\x01\0\x0b\0\0\x01\0\x16\x03\x03");
        assert_eq!(InPackets.take_out(&put), Ok(Some((11, &b"\x16\x03\x03"[..]))));
        assert_eq!(InPackets.take_out(&put[..9]), Ok(None));
        assert!(InPackets.take_out(b"\x10\x01\0\x08\0\0\0\0").is_err());
        assert!(InPackets.take_out(b"\x16\x03\x01\0\x05hello").is_err());
    }
}
