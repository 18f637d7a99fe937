//! A copy of the store, a store from a copy, and whether one is sound.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aviary_event::Timestamp;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _};

use super::schema::{self, LAYOUT};
use super::{OpenError, Options, Sqlite};

/// Why a store was not copied, put back or looked at.
#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    /// There is no file.
    #[error("there is no store at `{path}`")]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("`{path}` is no store of a hub: {reason}")]
    NoStore {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        reason: String,
    },
    /// A newer program wrote it.
    #[error("`{path}` has the layout {found} of a newer version; this one knows {known}: use the newer `aviary`")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its layout.
        found: i64,
        /// The newest that is known here.
        known: i64,
    },
    /// The file is broken.
    #[error("`{path}` is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite says of it.
        reason: String,
    },
    /// The target exists.
    #[error("`{path}` exists already; name another file, or remove it first")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The store that would be replaced cannot be opened or is in use.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A file cannot be read or written.
    #[error("`{path}` {what}")]
    File {
        /// The file.
        path: PathBuf,
        /// What did not work.
        what: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// SQLite's own words.
    #[error("`{path}` {what}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What did not work.
        what: &'static str,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
}

/// What a look at a store found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its layout; an older one is brought up to date when a hub opens it.
    pub layout: i64,
    /// Its bytes.
    pub bytes: u64,
    /// How many events.
    pub events: u64,
    /// How many incidents.
    pub incidents: u64,
    /// The first and last event.
    pub span: Option<(Timestamp, Timestamp)>,
    /// What is wrong with it; nothing if it is sound.
    pub problems: Vec<String>,
}

/// Copies a store as it is at this moment, also while a hub uses it, and gives the bytes of the copy. The copy is whole or
/// is not there.
///
/// # Errors
/// When the store cannot be read, the target exists or cannot be written.
pub fn backup(path: &Path, target: &Path) -> Result<u64, UpkeepError> {
    let connection = look(path)?;
    layout(path, &connection)?;
    if target.exists() {
        return Err(UpkeepError::Exists { path: target.to_owned() });
    }
    let part = beside(target, ".part");
    let failed = |what, source| UpkeepError::File { path: part.clone(), what, source };
    // It holds passwords that were tried. SQLite writes into a file that is there, if it is empty.
    let made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part);
    drop(made.map_err(|error| failed("cannot be written", error))?);
    let Some(name) = part.to_str() else {
        return Err(failed("cannot be written: its name is not UTF-8", io::ErrorKind::InvalidInput.into()));
    };
    let copied = connection.execute("VACUUM INTO ?1", [name]);
    let done = copied.map_err(|source| broken(path, "cannot be copied", source)).and_then(|_| settle(&part, target));
    if done.is_err() {
        let _ = fs::remove_file(&part);
    }
    done
}

/// Puts a copy in place of a store, which must not be in use. The store that was there is kept beside it, and its name is
/// given.
///
/// # Errors
/// When the copy is no sound store or from a newer version, the store is in use, or a file cannot be written.
pub fn restore(copy: &Path, path: &Path, now: Timestamp) -> Result<Option<PathBuf>, UpkeepError> {
    let report = check(copy)?;
    if let Some(reason) = report.problems.into_iter().next() {
        return Err(UpkeepError::Damaged { path: copy.to_owned(), reason });
    }
    let lock = schema::lock(path)?;
    let part = beside(path, ".part");
    let failed = |path: &Path, what, source| UpkeepError::File { path: path.to_owned(), what, source };
    let mut from = File::open(copy).map_err(|error| failed(copy, "cannot be read", error))?;
    let mut to = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&part)
        .map_err(|error| failed(&part, "cannot be written", error))?;
    io::copy(&mut from, &mut to).map_err(|error| failed(&part, "cannot be written", error))?;
    drop(to);
    let mut old = None;
    if path.exists() {
        // What is in its log goes into the file, so that the file alone is the store.
        drop(lock);
        match Sqlite::open(Options::at(path)) {
            Ok(store) => drop(store),
            Err(error @ OpenError::InUse { .. }) => return Err(error.into()),
            // A store that cannot be opened is the reason to put a copy back.
            Err(error) => tracing::warn!(%error, "the store that is replaced cannot be opened"),
        }
        let _lock = schema::lock(path)?;
        let aside = beside(path, &format!(".{}", now.as_seconds()));
        for end in ["", "-wal", "-shm"] {
            let (from, to) = (beside(path, end), beside(&aside, end));
            if from.exists() {
                fs::rename(&from, &to).map_err(|error| failed(&from, "cannot be put aside", error))?;
            }
        }
        old = Some(aside);
        settle(&part, path)?;
    } else {
        settle(&part, path)?;
        drop(lock);
    }
    Ok(old)
}

/// Looks whether a store or a copy of one is sound, also while a hub uses it.
///
/// # Errors
/// When it is no store, or cannot be read at all.
pub fn check(path: &Path) -> Result<Report, UpkeepError> {
    let connection = look(path)?;
    let layout = layout(path, &connection)?;
    let failed = |source| broken(path, "cannot be read", source);
    let mut problems: Vec<String> = Vec::new();
    let sound = connection.prepare("PRAGMA integrity_check(20)").and_then(|mut statement| {
        let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
        rows.collect::<rusqlite::Result<Vec<_>>>()
    });
    match sound {
        Ok(said) => problems.extend(said.into_iter().filter(|line| line != "ok")),
        Err(error) => problems.push(error.to_string()),
    }
    if !problems.is_empty() {
        let bytes = fs::metadata(path).map_or(0, |metadata| metadata.len());
        return Ok(Report { layout, bytes, events: 0, incidents: 0, span: None, problems });
    }
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, u64>(0)).map_err(failed);
    let edge = |order: &str| {
        let sql = format!("SELECT at FROM events ORDER BY row {order} LIMIT 1");
        let found = connection.query_row(&sql, [], |row| row.get(0)).optional().map_err(failed)?;
        Ok::<_, UpkeepError>(found.map(Timestamp::from_micros))
    };
    let events = count("SELECT COUNT(*) FROM events")?;
    if count("SELECT COUNT(*) FROM sqlite_schema WHERE name = 'source_parts'")? > 0 {
        // Since then the index holds a row for each event, and none more.
        let indexed = count("SELECT COUNT(*) FROM words_docsize")?;
        if indexed != events {
            problems.push(format!("{events} events, but {indexed} are indexed"));
        }
    }
    let lost = count(
        "SELECT COUNT(*) FROM incidents WHERE went_into IS NOT NULL
        AND went_into NOT IN (SELECT number FROM incidents)",
    )?;
    if lost > 0 {
        problems.push(format!("{lost} incidents went into others that are not there"));
    }
    // The file alone may be smaller: what was written last is still in the log beside it.
    let bytes = count("PRAGMA page_count")?.saturating_mul(count("PRAGMA page_size")?);
    Ok(Report {
        layout,
        bytes,
        events,
        incidents: count("SELECT COUNT(*) FROM incidents WHERE went_into IS NULL")?,
        span: edge("ASC")?.zip(edge("DESC")?),
        problems,
    })
}

/// Opens a store to read it.
fn look(path: &Path) -> Result<Connection, UpkeepError> {
    if !path.is_file() {
        return Err(UpkeepError::Missing { path: path.to_owned() });
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(path, flags).map_err(|source| broken(path, "cannot be opened", source))?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(|source| broken(path, "cannot be opened", source))?;
    Ok(connection)
}

/// The layout of a file that is a store.
fn layout(path: &Path, connection: &Connection) -> Result<i64, UpkeepError> {
    let failed = |source| broken(path, "cannot be read", source);
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    let sql = "SELECT COUNT(*) FROM sqlite_schema WHERE name IN ('events', 'incidents', 'documents', 'audit')";
    let tables: i64 = connection.query_row(sql, [], |row| row.get(0)).map_err(failed)?;
    if found < 1 || tables < 4 {
        let reason = "it is another database".to_owned();
        return Err(UpkeepError::NoStore { path: path.to_owned(), reason });
    }
    if found > LAYOUT {
        return Err(UpkeepError::Newer { path: path.to_owned(), found, known: LAYOUT });
    }
    Ok(found)
}

fn broken(path: &Path, what: &'static str, source: rusqlite::Error) -> UpkeepError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => UpkeepError::NoStore { path, reason: "it is no database".to_owned() },
        Some(ErrorCode::DatabaseCorrupt) => UpkeepError::Damaged { path, reason: source.to_string() },
        _ => UpkeepError::Sqlite { path, what, source },
    }
}

/// Gives a file that is whole its name, and gives its size.
fn settle(part: &Path, target: &Path) -> Result<u64, UpkeepError> {
    let failed = |what, source| UpkeepError::File { path: target.to_owned(), what, source };
    let file = File::open(part).map_err(|error| failed("cannot be written", error))?;
    file.sync_all().map_err(|error| failed("cannot be written", error))?;
    let bytes = file.metadata().map_or(0, |metadata| metadata.len());
    fs::rename(part, target).map_err(|error| failed("cannot be written", error))?;
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| failed("cannot be written", error))?;
    Ok(bytes)
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}
