//! Ethernet, IP, TCP, UDP and ICMP headers, as far as they are there.
//!
//! Whoever captures cuts frames, so lengths are those of the IP header, and what stands behind its end is
//! padding of the link. Nothing is put together again and no checksum is looked at: a packet of our own has
//! none before the network card fills it in. What the system itself would throw away, because a header or a
//! length is wrong, is no packet here either.

mod read;

use std::net::IpAddr;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Destination, source and type of the Ethernet header.
    pub ethernet: [u8; 14],
    /// Sender.
    pub source: IpAddr,
    /// Receiver.
    pub destination: IpAddr,
    /// What the IP header says beside.
    pub ip: Ip,
    /// What it carries.
    pub transport: Transport<'a>,
}

/// Fields of an IP header that the kernel prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ip {
    /// Version 4.
    V4 {
        /// Type of service, with its precedence.
        tos: u8,
        /// Total length.
        length: u16,
        /// Identification.
        id: u16,
        /// Flags and fragment offset.
        fragment: u16,
        /// Time to live.
        ttl: u8,
        /// Bytes of options.
        options: u8,
    },
    /// Version 6.
    V6 {
        /// Traffic class.
        class: u8,
        /// Flow label.
        flow: u32,
        /// Payload length and header.
        length: u32,
        /// Hop limit.
        hops: u8,
    },
}

impl Ip {
    /// Time to live, or hop limit.
    #[must_use]
    pub const fn ttl(&self) -> u8 {
        match *self {
            Self::V4 { ttl, .. } => ttl,
            Self::V6 { hops, .. } => hops,
        }
    }

    /// Identification; IPv6 has none.
    #[must_use]
    pub const fn id(&self) -> Option<u16> {
        match *self {
            Self::V4 { id, .. } => Some(id),
            Self::V6 { .. } => None,
        }
    }
}

/// What an IP packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport<'a> {
    /// A TCP segment.
    Tcp(Tcp<'a>),
    /// A UDP datagram.
    Udp(Udp<'a>),
    /// A message of ICMP, or of ICMPv6 in IPv6.
    Icmp(Icmp<'a>),
    /// A first fragment that ends inside the TCP header, so that nobody sees flags: no system divides so.
    Cut(Cut),
}

/// A TCP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp<'a> {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledgement: u32,
    /// The four bits between data offset and flags.
    pub reserved: u8,
    /// Flags.
    pub flags: Flags,
    /// Window.
    pub window: u16,
    /// Urgent pointer.
    pub urgent: u16,
    /// Options as they were captured, at most 40 bytes.
    pub options: &'a [u8],
    /// Bytes of data, captured or not.
    pub payload_length: usize,
}

/// A UDP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Udp<'a> {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
    /// Data, as far as it was captured.
    pub payload: &'a [u8],
    /// Bytes of data, captured or not.
    pub payload_length: usize,
}

/// The first eight bytes of an ICMP message, as those of an echo are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmp<'a> {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Identifier.
    pub id: u16,
    /// Sequence number.
    pub sequence: u16,
    /// Data, as far as it was captured.
    pub payload: &'a [u8],
    /// Bytes of data, captured or not.
    pub payload_length: usize,
}

/// The ports of a TCP header that is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
}

/// TCP's flags, as they stand in the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(pub u8);

impl Flags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// A connection begins.
    pub const SYN: u8 = 0x02;
    /// There is no such connection.
    pub const RST: u8 = 0x04;
    /// Give what came to the program.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement field counts.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer counts.
    pub const URG: u8 = 0x20;
    /// Congestion was met.
    pub const ECE: u8 = 0x40;
    /// The sender slowed down.
    pub const CWR: u8 = 0x80;

    /// The six flags of RFC 793.
    #[must_use]
    pub const fn classic(self) -> u8 {
        self.0 & 0x3f
    }

    /// Whether any of these flags is set.
    #[must_use]
    pub const fn has(self, flags: u8) -> bool {
        self.0 & flags != 0
    }
}

impl<'a> Packet<'a> {
    /// Reads a frame: 14 bytes of Ethernet header, at most two VLAN tags, an IP header with what extends it, and
    /// what that carries. `None` for anything else, for a fragment that is not the first, and for what ends too
    /// early or contradicts itself.
    #[must_use]
    pub fn parse(frame: &'a [u8]) -> Option<Self> {
        read::frame(frame)
    }

    /// The TCP header, if this is a segment.
    #[must_use]
    pub const fn tcp(&self) -> Option<&Tcp<'a>> {
        match &self.transport {
            Transport::Tcp(tcp) => Some(tcp),
            _ => None,
        }
    }

    /// Source and destination port, where there are ports.
    #[must_use]
    pub const fn ports(&self) -> Option<(u16, u16)> {
        match &self.transport {
            Transport::Tcp(tcp) => Some((tcp.source, tcp.destination)),
            Transport::Udp(udp) => Some((udp.source, udp.destination)),
            Transport::Cut(cut) => Some((cut.source, cut.destination)),
            Transport::Icmp(_) => None,
        }
    }

    /// Whether it is for many: by the address of the frame, or by that of the packet.
    #[must_use]
    pub const fn is_for_many(&self) -> bool {
        let [first, ..] = self.ethernet;
        // The lowest bit of an Ethernet address says that it stands for a group.
        let by_frame = first & 1 != 0;
        let by_packet = match self.destination {
            IpAddr::V4(address) => address.is_broadcast() || address.is_multicast(),
            IpAddr::V6(address) => address.is_multicast(),
        };
        by_frame || by_packet
    }
}

#[cfg(test)]
pub(crate) mod tests;
