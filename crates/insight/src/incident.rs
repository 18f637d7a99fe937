//! Incidents: what one actor did in one stretch of time.

use std::time::Duration;

use aviary_event::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Actor, Facts, Sighting};

/// A moment and the event that happened then. Two events never have the same stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// Microseconds since 1970.
    pub at: i64,
    /// The event's id.
    pub event: Uuid,
}

/// What one actor did, as long as no pause was longer than the window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// Who.
    pub actor: Actor,
    /// The first event.
    pub first: Stamp,
    /// The last one.
    pub last: Stamp,
    /// How many events.
    pub events: u64,
    /// What they told.
    pub facts: Facts,
}

/// What a new sighting came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The incident that it belongs to, with it.
    pub incident: Incident,
    /// Which of the given incidents went into it, by their place; none means that it is a new one, more than one that it
    /// closed the pause between them.
    pub absorbed: Vec<usize>,
}

impl Incident {
    /// The incident of one event alone.
    #[must_use]
    pub fn of(sighting: &Sighting) -> Self {
        let stamp = sighting.stamp();
        let mut facts = Facts::default();
        for fact in &sighting.facts {
            facts.add(fact.clone(), stamp);
        }
        Self { actor: sighting.actor.clone(), first: stamp, last: stamp, events: 1, facts }
    }

    /// Whether a pause of at most `window` lies between this and another incident of the same actor.
    #[must_use]
    pub fn meets(&self, other: &Self, window: Duration) -> bool {
        let window = i64::try_from(window.as_micros()).unwrap_or(i64::MAX);
        self.actor == other.actor
            && self.first.at <= other.last.at.saturating_add(window)
            && other.first.at <= self.last.at.saturating_add(window)
    }

    /// Takes another incident of the same actor in.
    ///
    /// INVARIANT: the two have no event in common. Whoever applies events asks the store first whether it has them.
    pub fn absorb(&mut self, other: Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.events = self.events.saturating_add(other.events);
        self.facts.merge(other.facts);
    }

    /// When it began.
    #[must_use]
    pub fn begun(&self) -> Timestamp {
        Timestamp::from_micros(self.first.at)
    }

    /// When something happened last.
    #[must_use]
    pub fn ended(&self) -> Timestamp {
        Timestamp::from_micros(self.last.at)
    }
}

/// Applies a sighting to those incidents of its actor that are near it in time: joins it with all that it meets.
///
/// The result is the same for any order of sightings, since an incident reaches from its first to its last event
/// without a pause longer than `window`: what lies within it lies near one of its events.
#[must_use]
pub fn merge(near: &[Incident], sighting: &Sighting, window: Duration) -> Merged {
    let mut incident = Incident::of(sighting);
    let alone = incident.clone();
    let met = near.iter().enumerate().filter(|(_, other)| other.meets(&alone, window));
    let absorbed = met.map(|(place, other)| {
        incident.absorb(other.clone());
        place
    });
    let absorbed = absorbed.collect();
    Merged { incident, absorbed }
}
