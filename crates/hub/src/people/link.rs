//! One-time links: with which the first admin is made, and others set their passwords.

use std::net::IpAddr;

use aviary_store::Document;
use serde::{Deserialize, Serialize};

use super::limit::Key;
use super::person::{self, Body};
use super::{People, PersonError, Role, SignedIn, name_of, password, random, secret};
use crate::access::{hex, key};

/// The kind of their documents; a key is the token's hash.
const KIND: &str = "link";

const HOUR: i64 = 3600 * 1_000_000;
/// How long a link can be used: the first admin's, and others'.
const FIRST: i64 = 24 * HOUR;
const OTHERS: i64 = 72 * HOUR;

/// What is stored of a link.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Stored {
    /// Whose password it sets; nobody's for the first admin's link.
    person: Option<String>,
    /// Microseconds since 1970.
    expires: i64,
}

/// What a link is opened with.
#[derive(Clone, Copy)]
pub struct Link<'a> {
    /// The token in it.
    pub token: &'a str,
    /// The name that the first admin chooses; anybody else's is known.
    pub name: Option<&'a str>,
    /// The password.
    pub password: &'a str,
    /// The address that they come from.
    pub address: IpAddr,
}

impl People {
    /// Makes the token of the link for the first admin, if there is nobody yet. One that was made before ends.
    ///
    /// # Errors
    /// When the store takes nothing or the system gives no randomness.
    pub async fn first_link(&self) -> Result<Option<String>, PersonError> {
        if !self.is_empty().await? {
            return Ok(None);
        }
        self.make_link(None, "hub").await.map(Some)
    }

    /// Makes a link's token. One that was made for the same person before ends.
    pub(super) async fn make_link(&self, person: Option<&str>, by: &str) -> Result<String, PersonError> {
        self.remove_links(person).await?;
        let (text, key) = secret()?;
        let span = if person.is_some() { OTHERS } else { FIRST };
        let body = Stored { person: person.map(str::to_owned), expires: self.now().as_micros().saturating_add(span) };
        let body = serde_json::to_value(body).unwrap_or_default();
        self.put(Document { kind: KIND.to_owned(), key, version: 0, body }, by).await?;
        Ok(text)
    }

    /// Removes the links of a person, and all that are too old.
    pub(super) async fn remove_links(&self, person: Option<&str>) -> Result<(), PersonError> {
        let now = self.now().as_micros();
        for document in self.store.documents(KIND).await? {
            let body: Option<Stored> = serde_json::from_value(document.body.clone()).ok();
            if body.is_none_or(|body| body.person.as_deref() == person || body.expires <= now) {
                // Another one may have removed it in between.
                let _ = self.store.forget(document).await?;
            }
        }
        Ok(())
    }

    /// Opens a link: sets the password, makes the first admin if it is that link, and signs in. It works once.
    ///
    /// # Errors
    /// When the link is none, or name or password are not good enough; then it can still be used.
    pub async fn open_link(&self, link: Link<'_>) -> Result<SignedIn, PersonError> {
        let keys = [Key::address(link.address)];
        self.limits.take(&keys, self.now().as_micros()).map_err(|seconds| PersonError::Limited { seconds })?;
        let document = self.store.document(KIND, &key(link.token)).await?.ok_or(PersonError::Link)?;
        let body: Stored = serde_json::from_value(document.body.clone()).map_err(|_| PersonError::Link)?;
        if body.expires <= self.now().as_micros() {
            return Err(PersonError::Link);
        }
        self.limits.give_back(&keys);
        let given = link.name.filter(|name| !name.is_empty());
        let name = match body.person {
            None => name_of(given.unwrap_or_default())?,
            Some(name) if given.is_none_or(|given| name_of(given).is_ok_and(|given| given == name)) => name,
            Some(name) => return Err(PersonError::OthersLink { name }),
        };
        password::check(link.password, &name)?;
        let is_first = document_is_first(&document);
        let hash = self.hashes.make(link.password).await?;
        let _changing = self.changing.lock().await;
        let (old, mut body) = if is_first {
            if !self.is_empty().await? {
                return Err(PersonError::Link);
            }
            let body = Body { role: Role::Admin, password: None, totp: None, epoch: String::new() };
            (person::document(&name, 0, &body), body)
        } else {
            self.one(&name).await?
        };
        body.password = Some(hash);
        body.epoch = hex(&random::<16>()?);
        // First the link: whoever removes it is the one who opened it.
        if self.store.remove(document, name.clone(), self.now()).await?.is_err() {
            return Err(PersonError::Link);
        }
        self.change(old, &body, &name).await?;
        self.open_session(&name, &body, link.address).await
    }
}

fn document_is_first(document: &Document) -> bool {
    document.body.get("person").is_none_or(serde_json::Value::is_null)
}
