//! Suppression rules hide what they ask for, for as long as they say, and nothing else.

use aviary_event::Timestamp;
use aviary_insight::{Hours, Rule, RuleText};

use crate::{SECOND, event, sighting};

fn text() -> RuleText {
    RuleText {
        owner: "anna".to_owned(),
        reason: "the weekly vulnerability scan".to_owned(),
        expires: "2027-01-01T00:00:00Z".to_owned(),
        ..RuleText::default()
    }
}

fn list(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

fn hides(rule: &RuleText, logtype: i64, source: &str, at: &str) -> bool {
    let rule = Rule::new(rule).unwrap_or_else(|error| panic!("{error}"));
    let event = event(logtype, source, "");
    let at = Timestamp::parse_rfc3339(at).expect("a time");
    let seen = sighting(1, at.as_micros() / SECOND, "north", &event);
    rule.hides(&event, &seen, Timestamp::parse_rfc3339("2026-11-25T00:00:00Z").expect("a time"))
}

const NOON: &str = "2026-11-24T12:00:00Z";

#[test]
fn networks_hold_addresses_and_not_their_neighbours() {
    let rule = RuleText { sources: list(&["10.0.0.1"]), ..text() };
    assert!(hides(&rule, 4000, "10.0.0.1", NOON));
    assert!(hides(&rule, 4000, "::ffff:10.0.0.1", NOON));
    assert!(!hides(&rule, 4000, "10.0.0.12", NOON));
    let rule = RuleText { sources: list(&["2001:db8::/32"]), ..text() };
    assert!(hides(&rule, 4000, "2001:DB8:0::7", NOON));
    assert!(!hides(&rule, 4000, "10.0.0.1", NOON));
}

#[test]
fn everything_asked_must_be_so() {
    let rule = RuleText { sources: list(&["10.0.0.0/8"]), kinds: list(&["scan", "4000"]), ports: vec![22], ..text() };
    assert!(hides(&rule, 5001, "10.0.0.1", NOON));
    assert!(hides(&rule, 4000, "10.0.0.1", NOON));
    assert!(!hides(&rule, 4002, "10.0.0.1", NOON), "a login is none of the kinds");
    assert!(!hides(&RuleText { ports: vec![23], ..rule.clone() }, 5001, "10.0.0.1", NOON));
    assert!(!hides(&RuleText { sensors: list(&["south"]), ..rule.clone() }, 5001, "10.0.0.1", NOON));
    assert!(
        !hides(&RuleText { services: list(&["ssh"]), ..rule.clone() }, 5001, "10.0.0.1", NOON),
        "no service is said"
    );
    assert!(!hides(&RuleText { destinations: list(&["10.9.0.12"]), ..rule }, 5001, "10.0.0.1", NOON));
}

#[test]
fn hours_are_local_and_may_pass_midnight() {
    let hours = |days: &[&str]| {
        let hours = Hours {
            from: "22:00".to_owned(),
            to: "06:00".to_owned(),
            days: list(days),
            zone: "Europe/Berlin".to_owned(),
        };
        RuleText { sources: list(&["10.0.0.1"]), hours: Some(hours), ..text() }
    };
    // 21:00 UTC is 22:00 in Berlin; 2026-11-24 is a Tuesday.
    assert!(!hides(&hours(&[]), 4000, "10.0.0.1", "2026-11-24T20:59:59Z"));
    assert!(hides(&hours(&[]), 4000, "10.0.0.1", "2026-11-24T21:00:00Z"));
    assert!(hides(&hours(&["tue"]), 4000, "10.0.0.1", "2026-11-25T04:59:59Z"), "the morning after");
    assert!(!hides(&hours(&["tue"]), 4000, "10.0.0.1", "2026-11-25T05:00:00Z"));
    assert!(!hides(&hours(&["wed"]), 4000, "10.0.0.1", "2026-11-24T23:30:00Z"), "the night of Tuesday");
}

#[test]
fn a_rule_that_is_over_hides_nothing() {
    let rule = RuleText { sources: list(&["10.0.0.1"]), expires: "2026-11-24T23:59:59Z".to_owned(), ..text() };
    assert!(!hides(&rule, 4000, "10.0.0.1", NOON));
}

#[test]
fn bad_rules_say_what_is_wrong() {
    let says = |rule: RuleText| Rule::new(&rule).expect_err("a bad rule").to_string();
    let good = RuleText { sources: list(&["10.0.0.1"]), ..text() };
    assert!(says(text()).starts_with("the rule asks for nothing and would hide everything"));
    assert_eq!(
        says(RuleText { expires: String::new(), ..good.clone() }),
        "`expires` is empty: a rule without an end hides for ever"
    );
    assert!(
        says(RuleText { expires: "soon".to_owned(), ..good.clone() }).starts_with("`expires` says `soon`; accepted")
    );
    assert!(says(RuleText { sources: list(&["10.0.0"]), ..good.clone() }).starts_with("`sources` says `10.0.0`"));
    assert!(says(RuleText { kinds: list(&["scans"]), ..good.clone() }).starts_with("`kinds` says `scans`"));
    let hours = |from: &str, zone: &str| {
        let (from, zone) = (from.to_owned(), zone.to_owned());
        RuleText { hours: Some(Hours { from, to: "06:00".to_owned(), days: Vec::new(), zone }), ..good.clone() }
    };
    assert!(says(hours("24:00", "UTC")).starts_with("`hours.from` says `24:00`"));
    assert!(says(hours("2:00", "UTC")).starts_with("`hours.from` says `2:00`"));
    assert!(says(hours("22:00", "Berlin")).starts_with("`hours.zone` says `Berlin`"));
}
