//! Floods and their bounds.

use std::net::Ipv4Addr;

use aviary_scan::{Detector, Direction, Moment, Packet, Proto, Rules, State};

use crate::replay::{Capture, OURS, SCANNER, Segment, datagram};

fn from(source: u32, port: u16) -> Vec<u8> {
    let source = Ipv4Addr::from_bits(0x0b00_0000 + source);
    Segment { from: (source, 40_000), to: (OURS[0], port), ..Segment::default() }.frame()
}

/// A million packets from 4,096 sources to 65,000 ports.
#[test]
fn memory_is_bounded() {
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
    };
    let before = resident();
    let mut detector = Detector::new(Rules::default());
    let mut frame = from(0, 1);
    let mut dice = 1_u64;
    for number in 0..1_000_000_u64 {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (source, port) = ((dice >> 40) as u32 % 4096, (dice >> 20) as u16 % 65_000);
        frame[26..30].copy_from_slice(&(0x0b00_0000 + source).to_be_bytes());
        frame[36..38].copy_from_slice(&port.to_be_bytes());
        let packet = Packet::parse(&frame).unwrap();
        let moment = Moment { now: number / 100, wall: number as i64 };
        detector.observe(&packet, Direction::Incoming, |_, _, _| false, moment);
    }
    let (counted, grown) = (detector.memory(), resident().saturating_sub(before));
    println!("counted {counted}, grown {grown}");
    assert!((2 << 20..8 << 20).contains(&counted), "{counted}");
    assert!(grown < 8 << 20, "{grown}");
    let ended = detector.finish(Moment { now: 10_000, wall: 0 });
    assert!(ended.iter().all(|scan| scan.tcp.count > 100 && scan.packets > 100), "what was told was exact");
}

#[test]
fn made_up_sources_do_not_fill_the_journal() {
    let mut capture = Capture::default();
    for source in 0..20_000_u32 {
        for port in 1..=3 {
            capture.add(f64::from(source) / 2000.0, from(source, port));
        }
    }
    let told = capture.play(Rules::default(), &[], 0);
    let begun = told.scans.iter().filter(|scan| scan.state == State::Begun).count();
    assert!((64..=64 + 16 * 12).contains(&begun), "{begun}");
    assert!(told.scans.len() + told.unfinished.len() <= 2 * (64 + 16 * 12), "{}", told.scans.len());
    assert!((1000..=1200).contains(&told.compatible.len()), "{}", told.compatible.len());
}

#[test]
fn a_scan_that_must_make_room_is_told_as_ended() {
    let mut capture = Capture::default();
    for port in 1..=10 {
        capture.add(0.0, Segment { to: (OURS[0], port), ..Segment::default() }.frame());
    }
    for source in 0..4096 {
        capture.add(5.0, from(source, 1));
    }
    let told = capture.play(Rules::default(), &[], 2);
    assert_eq!((told.only().source, told.only().tcp.count), (SCANNER.into(), 10));
}

#[test]
fn who_is_seen_again_keeps_its_place() {
    let mut capture = Capture::default();
    for port in 1..=10 {
        capture.add(0.0, Segment { to: (OURS[0], port), ..Segment::default() }.frame());
    }
    for source in 0..8000 {
        capture.add(5.0, from(source, 1));
        if source % 1000 == 0 {
            capture.add(5.0, Segment { to: (OURS[0], 11), ..Segment::default() }.frame());
        }
    }
    let told = capture.play(Rules::default(), &[(Proto::Tcp, 9)], 100);
    assert_eq!(told.only().tcp.count, 11);
}

/// The worst that anybody can do: every source with full lists of ports of both protocols, and many addresses. Bitmaps
/// go to the first few, so that what one more source costs says what all do.
#[test]
fn memory_is_bounded_at_its_worst() {
    let mut detector = Detector::new(Rules::default());
    let mut held = Vec::new();
    for source in 0..256_u32 {
        let mut look = |mut frame: Vec<u8>, host: u32| {
            frame[30..34].copy_from_slice(&(0x0a00_0000 + host).to_be_bytes());
            let packet = Packet::parse(&frame).unwrap();
            let moment = Moment { now: u64::from(source), wall: 0 };
            detector.observe(&packet, Direction::Incoming, |_, _, _| false, moment);
        };
        for port in 0..260_u16 {
            // Four addresses each are what the stock of all has.
            look(from(source, port), u32::from(port % 5));
            let us = (OURS[0], port);
            look(datagram((Ipv4Addr::from_bits(0x0b00_0000 + source), 9), us, b""), 1);
        }
        held.push(detector.memory());
    }
    let (half, whole) = (held[127], held[255]);
    let all = half + (whole - half) * (4096 - 128) / 128;
    println!("{all} bytes");
    assert!((4 << 20..8 << 20).contains(&all), "{all}");
}
