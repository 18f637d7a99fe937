//! Any order, any split and any repetition of the same events gives the same incidents.

use std::collections::BTreeSet;
use std::time::Duration;

use aviary_insight::{Incident, Sighting, merge};
use proptest::prelude::*;
use uuid::Uuid;

use crate::{event, sighting};

const WINDOW: Duration = Duration::from_secs(100);

/// What a store does: knows which events it has, and keeps incidents.
#[derive(Default)]
struct Shelf {
    seen: BTreeSet<Uuid>,
    incidents: Vec<Incident>,
}

impl Shelf {
    fn apply(&mut self, sighting: &Sighting) {
        if !self.seen.insert(sighting.id) {
            return;
        }
        merge(&mut self.incidents, sighting, WINDOW, |incident| incident);
    }

    fn sorted(mut self) -> Vec<Incident> {
        self.incidents.sort_by_key(|incident| incident.first);
        self.incidents
    }
}

/// The definition itself: events of an actor in order of time, cut where the pause is longer than the window.
fn by_definition(sightings: &[Sighting]) -> Vec<Incident> {
    let mut all: Vec<&Sighting> = sightings.iter().collect();
    all.sort_by_key(|sighting| (sighting.actor.clone(), sighting.stamp()));
    all.dedup_by_key(|sighting| sighting.id);
    let mut incidents: Vec<Incident> = Vec::new();
    for sighting in all {
        let one = Incident::of(sighting);
        let window = i64::try_from(WINDOW.as_micros()).expect("fits");
        match incidents.last_mut() {
            Some(last) if last.actor == one.actor && one.first.at - last.last.at <= window => last.absorb(one),
            _ => incidents.push(one),
        }
    }
    incidents.sort_by_key(|incident| incident.first);
    incidents
}

fn sightings() -> impl Strategy<Value = Vec<Sighting>> {
    let one = (0..2000_i64, 0..3_usize, 0..4_usize, 0..4_usize);
    prop::collection::vec(one, 1..60).prop_map(|all| {
        let numbered = (1_u128..).zip(all);
        let made = numbered.map(|(number, (seconds, actor, sensor, kind))| {
            let source = ["10.0.0.1", "10.0.0.12", "2001:db8::1"][actor];
            let sensor = ["north", "south", "east", "west"][sensor];
            sighting(number, seconds, sensor, &event([4000, 4002, 5001, 3000][kind], source, ""))
        });
        made.collect()
    })
}

/// An order and repetitions: places in the list, each at least once.
fn shuffled() -> impl Strategy<Value = (Vec<Sighting>, Vec<usize>)> {
    sightings().prop_flat_map(|all| {
        let places: Vec<usize> = (0..all.len()).chain(0..all.len() / 3).collect();
        (Just(all), Just(places).prop_shuffle())
    })
}

proptest! {
    #[test]
    fn incidents_do_not_depend_on_order_or_repetition((all, order) in shuffled()) {
        let mut shelf = Shelf::default();
        for place in order {
            shelf.apply(&all[place]);
        }
        prop_assert_eq!(shelf.sorted(), by_definition(&all));
    }

    #[test]
    fn incidents_survive_their_json((all, _) in shuffled()) {
        for incident in by_definition(&all) {
            let text = serde_json::to_string(&incident).expect("JSON");
            prop_assert_eq!(serde_json::from_str::<Incident>(&text).expect("an incident"), incident);
        }
    }

    /// Two processes that each applied a part come to the same when what they have is joined.
    #[test]
    fn parts_that_were_merged_apart_join_to_the_same((all, _) in shuffled(), cut in 0..60_usize) {
        let (left, right) = all.split_at(cut.min(all.len()));
        let mut joined: Vec<Incident> = by_definition(left);
        for other in by_definition(right) {
            let mut whole = other;
            // One pass is not enough: what joins may reach further.
            while let Some(place) = joined.iter().position(|incident| incident.meets(&whole, WINDOW)) {
                whole.absorb(joined.remove(place));
            }
            joined.push(whole);
        }
        joined.sort_by_key(|incident| incident.first);
        prop_assert_eq!(joined, by_definition(&all));
    }
}

#[test]
fn a_late_event_closes_the_pause_between_two_incidents() {
    let at = |number, seconds| sighting(number, seconds, "north", &event(4000, "10.0.0.1", ""));
    let mut shelf = Shelf::default();
    shelf.apply(&at(1, 0));
    shelf.apply(&at(2, 180));
    assert_eq!(shelf.incidents.len(), 2);
    let second = shelf.incidents[1].clone();
    let merged = merge(&mut shelf.incidents, &at(3, 90), WINDOW, |incident| incident);
    assert_eq!((merged.place, merged.born, merged.absorbed), (0, false, vec![second]));
    assert_eq!((shelf.incidents.len(), shelf.incidents[0].events), (1, 3));
}

#[test]
fn an_address_that_begins_like_another_is_another() {
    let at = |number, source: &str| sighting(number, 0, "north", &event(4000, source, ""));
    let mut shelf = Shelf::default();
    for (number, source) in (1..).zip(["10.0.0.1", "10.0.0.12", "::ffff:10.0.0.1", "10.0.0.1"]) {
        shelf.apply(&at(number, source));
    }
    let mut counts: Vec<(String, u64)> =
        shelf.incidents.iter().map(|incident| (incident.actor.to_string(), incident.events)).collect();
    counts.sort();
    assert_eq!(counts, [("10.0.0.1".to_owned(), 3), ("10.0.0.12".to_owned(), 1)]);
}
