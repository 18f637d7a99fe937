//! Dead letters: events that an output's receiver refused for good, kept until somebody looks at them.

use std::sync::Arc;

use aviary_event::Event;
use rusqlite::{Connection, params};

use crate::Journal;
use crate::queue::lock;

/// Dead letters that are kept; beyond, the oldest go.
pub(crate) const MOST: u64 = 10_000;

/// The table.
pub(crate) const TABLE: &str = "CREATE TABLE IF NOT EXISTS dead (
    id INTEGER PRIMARY KEY, output TEXT NOT NULL, at INTEGER NOT NULL, reason TEXT NOT NULL, line TEXT NOT NULL)";

/// An event that was refused.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Names it.
    pub id: i64,
    /// The output.
    pub output: String,
    /// When it was refused, in microseconds since 1970.
    pub at: i64,
    /// In the receiver's own words.
    pub reason: String,
    /// The event.
    pub event: Arc<Event>,
}

impl Journal {
    /// Keeps an event that an output's receiver refused at a moment (microseconds since 1970). Blocks for one
    /// small transaction.
    ///
    /// # Errors
    /// SQLite's own words.
    pub fn bury(&self, output: &str, event: &Event, at: i64, reason: &str) -> Result<(), String> {
        let store = lock(&self.shared.store);
        bury(store.connection(), output, &event.to_line(true), at, reason).map_err(|error| error.to_string())
    }

    /// The dead letters of an output, or of all, oldest first, at most so many. Blocks.
    ///
    /// # Errors
    /// SQLite's own words.
    pub fn dead(&self, output: Option<&str>, limit: usize) -> Result<Vec<DeadLetter>, String> {
        let store = lock(&self.shared.store);
        read(store.connection(), output, limit).map_err(|error| error.to_string())
    }

    /// How many dead letters there are, by output. Blocks.
    ///
    /// # Errors
    /// SQLite's own words.
    pub fn count_dead(&self) -> Result<Vec<(String, u64)>, String> {
        let store = lock(&self.shared.store);
        let count = || -> rusqlite::Result<_> {
            let mut statement =
                store.connection().prepare("SELECT output, COUNT(*) FROM dead GROUP BY output ORDER BY output")?;
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        count().map_err(|error| error.to_string())
    }

    /// Takes dead letters out, because they are sent again or nobody wants them. Blocks.
    ///
    /// # Errors
    /// SQLite's own words.
    pub fn exhume(&self, ids: &[i64]) -> Result<(), String> {
        let store = lock(&self.shared.store);
        let remove = || -> rusqlite::Result<()> {
            let mut statement = store.connection().prepare_cached("DELETE FROM dead WHERE id = ?1")?;
            ids.iter().try_for_each(|id| statement.execute([id]).map(drop))
        };
        remove().map_err(|error| error.to_string())
    }

    /// Stored events from a moment on (microseconds since 1970) and after a number, oldest first, at most so many.
    /// Blocks.
    ///
    /// # Errors
    /// SQLite's own words.
    pub fn since(&self, at: i64, after: u64, limit: usize) -> Result<Vec<Arc<Event>>, String> {
        let stored = lock(&self.shared.lines);
        let lines = || -> rusqlite::Result<Vec<String>> {
            let mut statement = stored
                .connection()
                .prepare_cached("SELECT line FROM events WHERE seq > ?1 AND at >= ?2 ORDER BY seq LIMIT ?3")?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            statement.query_map(params![after, at, limit], |row| row.get(0))?.collect()
        };
        let lines = lines().map_err(|error| error.to_string())?;
        Ok(lines.iter().filter_map(|line| Event::parse(line).ok()).map(Arc::new).collect())
    }
}

fn bury(connection: &Connection, output: &str, line: &str, at: i64, reason: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO dead (output, at, reason, line) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![output, at, reason, line])?;
    let newest = connection.last_insert_rowid();
    let oldest = newest.saturating_sub(i64::try_from(MOST).unwrap_or(i64::MAX));
    connection.prepare_cached("DELETE FROM dead WHERE id <= ?1")?.execute([oldest])?;
    Ok(())
}

fn read(connection: &Connection, output: Option<&str>, limit: usize) -> rusqlite::Result<Vec<DeadLetter>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, output, at, reason, line FROM dead WHERE ?1 IS NULL OR output = ?1 ORDER BY id LIMIT ?2",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement.query_map(params![output, limit], |row| {
        let line: String = row.get(4)?;
        Ok(Event::parse(&line).ok().map(|event| {
            Ok(DeadLetter {
                id: row.get(0)?,
                output: row.get(1)?,
                at: row.get(2)?,
                reason: row.get(3)?,
                event: Arc::new(event),
            })
        }))
    })?;
    rows.filter_map(Result::transpose).map(|row| row.and_then(|letter| letter)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;

    fn event(number: i64) -> Event {
        Event::parse(&format!(r#"{{"logtype": {number}, "logdata": {{}}}}"#)).unwrap()
    }

    #[test]
    fn refused_events_stay_until_they_are_taken_out() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::at(folder.path().join("j.db"));
        {
            let (journal, _guard) = Journal::open(&options, || 0).unwrap();
            journal.bury("hook", &event(2000), 5, "no such channel").unwrap();
            journal.bury("mail", &event(2001), 6, "550 no").unwrap();
            journal.bury("hook", &event(2002), 7, "too odd").unwrap();
        }
        let (journal, _guard) = Journal::open(&options, || 0).unwrap();
        let dead = journal.dead(Some("hook"), 10).unwrap();
        let seen: Vec<_> =
            dead.iter().map(|letter| (letter.event.logtype, letter.at, letter.reason.as_str())).collect();
        assert_eq!(seen, [(Some(2000), 5, "no such channel"), (Some(2002), 7, "too odd")]);
        assert_eq!(journal.dead(None, 2).unwrap().len(), 2);
        assert_eq!(journal.count_dead().unwrap(), [("hook".to_owned(), 2), ("mail".to_owned(), 1)]);
        journal.exhume(&[dead[0].id]).unwrap();
        assert_eq!(journal.dead(Some("hook"), 10).unwrap().len(), 1);
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(TABLE).unwrap();
        let most = i64::try_from(MOST).unwrap();
        connection.execute("INSERT INTO dead VALUES (?1, 'o', 0, '', '{}')", [most]).unwrap();
        connection.execute("INSERT INTO dead VALUES (1, 'o', 0, '', '{}')", []).unwrap();
        bury(&connection, "o", "{}", 0, "").unwrap();
        let ids: Vec<i64> = read(&connection, None, 10).unwrap().into_iter().map(|letter| letter.id).collect();
        assert_eq!(ids, [most, most + 1]);
    }
}
