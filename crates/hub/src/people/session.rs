//! Sessions: signing in, being known for a while, and the second factor.

use std::net::IpAddr;

use aviary_store::Document;
use serde::{Deserialize, Serialize};

use super::limit::{Key, narrow};
use super::person::{Body, NOTED};
use super::{Attempt, People, PersonError, Role, name_of, password, random, secret, totp};
use crate::access::{hex, key};

/// The kind of their documents; a key is the hash of what the cookie says.
const KIND: &str = "session";

const MINUTE: i64 = 60 * 1_000_000;
/// How long a session lasts, whatever happens.
const LONGEST: i64 = 12 * 60 * MINUTE;
/// How long it lasts without a request.
const IDLE: i64 = 60 * MINUTE;
/// How often it is noted that there was a request.
const NOTED_EACH: i64 = 2 * MINUTE;
/// Sessions of one person; the oldest ends when there are more.
const MOST: usize = 20;
/// How often a note is tried anew when somebody else wrote it in between.
const TRIES: usize = 5;

/// What is stored of a session.
#[derive(Clone, Serialize, Deserialize)]
struct Stored {
    person: String,
    epoch: String,
    /// Microseconds since 1970.
    created: i64,
    seen: i64,
    address: IpAddr,
    /// A second factor that waits for its first code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pending: Option<String>,
}

impl Stored {
    fn expires(&self) -> i64 {
        self.created.saturating_add(LONGEST).min(self.seen.saturating_add(IDLE))
    }
}

/// A session that is going on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Whose.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Whether they have a second factor.
    pub totp: bool,
    /// When it ends without another request, in microseconds since 1970.
    pub expires: i64,
    /// What it is stored under.
    key: String,
}

/// A session that began.
#[derive(Clone)]
pub struct SignedIn {
    /// What the cookie says; nobody can read it again.
    pub secret: String,
    /// The session.
    pub session: Session,
    /// Seconds until it ends in any case.
    pub seconds: i64,
}

/// Without the secret, which must not get into a log.
impl std::fmt::Debug for SignedIn {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("SignedIn").field("name", &self.session.name).finish_non_exhaustive()
    }
}

impl People {
    /// Signs somebody in.
    ///
    /// Whether the name, the password or the code is wrong shows neither in what is said nor in how long it takes.
    ///
    /// # Errors
    /// When something of it is wrong, a code is missing, or there were too many tries.
    pub async fn sign_in(&self, attempt: Attempt<'_>) -> Result<SignedIn, PersonError> {
        let now = self.now();
        // What is no name is nobody's, and takes as long.
        let name = name_of(attempt.name).unwrap_or_default();
        let (_, noted) = self.noted(&name).await?;
        let keys = if noted.known.contains(&narrow(attempt.address)) {
            [Key::Known(name.clone(), narrow(attempt.address)), Key::address(attempt.address)]
        } else {
            [Key::Name(name.clone()), Key::address(attempt.address)]
        };
        self.limits.take(&keys, now.as_micros()).map_err(|seconds| PersonError::Limited { seconds })?;
        let person = match self.one(&name).await {
            Ok((_, body)) => Some(body),
            Err(PersonError::Missing { .. }) => None,
            Err(error) => return Err(error),
        };
        let hash = person.as_ref().and_then(|person| person.password.clone());
        let fits = match self.hashes.fits(attempt.password, hash).await {
            Ok(fits) => fits,
            Err(error) => {
                self.limits.give_back(&keys);
                return Err(error);
            }
        };
        let Some(person) = person.filter(|_| fits) else { return Err(PersonError::Wrong) };
        if let Some(secret) = &person.totp {
            let Some(code) = attempt.code.filter(|code| !code.is_empty()) else {
                // No guess was made.
                self.limits.give_back(&keys);
                return Err(PersonError::CodeNeeded);
            };
            self.use_code(&name, secret, code).await?;
        }
        self.limits.give_back(&keys);
        self.open_session(&name, &person, attempt.address).await
    }

    /// The session whose cookie says `secret`, if it has not ended.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn session(&self, secret: &str) -> Result<Option<Session>, PersonError> {
        let now = self.now().as_micros();
        let Some((document, mut stored, person)) = self.going_on(&key(secret)).await? else { return Ok(None) };
        let key = document.key.clone();
        if now.saturating_sub(stored.seen) >= NOTED_EACH {
            stored.seen = now;
            // Who did so in between noted the same; and on a full disk what can be read is still read.
            if let Err(error) = self.store.keep(written(document, &stored)).await {
                tracing::debug!(%error, "a session's use is not noted");
            }
        }
        Ok(Some(session_of(&stored, &person, key)))
    }

    /// Whether a session is going on still, with the same role. That is no request, and does not make it last longer.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn goes_on(&self, session: &Session) -> Result<bool, PersonError> {
        let found = self.going_on(&session.key).await?;
        Ok(found.is_some_and(|(_, _, person)| person.role == session.role))
    }

    /// A session that has not ended, and whose it is.
    async fn going_on(&self, key: &str) -> Result<Option<(Document, Stored, Body)>, PersonError> {
        let Some(document) = self.store.document(KIND, key).await? else { return Ok(None) };
        let Ok(stored) = serde_json::from_value::<Stored>(document.body.clone()) else { return Ok(None) };
        if stored.expires() <= self.now().as_micros() {
            if let Err(error) = self.store.forget(document).await {
                tracing::debug!(%error, "a session that ended is not forgotten");
            }
            return Ok(None);
        }
        match self.one(&stored.person).await {
            Ok((_, person)) if person.epoch == stored.epoch => Ok(Some((document, stored, person))),
            Ok(_) | Err(PersonError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Ends a session.
    ///
    /// # Errors
    /// When the store takes nothing.
    pub async fn sign_out(&self, session: &Session) -> Result<(), PersonError> {
        for _ in 0..TRIES {
            let Some(document) = self.store.document(KIND, &session.key).await? else { return Ok(()) };
            if self.store.remove(document, session.name.clone(), self.now()).await?.is_ok() {
                return Ok(());
            }
        }
        Err(PersonError::Changed)
    }

    /// Gives a person a new password; their other sessions end.
    ///
    /// # Errors
    /// When the old password is wrong, or the new one is not good enough.
    pub async fn change_password(
        &self,
        session: &Session,
        old: &str,
        new: &str,
        address: IpAddr,
    ) -> Result<(), PersonError> {
        password::check(new, &session.name)?;
        self.prove(session, old, address).await?;
        let hash = self.hashes.make(new).await?;
        let (document, mut body) = self.one(&session.name).await?;
        body.password = Some(hash);
        body.epoch = hex(&random::<16>()?);
        self.change(document, &body, &session.name).await?;
        self.end_sessions(&session.name, Some(&session.key)).await?;
        for _ in 0..TRIES {
            let (document, mut stored) = self.stored(session).await?;
            stored.epoch.clone_from(&body.epoch);
            if self.store.keep(written(document, &stored)).await?.is_ok() {
                return Ok(());
            }
        }
        Err(PersonError::Changed)
    }

    /// Proposes a second factor: gives its secret and what a QR code of it says. It counts from its first code on.
    ///
    /// # Errors
    /// When there is one already.
    pub async fn propose_factor(&self, session: &Session) -> Result<(String, String), PersonError> {
        if session.totp {
            return Err(PersonError::Factor { now: "on already; turn it off first" });
        }
        let text = totp::to_text(&random::<{ totp::SECRET }>()?);
        let (document, mut stored) = self.stored(session).await?;
        stored.pending = Some(text.clone());
        self.store.keep(written(document, &stored)).await??;
        let uri = totp::uri(&text, &session.name);
        Ok((text, uri))
    }

    /// Turns the proposed second factor on with its first code.
    ///
    /// # Errors
    /// When none was proposed or the code is wrong.
    pub async fn confirm_factor(&self, session: &Session, code: &str) -> Result<(), PersonError> {
        let (_, stored) = self.stored(session).await?;
        let pending = stored.pending.filter(|_| !session.totp);
        let secret = pending.ok_or(PersonError::Factor { now: "not proposed; ask for a secret first" })?;
        self.use_code(&session.name, &secret, code).await?;
        let (document, mut body) = self.one(&session.name).await?;
        body.totp = Some(secret);
        self.change(document, &body, &session.name).await?;
        let (document, mut stored) = self.stored(session).await?;
        stored.pending = None;
        // It is of no use any more in any case.
        let _ = self.store.keep(written(document, &stored)).await?;
        Ok(())
    }

    /// Turns the second factor off.
    ///
    /// # Errors
    /// When the password is wrong.
    pub async fn drop_factor(&self, session: &Session, password: &str, address: IpAddr) -> Result<(), PersonError> {
        self.prove(session, password, address).await?;
        let (document, mut body) = self.one(&session.name).await?;
        if body.totp.take().is_none() {
            return Err(PersonError::Factor { now: "off already" });
        }
        self.change(document, &body, &session.name).await.map(drop)
    }

    /// Begins a session.
    pub(super) async fn open_session(
        &self,
        name: &str,
        person: &Body,
        address: IpAddr,
    ) -> Result<SignedIn, PersonError> {
        let now = self.now().as_micros();
        let (secret, key) = secret()?;
        let address = address.to_canonical();
        let epoch = person.epoch.clone();
        let stored = Stored { person: name.to_owned(), epoch, created: now, seen: now, address, pending: None };
        let document = Document { kind: KIND.to_owned(), key: key.clone(), version: 0, body: serde_json::Value::Null };
        self.put(written(document, &stored), name).await?;
        self.note(name, |noted| {
            noted.last_sign_in = Some(now);
            noted.came_from(narrow(address));
            true
        })
        .await?;
        self.tidy(name, now).await?;
        let session = session_of(&stored, person, key);
        Ok(SignedIn { secret, session, seconds: LONGEST / 1_000_000 })
    }

    /// Ends the sessions of a person but one.
    pub(super) async fn end_sessions(&self, name: &str, but: Option<&str>) -> Result<(), PersonError> {
        for document in self.store.documents(KIND).await? {
            if document.body.get("person").is_some_and(|person| person == name) && Some(&*document.key) != but {
                // One that was noted in between has the wrong epoch, or nobody, and ends so.
                let _ = self.store.forget(document).await?;
            }
        }
        Ok(())
    }

    /// Forgets sessions that have ended, and the oldest of somebody who has too many.
    async fn tidy(&self, name: &str, now: i64) -> Result<(), PersonError> {
        let mut own = Vec::new();
        for document in self.store.documents(KIND).await? {
            match serde_json::from_value::<Stored>(document.body.clone()) {
                Ok(stored) if stored.expires() > now => {
                    if stored.person == name {
                        own.push((stored.created, document));
                    }
                }
                _ => drop(self.store.forget(document).await?),
            }
        }
        own.sort_by_key(|(created, _)| *created);
        let surplus = own.len().saturating_sub(MOST);
        for (_, document) in own.into_iter().take(surplus) {
            let _ = self.store.forget(document).await?;
        }
        Ok(())
    }

    /// Looks whether who has the session knows the password, so that a screen left open gives nothing for ever.
    async fn prove(&self, session: &Session, password: &str, address: IpAddr) -> Result<(), PersonError> {
        let keys = [Key::Known(session.name.clone(), narrow(address)), Key::address(address)];
        let now = self.now().as_micros();
        self.limits.take(&keys, now).map_err(|seconds| PersonError::Limited { seconds })?;
        let (_, person) = self.one(&session.name).await?;
        if !self.hashes.fits(password, person.password).await? {
            return Err(PersonError::Wrong);
        }
        self.limits.give_back(&keys);
        Ok(())
    }

    /// Uses a code up, or says that it is wrong.
    async fn use_code(&self, name: &str, secret: &str, code: &str) -> Result<(), PersonError> {
        let now = self.now().as_seconds();
        let used = self.note(name, |noted| match totp::step_of(secret, code, now, noted.step) {
            None => false,
            Some(step) => {
                noted.step = step;
                true
            }
        });
        if used.await? { Ok(()) } else { Err(PersonError::Wrong) }
    }

    /// Changes what the hub noted of a person, unless `change` says that it does not. Two at a time do not write over
    /// each other.
    async fn note(&self, name: &str, change: impl Fn(&mut super::person::Noted) -> bool) -> Result<bool, PersonError> {
        for _ in 0..TRIES {
            let (version, mut noted) = self.noted(name).await?;
            if !change(&mut noted) {
                return Ok(false);
            }
            let body = serde_json::to_value(noted).unwrap_or_default();
            let document = Document { kind: NOTED.to_owned(), key: name.to_owned(), version, body };
            if self.store.keep(document).await?.is_ok() {
                return Ok(true);
            }
        }
        Err(PersonError::Changed)
    }

    async fn stored(&self, session: &Session) -> Result<(Document, Stored), PersonError> {
        let document = self.store.document(KIND, &session.key).await?.ok_or(PersonError::Changed)?;
        let stored = serde_json::from_value(document.body.clone()).map_err(|_| PersonError::Changed)?;
        Ok((document, stored))
    }
}

fn session_of(stored: &Stored, person: &Body, key: String) -> Session {
    let (name, role, totp) = (stored.person.clone(), person.role, person.totp.is_some());
    Session { name, role, totp, expires: stored.expires(), key }
}

fn written(document: Document, stored: &Stored) -> Document {
    Document { body: serde_json::to_value(stored).unwrap_or_default(), ..document }
}
