//! Incidents in their table.

use std::collections::BTreeSet;

use aviary_event::Severity;
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
    let limit = query.limit.clamp(1, 1000);
    let (sql, values) = select(query, limit);
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map(rusqlite::params_from_iter(values), |row| {
        let incident = read(row)?;
        Ok((Cursor { at: row.get(6)?, row: incident.number }, incident))
    })?;
    let rows: Vec<(Cursor, IncidentRow)> = rows.collect::<rusqlite::Result<_>>()?;
    let next = if rows.len() == limit { rows.last().map(|(cursor, _)| *cursor) } else { None };
    Ok(Page { rows: rows.into_iter().map(|(_, incident)| incident).collect(), next })
}

/// The statement of a page. A state and a severity have an index in order of time, so the first rows of each state and
/// severity that are asked for are taken, and of these the first.
fn select(query: &IncidentQuery, limit: usize) -> (String, Vec<Box<dyn ToSql>>) {
    const ORDER: &str = "ORDER BY last_at DESC, number DESC LIMIT";
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    let mut conditions = |pair: Option<(State, Severity)>| {
        let mut sql = "FROM incidents WHERE went_into IS NULL".to_owned();
        let mut ask = |condition: &str, value: Box<dyn ToSql>| {
            sql.push_str(condition);
            values.push(value);
        };
        if let Some((state, severity)) = pair {
            ask(" AND state = ?", Box::new(state.word()));
            ask(" AND severity = ?", Box::new(severity.ocsf()));
        }
        if let Some(actor) = &query.actor {
            ask(" AND actor = ?", Box::new(key(actor)));
            // An actor has few incidents, whatever else is asked.
            if let Some(state) = query.state {
                ask(" AND +state = ?", Box::new(state.word()));
            }
            if let Some(severity) = query.severity {
                ask(" AND +severity >= ?", Box::new(severity.ocsf()));
            }
        }
        if let Some(since) = query.since {
            ask(" AND last_at >= ?", Box::new(since.as_micros()));
        }
        if let Some(Cursor { at, row }) = query.after {
            ask(" AND (last_at, number) < (?", Box::new(at));
            ask(", ?)", Box::new(row));
        }
        sql
    };
    if query.actor.is_some() || (query.state.is_none() && query.severity.is_none()) {
        return (format!("SELECT {COLUMNS}, last_at {} {ORDER} {limit}", conditions(None)), values);
    }
    let states = [State::Open, State::Acknowledged, State::Closed].into_iter();
    let states = states.filter(|state| query.state.is_none_or(|asked| asked == *state));
    let pairs = states.flat_map(|state| Severity::ALL.map(|severity| (state, severity)));
    let pairs = pairs.filter(|(_, severity)| query.severity.is_none_or(|least| *severity >= least));
    let parts: Vec<String> = pairs
        .map(|pair| {
            format!("SELECT * FROM (SELECT number AS found, last_at AS at {} {ORDER} {limit})", conditions(Some(pair)))
        })
        .collect();
    let sql = format!(
        "SELECT {COLUMNS}, last_at FROM ({}) CROSS JOIN incidents ON number = found {ORDER} {limit}",
        parts.join(" UNION ALL ")
    );
    (sql, values)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_list_looks_through_the_table() {
        let folder = tempfile::tempdir().expect("a folder");
        let connection = super::super::schema::open(&folder.path().join("hub.db")).expect("a store");
        let query = IncidentQuery::default;
        let lists = [
            query(),
            IncidentQuery { since: Some(aviary_event::Timestamp::from_micros(1)), ..query() },
            IncidentQuery { state: Some(State::Closed), ..query() },
            IncidentQuery { severity: Some(Severity::High), after: Some(Cursor { at: 1, row: 1 }), ..query() },
            IncidentQuery { state: Some(State::Open), severity: Some(Severity::Critical), ..query() },
            IncidentQuery { actor: Actor::new("10.0.0.1", "", ""), state: Some(State::Open), ..query() },
        ];
        for list in lists {
            let (sql, values) = select(&list, 10);
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("a statement");
            let rows = statement.query_map(rusqlite::params_from_iter(values), |row| row.get(3)).expect("a plan");
            let plan: Vec<String> = rows.collect::<rusqlite::Result<_>>().expect("a plan");
            for step in plan.iter().filter(|step| step.contains("incidents")) {
                assert!(
                    step.starts_with("SEARCH incidents USING") || step.contains("INDEX incidents_"),
                    "{list:?} {plan:?}"
                );
            }
        }
    }
}
