//! What a packet is by itself, when it looks for ports, hosts or systems.

use crate::options::{END, Options, PADDING, TIMESTAMPS, timestamps};
use crate::packet::{Flags, Icmp, Ip, Packet, Tcp, Transport, Udp};

/// A way to scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Probe {
    /// A SYN that no operating system makes: half-open scans.
    Syn,
    /// A SYN with an operating system's options: a connection that is really made.
    Connect,
    /// No flags.
    Null,
    /// FIN alone.
    Fin,
    /// FIN, PSH and URG.
    Xmas,
    /// An acknowledgement of nothing.
    Ack,
    /// FIN and ACK of no connection, after Uriel Maimon.
    Maimon,
    /// A datagram to a port.
    Udp,
    /// Echo, timestamp and address mask requests.
    Icmp,
    /// A probe of nmap's OS detection.
    Os,
    /// Other flags that no connection sends.
    Flags,
    /// A TCP header divided over fragments.
    Fragment,
}

impl Probe {
    /// Every way.
    pub const ALL: [Self; 12] = [
        Self::Syn,
        Self::Connect,
        Self::Null,
        Self::Fin,
        Self::Xmas,
        Self::Ack,
        Self::Maimon,
        Self::Udp,
        Self::Icmp,
        Self::Os,
        Self::Flags,
        Self::Fragment,
    ];

    /// The word in events.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Syn => "syn",
            Self::Connect => "connect",
            Self::Null => "null",
            Self::Fin => "fin",
            Self::Xmas => "xmas",
            Self::Ack => "ack",
            Self::Maimon => "maimon",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
            Self::Os => "os",
            Self::Flags => "flags",
            Self::Fragment => "fragment",
        }
    }

    /// What a packet that came in is; `None` for what conversations consist of, answers included. Whether a
    /// connection explains an acknowledgement, or something listens, is not known here.
    #[must_use]
    pub fn of(packet: &Packet<'_>) -> Option<Self> {
        match &packet.transport {
            Transport::Tcp(tcp) => of_tcp(tcp),
            Transport::Udp(udp) => Some(of_udp(packet.ip, udp)),
            Transport::Icmp(icmp) => of_icmp(packet.ip, icmp),
            Transport::Cut(_) => Some(Self::Fragment),
        }
    }
}

/// FIN, PSH and URG: a packet lit like a Christmas tree.
pub(crate) const XMAS: u8 = Flags::FIN | Flags::PSH | Flags::URG;
/// The flags of nmap's probe T3, which is how OpenCanary tells OS detection.
pub(crate) const NMAP_OS: u8 = XMAS | Flags::SYN;
const FIN_ACK: u8 = Flags::FIN | Flags::ACK;

fn of_tcp(tcp: &Tcp<'_>) -> Option<Probe> {
    let flags = tcp.flags.classic();
    match flags {
        Flags::ACK | FIN_ACK if tcp.payload_length > 0 => None,
        NMAP_OS => Some(Probe::Os),
        _ if flags & Flags::RST != 0 => None,
        Flags::SYN | 0 | XMAS | Flags::ACK if is_os_probe(tcp) => Some(Probe::Os),
        Flags::SYN => Some(if is_from_a_system(tcp.options) { Probe::Connect } else { Probe::Syn }),
        0 => Some(Probe::Null),
        Flags::FIN => Some(Probe::Fin),
        XMAS => Some(Probe::Xmas),
        Flags::ACK => Some(Probe::Ack),
        FIN_ACK => Some(Probe::Maimon),
        _ if flags & Flags::ACK != 0 => None,
        _ => Some(Probe::Flags),
    }
}

/// Probes SEQ, ECN and T2 to T7 of nmap (<https://nmap.org/book/osdetect-methods.html>): a timestamp of all ones
/// that repeats none, or the urgent pointer 0xf7f5 that is not urgent with a window of 3.
fn is_os_probe(tcp: &Tcp<'_>) -> bool {
    const URGENT: u16 = 0xf7f5;
    let is_ecn = tcp.urgent == URGENT && tcp.window == 3 && tcp.flags.has(Flags::SYN);
    is_ecn || Options::new(tcp.options).find_map(timestamps) == Some((u32::MAX, 0))
}

/// Operating systems send timestamps, or three options at least; scanners that make their own packets do not
/// (none or the segment size: nmap 7.93, masscan 1.3.2, zmap 2.1.1 and 4, hping3).
fn is_from_a_system(options: &[u8]) -> bool {
    let told = Options::new(options).filter(|option| option.kind != PADDING && option.kind != END);
    let mut count = 0_usize;
    for option in told {
        count = count.saturating_add(1);
        if option.kind == TIMESTAMPS || count >= 3 {
            return true;
        }
    }
    false
}

/// Probe U1 of nmap is 300 times the letter C in a packet with the identification 0x1042.
fn of_udp(ip: Ip, udp: &Udp<'_>) -> Probe {
    let is_u1 = udp.payload_length == 300 && ip.id() == Some(0x1042) && udp.payload.iter().all(|byte| *byte == b'C');
    if is_u1 { Probe::Os } else { Probe::Udp }
}

/// Types of ICMP (RFC 792, RFC 950) and ICMPv6 (RFC 4443) that ask.
const ECHO: u8 = 8;
const TIMESTAMP: u8 = 13;
const MASK: u8 = 17;
const ECHO_V6: u8 = 128;

/// nmap's probes IE are an echo with code 9 and 120 bytes, and one with the type of service 4 and 150 bytes.
fn of_icmp(ip: Ip, icmp: &Icmp<'_>) -> Option<Probe> {
    match (ip, icmp.kind) {
        (Ip::V4 { tos, .. }, ECHO) => {
            let is_ie = matches!((icmp.code, tos, icmp.payload_length), (9, _, 120) | (0, 4, 150));
            let is_blank = icmp.payload.iter().all(|byte| *byte == 0);
            Some(if is_ie && is_blank { Probe::Os } else { Probe::Icmp })
        }
        (Ip::V4 { .. }, TIMESTAMP | MASK) | (Ip::V6 { .. }, ECHO_V6) => Some(Probe::Icmp),
        _ => None,
    }
}

/// Whether this is an echo request, and whether it carries data, as the `ping` of every system does.
pub(crate) fn echo(packet: &Packet<'_>) -> Option<bool> {
    match (packet.ip, &packet.transport) {
        (Ip::V4 { .. }, Transport::Icmp(icmp)) if icmp.kind == ECHO => Some(icmp.payload_length > 0),
        (Ip::V6 { .. }, Transport::Icmp(icmp)) if icmp.kind == ECHO_V6 => Some(icmp.payload_length > 0),
        _ => None,
    }
}
