//! The connection to a daemon that takes messages and never answers, whatever it runs over.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::time::Duration;

use aviary_output::{DeliveryError, Failure};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt::TcpUserTimeout};
use tokio::io::{AsyncWriteExt as _, Interest};
use tokio::net::{TcpStream, UdpSocket, UnixDatagram, UnixStream, lookup_host};
use tokio::time::{Instant, sleep, timeout};

use crate::worker::temporary;

/// Where the daemon is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Target {
    /// Over the network.
    Host {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// On this machine.
    Path(PathBuf),
}

/// Streams or datagrams.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Datagrams; on a Unix socket a stream where there are none.
    Unsaid,
    /// Datagrams.
    Datagram,
    /// A stream.
    Stream,
}

/// Longest wait for a name's addresses.
const RESOLVING: Duration = Duration::from_secs(5);

/// Longest wait for one connection.
const CONNECTING: Duration = Duration::from_secs(5);

/// How long after sending a refusal is waited for: some round trips of a local network.
const REFUSING: Duration = Duration::from_millis(10);

/// A TCP connection whose peer confirms nothing for this long is broken, milliseconds.
const UNCONFIRMED: u32 = 20_000;

/// What was sent this long before a connection broke is sent again on the next one.
const DOUBTFUL: Duration = Duration::from_secs(30);

/// And at most so much of it, bytes.
const DOUBTFUL_SIZE: usize = 1 << 20;

/// A host name's address is asked for again after this time.
const STALE: Duration = Duration::from_secs(300);

/// Datagrams that are too long for the path are cut to the first of these that fits, bytes. The first
/// is the most that UDP over IPv4 carries.
const CUTS: &[usize] = &[65_507, 8_000, 1_400];

/// Sends messages, connects where needed.
pub(crate) struct Sender {
    /// What the daemon is, for error texts: `syslog`.
    what: &'static str,
    target: Target,
    kind: Kind,
    link: Option<Link>,
    /// Which of a name's addresses comes first next time.
    turn: usize,
    /// What went out on the stream lately, and when.
    recent: VecDeque<(Instant, Vec<u8>)>,
}

enum Link {
    Udp { socket: UdpSocket, since: Instant },
    Unix(UnixDatagram),
    Stream(Stream),
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Whether a stream still stands.
enum Standing {
    Open,
    /// The daemon ended it and has read everything before.
    Ended,
    /// What was sent last may not have been read.
    Broken,
}

impl Sender {
    pub(crate) const fn new(what: &'static str, target: Target, kind: Kind) -> Self {
        Self { what, target, kind, link: None, turn: 0, recent: VecDeque::new() }
    }

    /// Sends messages in order.
    pub(crate) async fn send(&mut self, messages: &[String]) -> Result<(), Failure> {
        let failed = |error| Failure { delivered: 0, error };
        // Taken out, so that a send that is given up half way costs the connection and no half
        // message is ever followed by another.
        let standing = match self.link.take() {
            Some(link) => self.still_good(link),
            None => None,
        };
        let fresh = standing.is_none();
        let link = match standing {
            Some(link) => link,
            None => self.connect().await.map_err(failed)?,
        };
        match link {
            Link::Stream(stream) => self.send_stream(stream, fresh, messages).await.map_err(failed),
            Link::Udp { socket, since } => {
                let result = send_datagrams(&Datagrams::Udp(&socket), messages).await;
                // After an error another address may do better.
                match &result {
                    Err(Failure { error: DeliveryError::Temporary { .. }, .. }) => {
                        self.turn = self.turn.wrapping_add(1);
                    }
                    _ => self.link = Some(Link::Udp { socket, since }),
                }
                result.map_err(|failure| self.name_it(failure))
            }
            Link::Unix(socket) => {
                let result = send_datagrams(&Datagrams::Unix(&socket), messages).await;
                if !matches!(&result, Err(Failure { error: DeliveryError::Temporary { .. }, .. })) {
                    self.link = Some(Link::Unix(socket));
                }
                result.map_err(|failure| self.name_it(failure))
            }
        }
    }

    fn name_it(&self, failure: Failure) -> Failure {
        let error = match failure.error {
            DeliveryError::Temporary { reason, retry_after } => {
                DeliveryError::Temporary { reason: format!("{} at {}: {reason}", self.what, self.target), retry_after }
            }
            refused @ DeliveryError::Refused { .. } => refused,
        };
        Failure { error, ..failure }
    }

    /// Gives a link back that can still be used.
    fn still_good(&mut self, link: Link) -> Option<Link> {
        match &link {
            Link::Udp { since, .. } if since.elapsed() > STALE => None,
            Link::Udp { socket, .. } => {
                // What came too late to be told: the error belongs to messages long gone.
                let _ = socket.take_error();
                Some(link)
            }
            Link::Unix(_) => Some(link),
            Link::Stream(stream) => match stream.standing() {
                Standing::Open => Some(link),
                Standing::Ended => {
                    self.recent.clear();
                    None
                }
                Standing::Broken => None,
            },
        }
    }

    async fn send_stream(&mut self, mut stream: Stream, fresh: bool, messages: &[String]) -> Result<(), DeliveryError> {
        if fresh {
            // Anything left here was sent on a connection that broke.
            let again: Vec<u8> = self.recent.iter().flat_map(|(_, bytes)| bytes).copied().collect();
            stream.write_all(&again).await.map_err(|error| self.failure("send", &error))?;
        }
        let mut bytes = Vec::new();
        for message in messages {
            bytes.extend(message.bytes().map(|byte| if byte == b'\n' { b' ' } else { byte }));
            bytes.push(b'\n');
        }
        stream.write_all(&bytes).await.map_err(|error| self.failure("send", &error))?;
        match stream.settled().await {
            Standing::Open => {
                self.remember(bytes);
                self.link = Some(Link::Stream(stream));
                Ok(())
            }
            Standing::Ended => {
                self.recent.clear();
                Ok(())
            }
            Standing::Broken => Err(temporary(format!("{} at {}: the connection was reset", self.what, self.target))),
        }
    }

    fn remember(&mut self, bytes: Vec<u8>) {
        self.recent.push_back((Instant::now(), bytes));
        let mut size: usize = self.recent.iter().map(|(_, bytes)| bytes.len()).sum();
        while let Some((sent, bytes)) = self.recent.front() {
            if sent.elapsed() < DOUBTFUL && size <= DOUBTFUL_SIZE {
                break;
            }
            size -= bytes.len();
            self.recent.pop_front();
        }
    }

    async fn connect(&mut self) -> Result<Link, DeliveryError> {
        let (host, port) = match &self.target {
            Target::Path(_) => return self.connect_unix().await.map_err(|error| self.failure("connect", &error)),
            Target::Host { host, port } => (host.as_str(), *port),
        };
        let addresses: Vec<SocketAddr> = match timeout(RESOLVING, lookup_host((host, port))).await {
            Ok(Ok(found)) => found.collect(),
            Ok(Err(error)) => return Err(self.failure("resolve", &error)),
            Err(_) => return Err(self.failure("resolve", &ErrorKind::TimedOut.into())),
        };
        let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
        let first = self.turn.checked_rem(addresses.len()).unwrap_or(0);
        for address in addresses.iter().cycle().skip(first).take(addresses.len()) {
            let attempt = async {
                if self.kind == Kind::Stream {
                    let stream = TcpStream::connect(address).await?;
                    stream.set_nodelay(true)?;
                    setsockopt(&stream, TcpUserTimeout, &UNCONFIRMED)?;
                    return Ok(Link::Stream(Stream::Tcp(stream)));
                }
                let any: SocketAddr = match address {
                    SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                    SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
                };
                let socket = UdpSocket::bind(any).await?;
                socket.connect(address).await?;
                Ok::<_, io::Error>(Link::Udp { socket, since: Instant::now() })
            };
            match timeout(CONNECTING, attempt).await {
                Ok(Ok(link)) => return Ok(link),
                Ok(Err(error)) => last = error,
                Err(_) => last = ErrorKind::TimedOut.into(),
            }
        }
        Err(self.failure("connect", &last))
    }

    async fn connect_unix(&self) -> io::Result<Link> {
        let Target::Path(path) = &self.target else { return Err(ErrorKind::InvalidInput.into()) };
        if self.kind != Kind::Stream {
            let socket = UnixDatagram::unbound()?;
            match socket.connect(path) {
                Ok(()) => return Ok(Link::Unix(socket)),
                Err(error) if self.kind == Kind::Datagram => return Err(error),
                Err(_) => {}
            }
        }
        Ok(Link::Stream(Stream::Unix(UnixStream::connect(path).await?)))
    }

    fn failure(&self, doing: &str, error: &io::Error) -> DeliveryError {
        temporary(format!("{} at {}: cannot {doing}: {error}", self.what, self.target))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { host, port } => write!(f, "`{host}` port {port}"),
            Self::Path(path) => write!(f, "`{}`", path.display()),
        }
    }
}

impl Stream {
    async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes).await,
            Self::Unix(stream) => stream.write_all(bytes).await,
        }
    }

    /// Whether the peer has ended or reset the stream. What it sent is thrown away: daemons do not talk.
    fn standing(&self) -> Standing {
        let mut unheard = [0; 512];
        loop {
            let (error, read) = match self {
                Self::Tcp(stream) => (stream.take_error(), stream.try_read(&mut unheard)),
                Self::Unix(stream) => (stream.take_error(), stream.try_read(&mut unheard)),
            };
            match (error, read) {
                (Ok(None), Ok(0)) => return Standing::Ended,
                (Ok(None), Ok(_)) => {}
                (Ok(None), Err(error)) if error.kind() == ErrorKind::WouldBlock => break,
                _ => return Standing::Broken,
            }
        }
        // The runtime only knows what it was told when it last looked; the socket knows better.
        let socket = match self {
            Self::Tcp(stream) => stream.as_raw_fd(),
            Self::Unix(stream) => stream.as_raw_fd(),
        };
        match recv(socket, &mut unheard, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_PEEK) {
            Ok(0) => Standing::Ended,
            Ok(_) | Err(Errno::EAGAIN) => Standing::Open,
            Err(_) => Standing::Broken,
        }
    }

    /// The same, a moment after sending. A peer that ended earlier answers what came too late with
    /// a reset; one that only ended its own side does not.
    async fn settled(&self) -> Standing {
        let word = async {
            match self {
                Self::Tcp(stream) => stream.ready(Interest::READABLE).await,
                Self::Unix(stream) => stream.ready(Interest::READABLE).await,
            }
        };
        let _ = timeout(REFUSING, word).await;
        match self.standing() {
            Standing::Ended => {
                sleep(REFUSING).await;
                self.standing()
            }
            standing => standing,
        }
    }
}

enum Datagrams<'a> {
    Udp(&'a UdpSocket),
    Unix(&'a UnixDatagram),
}

impl Datagrams<'_> {
    async fn send(&self, message: &str) -> io::Result<usize> {
        match self {
            Self::Udp(socket) => socket.send(message.as_bytes()).await,
            Self::Unix(socket) => socket.send(message.as_bytes()).await,
        }
    }
}

async fn send_datagrams(socket: &Datagrams<'_>, messages: &[String]) -> Result<(), Failure> {
    for (delivered, message) in messages.iter().enumerate() {
        match send_datagram(socket, message).await {
            Ok(None) => {}
            Ok(Some(sent)) => {
                let reason = format!("only {sent} of {} bytes fit into a datagram and were sent", message.len());
                return Err(Failure { delivered, error: DeliveryError::Refused { reason } });
            }
            // A refusal over UDP tells of messages before this one.
            Err(error) => {
                let delivered = if matches!(socket, Datagrams::Unix(_)) { delivered } else { 0 };
                return Err(Failure { delivered, error: temporary(format!("cannot send: {error}")) });
            }
        }
    }
    if let Datagrams::Udp(socket) = socket {
        let _ = timeout(REFUSING, socket.ready(Interest::ERROR)).await;
        if let Ok(Some(error)) = socket.take_error() {
            return Err(Failure { delivered: 0, error: temporary(format!("cannot send: {error}")) });
        }
    }
    Ok(())
}

/// Sends a message, or as much of its beginning as fits: a cut alert is better than none. Says how
/// much that was when it is not all.
async fn send_datagram(socket: &Datagrams<'_>, message: &str) -> io::Result<Option<usize>> {
    let mut result = socket.send(message).await;
    for cut in CUTS {
        match result {
            Err(error) if error.raw_os_error() == Some(Errno::EMSGSIZE as i32) => {
                let part = message.get(..message.floor_char_boundary(*cut)).unwrap_or(message);
                result = socket.send(part).await;
            }
            _ => break,
        }
    }
    result.map(|sent| (sent < message.len()).then_some(sent))
}
