//! Honeycreds: logins planted elsewhere, whose use here is worth a louder alarm.
//!
//! An entry names a user, a password or both; what it does not name matches anything, as in
//! OpenCanary. A password is plain, or a hash in one of passlib's forms.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha_crypt::{PasswordHash, PasswordVerifier, ShaCrypt};
use sha2::{Sha256, Sha512};

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Longest password that is hashed, in bytes: passlib's limit. SHA-crypt's cost grows with the
/// square of the length, so a peer could buy minutes of our time with one long password.
const LONGEST_PASSWORD: usize = 4096;

/// Most rounds of a hash: each login attempt computes them all.
const MOST_ROUNDS: u32 = 10_000_000;

/// Greatest cost of a bcrypt hash, about as long.
const GREATEST_COST: u32 = 20;

/// passlib's alphabet writes `.` for `+`, which is put right before decoding.
const NO_PADDING: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// The honeycreds of a service.
#[derive(Clone, Debug, Default)]
pub struct HoneyCreds {
    entries: Vec<HoneyCred>,
}

#[derive(Clone, Debug)]
struct HoneyCred {
    username: Option<Vec<u8>>,
    password: Option<Secret>,
}

/// A password as an entry gives it.
#[derive(Clone)]
enum Secret {
    Plain(Vec<u8>),
    Pbkdf2 { rounds: u32, salt: Vec<u8>, hash: [u8; 64] },
    Bcrypt(String),
    ShaCrypt(PasswordHash),
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Why an entry is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadHoneyCred {
    /// Not an object.
    #[error("is not an object; accepted: {{\"username\": \"...\", \"password\": \"...\"}}")]
    NotAnObject,
    /// A field that is not text.
    #[error("has a `{field}` that is not text; put it in double quotes")]
    NotText {
        /// The field.
        field: &'static str,
    },
    /// Neither user nor password.
    #[error("names neither `username` nor `password`, so it would match every login")]
    Empty,
    /// A hash that cannot be read.
    #[error("has a password hash that is not readable: {reason}")]
    Hash {
        /// What is wrong with it.
        reason: String,
    },
}

impl HoneyCreds {
    /// Reads a list; entries of no use come back with their index.
    #[must_use]
    pub fn parse(items: &[Value]) -> (Self, Vec<(usize, BadHoneyCred)>) {
        let mut creds = Self::default();
        let mut faults = Vec::new();
        for (at, item) in items.iter().enumerate() {
            match HoneyCred::parse(item) {
                Ok(entry) => creds.entries.push(entry),
                Err(fault) => faults.push((at, fault)),
            }
        }
        (creds, faults)
    }

    /// Whether there are none; events then carry no `honeycred`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether [`matches`](Self::matches) takes microseconds. With hashed passwords it takes from
    /// milliseconds to seconds, and belongs off the event loop.
    #[must_use]
    pub fn is_cheap(&self) -> bool {
        self.entries.iter().all(|entry| matches!(entry.password, None | Some(Secret::Plain(_))))
    }

    /// Whether a login is one of them. A password is hashed only where the user fits, as real
    /// systems do, so that guessing at other users costs nothing.
    #[must_use]
    pub fn matches(&self, username: &[u8], password: &[u8]) -> bool {
        self.entries.iter().any(|entry| entry.matches(username, password))
    }
}

impl HoneyCreds {
    /// The passwords that stand there in clear, for services that see only a response made with one.
    pub fn plain_passwords(&self) -> impl Iterator<Item = &[u8]> {
        self.entries.iter().filter_map(|entry| match &entry.password {
            Some(Secret::Plain(password)) => Some(password.as_slice()),
            _ => None,
        })
    }

    /// Whether [`matches`](Self::matches) would hash a password of this user.
    #[must_use]
    pub fn hashes_for(&self, username: &[u8]) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.fits(username) && !matches!(entry.password, None | Some(Secret::Plain(_))))
    }

    /// Does the work of the dearest login with this password: to learn what that takes, or to take as long.
    pub fn rehearse(&self, password: &[u8]) {
        for secret in self.entries.iter().filter_map(|entry| entry.password.as_ref()) {
            let _ = secret.matches(password);
        }
    }
}

impl HoneyCred {
    fn parse(item: &Value) -> Result<Self, BadHoneyCred> {
        let object = item.as_object().ok_or(BadHoneyCred::NotAnObject)?;
        let text = |field: &'static str| match object.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(BadHoneyCred::NotText { field }),
        };
        let username = text("username")?.map(|name| name.as_bytes().to_vec());
        let password = text("password")?
            .map(|text| Secret::parse(text).map_err(|reason| BadHoneyCred::Hash { reason }))
            .transpose()?;
        if username.is_none() && password.is_none() {
            return Err(BadHoneyCred::Empty);
        }
        Ok(Self { username, password })
    }

    fn fits(&self, username: &[u8]) -> bool {
        self.username.as_ref().is_none_or(|name| same(name, username))
    }

    fn matches(&self, username: &[u8], password: &[u8]) -> bool {
        self.fits(username) && self.password.as_ref().is_none_or(|secret| secret.matches(password))
    }
}

impl Secret {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(rest) = text.strip_prefix("$pbkdf2-sha512$") {
            return pbkdf2_sha512(rest);
        }
        if text.starts_with("$6$") || text.starts_with("$5$") {
            return sha_crypt(text);
        }
        if text.starts_with("$2$") || text.starts_with("$2x$") {
            return Err("this old form of bcrypt is broken; accepted: $2a$, $2b$ and $2y$".into());
        }
        if ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| text.starts_with(prefix)) {
            return bcrypt_hash(text);
        }
        Ok(Self::Plain(text.as_bytes().to_vec()))
    }

    fn matches(&self, password: &[u8]) -> bool {
        if let Self::Plain(plain) = self {
            return same(plain, password);
        }
        if password.len() > LONGEST_PASSWORD {
            return false;
        }
        match self {
            Self::Plain(_) => false,
            Self::Pbkdf2 { rounds, salt, hash } => {
                let mut computed = [0; 64];
                let done = pbkdf2::pbkdf2::<Hmac<Sha512>>(password, salt, *rounds, &mut computed);
                done.is_ok() && same(&computed, hash)
            }
            // What follows a NUL byte would not count in bcrypt; such a password is no match, as in passlib.
            Self::Bcrypt(hash) => !password.contains(&0) && bcrypt::verify(password, hash).unwrap_or(false),
            Self::ShaCrypt(hash) => ShaCrypt::default().verify_password(password, hash).is_ok(),
        }
    }
}

/// `rounds$salt$hash`, both in passlib's base64.
fn pbkdf2_sha512(rest: &str) -> Result<Secret, String> {
    let parts: Vec<&str> = rest.split('$').collect();
    let [rounds, salt, hash] = parts[..] else {
        return Err("accepted: $pbkdf2-sha512$rounds$salt$hash".into());
    };
    let rounds = rounds_of(rounds)?;
    let decode = |text: &str| NO_PADDING.decode(text.replace('.', "+"));
    let salt = decode(salt).map_err(|_| "the salt is not in passlib's base64")?;
    let hash = decode(hash).map_err(|_| "the hash is not in passlib's base64")?;
    let hash = hash.try_into().map_err(|_| "the hash is not 64 bytes long")?;
    Ok(Secret::Pbkdf2 { rounds, salt, hash })
}

/// `$6$salt$hash` or `$6$rounds=n$salt$hash`, and the same with `$5$`.
fn sha_crypt(text: &str) -> Result<Secret, String> {
    let mut parts: Vec<&str> = text.split('$').skip(2).collect();
    if let Some(rounds) = parts.first().and_then(|part| part.strip_prefix("rounds=")) {
        if rounds_of(rounds)? < 1000 {
            return Err("less than 1000 rounds".into());
        }
        parts.remove(0);
    }
    let [salt, hash] = parts[..] else {
        return Err("accepted: $6$salt$hash or $6$rounds=n$salt$hash".into());
    };
    if salt.is_empty() || salt.len() > 16 {
        return Err("the salt is not 1 to 16 characters long".into());
    }
    let length = if text.starts_with("$5$") { 43 } else { 86 };
    if hash.len() != length {
        return Err(format!("the hash is not {length} characters long"));
    }
    let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'/';
    if !hash.bytes().all(known) {
        return Err("the hash holds characters that no such hash has".into());
    }
    PasswordHash::new(text).map(Secret::ShaCrypt).map_err(|_| "the salt holds characters that no salt has".into())
}

fn bcrypt_hash(text: &str) -> Result<Secret, String> {
    let parts: bcrypt::HashParts =
        text.parse().map_err(|_| "a bcrypt hash is 60 characters long: $2b$, cost, $, salt and hash")?;
    if !(4..=GREATEST_COST).contains(&parts.get_cost()) {
        return Err(format!("the cost is not from 4 to {GREATEST_COST}"));
    }
    Ok(Secret::Bcrypt(text.to_owned()))
}

fn rounds_of(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(rounds) if (1..=MOST_ROUNDS).contains(&rounds) && !text.starts_with(['0', '+']) => Ok(rounds),
        _ => Err(format!("the rounds are not a number from 1 to {MOST_ROUNDS}")),
    }
}

/// Whether a password looks like a hash of a kind that is compared as plain text.
pub(crate) fn is_foreign_hash(password: &str) -> bool {
    let parts: Vec<&str> = password.split('$').collect();
    parts.len() >= 4
        && parts[0].is_empty()
        && !parts[1].is_empty()
        && matches!(Secret::parse(password), Ok(Secret::Plain(_)))
}

/// Equality whose time says nothing about where two texts differ: their MACs are compared by the library.
fn same(expected: &[u8], given: &[u8]) -> bool {
    let mac = |text: &[u8]| Hmac::<Sha256>::new_from_slice(b"aviary").map(|mac| mac.chain_update(text));
    match (mac(expected), mac(given)) {
        (Ok(expected), Ok(given)) => given.verify(&expected.finalize().into_bytes()).is_ok(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
