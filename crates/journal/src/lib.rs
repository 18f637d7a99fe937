//! The durable queue between who reports and who delivers.
//!
//! Events go into one SQLite table in WAL mode. One thread writes; everything that waits when it is
//! free goes into one transaction (group commit). A [`Receipt`] completes when its event is in the
//! file, so a service may answer its peer knowing that a `kill -9` will not undo what the answer
//! admits. Each output reads at its own cursor; what was delivered to all is removed, but for a tail
//! kept for people to look at.
//!
//! LIMIT: `synchronous = NORMAL`. A process that dies loses nothing; a machine that loses power may
//! lose the last transactions since SQLite's last checkpoint.

mod dead;
mod queue;
mod reader;
mod store;
mod writer;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use aviary_event::Event;
use tokio::sync::oneshot;

pub use dead::DeadLetter;
pub use reader::Reader;
pub use store::OpenError;

use queue::{Pending, Shared};

/// How much the journal may hold.
#[derive(Clone, Debug)]
pub struct Options {
    /// The database file; its folder must exist.
    pub path: PathBuf,
    /// Largest size of the file in bytes; beyond, the oldest events go, delivered or not.
    pub max_bytes: u64,
    /// Oldest age of an event that is not delivered.
    pub max_age: Duration,
    /// Delivered events that are kept for `aviary tail`.
    pub keep: u64,
}

impl Options {
    /// The defaults: 256 MiB, 30 days, 10,000 delivered events.
    #[must_use]
    pub const fn at(path: PathBuf) -> Self {
        Self { path, max_bytes: 256 << 20, max_age: Duration::from_secs(30 * 86_400), keep: 10_000 }
    }
}

/// Completes when the event is in the journal; see [`Journal::append`].
#[derive(Debug)]
pub struct Receipt(oneshot::Receiver<()>);

impl Receipt {
    /// Waits until the event is in the file, or until the journal gave up on that and said so in
    /// [`Stats::unsaved`]. Never an error: a peer must not be able to tell.
    pub async fn wait(self) {
        let _ = self.0.await;
    }
}

/// Where the journal stands.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Sequence number of the newest event; 0 if there never was one.
    pub head: u64,
    /// Events in the file.
    pub stored: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Events that were removed by a bound before this output had them, by output, since the start.
    pub lost: BTreeMap<String, u64>,
    /// Events that never reached the file because it could not be written, since the start.
    pub unsaved: u64,
    /// Writes that failed, since the start; each is tried again.
    pub failures: u64,
    /// What the last write failed with; `None` while all is well.
    pub trouble: Option<String>,
    /// Position of each output: the newest event that it is done with.
    pub cursors: BTreeMap<String, u64>,
}

/// The durable queue. Clones share it.
#[derive(Clone, Debug)]
pub struct Journal {
    shared: Arc<Shared>,
}

/// Ends the writer when dropped, after it wrote all that waits.
#[derive(Debug)]
pub struct Guard {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Journal {
    /// Opens or makes the journal and starts its writer. `now` gives microseconds since the epoch.
    ///
    /// # Errors
    /// When the file cannot be opened or made, or another process holds it. A file that SQLite calls
    /// damaged is moved aside as `NAME.damaged` and a new one begun.
    pub fn open(options: &Options, now: fn() -> i64) -> Result<(Self, Guard), OpenError> {
        let (store, lines) = store::Store::open(&options.path)?;
        let position = store.position();
        let (head, stored, cursors) =
            position.map_err(|source| OpenError::Sqlite { path: options.path.clone(), source })?;
        let shared = Arc::new(Shared::new(store, lines, head, stored, cursors));
        let writer = writer::Writer::new(Arc::clone(&shared), options.clone(), now);
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || writer.run())
            .map_err(|source| OpenError::Thread { source })?;
        Ok((Self { shared: Arc::clone(&shared) }, Guard { shared, thread: Some(thread) }))
    }

    /// Hands an event over. Waits only while the journal itself cannot keep up; numbers the event.
    pub async fn append(&self, event: Event) -> Receipt {
        let permit = self.shared.room.acquire().await;
        if let Ok(permit) = permit {
            permit.forget();
        }
        self.push(event)
    }

    /// Hands an event over without waiting for room: for the frame's own few reports.
    pub fn append_now(&self, event: Event) -> Receipt {
        // Taken even when none is free: the writer gives it back when it has the event.
        if let Ok(permit) = self.shared.room.try_acquire() {
            permit.forget();
        } else {
            self.shared.owe_permit();
        }
        self.push(event)
    }

    fn push(&self, event: Event) -> Receipt {
        let (done, receipt) = oneshot::channel();
        self.shared.push(Pending { event, done });
        Receipt(receipt)
    }

    /// Waits until the writer has taken all that was handed over so far.
    pub async fn settled(&self) {
        while self.shared.is_waiting() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A reader at the cursor of `output`; a new output begins at the newest event.
    #[must_use]
    pub fn reader(&self, output: &str) -> Reader {
        Reader::new(Arc::clone(&self.shared), output)
    }

    /// A reader without a cursor that begins after event `after`.
    #[must_use]
    pub fn peek(&self, after: u64) -> Reader {
        Reader::peek(Arc::clone(&self.shared), after)
    }

    /// Forgets the cursors of outputs that are not in `names`, so that they hold nothing back.
    pub fn retain_outputs(&self, names: &[String]) {
        self.shared.retain_outputs(names);
    }

    /// Where it stands.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }
}

#[cfg(test)]
mod tests;
