//! What a packet is part of, and how much of it is reported.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use aviary_event::Kind;

use crate::events;
use crate::flows::{Flows, number};
use crate::packet::{Flags, Packet, Transport};
use crate::probe::{self, Probe};
use crate::rate::{BURST, Bucket, HOUR, SECOND};
use crate::rules::{Events, Rules};
use crate::scan::{Hit, Proto, Scan, Standing, Stock};
use crate::source::Source;
use crate::sources::Sources;
use crate::summary::{State, Summary};
use crate::tool::Tool;

/// Packets a second that are reported of all sources together, and a second's worth at once: a flood with made-up
/// sources must not fill the journal.
const OVERALL: u64 = 100;
/// Scans a second of which anybody is told for the first time, and so many at once, for the same reason.
const TOLD: u64 = 16;
const TOLD_AT_ONCE: u64 = 64;
/// Ends of scans that had to make room, until they are asked for.
const ENDED: usize = 256;

/// How a frame met us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// For this machine.
    Incoming,
    /// For everybody.
    Broadcast,
    /// For a group.
    Multicast,
    /// From this machine.
    Outgoing,
}

/// When something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds of any clock that does not go back.
    pub now: u64,
    /// Microseconds since 1970, for people.
    pub wall: i64,
}

/// What is to be reported of a packet.
#[derive(Debug, Default)]
pub struct Observed {
    /// The packet itself, as this kind of OpenCanary's.
    pub compatible: Option<Kind>,
    /// The scan that it makes known.
    pub scan: Option<Summary>,
}

/// Judges packets one after the other. Memory is bounded whatever comes: at most 4,096 sources, 256 ports in order
/// of each scan, and bitmaps for 64 scans with more ports than that.
#[derive(Debug)]
pub struct Detector {
    rules: Option<Rules>,
    state: Memory,
}

#[derive(Debug)]
struct Memory {
    sources: Sources,
    flows: Flows,
    stock: Stock,
    overall: Option<Bucket>,
    told: Option<Bucket>,
    ended: Vec<Summary>,
    /// Scans of which nobody was told.
    untold: u64,
    /// Whether any source may have acknowledgements that wait for an answer of ours.
    waiting: bool,
    ids: RandomState,
    begun: u64,
}

impl Detector {
    /// A detector that has seen nothing.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules: Some(rules),
            state: Memory {
                sources: Sources::new(),
                flows: Flows::new(),
                stock: Stock::new(),
                overall: None,
                told: None,
                ended: Vec::new(),
                untold: 0,
                waiting: false,
                ids: RandomState::new(),
                begun: 0,
            },
        }
    }

    /// Replaces the rules; without any it finds nothing, and ends what it found.
    pub fn set_rules(&mut self, rules: Option<Rules>) {
        self.rules = rules;
    }

    /// Scans that came and went while too many others did, so that nobody was told of them.
    #[must_use]
    pub const fn untold(&self) -> u64 {
        self.state.untold
    }

    /// Bytes that it holds, by its own account: all that grows, without what an allocator adds and without what it
    /// is about to tell.
    #[must_use]
    pub fn memory(&self) -> usize {
        size_of::<Self>().saturating_add(self.state.sources.memory()).saturating_add(self.state.flows.memory())
    }

    /// Looks at a packet. `open` says whether something listens at an address and port of ours.
    pub fn observe(
        &mut self,
        packet: &Packet<'_>,
        direction: Direction,
        open: impl FnMut(IpAddr, Proto, u16) -> bool,
        moment: Moment,
    ) -> Observed {
        match (direction, &self.rules) {
            (Direction::Outgoing, rules) => {
                Observed { compatible: None, scan: self.state.sent(rules.as_ref(), packet, moment) }
            }
            (Direction::Incoming, Some(rules)) => self.state.received(rules, packet, open, moment),
            _ => Observed::default(),
        }
    }

    /// What is to be told because time passed: of scans that go on or are over. To be asked about once a second.
    pub fn due(&mut self, moment: Moment) -> Vec<Summary> {
        let mut told = std::mem::take(&mut self.state.ended);
        match &self.rules {
            Some(rules) => self.state.pass(rules, moment, &mut told),
            None => told.extend(self.finish(moment)),
        }
        told
    }

    /// Ends every scan, as when the canary stops.
    pub fn finish(&mut self, moment: Moment) -> Vec<Summary> {
        for place in self.state.sources.places() {
            if let Some(mut source) = self.state.sources.remove(place) {
                self.state.end(&mut source, moment.now);
            }
        }
        std::mem::take(&mut self.state.ended)
    }
}

impl Memory {
    fn received(
        &mut self,
        rules: &Rules,
        packet: &Packet<'_>,
        mut open: impl FnMut(IpAddr, Proto, u16) -> bool,
        moment: Moment,
    ) -> Observed {
        let nothing = Observed::default();
        let Some(probe) = Probe::of(packet) else { return nothing };
        let is_local = packet.source.is_loopback() || packet.source == packet.destination;
        if packet.is_for_many()
            || packet.source.is_unspecified()
            || is_local && rules.ignore_localhost
            || packet.ports().is_some_and(|(_, port)| rules.ignore_ports.contains(&port))
            || rules.ignore_sources.contains(packet.source)
        {
            return nothing;
        }
        let mut listens = |proto, port| {
            let is_decoy = proto == Proto::Tcp && rules.is_decoy(packet.destination, port);
            !is_decoy && open(packet.destination, proto, port)
        };
        let Some((standing, is_served)) = self.standing(packet, probe, &mut listens, moment) else { return nothing };
        let kind = packet.tcp().and_then(|tcp| kind_of(tcp.flags)).filter(|_| !is_served);
        let kind = kind.filter(|_| rules.events != Events::Aggregated);
        if rules.events == Events::Compatible && kind.is_none() {
            return nothing;
        }
        let (place, evicted) = self.sources.see(packet.source, moment.now);
        if let Some(mut evicted) = evicted {
            self.end(&mut evicted, moment.now);
        }
        let compatible = kind.filter(|kind| self.may_report(rules, place, kind, is_local, moment.now));
        let scan = if rules.events == Events::Compatible {
            None
        } else {
            let (proto, ports) = match &packet.transport {
                Transport::Udp(_) => (Proto::Udp, packet.ports()),
                _ => (Proto::Tcp, packet.ports()),
            };
            let hit = Hit {
                host: packet.destination,
                port: ports.map(|(_, port)| (proto, port)),
                from_port: ports.map(|(port, _)| port),
                probe,
                tool: Tool::of(packet, probe),
                standing,
                count: 1,
                at: moment.now,
                wall: moment.wall,
            };
            self.note(rules, place, hit, moment)
        };
        Observed { compatible, scan }
    }

    /// What a probe means, and whether a service stands where it goes; `None` when a conversation explains it.
    fn standing(
        &mut self,
        packet: &Packet<'_>,
        probe: Probe,
        listens: &mut impl FnMut(Proto, u16) -> bool,
        moment: Moment,
    ) -> Option<(Standing, bool)> {
        Some(match &packet.transport {
            Transport::Tcp(tcp) if tcp.flags.classic() == Flags::SYN && listens(Proto::Tcp, tcp.destination) => {
                self.flows.connection(packet.source, tcp.source, tcp.destination, seconds(moment));
                (if probe == Probe::Os { Standing::Odd } else { Standing::Served }, true)
            }
            Transport::Tcp(tcp) => match probe {
                Probe::Syn | Probe::Connect => (Standing::Target, false),
                Probe::Ack | Probe::Maimon => {
                    if self.flows.has_connection(packet.source, tcp.source, tcp.destination) {
                        return None;
                    }
                    (Standing::Waiting, false)
                }
                _ => (Standing::Odd, false),
            },
            Transport::Udp(udp) => {
                if self.flows.is_answer(packet.source, udp.destination, seconds(moment)) {
                    return None;
                }
                match probe {
                    Probe::Os => (Standing::Odd, false),
                    _ if listens(Proto::Udp, udp.destination) => (Standing::Served, true),
                    _ => (Standing::Target, false),
                }
            }
            Transport::Icmp(_) => match probe::echo(packet) {
                Some(true) if probe != Probe::Os => (Standing::Ping, false),
                Some(false) => (Standing::Target, false),
                _ => (Standing::Odd, false),
            },
            Transport::Cut(_) => (Standing::Odd, false),
        })
    }

    /// Whether one more packet of a source may be reported by itself.
    fn may_report(&mut self, rules: &Rules, place: u32, kind: &Kind, is_local: bool, now: u64) -> bool {
        let is_syn = std::ptr::eq(*kind, events::SYN);
        let (rate, per) = match (is_local, is_syn) {
            (true, _) => (rules.loopback_rate, HOUR),
            (false, true) => (rules.syn_rate, SECOND),
            (false, false) => (rules.nmap_rate, SECOND),
        };
        let Some(source) = self.sources.at(place) else { return false };
        let own = if is_syn { &mut source.syn } else { &mut source.nmap };
        own.take(BURST, rate, per, now)
            && self.overall.get_or_insert(Bucket::full(OVERALL, now)).take(OVERALL, OVERALL, SECOND, now)
    }

    /// Counts a packet into its source's scan, or into what may become one.
    fn note(&mut self, rules: &Rules, place: u32, hit: Hit, moment: Moment) -> Option<Summary> {
        let source = self.sources.at(place)?;
        if let Some(scan) = &mut source.scan {
            scan.note(&hit, &mut self.stock);
            return None;
        }
        source.attempt(hit, rules.window);
        self.waiting |= hit.standing == Standing::Waiting;
        self.begin(rules, place, moment)
    }

    /// Makes a scan of what a source did, if it is enough, and tells of it.
    fn begin(&mut self, rules: &Rules, place: u32, moment: Moment) -> Option<Summary> {
        let source = self.sources.at(place)?;
        if source.scan.is_some() || !source.does_scan(rules.threshold) {
            return None;
        }
        let (attempts, last) = source.take_attempts();
        let first = *attempts.first()?;
        self.begun = self.begun.wrapping_add(1);
        // Twelve hexadecimal digits.
        let id = self.ids.hash_one((number(source.address), first.wall, self.begun)) >> 16;
        let mut scan = Box::new(Scan::new(id, first));
        for attempt in &attempts {
            scan.note(attempt, &mut self.stock);
        }
        scan.seen(last.0, last.1);
        let address = source.address;
        let told = self.may_tell(moment.now).then(|| scan.tell(address, State::Begun, moment.now));
        if let Some(source) = self.sources.at(place) {
            source.scan = Some(scan);
        }
        told
    }

    /// Whether one more scan may be told of for the first time.
    fn may_tell(&mut self, now: u64) -> bool {
        let told = self.told.get_or_insert(Bucket::full(TOLD_AT_ONCE, now));
        told.take(TOLD_AT_ONCE, TOLD, SECOND, now)
    }

    /// Ends a source's scan, if it has one.
    fn end(&mut self, source: &mut Source, now: u64) {
        let Some(mut scan) = source.scan.take() else { return };
        scan.release(&mut self.stock);
        // What was told as begun is told as ended: there are no more of these than scans at once.
        let may = scan.is_told() || self.ended.len() < ENDED && self.may_tell(now);
        if may {
            self.ended.push(scan.tell(source.address, State::Ended, now));
        } else {
            self.untold = self.untold.saturating_add(1);
        }
    }

    /// Something that we sent: it explains what comes back.
    fn sent(&mut self, rules: Option<&Rules>, packet: &Packet<'_>, moment: Moment) -> Option<Summary> {
        match &packet.transport {
            Transport::Tcp(tcp) => {
                let is_reset = tcp.flags.has(Flags::RST);
                if !is_reset {
                    self.flows.connection(packet.destination, tcp.destination, tcp.source, seconds(moment));
                }
                let rules = rules.filter(|_| self.waiting)?;
                let place = self.sources.find(packet.destination)?;
                self.sources.at(place)?.answered(tcp.source, is_reset);
                self.begin(rules, place, moment)
            }
            Transport::Udp(udp) => {
                let now = seconds(moment);
                if packet.is_for_many() {
                    self.flows.datagram(None, udp.source, now);
                } else {
                    self.flows.datagram(Some(packet.destination), udp.source, now);
                }
                None
            }
            Transport::Icmp(_) | Transport::Cut(_) => None,
        }
    }

    fn pass(&mut self, rules: &Rules, moment: Moment, told: &mut Vec<Summary>) {
        let now = moment.now;
        let mut waiting = false;
        for place in self.sources.places() {
            let Some(source) = self.sources.at(place) else { continue };
            if self.waiting && source.scan.is_none() && source.waits() {
                source.give_up_waiting(now);
                waiting |= source.waits();
            }
            let address = source.address;
            let Some(scan) = &mut source.scan else {
                if now.saturating_sub(source.seen) > rules.window {
                    self.sources.remove(place);
                }
                continue;
            };
            if scan.is_over(rules.quiet, now) {
                let mut source = Source::new(address, now);
                source.scan = self.sources.at(place).and_then(|known| known.scan.take());
                self.end(&mut source, now);
            } else if scan.has_news(rules.update, now) {
                told.push(scan.tell(address, State::GoingOn, now));
            } else if !scan.is_told()
                && self.told.get_or_insert(Bucket::full(TOLD_AT_ONCE, now)).take(TOLD_AT_ONCE, TOLD, SECOND, now)
            {
                told.push(scan.tell(address, State::Begun, now));
            }
        }
        self.waiting = waiting;
        told.append(&mut self.ended);
    }
}

fn seconds(moment: Moment) -> u32 {
    u32::try_from(moment.now.checked_div(SECOND).unwrap_or(0)).unwrap_or(u32::MAX)
}

/// OpenCanary's kind that flags mean when they come without a connection; `None` for what any connection sends.
fn kind_of(flags: Flags) -> Option<Kind> {
    match flags.classic() {
        Flags::SYN => Some(events::SYN),
        probe::NMAP_OS => Some(events::NMAP_OS),
        0 => Some(events::NULL),
        probe::XMAS => Some(events::XMAS),
        Flags::FIN => Some(events::FIN),
        _ => None,
    }
}
