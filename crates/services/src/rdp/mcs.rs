//! The few MCS packets (T.125) of a connection that gets no session.
//!
//! ```text
//! erect domain      04, height and interval
//! attach user       28;  answer 2e, result 0, user - 1001 (2)
//! channel join      38, user - 1001 (2), channel (2);  answer 3e, result 0, user, channel, channel
//! send data         64, user - 1001 (2), channel (2), 70, length, data;  from the server 68
//! disconnect        20 or 21, and the reason's last bit
//! ```
//!
//! Packed encoding (X.691); numbers are big-endian. [MS-RDPBCGR] 2.2.1.5 to 2.2.1.9.
//!
//! [MS-RDPBCGR]: https://learn.microsoft.com/openspecs/windows_protocols/ms-rdpbcgr/

use super::gcc::{MAIN_CHANNEL, packed_length, push_packed_length};
use super::x224;

/// What users are counted from.
const USERS: u16 = 1001;
/// The server's own user.
const SERVER: u16 = 1002;

/// What a client sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Domain<'a> {
    /// It opens its domain.
    Erect,
    /// It asks for a user number.
    Attach,
    /// It joins a channel as a user, both numbers as sent.
    Join([u8; 2], [u8; 2]),
    /// Data for a channel.
    Data(&'a [u8]),
    /// It leaves.
    Disconnect,
}

/// Reads what a data TPDU holds after MCS is connected; `None` when it is nothing of it.
pub(super) fn domain(content: &[u8]) -> Option<Domain<'_>> {
    // The choice is in the upper six bits; the lower two belong to what follows.
    match *content {
        [0x04..=0x07, ..] => Some(Domain::Erect),
        [0x28..=0x2b, ..] => Some(Domain::Attach),
        [0x38..=0x3b, u0, u1, c0, c1, ..] => Some(Domain::Join([u0, u1], [c0, c1])),
        [0x64..=0x67, _, _, _, _, _, ref rest @ ..] => {
            let (length, data) = packed_length(rest)?;
            data.get(..length).map(Domain::Data)
        }
        [0x20..=0x23, ..] => Some(Domain::Disconnect),
        _ => None,
    }
}

/// The user number that a client gets: the first behind the channels.
pub(super) fn attached(channels: u16) -> Vec<u8> {
    let user = MAIN_CHANNEL.saturating_add(channels).saturating_add(1).saturating_sub(USERS);
    let [high, low] = user.to_be_bytes();
    x224::data_packet(&[0x2e, 0, high, low])
}

/// The channel is joined.
pub(super) fn joined([u0, u1]: [u8; 2], [c0, c1]: [u8; 2]) -> Vec<u8> {
    x224::data_packet(&[0x3e, 0, u0, u1, c0, c1, c0, c1])
}

/// Data on the main channel.
pub(super) fn data(content: &[u8]) -> Vec<u8> {
    let [u0, u1] = SERVER.saturating_sub(USERS).to_be_bytes();
    let [c0, c1] = MAIN_CHANNEL.to_be_bytes();
    let mut out = vec![0x68, u0, u1, c0, c1, 0x70];
    push_packed_length(&mut out, content.len());
    out.extend_from_slice(content);
    x224::data_packet(&out)
}

/// The server ends the connection; 3 (user requested) is the reason that Windows and xrdp give.
pub(super) fn disconnect() -> Vec<u8> {
    x224::data_packet(b"\x21\x80")
}

/// A Set Error Info PDU ([MS-RDPBCGR] 2.2.5.1.1): share control header (length, type 0x17, source),
/// share data header (share, padding, stream, length, type 0x2f, compression), and the code.
pub(super) fn error_info(code: u32) -> Vec<u8> {
    let mut out = b"\x16\0\x17\0".to_vec();
    out.extend_from_slice(&SERVER.to_le_bytes());
    out.extend_from_slice(b"\xea\x03\x01\0\0\x01\x08\0\x2f\0\0\0");
    out.extend_from_slice(&code.to_le_bytes());
    out
}

/// The licence message that says that none is needed ([MS-RDPBCGR] 2.2.1.12): security header with
/// SEC_LICENSE_PKT, ERROR_ALERT of version 3, STATUS_VALID_CLIENT, ST_NO_TRANSITION, an empty blob.
pub(super) const NO_LICENCE: &[u8] = b"\x80\0\0\0\xff\x03\x10\0\x07\0\0\0\x02\0\0\0\x04\0\0\0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_packets_of_the_specification() {
        // [MS-RDPBCGR] 4.1.5 to 4.1.8.
        assert_eq!(domain(b"\x04\x01\0\x01\0"), Some(Domain::Erect));
        assert_eq!(domain(b"\x28"), Some(Domain::Attach));
        assert_eq!(domain(b"\x38\0\x06\x03\xef"), Some(Domain::Join([0, 6], [3, 0xef])));
        assert_eq!(domain(b"\x21\x80"), Some(Domain::Disconnect));
        assert_eq!(domain(b"\x64\0\x06\x03\xeb\x70\x80\x03abc"), Some(Domain::Data(b"abc")));
        assert_eq!(domain(b"\x64\0\x06\x03\xeb\x70\x03abcd"), Some(Domain::Data(b"abc")));
    }

    #[test]
    fn every_prefix_of_data_is_nothing() {
        let whole = b"\x64\0\x06\x03\xeb\x70\x80\x03abc";
        for end in 0..whole.len() {
            assert_eq!(domain(&whole[..end]), None, "{end}");
        }
        assert_eq!(domain(b"\x38\0\x06\x03"), None);
        assert_eq!(domain(b"\x7f\x65"), None);
    }

    #[test]
    fn answers_as_the_specification_shows() {
        assert_eq!(attached(3), b"\x03\0\0\x0b\x02\xf0\x80\x2e\0\0\x06");
        assert_eq!(joined([0, 6], [3, 0xef]), b"\x03\0\0\x0f\x02\xf0\x80\x3e\0\0\x06\x03\xef\x03\xef");
        assert_eq!(disconnect(), b"\x03\0\0\x09\x02\xf0\x80\x21\x80");
        assert_eq!(data(b"abc"), b"\x03\0\0\x11\x02\xf0\x80\x68\0\x01\x03\xeb\x70\x03abc");
        assert_eq!(error_info(7).len(), 22);
    }
}
