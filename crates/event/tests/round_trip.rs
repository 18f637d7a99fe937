//! What is written can be read: no event of ours loses anything on its way through a line.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use aviary_event::{Class, Event, KindInfo, LogData, Origin, Port, Timestamp, Value};
use jiff::tz::{Offset, TimeZone};
use proptest::prelude::*;
use uuid::Uuid;

static KINDS: [KindInfo; 2] = [
    KindInfo {
        number: 30_000,
        constant: "LOG_TEST",
        class: Class::Login,
        when: "a test runs",
        keys: &[],
        technique: &["T1110", "T1078"],
    },
    KindInfo {
        number: 30_001,
        constant: "LOG_TEST_PLAIN",
        class: Class::Command,
        when: "a test runs",
        keys: &[],
        technique: &[],
    },
];

/// The keys that OpenCanary always writes.
const TEN: [&str; 10] = [
    "dst_host",
    "dst_port",
    "local_time",
    "local_time_adjusted",
    "logdata",
    "logtype",
    "node_id",
    "src_host",
    "src_port",
    "utc_time",
];

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<f64>().prop_map(Value::Float),
        ".{0,12}".prop_map(Value::Text),
        prop::collection::vec(any::<u8>(), 0..24).prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            prop::collection::btree_map(key(), inner, 0..6).prop_map(Value::Map),
        ]
    })
}

/// Keys that come to grief easily: empty, dotted, with `~`, numbers, and any text.
fn key() -> impl Strategy<Value = String> {
    prop_oneof!["[a.~0-2]{0,4}", "[A-Z_]{1,8}", ".{0,6}"]
}

prop_compose! {
    fn event()(
        kind in 0..KINDS.len(),
        members in prop::collection::btree_map(key(), value(), 0..6),
        id in any::<u128>(),
        micros in 0..4_000_000_000_000_000_i64,
        minutes in -14 * 60..=14 * 60_i32,
        node in ".{0,12}",
        session in prop::option::of("[0-9a-f]{16}"),
        src in any::<SocketAddr>(),
        dst in prop::option::of(any::<SocketAddr>()),
        honeycred in any::<Option<bool>>(),
        seq in 0..=i64::MAX.unsigned_abs(),
        note in prop::option::of(value()),
    ) -> Event {
        let mut data = LogData::new();
        for (key, value) in members {
            data.insert(&key, value);
        }
        let zone = TimeZone::fixed(Offset::from_seconds(minutes * 60).unwrap());
        let mut event = Event::new(
            &KINDS[kind], data, Uuid::from_u128(id), Timestamp::from_micros(micros), &zone, &node, "test",
            session.as_deref(), src.into(), dst.map_or(Origin::none(), Origin::from),
        );
        event.honeycred = honeycred;
        let ours = event.aviary.as_mut().unwrap();
        ours.seq = seq;
        ours.more.extend(note.map(|note| ("fingerprint".to_owned(), note)));
        event
    }
}

/// The value as it comes back: bytes that are UTF-8 are text, and outside `logdata` all bytes are.
fn settled(value: &Value, whole_bytes: bool) -> Value {
    match value {
        Value::Bytes(bytes) if !whole_bytes || bytes.as_str().is_some() => Value::Text(bytes.to_text()),
        Value::List(items) => Value::List(items.iter().map(|item| settled(item, whole_bytes)).collect()),
        Value::Map(map) => Value::Map(map.iter().map(|(k, v)| (k.clone(), settled(v, whole_bytes))).collect()),
        // NaN is unlike itself, so it is compared as what it prints.
        Value::Float(number) if number.is_nan() => Value::from("NaN"),
        other => other.clone(),
    }
}

fn settled_event(mut event: Event) -> Event {
    event.logdata = settled(&event.logdata, true);
    let ours = event.aviary.as_mut().unwrap();
    ours.more = ours.more.iter().map(|(key, value)| (key.clone(), settled(value, false))).collect();
    event
}

/// Fails when an object anywhere has its keys out of order.
fn keys_are_sorted(json: &serde_json::Value) -> bool {
    match json {
        serde_json::Value::Object(map) => map.keys().is_sorted_by(|a, b| a < b) && map.values().all(keys_are_sorted),
        serde_json::Value::Array(items) => items.iter().all(keys_are_sorted),
        _ => true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_is_written_is_read_again(event in event()) {
        let line = event.to_line(true);
        prop_assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line}");
        let parsed = Event::parse(&line).unwrap();
        prop_assert_eq!(parsed.to_line(true), &*line);
        prop_assert_eq!(settled_event(parsed), settled_event(event));
    }

    #[test]
    fn without_the_extension_only_the_ten_keys_stand(event in event()) {
        let line = event.to_line(false);
        let plain = line.replace("NaN", "0").replace("Infinity", "0");
        let json: serde_json::Value = serde_json::from_str(&plain).unwrap();
        let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        let expected: Vec<&str> =
            TEN.into_iter().flat_map(|key| (key == "local_time" && event.honeycred.is_some())
                .then_some("honeycred").into_iter().chain([key])).collect();
        prop_assert_eq!(keys, expected);
    }

    #[test]
    fn keys_are_sorted_at_every_level(event in event()) {
        let plain = event.to_line(true).replace("NaN", "0").replace("Infinity", "0");
        prop_assert!(keys_are_sorted(&serde_json::from_str(&plain).unwrap()));
    }

    #[test]
    fn no_line_makes_reading_panic(line in ".{0,200}", cut in 0..400_usize, event in event()) {
        let _ = Event::parse(&line);
        let ours = event.to_line(true);
        let _ = Event::parse(ours.get(..cut).unwrap_or(&ours));
    }

    #[test]
    fn both_further_forms_are_json(event in event()) {
        for form in [event.to_ecs(), event.to_ocsf()] {
            let json = serde_json::from_str::<serde_json::Value>(&form);
            prop_assert!(json.is_ok_and(|json| keys_are_sorted(&json)), "{form}");
        }
    }
}

fn with_data(data: LogData) -> Event {
    let moment = Timestamp::from_micros(1_795_384_800_000_001);
    let (src, dst) = (Origin::none(), Origin::none());
    Event::new(&KINDS[0], data, Uuid::nil(), moment, &TimeZone::UTC, "node", "test", None, src, dst)
}

#[test]
fn keeps_bytes_that_are_not_utf8_wherever_they_stand() {
    let inner = LogData::new().with("via", vec![Value::Null, Value::from(b"\xc3(".as_slice())]);
    let data = LogData::new().with("HEADERS", Value::from(inner)).with("PASSWORD", b"caf\xe9".as_slice());
    let line = with_data(data.clone()).to_line(true);
    assert!(line.contains(r#""PASSWORD": "caf\\xe9""#), "{line}");
    assert!(line.contains(r#""raw": {"HEADERS.via.1": "wyg=", "PASSWORD": "Y2Fm6Q=="}"#), "{line}");
    assert_eq!(Event::parse(&line).unwrap().logdata, Value::from(data));
}

#[test]
fn reads_back_what_is_nested_without_end() {
    let mut deep = Value::from(b"\xff".as_slice());
    for _ in 0..1_000 {
        deep = Value::List(vec![deep]);
    }
    let event = with_data(LogData::new().with("DEEP", deep));
    let parsed = Event::parse(&event.to_line(true)).unwrap();
    assert_eq!(parsed, event);
}

#[test]
fn a_line_that_breaks_the_contract_is_named() {
    for (line, expected) in [
        ("", "not JSON"),
        ("[]", "not a JSON object"),
        (r#"{"logtype": "x"}"#, "`logtype` is not a number"),
        (r#"{"src_host": 1}"#, "`src_host` is not text"),
        (r#"{"dst_port": 1.5}"#, "`dst_port` is not a number or text"),
        (r#"{"honeycred": 1}"#, "`honeycred` is not true or false"),
        (r#"{"aviary": 1}"#, "`aviary` is not an object"),
        (r#"{"aviary": {}}"#, "`aviary.id` is not a UUID"),
        (r#"{"logdata": {}, "aviary": {"raw": {"X": "/w=="}}}"#, "`aviary.raw` is not paths of `logdata` with base64"),
    ] {
        assert_eq!(Event::parse(line).unwrap_err().to_string(), expected, "{line}");
    }
}

#[test]
fn keeps_keys_that_nobody_named() {
    let line =
        r#"{"a": 1, "dst_host": "", "dst_port": -1, "level": "error", "logdata": "x", "logtype": null, "zz": []}"#;
    let event = Event::parse(line).unwrap();
    assert_eq!(
        event.more,
        BTreeMap::from([
            ("a".to_owned(), Value::Int(1)),
            ("level".to_owned(), Value::from("error")),
            ("zz".to_owned(), Value::List(Vec::new())),
        ])
    );
    assert_eq!(event.to_line(true), line);
    assert_eq!(event.dst, Some(Origin { host: String::new(), port: Port::Number(-1) }));
}
