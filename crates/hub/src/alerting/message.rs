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

/// Longest source, in characters: a foreign sensor may write anything there.
const SOURCE: usize = 200;

/// Incidents that one message lists.
const LINES: usize = 50;

/// A message about one incident.
pub(super) fn single(row: &Delivery, incident: &IncidentRow) -> Event {
    let known = &incident.incident;
    let what = what(incident, &row.facts);
    let text = format!("{} from {}: {what} (incident {})", incident.severity, short(&known.actor), incident.number);
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
    let src = Origin { host: short(&known.actor.source), port: Port::Number(-1) };
    event(data, src, incident.severity, std::slice::from_ref(row))
}

/// One message about several incidents.
pub(super) fn digest(rows: &[Delivery], incidents: &[IncidentRow]) -> Event {
    let severity = rows.iter().map(|row| row.severity).max().unwrap_or(Severity::Low);
    let line = |incident: &IncidentRow| {
        let facts: Vec<Fact> =
            rows.iter().filter(|row| row.incident == incident.number).flat_map(|row| row.facts.clone()).collect();
        let actor = short(&incident.incident.actor);
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

fn short(source: &impl std::fmt::Display) -> String {
    let text = source.to_string();
    let mut short: String = text.chars().take(SOURCE).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
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

#[cfg(test)]
mod tests {
    use super::*;
    use aviary_insight::{Incident, Sighting};
    use aviary_output::Telling;
    use aviary_store::Fate;

    fn incident(number: i64, source: &str, sensors: usize) -> IncidentRow {
        let sighting = |n: usize| {
            let line = format!(
                r#"{{"logtype": 4002, "src_host": "{source}", "src_port": 1, "honeycred": true, "logdata": {{"USERNAME": "x"}}}}"#
            );
            let event = Event::parse(&line).expect("an event");
            let id = Uuid::from_u128(u128::try_from(n).expect("small"));
            Sighting::of(&event, id, Timestamp::from_micros(7_000_000), &format!("n{n}"), "").expect("a sighting")
        };
        let mut whole = Incident::of(&sighting(0));
        (1..sensors).for_each(|n| whole.absorb(Incident::of(&sighting(n))));
        IncidentRow { number, ..IncidentRow::new(whole) }
    }

    fn row(number: i64, facts: Vec<Fact>) -> Delivery {
        Delivery {
            row: number,
            at: Timestamp::from_micros(9_000_000),
            policy: "all".to_owned(),
            channel: "ops".to_owned(),
            incident: number,
            severity: Severity::Critical,
            fate: Fate::Waiting,
            due: Timestamp::from_micros(9_000_000),
            attempts: 0,
            tried: None,
            answer: String::new(),
            facts,
        }
    }

    #[test]
    fn a_message_says_who_what_and_how_grave() {
        let facts = vec![Fact::Sensor("n1".to_owned()), Fact::Decoy("x".to_owned())];
        let event = single(&row(3, facts), &incident(3, "10.0.0.1", 2));
        let telling = Telling::new(&event, String::new(), true);
        assert_eq!(
            telling.title,
            "Critical from 10.0.0.1: decoy used; new: sensor n1, planted credential x (incident 3)"
        );
        assert_eq!((event.severity(), telling.field("severity").as_str()), (Severity::Critical, "critical"));
        assert_eq!(
            (telling.field("logdata.SENSORS").as_str(), telling.field("logdata.EVENTS").as_str()),
            ("n0, n1", "2")
        );
        assert_eq!(Event::parse(&event.to_line(true)).expect("reads back"), event);
    }

    #[test]
    fn what_peers_wrote_stays_within_its_value() {
        let source = r"<img src=x onerror=a>\n=cmd()\u202e".to_owned() + &"y".repeat(1 << 20);
        let event = single(&row(1, vec![Fact::User("\r\n\u{7}".repeat(60))]), &incident(1, &source, 1));
        let line = event.to_line(true);
        assert!(!line.contains('\n') && !line.contains('\u{202e}') && line.len() < 5000, "{line}");
        let visible = aviary_output::visible(&Telling::new(&event, String::new(), true).title);
        assert!(!visible.contains(char::is_control) && !visible.contains('\u{202e}'), "{visible}");
    }

    #[test]
    fn a_digest_lists_what_it_has_room_for() {
        let incidents: Vec<IncidentRow> = (1..=53).map(|number| incident(number, "10.0.0.1", 1)).collect();
        let rows: Vec<Delivery> = (1..=53).map(|number| row(number, vec![Fact::Port(22)])).collect();
        let event = digest(&rows, &incidents);
        let Some(Value::List(lines)) = event.logdata.get("ALERTS") else { panic!("a list") };
        assert_eq!((lines.len(), lines[50].as_str()), (51, Some("and 3 more")));
        assert_eq!(lines[0].as_str(), Some("critical from 10.0.0.1: decoy used; new: port 22 (incident 1)"));
        assert_eq!(event.severity(), Severity::Critical);
    }

    #[test]
    fn a_repetition_has_the_same_id_and_what_is_new_another() {
        let facts = vec![Fact::Port(22)];
        let of = |row: &Delivery| single(row, &incident(1, "10.0.0.1", 1)).aviary.map(|ours| ours.id);
        let first = row(1, facts.clone());
        let later = Delivery { attempts: 5, due: Timestamp::from_micros(99), ..first.clone() };
        assert_eq!(of(&first), of(&later));
        assert_ne!(of(&first), of(&row(1, [facts, vec![Fact::Port(23)]].concat())));
        assert_ne!(of(&first), of(&row(2, vec![Fact::Port(22)])));
    }
}
