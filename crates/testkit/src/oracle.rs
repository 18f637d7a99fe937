//! Oracles of the fuzz targets that are no services: what must hold for any bytes.

use std::collections::BTreeMap;
use std::path::Path;

use aviary_config::{Document, Format, Key, KeySpace, check};
use aviary_event::{Event, LogData};
use aviary_scan::{Detector, Direction, Fingerprint, Moment, Packet, Rules, State, Summary, log_data, scan_data};
use aviary_wire::names;

use crate::battery::segments;

/// A line that can be read prints a line that is read as the same event, and prints the same again.
///
/// # Panics
/// When it does not.
pub fn event_line(data: &[u8]) {
    let Ok(line) = std::str::from_utf8(data) else { return };
    let Ok(event) = Event::parse(line) else { return };
    for extended in [true, false] {
        let printed = event.to_line(extended);
        assert!(printed.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "not printable ASCII: {printed}");
        let again = Event::parse(&printed).map(|event| event.to_line(extended));
        assert_eq!(again.ok().as_ref(), Some(&printed), "read again");
    }
    for form in [event.to_ecs(), event.to_ocsf()] {
        assert!(serde_json::from_str::<serde_json::Value>(&form).is_ok(), "not JSON: {form}");
    }
}

/// Text in either spelling is read or explained: every problem has a place in the file, and settings
/// come out whatever stands there.
///
/// # Panics
/// When a problem stands nowhere, or names another file.
pub fn config<'a>(data: &[u8], services: impl IntoIterator<Item = &'a [Key]>) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let space = KeySpace::new(services);
    for (format, file) in [(Format::Json, "opencanary.conf"), (Format::Toml, "aviary.toml")] {
        let problems = match Document::parse(Path::new(file), text, format, &space) {
            Ok(document) => check(&document, &space).1,
            Err(problem) => vec![*problem],
        };
        for problem in problems {
            assert!(problem.to_string().contains(file) && !problem.detailed().is_empty(), "{problem:?}");
        }
    }
}

/// Longest memory of a detector that has seen as much as fits into an input, in bytes.
const DETECTOR: usize = 8 << 20;

/// Frames, each behind a byte for its direction and one for the time before it: they are read or not, and whatever
/// they are, what is told of scans holds together and is bounded.
///
/// # Panics
/// When it does not.
pub fn scan(data: &[u8]) {
    let mut detector = Detector::new(Rules { threshold: 2, ..Rules::default() });
    let mut open: BTreeMap<u64, Summary> = BTreeMap::new();
    let mut moment = Moment { now: 0, wall: crate::NOW };
    for segment in segments(data) {
        let [way, time, frame @ ..] = segment.as_slice() else { continue };
        // From nothing to an hour.
        moment.now += u64::from(*time).pow(2) * 56;
        moment.wall += i64::from(*time);
        for summary in detector.due(moment) {
            told(&mut open, summary);
        }
        let Some(packet) = Packet::parse(frame) else { continue };
        let direction = match way % 8 {
            0 => Direction::Outgoing,
            1 => Direction::Broadcast,
            2 => Direction::Multicast,
            _ => Direction::Incoming,
        };
        let _ = Fingerprint::of(&packet).inspect(|of| assert!(of.tcp.is_ascii() && of.ja4t.is_ascii(), "{of:?}"));
        assert!(packet.tcp().is_none_or(|tcp| tcp.options.len() <= 40), "{packet:?}");
        let observed = detector.observe(&packet, direction, |_, _, port| port % 3 == 0, moment);
        if let Some(kind) = observed.compatible {
            assert_eq!(direction, Direction::Incoming, "{packet:?}");
            declared(&log_data(&packet, "eth0"), kind.keys);
        }
        if let Some(summary) = observed.scan {
            told(&mut open, summary);
        }
    }
    assert!(detector.memory() < DETECTOR, "{} bytes", detector.memory());
    for summary in detector.finish(moment) {
        told(&mut open, summary);
    }
    assert!(open.is_empty(), "told as begun and never as ended: {open:?}");
}

/// What is told of one scan only grows, and begins and ends once.
fn told(open: &mut BTreeMap<u64, Summary>, summary: Summary) {
    declared(&scan_data(&summary), aviary_scan::SCAN.keys);
    for ports in [&summary.tcp, &summary.udp] {
        assert!(ports.order.len() <= 256 && ports.order.len() as u32 <= ports.count, "{ports:?}");
    }
    assert!(!summary.hosts.is_empty() && summary.hosts.len() <= 64, "{summary:?}");
    assert!(summary.first <= summary.last && summary.packets > 0, "{summary:?}");
    let packets: u64 = summary.probes.iter().map(|(_, packets)| u64::from(*packets)).sum();
    assert_eq!(packets, summary.packets, "{summary:?}");
    let before = open.remove(&summary.id);
    if let Some(before) = &before {
        assert!(before.packets <= summary.packets && summary.tcp.order.starts_with(&before.tcp.order), "{summary:?}");
    }
    match (summary.state, before.is_some()) {
        (State::Ended, _) => {}
        (State::Begun, false) | (State::GoingOn, true) => drop(open.insert(summary.id, summary)),
        (state, _) => panic!("{state:?} at the wrong time: {summary:?}"),
    }
}

fn declared(data: &LogData, keys: &[&str]) {
    for (key, _) in data.iter() {
        assert!(keys.contains(&key), "`{key}` is not declared");
    }
}

/// Any bytes as a datagram to each port where names are told: a name is the sender's and bounded, or there is none.
/// The first byte chooses the sender.
///
/// # Panics
/// When it is neither.
pub fn names(data: &[u8]) {
    let Some((chance, payload)) = data.split_first() else { return };
    let addresses = ["192.0.2.66", "169.254.0.66", "0.0.0.0", "fe80::66"].map(|text| text.parse().ok());
    let mac = (chance & 4 != 0).then_some([0xd8, 0x3b, 0xbf, 1, 2, 3]);
    let Some(Some(address)) = addresses.get(usize::from(chance & 3)) else { return };
    for destination in names::PORTS.into_iter().chain([50_000]) {
        for port in [68, 546, 5353, 5355, destination] {
            let sender = names::Sender { mac, address: *address, port };
            let Some(heard) = names::passive(sender, destination, payload) else { continue };
            assert!(!heard.name.is_empty() && heard.name.len() <= 4 * 255, "{heard:?}");
            assert!(heard.address.is_none_or(|named| named == *address), "{heard:?} of {sender:?}");
            assert!(mac.is_none() || heard.mac.is_none() || heard.mac == mac, "{heard:?} of {sender:?}");
            assert!(heard.address.is_some() || heard.mac.is_some() || address.is_unspecified(), "{heard:?}");
        }
    }
    for name in names::asked(payload) {
        assert!(!name.is_empty() && name.len() <= 4 * 255, "{name}");
    }
}
