//! The dialogue: one conversation with one peer, as a pure state machine.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::Outbox;

/// One conversation. The frame calls it; nothing it does blocks, waits or touches a socket.
///
/// Order: [`open`](Self::open) once; then [`feed`](Self::feed) as bytes come; [`ended`](Self::ended),
/// [`expired`](Self::expired) or [`overflowed`](Self::overflowed) at most once, after which it is dropped.
pub trait Dialogue: Send {
    /// The connection stands (with [`Security::Tls`](crate::Security::Tls): the handshake is done). Greet here.
    fn open(&mut self, out: &mut Outbox);

    /// Looks at all bytes that wait and says how many it used up. The frame calls again with the
    /// rest while something was used, and waits for more when nothing was. Everything asked for in
    /// `out` happens, in order, before the next call when it contains a pause, a computation, TLS
    /// or a close; otherwise before the frame waits for the peer again.
    ///
    /// INVARIANT: the result is at most `input.len()`.
    fn feed(&mut self, input: &[u8], out: &mut Outbox) -> usize;

    /// The peer will send no more; `rest` is what it sent and nobody used. The frame closes after this.
    fn ended(&mut self, rest: &[u8], out: &mut Outbox) {
        let _ = (rest, out);
    }

    /// The idle limit or that of the whole time was reached; `rest` is what the peer sent and nobody used. The
    /// frame closes after this.
    fn expired(&mut self, rest: &[u8], out: &mut Outbox) {
        let _ = (rest, out);
    }

    /// More bytes wait than `Limits::unconsumed` allows. The frame closes after this.
    fn overflowed(&mut self, input: &[u8], out: &mut Outbox) {
        let _ = (input, out);
    }

    /// TLS that was asked for with `Outbox::start_tls` stands.
    fn secured(&mut self, tls: &TlsFacts, out: &mut Outbox) {
        let _ = (tls, out);
    }

    /// What `Outbox::compute` asked for is done. No `feed` happens between.
    fn computed(&mut self, result: Vec<u8>, out: &mut Outbox) {
        let _ = (result, out);
    }
}

/// Who talks to whom: bound once per connection, and in every event of it.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The connection.
    pub session: SessionId,
    /// The peer's address.
    pub peer: SocketAddr,
    /// The address that the peer really used.
    pub local: SocketAddr,
    /// How the bytes come.
    pub transport: Transport,
    /// 32 random bytes of this connection, for nonces, salts and cookies. A dialogue draws no
    /// randomness of its own; what needs more expands these.
    pub entropy: [u8; 32],
    /// A number that counts connections of the endpoint since the start, from 1.
    pub count: u64,
    /// The host name that the canary plays.
    pub host_name: Arc<str>,
}

/// How the bytes come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// As they are.
    Plain,
    /// Out of TLS.
    Tls(TlsFacts),
    /// As they are, on a port where TLS was to be expected.
    PlainOnTlsPort,
    /// In datagrams.
    Datagrams,
}

/// What a TLS handshake said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// Server name that the client asked for.
    pub server_name: Option<String>,
    /// ALPN protocol that was agreed.
    pub alpn: Option<Vec<u8>>,
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// Cipher suite's IANA name.
    pub cipher: String,
}

/// Identifies a connection in events: 16 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
