//! What the store knows in sum: of everything, of each source, of each credential.
//!
//! Sums are kept as events come and count each once, but for those that a rule hides. They outlive the events that they
//! count until nothing newer than the retention speaks of them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use aviary_event::{Severity, Timestamp};
use aviary_insight::{Actor, Credential, Stage};

use crate::{Cursor, Networks};

/// What happened, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// Open incidents by how grave they are.
    pub open: BTreeMap<Severity, u64>,
    /// Incidents that began since the moment that was asked for.
    pub new: u64,
    /// Events of each hour and stage, in order of time; hours without events are missing.
    pub trend: Vec<(Timestamp, BTreeMap<Stage, u64>)>,
    /// Services by their events within the trend, the most first.
    pub services: Vec<(String, u64)>,
    /// Sources that were seen within the trend by all their events, the most first.
    pub sources: Vec<(Actor, u64)>,
    /// Every sensor that was heard of, by name.
    pub sensors: Vec<Heard>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct OverviewQuery {
    /// Incidents from this moment on are new.
    pub new: Timestamp,
    /// The trend begins with the hour of this moment.
    pub trend: Timestamp,
    /// So many sources and services, at most.
    pub top: usize,
}

/// What was heard of a sensor, hidden events and its own life included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Its name.
    pub sensor: String,
    /// When first, and when last.
    pub span: Span,
}

/// From when to when, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first moment.
    pub first: Timestamp,
    /// The last one.
    pub last: Timestamp,
    /// How many events.
    pub events: u64,
}

impl Span {
    pub(crate) const fn of(at: Timestamp) -> Self {
        Self { first: at, last: at, events: 1 }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.events = self.events.saturating_add(other.events);
    }
}

/// A source, in sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRow {
    /// Who.
    pub actor: Actor,
    /// When, and how many events.
    pub span: Span,
    /// How many incidents it has.
    pub incidents: u64,
    /// How grave the gravest is.
    pub severity: Option<Severity>,
    /// Services that it touched, the most first.
    pub services: Vec<String>,
    /// Sensors that it touched, the most first.
    pub sensors: Vec<String>,
    /// How many credentials it tried.
    pub credentials: u64,
}

/// One source's whole story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceStory {
    /// In sum.
    pub row: SourceRow,
    /// Events of each hour, in order of time; hours without events are missing.
    pub timeline: Vec<(Timestamp, u64)>,
    /// Credentials that it tried, the most tried first.
    pub credentials: Vec<Tried>,
    /// Fingerprints of its software, `hassh:…`, the most seen first.
    pub fingerprints: Vec<String>,
}

/// A credential that one source tried at one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// What.
    pub credential: Credential,
    /// Where; empty if the line does not say.
    pub service: String,
    /// When, and how often.
    pub span: Span,
}

/// What is asked for; what is not given is not asked.
#[derive(Clone, Debug, Default)]
pub struct SourceQuery {
    /// Seen from this moment on.
    pub since: Option<Timestamp>,
    /// Sources of a network.
    pub network: Option<Networks>,
    /// Where the page before ended.
    pub after: Option<Cursor>,
    /// Rows of a page.
    pub limit: usize,
}

/// Which source is meant.
#[derive(Clone, Debug)]
pub struct Whose {
    /// Its address.
    pub address: IpAddr,
    /// Where the address means one machine; without it, the one that was seen last is meant.
    pub realm: Option<String>,
    /// So many hours, credentials and fingerprints, at most.
    pub limit: usize,
}

/// A credential, in sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialRow {
    /// What was tried.
    pub credential: Credential,
    /// When, and how often; of one service if one was asked for.
    pub span: Span,
    /// How many sources tried it.
    pub sources: u64,
    /// Where it was tried.
    pub services: Vec<String>,
}

/// What is asked for; what is not given is not asked.
#[derive(Clone, Debug, Default)]
pub struct CredentialQuery {
    /// Tried from this moment on.
    pub since: Option<Timestamp>,
    /// Tried at this service.
    pub service: Option<String>,
    /// Those that were tried last first, instead of those that were tried most.
    pub latest: bool,
    /// Where the page before ended. Its `at` is a count where the most tried come first.
    pub after: Option<Cursor>,
    /// Rows of a page.
    pub limit: usize,
}
