//! A service that asks instead of waiting: what it sends to a network, and what it makes of the answers.
//!
//! The frame keeps the time, finds the interfaces, opens the sockets and reads from them; a [`Seeker`] is
//! pure. It never says where to connect to: a question goes to a group or to a network's broadcast address,
//! and what comes back is looked at and not answered.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::Outbox;

/// A network interface at the moment of a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name, `eth0`.
    pub name: String,
    /// The system's number for it.
    pub index: u32,
    /// Whether it is the loopback.
    pub is_loopback: bool,
    /// IPv4 addresses, each with the broadcast address of its network if it has one.
    pub v4: Vec<(Ipv4Addr, Option<Ipv4Addr>)>,
    /// IPv6 addresses.
    pub v6: Vec<Ipv6Addr>,
}

/// One question: a datagram and how to send it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The interface's own address to send it from.
    pub from: IpAddr,
    /// The port to send it from, if it can be had; otherwise one that the system chooses.
    pub source_port: Option<u16>,
    /// The group or broadcast address, and port.
    pub to: SocketAddr,
    /// TTL or hop limit.
    pub hops: u8,
    /// How often it is sent in all, at least once, and the time between.
    pub times: (u8, Duration),
    /// The datagram.
    pub bytes: Vec<u8>,
}

/// A datagram that came back.
#[derive(Clone, Debug)]
pub struct Heard<'a> {
    /// The interface on which the question was sent.
    pub interface: &'a str,
    /// Who sent it.
    pub source: SocketAddr,
    /// The protocol's port, to which the question went.
    pub port: u16,
    /// TTL or hop limit, where the system tells.
    pub hops: Option<u8>,
    /// The datagram.
    pub bytes: &'a [u8],
}

/// Asks and listens. One value serves from the start of the canary, or the last reload that changed its
/// settings, to the end.
pub trait Seeker: Send {
    /// Time before the next round, out of 32 random bytes.
    fn pause(&mut self, entropy: [u8; 32]) -> Duration;

    /// Whether questions go to this interface, which is up.
    fn wants(&self, interface: &Interface) -> bool;

    /// A new round begins; what was asked before is forgotten.
    fn begin(&mut self);

    /// The questions of this round to an interface.
    fn ask(&mut self, interface: &Interface, entropy: [u8; 32]) -> Vec<Question>;

    /// How long a round listens.
    fn patience(&self) -> Duration;

    /// Looks at a datagram that came back. Events go to `out`; replies there go nowhere.
    ///
    /// To an event whose kind has the key `MAC` the frame adds the source's hardware address, where the
    /// system knows it.
    fn hear(&mut self, heard: &Heard<'_>, out: &mut Outbox);

    /// Source ports that questions want, to be had before privileges are given up.
    fn ports(&self) -> &'static [u16] {
        &[]
    }
}
