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
pub struct Merged<T> {
    /// The place of the incident that it belongs to.
    pub place: usize,
    /// Whether that is a new one.
    pub born: bool,
    /// Incidents that went into it, since the sighting closed the pause between them; they are no longer in the list.
    pub absorbed: Vec<T>,
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

/// Applies a sighting to those incidents of its actor that are near it in time, or more of them: joins it with all that it
/// meets. `new` makes what the list holds of an incident.
///
/// The result is the same for any order of sightings, since an incident reaches from its first to its last event
/// without a pause longer than `window`: what lies within it lies near one of its events.
pub fn merge<T: AsMut<Incident>>(
    near: &mut Vec<T>,
    sighting: &Sighting,
    window: Duration,
    new: impl FnOnce(Incident) -> T,
) -> Merged<T> {
    let alone = Incident::of(sighting);
    let mut met: Vec<usize> = Vec::new();
    for (place, other) in near.iter_mut().enumerate() {
        if other.as_mut().meets(&alone, window) {
            met.push(place);
        }
    }
    // From the last on, so that places before it stay what they are.
    let mut absorbed = Vec::new();
    for place in met.iter().skip(1).rev() {
        absorbed.push(near.remove(*place));
    }
    absorbed.reverse();
    let place = met.first().copied();
    let Some((place, into)) = place.and_then(|place| Some((place, near.get_mut(place)?))) else {
        near.push(new(alone));
        return Merged { place: near.len().saturating_sub(1), born: true, absorbed };
    };
    let into = into.as_mut();
    into.absorb(alone);
    for other in &mut absorbed {
        into.absorb(other.as_mut().clone());
    }
    Merged { place, born: false, absorbed }
}

impl AsMut<Self> for Incident {
    fn as_mut(&mut self) -> &mut Self {
        self
    }
}
