//! Encryption of sessions that have a key ([MS-SMB2] 2.2.41 and 3.1.4.3).

use aes::Aes128;
use ccm::aead::{Aead as _, KeyInit as _, Payload};
use ccm::consts::{U11, U16};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::codec::{Put as _, TRANSFORM, u16_at, u64_at};
use super::signing::derived;

/// Bytes of the header: identifier (4), signature (16), nonce (16), length of what is encrypted (4),
/// reserved (2), 1 (2), session (8).
const HEADER: usize = 52;

/// Where the part of the header begins that is authenticated: behind the signature.
const AUTHENTICATED: usize = 20;

/// AES-128-CCM with the nonce of SMB.
type Ccm = ccm::Ccm<Aes128, U16, U11>;

/// The keys of a session.
#[derive(Debug)]
pub(super) struct Sealing {
    /// 1 AES-128-CCM, 2 AES-128-GCM.
    cipher: u16,
    theirs: [u8; 16],
    ours: [u8; 16],
    /// Messages that were encrypted: the nonce.
    count: u64,
}

impl Sealing {
    /// The keys of a dialect; `None` when no cipher was agreed on.
    pub(super) fn new(dialect: u16, cipher: u16, session: &[u8; 16], preauth: &[u8]) -> Option<Self> {
        let (theirs, ours) = match dialect {
            0x0311 => {
                (derived(session, b"SMBC2SCipherKey\0", preauth), derived(session, b"SMBS2CCipherKey\0", preauth))
            }
            0x0300.. => {
                (derived(session, b"SMB2AESCCM\0", b"ServerIn \0"), derived(session, b"SMB2AESCCM\0", b"ServerOut\0"))
            }
            _ => return None,
        };
        matches!(cipher, 1 | 2).then_some(Self { cipher, theirs, ours, count: 0 })
    }

    /// The session that an encrypted message names.
    pub(super) fn session(message: &[u8]) -> Option<u64> {
        u64_at(message, 44).filter(|_| u16_at(message, 42) == Some(1))
    }

    /// Decrypts a message; `None` when it was made with another key or tampered with.
    pub(super) fn open(&self, message: &[u8]) -> Option<Vec<u8>> {
        let (header, text) = message.split_at_checked(HEADER)?;
        let aad = header.get(AUTHENTICATED..)?;
        let mut sealed = [text, header.get(4..AUTHENTICATED)?].concat();
        if self.cipher == 2 {
            let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &self.theirs).ok()?);
            let nonce = Nonce::try_assume_unique_for_key(header.get(20..32)?).ok()?;
            let length = key.open_in_place(nonce, Aad::from(aad), &mut sealed).ok()?.len();
            sealed.truncate(length);
            return Some(sealed);
        }
        let nonce: [u8; 11] = *header.get(20..31)?.first_chunk()?;
        let key = Ccm::new_from_slice(&self.theirs).ok()?;
        key.decrypt(&nonce.into(), Payload { msg: &sealed, aad }).ok()
    }

    /// Encrypts a message of a session.
    pub(super) fn seal(&mut self, session: u64, plain: &[u8]) -> Option<Vec<u8>> {
        self.count = self.count.checked_add(1)?;
        let mut nonce = self.count.to_le_bytes().to_vec();
        nonce.resize(16, 0);
        let mut aad = nonce.clone();
        aad.put_len(plain.len());
        aad.put16(0);
        aad.put16(1);
        aad.put64(session);
        let sealed = if self.cipher == 2 {
            let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &self.ours).ok()?);
            let nonce = Nonce::try_assume_unique_for_key(nonce.get(..12)?).ok()?;
            let mut text = plain.to_vec();
            key.seal_in_place_append_tag(nonce, Aad::from(&aad), &mut text).ok()?;
            text
        } else {
            let nonce: [u8; 11] = *nonce.first_chunk()?;
            let key = Ccm::new_from_slice(&self.ours).ok()?;
            key.encrypt(&nonce.into(), Payload { msg: plain, aad: &aad }).ok()?
        };
        let (text, tag) = sealed.split_at_checked(plain.len())?;
        Some([TRANSFORM, tag, aad.as_slice(), text].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_the_same_key_only() {
        for (dialect, cipher) in [(0x0300, 1), (0x0311, 1), (0x0311, 2)] {
            let mut server = Sealing::new(dialect, cipher, &[7; 16], &[1; 64]).unwrap();
            let client = Sealing { theirs: server.ours, ours: server.theirs, cipher, count: 0 };
            let sealed = server.seal(0x55, b"\xfeSMB and more").unwrap();
            assert_eq!(Sealing::session(&sealed), Some(0x55));
            assert_eq!(client.open(&sealed).unwrap(), b"\xfeSMB and more");
            assert_eq!(server.open(&sealed), None);
            for at in 4..sealed.len() {
                let mut other = sealed.clone();
                other[at] ^= 1;
                // Bytes of the nonce that the cipher leaves out are authenticated too.
                assert_eq!(client.open(&other), None, "{at}");
            }
            assert_ne!(sealed, server.seal(0x55, b"\xfeSMB and more").unwrap());
            assert_eq!(client.open(&sealed[..51]), None);
        }
        assert!(Sealing::new(0x0210, 1, &[7; 16], &[]).is_none() && Sealing::new(0x0311, 0, &[7; 16], &[]).is_none());
    }
}
