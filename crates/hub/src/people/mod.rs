//! People: who may sign in, how, and what they may do then.
//!
//! A person, a session and a link are documents; what the hub itself notes of a person (the last sign-in, the last
//! code) is one that no audit log mentions. LIMIT: how often somebody may try is counted by each process for itself,
//! and that an admin is left is looked at under a lock of this process.

mod limit;
mod link;
mod password;
mod person;
mod session;
mod tokens;
mod totp;

use std::net::IpAddr;
use std::sync::Arc;

use aviary_event::Timestamp;
use aviary_store::{Document, PutError, Store, StoreError};
use serde::{Deserialize, Serialize};

use crate::Scope;
use limit::Limits;
use password::Hashes;

pub use link::Link;
pub use person::Person;
pub use session::{Session, SignedIn};
pub use tokens::ListedToken;

/// What somebody is allowed, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sees.
    Viewer,
    /// Sees and decides on incidents.
    Analyst,
    /// Does everything.
    Admin,
}

impl Role {
    /// What it allows.
    #[must_use]
    pub const fn scopes(self) -> &'static [Scope] {
        match self {
            Self::Viewer => &[Scope::Read],
            Self::Analyst => &[Scope::Read, Scope::Act],
            Self::Admin => &[Scope::Read, Scope::Act, Scope::Administer],
        }
    }

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Analyst => "analyst",
            Self::Admin => "admin",
        }
    }

    /// The role of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Viewer, Self::Analyst, Self::Admin].into_iter().find(|role| role.word() == word)
    }
}

/// Why something of a person is not done.
#[derive(Debug, thiserror::Error)]
pub enum PersonError {
    /// Not this name with this password and code. It does not say which of them is wrong.
    #[error("the name, the password or the code is wrong")]
    Wrong,
    /// The password is right, and a code is missing.
    #[error("a code of the second factor is needed")]
    CodeNeeded,
    /// Too many tries.
    #[error("too many tries; the next one is in {seconds} s")]
    Limited {
        /// Until the next one.
        seconds: u64,
    },
    /// The hub has no room for another password to be checked.
    #[error("too many sign in at this moment; try again in some seconds")]
    Busy,
    /// The password is not good enough.
    #[error("the password is too weak: {why}")]
    Weak {
        /// What is the matter with it.
        why: String,
    },
    /// No name for a person.
    #[error("a name is 1 to 64 letters, digits and `._-@`, and begins with a letter or a digit")]
    Name,
    /// There is one of that name.
    #[error("there is a person or token of the name `{name}`")]
    Exists {
        /// The name.
        name: String,
    },
    /// There is nobody of that name.
    #[error("there is no person `{name}`")]
    Missing {
        /// The name.
        name: String,
    },
    /// There is no such token.
    #[error("there is no such token; it may have been removed already")]
    MissingToken,
    /// Nobody would be left who may change anything.
    #[error("`{name}` is the last admin who can sign in; make another one first")]
    LastAdmin {
        /// Who.
        name: String,
    },
    /// The link is of no use.
    #[error("the link was used, is too old or was never made; an admin makes a new one")]
    Link,
    /// The link is somebody else's.
    #[error("the link is for the name `{name}`")]
    OthersLink {
        /// Whose.
        name: String,
    },
    /// The second factor is not in the state for this.
    #[error("the second factor is {now}")]
    Factor {
        /// What it is.
        now: &'static str,
    },
    /// Somebody else changed it at the same time.
    #[error("it was changed in between; look again")]
    Changed,
    /// The system gives no randomness.
    #[error("the system gives no randomness: {reason}")]
    NoRandomness {
        /// In its words.
        reason: String,
    },
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<PutError> for PersonError {
    fn from(_: PutError) -> Self {
        Self::Changed
    }
}

/// The people of a hub.
pub struct People {
    store: Arc<dyn Store>,
    clock: fn() -> Timestamp,
    hashes: Hashes,
    limits: Limits,
    uses: tokens::Uses,
    /// Held while it is looked who is left and changed who is there.
    changing: tokio::sync::Mutex<()>,
}

impl People {
    pub(crate) fn new(store: Arc<dyn Store>, clock: fn() -> Timestamp) -> Self {
        let changing = tokio::sync::Mutex::new(());
        Self {
            store,
            clock,
            hashes: Hashes::default(),
            limits: Limits::default(),
            uses: tokens::Uses::default(),
            changing,
        }
    }

    /// Whether there is nobody yet who could sign in.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn is_empty(&self) -> Result<bool, StoreError> {
        Ok(self.store.documents(person::KIND).await?.is_empty())
    }

    fn now(&self) -> Timestamp {
        (self.clock)()
    }

    async fn put(&self, document: Document, by: &str) -> Result<Document, PersonError> {
        Ok(self.store.put(document, by.to_owned(), self.now()).await??)
    }
}

/// Where somebody comes from, and what they say of themselves.
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    /// The name.
    pub name: &'a str,
    /// The password.
    pub password: &'a str,
    /// The second factor's code.
    pub code: Option<&'a str>,
    /// The address that they come from.
    pub address: IpAddr,
}

/// A name as it is kept: capitals make no other person.
fn name_of(text: &str) -> Result<String, PersonError> {
    let name = text.trim().to_lowercase();
    let fits = |c: char| c.is_alphanumeric() || "._-@".contains(c);
    let begins = name.chars().next().is_some_and(char::is_alphanumeric);
    let good = begins && name.chars().count() <= 64 && name.chars().all(fits);
    // The hub's own entries in the audit log are under this name.
    if good && name != "hub" { Ok(name) } else { Err(PersonError::Name) }
}

fn random<const N: usize>() -> Result<[u8; N], PersonError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| PersonError::NoRandomness { reason: error.to_string() })?;
    Ok(bytes)
}

/// Something that nobody guesses, and what it is stored under.
fn secret() -> Result<(String, String), PersonError> {
    let text = crate::access::hex(&random::<32>()?);
    let key = crate::access::key(&text);
    Ok((text, key))
}
