//! The line is what OpenCanary writes: real lines come back as they were, and made-up events print
//! as Python prints them.

use std::collections::BTreeMap;
use std::process::Command;

use aviary_event::{Event, Origin, Port, Value};
use serde_json::Value as Json;

#[test]
fn real_lines_come_back_as_they_were() {
    let lines = include_str!("../fixtures/article-events.jsonl");
    assert_eq!(lines.lines().count(), 21);
    for line in lines.lines() {
        let event = Event::parse(line).unwrap();
        assert_eq!(event.to_line(true), line);
        assert_eq!(event.to_line(false), line);
    }
}

#[test]
fn prints_what_python_prints() {
    assert_eq!(compare(include_str!("../fixtures/python-lines.jsonl")), 200);
}

/// With other seeds than the fixture's, when there is a Python; the fixture stands for those without.
#[test]
fn prints_what_the_python_of_this_machine_prints() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/python/event_lines.py");
    for seed in ["1", "2", "3"] {
        let Ok(made) = Command::new("python3").args([script, "--seed", seed]).output() else {
            eprintln!("there is no python3: only the fixture was compared");
            return;
        };
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let lines = String::from_utf8(made.stdout).unwrap();
        assert_eq!(compare(&lines), 200);
        if seed == "1" {
            assert_eq!(lines, include_str!("../fixtures/python-lines.jsonl"), "the fixture is this script's output");
        }
    }
}

/// Compares every line of the generator's output and says how many there were.
fn compare(lines: &str) -> usize {
    for (n, line) in lines.lines().enumerate() {
        let (neutral, expected): (Json, String) = serde_json::from_str(line).unwrap();
        let event = event(value(&neutral));
        assert_eq!(event.to_line(true), expected, "line {}", n + 1);
        let parsed = Event::parse(&expected).unwrap_or_else(|error| panic!("line {}: {error}: {expected}", n + 1));
        assert_eq!(parsed.to_line(false), expected, "line {}, read and printed again", n + 1);
    }
    lines.lines().count()
}

/// An event from its ten or eleven members.
fn event(members: Value) -> Event {
    let Value::Map(mut map) = members else { panic!("an object") };
    let mut text = |key: &str| match map.remove(key) {
        Some(Value::Text(text)) => text,
        other => panic!("{key}: {other:?}"),
    };
    let (dst, src) = (text("dst_host"), text("src_host"));
    let event = Event {
        dst: None,
        src: None,
        local_time: Some(text("local_time")),
        local_time_adjusted: Some(text("local_time_adjusted")),
        utc_time: Some(text("utc_time")),
        node_id: Some(text("node_id")),
        logtype: None,
        logdata: Value::Null,
        honeycred: None,
        aviary: None,
        more: BTreeMap::new(),
    };
    let port = |value: Option<Value>| match value {
        Some(Value::Int(number)) => Port::Number(number),
        Some(Value::Text(text)) => Port::Text(text),
        other => panic!("a port: {other:?}"),
    };
    let event = Event {
        dst: Some(Origin { host: dst, port: port(map.remove("dst_port")) }),
        src: Some(Origin { host: src, port: port(map.remove("src_port")) }),
        logtype: map.remove("logtype").and_then(|v| if let Value::Int(number) = v { Some(number) } else { None }),
        logdata: map.remove("logdata").unwrap(),
        honeycred: map.remove("honeycred").map(|v| v == Value::Bool(true)),
        ..event
    };
    assert!(map.is_empty(), "members that nobody expects: {map:?}");
    event
}

/// A value from the generator's neutral spelling.
fn value(neutral: &Json) -> Value {
    let items = |json: &Json| json.as_array().unwrap().clone();
    let body = &neutral[1];
    match neutral[0].as_str().unwrap() {
        "n" => Value::Null,
        "b" => Value::Bool(body == 1),
        "i" => Value::Int(body.as_str().unwrap().parse().unwrap()),
        "f" => Value::Float(f64::from_bits(u64::from_str_radix(body.as_str().unwrap(), 16).unwrap())),
        "s" => Value::Text(text(body)),
        "l" => Value::List(items(body).iter().map(value).collect()),
        "m" => Value::Map(items(body).iter().map(|member| (text(&member[0]), value(&member[1]))).collect()),
        other => panic!("`{other}` is no kind of value"),
    }
}

fn text(points: &Json) -> String {
    let points = points.as_array().unwrap().iter();
    points.map(|point| char::from_u32(point.as_u64().unwrap().try_into().unwrap()).unwrap()).collect()
}
