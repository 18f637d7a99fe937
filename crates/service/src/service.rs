//! The service: where it listens, what it allows, whom it talks to.

use std::path::PathBuf;
use std::time::Duration;

use crate::{Dialogue, Facts, Follow, Outbox, Seeker};

/// An imitated service, built from the settings. One value serves all its connections.
pub trait Service: Send + Sync + 'static {
    /// Where it listens. At least one, unless it has a [`Service::seeker`] or [`Service::follows`] a file.
    fn endpoints(&self) -> Vec<Endpoint>;

    /// A new conversation on endpoint `endpoint` (an index into [`Service::endpoints`]), for endpoints over
    /// TCP. What has none of these need not say so.
    fn dialogue(&self, endpoint: usize, facts: &Facts) -> Box<dyn Dialogue> {
        let _ = (endpoint, facts);
        Box::new(Silent)
    }

    /// One datagram to endpoint `endpoint`, for endpoints over UDP. Each `out.reply` is one datagram back.
    ///
    /// The frame sends a reply only while the source has not been answered more bytes than it sent, unless
    /// it is known to receive what is sent to it ([`Outbox::proven`]); see [`Allowance`](crate::Allowance).
    /// A datagram about which nothing is reported is reported by the frame.
    fn datagram(&self, endpoint: usize, facts: &Facts, bytes: &[u8], out: &mut Outbox) {
        let _ = (endpoint, facts, bytes, out);
    }

    /// What asks the network by itself, for a service that does.
    fn seeker(&self) -> Option<Box<dyn Seeker>> {
        None
    }

    /// Files of other programs that it reads.
    fn follows(&self) -> Vec<Follow> {
        Vec::new()
    }

    /// The certificate and options for TLS, when an endpoint needs it.
    fn tls(&self) -> Option<TlsProfile> {
        None
    }

    /// Limits of each connection.
    fn limits(&self) -> Limits {
        Limits::default()
    }

    /// TCP keep-alive of endpoint `endpoint`'s connections; `None` leaves it off.
    fn keep_alive(&self, endpoint: usize) -> Option<KeepAlive> {
        let _ = endpoint;
        None
    }
}

/// TCP keep-alive as the kernel is asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// Silence before the first probe (`TCP_KEEPIDLE`).
    pub idle: Duration,
    /// Time between probes (`TCP_KEEPINTVL`).
    pub interval: Duration,
    /// Unanswered probes after which the connection is dead (`TCP_KEEPCNT`).
    pub probes: u32,
}

/// One listening address of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Port as configured.
    pub port: u16,
    /// Over TCP or UDP.
    pub protocol: Protocol,
    /// The word in `aviary.service`: the entry's name, or `tcpbanner_1` and the like.
    pub label: String,
    /// Whether TLS comes first, later, or never.
    pub security: Security,
    /// A command that touches it, with `{host}` and `{port}` to fill in: `curl http://{host}:{port}/`.
    pub try_line: &'static str,
}

impl Endpoint {
    /// Whether it is the same place to the outside: label, protocol and port.
    #[must_use]
    pub fn is_at(&self, other: &Self) -> bool {
        (self.label.as_str(), self.protocol, self.port) == (other.label.as_str(), other.protocol, other.port)
    }
}

/// What carries the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// A stream a peer.
    Tcp,
    /// Datagrams.
    Udp,
}

/// The dialogue of a service that has none.
struct Silent;

impl Dialogue for Silent {
    fn open(&mut self, out: &mut Outbox) {
        out.close();
    }

    fn feed(&mut self, input: &[u8], _out: &mut Outbox) -> usize {
        input.len()
    }
}

/// When TLS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Never.
    Plain,
    /// With the first byte. A peer that speaks plainly reaches the dialogue too, with
    /// [`Facts::transport`] saying so, since real servers answer that in their own way.
    Tls,
    /// When the dialogue asks for it with `Outbox::start_tls`.
    OnDemand,
}

/// Limits of one connection; the frame enforces them.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time without a byte from the peer, after which `Dialogue::expired` is called and the connection ends.
    pub idle: Duration,
    /// Time after which it ends whatever happens.
    pub total: Duration,
    /// Bytes that may wait unconsumed; beyond, `Dialogue::overflowed` is called and the connection ends.
    pub unconsumed: usize,
    /// Bytes that the peer may send in all.
    pub received: u64,
    /// Connections at once to each endpoint.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(300),
            total: Duration::from_secs(3600),
            unconsumed: 64 * 1024,
            received: 16 * 1024 * 1024,
            connections: 30_000,
        }
    }
}

/// What the service's certificate says. It is made at the first start and kept.
#[derive(Clone, Debug)]
pub struct TlsProfile {
    /// Name under which the vault keeps it, `https`.
    pub name: String,
    /// Subject and issuer attributes in order, as (`"CN"`, value); with `issuer` empty it is self-signed.
    pub subject: Vec<(&'static str, String)>,
    /// Issuer attributes when the product's certificate names another issuer than itself.
    pub issuer: Vec<(&'static str, String)>,
    /// DNS names of the subject alternative name extension.
    pub names: Vec<String>,
    /// The key.
    pub key: TlsKey,
    /// Days of validity; it begins some months before the first start.
    pub days: u32,
    /// Whether it says what Windows' own certificates say: server authentication as the only extended
    /// use, and a key that enciphers keys and data.
    pub server_auth: bool,
    /// ALPN protocols in order of preference.
    pub alpn: Vec<Vec<u8>>,
    /// The operator's own certificate chain and key (PEM), used when both can be read.
    pub files: Option<(PathBuf, PathBuf)>,
}

/// Kind of key in a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsKey {
    /// RSA, 2048 bits.
    Rsa2048,
    /// ECDSA on P-256.
    EcdsaP256,
}
