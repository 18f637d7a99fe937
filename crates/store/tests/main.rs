//! What holds for every store, and what holds for the embedded one.

mod battery;
mod ledger;
mod sqlite;
mod sums;
mod upkeep;

use aviary_event::{Event, Timestamp};
use aviary_insight::Sighting;
use aviary_store::Record;
use uuid::Uuid;

/// A second, in microseconds.
const SECOND: i64 = 1_000_000;

/// An event to store: the `number`th, `seconds` after some moment.
struct Made {
    number: u128,
    seconds: i64,
    source: &'static str,
    logtype: i64,
    user: &'static str,
    sensor: &'static str,
}

impl Made {
    const fn new(number: u128, seconds: i64, source: &'static str) -> Self {
        Self { number, seconds, source, logtype: 4002, user: "root", sensor: "north" }
    }

    fn record(&self) -> Record {
        let Self { source, logtype, user, .. } = self;
        let line = format!(
            r#"{{"logtype": {logtype}, "src_host": "{source}", "src_port": 4444, "dst_host": "10.9.0.1", "dst_port": 22,
                "logdata": {{"USERNAME": "{user}"}}, "unknown": "kept"}}"#
        );
        let event = Event::parse(&line).expect("an event");
        let id = Uuid::from_u128(self.number);
        let at = Timestamp::from_micros(self.seconds * SECOND);
        Record {
            id,
            at,
            received: at,
            sensor: self.sensor.to_owned(),
            logtype: event.logtype,
            service: Some("ssh".to_owned()),
            kind: event.class().word(),
            words: (*user).to_owned(),
            fields: vec![("USERNAME".to_owned(), (*user).to_owned())],
            sighting: Sighting::of(&event, id, at, self.sensor, ""),
            hidden: None,
            line,
        }
    }
}

/// Somebody closes an incident.
fn closed() -> aviary_store::Decision {
    let at = Timestamp::from_micros(0);
    aviary_store::Decision {
        state: Some(aviary_store::State::Closed),
        by: "anna".to_owned(),
        text: "done".to_owned(),
        at,
    }
}
