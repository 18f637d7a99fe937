//! The file's layout, and how an older one becomes the newest.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use super::OpenError;

/// Steps from nothing to the newest layout; `PRAGMA user_version` says how many a file has had. A step is never changed
/// once it was released.
const STEPS: [&str; 4] = [FIRST, include_str!("search_and_sums.sql"), super::audit::LAYOUT, super::deliveries::STEP];

const FIRST: &str = "
    CREATE TABLE events (
        row INTEGER PRIMARY KEY,
        id BLOB NOT NULL,
        at INTEGER NOT NULL,
        received INTEGER NOT NULL,
        sensor TEXT NOT NULL,
        realm TEXT NOT NULL,
        src BLOB,
        dst BLOB,
        port INTEGER,
        logtype INTEGER,
        service TEXT,
        kind TEXT NOT NULL,
        stage INTEGER,
        hidden TEXT,
        line TEXT NOT NULL
    );
    CREATE UNIQUE INDEX events_id ON events (id);
    CREATE INDEX events_at ON events (at);
    CREATE INDEX events_src ON events (src, at) WHERE src IS NOT NULL;
    CREATE INDEX events_sensor ON events (sensor, at);
    CREATE INDEX events_hidden ON events (hidden, at) WHERE hidden IS NOT NULL;
    CREATE VIRTUAL TABLE words USING fts5 (body, content = '', contentless_delete = 1, detail = none);
    CREATE TABLE incidents (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        actor TEXT NOT NULL,
        first_at INTEGER NOT NULL,
        last_at INTEGER NOT NULL,
        severity INTEGER NOT NULL,
        state TEXT NOT NULL,
        body TEXT NOT NULL,
        notes TEXT NOT NULL DEFAULT '[]',
        told TEXT NOT NULL DEFAULT '[]',
        went_into INTEGER
    );
    CREATE INDEX incidents_actor ON incidents (actor, last_at) WHERE went_into IS NULL;
    CREATE INDEX incidents_last ON incidents (last_at) WHERE went_into IS NULL;
    CREATE TABLE documents (
        kind TEXT NOT NULL,
        key TEXT NOT NULL,
        version INTEGER NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (kind, key)
    ) WITHOUT ROWID;
    CREATE TABLE audit (
        row INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        by TEXT NOT NULL,
        what TEXT NOT NULL,
        kind TEXT NOT NULL,
        key TEXT NOT NULL,
        version INTEGER NOT NULL,
        body TEXT
    );
    ";

/// The newest layout.
#[expect(clippy::cast_possible_wrap, reason = "a handful")]
pub(super) const LAYOUT: i64 = STEPS.len() as i64;

/// Takes the lock of a store, which holds as long as the file that it gives is open. SQLite's own lock is of no use: readers
/// need the file beside the writer.
pub(super) fn lock(path: &Path) -> Result<File, OpenError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&beside);
    let file = file.map_err(|source| OpenError::Lock { path: beside.into(), source })?;
    file.try_lock().map_err(|_| OpenError::InUse { path: path.to_owned() })?;
    Ok(file)
}

/// Sets the largest size that the file may have.
pub(super) fn bound(connection: &Connection, bytes: u64) -> rusqlite::Result<()> {
    let page: u64 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    let pages = bytes.checked_div(page).unwrap_or(1).max(1);
    connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
}

/// Opens the file for writing.
pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
    let failed = |source: rusqlite::Error| match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::InUse { path: path.to_owned() },
        _ => OpenError::Sqlite { path: path.to_owned(), source },
    };
    // It holds passwords that were tried; SQLite gives its log the mode of the file.
    let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map(drop);
    if let Err(error) = made {
        tracing::debug!(%error, "store file not made beforehand");
    }
    let mut connection = Connection::open(path).map_err(failed)?;
    connection.busy_timeout(Duration::from_secs(2)).map_err(failed)?;
    // FULL: a sensor forgets what was acknowledged, so a machine that loses power must not.
    let pragmas = "
        PRAGMA auto_vacuum = INCREMENTAL;
        PRAGMA journal_mode = WAL;
        PRAGMA synchronous = FULL;
        PRAGMA cache_size = -8192;
        PRAGMA temp_store = MEMORY;";
    connection.execute_batch(pragmas).map_err(failed)?;
    let known = LAYOUT;
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(failed)?;
    let found: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    if found > known {
        return Err(OpenError::Newer { path: path.to_owned(), found, known });
    }
    for step in STEPS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction.execute_batch(step).map_err(failed)?;
    }
    super::refill::refill(&transaction).map_err(failed)?;
    transaction.pragma_update(None, "user_version", known).map_err(failed)?;
    transaction.commit().map_err(failed)?;
    Ok(connection)
}
