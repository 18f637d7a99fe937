//! Words of an inline request: quotes and escapes as the server and `redis-cli` take them.

/// Splits a line into words; `None` when a quote is not closed, or closed in the middle of a word.
///
/// In `"`: `\xHH`, `\n`, `\r`, `\t`, `\b`, `\a`, and any other byte after a backslash as itself.
/// In `'`: `\'` alone.
pub(super) fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        while let [first, tail @ ..] = rest
            && is_space(*first)
        {
            rest = tail;
        }
        if rest.is_empty() {
            return Some(words);
        }
        let (word, tail) = word(rest)?;
        words.push(word);
        rest = tail;
    }
}

fn word(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    loop {
        match rest {
            // Unlike between words, vertical tab and form feed do not end one.
            [] | [b' ' | b'\n' | b'\r' | b'\t', ..] => return Some((word, rest)),
            [b'"', tail @ ..] => return finished(double(tail, &mut word)?).map(|rest| (word, rest)),
            [b'\'', tail @ ..] => return finished(single(tail, &mut word)?).map(|rest| (word, rest)),
            [byte, tail @ ..] => {
                word.push(*byte);
                rest = tail;
            }
        }
    }
}

/// What stands behind a closing quote, if that is nothing or a blank.
fn finished(rest: &[u8]) -> Option<&[u8]> {
    rest.first().is_none_or(|byte| is_space(*byte)).then_some(rest)
}

fn double<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [] => return None,
            [b'"', tail @ ..] => return Some(tail),
            [b'\\', b'x', high, low, tail @ ..] if let Some(byte) = hex(*high, *low) => {
                word.push(byte);
                rest = tail;
            }
            [b'\\', byte, tail @ ..] => {
                word.push(match byte {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                rest = tail;
            }
            [byte, tail @ ..] => {
                word.push(*byte);
                rest = tail;
            }
        }
    }
}

fn single<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [] => return None,
            [b'\\', b'\'', tail @ ..] => {
                word.push(b'\'');
                rest = tail;
            }
            [b'\'', tail @ ..] => return Some(tail),
            [byte, tail @ ..] => {
                word.push(*byte);
                rest = tail;
            }
        }
    }
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some((digit(high)? << 4) | digit(low)?)
}

/// C's `isspace`.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | 0x09..=0x0d)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &[u8]) -> Vec<String> {
        split(line).unwrap().iter().map(|word| word.escape_ascii().to_string()).collect()
    }

    #[test]
    fn splits_at_blanks() {
        assert_eq!(words(b"  foo\tbar\x0bbaz "), ["foo", "bar\\x0bbaz"]);
        assert_eq!(words(b""), Vec::<String>::new());
        assert_eq!(words(b"a\xff\xfe"), ["a\\xff\\xfe"]);
    }

    #[test]
    fn knows_quotes_and_escapes() {
        assert_eq!(words(br#""pi\x6eg" """#), ["ping", ""]);
        assert_eq!(words(br#"foo "a\n\r\t\b\a\q\\" 'it\'s\n'"#), ["foo", "a\\n\\r\\t\\x08\\x07q\\\\", "it\\'s\\\\n"]);
        assert_eq!(words(br#"x"y z" "\xg1""#), ["xy z", "xg1"]);
    }

    #[test]
    fn rejects_quotes_that_do_not_end() {
        for bad in ["SET \"a b", "'a", "\"ping\"x", "'ping'x", "\"a\\", "\"a\"\"b\""] {
            assert_eq!(split(bad.as_bytes()), None, "{bad}");
        }
    }
}
