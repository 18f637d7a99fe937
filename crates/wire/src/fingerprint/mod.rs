//! Fingerprints of clients, computed from what they send anyway: JA3 and JA4 of a TLS hello, JA4H of an
//! HTTP request. HASSH stands with the SSH service, whose lists it needs.
//!
//! - JA3: <https://github.com/salesforce/ja3>
//! - JA4 and JA4H: <https://github.com/FoxIO-LLC/ja4>, `technical_details/JA4.md` and `python/ja4h.py`
//!
//! Two clients of one fingerprint are likely built on the same software. None is a secret or a proof: a
//! client may send what another sends.

mod hello;
mod http;
mod tls;

pub use hello::{ClientHello, Heard, HelloReader, LONGEST_HELLO};
pub use http::ja4h;
use sha2::{Digest as _, Sha256};

/// What JA4 and JA4H write for a list without members.
const NOTHING: &str = "000000000000";

/// Greatest count that two digits can show.
const MOST: usize = 99;

/// A comma-separated list on its way into a hash of 12 digits.
#[derive(Default)]
struct HashedList {
    hash: Sha256,
    begun: bool,
}

impl HashedList {
    fn push(&mut self, member: &[u8]) {
        if std::mem::replace(&mut self.begun, true) {
            self.hash.update(b",");
        }
        self.hash.update(member);
    }

    fn finish(self) -> String {
        if self.begun { hash12_of(self.hash) } else { NOTHING.to_owned() }
    }
}

/// The first 12 hex digits of SHA-256, or zeros for no text at all.
fn hash12(text: &str) -> String {
    if text.is_empty() { NOTHING.to_owned() } else { hash12_of(Sha256::new().chain_update(text)) }
}

fn hash12_of(hash: Sha256) -> String {
    hex(hash.finalize().iter().take(NOTHING.len() / 2))
}

/// Lowercase hex digits.
fn hex<'a>(bytes: impl Iterator<Item = &'a u8>) -> String {
    let mut text = String::with_capacity(32);
    for byte in bytes {
        for half in [byte >> 4, byte & 0x0f] {
            text.extend(char::from_digit(u32::from(half), 16));
        }
    }
    text
}
