//! Real datagrams on the loopback network.

use std::net::UdpSocket;
use std::time::Duration;

use aviary_service::{Limits, Security};

use crate::testing::{PATIENCE, Rig, text};

fn rig() -> Rig {
    Rig::with(Security::Plain, true, Limits { idle: Duration::from_millis(300), ..Limits::default() })
}

fn peer(rig: &Rig, address: &str) -> UdpSocket {
    let socket = UdpSocket::bind((if address.contains(':') { "::1" } else { "127.0.0.5" }, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect((address, rig.udp_port)).unwrap();
    socket
}

fn answer(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).expect("an answer");
    buffer[..length].to_vec()
}

/// Whether nothing comes before the answer to a question that is always answered.
fn silent(socket: &UdpSocket) -> bool {
    socket.send(b"report after").unwrap();
    let first = answer(socket);
    let second = answer(socket);
    (first, second) == (b"a".to_vec(), b"b".to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_come_from_the_address_that_was_asked_and_events_name_it() {
    let rig = rig();
    for address in ["127.0.0.9", "127.0.0.10", "::1"] {
        let socket = peer(&rig, address);
        socket.send(format!("report {address}").as_bytes()).unwrap();
        // A connected socket takes nothing from another address.
        assert_eq!([answer(&socket), answer(&socket)], [b"a", b"b"], "each reply is a datagram");
        let event = rig.event(|event| text(event, "DATA") == address).await;
        assert_eq!(event.dst.as_ref().unwrap().host, address);
        assert_eq!(event.src.as_ref().unwrap().host, socket.local_addr().unwrap().ip().to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_proved_nothing_gets_no_more_than_it_sent() {
    let rig = rig();
    let socket = peer(&rig, "127.0.0.1");
    socket.send(b"big 20").unwrap();
    assert!(silent(&socket));
    // 6 and 12 bytes came, 2 went.
    socket.send(b"big 20").unwrap();
    assert_eq!(answer(&socket).len(), 20, "who asks again is in credit");
    socket.send(b"prove").unwrap();
    socket.send(b"big 4000").unwrap();
    assert_eq!(answer(&socket).len(), 4000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tcp_handshake_proves_a_source() {
    let rig = rig();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(("127.0.0.1", rig.udp_port)).unwrap();
    drop(rig.greeted());
    socket.send(b"big 4000").unwrap();
    assert_eq!(answer(&socket).len(), 4000);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_told_of_is_told_by_the_frame() {
    let rig = rig();
    let socket = peer(&rig, "127.0.0.1");
    socket.send(b"whatever").unwrap();
    let event = rig.unreported().await;
    assert_eq!((text(&event, "DATA").as_str(), text(&event, "REASON").as_str()), ("whatever", "a datagram"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_service_costs_one_datagram() {
    let rig = rig();
    let socket = peer(&rig, "127.0.0.1");
    socket.send(b"panic now").unwrap();
    let event = rig.unreported().await;
    assert_eq!((text(&event, "DATA").as_str(), text(&event, "REASON").as_str()), ("panic now", "service failed"));
    assert!(silent(&socket), "the next is served");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_burst_is_lost() {
    let rig = rig();
    let socket = peer(&rig, "127.0.0.1");
    for number in 0..3000 {
        socket.send(format!("report {number}").as_bytes()).unwrap();
    }
    let mut reader = rig.journal.peek(0);
    let mut seen = 0;
    let all = async {
        while seen < 3000 {
            seen += reader.next(512).await.len();
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("all datagrams are reported");
    assert_eq!(seen, 3000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_has_a_port_of_its_own_and_ends_when_it_is_quiet() {
    let rig = rig();
    let socket = UdpSocket::bind("127.0.0.6:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    // The greeting of six bytes is within what was sent.
    socket.send_to(b"talk to me", ("127.0.0.1", rig.udp_port)).unwrap();
    let mut buffer = [0; 100];
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"plain\n");
    assert_ne!(from.port(), rig.udp_port);
    socket.send_to(b"echo a longer answer than was ever asked for\n", from).unwrap();
    let (length, _) = socket.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"a longer answer than was ever asked for\n");
    let event = rig.told("expired").await;
    assert_eq!(event.src.as_ref().unwrap().host, "127.0.0.6");
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_go_to_the_quarantine() {
    let rig = rig();
    let socket = peer(&rig, "127.0.0.1");
    socket.send(b"keep evil").unwrap();
    socket.send(b"keep more").unwrap();
    let event = rig.unreported().await;
    let both = async {
        loop {
            let files = std::fs::read_dir(&rig.quarantine).into_iter().flatten().flatten();
            let found = files.map(|file| std::fs::read(file.path()).unwrap()).next();
            if found.as_deref() == Some(b"evilmore") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, both).await.expect("both parts are in one file");
    let session = event.aviary.as_ref().and_then(|ours| ours.session.clone()).unwrap();
    assert!(rig.quarantine.join(format!("{session}-upload")).exists(), "it is named after the session");
}

#[test]
fn the_smaller_of_two_answers_goes_to_who_may_not_have_the_larger() {
    let (guard, source) = (super::Guard::new(100), [127, 0, 0, 5].into());
    let choose = || guard.affordable(source, vec![0; 20], vec![0; 4]).map(|bytes| bytes.len());
    assert_eq!(choose(), None);
    guard.received(source, 10);
    assert_eq!([choose(), choose(), choose()], [Some(4), Some(4), None]);
    guard.prove(source);
    assert_eq!(choose(), Some(20));
}
