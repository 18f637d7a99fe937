//! What an incident knows, how grave it is, and when it is news.

use std::collections::BTreeSet;

use aviary_event::{Event, Severity, Timestamp};
use aviary_insight::{Fact, Incident, Reason, Sighting, Sort, Stage, news};
use uuid::Uuid;

use crate::{event, sighting};

fn incident(sightings: &[Sighting]) -> Incident {
    let mut all = sightings.iter().map(Incident::of);
    let mut whole = all.next().expect("one");
    all.for_each(|other| whole.absorb(other));
    whole
}

#[test]
fn a_hundred_thousand_guesses_are_news_once_and_a_second_sensor_once_more() {
    let guess = |number: u128, sensor: &str| {
        let line = format!(
            r#"{{"logtype": 4002, "src_host": "10.0.0.1", "src_port": 1, "dst_host": "10.9.0.1", "dst_port": 22,
                "logdata": {{"USERNAME": "user{number}"}}}}"#
        );
        sighting(number, 0, sensor, &Event::parse(&line).expect("an event"))
    };
    let mut whole = Incident::of(&guess(1, "north"));
    let mut told = BTreeSet::new();
    let mut messages = Vec::new();
    for number in 1..=100_000_u128 {
        if number > 1 {
            whole.absorb(Incident::of(&guess(number, "north")));
        }
        let new = news(&whole.facts, &told);
        if !new.is_empty() {
            told.extend(new.iter().cloned());
            messages.push(new);
        }
    }
    assert_eq!(messages, [[Fact::Sensor("north".to_owned()), Fact::Stage(Stage::LoginAttempt)]]);
    assert_eq!((whole.events, whole.facts.count(Sort::User)), (100_000, (64, true)));
    whole.absorb(Incident::of(&guess(100_001, "south")));
    assert_eq!(news(&whole.facts, &told), [Fact::Sensor("south".to_owned())]);
}

#[test]
fn the_first_of_a_kind_are_kept_in_any_order() {
    let with = |number: u128, seconds: i64| {
        let line = format!(
            r#"{{"logtype": 4002, "src_host": "10.0.0.1", "src_port": 1, "logdata": {{"USER": "u{number}"}}}}"#
        );
        sighting(number, seconds, "north", &Event::parse(&line).expect("an event"))
    };
    let ascending: Vec<Sighting> = (0..200).map(|n| with(n, i64::try_from(n).expect("small"))).collect();
    let mut descending = ascending.clone();
    descending.reverse();
    assert_eq!(incident(&ascending).facts, incident(&descending).facts);
    assert!(incident(&descending).facts.iter().any(|(fact, _)| *fact == Fact::User("u0".to_owned())));
    assert!(!incident(&descending).facts.iter().any(|(fact, _)| *fact == Fact::User("u199".to_owned())));
}

#[test]
fn the_furthest_step_and_several_sensors_make_it_grave() {
    let touch = |number, sensor: &str| sighting(number, 0, sensor, &event(4000, "10.0.0.1", ""));
    let verdict = incident(&[touch(1, "a"), touch(2, "b")]).verdict();
    assert_eq!((verdict.severity, verdict.stage, verdict.reasons.len()), (Severity::Low, Stage::Touch, 1));
    let verdict = incident(&[touch(1, "a"), touch(2, "b"), touch(3, "c")]).verdict();
    assert_eq!(verdict.severity, Severity::Medium);
    assert_eq!(verdict.reasons[0], Reason::Breadth { sensors: 3 });
    let planted = event(4002, "10.0.0.1", r#", "honeycred": true"#);
    let verdict = incident(&[touch(1, "a"), sighting(2, 1, "a", &planted)]).verdict();
    assert_eq!((verdict.severity, verdict.stage), (Severity::Critical, Stage::DecoyUsed));
    assert!(matches!(&verdict.reasons[0], Reason::Decoy { user, .. } if user == "root"), "{:?}", verdict.reasons);
}

#[test]
fn the_canarys_own_life_and_what_has_no_source_are_no_sightings() {
    let none = |line: &str| {
        let event = Event::parse(line).expect("an event");
        assert_eq!(Sighting::of(&event, Uuid::from_u128(1), Timestamp::from_micros(0), "a", ""), None, "{line}");
    };
    none(r#"{"logtype": 1001, "src_host": "10.0.0.1", "logdata": {}}"#);
    none(r#"{"logtype": 4002, "src_host": "", "logdata": {}}"#);
    none(r#"{"logtype": 4002, "logdata": {}}"#);
}

#[test]
fn facts_are_what_the_event_tells_and_bounded() {
    let line = format!(
        r#"{{"logtype": 32000, "src_host": "10.0.0.1", "src_port": "-1", "dst_host": "10.9.0.1", "dst_port": "445",
            "logdata": {{"TOOL": "masscan", "USERNAME": "{}"}}, "aviary": {{"id": "01a2104a-506e-77e5-a548-70a694455bf9",
            "seq": 1, "service": "portscan", "time": "2026-11-25T01:20:35Z", "kind": "scan", "technique": ["T1046"],
            "src_mac": "02:00:00:00:00:66", "src_name": "LAPTOP-7", "fingerprint": {{"ja4": "t13d", "tcp": "x"}}}}}}"#,
        "x".repeat(5000)
    );
    let event = Event::parse(&line).expect("an event");
    let seen = sighting(1, 0, "a", &event);
    let has = |fact: Fact| assert!(seen.facts.contains(&fact), "{fact:?} is missing in {:?}", seen.facts);
    has(Fact::Port(445));
    has(Fact::Tool("masscan".to_owned()));
    has(Fact::User("x".repeat(200)));
    has(Fact::Mac("02:00:00:00:00:66".to_owned()));
    has(Fact::Name("LAPTOP-7".to_owned()));
    has(Fact::Fingerprint("ja4:t13d".to_owned()));
    has(Fact::Technique("T1046".to_owned()));
    assert_eq!(seen.stage, Stage::Scan);
    let router = line.replace(r#""src_name""#, r#""src_mac_router": true, "src_name""#);
    let behind = sighting(1, 0, "a", &Event::parse(&router).expect("an event"));
    assert!(!behind.facts.iter().any(|fact| fact.sort() == Sort::Mac), "a router's MAC is nobody's");
}
