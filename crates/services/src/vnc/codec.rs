//! Messages of RFB up to the end of authentication.
//!
//! ```text
//! version         "RFB xxx.yyy\n", 12 bytes, both ways
//! security types  3.3: U32 type, chosen by the server
//!                 3.7 and 3.8: U8 count, U8 types; the client sends U8 type
//! VNC             server: 16 bytes of challenge; client: 16 bytes of response
//! VeNCrypt        server: U8 0, U8 2; client: U8 major, U8 minor; server: U8 0, U8 count,
//!                 U32 subtypes; client: U32 subtype; server, before TLS: U8 1
//! Plain           U32 length of user name, U32 length of password, user name, password
//! Tight           server: U32 tunnels (0), U32 count, capabilities; client: U32 authentication
//! result          U32: 0 success, 1 failure; 3.8: then U32 length, reason
//! ```

/// Bytes of a version.
pub(super) const VERSION: usize = 12;
/// Bytes of a challenge and of its response.
pub(super) const CHALLENGE: usize = 16;
/// A user name or password of Plain must be shorter, as in TigerVNC.
pub(super) const LONGEST: usize = 1024;

/// A version as TigerVNC reads it, with C's `sscanf("RFB %03d.%03d")`: major and minor.
pub(super) fn version(bytes: &[u8]) -> Option<(i32, i32)> {
    let rest = skip_space(bytes.strip_prefix(b"RFB")?);
    let (major, rest) = number(rest)?;
    let (minor, _) = number(rest.strip_prefix(b".")?)?;
    Some((major, minor))
}

fn skip_space(bytes: &[u8]) -> &[u8] {
    let spaces = bytes.iter().take_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r')).count();
    bytes.get(spaces..).unwrap_or_default()
}

/// `%03d`: white space, then at most three characters of which the first may be a sign.
fn number(bytes: &[u8]) -> Option<(i32, &[u8])> {
    let bytes = skip_space(bytes);
    let sign = usize::from(matches!(bytes.first(), Some(b'-' | b'+')));
    let digits = bytes.iter().skip(sign).take(3_usize.saturating_sub(sign)).take_while(|b| b.is_ascii_digit()).count();
    let (text, rest) = bytes.split_at_checked(sign.saturating_add(digits))?;
    Some((std::str::from_utf8(text).ok()?.parse().ok()?, rest))
}

/// A number of four bytes at the front.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*four))
}

/// What stands at the front where Plain is expected.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plain<'a> {
    /// More is needed.
    Incomplete,
    /// A user name of [`LONGEST`] bytes or more is announced.
    LongUser,
    /// The same for the password.
    LongPassword,
    /// User name, password, and the bytes they take up.
    Login(&'a [u8], &'a [u8], usize),
}

/// Reads user name and password.
pub(super) fn plain(input: &[u8]) -> Plain<'_> {
    let (Some(user), Some(password)) = (u32_at(input, 0), u32_at(input, 4)) else { return Plain::Incomplete };
    let length = |announced: u32| usize::try_from(announced).ok().filter(|length| *length < LONGEST);
    let Some(user) = length(user) else { return Plain::LongUser };
    let Some(password) = length(password) else { return Plain::LongPassword };
    let body = input.get(8..).unwrap_or_default();
    let Some((user, rest)) = body.split_at_checked(user) else { return Plain::Incomplete };
    let Some(password) = rest.get(..password) else { return Plain::Incomplete };
    Plain::Login(user, password, user.len().saturating_add(password.len()).saturating_add(8))
}

/// A text with its length before it.
fn text(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap_or_default();
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

/// The result of a failed authentication; only clients of 3.8 are told why.
pub(super) fn failure(minor: u8, reason: &str) -> Vec<u8> {
    let mut bytes = 1_u32.to_be_bytes().to_vec();
    if minor >= 8 {
        bytes.extend(text(reason));
    }
    bytes
}

/// No security types, and why: ends the connection.
pub(super) fn no_types(minor: u8, reason: &str) -> Vec<u8> {
    let none: &[u8] = if minor == 3 { &[0; 4] } else { &[0] };
    [none, &text(reason)].concat()
}

/// What a blacklisted source gets instead of a version.
pub(super) fn refusal(reason: &str) -> Vec<u8> {
    [&b"RFB 003.003\n"[..], &[0; 4], &text(reason)].concat()
}

/// A list of security types.
pub(super) fn types(offered: &[u8]) -> Vec<u8> {
    [&[u8::try_from(offered.len()).unwrap_or_default()][..], offered].concat()
}

/// VeNCrypt's answer to version 0.2: all is well, and these are the subtypes.
pub(super) fn subtypes(offered: &[u32]) -> Vec<u8> {
    let mut bytes = vec![0, u8::try_from(offered.len()).unwrap_or_default()];
    bytes.extend(offered.iter().flat_map(|subtype| subtype.to_be_bytes()));
    bytes
}

/// Tight's lists: no tunnels, and VNC authentication alone. A capability is U32 code, four
/// characters of vendor, eight of name.
pub(super) const TIGHT: &[u8] = b"\0\0\0\0\0\0\0\x01\0\0\0\x02STDVVNCAUTH_";

/// John the Ripper's line (format `vnc`).
pub(super) fn hash_line(challenge: &[u8], response: &[u8]) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>();
    format!("$vnc$*{}*{}", hex(challenge), hex(response))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_versions_as_tigervnc_does() {
        for (text, read) in [
            (&b"RFB 003.008\n"[..], Some((3, 8))),
            (b"RFB 003.889\n", Some((3, 889))),
            (b"RFB  03.  8\n", Some((3, 8))),
            (b"RFB 3.8\nxxxx", Some((3, 8))),
            (b"RFB003.008\n\n", Some((3, 8))),
            (b"RFB -03.008\n", Some((-3, 8))),
            (b"RFB 0003.008", None),
            (b"RFB 003 008\n", None),
            (b"rfb 003.008\n", None),
            (b"RFB 003.", None),
            (b"GET / HTTP/1", None),
        ] {
            assert_eq!(version(text), read, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn every_prefix_of_plain_is_incomplete() {
        let good = b"\0\0\0\x04\0\0\0\x03userpwd";
        for end in 0..good.len() {
            assert_eq!(plain(&good[..end]), Plain::Incomplete);
        }
        assert_eq!(plain(good), Plain::Login(b"user", b"pwd", 15));
        assert_eq!(plain(&[good, &b"more"[..]].concat()), Plain::Login(b"user", b"pwd", 15));
        assert_eq!(plain(&[0; 8]), Plain::Login(b"", b"", 8));
    }

    #[test]
    fn rejects_lengths_from_1024_up_before_they_come() {
        assert_eq!(plain(b"\0\0\x04\0\0\0\0\x03"), Plain::LongUser);
        assert_eq!(plain(b"\xff\xff\xff\xff\0\0\0\x03"), Plain::LongUser);
        assert_eq!(plain(b"\0\0\0\x01\0\0\x04\0"), Plain::LongPassword);
        assert_eq!(plain(b"\0\0\x03\xff\0\0\x03\xff"), Plain::Incomplete);
    }

    #[test]
    fn answers_have_the_measured_form() {
        assert_eq!(failure(8, "Authentication failure"), b"\0\0\0\x01\0\0\0\x16Authentication failure");
        assert_eq!(failure(7, "Authentication failure"), b"\0\0\0\x01");
        assert_eq!(types(&[19, 2]), b"\x02\x13\x02");
        assert_eq!(subtypes(&[262, 256, 2]), b"\0\x03\0\0\x01\x06\0\0\x01\0\0\0\0\x02");
        assert_eq!(no_types(3, "x"), b"\0\0\0\0\0\0\0\x01x");
        assert_eq!(no_types(8, "x"), b"\0\0\0\0\x01x");
    }
}
