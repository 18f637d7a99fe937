//! Recipients hear of every fact, once, and of a flood in few messages.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aviary_event::{Severity, Timestamp};
use aviary_insight::{
    Budget, Earlier, Fact, Facts, Incident, Known, Notice, Policy, PolicyText, RuleError, Sighting, decide, news,
    over_budget,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{SECOND, event, sighting};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * SECOND)
}

fn policy(name: &str, body: Value) -> Policy {
    read(name, body).unwrap_or_else(|error| panic!("{error}"))
}

fn read(name: &str, body: Value) -> Result<Policy, RuleError> {
    let text: PolicyText = serde_json::from_value(body).expect("a policy");
    Policy::new(name, &text)
}

/// What a hub would remember of notices.
#[derive(Default)]
struct Ledger {
    rows: Vec<Earlier>,
}

impl Ledger {
    fn ask(&self, policies: &[Policy], incident: &Incident, now: Timestamp) -> Vec<Notice> {
        let known = Known {
            facts: &incident.facts,
            severity: incident.verdict().severity,
            earlier: &self.rows,
            groups: &|sensor| if sensor.starts_with('n') { vec!["berlin".to_owned()] } else { Vec::new() },
            except: None,
        };
        decide(policies, &known, now)
    }

    fn note(&mut self, notices: Vec<Notice>, severity: Severity, now: Timestamp) {
        for notice in notices {
            let row = notice.into.and_then(|into| self.rows.iter_mut().find(|row| row.row == into));
            if let Some(row) = row {
                assert!(row.open, "what has gone out takes no more in");
                row.facts.extend(notice.facts);
                (row.due, row.together, row.severity) = (notice.due, notice.together, row.severity.max(severity));
                continue;
            }
            self.rows.push(Earlier {
                row: i64::try_from(self.rows.len()).expect("few"),
                channel: notice.channel,
                at: now,
                due: notice.due,
                severity,
                open: true,
                together: notice.together,
                facts: notice.facts,
            });
        }
    }

    /// Sends what is due.
    fn send(&mut self, now: Timestamp) {
        for row in self.rows.iter_mut().filter(|row| row.due <= now) {
            row.open = false;
        }
    }

    fn told(&self, channel: &str) -> Vec<Fact> {
        let mut facts: Vec<Fact> =
            self.rows.iter().filter(|row| row.channel == channel).flat_map(|row| row.facts.clone()).collect();
        facts.sort();
        facts
    }
}

fn guess(number: u128, seconds: i64, sensor: &str) -> Sighting {
    sighting(number, seconds, sensor, &event(4002, "10.0.0.1", ""))
}

#[test]
fn a_hundred_thousand_guesses_are_one_message_and_a_second_sensor_is_one_more() {
    let policies = [policy("all", json!({"channels": ["ops"]})), policy("b", json!({"channels": ["ops", "boss"]}))];
    let mut ledger = Ledger::default();
    let mut incident = Incident::of(&guess(0, 0, "north"));
    for number in 1..100_000_u128 {
        let now = at(i64::try_from(number).expect("small") / 500);
        incident.absorb(Incident::of(&guess(number, 0, "north")));
        if number % 100 == 0 {
            let notices = ledger.ask(&policies, &incident, now);
            ledger.note(notices, Severity::High, now);
            ledger.send(now);
        }
    }
    let count = |ledger: &Ledger| {
        ["ops", "boss"].map(|channel| ledger.rows.iter().filter(|row| row.channel == channel).count())
    };
    assert_eq!(count(&ledger), [1, 1]);
    incident.absorb(Incident::of(&guess(100_000, 0, "south")));
    ledger.note(ledger.ask(&policies, &incident, at(900)), Severity::High, at(900));
    assert_eq!(count(&ledger), [2, 2]);
    assert_eq!(ledger.rows[2].facts, [Fact::Sensor("south".to_owned())]);
}

#[test]
fn a_sweep_over_two_hundred_sensors_is_a_handful_of_messages() {
    let policies = [policy("all", json!({"channels": ["ops"]}))];
    let mut ledger = Ledger::default();
    let mut incident = Incident::of(&sighting(1, 0, "n0", &event(4000, "10.0.0.1", "")));
    for second in 0..200 {
        let name = format!("n{second}");
        incident.absorb(Incident::of(&sighting(
            u128::from(name.len() as u64),
            second,
            &name,
            &event(4000, "10.0.0.1", ""),
        )));
        let now = at(second * 5);
        ledger.note(ledger.ask(&policies, &incident, now), incident.verdict().severity, now);
        ledger.send(now);
    }
    assert!((2..15).contains(&ledger.rows.len()), "{}", ledger.rows.len());
    ledger.send(at(100_000));
    assert_eq!(ledger.told("ops"), news(&incident.facts, &BTreeSet::new()));
}

#[test]
fn what_is_graver_does_not_wait() {
    let policies = [policy("all", json!({"channels": ["ops"], "digest": "1h"}))];
    let mut ledger = Ledger::default();
    let mut incident = Incident::of(&guess(1, 0, "north"));
    ledger.note(ledger.ask(&policies, &incident, at(10)), Severity::High, at(10));
    assert_eq!((ledger.rows[0].due, ledger.rows[0].together), (at(3600), true));
    let planted = event(4002, "10.0.0.1", r#", "honeycred": true"#);
    incident.absorb(Incident::of(&sighting(2, 20, "north", &planted)));
    let notices = ledger.ask(&policies, &incident, at(20));
    assert_eq!(notices.len(), 1);
    assert_eq!((notices[0].into, notices[0].due, notices[0].together), (Some(0), at(20), false));
}

#[test]
fn policies_ask_for_severity_kind_and_group() {
    let incident = Incident::of(&guess(1, 0, "north"));
    let takes = |body: Value| {
        let mut body = body;
        body["channels"] = json!(["ops"]);
        !Ledger::default().ask(&[policy("p", body)], &incident, at(0)).is_empty()
    };
    assert!(takes(json!({})));
    assert!(takes(json!({"severity": "high"})) && !takes(json!({"severity": "critical"})));
    assert!(takes(json!({"kinds": ["login_attempt"]})) && !takes(json!({"kinds": ["scan"]})));
    assert!(takes(json!({"kinds": ["4002"]})) && !takes(json!({"kinds": ["4003", "trouble"]})));
    assert!(takes(json!({"groups": ["berlin"]})) && takes(json!({"groups": ["north"]})));
    assert!(!takes(json!({"groups": ["paris"]})) && !takes(json!({"enabled": false})));
}

#[test]
fn what_nobody_is_told_at_this_hour_waits_for_the_first_schedule() {
    let hours = |from: &str, to: &str| json!({"from": from, "to": to, "zone": "UTC"});
    let night = policy("night", json!({"channels": ["pager"], "schedule": hours("22:00", "06:00")}));
    let noon = policy("noon", json!({"channels": ["ops"], "schedule": hours("12:00", "13:00")}));
    let incident = Incident::of(&guess(1, 0, "north"));
    let told = |policies: &[Policy], hour: i64| {
        let notices = Ledger::default().ask(policies, &incident, at(hour * 3600));
        notices.into_iter().map(|n| (n.channel, n.due.as_micros() / SECOND, n.together)).collect::<Vec<_>>()
    };
    let both = [night.clone(), noon];
    assert_eq!(told(&both, 23), [("pager".to_owned(), 23 * 3600 + 2, false)]);
    assert_eq!(told(&both, 9), [("ops".to_owned(), 12 * 3600, true)]);
    assert_eq!(told(&both, 14), [("pager".to_owned(), 22 * 3600, true)]);
    assert_eq!(told(&[night, policy("all", json!({"channels": ["ops"]}))], 14).len(), 1);
}

#[test]
fn the_channel_that_fails_is_not_told_that_it_fails() {
    let policies = [policy("all", json!({"channels": ["ops", "boss"]}))];
    let incident = Incident::of(&guess(1, 0, "north"));
    let facts: &Facts = &incident.facts;
    let known = Known { facts, severity: Severity::High, earlier: &[], groups: &|_| Vec::new(), except: Some("ops") };
    let channels: Vec<String> = decide(&policies, &known, at(0)).into_iter().map(|notice| notice.channel).collect();
    assert_eq!(channels, ["boss"]);
}

#[test]
fn a_budget_says_when_the_next_message_fits() {
    let budget = Some(Budget { messages: 2, per: Duration::from_secs(60) });
    let sent = [at(0), at(50), at(70)];
    assert_eq!(over_budget(&sent[..1], budget, Severity::High, at(10)), None);
    assert_eq!(over_budget(&sent, budget, Severity::High, at(80)), Some(at(110)));
    assert_eq!(over_budget(&sent, budget, Severity::High, at(111)), None);
    assert_eq!(over_budget(&sent, budget, Severity::Critical, at(80)), None, "the gravest never waits");
    assert_eq!(over_budget(&sent, None, Severity::Low, at(80)), None);
}

#[test]
fn a_policy_that_is_none_says_why() {
    for (body, words) in [
        (json!({"channels": []}), "`channels` is empty"),
        (json!({"channels": ["a"], "severity": "grave"}), "`severity` says `grave`"),
        (json!({"channels": ["a"], "kinds": ["logins"]}), "`kinds` says `logins`"),
        (json!({"channels": ["a"], "digest": "15"}), "`digest` says `15`; accepted: a length of time"),
        (json!({"channels": ["a"], "digest": "0m"}), "`digest` says `0m`"),
        (json!({"channels": ["a"], "budget": {"messages": 0, "per": "1h"}}), "`budget.messages` says `0`"),
        (json!({"channels": ["a"], "budget": {"messages": 1, "per": "1y"}}), "`budget.per` says `1y`"),
        (json!({"channels": ["a"], "schedule": {"from": "9", "to": "17:00", "zone": "UTC"}}), "`hours.from` says `9`"),
    ] {
        let error = read("p", body).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.starts_with(words), "{error}");
    }
}

proptest! {
    /// Whatever comes in whatever order, with whatever pauses: each recipient is told every new fact that its policies
    /// are about exactly once, no row changes after it went out, and nothing waits longer than the longest pause.
    #[test]
    fn every_fact_is_told_once(
        steps in prop::collection::vec((0_i64..4000, 0_usize..6, prop::sample::select(vec![4000_i64, 5001, 4002, 3000])), 1..60),
        digest in prop::option::of(1_u32..50),
    ) {
        let digest = digest.map(|minutes| format!("{minutes}m"));
        let policies = [
            policy("all", json!({"channels": ["ops", "boss"]})),
            policy("more", json!({"channels": ["team", "ops"], "digest": digest})),
        ];
        let mut ledger = Ledger::default();
        let mut incident: Option<Incident> = None;
        let mut now = 0;
        for (number, (pause, sensor, logtype)) in steps.into_iter().enumerate() {
            now += pause;
            let number = u128::try_from(number).expect("small");
            let seen = sighting(number, now, &format!("s{sensor}"), &event(logtype, "10.0.0.1", ""));
            match &mut incident {
                None => incident = Some(Incident::of(&seen)),
                Some(incident) => incident.absorb(Incident::of(&seen)),
            }
            let Some(incident) = &incident else { continue };
            ledger.send(at(now));
            let notices = ledger.ask(&policies, incident, at(now));
            for notice in &notices {
                prop_assert!(notice.due >= at(now) || notice.into.is_some());
                prop_assert!(notice.due <= at(now + 3602), "{notice:?} at {now}");
            }
            ledger.note(notices, incident.verdict().severity, at(now));
            prop_assert!(ledger.ask(&policies, incident, at(now)).is_empty(), "what is noted is told");
            let wanted = news(&incident.facts, &BTreeSet::new());
            for channel in ["ops", "boss", "team"] {
                prop_assert_eq!(ledger.told(channel), wanted.clone(), "{}", channel);
            }
        }
        let open: BTreeMap<&str, usize> = ledger.rows.iter().filter(|row| row.open).fold(BTreeMap::new(), |mut open, row| {
            *open.entry(row.channel.as_str()).or_default() += 1;
            open
        });
        prop_assert!(open.values().all(|count| *count == 1), "{:?}", open);
    }
}
