//! What a packet is part of, and how much of it is reported.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use aviary_event::Kind;

use crate::events;
use crate::packet::{Flags, Packet};

/// Sources that are remembered.
const SOURCES: usize = 4096;
/// What may come at once beyond a rate: the burst that the kernel's `limit` match has by default.
const BURST: u64 = 5;
/// Packets a second that are reported of all sources together, and a second's worth at once: a flood with made-up
/// sources must not fill the journal.
const OVERALL: u64 = 100;
/// Parts of a packet, so many that a rate an hour gains whole ones in every millisecond.
const WHOLE: u64 = HOUR;
const SECOND: u64 = 1000;
const HOUR: u64 = 3_600_000;

/// What the operator asked for.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// SYN packets a second of one source.
    pub syn_rate: u64,
    /// Packets of nmap's making a second of one source.
    pub nmap_rate: u64,
    /// Packets an hour on the loopback.
    pub loopback_rate: u64,
    /// Whether scans from this machine are passed over.
    pub ignore_localhost: bool,
    /// Ports that are passed over.
    pub ignore_ports: HashSet<u16>,
}

/// A packet that is to be reported.
#[derive(Clone, Copy, Debug)]
pub struct Finding {
    /// As what.
    pub kind: Kind,
}

/// Judges packets one after the other.
#[derive(Debug, Default)]
pub struct Detector {
    rules: Option<Rules>,
    sources: HashMap<(IpAddr, bool), Bucket>,
    overall: Option<Bucket>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Packets that may be reported, in [`WHOLE`]ths.
    room: u64,
    seen: u64,
}

impl Detector {
    /// A detector that has seen nothing.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self { rules: Some(rules), sources: HashMap::new(), overall: None }
    }

    /// Replaces the rules; without any it finds nothing.
    pub fn set_rules(&mut self, rules: Option<Rules>) {
        self.rules = rules;
    }

    /// What a packet that came in is, if it is to be reported. `open` says whether something listens on a
    /// port; `now` is milliseconds of any clock that does not go back.
    pub fn judge(&mut self, packet: &Packet, open: impl FnOnce(u16) -> bool, now: u64) -> Option<Finding> {
        let kind = kind_of(packet.tcp.flags)?;
        let rules = self.rules.as_ref()?;
        let is_syn = std::ptr::eq(kind, events::SYN);
        let port = packet.tcp.destination;
        let is_local = packet.source.is_loopback() || packet.source == packet.destination;
        if is_local && rules.ignore_localhost || rules.ignore_ports.contains(&port) {
            return None;
        }
        // A handshake with a service is the service's to report.
        if is_syn && open(port) || packet.destination.is_multicast() {
            return None;
        }
        let (rate, per) = match (is_local, is_syn) {
            (true, _) => (rules.loopback_rate, HOUR),
            (false, true) => (rules.syn_rate, SECOND),
            (false, false) => (rules.nmap_rate, SECOND),
        };
        let own = self.has_room((packet.source, is_syn), rate, per, now);
        (own && take(self.overall.get_or_insert_with(|| full(OVERALL, now)), OVERALL, OVERALL, SECOND, now))
            .then_some(Finding { kind })
    }

    fn has_room(&mut self, source: (IpAddr, bool), rate: u64, per: u64, now: u64) -> bool {
        if self.sources.len() >= SOURCES && !self.sources.contains_key(&source) {
            // Whoever was quiet for long is as good as new.
            self.sources.retain(|_, bucket| now.saturating_sub(bucket.seen) < 10_000);
            if self.sources.len() >= SOURCES {
                self.sources.clear();
            }
        }
        take(self.sources.entry(source).or_insert_with(|| full(BURST, now)), BURST, rate, per, now)
    }
}

/// A bucket that nothing was taken from.
const fn full(burst: u64, now: u64) -> Bucket {
    Bucket { room: burst.saturating_mul(WHOLE), seen: now }
}

/// Takes one packet from a bucket that regains `rate` of them in `per` milliseconds; whether there was one.
fn take(bucket: &mut Bucket, burst: u64, rate: u64, per: u64, now: u64) -> bool {
    let passed = now.saturating_sub(bucket.seen);
    let gained = passed.saturating_mul(rate).saturating_mul(WHOLE).checked_div(per).unwrap_or(0);
    // Time too short for a whole part counts on.
    if gained > 0 {
        bucket.room = bucket.room.saturating_add(gained).min(burst.saturating_mul(WHOLE));
        bucket.seen = now;
    }
    let has = bucket.room >= WHOLE;
    if has {
        bucket.room = bucket.room.saturating_sub(WHOLE);
    }
    has
}

/// The kind that flags mean when they come without a connection; `None` for what any connection sends.
fn kind_of(flags: Flags) -> Option<Kind> {
    const XMAS: u8 = Flags::FIN | Flags::PSH | Flags::URG;
    const NMAP_OS: u8 = XMAS | Flags::SYN;
    match flags.classic() {
        Flags::SYN => Some(events::SYN),
        NMAP_OS => Some(events::NMAP_OS),
        0 => Some(events::NULL),
        XMAS => Some(events::XMAS),
        Flags::FIN => Some(events::FIN),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::tests::frame;

    fn rules() -> Rules {
        Rules { syn_rate: 5, nmap_rate: 5, loopback_rate: 3, ..Rules::default() }
    }

    fn packet(flags: u8) -> Packet {
        Packet::parse(&frame(flags)).expect("a packet")
    }

    fn number(detector: &mut Detector, packet: &Packet, open: bool, now: u64) -> Option<i64> {
        detector.judge(packet, |_| open, now).map(|finding| finding.kind.number)
    }

    #[test]
    fn flags_say_what_it_is() {
        let mut detector = Detector::new(rules());
        for (flags, kind) in [
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
        ] {
            assert_eq!(number(&mut detector, &packet(flags), false, 0), kind, "{flags:#x}");
        }
    }

    #[test]
    fn a_handshake_with_a_service_is_no_scan() {
        let mut detector = Detector::new(rules());
        assert_eq!(number(&mut detector, &packet(2), true, 0), None);
        assert_eq!(number(&mut detector, &packet(1), true, 0), Some(5005), "nor is a stray FIN a handshake");
    }

    #[test]
    fn rates_hold_per_source() {
        let mut detector = Detector::new(rules());
        let count = |detector: &mut Detector, now| {
            (0..100).filter(|_| detector.judge(&packet(2), |_| false, now).is_some()).count()
        };
        assert_eq!(count(&mut detector, 0), 5);
        assert_eq!(count(&mut detector, 200), 1);
        assert_eq!(count(&mut detector, 1200), 5);
        let mut other = packet(2);
        other.source = IpAddr::from([192, 168, 1, 99]);
        assert!(detector.judge(&other, |_| false, 1200).is_some(), "another source has its own");
    }

    #[test]
    fn the_loopback_has_a_rate_an_hour_or_none() {
        let mut local = packet(2);
        local.source = IpAddr::from([127, 0, 0, 1]);
        let mut detector = Detector::new(rules());
        let count = |detector: &mut Detector, now| {
            (0..100).filter(|_| detector.judge(&local, |_| false, now).is_some()).count()
        };
        assert_eq!(count(&mut detector, 0), 5);
        assert_eq!(count(&mut detector, HOUR / 3), 1);
        detector.set_rules(Some(Rules { ignore_localhost: true, ..rules() }));
        assert_eq!(count(&mut detector, 10 * HOUR), 0);
    }

    #[test]
    fn a_flood_of_made_up_sources_is_bounded_and_slow_gains_count() {
        let mut detector = Detector::new(rules());
        let mut one = packet(2);
        let mut found = 0;
        for number in 0..50_000_u32 {
            one.source = IpAddr::V4((number + 0x0a00_0000).into());
            // Ten seconds, five packets a millisecond.
            found += usize::from(detector.judge(&one, |_| false, u64::from(number / 5)).is_some());
        }
        assert!((1000..=1200).contains(&found), "{found}");
        let mut local = packet(2);
        local.source = IpAddr::from([127, 0, 0, 1]);
        let mut detector = Detector::new(rules());
        let found = (0..=HOUR / 3).filter(|now| detector.judge(&local, |_| false, *now).is_some()).count();
        assert_eq!(found, 6, "one more after a third of an hour, however often it is asked");
    }

    #[test]
    fn ports_are_passed_over() {
        let mut detector = Detector::new(Rules { ignore_ports: [23].into(), ..rules() });
        assert_eq!(number(&mut detector, &packet(0), false, 0), None);
    }

    #[test]
    fn sources_are_bounded() {
        let mut detector = Detector::new(rules());
        let mut one = packet(2);
        for number in 0..100_000_u32 {
            one.source = IpAddr::V4(number.into());
            detector.judge(&one, |_| false, u64::from(number));
        }
        assert!(detector.sources.len() <= SOURCES);
    }
}
