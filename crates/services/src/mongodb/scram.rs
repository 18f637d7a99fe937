//! SCRAM ([RFC 5802], [RFC 7677]) as a server that has a user of every name, and the right password of
//! none.
//!
//! ```text
//! client first  n,,n=USER,r=CLIENT
//! server first  r=CLIENT SERVER,s=SALT,i=ITERATIONS
//! client final  c=biws,r=CLIENT SERVER,p=PROOF
//! ```
//!
//! What the proof proves can be tried at leisure: with `Key = PBKDF2(password, SALT, ITERATIONS)`,
//! `ClientKey = HMAC(Key, "Client Key")` and `Signature = HMAC(H(ClientKey), AUTH_MESSAGE)`, the proof is
//! `ClientKey XOR Signature`. For SCRAM-SHA-1 MongoDB's password is the hex MD5 of `user:mongo:password`.
//!
//! LIMIT: hashcat's modes 24100 and 24200 begin from a server's stored key, which nobody has here; no
//! mode takes a proof, so the event has its parts and no line for hashcat.
//!
//! [RFC 5802]: https://www.rfc-editor.org/rfc/rfc5802
//! [RFC 7677]: https://www.rfc-editor.org/rfc/rfc7677

use std::num::NonZeroU32;

use aviary_wire::guess;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use ring::{digest, hmac, pbkdf2};

/// Words of the list that are tried; each costs thousands of hashes, though once a user only.
const TRIED: usize = 10;

/// Planted passwords that are tried, at the same cost.
pub(super) const PLANTED: usize = 16;

/// Which hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Hash {
    /// SCRAM-SHA-1.
    Sha1,
    /// SCRAM-SHA-256.
    Sha256,
}

impl Hash {
    /// Bytes of salt that the server stores, and its default iterations (`scramIterationCount` and
    /// `scramSHA256IterationCount`).
    pub(super) const fn costs(self) -> (usize, u32) {
        match self {
            Self::Sha1 => (16, 10_000),
            Self::Sha256 => (28, 15_000),
        }
    }

    fn hmac(self, key: &[u8], text: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
        };
        hmac::sign(&hmac::Key::new(algorithm, key), text).as_ref().to_vec()
    }

    fn digest(self, bytes: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
        };
        digest::digest(algorithm, bytes).as_ref().to_vec()
    }

    /// `ClientKey` of a password.
    fn client_key(self, user: &[u8], password: &[u8], salt: &[u8], iterations: u32) -> Vec<u8> {
        let (algorithm, length, secret) = match self {
            Self::Sha1 => {
                let digest = Md5::new().chain_update(user).chain_update(b":mongo:").chain_update(password).finalize();
                let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                (pbkdf2::PBKDF2_HMAC_SHA1, 20, hex.into_bytes())
            }
            Self::Sha256 => (pbkdf2::PBKDF2_HMAC_SHA256, 32, password.to_vec()),
        };
        let mut salted = vec![0; length];
        if let Some(iterations) = NonZeroU32::new(iterations) {
            pbkdf2::derive(algorithm, iterations, salt, &secret, &mut salted);
        }
        self.hmac(&salted, b"Client Key")
    }
}

/// The server's side of one conversation, after the client's first message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conversation {
    /// The hash.
    pub(super) hash: Hash,
    /// The user, unescaped.
    pub(super) user: Vec<u8>,
    /// The user's salt.
    pub(super) salt: Vec<u8>,
    /// The agreed nonce.
    nonce: Vec<u8>,
    /// The client's first message without its header, a comma, and ours.
    agreed: Vec<u8>,
}

/// A proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proof {
    /// The whole `AuthMessage`.
    pub(super) message: Vec<u8>,
    /// The proof as sent, base64.
    pub(super) sent: Vec<u8>,
}

/// The user that a client's first message names, unescaped, and the message without its header.
pub(super) fn user_of(message: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut header = message.splitn(3, |byte| *byte == b',');
    if !matches!(header.next()?, b"n" | b"y") {
        return None;
    }
    header.next()?;
    let bare = header.next()?;
    let name = bare.split(|byte| *byte == b',').next()?.strip_prefix(b"n=").filter(|name| !name.is_empty())?;
    Some((unescaped(name), bare))
}

/// `=2C` is a comma and `=3D` is `=`.
fn unescaped(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((byte, behind)) = rest.split_first() {
        (rest, _) = match behind.strip_prefix(b"2C".as_slice()).filter(|_| *byte == b'=') {
            Some(behind) => (behind, out.push(b',')),
            None => match behind.strip_prefix(b"3D".as_slice()).filter(|_| *byte == b'=') {
                Some(behind) => (behind, out.push(b'=')),
                None => (behind, out.push(*byte)),
            },
        };
    }
    out
}

impl Conversation {
    /// Answers a client's first message; `None` where the server fails the login at once. `salt` makes
    /// the salt of a user, and `random` is the server's part of the nonce.
    pub(super) fn begin(
        hash: Hash,
        message: &[u8],
        salt: impl FnOnce(&[u8]) -> Vec<u8>,
        random: [u8; 24],
    ) -> Option<(Self, Vec<u8>)> {
        let (user, bare) = user_of(message)?;
        // A nonce of four bytes at least, as the server wants it.
        let client = bare.split(|byte| *byte == b',').nth(1)?.strip_prefix(b"r=").filter(|nonce| nonce.len() >= 4)?;
        let salt = salt(&user);
        let nonce = [client, STANDARD.encode(random).as_bytes()].concat();
        let (_, iterations) = hash.costs();
        let mut answer = [b"r=", nonce.as_slice()].concat();
        answer.extend_from_slice(format!(",s={},i={iterations}", STANDARD.encode(&salt)).as_bytes());
        let agreed = [bare, b",", &answer].concat();
        Some((Self { hash, user, salt, nonce, agreed }, answer))
    }

    /// Reads a client's final message; `None` when it is not one that belongs to this conversation.
    pub(super) fn finish(&self, message: &[u8]) -> Option<Proof> {
        let comma = message.iter().rposition(|byte| *byte == b',')?;
        let (without_proof, rest) = message.split_at_checked(comma)?;
        let proof = rest.strip_prefix(b",p=").filter(|proof| !proof.is_empty())?;
        let mut fields = without_proof.split(|byte| *byte == b',');
        fields.next()?.strip_prefix(b"c=")?;
        let nonce = fields.next()?.strip_prefix(b"r=")?;
        let message = [self.agreed.as_slice(), b",", without_proof].concat();
        (nonce == self.nonce).then(|| Proof { message, sent: proof.to_vec() })
    }

    /// The keys of planted passwords and of those that everybody tries, for [`guess`].
    pub(super) fn candidates(&self, planted: &[Vec<u8>]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let (_, iterations) = self.hash.costs();
        let listed =
            guess::WORDS.iter().filter(|word| !word.is_empty()).take(TRIED).map(|word| word.as_bytes().to_vec());
        planted
            .iter()
            .cloned()
            .chain(guess::of_user(&self.user))
            .chain(listed)
            .map(|word| {
                let key = self.hash.client_key(&self.user, &word, &self.salt, iterations);
                (word, key)
            })
            .collect()
    }
}

/// The candidate that a proof was made with.
pub(super) fn guess(hash: Hash, candidates: &[(Vec<u8>, Vec<u8>)], proof: &Proof) -> Option<Vec<u8>> {
    let sent = STANDARD.decode(&proof.sent).ok()?;
    let found = candidates.iter().find(|(_, key)| {
        let signature = hash.hmac(&hash.digest(key), &proof.message);
        signature.len() == sent.len() && signature.iter().zip(key).map(|(a, b)| a ^ b).eq(sent.iter().copied())
    });
    found.map(|(word, _)| word.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_exchanges_are_those_of_the_published_password() {
        // RFC 5802, section 5, and RFC 7677, section 3, with user `user` and password `pencil`.
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let key = Hash::Sha256.client_key(b"user", b"pencil", &salt, 4096);
        let proof = Proof {
            message: b"n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
                .to_vec(),
            sent: b"dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=".to_vec(),
        };
        assert_eq!(guess(Hash::Sha256, &[(b"pencil".to_vec(), key)], &proof).as_deref(), Some(b"pencil".as_slice()));
        // MongoDB's specification of its drivers: user `user`, password `pencil`.
        let salt = STANDARD.decode("rQ9ZY3MntBeuP3E1TDVC4w==").unwrap();
        let key = Hash::Sha1.client_key(b"user", b"pencil", &salt, 10_000);
        let proof = Proof {
            message: b"n=user,r=fyko+d2lbbFgONRv9qkxdawL,r=fyko+d2lbbFgONRv9qkxdawLHo+Vgk7qvUOKUwuWLIWg4l/9SraGMHEE,\
                s=rQ9ZY3MntBeuP3E1TDVC4w==,i=10000,c=biws,\
                r=fyko+d2lbbFgONRv9qkxdawLHo+Vgk7qvUOKUwuWLIWg4l/9SraGMHEE"
                .to_vec(),
            sent: b"MC2T8BvbmWRckDw8oWl5IVghwCY=".to_vec(),
        };
        assert_eq!(guess(Hash::Sha1, &[(b"pencil".to_vec(), key)], &proof).as_deref(), Some(b"pencil".as_slice()));
    }

    fn begin(message: &[u8]) -> Option<(Conversation, Vec<u8>)> {
        Conversation::begin(Hash::Sha1, message, |_| vec![7; 16], [1; 24])
    }

    #[test]
    fn answers_a_first_message_and_reads_a_final_one() {
        let (talk, answer) = begin(b"n,,n=a=2Cb=3Dc=,r=abcd").unwrap();
        assert_eq!(talk.user, b"a,b=c=");
        let nonce = "abcdAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";
        assert_eq!(answer, format!("r={nonce},s=BwcHBwcHBwcHBwcHBwcHBw==,i=10000").into_bytes());
        let proof = talk.finish(format!("c=biws,r={nonce},p=AAAA").as_bytes()).unwrap();
        assert_eq!(proof.sent, b"AAAA");
        let agreed = format!("n=a=2Cb=3Dc=,r=abcd,r={nonce},s=BwcHBwcHBwcHBwcHBwcHBw==,i=10000,c=biws,r={nonce}");
        assert_eq!(proof.message, agreed.into_bytes());
        for bad in ["", "c=biws,r=other,p=AA", "c=biws,p=AA", "r=x,c=y,p=AA", "c=biws,r=,p=", "c=biws"] {
            assert_eq!(talk.finish(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn refuses_first_messages_that_the_server_refuses() {
        for bad in [
            "",
            "n",
            "n,",
            "p=tls-unique,,n=a,r=abcd",
            "x,,n=a,r=abcd",
            "n,,r=abcd,n=a",
            "n,,n=,r=abcd",
            "n,,n=a,r=abc",
            "n,,n=a",
        ] {
            assert_eq!(begin(bad.as_bytes()), None, "{bad}");
        }
        assert!(begin(b"y,a=x,n=a,r=abcd,ext").is_some());
    }
}
