//! What the hub tells of its own sensors: an event, and an incident of which the sensor is the actor.

use std::sync::Arc;

use aviary_event::{Class, Event, KindInfo, LogData, Origin, Timestamp};
use aviary_insight::{Fact, Sighting, fields, words};
use aviary_store::{Decision, IncidentQuery, Record, State as Standing, StoreError};
use jiff::tz::TimeZone;
use uuid::Uuid;

use crate::sensors::{Change, State};
use crate::{Hub, News};

/// A sensor that proves no more that it detects, or does again.
pub static SENSOR_STATE: KindInfo = KindInfo {
    number: 30030,
    constant: "LOG_SENSOR_STATE",
    class: Class::Lifecycle,
    when: "a sensor does not prove to its hub that it detects, or does again",
    keys: &["BEFORE", "SENSOR", "STATE", "WHY"],
    technique: &[],
};

/// Kinds of event that the hub itself reports.
pub static KINDS: &[&KindInfo] = &[&SENSOR_STATE];

/// The node of what the hub itself tells.
const NODE: &str = "hub";

impl Hub {
    /// Watches the sensors until dropped.
    pub async fn watch(&self) {
        let mut ticks = tokio::time::interval(std::time::Duration::from_secs(1));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for (name, change) in self.sensors().tick().await {
                // From one trouble to another is no news: whoever was told looks already.
                if change.before.is_trouble() == change.state.is_trouble() {
                    continue;
                }
                if let Err(error) = self.tell_state(&name, &change).await {
                    tracing::error!(sensor = name, %error, "an alarm cannot be stored");
                }
            }
        }
    }

    /// Stores what became of a sensor as an event and in an incident. An incident whose sensor proves itself again is
    /// closed.
    ///
    /// # Errors
    /// When the store takes nothing.
    pub async fn tell_state(&self, name: &str, change: &Change) -> Result<(), StoreError> {
        let at = Timestamp::from_micros(change.at);
        let mut random = [0; 10];
        getrandom::fill(&mut random).map_err(|error| StoreError::Failed { reason: error.to_string() })?;
        let millis = u64::try_from(change.at / 1000).unwrap_or(0);
        let id: Uuid = uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
        let word = change.state.word();
        tracing::warn!(sensor = name, state = word, why = change.why, "a sensor changed its state");
        let data = LogData::new()
            .with("BEFORE", change.before.word())
            .with("SENSOR", name)
            .with("STATE", word)
            .with("WHY", change.why.as_str());
        let zone = TimeZone::UTC;
        let event =
            Event::new(&SENSOR_STATE, data, id, at, &zone, NODE, "aviary", None, Origin::none(), Origin::none());
        // With the time, since each change is news, also after one like it.
        let what = match change.state {
            State::Alive | State::Never => format!("proves again that it detects, {}", at.to_rfc3339(&zone)),
            _ => format!("{word} since {}: {}", at.to_rfc3339(&zone), change.why),
        };
        let facts = vec![Fact::Sensor(name.to_owned())];
        let mut line = String::new();
        event.write_line(&mut line, true);
        let record = Record {
            id,
            at,
            received: self.now(),
            sensor: name.to_owned(),
            line,
            logtype: Some(SENSOR_STATE.number),
            service: Some("aviary".to_owned()),
            kind: Class::Lifecycle.word(),
            words: words(&event.logdata),
            fields: fields(&event.logdata),
            sighting: Some(Sighting::of_trouble(id, at, &format!("sensor {name}"), &what, facts)),
            hidden: None,
        };
        let told = Arc::new(record.clone());
        let taken = self.store().take(vec![record]).await?;
        if !taken.changed.is_empty() {
            self.wake();
        }
        self.feed().tell(News::Event(told));
        for changed in taken.changed {
            let (number, actor) = (changed.now.number, changed.now.incident.actor.clone());
            self.feed().tell(News::Incident(Arc::new(changed)));
            if change.state.is_trouble() {
                continue;
            }
            // What went before too long ago to be joined is over as well.
            let open = IncidentQuery { actor: Some(actor), limit: 20, ..IncidentQuery::default() };
            let before =
                self.store().incidents(open).await?.rows.into_iter().filter(|row| row.state != Standing::Closed);
            let numbers: std::collections::BTreeSet<i64> = before.map(|row| row.number).chain([number]).collect();
            for number in numbers {
                let text = "the sensor proves again that it detects".to_owned();
                let decision = Decision { state: Some(Standing::Closed), by: NODE.to_owned(), text, at: self.now() };
                self.store().decide(number, decision).await?;
            }
        }
        Ok(())
    }
}
