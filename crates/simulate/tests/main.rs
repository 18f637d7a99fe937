//! The model gives the same events for the same seed, and what it promises is in them.

use std::collections::{BTreeMap, BTreeSet};

use aviary_event::{Event, Timestamp};
use aviary_insight::{Sighting, Stage};
use aviary_simulate::{Options, Simulation};

fn lines(options: Options, count: usize) -> Vec<String> {
    Simulation::new(options).take(count).map(|sent| sent.event.to_line(true)).collect()
}

/// The events of the first hour.
fn hour() -> Vec<Event> {
    let options = Options::default();
    let end = options.start.as_micros() + 3_600_000_000;
    let before = |event: &Event| event.aviary.as_ref().is_some_and(|ours| ours.time.as_micros() < end);
    Simulation::new(options).map(|sent| sent.event).take_while(before).collect()
}

fn source(event: &Event) -> &str {
    event.src.as_ref().map_or("", |src| src.host.as_str())
}

#[test]
fn the_same_seed_gives_the_same_events_and_another_one_others() {
    let first = lines(Options::default(), 3000);
    assert_eq!(first, lines(Options::default(), 3000));
    assert_ne!(first, lines(Options { seed: 2, ..Options::default() }, 3000));
    let ids: BTreeSet<_> = Simulation::new(Options::default())
        .take(3000)
        .filter_map(|sent| sent.event.aviary.map(|ours| ours.id))
        .collect();
    assert_eq!(ids.len(), 3000, "no id comes twice");
}

#[test]
fn events_are_in_order_of_time_and_say_what_their_kinds_declare() {
    let mut last = Timestamp::from_micros(0);
    for event in hour() {
        let ours = event.aviary.as_ref().expect("ours");
        // A worm's second step is told with its first.
        assert!(ours.time.as_micros() + 1_000_000 > last.as_micros());
        last = last.max(ours.time);
        let number = event.logtype.expect("a number");
        let kinds = aviary_services::ALL.iter().flat_map(|entry| entry.kinds).chain(&aviary_scan::KINDS);
        let declared: Vec<_> = kinds.filter(|kind| kind.number == number).collect();
        let keys = event.logdata.as_map().expect("an object");
        let fits =
            declared.iter().any(|kind| keys.keys().all(|key| kind.keys.contains(&key.as_str()) || kind.keys == ["*"]));
        assert!(fits, "{number}: {:?}", keys.keys());
        let back = Event::parse(&event.to_line(true)).expect("an event");
        assert!(Sighting::of(&back, ours.id, ours.time, "x", "").is_some());
    }
}

#[test]
fn all_sensors_are_reached_by_one_sweep() {
    let mut reached: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for event in hour().iter().filter(|event| event.logtype == Some(5001)) {
        let node = event.node_id.clone().expect("a node");
        reached.entry(source(event).to_owned()).or_default().insert(node);
    }
    assert_eq!(reached.values().map(BTreeSet::len).max(), Some(200));
}

#[test]
fn one_password_is_sprayed_over_many_users_and_sensors() {
    let events = hour();
    let sprayed = events.iter().filter(|event| {
        event.logdata.get("USERNAME").and_then(|user| user.as_str()).is_some_and(|user| user.starts_with("employee"))
    });
    let (mut users, mut nodes, mut passwords) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for event in sprayed {
        users.insert(event.logdata.get("USERNAME").and_then(|user| user.as_str()).expect("a user"));
        passwords.insert(event.logdata.get("PASSWORD").and_then(|word| word.as_str()).expect("a password"));
        nodes.insert(event.node_id.clone());
    }
    assert!(users.len() >= 40 && nodes.len() >= 40, "{} users, {} sensors", users.len(), nodes.len());
    assert_eq!(passwords.len(), 1);
}

#[test]
fn a_worm_comes_from_ever_more_machines() {
    let events = hour();
    let uploads: Vec<&Event> = events.iter().filter(|event| event.logtype == Some(31105)).collect();
    let sources: BTreeSet<&str> = uploads.iter().map(|event| source(event)).collect();
    assert!(sources.len() >= 10, "{sources:?}");
    let stages: BTreeSet<_> = uploads.iter().filter_map(|event| Stage::of(event)).collect();
    assert_eq!(stages, BTreeSet::from([Stage::ExploitAttempt]));
    let half = uploads.len() / 2;
    let early: BTreeSet<&str> = uploads[..half].iter().map(|event| source(event)).collect();
    let late: BTreeSet<&str> = uploads[half..].iter().map(|event| source(event)).collect();
    assert!(late.difference(&early).count() >= 3, "{early:?} {late:?}");
}

#[test]
fn without_scenes_there_are_only_strangers() {
    let options = Options { scenes: false, sensors: 3, ..Options::default() };
    let simulation = Simulation::new(options);
    assert_eq!(simulation.sensors().collect::<Vec<_>>(), ["sim-001", "sim-002", "sim-003"]);
    assert!(simulation.take(5000).all(|sent| sent.sensor < 3 && sent.event.logtype != Some(31105)));
}
