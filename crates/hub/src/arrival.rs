//! A line that arrived becomes an event to store, or a refusal that says why.

use aviary_event::{Event, ParseError, Timestamp};
use aviary_insight::{Sighting, fields, words};
use aviary_store::Record;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::foreign;

/// Longest line, bytes. The longest that a canary of ours writes is a tenth of it.
pub(crate) const LONGEST: usize = 1 << 20;

/// How far in the future an event may be, microseconds: a day. Clocks are wrong by hours, not by days; what is further
/// ahead would stand first in every list for as long.
const AHEAD: i64 = 24 * 3600 * 1_000_000;

/// Whose credential lines came with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The sensor's name at the hub.
    pub sensor: String,
    /// Where it stands; empty where all sites have networks of their own.
    pub site: String,
    /// The `node_id`s that its lines may have; any if empty.
    pub nodes: Vec<String>,
}

/// A line that is an event.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// As it is stored.
    pub record: Record,
    /// What it says.
    pub event: Event,
}

/// Why a line is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The line is longer than lines are.
    #[error("the line has {bytes} bytes; accepted: up to {LONGEST}")]
    Long {
        /// Its length.
        bytes: usize,
    },
    /// The line is not UTF-8.
    #[error("the line is not UTF-8")]
    NotText,
    /// The line is no event.
    #[error("{0}")]
    NoEvent(String),
    /// The line is nested deeper than is read.
    #[error("nested too deep; accepted: up to 127 levels")]
    Deep,
    /// The event names a sensor that this credential is not for.
    #[error("`node_id` is `{node}`, which is not one of this credential's: {allowed}")]
    Foreign {
        /// What it says.
        node: String,
        /// What would be accepted.
        allowed: String,
    },
    /// The event has not happened yet.
    #[error("the event is of {time}, more than a day ahead of the hub's clock; is the sensor's clock right?")]
    Ahead {
        /// When it says that it happened.
        time: String,
    },
}

impl Arrival {
    /// Reads a line that arrived at `now`.
    ///
    /// # Errors
    /// Says why the line is not taken.
    pub fn read(line: &[u8], source: &Source, now: Timestamp) -> Result<Self, Refusal> {
        if line.len() > LONGEST {
            return Err(Refusal::Long { bytes: line.len() });
        }
        let line = std::str::from_utf8(line).map_err(|_| Refusal::NotText)?.trim();
        let event = Event::parse(line).map_err(|error| match error {
            // The library has no other word for it; a test looks that it stays this one.
            ParseError::Json(why) if why.to_string().contains("recursion limit") => Refusal::Deep,
            error => Refusal::NoEvent(error.to_string()),
        })?;
        if let Some(node) = event.node_id.as_deref().filter(|_| !source.nodes.is_empty())
            && !source.nodes.iter().any(|allowed| allowed == node)
        {
            let node = node.chars().take(100).collect();
            return Err(Refusal::Foreign { node, allowed: source.nodes.join(", ") });
        }
        let at = moment(&event).unwrap_or(now);
        if at.as_micros() > now.as_micros().saturating_add(AHEAD) {
            return Err(Refusal::Ahead { time: at.to_rfc3339(&TimeZone::UTC) });
        }
        let id = event.aviary.as_ref().map_or_else(|| name(&source.sensor, line), |ours| ours.id);
        let record = Record {
            id,
            at,
            received: now,
            sensor: source.sensor.clone(),
            line: line.to_owned(),
            logtype: event.logtype,
            service: event.service().or_else(|| event.logtype.and_then(foreign::service)).map(str::to_owned),
            kind: event.class().word(),
            words: words(&event.logdata),
            fields: fields(&event.logdata),
            sighting: Sighting::of(&event, id, at, &source.sensor, &source.site),
            hidden: None,
        };
        Ok(Self { record, event })
    }
}

/// When an event happened: ours says it with zone, OpenCanary in UTC.
fn moment(event: &Event) -> Option<Timestamp> {
    if let Some(ours) = &event.aviary {
        return Some(ours.time);
    }
    // `local_time` is UTC, in spite of its name, and older versions have no `utc_time`.
    let text = event.utc_time.as_deref().or(event.local_time.as_deref())?;
    let time: DateTime = text.parse().ok()?;
    Some(Timestamp::from_micros(time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_microsecond()))
}

/// The id of a line that has none: the same line of the same sensor is the same event, however often it comes. UUID
/// version 8 of RFC 9562, from SHA-256.
fn name(sensor: &str, line: &str) -> Uuid {
    let digest = Sha256::new().chain_update(sensor).chain_update([0]).chain_update(line).finalize();
    let mut bytes = [0; 16];
    for (byte, digest) in bytes.iter_mut().zip(digest.iter()) {
        *byte = *digest;
    }
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}
