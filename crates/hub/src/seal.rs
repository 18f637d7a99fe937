//! Secrets of channels, sealed before they are stored: neither the store, nor its backups, nor the audit log hold them.
//!
//! ChaCha20-Poly1305 (RFC 8439) with a random nonce before each sealed text; the channel's name is authenticated with
//! it, so that no secret can be moved to another channel.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// Why there is no key, or a text cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The file that holds the key.
    #[error("`{path}` {reason}")]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system gives no randomness.
    #[error("the system gives no randomness")]
    NoRandomness,
    /// The key is not the one that sealed the text.
    #[error("its secrets cannot be opened: the hub has another key now; enter them again")]
    OtherKey,
    /// This hub has no key.
    #[error("this hub has no key to keep secrets with")]
    NoKey,
}

/// A key.
pub struct Seal(LessSafeKey);

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal")
    }
}

impl Seal {
    /// A key of 256 bits.
    ///
    /// # Errors
    /// Never, with ring.
    pub fn new(key: &[u8; 32]) -> Result<Self, SealError> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, key).map_err(|_| SealError::NoKey)?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// The key in a file, which is made at the first start.
    ///
    /// # Errors
    /// When it cannot be made or read, or is none.
    pub fn open(path: &Path) -> Result<Self, SealError> {
        let wrong = |reason: String| SealError::File { path: path.to_owned(), reason };
        if !path.exists() {
            let mut key = [0; 32];
            getrandom::fill(&mut key).map_err(|_| SealError::NoRandomness)?;
            let text = STANDARD.encode(key);
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            file.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
                .map_err(|error| wrong(format!("cannot be made: {error}")))?;
        }
        let text = fs::read_to_string(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
        let key = STANDARD.decode(text.trim()).ok().and_then(|key| <[u8; 32]>::try_from(key).ok());
        Self::new(&key.ok_or_else(|| wrong("holds no key of 32 bytes in base64".to_owned()))?)
    }

    /// Seals a text for a channel.
    pub(crate) fn close(&self, channel: &str, text: &str) -> Result<String, SealError> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| SealError::NoRandomness)?;
        let mut sealed = text.as_bytes().to_vec();
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(channel.as_bytes()), &mut sealed)
            .map_err(|_| SealError::NoKey)?;
        Ok(STANDARD.encode([&nonce[..], &sealed].concat()))
    }

    /// Opens what was sealed for a channel.
    pub(crate) fn open_text(&self, channel: &str, sealed: &str) -> Result<String, SealError> {
        let bytes = STANDARD.decode(sealed).map_err(|_| SealError::OtherKey)?;
        let (nonce, rest) = bytes.split_at_checked(NONCE_LEN).ok_or(SealError::OtherKey)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::OtherKey)?;
        let mut rest = rest.to_vec();
        let text = self.0.open_in_place(nonce, Aad::from(channel.as_bytes()), &mut rest);
        let text = text.map_err(|_| SealError::OtherKey)?;
        String::from_utf8(text.to_vec()).map_err(|_| SealError::OtherKey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_its_key_for_its_channel_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("channels.key");
        let seal = Seal::open(&path).expect("a key");
        let sealed = seal.close("ops", "hunter2").expect("sealed");
        assert!(!sealed.contains("hunter2") && seal.close("ops", "hunter2").expect("sealed") != sealed);
        let again = Seal::open(&path).expect("the same key");
        assert_eq!(again.open_text("ops", &sealed).expect("opened"), "hunter2");
        assert!(again.open_text("other", &sealed).is_err());
        assert!(Seal::new(&[7; 32]).expect("a key").open_text("ops", &sealed).is_err());
        assert!(again.open_text("ops", "AAAA").is_err());
        fs::write(&path, "short").expect("written");
        assert!(Seal::open(&path).is_err());
    }
}
