//! Where one message ends and the next begins, on a connection.

/// Longest message, bytes: a line, and what syslog writes before it.
pub(super) const LONGEST: usize = crate::arrival::LONGEST + (8 << 10);
/// Most digits of a count.
const DIGITS: usize = 8;

/// A message, or how long one was that is longer than messages are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// One message, without what ends it.
    Message(Vec<u8>),
    /// One that was not kept.
    TooLong(usize),
}

/// Cuts a stream. A message ends with a line feed or a NUL, as Python's handler sends it; on a connection of syslog a
/// number before it says its length instead (RFC 6587, RFC 5425).
#[derive(Debug)]
pub(super) struct Framing {
    counted: bool,
    state: State,
    held: Vec<u8>,
    /// Bytes of the message that are not held.
    lost: usize,
}

#[derive(Debug)]
enum State {
    Between,
    /// Digits that may be a count.
    Count,
    /// So many bytes are left of a message.
    Counted(usize),
    /// A message until its end.
    Line,
}

impl Framing {
    /// `counted`: messages may have a length before them.
    pub(super) const fn new(counted: bool) -> Self {
        Self { counted, state: State::Between, held: Vec::new(), lost: 0 }
    }

    /// Bytes of a message that has not ended.
    pub(super) fn held(&self) -> usize {
        self.held.len().saturating_add(self.lost)
    }

    /// Takes bytes, and gives the messages that end in them.
    pub(super) fn push(&mut self, mut bytes: &[u8], out: &mut Vec<Piece>) {
        while let Some((first, rest)) = bytes.split_first() {
            match self.state {
                State::Between => match first {
                    b'\n' | b'\r' | b'\0' | b' ' => bytes = rest,
                    b'1'..=b'9' if self.counted => self.state = State::Count,
                    _ => self.state = State::Line,
                },
                State::Count => match first {
                    b'0'..=b'9' if self.held.len() < DIGITS => {
                        self.held.push(*first);
                        bytes = rest;
                    }
                    b' ' => {
                        let count = std::str::from_utf8(&self.held).ok().and_then(|digits| digits.parse().ok());
                        self.held.clear();
                        self.state = State::Counted(count.unwrap_or(0));
                        bytes = rest;
                    }
                    // The digits were a message's own.
                    _ => self.state = State::Line,
                },
                State::Counted(left) => {
                    let (ours, rest) = bytes.split_at(left.min(bytes.len()));
                    self.hold(ours);
                    bytes = rest;
                    self.state = State::Counted(left.saturating_sub(ours.len()));
                    if ours.len() == left {
                        self.end(out);
                    }
                }
                State::Line => match bytes.iter().position(|byte| matches!(byte, b'\n' | b'\0')) {
                    Some(end) => {
                        let (ours, rest) = bytes.split_at(end);
                        self.hold(ours);
                        self.end(out);
                        bytes = rest;
                    }
                    None => {
                        self.hold(bytes);
                        bytes = &[];
                    }
                },
            }
        }
    }

    /// What is left when the connection ends.
    pub(super) fn finish(&mut self, out: &mut Vec<Piece>) {
        if self.held() > 0 {
            self.end(out);
        }
    }

    fn hold(&mut self, bytes: &[u8]) {
        let room = LONGEST.saturating_sub(self.held.len());
        let (kept, lost) = bytes.split_at(room.min(bytes.len()));
        self.held.extend_from_slice(kept);
        self.lost = self.lost.saturating_add(lost.len());
    }

    fn end(&mut self, out: &mut Vec<Piece>) {
        let message = std::mem::take(&mut self.held);
        let lost = std::mem::take(&mut self.lost);
        self.state = State::Between;
        if lost > 0 {
            out.push(Piece::TooLong(message.len().saturating_add(lost)));
        } else if !message.trim_ascii().is_empty() {
            out.push(Piece::Message(message));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a stream comes to in pieces of a size, and at its end.
    fn cut(counted: bool, stream: &[u8], size: usize) -> Vec<Piece> {
        let (mut framing, mut out) = (Framing::new(counted), Vec::new());
        stream.chunks(size).for_each(|piece| framing.push(piece, &mut out));
        framing.finish(&mut out);
        out
    }

    fn messages(all: &[&str]) -> Vec<Piece> {
        all.iter().map(|text| Piece::Message(text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn every_framing_gives_the_same_in_pieces_of_any_size() {
        let stream = b"{\"a\": 1}\n\n{\"b\": 2}\r\n<14>c\0<14>d\n5 a\nb c6 <14>fg\n12x\n3 end";
        let counted = ["{\"a\": 1}", "{\"b\": 2}\r", "<14>c", "<14>d", "a\nb c", "<14>fg", "12x", "end"];
        let lines = ["{\"a\": 1}", "{\"b\": 2}\r", "<14>c", "<14>d", "5 a", "b c6 <14>fg", "12x", "3 end"];
        for size in 1..stream.len() {
            assert_eq!(cut(true, stream, size), messages(&counted), "{size}");
            assert_eq!(cut(false, stream, size), messages(&lines), "{size}");
        }
    }

    #[test]
    fn a_message_that_is_too_long_is_not_held_and_the_next_is_read() {
        let long = LONGEST + 17;
        let mut line = vec![b'x'; long];
        line.extend_from_slice(b"\nnext\n");
        let mut counted = format!("{long} ").into_bytes();
        counted.extend(std::iter::repeat_n(b'x', long));
        counted.extend_from_slice(b"4 next");
        for stream in [line, counted] {
            let out = cut(true, &stream, 60_000);
            assert_eq!(out, [vec![Piece::TooLong(long)], messages(&["next"])].concat());
        }
    }

    #[test]
    fn a_message_that_is_cut_off_is_given_as_it_is() {
        assert_eq!(cut(true, b"100 half", 3), messages(&["half"]));
        assert_eq!(cut(true, b"99999999999999999999 x", 3), messages(&["99999999999999999999 x"]));
        assert_eq!(cut(true, b"0 x\n", 3), messages(&["0 x"]));
        assert_eq!(cut(true, b"", 3), []);
    }
}
