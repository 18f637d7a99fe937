//! Every kind of scan, from captures that are made here.

use std::net::Ipv4Addr;

use aviary_scan::{Events, Probe, Proto, Rules, State, scan_data};

use crate::replay::{Capture, LINUX, OURS, SCANNER, START, Segment, address, datagram, icmp, packet};

const SSH: &[(Proto, u16)] = &[(Proto::Tcp, 22)];

/// A packet a port, a tenth of a second apart.
fn swept(ports: impl IntoIterator<Item = u16>, flags: u8, options: &[u8]) -> Capture {
    let mut capture = Capture::default();
    for (number, port) in ports.into_iter().enumerate() {
        let to = (OURS[0], port);
        capture.add(number as f64 / 10.0, Segment { to, flags, options, ..Segment::default() }.frame());
    }
    capture
}

#[test]
fn a_half_open_scan_is_one_event_with_its_ports_in_order() {
    let told = swept([443, 22, 80, 21, 8080], 2, &[2, 4, 5, 0xb4]).play(Rules::default(), SSH, 70);
    let scan = told.only();
    assert_eq!((scan.probe, scan.packets, scan.tcp.count), (Probe::Syn, 5, 5));
    assert_eq!(scan.tcp.order, [443, 22, 80, 21, 8080], "with the port where a service stands");
    assert_eq!((scan.source, scan.source_port), (address("10.77.0.66"), Some(40_000)));
    assert_eq!(scan.target, (address("10.77.0.2"), Some(443)));
    assert_eq!(scan.hosts, [address("10.77.0.2")]);
    assert_eq!((scan.first.as_micros(), scan.last.as_micros()), (START as i64, START as i64 + 400_000));
    assert_eq!((scan.duration, scan.rate(), scan.tool), (400, Some(10.0), None));
    assert_eq!(told.scans[0].tcp.order, [443, 22, 80, 21], "told when the third port was closed");
    assert_eq!(told.compatible, [5001; 4]);
    assert_eq!(told.scans.len(), 3, "begun, one more port, ended: {:?}", told.scans);
}

#[test]
fn two_closed_ports_are_no_scan_and_the_threshold_is_the_operators() {
    let capture = swept([22, 80, 443, 80, 443], 2, &LINUX);
    let told = capture.play(Rules::default(), SSH, 100);
    assert!(told.scans.is_empty() && told.unfinished.is_empty(), "{told:?}");
    assert_eq!(told.compatible.len(), 4);
    let told = capture.play(Rules { threshold: 2, ..Rules::default() }, SSH, 100);
    assert_eq!((told.only().probe, told.only().tcp.order.as_slice()), (Probe::Connect, &[22, 80, 443][..]));
    let told = capture.play(Rules { threshold: 2, events: Events::Compatible, ..Rules::default() }, SSH, 100);
    assert_eq!((told.scans.len(), told.compatible.len()), (0, 4));
    let told = capture.play(Rules { threshold: 2, events: Events::Aggregated, ..Rules::default() }, SSH, 100);
    assert_eq!((told.scans.len(), told.compatible.len()), (3, 0));
}

#[test]
fn flags_that_no_connection_sends_are_told_at_the_second_packet() {
    for (flags, probe) in [
        (0x00, Probe::Null),
        (0x01, Probe::Fin),
        (0x29, Probe::Xmas),
        (0x2b, Probe::Os),
        (0x03, Probe::Flags),
        (0x08, Probe::Flags),
        (0x20, Probe::Flags),
    ] {
        let told = swept([22, 23], flags, &[]).play(Rules::default(), SSH, 70);
        assert_eq!((told.only().probe, told.only().packets), (probe, 2), "{flags:#x}");
        let told = swept([22], flags, &[]).play(Rules::default(), SSH, 70);
        assert!(told.scans.is_empty(), "one packet is none: {flags:#x}");
    }
}

/// The same, and what the system answers.
fn answered(mut capture: Capture, flags: u8) -> Capture {
    for (at, frame) in capture.0.clone() {
        let us = (OURS[0], u16::from_be_bytes([frame[36], frame[37]]));
        capture.0.push((at + 100, Segment { from: us, to: (SCANNER, 40_000), flags, ..Segment::default() }.frame()));
    }
    capture.0.sort_by_key(|(at, _)| *at);
    capture
}

#[test]
fn acknowledgements_that_we_answer_with_a_reset_are_a_scan() {
    for (flags, probe) in [(0x10, Probe::Ack), (0x11, Probe::Maimon)] {
        let capture = swept([22, 80, 443, 25], flags, &[]);
        let told = answered(capture.clone(), 0x04).play(Rules::default(), SSH, 90);
        assert_eq!((told.only().probe, told.only().tcp.order.as_slice()), (probe, &[22, 80, 443, 25][..]));
        assert_eq!((told.scans[0].state, told.scans[0].packets), (State::Begun, 3), "at the third reset");
        answered(capture.clone(), 0x10).play(Rules::default(), SSH, 90).nothing();
        capture.play(Rules::default(), SSH, 90).nothing();
        answered(swept([22, 80], flags, &[]), 0x04).play(Rules::default(), SSH, 90).nothing();
    }
}

#[test]
fn datagrams_to_closed_ports_are_a_scan() {
    let mut capture = Capture::default();
    for (number, port) in [53, 161, 123, 1900].into_iter().enumerate() {
        capture.add(number as f64, datagram((SCANNER, 5000), (OURS[0], port), b"?"));
    }
    let told = capture.play(Rules::default(), &[(Proto::Udp, 161)], 70);
    let scan = told.only();
    assert_eq!((scan.probe, scan.udp.count, scan.tcp.count), (Probe::Udp, 4, 0));
    assert_eq!(scan.udp.order, [53, 161, 123, 1900]);
    assert!(told.compatible.is_empty(), "OpenCanary has no such event");
}

#[test]
fn a_sweep_of_echoes_needs_two_hosts_and_one_ping_is_none() {
    let ping = |hosts: &[Ipv4Addr], kind: u8, data: &[u8]| {
        let mut capture = Capture::default();
        for (number, host) in hosts.iter().enumerate() {
            capture.add(number as f64, icmp(SCANNER, *host, kind, data));
        }
        capture.play(Rules::default(), SSH, 70)
    };
    ping(&[OURS[0]; 20], 8, &[7; 56]).nothing();
    ping(&[OURS[0]; 20], 8, &[]).nothing();
    ping(&OURS, 0, &[7; 56]).nothing();
    ping(&OURS, 3, &[7; 56]).nothing();
    let told = ping(&OURS, 8, &[7; 56]);
    assert_eq!((told.only().probe, told.only().hosts.len(), told.only().tcp.count), (Probe::Icmp, 4, 0));
    assert_eq!(ping(&[OURS[0]; 2], 13, &[0; 12]).only().probe, Probe::Icmp, "nobody asks for the time so");
    assert_eq!(ping(&OURS[..3], 8, &[]).only().packets, 3);
}

#[test]
fn a_probe_in_five_minutes_is_one_scan() {
    let mut capture = Capture::default();
    for number in 0..40_u16 {
        // Hours, with some seconds more or less.
        let at = f64::from(number) * 300.0 + f64::from(number * 7 % 13);
        let to = (OURS[0], 1000 + number);
        capture.add(at, Segment { to, options: &LINUX, ..Segment::default() }.frame());
        capture.add(at + 1.0, Segment { to, options: &LINUX, ..Segment::default() }.frame());
    }
    let told = capture.play(Rules::default(), SSH, 3 * 3600);
    let scan = told.only();
    assert_eq!((scan.tcp.count, scan.packets, scan.probe), (40, 80, Probe::Connect));
    assert!((3 * 3600 * 1000..4 * 3600 * 1000).contains(&scan.duration), "{}", scan.duration);
    assert_eq!(scan.first.as_micros(), START as i64);
}

#[test]
fn attempts_further_apart_than_the_window_are_none() {
    let mut capture = Capture::default();
    for number in 0..6_u16 {
        let to = (OURS[0], 1000 + number);
        capture.add(f64::from(number) * 3.5 * 3600.0, Segment { to, ..Segment::default() }.frame());
    }
    let told = capture.play(Rules::default(), SSH, 60);
    assert!(told.scans.is_empty() && told.unfinished.is_empty(), "three within six hours are needed: {told:?}");
    let told = capture.play(Rules { window: 8 * 3_600_000, ..Rules::default() }, SSH, 2 * 3600);
    assert_eq!(told.scans[0].first.as_micros(), START as i64);
}

#[test]
fn a_port_on_four_hosts_is_one_scan() {
    let mut capture = Capture::default();
    for (number, host) in OURS.into_iter().enumerate() {
        capture.add(number as f64 / 4.0, Segment { to: (host, 3389), ..Segment::default() }.frame());
    }
    let told = capture.play(Rules::default(), SSH, 70);
    assert_eq!((told.only().tcp.order.as_slice(), told.only().hosts.len()), (&[3389][..], 4));
}

#[test]
fn all_ports_are_counted_exactly_and_told_seldom() {
    let mut capture = Capture::default();
    for port in (1..=65_535_u16).rev() {
        let at = f64::from(65_535 - port) / 1000.0;
        capture.add(at, Segment { to: (OURS[0], port), ..Segment::default() }.frame());
    }
    let told = capture.play(Rules::default(), SSH, 70);
    let scan = told.only();
    assert_eq!((scan.tcp.count, scan.packets, scan.tcp.is_at_least), (65_535, 65_535, false));
    assert_eq!((scan.tcp.order.len(), scan.tcp.order[255]), (256, 65_535 - 255));
    assert_eq!(scan.rate(), Some(1000.0));
    assert_eq!(told.scans.len(), 8 + 1, "begun, every ten seconds for 65 and once more for the last, ended");
}

#[test]
fn a_source_that_scans_and_is_served_is_done_when_the_scan_is() {
    let mut capture = swept([80, 443, 25], 2, &[]);
    for second in 1..300 {
        let to = (OURS[0], 22);
        capture.add(f64::from(second), Segment { to, options: &LINUX, ..Segment::default() }.frame());
    }
    let told = capture.play(Rules::default(), SSH, 1);
    let scan = told.only();
    assert!((60..=65).contains(&scan.packets), "{}", scan.packets);
    assert_eq!(scan.probes, [(Probe::Syn, 3), (Probe::Connect, (scan.packets - 3) as u32)]);
}

#[test]
fn headers_divided_over_fragments_are_a_scan() {
    let mut capture = Capture::default();
    for port in [22, 80] {
        let whole = Segment { to: (OURS[0], port), ..Segment::default() }.frame();
        let mut first = packet(SCANNER, OURS[0], 6, &whole[34..42]);
        first[20] = 0x20;
        let mut later = packet(SCANNER, OURS[0], 6, &whole[42..50]);
        later[21] = 1;
        capture.add(0.0, first);
        capture.add(0.0, later);
    }
    let told = capture.play(Rules::default(), SSH, 70);
    assert_eq!((told.only().probe, told.only().packets), (Probe::Fragment, 2));
    assert_eq!(told.only().tcp.order, [22, 80]);
}

#[test]
fn what_comes_again_after_hours_is_a_scan_that_just_began() {
    let mut capture = Capture::default();
    for hours in [0.0, 2.0] {
        capture.add(hours * 3600.0, Segment { flags: 1, ..Segment::default() }.frame());
    }
    let told = capture.play(Rules::default(), SSH, 50);
    assert_eq!(told.scans.iter().map(|scan| scan.state).collect::<Vec<_>>(), [State::Begun], "and goes on");
    assert_eq!((told.scans[0].packets, told.scans[0].duration), (2, 2 * 3600 * 1000));
}

#[test]
fn a_port_that_is_tried_again_is_one_target() {
    let mut capture = Capture::default();
    for second in 0..60 {
        for flags in [2, 0x10] {
            capture.add(f64::from(second), Segment { flags, ..Segment::default() }.frame());
        }
    }
    let told = answered(capture, 0x04).play(Rules::default(), SSH, 70);
    assert!(told.scans.is_empty() && told.unfinished.is_empty(), "{:?}", told.scans);
}

#[test]
fn the_last_packet_is_the_last_of_theirs() {
    let told = answered(swept([22, 80, 443], 0x10, &[]), 0x04).play(Rules::default(), SSH, 90);
    assert_eq!(told.only().last.as_micros(), START as i64 + 200_000, "not when we answered it");
    assert_eq!(told.only().duration, 200);
}

#[test]
fn what_runs_at_the_end_is_told() {
    let told = swept([1, 2, 3], 2, &[]).play(Rules::default(), &[], 0);
    assert_eq!(told.scans.len(), 1);
    assert_eq!(told.unfinished.iter().map(|scan| scan.state).collect::<Vec<_>>(), [State::Ended]);
}

#[test]
fn the_event_has_every_key() {
    let told = swept([443, 80, 21], 2, &[2, 4, 5, 0xb4]).play(Rules::default(), SSH, 70);
    let data = scan_data(told.only());
    let printed: Vec<String> = data.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
    let id = told.only().id_text();
    assert_eq!(id.len(), 12);
    let expected = [
        "DURATION_MS=Int(200)",
        "FIRST=Text(\"2026-11-22T22:00:00.000000+00:00\")",
        "HOSTS=List([Text(\"10.77.0.2\")])",
        "HOST_COUNT=Int(1)",
        "KIND=Text(\"syn\")",
        "KINDS=Map({\"syn\": Int(3)})",
        "LAST=Text(\"2026-11-22T22:00:00.200000+00:00\")",
        "PACKETS=Int(3)",
        "PORTS=List([Int(443), Int(80), Int(21)])",
        "PORT_COUNT=Int(3)",
        "RATE=Float(10.0)",
        &format!("SCAN=Text(\"{id}\")"),
        "STATE=Text(\"ended\")",
    ];
    assert_eq!(printed, expected);
    let declared = aviary_scan::SCAN.keys;
    assert!(data.iter().all(|(key, _)| declared.contains(&key)));
}
