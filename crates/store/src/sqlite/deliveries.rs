//! The ledger in its table, and what rules hid.

use aviary_event::{Severity, Timestamp};
use aviary_insight::Fact;
use rusqlite::types::ToSql;
use rusqlite::{Connection, Row, params};

use super::incidents::{json, text};
use crate::delivery::{Delivery, DeliveryQuery, Draft, Fate, Hits, Settled};
use crate::{Cursor, Page, Record};

/// Rows of one channel that are looked at together. A channel that has been dead for long keeps no other waiting.
const OPEN: i64 = 200;

/// Rows that are removed in one transaction.
const REMOVED: i64 = 5000;

const COLUMNS: &str = "row, at, policy, channel, incident, severity, fate, due, attempts, tried, answer, facts";

pub(super) const STEP: &str = "
    ALTER TABLE incidents ADD COLUMN due INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX incidents_due ON incidents (number) WHERE due = 1 AND went_into IS NULL;
    CREATE TABLE hits (
        rule TEXT PRIMARY KEY,
        events INTEGER NOT NULL,
        last INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE deliveries (
        row INTEGER PRIMARY KEY AUTOINCREMENT,
        at INTEGER NOT NULL,
        policy TEXT NOT NULL,
        channel TEXT NOT NULL,
        incident INTEGER NOT NULL,
        severity INTEGER NOT NULL,
        fate TEXT NOT NULL,
        over INTEGER NOT NULL DEFAULT 0,
        due INTEGER NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        tried INTEGER,
        answer TEXT NOT NULL DEFAULT '',
        facts TEXT NOT NULL
    );
    CREATE INDEX deliveries_open ON deliveries (channel, row) WHERE over = 0;
    CREATE INDEX deliveries_incident ON deliveries (incident);
    CREATE INDEX deliveries_tried ON deliveries (channel, tried) WHERE tried IS NOT NULL;
    ";

fn read(row: &Row<'_>) -> rusqlite::Result<Delivery> {
    let severity: i64 = row.get(5)?;
    let fate: String = row.get(6)?;
    Ok(Delivery {
        row: row.get(0)?,
        at: Timestamp::from_micros(row.get(1)?),
        policy: row.get(2)?,
        channel: row.get(3)?,
        incident: row.get(4)?,
        severity: Severity::ALL.into_iter().find(|known| known.ocsf() == severity).unwrap_or(Severity::Low),
        fate: Fate::from_word(&fate).unwrap_or(Fate::Failed),
        due: Timestamp::from_micros(row.get(7)?),
        attempts: row.get(8)?,
        tried: row.get::<_, Option<i64>>(9)?.map(Timestamp::from_micros),
        answer: row.get(10)?,
        facts: json::<Vec<Fact>>(11, &row.get::<_, String>(11)?)?,
    })
}

/// A page, the newest first.
pub(super) fn page(connection: &Connection, query: &DeliveryQuery) -> rusqlite::Result<Page<Delivery>> {
    let mut sql = format!("SELECT {COLUMNS} FROM deliveries WHERE 1");
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    if let Some(incident) = query.incident {
        sql.push_str(" AND incident = ?");
        values.push(Box::new(incident));
    }
    if let Some(channel) = &query.channel {
        sql.push_str(" AND channel = ?");
        values.push(Box::new(channel.clone()));
    }
    if query.tried {
        sql.push_str(" AND tried IS NOT NULL");
    }
    if let Some(Cursor { at, row }) = query.after {
        let column = if query.tried { "tried" } else { "at" };
        sql.push_str(&format!(" AND ({column}, row) < (?, ?)"));
        values.push(Box::new(at));
        values.push(Box::new(row));
    }
    let limit = query.limit.clamp(1, 1000);
    sql.push_str(if query.tried {
        " ORDER BY tried DESC, row DESC LIMIT ?"
    } else {
        " ORDER BY at DESC, row DESC LIMIT ?"
    });
    values.push(Box::new(i64::try_from(limit).unwrap_or(1)));
    let mut statement = connection.prepare_cached(&sql)?;
    let rows: Vec<Delivery> =
        statement.query_map(rusqlite::params_from_iter(values), read)?.collect::<rusqlite::Result<_>>()?;
    let last = rows.last().filter(|_| rows.len() == limit);
    let next = last.map(|row| {
        let at = if query.tried { row.tried.unwrap_or(row.at) } else { row.at };
        Cursor { at: at.as_micros(), row: row.row }
    });
    Ok(Page { rows, next })
}

/// Rows that are not over, the first of each channel, in order.
pub(super) fn open(connection: &Connection) -> rusqlite::Result<Vec<Delivery>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM
         (SELECT *, row_number() OVER (PARTITION BY channel ORDER BY row) AS place FROM deliveries WHERE over = 0)
         WHERE place <= ?1 ORDER BY row"
    );
    connection.prepare_cached(&sql)?.query_map([OPEN], read)?.collect()
}

/// When messages went to a channel, from a moment on, each once however much was in it.
pub(super) fn sent(connection: &Connection, channel: &str, since: Timestamp) -> rusqlite::Result<Vec<Timestamp>> {
    let sql = "SELECT DISTINCT tried FROM deliveries
        WHERE channel = ?1 AND tried >= ?2 AND fate IN ('delivered', 'digested') ORDER BY tried";
    let read = |row: &Row<'_>| row.get(0).map(Timestamp::from_micros);
    connection.prepare_cached(sql)?.query_map(params![channel, since.as_micros()], read)?.collect()
}

/// Notes what is to be told of an incident.
pub(super) fn draft(connection: &Connection, incident: i64, drafts: &[Draft], at: Timestamp) -> rusqlite::Result<()> {
    for draft in drafts {
        let severity = draft.severity.ocsf();
        if let Some(row) = draft.into {
            let sql = "SELECT facts FROM deliveries WHERE row = ?1 AND over = 0";
            let known: Option<String> = connection.prepare_cached(sql)?.query_row([row], |row| row.get(0)).ok();
            if let Some(known) = known {
                let mut facts: Vec<Fact> = json(0, &known)?;
                facts.extend(draft.facts.iter().filter(|fact| !facts.contains(fact)).cloned().collect::<Vec<_>>());
                let sql = "UPDATE deliveries SET facts = ?2, severity = max(severity, ?3), fate = ?4, due = ?5 WHERE row = ?1";
                let values = params![row, text(&facts)?, severity, draft.fate.word(), draft.due.as_micros()];
                connection.prepare_cached(sql)?.execute(values)?;
                continue;
            }
        }
        let sql = "INSERT INTO deliveries (at, policy, channel, incident, severity, fate, due, facts)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        connection.prepare_cached(sql)?.execute(params![
            at.as_micros(),
            draft.policy,
            draft.channel,
            incident,
            severity,
            draft.fate.word(),
            draft.due.as_micros(),
            text(&draft.facts)?,
        ])?;
    }
    Ok(())
}

/// Notes what tries came to.
pub(super) fn settle(connection: &Connection, settled: &[Settled]) -> rusqlite::Result<()> {
    let sql = "UPDATE deliveries SET fate = ?2, over = ?3, due = ?4, tried = coalesce(?5, tried),
        attempts = attempts + (?5 IS NOT NULL), answer = CASE WHEN ?5 IS NULL THEN answer ELSE ?6 END
        WHERE row = ?1 AND over = 0";
    for one in settled {
        let tried = one.tried.map(Timestamp::as_micros);
        let values = params![one.row, one.fate.word(), one.fate.is_final(), one.due.as_micros(), tried, one.answer];
        connection.prepare_cached(sql)?.execute(values)?;
    }
    Ok(())
}

/// What was told of an incident that went into another was told of that.
pub(super) fn forward(connection: &Connection, number: i64, into: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE deliveries SET incident = ?2 WHERE incident = ?1";
    connection.prepare_cached(sql)?.execute([number, into])?;
    Ok(())
}

/// Removes rows that are over and older than a moment.
pub(super) fn forget(connection: &Connection, before: Timestamp) -> rusqlite::Result<()> {
    let sql = "DELETE FROM deliveries WHERE row IN (SELECT row FROM deliveries WHERE over = 1 AND at < ?1 LIMIT ?2)";
    connection.prepare_cached(sql)?.execute(params![before.as_micros(), REMOVED])?;
    Ok(())
}

/// Counts events that rules hid.
pub(super) fn count<'a>(connection: &Connection, hidden: impl Iterator<Item = &'a Record>) -> rusqlite::Result<()> {
    let mut counts: std::collections::BTreeMap<&str, (u64, i64)> = std::collections::BTreeMap::new();
    for record in hidden {
        let Some(rule) = record.hidden.as_deref() else { continue };
        let (events, last) = counts.entry(rule).or_insert((0, i64::MIN));
        *events = events.saturating_add(1);
        *last = (*last).max(record.received.as_micros());
    }
    let sql = "INSERT INTO hits (rule, events, last) VALUES (?1, ?2, ?3)
        ON CONFLICT (rule) DO UPDATE SET events = events + excluded.events, last = max(last, excluded.last)";
    for (rule, (events, last)) in counts {
        connection.prepare_cached(sql)?.execute(params![rule, events, last])?;
    }
    Ok(())
}

/// How often each rule hid something.
pub(super) fn hits(connection: &Connection) -> rusqlite::Result<Vec<Hits>> {
    let sql = "SELECT rule, events, last FROM hits ORDER BY rule";
    let read =
        |row: &Row<'_>| Ok(Hits { rule: row.get(0)?, events: row.get(1)?, last: Timestamp::from_micros(row.get(2)?) });
    connection.prepare_cached(sql)?.query_map([], read)?.collect()
}
