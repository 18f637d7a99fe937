//! What is old goes, but for what is evidence.

use std::collections::HashMap;

use aviary_event::{Event, Severity, Timestamp};
use aviary_insight::Actor;
use rusqlite::{Connection, params};

use super::events::{BEHIND, first_of};
use super::incidents;
use super::rollup::hour_of;
use crate::event::address_of;
use crate::{Cursor, Expired};

/// What nobody has closed is evidence, and so is what was grave.
const EVIDENCE: &str = "went_into IS NULL AND (state <> 'closed' OR severity >= ?2)";

/// Looks at so many events older than a moment, from a place on, and removes those that are no evidence. After the last
/// one the sums go that nothing newer speaks of, and what is free of the file.
pub(super) fn expire(
    connection: &Connection,
    before: Timestamp,
    from: Option<Cursor>,
    limit: usize,
) -> rusqlite::Result<Expired> {
    let old = old(connection, before, from, limit)?;
    let last = old.last().map(|old| Cursor { at: old.at, row: old.row });
    let done = old.len() < limit;
    let mut removed = 0_u64;
    let mut drop_event = connection.prepare_cached("DELETE FROM events WHERE row = ?1")?;
    let mut drop_words = connection.prepare_cached("DELETE FROM words WHERE rowid = ?1")?;
    let mut kept: HashMap<Actor, Vec<(i64, i64)>> = HashMap::new();
    for event in old {
        if event.at >= before.as_micros() {
            continue;
        }
        if let Some(actor) = event.actor {
            let spans = match kept.get(&actor) {
                Some(spans) => spans,
                None => kept.entry(actor.clone()).or_insert(evidence(connection, &actor)?),
            };
            if spans.iter().any(|(first, last)| (*first..=*last).contains(&event.at)) {
                continue;
            }
        }
        drop_words.execute([event.row])?;
        removed = removed.saturating_add(u64::try_from(drop_event.execute([event.row])?).unwrap_or(0));
    }
    let more = if done { forget(connection, before, limit)? } else { true };
    if !more {
        connection.execute_batch("PRAGMA incremental_vacuum(4096)")?;
    }
    // Sums may be left after the last event; then the next step begins where this one did.
    let next = last.or(from).unwrap_or(Cursor { at: i64::MIN, row: i64::MIN });
    Ok(Expired { removed, next: more.then_some(next) })
}

/// An event that may be too old.
struct Old {
    row: i64,
    at: i64,
    /// Whose it is; `None` for one of nobody.
    actor: Option<Actor>,
}

fn old(connection: &Connection, before: Timestamp, from: Option<Cursor>, limit: usize) -> rusqlite::Result<Vec<Old>> {
    let sql = "SELECT row, at, src, realm, stage IS NOT NULL AND src IS NULL, sensor, line FROM events
        WHERE row > ?1 AND row < ?2 ORDER BY row LIMIT ?3";
    let end = first_of(before).saturating_add(BEHIND);
    let values = params![from.map_or(i64::MIN, |from| from.row), end, i64::try_from(limit).unwrap_or(i64::MAX)];
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(values, |row| {
        let (src, realm): (Option<[u8; 16]>, String) = (row.get(2)?, row.get(3)?);
        let actor = match src {
            Some(src) => Some(Actor { realm, source: aviary_insight::Source::Address(address_of(src)) }),
            // A source that is no address stands in the line only.
            None if row.get(4)? => {
                let (sensor, line): (String, String) = (row.get(5)?, row.get(6)?);
                let source = Event::parse(&line).ok().and_then(|event| event.src);
                source.and_then(|source| Actor::new(&source.host, &realm, &sensor))
            }
            None => None,
        };
        Ok(Old { row: row.get(0)?, at: row.get(1)?, actor })
    })?;
    rows.collect()
}

/// The first and last moments of an actor's incidents whose events are evidence.
fn evidence(connection: &Connection, actor: &Actor) -> rusqlite::Result<Vec<(i64, i64)>> {
    let sql = format!("SELECT first_at, last_at FROM incidents WHERE actor = ?1 AND {EVIDENCE}");
    let values = params![incidents::key(actor), Severity::High.ocsf()];
    connection.prepare_cached(&sql)?.query_map(values, |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// Removes sums that nothing newer speaks of, and says whether there may be more of them.
fn forget(connection: &Connection, before: Timestamp, limit: usize) -> rusqlite::Result<bool> {
    connection.prepare_cached("DELETE FROM hours WHERE hour < ?1")?.execute([hour_of(before)])?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let numbers = |sql: &str, values: &[&dyn rusqlite::ToSql]| -> rusqlite::Result<Vec<i64>> {
        connection.prepare_cached(sql)?.query_map(values, |row| row.get(0))?.collect()
    };
    let sql = format!(
        "SELECT row FROM sources WHERE last_at < ?1
            AND NOT EXISTS (SELECT 1 FROM incidents WHERE actor = name || ' ' || realm AND {EVIDENCE})
         LIMIT ?3"
    );
    let sources = numbers(&sql, params![before.as_micros(), Severity::High.ocsf(), limit])?;
    for source in &sources {
        for sql in [
            "DELETE FROM source_parts WHERE source = ?1",
            "DELETE FROM tried WHERE source = ?1",
            "DELETE FROM sources WHERE row = ?1",
        ] {
            connection.prepare_cached(sql)?.execute([source])?;
        }
    }
    let sql = "SELECT row FROM credentials WHERE last_at < ?1 LIMIT ?2";
    let credentials = numbers(sql, params![before.as_micros(), limit])?;
    for credential in &credentials {
        for sql in ["DELETE FROM credential_services WHERE credential = ?1", "DELETE FROM credentials WHERE row = ?1"] {
            connection.prepare_cached(sql)?.execute([credential])?;
        }
    }
    let full = |numbers: &[i64]| i64::try_from(numbers.len()).unwrap_or(0) >= limit;
    Ok(full(&sources) || full(&credentials))
}
