//! Apple Remote Desktop's authentication, security type 30: Diffie-Hellman, then AES.
//!
//! ```text
//! server  U16 generator, U16 length, prime, public value (both of that length)
//! client  128 bytes of ciphertext, public value
//! ```
//!
//! The ciphertext is AES-128-ECB under the MD5 of the shared secret over 64 bytes of user name and
//! 64 of password, each ended by NUL and filled with noise. The server's half is ours, so both can
//! be read.

use aes::Aes128;
use cipher::{Array, BlockCipherDecrypt as _, KeyInit as _};
use md5::{Digest as _, Md5};
use num_bigint::BigUint;
use sha2::Sha256;

/// Bytes of the prime.
const LENGTH: usize = 128;
/// Bytes of the ciphertext.
const CIPHERTEXT: usize = 128;
/// Bytes of the client's message.
pub(super) const ANSWER: usize = CIPHERTEXT + LENGTH;
/// Bytes of the field of user name and of password.
const FIELD: usize = 64;
const GENERATOR: u16 = 2;

/// The second Oakley group of 1024 bits (RFC 2409, 6.2).
const PRIME: &str = "\
    FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD\
    EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED\
    EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF";

fn prime() -> BigUint {
    BigUint::parse_bytes(PRIME.as_bytes(), 16).unwrap_or_default()
}

/// The server's secret exponent of a connection with this entropy.
pub(super) fn exponent(entropy: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update(entropy).chain_update(b"ard exponent").finalize().into()
}

/// The server's message; takes half a millisecond.
pub(super) fn offer(exponent: &[u8; 32]) -> Vec<u8> {
    let prime = prime();
    let public = BigUint::from(GENERATOR).modpow(&BigUint::from_bytes_be(exponent), &prime);
    let mut message = GENERATOR.to_be_bytes().to_vec();
    message.extend(u16::try_from(LENGTH).unwrap_or_default().to_be_bytes());
    message.extend(padded(&prime));
    message.extend(padded(&public));
    message
}

fn padded(number: &BigUint) -> Vec<u8> {
    let bytes = number.to_bytes_be();
    let mut all = vec![0; LENGTH.saturating_sub(bytes.len())];
    all.extend(bytes);
    all
}

/// The plain text of the client's message of [`ANSWER`] bytes; takes half a millisecond.
pub(super) fn decrypt(exponent: &[u8; 32], answer: &[u8]) -> Vec<u8> {
    let (ciphertext, public) = answer.split_at_checked(CIPHERTEXT).unwrap_or_default();
    let shared = BigUint::from_bytes_be(public).modpow(&BigUint::from_bytes_be(exponent), &prime());
    let key: [u8; 16] = Md5::digest(padded(&shared)).into();
    let aes = Aes128::new(&key.into());
    let (blocks, _) = ciphertext.as_chunks::<16>();
    let decrypted = blocks.iter().flat_map(|block| {
        let mut block = Array::from(*block);
        aes.decrypt_block(&mut block);
        <[u8; 16]>::from(block)
    });
    decrypted.collect()
}

/// User name and password of the plain text.
pub(super) fn login(plain: &[u8]) -> (&[u8], &[u8]) {
    let (user, password) = plain.split_at_checked(FIELD).unwrap_or_default();
    let text = |field: &'_ [u8]| field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    (user.get(..text(user)).unwrap_or_default(), password.get(..text(password)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cipher::BlockCipherEncrypt as _;

    #[test]
    fn the_message_has_the_length_it_names() {
        let message = offer(&[7; 32]);
        assert_eq!(message.len(), 4 + 2 * LENGTH);
        assert_eq!(message[..4], [0, 2, 0, 128]);
        assert_ne!(message, offer(&[8; 32]));
    }

    #[test]
    fn reads_what_a_client_encrypted() {
        let ours = exponent(&[1; 32]);
        let public = BigUint::from_bytes_be(&offer(&ours)[4 + LENGTH..]);
        let theirs = BigUint::from(0x1234_5678_9abc_u64);
        let key: [u8; 16] = Md5::digest(padded(&public.modpow(&theirs, &prime()))).into();
        let mut text = [0x55; CIPHERTEXT];
        text[..6].copy_from_slice(b"admin\0");
        text[64..71].copy_from_slice(b"s3cret\0");
        let aes = Aes128::new(&key.into());
        let mut answer: Vec<u8> = text
            .as_chunks::<16>()
            .0
            .iter()
            .flat_map(|block| {
                let mut block = Array::from(*block);
                aes.encrypt_block(&mut block);
                <[u8; 16]>::from(block)
            })
            .collect();
        answer.extend(padded(&BigUint::from(GENERATOR).modpow(&theirs, &prime())));
        assert_eq!(answer.len(), ANSWER);
        assert_eq!(login(&decrypt(&ours, &answer)), (&b"admin"[..], &b"s3cret"[..]));
    }

    #[test]
    fn strange_messages_give_some_text() {
        for answer in [&[0; ANSWER][..], &[0xff; ANSWER], b"short", b""] {
            let plain = decrypt(&[3; 32], answer);
            assert!(plain.is_empty() || plain.len() == CIPHERTEXT);
            let (user, password) = login(&plain);
            assert!(user.len() <= FIELD && password.len() <= FIELD);
        }
    }
}
