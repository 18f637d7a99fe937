//! UDP: reads datagrams in batches, lets the service look at each, and answers within the allowance.
//!
//! One task empties the socket, so that a burst is lost neither to a slow disk nor to a slow service; another lets
//! the service look, a third answers. INVARIANT: a reply leaves only when the journal has what its batch reported.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Instant;

use aviary_event::{LogData, Value};
use aviary_journal::Receipt;
use aviary_service::{Allowance, Dialogue, Facts, Outbox, SessionId, Step, Transport};
use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmsg, setsockopt,
    sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use crate::conversation;
use crate::listener::{Listener, Station};
use crate::reporter::Context;
use crate::{clock, kinds};

/// Datagrams read at once.
const BATCH: usize = 32;
/// Largest datagram: what IPv4 can carry, rounded up.
const LARGEST: usize = 65_536;
/// Batches that wait for the service.
const QUEUE: usize = 1024;
/// Batches that wait for the journal.
const LOOKED_AT: usize = 256;
/// Bytes that wait for the service.
const QUEUED_BYTES: usize = 16 * 1024 * 1024;
/// Receive buffer that is asked for: a burst of 3,000 datagrams, each of which costs the kernel a kilobyte
/// or more. Beyond `net.core.rmem_max` only root gets it.
const RECEIVE_BUFFER: usize = 8 * 1024 * 1024;
/// Conversations from ports of their own at once, and with one source.
const TALKS: usize = 256;
const TALKS_PER_SOURCE: usize = 32;

thread_local! {
    static SLOTS: RefCell<Vec<u8>> = RefCell::new(vec![0; BATCH * LARGEST]);
}

/// Names flows: all datagrams from one port of a peer to one endpoint are one session.
static FLOWS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Who may be answered how much, for all endpoints together.
#[derive(Debug)]
pub(crate) struct Guard {
    allowance: Mutex<Allowance>,
    start: Instant,
    talks: Mutex<HashMap<IpAddr, usize>>,
    /// Replies that were not sent because nothing was proven.
    withheld: AtomicU64,
}

impl Guard {
    /// A guard that lets each source have so many datagrams a second.
    #[must_use]
    pub(crate) fn new(rate: u64) -> Arc<Self> {
        Arc::new(Self {
            allowance: Mutex::new(Allowance::new(rate)),
            start: Instant::now(),
            talks: Mutex::default(),
            withheld: AtomicU64::new(0),
        })
    }

    /// A source has proven that it receives what is sent to it.
    pub(crate) fn prove(&self, source: IpAddr) {
        self.with(|allowance, now| allowance.prove(source, now));
    }

    /// A datagram of so many bytes came from a source.
    pub(crate) fn received(&self, source: IpAddr, bytes: usize) {
        self.with(|allowance, now| allowance.received(source, bytes, now));
    }

    /// Bytes that may go to a source.
    pub(crate) fn room(&self, source: IpAddr) -> usize {
        self.with(|allowance, now| allowance.room(source, now))
    }

    /// Whether so many bytes may go to a source.
    pub(crate) fn spend(&self, source: IpAddr, bytes: usize) -> bool {
        let may = self.with(|allowance, now| allowance.spend(source, bytes, now));
        if !may {
            self.withheld.fetch_add(1, Ordering::Relaxed);
        }
        may
    }

    /// The first of two answers that may go to a source.
    pub(crate) fn affordable(&self, source: IpAddr, bytes: Vec<u8>, otherwise: Vec<u8>) -> Option<Vec<u8>> {
        [bytes, otherwise].into_iter().find(|bytes| self.spend(source, bytes.len()))
    }

    /// Replies that were not sent since the start.
    #[must_use]
    pub(crate) fn withheld(&self) -> u64 {
        self.withheld.load(Ordering::Relaxed)
    }

    /// Conversations that go on.
    #[must_use]
    pub(crate) fn talks(&self) -> usize {
        self.talks.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    /// A place for a conversation with a source, if there is one left.
    pub(crate) fn talk(self: &Arc<Self>, source: IpAddr) -> Option<Talk> {
        let mut talks = self.talks.lock().unwrap_or_else(PoisonError::into_inner);
        if talks.values().sum::<usize>() >= TALKS {
            return None;
        }
        let count = talks.entry(source).or_default();
        if *count >= TALKS_PER_SOURCE {
            return None;
        }
        *count += 1;
        Some(Talk(Arc::clone(self), source))
    }

    fn with<R>(&self, act: impl FnOnce(&mut Allowance, u64) -> R) -> R {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        act(&mut self.allowance.lock().unwrap_or_else(PoisonError::into_inner), now)
    }
}

/// A conversation's place; freed when dropped.
#[derive(Debug)]
pub(crate) struct Talk(Arc<Guard>, IpAddr);

impl Drop for Talk {
    fn drop(&mut self) {
        let mut talks = self.0.talks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = talks.get_mut(&self.1) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                talks.remove(&self.1);
            }
        }
    }
}

/// Opens the sockets of a UDP endpoint: one for an address; for all addresses one of IPv4 and, where the
/// system has it, one of IPv6.
///
/// # Errors
/// What the system says: in use, not permitted, no such address.
pub(crate) fn bind(address: Option<IpAddr>, port: u16) -> io::Result<Vec<std::net::UdpSocket>> {
    let Some(address) = address else {
        let four = open(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))?;
        // Port 0 is for tests, which want one port.
        let port = four.local_addr()?.port();
        let six = match open(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)) {
            Ok(six) => Some(six),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            Err(_) => None,
        };
        return Ok(std::iter::once(four).chain(six).collect());
    };
    Ok(vec![open(SocketAddr::new(address, port))?])
}

fn open(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    } else {
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
    }
    if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// A datagram as it came.
struct Packet {
    peer: SocketAddr,
    /// Where it was sent to.
    to: IpAddr,
    /// Where an answer comes from, where the system says so.
    from: Option<IpAddr>,
    bytes: Vec<u8>,
}

/// An answer that waits for the journal.
struct Answer {
    peer: SocketAddr,
    from: Option<IpAddr>,
    bytes: Vec<u8>,
}

impl Listener {
    /// Reads a UDP socket until told to stop.
    pub(crate) async fn run_datagrams(self: Arc<Self>, socket: std::net::UdpSocket, stop: watch::Receiver<bool>) {
        let socket = match UdpSocket::from_std(socket) {
            Ok(socket) => Arc::new(socket),
            Err(error) => {
                tracing::error!(%error, "a UDP socket cannot be watched");
                return;
            }
        };
        let (sender, receiver) = mpsc::channel(QUEUE);
        let room = Arc::new(Semaphore::new(QUEUED_BYTES));
        let work = Arc::clone(&self).work(Arc::clone(&socket), receiver, stop.clone());
        let worker = tokio::runtime::Handle::current().spawn(work);
        let mut stopped = stop.clone();
        loop {
            let read = tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => break,
                read = read_batch(&socket) => read,
            };
            let Ok(batch) = read else {
                // An ICMP error of an earlier answer; the socket goes on.
                continue;
            };
            let bytes = batch.iter().map(|packet| packet.bytes.len()).sum::<usize>().min(QUEUED_BYTES);
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            let Ok(permit) = Arc::clone(&room).acquire_many_owned(bytes).await else { break };
            if sender.send((batch, permit)).await.is_err() {
                break;
            }
        }
        drop(sender);
        let _ = worker.await;
        drop(socket);
        drop(stop);
    }

    async fn work(
        self: Arc<Self>,
        socket: Arc<UdpSocket>,
        mut batches: mpsc::Receiver<(Vec<Packet>, OwnedSemaphorePermit)>,
        stop: watch::Receiver<bool>,
    ) {
        let Ok(local) = socket.local_addr() else { return };
        let (looked, receiver) = mpsc::channel(LOOKED_AT);
        let answering = tokio::runtime::Handle::current().spawn(answer(socket, receiver, stop));
        while let Some((batch, permit)) = batches.recv().await {
            let station = self.station();
            let mut entropy = vec![[0; 32]; batch.len()];
            let random = getrandom::fill(entropy.as_flattened_mut()).is_ok();
            if !random {
                tracing::error!("no randomness from the system, datagrams are told and not answered");
            }
            let mut round = Round { station: &station, receipt: None, answers: Vec::new(), talks: Vec::new() };
            for (packet, entropy) in batch.into_iter().zip(entropy) {
                let to = SocketAddr::new(packet.to, local.port());
                let context = context(&station, packet.peer, to);
                if random {
                    round.take(packet, context, entropy, self.count()).await;
                } else {
                    round.tell(&context, packet.bytes, "no randomness", &BTreeMap::new()).await;
                }
            }
            let Round { receipt, answers, talks, .. } = round;
            if looked.send(Looked { station, receipt, answers, talks, permit }).await.is_err() {
                break;
            }
        }
        drop(looked);
        let _ = answering.await;
    }
}

/// Answers batches in order, each once the journal has what it reported. A task of its own, so that the next batch is
/// looked at meanwhile and shares the journal's next transaction.
async fn answer(socket: Arc<UdpSocket>, mut batches: mpsc::Receiver<Looked>, stop: watch::Receiver<bool>) {
    while let Some(Looked { station, receipt, answers, talks, permit }) = batches.recv().await {
        if let Some(receipt) = receipt {
            receipt.wait().await;
        }
        for answer in answers {
            send(&socket, &answer).await;
        }
        for (dialogue, context, from) in talks {
            converse(&station, dialogue, context, from, stop.clone());
        }
        drop(permit);
    }
}

/// A batch that the service has looked at.
struct Looked {
    station: Arc<Station>,
    /// Of the last event: one writer takes them in order.
    receipt: Option<Receipt>,
    answers: Vec<Answer>,
    /// Conversations that begin once the journal has what was reported.
    talks: Vec<(Box<dyn Dialogue>, Context, Option<IpAddr>)>,
    /// Of the bytes that wait.
    permit: OwnedSemaphorePermit,
}

/// One batch at work.
struct Round<'a> {
    station: &'a Arc<Station>,
    /// Of the last event: one writer takes them in order.
    receipt: Option<Receipt>,
    answers: Vec<Answer>,
    /// Conversations that begin once the journal has what was reported.
    talks: Vec<(Box<dyn Dialogue>, Context, Option<IpAddr>)>,
}

/// Who sends to whom: all datagrams of a flow are one session.
fn context(station: &Station, peer: SocketAddr, local: SocketAddr) -> Context {
    let session = SessionId(FLOWS.hash_one((peer, &station.label, &station.host)));
    let (service, entry) = (Arc::clone(&station.label), Arc::clone(&station.entry));
    Context { service, host: station.host.clone(), entry, session, peer, local, hurried: true }
}

impl Round<'_> {
    async fn take(&mut self, packet: Packet, context: Context, entropy: [u8; 32], count: u64) {
        let station = self.station;
        let shared = &station.shared;
        let facts = Facts {
            session: context.session,
            peer: context.peer,
            local: context.local,
            transport: Transport::Datagrams,
            entropy,
            count,
            host_name: Arc::clone(&station.host_name),
        };
        let source = packet.peer.ip();
        shared.guard.received(source, packet.bytes.len());
        let mut out = Outbox::for_datagrams(clock::now()).with_room(shared.guard.room(source));
        let looked = catch_unwind(AssertUnwindSafe(|| {
            shared.service.datagram(shared.endpoint, &facts, &packet.bytes, &mut out);
        }));
        let mut notes = BTreeMap::new();
        let mut told = false;
        for step in out.into_steps() {
            match step {
                Step::Report(kind, data) => {
                    told = true;
                    if let Some(receipt) = shared.reporter.report(&context, kind, data, &notes).await {
                        self.receipt = Some(receipt);
                    }
                }
                Step::Reply(bytes) => {
                    if shared.guard.spend(source, bytes.len()) {
                        self.answers.push(Answer { peer: packet.peer, from: packet.from, bytes });
                    }
                }
                Step::ReplyOr(bytes, otherwise) => {
                    if let Some(bytes) = shared.guard.affordable(source, bytes, otherwise) {
                        self.answers.push(Answer { peer: packet.peer, from: packet.from, bytes });
                    }
                }
                Step::Note(name, value) => {
                    notes.insert(name.to_owned(), value);
                }
                Step::Proven => shared.guard.prove(source),
                Step::Keep(name, bytes) => shared.quarantine.keep(context.session, &name, bytes).await,
                Step::Converse(dialogue) => self.talks.push((dialogue, context.clone(), packet.from)),
                // What a stream does means nothing here.
                Step::Pause(_)
                | Step::StartTls(_)
                | Step::StopTls
                | Step::Compute(_)
                | Step::IdleLimit(_)
                | Step::Close { .. } => {}
            }
        }
        if looked.is_err() {
            self.tell(&context, packet.bytes, "service failed", &notes).await;
        } else if !told {
            self.tell(&context, packet.bytes, "a datagram", &notes).await;
        }
    }

    /// Tells of a datagram that no service told of.
    async fn tell(&mut self, context: &Context, bytes: Vec<u8>, reason: &str, notes: &BTreeMap<String, Value>) {
        let data = LogData::new()
            .with("BYTES", i64::try_from(bytes.len()).unwrap_or(i64::MAX))
            .with("DATA", bytes)
            .with("DURATION_MS", 0)
            .with("REASON", reason);
        let reporter = &self.station.shared.reporter;
        if let Some(receipt) = reporter.report(context, &kinds::UNREPORTED, data, notes).await {
            self.receipt = Some(receipt);
        }
    }
}

fn converse(
    station: &Arc<Station>,
    dialogue: Box<dyn Dialogue>,
    context: Context,
    from: Option<IpAddr>,
    stop: watch::Receiver<bool>,
) {
    let Some(talk) = station.shared.guard.talk(context.peer.ip()) else {
        tracing::debug!("no place for one more conversation over UDP");
        return;
    };
    let from = from.unwrap_or(context.local.ip());
    let task = conversation::run(Arc::clone(station), dialogue, context, from, talk, stop);
    drop(tokio::runtime::Handle::current().spawn(task));
}

/// Waits for datagrams and reads those that are there, up to [`BATCH`].
async fn read_batch(socket: &UdpSocket) -> io::Result<Vec<Packet>> {
    loop {
        socket.readable().await?;
        match socket.try_io(Interest::READABLE, || receive(socket)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return result,
        }
    }
}

fn receive(socket: &UdpSocket) -> io::Result<Vec<Packet>> {
    let local = socket.local_addr()?.ip();
    SLOTS.with_borrow_mut(|slots| {
        let mut headers: MultiHeaders<SockaddrStorage> =
            MultiHeaders::preallocate(BATCH, Some(nix::cmsg_space!(libc::in6_pktinfo)));
        let mut slices: Vec<[IoSliceMut<'_>; 1]> =
            slots.chunks_mut(LARGEST).map(|slot| [IoSliceMut::new(slot)]).collect();
        let messages = recvmmsg(socket.as_raw_fd(), &mut headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None)?;
        let mut batch = Vec::new();
        for message in messages {
            let Some(peer) = message.address.as_ref().and_then(address_of) else { continue };
            let (mut to, mut from) = (local, None);
            for control in message.cmsgs().into_iter().flatten() {
                match control {
                    ControlMessageOwned::Ipv4PacketInfo(info) => {
                        to = IpAddr::V4(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)));
                        from = Some(IpAddr::V4(Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr))));
                    }
                    ControlMessageOwned::Ipv6PacketInfo(info) => {
                        to = IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr));
                        from = (!to.is_multicast()).then_some(to);
                    }
                    _ => {}
                }
            }
            let bytes: Vec<u8> = message.iovs().flatten().copied().collect();
            batch.push(Packet { peer, to, from, bytes });
        }
        Ok(batch)
    })
}

fn address_of(storage: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(four) = storage.as_sockaddr_in() {
        return Some(SocketAddr::new(four.ip().into(), four.port()));
    }
    let six = storage.as_sockaddr_in6()?;
    Some(std::net::SocketAddrV6::new(six.ip(), six.port(), 0, six.scope_id()).into())
}

/// Sends an answer from the address that was asked. What the socket has no room for is lost, as on any host.
async fn send(socket: &UdpSocket, answer: &Answer) {
    for _ in 0..2 {
        match socket.try_io(Interest::WRITABLE, || transmit(socket, answer)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if socket.writable().await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::debug!(%error, "an answer was not sent");
                return;
            }
            Ok(_) => return,
        }
    }
}

fn transmit(socket: &UdpSocket, answer: &Answer) -> io::Result<usize> {
    let (descriptor, bytes) = (socket.as_raw_fd(), [IoSlice::new(&answer.bytes)]);
    let peer = SockaddrStorage::from(answer.peer);
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let sent = match answer.from {
        Some(IpAddr::V4(from)) => {
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: u32::from(from).to_be() },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            sendmsg(descriptor, &bytes, &[ControlMessage::Ipv4PacketInfo(&info)], flags, Some(&peer))
        }
        Some(IpAddr::V6(from)) => {
            let info = libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: from.octets() }, ipi6_ifindex: 0 };
            sendmsg(descriptor, &bytes, &[ControlMessage::Ipv6PacketInfo(&info)], flags, Some(&peer))
        }
        None => sendmsg(descriptor, &bytes, &[], flags, Some(&peer)),
    };
    sent.map_err(io::Error::from)
}

#[cfg(test)]
mod tests;
