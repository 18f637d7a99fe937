//! Incidents do not depend on the order in which events come, and say why they are grave.

mod incidents;
mod notices;
mod suppression;
mod window;

use aviary_event::{Event, Timestamp};
use aviary_insight::Sighting;
use uuid::Uuid;

/// A second, in microseconds.
const SECOND: i64 = 1_000_000;

/// An event of log type `logtype`, `seconds` after some moment, seen by `sensor`.
fn event(logtype: i64, source: &str, extra: &str) -> Event {
    let line = format!(
        r#"{{"logtype": {logtype}, "src_host": "{source}", "src_port": 4444, "dst_host": "10.9.0.1", "dst_port": 22,
            "logdata": {{"USERNAME": "root"}}{extra}}}"#
    );
    Event::parse(&line).expect("an event")
}

fn sighting(number: u128, seconds: i64, sensor: &str, event: &Event) -> Sighting {
    let at = Timestamp::from_micros(seconds * SECOND);
    Sighting::of(event, Uuid::from_u128(number), at, sensor, "").expect("a sighting")
}
