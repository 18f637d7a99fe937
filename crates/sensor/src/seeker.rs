//! Services that ask: finds the interfaces, sends a round of questions on each, and reads what comes back.
//!
//! Between two rounds no socket is open but those whose port had to be had before privileges were given
//! up. Nothing is ever sent to who answers.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use aviary_service::{Heard, Interface, Outbox, Question, Seeker, SessionId, Step};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use socket2::{Domain, Socket, Type};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock;
use crate::errand::{Progress, Trouble};
use crate::neighbours;
use crate::plan::Plan;
use crate::reporter::{Context, Reporter};
use crate::who::mac_text;

/// Time between two looks at the sockets of a round.
const LOOK: Duration = Duration::from_millis(50);
/// Datagrams that are read of one socket at a look.
const AT_A_LOOK: usize = 64;
/// Largest datagram that is read whole; an answer to one question is far shorter.
const LARGEST: usize = 4096;
/// Datagrams that are thrown away of one socket before a round: more than the kernel keeps waiting.
const MOST_STALE: usize = 1024;
/// Sources of one round whose hardware address is looked for.
const MOST_LOOKED_UP: usize = 256;
/// Sockets of one round.
const MOST_SOCKETS: usize = 128;

/// Sockets on ports that questions are to come from.
#[derive(Debug, Default)]
pub(crate) struct Reserved(Vec<(u16, UdpSocket)>);

impl Reserved {
    /// Opens what the plan's seekers want and can be had. What cannot is asked from another port.
    #[must_use]
    pub(crate) fn open(plan: &Plan) -> Arc<Self> {
        let mut sockets: Vec<(u16, UdpSocket)> = Vec::new();
        for service in plan.services.iter().filter_map(|planned| planned.service.as_ref().ok()) {
            for port in service.seeker().map(|seeker| seeker.ports()).unwrap_or_default() {
                if sockets.iter().any(|(had, _)| had == port) {
                    continue;
                }
                match open_v4(Ipv4Addr::UNSPECIFIED, *port, 128) {
                    Ok(socket) => sockets.push((*port, socket)),
                    Err(error) => {
                        let label = "questions go out from another port";
                        tracing::info!(port, %error, "UDP port {port} cannot be had, {label}");
                    }
                }
            }
        }
        Arc::new(Self(sockets))
    }

    fn get(&self, port: u16) -> Option<UdpSocket> {
        self.0.iter().find(|(had, _)| *had == port).and_then(|(_, socket)| socket.try_clone().ok())
    }
}

/// Asks until told to stop.
pub(crate) async fn run(
    entry: &'static str,
    seeker: Box<dyn Seeker>,
    reserved: Arc<Reserved>,
    reporter: Arc<Reporter>,
    progress: Arc<Progress>,
    stop: watch::Receiver<bool>,
) {
    let look_up = |address, interface| neighbours::mac(address, Some(interface)).map(mac_text);
    Search { entry, seeker, reserved, reporter, progress, look_up, macs: HashMap::new() }.run(stop).await;
}

struct Search {
    entry: &'static str,
    seeker: Box<dyn Seeker>,
    reserved: Arc<Reserved>,
    reporter: Arc<Reporter>,
    progress: Arc<Progress>,
    /// The hardware address of an address on an interface.
    look_up: fn(IpAddr, u32) -> Option<String>,
    /// What was found in this round.
    macs: HashMap<(IpAddr, u32), Option<String>>,
}

/// A socket of a round.
struct Line {
    socket: UdpSocket,
    /// The interface's number, or 0 where the socket serves all.
    interface: u32,
    from: IpAddr,
    source_port: Option<u16>,
    /// Port of those who are asked.
    port: u16,
}

/// A datagram to be sent at a time.
struct Due {
    at: Instant,
    line: usize,
    to: SocketAddr,
    bytes: Vec<u8>,
}

/// What was read.
struct Received {
    source: SocketAddr,
    hops: Option<u8>,
    interface: Option<u32>,
    bytes: Vec<u8>,
}

impl Search {
    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let round = self.round();
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                () = round => {}
            }
            let mut entropy = [0; 32];
            let _ = getrandom::fill(&mut entropy);
            let pause = self.seeker.pause(entropy);
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn round(&mut self) {
        let interfaces: Vec<Interface> = interfaces().into_iter().filter(|each| self.seeker.wants(each)).collect();
        let trouble = interfaces.is_empty().then(|| Trouble::Failed("no network interface to ask on is up".to_owned()));
        if self.progress.set_trouble(trouble) && interfaces.is_empty() {
            tracing::warn!(service = self.entry, "no network interface to ask on is up; looks again at the next round");
        }
        let mut entropy = vec![[0; 32]; interfaces.len() + 1];
        if interfaces.is_empty() || getrandom::fill(entropy.as_flattened_mut()).is_err() {
            return;
        }
        self.seeker.begin();
        self.macs.clear();
        let session = entropy.pop().and_then(|bytes| bytes.first_chunk::<8>().copied()).unwrap_or_default();
        let session = SessionId(u64::from_be_bytes(session));
        let start = Instant::now();
        let mut lines: Vec<Line> = Vec::new();
        let mut due: Vec<Due> = Vec::new();
        for (interface, chance) in interfaces.iter().zip(entropy) {
            for question in self.seeker.ask(interface, chance) {
                self.prepare(interface, question, start, &mut lines, &mut due);
            }
        }
        // What waits in a socket that was open before is no answer to what comes now.
        for line in &lines {
            for _ in 0..MOST_STALE {
                if !matches!(receive(&line.socket), Ok(Some(_))) {
                    break;
                }
            }
            tokio::task::yield_now().await;
        }
        let end = start + self.seeker.patience();
        while Instant::now() < end {
            let now = Instant::now();
            due.retain(|each| {
                let is_due = each.at <= now;
                if is_due
                    && let Some(line) = lines.get(each.line)
                    && let Err(error) = line.socket.send_to(&each.bytes, each.to)
                {
                    tracing::debug!(to = %each.to, %error, "a question was not sent");
                }
                !is_due
            });
            for line in &lines {
                for _ in 0..AT_A_LOOK {
                    match receive(&line.socket) {
                        Ok(Some(received)) => self.hear(&interfaces, line, session, &received).await,
                        // An ICMP error of an earlier question; the socket goes on.
                        Err(error) if error.kind() != io::ErrorKind::WouldBlock => {}
                        _ => break,
                    }
                }
                tokio::task::yield_now().await;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn prepare(
        &self,
        interface: &Interface,
        question: Question,
        start: Instant,
        lines: &mut Vec<Line>,
        due: &mut Vec<Due>,
    ) {
        let Question { from, source_port, to, hops, times, bytes } = question;
        let known = lines.iter().position(|line| {
            let whole = (line.from, line.source_port, line.port) == (from, source_port, to.port());
            whole && (line.interface == interface.index || line.interface == 0)
        });
        let line = known.or_else(|| {
            if lines.len() >= MOST_SOCKETS {
                return None;
            }
            let reserved = source_port.and_then(|port| self.reserved.get(port));
            let number = if reserved.is_some() { 0 } else { interface.index };
            let socket = match reserved.map_or_else(|| open(from, interface.index, hops), Ok) {
                Ok(socket) => socket,
                Err(error) => {
                    tracing::debug!(interface = interface.name, %error, "no socket for a question");
                    return None;
                }
            };
            lines.push(Line { socket, interface: number, from, source_port, port: to.port() });
            Some(lines.len() - 1)
        });
        let Some(line) = line else { return };
        for time in 0..times.0.max(1) {
            due.push(Due { at: start + times.1 * u32::from(time), line, to, bytes: bytes.clone() });
        }
    }

    async fn hear(&mut self, interfaces: &[Interface], line: &Line, session: SessionId, received: &Received) {
        let number = if line.interface == 0 { received.interface.unwrap_or(0) } else { line.interface };
        let Some(interface) = interfaces.iter().find(|interface| interface.index == number) else { return };
        let source = received.source;
        // What this host says to itself is nobody's answer, but for the loopback, where all is itself.
        let own = |ip: IpAddr| match ip {
            IpAddr::V4(four) => interface.v4.iter().any(|(address, _)| *address == four),
            IpAddr::V6(six) => interface.v6.contains(&six),
        };
        if own(source.ip()) && !interface.is_loopback {
            return;
        }
        let shared = line.interface == 0;
        let local = interface.v4.first().filter(|_| shared).map_or(line.from, |(address, _)| IpAddr::V4(*address));
        let heard =
            Heard { interface: &interface.name, source, port: line.port, hops: received.hops, bytes: &received.bytes };
        let mut out = Outbox::new(clock::now());
        if catch_unwind(AssertUnwindSafe(|| self.seeker.hear(&heard, &mut out))).is_err() {
            tracing::error!(service = self.entry, "an answer could not be looked at");
        }
        let context = Context {
            service: Arc::from(self.entry),
            // Only the canary asks: `llmnr` is of the whole.
            host: None,
            entry: Arc::from(self.entry),
            session,
            peer: source,
            local: SocketAddr::new(local, line.port),
            hurried: true,
        };
        for step in out.into_steps() {
            if let Step::Report(kind, mut data) = step {
                if kind.keys.contains(&"MAC")
                    && let Some(mac) = self.mac(source.ip(), interface.index).await
                {
                    data.insert("MAC", mac);
                }
                self.progress.count();
                drop(self.reporter.report(&context, kind, data, &BTreeMap::new()).await);
            }
        }
    }

    /// Asked of the kernel once per source and round, and only about who is in an event: anybody can send
    /// datagrams, and the kernel's table may be long.
    async fn mac(&mut self, address: IpAddr, interface: u32) -> Option<String> {
        if let Some(known) = self.macs.get(&(address, interface)) {
            return known.clone();
        }
        if self.macs.len() >= MOST_LOOKED_UP {
            return None;
        }
        let look_up = self.look_up;
        let found = tokio::task::spawn_blocking(move || look_up(address, interface)).await.unwrap_or_default();
        self.macs.insert((address, interface), found.clone());
        found
    }
}

/// The interfaces that are up and can reach a group, with their addresses.
fn interfaces() -> Vec<Interface> {
    let mut found: BTreeMap<String, Interface> = BTreeMap::new();
    let Ok(addresses) = getifaddrs() else { return Vec::new() };
    for each in addresses {
        let is_loopback = each.flags.contains(InterfaceFlags::IFF_LOOPBACK);
        let able = each.flags.contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING)
            && (is_loopback || each.flags.contains(InterfaceFlags::IFF_MULTICAST));
        let (true, Some(address)) = (able, each.address) else { continue };
        let Ok(index) = if_nametoindex(each.interface_name.as_str()) else { continue };
        let name = each.interface_name;
        let entry = found.entry(name.clone()).or_insert_with(|| Interface {
            name,
            index,
            is_loopback,
            v4: Vec::new(),
            v6: Vec::new(),
        });
        if let Some(four) = address.as_sockaddr_in() {
            let broadcasts = each.flags.contains(InterfaceFlags::IFF_BROADCAST);
            let broadcast = each.broadcast.filter(|_| broadcasts);
            entry.v4.push((four.ip(), broadcast.and_then(|to| to.as_sockaddr_in().map(|to| to.ip()))));
        } else if let Some(six) = address.as_sockaddr_in6() {
            entry.v6.push(six.ip());
        }
    }
    found.into_values().collect()
}

fn open(from: IpAddr, interface: u32, hops: u8) -> io::Result<UdpSocket> {
    match from {
        IpAddr::V4(from) => open_v4(from, 0, hops),
        IpAddr::V6(from) => open_v6(from, interface, hops),
    }
}

fn open_v4(from: Ipv4Addr, port: u16, hops: u8) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking().cloexec(), Some(socket2::Protocol::UDP))?;
    socket.set_broadcast(true)?;
    socket.set_ttl_v4(u32::from(hops))?;
    socket.set_multicast_ttl_v4(u32::from(hops))?;
    if !from.is_unspecified() {
        socket.set_multicast_if_v4(&from)?;
    }
    setsockopt(&socket, sockopt::Ipv4RecvTtl, &true)?;
    setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
    socket.bind(&SocketAddr::from((from, port)).into())?;
    Ok(socket.into())
}

fn open_v6(from: Ipv6Addr, interface: u32, hops: u8) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM.nonblocking().cloexec(), Some(socket2::Protocol::UDP))?;
    socket.set_only_v6(true)?;
    socket.set_unicast_hops_v6(u32::from(hops))?;
    socket.set_multicast_hops_v6(u32::from(hops))?;
    socket.set_multicast_if_v6(interface)?;
    setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?;
    socket.bind(&SocketAddr::V6(SocketAddrV6::new(from, 0, 0, interface)).into())?;
    Ok(socket.into())
}

/// One datagram, if there is any whose source can be told.
fn receive(socket: &UdpSocket) -> io::Result<Option<Received>> {
    let mut buffer = [0; LARGEST];
    let mut slices = [IoSliceMut::new(&mut buffer)];
    let mut space = nix::cmsg_space!(nix::libc::in_pktinfo, nix::libc::c_int);
    let message =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::MSG_DONTWAIT)?;
    let source = message.address.as_ref().and_then(source_of);
    let (mut hops, mut interface) = (None, None);
    for control in message.cmsgs().into_iter().flatten() {
        match control {
            ControlMessageOwned::Ipv4Ttl(ttl) | ControlMessageOwned::Ipv6HopLimit(ttl) => {
                hops = u8::try_from(ttl).ok();
            }
            ControlMessageOwned::Ipv4PacketInfo(info) => interface = u32::try_from(info.ipi_ifindex).ok(),
            _ => {}
        }
    }
    let bytes = message.iovs().flatten().copied().collect();
    Ok(source.map(|source| Received { source, hops, interface, bytes }))
}

fn source_of(storage: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(four) = storage.as_sockaddr_in() {
        return Some(SocketAddr::new(four.ip().into(), four.port()));
    }
    let six = storage.as_sockaddr_in6()?;
    Some(SocketAddrV6::new(six.ip(), six.port(), 0, six.scope_id()).into())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use aviary_event::{KindInfo, LogData};
    use tokio::runtime::Builder;

    use super::*;
    use crate::errand::Errand;
    use crate::testing::{KIND, PATIENCE, Rig, text};

    static WITH_MAC: KindInfo = KindInfo { keys: &["DATA", "MAC", "WHAT"], ..KIND };

    /// What was heard: interface, TTL and bytes.
    type HeardList = Arc<Mutex<Vec<(String, Option<u8>, Vec<u8>)>>>;

    /// Asks one address of the loopback and reports what it hears.
    struct Curious {
        to: SocketAddr,
        heard: HeardList,
    }

    impl Seeker for Curious {
        fn pause(&mut self, _: [u8; 32]) -> Duration {
            PATIENCE
        }

        fn wants(&self, interface: &Interface) -> bool {
            interface.is_loopback
        }

        fn begin(&mut self) {}

        fn ask(&mut self, interface: &Interface, _: [u8; 32]) -> Vec<Question> {
            let from = IpAddr::V4(interface.v4[0].0);
            let bytes = interface.name.as_bytes().to_vec();
            let times = (2, Duration::from_millis(60));
            vec![Question { from, source_port: None, to: self.to, hops: 3, times, bytes }]
        }

        fn patience(&self) -> Duration {
            PATIENCE
        }

        fn hear(&mut self, heard: &Heard<'_>, out: &mut Outbox) {
            assert!(heard.bytes != b"panic", "a seeker fails");
            self.heard.lock().unwrap().push((heard.interface.to_owned(), heard.hops, heard.bytes.to_vec()));
            if heard.bytes == b"noise" {
                return;
            }
            out.report(&WITH_MAC, LogData::new().with("WHAT", "heard").with("DATA", heard.bytes));
            out.reply("never sent");
        }
    }

    #[test]
    fn asks_hears_reports_and_answers_nothing() {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let rig = Rig::new(aviary_service::Security::Plain);
            let answerer = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let to = answerer.local_addr().unwrap();
            let heard = HeardList::default();
            let seeker = Box::new(Curious { to, heard: Arc::clone(&heard) });
            let errand = Errand::begin("test", "asking", String::new(), |progress, stop| {
                run("test", seeker, Arc::default(), Arc::clone(rig.reporter()), progress, stop)
            });
            let mut buffer = [0; 64];
            let (length, asker) =
                tokio::time::timeout(PATIENCE, answerer.recv_from(&mut buffer)).await.unwrap().unwrap();
            assert_eq!(&buffer[..length], b"lo");
            let (length, again) =
                tokio::time::timeout(PATIENCE, answerer.recv_from(&mut buffer)).await.unwrap().unwrap();
            assert_eq!((&buffer[..length], again), (b"lo".as_slice(), asker), "the repetition");
            answerer.send_to(b"panic", asker).await.unwrap();
            answerer.send_to(b"here", asker).await.unwrap();
            let event = rig.told("heard").await;
            assert_eq!(text(&event, "DATA"), "here");
            let origin =
                |host: &str, port: u16| Some(aviary_event::Origin::from(SocketAddr::new(host.parse().unwrap(), port)));
            assert_eq!(
                (event.src.clone(), event.dst.clone()),
                (origin("127.0.0.1", to.port()), origin("127.0.0.1", to.port()))
            );
            assert_eq!(*heard.lock().unwrap(), [("lo".to_owned(), Some(64), b"here".to_vec())]);
            assert_eq!((errand.events(), errand.trouble()), (1, None));
            assert!(answerer.try_recv(&mut buffer).is_err(), "nothing is sent to who answers");
            drop(errand);
        });
    }

    #[test]
    fn the_hardware_address_is_looked_up_once_and_only_of_who_is_told_of() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        fn look_up(address: IpAddr, interface: u32) -> Option<String> {
            ASKED.fetch_add(1, Ordering::Relaxed);
            Some(format!("{address} on {interface}"))
        }
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let rig = Rig::new(aviary_service::Security::Plain);
            let to = "127.0.0.1:9".parse().unwrap();
            let mut search = Search {
                entry: "test",
                seeker: Box::new(Curious { to, heard: HeardList::default() }),
                reserved: Arc::default(),
                reporter: Arc::clone(rig.reporter()),
                progress: Arc::default(),
                look_up,
                macs: HashMap::new(),
            };
            let all = interfaces();
            let lo = all.iter().find(|interface| interface.is_loopback).unwrap().index;
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let line = Line { socket, interface: lo, from: Ipv4Addr::LOCALHOST.into(), source_port: None, port: 9 };
            for (bytes, lookups) in [(&b"noise"[..], 0), (b"noise", 0), (b"one", 1), (b"two", 1)] {
                let received = Received { source: to, hops: None, interface: None, bytes: bytes.to_vec() };
                search.hear(&all, &line, SessionId(1), &received).await;
                assert_eq!(ASKED.load(Ordering::Relaxed), lookups);
            }
            let event = rig.told("heard").await;
            assert_eq!(text(&event, "MAC"), format!("127.0.0.1 on {lo}"));
        });
    }

    #[test]
    fn the_loopback_is_among_the_interfaces() {
        let all = interfaces();
        let lo = all.iter().find(|interface| interface.is_loopback).unwrap();
        assert!(lo.v4.iter().any(|(address, _)| *address == Ipv4Addr::LOCALHOST), "{all:?}");
        assert!(lo.index > 0);
    }
}
