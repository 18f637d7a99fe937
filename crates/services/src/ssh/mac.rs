//! The MACs: over the sequence number and the packet, before or after encryption.

use ring::hmac;

use super::umac::{Tag64, Tag128, Umac};

/// A MAC by name. "Etm" is encrypt-then-MAC, of which the length field stays in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MacKind {
    /// `umac-64@openssh.com`
    Umac64,
    /// `umac-128@openssh.com`
    Umac128,
    /// `hmac-sha2-256`
    HmacSha256,
    /// `hmac-sha2-512`
    HmacSha512,
    /// `hmac-sha1`
    HmacSha1,
    /// `umac-64-etm@openssh.com`
    Umac64Etm,
    /// `umac-128-etm@openssh.com`
    Umac128Etm,
    /// `hmac-sha2-256-etm@openssh.com`
    HmacSha256Etm,
    /// `hmac-sha2-512-etm@openssh.com`
    HmacSha512Etm,
    /// `hmac-sha1-etm@openssh.com`
    HmacSha1Etm,
}

impl MacKind {
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "umac-64@openssh.com" => Self::Umac64,
            "umac-128@openssh.com" => Self::Umac128,
            "hmac-sha2-256" => Self::HmacSha256,
            "hmac-sha2-512" => Self::HmacSha512,
            "hmac-sha1" => Self::HmacSha1,
            "umac-64-etm@openssh.com" => Self::Umac64Etm,
            "umac-128-etm@openssh.com" => Self::Umac128Etm,
            "hmac-sha2-256-etm@openssh.com" => Self::HmacSha256Etm,
            "hmac-sha2-512-etm@openssh.com" => Self::HmacSha512Etm,
            "hmac-sha1-etm@openssh.com" => Self::HmacSha1Etm,
            _ => return None,
        })
    }

    /// Whether it covers the encrypted packet.
    pub(crate) const fn after_encryption(self) -> bool {
        matches!(
            self,
            Self::Umac64Etm | Self::Umac128Etm | Self::HmacSha256Etm | Self::HmacSha512Etm | Self::HmacSha1Etm
        )
    }

    /// Bytes of key.
    pub(crate) const fn key_length(self) -> usize {
        match self {
            Self::Umac64 | Self::Umac64Etm | Self::Umac128 | Self::Umac128Etm => 16,
            Self::HmacSha256 | Self::HmacSha256Etm => 32,
            Self::HmacSha512 | Self::HmacSha512Etm => 64,
            Self::HmacSha1 | Self::HmacSha1Etm => 20,
        }
    }

    /// Bytes of tag.
    pub(crate) const fn tag_length(self) -> usize {
        match self {
            Self::Umac64 | Self::Umac64Etm => 8,
            Self::Umac128 | Self::Umac128Etm => 16,
            Self::HmacSha256 | Self::HmacSha256Etm => 32,
            Self::HmacSha512 | Self::HmacSha512Etm => 64,
            Self::HmacSha1 | Self::HmacSha1Etm => 20,
        }
    }
}

/// A MAC with its key.
pub(crate) struct Mac {
    kind: MacKind,
    key: Key,
}

enum Key {
    Umac64(Box<Umac<Tag64>>),
    Umac128(Box<Umac<Tag128>>),
    Hmac(Box<hmac::Key>),
}

impl Mac {
    /// The MAC under a key of [`MacKind::key_length`].
    pub(crate) fn new(kind: MacKind, key: &[u8]) -> Option<Self> {
        let hmac = |algorithm| Key::Hmac(Box::new(hmac::Key::new(algorithm, key)));
        let key = match kind {
            MacKind::Umac64 | MacKind::Umac64Etm => Key::Umac64(Box::new(Umac::new(key.try_into().ok()?))),
            MacKind::Umac128 | MacKind::Umac128Etm => Key::Umac128(Box::new(Umac::new(key.try_into().ok()?))),
            MacKind::HmacSha256 | MacKind::HmacSha256Etm => hmac(hmac::HMAC_SHA256),
            MacKind::HmacSha512 | MacKind::HmacSha512Etm => hmac(hmac::HMAC_SHA512),
            MacKind::HmacSha1 | MacKind::HmacSha1Etm => hmac(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        };
        Some(Self { kind, key })
    }

    pub(crate) const fn kind(&self) -> MacKind {
        self.kind
    }

    /// The tag: HMAC over `uint32 sequence || packet`, UMAC over the packet with the sequence as nonce.
    pub(crate) fn tag(&self, sequence: u32, packet: &[u8]) -> Vec<u8> {
        let nonce = u64::from(sequence).to_be_bytes();
        match &self.key {
            Key::Umac64(umac) => umac.tag(nonce, packet),
            Key::Umac128(umac) => umac.tag(nonce, packet),
            Key::Hmac(key) => {
                let mut context = hmac::Context::with_key(key);
                context.update(&sequence.to_be_bytes());
                context.update(packet);
                context.sign().as_ref().to_vec()
            }
        }
    }

    /// Whether a tag is right, in a time that does not depend on where it differs.
    pub(crate) fn verifies(&self, sequence: u32, packet: &[u8], tag: &[u8]) -> bool {
        let right = self.tag(sequence, packet);
        right.len() == tag.len() && right.iter().zip(tag).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
    }
}
