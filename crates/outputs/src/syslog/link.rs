//! The connection to a daemon that takes messages and never answers, whatever it runs over.

use std::collections::VecDeque;
use std::fmt;
use std::future::pending;
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
use tokio::time::{Instant, sleep, timeout, timeout_at};
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

/// When the peer ended the connection in good order it has read everything; what it read this shortly before may have
/// died with it all the same, and is sent again.
const FRESH: Duration = Duration::from_secs(2);

/// So often at most: a peer that leaves whenever it is idle must not get the same for ever.
const REPETITIONS: u32 = 3;

/// A peer that never kept a connection open and ended so many after the first thing that was sent does so always.
const HABIT: u32 = 3;

/// Bytes of a peer's words that are kept.
const WORDS: usize = 200;

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
    /// What went out on the stream lately.
    recent: VecDeque<Sent>,
    /// Whether the peer ever kept a stream open until something else was sent.
    stays: bool,
    /// Streams in a row that the peer ended in good order after the first thing that was sent.
    ended: u32,
    /// When a stream broke last while nothing was sent.
    broke: Option<Instant>,
    /// What was wrong with the last stream, until it is said.
    trouble: Option<DeliveryError>,
}

/// What went out on a stream.
struct Sent {
    at: Instant,
    bytes: Vec<u8>,
    /// How often it was sent again after an end in good order.
    again: u32,
}

enum Link {
    Udp { socket: UdpSocket, since: Instant },
    Unix(UnixDatagram),
    Stream(Stream),
}

/// A stream, and what the peer said on it: such a peer has nothing to say, so that whoever speaks is another one.
struct Stream {
    wire: Wire,
    words: Vec<u8>,
}

enum Wire {
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
        let recent = VecDeque::new();
        Self {
            what,
            target,
            kind,
            framing,
            tls,
            link: None,
            refusing: REFUSING,
            turn: 0,
            recent,
            stays: false,
            ended: 0,
            broke: None,
            trouble: None,
        }
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
        if let Some(trouble) = self.trouble.take() {
            return Err(failed(trouble));
        }
        let fresh = standing.is_none();
        if !fresh {
            (self.stays, self.ended) = (true, 0);
        }
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
            Link::Stream(mut stream) => {
                let standing = stream.standing().await;
                self.note(standing, &stream.words).then_some(Link::Stream(stream))
            }
        }
    }

    /// Whether a stream can still be used; if not, keeps what has to be sent again.
    fn note(&mut self, standing: Standing, words: &[u8]) -> bool {
        if matches!(standing, Standing::Open) {
            return true;
        }
        self.recent.retain(|sent| sent.at.elapsed() < DOUBTFUL);
        match standing {
            Standing::Ended if words.is_empty() && self.is_habit() => self.recent.clear(),
            Standing::Ended if words.is_empty() => {
                self.ended = self.ended.saturating_add(1);
                self.recent.retain_mut(|sent| {
                    sent.again = sent.again.saturating_add(1);
                    sent.at.elapsed() < FRESH && sent.again <= REPETITIONS
                });
            }
            // Whoever speaks and ends is not who shall read.
            Standing::Ended => self.trouble = Some(self.broken(words, "ended the connection")),
            // A daemon may start anew; one that breaks connections again and again is to be left alone for a while.
            _ if self.broke.is_some_and(|at| at.elapsed() < DOUBTFUL) => {
                self.trouble = Some(self.broken(words, "the connection was reset"));
            }
            _ => {}
        }
        if matches!(standing, Standing::Broken) {
            self.broke = Some(Instant::now());
        }
        false
    }

    const fn is_habit(&self) -> bool {
        !self.stays && self.ended >= HABIT
    }

    /// What became of a stream, and what the peer said before.
    fn broken(&self, words: &[u8], why: &str) -> DeliveryError {
        let said = match String::from_utf8_lossy(words).trim() {
            "" => String::new(),
            words => format!("it said `{words}` and "),
        };
        temporary(format!("{} at {}: {said}{why}", self.what, self.target))
    }

    /// Resolves when what was sent came into doubt, and `send` should be called, if only with nothing.
    pub(crate) async fn in_doubt(&mut self) {
        loop {
            match &mut self.link {
                _ if self.recent.is_empty() => return pending().await,
                None => return,
                Some(Link::Stream(stream)) => {
                    stream.readable().await;
                    let standing = stream.standing().await;
                    let words = std::mem::take(&mut stream.words);
                    if !self.note(standing, &words) {
                        self.link = None;
                    }
                }
                Some(_) => return pending().await,
            }
        }
    }

    async fn send_stream(
        &mut self,
        mut stream: Stream,
        fresh: bool,
        messages: &[Message],
    ) -> Result<(), DeliveryError> {
        let mut bytes = Vec::new();
        for message in messages {
            self.framing.write(message, &mut bytes);
        }
        let mut all = Vec::new();
        if fresh {
            // Anything left here was sent on a connection that broke.
            self.recent.iter().for_each(|sent| all.extend_from_slice(&sent.bytes));
        }
        all.extend_from_slice(&bytes);
        stream.write_all(&all).await.map_err(|error| self.failure("send", &error))?;
        let standing = stream.settled(self.refusing).await;
        match standing {
            Standing::Open => {
                if fresh {
                    let now = Instant::now();
                    self.recent.iter_mut().for_each(|sent| sent.at = now);
                }
                self.remember(bytes);
                self.link = Some(Link::Stream(stream));
                Ok(())
            }
            Standing::Ended if stream.words.is_empty() && self.is_habit() => {
                self.recent.clear();
                Ok(())
            }
            Standing::Ended => {
                self.ended = if stream.words.is_empty() { self.ended.saturating_add(1) } else { 0 };
                Err(self.broken(&stream.words, "ended the connection as soon as something was sent"))
            }
            Standing::Broken => Err(self.broken(&stream.words, "the connection was reset")),
        }
    }

    fn remember(&mut self, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.recent.push_back(Sent { at: Instant::now(), bytes, again: 0 });
        }
        let mut size: usize = self.recent.iter().map(|sent| sent.bytes.len()).sum();
        while let Some(sent) = self.recent.front() {
            if sent.at.elapsed() < DOUBTFUL && size <= DOUBTFUL_SIZE {
                break;
            }
            size -= sent.bytes.len();
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
                        return Ok((stream_of(Wire::Tls(Box::new(stream))), refusing));
                    }
                    return Ok((stream_of(Wire::Tcp(stream)), refusing));
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
        Ok(stream_of(Wire::Unix(UnixStream::connect(path).await?)))
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

const fn stream_of(wire: Wire) -> Link {
    Link::Stream(Stream { wire, words: Vec::new() })
}

impl Stream {
    async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.wire {
            Wire::Tcp(stream) => stream.write_all(bytes).await,
            Wire::Unix(stream) => stream.write_all(bytes).await,
            Wire::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
        }
    }

    /// Whether the peer has ended or reset the stream. The beginning of what it said is kept for people.
    async fn standing(&mut self) -> Standing {
        let mut heard = [0; 512];
        loop {
            let (error, read) = match &self.wire {
                Wire::Tcp(stream) => (stream.take_error(), stream.try_read(&mut heard)),
                Wire::Unix(stream) => (stream.take_error(), stream.try_read(&mut heard)),
                // Only TLS itself can tell what is in its records.
                Wire::Tls(stream) => (stream.get_ref().0.take_error(), Err(ErrorKind::WouldBlock.into())),
            };
            match (error, read) {
                (Ok(None), Ok(0)) => return Standing::Ended,
                (Ok(None), Ok(count)) => self.keep(heard.get(..count).unwrap_or_default()),
                (Ok(None), Err(error)) if error.kind() == ErrorKind::WouldBlock => break,
                _ => return Standing::Broken,
            }
        }
        // The runtime only knows what it was told when it last looked; the socket knows better.
        let socket = match &self.wire {
            Wire::Tcp(stream) => stream.as_raw_fd(),
            Wire::Unix(stream) => stream.as_raw_fd(),
            Wire::Tls(stream) => stream.get_ref().0.as_raw_fd(),
        };
        match (recv(socket, &mut heard, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_PEEK), &self.wire) {
            (Ok(0), _) => Standing::Ended,
            // A ticket for a later session, words, or the end.
            (Ok(_), Wire::Tls(_)) => self.hear().await,
            (Ok(_), _) => Standing::Open,
            (Err(Errno::EAGAIN), wire) => {
                if let Wire::Tls(stream) = wire {
                    // So that the next wait is not over at once.
                    let nothing = || Err::<(), _>(ErrorKind::WouldBlock.into());
                    let _ = stream.get_ref().0.try_io(Interest::READABLE, nothing);
                }
                Standing::Open
            }
            (Err(_), _) => Standing::Broken,
        }
    }

    fn keep(&mut self, words: &[u8]) {
        let room = WORDS.saturating_sub(self.words.len());
        self.words.extend(words.iter().take(room));
    }

    /// Resolves when there is something to hear, be it the end.
    async fn readable(&self) {
        let _ = match &self.wire {
            Wire::Tcp(stream) => stream.ready(Interest::READABLE).await,
            Wire::Unix(stream) => stream.ready(Interest::READABLE).await,
            Wire::Tls(stream) => stream.get_ref().0.ready(Interest::READABLE).await,
        };
    }

    /// The same as [`Stream::standing`], a moment after sending. A peer that ended earlier answers what came too late
    /// with a reset; one that only ended its own side does not.
    async fn settled(&mut self, refusing: Duration) -> Standing {
        let _ = timeout(refusing, self.readable()).await;
        match self.standing().await {
            Standing::Ended => {
                sleep(REFUSING).await;
                self.standing().await
            }
            // The end follows on the heels of words.
            Standing::Open if !self.words.is_empty() => {
                let _ = timeout(REFUSING, self.readable()).await;
                self.standing().await
            }
            standing => standing,
        }
    }

    /// What a peer says within a moment, over TLS.
    async fn hear(&mut self) -> Standing {
        let until = Instant::now() + REFUSING;
        loop {
            let Wire::Tls(stream) = &mut self.wire else { return Standing::Open };
            let mut heard = [0; 512];
            match timeout_at(until, stream.read(&mut heard)).await {
                Err(_) => return Standing::Open,
                Ok(Ok(0)) => return Standing::Ended,
                Ok(Ok(count)) => self.keep(heard.get(..count).unwrap_or_default()),
                // The connection ended without TLS's own farewell, as many daemons do it.
                Ok(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => return Standing::Ended,
                Ok(Err(_)) => return Standing::Broken,
            }
        }
    }
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
