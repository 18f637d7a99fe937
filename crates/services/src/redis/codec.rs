//! Requests: arrays of strings ([RESP]) and inline lines, read as `networking.c` reads them.
//!
//! ```text
//! *2 CR LF $3 CR LF GET CR LF $1 CR LF k CR LF        an array
//! GET "k" CR LF                                       the same inline
//! ```
//! The reader keeps what it has read of an array, so that a peer cannot make it start over with
//! every byte. The two bytes behind a string and the one behind the CR of a length are not looked
//! at, and a NUL hides the end of a line, both as in the real server.
//!
//! [RESP]: https://redis.io/docs/latest/develop/reference/protocol-spec/

use super::commands::Era;
use super::inline;

/// Bytes that may wait for the end of a line (`PROTO_INLINE_MAX_SIZE`).
const LINE: usize = 64 * 1024;

/// Words of an array before a login.
const WORDS_BEFORE_LOGIN: i64 = 10;

/// Bytes of a word before a login.
const WORD_BEFORE_LOGIN: i64 = 16 * 1024;

/// Bytes that one request may hold in memory, each word counted with what it costs to keep.
/// LIMIT: the real server takes up to `client-query-buffer-limit`, 1 GiB.
const REQUEST: usize = 2 * 1024 * 1024;

/// What a word costs beside its bytes.
const WORD_COST: usize = 64;

/// What the reader must know of the connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Whether the stricter limits before a login are off.
    pub logged_in: bool,
    /// Longest word, `proto-max-bulk-len`.
    pub word: i64,
    /// The version played.
    pub era: Era,
}

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// Nothing yet, though bytes may have been used.
    More,
    /// A request; at least one word.
    Request(Vec<Vec<u8>>),
    /// A line or an array without words, which is not answered.
    Nothing,
    /// What the connection dies of.
    Fault(Fault),
}

/// A protocol error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// No line end in 64 KiB.
    InlineTooBig,
    /// A quote without its end, or with something right behind it.
    UnbalancedQuotes,
    /// No end of the number of words in 64 KiB.
    CountTooBig,
    /// The number of words is none.
    BadCount,
    /// More words than before a login.
    CountBeforeLogin,
    /// No end of a word's length in 64 KiB.
    LengthTooBig,
    /// Something else than a length.
    NoLength(u8),
    /// The length is none, or too long.
    BadLength,
    /// Longer than before a login.
    LengthBeforeLogin,
    /// More than we keep; the real server closes without a word at its own limit.
    RequestTooBig,
}

impl Fault {
    /// The text behind `Protocol error: `, which OpenCanary logs as `ERROR`.
    pub(super) fn text(self) -> Vec<u8> {
        let text = match self {
            Self::InlineTooBig => "too big inline request",
            Self::UnbalancedQuotes => "unbalanced quotes in request",
            Self::CountTooBig => "too big mbulk count string",
            Self::BadCount => "invalid multibulk length",
            Self::CountBeforeLogin => "unauthenticated multibulk length",
            Self::LengthTooBig => "too big bulk count string",
            Self::NoLength(byte) => {
                let shown = if matches!(byte, b'\r' | b'\n') { b' ' } else { byte };
                return [b"expected '$', got '".as_slice(), &[shown], b"'"].concat();
            }
            Self::BadLength => "invalid bulk length",
            Self::LengthBeforeLogin => "unauthenticated bulk length",
            Self::RequestTooBig => "request buffer too large",
        };
        text.as_bytes().to_vec()
    }
}

/// Reads requests one after another.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// Words of the array still to come; 0 between requests.
    missing: i64,
    /// Bytes of the current word still to come, the two behind it included.
    word: Option<usize>,
    words: Vec<Vec<u8>>,
    partial: Vec<u8>,
    kept: usize,
}

impl Reader {
    /// Reads on; gives the number of bytes used and what they made.
    pub(super) fn read(&mut self, input: &[u8], bounds: Bounds) -> (usize, Read) {
        let mut used: usize = 0;
        loop {
            let rest = input.get(used..).unwrap_or_default();
            let (step, read) = self.step(rest, bounds);
            used = used.saturating_add(step);
            if step == 0 || read != Read::More {
                return (used, read);
            }
        }
    }

    /// What was read of a request that is not whole: its words, the last perhaps cut.
    pub(super) fn unfinished(&mut self) -> Vec<Vec<u8>> {
        let mut words = std::mem::take(&mut self.words);
        if !self.partial.is_empty() {
            words.push(std::mem::take(&mut self.partial));
        }
        words
    }

    /// Whether a request is half read.
    pub(super) const fn is_inside(&self) -> bool {
        self.missing > 0
    }

    fn step(&mut self, input: &[u8], bounds: Bounds) -> (usize, Read) {
        match (input.first(), self.missing, self.word) {
            (None, ..) => (0, Read::More),
            (Some(b'*'), 0, _) => self.count(input, bounds),
            (Some(_), 0, _) => line(input),
            (Some(_), _, None) => self.length(input, bounds),
            (Some(_), _, Some(missing)) => self.body(input, missing),
        }
    }

    fn count(&mut self, input: &[u8], bounds: Bounds) -> (usize, Read) {
        let Some((digits, used)) = header(input) else {
            return waiting(input, Fault::CountTooBig);
        };
        let most = if bounds.era < Era::V7_0 { 1024 * 1024 } else { i64::from(i32::MAX) };
        match integer(digits) {
            Some(count) if count > most => (0, Read::Fault(Fault::BadCount)),
            None => (0, Read::Fault(Fault::BadCount)),
            Some(count) if count > WORDS_BEFORE_LOGIN && !bounds.logged_in => (0, Read::Fault(Fault::CountBeforeLogin)),
            Some(count) if count <= 0 => (used, Read::Nothing),
            Some(count) => {
                *self = Self { missing: count, ..Self::default() };
                (used, Read::More)
            }
        }
    }

    fn length(&mut self, input: &[u8], bounds: Bounds) -> (usize, Read) {
        let Some((digits, used)) = header(input) else {
            return waiting(input, Fault::LengthTooBig);
        };
        let fault = match (input.first(), integer(digits)) {
            (Some(&byte), _) if byte != b'$' => Fault::NoLength(byte),
            (_, Some(length)) if (0..=bounds.word).contains(&length) => {
                if length <= WORD_BEFORE_LOGIN || bounds.logged_in {
                    let length = usize::try_from(length).unwrap_or(REQUEST);
                    self.kept = self.kept.saturating_add(length).saturating_add(WORD_COST);
                    if self.kept <= REQUEST {
                        self.word = Some(length.saturating_add(2));
                        return (used, Read::More);
                    }
                    Fault::RequestTooBig
                } else {
                    Fault::LengthBeforeLogin
                }
            }
            _ => Fault::BadLength,
        };
        (0, Read::Fault(fault))
    }

    fn body(&mut self, input: &[u8], missing: usize) -> (usize, Read) {
        let used = missing.min(input.len());
        let left = missing.saturating_sub(used);
        // The last two of the missing bytes end the word and are not part of it.
        let own = used.min(missing.saturating_sub(2));
        self.partial.extend_from_slice(input.get(..own).unwrap_or_default());
        self.word = Some(left);
        if left > 0 {
            return (used, Read::More);
        }
        self.word = None;
        self.words.push(std::mem::take(&mut self.partial));
        self.missing = self.missing.saturating_sub(1);
        if self.missing > 0 {
            return (used, Read::More);
        }
        self.kept = 0;
        (used, Read::Request(std::mem::take(&mut self.words)))
    }
}

/// The digits behind the sign of a length line, and the bytes of the line.
fn header(input: &[u8]) -> Option<(&[u8], usize)> {
    let end = memchr::memchr2(b'\r', 0, input)?;
    let used = end.saturating_add(2);
    if input.get(end) == Some(&0) || used > input.len() {
        return None;
    }
    // A line may lack the sign, and even be empty.
    Some((input.get(1..end.max(1))?, used))
}

/// An inline request.
fn line(input: &[u8]) -> (usize, Read) {
    let within = input.get(..=LINE).unwrap_or(input);
    let Some(end) = memchr::memchr2(b'\n', 0, within).filter(|end| within.get(*end) == Some(&b'\n')) else {
        return waiting(input, Fault::InlineTooBig);
    };
    let text = within.get(..end).unwrap_or_default();
    match inline::split(text.strip_suffix(b"\r").unwrap_or(text)) {
        None => (0, Read::Fault(Fault::UnbalancedQuotes)),
        Some(words) if words.is_empty() => (end.saturating_add(1), Read::Nothing),
        Some(words) => (end.saturating_add(1), Read::Request(words)),
    }
}

const fn waiting(input: &[u8], fault: Fault) -> (usize, Read) {
    if input.len() > LINE { (0, Read::Fault(fault)) } else { (0, Read::More) }
}

/// A whole number as the server writes it: no sign but `-`, no leading zero, no blanks.
pub(super) fn integer(digits: &[u8]) -> Option<i64> {
    let unsigned = digits.strip_prefix(b"-").unwrap_or(digits);
    let canonical = match unsigned {
        [b'0'] => digits.len() == 1,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !canonical {
        return None;
    }
    str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Bounds = Bounds { logged_in: true, word: 1024 * 1024, era: Era::V7_0 };
    const CLOSED: Bounds = Bounds { logged_in: false, ..OPEN };

    fn fault(input: &[u8], bounds: Bounds) -> Option<Fault> {
        match Reader::default().read(input, bounds).1 {
            Read::Fault(fault) => Some(fault),
            _ => None,
        }
    }

    fn words(list: &[&[u8]]) -> Read {
        Read::Request(list.iter().map(|word| word.to_vec()).collect())
    }

    #[test]
    fn rejects_an_empty_line_for_a_length() {
        assert_eq!(fault(b"*1\r\n\r\n", CLOSED), Some(Fault::NoLength(b'\r')));
    }

    #[test]
    fn reads_an_array_in_one_piece_and_byte_by_byte() {
        let input = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\n\0\r\n\xff\r\n*0\r\n";
        assert_eq!(Reader::default().read(input, CLOSED), (input.len() - 4, words(&[b"SET", b"k", b"\0\r\n\xff"])));
        let mut reader = Reader::default();
        let mut pending = Vec::new();
        let mut got = Vec::new();
        for byte in input {
            pending.push(*byte);
            loop {
                let (used, read) = reader.read(&pending, CLOSED);
                pending.drain(..used);
                if read == Read::More {
                    break;
                }
                got.push(read);
            }
        }
        assert_eq!(got, [words(&[b"SET", b"k", b"\0\r\n\xff"]), Read::Nothing]);
    }

    #[test]
    fn every_prefix_is_incomplete() {
        let input = b"*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n";
        for end in 0..input.len() {
            assert_eq!(Reader::default().read(&input[..end], CLOSED).1, Read::More, "{end}");
        }
        assert_eq!(Reader::default().read(b"PING\r", CLOSED), (0, Read::More));
    }

    #[test]
    fn ignores_what_is_empty() {
        for empty in [b"*0\r\n".as_slice(), b"*-1\r\n", b"*-5\r\n", b"\r\n", b"\n", b"   \r\n"] {
            assert_eq!(Reader::default().read(empty, CLOSED), (empty.len(), Read::Nothing), "{}", empty.escape_ascii());
        }
    }

    #[test]
    fn rejects_lengths_that_are_none() {
        for bad in [
            "*abc\r\n",
            "*\r\n",
            "*+1\r\n",
            "*01\r\n",
            "*2 \r\n",
            "*-0\r\n",
            "*2147483648\r\n",
            "*1000000000000000000000\r\n",
        ] {
            assert_eq!(fault(bad.as_bytes(), OPEN), Some(Fault::BadCount), "{bad:?}");
        }
        for bad in ["$abc", "$-1", "$01", "$", "$600000000", "$99999999999999999999"] {
            assert_eq!(fault(format!("*1\r\n{bad}\r\n").as_bytes(), OPEN), Some(Fault::BadLength), "{bad:?}");
        }
        assert_eq!(fault(b"*1\r\nPING\r\n", CLOSED), Some(Fault::NoLength(b'P')));
        assert_eq!(Fault::NoLength(b'\n').text(), b"expected '$', got ' '");
    }

    #[test]
    fn is_stricter_before_a_login() {
        assert_eq!(fault(b"*11\r\n", CLOSED), Some(Fault::CountBeforeLogin));
        assert_eq!(fault(b"*10\r\n", CLOSED).or(fault(b"*11\r\n", OPEN)), None);
        assert_eq!(fault(b"*1\r\n$16385\r\n", CLOSED), Some(Fault::LengthBeforeLogin));
        assert_eq!(fault(b"*1\r\n$16384\r\n", CLOSED).or(fault(b"*1\r\n$16385\r\n", OPEN)), None);
    }

    #[test]
    fn gives_up_on_lines_without_end() {
        let sizes = [(LINE, None), (LINE + 1, Some(()))];
        for (size, given_up) in sizes {
            let inline = vec![b'A'; size];
            assert_eq!(fault(&inline, CLOSED), given_up.map(|()| Fault::InlineTooBig));
            let count = [b"*".as_slice(), &vec![b'1'; size - 1]].concat();
            assert_eq!(fault(&count, CLOSED), given_up.map(|()| Fault::CountTooBig));
            let length = [b"*1\r\n$".as_slice(), &vec![b'1'; size - 1]].concat();
            assert_eq!(fault(&length, CLOSED), given_up.map(|()| Fault::LengthTooBig));
        }
    }

    #[test]
    fn a_nul_hides_the_end_of_a_line() {
        for hidden in
            [b"\0\0\0\0\r\n".as_slice(), b"foo\0bar\r\n", b"*1\0\r\n", b"*1\r\n\0ING\r\n", b"*1\r\n$4\0\r\nPING\r\n"]
        {
            assert_eq!(Reader::default().read(hidden, CLOSED).1, Read::More, "{}", hidden.escape_ascii());
        }
    }

    #[test]
    fn does_not_look_at_what_ends_a_word() {
        let input = b"*1\r\n$4\r\nPINGxx*1\rx$4\rxPINGyy";
        let mut reader = Reader::default();
        assert_eq!(reader.read(input, CLOSED), (14, words(&[b"PING"])));
        assert_eq!(reader.read(&input[14..], CLOSED), (14, words(&[b"PING"])));
    }

    #[test]
    fn keeps_no_more_than_its_share() {
        let many = [b"*1000000\r\n".as_slice(), &b"$0\r\n\r\n".repeat(50_000)].concat();
        assert_eq!(fault(&many, OPEN), Some(Fault::RequestTooBig));
        let two = [b"*3\r\n".as_slice(), &[b"$1048576\r\n".as_slice(), &[b'x'; 1_048_576], b"\r\n"].concat().repeat(3)];
        assert_eq!(fault(&two.concat(), OPEN), Some(Fault::RequestTooBig));
    }
}
