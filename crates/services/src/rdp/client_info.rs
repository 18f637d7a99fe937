//! The Client Info PDU: who logs in, and with what ([MS-RDPBCGR] 2.2.1.11).
//!
//! ```text
//! code page (4), flags (4), sizes of domain, user, password, shell, directory (2 each, ends not counted)
//! the five texts, each with its end
//! address family (2), size (2) and address, size (2) and directory of the client, sizes with the ends
//! time zone (172): bias (4), name (64), ...
//! ```
//!
//! [MS-RDPBCGR]: https://learn.microsoft.com/openspecs/windows_protocols/ms-rdpbcgr/

use super::gcc::text;
use super::little::Little;

/// Texts are UTF-16LE.
const UNICODE: u32 = 0x10;
/// The client's password is that of a smart card.
const PASSWORD_IS_PIN: u32 = 0x0004_0000;

/// What a client logs in with. Texts are UTF-8 where they were text, else as they were sent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ClientInfo {
    pub(super) domain: Vec<u8>,
    pub(super) user: Vec<u8>,
    pub(super) password: Vec<u8>,
    /// Program to run instead of the desktop.
    pub(super) shell: Vec<u8>,
    /// Directory to run it in.
    pub(super) directory: Vec<u8>,
    /// Flags as sent.
    pub(super) flags: u32,
    /// The client's own address: what it has behind its router.
    pub(super) address: Vec<u8>,
    /// Where the client's program lies.
    pub(super) client_directory: Vec<u8>,
    /// Name of its time zone.
    pub(super) time_zone: Vec<u8>,
}

impl ClientInfo {
    /// Reads the packet behind its security header; `None` when it ends inside the five texts. What
    /// follows them is optional: clients before RDP 5 send none of it.
    pub(super) fn parse(packet: &[u8]) -> Option<Self> {
        let mut rest = Little(packet);
        rest.u32()?;
        let flags = rest.u32()?;
        let unicode = flags & UNICODE != 0;
        let end = if unicode { 2 } else { 1 };
        let mut sizes = [0; 5];
        for size in &mut sizes {
            *size = rest.length()?;
        }
        let mut texts = [const { Vec::new() }; 5];
        for (at, (text, size)) in texts.iter_mut().zip(sizes).enumerate() {
            if at > 0 {
                rest.take(end)?;
            }
            let bytes = rest.take(size)?;
            *text = if unicode { wide(bytes) } else { bytes.to_vec() };
        }
        // Old clients take the last end for padding and leave it out.
        let _ = rest.take(end);
        let [domain, user, password, shell, directory] = texts;
        let mut info = Self { domain, user, password, shell, directory, flags, ..Self::default() };
        let mut extra = || {
            rest.u16()?;
            let size = rest.length()?;
            info.address = text(rest.take(size)?);
            let size = rest.length()?;
            info.client_directory = text(rest.take(size)?);
            rest.u32()?;
            info.time_zone = text(rest.take(64)?);
            Some(())
        };
        let _ = extra();
        Some(info)
    }

    /// Whether the password is a smart card's number.
    pub(super) const fn is_pin(&self) -> bool {
        self.flags & PASSWORD_IS_PIN != 0
    }
}

/// UTF-16LE with everything in it, zeros too: a size counts them.
fn wide(bytes: &[u8]) -> Vec<u8> {
    aviary_wire::ntlm::from_utf16(bytes)
}

/// A packet without its security header, for tests of what carries it.
#[cfg(test)]
pub(super) fn example(domain: &str, user: &str, password: &str) -> Vec<u8> {
    let texts = [domain, user, password, "", ""].map(aviary_wire::ntlm::utf16);
    let mut out = [0x409_u32.to_le_bytes(), 0x1_47fb_u32.to_le_bytes()].concat();
    for text in &texts {
        out.extend_from_slice(&u16::try_from(text.len()).unwrap().to_le_bytes());
    }
    for text in &texts {
        out.extend_from_slice(text);
        out.extend_from_slice(&[0, 0]);
    }
    for (family, text) in [(&[2, 0][..], "10.0.0.5\0"), (&[], "C:\\Windows\\System32\\mstscax.dll\0")] {
        let text = aviary_wire::ntlm::utf16(text);
        out.extend_from_slice(family);
        out.extend_from_slice(&u16::try_from(text.len()).unwrap().to_le_bytes());
        out.extend_from_slice(&text);
    }
    out.extend_from_slice(&[0xc4, 0xff, 0xff, 0xff]);
    let mut zone = aviary_wire::ntlm::utf16("W. Europe Standard Time");
    zone.resize(64, 0);
    out.extend_from_slice(&zone);
    out.resize(out.len() + 104, 0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_who_logs_in_and_from_where() {
        let info = ClientInfo::parse(&example("CORP", "administrator", "p\u{e4}ss")).unwrap();
        assert_eq!((info.domain.as_slice(), info.user.as_slice()), (&b"CORP"[..], &b"administrator"[..]));
        assert_eq!(info.password, "p\u{e4}ss".as_bytes());
        assert_eq!(
            (info.address.as_slice(), info.time_zone.as_slice()),
            (&b"10.0.0.5"[..], &b"W. Europe Standard Time"[..])
        );
        assert_eq!(info.client_directory, b"C:\\Windows\\System32\\mstscax.dll");
        assert!(!info.is_pin());
    }

    #[test]
    fn only_what_follows_the_texts_may_be_missing() {
        let whole = example("D", "user", "pw");
        // 18 bytes fixed; the texts have 2, 8 and 4 bytes, and five ends.
        let texts = 18 + 14 + 10;
        for end in 0..whole.len() {
            let parsed = ClientInfo::parse(&whole[..end]);
            assert_eq!(parsed.is_some(), end >= texts - 2, "{end}");
            assert!(parsed.is_none_or(|info| info.password == b"pw"));
        }
    }

    #[test]
    fn keeps_a_code_page_as_it_is() {
        let mut packet = vec![0; 8];
        for size in [0_u16, 4, 2, 0, 0] {
            packet.extend_from_slice(&size.to_le_bytes());
        }
        packet.extend_from_slice(b"\0r\xf6\xf6t\0pw\0\0\0");
        let info = ClientInfo::parse(&packet).unwrap();
        assert_eq!((info.user.as_slice(), info.password.as_slice()), (&b"r\xf6\xf6t"[..], &b"pw"[..]));
    }

    #[test]
    fn sizes_beyond_the_packet_are_refused() {
        let mut packet = example("D", "user", "pw");
        packet[8] = 0xff;
        packet[9] = 0xff;
        assert_eq!(ClientInfo::parse(&packet), None);
    }
}
