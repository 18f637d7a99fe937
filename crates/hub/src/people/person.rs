//! Persons as they are stored, and what an admin does with them.

use aviary_store::Document;
use serde::{Deserialize, Serialize};

use super::limit::Key;
use super::{People, PersonError, Role, name_of, random};
use crate::access::hex;

/// The kinds of documents: who somebody is, and what the hub noted of them.
pub(super) const KIND: &str = "person";
pub(super) const NOTED: &str = "person_noted";

/// Addresses of a person that are remembered.
const KNOWN: usize = 8;

/// What is stored of a person.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Body {
    pub(super) role: Role,
    /// The hash; nothing for who did not open the link yet.
    pub(super) password: Option<String>,
    /// The second factor's secret.
    pub(super) totp: Option<String>,
    /// Another one for each password: sessions of an older one have ended.
    pub(super) epoch: String,
}

/// What the hub noted of a person.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Noted {
    /// Microseconds since 1970.
    pub(super) last_sign_in: Option<i64>,
    /// The step of the last code that was used.
    pub(super) step: i64,
    /// Addresses that they signed in from, the latest last.
    pub(super) known: Vec<std::net::IpAddr>,
}

impl Noted {
    pub(super) fn came_from(&mut self, address: std::net::IpAddr) {
        self.known.retain(|known| *known != address);
        self.known.push(address);
        let surplus = self.known.len().saturating_sub(KNOWN);
        self.known.drain(..surplus);
    }
}

/// A person as others see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Their name.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Whether they have a second factor.
    pub totp: bool,
    /// Whether they have set a password.
    pub joined: bool,
    /// When they signed in last, in microseconds since 1970.
    pub last_sign_in: Option<i64>,
    /// Whether strangers tried so often that their name is not taken from unknown addresses for a while.
    pub locked: bool,
    /// Counts the changes.
    pub version: u64,
}

impl People {
    /// Everybody, by name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn list(&self) -> Result<Vec<Person>, PersonError> {
        let noted = self.store.documents(NOTED).await?;
        let now = self.now().as_micros();
        let documents = self.store.documents(KIND).await?;
        let read = |document: Document| {
            let body: Body = serde_json::from_value(document.body).ok()?;
            let noted = noted.iter().find(|noted| noted.key == document.key);
            let noted: Noted =
                noted.and_then(|noted| serde_json::from_value(noted.body.clone()).ok()).unwrap_or_default();
            Some(Person {
                role: body.role,
                totp: body.totp.is_some(),
                joined: body.password.is_some(),
                last_sign_in: noted.last_sign_in,
                locked: self.limits.is_used_up(&Key::Name(document.key.clone()), now),
                name: document.key,
                version: document.version,
            })
        };
        Ok(documents.into_iter().filter_map(read).collect())
    }

    /// Makes a person who has no password yet, and the one-time token with which they set it.
    ///
    /// # Errors
    /// When the name is none or taken.
    pub async fn invite(&self, name: &str, role: Role, by: &str) -> Result<(String, String), PersonError> {
        let name = name_of(name)?;
        let _changing = self.changing.lock().await;
        if crate::access::is_token_name(self.store.as_ref(), &name).await? {
            return Err(PersonError::Exists { name });
        }
        let body = Body { role, password: None, totp: None, epoch: hex(&random::<16>()?) };
        match self.put(document(&name, 0, &body), by).await {
            Err(PersonError::Changed) => Err(PersonError::Exists { name }),
            Err(error) => Err(error),
            Ok(_) => {
                let link = self.make_link(Some(&name), by).await?;
                Ok((name, link))
            }
        }
    }

    /// Gives a person another role, at once.
    ///
    /// # Errors
    /// When there is no such person, or no admin would be left.
    pub async fn give_role(&self, name: &str, role: Role, by: &str) -> Result<(), PersonError> {
        let _changing = self.changing.lock().await;
        let (document, mut body) = self.one(name).await?;
        if role != Role::Admin {
            self.leaves_an_admin(name, &body).await?;
        }
        body.role = role;
        self.change(document, &body, by).await.map(drop)
    }

    /// Removes a person; their sessions end.
    ///
    /// # Errors
    /// When there is no such person, or no admin would be left.
    pub async fn remove(&self, name: &str, by: &str) -> Result<(), PersonError> {
        let _changing = self.changing.lock().await;
        let (document, body) = self.one(name).await?;
        self.leaves_an_admin(name, &body).await?;
        self.store.remove(document, by.to_owned(), self.now()).await??;
        if let Some(noted) = self.store.document(NOTED, name).await? {
            let _ = self.store.forget(noted).await?;
        }
        self.remove_links(Some(name)).await?;
        self.end_sessions(name, None).await
    }

    /// Ends a person's password, second factor and sessions, and makes a one-time token for a new password.
    ///
    /// # Errors
    /// When there is no such person.
    pub async fn reset(&self, name: &str, by: &str) -> Result<String, PersonError> {
        let (document, mut body) = self.one(name).await?;
        body.password = None;
        body.totp = None;
        body.epoch = hex(&random::<16>()?);
        self.change(document, &body, by).await?;
        self.end_sessions(name, None).await?;
        self.make_link(Some(name), by).await
    }

    /// A person's document and what it says.
    pub(super) async fn one(&self, name: &str) -> Result<(Document, Body), PersonError> {
        let missing = || PersonError::Missing { name: name.to_owned() };
        let document = self.store.document(KIND, name).await?.ok_or_else(missing)?;
        let body = serde_json::from_value(document.body.clone()).map_err(|_| missing())?;
        Ok((document, body))
    }

    /// Writes a person anew.
    pub(super) async fn change(&self, document: Document, body: &Body, by: &str) -> Result<Document, PersonError> {
        let body = serde_json::to_value(body).unwrap_or_default();
        self.put(Document { body, ..document }, by).await
    }

    /// What the hub noted of a person, with the version that is there.
    pub(super) async fn noted(&self, name: &str) -> Result<(u64, Noted), PersonError> {
        let Some(document) = self.store.document(NOTED, name).await? else { return Ok((0, Noted::default())) };
        Ok((document.version, serde_json::from_value(document.body).unwrap_or_default()))
    }

    /// Refuses what would leave nobody who may change anything and can sign in.
    async fn leaves_an_admin(&self, name: &str, body: &Body) -> Result<(), PersonError> {
        if body.role != Role::Admin {
            return Ok(());
        }
        let others = self.list().await?;
        let other = |person: &Person| person.name != name && person.role == Role::Admin && person.joined;
        if others.iter().any(other) { Ok(()) } else { Err(PersonError::LastAdmin { name: name.to_owned() }) }
    }
}

/// A person's document.
pub(super) fn document(name: &str, version: u64, body: &Body) -> Document {
    let body = serde_json::to_value(body).unwrap_or_default();
    Document { kind: KIND.to_owned(), key: name.to_owned(), version, body }
}
