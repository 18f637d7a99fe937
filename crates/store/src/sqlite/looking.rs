//! Sums as they are asked for.

use std::collections::BTreeMap;

use aviary_event::{Severity, Timestamp};
use aviary_insight::{Actor, Credential, Source};
use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::events::stage_of;
use super::incidents;
use super::rollup::{Part, begin_of, hour_of, number};
use crate::event::{address_of, key_of};
use crate::overview::{
    CredentialQuery, CredentialRow, Heard, Overview, OverviewQuery, SourceQuery, SourceRow, SourceStory, Span, Tried,
    Whose,
};
use crate::{Cursor, Page, Size};

/// Most sources of a network, or credentials of a time, that are sorted instead of looking for them among all, in order.
const FEW: i64 = 5000;
/// Services and sensors that are named, at most.
const NAMED: i64 = 256;

const SOURCE: &str = "row, realm, name, addr, first_at, last_at, events, credentials";

pub(super) fn overview(connection: &Connection, query: OverviewQuery) -> rusqlite::Result<Overview> {
    let mut found = Overview::default();
    let sql = "SELECT severity, COUNT(*) FROM incidents WHERE went_into IS NULL AND state = 'open' GROUP BY severity";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let Some(severity) = severity(row.get(0)?) {
            found.open.insert(severity, row.get(1)?);
        }
    }
    let sql = "SELECT COUNT(*) FROM incidents WHERE went_into IS NULL AND first_at >= ?1";
    found.new = connection.prepare_cached(sql)?.query_row([query.new.as_micros()], |row| row.get(0))?;
    let begin = hour_of(query.trend);
    let top = query.top.clamp(1, 100);
    let sql = "SELECT hour, stage, SUM(events) FROM hours WHERE hour >= ?1 GROUP BY hour, stage ORDER BY hour, stage";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([begin])?;
    while let Some(row) = rows.next()? {
        let hour = begin_of(row.get(0)?);
        let Some(stage) = stage_of(row.get(1)?) else { continue };
        if found.trend.last().is_none_or(|(last, _)| *last != hour) {
            found.trend.push((hour, BTreeMap::new()));
        }
        if let Some((_, stages)) = found.trend.last_mut() {
            stages.insert(stage, row.get(2)?);
        }
    }
    let sql = "SELECT service, SUM(events) AS events FROM hours WHERE hour >= ?1 AND service <> ''
        GROUP BY service ORDER BY events DESC, service LIMIT ?2";
    found.services = all(connection, sql, params![begin, top], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let sql = "SELECT realm, name, addr, events FROM sources WHERE last_at >= ?1 ORDER BY events DESC, name LIMIT ?2";
    let begin = begin_of(begin).as_micros();
    found.sources = all(connection, sql, params![begin, top], |row| Ok((actor(row, 0)?, row.get(3)?)))?;
    let sql = "SELECT sensor, first_at, last_at, events FROM heard ORDER BY sensor";
    found.sensors = all(connection, sql, [], |row| Ok(Heard { sensor: row.get(0)?, span: span(row, 1)? }))?;
    Ok(found)
}

/// Sources, those that were seen last first.
pub(super) fn sources(connection: &Connection, query: &SourceQuery) -> rusqlite::Result<Page<SourceRow>> {
    let many = match &query.network {
        None => false,
        Some(network) => {
            let sql = "SELECT COUNT(*) FROM (SELECT 1 FROM sources WHERE addr BETWEEN ?1 AND ?2 LIMIT ?3)";
            let values = params![network.first, network.last, FEW + 1];
            connection.prepare_cached(sql)?.query_row(values, |row| row.get::<_, i64>(0))? > FEW
        }
    };
    let limit = query.limit.clamp(1, 1000);
    let asked = select_sources(query, many, limit);
    let mut statement = connection.prepare(&asked.sql)?;
    let rows = statement.query_map(rusqlite::params_from_iter(asked.values), |row| {
        Ok((Cursor { at: row.get(5)?, row: row.get(0)? }, source(connection, row)?))
    })?;
    page(rows.collect::<rusqlite::Result<_>>()?, limit)
}

/// The statement of a page of sources. Those of a network are sorted if they are not many, and else found among all.
fn select_sources(query: &SourceQuery, many: bool, limit: usize) -> Asked {
    let mut asked = Asked { sql: format!("SELECT {SOURCE} FROM sources WHERE 1"), values: Vec::new() };
    if let Some(network) = &query.network {
        // A plus keeps SQLite from the index.
        asked.sql.push_str(if many { " AND +addr BETWEEN ? AND ?" } else { " AND addr BETWEEN ? AND ?" });
        asked.values.extend([Box::new(network.first) as Box<dyn ToSql>, Box::new(network.last)]);
    }
    let plus = if query.network.is_some() && !many { "+" } else { "" };
    asked.that(&format!(" AND {plus}last_at >= ?"), query.since.map(Timestamp::as_micros));
    if let Some(Cursor { at, row }) = query.after {
        asked.sql.push_str(&format!(" AND ({plus}last_at, row) < (?, ?)"));
        asked.values.extend([Box::new(at) as Box<dyn ToSql>, Box::new(row)]);
    }
    asked.sql.push_str(&format!(" ORDER BY {plus}last_at DESC, row DESC LIMIT {limit}"));
    asked
}

/// A source's story.
pub(super) fn story(connection: &Connection, whose: &Whose) -> rusqlite::Result<Option<SourceStory>> {
    let address = whose.address.to_canonical();
    let sql = format!(
        "SELECT {SOURCE} FROM sources WHERE addr = ?1 AND (?2 IS NULL OR realm = ?2) ORDER BY last_at DESC LIMIT 1"
    );
    let found = connection
        .prepare_cached(&sql)?
        .query_row(params![key_of(address), whose.realm], |row| Ok((row.get::<_, i64>(0)?, source(connection, row)?)))
        .optional()?;
    let Some((row, known)) = found else { return Ok(None) };
    let limit = i64::try_from(whose.limit).unwrap_or(i64::MAX);
    // The latest hours, and then in order of time.
    let sql = "SELECT value, events FROM source_parts WHERE source = ?1 AND part = ?2 ORDER BY value DESC LIMIT ?3";
    let values = params![row, number(Part::Hour), limit];
    let hours = all(connection, sql, values, |row| Ok((begin_of(row.get(0)?), row.get(1)?)))?;
    let sql = "SELECT username, password, service, tried.first_at, tried.last_at, tried.events
        FROM tried JOIN credentials ON credentials.row = tried.credential
        WHERE source = ?1 ORDER BY tried.events DESC, tried.credential LIMIT ?2";
    let credentials = all(connection, sql, params![row, limit], |row| {
        Ok(Tried { credential: credential(row, 0)?, service: row.get(2)?, span: span(row, 3)? })
    })?;
    let fingerprints = parts(connection, row, Part::Fingerprint, limit)?;
    let timeline = hours.into_iter().rev().collect();
    Ok(Some(SourceStory { row: known, timeline, credentials, fingerprints }))
}

/// Credentials, the most tried first or the latest.
pub(super) fn credentials(connection: &Connection, query: &CredentialQuery) -> rusqlite::Result<Page<CredentialRow>> {
    let many = match query.since.filter(|_| !query.latest) {
        None => false,
        Some(since) => {
            let sql = match query.service {
                Some(_) => {
                    "SELECT COUNT(*) FROM (SELECT 1 FROM credential_services WHERE service = ?3 AND last_at >= ?1 LIMIT ?2)"
                }
                None => "SELECT COUNT(*) FROM (SELECT 1 FROM credentials WHERE last_at >= ?1 AND ?3 IS NULL LIMIT ?2)",
            };
            let values = params![since.as_micros(), FEW + 1, query.service];
            connection.prepare_cached(sql)?.query_row(values, |row| row.get::<_, i64>(0))? > FEW
        }
    };
    let limit = query.limit.clamp(1, 1000);
    let asked = select_credentials(query, many, limit);
    let mut statement = connection.prepare(&asked.sql)?;
    let latest = query.latest;
    let rows = statement.query_map(rusqlite::params_from_iter(asked.values), |row| {
        let (at, number): (i64, i64) = (row.get(if latest { 3 } else { 4 })?, row.get(5)?);
        let sql = "SELECT service FROM credential_services WHERE credential = ?1 AND service <> ''
            ORDER BY events DESC, service LIMIT ?2";
        let services = all(connection, sql, params![number, NAMED], |row| row.get(0))?;
        let found =
            CredentialRow { credential: credential(row, 0)?, span: span(row, 2)?, sources: row.get(6)?, services };
        Ok((Cursor { at, row: number }, found))
    })?;
    page(rows.collect::<rusqlite::Result<_>>()?, limit)
}

/// The statement of a page of credentials. The most tried of a time are sorted if they are not many, and else found among
/// all: what is tried most is tried all the time.
fn select_credentials(query: &CredentialQuery, many: bool, limit: usize) -> Asked {
    // The left side of a cross join is the outer loop.
    let (table, key, number) = match query.service {
        Some(_) => {
            let both = "credential_services CROSS JOIN credentials ON credentials.row = credential";
            (both, "credential_services", "credential")
        }
        None => ("credentials", "credentials", "row"),
    };
    let columns = format!(
        "username, password, {key}.first_at, {key}.last_at, {key}.events, credentials.row, credentials.sources"
    );
    let mut asked = Asked { sql: format!("SELECT {columns} FROM {table} WHERE 1"), values: Vec::new() };
    asked.that(" AND service = ?", query.service.clone());
    // A plus keeps SQLite from an index.
    let (seen, plus) = match (query.since.is_some() && !query.latest, many) {
        (true, true) => ("+", ""),
        (true, false) => ("", "+"),
        (false, _) => ("", ""),
    };
    asked.that(&format!(" AND {seen}{key}.last_at >= ?"), query.since.map(Timestamp::as_micros));
    let order = if query.latest { "last_at" } else { "events" };
    if let Some(Cursor { at, row }) = query.after {
        asked.sql.push_str(&format!(" AND ({plus}{key}.{order}, {key}.{number}) < (?, ?)"));
        asked.values.extend([Box::new(at) as Box<dyn ToSql>, Box::new(row)]);
    }
    asked.sql.push_str(&format!(" ORDER BY {plus}{key}.{order} DESC, {key}.{number} DESC LIMIT {limit}"));
    asked
}

/// How much there is.
pub(super) fn size(connection: &Connection) -> rusqlite::Result<Size> {
    let pragma = |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, u64>(0));
    let used = pragma("page_count")?.saturating_sub(pragma("freelist_count")?);
    let sql = "SELECT at FROM events ORDER BY row LIMIT 1";
    let oldest = connection.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?;
    let bytes = used.saturating_mul(pragma("page_size")?);
    Ok(Size { bytes, oldest: oldest.map(Timestamp::from_micros) })
}

/// A statement and its values.
struct Asked {
    sql: String,
    values: Vec<Box<dyn ToSql>>,
}

impl Asked {
    fn that<T: ToSql + 'static>(&mut self, condition: &str, value: Option<T>) {
        if let Some(value) = value {
            self.sql.push_str(condition);
            self.values.push(Box::new(value));
        }
    }
}

fn all<T>(
    connection: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare_cached(sql)?.query_map(values, read)?.collect()
}

fn page<T>(rows: Vec<(Cursor, T)>, limit: usize) -> rusqlite::Result<Page<T>> {
    let next = if rows.len() == limit { rows.last().map(|(cursor, _)| *cursor) } else { None };
    Ok(Page { rows: rows.into_iter().map(|(_, row)| row).collect(), next })
}

fn source(connection: &Connection, row: &Row<'_>) -> rusqlite::Result<SourceRow> {
    let number: i64 = row.get(0)?;
    let actor = actor(row, 1)?;
    let sql = "SELECT COUNT(*), MAX(severity) FROM incidents WHERE actor = ?1 AND went_into IS NULL";
    let (incidents, gravest): (u64, Option<i64>) =
        connection.prepare_cached(sql)?.query_row([incidents::key(&actor)], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(SourceRow {
        actor,
        span: span(row, 4)?,
        incidents,
        severity: gravest.and_then(severity),
        services: parts(connection, number, Part::Service, NAMED)?,
        sensors: parts(connection, number, Part::Sensor, NAMED)?,
        credentials: row.get(7)?,
    })
}

fn parts(connection: &Connection, source: i64, part: Part, limit: i64) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT value FROM source_parts WHERE source = ?1 AND part = ?2 AND value <> ''
        ORDER BY events DESC, value LIMIT ?3";
    all(connection, sql, params![source, number(part), limit], |row| row.get(0))
}

/// `realm`, `name` and `addr`, from a column on.
fn actor(row: &Row<'_>, first: usize) -> rusqlite::Result<Actor> {
    let address: Option<[u8; 16]> = row.get(first + 2)?;
    let source = match address {
        Some(address) => Source::Address(address_of(address)),
        None => Source::Text(row.get(first + 1)?),
    };
    Ok(Actor { realm: row.get(first)?, source })
}

/// `username` and `password`, from a column on.
fn credential(row: &Row<'_>, first: usize) -> rusqlite::Result<Credential> {
    Ok(Credential { username: row.get(first)?, password: row.get(first + 1)? })
}

/// `first_at`, `last_at` and `events`, from a column on.
fn span(row: &Row<'_>, first: usize) -> rusqlite::Result<Span> {
    Ok(Span {
        first: Timestamp::from_micros(row.get(first)?),
        last: Timestamp::from_micros(row.get(first + 1)?),
        events: row.get(first + 2)?,
    })
}

fn severity(number: i64) -> Option<Severity> {
    Severity::ALL.into_iter().find(|severity| severity.ocsf() == number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Networks;

    fn plan(connection: &Connection, asked: Asked) -> Vec<String> {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", asked.sql)).expect("a statement");
        let rows = statement.query_map(rusqlite::params_from_iter(asked.values), |row| row.get(3)).expect("a plan");
        rows.collect::<rusqlite::Result<_>>().expect("a plan")
    }

    #[test]
    fn no_list_of_sums_looks_through_a_table() {
        let folder = tempfile::tempdir().expect("a folder");
        let connection = super::super::schema::open(&folder.path().join("hub.db")).expect("a store");
        let (since, after) = (Some(Timestamp::from_micros(1)), Some(Cursor { at: 1, row: 1 }));
        let network = Networks::parse("10.0.0.0/8");
        let mut plans = Vec::new();
        for since in [None, since] {
            for after in [None, after] {
                for network in [None, network] {
                    for many in [false, true] {
                        let query = SourceQuery { since, network, after, limit: 5 };
                        let plan = plan(&connection, select_sources(&query, many && network.is_some(), 5));
                        let index = if network.is_some() && !many { "sources_addr" } else { "sources_last" };
                        plans.push((format!("{query:?}"), index, plan));
                    }
                }
                let services = [None, Some("ssh".to_owned())];
                for (service, latest, many) in services.into_iter().flat_map(|service| {
                    let ways = [(false, false), (false, true), (true, false)];
                    ways.map(|(latest, many)| (service.clone(), latest, many && since.is_some()))
                }) {
                    let query = CredentialQuery { since, service: service.clone(), latest, after, limit: 5 };
                    let index = match (service.is_some(), latest || (since.is_some() && !many)) {
                        (false, false) => "credentials_events",
                        (false, true) => "credentials_last",
                        (true, false) => "credential_services_events",
                        (true, true) => "credential_services_last",
                    };
                    plans.push((format!("{query:?}"), index, plan(&connection, select_credentials(&query, many, 5))));
                }
            }
        }
        for (query, index, plan) in plans {
            assert!(plan.first().is_some_and(|step| step.contains(&format!("INDEX {index}"))), "{query}: {plan:?}");
            for step in plan.iter().skip(1) {
                assert!(
                    step.starts_with("SEARCH credentials USING INTEGER PRIMARY KEY") || step.contains("B-TREE"),
                    "{query}: {plan:?}"
                );
            }
        }
    }
}
