//! Incidents in their table.

use std::collections::BTreeSet;

use aviary_event::{Severity, Timestamp};
use aviary_insight::{Actor, Fact, Incident, news};
use rusqlite::types::{ToSql, Type};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::de::DeserializeOwned;

use crate::{Cursor, IncidentQuery, IncidentRow, Note, Page, State};

/// Most incidents that one goes into, one after the other, before a loop is assumed.
const HOPS: usize = 64;

const COLUMNS: &str = "number, body, state, notes, told, went_into";

/// The text of an actor in the index.
pub(super) fn key(actor: &Actor) -> String {
    format!("{} {}", actor.source, actor.realm)
}

/// One incident, or the one that it went into.
pub(super) fn one(connection: &Connection, mut number: i64) -> rusqlite::Result<Option<IncidentRow>> {
    let sql = format!("SELECT {COLUMNS} FROM incidents WHERE number = ?1");
    for _ in 0..HOPS {
        let found = connection
            .prepare_cached(&sql)?
            .query_row([number], |row| match row.get::<_, Option<i64>>(5)? {
                Some(other) => Ok(Err(other)),
                None => read(row).map(Ok),
            })
            .optional()?;
        match found {
            Some(Err(other)) => number = other,
            Some(Ok(incident)) => return Ok(Some(incident)),
            None => return Ok(None),
        }
    }
    Ok(None)
}

/// Incidents of an actor with an event from a moment on.
pub(super) fn of_actor(connection: &Connection, actor: &Actor, since: i64) -> rusqlite::Result<Vec<IncidentRow>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM incidents WHERE actor = ?1 AND last_at >= ?2 AND went_into IS NULL ORDER BY number"
    );
    connection.prepare_cached(&sql)?.query_map(params![key(actor), since], read)?.collect()
}

/// A page, those with the latest event first.
pub(super) fn page(connection: &Connection, query: &IncidentQuery) -> rusqlite::Result<Page<IncidentRow>> {
    let mut sql = format!("SELECT {COLUMNS}, last_at FROM incidents WHERE went_into IS NULL");
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    let mut ask = |condition: &str, value: Box<dyn ToSql>| {
        sql.push_str(" AND ");
        sql.push_str(condition);
        values.push(value);
    };
    if let Some(state) = query.state {
        ask("state = ?", Box::new(state.word()));
    }
    if let Some(severity) = query.severity {
        ask("severity >= ?", Box::new(severity.ocsf()));
    }
    if let Some(actor) = &query.actor {
        ask("actor = ?", Box::new(key(actor)));
    }
    if let Some(since) = query.since {
        ask("last_at >= ?", Box::new(since.as_micros()));
    }
    if let Some(Cursor { at, row }) = query.after {
        ask("(last_at, number) < (?", Box::new(at));
        sql.push_str(", ?)");
        values.push(Box::new(row));
    }
    let limit = query.limit.clamp(1, 1000);
    sql.push_str(" ORDER BY last_at DESC, number DESC LIMIT ?");
    values.push(Box::new(i64::try_from(limit).unwrap_or(1)));
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map(rusqlite::params_from_iter(values), |row| {
        let incident = read(row)?;
        Ok((Cursor { at: row.get(6)?, row: incident.number }, incident))
    })?;
    let rows: Vec<(Cursor, IncidentRow)> = rows.collect::<rusqlite::Result<_>>()?;
    let next = if rows.len() == limit { rows.last().map(|(cursor, _)| *cursor) } else { None };
    Ok(Page { rows: rows.into_iter().map(|(_, incident)| incident).collect(), next })
}

/// Incidents of which there is something that nobody decided to tell or not to tell.
pub(super) fn undecided(connection: &Connection, limit: usize) -> rusqlite::Result<Vec<IncidentRow>> {
    let sql = format!("SELECT {COLUMNS} FROM incidents WHERE due = 1 AND went_into IS NULL ORDER BY number LIMIT ?1");
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    connection.prepare_cached(&sql)?.query_map([limit], read)?.collect()
}

/// Writes an incident; number 0 is a new one. Gives its number.
pub(super) fn write(connection: &Connection, row: &IncidentRow) -> rusqlite::Result<i64> {
    let incident = &row.incident;
    let number = (row.number > 0).then_some(row.number);
    let sql = "INSERT OR REPLACE INTO incidents
        (number, actor, first_at, last_at, severity, state, body, notes, told, due, went_into)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, NULL)";
    connection.prepare_cached(sql)?.execute(params![
        number,
        key(&incident.actor),
        incident.first.at,
        incident.last.at,
        row.severity.ocsf(),
        row.state.word(),
        text(incident)?,
        text(&row.notes)?,
        text(&row.told)?,
        !news(&incident.facts, &row.told).is_empty(),
    ])?;
    Ok(number.unwrap_or_else(|| connection.last_insert_rowid()))
}

/// Notes that an incident went into another.
pub(super) fn forward(connection: &Connection, number: i64, into: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE incidents SET went_into = ?2, body = '', notes = '[]', told = '[]' WHERE number = ?1";
    connection.prepare_cached(sql)?.execute([number, into])?;
    super::deliveries::forward(connection, number, into)
}

fn read(row: &Row<'_>) -> rusqlite::Result<IncidentRow> {
    let body: String = row.get(1)?;
    let incident: Incident = json(1, &body)?;
    let verdict = incident.verdict();
    let state: String = row.get(2)?;
    Ok(IncidentRow {
        number: row.get(0)?,
        severity: verdict.severity,
        stage: verdict.stage,
        incident,
        state: State::from_word(&state).unwrap_or_default(),
        notes: json::<BTreeSet<Note>>(3, &row.get::<_, String>(3)?)?,
        told: json::<BTreeSet<Fact>>(4, &row.get::<_, String>(4)?)?,
    })
}

pub(super) fn json<T: DeserializeOwned>(column: usize, text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into()))
}

pub(super) fn text(value: &impl serde::Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// Incidents that began before a moment and whose events are kept as evidence: what is not closed, and what was grave.
pub(super) fn kept(connection: &Connection, before: Timestamp) -> rusqlite::Result<Vec<Incident>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM incidents
         WHERE went_into IS NULL AND first_at < ?1 AND (state <> 'closed' OR severity >= ?2)"
    );
    let values = params![before.as_micros(), Severity::High.ocsf()];
    connection.prepare_cached(&sql)?.query_map(values, |row| read(row).map(|row| row.incident))?.collect()
}
