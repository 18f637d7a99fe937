//! The bytes below the packets: the identification line, message numbers and SSH's data types.
//!
//! Layouts: identification line in [RFC 4253 section 4.2], data types in [RFC 4251 section 5].
//! What the line may look like and how much of the input is read before it is refused follows what
//! OpenSSH 8.2 to 10.6 do; the close differs (FIN or RST) by whether anything was left unread.
//!
//! [RFC 4253 section 4.2]: https://www.rfc-editor.org/rfc/rfc4253#section-4.2
//! [RFC 4251 section 5]: https://www.rfc-editor.org/rfc/rfc4251#section-5

/// Longest identification line that OpenSSH reads, in bytes without CR and LF (`SSH_MAX_BANNER_LEN`).
pub(crate) const LONGEST_LINE: usize = 8192;

/// Message numbers (RFC 4250 section 4.1.2, RFC 8308, RFC 8731, OpenSSH's `PROTOCOL`).
pub(crate) mod message {
    /// `SSH_MSG_DISCONNECT`
    pub(crate) const DISCONNECT: u8 = 1;
    /// `SSH_MSG_IGNORE`
    pub(crate) const IGNORE: u8 = 2;
    /// `SSH_MSG_UNIMPLEMENTED`
    pub(crate) const UNIMPLEMENTED: u8 = 3;
    /// `SSH_MSG_DEBUG`
    pub(crate) const DEBUG: u8 = 4;
    /// `SSH_MSG_SERVICE_REQUEST`
    pub(crate) const SERVICE_REQUEST: u8 = 5;
    /// `SSH_MSG_SERVICE_ACCEPT`
    pub(crate) const SERVICE_ACCEPT: u8 = 6;
    /// `SSH_MSG_EXT_INFO`
    pub(crate) const EXT_INFO: u8 = 7;
    /// `SSH_MSG_KEXINIT`
    pub(crate) const KEXINIT: u8 = 20;
    /// `SSH_MSG_NEWKEYS`
    pub(crate) const NEWKEYS: u8 = 21;
    /// `SSH_MSG_KEXDH_INIT`, `SSH_MSG_KEX_ECDH_INIT`, `SSH_MSG_KEX_HYBRID_INIT`
    pub(crate) const KEX_INIT: u8 = 30;
    /// The answer to [`KEX_INIT`], and the group of a group exchange (`SSH_MSG_KEX_DH_GEX_GROUP`).
    pub(crate) const KEX_REPLY: u8 = 31;
    /// `SSH_MSG_KEX_DH_GEX_INIT`
    pub(crate) const GEX_INIT: u8 = 32;
    /// `SSH_MSG_KEX_DH_GEX_REPLY`
    pub(crate) const GEX_REPLY: u8 = 33;
    /// `SSH_MSG_KEX_DH_GEX_REQUEST`
    pub(crate) const GEX_REQUEST: u8 = 34;
    /// Last number of the transport layer; beyond it OpenSSH has no handler before authentication.
    pub(crate) const TRANSPORT_LAST: u8 = 49;
    /// `SSH_MSG_USERAUTH_REQUEST`
    pub(crate) const USERAUTH_REQUEST: u8 = 50;
    /// `SSH_MSG_USERAUTH_FAILURE`
    pub(crate) const USERAUTH_FAILURE: u8 = 51;
    /// `SSH_MSG_USERAUTH_BANNER`
    pub(crate) const USERAUTH_BANNER: u8 = 53;
    /// `SSH_MSG_USERAUTH_INFO_REQUEST`
    pub(crate) const INFO_REQUEST: u8 = 60;
    /// `SSH_MSG_USERAUTH_INFO_RESPONSE`
    pub(crate) const INFO_RESPONSE: u8 = 61;
    /// First number that is local to an implementation.
    pub(crate) const LOCAL_FIRST: u8 = 192;
    /// `SSH2_MSG_PING` of OpenSSH 9.5 and later.
    pub(crate) const PING: u8 = 192;
    /// `SSH2_MSG_PONG`
    pub(crate) const PONG: u8 = 193;
}

/// What the first bytes of a client are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identification<'a> {
    /// No line feed yet, and nothing wrong so far.
    Incomplete,
    /// A client of protocol 2 (or 1.99); `line` has no CR and LF.
    Client { line: &'a [u8], used: usize },
    /// No identification line; OpenSSH had read `used` bytes when it knew.
    Invalid { used: usize },
    /// A line of another protocol version.
    OtherMajor { used: usize },
    /// A scanner that OpenSSH knows by name and leaves without a word.
    KnownScanner { line: &'a [u8], used: usize },
}

/// Reads the identification line as OpenSSH does: byte by byte, CR only before LF, no NUL.
pub(crate) fn identification(input: &[u8]) -> Identification<'_> {
    let mut text = 0_usize;
    let mut after_return = false;
    for (at, byte) in input.iter().enumerate() {
        let used = at.saturating_add(1);
        match byte {
            b'\r' => after_return = true,
            b'\n' => return line(input.get(..text).unwrap_or_default(), used),
            0 => return Identification::Invalid { used },
            _ if after_return => return Identification::Invalid { used },
            _ => {
                text = text.saturating_add(1);
                if text > LONGEST_LINE {
                    return Identification::Invalid { used };
                }
            }
        }
    }
    Identification::Incomplete
}

fn line(line: &[u8], used: usize) -> Identification<'_> {
    let Some((major, minor, software)) = versions(line) else {
        return Identification::Invalid { used };
    };
    if major != 2 && (major, minor) != (1, 99) {
        return Identification::OtherMajor { used };
    }
    if software.starts_with(b"Probe-") || memchr::memmem::find(software, b"SSH_Version_Mapper").is_some() {
        return Identification::KnownScanner { line, used };
    }
    Identification::Client { line, used }
}

/// `SSH-%d.%d-%[^\n]` with what C's `scanf` accepts for `%d`: blanks and a sign before the digits.
fn versions(line: &[u8]) -> Option<(i64, i64, &[u8])> {
    let rest = line.strip_prefix(b"SSH-")?;
    let (major, rest) = scan_number(rest)?;
    let (minor, rest) = scan_number(rest.strip_prefix(b".")?)?;
    let software = rest.strip_prefix(b"-")?;
    (!software.is_empty()).then_some((major, minor, software))
}

fn scan_number(text: &[u8]) -> Option<(i64, &[u8])> {
    let text = text.trim_ascii_start();
    let (negative, text) = match text.first() {
        Some(b'-') => (true, text.get(1..)?),
        Some(b'+') => (false, text.get(1..)?),
        _ => (false, text),
    };
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let (digits, rest) = text.split_at_checked(digits)?;
    if digits.is_empty() {
        return None;
    }
    let number = digits
        .iter()
        .fold(0_i64, |sum, digit| sum.saturating_mul(10).saturating_add(i64::from(digit.saturating_sub(b'0'))));
    Some((if negative { number.saturating_neg() } else { number }, rest))
}

/// Reads SSH's data types; every method is `None` when the bytes do not reach.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*head))
    }

    /// `uint32 length`, then that many bytes.
    pub(crate) fn string(&mut self) -> Option<&'a [u8]> {
        let before = *self;
        let length = usize::try_from(self.u32()?).ok()?;
        let bytes = self.bytes(length);
        if bytes.is_none() {
            *self = before;
        }
        bytes
    }

    /// What is left.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// `Some` when nothing is left.
    pub(crate) fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// Whether OpenSSH would take a string for text: a NUL may only be its last byte.
pub(crate) fn is_c_string(bytes: &[u8]) -> bool {
    memchr::memchr(0, bytes).is_none_or(|at| at.saturating_add(1) == bytes.len())
}

/// Writes SSH's data types.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// A payload that begins with its message number.
    pub(crate) fn message(number: u8) -> Self {
        Self(vec![number])
    }

    pub(crate) fn u8(mut self, byte: u8) -> Self {
        self.0.push(byte);
        self
    }

    pub(crate) fn u32(mut self, number: u32) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    pub(crate) fn bytes(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.0.extend_from_slice(bytes.as_ref());
        self
    }

    pub(crate) fn string(self, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        // INVARIANT: what is written here is ours or came in a packet, so it is far below 4 GiB.
        self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX)).bytes(bytes)
    }

    /// An unsigned number, big-endian: no leading zeros, and one zero before a set sign bit.
    pub(crate) fn mpint(self, magnitude: &[u8]) -> Self {
        let zeros = magnitude.iter().take_while(|byte| **byte == 0).count();
        let magnitude = magnitude.get(zeros..).unwrap_or_default();
        if magnitude.first().is_some_and(|byte| *byte >= 0x80) {
            let mut number = Vec::with_capacity(magnitude.len().saturating_add(1));
            number.push(0);
            number.extend_from_slice(magnitude);
            self.string(number)
        } else {
            self.string(magnitude)
        }
    }

    pub(crate) fn done(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_an_identification_line_with_either_ending() {
        for ending in ["\r\n", "\n", "\r\r\n"] {
            let input = format!("SSH-2.0-x y{ending}rest");
            let used = input.len() - 4;
            assert_eq!(identification(input.as_bytes()), Identification::Client { line: b"SSH-2.0-x y", used });
        }
    }

    #[test]
    fn every_prefix_of_a_line_is_incomplete() {
        let line = b"SSH-2.0-OpenSSH_9.2p1\r\n";
        for end in 0..line.len() {
            assert_eq!(identification(&line[..end]), Identification::Incomplete);
        }
    }

    #[test]
    fn refuses_what_openssh_refuses_at_the_same_byte() {
        for (input, used) in [
            (&b"\n\n\n"[..], 1),
            (b"\0\0\0\0", 1),
            (b"GET / HTTP/1.0\r\n\r\n", 16),
            (b"SSH-2.0-a\rb\n", 11),
            (b"SSH-1337-x\r\n", 12),
            (b"SSH-2.0-\r\n", 10),
            (b"SSH\n", 4),
        ] {
            assert_eq!(identification(input), Identification::Invalid { used }, "{}", input.escape_ascii());
        }
        assert_eq!(identification(&[b'A'; 9000]), Identification::Invalid { used: LONGEST_LINE + 1 });
        assert_eq!(identification(&[b'A'; LONGEST_LINE]), Identification::Incomplete);
        assert_eq!(identification(&[b'\r'; 8]), Identification::Incomplete);
        assert_eq!(identification(&[0xff; 100]), Identification::Incomplete);
    }

    #[test]
    fn takes_1_99_and_2_x_and_no_other_major() {
        for line in ["SSH-1.99-x\n", "SSH-2.2-x\n", "SSH- 2.+0-x\n"] {
            assert!(matches!(identification(line.as_bytes()), Identification::Client { .. }), "{line}");
        }
        for line in ["SSH-1.5-x\n", "SSH-3.0-x\n", "SSH--2.0-x\n", "SSH-99999999999999999999.0-x\n"] {
            assert!(matches!(identification(line.as_bytes()), Identification::OtherMajor { .. }), "{line}");
        }
        assert!(matches!(identification(b"SSH-2.0-Probe-x\n"), Identification::KnownScanner { .. }));
    }

    #[test]
    fn writes_numbers_as_rfc_4251_does() {
        for (number, bytes) in [
            (&b""[..], &b"\0\0\0\0"[..]),
            (b"\0\0", b"\0\0\0\0"),
            (b"\x09\xa3\x78\xf9\xb2\xe3\x32\xa7", b"\0\0\0\x08\x09\xa3\x78\xf9\xb2\xe3\x32\xa7"),
            (b"\x80", b"\0\0\0\x02\0\x80"),
        ] {
            assert_eq!(Writer::new().mpint(number).done(), bytes);
        }
    }

    #[test]
    fn rejects_truncated_length_and_keeps_what_was_there() {
        let bytes = Writer::message(5).u32(7).string("ab").done();
        for end in 0..bytes.len() {
            let mut reader = Reader::new(&bytes[..end]);
            assert!(reader.u8().and_then(|_| reader.u32()).and_then(|_| reader.string()).is_none());
        }
        let mut reader = Reader::new(b"\xff\xff\xff\xffab");
        assert_eq!(reader.string(), None);
        assert_eq!(reader.rest(), b"\xff\xff\xff\xffab");
    }

    #[test]
    fn a_nul_may_only_end_text() {
        assert!(is_c_string(b"") && is_c_string(b"root") && is_c_string(b"root\0"));
        assert!(!is_c_string(b"ro\0ot") && !is_c_string(b"\0\0"));
    }
}
