//! Bytes to lines. A line ends with LF; the CR before it is no part of the line.

/// Longest line, without its end; what is longer is taken in pieces of this size.
pub(super) const LONGEST: usize = 1024;

/// The first line and how many bytes it takes up, its end included; `None` when more is needed.
pub(super) fn line(input: &[u8]) -> Option<(&[u8], usize)> {
    let window = input.get(..LONGEST).unwrap_or(input);
    match window.iter().position(|byte| *byte == b'\n') {
        Some(at) => {
            let line = window.get(..at)?;
            Some((line.strip_suffix(b"\r").unwrap_or(line), at.checked_add(1)?))
        }
        None if window.len() == LONGEST => Some((window, LONGEST)),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_of_a_line_is_incomplete() {
        let good = include_bytes!("fixtures/line.bin");
        for end in 0..good.len() {
            assert_eq!(line(&good[..end]), None);
        }
        assert_eq!(line(good), Some((&b"hello"[..], 7)));
    }

    #[test]
    fn cuts_a_line_that_is_too_long() {
        let long = [b'a'; LONGEST + 1];
        assert_eq!(line(&long), Some((&long[..LONGEST], LONGEST)));
    }
}
