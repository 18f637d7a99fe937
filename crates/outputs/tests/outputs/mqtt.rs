//! The MQTT output against brokers of our own; the real one is tried in `tests/clients`.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use aviary_event::Value;
use aviary_output::{DeliveryError, Output};
use serde_json::{Value as Json, json};

use crate::bench::{Setup, deliver, deliver_all, event, event_with, events, temporary};

/// A packet as it came: its first byte, and what follows the length.
type Packet = (u8, Vec<u8>);

/// What a broker says to a packet; `None` ends the connection.
type Script = Box<dyn FnMut(usize, &Packet) -> Option<Vec<u8>> + Send>;

const WELCOME: &[u8] = b"\x20\x03\x00\x00\x00";

fn packet(stream: &mut TcpStream) -> Option<Packet> {
    let mut byte = [0];
    stream.read_exact(&mut byte).ok()?;
    let first = byte[0];
    let (mut length, mut shift) = (0, 0);
    loop {
        stream.read_exact(&mut byte).ok()?;
        length |= usize::from(byte[0] & 0x7f) << shift;
        shift += 7;
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).ok()?;
    Some((first, rest))
}

/// A broker that plays one script a connection, and tells what came on it, `CONNECT` first.
fn broker(scripts: Vec<(&'static [u8], Script)>) -> (u16, Receiver<Vec<Packet>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    let (tell, told) = channel();
    thread::spawn(move || {
        for (welcome, mut script) in scripts {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut got = vec![packet(&mut stream).expect("a greeting")];
            stream.write_all(welcome).expect("a greeting");
            while let Some(one) = packet(&mut stream) {
                got.push(one.clone());
                match script(got.len() - 2, &one) {
                    Some(answer) if stream.write_all(&answer).is_ok() => {}
                    _ => break,
                }
            }
            // Without a reset, which would take along what was said before.
            let _ = stream.shutdown(Shutdown::Write);
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
            let _ = tell.send(got);
        }
    });
    (port, told)
}

/// The number of a `PUBLISH` with the default topic.
fn number((_, rest): &Packet) -> [u8; 2] {
    let topic = usize::from(rest[0]) << 8 | usize::from(rest[1]);
    [rest[2 + topic], rest[3 + topic]]
}

fn acknowledge(packet: &Packet) -> Vec<u8> {
    [b"\x40\x02".as_slice(), &number(packet)].concat()
}

fn reasoned(packet: &Packet, reason: u8) -> Vec<u8> {
    [b"\x40\x03".as_slice(), &number(packet), &[reason]].concat()
}

/// The `seq` of a message.
fn seq((first, rest): &Packet) -> Option<u64> {
    let text = String::from_utf8_lossy(rest);
    (first >> 4 == 3).then(|| text.split("\"seq\": ").nth(1)?.split(',').next()?.parse().ok())?
}

fn sequence(got: &[Packet]) -> Vec<u64> {
    got.iter().filter_map(seq).collect()
}

fn output(port: u16, more: Json) -> Box<dyn Output> {
    let mut options = json!({"host": "127.0.0.1", "port": port, "timeout": 1});
    options.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    Setup::new("aviary.mqtt", options).build()
}

#[tokio::test]
async fn publishes_with_the_id_and_waits_for_each_acknowledgement() {
    let (port, told) = broker(vec![(WELCOME, Box::new(|_, packet| Some(acknowledge(packet))))]);
    let mut output = output(port, json!({"topic": "canary/{node_id}/{kind}", "username": "u", "password": "p"}));
    deliver_all(&mut output, &events(1..=2)).await;
    deliver_all(&mut output, &events(3..=3)).await;
    drop(output);
    let got = told.recv().expect("a connection");
    assert_eq!(sequence(&got), [1, 2, 3]);
    assert!(got[0].1.starts_with(b"\x00\x04MQTT\x05\xc2\x00\x00\x00\x00\x16aviary"), "{:?}", got[0]);
    assert!(got[0].1.ends_with(b"\x00\x01u\x00\x01p"));
    for (packet, seq) in got[1..].iter().zip(1_u8..) {
        let event = event(u64::from(seq));
        let id = event.aviary.as_ref().expect("ours").id.to_string();
        let head =
            [b"\x00\x19canary/opencanary-1/login\x00".as_slice(), &[seq], b"\x34\x01\x01\x26\x00\x09aviary.id\x00\x24"];
        assert_eq!(packet.0, 0x32);
        assert_eq!(packet.1, [&head.concat(), id.as_bytes(), event.to_line(true).as_bytes()].concat());
    }
}

#[tokio::test]
async fn speaks_the_older_version_when_asked() {
    let (port, told) = broker(vec![(b"\x20\x02\x00\x00", Box::new(|_, packet| Some(acknowledge(packet))))]);
    let mut output = output(port, json!({"protocol": "3.1.1", "client_id": "canary-7"}));
    deliver_all(&mut output, &events(1..=1)).await;
    drop(output);
    let got = told.recv().expect("a connection");
    assert_eq!(got[0].1, b"\x00\x04MQTT\x04\x02\x00\x00\x00\x08canary-7");
    assert_eq!(got[1].1, [b"\x00\x10canary/ftp/login\x00\x01", event(1).to_line(true).as_bytes()].concat());
}

#[tokio::test]
async fn has_no_more_under_way_than_the_broker_allows() {
    let (mut open, mut most) = (Vec::new(), 0);
    // Two at a time; an answer to both when the second is there.
    let script = move |_: usize, packet: &Packet| {
        open.push(acknowledge(packet));
        most = most.max(open.len());
        assert!(most <= 2);
        Some(if open.len() == 2 { std::mem::take(&mut open).concat() } else { Vec::new() })
    };
    let (port, told) = broker(vec![(b"\x20\x06\x00\x00\x03\x21\x00\x02", Box::new(script))]);
    let mut output = output(port, json!({}));
    deliver_all(&mut output, &events(1..=8)).await;
    drop(output);
    assert_eq!(sequence(&told.recv().expect("a connection")), (1..=8).collect::<Vec<_>>());
}

#[tokio::test]
async fn at_qos_2_an_event_counts_when_it_is_complete() {
    let script = |_: usize, packet: &Packet| {
        Some(match packet.0 {
            0x34 => [b"\x50\x02".as_slice(), &number(packet)].concat(),
            0x62 => [b"\x70\x02".as_slice(), &packet.1].concat(),
            other => panic!("what is {other:#x}?"),
        })
    };
    let (port, told) = broker(vec![(WELCOME, Box::new(script))]);
    let mut output = output(port, json!({"qos": 2}));
    deliver_all(&mut output, &events(1..=2)).await;
    drop(output);
    let kinds: Vec<u8> = told.recv().expect("a connection").iter().map(|packet| packet.0).collect();
    assert_eq!(kinds, [0x10, 0x34, 0x34, 0x62, 0x62]);
}

#[tokio::test]
async fn at_qos_0_an_answer_to_a_ping_proves_the_batch() {
    let (port, told) = broker(vec![(
        WELCOME,
        Box::new(|_, packet| Some(if packet.0 == 0xc0 { b"\xd0\x00".to_vec() } else { Vec::new() })),
    )]);
    let mut output = output(port, json!({"qos": 0}));
    deliver_all(&mut output, &events(1..=3)).await;
    drop(output);
    let got = told.recv().expect("a connection");
    assert_eq!((sequence(&got), got.last().map(|packet| packet.0)), (vec![1, 2, 3], Some(0xc0)));
    let (port, _told) = broker(vec![(WELCOME, Box::new(|_, _| Some(Vec::new())))]);
    let (delivered, reason) = temporary(&mut self::output(port, json!({"qos": 0})), &events(1..=3)).await;
    assert!(delivered == 0 && reason.ends_with("no answer within 1 s"), "{reason}");
}

#[tokio::test]
async fn what_the_broker_will_not_take_now_is_sent_again_and_nothing_else() {
    let script = |at: usize, packet: &Packet| Some(if at == 1 { reasoned(packet, 151) } else { reasoned(packet, 16) });
    let (port, told) = broker(vec![(WELCOME, Box::new(script))]);
    let mut output = output(port, json!({}));
    let batch = events(1..=4);
    let (delivered, reason) = temporary(&mut output, &batch).await;
    assert_eq!(delivered, 1);
    assert_eq!(reason, format!("broker at `127.0.0.1` port {port}: it said: 151, quota exceeded"));
    deliver_all(&mut output, &batch[1..]).await;
    drop(output);
    assert_eq!(sequence(&told.recv().expect("a connection")), [1, 2, 3, 4, 2]);
}

#[tokio::test]
async fn refuses_what_is_too_large_for_the_broker() {
    // A maximum of 4096 bytes; and a smaller one that it only tells of when it is passed.
    let script = |at: usize, packet: &Packet| Some(if at == 0 { reasoned(packet, 149) } else { acknowledge(packet) });
    let (port, _told) = broker(vec![(b"\x20\x08\x00\x00\x05\x27\x00\x00\x10\x00", Box::new(script))]);
    let mut output = output(port, json!({}));
    let mut batch = events(1..=3);
    batch[1] = event_with(2, Value::from("x".repeat(4096)));
    for (rest, words) in
        [(&batch[..], "it said: 149, packet too large"), (&batch[1..], "are more than the broker's 4096")]
    {
        match deliver(&mut output, rest).await {
            Some(Err(failure)) => {
                assert_eq!(failure.delivered, 0);
                let DeliveryError::Refused { reason } = failure.error else { panic!("{}", failure.error) };
                assert!(reason.contains(words), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
    deliver_all(&mut output, &batch[2..]).await;
}

#[tokio::test]
async fn a_break_in_the_middle_costs_only_what_was_not_acknowledged() {
    let breaks = |at: usize, packet: &Packet| (at < 3).then(|| if at == 1 { Vec::new() } else { acknowledge(packet) });
    let all = |_: usize, packet: &Packet| Some(acknowledge(packet));
    let (port, told) = broker(vec![(WELCOME, Box::new(breaks)), (WELCOME, Box::new(all))]);
    let mut output = output(port, json!({}));
    let batch = events(1..=6);
    let (delivered, _) = temporary(&mut output, &batch).await;
    assert_eq!(delivered, 1);
    assert_eq!(sequence(&told.recv().expect("a connection")), [1, 2, 3, 4]);
    deliver_all(&mut output, &batch[1..]).await;
    drop(output);
    assert_eq!(sequence(&told.recv().expect("a connection")), [2, 4, 5, 6], "3 was acknowledged");
}

#[tokio::test]
async fn says_what_is_wrong_in_the_brokers_words() {
    let silent = || -> Script { Box::new(|_, _| Some(Vec::new())) };
    let says = |bytes: &'static [u8]| -> Script { Box::new(move |_, _| Some(bytes.to_vec())) };
    let scripts: Vec<(&'static [u8], Script, &str)> = vec![
        (b"\x20\x03\x00\x84\x00", silent(), "it said: 132, unsupported protocol version; `protocol` says which"),
        (b"\x20\x02\x00\x05", silent(), "it said: 5, not authorized"),
        (b"\x20\x0a\x00\x86\x07\x1f\x00\x04nope", silent(), "it said: nope (134, bad user name or password)"),
        (b"\x20\x05\x00\x00\x02\x24\x00", silent(), "it takes QoS 0 at most, and `qos` is 1"),
        (b"HTTP/1.1 400 Bad Request\r\n", silent(), "it sent a packet that makes no sense"),
        (b"\xd0\x00", silent(), "it did not greet"),
        (WELCOME, silent(), "no answer within 1 s"),
        (WELCOME, says(b"\xe0\x01\x8e"), "it said: 142, session taken over; another client has the same `client_id`"),
        (WELCOME, says(b"\x40\x01\x00"), "it sent a packet that makes no sense, of type 4"),
        (WELCOME, says(WELCOME), "it greeted twice"),
        (WELCOME, Box::new(|_, _| None), ""),
    ];
    for (welcome, script, expected) in scripts {
        let (port, _told) = broker(vec![(welcome, script)]);
        let (delivered, reason) = temporary(&mut output(port, json!({})), &events(1..=2)).await;
        assert!(delivered == 0 && reason.starts_with(&format!("broker at `127.0.0.1` port {port}: ")), "{reason}");
        assert!(reason.contains(expected), "{reason}");
    }
}

#[tokio::test]
async fn mistakes_in_the_file_are_named_and_secrets_are_not() {
    for (options, message) in [
        (json!({"host": "mqtt://broker.example"}), "`host`: is \"mqtt://broker.example\"; it takes a host"),
        (json!({"host": "b", "topic": "a/#"}), "`topic`: is \"a/#\"; it takes a topic"),
        (json!({"host": "b", "password": "hush"}), "`username`: is missing beside `password`"),
        (json!({"host": "b", "username": "u", "password": "hush\u{0}"}), "`password`: takes text"),
        (json!({"host": "b", "qos": 3}), "`qos`: is 3; it takes a whole number from 0 to 2"),
        (json!({"host": "b", "protocol": "3.1"}), "`protocol`: is \"3.1\"; it takes 5 or 3.1.1"),
    ] {
        let error = Setup::new("aviary.mqtt", options).try_build().map(|_| ()).expect_err("wrong").to_string();
        assert!(error.starts_with(message) && !error.contains("hush"), "{error}");
    }
}
