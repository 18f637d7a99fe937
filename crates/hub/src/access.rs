//! Who may do what: tokens, and what they allow.

use aviary_event::Timestamp;
use aviary_store::{Document, PutError, Store, StoreError};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::Source;

/// The kind of their documents.
pub(crate) const KIND: &str = "token";

/// What a token begins with, so that whoever finds one in a file knows what it is.
const PREFIX: &str = "avt_";

/// Something that somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Send events, as one sensor.
    Ingest,
    /// See everything but secrets.
    Read,
    /// Decide on incidents, suppress.
    Act,
    /// Change everything else.
    Administer,
}

impl Scope {
    /// Each.
    pub const ALL: [Self; 4] = [Self::Ingest, Self::Read, Self::Act, Self::Administer];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Read => "read",
            Self::Act => "act",
            Self::Administer => "administer",
        }
    }

    /// The scope of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.word() == word)
    }
}

/// A token as it is stored: not itself, but its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// What it is for, in people's words.
    pub name: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// The sensor that it stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensor: Option<String>,
    /// Where the sensor stands.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub site: String,
    /// The `node_id`s that its lines may have; any if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
}

impl Token {
    /// What a sensor's certificate allows.
    #[must_use]
    pub fn of_sensor(source: Source) -> Self {
        let Source { sensor, site, nodes } = source;
        Self { name: sensor.clone(), scopes: vec![Scope::Ingest], sensor: Some(sensor), site, nodes }
    }

    /// The source that it stands for, if it may send events.
    #[must_use]
    pub fn source(&self) -> Option<Source> {
        let sensor = self.sensor.as_ref().filter(|_| self.scopes.contains(&Scope::Ingest))?;
        Some(Source { sensor: sensor.clone(), site: self.site.clone(), nodes: self.nodes.clone() })
    }
}

/// Why a token is not made.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The system gives no randomness.
    #[error("the system gives no randomness: {reason}")]
    NoRandomness {
        /// In its words.
        reason: String,
    },
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The same token exists.
    #[error("the token exists already")]
    Exists,
}

/// Makes a token of 256 random bits, stores its hash, and gives it. Nobody can read it again.
///
/// # Errors
/// When the system gives no randomness or the store takes nothing.
pub async fn make_token(store: &dyn Store, token: &Token, by: &str, now: Timestamp) -> Result<String, TokenError> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| TokenError::NoRandomness { reason: error.to_string() })?;
    let text = format!("{PREFIX}{}", hex(&secret));
    let mut body = serde_json::to_value(token).unwrap_or_default();
    if let Some(members) = body.as_object_mut() {
        members.insert("created".to_owned(), now.as_micros().into());
    }
    let document = Document { kind: KIND.to_owned(), key: key(&text), version: 0, body };
    match store.put(document, by.to_owned(), now).await? {
        Ok(_) => Ok(text),
        Err(PutError::Conflict { .. }) => Err(TokenError::Exists),
    }
}

/// The token that a text is. The hash is what is looked up, so that how long it takes tells nothing of the token.
///
/// # Errors
/// When the store cannot be read.
pub async fn find_token(store: &dyn Store, text: &str) -> Result<Option<Token>, StoreError> {
    if !text.starts_with(PREFIX) {
        return Ok(None);
    }
    let found = store.document(KIND, &key(text)).await?;
    Ok(found.and_then(|document| serde_json::from_value(document.body).ok()))
}

/// Whether a token has this name: it must be clear who an entry of the audit log means.
pub(crate) async fn is_token_name(store: &dyn Store, name: &str) -> Result<bool, StoreError> {
    let named = |document: &Document| document.body.get("name").is_some_and(|other| other == name);
    Ok(store.documents(KIND).await?.iter().any(named))
}

pub(crate) fn key(text: &str) -> String {
    hex(&Sha256::digest(text))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}
