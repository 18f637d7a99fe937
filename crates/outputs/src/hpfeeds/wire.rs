//! Frames of hpfeeds.
//!
//! ```text
//! frame:   u32 length (big-endian, of the whole frame), u8 opcode, body
//! error:   0, text
//! info:    1, u8 length, the broker's name, nonce
//! auth:    2, u8 length, ident, SHA-1 of nonce and secret
//! publish: 3, u8 length, ident, u8 length, channel, payload
//! ```
//!
//! Reference: <https://hpfeeds.org/wire-protocol>.

use sha1::{Digest as _, Sha1};

/// Bytes before a frame's body.
pub(super) const HEADER: usize = 5;

/// Greatest frame that brokers take, bytes.
pub(super) const LARGEST: usize = HEADER + (1 << 20);

/// Greatest frame that is read from a broker, bytes. It has to say who it is and what is wrong; events of
/// others are not asked for.
const LARGEST_READ: usize = 16 * 1024;

const ERROR: u8 = 0;
const INFO: u8 = 1;
const AUTH: u8 = 2;
const PUBLISH: u8 = 3;

/// What a broker said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Who it is, and what to mix into the secret.
    Info { nonce: Vec<u8> },
    /// What is wrong, in its own words.
    Error(String),
    /// Something that needs no answer.
    Else,
}

/// Why bytes are no frame.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum NoFrame {
    /// A length that no frame for us has.
    #[error("a frame of {0} bytes")]
    Length(u32),
    /// An opcode that there is not, or a body that is none.
    #[error("a frame of type {0} that makes no sense")]
    Body(u8),
}

/// Takes the first whole frame off the bytes; `None` when more are needed.
pub(super) fn take(bytes: &mut Vec<u8>) -> Result<Option<Said>, NoFrame> {
    let Some((&[a, b, c, d, opcode], _)) = bytes.split_first_chunk::<HEADER>() else { return Ok(None) };
    let claimed = u32::from_be_bytes([a, b, c, d]);
    let length = usize::try_from(claimed).ok().filter(|length| (HEADER..=LARGEST_READ).contains(length));
    let length = length.ok_or(NoFrame::Length(claimed))?;
    let Some(body) = bytes.get(HEADER..length) else { return Ok(None) };
    let said = match opcode {
        ERROR => Said::Error(String::from_utf8_lossy(body).into_owned()),
        INFO => {
            let (name, rest) = body.split_first().ok_or(NoFrame::Body(opcode))?;
            let nonce = rest.get(usize::from(*name)..).ok_or(NoFrame::Body(opcode))?;
            Said::Info { nonce: nonce.to_vec() }
        }
        2..=5 => Said::Else,
        _ => return Err(NoFrame::Body(opcode)),
    };
    bytes.drain(..length);
    Ok(Some(said))
}

/// A text with its length before it; the caller has seen to it that it has at most 255 bytes.
fn short(text: &str, out: &mut Vec<u8>) {
    out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.extend(text.bytes().take(usize::from(u8::MAX)));
}

fn frame(opcode: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER.saturating_add(body.len())).unwrap_or(u32::MAX);
    let mut frame = length.to_be_bytes().to_vec();
    frame.push(opcode);
    frame.extend_from_slice(body);
    frame
}

/// Proves the secret without saying it.
pub(super) fn auth(ident: &str, secret: &str, nonce: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    short(ident, &mut body);
    body.extend_from_slice(&Sha1::new().chain_update(nonce).chain_update(secret.as_bytes()).finalize());
    frame(AUTH, &body)
}

/// An event to a channel.
pub(super) fn publish(ident: &str, channel: &str, payload: &str) -> Vec<u8> {
    let mut body = Vec::with_capacity(payload.len().saturating_add(64));
    short(ident, &mut body);
    short(channel, &mut body);
    body.extend_from_slice(payload.as_bytes());
    frame(PUBLISH, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_a_broker_reads() {
        assert_eq!(publish("me", "ch", "{}"), b"\0\0\0\x0d\x03\x02me\x02ch{}");
        // SHA-1 of `abc`, FIPS 180's first example: the nonce `ab` and the secret `c`.
        let digest = b"\xa9\x99\x3e\x36\x47\x06\x81\x6a\xba\x3e\x25\x71\x78\x50\xc2\x6c\x9c\xd0\xd8\x9d";
        assert_eq!(auth("me", "c", b"ab"), [b"\0\0\0\x1c\x02\x02me".as_slice(), digest].concat());
    }

    #[test]
    fn every_prefix_is_incomplete() {
        let whole = b"\0\0\0\x0d\x01\x02hp\x01\x02\x03\x04\x05more";
        for cut in 0..13 {
            assert_eq!(take(&mut whole.get(..cut).expect("a prefix").to_vec()), Ok(None), "{cut}");
        }
        let mut bytes = whole.to_vec();
        assert_eq!(take(&mut bytes), Ok(Some(Said::Info { nonce: vec![1, 2, 3, 4, 5] })));
        assert_eq!(bytes, b"more");
    }

    #[test]
    fn rejects_what_is_no_frame() {
        assert_eq!(take(&mut b"\0\0\0\x04\x01".to_vec()), Err(NoFrame::Length(4)));
        assert_eq!(take(&mut b"HTTP/1.1 400".to_vec()), Err(NoFrame::Length(0x4854_5450)));
        assert_eq!(take(&mut b"\0\0\0\x05\x01".to_vec()), Err(NoFrame::Body(1)));
        assert_eq!(take(&mut b"\0\0\0\x07\x01\x02a".to_vec()), Err(NoFrame::Body(1)));
        assert_eq!(take(&mut b"\0\0\0\x05\x09".to_vec()), Err(NoFrame::Body(9)));
        assert_eq!(take(&mut b"\0\0\0\x07\0no".to_vec()), Ok(Some(Said::Error("no".to_owned()))));
    }
}
