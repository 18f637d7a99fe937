//! Documents and the audit log.

use aviary_event::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::{Document, PutError};

pub(super) fn one(connection: &Connection, kind: &str, key: &str) -> rusqlite::Result<Option<Document>> {
    let sql = "SELECT kind, key, version, body FROM documents WHERE kind = ?1 AND key = ?2";
    connection.prepare_cached(sql)?.query_row([kind, key], read).optional()
}

pub(super) fn all(connection: &Connection, kind: &str) -> rusqlite::Result<Vec<Document>> {
    let sql = "SELECT kind, key, version, body FROM documents WHERE kind = ?1 ORDER BY key";
    connection.prepare_cached(sql)?.query_map([kind], read)?.collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Document> {
    let body: String = row.get(3)?;
    let body = serde_json::from_str(&body)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Text, error.into()))?;
    Ok(Document { kind: row.get(0)?, key: row.get(1)?, version: row.get(2)?, body })
}

/// Writes a document if nobody changed it in between, and notes who did.
pub(super) fn put(
    connection: &Connection,
    document: Document,
    by: &str,
    at: Timestamp,
) -> rusqlite::Result<Result<Document, PutError>> {
    let written = write(connection, document)?;
    if let Ok(document) = &written {
        let what = if document.version == 1 { "create" } else { "change" };
        note(connection, document, by, at, what, Some(&document.body.to_string()))?;
    }
    Ok(written)
}

/// Writes a document if nobody changed it in between.
pub(super) fn write(connection: &Connection, mut document: Document) -> rusqlite::Result<Result<Document, PutError>> {
    let now = version(connection, &document)?;
    if now != document.version {
        return Ok(Err(PutError::Conflict { now }));
    }
    document.version = now.saturating_add(1);
    connection
        .prepare_cached("INSERT OR REPLACE INTO documents (kind, key, version, body) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![document.kind, document.key, document.version, document.body.to_string()])?;
    Ok(Ok(document))
}

/// Removes a document if nobody changed it in between, and notes who did.
pub(super) fn remove(
    connection: &Connection,
    document: &Document,
    by: &str,
    at: Timestamp,
) -> rusqlite::Result<Result<(), PutError>> {
    let erased = erase(connection, document)?;
    if erased.is_ok() {
        note(connection, document, by, at, "remove", None)?;
    }
    Ok(erased)
}

/// Removes a document if nobody changed it in between.
pub(super) fn erase(connection: &Connection, document: &Document) -> rusqlite::Result<Result<(), PutError>> {
    let now = version(connection, document)?;
    if now != document.version || now == 0 {
        return Ok(Err(PutError::Conflict { now }));
    }
    let sql = "DELETE FROM documents WHERE kind = ?1 AND key = ?2";
    connection.prepare_cached(sql)?.execute([&document.kind, &document.key])?;
    Ok(Ok(()))
}

fn version(connection: &Connection, document: &Document) -> rusqlite::Result<u64> {
    let sql = "SELECT version FROM documents WHERE kind = ?1 AND key = ?2";
    let found = connection.prepare_cached(sql)?.query_row([&document.kind, &document.key], |row| row.get(0));
    Ok(found.optional()?.unwrap_or(0))
}

fn note(
    connection: &Connection,
    document: &Document,
    by: &str,
    at: Timestamp,
    what: &str,
    body: Option<&str>,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO audit (at, by, what, kind, key, version, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let values = params![at.as_micros(), by, what, document.kind, document.key, document.version, body];
    connection.prepare_cached(sql)?.execute(values)?;
    Ok(())
}
