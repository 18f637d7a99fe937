//! A scan that goes on, and what is told of it.

use std::net::IpAddr;

use aviary_event::Timestamp;

use crate::ports::{Bitmaps, Ports};
use crate::probe::Probe;
use crate::rate::HOUR;
use crate::summary::{PortList, State, Summary};
use crate::tool::Tool;

/// Addresses of ours that are kept of one scan, and of all scans together beside the first of each.
const HOSTS: usize = 64;
const HOSTS_OF_ALL: usize = 16_384;
/// Bitmaps of all scans together: 512 KiB.
const BITMAPS: usize = 64;
/// Packets that must bear a program's mark.
const MARKS: u32 = 2;

/// Which protocol a port belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Proto {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// What a probe means for the question whether its source scans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing by itself: a service stands there, and reports who comes.
    Served,
    /// Nothing by itself, but for the second address of ours that is asked: an echo with data.
    Ping,
    /// One of many: nothing stands there.
    Target,
    /// No conversation has it.
    Odd,
    /// Like a target once the system answers with a reset; a connection may be older than what is remembered.
    Waiting,
}

/// A packet, or several alike, as a scan counts them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hit {
    pub(crate) host: IpAddr,
    pub(crate) port: Option<(Proto, u16)>,
    pub(crate) from_port: Option<u16>,
    pub(crate) probe: Probe,
    pub(crate) tool: Option<Tool>,
    pub(crate) standing: Standing,
    /// How many packets, and how many with the program's mark.
    pub(crate) count: u32,
    /// When the first came: milliseconds of the clock that does not go back, and the wall's microseconds.
    pub(crate) at: u64,
    pub(crate) wall: i64,
}

/// What all scans share, so that it is bounded.
#[derive(Debug)]
pub(crate) struct Stock {
    pub(crate) bitmaps: Bitmaps,
    hosts: usize,
}

impl Stock {
    pub(crate) const fn new() -> Self {
        Self { bitmaps: Bitmaps::new(BITMAPS), hosts: HOSTS_OF_ALL }
    }
}

/// A scan that is known as one.
#[derive(Debug)]
pub(crate) struct Scan {
    id: u64,
    first: Hit,
    tcp: Ports,
    udp: Ports,
    hosts: Vec<IpAddr>,
    more_hosts: bool,
    probes: [u32; Probe::ALL.len()],
    tools: [u32; Tool::ALL.len()],
    packets: u64,
    /// When the last packet came.
    last: u64,
    last_wall: i64,
    /// When something came last that keeps it going, and how many new ports and addresses there were till then.
    active: u64,
    targets: u64,
    /// When it was told of, and how many packets it had then; `None` if nobody was told.
    told: Option<(u64, u64)>,
}

impl Scan {
    pub(crate) fn new(id: u64, first: Hit) -> Self {
        Self {
            id,
            first,
            tcp: Ports::default(),
            udp: Ports::default(),
            hosts: Vec::new(),
            more_hosts: false,
            probes: [0; Probe::ALL.len()],
            tools: [0; Tool::ALL.len()],
            packets: 0,
            last: first.at,
            last_wall: first.wall,
            active: first.at,
            targets: 0,
            told: None,
        }
    }

    /// Bytes that it takes.
    pub(crate) const fn memory(&self) -> usize {
        let hosts = self.hosts.capacity().saturating_mul(size_of::<IpAddr>());
        let ports = self.tcp.memory().saturating_add(self.udp.memory());
        size_of::<Self>().saturating_add(hosts).saturating_add(ports)
    }

    /// Counts packets that belong to it.
    pub(crate) fn note(&mut self, hit: &Hit, stock: &mut Stock) {
        let new_port = match hit.port {
            Some((Proto::Tcp, port)) => self.tcp.insert(port, &mut stock.bitmaps),
            Some((Proto::Udp, port)) => self.udp.insert(port, &mut stock.bitmaps),
            None => false,
        };
        let is_new = self.note_host(hit.host, stock) || new_port;
        self.packets = self.packets.saturating_add(u64::from(hit.count));
        // A source that scans and is served beside would else never be done.
        if is_new || hit.standing != Standing::Served {
            self.active = hit.at;
        }
        self.targets = self.targets.saturating_add(u64::from(is_new));
        (self.last, self.last_wall) = (hit.at, hit.wall);
        let of_probe = Probe::ALL.iter().position(|probe| *probe == hit.probe);
        if let Some(count) = of_probe.and_then(|at| self.probes.get_mut(at)) {
            *count = count.saturating_add(hit.count);
        }
        let of_tool = Tool::ALL.iter().position(|tool| hit.tool == Some(*tool));
        if let Some(count) = of_tool.and_then(|at| self.tools.get_mut(at)) {
            *count = count.saturating_add(hit.count);
        }
    }

    /// Says when the last packet came, for attempts alike are remembered by the first of them alone.
    pub(crate) const fn seen(&mut self, at: u64, wall: i64) {
        (self.active, self.last, self.last_wall) = (at, at, wall);
    }

    fn note_host(&mut self, host: IpAddr, stock: &mut Stock) -> bool {
        if self.hosts.last() == Some(&host) || self.hosts.contains(&host) {
            return false;
        }
        // The first is everybody's own.
        if self.hosts.len() >= HOSTS || stock.hosts == 0 && !self.hosts.is_empty() {
            self.more_hosts = true;
            return false;
        }
        if !self.hosts.is_empty() {
            stock.hosts = stock.hosts.saturating_sub(1);
        }
        self.hosts.push(host);
        true
    }

    /// Gives back what it had of the stock.
    pub(crate) fn release(&mut self, stock: &mut Stock) {
        stock.hosts = stock.hosts.saturating_add(self.hosts.len().saturating_sub(1));
        stock.bitmaps.give_back(&mut self.tcp);
        stock.bitmaps.give_back(&mut self.udp);
    }

    /// Whether nothing has come for so long that it is over: `quiet` milliseconds, or four times the mean time
    /// between two new targets, which may make it an hour.
    pub(crate) fn is_over(&self, quiet: u64, now: u64) -> bool {
        let gaps = self.targets.saturating_sub(1).max(1);
        let mean = self.active.saturating_sub(self.first.at).checked_div(gaps).unwrap_or(0);
        now.saturating_sub(self.active) > quiet.max(mean.saturating_mul(4).min(HOUR))
    }

    /// Whether anybody was told of it.
    pub(crate) const fn is_told(&self) -> bool {
        self.told.is_some()
    }

    /// Whether it has news, and was not told of for `update` milliseconds.
    pub(crate) fn has_news(&self, update: u64, now: u64) -> bool {
        self.told.is_some_and(|(at, packets)| packets != self.packets && now.saturating_sub(at) >= update)
    }

    /// Tells of it.
    pub(crate) fn tell(&mut self, source: IpAddr, state: State, now: u64) -> Summary {
        self.told = Some((now, self.packets));
        let list = |ports: &Ports| PortList {
            order: ports.order().to_vec(),
            count: ports.count(),
            is_at_least: ports.is_at_least(),
        };
        let probes: Vec<(Probe, u32)> =
            Probe::ALL.into_iter().zip(self.probes).filter(|(_, packets)| *packets > 0).collect();
        // Of several as frequent, the first.
        let main = probes.iter().rev().max_by_key(|(_, packets)| *packets);
        let tools = Tool::ALL.into_iter().zip(self.tools).filter(|(_, packets)| *packets >= MARKS);
        Summary {
            id: self.id,
            state,
            source,
            source_port: self.first.from_port,
            target: (self.first.host, self.first.port.map(|(_, port)| port)),
            probe: main.map_or(self.first.probe, |(probe, _)| *probe),
            probes,
            tool: tools.max_by_key(|(_, packets)| *packets).map(|(tool, _)| tool),
            tcp: list(&self.tcp),
            udp: list(&self.udp),
            packets: self.packets,
            hosts: self.hosts.clone(),
            hosts_at_least: self.more_hosts,
            first: Timestamp::from_micros(self.first.wall),
            last: Timestamp::from_micros(self.last_wall),
            duration: self.last.saturating_sub(self.first.at),
        }
    }
}
