//! Packets of TFTP, and requests as tftpd-hpa reads them.
//!
//! ```text
//! RRQ, WRQ  U16 1 or 2, file name NUL, mode NUL, then options: name NUL, value NUL
//! DATA      U16 3, U16 block, up to `blksize` bytes; fewer end the transfer
//! ACK       U16 4, U16 block
//! ERROR     U16 5, U16 code, text NUL
//! OACK      U16 6, options
//! ```

/// Most data in a block that is agreed to, as tftpd-hpa has it.
const MOST: u64 = 65_464;
/// Options that are looked at.
const OPTIONS: usize = 16;
/// Bytes of data in a block unless options say otherwise.
const BLOCK: usize = 512;

/// Codes of errors.
pub(super) mod code {
    /// Anything.
    pub(in super::super) const UNDEFINED: u16 = 0;
    /// File not found.
    pub(in super::super) const NOT_FOUND: u16 = 1;
    /// Access violation.
    pub(in super::super) const ACCESS: u16 = 2;
    /// Disk full.
    pub(in super::super) const FULL: u16 = 3;
    /// Illegal operation.
    pub(in super::super) const ILLEGAL: u16 = 4;
    /// Options that cannot be agreed to.
    pub(in super::super) const OPTIONS: u16 = 8;
}

/// A packet that belongs to a transfer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet<'a> {
    /// A block and its data.
    Data(u16, &'a [u8]),
    /// A block was received.
    Ack(u16),
    /// The peer gave up, with its text.
    Error(&'a [u8]),
    /// Anything else, a request among them.
    Other,
}

/// Reads a packet.
pub(super) fn packet(bytes: &[u8]) -> Packet<'_> {
    let (Some(opcode), Some(number)) = (u16_at(bytes, 0), u16_at(bytes, 2)) else { return Packet::Other };
    let rest = bytes.get(4..).unwrap_or_default();
    match opcode {
        3 => Packet::Data(number, rest),
        4 => Packet::Ack(number),
        5 => Packet::Error(rest.split(|byte| *byte == 0).next().unwrap_or_default()),
        _ => Packet::Other,
    }
}

/// The number of two bytes at a place.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A block.
pub(super) fn data(block: u16, bytes: &[u8]) -> Vec<u8> {
    [&[0, 3], &block.to_be_bytes()[..], bytes].concat()
}

/// A block was received.
pub(super) fn ack(block: u16) -> Vec<u8> {
    [[0, 4], block.to_be_bytes()].concat()
}

/// An error.
pub(super) fn error(code: u16, text: &str) -> Vec<u8> {
    [&[0, 5], &code.to_be_bytes()[..], text.as_bytes(), &[0]].concat()
}

/// Words ended by NUL, up to an empty one or the end; the last may be cut short.
#[derive(Clone)]
pub(super) struct Words<'a>(&'a [u8]);

impl<'a> Words<'a> {
    /// The words of a request, behind its opcode.
    pub(super) fn of(request: &'a [u8]) -> Self {
        Self(request.get(2..).unwrap_or_default())
    }
}

impl<'a> Iterator for Words<'a> {
    /// The word; an error when it is not ended.
    type Item = Result<&'a [u8], ()>;

    fn next(&mut self) -> Option<Self::Item> {
        if matches!(self.0.first(), None | Some(0)) {
            return None;
        }
        let Some(end) = self.0.iter().position(|byte| *byte == 0) else {
            self.0 = &[];
            return Some(Err(()));
        };
        let (word, rest) = self.0.split_at_checked(end)?;
        self.0 = rest.get(1..).unwrap_or_default();
        Some(Ok(word))
    }
}

/// How bytes are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// As they are.
    Octet,
    /// With lines ended by CR LF.
    Netascii,
}

/// What was agreed on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// Bytes in a block.
    pub blksize: usize,
    /// The answer to the options; `None` when none was understood.
    pub oack: Option<Vec<u8>>,
}

/// The options of a request as text: `blksize=1428 tsize=0`.
pub(super) fn options_as_text(words: Words<'_>) -> Vec<u8> {
    let mut text: Vec<u8> = Vec::new();
    let mut words = words.map_while(Result::ok).take(2 * OPTIONS);
    while let Some(name) = words.next() {
        let gap: &[u8] = if text.is_empty() { b"" } else { b" " };
        text.extend([gap, name, b"=", words.next().unwrap_or_default()].concat());
    }
    text
}

/// Agrees on options, as tftpd-hpa 5.2 does. `length` is the file's, which only an octet transfer tells.
///
/// # Errors
/// When one is known and cannot be, or the request is cut short: code and text.
pub(super) fn options(mut words: Words<'_>, mode: Mode, length: usize) -> Result<Options, (u16, &'static str)> {
    let mut agreed = Options { blksize: BLOCK, oack: None };
    let mut taken = 0_usize;
    while let Some(name) = words.next() {
        let cut = (code::ILLEGAL, "Request not null-terminated");
        let name = name.map_err(|()| cut)?;
        let Some(value) = words.next() else { break };
        let value = value.map_err(|()| cut)?;
        taken = taken.saturating_add(1);
        if taken > OPTIONS {
            break;
        }
        let name = name.to_ascii_lowercase();
        let Some(number) = std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok()) else { continue };
        let answer = match name.as_slice() {
            b"blksize" => (number >= 8).then(|| number.min(MOST)),
            b"blksize2" => (number >= 8).then(|| 1 << number.min(MOST).ilog2()),
            b"tsize" => (mode == Mode::Octet).then(|| match number {
                0 => u64::try_from(length).unwrap_or_default(),
                _ => number,
            }),
            b"timeout" => (1..=255).contains(&number).then_some(number),
            b"utimeout" => (10_000..=255_000_000).contains(&number).then_some(number),
            b"rollover" => (number <= 1).then_some(number),
            _ => continue,
        };
        let Some(answer) = answer else { return Err((code::OPTIONS, "Unsupported option(s) requested")) };
        if name.starts_with(b"blksize") {
            agreed.blksize = usize::try_from(answer).unwrap_or(BLOCK);
        }
        let oack = agreed.oack.get_or_insert_with(|| vec![0, 6]);
        oack.extend([&name, &b"\0"[..], answer.to_string().as_bytes(), b"\0"].concat());
    }
    Ok(agreed)
}

/// Text as netascii has it: LF as CR LF, CR as CR NUL.
pub(super) fn netascii(text: &[u8]) -> Vec<u8> {
    let mut all = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            b'\n' => all.extend(b"\r\n"),
            b'\r' => all.extend(b"\r\0"),
            other => all.push(*other),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_that_are_too_short_are_none() {
        for end in 0..4 {
            assert_eq!(packet(&data(7, b"abc")[..end]), Packet::Other);
        }
        assert_eq!(packet(&data(7, b"abc")), Packet::Data(7, b"abc"));
        assert_eq!(packet(&data(7, b"abc")[..4]), Packet::Data(7, b""));
        assert_eq!(packet(&ack(65_535)), Packet::Ack(65_535));
        assert_eq!(packet(&error(1, "no")), Packet::Error(b"no"));
        assert_eq!(packet(b"\0\x05\0\0no end"), Packet::Error(b"no end"));
        assert_eq!(packet(b"\0\x01name\0octet\0"), Packet::Other);
    }

    #[test]
    fn words_end_at_an_empty_one_and_tell_when_one_is_cut() {
        let words = |text| Words::of(text).collect::<Vec<_>>();
        assert_eq!(words(b"\0\x01a\0octet\0"), [Ok(&b"a"[..]), Ok(b"octet")]);
        assert_eq!(words(b"\0\x01a\0octet"), [Ok(&b"a"[..]), Err(())]);
        assert_eq!(words(b"\0\x01a\0\0b\0"), [Ok(&b"a"[..])]);
        assert_eq!(words(b"\0\x01"), []);
        assert_eq!(words(b"\0\x01\0octet\0"), []);
        assert_eq!(words(b""), []);
    }

    fn agreed(text: &[u8], mode: Mode) -> Result<Options, (u16, &'static str)> {
        options(Words::of(&[b"\0\x01", text].concat()), mode, 6)
    }

    #[test]
    fn agrees_on_options_as_tftpd_hpa() {
        let text = b"blksize\x001428\0tsize\x000\0timeout\x005\0windowsize\x008\0";
        let got = agreed(text, Mode::Octet).unwrap();
        assert_eq!(got.oack.as_deref(), Some(&b"\0\x06blksize\x001428\0tsize\x006\0timeout\x005\0"[..]));
        assert_eq!(got.blksize, 1428);
        let huge = agreed(b"BLKSIZE\x0099999\0", Mode::Octet).unwrap();
        assert_eq!((huge.oack.as_deref(), huge.blksize), (Some(&b"\0\x06blksize\x0065464\0"[..]), 65_464));
        assert_eq!(agreed(b"blksize2\x001000\0", Mode::Octet).unwrap().blksize, 512);
        for ignored in [&b""[..], b"blksize\0abc\0", b"foo\0bar\0", b"blksize\0", b"blksize\0\0"] {
            assert_eq!(agreed(ignored, Mode::Octet).unwrap().oack, None, "{}", ignored.escape_ascii());
        }
        for refused in [&b"blksize\x004\0"[..], b"timeout\x00999\0", b"utimeout\x001\0", b"rollover\x002\0"] {
            assert_eq!(agreed(refused, Mode::Octet).unwrap_err(), (8, "Unsupported option(s) requested"));
        }
        assert_eq!(agreed(b"tsize\x000\0", Mode::Netascii).unwrap_err().0, 8);
        assert_eq!(agreed(b"blksize\x00512", Mode::Octet).unwrap_err(), (4, "Request not null-terminated"));
        let many = agreed(&b"timeout\x009\0".repeat(5000), Mode::Octet).unwrap();
        assert_eq!(many.oack.map(|oack| oack.len()), Some(2 + 10 * OPTIONS));
    }

    #[test]
    fn netascii_ends_lines_with_both() {
        assert_eq!(netascii(b"a\nb\rc"), b"a\r\nb\r\0c");
    }
}
