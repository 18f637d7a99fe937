//! TPKT ([RFC 1006]) and X.224 as RDP uses them: the connection request and its answer.
//!
//! ```text
//! TPKT     version 3 (1), reserved (1), length with these four bytes (2, big-endian), TPDU
//! CR       length of the header after this byte (1), e0, destination (2), source (2), class (1),
//!          cookie or routing token up to CR LF, negotiation request, correlation info
//! request  type 1 (1), flags (1), length 8 (2), protocols (4)
//! info     type 6 (1), flags (1), length 36 (2), correlation id (16), reserved (16)
//! CC       0e d0, destination (2), source (2), class (1), response or failure of 8 bytes
//! DT       02 f0 80, data
//! ```
//!
//! Structures: [MS-RDPBCGR] 2.2.1.1 and 2.2.1.2.
//!
//! [RFC 1006]: https://www.rfc-editor.org/rfc/rfc1006
//! [MS-RDPBCGR]: https://learn.microsoft.com/openspecs/windows_protocols/ms-rdpbcgr/

use super::little::Little;

/// Bits of requested and selected protocols.
pub(super) mod protocol {
    /// TLS.
    pub(in super::super) const SSL: u32 = 1;
    /// CredSSP inside TLS.
    pub(in super::super) const HYBRID: u32 = 2;
    /// RDSTLS inside TLS.
    pub(in super::super) const RDSTLS: u32 = 4;
    /// CredSSP with the result of the authorisation.
    pub(in super::super) const HYBRID_EX: u32 = 8;

    /// Names by bit, in order.
    pub(in super::super) const NAMES: [(u32, &str); 5] =
        [(SSL, "SSL"), (HYBRID, "HYBRID"), (RDSTLS, "RDSTLS"), (HYBRID_EX, "HYBRID_EX"), (16, "RDSAAD")];
}

/// Failure code: only CredSSP is taken.
pub(super) const HYBRID_REQUIRED_BY_SERVER: u32 = 5;

/// Longest connection request; Windows' own are below 100 bytes.
const LONGEST_REQUEST: usize = 4096;
/// Flag of the negotiation request: correlation info follows.
const CORRELATION_INFO_PRESENT: u8 = 8;
const CONNECTION_REQUEST: u8 = 0xe0;

/// Why bytes are no packet, or another than was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum X224Error {
    #[error("not a TPKT packet")]
    Version,
    #[error("the TPKT length is below that of an empty packet")]
    Short,
    #[error("the connection request is too long")]
    Long,
    #[error("not a connection request")]
    Code,
    #[error("the connection request's header does not fit its length")]
    Header,
    #[error("the negotiation request does not fit its length")]
    Negotiation,
    #[error("not a data packet")]
    Data,
}

/// The first packet's TPDU and the bytes that the packet takes; `None` when it is not whole yet.
///
/// # Errors
/// As soon as the bytes cannot become a packet.
pub(super) fn packet(input: &[u8]) -> Result<Option<(&[u8], usize)>, X224Error> {
    match input {
        [] => return Ok(None),
        [3, ..] => {}
        _ => return Err(X224Error::Version),
    }
    let [_, _, high, low, ..] = *input else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    // Four bytes of TPKT and a TPDU of three at least.
    if length < 7 {
        return Err(X224Error::Short);
    }
    Ok(input.get(4..length).map(|tpdu| (tpdu, length)))
}

/// What a client asks for first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    /// What follows `Cookie: mstshash=`.
    pub(super) cookie: Option<Vec<u8>>,
    /// Any other text before CR LF: a load balancer's token.
    pub(super) token: Option<Vec<u8>>,
    /// Flags and protocols of the negotiation request, if there is one.
    pub(super) negotiation: Option<(u8, u32)>,
    /// Identifies the client's session in its own logs.
    pub(super) correlation: Option<[u8; 16]>,
}

impl Request {
    /// Reads the TPDU of a connection request.
    pub(super) fn parse(tpdu: &[u8]) -> Result<Self, X224Error> {
        if tpdu.len() > LONGEST_REQUEST {
            return Err(X224Error::Long);
        }
        let (&[length, code, ..], Some(mut rest)) = (tpdu, tpdu.get(7..)) else { return Err(X224Error::Header) };
        if code & 0xf0 != CONNECTION_REQUEST {
            return Err(X224Error::Code);
        }
        // Beyond the six bytes of the fixed part; the negotiation may be counted or not.
        if length < 6 || usize::from(length) >= tpdu.len() {
            return Err(X224Error::Header);
        }
        let mut request = Self::default();
        if !matches!(rest, [] | [1, _, 8, 0, ..]) {
            let (line, after) = match memchr::memmem::find(rest, b"\r\n") {
                Some(at) => (rest.get(..at).unwrap_or_default(), rest.get(at.saturating_add(2)..).unwrap_or_default()),
                None => (rest, [].as_slice()),
            };
            match line.strip_prefix(b"Cookie: mstshash=") {
                Some(cookie) => request.cookie = Some(cookie.to_vec()),
                None => request.token = Some(line.to_vec()),
            }
            rest = after;
        }
        request.negotiation(Little(rest))?;
        Ok(request)
    }

    fn negotiation(&mut self, mut rest: Little<'_>) -> Result<(), X224Error> {
        // Padding after the cookie is no negotiation.
        if rest.0.first() != Some(&1) {
            return Ok(());
        }
        let mut read = || {
            rest.u8()?;
            let flags = rest.u8()?;
            (rest.u16()? == 8).then_some(())?;
            Some((flags, rest.u32()?))
        };
        let (flags, protocols) = read().ok_or(X224Error::Negotiation)?;
        self.negotiation = Some((flags, protocols));
        if flags & CORRELATION_INFO_PRESENT != 0
            && let [6, _, 36, 0, info @ ..] = rest.0
        {
            self.correlation = info.first_chunk().copied();
        }
        Ok(())
    }
}

/// What the answer says of the negotiation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing: the client did not negotiate.
    Silent,
    /// The server's flags and the protocol it chose.
    Selected(u8, u32),
    /// Why none is chosen.
    Failure(u32),
}

/// The connection confirm. Windows names itself 0x1234, as xrdp does.
pub(super) fn confirm(answer: Answer) -> Vec<u8> {
    let (kind, flags, value) = match answer {
        Answer::Silent => return b"\x03\0\0\x0b\x06\xd0\0\0\x12\x34\0".to_vec(),
        Answer::Selected(flags, protocol) => (2, flags, protocol),
        Answer::Failure(code) => (3, 0, code),
    };
    let mut out = b"\x03\0\0\x13\x0e\xd0\0\0\x12\x34\0".to_vec();
    out.extend_from_slice(&[kind, flags, 8, 0]);
    out.extend_from_slice(&value.to_le_bytes());
    out
}

/// What a data TPDU holds.
pub(super) fn data(tpdu: &[u8]) -> Result<&[u8], X224Error> {
    tpdu.strip_prefix(b"\x02\xf0\x80").ok_or(X224Error::Data)
}

/// A data TPDU in its packet.
pub(super) fn data_packet(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len().saturating_add(7)).unwrap_or(u16::MAX);
    let [high, low] = length.to_be_bytes();
    [&[3, 0, high, low, 2, 0xf0, 0x80], content].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSTSC: &[u8] = b"\x03\0\0\x2b\x26\xe0\0\0\0\0\0Cookie: mstshash=admin\r\n\x01\0\x08\0\x0b\0\0\0";

    fn request(packet_bytes: &[u8]) -> Result<Request, X224Error> {
        let (tpdu, used) = packet(packet_bytes)?.expect("a whole packet");
        assert_eq!(used, packet_bytes.len());
        Request::parse(tpdu)
    }

    /// A request with these bytes behind its fixed part.
    fn with(variable: &[u8]) -> Result<Request, X224Error> {
        let length = u8::try_from(variable.len() + 6).expect("short");
        Request::parse(&[&[length, 0xe0, 0, 0, 0, 0, 0], variable].concat())
    }

    #[test]
    fn reads_cookie_and_protocols() {
        let request = request(MSTSC).unwrap();
        assert_eq!(request.cookie.as_deref(), Some(&b"admin"[..]));
        assert_eq!((request.negotiation, request.token), (Some((0, 0x0b)), None));
    }

    #[test]
    fn every_prefix_is_incomplete() {
        for end in 0..MSTSC.len() {
            assert_eq!(packet(&MSTSC[..end]), Ok(None), "{end}");
        }
    }

    #[test]
    fn rejects_what_cannot_become_a_packet() {
        assert_eq!(packet(b"G"), Err(X224Error::Version));
        assert_eq!(packet(b"\x03\0\0\x05\0"), Err(X224Error::Short));
        assert_eq!(packet(b"\x03\0\0\x06"), Err(X224Error::Short));
    }

    #[test]
    fn rejects_requests_that_contradict_themselves() {
        assert_eq!(Request::parse(b"\x02\xf0\x80"), Err(X224Error::Header));
        assert_eq!(Request::parse(b"\x06\xd0\0\0\0\0\0"), Err(X224Error::Code));
        assert_eq!(Request::parse(b"\x07\xe0\0\0\0\0\0"), Err(X224Error::Header));
        assert_eq!(Request::parse(b"\x05\xe0\0\0\0\0\0"), Err(X224Error::Header));
        assert_eq!(Request::parse(&[6; LONGEST_REQUEST + 1]), Err(X224Error::Long));
        assert_eq!(with(b"\x01\0\x08\0\x03\0\0"), Err(X224Error::Negotiation));
        assert_eq!(with(b"a\r\n\x01\0\x09\0\x03\0\0\0"), Err(X224Error::Negotiation));
    }

    #[test]
    fn keeps_a_cookie_whole_whatever_is_in_it() {
        let request = with(b"Cookie: mstshash=DOM\\\xfc.user\r\n").unwrap();
        assert_eq!(request.cookie.as_deref(), Some(&b"DOM\\\xfc.user"[..]));
        let unended = with(b"Cookie: mstshash=abc").unwrap();
        assert_eq!((unended.cookie.as_deref(), unended.negotiation), (Some(&b"abc"[..]), None));
        assert_eq!(with(b"").unwrap(), Request::default());
    }

    #[test]
    fn reads_token_and_correlation() {
        let mut variable = b"Cookie: msts=3640205228.15629.0000\r\n\x01\x08\x08\0\x01\0\0\0\x06\0\x24\0".to_vec();
        variable.extend_from_slice(&[7; 16]);
        variable.extend_from_slice(&[0; 16]);
        let request = with(&variable).unwrap();
        assert_eq!(request.token.as_deref(), Some(&b"Cookie: msts=3640205228.15629.0000"[..]));
        assert_eq!((request.negotiation, request.correlation), (Some((8, 1)), Some([7; 16])));
    }

    #[test]
    fn answers_as_measured_and_documented() {
        assert_eq!(confirm(Answer::Silent), b"\x03\0\0\x0b\x06\xd0\0\0\x12\x34\0");
        assert_eq!(confirm(Answer::Selected(0x1f, 2)), b"\x03\0\0\x13\x0e\xd0\0\0\x12\x34\0\x02\x1f\x08\0\x02\0\0\0");
        assert_eq!(confirm(Answer::Failure(5)), b"\x03\0\0\x13\x0e\xd0\0\0\x12\x34\0\x03\0\x08\0\x05\0\0\0");
    }

    #[test]
    fn data_round_trips() {
        let bytes = data_packet(b"\x28");
        assert_eq!(bytes, b"\x03\0\0\x08\x02\xf0\x80\x28");
        assert_eq!(data(packet(&bytes).unwrap().unwrap().0), Ok(&b"\x28"[..]));
        assert_eq!(data(b"\x02\xf0\0"), Err(X224Error::Data));
    }
}
