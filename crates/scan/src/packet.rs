//! Ethernet, IP and TCP headers, as far as they are there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// EtherTypes.
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const VLAN_PROVIDER: u16 = 0x88a8;
/// IP protocol number of TCP.
const TCP: u8 = 6;
/// Most IPv6 extension headers that are followed.
const EXTENSIONS: usize = 8;

/// What a frame carries, when that is the beginning of a TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Destination, source and type of the Ethernet header.
    pub ethernet: [u8; 14],
    /// Sender.
    pub source: IpAddr,
    /// Receiver.
    pub destination: IpAddr,
    /// What the IP header says beside.
    pub ip: Ip,
    /// The TCP header.
    pub tcp: Tcp,
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

/// A TCP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
    /// The four bits between data offset and flags, and the flags.
    pub reserved: u8,
    /// Flags.
    pub flags: Flags,
    /// Window.
    pub window: u16,
    /// Urgent pointer.
    pub urgent: u16,
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
}

impl Packet {
    /// Reads a frame: 14 bytes of Ethernet header (and VLAN tags), an IP header, a TCP header. `None` for
    /// anything else, for a fragment that is not the first, and for what ends too early.
    #[must_use]
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let (ethernet, mut rest) = frame.split_first_chunk::<14>()?;
        let [.., high, low] = *ethernet;
        let mut kind = u16::from_be_bytes([high, low]);
        for _ in 0..2 {
            if kind != VLAN && kind != VLAN_PROVIDER {
                break;
            }
            // Two bytes of tag, two of the type that follows.
            let ([_, _, high, low], after) = rest.split_first_chunk::<4>()?;
            (kind, rest) = (u16::from_be_bytes([*high, *low]), after);
        }
        let (source, destination, ip, segment) = match kind {
            IPV4 => ipv4(rest)?,
            IPV6 => ipv6(rest)?,
            _ => return None,
        };
        Some(Self { ethernet: *ethernet, source, destination, ip, tcp: tcp(segment)? })
    }
}

type Addressed<'a> = (IpAddr, IpAddr, Ip, &'a [u8]);

/// Version and header length, TOS, total length, identification, flags and offset, TTL, protocol,
/// checksum, source, destination, options.
fn ipv4(bytes: &[u8]) -> Option<Addressed<'_>> {
    let (header, _) = bytes.split_first_chunk::<20>()?;
    let [first, tos, l0, l1, i0, i1, f0, f1, ttl, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = *header;
    let words = usize::from(first & 0x0f);
    let fragment = u16::from_be_bytes([f0, f1]);
    if first >> 4 != 4 || words < 5 || protocol != TCP || fragment & 0x1fff != 0 {
        return None;
    }
    let length = u16::from_be_bytes([l0, l1]);
    let ip = Ip::V4 { tos, length, id: u16::from_be_bytes([i0, i1]), fragment, ttl };
    let (source, destination) = (Ipv4Addr::new(s0, s1, s2, s3), Ipv4Addr::new(d0, d1, d2, d3));
    // What stands behind the total length is padding of the link.
    let whole = bytes.get(..usize::from(length)).unwrap_or(bytes);
    Some((source.into(), destination.into(), ip, whole.get(words.checked_mul(4)?..)?))
}

/// Version, class and flow label, payload length, next header, hop limit, source, destination; then
/// extension headers.
fn ipv6(bytes: &[u8]) -> Option<Addressed<'_>> {
    let (header, mut rest) = bytes.split_first_chunk::<40>()?;
    let (first, addresses) = header.split_first_chunk::<8>()?;
    let [v0, v1, v2, v3, l0, l1, mut next, hops] = *first;
    let word = u32::from_be_bytes([v0, v1, v2, v3]);
    if word >> 28 != 6 {
        return None;
    }
    let (source, destination) = addresses.split_first_chunk::<16>()?;
    let length = u32::from(u16::from_be_bytes([l0, l1])).saturating_add(40);
    let class = u8::try_from((word >> 20) & 0xff).ok()?;
    let ip = Ip::V6 { class, flow: word & 0x000f_ffff, length, hops };
    for _ in 0..EXTENSIONS {
        match next {
            TCP => {
                let destination: [u8; 16] = destination.try_into().ok()?;
                return Some((Ipv6Addr::from(*source).into(), Ipv6Addr::from(destination).into(), ip, rest));
            }
            // Hop-by-hop, routing and destination options: next header, length in eights beyond the first.
            0 | 43 | 60 => {
                let (&after, &size) = (rest.first()?, rest.get(1)?);
                let size = usize::from(size).checked_add(1)?.checked_mul(8)?;
                (next, rest) = (after, rest.get(size..)?);
            }
            // Fragment: next header, reserved, offset in the upper 13 bits; only the first is read.
            44 => {
                let (fragment, after) = rest.split_first_chunk::<8>()?;
                let [following, _, o0, o1, ..] = *fragment;
                if u16::from_be_bytes([o0, o1]) & 0xfff8 != 0 {
                    return None;
                }
                (next, rest) = (following, after);
            }
            _ => return None,
        }
    }
    None
}

/// Ports, sequence and acknowledgement numbers, data offset and reserved bits, flags, window, checksum,
/// urgent pointer.
fn tcp(bytes: &[u8]) -> Option<Tcp> {
    let (header, _) = bytes.split_first_chunk::<20>()?;
    let [s0, s1, d0, d1, _, _, _, _, _, _, _, _, offset, flags, w0, w1, _, _, u0, u1] = *header;
    Some(Tcp {
        source: u16::from_be_bytes([s0, s1]),
        destination: u16::from_be_bytes([d0, d1]),
        reserved: offset & 0x0f,
        flags: Flags(flags),
        window: u16::from_be_bytes([w0, w1]),
        urgent: u16::from_be_bytes([u0, u1]),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The packet of the article's event 5005: FIN to port 23 from 192.168.1.6.
    pub(crate) fn frame(flags: u8) -> Vec<u8> {
        let mut frame = vec![0x08, 0, 0x27, 0xda, 0x4c, 0xe2, 0x6c, 0x96, 0xcf, 0xdd, 0xee, 0xbd, 0x08, 0x00];
        frame.extend([0x45, 0, 0, 40, 0x74, 0x48, 0, 0, 59, 6, 0, 0, 192, 168, 1, 6, 192, 168, 1, 7]);
        frame.extend([0x89, 0x2c, 0, 23, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 4, 0, 0, 0, 0, 0]);
        frame
    }

    #[test]
    fn reads_ipv4() {
        let packet = Packet::parse(&frame(1)).expect("a packet");
        assert_eq!(packet.source, IpAddr::from([192, 168, 1, 6]));
        assert_eq!(packet.ip, Ip::V4 { tos: 0, length: 40, id: 29768, fragment: 0, ttl: 59 });
        assert_eq!((packet.tcp.source, packet.tcp.destination, packet.tcp.window), (35116, 23, 1024));
    }

    #[test]
    fn every_prefix_is_no_packet() {
        let whole = frame(2);
        for end in 0..whole.len() {
            assert_eq!(Packet::parse(&whole[..end]), None, "{end}");
        }
        let mut padded = whole.clone();
        padded.extend([0; 6]);
        assert_eq!(Packet::parse(&padded), Packet::parse(&whole), "padding of the link");
    }

    #[test]
    fn reads_through_vlan_tags_and_ip_options() {
        let mut tagged = frame(2);
        tagged.splice(12..12, [0x81, 0, 0, 7]);
        let packet = Packet::parse(&tagged).expect("tagged");
        assert_eq!(packet.tcp, Packet::parse(&frame(2)).unwrap().tcp);
        let mut optioned = frame(2);
        optioned[14] = 0x46;
        optioned[17] = 44;
        optioned.splice(34..34, [1, 1, 1, 0]);
        assert_eq!(Packet::parse(&optioned).expect("with options").tcp.destination, 23);
    }

    #[test]
    fn other_protocols_and_later_fragments_are_none() {
        for (at, value) in [(12, 0x86), (14, 0x65), (14, 0x44), (20, 0x00), (21, 1), (23, 17)] {
            let mut other = frame(2);
            other[at] = value;
            if at == 20 {
                other[21] = 5;
            }
            assert_eq!(Packet::parse(&other), None, "{at}");
        }
    }

    #[test]
    fn reads_ipv6_behind_extension_headers() {
        let mut frame = frame(2)[..12].to_vec();
        frame.extend([0x86, 0xdd, 0x61, 0x23, 0x45, 0x67, 0, 28, 60, 64]);
        frame.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        frame.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        let mut plain = frame.clone();
        plain[20] = 6;
        let segment = &super::tests::frame(2)[34..];
        frame.extend([6, 0, 1, 4, 0, 0, 0, 0]);
        frame.extend(segment);
        plain.extend(segment);
        let packet = Packet::parse(&frame).expect("a packet");
        assert_eq!(packet.ip, Ip::V6 { class: 0x12, flow: 0x34567, length: 68, hops: 64 });
        assert_eq!(packet.tcp.destination, 23);
        assert_eq!(packet.tcp, Packet::parse(&plain).expect("without").tcp);
        for end in 0..frame.len() {
            assert_eq!(Packet::parse(&frame[..end]), None, "{end}");
        }
    }
}
