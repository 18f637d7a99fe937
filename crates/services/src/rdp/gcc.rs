//! The settings that client and server exchange while MCS connects, in the form of GCC (T.124).
//!
//! ```text
//! Connect-Initial   7f 65 length; calling and called selector (04), upward (01), three parameter sets (30),
//!                   user data (04)
//! user data         00 05 00 14 7c 00 01 (T.124's name), length, "... Duca", length, blocks
//! block             type (2), length with these four bytes (2), fields
//! ```
//!
//! [MS-RDPBCGR] 2.2.1.3 and 2.2.1.4; the lengths of the user data are in packed encoding (X.691).
//!
//! [MS-RDPBCGR]: https://learn.microsoft.com/openspecs/windows_protocols/ms-rdpbcgr/

use aviary_wire::ber::{self, BerError, Reader};

use super::little::Little;

/// T.124's object identifier as GCC writes it, and its length.
const T124: &[u8] = b"\x00\x05\x00\x14\x7c\x00\x01";
/// Tag of Connect-Initial, 0x7f 0x65; a reader gives its first octet.
const CONNECT_INITIAL: u8 = 0x7f;
/// Channels beyond the main one; the structure allows 31.
const MOST_CHANNELS: usize = 31;
/// The main channel, and the first of the others.
pub(super) const MAIN_CHANNEL: u16 = 1003;

/// Why a Connect-Initial cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum GccError {
    #[error("not a Connect-Initial")]
    Tag,
    #[error("Connect-Initial: {0}")]
    Ber(#[from] BerError),
    #[error("no settings of a client in it")]
    Settings,
    #[error("the block of the client's core data is missing or too short")]
    Core,
}

/// What a client tells of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Client {
    /// Version of the protocol, 0x00080004 and up.
    pub(super) version: u32,
    /// Width and height of the desktop in pixels.
    pub(super) resolution: (u16, u16),
    /// Input locale, 0x409 for English (United States).
    pub(super) keyboard: u32,
    /// Build of the client's system.
    pub(super) build: u32,
    /// Name of the client's computer, UTF-8 where it is text.
    pub(super) name: Vec<u8>,
    /// Kind of keyboard; 4 is the one with 101 or 102 keys.
    pub(super) keyboard_type: u32,
    /// Product identifier of the client, UTF-8 where it is text; Windows sends its own.
    pub(super) product: Vec<u8>,
    /// Capabilities from the end of the core data.
    pub(super) early_flags: u16,
    /// Encryption methods that the client has.
    pub(super) methods: u32,
    /// Names of the channels that it asks for.
    pub(super) channels: Vec<Vec<u8>>,
    /// Whether it asks for the message channel.
    pub(super) message_channel: bool,
}

impl Client {
    /// Reads what a data TPDU holds.
    pub(super) fn parse(content: &[u8]) -> Result<Self, GccError> {
        if !content.starts_with(b"\x7f\x65") {
            return Err(GccError::Tag);
        }
        let mut outer = Reader::new(content).nested(CONNECT_INITIAL)?;
        outer.expect(ber::OCTET_STRING)?;
        outer.expect(ber::OCTET_STRING)?;
        outer.expect(ber::BOOLEAN)?;
        for _ in 0..3 {
            outer.expect(ber::SEQUENCE)?;
        }
        let user_data = outer.expect(ber::OCTET_STRING)?;
        let request = user_data.strip_prefix(T124).and_then(packed_length).ok_or(GccError::Settings)?.1;
        // The conference request has one form in all clients; its end is the key of client data.
        let at = memchr::memmem::find(request, b"Duca").ok_or(GccError::Settings)?;
        let (length, blocks) = request.get(at.saturating_add(4)..).and_then(packed_length).ok_or(GccError::Settings)?;
        Self::blocks(Little(blocks.get(..length).unwrap_or(blocks)))
    }

    fn blocks(mut rest: Little<'_>) -> Result<Self, GccError> {
        let mut client = None;
        let mut later = Self::default();
        while let Some((kind, length)) = rest.u16().zip(rest.length()) {
            let block = length.checked_sub(4).and_then(|length| rest.take(length)).ok_or(GccError::Settings)?;
            match kind {
                0xc001 => client = Some(Self::core(Little(block)).ok_or(GccError::Core)?),
                0xc002 => later.methods = methods(Little(block)).unwrap_or(0),
                0xc003 => later.channels = channels(Little(block)).unwrap_or_default(),
                0xc006 => later.message_channel = true,
                _ => {}
            }
        }
        let Self { methods, channels, message_channel, .. } = later;
        client.map(|client| Self { methods, channels, message_channel, ..client }).ok_or(GccError::Core)
    }

    /// Core data: version (4), width, height, colour depth, sequence (2 each), keyboard, build (4 each),
    /// name (32), keyboard type, subtype, function keys (4 each), input method (64); then as many as the
    /// client knows of colour depth, product (2 each), serial (4), depth, depths, flags (2 each),
    /// product identifier (64) and more.
    fn core(mut core: Little<'_>) -> Option<Self> {
        let version = core.u32()?;
        let resolution = (core.u16()?, core.u16()?);
        core.take(4)?;
        let (keyboard, build) = (core.u32()?, core.u32()?);
        let name = text(core.take(32)?);
        let keyboard_type = core.u32()?;
        core.take(8)?;
        let mut client = Self { version, resolution, keyboard, build, name, keyboard_type, ..Self::default() };
        let mut optional = || {
            core.take(64)?;
            core.take(12)?;
            client.early_flags = core.u16()?;
            client.product = text(core.take(64)?);
            Some(())
        };
        let _ = optional();
        Some(client)
    }
}

/// Security data: methods (4), and the same again for French clients, which leave the first zero.
fn methods(mut security: Little<'_>) -> Option<u32> {
    let methods = security.u32()?;
    Some(if methods == 0 { security.u32().unwrap_or(0) } else { methods })
}

/// Network data: how many (4), then name (8, ends with zero) and options (4) each.
fn channels(mut network: Little<'_>) -> Option<Vec<Vec<u8>>> {
    let count = usize::try_from(network.u32()?).unwrap_or(usize::MAX).min(MOST_CHANNELS);
    let mut channels = Vec::new();
    for _ in 0..count {
        let name = network.take(8)?;
        network.u32()?;
        channels.push(name.split(|byte| *byte == 0).next().unwrap_or_default().to_vec());
    }
    Some(channels)
}

/// UTF-16LE up to its end or the first zero.
pub(super) fn text(bytes: &[u8]) -> Vec<u8> {
    let units = bytes.chunks(2).take_while(|unit| *unit != [0, 0]).flatten().copied();
    aviary_wire::ntlm::from_utf16(&units.collect::<Vec<u8>>())
}

/// A length in packed encoding, one byte below 128 and else two, and what follows it.
pub(super) fn packed_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match *bytes {
        [high @ 0x80..=0xff, low, ref rest @ ..] => Some((usize::from(u16::from_be_bytes([high & 0x7f, low])), rest)),
        [length @ 0..=0x7f, ref rest @ ..] => Some((usize::from(length), rest)),
        _ => None,
    }
}

/// Appends a length in packed encoding; the server's are below 16384.
pub(super) fn push_packed_length(out: &mut Vec<u8>, length: usize) {
    let [high, low] = u16::try_from(length).unwrap_or(0x3fff).min(0x3fff).to_be_bytes();
    if high == 0 && low < 0x80 {
        out.push(low);
    } else {
        out.extend_from_slice(&[0x80 | high, low]);
    }
}

/// What the server answers to a [`Client`].
pub(super) struct Server<'a> {
    /// Version of the protocol.
    pub(super) version: u32,
    /// Protocols that the client had asked for.
    pub(super) requested: u32,
    /// Channels beyond the main one.
    pub(super) channels: u16,
    /// Whether there is a message channel, behind the others.
    pub(super) message_channel: bool,
    /// Method and level of RDP's own encryption; zero inside TLS.
    pub(super) encryption: (u32, u32),
    /// Random bytes and certificate of RDP's own encryption.
    pub(super) key: Option<(&'a [u8; 32], &'a [u8])>,
}

impl Server<'_> {
    /// The Connect-Response: `7f 66`, result 0, the client's identifier 0, Windows' parameters (34
    /// channels, 3 users, no tokens, packets of 65528 bytes), and the settings. The length `2a` before
    /// "McDn" is what Windows writes, whatever follows.
    pub(super) fn encode(&self) -> Vec<u8> {
        let blocks = self.blocks();
        let mut user_data = T124.to_vec();
        user_data.extend_from_slice(b"\x2a\x14\x76\x0a\x01\x01\x00\x01\xc0\x00McDn");
        push_packed_length(&mut user_data, blocks.len());
        user_data.extend_from_slice(&blocks);
        let mut content = b"\x0a\x01\0\x02\x01\0".to_vec();
        content.extend_from_slice(
            b"\x30\x1a\x02\x01\x22\x02\x01\x03\x02\x01\0\x02\x01\x01\x02\x01\0\x02\x01\x01\x02\x03\0\xff\xf8\x02\x01\x02",
        );
        // Windows writes this length and the outer one in two octets, needed or not.
        push_long(&mut content, &[ber::OCTET_STRING], &user_data);
        let mut out = Vec::new();
        push_long(&mut out, b"\x7f\x66", &content);
        out
    }

    fn blocks(&self) -> Vec<u8> {
        let mut core = self.version.to_le_bytes().to_vec();
        core.extend_from_slice(&self.requested.to_le_bytes());
        // Edge actions of both versions and dynamic daylight saving.
        core.extend_from_slice(&7_u32.to_le_bytes());
        let mut network = MAIN_CHANNEL.to_le_bytes().to_vec();
        network.extend_from_slice(&self.channels.to_le_bytes());
        for channel in 1..=self.channels {
            network.extend_from_slice(&MAIN_CHANNEL.saturating_add(channel).to_le_bytes());
        }
        // To a multiple of four.
        if self.channels % 2 == 1 {
            network.extend_from_slice(&[0, 0]);
        }
        let (method, level) = self.encryption;
        let mut security = [method.to_le_bytes(), level.to_le_bytes()].concat();
        if let Some((random, certificate)) = self.key {
            security.extend_from_slice(&32_u32.to_le_bytes());
            security.extend_from_slice(&u32::try_from(certificate.len()).unwrap_or(0).to_le_bytes());
            security.extend_from_slice(random);
            security.extend_from_slice(certificate);
        }
        let mut out = Vec::new();
        push_block(&mut out, 0x0c01, &core);
        push_block(&mut out, 0x0c03, &network);
        push_block(&mut out, 0x0c02, &security);
        if self.message_channel {
            let channel = MAIN_CHANNEL.saturating_add(self.channels).saturating_add(1);
            push_block(&mut out, 0x0c04, &channel.to_le_bytes());
        }
        out
    }
}

fn push_block(out: &mut Vec<u8>, kind: u16, content: &[u8]) {
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&u16::try_from(content.len().saturating_add(4)).unwrap_or(u16::MAX).to_le_bytes());
    out.extend_from_slice(content);
}

/// An element whose length has two octets.
fn push_long(out: &mut Vec<u8>, tag: &[u8], content: &[u8]) {
    let [high, low] = u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes();
    out.extend_from_slice(tag);
    out.extend_from_slice(&[0x82, high, low]);
    out.extend_from_slice(content);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The Connect-Initial that nmap's `rdp` library sends with all four methods, without its packet.
    const NMAP: &[u8] = include_bytes!("fixtures/connect-initial-nmap.bin");

    #[test]
    fn reads_what_nmap_says() {
        let client = Client::parse(&NMAP[7..]).unwrap();
        assert_eq!(client.name, b"EMP-LAP-0014");
        assert_eq!((client.version, client.build, client.keyboard), (0x0008_0004, 2600, 0x409));
        assert_eq!((client.resolution, client.methods, client.early_flags), ((1280, 800), 27, 1));
        assert_eq!(client.channels, [b"rdpdr".to_vec(), b"cliprdr".to_vec(), b"rdpsnd".to_vec()]);
        assert!(!client.message_channel);
    }

    #[test]
    fn rejects_every_prefix() {
        for end in 7..NMAP.len() {
            assert!(Client::parse(&NMAP[7..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn a_block_may_not_leave_its_bounds() {
        let mut bytes = NMAP[7..].to_vec();
        let at = memchr::memmem::find(&bytes, b"\x01\xc0\xd8\0").unwrap();
        bytes[at + 2] = 0xff;
        bytes[at + 3] = 0xff;
        assert_eq!(Client::parse(&bytes), Err(GccError::Settings));
        bytes[at + 2] = 3;
        bytes[at + 3] = 0;
        assert_eq!(Client::parse(&bytes), Err(GccError::Settings));
        assert_eq!(Client::parse(b"\x04\x01\0\x01\0"), Err(GccError::Tag));
    }

    #[test]
    fn packed_lengths_round_trip() {
        for length in [0, 1, 127, 128, 255, 256, 0x3fff] {
            let mut bytes = Vec::new();
            push_packed_length(&mut bytes, length);
            bytes.push(9);
            assert_eq!(packed_length(&bytes), Some((length, &[9][..])));
        }
        assert_eq!(packed_length(b"\x80"), None);
    }

    #[test]
    fn answers_as_the_specification_shows() {
        // [MS-RDPBCGR] 4.1.4, with the 16 bytes of core data that later servers send.
        let server = Server {
            version: 0x0008_0004,
            requested: 0,
            channels: 3,
            message_channel: false,
            encryption: (0, 0),
            key: None,
        };
        let expected = [
            &b"\x7f\x66\x82\x00\x68\x0a\x01\x00\x02\x01\x00\x30\x1a\x02\x01\x22\x02\x01\x03\x02\x01\x00\x02\x01\x01"[..],
            b"\x02\x01\x00\x02\x01\x01\x02\x03\x00\xff\xf8\x02\x01\x02\x04\x82\x00\x42\x00\x05\x00\x14\x7c\x00\x01\x2a",
            b"\x14\x76\x0a\x01\x01\x00\x01\xc0\x00\x4d\x63\x44\x6e\x2c\x01\x0c\x10\x00\x04\x00\x08\x00\x00\x00\x00\x00",
            b"\x07\x00\x00\x00\x03\x0c\x10\x00\xeb\x03\x03\x00\xec\x03\xed\x03\xee\x03\x00\x00\x02\x0c\x0c\x00\x00\x00",
            b"\x00\x00\x00\x00\x00\x00",
        ]
        .concat();
        assert_eq!(server.encode().escape_ascii().to_string(), expected.escape_ascii().to_string());
    }
}
