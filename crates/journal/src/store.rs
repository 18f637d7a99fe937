//! The SQLite file.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aviary_event::Event;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, params};

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
    path: PathBuf,
}

/// A row to write: position, moment in microseconds, the extended line.
pub(crate) struct Row {
    pub(crate) seq: u64,
    pub(crate) at: i64,
    pub(crate) line: String,
}

impl Store {
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        match Self::try_open(path) {
            Ok(store) => Ok(store),
            Err(error)
                if matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)) =>
            {
                Err(OpenError::InUse { path: path.to_owned() })
            }
            Err(error)
                if matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)) =>
            {
                let mut aside = path.as_os_str().to_owned();
                aside.push(".damaged");
                tracing::error!(path = %path.display(), %error, "journal is damaged, moved aside and begun anew");
                let _ = std::fs::rename(path, aside);
                Self::try_open(path).map_err(|source| OpenError::Sqlite { path: path.to_owned(), source })
            }
            Err(source) => Err(OpenError::Sqlite { path: path.to_owned(), source }),
        }
    }

    fn try_open(path: &Path) -> rusqlite::Result<Self> {
        // The journal holds passwords; SQLite gives its log the mode of the file.
        // INVARIANT: closed again before SQLite locks the file: a process that closes any descriptor of
        // a file loses all its POSIX locks on it.
        let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map(drop);
        if let Err(error) = made {
            tracing::debug!(%error, "journal file not made beforehand");
        }
        let connection = Connection::open(path)?;
        // Long enough for a canary that is being replaced to let go, short enough to say so at once.
        connection.busy_timeout(std::time::Duration::from_millis(500))?;
        // EXCLUSIVE keeps a second canary out and needs no shared memory file; the page cache is
        // small because the writer appends and readers that keep up read from memory.
        connection.execute_batch(
            "PRAGMA locking_mode = EXCLUSIVE;
             PRAGMA journal_mode = WAL;
             PRAGMA synchronous = NORMAL;
             PRAGMA cache_size = -512;
             PRAGMA auto_vacuum = INCREMENTAL;
             PRAGMA temp_store = MEMORY;
             BEGIN IMMEDIATE;
             CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, line TEXT NOT NULL);
             CREATE TABLE IF NOT EXISTS cursors (output TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
             COMMIT;",
        )?;
        connection.execute_batch(crate::dead::TABLE)?;
        Ok(Self { connection, path: path.to_owned() })
    }

    pub(crate) const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Newest sequence number ever given, events stored, and the cursors.
    pub(crate) fn position(&self) -> Result<(u64, u64, BTreeMap<String, u64>), OpenError> {
        let read = || -> rusqlite::Result<_> {
            let (newest, stored): (u64, u64) =
                self.connection.query_row("SELECT COALESCE(MAX(seq), 0), COUNT(*) FROM events", [], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?;
            let mut statement = self.connection.prepare("SELECT output, seq FROM cursors")?;
            let cursors: BTreeMap<String, u64> =
                statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
            let head = cursors.values().copied().max().unwrap_or(0).max(newest);
            Ok((head, stored, cursors))
        };
        read().map_err(|source| OpenError::Sqlite { path: self.path.clone(), source })
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

    /// Up to `limit` events after `after`, in order. A line that no longer parses is passed over
    /// with an error in the log, since nothing could ever deliver it.
    pub(crate) fn read(&self, after: u64, limit: usize) -> rusqlite::Result<Vec<Event>> {
        let mut statement =
            self.connection.prepare_cached("SELECT seq, line FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2")?;
        let rows = statement.query_map(params![after, i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
            Ok((row.get::<_, u64>(0)?, row.get::<_, String>(1)?))
        })?;
        let mut events = Vec::new();
        for row in rows {
            let (seq, line) = row?;
            match Event::parse(&line) {
                Ok(event) => events.push(event),
                Err(error) => tracing::error!(seq, %error, "stored event cannot be read"),
            }
        }
        Ok(events)
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

    /// Writes the log into the file, so that a stopped canary leaves one file.
    pub(crate) fn checkpoint(&self) {
        let _ = self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
    }
}
