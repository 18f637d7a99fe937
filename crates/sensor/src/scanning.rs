//! Watches the wire: a thread reads the packet socket, feeds what it tells of peers to [`Who`], and lets the detector
//! of `scan` judge.
//!
//! A thread of its own and not a task: under a flood the kernel shares the processor between it and the
//! services, and what it cannot keep up with is dropped and counted.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aviary_config::Settings;
use aviary_event::{Origin, Port};
use aviary_scan::{
    Detector, Direction, Fingerprint, Flags, Moment, Observed, Packet, Proto, Rules, Summary, Transport,
};
use aviary_wire::names::{self, Sender};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::capture::{Capture, Frame, Scope, Way};
use crate::clock;
use crate::machine::Machine;
use crate::own::OwnAddresses;
use crate::ports::OpenPorts;
use crate::reporter::Reporter;
use crate::who::{self, Sighting};

/// Time between two looks at what is due.
const TURN: Duration = Duration::from_secs(1);
/// Batches read before what is due is looked at.
const ROUND: usize = 256;
/// Frames that are remembered, to know one that is seen again on another interface: a VLAN's, a bridge's.
const SEEN_AGAIN: usize = 32;

/// What watching needs of the settings.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// How scans are watched for, when they are.
    pub scans: Option<Rules>,
    /// Whether peers' packets are looked at anyway, to know them.
    pub newcomers: bool,
}

impl Wanted {
    /// Reads them; the machines answer at ports of their own where no service stands.
    #[must_use]
    pub(crate) fn of(settings: &Settings, machines: &[(Arc<Machine>, &Settings)]) -> Self {
        let mut decoys = HashSet::new();
        for (machine, settings) in machines {
            let ports = aviary_services::answered_ports(settings);
            for address in &machine.addresses {
                let address = address.filter(|address| !address.is_unspecified());
                decoys.extend(ports.iter().map(|port| (address, *port)));
            }
        }
        let scans = Rules::of(settings).map(|rules| Rules { decoys, ..rules });
        Self { scans, newcomers: settings.flag("aviary.capture") }
    }

    const fn scope(&self) -> Option<Scope> {
        match (&self.scans, self.newcomers) {
            (Some(_), _) => Some(Scope::Scans),
            (None, true) => Some(Scope::Newcomers),
            (None, false) => None,
        }
    }
}

/// A packet socket that is open and maybe watched.
#[derive(Debug)]
pub(crate) struct Scanner {
    shared: Arc<Shared>,
    capture: Mutex<Option<Capture>>,
    /// Closed to stop the thread.
    stop: Mutex<Option<UnixStream>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// What the thread and the rest of the canary share.
#[derive(Debug)]
struct Shared {
    detector: Mutex<Detector>,
    /// A change that the thread has not applied yet.
    scope: Mutex<Option<Scope>>,
    /// Ports of this canary's services.
    served: Mutex<HashSet<(Proto, u16)>>,
    packets: AtomicU64,
    dropped: AtomicU64,
}

/// What was seen since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Packets that passed the filter.
    pub packets: u64,
    /// Packets that there was no room for.
    pub dropped: u64,
    /// Scans that were too many to be told of.
    pub untold: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Scanner {
    /// Opens the socket, which needs CAP_NET_RAW: before privileges are given up. `None` when nothing is to be
    /// watched.
    ///
    /// # Errors
    /// What the system says, with what to do.
    pub(crate) fn open(wanted: &Wanted) -> Option<Result<Self, String>> {
        let scope = wanted.scope()?;
        let capture = Capture::open(scope).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => {
                "packets may not be seen by this user; start as root, or give the program CAP_NET_RAW".to_owned()
            }
            _ => format!("packets cannot be seen: {error}"),
        });
        let mut detector = Detector::new(Rules::default());
        detector.set_rules(wanted.scans.clone());
        Some(capture.map(|capture| Self {
            shared: Arc::new(Shared {
                detector: Mutex::new(detector),
                scope: Mutex::default(),
                served: Mutex::default(),
                packets: AtomicU64::new(0),
                dropped: AtomicU64::new(0),
            }),
            capture: Mutex::new(Some(capture)),
            stop: Mutex::default(),
            thread: Mutex::default(),
        }))
    }

    /// Replaces the rules.
    pub(crate) fn set(&self, wanted: &Wanted) {
        lock(&self.shared.detector).set_rules(wanted.scans.clone());
        *lock(&self.shared.scope) = Some(wanted.scope().unwrap_or(Scope::Newcomers));
    }

    /// Names the ports at which services stand, whose visitors are remembered.
    pub(crate) fn serve(&self, ports: impl Iterator<Item = (Proto, u16)>) {
        *lock(&self.shared.served) = ports.collect();
    }

    /// What was seen since the start.
    #[must_use]
    pub(crate) fn seen(&self) -> Seen {
        Seen {
            packets: self.shared.packets.load(Ordering::Relaxed),
            dropped: self.shared.dropped.load(Ordering::Relaxed),
            untold: lock(&self.shared.detector).untold(),
        }
    }

    /// Begins to watch.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn watch(&self, reporter: Arc<Reporter>) -> io::Result<()> {
        let Some(capture) = lock(&self.capture).take() else { return Ok(()) };
        let (ours, theirs) = UnixStream::pair()?;
        let shared = Arc::clone(&self.shared);
        let thread =
            std::thread::Builder::new().name("capture".to_owned()).stack_size(256 * 1024).spawn(move || {
                let result = Watch::new(capture, theirs, shared, reporter).run();
                if let Err(error) = result {
                    tracing::error!(%error, "packets are no longer seen: no scans are reported");
                }
            })?;
        *lock(&self.stop) = Some(ours);
        *lock(&self.thread) = Some(thread);
        Ok(())
    }

    /// Stops watching; scans that go on are told of as ended before this returns. Blocks for a moment.
    pub(crate) fn stop(&self) {
        drop(lock(&self.stop).take());
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
    }
}

/// The thread's own.
struct Watch {
    capture: Capture,
    stop: UnixStream,
    shared: Arc<Shared>,
    reporter: Arc<Reporter>,
    start: Instant,
    eyes: Eyes,
}

/// All that looking at a frame needs.
struct Eyes {
    open: OpenPorts,
    own: OwnAddresses,
    names: HashMap<u32, String>,
    again: Again,
}

impl Watch {
    fn new(capture: Capture, stop: UnixStream, shared: Arc<Shared>, reporter: Arc<Reporter>) -> Self {
        let mut eyes = Eyes {
            open: OpenPorts::default(),
            own: OwnAddresses::default(),
            names: HashMap::new(),
            again: Again::default(),
        };
        // Looked up now, which the first packet then need not wait for.
        let _ = eyes.own.contains(IpAddr::from([0, 0, 0, 0]));
        Self { capture, stop, shared, reporter, start: Instant::now(), eyes }
    }

    fn moment(start: Instant) -> Moment {
        let now = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        Moment { now, wall: clock::now().as_micros() }
    }

    fn run(mut self) -> io::Result<()> {
        let mut turned = Instant::now();
        loop {
            if self.wait(TURN.saturating_sub(turned.elapsed()))? {
                let ended = lock(&self.shared.detector).finish(Self::moment(self.start));
                self.tell(&ended);
                return Ok(());
            }
            if let Some(scope) = lock(&self.shared.scope).take() {
                self.capture.set_scope(scope)?;
            }
            for _ in 0..ROUND {
                match self.look() {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // An interface went down; the socket goes on with the others.
                    Err(error) if error.raw_os_error() == Some(nix::libc::ENETDOWN) => break,
                    Err(error) => return Err(error),
                }
            }
            if turned.elapsed() >= TURN {
                turned = Instant::now();
                let due = lock(&self.shared.detector).due(Self::moment(self.start));
                self.tell(&due);
            }
        }
    }

    /// Waits for packets, so long; whether to stop.
    fn wait(&self, patience: Duration) -> io::Result<bool> {
        let (capture, stop) = (self.capture.as_fd(), self.stop.as_fd());
        let mut sockets = [PollFd::new(capture, PollFlags::POLLIN), PollFd::new(stop, PollFlags::POLLIN)];
        let patience = PollTimeout::try_from(patience).unwrap_or(PollTimeout::ZERO);
        match poll(&mut sockets, patience) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(sockets[1].any().unwrap_or(false))
    }

    /// Looks at a batch; how many frames there were.
    fn look(&mut self) -> io::Result<usize> {
        let moment = Self::moment(self.start);
        let (eyes, reporter) = (&mut self.eyes, &self.reporter);
        let (mut detector, served) = (lock(&self.shared.detector), lock(&self.shared.served));
        let count = self.capture.read(|frame| eyes.look(frame, &mut detector, &served, reporter, moment))?;
        drop((detector, served));
        self.shared.packets.fetch_add(u64::try_from(count).unwrap_or(0), Ordering::Relaxed);
        self.shared.dropped.store(self.capture.dropped().into(), Ordering::Relaxed);
        Ok(count)
    }

    fn tell(&self, summaries: &[Summary]) {
        for summary in summaries {
            tell(&self.reporter, summary);
        }
    }
}

impl Eyes {
    fn look(
        &mut self,
        frame: Frame<'_>,
        detector: &mut Detector,
        served: &HashSet<(Proto, u16)>,
        reporter: &Reporter,
        moment: Moment,
    ) {
        let Some(packet) = Packet::parse(frame.bytes) else { return };
        let direction = match frame.way {
            Way::In => Direction::Incoming,
            Way::Broadcast => Direction::Broadcast,
            Way::Multicast => Direction::Multicast,
            Way::Out => Direction::Outgoing,
        };
        if direction == Direction::Outgoing {
            note_questions(&packet, reporter);
        } else {
            hear(&packet, reporter);
            // What passes through to others, as on a router or to containers, is not for us.
            if direction == Direction::Incoming && !self.own.contains(packet.destination) {
                return;
            }
        }
        if self.again.is(frame, &packet) {
            return;
        }
        // Before anything that takes time: the service may be about to tell of its visitor.
        if direction == Direction::Incoming && is_awaited(&packet, served) {
            meet(&packet, reporter);
        }
        let open = &mut self.open;
        let Observed { compatible, scan } =
            detector.observe(&packet, direction, |address, proto, port| open.contains(address, proto, port), moment);
        if direction == Direction::Incoming && (compatible.is_some() || scan.is_some()) {
            meet(&packet, reporter);
        }
        if let (Some(kind), Some((from, to))) = (compatible, packet.ports()) {
            let ends = (origin(packet.source, from), origin(packet.destination, to));
            let data = aviary_scan::log_data(&packet, self.interface(frame.interface));
            let addresses = (packet.source, packet.destination);
            reporter.report_observed(kind, data, aviary_scan::NAME, addresses, ends);
        }
        if let Some(summary) = scan {
            tell(reporter, &summary);
        }
    }

    fn interface(&mut self, index: u32) -> &str {
        self.names.entry(index).or_insert_with(|| {
            let name = nix::net::if_::if_indextoname(index).ok();
            name.and_then(|name| name.into_string().ok()).unwrap_or_default()
        })
    }
}

/// The sender's address in the Ethernet header.
fn mac_of(packet: &Packet<'_>) -> [u8; 6] {
    let [_, _, _, _, _, _, a, b, c, d, e, f, ..] = packet.ethernet;
    [a, b, c, d, e, f]
}

/// Whether an event of the packet's sender may follow that is not written at once: it goes to a service, or is an
/// acknowledgement of nothing, which counts only when this machine has answered with RST.
fn is_awaited(packet: &Packet<'_>, served: &HashSet<(Proto, u16)>) -> bool {
    match &packet.transport {
        Transport::Tcp(tcp) => match tcp.flags.classic() {
            Flags::SYN => served.contains(&(Proto::Tcp, tcp.destination)),
            flags => flags & Flags::ACK != 0,
        },
        Transport::Udp(udp) => served.contains(&(Proto::Udp, udp.destination)),
        _ => false,
    }
}

/// Remembers what a packet says of its sender.
fn meet(packet: &Packet<'_>, reporter: &Reporter) {
    let ttl = packet.ip.ttl();
    let frame = who::Frame { mac: Some(mac_of(packet)), ttl: Some(ttl), hops: Some(aviary_scan::distance(ttl)) };
    match (Fingerprint::of(packet), packet.ports()) {
        (Some(fingerprint), Some((from, to))) => {
            let Fingerprint { tcp, ja4t } = fingerprint;
            let sighting = Sighting { frame, tcp: Some(tcp), ja4t: Some(ja4t) };
            let ends = (SocketAddr::new(packet.source, from), SocketAddr::new(packet.destination, to));
            reporter.who().saw_syn(ends.0, ends.1, sighting);
        }
        _ => reporter.who().saw_frame(packet.source, frame),
    }
}

/// Remembers the name that a message tells, if it does.
fn hear(packet: &Packet<'_>, reporter: &Reporter) {
    let Transport::Udp(udp) = &packet.transport else { return };
    let sender = Sender { mac: Some(mac_of(packet)), address: packet.source, port: udp.source };
    if let Some(heard) = names::passive(sender, udp.destination, udp.payload) {
        reporter.who().saw_name(heard.mac, heard.address, &heard.name, heard.from);
    }
}

/// Remembers what this machine asks others for: who answers to that tells no name of its own.
fn note_questions(packet: &Packet<'_>, reporter: &Reporter) {
    let Transport::Udp(udp) = &packet.transport else { return };
    if names::PORTS.contains(&udp.destination) {
        for name in names::asked(udp.payload) {
            reporter.who().asked_for(&name);
        }
    }
}

fn origin(host: IpAddr, port: u16) -> Origin {
    Origin { host: host.to_canonical().to_string(), port: Port::Text(port.to_string()) }
}

fn tell(reporter: &Reporter, summary: &Summary) {
    let end = |host: IpAddr, port: Option<u16>| Origin {
        host: host.to_canonical().to_string(),
        port: Port::Number(port.map_or(-1, i64::from)),
    };
    let (host, port) = summary.target;
    let ends = (end(summary.source, summary.source_port), end(host, port));
    let data = aviary_scan::scan_data(summary);
    reporter.report_observed(aviary_scan::SCAN, data, aviary_scan::NAME, (summary.source, host), ends);
}

/// A number that copies of one packet share: its ends, its numbers and its flags.
fn identity(packet: &Packet<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (packet.source, packet.destination, packet.ip.id(), packet.ports()).hash(&mut hasher);
    match &packet.transport {
        Transport::Tcp(tcp) => (tcp.sequence, tcp.flags.0).hash(&mut hasher),
        Transport::Udp(udp) => (udp.payload_length, udp.payload.get(..16)).hash(&mut hasher),
        Transport::Icmp(icmp) => (icmp.kind, icmp.id, icmp.sequence).hash(&mut hasher),
        Transport::Cut(_) => {}
    }
    hasher.finish()
}

/// The last frames, to know one that comes by a second interface too.
#[derive(Debug, Default)]
struct Again {
    last: [(u64, u32); SEEN_AGAIN],
    next: usize,
}

impl Again {
    /// Whether the same packet was just seen on another interface.
    fn is(&mut self, frame: Frame<'_>, packet: &Packet<'_>) -> bool {
        let hash = identity(packet);
        if self.last.iter().any(|(seen, interface)| *seen == hash && *interface != frame.interface) {
            return true;
        }
        if let Some(place) = self.last.get_mut(self.next) {
            *place = (hash, frame.interface);
        }
        self.next = (self.next + 1) % SEEN_AGAIN;
        false
    }
}
