//! Ports of the list, and what is told of connections to them.

use aviary_config::Settings;
use aviary_event::Value as Told;
use aviary_testkit::{Line, Talk, exchange, facts};
use serde_json::json;

use super::*;

fn settings(list: Value) -> Settings {
    let mut values = std::collections::BTreeMap::from([(PORTS.to_owned(), list)]);
    values.insert("ftp.enabled".to_owned(), json!(true));
    values.insert("ftp.port".to_owned(), json!(2121));
    let keys = crate::ALL.iter().flat_map(|entry| entry.keys).copied();
    Settings::new(keys, values)
}

#[test]
fn ports_and_ranges_are_taken_but_for_those_of_services() {
    let list = settings(json!([8080, "9000-9002", "2120 - 2122", 8080]));
    assert_eq!(answered_ports(&list), [2120, 2122, 8080, 9000, 9001, 9002]);
    assert!(ENTRY.is_enabled(&list));
    assert!(!ENTRY.is_enabled(&settings(json!([]))));
}

#[test]
fn what_is_no_port_is_refused_with_the_item() {
    for (item, word) in [
        (json!("http"), "\"http\" is no port"),
        (json!(0), "0 is no port"),
        (json!(70000), "70000 is no port"),
        (json!("9-8"), "\"9-8\" is no port"),
        (json!("1-65535"), "more than 256 ports"),
        (json!([1]), "[1] is no port"),
    ] {
        let error = ports(&settings(json!([item]))).unwrap_err().to_string();
        assert!(error.starts_with("`portscan.answer`: ") && error.contains(word), "{error}");
    }
}

fn heard(chunks: &[&[u8]]) -> (i64, Vec<u8>, Option<String>) {
    let service = AnswerService { ports: vec![8080] };
    let got = exchange(&mut *service.dialogue(0, &facts(8080)), chunks);
    assert_eq!(got.replies(), b"", "nothing is said");
    let [data] = got.events_of(32001)[..] else { panic!("{got}") };
    let bytes = match data.get("BYTES") {
        Some(Told::Int(bytes)) => *bytes,
        other => panic!("{other:?}"),
    };
    let protocol = data.get("PROTOCOL").and_then(Told::as_str).map(str::to_owned);
    (bytes, data.get("DATA").and_then(Told::as_bytes).expect("DATA").to_vec(), protocol)
}

#[test]
fn what_comes_first_is_told_once_with_its_likely_protocol() {
    let request = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
    let (first, rest) = request.split_at(7);
    assert_eq!(heard(&[first, rest]), (28, request.to_vec(), Some("http".to_owned())));
    assert_eq!(heard(&[b"\xff\xfe?"]), (3, b"\xff\xfe?".to_vec(), None));
    assert_eq!(heard(&[]), (0, Vec::new(), None), "a bare handshake");
}

#[test]
fn a_peer_that_falls_silent_is_told_of() {
    let service = AnswerService { ports: vec![8080] };
    let mut dialogue = service.dialogue(0, &facts(8080));
    let mut talk = Talk::open(&mut *dialogue);
    talk.send(b"hel");
    let got = talk.expire();
    assert_eq!(got.events_of(32001)[0].get("DATA").and_then(Told::as_bytes), Some(&b"hel"[..]));
}

fn noted(chunks: &[&[u8]]) -> Vec<(&'static str, String)> {
    let service = AnswerService { ports: vec![8080] };
    let got = exchange(&mut *service.dialogue(0, &facts(8080)), chunks);
    let notes = got.lines.into_iter().filter_map(|line| match line {
        Line::Note(name, Told::Text(text)) => Some((name, text)),
        _ => None,
    });
    notes.collect()
}

#[test]
fn whole_heads_and_hellos_have_their_fingerprints() {
    // TLS 1.0, RC4-SHA, no extensions. The last byte is that of the compression methods.
    let body = [&[3, 1][..], &[7; 32], &[0, 0, 2, 0, 5, 1, 0]].concat();
    let hello = [&[0x16, 3, 1, 0, 45, 1, 0, 0, 41][..], &body].concat();
    let (first, rest) = hello.split_at(20);
    let notes = noted(&[first, rest]);
    assert_eq!(notes.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["ja3", "ja4"]);
    assert!(notes[1].1.starts_with("t10i010000_"), "{notes:?}");
    assert_eq!(noted(&[first]), []);
    // The hash is that of a capture among JA4H's own tests.
    let print = "ge11nn040000_ad0fd3707af2_000000000000_000000000000".to_owned();
    let head = b"GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: y\r\nAccept: */*\r\nRange: z\r\n\r\nmore";
    assert_eq!(noted(&[head]), [("ja4h", print)]);
    assert_eq!(noted(&[b"GET / HTTP/1.1\r\nHost: x\r\n"]), []);
}

#[test]
fn more_than_is_kept_ends_the_connection() {
    let service = AnswerService { ports: vec![8080] };
    let long = vec![b'x'; 5000];
    let got = exchange(&mut *service.dialogue(0, &facts(8080)), &[&long, &long]);
    assert!(got.closed());
    assert_eq!(got.events_of(32001).len(), 1);
    assert_eq!(got.events_of(32001)[0].get("DATA").and_then(Told::as_bytes).map(<[u8]>::len), Some(4096));
}
