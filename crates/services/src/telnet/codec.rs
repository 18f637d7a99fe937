//! The byte stream of Telnet taken apart (RFC 854, RFC 855).
//!
//! ```text
//! data            any byte but IAC; IAC IAC is the byte 255
//! command         IAC NOP..GA
//! negotiation     IAC WILL|WONT|DO|DONT option
//! subnegotiation  IAC SB option body IAC SE
//! ```

use super::option::Verb;

pub(super) const IAC: u8 = 255;
const SB: u8 = 250;
const SE: u8 = 240;

/// Commands that a line editor understands.
pub(super) mod command {
    /// Break.
    pub(in super::super) const BRK: u8 = 243;
    /// Interrupt process.
    pub(in super::super) const IP: u8 = 244;
    /// Are you there.
    pub(in super::super) const AYT: u8 = 246;
    /// Erase character.
    pub(in super::super) const EC: u8 = 247;
    /// Erase line.
    pub(in super::super) const EL: u8 = 248;
}

/// Most bytes of a subnegotiation, option included; OpenCanary hangs up at one more.
pub(super) const LONGEST: usize = 255;

/// One thing that the peer sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// Text.
    Data(&'a [u8]),
    /// A command.
    Command(u8),
    /// WILL, WONT, DO or DONT.
    Negotiation(Verb, u8),
    /// A subnegotiation, its body unescaped.
    Subnegotiation(u8, Vec<u8>),
    /// A subnegotiation beyond [`LONGEST`].
    Overlong,
}

/// The first token and the bytes it takes; `None` when it is not whole yet.
pub(super) fn next_token(input: &[u8]) -> Option<(Token<'_>, usize)> {
    let (first, rest) = input.split_first()?;
    if *first != IAC {
        let text = input.split(|byte| *byte == IAC).next().unwrap_or_default();
        return Some((Token::Data(text), text.len()));
    }
    match *rest.first()? {
        IAC => Some((Token::Data(input.get(..1)?), 2)),
        SB => subnegotiation(rest.get(1..)?),
        code => match Verb::of_code(code) {
            Some(verb) => Some((Token::Negotiation(verb, *rest.get(1)?), 3)),
            None => Some((Token::Command(code), 2)),
        },
    }
}

/// A subnegotiation whose IAC SB is gone.
fn subnegotiation(input: &[u8]) -> Option<(Token<'static>, usize)> {
    let mut body = Vec::new();
    // IAC SB.
    let mut used = 2_usize;
    let mut bytes = input.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        used = used.saturating_add(1);
        if byte == IAC {
            match *bytes.peek()? {
                IAC => {
                    bytes.next();
                    used = used.saturating_add(1);
                    body.push(IAC);
                }
                SE => return Some((whole(body), used.saturating_add(1))),
                // Never ended; the command that cuts it off stays.
                _ => return Some((whole(body), used.saturating_sub(1))),
            }
        } else {
            body.push(byte);
        }
        if body.len() > LONGEST {
            return Some((Token::Overlong, used));
        }
    }
    None
}

fn whole(body: Vec<u8>) -> Token<'static> {
    match body.split_first() {
        Some((option, rest)) => Token::Subnegotiation(*option, rest.to_vec()),
        None => Token::Command(SE),
    }
}

/// A subnegotiation to send.
pub(super) fn encode_subnegotiation(option: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![IAC, SB, option];
    for byte in body {
        bytes.push(*byte);
        if *byte == IAC {
            bytes.push(IAC);
        }
    }
    bytes.extend_from_slice(&[IAC, SE]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(mut input: &[u8]) -> (String, usize) {
        let mut text = String::new();
        while let Some((token, used)) = next_token(input) {
            text.push_str(&format!("{token:?} "));
            input = &input[used..];
        }
        (text, input.len())
    }

    #[test]
    fn takes_the_stream_apart() {
        let (text, rest) = tokens(b"a\xff\xffb\xff\xf6\xff\xfd\x01\xff\xfa\x1f\x00\xff\xff\x00\x18\xff\xf0c");
        assert_eq!(rest, 0);
        assert_eq!(
            text,
            "Data([97]) Data([255]) Data([98]) Command(246) Negotiation(Do, 1) Subnegotiation(31, [0, 255, 0, 24]) Data([99]) "
        );
    }

    #[test]
    fn every_prefix_is_incomplete() {
        for whole in [&b"\xff\xfd\x01"[..], b"\xff\xff", b"\xff\xfa\x18\x00XTERM\xff\xff\xff\xf0"] {
            for end in 0..whole.len() {
                assert_eq!(next_token(&whole[..end]), None, "{end}");
            }
            assert_eq!(next_token(whole).unwrap().1, whole.len());
        }
    }

    #[test]
    fn round_trips_a_subnegotiation() {
        let bytes = encode_subnegotiation(24, &[1, IAC, SE]);
        assert_eq!(next_token(&bytes), Some((Token::Subnegotiation(24, vec![1, IAC, SE]), bytes.len())));
    }

    #[test]
    fn stops_at_256_bytes() {
        let mut bytes = vec![IAC, SB];
        bytes.extend(std::iter::repeat_n(b'A', LONGEST));
        assert_eq!(next_token(&bytes), None);
        bytes.push(b'A');
        assert_eq!(next_token(&bytes), Some((Token::Overlong, 258)));
        *bytes.last_mut().unwrap() = IAC;
        bytes.push(SE);
        assert!(matches!(next_token(&bytes), Some((Token::Subnegotiation(b'A', _), 259))));
    }

    #[test]
    fn a_command_cuts_off_a_subnegotiation() {
        let (text, rest) = tokens(b"\xff\xfa\x18\x00x\xff\xfd\x01\xff\xfa\xff\xf0");
        assert_eq!((text.as_str(), rest), ("Subnegotiation(24, [0, 120]) Negotiation(Do, 1) Command(240) ", 0));
    }
}
