//! What never alarms, whatever the thresholds: our own traffic and its answers, noise, services' own business.

use std::net::Ipv4Addr;

use aviary_scan::{Detector, Direction, Moment, Packet, Proto, Rules};
use proptest::prelude::*;

use crate::replay::{Capture, LINUX, OURS, SCANNER, Segment, datagram, icmp, packet};

const SERVICES: &[(Proto, u16)] = &[(Proto::Tcp, 22), (Proto::Tcp, 80), (Proto::Tcp, 443), (Proto::Udp, 161)];

/// The packets of a connection from one end to the other, which closes it.
fn connection(capture: &mut Capture, at: f64, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) {
    let mut add = |step: f64, is_there: bool, flags: u8, options: &[u8], data: &[u8]| {
        let (from, to) = if is_there { (from, to) } else { (to, from) };
        capture.add(at + step / 1000.0, Segment { from, to, flags, options, data }.frame());
    };
    add(0.0, true, 0x02, &LINUX, b"");
    add(1.0, false, 0x12, &LINUX, b"");
    add(2.0, true, 0x10, b"", b"");
    add(3.0, true, 0x18, b"", b"GET / HTTP/1.0\r\n\r\n");
    add(4.0, false, 0x10, b"", b"");
    add(5.0, false, 0x18, b"", &[b'x'; 1400]);
    add(6.0, true, 0x10, b"", b"");
    add(7.0, false, 0x11, b"", b"");
    add(8.0, true, 0x11, b"", b"");
    add(9.0, false, 0x10, b"", b"");
}

#[test]
fn handshakes_with_services_are_none() {
    let mut capture = Capture::default();
    for number in 0..600_u16 {
        for (offset, port) in [22, 80, 443].into_iter().enumerate() {
            let from = (SCANNER, 30_000 + number * 3 + offset as u16);
            connection(&mut capture, f64::from(number) / 10.0, from, (OURS[0], port));
        }
        capture.add(f64::from(number) / 10.0, datagram((SCANNER, 30_000 + number), (OURS[0], 161), b"get"));
    }
    capture.0.sort_by_key(|(at, _)| *at);
    capture.play(Rules::default(), SERVICES, 100).nothing();
}

#[test]
fn our_own_connections_and_their_answers_are_none() {
    let mut capture = Capture::default();
    for number in 0..200_u16 {
        // We ask, they close; half of them refuse.
        let (us, them) = ((OURS[0], 50_000 + number), (SCANNER, 1 + number));
        if number % 2 == 0 {
            connection(&mut capture, f64::from(number), us, them);
        } else {
            capture.add(f64::from(number), Segment { from: us, to: them, ..Segment::default() }.frame());
            let reset = Segment { from: them, to: us, flags: 0x14, ..Segment::default() };
            capture.add(f64::from(number) + 0.001, reset.frame());
        }
    }
    capture.play(Rules { threshold: 1, ..Rules::default() }, SERVICES, 100).nothing();
}

#[test]
fn connections_that_are_older_than_we_are_none() {
    // They keep alive or close what was opened before anybody watched. The system answers; whether that is seen
    // depends on the filter.
    for is_seen in [true, false] {
        let mut capture = Capture::default();
        for number in 0..50_u16 {
            let at = f64::from(number) / 100.0;
            let (us, them) = ((OURS[0], 50_000 + number), (SCANNER, 443));
            let flags = if number % 2 == 0 { 0x10 } else { 0x11 };
            capture.add(at, Segment { from: them, to: us, flags, ..Segment::default() }.frame());
            if is_seen {
                capture.add(at + 0.005, Segment { from: us, to: them, flags: 0x10, ..Segment::default() }.frame());
            }
        }
        capture.play(Rules::default(), SERVICES, 100).nothing();
    }
}

#[test]
fn connections_that_services_break_off_are_none() {
    let mut capture = Capture::default();
    for port in [22, 80, 443] {
        let (them, us) = ((SCANNER, 40_000 + port), (OURS[0], port));
        let mut add =
            |from, to, flags| capture.add(f64::from(port), Segment { from, to, flags, ..Segment::default() }.frame());
        add(them, us, 0x02);
        add(them, us, 0x10);
        add(us, them, 0x04);
    }
    capture.play(Rules { threshold: 1, ..Rules::default() }, SERVICES, 100).nothing();
}

#[test]
fn a_reset_long_after_an_acknowledgement_is_none() {
    let mut capture = Capture::default();
    for port in [1, 2, 3] {
        let (them, us) = ((SCANNER, 40_000), (OURS[0], port));
        capture.add(0.0, Segment { from: them, to: us, flags: 0x10, ..Segment::default() }.frame());
        capture.add(10.0, Segment { from: us, to: them, flags: 0x04, ..Segment::default() }.frame());
    }
    capture.0.sort_by_key(|(at, _)| *at);
    capture.play(Rules { threshold: 1, ..Rules::default() }, SERVICES, 100).nothing();
}

#[test]
fn answers_to_our_datagrams_are_none() {
    let mut capture = Capture::default();
    for number in 0..100_u16 {
        let us = (OURS[0], 40_000 + number);
        capture.add(f64::from(number), datagram(us, (SCANNER, 53), b"query"));
        capture.add(f64::from(number) + 0.01, datagram((SCANNER, 53), us, b"answer"));
        // A TFTP server answers from a port of its own.
        capture.add(f64::from(number) + 60.0, datagram((SCANNER, 9000 + number), us, b"late"));
    }
    capture.0.sort_by_key(|(at, _)| *at);
    capture.play(Rules { threshold: 1, ..Rules::default() }, SERVICES, 100).nothing();
    let mut late = Capture::default();
    for number in 0..3_u16 {
        late.add(0.0, datagram((OURS[0], 40_000 + number), (SCANNER, 53), b"query"));
        late.add(300.0 + f64::from(number), datagram((SCANNER, 53), (OURS[0], 40_000 + number), b"scan"));
    }
    late.0.sort_by_key(|(at, _)| *at);
    assert_eq!(late.play(Rules::default(), SERVICES, 100).only().packets, 3, "an answer of five minutes is none");
}

#[test]
fn answers_to_what_we_asked_many_are_none() {
    let mut capture = Capture::default();
    for number in 0..50_u8 {
        let us = (OURS[0], 40_000 + u16::from(number));
        let many = if number % 2 == 0 { Ipv4Addr::new(239, 255, 255, 250) } else { Ipv4Addr::new(10, 77, 0, 255) };
        capture.add(f64::from(number), datagram(us, (many, 1900), b"M-SEARCH"));
        for other in 1..=20 {
            capture.add(f64::from(number) + 0.1, datagram((Ipv4Addr::new(10, 77, 0, 100 + other), 1900), us, b"here"));
        }
    }
    capture.play(Rules { threshold: 1, ..Rules::default() }, SERVICES, 100).nothing();
}

#[test]
fn noise_for_everybody_is_none() {
    let mut capture = Capture::default();
    for (number, to) in [
        Ipv4Addr::BROADCAST,
        Ipv4Addr::new(10, 77, 0, 255),
        Ipv4Addr::new(224, 0, 0, 251),
        Ipv4Addr::new(239, 255, 255, 250),
    ]
    .into_iter()
    .cycle()
    .take(400)
    .enumerate()
    {
        let port = [67, 137, 138, 1900, 5353, 17500][number % 6];
        capture.add(number as f64 / 10.0, datagram((SCANNER, port), (to, port), b"noise"));
        capture.add(number as f64 / 10.0, icmp(SCANNER, to, 8, b""));
        capture.add(number as f64 / 10.0, Segment { to: (to, port), flags: 0, ..Segment::default() }.frame());
    }
    // For many by the frame's address alone, as by the packet's alone.
    let mut for_many = datagram((SCANNER, 1), (OURS[0], 1), b"noise");
    for_many[..6].copy_from_slice(&[1, 0, 0x5e, 0, 0, 1]);
    capture.add(41.0, for_many);
    for address in [[255, 255, 255, 255], [224, 0, 0, 1]] {
        let mut for_many = datagram((SCANNER, 1), (OURS[0], 1), b"noise");
        for_many[30..34].copy_from_slice(&address);
        capture.add(41.0, for_many);
    }
    capture.play(Rules { threshold: 1, ..Rules::default() }, SERVICES, 100).nothing();
}

#[test]
fn what_is_ignored_is_none() {
    let mut capture = Capture::default();
    for port in [25, 110, 143, 993] {
        capture.add(0.0, Segment { to: (OURS[0], port), ..Segment::default() }.frame());
        capture.add(0.0, datagram((SCANNER, 1), (OURS[0], port), b""));
    }
    capture.play(Rules { ignore_ports: [25, 110, 143, 993].into(), ..Rules::default() }, &[], 100).nothing();
    let mut rules = Rules::default();
    rules.ignore_sources.add("10.77.0.66").unwrap();
    capture.play(rules, &[], 100).nothing();
    let mut local = Capture::default();
    for port in [25, 110, 143, 993] {
        let from = (Ipv4Addr::LOCALHOST, 7);
        local.add(0.0, Segment { from, to: (OURS[0], port), ..Segment::default() }.frame());
        local.add(0.0, Segment { from: (OURS[0], 7), to: (OURS[0], port), ..Segment::default() }.frame());
    }
    local.play(Rules { ignore_localhost: true, ..Rules::default() }, &[], 100).nothing();
}

#[test]
fn answers_to_made_up_sources_are_none() {
    let mut capture = Capture::default();
    for port in 1..200_u16 {
        let at = f64::from(port) / 10.0;
        // Somebody else's flood in our name: acceptances, resets, errors.
        capture.add(at, Segment { to: (OURS[0], port), flags: 0x12, options: &LINUX, ..Segment::default() }.frame());
        capture.add(at, Segment { to: (OURS[0], port), flags: 0x14, ..Segment::default() }.frame());
        capture.add(at, Segment { to: (OURS[0], port), flags: 0x04, ..Segment::default() }.frame());
        capture.add(at, icmp(SCANNER, OURS[0], 3, &[0; 28]));
        capture.add(at, icmp(SCANNER, OURS[1], 11, &[0; 28]));
    }
    capture.play(Rules { threshold: 1, ..Rules::default() }, SERVICES, 100).nothing();
}

#[test]
fn later_fragments_and_data_are_none() {
    let mut capture = Capture::default();
    for port in 1..50_u16 {
        let mut later = packet(SCANNER, OURS[0], 17, &[0; 100]);
        later[20..22].copy_from_slice(&[0x20, 185]);
        capture.add(f64::from(port), later);
        let data = Segment { to: (OURS[0], port), flags: 0x10, data: b"data", ..Segment::default() };
        capture.add(f64::from(port), data.frame());
    }
    capture.play(Rules { threshold: 1, ..Rules::default() }, &[], 100).nothing();
}

/// A handshake with a service, one of its frames cut to any length.
#[test]
fn a_handshake_cut_anywhere_is_none() {
    let mut whole = Capture::default();
    connection(&mut whole, 0.0, (SCANNER, 40_000), (OURS[0], 80));
    let longest = whole.0.iter().map(|(_, frame)| frame.len()).max().unwrap();
    for length in 0..longest {
        let cut = Capture(whole.0.iter().map(|(at, frame)| (*at, frame[..frame.len().min(length)].to_vec())).collect());
        let cut = Capture(cut.0.into_iter().filter(|(_, frame)| frame.len() >= 12).collect());
        if !cut.0.is_empty() {
            cut.play(Rules { threshold: 1, ..Rules::default() }, SERVICES, 10).nothing();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_bytes_are_stood(frames in proptest::collection::vec(
        (any::<bool>(), proptest::collection::vec(any::<u8>(), 0..120), 0_usize..80, any::<[u8; 4]>()), 0..40)
    ) {
        let mut detector = Detector::new(Rules { threshold: 1, ..Rules::default() });
        for (number, (is_random, bytes, at, change)) in frames.into_iter().enumerate() {
            let mut frame = Segment { options: &LINUX, data: &bytes, ..Segment::default() }.frame();
            frame.splice(at.min(70)..at.min(70) + 4, change);
            let frame = if is_random { &bytes } else { &frame };
            let Some(packet) = Packet::parse(frame) else { continue };
            let direction = if change[0] % 4 == 0 { Direction::Outgoing } else { Direction::Incoming };
            let moment = Moment { now: number as u64 * 700, wall: i64::from(change[1]) };
            detector.observe(&packet, direction, |_, _, port| port % 2 == 0, moment);
            detector.due(moment);
        }
    }
}
