//! Rounds of questions, and answers that count and that do not.

use std::time::Duration;

use aviary_event::{Timestamp, Value};
use aviary_service::{Heard, Interface, Outbox, Question, Seeker, Step};
use aviary_testkit::{NOW, build, settings};

use super::{ENTRY, events};

/// Bytes of which no two pairs are the same, so that no two ids are.
const ENTROPY: [u8; 32] = [
    0x42, 0x17, 0x9a, 0x03, 0x5e, 0x61, 0xc8, 0x2f, 0x70, 0xb4, 0x11, 0xe5, 0x36, 0x8d, 0xfa, 0x29, 0x51, 0x0c, 0xd3,
    0x77, 0xae, 0x94, 0x1b, 0x68, 0xf0, 0x3d, 0xc2, 0x85, 0x4e, 0xb9, 0x07, 0xdc,
];

fn interface(name: &str) -> Interface {
    Interface {
        name: name.to_owned(),
        index: 3,
        is_loopback: name == "lo",
        v4: vec![("192.0.2.1".parse().unwrap(), Some("192.0.2.255".parse().unwrap()))],
        v6: vec!["2001:db8::1".parse().unwrap(), "fe80::1".parse().unwrap()],
    }
}

fn seeker(given: &[(&str, &str)]) -> Box<dyn Seeker> {
    build(&ENTRY, given).seeker().unwrap()
}

fn hear(seeker: &mut dyn Seeker, source: &str, port: u16, bytes: &[u8]) -> Vec<(i64, Value)> {
    let mut out = Outbox::new(Timestamp::from_micros(NOW));
    let source = source.parse().unwrap();
    seeker.hear(&Heard { interface: "eth0", source, port, hops: Some(128), bytes }, &mut out);
    out.into_steps()
        .into_iter()
        .map(|step| match step {
            Step::Report(kind, data) => (kind.number, Value::from(data)),
            other => panic!("{other:?}"),
        })
        .collect()
}

/// An answer to a question: its id, its name and type, and this address.
fn poison(question: &[u8], address: [u8; 4]) -> Vec<u8> {
    let body = &question[12..];
    let tail = [&[0, 0, 0, 30, 0, 4][..], &address].concat();
    [&question[..2], &[0x80, 0, 0, 1, 0, 1, 0, 0, 0, 0], body, body, &tail].concat()
}

fn to(questions: &[Question], address: &str) -> Vec<Question> {
    questions.iter().filter(|question| question.to == address.parse().unwrap()).cloned().collect()
}

#[test]
fn asks_as_a_windows_client_does() {
    let mut seeker = seeker(&[("llmnr.hostname", "\"FILESRV02\"")]);
    let lines: Vec<String> = seeker
        .ask(&interface("eth0"), ENTROPY)
        .iter()
        .map(|q| {
            let (from, port, to) = (q.from, q.source_port, q.to);
            format!("{from} {port:?} -> {to} hops {} {:?} {}", q.hops, q.times, q.bytes.escape_ascii())
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn names_change_and_one_that_is_set_stays() {
    let mut names = std::collections::HashSet::new();
    let mut changing = seeker(&[("llmnr.hostname", "\"DC03\"")]);
    for chance in 0..40_u8 {
        let questions = changing.ask(&interface("eth0"), [chance.wrapping_mul(13); 32]);
        names.insert(to(&questions, "224.0.0.252:5355")[0].bytes[12..].to_vec());
    }
    assert!(names.len() > 20, "{}", names.len());
    let mut set = seeker(&[("llmnr.hostname", "\"FILESRV02\"")]);
    for chance in 0..4 {
        let questions = set.ask(&interface("eth0"), [chance; 32]);
        assert!(to(&questions, "224.0.0.252:5355")[0].bytes[12..].starts_with(b"\x09FILESRV02\0"));
    }
}

#[test]
fn who_answers_is_told_once_a_round() {
    let mut seeker = seeker(&[("llmnr.hostname", "\"FILESRV02\"")]);
    seeker.begin();
    let questions = seeker.ask(&interface("eth0"), ENTROPY);
    let question = &to(&questions, "224.0.0.252:5355")[0].bytes;
    let answer = poison(question, [192, 0, 2, 66]);
    insta::assert_snapshot!(format!("{:#?}", hear(&mut *seeker, "192.0.2.66:5355", 5355, &answer)));
    assert!(hear(&mut *seeker, "192.0.2.66:5355", 5355, &answer).is_empty(), "a repetition");
    assert_eq!(hear(&mut *seeker, "192.0.2.67:5355", 5355, &answer).len(), 2, "somebody else");
    seeker.begin();
    assert!(hear(&mut *seeker, "192.0.2.66:5355", 5355, &answer).is_empty(), "the round is over");
}

#[test]
fn the_frame_is_asked_for_the_hardware_address() {
    assert!(events::RESPONDER.keys.contains(&"MAC"));
}

#[test]
fn answers_over_all_protocols_are_told() {
    let mut seeker = seeker(&[("llmnr.hostname", "\"FILESRV02\"")]);
    let questions = seeker.ask(&interface("eth0"), ENTROPY);
    let netbios = &to(&questions, "192.0.2.255:137")[0].bytes;
    let reply =
        [&netbios[..2], b"\x85\0\0\0\0\x01\0\0\0\0", &netbios[12..], b"\0\0\0\xa5\0\x06\0\0\x0a\0\0\x42"].concat();
    let events = hear(&mut *seeker, "192.0.2.66:137", 137, &reply);
    assert_eq!(events[0].1.get("response").and_then(Value::as_str), Some("NBNS Ans 10.0.0.66"));
    assert_eq!(events[1].1.get("PROTOCOL").and_then(Value::as_str), Some("NBT-NS"));
    // Without an id and a question, as Responder answers.
    let mdns = b"\0\0\x84\0\0\0\0\x01\0\0\0\0\x09filesrv02\x05local\0\0\x01\0\x01\0\0\0\x78\0\x04\x0a\0\0\x42";
    let events = hear(&mut *seeker, "[fe80::66]:5353", 5353, mdns);
    assert_eq!(events[0].1.get("response").and_then(Value::as_str), Some("mDNS Ans 10.0.0.66"));
    assert_eq!(events[0].1.get("query_hostname").and_then(Value::as_str), Some("FILESRV02"));
    assert_eq!(events[1].1.get("PROTOCOL").and_then(Value::as_str), Some("mDNS"));
}

#[test]
fn what_answers_nothing_of_ours_is_not_told() {
    let mut seeker = seeker(&[("llmnr.hostname", "\"FILESRV02\"")]);
    let questions = seeker.ask(&interface("eth0"), ENTROPY);
    let question = to(&questions, "224.0.0.252:5355")[0].bytes.clone();
    let answer = poison(&question, [10, 0, 0, 66]);
    let with = |at: usize, value: u8| {
        let mut changed = answer.clone();
        changed[at] = value;
        changed
    };
    for (what, bytes) in [
        ("another id", with(0, !answer[0])),
        ("another name", with(14, b'X')),
        ("a question", with(2, 0)),
        ("our own question", question.clone()),
        ("garbage", vec![0xff; 60]),
        ("nothing", Vec::new()),
        ("half", answer[..20].to_vec()),
    ] {
        assert!(hear(&mut *seeker, "192.0.2.66:5355", 5355, &bytes).is_empty(), "{what}");
    }
    assert!(hear(&mut *seeker, "192.0.2.66:137", 137, &answer).is_empty(), "another protocol's port");
    let mut out = Outbox::new(Timestamp::from_micros(NOW));
    let source = "192.0.2.66:5355".parse().unwrap();
    seeker.hear(&Heard { interface: "eth1", source, port: 5355, hops: None, bytes: &answer }, &mut out);
    assert!(out.is_empty(), "another network");
}

#[test]
fn a_refusal_is_told_as_scapy_names_it() {
    let mut seeker = seeker(&[("llmnr.hostname", "\"FILESRV02\"")]);
    let questions = seeker.ask(&interface("eth0"), ENTROPY);
    let question = &to(&questions, "224.0.0.252:5355")[0].bytes;
    let refusal = [&question[..2], b"\x80\x03\0\x01\0\0\0\0\0\0", &question[12..]].concat();
    let events = hear(&mut *seeker, "192.0.2.66:5355", 5355, &refusal);
    assert_eq!(events[0].1.get("response").and_then(Value::as_str), Some("DNS Ans name-error"));
    assert_eq!(events[1].1.get("RESPONSE_CODE"), Some(&Value::Int(3)));
}

#[test]
fn asks_where_it_is_told_to() {
    let lo = Interface { v4: vec![("127.0.0.1".parse().unwrap(), None)], ..interface("lo") };
    let eth = interface("eth0");
    for (given, wanted) in [
        (vec![], (false, true)),
        (vec![("llmnr.interfaces", r#"["lo"]"#)], (true, false)),
        (vec![("llmnr.interfaces", r#"["eth0", "lo"]"#)], (true, true)),
    ] {
        let seeker = seeker(&given);
        assert_eq!((seeker.wants(&lo), seeker.wants(&eth)), wanted, "{given:?}");
    }
    let mut seeker = seeker(&[("llmnr.interfaces", r#"["lo"]"#), ("llmnr.protocols", r#"["NBT-NS"]"#)]);
    assert!(seeker.ask(&lo, [1; 32]).is_empty(), "no broadcast address");
    assert_eq!(seeker.ask(&eth, [1; 32]).len(), 1);
    assert_eq!(seeker.ports(), [137]);
}

#[test]
fn the_pause_varies_by_the_splay() {
    let mut usual = seeker(&[]);
    let pauses: Vec<Duration> = (0..=255).map(|byte| usual.pause([byte; 32])).collect();
    assert!(pauses.iter().all(|p| (55_000..=65_000).contains(&p.as_millis())), "{pauses:?}");
    assert!(pauses.iter().max().unwrap().abs_diff(*pauses.iter().min().unwrap()) > Duration::from_secs(5));
    let mut hasty = seeker(&[("llmnr.query_interval", "1"), ("llmnr.query_splay", "9")]);
    assert!((0..=255).all(|byte| hasty.pause([byte; 32]) >= Duration::from_secs(1)));
}

#[test]
fn settings_that_mean_nothing_are_explained() {
    for (key, value) in [
        ("llmnr.protocols", r#"["wins"]"#),
        ("llmnr.hostname", r#""a.b""#),
        ("llmnr.hostname", r#""ABCDEFGHIJKLMNOP""#),
    ] {
        let settings = settings(ENTRY.keys, &[(key, value)]);
        let vault = aviary_service::MemoryVault::default();
        let materials = aviary_service::Materials { settings: &settings, vault: &vault, host_name: "srv01" };
        let Err(rejection) = (ENTRY.build)(&materials) else { panic!("{value}") };
        assert!(rejection.to_string().starts_with(&format!("`{key}`: ")), "{rejection}");
    }
}
