//! Bytes as Rhai's texts, losing nothing.
//!
//! A text of Rhai is UTF-8, and what peers send need not be. A byte that is not part of UTF-8 stands in a text
//! as one character of a private block, U+10FF80 to U+10FFFF for the bytes 0x80 to 0xFF. Where a peer sends such
//! a character itself, its bytes are written the same way, one by one, so that every text has one reading.

/// The character of the byte 0.
const BLOCK: u32 = 0x10_FF00;

/// The text of bytes. [`from_text`] gives the same bytes back, for any bytes.
#[must_use]
pub fn to_text(bytes: &[u8]) -> String {
    if let Ok(text) = std::str::from_utf8(bytes)
        && text.chars().all(|c| byte_of(c).is_none())
    {
        return text.to_owned();
    }
    let mut text = String::with_capacity(bytes.len());
    let stray = |text: &mut String, bytes: &[u8]| {
        text.extend(bytes.iter().filter_map(|byte| char::from_u32(BLOCK | u32::from(*byte))));
    };
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match byte_of(c) {
                Some(_) => stray(&mut text, c.encode_utf8(&mut [0; 4]).as_bytes()),
                None => text.push(c),
            }
        }
        stray(&mut text, chunk.invalid());
    }
    text
}

/// The bytes of a text.
#[must_use]
pub fn from_text(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match byte_of(c) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

/// The byte that a character of the block stands for.
fn byte_of(c: char) -> Option<u8> {
    let byte = u8::try_from(u32::from(c).checked_sub(BLOCK)?).ok()?;
    (byte >= 0x80).then_some(byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn utf8_stays_and_other_bytes_are_one_character_each() {
        assert_eq!(to_text("röt\r\n".as_bytes()), "röt\r\n");
        assert_eq!(to_text(b"a\xffb"), "a\u{10ffff}b");
        assert_eq!(to_text(b"\xc3").chars().count(), 1);
        let own = "\u{10ff80}";
        assert_eq!(to_text(own.as_bytes()).chars().count(), 4, "a peer's own is no byte");
        assert_eq!(from_text(&to_text(own.as_bytes())), own.as_bytes());
    }

    proptest! {
        #[test]
        fn nothing_is_lost(bytes in proptest::collection::vec(any::<u8>(), 0..64), own in any::<bool>()) {
            let mut bytes = bytes;
            if own {
                bytes.extend_from_slice("\u{10ffee}x\u{10ff80}".as_bytes());
            }
            prop_assert_eq!(from_text(&to_text(&bytes)), bytes);
        }
    }
}
