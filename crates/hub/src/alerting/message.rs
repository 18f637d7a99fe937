//! What is told, as an event that any output can send.

use std::collections::BTreeMap;

use aviary_event::{ALERT, Aviary, Event, LogData, Origin, Port, Severity, Timestamp, Value};
use aviary_insight::{Fact, Sort};
use aviary_store::{Delivery, IncidentRow};
use jiff::tz::TimeZone;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// Names of one kind that a message lists.
const LISTED: usize = 20;

/// Incidents that one message lists.
const LINES: usize = 50;

/// A message about one incident.
pub(super) fn single(row: &Delivery, incident: &IncidentRow) -> Event {
    let known = &incident.incident;
    let what = what(incident, &row.facts);
    let text = format!("{} from {}: {what} (incident {})", incident.severity, known.actor, incident.number);
    let mut data = LogData::new();
    let mut add = |key: &'static str, value: String| {
        if !value.is_empty() {
            data.insert(key, Value::Text(value));
        }
    };
    add("TEXT", capital(&text));
    add("NEW", words(&row.facts));
    add("STAGE", incident.stage.word().to_owned());
    add("SENSORS", names(incident, Sort::Sensor));
    add("SERVICES", names(incident, Sort::Service));
    add("FIRST", known.begun().to_rfc3339(&TimeZone::UTC));
    add("LAST", known.ended().to_rfc3339(&TimeZone::UTC));
    add("POLICY", row.policy.clone());
    data.insert("INCIDENT", Value::Int(incident.number));
    data.insert("EVENTS", Value::Int(i64::try_from(known.events).unwrap_or(i64::MAX)));
    let src = Origin { host: known.actor.source.to_string(), port: Port::Number(-1) };
    event(data, src, incident.severity, std::slice::from_ref(row))
}

/// One message about several incidents.
pub(super) fn digest(rows: &[Delivery], incidents: &[IncidentRow]) -> Event {
    let severity = rows.iter().map(|row| row.severity).max().unwrap_or(Severity::Low);
    let line = |incident: &IncidentRow| {
        let facts: Vec<Fact> =
            rows.iter().filter(|row| row.incident == incident.number).flat_map(|row| row.facts.clone()).collect();
        let actor = &incident.incident.actor;
        format!("{} from {actor}: {} (incident {})", incident.severity, what(incident, &facts), incident.number)
    };
    let mut lines: Vec<Value> = incidents.iter().take(LINES).map(|one| Value::Text(line(one))).collect();
    if let Some(more) = incidents.len().checked_sub(LINES).filter(|more| *more > 0) {
        lines.push(Value::Text(format!("and {more} more")));
    }
    let mut data = LogData::new();
    let noun = if incidents.len() == 1 { "incident" } else { "incidents" };
    data.insert("TEXT", Value::Text(format!("News of {} {noun}, the gravest {severity}", incidents.len())));
    data.insert("ALERTS", Value::List(lines));
    event(data, Origin::none(), severity, rows)
}

/// What happened, in a few words.
fn what(incident: &IncidentRow, facts: &[Fact]) -> String {
    if let Some((Fact::Trouble(trouble), _)) = incident.incident.facts.of(Sort::Trouble).next() {
        return trouble.clone();
    }
    let stage = incident.stage.word().replace('_', " ");
    match words(facts) {
        new if new.is_empty() => stage,
        new => format!("{stage}; new: {new}"),
    }
}

/// Facts in words, of which some are listed.
pub(super) fn words(facts: &[Fact]) -> String {
    let mut words: Vec<String> = facts.iter().take(LISTED).map(Fact::words).collect();
    if let Some(more) = facts.len().checked_sub(LISTED).filter(|more| *more > 0) {
        words.push(format!("and {more} more"));
    }
    words.join(", ")
}

fn names(incident: &IncidentRow, sort: Sort) -> String {
    let facts: Vec<Fact> = incident.incident.facts.of(sort).map(|(fact, _)| fact.clone()).collect();
    let mut names: Vec<String> = facts
        .iter()
        .take(LISTED)
        .map(|fact| match fact {
            Fact::Sensor(name) | Fact::Service(name) => name.clone(),
            other => other.words(),
        })
        .collect();
    if facts.len() > LISTED {
        names.push(format!("and {} more", facts.len().saturating_sub(LISTED)));
    }
    names.join(", ")
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn event(data: LogData, src: Origin, severity: Severity, rows: &[Delivery]) -> Event {
    let at = rows.last().map_or(Timestamp::from_micros(0), |row| row.at);
    let mut event = Event::new(&ALERT, data, id(rows), at, &TimeZone::UTC, "hub", "hub", None, src, Origin::none());
    if let Some(Aviary { more, .. }) = &mut event.aviary {
        more.extend(BTreeMap::from([("severity".to_owned(), Value::Text(severity.word().to_owned()))]));
    }
    event
}

/// The same for every try of the same message, so that a receiver knows a repetition. UUID version 8 of RFC 9562.
fn id(rows: &[Delivery]) -> Uuid {
    let mut digest = Sha256::new();
    for row in rows {
        digest.update(row.at.as_micros().to_be_bytes());
        digest.update(row.row.to_be_bytes());
        for fact in &row.facts {
            digest.update(fact.words());
            digest.update([0]);
        }
    }
    let mut bytes = [0; 16];
    for (byte, digest) in bytes.iter_mut().zip(digest.finalize().iter()) {
        *byte = *digest;
    }
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}
