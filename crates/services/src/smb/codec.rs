//! Frames and headers: the NetBIOS session service around every message, the SMB2 header, and
//! little-endian fields at offsets.

use super::status;

/// SMB2's protocol identifier.
pub(super) const SMB2: &[u8; 4] = b"\xfeSMB";
/// SMB1's.
pub(super) const SMB1: &[u8; 4] = b"\xffSMB";
/// That of an encrypted message.
pub(super) const TRANSFORM: &[u8; 4] = b"\xfdSMB";
/// That of a compressed one.
const COMPRESSED: &[u8; 4] = b"\xfcSMB";

/// Bytes of an SMB2 header.
pub(super) const HEADER: usize = 64;

/// Longest message that is held whole. A longer one must be a WRITE, whose data go by in pieces.
pub(super) const LONGEST: usize = 128 * 1024;

/// Bytes of a large WRITE that are looked at before its data: headers of NetBIOS, SMB2 and WRITE.
pub(super) const WRITE_HEAD: usize = 4 + HEADER + 48;

/// SMB2 commands ([MS-SMB2] 2.2.1).
pub(super) mod command {
    pub(in crate::smb) const NEGOTIATE: u16 = 0;
    pub(in crate::smb) const SESSION_SETUP: u16 = 1;
    pub(in crate::smb) const LOGOFF: u16 = 2;
    pub(in crate::smb) const TREE_CONNECT: u16 = 3;
    pub(in crate::smb) const TREE_DISCONNECT: u16 = 4;
    pub(in crate::smb) const CREATE: u16 = 5;
    pub(in crate::smb) const CLOSE: u16 = 6;
    pub(in crate::smb) const FLUSH: u16 = 7;
    pub(in crate::smb) const READ: u16 = 8;
    pub(in crate::smb) const WRITE: u16 = 9;
    pub(in crate::smb) const LOCK: u16 = 10;
    pub(in crate::smb) const IOCTL: u16 = 11;
    pub(in crate::smb) const CANCEL: u16 = 12;
    pub(in crate::smb) const ECHO: u16 = 13;
    pub(in crate::smb) const QUERY_DIRECTORY: u16 = 14;
    pub(in crate::smb) const CHANGE_NOTIFY: u16 = 15;
    pub(in crate::smb) const QUERY_INFO: u16 = 16;
    pub(in crate::smb) const SET_INFO: u16 = 17;
}

/// The message is a response.
const RESPONSE: u32 = 0x1;
/// The header holds an asynchronous id where tree and process stand otherwise.
pub(super) const ASYNC: u32 = 0x2;
/// A later part of a compound works on what the one before it opened.
pub(super) const RELATED: u32 = 0x4;
/// The message is signed.
pub(super) const SIGNED: u32 = 0x8;

/// What waits at the front of the stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    /// More bytes are needed.
    Incomplete,
    /// A message, and the bytes that it takes with its frame.
    Message(&'a [u8], usize),
    /// The head of a WRITE too long to hold, and the whole message's length without its frame.
    Large(&'a [u8], usize),
    /// An encrypted message, and its bytes with the frame.
    Encrypted(&'a [u8], usize),
    /// A NetBIOS session request, and its bytes with the frame.
    SessionRequest(&'a [u8], usize),
    /// A NetBIOS keep-alive.
    KeepAlive,
    /// What no client sends, and why.
    Bad(&'static str),
}

/// Reads a frame: type (1 byte), length (3 bytes, of which NetBIOS uses 17 bits), message.
pub(super) fn frame(input: &[u8], netbios: bool) -> Frame<'_> {
    let Some(kind) = input.first() else { return Frame::Incomplete };
    match (*kind, netbios) {
        (0x00 | 0x85, _) | (0x81, true) => {}
        _ => return Frame::Bad("no SMB message"),
    }
    let Some([_, high, mid, low]) = input.first_chunk().copied() else { return Frame::Incomplete };
    let high = if netbios { high & 1 } else { high };
    let length = usize::try_from(u32::from_be_bytes([0, high, mid, low])).unwrap_or(usize::MAX);
    let rest = input.get(4..).unwrap_or_default();
    let whole = length.saturating_add(4);
    match kind {
        0x85 => return Frame::KeepAlive,
        0x81 if length > 512 => return Frame::Bad("a session request too long"),
        0x81 => {
            return rest.get(..length).map_or(Frame::Incomplete, |names| Frame::SessionRequest(names, whole));
        }
        _ => {}
    }
    let signature = rest.get(..rest.len().min(4)).unwrap_or_default();
    match signature {
        _ if length < 4 => return Frame::Bad("a message too short"),
        known if [SMB1, SMB2].iter().any(|magic| magic.starts_with(known)) => {}
        known if known == TRANSFORM => {
            if length > LONGEST {
                return Frame::Bad("a message too long");
            }
            return rest.get(..length).map_or(Frame::Incomplete, |message| Frame::Encrypted(message, whole));
        }
        known if known == COMPRESSED => return Frame::Bad("a compressed message"),
        known if [TRANSFORM, COMPRESSED].iter().any(|magic| magic.starts_with(known)) => {}
        _ => return Frame::Bad("no SMB message"),
    }
    if length <= LONGEST {
        return rest.get(..length).map_or(Frame::Incomplete, |message| Frame::Message(message, whole));
    }
    let Some(head) = rest.get(..WRITE_HEAD.saturating_sub(4)) else { return Frame::Incomplete };
    match Header::decode(head) {
        Some(header) if header.command == command::WRITE && header.next == 0 => Frame::Large(head, length),
        _ => Frame::Bad("a message too long"),
    }
}

/// An SMB2 header ([MS-SMB2] 2.2.1): identifier (4), size (2), credit charge (2), status (4),
/// command (2), credits (2), flags (4), next command (4), message id (8), process id (4) and tree
/// id (4) or asynchronous id (8), session id (8), signature (16).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) charge: u16,
    pub(super) status: u32,
    pub(super) command: u16,
    pub(super) credits: u16,
    pub(super) flags: u32,
    pub(super) next: u32,
    pub(super) message: u64,
    pub(super) process: u32,
    pub(super) tree: u32,
    pub(super) session: u64,
}

impl Header {
    /// Reads a header; `None` when it is none.
    pub(super) fn decode(message: &[u8]) -> Option<Self> {
        if !message.starts_with(SMB2) || u16_at(message, 4)? != 64 || message.len() < HEADER {
            return None;
        }
        Some(Self {
            charge: u16_at(message, 6)?,
            status: u32_at(message, 8)?,
            command: u16_at(message, 12)?,
            credits: u16_at(message, 14)?,
            flags: u32_at(message, 16)?,
            next: u32_at(message, 20)?,
            message: u64_at(message, 24)?,
            process: u32_at(message, 32)?,
            tree: u32_at(message, 36)?,
            session: u64_at(message, 40)?,
        })
    }

    /// The header of the answer to this request.
    pub(super) fn answer(&self, status: u32) -> Self {
        // As many credits as asked for, at least one, and no more than Windows leaves a client.
        let credits = self.credits.clamp(1, 512);
        Self { status, credits, flags: RESPONSE | (self.flags & RELATED), next: 0, ..self.clone() }
    }

    /// The header with no signature.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(SMB2);
        out.put16(64);
        out.put16(self.charge);
        out.put32(self.status);
        out.put16(self.command);
        out.put16(self.credits);
        out.put32(self.flags);
        out.put32(self.next);
        out.put64(self.message);
        out.put32(self.process);
        out.put32(self.tree);
        out.put64(self.session);
        out.extend_from_slice(&[0; 16]);
    }
}

/// The body that stands for every failure: size 9, no contexts, no data.
pub(super) const ERROR: [u8; 9] = [9, 0, 0, 0, 0, 0, 0, 0, 0];

/// The answer to one request: status and body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u32,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// Success.
    pub(super) const fn ok(body: Vec<u8>) -> Self {
        Self { status: status::SUCCESS, body }
    }

    /// A failure.
    pub(super) fn fail(status: u32) -> Self {
        Self { status, body: ERROR.to_vec() }
    }

    /// Success without anything to say: size 4.
    pub(super) fn empty() -> Self {
        Self::ok(vec![4, 0, 0, 0])
    }
}

/// Longest message that a frame's length of 3 bytes can name.
const FRAMED: usize = 0x00ff_ffff;

/// A frame around a message. No answer comes near the longest message; what is beyond it is cut.
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    let message = message.get(..message.len().min(FRAMED)).unwrap_or_default();
    let length = u32::try_from(message.len()).unwrap_or(0);
    let mut out = Vec::with_capacity(message.len().saturating_add(4));
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(message);
    out
}

/// A little-endian field at an offset.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|field| u16::from_le_bytes(*field))
}

/// A little-endian field at an offset.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|field| u32::from_le_bytes(*field))
}

/// A little-endian field at an offset.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|field| u64::from_le_bytes(*field))
}

/// `length` bytes from `at`; `None` when they reach outside.
pub(super) fn slice(bytes: &[u8], at: impl TryInto<usize>, length: impl TryInto<usize>) -> Option<&[u8]> {
    bytes.get(at.try_into().ok()?..)?.get(..length.try_into().ok()?)
}

/// UTF-16LE as text; what is no text becomes U+FFFD. For names that are looked up, not for events.
pub(super) fn text(bytes: &[u8]) -> String {
    let units = bytes.chunks_exact(2).filter_map(|pair| pair.first_chunk().map(|unit| u16::from_le_bytes(*unit)));
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// Text as UTF-16LE.
pub(super) fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// Microseconds since 1970 as a file time: 100 nanoseconds since 1601.
pub(super) fn filetime(micros: i64) -> u64 {
    u64::try_from(micros.saturating_add(11_644_473_600_000_000)).unwrap_or(0).saturating_mul(10)
}

/// Little-endian fields at the end of a message in the making.
pub(super) trait Put {
    fn put16(&mut self, value: u16);
    fn put32(&mut self, value: u32);
    fn put64(&mut self, value: u64);
    /// A length or offset that fits its field as long as replies are bounded.
    fn put_len(&mut self, value: usize);
    /// Zeros up to a multiple.
    fn align(&mut self, to: usize);
}

impl Put for Vec<u8> {
    fn put16(&mut self, value: u16) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_len(&mut self, value: usize) {
        self.put32(u32::try_from(value).unwrap_or(u32::MAX));
    }

    fn align(&mut self, to: usize) {
        self.resize(self.len().next_multiple_of(to.max(1)), 0);
    }
}

/// A length in a 16-bit field.
pub(super) fn short(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo() -> Vec<u8> {
        let header = Header { command: command::ECHO, message: 7, credits: 3, session: 0x55, ..Header::default() };
        let mut message = Vec::new();
        header.encode(&mut message);
        message.extend_from_slice(&[4, 0, 0, 0]);
        message
    }

    #[test]
    fn every_prefix_of_a_frame_is_incomplete() {
        let whole = framed(&echo());
        for end in 0..whole.len() {
            assert_eq!(frame(&whole[..end], false), Frame::Incomplete, "{end}");
        }
        assert_eq!(frame(&whole, false), Frame::Message(&echo(), 72));
    }

    #[test]
    fn a_header_goes_round() {
        let header = Header::decode(&echo()).unwrap();
        assert_eq!((header.message, header.credits, header.session), (7, 3, 0x55));
        let mut again = Vec::new();
        header.encode(&mut again);
        assert_eq!(again, echo()[..HEADER]);
        assert_eq!(header.answer(status::SUCCESS).flags, RESPONSE);
    }

    #[test]
    fn rejects_what_is_no_message() {
        assert_eq!(frame(b"GET / HTTP/1.0", false), Frame::Bad("no SMB message"));
        assert_eq!(frame(b"\0\0\0\x10HTTP", false), Frame::Bad("no SMB message"));
        assert_eq!(frame(b"\0\0\0\x10\xfcSMB", false), Frame::Bad("a compressed message"));
        assert_eq!(frame(b"\0\0\0\x10\xfdSMB", false), Frame::Incomplete);
        assert_eq!(frame(b"\0\x10\0\x10\xfdSMB", false), Frame::Bad("a message too long"));
        assert_eq!(frame(b"\0\0\0\x02\xfeS", false), Frame::Bad("a message too short"));
        assert_eq!(frame(b"\x81\0\0\x44", false), Frame::Bad("no SMB message"));
        assert_eq!(Header::decode(&echo()[..63]), None);
    }

    #[test]
    fn a_message_too_long_must_be_a_write() {
        let mut long = vec![0, 0x10, 0, 0];
        long.extend_from_slice(&echo());
        long.resize(WRITE_HEAD, 0);
        assert_eq!(frame(&long, false), Frame::Bad("a message too long"));
        long[16] = 9;
        assert_eq!(frame(&long[..WRITE_HEAD - 1], false), Frame::Incomplete);
        assert_eq!(frame(&long, false), Frame::Large(&long[4..], 0x10_0000));
    }

    #[test]
    fn knows_session_requests_and_keep_alives() {
        let mut request = vec![0x81, 0, 0, 68];
        request.extend_from_slice(&[b'A'; 68]);
        assert!(matches!(frame(&request, true), Frame::SessionRequest(_, 72)));
        assert_eq!(frame(&request[..71], true), Frame::Incomplete);
        assert_eq!(frame(&[0x85, 0, 0, 0], true), Frame::KeepAlive);
    }

    #[test]
    fn a_frame_is_never_longer_than_it_says() {
        for (given, left) in [(0, 0), (70_000, 70_000), (FRAMED, FRAMED), (FRAMED + 5, FRAMED)] {
            let whole = framed(&vec![7; given]);
            assert_eq!(whole.len(), left + 4);
            assert_eq!(whole[..4], u32::try_from(left).unwrap().to_be_bytes());
        }
    }

    #[test]
    fn file_times_count_from_1601() {
        assert_eq!(filetime(0), 116_444_736_000_000_000);
    }
}
