//! The text forms of banners: escapes in the settings, Python's notation in events.

use std::fmt::Write as _;

/// The bytes of a configured text: `\n` and `\r`, written as two characters, become the control
/// characters; nothing else is an escape.
pub(super) fn unescape(text: &str) -> Vec<u8> {
    text.replace("\\n", "\n").replace("\\r", "\r").into_bytes()
}

/// The bytes as Python's `repr` prints them: `b'220 hello\r\n'`. OpenCanary logs its own banner so.
pub(super) fn python_repr(bytes: &[u8]) -> String {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { '"' } else { '\'' };
    let mut text = String::with_capacity(bytes.len().saturating_add(3));
    text.push('b');
    text.push(quote);
    for &byte in bytes {
        match byte {
            b'\t' => text.push_str("\\t"),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => {
                if char::from(byte) == quote {
                    text.push('\\');
                }
                text.push(char::from(byte));
            }
            _ => {
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    text.push(quote);
    text
}

/// Without space, tab, newline, return, vertical tab and form feed at the end, as Python's `rstrip`.
pub(super) const fn stripped(mut bytes: &[u8]) -> &[u8] {
    while let [head @ .., b' ' | 0x09..=0x0d] = bytes {
        bytes = head;
    }
    bytes
}

/// Whether `part` stands somewhere in `whole`; an empty part stands everywhere.
pub(super) fn contains(whole: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(whole, part).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_two_escapes_only() {
        assert_eq!(unescape(r"220 a\r\n\t\x41"), b"220 a\r\n\\t\\x41");
        // OpenCanary replaces one after the other and does not know an escaped backslash.
        assert_eq!(unescape(r"\\n"), b"\\\n");
        assert_eq!(unescape("r\u{f6}t"), "röt".as_bytes());
    }

    #[test]
    fn prints_bytes_as_python_does() {
        assert_eq!(python_repr(b""), "b''");
        assert_eq!(python_repr(b"220 hello\r\n\t"), r"b'220 hello\r\n\t'");
        assert_eq!(python_repr(b"it's"), r#"b"it's""#);
        assert_eq!(python_repr(b"it's \"x\""), r#"b'it\'s "x"'"#);
        assert_eq!(python_repr(b"\\\x00\x7f\xff"), r"b'\\\x00\x7f\xff'");
    }
}
