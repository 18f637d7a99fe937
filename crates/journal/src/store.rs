//! The SQLite file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, params};

/// SQLite's way to files that keeps other processes out, and the index of its log in this process's memory. Unlike
/// `locking_mode = EXCLUSIVE` it lets this process have two connections.
/// Source: <https://www.sqlite.org/vfs.html#standard_unix_vfses>.
const VFS: &str = "unix-excl";

/// Bytes of a page.
const PAGE: usize = 4096;
/// Pages of the log after which they are copied into the file, beside what is written meanwhile.
const LOG_PAGES: usize = 1000;
/// Pages of the log after which the writer itself sees to it that the log begins anew. By then all but the last of
/// them are copied.
const LOG_PAGES_AT_MOST: u32 = 8000;

/// Files that this process has open, by device and inode: among its own connections nothing keeps a second canary out.
static OPEN: Mutex<BTreeSet<(u64, u64)>> = Mutex::new(BTreeSet::new());

/// Why the journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds the file.
    #[error("`{path}` is in use by another process; is a canary with the same state folder running?")]
    InUse {
        /// The file.
        path: PathBuf,
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
    #[error("the journal's thread cannot be started")]
    Thread {
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

#[derive(Debug)]
pub(crate) struct Store {
    connection: Connection,
    /// What [`OPEN`] knows the file by.
    file: Option<(u64, u64)>,
    /// Pages that went into the log since [`Store::log_is_due`] last said so, about.
    written: usize,
}

/// A second connection, which readers use, so that the writer never waits for them, and that copies the log into the
/// file: `fsync` takes what time it likes there.
#[derive(Debug)]
pub(crate) struct Lines {
    connection: Connection,
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Some(file) = self.file {
            OPEN.lock().unwrap_or_else(PoisonError::into_inner).remove(&file);
        }
    }
}

/// A row to write: position, moment in microseconds, the extended line.
pub(crate) struct Row {
    pub(crate) seq: u64,
    pub(crate) at: i64,
    pub(crate) line: String,
}

impl Store {
    /// Opens or makes the file, for the writer and for readers.
    pub(crate) fn open(path: &Path) -> Result<(Self, Lines), OpenError> {
        let opened = match Self::try_open(path) {
            Err(OpenError::Sqlite { source: error, .. })
                if matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)) =>
            {
                let mut aside = path.as_os_str().to_owned();
                aside.push(".damaged");
                tracing::error!(path = %path.display(), %error, "journal is damaged, moved aside and begun anew");
                let _ = std::fs::rename(path, aside);
                Self::try_open(path)
            }
            opened => opened,
        };
        opened.map_err(|error| match error {
            OpenError::Sqlite { path, source }
                if matches!(source.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)) =>
            {
                OpenError::InUse { path }
            }
            error => error,
        })
    }

    fn try_open(path: &Path) -> Result<(Self, Lines), OpenError> {
        let failed = |source| OpenError::Sqlite { path: path.to_owned(), source };
        let file = || std::fs::metadata(path).map(|there| (there.dev(), there.ino()));
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if file().is_ok_and(|file| open.contains(&file)) {
            return Err(OpenError::InUse { path: path.to_owned() });
        }
        // The journal holds passwords; SQLite gives its log the mode of the file.
        // INVARIANT: closed again before SQLite locks the file: a process that closes any descriptor of
        // a file loses all its POSIX locks on it.
        let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map(drop);
        if let Err(error) = made {
            tracing::debug!(%error, "journal file not made beforehand");
        }
        let connection = connect(path).map_err(failed)?;
        // The page cache is small because the writer appends and readers that keep up read from memory.
        let begin = format!(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = NORMAL;
             PRAGMA wal_autocheckpoint = {LOG_PAGES_AT_MOST};
             PRAGMA cache_size = -512;
             PRAGMA auto_vacuum = INCREMENTAL;
             PRAGMA temp_store = MEMORY;
             BEGIN IMMEDIATE;
             CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, line TEXT NOT NULL);
             CREATE TABLE IF NOT EXISTS cursors (output TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
             COMMIT;"
        );
        connection.execute_batch(&begin).map_err(failed)?;
        connection.execute_batch(crate::dead::TABLE).map_err(failed)?;
        let lines = Lines::open(path).map_err(failed)?;
        let file = file().ok();
        open.extend(file);
        Ok((Self { connection, file, written: 0 }, lines))
    }

    pub(crate) const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Newest sequence number ever given, events stored, and the cursors.
    pub(crate) fn position(&self) -> rusqlite::Result<(u64, u64, BTreeMap<String, u64>)> {
        let (newest, stored): (u64, u64) =
            self.connection.query_row("SELECT COALESCE(MAX(seq), 0), COUNT(*) FROM events", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        let mut statement = self.connection.prepare("SELECT output, seq FROM cursors")?;
        let cursors: BTreeMap<String, u64> =
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
        let head = cursors.values().copied().max().unwrap_or(0).max(newest);
        Ok((head, stored, cursors))
    }

    /// Writes rows and cursors in one transaction.
    pub(crate) fn write(&mut self, rows: &[Row], cursors: Option<&BTreeMap<String, u64>>) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        {
            let mut insert =
                transaction.prepare_cached("INSERT OR IGNORE INTO events (seq, at, line) VALUES (?1, ?2, ?3)")?;
            for row in rows {
                insert.execute(params![row.seq, row.at, row.line])?;
            }
            let bytes: usize = rows.iter().map(|row| row.line.len()).sum();
            // The last page of the transaction before is written again.
            self.written += 2 + bytes / PAGE;
        }
        if let Some(cursors) = cursors {
            transaction.prepare_cached("DELETE FROM cursors")?.execute([])?;
            let mut insert = transaction.prepare_cached("INSERT INTO cursors (output, seq) VALUES (?1, ?2)")?;
            for (output, seq) in cursors {
                insert.execute(params![output, seq])?;
            }
        }
        transaction.commit()
    }

    /// The oldest event's number.
    pub(crate) fn oldest(&self) -> rusqlite::Result<Option<u64>> {
        self.connection.query_row("SELECT MIN(seq) FROM events", [], |row| row.get(0))
    }

    /// Removes events up to `seq`.
    pub(crate) fn remove_through(&mut self, seq: u64) -> rusqlite::Result<u64> {
        let removed = self.connection.prepare_cached("DELETE FROM events WHERE seq <= ?1")?.execute([seq])?;
        Ok(u64::try_from(removed).unwrap_or(0))
    }

    /// Plays a disk that is full, or has room again.
    #[cfg(test)]
    pub(crate) fn play_full_disk(&self, full: bool) {
        let pages: u64 = self.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        let most = if full { pages } else { 1 << 30 };
        self.connection.query_row(&format!("PRAGMA max_page_count = {most}"), [], |_| Ok(())).unwrap();
    }

    /// The newest event older than `at` microseconds, if the oldest one is.
    pub(crate) fn newest_before(&self, at: i64) -> rusqlite::Result<Option<u64>> {
        let oldest: Option<i64> = self
            .connection
            .prepare_cached("SELECT at FROM events ORDER BY seq LIMIT 1")?
            .query_row([], |row| row.get(0))
            .optional()?;
        if oldest.is_none_or(|oldest| oldest >= at) {
            return Ok(None);
        }
        self.connection.prepare_cached("SELECT MAX(seq) FROM events WHERE at < ?1")?.query_row([at], |row| row.get(0))
    }

    /// The event number below which `count` of the oldest stand.
    pub(crate) fn nth_oldest(&self, count: u64) -> rusqlite::Result<Option<u64>> {
        self.connection
            .prepare_cached("SELECT seq FROM events ORDER BY seq LIMIT 1 OFFSET ?1")?
            .query_row([count], |row| row.get(0))
            .optional()
    }

    /// Bytes in use in the file, free pages not counted.
    pub(crate) fn bytes(&self) -> rusqlite::Result<u64> {
        let of = |pragma: &str| self.connection.query_row(pragma, [], |row| row.get::<_, u64>(0));
        Ok((of("PRAGMA page_count")?.saturating_sub(of("PRAGMA freelist_count")?)) * of("PRAGMA page_size")?)
    }

    /// Gives free pages back to the file system, a bounded number at a time.
    pub(crate) fn shrink(&self) -> rusqlite::Result<()> {
        self.connection.execute_batch("PRAGMA incremental_vacuum(512)")
    }

    /// Whether so much went into the log that [`Lines::copy_log`] is due; says so once.
    pub(crate) const fn log_is_due(&mut self) -> bool {
        let due = self.written >= LOG_PAGES;
        if due {
            self.written = 0;
        }
        due
    }

    /// Writes the log into the file, so that a stopped canary leaves one file.
    pub(crate) fn checkpoint(&self) {
        let _ = self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
    }
}

impl Lines {
    fn open(path: &Path) -> rusqlite::Result<Self> {
        let connection = connect(path)?;
        connection.execute_batch("PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -256; PRAGMA query_only = ON;")?;
        Ok(Self { connection })
    }

    pub(crate) const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Up to `limit` lines after `after` with their numbers, in order; fewer once they have `bytes` bytes.
    pub(crate) fn read(&self, after: u64, limit: usize, bytes: usize) -> rusqlite::Result<Vec<(u64, String)>> {
        let mut statement =
            self.connection.prepare_cached("SELECT seq, line FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2")?;
        let mut rows = statement.query(params![after, i64::try_from(limit).unwrap_or(i64::MAX)])?;
        let mut lines = Vec::new();
        let mut size = 0;
        while let Some(row) = rows.next()? {
            let line: String = row.get(1)?;
            size += line.len();
            lines.push((row.get(0)?, line));
            if size >= bytes {
                break;
            }
        }
        Ok(lines)
    }

    /// Copies of the log into the file what is there by now. Who writes goes on meanwhile.
    pub(crate) fn copy_log(&self) {
        let copied = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        if let Err(error) = copied {
            // The writer does it when the log is long, and says what is wrong with the file.
            tracing::debug!(%error, "journal's log not copied");
        }
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags_and_vfs(path, OpenFlags::default(), VFS)?;
    // Long enough for a canary that is being replaced to let go, short enough to say so at once.
    connection.busy_timeout(std::time::Duration::from_millis(500))?;
    Ok(connection)
}
