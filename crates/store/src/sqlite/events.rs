//! Events in their table.

use aviary_event::Timestamp;
use aviary_insight::{Fact, Stage};
use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use uuid::Uuid;

use super::tags;
use crate::event::key_of;
use crate::{Cursor, EventQuery, EventRow, Networks, Page, Record};

const COLUMNS: &str = "events.row, id, at, received, sensor, stage, hidden, line";

/// Rows that a microsecond has room for; of more events of one moment, some stand behind those of the next.
const ROOM: i64 = 16;

/// Rows that events of one moment may stand behind it: a million.
pub(super) const BEHIND: i64 = 16_000_000;

/// What is indexed of an event, under its row.
pub(super) type Indexed = (i64, String);

pub(super) fn one(connection: &Connection, id: Uuid) -> rusqlite::Result<Option<EventRow>> {
    let sql = format!("SELECT {COLUMNS} FROM events WHERE id = ?1");
    connection.prepare_cached(&sql)?.query_row([id.as_bytes()], read).optional()
}

/// Stores a record, and gives what is to be indexed of it; `None` when it was there already.
pub(super) fn insert(connection: &Connection, record: &Record) -> rusqlite::Result<Option<Indexed>> {
    let told = |pick: fn(&Fact) -> Option<&str>| {
        let facts = record.sighting.iter().flat_map(|sighting| &sighting.facts);
        facts.filter_map(pick).next()
    };
    let target = told(|fact| if let Fact::Target(target) = fact { Some(target) } else { None });
    let port = record.sighting.iter().flat_map(|sighting| &sighting.facts).find_map(|fact| match fact {
        Fact::Port(port) => Some(*port),
        _ => None,
    });
    let actor = record.sighting.as_ref().map(|sighting| &sighting.actor);
    let src = actor.and_then(aviary_insight::Actor::address).map(key_of);
    let dst = target.and_then(|target| target.parse().ok()).map(key_of);
    let sql = "INSERT OR IGNORE INTO events
        (row, id, at, received, sensor, realm, src, dst, port, logtype, service, kind, stage, hidden, line)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
    let mut statement = connection.prepare_cached(sql)?;
    let mut place = first_of(record.at);
    loop {
        let values = params![
            place,
            record.id.as_bytes(),
            record.at.as_micros(),
            record.received.as_micros(),
            record.sensor,
            actor.map_or("", |actor| actor.realm.as_str()),
            src,
            dst,
            port,
            record.logtype,
            record.service,
            record.kind,
            record.sighting.as_ref().map(|sighting| step(sighting.stage)),
            record.hidden,
            record.line,
        ];
        if statement.execute(values)? > 0 {
            return Ok(Some((place, tags::text(record, src, dst, port))));
        }
        let sql = "SELECT EXISTS (SELECT 1 FROM events WHERE id = ?1)";
        if connection.prepare_cached(sql)?.query_row([record.id.as_bytes()], |row| row.get(0))? {
            return Ok(None);
        }
        place = free(connection, place)?;
    }
}

/// Adds events to the index. In order of their rows, since the index writes a piece to the file wherever they go back.
pub(super) fn index(connection: &Connection, mut events: Vec<Indexed>) -> rusqlite::Result<()> {
    events.sort_unstable_by_key(|(row, _)| *row);
    let mut statement = connection.prepare_cached("INSERT INTO words (rowid, body) VALUES (?1, ?2)")?;
    for (row, text) in events {
        statement.execute(params![row, text])?;
    }
    Ok(())
}

/// The first row of a moment. Rows are in order of time, so that the index of words is, too.
pub(super) const fn first_of(at: Timestamp) -> i64 {
    at.as_micros().saturating_mul(ROOM)
}

/// A row behind one that is taken. Those of one moment stand without a gap, so their end is found by doubling and halving.
fn free(connection: &Connection, taken: i64) -> rusqlite::Result<i64> {
    let mut statement = connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM events WHERE row = ?1)")?;
    let mut is_taken = |row: i64| statement.query_row([row], |row| row.get::<_, bool>(0));
    let (mut below, mut step) = (taken, 1_i64);
    while is_taken(below.saturating_add(step))? {
        below = below.saturating_add(step);
        step = step.saturating_mul(2);
    }
    let mut above = below.saturating_add(step);
    while above.saturating_sub(below) > 1 {
        let middle = below.midpoint(above);
        if is_taken(middle)? {
            below = middle;
        } else {
            above = middle;
        }
    }
    Ok(above)
}

/// A page, the newest first.
pub(super) fn page(connection: &Connection, query: &EventQuery) -> rusqlite::Result<Page<EventRow>> {
    let limit = query.limit.clamp(1, 10_000);
    let asked = Asked::of(query);
    let mut statement = connection.prepare(&asked.sql(limit))?;
    let rows = statement.query_map(rusqlite::params_from_iter(asked.values), read)?;
    let rows: Vec<EventRow> = rows.collect::<rusqlite::Result<_>>()?;
    let next = if rows.len() == limit { rows.last() } else { None };
    let next = next.map(|row| Cursor { at: row.at.as_micros(), row: row.row });
    Ok(Page { rows, next })
}

/// Conditions and their values.
#[derive(Default)]
struct Asked {
    /// Whether the index of words is asked first.
    indexed: bool,
    sql: String,
    values: Vec<Box<dyn ToSql>>,
}

impl Asked {
    fn of(query: &EventQuery) -> Self {
        let mut asked = Self::default();
        let question = tags::question(query);
        asked.indexed = question.is_some();
        asked.one("words MATCH ?", question);
        let row = if asked.indexed { "words.rowid" } else { "events.row" };
        if let Some(since) = query.since {
            asked.one(&format!("{row} >= ?"), Some(first_of(since)));
            asked.one("at >= ?", Some(since.as_micros()));
        }
        if let Some(until) = query.until {
            asked.one(&format!("{row} < ?"), Some(first_of(until).saturating_add(BEHIND)));
            asked.one("at < ?", Some(until.as_micros()));
        }
        asked.one(&format!("{row} < ?"), query.after.map(|after| after.row));
        for (column, network) in [("src", query.sources), ("dst", query.destinations)] {
            let Some(Networks { first, last }) = network else { continue };
            asked.that(&format!("{column} BETWEEN ? AND ?"), [Box::new(first) as Box<dyn ToSql>, Box::new(last)]);
        }
        asked.one("realm = ?", query.realm.clone());
        asked.one("sensor = ?", query.sensor.clone());
        asked.one("service = ?", query.service.clone());
        asked.one("kind = ?", query.kind.clone());
        asked.one("logtype = ?", query.logtype);
        asked.one("stage >= ?", query.stage.map(step));
        asked.one("port = ?", query.port);
        asked.one("hidden = ?", query.rule.clone());
        match query.hidden {
            Some(true) => asked.sql.push_str(" AND hidden IS NOT NULL"),
            Some(false) => asked.sql.push_str(" AND hidden IS NULL"),
            None => {}
        }
        for (key, text) in &query.fields {
            // The path is a value, too, so that no key of anybody's becomes SQL.
            let path = format!("$.logdata.\"{}\"", key.replace('"', ""));
            asked.that(
                "CASE json_type(line, ?) WHEN 'true' THEN 'true' WHEN 'false' THEN 'false'
                    ELSE CAST(json_extract(line, ?) AS TEXT) END = ?",
                [Box::new(path.clone()) as Box<dyn ToSql>, Box::new(path), Box::new(text.clone())],
            );
        }
        asked
    }

    fn one<T: ToSql + 'static>(&mut self, condition: &str, value: Option<T>) {
        if let Some(value) = value {
            self.that(condition, [Box::new(value) as Box<dyn ToSql>]);
        }
    }

    fn that<const N: usize>(&mut self, condition: &str, values: [Box<dyn ToSql>; N]) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
        self.values.extend(values);
    }

    fn sql(&self, limit: usize) -> String {
        // The left side of a cross join is the outer loop, so that rows come in the order of the index.
        let (from, row) = match self.indexed {
            true => ("words CROSS JOIN events ON events.row = words.rowid", "words.rowid"),
            false => ("events", "events.row"),
        };
        format!("SELECT {COLUMNS} FROM {from} WHERE 1{} ORDER BY {row} DESC LIMIT {limit}", self.sql)
    }
}

pub(super) const fn step(stage: Stage) -> i64 {
    match stage {
        Stage::Touch => 1,
        Stage::Scan => 2,
        Stage::Probe => 3,
        Stage::LoginAttempt => 4,
        Stage::DecoyUsed => 5,
        Stage::ExploitAttempt => 6,
    }
}

/// The stage of a number that [`step`] gives.
pub(super) fn stage_of(number: i64) -> Option<Stage> {
    Stage::ALL.into_iter().find(|stage| step(*stage) == number)
}

fn read(row: &Row<'_>) -> rusqlite::Result<EventRow> {
    let id: [u8; 16] = row.get(1)?;
    let number: Option<i64> = row.get(5)?;
    Ok(EventRow {
        row: row.get(0)?,
        id: Uuid::from_bytes(id),
        at: Timestamp::from_micros(row.get(2)?),
        received: Timestamp::from_micros(row.get(3)?),
        sensor: row.get(4)?,
        stage: number.and_then(stage_of),
        hidden: row.get(6)?,
        line: row.get(7)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What SQLite says that it does for a query.
    fn plan(query: &EventQuery) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let connection = super::super::schema::open(&folder.path().join("hub.db")).expect("a store");
        let asked = Asked::of(query);
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", asked.sql(10))).expect("a statement");
        let rows = statement.query_map(rusqlite::params_from_iter(asked.values), |row| row.get(3)).expect("a plan");
        rows.collect::<rusqlite::Result<_>>().expect("a plan")
    }

    #[test]
    fn no_search_looks_through_the_table_or_sorts() {
        let query = EventQuery::default;
        let text = |text: &str| Some(text.to_owned());
        let from = |text: &str| Networks::parse(text);
        let at = |micros| Some(Timestamp::from_micros(micros));
        let searches = [
            EventQuery { sources: from("10.0.0.1"), ..query() },
            EventQuery { sources: from("10.0.0.0/9"), ..query() },
            EventQuery { sources: from("0.0.0.0/0"), ..query() },
            EventQuery { sources: from("2000::/3"), ..query() },
            EventQuery { destinations: from("10.0.0.0/20"), ..query() },
            EventQuery { sensor: text("north"), ..query() },
            EventQuery { service: text("ssh"), since: at(1), until: at(2), ..query() },
            EventQuery { kind: text("login"), ..query() },
            EventQuery { logtype: Some(4002), after: Some(Cursor { at: 1, row: 1 }), ..query() },
            EventQuery { stage: Some(Stage::Probe), ..query() },
            EventQuery { port: Some(22), ..query() },
            EventQuery { realm: text("berlin"), ..query() },
            EventQuery { hidden: Some(true), ..query() },
            EventQuery { hidden: Some(false), ..query() },
            EventQuery { rule: text("nessus"), ..query() },
            EventQuery { fields: vec![("USERNAME".to_owned(), "root".to_owned())], ..query() },
            EventQuery { fields: vec![("USERNAME".to_owned(), "x ".repeat(300))], ..query() },
            EventQuery { text: text("root toor"), ..query() },
            EventQuery { text: text("root"), sources: from("10.0.0.0/8"), service: text("ssh"), ..query() },
        ];
        for search in searches {
            let plan = plan(&search);
            assert_eq!(plan.len(), 2, "{plan:?}");
            assert!(plan[0].starts_with("SCAN words VIRTUAL TABLE INDEX ") && plan[0].contains('M'), "{plan:?}");
            assert_eq!(plan[1], "SEARCH events USING INTEGER PRIMARY KEY (rowid=?)");
        }
    }

    #[test]
    fn what_asks_for_all_or_for_a_time_goes_along_the_rows() {
        let query = EventQuery { since: Some(Timestamp::from_micros(1)), ..EventQuery::default() };
        assert_eq!(plan(&query), ["SEARCH events USING INTEGER PRIMARY KEY (rowid>?)"]);
        assert_eq!(plan(&EventQuery::default()), ["SCAN events"], "backwards, until the page is full");
        let after = EventQuery { after: Some(Cursor { at: 1, row: 1 }), ..EventQuery::default() };
        assert_eq!(plan(&after), ["SEARCH events USING INTEGER PRIMARY KEY (rowid<?)"]);
    }
}
