//! Conversations with banner ports.

use std::time::Duration;

use aviary_event::Value;
use aviary_service::{KeepAlive, Service};
use aviary_testkit::{Talk, Transcript, build, exchange, facts};
use proptest::prelude::*;

use super::ENTRY;

fn service(given: &[(&str, &str)]) -> Box<dyn Service> {
    build(&ENTRY, &[&[("tcpbanner_1.enabled", "true")], given].concat())
}

fn talk(given: &[(&str, &str)], chunks: &[&[u8]]) -> Transcript {
    exchange(&mut *service(given).dialogue(0, &facts(8001)), chunks)
}

fn field<'a>(transcript: &'a Transcript, number: i64, key: &str) -> Vec<&'a [u8]> {
    transcript.events_of(number).into_iter().filter_map(|data| data.get(key)).filter_map(Value::as_bytes).collect()
}

const GREETING: (&str, &str) = ("tcpbanner_1.initbanner", r#""220 it's me\\r\\n""#);
const ANSWER: (&str, &str) = ("tcpbanner_1.datareceivedbanner", r#""500 no\\n""#);
const ALERT: [(&str, &str); 2] =
    [("tcpbanner_1.alertstring.enabled", "true"), ("tcpbanner_1.alertstring", r#""pass\\n""#)];
const KEEP: [(&str, &str); 2] =
    [("tcpbanner_1.keep_alive.enabled", "true"), ("tcpbanner_1.keep_alive_secret", r#""s3""#)];

#[test]
fn a_plain_port_reports_the_connection_and_in_our_own_kind_the_data() {
    let got = talk(&[GREETING, ANSWER], &[b"hello\r\n", b"\xff\xfe"]);
    assert_eq!(got.replies(), b"220 it's me\r\n500 no\n500 no\n");
    assert_eq!(field(&got, 18001, "DATA"), [br#"b"220 it's me\r\n""#]);
    assert_eq!(field(&got, 18001, "BANNER_ID"), [b"1"]);
    assert_eq!(field(&got, 18001, "FUNCTION"), [b"CONNECTION_MADE".as_slice()]);
    assert_eq!(field(&got, 30700, "DATA"), [b"hello\r\n".as_slice(), b"\xff\xfe"]);
    assert_eq!(got.events().len(), 3);
}

#[test]
fn a_port_with_alert_string_is_silent_until_it_comes() {
    let got = talk(&[GREETING, ALERT[0], ALERT[1]], &[b"pass", b"my pass\nword \xff \n"]);
    assert_eq!(got.events().iter().map(|(number, _)| *number).collect::<Vec<_>>(), [30700, 18005]);
    assert_eq!(field(&got, 18005, "DATA"), [b"my pass\nword \xff".as_slice()]);
    assert_eq!(field(&got, 18005, "ALERT_STRING"), [b"pass\n"]);
    assert_eq!(field(&got, 18005, "FUNCTION"), [b"DATA_RECEIVED".as_slice()]);
}

#[test]
fn cuts_long_data_as_opencanary_does_and_keeps_it_whole_beside() {
    let long = [vec![b'x'; 300], b"pass\n".to_vec()].concat();
    let got = talk(&[ALERT[0], ALERT[1]], &[&long]);
    assert_eq!(field(&got, 18005, "DATA"), [&[b'x'; 255]]);
    assert_eq!(field(&got, 30700, "DATA"), [long]);
}

#[test]
fn the_secret_ends_the_alerts_of_a_kept_connection() {
    let got = talk(&[GREETING, ANSWER, KEEP[0], KEEP[1]], &[b"a\n", b"xs3x\n", b"b\n"]);
    assert_eq!(got.events().iter().map(|(number, _)| *number).collect::<Vec<_>>(), [18002, 18004, 18003]);
    assert_eq!(field(&got, 18004, "DATA"), [b"a"]);
    assert_eq!(field(&got, 18003, "DATA"), [b"xs3x"]);
    assert_eq!(field(&got, 18003, "SECRET_STRING"), [b"s3"]);
    assert_eq!(got.replies(), b"220 it's me\r\n500 no\n500 no\n500 no\n");
}

#[test]
fn an_empty_secret_is_none() {
    let got = talk(&KEEP[..1], &[b"a", b"b"]);
    assert_eq!(field(&got, 18004, "DATA"), [b"a", b"b"]);
}

#[test]
fn every_enabled_number_is_an_endpoint_of_its_own() {
    let given = [
        ("tcpbanner_3.enabled", "true"),
        ("tcpbanner_3.port", "2323"),
        ("tcpbanner_10.enabled", "true"),
        ("tcpbanner_10.keep_alive.enabled", "true"),
        ("tcpbanner_10.keep_alive_idle", "60"),
        ("tcpbanner_11.enabled", "true"),
    ];
    let service = service(&given);
    let endpoints: Vec<_> = service.endpoints().into_iter().map(|e| (e.port, e.label)).collect();
    let expected = [(8001, "tcpbanner_1"), (2323, "tcpbanner_3"), (8010, "tcpbanner_10")];
    assert_eq!(endpoints, expected.map(|(port, label)| (port, label.to_owned())));
    let kept = KeepAlive { idle: Duration::from_secs(60), interval: Duration::from_secs(300), probes: 11 };
    assert_eq!((service.keep_alive(0), service.keep_alive(2)), (None, Some(kept)));
}

#[test]
fn uses_all_that_waits() {
    let service = service(&[]);
    let mut dialogue = service.dialogue(0, &facts(8001));
    let mut talk = Talk::open(&mut *dialogue);
    talk.send(b"abc");
    assert!(talk.end().unused.is_empty());
}

proptest! {
    #[test]
    fn garbage_is_reported_whole(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 1..5)) {
        let slices: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        let got = talk(&ALERT, &slices);
        let reported: usize = field(&got, 30700, "DATA").iter().map(|data| data.len()).sum();
        let alerts = got.events_of(18005).len();
        prop_assert!(alerts > 0 || reported == chunks.iter().map(Vec::len).sum::<usize>());
    }
}
