//! The session over real sockets, with a service that does what its peer says.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use aviary_service::{Limits, Security};
use aviary_wire::fingerprint::{Heard, HelloReader};

use crate::kinds;
use crate::testing::{KIND, Rig, ask, closed_in_order, framed, line, reset, send, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_leaves_when_the_journal_has_the_event() {
    let rig = Rig::new(Security::Plain);
    let mut peer = rig.greeted();
    for n in 1..=50 {
        assert_eq!(ask(&mut peer, "report x"), "reported");
        assert!(rig.journal.stats().stored >= n);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pauses_and_computes_in_order() {
    let rig = Rig::new(Security::Plain);
    let mut peer = rig.greeted();
    let begun = Instant::now();
    send(&mut peer, b"echo 1\npause 120\ncompute\necho 2\n");
    for expected in ["1", "rested", "computed", "2"] {
        assert_eq!(line(&mut peer), expected);
    }
    assert!(begun.elapsed() >= Duration::from_millis(120));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_after_a_half_close_and_tells_the_rest() {
    let rig = Rig::new(Security::Plain);
    let mut peer = rig.greeted();
    send(&mut peer, b"echo still\nhalf a li");
    peer.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(line(&mut peer), "still");
    assert!(closed_in_order(&mut peer));
    assert_eq!(text(&*rig.told("ended").await, "DATA"), "half a li");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_ends_the_dialogue_like_any_other_end() {
    let rig = Rig::new(Security::Plain);
    let mut peer = rig.greeted();
    send(&mut peer, b"half a li");
    // The bytes are there before the reset is.
    assert_eq!(ask(&mut peer, "\necho y"), "y");
    send(&mut peer, b"rest");
    reset(peer);
    rig.told("ended").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_peer_sent_before_it_went_is_all_worked_through() {
    let rig = Rig::new(Security::Plain);
    let mut peer = rig.greeted();
    // The pause is on when the reset comes, and replies fail after it.
    send(&mut peer, b"report first\npause 300\nreport second\npause 60000\nreport third\nrest");
    assert_eq!(line(&mut peer), "reported");
    reset(peer);
    rig.event(|event| text(event, "DATA") == "third").await;
    assert_eq!(text(&*rig.told("ended").await, "DATA"), "rest");
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_what_follows_a_reply_that_cannot_be_sent_or_a_close() {
    let rig = Rig::new(Security::Plain);
    let mut peer = rig.greeted();
    send(&mut peer, b"reply-first secret\n");
    reset(peer);
    assert_eq!(text(&*rig.told("later").await, "DATA"), "secret");
    let mut peer = rig.greeted();
    assert_eq!(ask(&mut peer, "bye word"), "bye");
    assert!(closed_in_order(&mut peer));
    assert_eq!(text(&*rig.told("bye").await, "DATA"), "word");
    let mut peer = rig.greeted();
    send(&mut peer, b"miscompute word\n");
    assert_eq!(text(&*rig.told("after").await, "DATA"), "word");
}

#[tokio::test(flavor = "multi_thread")]
async fn closes_with_a_reset_when_asked() {
    let rig = Rig::new(Security::Plain);
    let mut peer = rig.greeted();
    send(&mut peer, b"reset\n");
    assert!(!closed_in_order(&mut peer));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_connection_leaves_its_trace() {
    let rig = Rig::with(Security::Plain, false, Limits::default());
    let peer = rig.greeted();
    let port = peer.local_addr().unwrap().port();
    drop(peer);
    let event = rig.unreported().await;
    assert_eq!(event.src.as_ref().unwrap().port, aviary_event::Port::Number(i64::from(port)));
    assert_eq!(text(&event, "REASON"), "closed by peer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_fails_takes_nobody_along_and_leaves_a_trace() {
    let rig = Rig::with(Security::Plain, false, Limits::default());
    let mut other = rig.greeted();
    let mut peer = rig.greeted();
    send(&mut peer, b"note of it\necho x\n");
    assert_eq!(line(&mut peer), "x");
    send(&mut peer, b"panic now\n");
    assert_eq!(line(&mut peer), "");
    let event = rig.unreported().await;
    assert_eq!(text(&event, "REASON"), "service failed");
    assert!(text(&event, "DATA").contains("panic now"));
    assert!(event.to_line(true).contains("of it"), "what was noted stands in it");
    assert_eq!(ask(&mut other, "echo alive"), "alive");
    // Also when something was reported before: what was being worked on is told.
    assert_eq!(ask(&mut other, "report x"), "reported");
    send(&mut other, b"panic again\n");
    rig.event(|event| text(event, "DATA").contains("panic again")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_that_nobody_uses_ends_it() {
    let rig = Rig::with(Security::Plain, true, Limits { unconsumed: 1000, ..Limits::default() });
    let mut peer = rig.greeted();
    send(&mut peer, &[b'a'; 3000]);
    assert_eq!(line(&mut peer), "too much");
    assert_eq!(text(&*rig.told("overflowed").await, "DATA"), "a".repeat(16));
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_in_all_ends_it() {
    let rig = Rig::with(Security::Plain, true, Limits { received: 100, ..Limits::default() });
    let mut peer = rig.greeted();
    send(&mut peer, format!("echo {}\n", "b".repeat(150)).as_bytes());
    assert_eq!(line(&mut peer), "too much");
    rig.told("overflowed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_ends_it_with_the_services_words() {
    let rig = Rig::new(Security::Plain);
    let mut peer = rig.greeted();
    send(&mut peer, b"idle 1\necho set\nha");
    assert_eq!(line(&mut peer), "set");
    let began = Instant::now();
    while rig.journal.stats().head == 0 {
        rig.connections.sweep();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(began.elapsed() < crate::testing::PATIENCE);
    }
    assert_eq!(line(&mut peer), "too slow");
    assert_eq!(text(&*rig.told("expired").await, "DATA"), "ha");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_cuts_pauses_short_and_reports_what_waits() {
    let rig = Rig::new(Security::Plain);
    let mut peer = rig.greeted();
    send(&mut peer, b"echo on\npause 60000\nreport waiting\n");
    assert_eq!(line(&mut peer), "on");
    let quiet = rig.greeted();
    rig.connections.end(None);
    assert_eq!(line(&mut peer), "rested");
    rig.event(|event| text(event, "DATA") == "waiting").await;
    let began = Instant::now();
    while rig.connections.count() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(began.elapsed() < crate::testing::PATIENCE);
    }
    drop(quiet);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ended_by_the_frame_is_told_with_the_reason() {
    let rig = Rig::with(Security::Plain, false, Limits::default());
    let mut peer = rig.greeted();
    send(&mut peer, b"echo x\nhalf");
    assert_eq!(line(&mut peer), "x");
    rig.connections.end(None);
    let event = rig.unreported().await;
    assert_eq!(text(&event, "REASON"), "service stopped");
    assert_eq!(text(&event, "DATA"), "echo x\nhalf");
}

#[tokio::test(flavor = "multi_thread")]
async fn speaks_tls_from_the_first_byte() {
    let rig = Rig::new(Security::Tls);
    let (mut peer, mut tls) = (rig.connect(), rig.tls());
    let mut stream = rustls::Stream::new(&mut tls, &mut peer);
    assert_eq!(ask(&mut stream, "report inside"), "hello");
    assert_eq!(line(&mut stream), "reported");
    let event = rig.told("report").await;
    assert_eq!(text(&event, "DATA"), "inside");
    assert!(event.to_line(true).contains("test.local"), "the name that was asked for is noted");
}

/// What events say of the client's hello, which is the first flight that `tls` has to send.
fn prints_of(flight: &[u8]) -> [String; 2] {
    let Heard::Whole(hello) = HelloReader::default().push(flight) else { panic!("no hello") };
    [format!("\"ja3\": \"{}\"", hello.ja3()), format!("\"ja4\": \"{}\"", hello.ja4())]
}

fn carries(event: &aviary_event::Event, prints: &[String; 2]) -> bool {
    let line = event.to_line(true);
    prints.iter().all(|print| line.contains(print))
}

#[tokio::test(flavor = "multi_thread")]
async fn events_carry_the_fingerprints_of_the_hello_however_it_came() {
    for size in [1, 300, usize::MAX] {
        let rig = Rig::new(Security::Tls);
        let (mut peer, mut tls) = (rig.connect(), rig.tls());
        let mut flight = Vec::new();
        tls.write_tls(&mut flight).unwrap();
        let prints = prints_of(&flight);
        flight.chunks(size).for_each(|piece| send(&mut peer, piece));
        let mut stream = rustls::Stream::new(&mut tls, &mut peer);
        assert_eq!(ask(&mut stream, "report inside"), "hello");
        assert!(carries(&*rig.told("report").await, &prints), "{size}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_in_frames_of_another_protocol_has_its_fingerprints_too() {
    for heard in [false, true] {
        let rig = Rig::with(Security::OnDemand, true, Limits::default());
        let mut peer = rig.greeted();
        let mut tls = rig.tls();
        let mut flight = Vec::new();
        tls.write_tls(&mut flight).unwrap();
        let prints = prints_of(&flight);
        // As a part of what the dialogue used of the handshake already, or in a frame that comes in pieces.
        let begun = if heard { flight.len() } else { 0 };
        send(&mut peer, format!("wraptls {begun}\n").as_bytes());
        let sent = if heard { flight } else { framed(&flight) };
        sent.chunks(100).for_each(|piece| send(&mut peer, piece));
        shake_hands_in_frames(&mut peer, &mut tls, usize::MAX);
        let mut stream = rustls::Stream::new(&mut tls, &mut peer);
        assert_eq!(line(&mut stream), "TLSv1.2");
        assert_eq!(ask(&mut stream, "report inside"), "reported");
        assert!(carries(&*rig.told("report").await, &prints), "{heard}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_fails_or_ends_behind_the_hello_has_its_fingerprints() {
    let rig = Rig::with(Security::Tls, false, Limits::default());
    let mut peer = rig.connect();
    let mut flight = Vec::new();
    rig.tls().write_tls(&mut flight).unwrap();
    let prints = prints_of(&flight);
    send(&mut peer, &[flight.as_slice(), b"\x17\x03\x03\0\x05hello"].concat());
    let event = rig.event(|event| event.logtype == Some(kinds::TLS_FAILED.number)).await;
    assert!(carries(&event, &prints));
    let mut peer = rig.connect();
    send(&mut peer, &flight);
    peer.read_exact(&mut [0; 5]).unwrap();
    drop(peer);
    assert!(carries(&*rig.unreported().await, &prints));
    // A hello that no version or cipher of ours fits: TLS 1.0 alone, with one old cipher.
    let mut peer = rig.connect();
    let body = [&[3, 1][..], &[7; 32], &[0, 0, 2, 0, 5, 1, 0]].concat();
    let message = [&[1, 0, 0, 41][..], &body].concat();
    let hello = [&[0x16, 3, 1, 0, 45][..], &message].concat();
    send(&mut peer, &hello);
    let event = rig.event(|event| event.to_line(true).contains("t10i010000_")).await;
    assert_eq!(event.logtype, Some(kinds::TLS_FAILED.number));
    assert!(carries(&event, &prints_of(&hello)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_hello_has_no_fingerprint() {
    let rig = Rig::new(Security::Tls);
    for bytes in [&b"\x16\x03\x01\x00\x05hello"[..], b"\x80\x2e\x01\x03\x01\0\x15\0\0\0\x10"] {
        let mut peer = rig.connect();
        send(&mut peer, bytes);
        let event = rig
            .event(|event| {
                event.logtype == Some(kinds::TLS_FAILED.number)
                    && event.logdata.get("DATA").and_then(|data| data.as_bytes()) == Some(bytes)
            })
            .await;
        assert!(!event.to_line(true).contains("ja3"), "{}", event.to_line(true));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_speaks_plainly_on_a_tls_port_reaches_the_service() {
    let rig = Rig::new(Security::Tls);
    let mut peer = rig.connect();
    assert_eq!(ask(&mut peer, "echo hello"), "plain");
    assert_eq!(line(&mut peer), "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_on_demand_keeps_what_was_said_before_and_inside_apart() {
    let rig = Rig::with(Security::OnDemand, false, Limits::default());
    let mut peer = rig.greeted();
    assert_eq!(ask(&mut peer, "starttls"), "go");
    let mut tls = rig.tls();
    let mut stream = rustls::Stream::new(&mut tls, &mut peer);
    assert!(ask(&mut stream, "echo inside").starts_with("TLSv1."));
    assert_eq!(line(&mut stream), "inside");
    tls.send_close_notify();
    tls.write_tls(&mut peer).unwrap();
    drop(peer);
    // Nothing of the handshake, nothing encrypted.
    assert_eq!(text(&*rig.unreported().await, "DATA"), "starttls\necho inside\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_behind_starttls_is_never_taken_as_said_inside() {
    let rig = Rig::new(Security::OnDemand);
    let mut peer = rig.greeted();
    send(&mut peer, b"starttls\nreport injected\n");
    let event = rig.event(|event| event.logtype == Some(kinds::TLS_FAILED.number)).await;
    assert_eq!(text(&event, "DATA"), "report injected\n");
    rig.told("ended").await;
    let mut events = rig.journal.peek(0);
    assert!(events.next(10).await.iter().all(|event| text(event, "WHAT") != "report"));
}

/// Goes through the handshake with every flight in a frame, sent in pieces of `size` bytes. Gives the
/// first frame that the service sent, without its length.
fn shake_hands_in_frames(peer: &mut TcpStream, tls: &mut rustls::ClientConnection, size: usize) -> Vec<u8> {
    let mut first = Vec::new();
    while tls.is_handshaking() {
        let mut flight = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut flight).unwrap();
        }
        if !flight.is_empty() {
            framed(&flight).chunks(size).for_each(|piece| send(peer, piece));
        }
        let mut length = [0; 2];
        peer.read_exact(&mut length).unwrap();
        let mut frame = vec![0; usize::from(u16::from_be_bytes(length))];
        peer.read_exact(&mut frame).unwrap();
        tls.read_tls(&mut frame.as_slice()).unwrap();
        tls.process_new_packets().unwrap();
        if first.is_empty() {
            first = frame;
        }
    }
    first
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_inside_another_protocol_is_followed_by_bare_tls() {
    for size in [1, 7, usize::MAX] {
        let rig = Rig::with(Security::OnDemand, false, Limits::default());
        let mut peer = rig.greeted();
        send(&mut peer, b"wraptls 0\n");
        let mut tls = rig.tls();
        let first = shake_hands_in_frames(&mut peer, &mut tls, size);
        assert_eq!(first[0], 0x16, "a handshake record");
        let mut stream = rustls::Stream::new(&mut tls, &mut peer);
        assert_eq!(line(&mut stream), "TLSv1.2");
        assert_eq!(ask(&mut stream, "echo inside"), "inside");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dialogue_used_of_the_handshake_is_its_beginning() {
    let rig = Rig::with(Security::OnDemand, false, Limits::default());
    let mut peer = rig.greeted();
    let mut tls = rig.tls();
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).unwrap();
    send(&mut peer, format!("wraptls {}\n", hello.len()).as_bytes());
    send(&mut peer, &hello);
    shake_hands_in_frames(&mut peer, &mut tls, usize::MAX);
    let mut stream = rustls::Stream::new(&mut tls, &mut peer);
    assert_eq!(line(&mut stream), "TLSv1.2");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_beginning_of_an_unfinished_handshake_is_told_once() {
    let rig = Rig::with(Security::OnDemand, false, Limits::default());
    let mut peer = rig.greeted();
    let mut tls = rig.tls();
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).unwrap();
    let line = format!("wraptls {}\n", hello.len());
    send(&mut peer, &[line.as_bytes(), &hello].concat());
    peer.read_exact(&mut [0; 2]).unwrap();
    drop(peer);
    let event = rig.unreported().await;
    let data = event.logdata.get("DATA").and_then(|data| data.as_bytes().map(<[u8]>::to_vec)).unwrap();
    assert_eq!(data, [line.as_bytes(), &hello].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn goes_on_plainly_where_a_service_ends_tls() {
    let rig = Rig::with(Security::OnDemand, false, Limits::default());
    let mut peer = rig.greeted();
    send(&mut peer, b"wraptls 0\n");
    let mut tls = rig.tls();
    shake_hands_in_frames(&mut peer, &mut tls, usize::MAX);
    let mut stream = rustls::Stream::new(&mut tls, &mut peer);
    assert_eq!(line(&mut stream), "TLSv1.2");
    send_in(&mut tls, &mut peer, b"stoptls\n");
    assert_eq!(line(&mut peer), "plain");
    assert_eq!(ask(&mut peer, "report outside"), "reported");
    assert_eq!(text(&*rig.told("report").await, "DATA"), "outside");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_frame_fails_the_handshake_and_is_told() {
    for (sent, reason) in [(&b"wraptls 0\n\0\0x"[..], "an empty frame"), (b"wraptls 0\n\0\x03abc", "")] {
        let rig = Rig::new(Security::OnDemand);
        let mut peer = rig.greeted();
        send(&mut peer, sent);
        let event = rig.event(|event| event.logtype == Some(kinds::TLS_FAILED.number)).await;
        assert_eq!(text(&event, "DATA").as_bytes(), &sent[10..]);
        assert!(text(&event, "ERROR").contains(reason));
        rig.told("ended").await;
    }
}

fn send_in(tls: &mut rustls::ClientConnection, peer: &mut TcpStream, bytes: &[u8]) {
    tls.writer().write_all(bytes).unwrap();
    while tls.wants_write() {
        tls.write_tls(peer).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_handshake_is_told_with_its_bytes_and_answered_with_an_alert() {
    let rig = Rig::new(Security::Tls);
    let mut peer = rig.connect();
    send(&mut peer, b"\x16\x03\x01\x00\x05hello");
    // An alert record of TLS.
    let mut answer = [0; 1];
    peer.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [0x15]);
    assert!(closed_in_order(&mut peer));
    let event = rig.event(|event| event.logtype == Some(kinds::TLS_FAILED.number)).await;
    assert_eq!(text(&event, "DATA"), "\x16\x03\x01\0\x05hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_breaks_tls_does_not_hide_those_before_it() {
    let rig = Rig::new(Security::Tls);
    let (mut peer, mut tls) = (rig.connect(), rig.tls());
    let mut stream = rustls::Stream::new(&mut tls, &mut peer);
    assert_eq!(ask(&mut stream, "echo x"), "hello");
    assert_eq!(line(&mut stream), "x");
    tls.writer().write_all(b"report last\n").unwrap();
    let mut bytes = Vec::new();
    tls.write_tls(&mut bytes).unwrap();
    bytes.extend_from_slice(b"\x17\x03\x03\x00\x20no such record, no such record, no");
    send(&mut peer, &bytes);
    assert_eq!(text(&*rig.told("report").await, "DATA"), "last");
    rig.event(|event| event.logtype == Some(kinds::TLS_FAILED.number)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_handshake_is_told() {
    let rig = Rig::new(Security::Tls);
    let mut peer = rig.connect();
    send(&mut peer, b"\x16\x03\x01\x02");
    drop(peer);
    let event = rig.unreported().await;
    assert_eq!(text(&event, "DATA"), "\x16\x03\x01\x02");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_lines_at_once_are_all_answered() {
    let rig = Rig::new(Security::Plain);
    let mut peer = rig.greeted();
    let count = 5000;
    let lines: String = (0..count).map(|n| format!("echo {n}\n")).collect();
    let mut writer = peer.try_clone().unwrap();
    let sender = std::thread::spawn(move || writer.write_all(lines.as_bytes()).unwrap());
    for n in 0..count {
        assert_eq!(line(&mut peer), n.to_string());
    }
    sender.join().unwrap();
    assert_eq!(ask(&mut peer, "report x"), "reported");
    assert_eq!(rig.told("report").await.logtype, Some(KIND.number));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_connections_first_packet_told_stands_in_all_its_events() {
    let rig = Rig::new(Security::Plain);
    let mut peer = rig.greeted();
    let frame = crate::Frame { mac: Some([2, 0, 0, 0, 0, 0x66]), ttl: Some(62), hops: Some(2) };
    let sighting = crate::Sighting { frame, tcp: Some("4:62+2".to_owned()), ja4t: Some("64240_2".to_owned()) };
    rig.reporter().who().saw_syn(peer.local_addr().unwrap(), rig.address, sighting);
    assert_eq!(ask(&mut peer, "report x"), "reported");
    let more = &rig.told("report").await.aviary.as_ref().unwrap().more.clone();
    assert_eq!(more.get("src_ttl"), Some(&62_i64.into()));
    assert_eq!(more.get("src_hops"), Some(&2_i64.into()));
    assert_eq!(more.get("src_mac"), None, "not of the loopback");
    let prints = more.get("fingerprint").unwrap();
    assert_eq!(prints.get("tcp").and_then(|print| print.as_str()), Some("4:62+2"));
    assert_eq!(prints.get("ja4t").and_then(|print| print.as_str()), Some("64240_2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_are_no_sessions_say_who_it_was_too() {
    let rig = Rig::new(Security::Plain);
    // An address of documentation, whose frame came by a router: what the kernel says of it depends on the machine.
    let (mac, source) = ([2, 0, 0, 0, 0, 0x66], "198.51.100.66:40000".parse::<std::net::SocketAddr>().unwrap());
    let who = rig.reporter().who();
    let frame = crate::Frame { mac: Some(mac), ttl: Some(61), hops: Some(3) };
    let sighting = crate::Sighting { frame, tcp: Some("4:61+3".to_owned()), ja4t: None };
    who.saw_syn(source, "192.0.2.1:23".parse().unwrap(), sighting);
    who.saw_name(None, Some(source.ip()), "LAPTOP-7", aviary_wire::names::NameSource::Dhcp);
    let text = |port: u16| aviary_event::Port::Text(port.to_string());
    let end = |host: &str, port| aviary_event::Origin { host: host.to_owned(), port };
    let ends = (end("198.51.100.66", text(40000)), end("192.0.2.1", text(23)));
    let data = || aviary_event::LogData::new().with("WHAT", "observed");
    rig.reporter().report_observed(&crate::testing::KIND, data(), "portscan", (source.ip(), source.ip()), ends);
    let event = rig.told("observed").await;
    let more = &event.aviary.as_ref().unwrap().more;
    assert_eq!(more.get("src_mac").and_then(|mac| mac.as_str()), Some("02:00:00:00:00:66"));
    assert_eq!(more.get("src_name").and_then(|name| name.as_str()), Some("LAPTOP-7"));
    assert_eq!(more.get("src_name_from").and_then(|name| name.as_str()), Some("dhcp"));
    let prints = more.get("fingerprint").unwrap();
    assert_eq!((prints.get("tcp").and_then(|print| print.as_str()), prints.get("ja4t")), (Some("4:61+3"), None));
    rig.reporter().report_limited(source.ip(), 3);
    let limited = rig.event(|event| event.logtype == Some(kinds::LIMITED.number)).await;
    assert_eq!(limited.aviary.as_ref().unwrap().more.get("src_ttl"), Some(&61_i64.into()));
    rig.reporter().report_own(&kinds::UNREPORTED, data().with("OWN", "yes"));
    let own = rig.event(|event| event.logdata.get("OWN").is_some()).await;
    assert!(own.aviary.as_ref().unwrap().more.is_empty(), "the canary's own events have no peer");
}
