//! Logins whose password the operator planted: checked, and their sessions signed.
//!
//! Everybody else is a guest, whose session has no key. With a known password the session is what a
//! client that demands signatures expects: keys of [MS-NLMP] 3.4 and [MS-SMB2] 3.1.4.

use aes::Aes128;
use aviary_wire::guess::nt_hash;
use aviary_wire::ntlm::{Authenticate, EXTENDED, KEY_EXCHANGE};
use cmac::Cmac;
use hmac::{Hmac, KeyInit as _, Mac as _};
use md5::{Digest as _, Md5};
use rc4::{Rc4, StreamCipher as _};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use serde_json::Value;
use sha2::{Sha256, Sha512};

use super::codec::{slice, u16_at, u32_at, wide};

/// A planted credential with a plain password.
#[derive(Debug)]
pub(super) struct Known {
    user: String,
    pub(super) password: String,
    nt: [u8; 16],
}

impl Known {
    /// The entries of `smb.honeycreds` that name a user and a password in clear text.
    pub(super) fn all(items: &[Value]) -> Vec<Self> {
        let text = |item: &Value, name: &str| item.get(name).and_then(Value::as_str).map(str::to_owned);
        let plain = |item: &Value| {
            let (user, password) = (text(item, "username")?, text(item, "password")?);
            let nt = nt_hash(password.as_bytes());
            (!user.is_empty() && !password.starts_with('$')).then_some(Self { user, password, nt })
        };
        items.iter().filter_map(plain).collect()
    }

    /// The session key, when the response is that of this user and password. NTLMv2 only.
    pub(super) fn key(&self, response: &Authenticate, challenge: &[u8; 8], message: &[u8]) -> Option<[u8; 16]> {
        let user = String::from_utf8_lossy(&response.user);
        if response.mode() != Some(5600) || user.to_lowercase() != self.user.to_lowercase() {
            return None;
        }
        let (proof, blob) = response.nt.split_at_checked(16)?;
        let domain = String::from_utf8_lossy(&response.domain);
        let identity = [wide(&user.to_uppercase()), wide(&domain)].concat();
        let own = hmac_md5(&self.nt, &identity);
        if hmac_md5(&own, &[challenge.as_slice(), blob].concat()) != proof {
            return None;
        }
        let base = hmac_md5(&own, proof);
        if response.flags & KEY_EXCHANGE == 0 {
            return Some(base);
        }
        // The field of the encrypted session key: length at 52, offset at 56.
        let encrypted = slice(message, u32_at(message, 56)?, u16_at(message, 52)?)?;
        let mut key: [u8; 16] = *encrypted.first_chunk().filter(|_| encrypted.len() == 16)?;
        Rc4::new_from_slice(&base).ok()?.apply_keystream(&mut key);
        Some(key)
    }
}

/// The signature over SPNEGO's list of mechanisms, first of the server's messages
/// ([MS-NLMP] 3.4.4.2).
pub(super) fn mechanism_check(key: &[u8; 16], flags: u32, mechanisms: &[u8]) -> Option<Vec<u8>> {
    if flags & EXTENDED == 0 || mechanisms.is_empty() {
        return None;
    }
    let derive = |purpose: &str| -> [u8; 16] {
        let hash = Md5::new().chain_update(key);
        hash.chain_update(format!("session key to server-to-client {purpose} key magic constant\0")).finalize().into()
    };
    let (sign, seal) = (derive("signing"), derive("sealing"));
    let mut sum: [u8; 8] = *hmac_md5(&sign, &[&[0; 4], mechanisms].concat()).first_chunk()?;
    if flags & KEY_EXCHANGE != 0 {
        Rc4::new_from_slice(&seal).ok()?.apply_keystream(&mut sum);
    }
    Some([&[1, 0, 0, 0], sum.as_slice(), &[0; 4]].concat())
}

/// Signs the messages of a session.
#[derive(Debug)]
pub(super) struct Signing {
    key: [u8; 16],
    /// 0 HMAC-SHA256, 1 AES-CMAC, 2 AES-GMAC.
    algorithm: u16,
}

impl Signing {
    /// The signing key of a dialect; `agreed` is the algorithm that 3.1.1 negotiated.
    pub(super) fn new(dialect: u16, agreed: u16, session: &[u8; 16], preauth: &[u8]) -> Self {
        let (key, algorithm) = match dialect {
            0x0311 => (derived(session, b"SMBSigningKey\0", preauth), agreed),
            0x0300.. => (derived(session, b"SMB2AESCMAC\0", b"SmbSign\0"), 1),
            _ => (*session, 0),
        };
        Self { key, algorithm }
    }

    /// Puts the signature into a message whose flags say that it is signed.
    pub(super) fn sign(&self, message: &mut [u8]) {
        let Some(signature) = self.signature(message) else { return };
        if let Some(place) = message.get_mut(48..64) {
            place.copy_from_slice(&signature);
        }
    }

    fn signature(&self, message: &[u8]) -> Option<[u8; 16]> {
        let whole: Vec<u8> = match self.algorithm {
            0 => {
                let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).ok()?;
                mac.update(message);
                mac.finalize().into_bytes().to_vec()
            }
            2 => {
                // The nonce: message id (8), then flags: bit 0 server, bit 1 cancel; the rest zero.
                let mut nonce = [0; 12];
                nonce.get_mut(..8)?.copy_from_slice(message.get(24..32)?);
                *nonce.get_mut(8)? = 1;
                let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &self.key).ok()?);
                let nonce = Nonce::assume_unique_for_key(nonce);
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(message), &mut []).ok()?;
                tag.as_ref().to_vec()
            }
            _ => {
                let mut mac = Cmac::<Aes128>::new_from_slice(&self.key).ok()?;
                mac.update(message);
                mac.finalize().into_bytes().to_vec()
            }
        };
        whole.first_chunk().copied()
    }
}

/// One step of 3.1.1's hash over messages: SHA-512 of the value so far and the message.
pub(super) fn preauth(so_far: &[u8], message: &[u8]) -> Vec<u8> {
    Sha512::new().chain_update(so_far).chain_update(message).finalize().to_vec()
}

/// The key derivation of SP 800-108 in counter mode with HMAC-SHA256: counter, label, zero, context,
/// length in bits.
pub(super) fn derived(key: &[u8; 16], label: &[u8], context: &[u8]) -> [u8; 16] {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 16] };
    for part in [&[0, 0, 0, 1], label, &[0], context, &[0, 0, 0, 128]] {
        mac.update(part);
    }
    mac.finalize().into_bytes().first_chunk().copied().unwrap_or_default()
}

fn hmac_md5(key: &[u8; 16], message: &[u8]) -> [u8; 16] {
    let Ok(mut mac) = Hmac::<Md5>::new_from_slice(key) else { return [0; 16] };
    mac.update(message);
    mac.finalize().into_bytes().into()
}
