//! The ciphers of a direction: what each needs of the key exchange, and how it opens and seals.
//!
//! `chacha20-poly1305@openssh.com` is OpenSSH's `PROTOCOL.chacha20poly1305`, AES-GCM is RFC 5647
//! with OpenSSH's names, AES-CTR is RFC 4344. The primitives are `ring`'s and RustCrypto's.

use aes::{Aes128, Aes192, Aes256};
use cipher::{KeyIvInit as _, StreamCipher, StreamCipherSeek};
use ctr::Ctr128BE;
use ring::aead;
use ring::aead::chacha20_poly1305_openssh as chacha;

/// Bytes of the tag of every authenticating cipher here.
pub(crate) const TAG: usize = 16;

/// A cipher by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CipherKind {
    /// `chacha20-poly1305@openssh.com`
    Chacha20Poly1305,
    /// `aes128-ctr`
    Aes128Ctr,
    /// `aes192-ctr`
    Aes192Ctr,
    /// `aes256-ctr`
    Aes256Ctr,
    /// `aes128-gcm@openssh.com`
    Aes128Gcm,
    /// `aes256-gcm@openssh.com`
    Aes256Gcm,
}

impl CipherKind {
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "chacha20-poly1305@openssh.com" => Self::Chacha20Poly1305,
            "aes128-ctr" => Self::Aes128Ctr,
            "aes192-ctr" => Self::Aes192Ctr,
            "aes256-ctr" => Self::Aes256Ctr,
            "aes128-gcm@openssh.com" => Self::Aes128Gcm,
            "aes256-gcm@openssh.com" => Self::Aes256Gcm,
            _ => return None,
        })
    }

    /// Bytes of key.
    pub(crate) const fn key_length(self) -> usize {
        match self {
            Self::Chacha20Poly1305 => chacha::KEY_LEN,
            Self::Aes128Ctr | Self::Aes128Gcm => 16,
            Self::Aes192Ctr => 24,
            Self::Aes256Ctr | Self::Aes256Gcm => 32,
        }
    }

    /// Bytes of initialisation vector.
    pub(crate) const fn iv_length(self) -> usize {
        match self {
            Self::Chacha20Poly1305 => 0,
            Self::Aes128Ctr | Self::Aes192Ctr | Self::Aes256Ctr => 16,
            Self::Aes128Gcm | Self::Aes256Gcm => 12,
        }
    }

    /// Bytes to a multiple of which packets are padded.
    pub(crate) const fn block(self) -> usize {
        match self {
            Self::Chacha20Poly1305 => 8,
            _ => 16,
        }
    }

    /// Whether it authenticates by itself, so that no MAC is used.
    pub(crate) const fn authenticates(self) -> bool {
        matches!(self, Self::Chacha20Poly1305 | Self::Aes128Gcm | Self::Aes256Gcm)
    }
}

/// A cipher with its key, for one direction. `None` of a method means that the tag is wrong.
pub(crate) enum Cipher {
    /// ChaCha20-Poly1305 that opens.
    ChachaOpen(Box<chacha::OpeningKey>),
    /// ChaCha20-Poly1305 that seals.
    ChachaSeal(Box<chacha::SealingKey>),
    /// AES-GCM with its next nonce.
    Gcm(Box<aead::LessSafeKey>, [u8; 12]),
    /// AES-128 in counter mode.
    Ctr128(Box<Ctr128BE<Aes128>>),
    /// AES-192 in counter mode.
    Ctr192(Box<Ctr128BE<Aes192>>),
    /// AES-256 in counter mode.
    Ctr256(Box<Ctr128BE<Aes256>>),
}

/// Which way a cipher works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It opens what came.
    Open,
    /// It seals what goes.
    Seal,
}

impl Cipher {
    /// The cipher under a key and vector of the lengths that the kind asks for.
    pub(crate) fn new(kind: CipherKind, way: Way, key: &[u8], iv: &[u8]) -> Option<Self> {
        let gcm = |algorithm| {
            let key = aead::UnboundKey::new(algorithm, key).ok()?;
            Some(Self::Gcm(Box::new(aead::LessSafeKey::new(key)), iv.try_into().ok()?))
        };
        match (kind, way) {
            (CipherKind::Chacha20Poly1305, Way::Open) => {
                Some(Self::ChachaOpen(Box::new(chacha::OpeningKey::new(key.try_into().ok()?))))
            }
            (CipherKind::Chacha20Poly1305, Way::Seal) => {
                Some(Self::ChachaSeal(Box::new(chacha::SealingKey::new(key.try_into().ok()?))))
            }
            (CipherKind::Aes128Gcm, _) => gcm(&aead::AES_128_GCM),
            (CipherKind::Aes256Gcm, _) => gcm(&aead::AES_256_GCM),
            (CipherKind::Aes128Ctr, _) => Some(Self::Ctr128(Box::new(Ctr128BE::new_from_slices(key, iv).ok()?))),
            (CipherKind::Aes192Ctr, _) => Some(Self::Ctr192(Box::new(Ctr128BE::new_from_slices(key, iv).ok()?))),
            (CipherKind::Aes256Ctr, _) => Some(Self::Ctr256(Box::new(Ctr128BE::new_from_slices(key, iv).ok()?))),
        }
    }

    /// Deciphers the first bytes of a packet to learn its length, without moving on.
    pub(crate) fn peek(&mut self, sequence: u32, head: [u8; 4]) -> [u8; 4] {
        let mut clear = head;
        match self {
            Self::ChachaOpen(key) => return key.decrypt_packet_length(sequence, head),
            Self::ChachaSeal(_) | Self::Gcm(..) => {}
            Self::Ctr128(stream) => peek_stream(stream.as_mut(), &mut clear),
            Self::Ctr192(stream) => peek_stream(stream.as_mut(), &mut clear),
            Self::Ctr256(stream) => peek_stream(stream.as_mut(), &mut clear),
        }
        clear
    }

    /// Applies the key stream of a counter mode; nothing for the others.
    pub(crate) fn apply_stream(&mut self, bytes: &mut [u8]) {
        match self {
            Self::Ctr128(stream) => stream.apply_keystream(bytes),
            Self::Ctr192(stream) => stream.apply_keystream(bytes),
            Self::Ctr256(stream) => stream.apply_keystream(bytes),
            Self::ChachaOpen(_) | Self::ChachaSeal(_) | Self::Gcm(..) => {}
        }
    }

    /// Opens `length || ciphertext` in place with its tag; the length field stays as it came.
    pub(crate) fn open(&mut self, sequence: u32, packet: &mut [u8], tag: &[u8; TAG]) -> Option<()> {
        match self {
            Self::ChachaOpen(key) => key.open_in_place(sequence, packet, tag).ok().map(|_| ()),
            Self::Gcm(key, nonce) => {
                let (length, text) = packet.split_first_chunk_mut::<4>()?;
                let once = aead::Nonce::assume_unique_for_key(*nonce);
                key.open_in_place_separate_tag(once, aead::Aad::from(*length), (*tag).into(), text, 0..).ok()?;
                step(nonce);
                Some(())
            }
            _ => None,
        }
    }

    /// Seals `length || text` in place and gives the tag.
    pub(crate) fn seal(&mut self, sequence: u32, packet: &mut [u8]) -> Option<[u8; TAG]> {
        match self {
            // `seal_in_place` asks for at least the length field.
            Self::ChachaSeal(key) if packet.len() >= 4 => {
                let mut tag = [0; TAG];
                key.seal_in_place(sequence, packet, &mut tag);
                Some(tag)
            }
            Self::Gcm(key, nonce) => {
                let (length, text) = packet.split_first_chunk_mut::<4>()?;
                let once = aead::Nonce::assume_unique_for_key(*nonce);
                let tag = key.seal_in_place_separate_tag(once, aead::Aad::from(*length), text).ok()?;
                step(nonce);
                tag.as_ref().try_into().ok()
            }
            _ => None,
        }
    }
}

/// Applies a key stream and goes back to where it was.
fn peek_stream(stream: &mut (impl StreamCipher + StreamCipherSeek), bytes: &mut [u8]) {
    if let Ok(at) = stream.try_current_pos::<u64>() {
        stream.apply_keystream(bytes);
        // INVARIANT: a place where the stream was can be gone back to.
        let _ = stream.try_seek(at);
    }
}

/// Counts the invocation counter, the nonce's last 8 bytes, up by one (RFC 5647 section 7.1).
fn step(nonce: &mut [u8; 12]) {
    if let Some(counter) = nonce.last_chunk_mut::<8>() {
        *counter = u64::from_be_bytes(*counter).wrapping_add(1).to_be_bytes();
    }
}
