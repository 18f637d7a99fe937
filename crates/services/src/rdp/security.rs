//! RDP's own encryption ([MS-RDPBCGR] 5.3): the certificate, the keys, RC4 with a signature; [`Fips`] beside it.
//!
//! Used where a client takes no TLS: the client draws 32 bytes, encrypts them to the RSA key of the
//! server's certificate, and both derive RC4 keys of them and of 32 bytes of the server's. The
//! certificate is signed with a key that the specification prints, so it proves nothing to anybody.
//!
//! ```text
//! certificate   version 1, signature 1, key 1 (4 each), type 6, size (2 each), key blob, type 8, size 72
//!               (2 each), signature (64) and 8 zeros
//! key blob      "RSA1", size of the modulus with 8 zeros, bits, bytes - 1, exponent (4 each), modulus
//! header        flags (2), flags (2), signature (8) when encrypted
//! ```
//!
//! [MS-RDPBCGR]: https://learn.microsoft.com/openspecs/windows_protocols/ms-rdpbcgr/

use std::sync::OnceLock;

use aviary_service::{Slot, Vault};
use md5::Md5;
use num_bigint::BigUint;
use rc4::{KeyInit as _, Rc4, StreamCipher as _};
use rsa::RsaPrivateKey;
use rsa::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};
use rsa::traits::{PrivateKeyParts as _, PublicKeyParts as _};
use sha1::{Digest as _, Sha1};

use super::fips::Fips;

/// Bits of the server's key: what Windows makes since Vista.
const BITS: usize = 2048;

/// Encryption methods, as client and server name them.
pub(super) mod method {
    pub(in super::super) const RC4_40: u32 = 1;
    pub(in super::super) const RC4_128: u32 = 2;
    pub(in super::super) const RC4_56: u32 = 8;
    pub(in super::super) const FIPS: u32 = 16;
}

/// The level that Windows has unless told otherwise: as strong as the client can, in both directions.
pub(super) const CLIENT_COMPATIBLE: u32 = 2;

/// Flags of the security header.
pub(super) mod flag {
    /// The client's random bytes, encrypted to the certificate.
    pub(in super::super) const EXCHANGE: u16 = 0x0001;
    /// The rest is encrypted.
    pub(in super::super) const ENCRYPT: u16 = 0x0008;
    /// The rest is a Client Info.
    pub(in super::super) const INFO: u16 = 0x0040;
    /// The signature counts the packets.
    pub(in super::super) const SECURE_CHECKSUM: u16 = 0x0800;
}

/// Modulus and private exponent of the Terminal Services signing key, as 5.3.3.1.1 prints them.
const SIGNING_MODULUS: [u8; 64] = [
    0x3d, 0x3a, 0x5e, 0xbd, 0x72, 0x43, 0x3e, 0xc9, 0x4d, 0xbb, 0xc1, 0x1e, 0x4a, 0xba, 0x5f, 0xcb, 0x3e, 0x88, 0x20,
    0x87, 0xef, 0xf5, 0xc1, 0xe2, 0xd7, 0xb7, 0x6b, 0x9a, 0xf2, 0x52, 0x45, 0x95, 0xce, 0x63, 0x65, 0x6b, 0x58, 0x3a,
    0xfe, 0xef, 0x7c, 0xe7, 0xbf, 0xfe, 0x3d, 0xf6, 0x5c, 0x7d, 0x6c, 0x5e, 0x06, 0x09, 0x1a, 0xf5, 0x61, 0xbb, 0x20,
    0x93, 0x09, 0x5f, 0x05, 0x6d, 0xea, 0x87,
];
const SIGNING_EXPONENT: [u8; 64] = [
    0x87, 0xa7, 0x19, 0x32, 0xda, 0x11, 0x87, 0x55, 0x58, 0x00, 0x16, 0x16, 0x25, 0x65, 0x68, 0xf8, 0x24, 0x3e, 0xe6,
    0xfa, 0xe9, 0x67, 0x49, 0x94, 0xcf, 0x92, 0xcc, 0x33, 0x99, 0xe8, 0x08, 0x60, 0x17, 0x9a, 0x12, 0x9f, 0x24, 0xdd,
    0xb1, 0x24, 0x99, 0xc7, 0x3a, 0xb8, 0x0a, 0x7b, 0x0d, 0xdd, 0x35, 0x07, 0x79, 0x17, 0x0b, 0x51, 0x9b, 0xb3, 0xc7,
    0x10, 0x01, 0x13, 0xe7, 0x3f, 0xf3, 0x5f,
];

/// The method that Windows takes of those that the client has: FIPS only where nothing else is offered.
/// `None` when the client has none.
pub(super) fn choose(methods: u32) -> Option<u32> {
    [method::RC4_128, method::RC4_56, method::RC4_40, method::FIPS].into_iter().find(|method| methods & method != 0)
}

/// The server's key, made once for an installation.
pub(super) struct ServerKey {
    slot: Slot,
    parsed: OnceLock<Option<(RsaPrivateKey, Vec<u8>)>>,
}

impl ServerKey {
    /// Asks the vault for the key; nothing is made here.
    pub(super) fn new(vault: &dyn Vault) -> Self {
        Self { slot: vault.slot("rdp-security-key", Box::new(make_key)), parsed: OnceLock::new() }
    }

    fn parsed(&self) -> Option<&(RsaPrivateKey, Vec<u8>)> {
        let parse = || {
            let key = RsaPrivateKey::from_pkcs8_der(self.slot.wait()).ok()?;
            let certificate = certificate(&key);
            Some((key, certificate))
        };
        self.parsed.get_or_init(parse).as_ref()
    }

    /// The certificate. May wait for the vault.
    pub(super) fn certificate(&self) -> Vec<u8> {
        self.parsed().map(|(_, certificate)| certificate.clone()).unwrap_or_default()
    }

    /// The 32 bytes that a client encrypted, little-endian and without padding; takes milliseconds.
    pub(super) fn decrypt(&self, encrypted: &[u8]) -> Option<[u8; 32]> {
        let (key, _) = self.parsed()?;
        let number = BigUint::from_bytes_le(encrypted);
        let (d, n) = (big(&key.d().to_bytes_be()), big(&key.n().to_bytes_be()));
        let mut bytes = number.modpow(&d, &n).to_bytes_le();
        bytes.resize(bytes.len().max(32), 0);
        // What is longer was encrypted to another key.
        bytes.try_into().ok()
    }
}

fn big(bytes: &[u8]) -> BigUint {
    BigUint::from_bytes_be(bytes)
}

fn make_key() -> Vec<u8> {
    let made = RsaPrivateKey::new(&mut rand_core::OsRng, BITS).ok();
    made.and_then(|key| key.to_pkcs8_der().ok()).map(|document| document.as_bytes().to_vec()).unwrap_or_default()
}

fn certificate(key: &RsaPrivateKey) -> Vec<u8> {
    let mut modulus = key.n().to_bytes_be();
    modulus.reverse();
    let bytes = u32::try_from(modulus.len()).unwrap_or(0);
    let mut exponent = key.e().to_bytes_be();
    exponent.reverse();
    exponent.resize(4, 0);
    let mut blob = b"RSA1".to_vec();
    for number in [bytes.saturating_add(8), bytes.saturating_mul(8), bytes.saturating_sub(1)] {
        blob.extend_from_slice(&number.to_le_bytes());
    }
    blob.extend_from_slice(&exponent);
    blob.extend_from_slice(&modulus);
    blob.extend_from_slice(&[0; 8]);
    let mut out = b"\x01\0\0\0\x01\0\0\0\x01\0\0\0\x06\0".to_vec();
    out.extend_from_slice(&u16::try_from(blob.len()).unwrap_or(0).to_le_bytes());
    out.extend_from_slice(&blob);
    let signature = sign(&out);
    out.extend_from_slice(b"\x08\0\x48\0");
    out.extend_from_slice(&signature);
    out.extend_from_slice(&[0; 8]);
    out
}

/// The signature over what comes before it, 5.3.3.1.2: the hash, 00, 45 times ff, 01, raised to the
/// private exponent, all little-endian.
fn sign(signed: &[u8]) -> Vec<u8> {
    let mut message = Md5::digest(signed).to_vec();
    message.push(0);
    message.extend_from_slice(&[0xff; 45]);
    message.push(1);
    let n = BigUint::from_bytes_le(&SIGNING_MODULUS);
    let d = BigUint::from_bytes_le(&SIGNING_EXPONENT);
    let mut signature = BigUint::from_bytes_le(&message).modpow(&d, &n).to_bytes_le();
    signature.resize(64, 0);
    signature
}

/// The ciphers of one connection.
pub(super) enum Ciphers {
    Rc4(Box<Rc4Ciphers>),
    Fips(Box<Fips>),
}

impl Ciphers {
    /// Derives the keys.
    pub(super) fn new(method: u32, client: &[u8; 32], server: &[u8; 32]) -> Option<Self> {
        if method == method::FIPS {
            return Fips::new(client, server).map(|fips| Self::Fips(Box::new(fips)));
        }
        Rc4Ciphers::new(method, client, server).map(|ciphers| Self::Rc4(Box::new(ciphers)))
    }

    /// Decrypts what follows the flags of a header with [`flag::ENCRYPT`]; `None` when it is no
    /// signature long. The second value says whether the signature is right.
    pub(super) fn open(&mut self, flags: u16, signed: &[u8]) -> Option<(Vec<u8>, bool)> {
        match self {
            Self::Rc4(ciphers) => ciphers.open(flags, signed),
            Self::Fips(fips) => fips.open(signed),
        }
    }

    /// Encrypts, with the header in front.
    pub(super) fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        match self {
            Self::Rc4(ciphers) => ciphers.seal(flag::ENCRYPT, plain),
            Self::Fips(fips) => fips.seal(flag::ENCRYPT, plain),
        }
    }
}

/// RC4 in both directions.
pub(super) struct Rc4Ciphers {
    signing: Vec<u8>,
    from_client: Rc4,
    to_client: Rc4,
    received: u32,
}

impl Rc4Ciphers {
    /// Derives the keys, 5.3.5.1.
    pub(super) fn new(method: u32, client: &[u8; 32], server: &[u8; 32]) -> Option<Self> {
        let salted = |secret: &[u8], salt: &[u8]| {
            let inner = Sha1::new().chain_update(salt).chain_update(secret).chain_update(client).chain_update(server);
            Md5::new().chain_update(secret).chain_update(inner.finalize()).finalize()
        };
        let thrice = |secret: &[u8], salts: [&[u8]; 3]| salts.map(|salt| salted(secret, salt)).concat();
        let premaster = [client.get(..24)?, server.get(..24)?].concat();
        let master = thrice(&premaster, [b"A", b"BB", b"CCC"]);
        let session = thrice(&master, [b"X", b"YY", b"ZZZ"]);
        let third = |at: usize| session.get(at..).and_then(|rest| rest.first_chunk::<16>());
        let last = |key: &[u8; 16]| Md5::new().chain_update(key).chain_update(client).chain_update(server).finalize();
        let weaken = |key: &[u8]| -> Option<Vec<u8>> {
            Some(match method {
                method::RC4_40 => [b"\xd1\x26\x9e", key.get(3..8)?].concat(),
                method::RC4_56 => [b"\xd1", key.get(1..8)?].concat(),
                _ => key.to_vec(),
            })
        };
        Some(Self {
            signing: weaken(third(0)?)?,
            to_client: Rc4::new_from_slice(&weaken(&last(third(16)?))?).ok()?,
            from_client: Rc4::new_from_slice(&weaken(&last(third(32)?))?).ok()?,
            received: 0,
        })
    }

    /// LIMIT: the keys change after 4096 packets, and no connection here has so many.
    fn open(&mut self, flags: u16, signed: &[u8]) -> Option<(Vec<u8>, bool)> {
        let (signature, encrypted) = signed.split_at_checked(8)?;
        let mut plain = encrypted.to_vec();
        self.from_client.apply_keystream(&mut plain);
        let count = (flags & flag::SECURE_CHECKSUM != 0).then_some(self.received);
        self.received = self.received.saturating_add(1);
        let right = self.signature(&plain, count) == signature;
        Some((plain, right))
    }

    fn seal(&mut self, flags: u16, plain: &[u8]) -> Vec<u8> {
        let mut out = flags.to_le_bytes().to_vec();
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&self.signature(plain, None));
        let mut encrypted = plain.to_vec();
        self.to_client.apply_keystream(&mut encrypted);
        out.extend_from_slice(&encrypted);
        out
    }

    /// Encrypts as the other end would, for tests.
    #[cfg(test)]
    pub(super) fn seal_as_client(&mut self, plain: &[u8]) -> Vec<u8> {
        std::mem::swap(&mut self.from_client, &mut self.to_client);
        let sealed = self.seal(flag::INFO | flag::ENCRYPT, plain);
        std::mem::swap(&mut self.from_client, &mut self.to_client);
        sealed
    }

    /// The first half of an MD5 over a SHA-1, 5.3.6.1.
    fn signature(&self, plain: &[u8], count: Option<u32>) -> [u8; 8] {
        let length = u32::try_from(plain.len()).unwrap_or(u32::MAX);
        let mut inner = Sha1::new();
        inner.update(&self.signing);
        inner.update([0x36; 40]);
        inner.update(length.to_le_bytes());
        inner.update(plain);
        if let Some(count) = count {
            inner.update(count.to_le_bytes());
        }
        let outer = Md5::new().chain_update(&self.signing).chain_update([0x5c; 48]).chain_update(inner.finalize());
        outer.finalize().first_chunk().copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signing_key_undoes_its_signature() {
        let n = BigUint::from_bytes_le(&SIGNING_MODULUS);
        let opened = BigUint::from_bytes_le(&sign(b"signed")).modpow(&BigUint::from(0xc088_7b5b_u32), &n);
        let bytes = opened.to_bytes_le();
        assert_eq!(bytes.len(), 63);
        assert_eq!(bytes[..16], Md5::digest(b"signed")[..]);
        assert!(bytes[17..62].iter().all(|byte| *byte == 0xff) && bytes[62] == 1);
    }

    #[test]
    fn a_client_reads_the_certificate_and_is_understood() {
        let key = ServerKey::new(&aviary_service::MemoryVault::default());
        let certificate = key.certificate();
        assert_eq!(certificate.len(), 16 + 20 + 256 + 8 + 76);
        let modulus = BigUint::from_bytes_le(&certificate[36..292]);
        let random = *b"thirty-two bytes of a client....";
        let encrypted = BigUint::from_bytes_le(&random).modpow(&BigUint::from(65_537_u32), &modulus).to_bytes_le();
        assert_eq!(key.decrypt(&encrypted), Some(random));
        assert_eq!(key.decrypt(&[0x55; 256]), None);
        assert_eq!(key.decrypt(b""), Some([0; 32]));
    }

    #[test]
    fn both_ends_derive_the_same_keys_of_each_strength() {
        for method in [method::RC4_40, method::RC4_56, method::RC4_128] {
            let mut server = Rc4Ciphers::new(method, &[1; 32], &[2; 32]).unwrap();
            let mut client = Rc4Ciphers::new(method, &[1; 32], &[2; 32]).unwrap();
            let sealed = client.seal_as_client(b"who I am");
            assert_eq!(sealed[..4], [0x48, 0, 0, 0]);
            assert_eq!(server.open(flag::INFO, &sealed[4..]), Some((b"who I am".to_vec(), true)));
            let mut broken = client.seal_as_client(b"who I am");
            broken[4] ^= 1;
            assert_eq!(server.open(flag::INFO, &broken[4..]), Some((b"who I am".to_vec(), false)));
            assert_eq!(server.open(flag::INFO, b"1234567"), None);
        }
    }

    #[test]
    fn the_strongest_method_but_fips_is_chosen() {
        assert_eq!(choose(0x1b), Some(method::RC4_128));
        assert_eq!((choose(9), choose(1), choose(0)), (Some(method::RC4_56), Some(method::RC4_40), None));
        assert_eq!(choose(16), Some(method::FIPS));
    }
}
