//! Tokens of programs: which there are, and when each was used last.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aviary_event::Timestamp;
use aviary_store::Document;
use serde_json::json;

use super::{People, PersonError, person};
use crate::access::{self, KIND};
use crate::{Token, TokenError};

/// The kind of documents that say when a token was used last.
const NOTED: &str = "token_noted";
/// How often it is noted, in microseconds.
const NOTED_EACH: i64 = 300 * 1_000_000;
/// Tokens whose last note is remembered.
const REMEMBERED: usize = 10_000;

/// When the use of a token was noted last, so that few requests write.
#[derive(Debug, Default)]
pub(super) struct Uses(Mutex<HashMap<String, i64>>);

impl Uses {
    /// Whether it is time to note it again.
    fn is_due(&self, key: &str, now: i64) -> bool {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if uses.get(key).is_some_and(|at| now.saturating_sub(*at) < NOTED_EACH) {
            return false;
        }
        if uses.len() >= REMEMBERED {
            uses.clear();
        }
        uses.insert(key.to_owned(), now);
        true
    }
}

/// A token as it is listed: not itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedToken {
    /// What it is removed by.
    pub key: String,
    /// What it is and allows.
    pub token: Token,
    /// When it was made; nothing for those of older versions.
    pub created: Option<Timestamp>,
    /// When it was used last, to some minutes.
    pub last_used: Option<Timestamp>,
}

impl People {
    /// The token that a text is, with what it is removed by. Its use is noted.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn token(&self, text: &str) -> Result<Option<(String, Token)>, PersonError> {
        let Some(token) = access::find_token(self.store.as_ref(), text).await? else { return Ok(None) };
        let (key, now) = (access::key(text), self.now().as_micros());
        if self.uses.is_due(&key, now) {
            let version = self.store.document(NOTED, &key).await?.map_or(0, |document| document.version);
            let document =
                Document { kind: NOTED.to_owned(), key: key.clone(), version, body: json!({ "last_used": now }) };
            // Not worth a request: on a full disk what can be read is still read.
            if let Err(error) = self.store.keep(document).await {
                tracing::debug!(%error, "a token's use is not noted");
            }
        }
        Ok(Some((key, token)))
    }

    /// Whether there is still the token that is removed by this.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn is_token(&self, key: &str) -> Result<bool, PersonError> {
        Ok(self.store.document(KIND, key).await?.is_some())
    }

    /// All tokens, by name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn tokens(&self) -> Result<Vec<ListedToken>, PersonError> {
        let noted = self.store.documents(NOTED).await?;
        let moment = |document: &Document, field: &str| {
            document.body.get(field).and_then(serde_json::Value::as_i64).map(Timestamp::from_micros)
        };
        let read = |document: Document| {
            let created = moment(&document, "created");
            let noted = noted.iter().find(|noted| noted.key == document.key);
            let token = serde_json::from_value(document.body).ok()?;
            let last_used = noted.and_then(|noted| moment(noted, "last_used"));
            Some(ListedToken { key: document.key, token, created, last_used })
        };
        let mut all: Vec<ListedToken> = self.store.documents(KIND).await?.into_iter().filter_map(read).collect();
        all.sort_by(|one, other| one.token.name.cmp(&other.token.name).then_with(|| one.key.cmp(&other.key)));
        Ok(all)
    }

    /// Makes a token; gives it, and what it is listed as.
    ///
    /// # Errors
    /// When a person has its name, so that the audit log would not tell them apart.
    pub async fn make_token(&self, token: Token, by: &str) -> Result<(String, ListedToken), PersonError> {
        let name = token.name.trim().to_lowercase();
        if name == "hub" || self.store.document(person::KIND, &name).await?.is_some() {
            return Err(PersonError::Exists { name });
        }
        let now = self.now();
        let text = access::make_token(self.store.as_ref(), &token, by, now).await.map_err(|error| match error {
            TokenError::NoRandomness { reason } => PersonError::NoRandomness { reason },
            TokenError::Store(error) => error.into(),
            TokenError::Exists => PersonError::Changed,
        })?;
        let listed = ListedToken { key: access::key(&text), token, created: Some(now), last_used: None };
        Ok((text, listed))
    }

    /// Removes a token: from now on nobody knows it.
    ///
    /// # Errors
    /// When there is none.
    pub async fn revoke_token(&self, key: &str, by: &str) -> Result<(), PersonError> {
        let missing = || PersonError::MissingToken;
        let document = self.store.document(KIND, key).await?.ok_or_else(missing)?;
        self.store.remove(document, by.to_owned(), self.now()).await??;
        if let Some(noted) = self.store.document(NOTED, key).await? {
            let _ = self.store.forget(noted).await?;
        }
        Ok(())
    }
}
