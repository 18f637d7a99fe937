//! Ways in beside HTTP, for canaries that are not ours: lines of JSON over TCP, and syslog over UDP, TCP and TLS.
//!
//! None of them has a place for a credential, so a sender is known by its address ([`crate::Sender`]), or by a token that
//! stands before the event: in its syslog header, in its line, or alone in a line of its own, and then for all of the
//! connection that follows. None of them has an answer either: what is bad is counted and told in the hub's log, and a
//! sender over TCP waits while the hub takes nothing.

mod connections;
mod datagrams;
mod desk;
mod framing;

use std::net::SocketAddr;
use std::sync::Arc;

use desk::Desk;
use rustls::ServerConfig;
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::Hub;

/// A way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// JSON, an event a line, over TCP.
    Lines,
    /// Syslog over UDP.
    SyslogUdp,
    /// Syslog over TCP.
    SyslogTcp,
    /// Syslog over TLS.
    SyslogTls,
}

impl Way {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Lines => "lines",
            Self::SyslogUdp => "syslog over UDP",
            Self::SyslogTcp => "syslog over TCP",
            Self::SyslogTls => "syslog over TLS",
        }
    }
}

/// Why a way is not open.
#[derive(Debug, thiserror::Error)]
pub enum WaysError {
    /// The address cannot be listened on.
    #[error("`{address}` cannot be listened on for {way}: {reason}")]
    Listen {
        /// For what.
        way: &'static str,
        /// Where.
        address: SocketAddr,
        /// In the system's words.
        reason: String,
    },
}

/// Ways that are open.
#[derive(Debug, Default)]
pub struct Ways {
    listeners: Vec<(Way, TcpListener)>,
    sockets: Vec<UdpSocket>,
    addresses: Vec<(Way, SocketAddr)>,
}

impl Ways {
    /// Opens a way.
    ///
    /// # Errors
    /// Names the address and what the system says.
    pub async fn open(&mut self, way: Way, address: SocketAddr) -> Result<(), WaysError> {
        let bound = match way {
            Way::SyslogUdp => UdpSocket::bind(address).await.and_then(|socket| {
                let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(datagrams::BUFFER);
                let bound = socket.local_addr();
                self.sockets.push(socket);
                bound
            }),
            Way::Lines | Way::SyslogTcp | Way::SyslogTls => TcpListener::bind(address).await.and_then(|listener| {
                let bound = listener.local_addr();
                self.listeners.push((way, listener));
                bound
            }),
        };
        match bound {
            Ok(bound) => {
                self.addresses.push((way, bound));
                Ok(())
            }
            Err(error) => Err(WaysError::Listen { way: way.word(), address, reason: error.to_string() }),
        }
    }

    /// Where each way that is open listens.
    #[must_use]
    pub fn addresses(&self) -> &[(Way, SocketAddr)] {
        &self.addresses
    }

    /// Takes what comes until `stop` is done. What was read and is not stored then is lost, as these ways have it.
    pub async fn run(self, hub: Arc<Hub>, tls: Option<Arc<ServerConfig>>, stop: impl Future<Output = ()>) {
        let desk = Arc::new(Desk::new(hub));
        let acceptor = tls.map(|config| {
            // Senders of syslog agree on no protocol.
            let mut config = ServerConfig::clone(&config);
            config.alpn_protocols.clear();
            TlsAcceptor::from(Arc::new(config))
        });
        let mut tasks = JoinSet::new();
        for (way, listener) in self.listeners {
            let acceptor = acceptor.clone().filter(|_| way == Way::SyslogTls);
            if way == Way::SyslogTls && acceptor.is_none() {
                // Never in clear what should not be.
                tracing::error!("syslog over TLS has no certificate and stays shut");
                continue;
            }
            tasks.spawn(connections::listen(listener, way, acceptor, Arc::clone(&desk)));
        }
        for socket in self.sockets {
            tasks.spawn(datagrams::listen(socket, Arc::clone(&desk)));
        }
        stop.await;
    }
}
