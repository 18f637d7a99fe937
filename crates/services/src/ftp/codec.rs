//! Commands out of lines (RFC 959, 5.3.1) and Telnet signals out of commands (RFC 959, 4).

/// A command line taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Command<'a> {
    /// The first word, as sent.
    pub verb: &'a [u8],
    /// What follows the space after it; `None` without a space.
    pub argument: Option<&'a [u8]>,
}

impl<'a> Command<'a> {
    /// Takes a line apart at its first space.
    pub(super) fn parse(line: &'a [u8]) -> Self {
        let mut parts = line.splitn(2, |byte| *byte == b' ');
        Self { verb: parts.next().unwrap_or_default(), argument: parts.next() }
    }

    /// Whether the verb could be one: printable ASCII, or nothing at all on an empty line.
    pub(super) fn is_text(&self) -> bool {
        self.verb.iter().all(u8::is_ascii_graphic) && (!self.verb.is_empty() || self.argument.is_none())
    }
}

const IAC: u8 = 255;
const DONT: u8 = 254;
const DO: u8 = 253;
const WONT: u8 = 252;
const WILL: u8 = 251;
const INTERRUPT: u8 = 244;
const DATA_MARK: u8 = 242;

/// A line as a server sees it that honours Telnet in the control connection, and the answer to
/// what was negotiated: every option is refused.
pub(super) fn without_telnet(line: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut text, mut answer) = (Vec::with_capacity(line.len()), Vec::new());
    let mut bytes = line.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != IAC {
            text.push(byte);
            continue;
        }
        match bytes.next() {
            Some(verb @ (WILL | WONT | DO | DONT)) => {
                let refusal = if matches!(verb, WILL | WONT) { DONT } else { WONT };
                if let Some(option) = bytes.next() {
                    answer.extend_from_slice(&[IAC, refusal, option]);
                }
            }
            Some(INTERRUPT | DATA_MARK) => {}
            Some(IAC) | None => text.push(IAC),
            Some(other) => text.extend_from_slice(&[IAC, other]),
        }
    }
    (text, answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_at_the_first_space_only() {
        let command = Command::parse(b"PASS a b ");
        assert_eq!((command.verb, command.argument), (&b"PASS"[..], Some(&b"a b "[..])));
        assert_eq!(Command::parse(b"PASS").argument, None);
        assert_eq!(Command::parse(b"PASS ").argument, Some(&b""[..]));
        assert_eq!(Command::parse(b"").verb, b"");
    }

    #[test]
    fn tells_words_from_garbage() {
        assert!(Command::parse(b"GET / HTTP/1.0").is_text());
        assert!(Command::parse(b"").is_text());
        assert!(!Command::parse(b" NOOP").is_text());
        assert!(!Command::parse(b"\x16\x03\x01").is_text());
        assert!(!Command::parse(b"\xff\xf4ABOR").is_text());
    }

    #[test]
    fn refuses_options_and_drops_signals() {
        assert_eq!(without_telnet(b"\xff\xf4\xff\xf2ABOR"), (b"ABOR".to_vec(), vec![]));
        assert_eq!(without_telnet(b"A\xff\xfd\x01B"), (b"AB".to_vec(), b"\xff\xfc\x01".to_vec()));
        assert_eq!(without_telnet(b"A\xff\xfbB"), (b"A".to_vec(), b"\xff\xfeB".to_vec()));
        assert_eq!(without_telnet(b"\xff\xff\xff\xff"), (b"\xff\xff".to_vec(), vec![]));
        assert_eq!(without_telnet(b"F\xffO\xff"), (b"F\xffO\xff".to_vec(), vec![]));
        assert_eq!(without_telnet(b"A\xff\xfd"), (b"A".to_vec(), vec![]));
    }
}
