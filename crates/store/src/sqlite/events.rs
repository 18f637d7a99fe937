//! Events in their table.

use std::collections::HashMap;

use aviary_event::Timestamp;
use aviary_insight::{Fact, Stage};
use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use uuid::Uuid;

use crate::event::key_of;
use crate::{Cursor, EventQuery, EventRow, Networks, Page, Record};

const COLUMNS: &str = "row, id, at, received, sensor, stage, hidden, line";

/// Most events of a network that are sorted instead of looking for them among all, the newest first.
const FEW: i64 = 5000;

pub(super) fn one(connection: &Connection, id: Uuid) -> rusqlite::Result<Option<EventRow>> {
    let sql = format!("SELECT {COLUMNS} FROM events WHERE id = ?1");
    connection.prepare_cached(&sql)?.query_row([id.as_bytes()], read).optional()
}

/// Stores a record, and says whether it was new.
pub(super) fn insert(connection: &Connection, record: &Record) -> rusqlite::Result<bool> {
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
    let values = params![
        record.id.as_bytes(),
        record.at.as_micros(),
        record.received.as_micros(),
        record.sensor,
        actor.map_or("", |actor| actor.realm.as_str()),
        actor.and_then(aviary_insight::Actor::address).map(key_of),
        target.and_then(|target| target.parse().ok()).map(key_of),
        port,
        record.logtype,
        record.service,
        record.kind,
        record.sighting.as_ref().map(|sighting| step(sighting.stage)),
        record.hidden,
        record.line,
    ];
    let sql = "INSERT OR IGNORE INTO events
        (id, at, received, sensor, realm, src, dst, port, logtype, service, kind, stage, hidden, line)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
    let fresh = connection.prepare_cached(sql)?.execute(values)? > 0;
    if fresh && !record.words.is_empty() {
        let sql = "INSERT INTO words (rowid, body) VALUES (?1, ?2)";
        connection.prepare_cached(sql)?.execute(params![connection.last_insert_rowid(), record.words])?;
    }
    Ok(fresh)
}

/// A page, the newest first.
pub(super) fn page(connection: &Connection, query: &EventQuery) -> rusqlite::Result<Page<EventRow>> {
    let mut asked = Asked::default();
    if let Some(network) = &query.sources {
        asked.source(connection, network)?;
    }
    if let Some(Networks { first, last }) = query.destinations {
        asked.that("dst BETWEEN ? AND ?", [Box::new(first) as Box<dyn ToSql>, Box::new(last)]);
    }
    asked.one("at >= ?", query.since.map(Timestamp::as_micros));
    asked.one("at < ?", query.until.map(Timestamp::as_micros));
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
    let mut words: Vec<String> = Vec::new();
    for (key, text) in &query.fields {
        words.extend(tokens(text));
        // The path is a value, too, so that no key of anybody's becomes SQL.
        let path = format!("$.logdata.\"{}\"", key.replace('"', ""));
        asked.that("json_extract(line, ?) = ?", [Box::new(path) as Box<dyn ToSql>, Box::new(text.clone())]);
    }
    words.extend(query.text.iter().flat_map(|text| tokens(text)));
    if !words.is_empty() {
        asked.one("row IN (SELECT rowid FROM words WHERE words MATCH ?)", Some(words.join(" AND ")));
    }
    if let Some(Cursor { at, row }) = query.after {
        asked.that("(at, row) < (?, ?)", [Box::new(at) as Box<dyn ToSql>, Box::new(row)]);
    }
    let limit = query.limit.clamp(1, 10_000);
    let sql = format!("SELECT {COLUMNS} FROM events WHERE 1{} ORDER BY at DESC, row DESC LIMIT {limit}", asked.sql);
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map(rusqlite::params_from_iter(asked.values), read)?;
    let rows: Vec<EventRow> = rows.collect::<rusqlite::Result<_>>()?;
    let next = if rows.len() == limit { rows.last() } else { None };
    let next = next.map(|row| Cursor { at: row.at.as_micros(), row: row.row });
    Ok(Page { rows, next })
}

/// Conditions and their values.
#[derive(Default)]
struct Asked {
    sql: String,
    values: Vec<Box<dyn ToSql>>,
}

impl Asked {
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

    /// A source by its index; a network by its index when it has few events, and else among all, of which it has many.
    fn source(&mut self, connection: &Connection, network: &Networks) -> rusqlite::Result<()> {
        let (first, last) = (network.first, network.last);
        if network.is_one() {
            self.one("src = ?", Some(first));
            return Ok(());
        }
        let sql = "SELECT COUNT(*) FROM (SELECT 1 FROM events WHERE src BETWEEN ?1 AND ?2 LIMIT ?3)";
        let count: i64 = connection.prepare_cached(sql)?.query_row(params![first, last, FEW + 1], |row| row.get(0))?;
        // A plus keeps SQLite from the index.
        let column = if count > FEW { "+src" } else { "src" };
        let values = [Box::new(first) as Box<dyn ToSql>, Box::new(last)];
        self.that(&format!("{column} BETWEEN ? AND ?"), values);
        Ok(())
    }
}

/// Words as FTS5 takes them: each quoted, so that nothing in them is an operator.
fn tokens(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| format!("\"{word}\"")).collect()
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

/// The first and last moment of an incident.
type Span = (i64, i64);

/// Removes events before a moment, but for those of incidents that are kept; gives how many went.
pub(super) fn expire(connection: &Connection, before: Timestamp, limit: usize) -> rusqlite::Result<u64> {
    // What nobody has closed is evidence, and so is what was grave.
    let sql = "
        SELECT row, src, realm, at FROM events WHERE at < ?1 ORDER BY at LIMIT ?2";
    let mut kept: HashMap<(Vec<u8>, String), Vec<Span>> = HashMap::new();
    for incident in super::incidents::kept(connection, before)? {
        let actor = &incident.actor;
        let Some(address) = actor.address() else { continue };
        let spans = kept.entry((key_of(address).to_vec(), actor.realm.clone())).or_default();
        spans.push((incident.first.at, incident.last.at));
    }
    let mut old = connection.prepare_cached(sql)?;
    let rows = old.query_map(params![before.as_micros(), i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, Option<Vec<u8>>>(1)?, row.get::<_, String>(2)?, row.get::<_, i64>(3)?))
    })?;
    let mut removed = 0_u64;
    let mut drop_event = connection.prepare_cached("DELETE FROM events WHERE row = ?1")?;
    let mut drop_words = connection.prepare_cached("DELETE FROM words WHERE rowid = ?1")?;
    for row in rows.collect::<rusqlite::Result<Vec<_>>>()? {
        let (number, src, realm, at) = row;
        let spans = src.and_then(|src| kept.get(&(src, realm)));
        if spans.is_some_and(|spans| spans.iter().any(|(first, last)| (*first..=*last).contains(&at))) {
            continue;
        }
        drop_words.execute([number])?;
        removed = removed.saturating_add(u64::try_from(drop_event.execute([number])?).unwrap_or(0));
    }
    Ok(removed)
}
