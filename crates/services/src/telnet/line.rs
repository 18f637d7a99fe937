//! A line as it is typed: CR LF, CR NUL, CR or LF ends it; BS, DEL and ^U edit it; echo is the caller's.

/// Most bytes that one line holds.
pub(super) const LONGEST: usize = 1024;

const INTERRUPT: u8 = 0x03;
const BACKSPACE: u8 = 0x08;
const KILL: u8 = 0x15;
const DELETE: u8 = 0x7f;

/// What a byte did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// Nothing to see.
    Nothing,
    /// It stands in the line.
    Put(u8),
    /// This many bytes went.
    Erased(usize),
    /// The line is dropped because of an interrupt.
    Interrupt,
    /// The line is whole.
    Enter(Vec<u8>),
    /// The line was full; this is what it held, and it begins anew with the byte.
    Full(Vec<u8>),
}

/// A line in the making.
#[derive(Debug, Default)]
pub(super) struct Line {
    text: Vec<u8>,
    after_cr: bool,
}

impl Line {
    /// Takes the next byte in.
    pub(super) fn take(&mut self, byte: u8) -> Typed {
        let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
        match byte {
            b'\n' | 0 if after_cr => Typed::Nothing,
            b'\r' | b'\n' => Typed::Enter(std::mem::take(&mut self.text)),
            BACKSPACE | DELETE => self.erase(),
            KILL => self.kill(),
            INTERRUPT => Typed::Interrupt,
            _ if self.text.len() >= LONGEST => Typed::Full(std::mem::replace(&mut self.text, vec![byte])),
            _ => {
                self.text.push(byte);
                Typed::Put(byte)
            }
        }
    }

    /// Erases the last character.
    pub(super) fn erase(&mut self) -> Typed {
        Typed::Erased(usize::from(self.text.pop().is_some()))
    }

    /// Erases everything.
    pub(super) fn kill(&mut self) -> Typed {
        Typed::Erased(std::mem::take(&mut self.text).len())
    }

    /// What stands in the line.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8]) -> Vec<Vec<u8>> {
        let mut line = Line::default();
        input.iter().filter_map(|b| if let Typed::Enter(text) = line.take(*b) { Some(text) } else { None }).collect()
    }

    #[test]
    fn every_ending_ends_one_line() {
        assert_eq!(lines(b"a\r\nb\r\0c\nd\re\r\n\r\n"), [&b"a"[..], b"b", b"c", b"d", b"e", b""]);
        assert_eq!(lines(b"a\0b\n"), [b"a\0b"]);
    }

    #[test]
    fn edits() {
        assert_eq!(lines(b"rox\x7fot\x08t\r"), [b"root"]);
        assert_eq!(lines(b"\x7f\x7fabc\x15d\n"), [b"d"]);
    }

    #[test]
    fn a_full_line_gives_back_what_it_held() {
        let mut line = Line::default();
        for _ in 0..LONGEST {
            assert_eq!(line.take(b'A'), Typed::Put(b'A'));
        }
        assert_eq!(line.take(b'B'), Typed::Full(vec![b'A'; LONGEST]));
        assert_eq!(line.text(), b"B");
    }
}
