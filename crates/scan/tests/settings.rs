//! What the operator's settings become.

use std::path::Path;

use aviary_config::{Document, Format, KeySpace, check};
use aviary_scan::{Events, KEYS, Rules};

/// The rules of a configuration, and what is wrong with it.
fn rules(text: &str) -> (Option<Rules>, Vec<String>) {
    let space = KeySpace::new([KEYS]);
    let document = Document::parse(Path::new("test.conf"), text, Format::Json, &space).expect("it parses");
    let (settings, problems) = check(&document, &space);
    (Rules::of(&settings), problems.iter().map(ToString::to_string).collect())
}

#[test]
fn the_defaults_are_those_of_the_rules() {
    assert!(rules("{}").0.is_none(), "off");
    let read = rules(r#"{"portscan.enabled": true}"#).0.expect("on");
    assert_eq!(format!("{read:?}"), format!("{:?}", Rules::default()));
}

#[test]
fn every_key_is_read() {
    let (read, problems) = rules(
        r#"{"portscan.enabled": true, "portscan.events": "aggregated", "portscan.threshold": 5,
            "portscan.window_hours": 2, "portscan.quiet_seconds": 30, "portscan.update_seconds": 3,
            "portscan.synrate": 7, "portscan.nmaposrate": 8, "portscan.lorate": 9, "portscan.ignore_localhost": true,
            "portscan.ignore_ports": [22, "80"], "portscan.ignore_sources": ["10.0.0.0/8", "2001:db8::1"]}"#,
    );
    let rules = read.expect("on");
    assert!(problems.iter().all(|problem| !problem.contains("portscan")), "{problems:?}");
    assert_eq!((rules.events, rules.threshold, rules.ignore_localhost), (Events::Aggregated, 5, true));
    assert_eq!((rules.window, rules.quiet, rules.update), (7_200_000, 30_000, 3000));
    assert_eq!((rules.syn_rate, rules.nmap_rate, rules.loopback_rate), (7, 8, 9));
    assert!(rules.ignore_ports == [22, 80].into() && rules.decoys.is_empty());
    for (address, is_in) in [("10.9.9.9", true), ("2001:db8::1", true), ("11.0.0.1", false)] {
        assert_eq!(rules.ignore_sources.contains(address.parse().unwrap()), is_in, "{address}");
    }
}

#[test]
fn what_is_wrong_is_told() {
    for (text, word) in [
        (r#"{"portscan.ignore_sources": ["10.0.0.0/33"]}"#, "prefix"),
        (r#"{"portscan.ignore_sources": ["scanner"]}"#, "address"),
        (r#"{"portscan.events": "all"}"#, "aggregated"),
        (r#"{"portscan.threshold": 17}"#, "16"),
    ] {
        let problems = rules(text).1;
        assert!(problems.iter().any(|problem| problem.contains(word)), "{text}: {problems:?}");
    }
}
