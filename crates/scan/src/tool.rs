//! Which program a probe comes from, told by what it always writes into its packets.

use std::net::{IpAddr, Ipv4Addr};

use crate::options::SEGMENT_SIZE;
use crate::packet::{Flags, Ip, Packet, Tcp, Transport};
use crate::probe::Probe;

/// A program that scans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// nmap.
    Nmap,
    /// masscan.
    Masscan,
    /// ZMap.
    Zmap,
    /// hping3.
    Hping,
    /// Mirai, and what was made of its source.
    Mirai,
}

impl Tool {
    /// Every program.
    pub const ALL: [Self; 5] = [Self::Nmap, Self::Masscan, Self::Zmap, Self::Hping, Self::Mirai];

    /// The program's own name.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Nmap => "nmap",
            Self::Masscan => "masscan",
            Self::Zmap => "zmap",
            Self::Hping => "hping3",
            Self::Mirai => "mirai",
        }
    }

    /// The program whose mark a probe bears. One packet may bear a mark by chance; see the detector for how many
    /// make it certain.
    #[must_use]
    pub fn of(packet: &Packet<'_>, probe: Probe) -> Option<Self> {
        if probe == Probe::Os {
            return Some(Self::Nmap);
        }
        // ZMap writes this identification into all that it sends, with a TTL of 255 (`packet.c` of its source; seen
        // from 2.1.1 over TCP, UDP and ICMP).
        if packet.ip.id() == Some(54321) && packet.ip.ttl() > 128 {
            return Some(Self::Zmap);
        }
        let Transport::Tcp(tcp) = &packet.transport else { return None };
        if is_masscan(packet, tcp) {
            return Some(Self::Masscan);
        }
        if is_nmap(packet.ip, tcp, probe) {
            return Some(Self::Nmap);
        }
        // Mirai begins at the number that its victim's address is (`scanner.c` of its source).
        if probe == Probe::Syn && packet.destination == IpAddr::V4(Ipv4Addr::from_bits(tcp.sequence)) {
            return Some(Self::Mirai);
        }
        // hping3 has a window of 512, no options, and an acknowledgement number without the flag (seen from 3.0.0a2).
        let is_hping = probe == Probe::Syn && tcp.window == 512 && tcp.options.is_empty() && tcp.acknowledgement != 0;
        is_hping.then_some(Self::Hping)
    }
}

/// masscan's identification is the exclusive or of address, port and sequence number (`templ-pkt.c` of its source),
/// its TTL 255 and its window 1024; seen so from 1.3.2.
fn is_masscan(packet: &Packet<'_>, tcp: &Tcp<'_>) -> bool {
    let (IpAddr::V4(address), Ip::V4 { id, ttl, .. }) = (packet.destination, packet.ip) else { return false };
    let mixed = address.to_bits() ^ u32::from(tcp.destination) ^ tcp.sequence;
    ttl > 128 && tcp.window == 1024 && mixed & 0xffff == u32::from(id)
}

/// nmap's own packets: a window of 1024 times one to four, over IPv4 a TTL of at most 59 and neither DF nor TOS
/// (`tcpip.cc` and `scan_engine_raw.cc` of its source); a SYN has the segment size 1460 as its only option, the other
/// probes have none, and the number that does not matter is zero. Seen so from 7.93.
fn is_nmap(ip: Ip, tcp: &Tcp<'_>, probe: Probe) -> bool {
    const SEGMENT_OF_1460: [u8; 4] = [SEGMENT_SIZE, 4, 5, 0xb4];
    let is_raw = match ip {
        Ip::V4 { tos, fragment, ttl, .. } => ttl <= 59 && tos == 0 && fragment & 0x4000 == 0,
        Ip::V6 { .. } => true,
    };
    let is_window = matches!(tcp.window, 1024 | 2048 | 3072 | 4096);
    let is_numbered = match probe {
        Probe::Syn => tcp.options == SEGMENT_OF_1460 && tcp.acknowledgement == 0,
        Probe::Null | Probe::Fin | Probe::Xmas => tcp.options.is_empty() && tcp.acknowledgement == 0,
        Probe::Ack | Probe::Maimon => tcp.options.is_empty() && tcp.sequence == 0,
        _ => false,
    };
    is_raw && is_window && is_numbered && tcp.urgent == 0 && !tcp.flags.has(Flags::ECE | Flags::CWR)
}
