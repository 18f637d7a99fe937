//! Events of an older layout, stored anew: what they are found by and counted in is made from their lines.

use aviary_event::{Event, Timestamp};
use aviary_insight::{Sighting, fields, words};
use rusqlite::{Connection, Row};
use uuid::Uuid;

use super::events;
use super::rollup::Rollup;
use crate::Record;

/// Events that are indexed and counted together.
const TOGETHER: usize = 10_000;

/// The events of the table `events_before`, if there is one, go into the table `events`.
pub(super) fn refill(connection: &Connection) -> rusqlite::Result<()> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'events_before')";
    if !connection.query_row(sql, [], |row| row.get::<_, bool>(0))? {
        return Ok(());
    }
    let sql = "SELECT id, at, received, sensor, realm, logtype, service, kind, hidden, line FROM events_before
        ORDER BY row";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let (mut indexed, mut sums) = (Vec::new(), Rollup::default());
    while let Some(row) = rows.next()? {
        let record = read(row)?;
        if let Some(found) = events::insert(connection, &record)? {
            indexed.push(found);
            sums.add(&record);
        }
        if indexed.len() >= TOGETHER {
            events::index(connection, std::mem::take(&mut indexed))?;
            std::mem::take(&mut sums).write(connection)?;
        }
    }
    events::index(connection, indexed)?;
    sums.write(connection)?;
    drop(rows);
    drop(statement);
    connection.execute_batch("DROP TABLE events_before")
}

fn read(row: &Row<'_>) -> rusqlite::Result<Record> {
    let id = Uuid::from_bytes(row.get(0)?);
    let at = Timestamp::from_micros(row.get(1)?);
    let (sensor, realm, line): (String, String, String) = (row.get(3)?, row.get(4)?, row.get(9)?);
    let class: String = row.get(7)?;
    let event = Event::parse(&line).ok();
    let event = event.as_ref();
    Ok(Record {
        id,
        at,
        received: Timestamp::from_micros(row.get(2)?),
        logtype: row.get(5)?,
        service: row.get(6)?,
        kind: aviary_event::Class::from_word(&class).unwrap_or(aviary_event::Class::Command).word(),
        words: event.map(|event| words(&event.logdata)).unwrap_or_default(),
        fields: event.map(|event| fields(&event.logdata)).unwrap_or_default(),
        // The realm is the site's for what has one, and the sensor's for what means something on its links only.
        sighting: event.and_then(|event| Sighting::of(event, id, at, &sensor, &realm)),
        hidden: row.get(8)?,
        sensor,
        line,
    })
}
