//! The post-quantum hybrids: the client sends a KEM's public key and an X25519 share, we answer with
//! the KEM's ciphertext and ours. The secret is the hash of both secrets, and a `string`.

use ml_kem::array::Array;
use ml_kem::{EncapsulationKey, MlKem768};
use ring::{agreement, digest};

use super::{Agreement, ecdh};
use crate::ssh::codec::Writer;
use crate::ssh::entropy::Entropy;

/// Bytes of an sntrup761 public key.
pub(crate) const SNTRUP761_KEY: usize = 1158;
/// Bytes of an ML-KEM-768 encapsulation key (FIPS 203, table 3).
pub(crate) const ML_KEM768_KEY: usize = 1184;

/// `sntrup761x25519-sha512`
pub(super) fn sntrup761(client: &[u8], entropy: &mut Entropy) -> Option<Agreement> {
    let (key, share) = client.split_at_checked(SNTRUP761_KEY)?;
    let key = ::sntrup761::EncapsulationKey::try_from(key).ok()?;
    let (ciphertext, secret) = key.encapsulate_deterministic(entropy.array());
    combine(client, share, ciphertext.as_ref(), secret.as_ref(), &digest::SHA512)
}

/// `mlkem768x25519-sha256`
pub(super) fn ml_kem768(client: &[u8], entropy: &mut Entropy) -> Option<Agreement> {
    let (key, share) = client.split_at_checked(ML_KEM768_KEY)?;
    let key = EncapsulationKey::<MlKem768>::new(&Array::try_from(key).ok()?).ok()?;
    let (ciphertext, secret) = key.encapsulate_deterministic(&Array::from(entropy.array::<32>()));
    combine(client, share, &ciphertext, &secret, &digest::SHA256)
}

fn combine(
    client: &[u8],
    share: &[u8],
    ciphertext: &[u8],
    kem_secret: &[u8],
    hash: &'static digest::Algorithm,
) -> Option<Agreement> {
    let (ours, curve_secret) = ecdh::exchange(share, &agreement::X25519)?;
    let secret = digest::digest(hash, &[kem_secret, &curve_secret].concat());
    Some(Agreement {
        client_share: Writer::new().string(client).done(),
        server_share: Writer::new().string([ciphertext, &ours].concat()).done(),
        secret: Writer::new().string(secret).done(),
    })
}
