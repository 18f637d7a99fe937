//! Who and where: one end of a connection as the event names it.

use std::net::{IpAddr, SocketAddr};

/// A port as OpenCanary writes it: a number, or text in the events of two of its modules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Port {
    /// A number; -1 means there is none.
    Number(i64),
    /// Text: port scans write both ports so, SMB its source port (`"-1"`).
    Text(String),
}

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The address without brackets or zone; empty when there is none.
    pub host: String,
    /// The port.
    pub port: Port,
}

impl Origin {
    /// No address and port -1, as OpenCanary writes events without a connection.
    #[must_use]
    pub const fn none() -> Self {
        Self { host: String::new(), port: Port::Number(-1) }
    }
}

impl From<SocketAddr> for Origin {
    /// A v4-mapped IPv6 address becomes the IPv4 address that it carries.
    fn from(address: SocketAddr) -> Self {
        let ip: IpAddr = address.ip().to_canonical();
        Self { host: ip.to_string(), port: Port::Number(i64::from(address.port())) }
    }
}
