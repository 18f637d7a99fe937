//! The hub's data: what it is asked for and what it keeps, whatever keeps it.
//!
//! A [`Store`] takes events once each, merges them into incidents in the same transaction, and answers searches.
//! Everything that people decide (sensors, rules, channels, people) is a [`Document`]: a small JSON object with a
//! version, so that a backend has one table for all of them. One battery of tests holds for every backend.

mod audit;
mod delivery;
mod document;
mod event;
mod incident;
mod overview;
mod page;
mod sqlite;

use std::future::Future;
use std::pin::Pin;

use aviary_event::Timestamp;
use aviary_insight::Fact;
use uuid::Uuid;

pub use audit::{AuditQuery, AuditRow, Change};
pub use delivery::{Decided, Delivery, DeliveryQuery, Draft, Fate, Hits, Settled};
pub use document::{Document, PutError};
pub use event::{EventQuery, EventRow, Expired, Networks, Record, Size, Taken};
pub use incident::{Changed, Decision, IncidentQuery, IncidentRow, Note, State};
pub use overview::{
    CredentialQuery, CredentialRow, Heard, Overview, OverviewQuery, SourceQuery, SourceRow, SourceStory, Span, Tried,
    Whose,
};
pub use page::{Cursor, Page};
pub use sqlite::{OpenError, Options, Report, Sqlite, UpkeepError, backup, check, restore};

/// Why the store did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing can be written now; nothing was.
    #[error("the store cannot be written: {reason}")]
    Full {
        /// In the backend's words.
        reason: String,
    },
    /// More waits to be written than the store holds; this was not taken.
    #[error("the hub is busy: more waits to be stored than it holds")]
    Busy,
    /// The backend failed otherwise.
    #[error("the store failed: {reason}")]
    Failed {
        /// In its words.
        reason: String,
    },
    /// A search took too long.
    #[error("the search took longer than {seconds} s; a shorter time or a narrower source makes it faster")]
    TooSlow {
        /// How long it was allowed to take.
        seconds: u64,
    },
    /// What is asked for is not there.
    #[error("there is no {what}")]
    Missing {
        /// What.
        what: &'static str,
    },
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

/// What a question comes to.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Where the hub keeps what it knows.
pub trait Store: Send + Sync + 'static {
    /// Takes events, each once by id, and merges those that nobody hid into incidents. All or nothing; when it answers,
    /// they are durable. It does not wait without end: when too much waits to be written, it says [`StoreError::Busy`].
    fn take(&self, records: Vec<Record>) -> Answer<'_, Taken>;

    /// One event.
    fn event(&self, id: Uuid) -> Answer<'_, Option<EventRow>>;

    /// Events that a query asks for, the newest first.
    fn events(&self, query: EventQuery) -> Answer<'_, Page<EventRow>>;

    /// One incident. One that went into another is found there.
    fn incident(&self, number: i64) -> Answer<'_, Option<IncidentRow>>;

    /// Incidents that a query asks for, those with the latest event first.
    fn incidents(&self, query: IncidentQuery) -> Answer<'_, Page<IncidentRow>>;

    /// Notes what somebody decided of an incident.
    fn decide(&self, number: i64, decision: Decision) -> Answer<'_, IncidentRow>;

    /// Notes that people were told facts of an incident.
    fn told(&self, number: i64, facts: Vec<Fact>) -> Answer<'_, ()>;

    /// A document.
    fn document<'a>(&'a self, kind: &'static str, key: &'a str) -> Answer<'a, Option<Document>>;

    /// All documents of a kind, by key.
    fn documents(&self, kind: &'static str) -> Answer<'_, Vec<Document>>;

    /// Writes a document if its version is still the one that is there (0: there is none), and gives the new one. In the
    /// same transaction the change is written to the audit log under `by`.
    fn put(&self, document: Document, by: String, at: Timestamp) -> Answer<'_, Result<Document, PutError>>;

    /// Removes a document, if its version is still the one that is there.
    fn remove(&self, document: Document, by: String, at: Timestamp) -> Answer<'_, Result<(), PutError>>;

    /// Writes a document as [`Store::put`] does, but not to the audit log: what the hub itself notes, and nobody decided.
    fn keep(&self, document: Document) -> Answer<'_, Result<Document, PutError>>;

    /// Removes a document as [`Store::remove`] does, but without a word in the audit log.
    fn forget(&self, document: Document) -> Answer<'_, Result<(), PutError>>;

    /// Entries of the audit log that a query asks for, the newest first.
    fn audit(&self, query: AuditQuery) -> Answer<'_, Page<AuditRow>>;

    /// What happened, in numbers.
    fn overview(&self, query: OverviewQuery) -> Answer<'_, Overview>;

    /// Sources that a query asks for, those that were seen last first.
    fn sources(&self, query: SourceQuery) -> Answer<'_, Page<SourceRow>>;

    /// One source's whole story.
    fn source(&self, whose: Whose) -> Answer<'_, Option<SourceStory>>;

    /// Credentials that a query asks for.
    fn credentials(&self, query: CredentialQuery) -> Answer<'_, Page<CredentialRow>>;

    /// Removes events older than a moment that are no evidence: of an incident that is not closed, or was grave. It does a
    /// bounded piece of it from a place on, so that who writes does not wait long, and says where to go on. At the end
    /// sums go of which nothing newer speaks.
    fn expire(&self, before: Timestamp, from: Option<Cursor>) -> Answer<'_, Expired>;

    /// How much there is.
    fn size(&self) -> Answer<'_, Size>;

    /// Incidents with something new that alerting has not decided on, by number.
    fn undecided(&self, limit: usize) -> Answer<'_, Vec<IncidentRow>>;

    /// Notes, in one transaction, that facts of incidents were decided on, and what is to be told of them to whom. An
    /// incident that there is not is passed over.
    fn alert(&self, decided: Vec<Decided>, at: Timestamp) -> Answer<'_, ()>;

    /// Deliveries that a query asks for, the newest first.
    fn deliveries(&self, query: DeliveryQuery) -> Answer<'_, Page<Delivery>>;

    /// Deliveries that are not over, in order; of each channel the first few hundred.
    fn open_deliveries(&self) -> Answer<'_, Vec<Delivery>>;

    /// When messages went to a channel, from a moment on: each once, however many deliveries it held.
    fn sent<'a>(&'a self, channel: &'a str, since: Timestamp) -> Answer<'a, Vec<Timestamp>>;

    /// Notes what became of deliveries. What is over stays as it is.
    fn settle(&self, settled: Vec<Settled>) -> Answer<'_, ()>;

    /// How many events each rule hid; what [`Store::expire`] removes stays counted.
    fn hits(&self) -> Answer<'_, Vec<Hits>>;
}
