//! Lines with a cap: the framing of FTP and its like.

/// What ends a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// LF; one CR before it belongs to the ending.
    Lf,
    /// CR LF only; a lone CR or LF is text.
    CrLf,
}

/// What waits at the front of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framed<'a> {
    /// A whole line.
    Line {
        /// The line without its ending.
        text: &'a [u8],
        /// Bytes that line and ending take.
        used: usize,
    },
    /// The ending is still to come.
    Partial,
    /// `cap` bytes wait and no ending is among them.
    TooLong,
}

/// The first line of `input`. `cap` counts the bytes of a line with its ending.
#[must_use]
pub fn next_line(input: &[u8], cap: usize, ending: Ending) -> Framed<'_> {
    let window = input.get(..cap).unwrap_or(input);
    let end = match ending {
        Ending::Lf => memchr::memchr(b'\n', window),
        Ending::CrLf => memchr::memmem::find(window, b"\r\n").map(|at| at.saturating_add(1)),
    };
    match end {
        Some(at) => {
            let text = window.get(..at).unwrap_or_default();
            Framed::Line { text: text.strip_suffix(b"\r").unwrap_or(text), used: at.saturating_add(1) }
        }
        None if window.len() >= cap => Framed::TooLong,
        None => Framed::Partial,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_one_line_and_its_ending() {
        let line = Framed::Line { text: b"USER a", used: 8 };
        assert_eq!(next_line(b"USER a\r\nPASS b\r\n", 64, Ending::Lf), line);
        assert_eq!(next_line(b"USER a\r\nPASS b\r\n", 64, Ending::CrLf), line);
        assert_eq!(next_line(b"a\n", 64, Ending::Lf), Framed::Line { text: b"a", used: 2 });
        assert_eq!(next_line(b"a\r\r\n", 64, Ending::Lf), Framed::Line { text: b"a\r", used: 4 });
        assert_eq!(next_line(b"\n", 64, Ending::Lf), Framed::Line { text: b"", used: 1 });
    }

    #[test]
    fn strict_lines_hold_lone_cr_and_lf() {
        assert_eq!(next_line(b"a\nb\rc\r\n", 64, Ending::CrLf), Framed::Line { text: b"a\nb\rc", used: 7 });
        assert_eq!(next_line(b"a\n", 64, Ending::CrLf), Framed::Partial);
    }

    #[test]
    fn every_prefix_is_incomplete() {
        let line = b"STAT x\r\n";
        for ending in [Ending::Lf, Ending::CrLf] {
            for end in 0..line.len() {
                assert_eq!(next_line(&line[..end], 64, ending), Framed::Partial, "{end}");
            }
        }
    }

    #[test]
    fn cap_counts_the_ending() {
        assert_eq!(next_line(b"abcd\r\n", 6, Ending::Lf), Framed::Line { text: b"abcd", used: 6 });
        assert_eq!(next_line(b"abcd\r\n", 5, Ending::Lf), Framed::TooLong);
        assert_eq!(next_line(b"abcd\r\n", 5, Ending::CrLf), Framed::TooLong);
        assert_eq!(next_line(b"abcd", 5, Ending::Lf), Framed::Partial);
        assert_eq!(next_line(b"abcde", 5, Ending::Lf), Framed::TooLong);
    }
}
