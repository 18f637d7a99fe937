//! Connections that read, each for one question at a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::sync::Semaphore;

use super::{Options, failed};
use crate::StoreError;

/// Instructions of SQLite's machine between two looks at the clock.
const STEPS: i32 = 10_000;

/// A few connections.
#[derive(Debug)]
pub(super) struct Readers {
    free: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
    patience: Duration,
}

impl Readers {
    pub(super) fn open(options: &Options) -> rusqlite::Result<Self> {
        let count = options.readers.max(1);
        let free = (0..count).map(|_| reader(options)).collect::<rusqlite::Result<Vec<_>>>()?;
        Ok(Self { free: Mutex::new(free), permits: Arc::new(Semaphore::new(count)), patience: options.patience })
    }

    /// Asks on a thread of its own, for as long as a search may take.
    pub(super) async fn ask<T: Send + 'static>(
        self: Arc<Self>,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let asked = tokio::task::spawn_blocking(move || {
            let connection = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(mut connection) = connection else { return Err(StoreError::Closed) };
            let until = Instant::now() + self.patience;
            let late = move || Instant::now() > until;
            let limited = connection.progress_handler(STEPS, Some(late));
            let answer = limited.and_then(|()| question(&connection));
            let answer = answer.map_err(|error| match error.sqlite_error_code() {
                Some(ErrorCode::OperationInterrupted) => StoreError::TooSlow { seconds: self.patience.as_secs() },
                _ => failed(&error),
            });
            self.free.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            drop(permit);
            answer
        });
        asked.await.unwrap_or_else(|error| Err(StoreError::Failed { reason: error.to_string() }))
    }
}

fn reader(options: &Options) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&options.path, flags)?;
    connection.busy_timeout(Duration::from_secs(2))?;
    connection.execute_batch("PRAGMA cache_size = -4096; PRAGMA temp_store = MEMORY; PRAGMA query_only = ON;")?;
    Ok(connection)
}
