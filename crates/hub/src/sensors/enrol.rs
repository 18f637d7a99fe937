//! How a sensor joins: a token that works once, and a certificate for its key.

use aviary_event::Timestamp;
use aviary_store::{Document, StoreError};
use serde::{Deserialize, Serialize};

use super::{Entry, KIND, Pass, Sensors};
use crate::access::hex;
use crate::{CertificateError, Issued, Source};

/// The kind of enrolment tokens' documents.
const TOKEN: &str = "sensor_token";

/// What an enrolment token begins with.
const PREFIX: &str = "ave_";

/// Longest name of a sensor.
const LONGEST: usize = 63;

/// Certificates of a sensor that count: the last, and the one before, with which connections may still be open.
const CERTIFICATES: usize = 2;

/// What a sensor that enrols becomes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// Its group; `default` if empty.
    #[serde(default)]
    pub group: String,
    /// Its site.
    #[serde(default)]
    pub site: String,
    /// Its tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The `node_id`s that its events may have; any if empty.
    #[serde(default)]
    pub nodes: Vec<String>,
    /// Until when the token works, microseconds since 1970.
    pub expires: i64,
}

/// What a sensor gets when it enrols, or renews.
#[derive(Clone, Debug)]
pub struct Enrolled {
    /// Its name at the hub.
    pub name: String,
    /// Its certificate.
    pub issued: Issued,
    /// The authority's certificate, PEM.
    pub authority: String,
}

/// Why a sensor is not enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The token is unknown, used or expired; which of them is not said.
    #[error("the token does not work: it was used, has expired, or never was one; make another at the hub")]
    Token,
    /// Another sensor has the name.
    #[error("a sensor `{name}` is enrolled already; choose another name with --name, or revoke that one")]
    Taken {
        /// The name.
        name: String,
    },
    /// The name is none.
    #[error("`{name}` is no name for a sensor; accepted: up to {LONGEST} letters, digits, `-`, `_` and `.`")]
    Name {
        /// The name.
        name: String,
    },
    /// The request for a certificate is none.
    #[error("the request for a certificate is not accepted: {0}")]
    Request(#[from] CertificateError),
    /// The hub has no authority.
    #[error("this hub certifies no sensors")]
    NoAuthority,
    /// The system gives no randomness.
    #[error("the system gives no randomness: {reason}")]
    NoRandomness {
        /// In its words.
        reason: String,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Sensors {
    /// Makes a token with which one sensor may enrol. Its second half names the hub's authority, so that the sensor knows
    /// whom it talks to.
    ///
    /// # Errors
    /// When the system gives no randomness or the store takes nothing.
    pub async fn invite(&self, invitation: &Invitation, by: &str) -> Result<String, EnrolError> {
        let setup = self.setup.get().ok_or(EnrolError::NoAuthority)?;
        let secret = random().map_err(|reason| EnrolError::NoRandomness { reason })?;
        let body = serde_json::to_value(invitation).unwrap_or_default();
        let document = Document { kind: TOKEN.to_owned(), key: crate::access::key(&secret), version: 0, body };
        match self.store.put(document, by.to_owned(), self.now()).await? {
            Ok(_) => Ok(format!("{PREFIX}{secret}.{}", setup.pin)),
            Err(_) => Err(EnrolError::Token),
        }
    }

    /// Enrols a sensor: uses the token up, and certifies its key.
    ///
    /// # Errors
    /// When the token does not work or the name is taken; then the token is not used up.
    pub async fn enrol(&self, token: &str, name: &str, request: &str) -> Result<Enrolled, EnrolError> {
        let setup = self.setup.get().ok_or(EnrolError::NoAuthority)?;
        let now = self.now();
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > LONGEST || !name.chars().all(named) {
            return Err(EnrolError::Name { name: name.chars().take(LONGEST).collect() });
        }
        let secret = token.strip_prefix(PREFIX).and_then(|rest| rest.split('.').next()).ok_or(EnrolError::Token)?;
        let document = self.store.document(TOKEN, &crate::access::key(secret)).await?.ok_or(EnrolError::Token)?;
        let invitation: Invitation = serde_json::from_value(document.body.clone()).map_err(|_| EnrolError::Token)?;
        if invitation.expires < now.as_micros() {
            return Err(EnrolError::Token);
        }
        let _turn = self.writing.lock().await;
        // A sensor that was revoked may come back under its name, with its history.
        if self.with(name, |entry| !entry.pass.revoked).unwrap_or(false) {
            return Err(EnrolError::Taken { name: name.to_owned() });
        }
        let issued = setup.authority.for_sensor(request, name, now, setup.days)?;
        // Of two that come with one token, one removes it.
        if self.store.remove(document, name.to_owned(), now).await?.is_err() {
            return Err(EnrolError::Token);
        }
        let group = if invitation.group.is_empty() { "default".to_owned() } else { invitation.group };
        // A config of the hub's names the sensor after itself.
        let mut nodes = invitation.nodes;
        if !nodes.is_empty() && !nodes.iter().any(|node| node == name) {
            nodes.push(name.to_owned());
        }
        let pass = Pass {
            group,
            site: invitation.site,
            tags: invitation.tags,
            nodes,
            enrolled: now.as_micros(),
            certificates: vec![(issued.fingerprint.clone(), issued.until)],
            revoked: false,
        };
        self.change(name, |entry| match entry {
            Some(entry) => entry.pass = pass,
            empty => *empty = Some(Entry::new(pass, now)),
        });
        self.write_pass(name, name, now).await?;
        Ok(Enrolled { name: name.to_owned(), issued, authority: setup.authority.pem().to_owned() })
    }

    /// Certifies another key of an enrolled sensor. Its certificate of before counts until the one after.
    ///
    /// # Errors
    /// When the request is none.
    pub async fn renew(&self, name: &str, request: &str) -> Result<Enrolled, EnrolError> {
        let setup = self.setup.get().ok_or(EnrolError::NoAuthority)?;
        let now = self.now();
        let issued = setup.authority.for_sensor(request, name, now, setup.days)?;
        let _turn = self.writing.lock().await;
        self.with_mut(name, |entry| {
            let known = &mut entry.pass.certificates;
            known.push((issued.fingerprint.clone(), issued.until));
            let gone = known.len().saturating_sub(CERTIFICATES);
            known.drain(..gone);
            entry.renew = false;
        });
        self.write_pass(name, name, now).await?;
        Ok(Enrolled { name: name.to_owned(), issued, authority: setup.authority.pem().to_owned() })
    }

    /// Lets a sensor in no more.
    ///
    /// # Errors
    /// When the store takes nothing.
    pub async fn revoke(&self, name: &str, by: &str) -> Result<bool, StoreError> {
        let _turn = self.writing.lock().await;
        let known = self.with_mut(name, |entry| {
            entry.pass.revoked = true;
            entry.pass.certificates.clear();
            entry.wake.notify_waiters();
        });
        if known.is_some() {
            self.write_pass(name, by, self.now()).await?;
        }
        Ok(known.is_some())
    }

    /// The sensor that a certificate stands for, known by its SHA-256; nobody if it was revoked or is too old.
    #[must_use]
    pub fn by_certificate(&self, fingerprint: &str) -> Option<Source> {
        let now = self.now().as_micros();
        let entries = self.lock();
        let is_it = |(known, until): &(String, i64)| known == fingerprint && *until >= now;
        let (name, entry) = entries
            .sensors
            .iter()
            .find(|(_, entry)| !entry.pass.revoked && entry.pass.certificates.iter().any(is_it))?;
        let Pass { site, nodes, .. } = &entry.pass;
        Some(Source { sensor: name.clone(), site: site.clone(), nodes: nodes.clone() })
    }

    /// Writes what was decided of a sensor. The caller holds the turn of writing.
    pub(super) async fn write_pass(&self, name: &str, by: &str, now: Timestamp) -> Result<(), StoreError> {
        let found =
            self.with(name, |entry| (serde_json::to_value(&entry.pass).unwrap_or_default(), entry.pass_version));
        let Some((body, version)) = found else { return Ok(()) };
        let document = Document { kind: KIND.to_owned(), key: name.to_owned(), version, body };
        let version = match self.store.put(document, by.to_owned(), now).await? {
            Ok(written) => written.version,
            Err(aviary_store::PutError::Conflict { now }) => now,
        };
        self.with_mut(name, |entry| entry.pass_version = version);
        Ok(())
    }
}

/// 256 random bits, hexadecimal.
pub(super) fn random() -> Result<String, String> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| error.to_string())?;
    Ok(hex(&secret))
}
