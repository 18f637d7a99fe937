//! Bytes that a peer sent: hostile until shown otherwise, and never lost.

use std::fmt;

/// Bytes from a peer. The only way peer data enters an event or a log line.
///
/// Text forms escape what is not UTF-8 as `\xNN`; [`PeerBytes::as_bytes`] always holds the whole.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PeerBytes(Box<[u8]>);

/// Longest text that `Debug` and `Display` print, in bytes of the original.
const PRINTED: usize = 256;

impl PeerBytes {
    /// The bytes as they came.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text, when the bytes are UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// Whether nothing was sent.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text with every byte that is not part of UTF-8 written as `\xNN`.
    ///
    /// Text that is UTF-8 comes back unchanged, a literal backslash included, so the escaped form
    /// alone is ambiguous; the event therefore carries the whole bytes beside it when they differ.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::with_capacity(self.0.len());
        for chunk in self.0.utf8_chunks() {
            text.push_str(chunk.valid());
            for byte in chunk.invalid() {
                text.push_str(&format!("\\x{byte:02x}"));
            }
        }
        text
    }
}

impl From<&[u8]> for PeerBytes {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl<const N: usize> From<&[u8; N]> for PeerBytes {
    fn from(bytes: &[u8; N]) -> Self {
        Self(bytes.as_slice().into())
    }
}

impl From<Vec<u8>> for PeerBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into_boxed_slice())
    }
}

impl From<&str> for PeerBytes {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().into())
    }
}

impl fmt::Display for PeerBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.get(..PRINTED).unwrap_or(&self.0);
        write!(f, "{}", shown.escape_ascii())?;
        if shown.len() < self.0.len() {
            write!(f, "… ({} bytes)", self.0.len())?;
        }
        Ok(())
    }
}

impl fmt::Debug for PeerBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_utf8_and_escapes_the_rest() {
        assert_eq!(PeerBytes::from("röt\\xff").to_text(), "röt\\xff");
        assert_eq!(PeerBytes::from(b"a\xffb\xc3").to_text(), "a\\xffb\\xc3");
    }

    #[test]
    fn prints_no_control_bytes_and_no_endless_line() {
        let shown = format!("{}", PeerBytes::from(vec![0x1b; 1000]));
        assert!(shown.starts_with("\\x1b\\x1b") && shown.ends_with("… (1000 bytes)"));
    }
}
