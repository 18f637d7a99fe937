//! HASSH: the fingerprint of an SSH implementation by the lists in its KEXINIT.
//!
//! MD5 over `kex;encryption;mac;compression` in the order as sent, of the direction in which the
//! fingerprinted side writes: <https://github.com/salesforce/hassh>.

use std::fmt::Write as _;

use md5::{Digest as _, Md5};

use super::negotiation::{KexInit, List};

/// The text under the hash, for a client.
pub(crate) fn client_text(init: &KexInit) -> Vec<u8> {
    text(init, [List::Kex, List::CipherIn, List::MacIn, List::CompressionIn])
}

/// The text under the hash, for a server.
#[cfg(test)]
pub(crate) fn server_text(init: &KexInit) -> Vec<u8> {
    text(init, [List::Kex, List::CipherOut, List::MacOut, List::CompressionOut])
}

/// The fingerprint of such a text: 32 hex digits.
pub(crate) fn digest(text: &[u8]) -> String {
    hex(&Md5::digest(text))
}

/// Lowercase hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(32), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn text(init: &KexInit, lists: [List; 4]) -> Vec<u8> {
    let mut text = Vec::new();
    for (n, list) in lists.into_iter().enumerate() {
        if n > 0 {
            text.push(b';');
        }
        text.extend_from_slice(init.list(list));
    }
    text
}
