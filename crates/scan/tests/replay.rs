//! Frames, captures in pcap's format, and what a detector tells of them.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};

use aviary_scan::{Detector, Direction, Moment, Packet, Proto, Rules, State, Summary};

/// The wall's clock at the beginning of every capture that is made here: 2026-11-22 22:00:00 UTC.
pub(crate) const START: u64 = 1_795_384_800_000_000;
/// Us, who scans, and the router in the Ethernet headers.
pub(crate) const US: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub(crate) const THEM: [u8; 6] = [2, 0, 0, 0, 0, 0x66];
const ALL: [u8; 6] = [0xff; 6];
/// Our addresses are 10.77.0.2 to 10.77.0.5, the scanner's is 10.77.0.66.
pub(crate) const OURS: [Ipv4Addr; 4] = [
    Ipv4Addr::new(10, 77, 0, 2),
    Ipv4Addr::new(10, 77, 0, 3),
    Ipv4Addr::new(10, 77, 0, 4),
    Ipv4Addr::new(10, 77, 0, 5),
];
pub(crate) const SCANNER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 66);
/// The options of a SYN that Linux makes.
pub(crate) const LINUX: [u8; 20] = [2, 4, 5, 0xb4, 4, 2, 8, 10, 0x33, 0x57, 0xda, 0x6f, 0, 0, 0, 0, 1, 3, 3, 10];

/// A TCP segment to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment<'a> {
    pub(crate) from: (Ipv4Addr, u16),
    pub(crate) to: (Ipv4Addr, u16),
    pub(crate) flags: u8,
    pub(crate) options: &'a [u8],
    pub(crate) data: &'a [u8],
}

impl Default for Segment<'_> {
    fn default() -> Self {
        Self { from: (SCANNER, 40_000), to: (OURS[0], 80), flags: 2, options: &[], data: &[] }
    }
}

impl Segment<'_> {
    /// The frame, to us unless it comes from us.
    pub(crate) fn frame(self) -> Vec<u8> {
        let mut body = [self.from.1.to_be_bytes(), self.to.1.to_be_bytes()].concat();
        body.extend([0, 0, 0, 1, 0, 0, 0, 0]);
        body.extend([u8::try_from((5 + self.options.len() / 4) << 4).expect("it fits"), self.flags]);
        body.extend([0xfa, 0xf0, 0, 0, 0, 0]);
        body.extend(self.options);
        body.extend(self.data);
        packet(self.from.0, self.to.0, 6, &body)
    }
}

/// A datagram's frame.
pub(crate) fn datagram(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), data: &[u8]) -> Vec<u8> {
    let mut body = [from.1.to_be_bytes(), to.1.to_be_bytes()].concat();
    body.extend(u16::try_from(8 + data.len()).expect("it fits").to_be_bytes());
    body.extend([0, 0]);
    body.extend(data);
    packet(from.0, to.0, 17, &body)
}

/// An ICMP message's frame: type, and what stands behind identifier and sequence number.
pub(crate) fn icmp(from: Ipv4Addr, to: Ipv4Addr, kind: u8, data: &[u8]) -> Vec<u8> {
    packet(from, to, 1, &[&[kind, 0, 0, 0, 0, 7, 0, 1][..], data].concat())
}

/// An IPv4 packet's frame.
pub(crate) fn packet(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let is_ours = |address| OURS.contains(&address);
    frame.extend(match to {
        to if to.is_broadcast() || to.is_multicast() || to.octets()[3] == 255 => ALL,
        to if is_ours(to) => US,
        _ => THEM,
    });
    frame.extend(if is_ours(from) { US } else { THEM });
    frame.extend([8, 0, 0x45, 0]);
    frame.extend(u16::try_from(20 + body.len()).expect("it fits").to_be_bytes());
    frame.extend([0x12, 0x34, 0x40, 0, 64, protocol, 0, 0]);
    frame.extend(from.octets());
    frame.extend(to.octets());
    frame.extend(body);
    frame
}

/// Frames with the microseconds at which they came, since [`START`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Capture(pub(crate) Vec<(u64, Vec<u8>)>);

impl Capture {
    /// Adds a frame at a second.
    pub(crate) fn add(&mut self, second: f64, frame: Vec<u8>) {
        self.0.push(((second * 1e6) as u64, frame));
    }

    /// The capture as a file: magic number, version 2.4, two zeros, longest frame, Ethernet; then of each frame
    /// seconds, microseconds, bytes here, bytes on the wire.
    pub(crate) fn to_pcap(&self) -> Vec<u8> {
        let mut file = Vec::new();
        for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
            file.extend(word.to_le_bytes());
        }
        for (at, frame) in &self.0 {
            let (at, length) = (START + at, frame.len() as u32);
            for word in [(at / 1_000_000) as u32, (at % 1_000_000) as u32, length, length] {
                file.extend(word.to_le_bytes());
            }
            file.extend(frame);
        }
        file
    }

    /// Reads a file; times count from its first frame.
    pub(crate) fn from_pcap(file: &[u8]) -> Self {
        let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("it fits"));
        assert_eq!((word(0), word(20)), (0xa1b2_c3d4, 1), "a capture of Ethernet");
        let (mut at, mut frames) = (24, Vec::new());
        while at < file.len() {
            let length = word(at + 8) as usize;
            let moment = u64::from(word(at)) * 1_000_000 + u64::from(word(at + 4));
            frames.push((moment, file[at + 16..at + 16 + length].to_vec()));
            at += 16 + length;
        }
        let first = frames.first().map_or(0, |(moment, _)| *moment);
        Self(frames.into_iter().map(|(moment, frame)| (moment - first, frame)).collect())
    }

    /// Plays it to a detector that is asked once a second, and stops it so many seconds behind the last frame.
    pub(crate) fn play(&self, rules: Rules, open: &[(Proto, u16)], after: u64) -> Told {
        let played = Self::from_pcap(&self.to_pcap());
        let open: HashSet<(Proto, u16)> = open.iter().copied().collect();
        let mut detector = Detector::new(rules);
        let mut told = Told::default();
        let mut second = 0;
        let begin = self.0.first().map_or(0, |(at, _)| *at);
        let moment = |at: u64| Moment { now: 5000 + at / 1000, wall: (START + begin + at) as i64 };
        for (at, frame) in &played.0 {
            while second + 1_000_000 <= *at {
                second += 1_000_000;
                told.scans.extend(detector.due(moment(second)));
            }
            // As the capture of the sensor does.
            let frame = &frame[..frame.len().min(512)];
            let Some(packet) = Packet::parse(frame) else { continue };
            let direction = match frame {
                frame if frame[6..12] == US => Direction::Outgoing,
                frame if frame[..6] == US => Direction::Incoming,
                frame if frame[..6] == ALL => Direction::Broadcast,
                _ => Direction::Multicast,
            };
            let observed =
                detector.observe(&packet, direction, |_, proto, port| open.contains(&(proto, port)), moment(*at));
            told.compatible.extend(observed.compatible.map(|kind| kind.number));
            told.scans.extend(observed.scan);
        }
        for _ in 0..after {
            second += 1_000_000;
            told.scans.extend(detector.due(moment(second)));
        }
        told.unfinished = detector.finish(moment(second));
        told
    }
}

/// What a detector told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) compatible: Vec<i64>,
    pub(crate) scans: Vec<Summary>,
    /// What it told only because it was stopped.
    pub(crate) unfinished: Vec<Summary>,
}

impl Told {
    /// The one scan that began and ended, as it ended.
    pub(crate) fn only(&self) -> &Summary {
        let states: Vec<State> = self.scans.iter().map(|scan| scan.state).collect();
        assert!(self.unfinished.is_empty(), "{:?}", self.unfinished);
        assert_eq!(states.first(), Some(&State::Begun), "{:#?}", self.scans);
        assert!(states[1..states.len() - 1].iter().all(|state| *state == State::GoingOn), "{states:?}");
        assert_eq!(states.last(), Some(&State::Ended), "{states:?}");
        assert!(self.scans.iter().all(|scan| scan.id == self.scans[0].id), "one scan");
        self.scans.last().expect("it fits")
    }

    /// That nothing was told.
    pub(crate) fn nothing(&self) {
        assert!(self.compatible.is_empty() && self.scans.is_empty() && self.unfinished.is_empty(), "{self:#?}");
    }
}

/// An address for a test.
pub(crate) fn address(text: &str) -> IpAddr {
    text.parse().expect("it fits")
}
