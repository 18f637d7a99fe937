//! Watches for port scans: a packet socket with a filter in the kernel, and the detector of `scan`.
//!
//! The filter lets TCP packets with neither ACK nor RST through, which no connection sends but to begin, so
//! that ordinary traffic costs nothing here.

use std::collections::HashSet;
use std::io;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aviary_config::Settings;
use aviary_event::{Origin, Port};
use aviary_scan::{Detector, Direction, Moment, Packet, Rules};
use nix::sys::socket::{LinkAddr, MsgFlags, recvmsg};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::watch;

use crate::ports;
use crate::reporter::Reporter;

/// `ETH_P_ALL` of Linux's `if_ether.h`: every protocol.
const EVERY_PROTOCOL: u16 = 0x0003;
/// `PACKET_HOST` of `if_packet.h`: a packet for this machine.
const FOR_US: u8 = 0;
/// `ARPHRD_ETHER` and `ARPHRD_LOOPBACK` of `if_arp.h`: frames that begin with an Ethernet header.
const WITH_HEADER: [u16; 2] = [1, 772];
/// Bytes of a frame that are read: headers, with room for options.
const HEAD: usize = 256;
/// Frames read before other tasks get their turn.
const ROUND: usize = 64;
/// How long the list of open ports is believed.
const FRESH: Duration = Duration::from_secs(1);
/// Receive buffer that is asked for.
const RECEIVE_BUFFER: usize = 1024 * 1024;

/// What scanning needs of the settings; `None` when it is off.
#[must_use]
pub(crate) fn rules(settings: &Settings) -> Option<Rules> {
    Rules::of(settings)
}

/// A packet socket that is open and maybe watched.
#[derive(Debug)]
pub(crate) struct Scanner {
    detector: Arc<Mutex<Detector>>,
    socket: Mutex<Option<Socket>>,
    seen: Arc<AtomicU64>,
}

impl Scanner {
    /// Opens the socket, which needs CAP_NET_RAW: before privileges are given up.
    ///
    /// # Errors
    /// What the system says, with what to do.
    pub(crate) fn open(rules: Rules) -> Result<Self, String> {
        let socket = open().map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => {
                "packets may not be seen by this user; start as root, or give the program CAP_NET_RAW".to_owned()
            }
            _ => format!("packets cannot be seen: {error}"),
        })?;
        Ok(Self {
            detector: Arc::new(Mutex::new(Detector::new(rules))),
            socket: Mutex::new(Some(socket)),
            seen: Arc::default(),
        })
    }

    /// Replaces the rules.
    pub(crate) fn set_rules(&self, rules: Option<Rules>) {
        self.detector.lock().unwrap_or_else(std::sync::PoisonError::into_inner).set_rules(rules);
    }

    /// Packets that passed the filter.
    #[must_use]
    pub(crate) fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }

    /// Watches until told to stop. Inside the runtime.
    pub(crate) fn watch(&self, reporter: Arc<Reporter>, stop: watch::Receiver<bool>) {
        let socket = self.socket.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let Some(socket) = socket else { return };
        let (detector, seen) = (Arc::clone(&self.detector), Arc::clone(&self.seen));
        drop(tokio::runtime::Handle::current().spawn(async move {
            if let Err(error) = run(socket, detector, seen, reporter, stop).await {
                tracing::error!(%error, "scans are no longer seen");
            }
        }));
    }
}

fn open() -> io::Result<Socket> {
    let protocol = Protocol::from(i32::from(EVERY_PROTOCOL.to_be()));
    let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), Some(protocol))?;
    socket.attach_filter(&FILTER)?;
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    Ok(socket)
}

/// Classic BPF over a frame with an Ethernet header. Instructions are (code, jump if true, jump if false,
/// operand), from `linux/filter.h`.
static FILTER: [SockFilter; 16] = [
    SockFilter::new(0x28, 0, 0, 12),      //  0 ldh [12]            EtherType
    SockFilter::new(0x15, 0, 7, 0x0800),  //  1 jeq IPv4, else to 9
    SockFilter::new(0x30, 0, 0, 23),      //  2 ldb [23]            protocol
    SockFilter::new(0x15, 0, 11, 6),      //  3 jeq TCP, else drop
    SockFilter::new(0x28, 0, 0, 20),      //  4 ldh [20]            fragment offset
    SockFilter::new(0x45, 9, 0, 0x1fff),  //  5 jset a later fragment: drop
    SockFilter::new(0xb1, 0, 0, 14),      //  6 ldxb 4*([14]&0xf)   header length
    SockFilter::new(0x50, 0, 0, 27),      //  7 ldb [x+27]          TCP flags
    SockFilter::new(0x05, 0, 0, 4),       //  8 jump to 13
    SockFilter::new(0x15, 0, 5, 0x86dd),  //  9 jeq IPv6, else drop
    SockFilter::new(0x30, 0, 0, 20),      // 10 ldb [20]            next header
    SockFilter::new(0x15, 0, 3, 6),       // 11 jeq TCP, else drop
    SockFilter::new(0x30, 0, 0, 67),      // 12 ldb [67]            TCP flags
    SockFilter::new(0x45, 1, 0, 0x14),    // 13 jset ACK or RST: drop
    SockFilter::new(0x06, 0, 0, 0x40000), // 14 take
    SockFilter::new(0x06, 0, 0, 0),       // 15 drop
];

async fn run(
    socket: Socket,
    detector: Arc<Mutex<Detector>>,
    seen: Arc<AtomicU64>,
    reporter: Arc<Reporter>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    // The runtime watches a descriptor only as one of its own kinds; nothing of UDP is asked of this one.
    let socket = UdpSocket::from_std(socket.into())?;
    let start = Instant::now();
    let mut open = OpenPorts::new();
    loop {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
            ready = socket.readable() => ready?,
        }
        for _ in 0..ROUND {
            let mut head = [0; HEAD];
            let Ok(received) = socket.try_io(Interest::READABLE, || receive(&socket, &mut head)) else { break };
            let Some((length, interface)) = received else { continue };
            let Some(packet) = head.get(..length).and_then(Packet::parse) else { continue };
            seen.fetch_add(1, Ordering::Relaxed);
            let now = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
            let moment = Moment { now, wall: crate::clock::now().as_micros() };
            let observed = {
                let mut detector = detector.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                detector.observe(&packet, Direction::Incoming, |_, _, port| open.contains(port), moment)
            };
            let (Some(kind), Some((from, to))) = (observed.compatible, packet.ports()) else { continue };
            let origin = |host: std::net::IpAddr, port: u16| Origin {
                host: host.to_canonical().to_string(),
                port: Port::Text(port.to_string()),
            };
            let ends = (origin(packet.source, from), origin(packet.destination, to));
            let data = aviary_scan::log_data(&packet, &interface);
            reporter.report_observed(kind, data, aviary_scan::NAME, packet.source, ends);
        }
        tokio::task::yield_now().await;
    }
}

/// One frame: how long it is and by which interface it came, if it is for this machine.
fn receive(socket: &UdpSocket, head: &mut [u8]) -> io::Result<Option<(usize, String)>> {
    let (length, address) = {
        let mut slices = [io::IoSliceMut::new(head)];
        let received = recvmsg::<LinkAddr>(socket.as_raw_fd(), &mut slices, None, MsgFlags::MSG_DONTWAIT)?;
        (received.bytes, received.address)
    };
    let Some(address) = address else { return Ok(None) };
    if address.pkttype() != FOR_US || !WITH_HEADER.contains(&address.hatype()) {
        return Ok(None);
    }
    let index = u32::try_from(address.ifindex()).unwrap_or(0);
    let name = nix::net::if_::if_indextoname(index).ok().and_then(|name| name.into_string().ok());
    Ok(Some((length, name.unwrap_or_default())))
}

/// Ports where anything on this machine listens over TCP, looked up again after a while.
struct OpenPorts {
    ports: HashSet<u16>,
    looked: Option<Instant>,
}

impl OpenPorts {
    fn new() -> Self {
        Self { ports: HashSet::new(), looked: None }
    }

    fn contains(&mut self, port: u16) -> bool {
        if self.looked.is_none_or(|looked| looked.elapsed() > FRESH) {
            self.ports = ports::listening();
            self.looked = Some(Instant::now());
        }
        self.ports.contains(&port)
    }
}
