//! Elliptic curve Diffie-Hellman: X25519 and the NIST curves.

use p521::elliptic_curve::sec1::ToSec1Point as _;
use ring::agreement::{self, EphemeralPrivateKey, UnparsedPublicKey};
use ring::rand::SystemRandom;

use super::Agreement;
use crate::ssh::codec::Writer;
use crate::ssh::entropy::Entropy;

/// X25519; refuses a share of small order.
pub(super) fn x25519(client: &[u8]) -> Option<Agreement> {
    agreed(client, &agreement::X25519)
}

/// P-256, uncompressed points only.
pub(super) fn nistp256(client: &[u8]) -> Option<Agreement> {
    agreed(client, &agreement::ECDH_P256)
}

/// P-384, uncompressed points only.
pub(super) fn nistp384(client: &[u8]) -> Option<Agreement> {
    agreed(client, &agreement::ECDH_P384)
}

/// P-521, uncompressed points only.
pub(super) fn nistp521(client: &[u8], entropy: &mut Entropy) -> Option<Agreement> {
    // SEC 1 section 2.3.3: 04, then both coordinates of 66 bytes.
    if client.len() != 133 || client.first() != Some(&4) {
        return None;
    }
    let theirs = p521::PublicKey::from_sec1_bytes(client).ok()?;
    let mut bytes = [0; 66];
    // The group order is just below 2^521, so practically the first draw is a key.
    let ours = (0..8).find_map(|_| {
        entropy.fill(&mut bytes);
        bytes[0] &= 1;
        p521::SecretKey::from_slice(&bytes).ok()
    })?;
    let secret = p521::ecdh::diffie_hellman(ours.to_nonzero_scalar(), theirs.as_affine());
    let share = ours.public_key().to_sec1_point(false);
    Some(Agreement {
        client_share: Writer::new().string(client).done(),
        server_share: Writer::new().string(share.as_bytes()).done(),
        secret: Writer::new().mpint(secret.raw_secret_bytes()).done(),
    })
}

fn agreed(client: &[u8], algorithm: &'static agreement::Algorithm) -> Option<Agreement> {
    let (share, secret) = exchange(client, algorithm)?;
    Some(Agreement {
        client_share: Writer::new().string(client).done(),
        server_share: Writer::new().string(share).done(),
        secret: Writer::new().mpint(&secret).done(),
    })
}

/// Our share and the raw secret.
pub(super) fn exchange(client: &[u8], algorithm: &'static agreement::Algorithm) -> Option<(Vec<u8>, Vec<u8>)> {
    let ours = EphemeralPrivateKey::generate(algorithm, &SystemRandom::new()).ok()?;
    let share = ours.compute_public_key().ok()?.as_ref().to_vec();
    let theirs = UnparsedPublicKey::new(algorithm, client);
    let secret = agreement::agree_ephemeral(ours, &theirs, <[u8]>::to_vec).ok()?;
    Some((share, secret))
}
