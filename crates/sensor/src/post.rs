//! A post: one address and port where a service listens, bound or not.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use aviary_scan::Proto;
use aviary_service::{Endpoint, Entry, Protocol};
use tokio::sync::{Semaphore, watch};

use crate::connections::Connections;
use crate::datagrams;
use crate::listener::{Listener, Station, bind, explain};
use crate::machine;
use crate::plan::{PlannedService, PortRule};

/// How long a reload waits for a port that it has just given up.
const FREE_AFTER: Duration = Duration::from_secs(2);

/// One address and port, bound or not.
pub(crate) struct Post {
    /// Word in `aviary.service`.
    pub label: String,
    /// The endpoint as the service declares it.
    pub endpoint: Endpoint,
    /// The host whose service it is; `None` for the canary's own.
    pub host: Option<Arc<str>>,
    /// The service's place in the plan's registry.
    pub entry: &'static Entry,
    /// The address; `None` stands for all.
    pub address: Option<IpAddr>,
    /// The port that is bound.
    pub port: u16,
    /// Why it is not bound.
    pub failure: Option<String>,
    /// Names the post's connections in the table; never used twice.
    pub number: u32,
    /// The service's settings as text.
    pub digest: String,
    sockets: Sockets,
    live: Option<LivePost>,
}

/// What is bound and not yet watched.
enum Sockets {
    None,
    Tcp(std::net::TcpListener),
    Udp(Vec<std::net::UdpSocket>),
}

/// What listens where, for tables.
#[derive(Clone, Debug)]
pub struct PostView {
    /// The host whose service it is; `None` for the canary's own.
    pub host: Option<Arc<str>>,
    /// Word in `aviary.service`.
    pub label: String,
    /// The address; `None` stands for all.
    pub address: Option<IpAddr>,
    /// Over TCP or UDP.
    pub protocol: Protocol,
    /// The port that is bound.
    pub port: u16,
    /// The port that was asked for.
    pub configured_port: u16,
    /// Why it is not bound.
    pub failure: Option<String>,
    /// A command that touches it, with `{host}` and `{port}`.
    pub try_line: &'static str,
}

impl PostView {
    /// The port as tables show it: `22`, `161/udp`.
    #[must_use]
    pub fn port_name(&self) -> String {
        match self.protocol {
            Protocol::Tcp => self.port.to_string(),
            Protocol::Udp => format!("{}/udp", self.port),
        }
    }
}

struct LivePost {
    listener: Arc<Listener>,
    stop: watch::Sender<bool>,
}

impl Post {
    /// Whether it is where a service plays this endpoint.
    #[must_use]
    pub(crate) fn plays(&self, endpoint: &Endpoint) -> bool {
        endpoint.label == self.label && endpoint.protocol == self.endpoint.protocol
    }

    /// Its label, and whose it is: "ssh of host `printer`".
    #[must_use]
    pub(crate) fn title(&self) -> String {
        format!("{}{}", self.label, machine::suffix(self.host.as_deref()))
    }

    /// What carries its bytes, as packets have it.
    #[must_use]
    pub(crate) const fn proto(&self) -> Proto {
        match self.endpoint.protocol {
            Protocol::Tcp => Proto::Tcp,
            Protocol::Udp => Proto::Udp,
        }
    }

    /// What tables show of it.
    #[must_use]
    pub(crate) fn view(&self) -> PostView {
        PostView {
            host: self.host.clone(),
            label: self.label.clone(),
            address: self.address,
            protocol: self.endpoint.protocol,
            port: self.port,
            configured_port: self.endpoint.port,
            failure: self.failure.clone(),
            try_line: self.endpoint.try_line,
        }
    }

    /// Connections and datagrams taken since the start.
    #[must_use]
    pub(crate) fn taken(&self) -> u64 {
        self.live.as_ref().map_or(0, |live| live.listener.taken())
    }

    /// Begins to serve what is bound, or lets a post that already serves go on with another station.
    /// Inside the runtime.
    pub(crate) fn open(&mut self, station: Station, connections: &Arc<Connections>, room: &Arc<Semaphore>) {
        if let Some(live) = &self.live {
            live.listener.set_station(station);
            return;
        }
        let runtime = tokio::runtime::Handle::current();
        let (stop, stopped) = watch::channel(false);
        let listener = Listener::new(station, self.number);
        match std::mem::replace(&mut self.sockets, Sockets::None) {
            Sockets::None => return,
            Sockets::Tcp(socket) => match tokio::net::TcpListener::from_std(socket) {
                Ok(socket) => {
                    let (connections, room) = (Arc::clone(connections), Arc::clone(room));
                    drop(runtime.spawn(Arc::clone(&listener).run(socket, connections, room, stopped)));
                }
                Err(error) => {
                    self.failure = Some(format!("port {} cannot be watched: {error}", self.port));
                    return;
                }
            },
            Sockets::Udp(sockets) => {
                for socket in sockets {
                    drop(runtime.spawn(Arc::clone(&listener).run_datagrams(socket, stopped.clone())));
                }
            }
        }
        self.live = Some(LivePost { listener, stop });
    }

    /// Tells it to stop; what it gives is closed once the port is free.
    pub(crate) fn end(&mut self) -> Option<watch::Sender<bool>> {
        let stop = self.live.take()?.stop;
        let _ = stop.send(true);
        Some(stop)
    }
}

/// Waits until listeners that were told to stop have closed their sockets.
pub(crate) fn wait_until_free(ending: &[watch::Sender<bool>]) {
    let begun = Instant::now();
    while ending.iter().any(|stop| !stop.is_closed()) && begun.elapsed() < FREE_AFTER {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Binds the endpoints of a service that are not among `present`.
pub(crate) fn bind_service(planned: &PlannedService, rule: PortRule, present: &[Post]) -> Vec<Post> {
    let mut posts = Vec::new();
    for endpoint in planned.endpoints() {
        for address in &planned.machine.addresses {
            let there = present.iter().any(|post| {
                planned.is(post.host.as_ref(), post.entry.name)
                    && post.address == *address
                    && post.endpoint.is_at(&endpoint)
            });
            if !there {
                posts.push(bind_post(planned, endpoint.clone(), *address, rule));
            }
        }
    }
    posts
}

fn bind_post(planned: &PlannedService, endpoint: Endpoint, address: Option<IpAddr>, rule: PortRule) -> Post {
    static NUMBERS: AtomicU32 = AtomicU32::new(0);
    let mut port = endpoint.port;
    let bind = |port| match endpoint.protocol {
        Protocol::Tcp => bind(address, port).map(Sockets::Tcp),
        Protocol::Udp => datagrams::bind(address, port).map(Sockets::Udp),
    };
    let mut result = bind(port);
    if result.is_err() && rule == PortRule::MoveUp && port < 1024 {
        port = 10_000 + endpoint.port;
        result = bind(port);
    }
    let (sockets, failure) = match result {
        Ok(sockets) => (sockets, None),
        Err(error) => (Sockets::None, Some(explain(address, port, endpoint.protocol, &error))),
    };
    Post {
        label: endpoint.label.clone(),
        host: planned.machine.host.clone(),
        entry: planned.entry,
        endpoint,
        address,
        port,
        failure,
        number: NUMBERS.fetch_add(1, Ordering::Relaxed),
        digest: planned.digest.clone(),
        sockets,
        live: None,
    }
}
