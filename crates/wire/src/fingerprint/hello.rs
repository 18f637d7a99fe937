//! The first message of a TLS client, read from the records that carry it.
//!
//! ```text
//! record     u8 22, u16 version (3, x), u16 length, a piece of a handshake message
//! message    u8 1, u24 length, a hello
//! hello      u16 version, 32 bytes random, u8 length and session id, u16 length and cipher suites,
//!            u8 length and compression methods, and in newer ones u16 length and extensions
//! extension  u16 type, u16 length, its data
//! ```
//!
//! From RFC 5246, sections 6.2.1 and 7.4.1.2, and RFC 8446, sections 4.1.2 and 5.1; SSL 3 to TLS 1.3 agree
//! in it. A hello of SSL 2 has another form and is none here.

/// Longest hello that is read, in bytes of its message; rustls accepts no longer one either.
pub const LONGEST_HELLO: usize = 0xffff;

/// Bytes of a record before its piece.
const RECORD_HEADER: usize = 5;
/// Bytes of a message before what it says.
const MESSAGE_HEADER: usize = 4;
/// Longest piece in a record: TLS allows 16384 bytes, and rustls as many as an encrypted record may hold.
const LONGEST_PIECE: usize = 16_384 + 2047;

/// `handshake` of a record.
const HANDSHAKE: u8 = 22;
/// `client_hello` of a message.
const CLIENT_HELLO: u8 = 1;

/// Extensions that are looked into.
const SUPPORTED_GROUPS: u16 = 10;
const EC_POINT_FORMATS: u16 = 11;
const SIGNATURE_ALGORITHMS: u16 = 13;
pub(super) const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;

/// What a client's hello holds of what tells one client from another. Lists are in order and as sent, the
/// meaningless values of GREASE (RFC 8701) among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The version in the hello itself, which stopped telling the truth with TLS 1.3.
    pub version: u16,
    /// Cipher suites.
    pub ciphers: Vec<u16>,
    /// Types of the extensions.
    pub extensions: Vec<u16>,
    /// Groups for the key exchange, once called elliptic curves.
    pub groups: Vec<u16>,
    /// Formats of points on a curve.
    pub formats: Vec<u8>,
    /// Signature algorithms.
    pub algorithms: Vec<u16>,
    /// The versions that the client says it supports, where it says so.
    pub versions: Vec<u16>,
    /// The protocol named first in ALPN; empty where there is none.
    pub protocol: Vec<u8>,
}

impl ClientHello {
    /// Reads what the message says, without its header; `None` when it is cut short. What stands in an
    /// extension is read as far as it goes, since no fingerprint needs it to be right.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        let mut rest = Cursor(body);
        let mut hello = Self { version: rest.u16()?, ..Self::default() };
        rest.take(32)?;
        rest.short()?;
        hello.ciphers = words(rest.long()?);
        rest.short()?;
        if rest.0.is_empty() {
            return Some(hello);
        }
        let mut extensions = Cursor(rest.long()?);
        while !extensions.0.is_empty() {
            let (kind, data) = (extensions.u16()?, extensions.long()?);
            hello.extensions.push(kind);
            hello.look_into(kind, Cursor(data));
        }
        Some(hello)
    }

    fn look_into(&mut self, kind: u16, mut data: Cursor<'_>) {
        match kind {
            SUPPORTED_GROUPS => self.groups.extend(words(data.long().unwrap_or_default())),
            EC_POINT_FORMATS => self.formats.extend_from_slice(data.short().unwrap_or_default()),
            SIGNATURE_ALGORITHMS => self.algorithms.extend(words(data.long().unwrap_or_default())),
            SUPPORTED_VERSIONS => self.versions.extend(words(data.short().unwrap_or_default())),
            ALPN => {
                let first = Cursor(data.long().unwrap_or_default()).short();
                self.protocol = first.unwrap_or_default().to_vec();
            }
            _ => {}
        }
    }
}

/// What came of a client's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// So far they begin a hello.
    Part,
    /// The hello is whole.
    Whole(Box<ClientHello>),
    /// They are no hello, and nothing that follows makes them one.
    Other,
}

/// Puts a hello together from bytes as they come. It holds what has come and no more, at most
/// [`LONGEST_HELLO`] bytes.
#[derive(Debug, Default)]
pub struct HelloReader {
    /// The header of the record at hand.
    header: Vec<u8>,
    /// Bytes of its piece to come.
    left: usize,
    message: Vec<u8>,
}

impl HelloReader {
    /// Takes bytes. Once it has said [`Heard::Whole`] or [`Heard::Other`] there is nothing more to ask it.
    pub fn push(&mut self, input: &[u8]) -> Heard {
        let mut rest = input;
        while !rest.is_empty() {
            if self.left == 0 {
                let need = RECORD_HEADER.saturating_sub(self.header.len()).min(rest.len());
                let (header, behind) = rest.split_at_checked(need).unwrap_or((rest, &[]));
                self.header.extend_from_slice(header);
                rest = behind;
                match self.header.as_slice() {
                    [HANDSHAKE] | [HANDSHAKE, 3] | [HANDSHAKE, 3, _] | [HANDSHAKE, 3, _, _] => {}
                    [HANDSHAKE, 3, _, high, low] => {
                        self.left = usize::from(u16::from_be_bytes([*high, *low]));
                        // An empty piece is forbidden in a handshake (RFC 8446, section 5.1).
                        if !(1..=LONGEST_PIECE).contains(&self.left) {
                            return Heard::Other;
                        }
                        self.header.clear();
                    }
                    _ => return Heard::Other,
                }
                continue;
            }
            let (piece, behind) = rest.split_at_checked(self.left).unwrap_or((rest, &[]));
            self.message.extend_from_slice(piece);
            self.left = self.left.saturating_sub(piece.len());
            rest = behind;
            match self.judge() {
                Heard::Part => {}
                verdict => return verdict,
            }
        }
        Heard::Part
    }

    /// What the message is, as far as it has come.
    fn judge(&self) -> Heard {
        let length = match self.message.as_slice() {
            [CLIENT_HELLO, a, b, c, ..] => u32::from_be_bytes([0, *a, *b, *c]),
            [] | [CLIENT_HELLO, ..] => return Heard::Part,
            _ => return Heard::Other,
        };
        let Some(length) = usize::try_from(length).ok().filter(|length| *length <= LONGEST_HELLO) else {
            return Heard::Other;
        };
        let said = self.message.get(MESSAGE_HEADER..).unwrap_or_default();
        match said.get(..length) {
            Some(body) => ClientHello::parse(body).map_or(Heard::Other, |hello| Heard::Whole(Box::new(hello))),
            None => Heard::Part,
        }
    }
}

/// Big-endian words; an odd byte at the end is none.
fn words(bytes: &[u8]) -> Vec<u16> {
    let (words, _) = bytes.as_chunks::<2>();
    words.iter().map(|word| u16::from_be_bytes(*word)).collect()
}

/// What remains of a message.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        let (word, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*word))
    }

    /// What one byte of length announces.
    fn short(&mut self) -> Option<&'a [u8]> {
        let length = self.take(1)?.first().copied()?;
        self.take(usize::from(length))
    }

    /// What two bytes of length announce.
    fn long(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes behind their length in one byte.
    fn short(bytes: &[u8]) -> Vec<u8> {
        [&[u8::try_from(bytes.len()).unwrap()], bytes].concat()
    }

    /// Bytes behind their length in two.
    fn long(bytes: &[u8]) -> Vec<u8> {
        [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
    }

    fn bytes_of(words: &[u16]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// What the hello's message says, with each extension that is looked into filled in and others empty.
    pub(in super::super) fn body(hello: &ClientHello) -> Vec<u8> {
        let mut body = hello.version.to_be_bytes().to_vec();
        body.extend([7; 32]);
        body.extend(short(&[9; 32]));
        body.extend(long(&bytes_of(&hello.ciphers)));
        body.extend(short(&[0]));
        let mut extensions = Vec::new();
        for kind in &hello.extensions {
            extensions.extend(kind.to_be_bytes());
            extensions.extend(long(&match *kind {
                SUPPORTED_GROUPS => long(&bytes_of(&hello.groups)),
                EC_POINT_FORMATS => short(&hello.formats),
                SIGNATURE_ALGORITHMS => long(&bytes_of(&hello.algorithms)),
                SUPPORTED_VERSIONS => short(&bytes_of(&hello.versions)),
                ALPN => long(&[short(&hello.protocol), short(b"http/1.1")].concat()),
                _ => vec![0xab; 3],
            }));
        }
        if !hello.extensions.is_empty() {
            body.extend(long(&extensions));
        }
        body
    }

    /// The same as records with pieces of that many bytes.
    fn records(body: &[u8], piece: usize) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        let message = [&[CLIENT_HELLO], &length[1..], body].concat();
        message.chunks(piece).flat_map(|piece| [&[HANDSHAKE, 3, 1], long(piece).as_slice()].concat()).collect()
    }

    fn chrome() -> ClientHello {
        ClientHello {
            version: 0x0303,
            ciphers: vec![0x6a6a, 0x1301, 0xc02b],
            extensions: vec![0x1a1a, 0, 23, 10, 11, 16, 13, 43, 21],
            groups: vec![0x2a2a, 29, 23],
            formats: vec![0, 1],
            algorithms: vec![0x0403, 0x0804],
            versions: vec![0x7a7a, 0x0304, 0x0303],
            protocol: b"h2".to_vec(),
        }
    }

    fn heard(input: &[u8]) -> Heard {
        HelloReader::default().push(input)
    }

    #[test]
    fn reads_a_hello_in_one_record_or_many_however_it_comes() {
        let (hello, body) = (chrome(), body(&chrome()));
        let whole = Heard::Whole(Box::new(hello));
        for piece in [1, 2, 5, 60, 16_000] {
            let sent = records(&body, piece);
            assert_eq!(heard(&sent), whole, "{piece}");
            let mut reader = HelloReader::default();
            for byte in &sent[..sent.len() - 1] {
                assert_eq!(reader.push(&[*byte]), Heard::Part);
            }
            assert_eq!(reader.push(&sent[sent.len() - 1..]), whole);
        }
        // What follows in the same bytes changes nothing.
        assert_eq!(heard(&[records(&body, 16_000), b"\x14\x03\x03\0\x01\x01".to_vec()].concat()), whole);
    }

    #[test]
    fn every_prefix_of_a_hello_is_a_part_of_one() {
        let sent = records(&body(&chrome()), 100);
        for end in 0..sent.len() {
            assert_eq!(heard(&sent[..end]), Heard::Part, "{end}");
        }
    }

    #[test]
    fn a_message_that_ends_before_its_lists_do_is_no_hello() {
        let (body, bare) = (body(&chrome()), 2 + 32 + 33 + 2 + 6 + 2);
        for end in 0..body.len() {
            let parsed = ClientHello::parse(&body[..end]);
            assert_eq!(parsed.is_some(), end == bare, "{end}");
        }
        let old = ClientHello::parse(&body[..bare]).unwrap();
        assert_eq!((old.ciphers.len(), old.extensions.len()), (3, 0));
    }

    #[test]
    fn an_extension_that_lies_about_its_list_hides_no_other() {
        let mut sent = body(&chrome());
        let at = sent.windows(4).position(|w| w == [0, 10, 0, 8]).unwrap();
        sent[at + 4] = 0xff;
        let hello = ClientHello::parse(&sent).unwrap();
        assert_eq!((hello.groups.len(), hello.formats.len(), hello.extensions.len()), (0, 2, 9));
    }

    #[test]
    fn other_protocols_are_no_hello() {
        let other: [&[u8]; 10] = [
            b"GET / HTTP/1.1\r\n",
            b"SSH-2.0-x\r\n",
            // SSL 2, two bytes of length and its own hello.
            b"\x80\x2e\x01\x03\x01\0\x15\0\0\0\x10",
            // An alert, a ServerHello, SSL 2 in a record, an empty piece, one that is too long.
            b"\x15\x03\x01\0\x02\x01\0",
            b"\x16\x03\x01\0\x04\x02\0\0\0",
            b"\x16\x02\0\0\x04\x01\0\0\0",
            b"\x16\x03\x01\0\0",
            b"\x16\x03\x01\x48\0",
            // A message beyond the bound, and one of no bytes.
            b"\x16\x03\x01\x40\0\x01\x01\0\0",
            b"\x16\x03\x01\0\x04\x01\0\0\0",
        ];
        for bytes in other {
            assert_eq!(heard(bytes), Heard::Other, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_a_peer_claims_takes_no_memory() {
        let mut reader = HelloReader::default();
        assert_eq!(reader.push(b"\x16\x03\x01\x40\0\x01\0\xff\xff"), Heard::Part);
        assert!(reader.message.capacity() < 64, "{}", reader.message.capacity());
        // A message of the greatest length is held and then found to be none; nothing goes beyond it.
        let body = vec![0; LONGEST_HELLO];
        let mut sent = records(&body, 16_384);
        let last = sent.pop().unwrap();
        let mut reader = HelloReader::default();
        assert_eq!(reader.push(&sent), Heard::Part);
        assert_eq!(reader.message.len(), LONGEST_HELLO + 3);
        assert_eq!(reader.push(&[last]), Heard::Whole(Box::default()));
    }

    prop_compose! {
        pub(in super::super) fn any_hello()(
            version: u16,
            ciphers in prop::collection::vec(any::<u16>(), 0..130),
            extensions in prop::collection::vec(prop_oneof![0u16..60, any::<u16>()], 0..120),
            groups in prop::collection::vec(any::<u16>(), 0..9),
            formats in prop::collection::vec(any::<u8>(), 0..5),
            algorithms in prop::collection::vec(any::<u16>(), 0..9),
            versions in prop::collection::vec(any::<u16>(), 0..5),
            protocol in prop::collection::vec(any::<u8>(), 0..9),
        ) -> ClientHello {
            ClientHello { version, ciphers, extensions, groups, formats, algorithms, versions, protocol }
        }
    }

    proptest! {
        #[test]
        fn any_hello_is_read_back(mut hello in any_hello(), piece in 1usize..400) {
            // Each extension once, and its list only where it stands.
            let mut seen = std::collections::BTreeSet::new();
            hello.extensions.retain(|kind| seen.insert(*kind));
            for (kind, list) in
                [(10, &mut hello.groups), (13, &mut hello.algorithms), (43, &mut hello.versions)] {
                if !seen.contains(&kind) {
                    list.clear();
                }
            }
            if !seen.contains(&11) {
                hello.formats.clear();
            }
            if !seen.contains(&16) {
                hello.protocol.clear();
            }
            let sent = records(&body(&hello), piece);
            prop_assert_eq!(heard(&sent), Heard::Whole(Box::new(hello)));
        }

        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..600), cut in 0usize..600) {
            let _ = ClientHello::parse(&bytes);
            let cut = cut.min(bytes.len());
            let whole = heard(&bytes);
            let mut reader = HelloReader::default();
            let pieces = match reader.push(&bytes[..cut]) {
                Heard::Part => reader.push(&bytes[cut..]),
                verdict => verdict,
            };
            prop_assert_eq!(whole, pieces);
        }

        #[test]
        fn a_hello_with_any_byte_changed_is_taken(at in 0usize..400, byte: u8, piece in 1usize..400) {
            let mut sent = records(&body(&chrome()), piece);
            let at = at % sent.len();
            sent[at] = byte;
            if let Heard::Whole(hello) = heard(&sent) {
                prop_assert_eq!(hello.ja3().len(), 32);
                prop_assert_eq!(hello.ja4().len(), 36);
            }
        }
    }
}
