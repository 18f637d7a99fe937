//! The embedded store: one SQLite file, a thread that writes, connections that read.

mod audit;
mod backlog;
mod deliveries;
mod documents;
mod events;
mod expire;
mod incidents;
mod looking;
mod readers;
mod refill;
mod rollup;
mod schema;
mod tags;
mod upkeep;
mod writer;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use aviary_event::Timestamp;
use aviary_insight::Fact;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::overview::{
    CredentialQuery, CredentialRow, Overview, OverviewQuery, SourceQuery, SourceRow, SourceStory, Whose,
};
use crate::{
    Answer, AuditQuery, AuditRow, Cursor, Decided, Decision, Delivery, DeliveryQuery, Document, EventQuery, EventRow,
    Expired, Hits, IncidentQuery, IncidentRow, Page, PutError, Record, Settled, Size, Store, StoreError, Taken,
};
use backlog::Backlog;
use readers::Readers;
pub use upkeep::{Report, UpkeepError, backup, check, restore};
use writer::{Job, Writer};

/// Jobs that wait for the writer, at most; who brings more waits, or is told so if it brings events.
const WAITING: usize = 4096;
/// Bytes of events that wait for the writer, at most.
const BACKLOG: usize = 64 << 20;

/// Where the store is and how it merges.
#[derive(Clone, Debug)]
pub struct Options {
    /// The file.
    pub path: PathBuf,
    /// Longest pause within an incident.
    pub window: Duration,
    /// Longest time of a search.
    pub patience: Duration,
    /// Connections that read.
    pub readers: usize,
    /// Bytes of events that wait to be written, at most; a batch that is larger is taken when nothing waits.
    pub backlog: usize,
    /// Largest size of the file, in bytes; what does not fit is not taken, as on a disk that is full.
    pub largest: Option<u64>,
}

impl Options {
    /// A store in a file, with an hour's window, five seconds a search, two readers and 64 MiB that wait.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            window: Duration::from_secs(3600),
            patience: Duration::from_secs(5),
            readers: 2,
            backlog: BACKLOG,
            largest: None,
        }
    }
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds the file.
    #[error("`{path}` is in use by another process; is a hub with the same state folder running?")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The lock beside it cannot be made.
    #[error("`{path}` cannot be made")]
    Lock {
        /// The lock's file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A newer program wrote it.
    #[error("`{path}` has the layout {found} of a newer version; this one knows {known}")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its layout.
        found: i64,
        /// The newest that is known here.
        known: i64,
    },
    /// SQLite's own words.
    #[error("`{path}` cannot be opened")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The writer's thread did not start.
    #[error("the store's thread cannot be started")]
    Thread {
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// The store. Closed when it is dropped: what was given before is written first.
#[derive(Debug)]
pub struct Sqlite {
    /// Taken out at the end, so that the writer's thread sees that there are no more jobs.
    jobs: Option<mpsc::SyncSender<Job>>,
    writer: Option<thread::JoinHandle<()>>,
    readers: Arc<Readers>,
    backlog: Backlog,
    /// Held as long as the store is open.
    _lock: File,
}

impl Sqlite {
    /// Opens the store, or makes it, and brings its layout up to date.
    ///
    /// # Errors
    /// When the file is held by another process, is no database, or comes from a newer version.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let lock = schema::lock(&options.path)?;
        let connection = schema::open(&options.path)?;
        if let Some(bytes) = options.largest {
            schema::bound(&connection, bytes)
                .map_err(|source| OpenError::Sqlite { path: options.path.clone(), source })?;
        }
        let readers =
            Readers::open(&options).map_err(|source| OpenError::Sqlite { path: options.path.clone(), source })?;
        let (jobs, inbox) = mpsc::sync_channel(WAITING);
        let writer = Writer::new(connection, options.window);
        let writer = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run(&inbox))
            .map_err(|source| OpenError::Thread { source })?;
        Ok(Self {
            jobs: Some(jobs),
            writer: Some(writer),
            readers: Arc::new(readers),
            backlog: Backlog::new(options.backlog),
            _lock: lock,
        })
    }

    /// Has the writer do something. The channel is bounded, and waiting for room must not hold the event loop.
    fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Job,
    ) -> Answer<'_, T> {
        let (sender, answer) = oneshot::channel();
        let job = job(sender);
        let jobs = self.jobs.clone();
        Box::pin(async move {
            let jobs = jobs.ok_or(StoreError::Closed)?;
            if let Err(mpsc::TrySendError::Full(job)) | Err(mpsc::TrySendError::Disconnected(job)) = jobs.try_send(job)
            {
                let sent = tokio::task::spawn_blocking(move || jobs.send(job).is_ok()).await;
                if !sent.unwrap_or(false) {
                    return Err(StoreError::Closed);
                }
            }
            answer.await.unwrap_or(Err(StoreError::Closed))
        })
    }

    fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Answer<'_, T> {
        let readers = Arc::clone(&self.readers);
        Box::pin(async move { readers.ask(question).await })
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

impl Store for Sqlite {
    fn take(&self, records: Vec<Record>) -> Answer<'_, Taken> {
        let Some(held) = self.backlog.hold(&records) else { return Box::pin(async { Err(StoreError::Busy) }) };
        let (sender, answer) = oneshot::channel();
        let sent = self.jobs.as_ref().map_or(Err(StoreError::Closed), |jobs| {
            jobs.try_send(Job::Take(records, held, sender)).map_err(|error| match error {
                mpsc::TrySendError::Full(_) => StoreError::Busy,
                mpsc::TrySendError::Disconnected(_) => StoreError::Closed,
            })
        });
        Box::pin(async move {
            sent?;
            answer.await.unwrap_or(Err(StoreError::Closed))
        })
    }

    fn event(&self, id: Uuid) -> Answer<'_, Option<EventRow>> {
        self.read(move |connection| events::one(connection, id))
    }

    fn events(&self, query: EventQuery) -> Answer<'_, Page<EventRow>> {
        self.read(move |connection| events::page(connection, &query))
    }

    fn incident(&self, number: i64) -> Answer<'_, Option<IncidentRow>> {
        self.read(move |connection| incidents::one(connection, number))
    }

    fn incidents(&self, query: IncidentQuery) -> Answer<'_, Page<IncidentRow>> {
        self.read(move |connection| incidents::page(connection, &query))
    }

    fn decide(&self, number: i64, decision: Decision) -> Answer<'_, IncidentRow> {
        self.write(|answer| Job::Decide(number, decision, answer))
    }

    fn told(&self, number: i64, facts: Vec<Fact>) -> Answer<'_, ()> {
        self.write(|answer| Job::Told(number, facts, answer))
    }

    fn document<'a>(&'a self, kind: &'static str, key: &'a str) -> Answer<'a, Option<Document>> {
        let key = key.to_owned();
        self.read(move |connection| documents::one(connection, kind, &key))
    }

    fn documents(&self, kind: &'static str) -> Answer<'_, Vec<Document>> {
        self.read(move |connection| documents::all(connection, kind))
    }

    fn put(&self, document: Document, by: String, at: Timestamp) -> Answer<'_, Result<Document, PutError>> {
        self.write(|answer| Job::Put(document, by, at, answer))
    }

    fn remove(&self, document: Document, by: String, at: Timestamp) -> Answer<'_, Result<(), PutError>> {
        self.write(|answer| Job::Remove(document, by, at, answer))
    }

    fn keep(&self, document: Document) -> Answer<'_, Result<Document, PutError>> {
        self.write(|answer| Job::Keep(document, answer))
    }

    fn forget(&self, document: Document) -> Answer<'_, Result<(), PutError>> {
        self.write(|answer| Job::Forget(document, answer))
    }

    fn audit(&self, query: AuditQuery) -> Answer<'_, Page<AuditRow>> {
        self.read(move |connection| audit::page(connection, &query))
    }

    fn overview(&self, query: OverviewQuery) -> Answer<'_, Overview> {
        self.read(move |connection| looking::overview(connection, query))
    }

    fn sources(&self, query: SourceQuery) -> Answer<'_, Page<SourceRow>> {
        self.read(move |connection| looking::sources(connection, &query))
    }

    fn source(&self, whose: Whose) -> Answer<'_, Option<SourceStory>> {
        self.read(move |connection| looking::story(connection, &whose))
    }

    fn credentials(&self, query: CredentialQuery) -> Answer<'_, Page<CredentialRow>> {
        self.read(move |connection| looking::credentials(connection, &query))
    }

    fn expire(&self, before: Timestamp, from: Option<Cursor>) -> Answer<'_, Expired> {
        self.write(move |answer| Job::Expire(before, from, answer))
    }

    fn size(&self) -> Answer<'_, Size> {
        self.read(looking::size)
    }

    fn undecided(&self, limit: usize) -> Answer<'_, Vec<IncidentRow>> {
        self.read(move |connection| incidents::undecided(connection, limit))
    }

    fn alert(&self, decided: Vec<Decided>, at: Timestamp) -> Answer<'_, ()> {
        self.write(|answer| Job::Alert(decided, at, answer))
    }

    fn deliveries(&self, query: DeliveryQuery) -> Answer<'_, Page<Delivery>> {
        self.read(move |connection| deliveries::page(connection, &query))
    }

    fn open_deliveries(&self) -> Answer<'_, Vec<Delivery>> {
        self.read(deliveries::open)
    }

    fn sent<'a>(&'a self, channel: &'a str, since: Timestamp) -> Answer<'a, Vec<Timestamp>> {
        let channel = channel.to_owned();
        self.read(move |connection| deliveries::sent(connection, &channel, since))
    }

    fn settle(&self, settled: Vec<Settled>) -> Answer<'_, ()> {
        self.write(|answer| Job::Settle(settled, answer))
    }

    fn hits(&self) -> Answer<'_, Vec<Hits>> {
        self.read(deliveries::hits)
    }
}

/// What SQLite said, in the store's words.
fn failed(error: &rusqlite::Error) -> StoreError {
    use rusqlite::ErrorCode::{CannotOpen, DiskFull, ReadOnly, SystemIoFailure};
    let reason = error.to_string();
    match error.sqlite_error_code() {
        Some(DiskFull | ReadOnly | SystemIoFailure | CannotOpen) => StoreError::Full { reason },
        _ => StoreError::Failed { reason },
    }
}
