//! Pages of the audit log.

use aviary_event::Timestamp;
use rusqlite::{Connection, Row, params};
use serde_json::Value;

use crate::{AuditQuery, AuditRow, Change, Cursor, Page};

/// What finds the entry before one, which says what the document said before.
pub(super) const LAYOUT: &str = "
    CREATE INDEX audit_document ON audit (kind, key, row);
    CREATE INDEX audit_by ON audit (by, row);
    ";

pub(super) fn page(connection: &Connection, query: &AuditQuery) -> rusqlite::Result<Page<AuditRow>> {
    // Entries are numbered as they are written, so the number alone is the place; a clock that goes back moves nothing.
    let sql = "
        SELECT row, at, by, what, kind, key, body,
            (SELECT earlier.body FROM audit AS earlier
                WHERE earlier.kind = audit.kind AND earlier.key = audit.key AND earlier.row < audit.row
                ORDER BY earlier.row DESC LIMIT 1)
        FROM audit
        WHERE row < ?1 AND (?2 IS NULL OR by = ?2) AND (?3 IS NULL OR kind = ?3)
        ORDER BY row DESC LIMIT ?4";
    let before = query.after.map_or(i64::MAX, |cursor| cursor.row);
    let wanted = query.limit.saturating_add(1);
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![before, query.by, query.kind, wanted], read)?;
    let mut rows: Vec<(i64, AuditRow)> = rows.collect::<rusqlite::Result<_>>()?;
    let more = rows.len() > query.limit;
    rows.truncate(query.limit);
    let next = rows.last().filter(|_| more).map(|(row, entry)| Cursor { at: entry.at.as_micros(), row: *row });
    Ok(Page { rows: rows.into_iter().map(|(_, entry)| entry).collect(), next })
}

fn read(row: &Row<'_>) -> rusqlite::Result<(i64, AuditRow)> {
    let value = |text: Option<String>| text.and_then(|text| serde_json::from_str::<Value>(&text).ok());
    let what: String = row.get(3)?;
    let change = match what.as_str() {
        "create" => Change::Created,
        "remove" => Change::Removed,
        _ => Change::Changed,
    };
    let before = if change == Change::Created { None } else { value(row.get(7)?) };
    let entry = AuditRow {
        at: Timestamp::from_micros(row.get(1)?),
        by: row.get(2)?,
        change,
        kind: row.get(4)?,
        key: row.get(5)?,
        before,
        after: value(row.get(6)?),
    };
    Ok((row.get(0)?, entry))
}
