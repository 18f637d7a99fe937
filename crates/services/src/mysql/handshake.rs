//! What a client answers to the greeting.
//!
//! ```text
//! 4.1 on   capabilities:u32le  max_packet:u32le  charset:u8  filler[23]
//!          user\0  response  [ database\0 ]  [ plugin\0 ]  [ attributes ]
//! before   capabilities:u16le  max_packet:u24le  user\0  response\0  [ database ]
//! ```
//!
//! `response` has its length before it, in one byte or length-encoded, or ends with a NUL; which of
//! them the capabilities say. `attributes` is a length-encoded block of length-encoded names and values.
//! A client of MariaDB that leaves `LONG_PASSWORD` out has further capabilities in the last four bytes
//! of the filler.

use super::codec::Reader;

/// Capability flags.
pub(super) mod flag {
    /// The password is not cut; MariaDB: the peer speaks MySQL's dialect.
    pub(in super::super) const LONG_PASSWORD: u32 = 1;
    /// A database follows the response.
    pub(in super::super) const CONNECT_WITH_DB: u32 = 1 << 3;
    /// The packets of 4.1.
    pub(in super::super) const PROTOCOL_41: u32 = 1 << 9;
    /// TLS comes next.
    pub(in super::super) const SSL: u32 = 1 << 11;
    /// The response has a length before it.
    pub(in super::super) const SECURE_CONNECTION: u32 = 1 << 15;
    /// The name of a plugin follows.
    pub(in super::super) const PLUGIN_AUTH: u32 = 1 << 19;
    /// Attributes follow.
    pub(in super::super) const CONNECT_ATTRS: u32 = 1 << 20;
    /// The response's length is length-encoded.
    pub(in super::super) const LENENC_RESPONSE: u32 = 1 << 21;
}

/// Bytes before the user name.
const FIXED_41: usize = 32;
/// Bytes of an SSLRequest as Connector/J sends it.
const SSL_ONLY: usize = 4;
/// Longest block of attributes that a server takes.
const LONGEST_ATTRIBUTES: usize = 65_535;
/// Attributes that are told apart; the rest of a longer block stays in one piece.
const MOST_ATTRIBUTES: usize = 64;

/// A client's answer, as far as it could be read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Handshake<'a> {
    /// Capability flags.
    pub(super) capabilities: u32,
    /// MariaDB's further ones.
    pub(super) further: u32,
    /// Longest packet that the client takes, in bytes.
    pub(super) max_packet: u32,
    /// Number of its collation.
    pub(super) charset: u8,
    /// User name.
    pub(super) user: &'a [u8],
    /// What proves it.
    pub(super) response: &'a [u8],
    /// Database to use.
    pub(super) database: Option<&'a [u8]>,
    /// The plugin that made the response.
    pub(super) plugin: Option<&'a [u8]>,
    /// Names and values, in the client's order.
    pub(super) attributes: Vec<(&'a [u8], &'a [u8])>,
    /// What the server would refuse it for.
    pub(super) flaw: Option<&'static str>,
}

/// What a first packet is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum First<'a> {
    /// Too short for anything.
    Nothing,
    /// TLS is to begin.
    SslRequest,
    /// An answer.
    Handshake(Handshake<'a>),
}

impl Handshake<'_> {
    /// Whether a capability was claimed.
    pub(super) const fn can(&self, flag: u32) -> bool {
        self.capabilities & flag != 0
    }
}

/// Capabilities of a payload; what it is too short for counts as unset.
pub(super) fn capabilities(payload: &[u8]) -> u32 {
    let low = Reader(payload).number(2).unwrap_or_default();
    if low & flag::PROTOCOL_41 == 0 { low } else { Reader(payload).number(4).unwrap_or(low) }
}

/// Reads a first packet. `assumes_length` is the server's: a response has a length before it whatever
/// the client says.
pub(super) fn read(payload: &[u8], assumes_length: bool) -> First<'_> {
    let capabilities = capabilities(payload);
    let is_41 = capabilities & flag::PROTOCOL_41 != 0;
    if capabilities & flag::SSL != 0 && is_41 && matches!(payload.len(), SSL_ONLY | FIXED_41) {
        return First::SslRequest;
    }
    let mut reader = Reader(payload);
    let mut handshake = Handshake { capabilities, ..Handshake::default() };
    let fixed = if is_41 { fixed_41(&mut reader, &mut handshake) } else { fixed_before(&mut reader, &mut handshake) };
    if fixed.is_none() {
        return First::Nothing;
    }
    if !is_41 {
        handshake.user = reader.text_or_rest();
        // The servers of today read a length even here, and refuse what these clients send.
        match if assumes_length { reader.short() } else { Some(reader.text_or_rest()) } {
            Some(response) => handshake.response = response,
            None => {
                handshake.response = reader.text_or_rest();
                handshake.flaw = Some("response without length");
            }
        }
        handshake.database = handshake.can(flag::CONNECT_WITH_DB).then(|| reader.text_or_rest());
        return First::Handshake(handshake);
    }
    handshake.flaw = variable_41(&mut reader, &mut handshake, assumes_length).err();
    First::Handshake(handshake)
}

fn fixed_41(reader: &mut Reader<'_>, handshake: &mut Handshake<'_>) -> Option<()> {
    reader.number(4)?;
    handshake.max_packet = reader.number(4)?;
    handshake.charset = reader.u8()?;
    reader.bytes(19)?;
    let last = reader.number(4)?;
    if !handshake.can(flag::LONG_PASSWORD) {
        handshake.further = last;
    }
    Some(())
}

fn fixed_before(reader: &mut Reader<'_>, handshake: &mut Handshake<'_>) -> Option<()> {
    reader.number(2)?;
    handshake.max_packet = reader.number(3)?;
    Some(())
}

fn variable_41<'a>(
    reader: &mut Reader<'a>,
    handshake: &mut Handshake<'a>,
    assumes_length: bool,
) -> Result<(), &'static str> {
    match reader.text() {
        Some(user) => handshake.user = user,
        None => {
            handshake.user = std::mem::take(&mut reader.0);
            return Err("user name without end");
        }
    }
    let response = if handshake.can(flag::LENENC_RESPONSE) {
        reader.long()
    } else if handshake.can(flag::SECURE_CONNECTION) || assumes_length {
        reader.short()
    } else {
        reader.text()
    };
    match response {
        Some(response) => handshake.response = response,
        None => {
            handshake.response = std::mem::take(&mut reader.0);
            return Err("response without end");
        }
    }
    if handshake.can(flag::CONNECT_WITH_DB) {
        handshake.database = Some(reader.text().ok_or("database without end")?);
    }
    if handshake.can(flag::PLUGIN_AUTH) {
        handshake.plugin = reader.text();
    }
    if handshake.can(flag::CONNECT_ATTRS) {
        let length = reader.length().filter(|length| *length <= LONGEST_ATTRIBUTES);
        let block = length.and_then(|length| reader.bytes(length)).ok_or("attributes without end")?;
        handshake.attributes = attributes(block);
    }
    Ok(())
}

/// The pairs of a block. What is no pair stands as a name without value.
fn attributes(block: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut reader = Reader(block);
    let mut pairs = Vec::new();
    while !reader.0.is_empty() {
        let rest = reader.0;
        let pair = reader.long().and_then(|name| Some((name, reader.long()?)));
        match pair {
            Some(pair) if pairs.len() < MOST_ATTRIBUTES => pairs.push(pair),
            _ => {
                pairs.push((rest, b""));
                break;
            }
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MariaDB's command line client: database, plugin and attributes.
    const MARIADB: &[u8] = include_bytes!("fixtures/mariadb-client.bin");

    fn handshake(payload: &[u8]) -> Handshake<'_> {
        match read(payload, true) {
            First::Handshake(handshake) => handshake,
            other => panic!("{other:?}"),
        }
    }

    fn fields(capabilities: u32, rest: &[u8]) -> Vec<u8> {
        [&(capabilities | flag::PROTOCOL_41).to_le_bytes()[..], b"\0\0\0\x01\x21", &[0; 19], b"\x1d\0\0\0", rest]
            .concat()
    }

    #[test]
    fn reads_the_command_line_client() {
        let read = handshake(&MARIADB[4..]);
        assert_eq!((read.user, read.response.len(), read.database), (&b"root"[..], 20, Some(&b"shop"[..])));
        assert_eq!(read.plugin, Some(&b"mysql_native_password"[..]));
        assert!(read.attributes.contains(&(b"_client_name", b"libmariadb")), "{:?}", read.attributes);
        assert_eq!((read.flaw, read.charset, read.max_packet), (None, 33, 1 << 20));
    }

    #[test]
    fn every_prefix_of_a_handshake_is_flawed_or_none() {
        let payload = &MARIADB[4..];
        for end in 0..payload.len() {
            match read(&payload[..end], true) {
                First::Handshake(read) => assert!(read.flaw.is_some(), "{end}: {read:?}"),
                First::Nothing => assert!(end < FIXED_41),
                First::SslRequest => panic!("{end}"),
            }
        }
    }

    #[test]
    fn reads_a_response_by_each_kind_of_length() {
        let text = flag::PLUGIN_AUTH;
        for (capabilities, rest) in [
            (text | flag::SECURE_CONNECTION, &b"bob\0\x03abcplug\0"[..]),
            (text | flag::LENENC_RESPONSE, b"bob\0\xfc\x03\0abcplug\0"),
            (text, b"bob\0\x03abcplug\0"),
        ] {
            let payload = fields(capabilities, rest);
            let read = handshake(&payload);
            assert_eq!((read.user, read.response, read.plugin), (&b"bob"[..], &b"abc"[..], Some(&b"plug"[..])));
        }
        let payload = fields(0, b"bob\0abc\0");
        let First::Handshake(read) = read(&payload, false) else { panic!("no handshake") };
        assert_eq!(read.response, b"abc");
    }

    #[test]
    fn mariadb_hides_capabilities_in_the_filler() {
        assert_eq!(handshake(&fields(0, b"a\0\0")).further, 0x1d);
        assert_eq!(handshake(&fields(flag::LONG_PASSWORD, b"a\0\0")).further, 0);
    }

    #[test]
    fn a_user_at_the_very_end_is_kept() {
        let payload = fields(flag::SECURE_CONNECTION, b"root\0");
        let read = handshake(&payload);
        assert_eq!((read.user, read.flaw), (&b"root"[..], Some("response without end")));
        let payload = fields(flag::SECURE_CONNECTION, b"root");
        assert_eq!(handshake(&payload).user, b"root");
    }

    #[test]
    fn a_request_for_tls_is_told_from_a_handshake() {
        let request = fields(flag::SSL, b"");
        assert_eq!(read(&request, true), First::SslRequest);
        assert_eq!(read(&request[..4], true), First::SslRequest);
        assert_eq!(read(&request[..5], true), First::Nothing);
        assert_eq!(read(b"", true), First::Nothing);
        assert!(matches!(read(&fields(flag::SSL, b"root\0\0"), true), First::Handshake(_)));
    }

    #[test]
    fn reads_clients_before_4_1() {
        for (assumes_length, flaw) in [(false, None), (true, Some("response without length"))] {
            let First::Handshake(read) = read(b"\x0d\0\0\0\0root\0ABCDEFGH\0shop", assumes_length) else {
                panic!("no handshake");
            };
            assert_eq!((read.user, read.response, read.database), (&b"root"[..], &b"ABCDEFGH"[..], Some(&b"shop"[..])));
            assert_eq!(read.flaw, flaw);
        }
        assert_eq!(handshake(b"\0\0\0\0\0ro").user, b"ro");
    }

    #[test]
    fn odd_attributes_are_kept_in_one_piece() {
        assert_eq!(attributes(b"\x01a\x01b\x05x"), [(&b"a"[..], &b"b"[..]), (b"\x05x", b"")]);
        let many = b"\x01a\0".repeat(MOST_ATTRIBUTES + 9);
        assert_eq!(attributes(&many).len(), MOST_ATTRIBUTES + 1);
        let block = [&b"\xfd\0\0\x01"[..], &[0; 0x10000]].concat();
        let rest = [b"a\0\0p\0", &block[..]].concat();
        let payload = fields(flag::PLUGIN_AUTH | flag::CONNECT_ATTRS | flag::SECURE_CONNECTION, &rest);
        assert_eq!(handshake(&payload).flaw, Some("attributes without end"));
    }
}
