//! Key exchange: from the client's share to the shared secret, the signed hash and the keys.
//!
//! Everything costly happens in [`Task::run`], away from the event loop. Formats: RFC 4253 section 8
//! (Diffie-Hellman), RFC 4419 (group exchange), RFC 5656 section 4 (ECDH), RFC 8731 (X25519), and the
//! post-quantum hybrids of draft-ietf-sshm-ntruprime-ssh and draft-ietf-sshm-mlkem-hybrid-kex.

mod dh;
mod ecdh;
mod groups;
mod hybrid;

use std::sync::Arc;

pub(crate) use dh::GroupRequest;
use ring::digest;

use super::cipher::{Cipher, Way};
use super::codec::{Reader, Writer, message};
use super::entropy::Entropy;
use super::hostkey::{Algorithm, HostKeys};
use super::mac::Mac;
use super::negotiation::Suite;
use super::packet::Keys;

/// A key exchange method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// `curve25519-sha256`, `curve25519-sha256@libssh.org`
    Curve25519,
    /// `ecdh-sha2-nistp256`
    Nistp256,
    /// `ecdh-sha2-nistp384`
    Nistp384,
    /// `ecdh-sha2-nistp521`
    Nistp521,
    /// `diffie-hellman-group-exchange-sha256`
    GroupExchange,
    /// `diffie-hellman-group14-sha256`
    Group14,
    /// `diffie-hellman-group16-sha512`
    Group16,
    /// `diffie-hellman-group18-sha512`
    Group18,
    /// `sntrup761x25519-sha512`, `sntrup761x25519-sha512@openssh.com`
    Sntrup761X25519,
    /// `mlkem768x25519-sha256`
    MlKem768X25519,
}

impl Method {
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "curve25519-sha256" | "curve25519-sha256@libssh.org" => Self::Curve25519,
            "ecdh-sha2-nistp256" => Self::Nistp256,
            "ecdh-sha2-nistp384" => Self::Nistp384,
            "ecdh-sha2-nistp521" => Self::Nistp521,
            "diffie-hellman-group-exchange-sha256" => Self::GroupExchange,
            "diffie-hellman-group14-sha256" => Self::Group14,
            "diffie-hellman-group16-sha512" => Self::Group16,
            "diffie-hellman-group18-sha512" => Self::Group18,
            "sntrup761x25519-sha512" | "sntrup761x25519-sha512@openssh.com" => Self::Sntrup761X25519,
            "mlkem768x25519-sha256" => Self::MlKem768X25519,
            _ => return None,
        })
    }

    /// The hash of the exchange and of the keys.
    pub(crate) fn hash(self) -> &'static digest::Algorithm {
        match self {
            Self::Curve25519 | Self::Nistp256 | Self::GroupExchange | Self::Group14 | Self::MlKem768X25519 => {
                &digest::SHA256
            }
            Self::Nistp384 => &digest::SHA384,
            Self::Nistp521 | Self::Group16 | Self::Group18 | Self::Sntrup761X25519 => &digest::SHA512,
        }
    }
}

/// Both shares' outcome.
pub(crate) struct Agreement {
    /// The client's share as it stands in the hash: a `string` or an `mpint`, with its length.
    client_share: Vec<u8>,
    /// The server's share, likewise.
    server_share: Vec<u8>,
    /// The secret as it stands in the hash: an `mpint`, or a `string` for the hybrids.
    secret: Vec<u8>,
}

/// What is to be computed once the client's share is there.
pub(crate) struct Task {
    /// The method.
    pub(crate) method: Method,
    /// The host key and how it signs.
    pub(crate) host_key: Algorithm,
    /// `string V_C, string V_S, string I_C, string I_S`
    pub(crate) preamble: Vec<u8>,
    /// For a group exchange, what the client asked for.
    pub(crate) group: Option<GroupRequest>,
    /// The client's share.
    pub(crate) client_share: Vec<u8>,
    /// The keys that may sign.
    pub(crate) host_keys: Arc<HostKeys>,
    /// Randomness.
    pub(crate) entropy: Entropy,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The payload that answers the client's share.
    pub(crate) reply: Vec<u8>,
    /// The shared secret as it stands in hashes.
    pub(crate) secret: Vec<u8>,
    /// The exchange hash.
    pub(crate) hash: Vec<u8>,
}

impl Task {
    /// Computes; `None` when the client's share is not valid.
    pub(crate) fn run(mut self) -> Option<Outcome> {
        let agreement = match self.method {
            Method::Curve25519 => ecdh::x25519(&self.client_share),
            Method::Nistp256 => ecdh::nistp256(&self.client_share),
            Method::Nistp384 => ecdh::nistp384(&self.client_share),
            Method::Nistp521 => ecdh::nistp521(&self.client_share, &mut self.entropy),
            Method::GroupExchange => dh::agree(self.group.as_ref()?.group(), &self.client_share, &mut self.entropy),
            Method::Group14 => dh::agree(&groups::GROUP_14, &self.client_share, &mut self.entropy),
            Method::Group16 => dh::agree(&groups::GROUP_16, &self.client_share, &mut self.entropy),
            Method::Group18 => dh::agree(&groups::GROUP_18, &self.client_share, &mut self.entropy),
            Method::Sntrup761X25519 => hybrid::sntrup761(&self.client_share, &mut self.entropy),
            Method::MlKem768X25519 => hybrid::ml_kem768(&self.client_share, &mut self.entropy),
        }?;
        let host_key = self.host_keys.public(self.host_key)?;
        let group = self.group.as_ref().map(GroupRequest::hashed).unwrap_or_default();
        let hashed = Writer::new()
            .bytes(&self.preamble)
            .string(&host_key)
            .bytes(group)
            .bytes(&agreement.client_share)
            .bytes(&agreement.server_share)
            .bytes(&agreement.secret)
            .done();
        let hash = digest::digest(self.method.hash(), &hashed).as_ref().to_vec();
        let signature = self.host_keys.sign(self.host_key, &hash, &mut self.entropy)?;
        let number = if self.method == Method::GroupExchange { message::GEX_REPLY } else { message::KEX_REPLY };
        let reply = Writer::message(number).string(&host_key).bytes(&agreement.server_share).string(signature).done();
        Some(Outcome { reply, secret: agreement.secret, hash })
    }
}

impl Outcome {
    /// As bytes, on the way back from the computation; nothing for a failure.
    pub(crate) fn to_bytes(outcome: Option<Self>) -> Vec<u8> {
        outcome.map_or_else(Vec::new, |o| Writer::new().string(o.reply).string(o.secret).string(o.hash).done())
    }

    /// Back from bytes.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let (reply, secret, hash) = (reader.string()?.to_vec(), reader.string()?.to_vec(), reader.string()?.to_vec());
        Some(Self { reply, secret, hash })
    }
}

/// The part of the exchange hash that is known before any share.
pub(crate) fn preamble(client_line: &[u8], server_line: &[u8], client_init: &[u8], server_init: &[u8]) -> Vec<u8> {
    Writer::new().string(client_line).string(server_line).string(client_init).string(server_init).done()
}

/// Who writes under the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The client: letters A, C and E.
    Client,
    /// The server: letters B, D and F.
    Server,
}

/// The keys of one direction (RFC 4253 section 7.2), for the server; `way` says what they are for.
pub(crate) fn keys(
    method: Method,
    outcome: &Outcome,
    session_id: &[u8],
    suite: Suite,
    writer: Side,
    way: Way,
) -> Option<Keys> {
    let [iv, key, mac] = match writer {
        Side::Client => *b"ACE",
        Side::Server => *b"BDF",
    };
    let derived = |letter, length| derive(method.hash(), outcome, session_id, letter, length);
    let cipher = Cipher::new(
        suite.cipher,
        way,
        &derived(key, suite.cipher.key_length()),
        &derived(iv, suite.cipher.iv_length()),
    )?;
    let mac = match suite.mac {
        Some(kind) => Some(Mac::new(kind, &derived(mac, kind.key_length()))?),
        None => None,
    };
    Some(Keys { kind: suite.cipher, cipher, mac })
}

/// `HASH(K || H || X || session_id)`, then `HASH(K || H || so far)` until long enough.
fn derive(
    hash: &'static digest::Algorithm,
    outcome: &Outcome,
    session_id: &[u8],
    letter: u8,
    length: usize,
) -> Vec<u8> {
    let start = || {
        let mut context = digest::Context::new(hash);
        context.update(&outcome.secret);
        context.update(&outcome.hash);
        context
    };
    let mut context = start();
    context.update(&[letter]);
    context.update(session_id);
    let mut bytes = context.finish().as_ref().to_vec();
    while bytes.len() < length {
        let mut context = start();
        context.update(&bytes);
        bytes.extend_from_slice(context.finish().as_ref());
    }
    bytes.truncate(length);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python's `hashlib` by the formula of RFC 4253 section 7.2.
    #[test]
    fn derives_keys_longer_than_the_hash() {
        let secret = Writer::new().mpint(b"\x80").done();
        let outcome = Outcome { reply: Vec::new(), secret, hash: (0..32).collect() };
        let session: Vec<u8> = (100..132).collect();
        let key = derive(&digest::SHA256, &outcome, &session, b'C', 72);
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = "72369a0d740b8bfaadb21eb8723bcc2909e0a49f14dfd8bbc942901054be94fa3466c049\
            02c72e20bdd88fd44d48f130713d61b1601792ac7480476ad52e0a706d7381f43ad65484";
        assert_eq!(hex, expected);
        assert_eq!(derive(&digest::SHA256, &outcome, &session, b'C', 16), key[..16]);
    }

    #[test]
    fn an_outcome_comes_back_whole_from_the_computation() {
        let outcome = || Outcome { reply: vec![31, 1], secret: vec![0, 0, 0, 0], hash: vec![7; 32] };
        let bytes = Outcome::to_bytes(Some(outcome()));
        assert_eq!(Outcome::from_bytes(&bytes), Some(outcome()));
        assert_eq!(Outcome::from_bytes(&Outcome::to_bytes(None)), None);
    }
}
