//! Binds ports and accepts connections.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aviary_service::{Facts, KeepAlive, Limits, Protocol, SessionId, Transport};
use socket2::{Domain, Socket, TcpKeepalive, Type};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::connections::Connections;
use crate::ports;
use crate::reporter::Context;
use crate::session::{Session, Shared};

/// Connections that the kernel queues for a listener.
const BACKLOG: i32 = 1024;
/// Pause after the system is out of file descriptors.
const RELIEF: Duration = Duration::from_millis(20);

/// What an endpoint needs to take connections; replaced at a reload.
pub(crate) struct Station {
    /// For its sessions.
    pub shared: Arc<Shared>,
    /// Word in `aviary.service`.
    pub label: Arc<str>,
    /// The host whose service it is; `None` for the canary's own.
    pub host: Option<Arc<str>>,
    /// Name under which planted credentials are configured: `ssh`, or `hosts.printer.ssh`.
    pub entry: Arc<str>,
    /// Limits of each connection.
    pub limits: Limits,
    /// Host name that the canary plays.
    pub host_name: Arc<str>,
    /// TCP keep-alive of each connection.
    pub keep_alive: Option<KeepAlive>,
}

/// Opens a listening socket. `None` stands for every address, IPv6 and IPv4 on one socket where the
/// system has both.
///
/// # Errors
/// What the system says: in use, not permitted, no such address.
pub(crate) fn bind(address: Option<IpAddr>, port: u16) -> io::Result<std::net::TcpListener> {
    match address {
        Some(ip) => listen(SocketAddr::new(ip, port), false),
        None => match listen(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port), true) {
            Err(error) if is_family_missing(&error) => {
                listen(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port), false)
            }
            result => result,
        },
    }
}

fn is_family_missing(error: &io::Error) -> bool {
    let number = error.raw_os_error().map(nix::errno::Errno::from_raw);
    matches!(number, Some(nix::errno::Errno::EAFNOSUPPORT | nix::errno::Errno::EADDRNOTAVAIL))
}

fn listen(address: SocketAddr, both: bool) -> io::Result<std::net::TcpListener> {
    let socket =
        Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), Some(socket2::Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(!both)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Why a port of an address is not bound, and what to do.
pub(crate) fn explain(address: Option<IpAddr>, port: u16, protocol: Protocol, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => match ports::holder(port, protocol) {
            Some(holder) => format!("port {port} is taken by {holder}; stop it or choose another port"),
            None => format!("port {port} is taken by another process; `ss -lntup` as root names it"),
        },
        std::io::ErrorKind::PermissionDenied => {
            format!(
                "port {port} may not be bound by this user; start as root, or give the program CAP_NET_BIND_SERVICE \
                 (a running canary has given both up: restart it)"
            )
        }
        std::io::ErrorKind::AddrNotAvailable => {
            let address = address.map_or_else(|| "*".to_owned(), |address| address.to_string());
            format!("port {port} cannot be bound: this machine has no address {address}; see `device.listen_addr`")
        }
        _ => format!("port {port} cannot be bound: {error}"),
    }
}

/// A listening endpoint whose station can be replaced while it runs.
pub(crate) struct Listener {
    station: RwLock<Arc<Station>>,
    number: u32,
    count: AtomicU64,
}

impl Listener {
    /// Endpoint `number` with its first station.
    #[must_use]
    pub(crate) fn new(station: Station, number: u32) -> Arc<Self> {
        Arc::new(Self { station: RwLock::new(Arc::new(station)), number, count: AtomicU64::new(0) })
    }

    /// Replaces the station; new connections get the new one.
    pub(crate) fn set_station(&self, station: Station) {
        *self.station.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(station);
    }

    /// The station in force.
    #[must_use]
    pub(crate) fn station(&self) -> Arc<Station> {
        Arc::clone(&self.station.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Connections taken since the start.
    #[must_use]
    pub(crate) fn taken(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// One more, and how many that makes since the start.
    pub(crate) fn count(&self) -> u64 {
        self.count.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Accepts until told to stop. `room` bounds sessions in all: a permit is taken before a
    /// connection is accepted, so that what cannot be served waits in the kernel.
    pub(crate) async fn run(
        self: Arc<Self>,
        listener: TcpListener,
        connections: Arc<Connections>,
        room: Arc<Semaphore>,
        mut stop: watch::Receiver<bool>,
    ) {
        let runtime = tokio::runtime::Handle::current();
        // Waiting for a connection holds a permit; each listener brings its own.
        room.add_permits(1);
        loop {
            let accepted = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                accepted = accept(&listener, &connections, &room) => accepted,
            };
            let Some((stream, peer, permit)) = accepted else { continue };
            let station = self.station();
            let Ok(local) = stream.local_addr() else { continue };
            let (peer, local) = (canonical(peer), canonical(local));
            let _ = stream.set_nodelay(true);
            // A completed handshake says that the address is its own.
            station.shared.guard.prove(peer.ip());
            if let Some(KeepAlive { idle, interval, probes }) = station.keep_alive {
                let options = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(probes);
                let _ = socket2::SockRef::from(&stream).set_tcp_keepalive(&options);
            }
            let mut entropy = [0; 32];
            if getrandom::fill(&mut entropy).is_err() {
                tracing::error!("no randomness from the system, connection refused");
                continue;
            }
            let count = self.count();
            let session = SessionId(entropy.iter().rev().take(8).fold(0, |word, byte| (word << 8) | u64::from(*byte)));
            let limits = station.limits;
            let place =
                connections.admit(stream, peer.ip(), self.number, limits.connections, (limits.idle, limits.total));
            let context = Context {
                service: Arc::clone(&station.label),
                host: station.host.clone(),
                entry: Arc::clone(&station.entry),
                session,
                peer,
                local,
                hurried: false,
            };
            let facts = Facts {
                session,
                peer,
                local,
                transport: Transport::Plain,
                entropy,
                count,
                host_name: Arc::clone(&station.host_name),
            };
            let session = Box::new(Session::new(Arc::clone(&station.shared), place, context, facts));
            // The session ends with its place in the table, which the canary waits for when it stops.
            drop(runtime.spawn(async move {
                session.run().await;
                drop(permit);
            }));
        }
        room.forget_permits(1);
        // The port is free before whoever holds the other end of `stop` sees that this has ended.
        drop(listener);
        drop(stop);
    }
}

type Accepted = (tokio::net::TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit);

async fn accept(listener: &TcpListener, connections: &Connections, room: &Arc<Semaphore>) -> Option<Accepted> {
    let permit = match Arc::clone(room).try_acquire_owned() {
        Ok(permit) => permit,
        Err(_) => {
            connections.relieve();
            Arc::clone(room).acquire_owned().await.ok()?
        }
    };
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, permit)),
        Err(error) => {
            let number = error.raw_os_error().map(nix::errno::Errno::from_raw);
            if matches!(
                number,
                Some(nix::errno::Errno::EMFILE | nix::errno::Errno::ENFILE | nix::errno::Errno::ENOBUFS)
            ) {
                connections.relieve();
                tokio::time::sleep(RELIEF).await;
            } else {
                tracing::debug!(%error, "connection lost before it was accepted");
            }
            None
        }
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests;
