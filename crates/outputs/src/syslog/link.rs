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
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::{TcpStream, UdpSocket, UnixDatagram, UnixStream, lookup_host};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::client::TlsStream;

use crate::tls::Tls;
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

/// How messages of a stream are told apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Framing {
    /// A newline ends each, and inside there is none (RFC 6587, section 3.4.2).
    Line,
    /// Its length in decimal and a space come before each (RFC 6587, section 3.4.1; RFC 5425).
    Counted,
    /// A NUL ends each, and inside there is none (GELF).
    Nul,
}

/// A message without framing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Message {
    /// Text, of which the beginning says something too when a datagram does not hold all of it.
    Text(String),
    /// Bytes that are of use only whole: a datagram each, or one after the other on a stream.
    Pieces(Vec<Vec<u8>>),
}

/// Longest wait for a name's addresses.
const RESOLVING: Duration = Duration::from_secs(5);

/// Longest wait for one connection.
const CONNECTING: Duration = Duration::from_secs(5);

/// How long after sending a refusal is waited for at most: some round trips of a local network.
const REFUSING: Duration = Duration::from_millis(10);

/// And at least: a refusal comes a round trip after what it refuses, and connecting took one.
const REFUSING_AT_LEAST: Duration = Duration::from_millis(1);

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
    framing: Framing,
    /// TLS, for streams over the network.
    tls: Option<Tls>,
    link: Option<Link>,
    /// How long a refusal on the stream is waited for.
    refusing: Duration,
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
    Tls(Box<TlsStream<TcpStream>>),
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
        let (framing, tls) = (Framing::Line, None);
        Self { what, target, kind, framing, tls, link: None, refusing: REFUSING, turn: 0, recent: VecDeque::new() }
    }

    /// The same with another framing, and over TLS when given.
    pub(crate) fn with(self, framing: Framing, tls: Option<Tls>) -> Self {
        Self { framing, tls, ..self }
    }

    /// Sends texts in order.
    pub(crate) async fn send(&mut self, messages: impl Iterator<Item = String>) -> Result<(), Failure> {
        let messages: Vec<_> = messages.map(Message::Text).collect();
        self.send_messages(&messages).await
    }

    /// Most messages of a batch: a burst of datagrams that no daemon's buffer holds would be lost.
    pub(crate) const fn batch_limit(&self) -> usize {
        if matches!(self.kind, Kind::Stream) { 256 } else { 64 }
    }

    /// Sends messages in order.
    pub(crate) async fn send_messages(&mut self, messages: &[Message]) -> Result<(), Failure> {
        let failed = |error| Failure { delivered: 0, error };
        // Taken out, so that a send that is given up half way costs the connection and no half
        // message is ever followed by another.
        let standing = match self.link.take() {
            Some(link) => self.still_good(link).await,
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
    async fn still_good(&mut self, link: Link) -> Option<Link> {
        match link {
            Link::Udp { since, .. } if since.elapsed() > STALE => None,
            Link::Udp { socket, since } => {
                // What came too late to be told: the error belongs to messages long gone.
                let _ = socket.take_error();
                Some(Link::Udp { socket, since })
            }
            Link::Unix(_) => Some(link),
            Link::Stream(mut stream) => match stream.standing().await {
                Standing::Open => Some(Link::Stream(stream)),
                Standing::Ended => {
                    self.recent.clear();
                    None
                }
                Standing::Broken => None,
            },
        }
    }

    async fn send_stream(
        &mut self,
        mut stream: Stream,
        fresh: bool,
        messages: &[Message],
    ) -> Result<(), DeliveryError> {
        if fresh {
            // Anything left here was sent on a connection that broke.
            let again: Vec<u8> = self.recent.iter().flat_map(|(_, bytes)| bytes).copied().collect();
            stream.write_all(&again).await.map_err(|error| self.failure("send", &error))?;
        }
        let mut bytes = Vec::new();
        for message in messages {
            self.framing.write(message, &mut bytes);
        }
        stream.write_all(&bytes).await.map_err(|error| self.failure("send", &error))?;
        match stream.settled(self.refusing).await {
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
        let secure = match &self.tls {
            Some(tls) => Some(tls.connector(host).await.map_err(temporary)?),
            None => None,
        };
        for address in addresses.iter().cycle().skip(first).take(addresses.len()) {
            let attempt = async {
                if self.kind == Kind::Stream {
                    let begun = Instant::now();
                    let stream = TcpStream::connect(address).await?;
                    let refusing = if address.ip().is_loopback() || stream.local_addr()?.ip() == address.ip() {
                        // Within a machine an answer is there as soon as something was sent.
                        REFUSING_AT_LEAST
                    } else {
                        (begun.elapsed() * 2).clamp(REFUSING_AT_LEAST, REFUSING)
                    };
                    stream.set_nodelay(true)?;
                    setsockopt(&stream, TcpUserTimeout, &UNCONFIRMED)?;
                    if let Some((connector, name)) = &secure {
                        let stream = connector.connect(name.clone(), stream).await?;
                        return Ok((Link::Stream(Stream::Tls(Box::new(stream))), refusing));
                    }
                    return Ok((Link::Stream(Stream::Tcp(stream)), refusing));
                }
                let any: SocketAddr = match address {
                    SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                    SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
                };
                let socket = UdpSocket::bind(any).await?;
                socket.connect(address).await?;
                Ok::<_, io::Error>((Link::Udp { socket, since: Instant::now() }, REFUSING))
            };
            match timeout(CONNECTING, attempt).await {
                Ok(Ok((link, refusing))) => {
                    self.refusing = refusing;
                    return Ok(link);
                }
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
            Self::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
        }
    }

    /// Whether the peer has ended or reset the stream. What it sent is thrown away: daemons do not talk.
    async fn standing(&mut self) -> Standing {
        let mut unheard = [0; 512];
        loop {
            let (error, read) = match self {
                Self::Tcp(stream) => (stream.take_error(), stream.try_read(&mut unheard)),
                Self::Unix(stream) => (stream.take_error(), stream.try_read(&mut unheard)),
                // Only TLS itself can tell what is in its records.
                Self::Tls(stream) => (stream.get_ref().0.take_error(), Err(ErrorKind::WouldBlock.into())),
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
            Self::Tls(stream) => stream.get_ref().0.as_raw_fd(),
        };
        match (recv(socket, &mut unheard, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_PEEK), self) {
            (Ok(0), _) => Standing::Ended,
            // A ticket for a later session, or the end.
            (Ok(_), Self::Tls(stream)) => heard(stream).await,
            (Ok(_) | Err(Errno::EAGAIN), _) => Standing::Open,
            (Err(_), _) => Standing::Broken,
        }
    }

    /// The same, a moment after sending. A peer that ended earlier answers what came too late with
    /// a reset; one that only ended its own side does not.
    async fn settled(&mut self, refusing: Duration) -> Standing {
        let word = async {
            match self {
                Self::Tcp(stream) => stream.ready(Interest::READABLE).await,
                Self::Unix(stream) => stream.ready(Interest::READABLE).await,
                Self::Tls(stream) => stream.get_ref().0.ready(Interest::READABLE).await,
            }
        };
        let _ = timeout(refusing, word).await;
        match self.standing().await {
            Standing::Ended => {
                sleep(REFUSING).await;
                self.standing().await
            }
            standing => standing,
        }
    }
}

/// What a peer says within a moment, over TLS.
async fn heard(stream: &mut TlsStream<TcpStream>) -> Standing {
    let mut unheard = [0; 512];
    let words = async {
        loop {
            match stream.read(&mut unheard).await {
                Ok(0) => return Standing::Ended,
                Ok(_) => {}
                // The connection ended without TLS's own farewell, as many daemons do it.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Standing::Ended,
                Err(_) => return Standing::Broken,
            }
        }
    };
    timeout(REFUSING, words).await.unwrap_or(Standing::Open)
}

impl Framing {
    fn write(self, message: &Message, out: &mut Vec<u8>) {
        let pieces: Vec<&[u8]> = match message {
            Message::Text(text) => vec![text.as_bytes()],
            Message::Pieces(pieces) => pieces.iter().map(Vec::as_slice).collect(),
        };
        let (forbidden, end) = match self {
            Self::Line => (b'\n', b'\n'),
            Self::Nul => (0, 0),
            Self::Counted => {
                let length: usize = pieces.iter().map(|piece| piece.len()).sum();
                out.extend_from_slice(format!("{length} ").as_bytes());
                pieces.iter().for_each(|piece| out.extend_from_slice(piece));
                return;
            }
        };
        let begin = out.len();
        pieces.iter().for_each(|piece| out.extend_from_slice(piece));
        let message = out.get_mut(begin..).unwrap_or_default();
        message.iter_mut().filter(|byte| **byte == forbidden).for_each(|byte| *byte = b' ');
        out.push(end);
    }
}

enum Datagrams<'a> {
    Udp(&'a UdpSocket),
    Unix(&'a UnixDatagram),
}

impl Datagrams<'_> {
    async fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Udp(socket) => socket.send(bytes).await,
            Self::Unix(socket) => socket.send(bytes).await,
        }
    }
}

async fn send_datagrams(socket: &Datagrams<'_>, messages: &[Message]) -> Result<(), Failure> {
    for (delivered, message) in messages.iter().enumerate() {
        let sent = match message {
            Message::Text(text) => send_datagram(socket, text).await,
            Message::Pieces(pieces) => send_pieces(socket, pieces).await,
        };
        match sent {
            Ok(None) => {}
            Ok(Some(reason)) => return Err(Failure { delivered, error: DeliveryError::Refused { reason } }),
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

fn is_too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EMSGSIZE as i32)
}

/// Sends a message, or as much of its beginning as fits: a cut alert is better than none. Says how
/// much that was when it is not all.
async fn send_datagram(socket: &Datagrams<'_>, message: &str) -> io::Result<Option<String>> {
    let mut result = socket.send(message.as_bytes()).await;
    for cut in CUTS {
        match result {
            Err(error) if is_too_long(&error) => {
                let part = message.get(..message.floor_char_boundary(*cut)).unwrap_or(message);
                result = socket.send(part.as_bytes()).await;
            }
            _ => break,
        }
    }
    let (sent, whole) = (result?, message.len());
    Ok((sent < whole).then(|| format!("only {sent} of {whole} bytes fit into a datagram and were sent")))
}

/// Sends all pieces; says which is too long for the path.
async fn send_pieces(socket: &Datagrams<'_>, pieces: &[Vec<u8>]) -> io::Result<Option<String>> {
    for piece in pieces {
        match socket.send(piece).await {
            Err(error) if is_too_long(&error) => {
                return Ok(Some(format!("{} bytes do not fit into a datagram on this path", piece.len())));
            }
            result => result?,
        };
    }
    Ok(None)
}
