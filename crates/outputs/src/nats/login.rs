//! Who a NATS client says it is: token, user and password, an nkey, or a file of credentials.
//!
//! An nkey is an Ed25519 key in base32. A seed is `prefix(5) kind(5) 000000 | 32 bytes | CRC-16`, a
//! public key `kind(5) 000 | 32 bytes | CRC-16`; the checksum is XMODEM's, little-endian. The letter that
//! comes out first names the kind: `SU` and `U` for users. Source:
//! <https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro/nkey_auth>.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use aviary_output::Rejection;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Map, Value};

use crate::options::Options;

/// The kind of users' keys.
const USER: u8 = 20 << 3;

/// The first five bits of a seed.
const SEED: u8 = 18 << 3;

/// RFC 4648, table 3.
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Bytes of a file of credentials that are read; such a file has some 1000.
const FILE: u64 = 64 * 1024;

/// How a client logs in. Its text is secret and is not shown.
pub(super) enum Login {
    None,
    Token(String),
    User {
        user: String,
        password: String,
    },
    Key(Key),
    /// Read at each connection, since such files are renewed.
    File(PathBuf),
}

impl Login {
    /// Reads `token`, `user` and `password`, `nkey` or `credentials`.
    pub(super) fn read(options: Options<'_>) -> Result<Self, Rejection> {
        let secret = |key: &str, accepted: &str| match options.get(key).map(Value::as_str) {
            None => Ok(None),
            // The value is not repeated, since it may be a secret.
            Some(Some(text)) if !text.is_empty() && !text.contains(char::is_control) => Ok(Some(text.to_owned())),
            Some(_) => Err(Rejection::new(key, format!("takes {accepted}"))),
        };
        let mut logins = Vec::new();
        if let Some(token) = secret("token", "a token on one line")? {
            logins.push(Self::Token(token));
        }
        let user = secret("user", "a name on one line")?;
        let password = secret("password", "text on one line")?;
        match (user, password) {
            (Some(user), password) => logins.push(Self::User { user, password: password.unwrap_or_default() }),
            (None, Some(_)) => return Err(Rejection::new("user", "is missing beside `password`; it takes a name")),
            (None, None) => {}
        }
        let accepted = "the seed of a user, which begins with `SU`";
        if let Some(seed) = secret("nkey", accepted)? {
            let key = Key::of(&seed).ok_or_else(|| Rejection::new("nkey", format!("takes {accepted}")))?;
            logins.push(Self::Key(key));
        }
        if let Some(path) = secret("credentials", "the path of a `.creds` file")? {
            logins.push(Self::File(PathBuf::from(path)));
        }
        match (logins.pop(), logins.is_empty()) {
            (None, _) => Ok(Self::None),
            (Some(login), true) => Ok(login),
            (Some(_), false) => Err(Rejection::new(
                "user",
                "is one login of several; it takes one of `token`, `user` with `password`, `nkey` and `credentials`",
            )),
        }
    }

    /// The keys of `CONNECT` that prove it; `nonce` is the server's.
    pub(super) async fn fields(&self, nonce: &str) -> Result<Map<String, Value>, String> {
        let mut fields = Map::new();
        let mut put = |name: &str, text: String| fields.insert(name.to_owned(), Value::from(text));
        match self {
            Self::None => {}
            Self::Token(token) => {
                put("auth_token", token.clone());
            }
            Self::User { user, password } => {
                put("user", user.clone());
                put("pass", password.clone());
            }
            Self::Key(key) => {
                put("nkey", key.public());
                put("sig", key.sign(nonce));
            }
            Self::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || credentials(&path)).await;
                let (jwt, key) = read.map_err(|error| error.to_string())??;
                put("jwt", jwt);
                put("sig", key.sign(nonce));
            }
        }
        Ok(fields)
    }
}

/// The JWT and the key of a file of credentials.
fn credentials(path: &Path) -> Result<(String, Key), String> {
    let named = |reason: &str| format!("`{}`: {reason}", path.display());
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| named(&error.to_string()))?;
    file.take(FILE).read_to_string(&mut text).map_err(|error| named(&error.to_string()))?;
    let part = |title: &str| {
        let (_, after) = text.split_once(&format!("-----BEGIN {title}-----"))?;
        after.lines().map(str::trim).find(|line| !line.is_empty())
    };
    let jwt = part("NATS USER JWT").ok_or_else(|| named("holds no user's JWT"))?;
    let key = part("USER NKEY SEED").and_then(Key::of).ok_or_else(|| named("holds no user's seed"))?;
    Ok((jwt.to_owned(), key))
}

/// A user's nkey.
pub(super) struct Key(Ed25519KeyPair);

impl Key {
    /// Reads a seed.
    fn of(seed: &str) -> Option<Self> {
        let bytes: [u8; 36] = decode(seed.trim())?.try_into().ok()?;
        let (checked, sum) = bytes.split_at(34);
        let kind = (bytes[0] & 0b111) << 5 | (bytes[1] & 0b1111_1000) >> 3;
        let is_ours = bytes[0] & 0b1111_1000 == SEED && kind == USER && sum == crc(checked).to_le_bytes();
        let secret = checked.get(2..).filter(|_| is_ours)?;
        Ed25519KeyPair::from_seed_unchecked(secret).ok().map(Self)
    }

    fn public(&self) -> String {
        let mut bytes = vec![USER];
        bytes.extend_from_slice(self.0.public_key().as_ref());
        bytes.extend_from_slice(&crc(&bytes).to_le_bytes());
        encode(&bytes)
    }

    fn sign(&self, nonce: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.0.sign(nonce.as_bytes()))
    }
}

/// CRC-16/XMODEM: polynomial 0x1021, from 0.
fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 })
    })
}

/// Base32 without padding.
fn decode(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0_u32, 0);
    for letter in text.bytes() {
        let value = ALPHABET.iter().position(|known| *known == letter)?;
        held = (held << 5 | u32::try_from(value).ok()?) & 0xfff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff).ok()?);
        }
    }
    Some(bytes)
}

fn encode(bytes: &[u8]) -> String {
    let bit = |at: usize| bytes.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1);
    let letter = |first: usize| {
        let value = (first..first + 5).fold(0, |value, at| value << 1 | usize::from(bit(at)));
        ALPHABET.get(value).copied().map_or('A', char::from)
    };
    (0..bytes.len() * 8).step_by(5).map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The bytes 0 to 31 as a user's seed, and the public key of it, by Python's `base64`, `binascii.crc_hqx` and `cryptography`.
    const PAIR: (&str, &str) = (
        "SUAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4H776Y",
        "UAB2CB576PHBBPQ5ODORRZ2LYCMWPZGWGCN2KDK7DXOIMZASKUY3RLKK",
    );

    #[test]
    fn reads_seeds_and_names_their_public_key() {
        let key = Key::of(PAIR.0).expect("a seed");
        assert_eq!(key.public(), PAIR.1);
        let public = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, key.0.public_key());
        let signature = URL_SAFE_NO_PAD.decode(key.sign("nonce")).expect("base64");
        assert!(public.verify(b"nonce", &signature).is_ok());
    }

    #[test]
    fn rejects_seeds_that_are_none() {
        let mut wrong = PAIR.0.to_owned();
        wrong.replace_range(20..21, if wrong.get(20..21) == Some("A") { "B" } else { "A" });
        // Of an account; a wrong checksum; too short; a public key; other letters.
        for seed in [&PAIR.0.replacen("SU", "SA", 1), &wrong, &PAIR.0[..57], PAIR.1, "su", "", "1"] {
            assert!(Key::of(seed).is_none(), "{seed}");
        }
    }

    fn read(options: &Value) -> Result<Login, String> {
        let Value::Object(map) = options else { return Err("no object".to_owned()) };
        Login::read(Options(map)).map_err(|rejection| rejection.to_string())
    }

    #[tokio::test]
    async fn each_login_has_its_fields() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("user.creds");
        let text = format!(
            "-----BEGIN NATS USER JWT-----\neyJ0.e30.c2ln\n------END NATS USER JWT------\n\n*** IMPORTANT ***\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            PAIR.0
        );
        std::fs::write(&path, text).expect("a file");
        let signature = Key::of(PAIR.0).expect("a seed").sign("n0nce");
        for (options, expected) in [
            (json!({}), json!({})),
            (json!({"token": "t"}), json!({"auth_token": "t"})),
            (json!({"user": "u", "password": "p"}), json!({"user": "u", "pass": "p"})),
            (json!({"nkey": PAIR.0}), json!({"nkey": PAIR.1, "sig": signature})),
            (json!({"credentials": path}), json!({"jwt": "eyJ0.e30.c2ln", "sig": signature})),
        ] {
            let login = read(&options).unwrap_or_else(|error| panic!("{options}: {error}"));
            assert_eq!(login.fields("n0nce").await.map(Value::from), Ok(expected));
        }
        let login = read(&json!({"credentials": folder.path().join("absent")})).unwrap_or(Login::None);
        assert!(login.fields("").await.is_err_and(|error| error.contains("absent`: No such file")));
    }

    #[test]
    fn mistakes_are_named_and_secrets_are_not() {
        for (options, message) in [
            (json!({"nkey": "SUAHEM"}), "`nkey`: takes the seed of a user, which begins with `SU`"),
            (json!({"password": "hush"}), "`user`: is missing beside `password`; it takes a name"),
            (json!({"token": "hush\n"}), "`token`: takes a token on one line"),
            (json!({"token": "hush", "user": "u"}), "`user`: is one login of several"),
        ] {
            let error = read(&options).err().unwrap_or_default();
            assert!(error.starts_with(message) && !error.contains("hush"), "{error}");
        }
    }
}
