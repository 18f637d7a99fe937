//! OpenCanary's events: which packets they tell of, and how many.

use std::net::{IpAddr, Ipv4Addr};

use aviary_scan::{Detector, Direction, Events, Moment, Packet, Rules, log_data};

use crate::replay::{OURS, SCANNER, Segment};

const HOUR: u64 = 3_600_000;

fn rules() -> Rules {
    Rules { events: Events::Compatible, ..Rules::default() }
}

fn number(detector: &mut Detector, frame: &[u8], open: bool, now: u64) -> Option<i64> {
    let packet = Packet::parse(frame).expect("a packet");
    let observed = detector.observe(&packet, Direction::Incoming, |_, _, _| open, Moment { now, wall: 0 });
    assert_eq!(observed.scan, None, "compatible alone");
    observed.compatible.map(|kind| kind.number)
}

fn flags(flags: u8) -> Vec<u8> {
    Segment { flags, ..Segment::default() }.frame()
}

fn from(source: Ipv4Addr) -> Vec<u8> {
    Segment { from: (source, 40_000), ..Segment::default() }.frame()
}

#[test]
fn flags_say_what_it_is() {
    let mut detector = Detector::new(rules());
    for (bits, kind) in [
        (0x02, Some(5001)),
        (0xc2, Some(5001)),
        (0x2b, Some(5002)),
        (0x00, Some(5003)),
        (0x29, Some(5004)),
        (0x01, Some(5005)),
        (0x10, None),
        (0x12, None),
        (0x04, None),
        (0x11, None),
        (0x18, None),
        (0x03, None),
    ] {
        assert_eq!(number(&mut detector, &flags(bits), false, 0), kind, "{bits:#x}");
    }
}

#[test]
fn a_handshake_with_a_service_is_no_scan() {
    let mut detector = Detector::new(rules());
    assert_eq!(number(&mut detector, &flags(2), true, 0), None);
    assert_eq!(number(&mut detector, &flags(1), true, 0), Some(5005), "nor is a stray FIN a handshake");
    let mut detector = Detector::new(Rules { decoys: [(None, 80)].into(), ..rules() });
    assert_eq!(number(&mut detector, &flags(2), true, 0), Some(5001), "what is answered on purpose is closed");
    let elsewhere = Some(Ipv4Addr::new(192, 0, 2, 1).into());
    let mut detector = Detector::new(Rules { decoys: [(elsewhere, 80)].into(), ..rules() });
    assert_eq!(number(&mut detector, &flags(2), true, 0), None, "at another address it is a service");
}

#[test]
fn rates_hold_per_source() {
    let mut detector = Detector::new(rules());
    let count = |detector: &mut Detector, now| (0..100).filter_map(|_| number(detector, &flags(2), false, now)).count();
    assert_eq!(count(&mut detector, 0), 5);
    assert_eq!(count(&mut detector, 200), 1);
    assert_eq!(count(&mut detector, 1200), 5);
    assert!(number(&mut detector, &from(Ipv4Addr::new(10, 77, 0, 99)), false, 1200).is_some(), "another has its own");
    assert!(number(&mut detector, &flags(0), false, 1200).is_some(), "so have other flags");
}

#[test]
fn the_loopback_has_a_rate_an_hour_or_none() {
    let local = from(Ipv4Addr::LOCALHOST);
    let mut detector = Detector::new(rules());
    let count = |detector: &mut Detector, now| (0..100).filter_map(|_| number(detector, &local, false, now)).count();
    assert_eq!(count(&mut detector, 0), 5);
    assert_eq!(count(&mut detector, HOUR / 3), 1);
    let mut detector = Detector::new(rules());
    let found = (0..=HOUR / 3).filter(|now| number(&mut detector, &local, false, *now).is_some()).count();
    assert_eq!(found, 6, "one more after a third of an hour, however often it is asked");
    detector.set_rules(Some(Rules { ignore_localhost: true, ..rules() }));
    assert_eq!(count(&mut detector, 10 * HOUR), 0);
}

#[test]
fn a_flood_of_made_up_sources_is_bounded() {
    let mut detector = Detector::new(rules());
    let mut found = 0;
    for number_of in 0..50_000_u32 {
        // Ten seconds, five packets a millisecond.
        let frame = from(Ipv4Addr::from_bits(number_of + 0x0a00_0000));
        found += usize::from(number(&mut detector, &frame, false, u64::from(number_of / 5)).is_some());
    }
    assert!((1000..=1200).contains(&found), "{found}");
}

#[test]
fn ports_and_sources_are_passed_over() {
    let mut detector = Detector::new(Rules { ignore_ports: [80].into(), ..rules() });
    assert_eq!(number(&mut detector, &flags(0), false, 0), None);
    let mut ignoring = rules();
    ignoring.ignore_sources.add("10.77.0.64/26").unwrap();
    let mut detector = Detector::new(ignoring);
    assert_eq!(number(&mut detector, &flags(0), false, 0), None);
    assert!(number(&mut detector, &from(Ipv4Addr::new(10, 77, 0, 9)), false, 0).is_some());
    detector.set_rules(None);
    assert_eq!(number(&mut detector, &from(Ipv4Addr::new(10, 77, 0, 9)), false, 0), None, "off");
}

#[test]
fn keys_are_the_kernels_for_other_protocols_too() {
    let frame = crate::replay::datagram((SCANNER, 7), (OURS[0], 9), b"x");
    let packet = Packet::parse(&frame).expect("a datagram");
    let data = log_data(&packet, "eth0");
    let keys: Vec<&str> = data.iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["DF", "ID", "IN", "LEN", "MAC", "OUT", "PREC", "PROTO", "TOS", "TTL"]);
    assert_eq!(packet.source, IpAddr::from(SCANNER));
}
