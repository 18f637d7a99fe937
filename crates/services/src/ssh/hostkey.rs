//! Host keys: made once for an installation, kept by the vault, used to sign exchange hashes.
//!
//! Formats: RFC 8709 (Ed25519), RFC 5656 section 3.1 (ECDSA), RFC 4253 section 6.6 and RFC 8332 (RSA).

use std::sync::OnceLock;

use aviary_service::{Slot, Vault};
use ring::digest;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use rsa::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};
use rsa::traits::PublicKeyParts as _;
use rsa::{Pkcs1v15Sign, RsaPrivateKey};

use super::codec::Writer;
use super::entropy::Entropy;

/// Bits of the RSA key: what `ssh-keygen` makes since OpenSSH 8.0.
const RSA_BITS: usize = 3072;

/// A host key and the way it signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// `ssh-ed25519`
    Ed25519,
    /// `ecdsa-sha2-nistp256`
    EcdsaNistp256,
    /// `rsa-sha2-512`
    RsaSha512,
    /// `rsa-sha2-256`
    RsaSha256,
    /// `ssh-rsa`, with SHA-1
    RsaSha1,
}

impl Algorithm {
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        [Self::Ed25519, Self::EcdsaNistp256, Self::RsaSha512, Self::RsaSha256, Self::RsaSha1]
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ssh-ed25519",
            Self::EcdsaNistp256 => "ecdsa-sha2-nistp256",
            Self::RsaSha512 => "rsa-sha2-512",
            Self::RsaSha256 => "rsa-sha2-256",
            Self::RsaSha1 => "ssh-rsa",
        }
    }
}

/// The three keys of an installation.
pub(crate) struct HostKeys {
    ed25519: Slot,
    ecdsa: Slot,
    rsa: Slot,
    rsa_parsed: OnceLock<Option<RsaPrivateKey>>,
    timing: OnceLock<[u8; 8]>,
}

impl HostKeys {
    /// Asks the vault for the keys; none is made here.
    pub(crate) fn new(vault: &dyn Vault) -> Self {
        Self {
            ed25519: vault.slot("ssh-host-ed25519", Box::new(make_ed25519)),
            ecdsa: vault.slot("ssh-host-ecdsa", Box::new(make_ecdsa)),
            rsa: vault.slot("ssh-host-rsa", Box::new(make_rsa)),
            rsa_parsed: OnceLock::new(),
            timing: OnceLock::new(),
        }
    }

    /// The public key as it stands in the key exchange. May wait for the vault.
    pub(crate) fn public(&self, algorithm: Algorithm) -> Option<Vec<u8>> {
        Some(match algorithm {
            Algorithm::Ed25519 => {
                let key = Ed25519KeyPair::from_pkcs8(self.ed25519.wait()).ok()?;
                Writer::new().string("ssh-ed25519").string(key.public_key()).done()
            }
            Algorithm::EcdsaNistp256 => {
                let key = self.ecdsa_key()?;
                Writer::new().string("ecdsa-sha2-nistp256").string("nistp256").string(key.public_key()).done()
            }
            Algorithm::RsaSha512 | Algorithm::RsaSha256 | Algorithm::RsaSha1 => {
                let key = self.rsa_key()?;
                Writer::new().string("ssh-rsa").mpint(&key.e().to_bytes_be()).mpint(&key.n().to_bytes_be()).done()
            }
        })
    }

    /// The signature blob over an exchange hash. May wait for the vault and takes some ms with RSA.
    pub(crate) fn sign(&self, algorithm: Algorithm, hash: &[u8], entropy: &mut Entropy) -> Option<Vec<u8>> {
        let signature = match algorithm {
            Algorithm::Ed25519 => {
                let key = Ed25519KeyPair::from_pkcs8(self.ed25519.wait()).ok()?;
                key.sign(hash).as_ref().to_vec()
            }
            Algorithm::EcdsaNistp256 => {
                let signature = self.ecdsa_key()?.sign(&SystemRandom::new(), hash).ok()?;
                let (r, s) = signature.as_ref().split_at_checked(32)?;
                Writer::new().mpint(r).mpint(s).done()
            }
            Algorithm::RsaSha512 => self.sign_rsa(&digest::SHA512, &INFO_SHA512, hash, entropy)?,
            Algorithm::RsaSha256 => self.sign_rsa(&digest::SHA256, &INFO_SHA256, hash, entropy)?,
            Algorithm::RsaSha1 => self.sign_rsa(&digest::SHA1_FOR_LEGACY_USE_ONLY, &INFO_SHA1, hash, entropy)?,
        };
        Some(Writer::new().string(algorithm.name()).string(signature).done())
    }

    /// What makes delays differ between installations, as OpenSSH takes it from its host keys.
    pub(crate) fn timing_secret(&self) -> [u8; 8] {
        *self.timing.get_or_init(|| {
            let hash = digest::digest(&digest::SHA512, self.ed25519.wait());
            hash.as_ref().first_chunk().copied().unwrap_or_default()
        })
    }

    fn ecdsa_key(&self) -> Option<EcdsaKeyPair> {
        let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        EcdsaKeyPair::from_pkcs8(algorithm, self.ecdsa.wait(), &SystemRandom::new()).ok()
    }

    fn rsa_key(&self) -> Option<&RsaPrivateKey> {
        self.rsa_parsed.get_or_init(|| RsaPrivateKey::from_pkcs8_der(self.rsa.wait()).ok()).as_ref()
    }

    fn sign_rsa(
        &self,
        algorithm: &'static digest::Algorithm,
        info: &[u8],
        hash: &[u8],
        entropy: &mut Entropy,
    ) -> Option<Vec<u8>> {
        let hashed = digest::digest(algorithm, hash);
        let scheme = Pkcs1v15Sign { hash_len: Some(hashed.as_ref().len()), prefix: info.into() };
        self.rsa_key()?.sign_with_rng(entropy, scheme, hashed.as_ref()).ok()
    }
}

/// `DigestInfo` before a hash, RFC 8017 section 9.2 note 1.
const INFO_SHA1: [u8; 15] = *b"\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14";
const INFO_SHA256: [u8; 19] = *b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20";
const INFO_SHA512: [u8; 19] = *b"\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40";

fn make_ed25519() -> Vec<u8> {
    let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
    made.map(|document| document.as_ref().to_vec()).unwrap_or_default()
}

fn make_ecdsa() -> Vec<u8> {
    let made = EcdsaKeyPair::generate_pkcs8(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
    made.map(|document| document.as_ref().to_vec()).unwrap_or_default()
}

fn make_rsa() -> Vec<u8> {
    let mut seed = [0; 32];
    if SystemRandom::new().fill(&mut seed).is_err() {
        return Vec::new();
    }
    let made = RsaPrivateKey::new(&mut Entropy::new(seed), RSA_BITS).ok();
    made.and_then(|key| key.to_pkcs8_der().ok()).map(|document| document.as_bytes().to_vec()).unwrap_or_default()
}

/// For the `rsa` crate, which wants randomness for making keys and for blinding.
impl rand_core::RngCore for Entropy {
    fn next_u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    fn next_u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.fill(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill(bytes);
        Ok(())
    }
}

impl rand_core::CryptoRng for Entropy {}
