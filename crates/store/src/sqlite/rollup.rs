//! Sums, collected in memory as long as a transaction lasts, and written at its end: a flood of one source costs a few rows.

use std::collections::HashMap;
use std::hash::Hash;

use aviary_event::Timestamp;
use aviary_insight::{Actor, Credential, Fact};
use rusqlite::{Connection, params};

use super::events::step;
use crate::Record;
use crate::event::key_of;
use crate::overview::Span;

/// An hour, in microseconds.
const HOUR: i64 = 3_600_000_000;

/// What a row of `source_parts` counts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    Hour,
    Service,
    Sensor,
    Fingerprint,
}

/// The hour of a moment, as a number.
pub(super) const fn hour_of(at: Timestamp) -> i64 {
    at.as_micros().div_euclid(HOUR)
}

/// The first moment of an hour.
pub(super) fn begin_of(hour: i64) -> Timestamp {
    Timestamp::from_micros(hour.saturating_mul(HOUR))
}

/// What events add to the sums.
#[derive(Default)]
pub(super) struct Rollup {
    /// Events by service, and within by hour and stage.
    hours: HashMap<String, HashMap<(i64, i64), u64>>,
    sensors: HashMap<String, Span>,
    sources: HashMap<Actor, Source>,
}

struct Source {
    span: Span,
    hours: HashMap<i64, u64>,
    services: HashMap<String, u64>,
    sensors: HashMap<String, u64>,
    fingerprints: HashMap<String, u64>,
    tried: HashMap<(Credential, String), Span>,
}

impl Rollup {
    /// Counts an event that is new.
    pub(super) fn add(&mut self, record: &Record) {
        let span = Span::of(record.at);
        match self.sensors.get_mut(&record.sensor) {
            Some(known) => known.add(span),
            None => drop(self.sensors.insert(record.sensor.clone(), span)),
        }
        let Some(sighting) = record.sighting.as_ref().filter(|_| record.hidden.is_none()) else { return };
        let service = record.service.as_deref().unwrap_or_default();
        let hour = hour_of(record.at);
        let key = (hour, step(sighting.stage));
        match self.hours.get_mut(service) {
            Some(hours) => count(hours, &key, 1),
            None => drop(self.hours.insert(service.to_owned(), HashMap::from([(key, 1)]))),
        }
        let source = match self.sources.get_mut(&sighting.actor) {
            Some(source) => {
                source.span.add(span);
                source
            }
            None => self.sources.entry(sighting.actor.clone()).or_insert_with(|| Source::new(span)),
        };
        count(&mut source.hours, &hour, 1);
        add_text(&mut source.services, service);
        add_text(&mut source.sensors, &record.sensor);
        for fact in &sighting.facts {
            if let Fact::Fingerprint(print) = fact {
                add_text(&mut source.fingerprints, print);
            }
        }
        if let Some(tried) = &sighting.tried {
            let key = (tried.clone(), service.to_owned());
            source.tried.entry(key).and_modify(|known| known.add(span)).or_insert(span);
        }
    }

    /// Takes what another one counted.
    pub(super) fn merge(&mut self, other: Self) {
        if self.sensors.is_empty() {
            *self = other;
            return;
        }
        for (service, hours) in other.hours {
            let known = self.hours.entry(service).or_default();
            hours.into_iter().for_each(|(key, events)| count(known, &key, events));
        }
        for (sensor, span) in other.sensors {
            self.sensors.entry(sensor).and_modify(|known| known.add(span)).or_insert(span);
        }
        for (actor, source) in other.sources {
            match self.sources.get_mut(&actor) {
                Some(known) => known.merge(source),
                None => drop(self.sources.insert(actor, source)),
            }
        }
    }

    /// Writes the sums.
    pub(super) fn write(self, connection: &Connection) -> rusqlite::Result<()> {
        let sql = "INSERT INTO hours (hour, stage, service, events) VALUES (?1, ?2, ?3, ?4)
            ON CONFLICT DO UPDATE SET events = events + excluded.events";
        let mut statement = connection.prepare_cached(sql)?;
        for (service, hours) in &self.hours {
            for ((hour, stage), events) in hours {
                statement.execute(params![hour, stage, service, events])?;
            }
        }
        let sql = "INSERT INTO heard (sensor, first_at, last_at, events) VALUES (?1, ?2, ?3, ?4)
            ON CONFLICT DO UPDATE SET first_at = min(first_at, excluded.first_at),
                last_at = max(last_at, excluded.last_at), events = events + excluded.events";
        let mut statement = connection.prepare_cached(sql)?;
        for (sensor, span) in &self.sensors {
            statement.execute(params![sensor, span.first.as_micros(), span.last.as_micros(), span.events])?;
        }
        for (actor, source) in &self.sources {
            source.write(connection, actor)?;
        }
        Ok(())
    }
}

impl Source {
    fn new(span: Span) -> Self {
        Self {
            span,
            hours: HashMap::new(),
            services: HashMap::new(),
            sensors: HashMap::new(),
            fingerprints: HashMap::new(),
            tried: HashMap::new(),
        }
    }

    fn merge(&mut self, other: Self) {
        self.span.add(other.span);
        other.hours.into_iter().for_each(|(hour, events)| count(&mut self.hours, &hour, events));
        let both = [
            (&mut self.services, other.services),
            (&mut self.sensors, other.sensors),
            (&mut self.fingerprints, other.fingerprints),
        ];
        for (known, more) in both {
            more.into_iter().for_each(|(key, events)| count(known, &key, events));
        }
        for (key, span) in other.tried {
            self.tried.entry(key).and_modify(|known| known.add(span)).or_insert(span);
        }
    }

    fn write(&self, connection: &Connection, actor: &Actor) -> rusqlite::Result<()> {
        let sql = "INSERT INTO sources (realm, name, addr, first_at, last_at, events) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
            ON CONFLICT DO UPDATE SET first_at = min(first_at, excluded.first_at),
                last_at = max(last_at, excluded.last_at), events = events + excluded.events
            RETURNING row";
        let values = params![
            actor.realm,
            actor.source.to_string(),
            actor.address().map(key_of),
            self.span.first.as_micros(),
            self.span.last.as_micros(),
            self.span.events,
        ];
        let row: i64 = connection.prepare_cached(sql)?.query_row(values, |row| row.get(0))?;
        let sql = "INSERT INTO source_parts (source, part, value, events) VALUES (?1, ?2, ?3, ?4)
            ON CONFLICT DO UPDATE SET events = events + excluded.events";
        let mut statement = connection.prepare_cached(sql)?;
        for (hour, events) in &self.hours {
            statement.execute(params![row, number(Part::Hour), hour, events])?;
        }
        let parts =
            [(Part::Service, &self.services), (Part::Sensor, &self.sensors), (Part::Fingerprint, &self.fingerprints)];
        for (part, values) in parts {
            for (value, events) in values {
                statement.execute(params![row, number(part), value, events])?;
            }
        }
        let mut first_tried = 0_u64;
        for ((credential, service), span) in &self.tried {
            first_tried += u64::from(try_one(connection, row, credential, service, *span)?);
        }
        if first_tried > 0 {
            let sql = "UPDATE sources SET credentials = credentials + ?2 WHERE row = ?1";
            connection.prepare_cached(sql)?.execute(params![row, first_tried])?;
        }
        Ok(())
    }
}

/// Notes that a source tried a credential, and says whether it never had before.
fn try_one(
    connection: &Connection,
    source: i64,
    credential: &Credential,
    service: &str,
    span: Span,
) -> rusqlite::Result<bool> {
    let (first, last, events) = (span.first.as_micros(), span.last.as_micros(), span.events);
    let sql = "INSERT INTO credentials (username, password, first_at, last_at, events) VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT DO UPDATE SET first_at = min(first_at, excluded.first_at),
            last_at = max(last_at, excluded.last_at), events = events + excluded.events
        RETURNING row";
    let values = params![credential.username, credential.password, first, last, events];
    let row: i64 = connection.prepare_cached(sql)?.query_row(values, |row| row.get(0))?;
    let sql = "INSERT INTO credential_services (credential, service, first_at, last_at, events)
        VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT DO UPDATE SET first_at = min(first_at, excluded.first_at),
            last_at = max(last_at, excluded.last_at), events = events + excluded.events";
    connection.prepare_cached(sql)?.execute(params![row, service, first, last, events])?;
    let sql = "SELECT EXISTS (SELECT 1 FROM tried WHERE source = ?1 AND credential = ?2)";
    let known: bool = connection.prepare_cached(sql)?.query_row([source, row], |row| row.get(0))?;
    let sql = "INSERT INTO tried (source, credential, service, first_at, last_at, events)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)
        ON CONFLICT DO UPDATE SET first_at = min(first_at, excluded.first_at),
            last_at = max(last_at, excluded.last_at), events = events + excluded.events";
    connection.prepare_cached(sql)?.execute(params![source, row, service, first, last, events])?;
    if !known {
        let sql = "UPDATE credentials SET sources = sources + 1 WHERE row = ?1";
        connection.prepare_cached(sql)?.execute([row])?;
    }
    Ok(!known)
}

pub(super) const fn number(part: Part) -> i64 {
    match part {
        Part::Hour => 1,
        Part::Service => 2,
        Part::Sensor => 3,
        Part::Fingerprint => 4,
    }
}

fn count<K: Hash + Eq + Clone>(counts: &mut HashMap<K, u64>, key: &K, events: u64) {
    match counts.get_mut(key) {
        Some(known) => *known = known.saturating_add(events),
        None => drop(counts.insert(key.clone(), events)),
    }
}

fn add_text(counts: &mut HashMap<String, u64>, key: &str) {
    match counts.get_mut(key) {
        Some(known) => *known = known.saturating_add(1),
        None => drop(counts.insert(key.to_owned(), 1)),
    }
}
