//! Bytes into headers.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Cut, Flags, Icmp, Ip, Packet, Tcp, Transport, Udp};

/// EtherTypes.
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const VLAN_PROVIDER: u16 = 0x88a8;
/// IP protocol numbers.
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
/// Most IPv6 extension headers that are followed.
const EXTENSIONS: usize = 8;
/// "More fragments" in IPv4's field of flags and offset, and in IPv6's.
const MORE_V4: u16 = 0x2000;
const MORE_V6: u16 = 0x0001;

/// What an IP header leaves to the protocol that it carries.
#[derive(Clone, Copy)]
struct Body<'a> {
    /// What was captured of it.
    bytes: &'a [u8],
    /// Its length, as the headers say.
    length: usize,
    /// Whether it goes on in other fragments.
    goes_on: bool,
}

pub(super) fn frame(frame: &[u8]) -> Option<Packet<'_>> {
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
    match kind {
        IPV4 => ipv4(*ethernet, rest),
        IPV6 => ipv6(*ethernet, rest),
        _ => None,
    }
}

/// Version and header length, TOS, total length, identification, flags and offset, TTL, protocol,
/// checksum, source, destination, options.
fn ipv4(ethernet: [u8; 14], bytes: &[u8]) -> Option<Packet<'_>> {
    let (header, _) = bytes.split_first_chunk::<20>()?;
    let [first, tos, l0, l1, i0, i1, f0, f1, ttl, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = *header;
    let fragment = u16::from_be_bytes([f0, f1]);
    let size = usize::from(first & 0x0f).checked_mul(4)?;
    if first >> 4 != 4 || size < 20 || fragment & 0x1fff != 0 {
        return None;
    }
    let total = u16::from_be_bytes([l0, l1]);
    let length = usize::from(total).checked_sub(size)?;
    let whole = bytes.get(..usize::from(total)).unwrap_or(bytes);
    let body = Body { bytes: whole.get(size..)?, length, goes_on: fragment & MORE_V4 != 0 };
    let transport = match protocol {
        TCP => tcp(body)?,
        UDP => udp(body)?,
        ICMP => icmp(body)?,
        _ => return None,
    };
    let options = u8::try_from(size.checked_sub(20)?).ok()?;
    Some(Packet {
        ethernet,
        source: Ipv4Addr::new(s0, s1, s2, s3).into(),
        destination: Ipv4Addr::new(d0, d1, d2, d3).into(),
        ip: Ip::V4 { tos, length: total, id: u16::from_be_bytes([i0, i1]), fragment, ttl, options },
        transport,
    })
}

/// Version, class and flow label, payload length, next header, hop limit, source, destination; then
/// extension headers.
fn ipv6(ethernet: [u8; 14], bytes: &[u8]) -> Option<Packet<'_>> {
    let (header, rest) = bytes.split_first_chunk::<40>()?;
    let (first, addresses) = header.split_first_chunk::<8>()?;
    let [v0, v1, v2, v3, l0, l1, mut next, hops] = *first;
    let word = u32::from_be_bytes([v0, v1, v2, v3]);
    if word >> 28 != 6 {
        return None;
    }
    let (source, destination) = addresses.split_first_chunk::<16>()?;
    let destination: [u8; 16] = destination.try_into().ok()?;
    let claimed = u16::from_be_bytes([l0, l1]);
    // A jumbogram says its length in a hop-by-hop option and zero here (RFC 2675).
    let is_jumbo = claimed == 0 && next == 0;
    let length = if is_jumbo { rest.len() } else { usize::from(claimed) };
    let mut body = Body { bytes: rest.get(..length).unwrap_or(rest), length, goes_on: false };
    for _ in 0..EXTENSIONS {
        let transport = match next {
            TCP => tcp(body)?,
            UDP => udp(body)?,
            ICMPV6 => icmp(body)?,
            // Hop-by-hop, routing and destination options: next header, length in eights beyond the first.
            0 | 43 | 60 => {
                let (&after, &size) = (body.bytes.first()?, body.bytes.get(1)?);
                (next, body) = (after, body.beyond(usize::from(size).checked_add(1)?.checked_mul(8)?)?);
                continue;
            }
            // Fragment: next header, reserved, offset in the upper 13 bits; only the first is read.
            44 => {
                let (fragment, _) = body.bytes.split_first_chunk::<8>()?;
                let [after, _, o0, o1, ..] = *fragment;
                let offset = u16::from_be_bytes([o0, o1]);
                if offset & 0xfff8 != 0 {
                    return None;
                }
                (next, body) = (after, body.beyond(8)?);
                body.goes_on = offset & MORE_V6 != 0;
                continue;
            }
            _ => return None,
        };
        let class = u8::try_from((word >> 20) & 0xff).ok()?;
        let length = u32::from(claimed).saturating_add(40);
        return Some(Packet {
            ethernet,
            source: Ipv6Addr::from(*source).into(),
            destination: Ipv6Addr::from(destination).into(),
            ip: Ip::V6 { class, flow: word & 0x000f_ffff, length, hops },
            transport,
        });
    }
    None
}

impl Body<'_> {
    /// What stands behind its first bytes.
    fn beyond(self, size: usize) -> Option<Self> {
        Some(Self { bytes: self.bytes.get(size..)?, length: self.length.checked_sub(size)?, ..self })
    }
}

/// Ports, sequence and acknowledgement numbers, data offset and reserved bits, flags, window, checksum,
/// urgent pointer, options.
fn tcp(body: Body<'_>) -> Option<Transport<'_>> {
    if body.length < 20 {
        let ([s0, s1, d0, d1], _) = body.bytes.split_first_chunk::<4>()?;
        let cut = Cut { source: u16::from_be_bytes([*s0, *s1]), destination: u16::from_be_bytes([*d0, *d1]) };
        return body.goes_on.then_some(Transport::Cut(cut));
    }
    let (header, rest) = body.bytes.split_first_chunk::<20>()?;
    let [s0, s1, d0, d1, q0, q1, q2, q3, a0, a1, a2, a3, offset, flags, w0, w1, _, _, u0, u1] = *header;
    let size = usize::from(offset >> 4).checked_mul(4)?;
    if size < 20 || size > body.length && !body.goes_on {
        return None;
    }
    Some(Transport::Tcp(Tcp {
        source: u16::from_be_bytes([s0, s1]),
        destination: u16::from_be_bytes([d0, d1]),
        sequence: u32::from_be_bytes([q0, q1, q2, q3]),
        acknowledgement: u32::from_be_bytes([a0, a1, a2, a3]),
        reserved: offset & 0x0f,
        flags: Flags(flags),
        window: u16::from_be_bytes([w0, w1]),
        urgent: u16::from_be_bytes([u0, u1]),
        options: rest.get(..size.checked_sub(20)?).unwrap_or(rest),
        payload_length: body.length.saturating_sub(size),
    }))
}

/// Ports, length of header and data, checksum.
fn udp(body: Body<'_>) -> Option<Transport<'_>> {
    let (header, rest) = body.bytes.split_first_chunk::<8>()?;
    let [s0, s1, d0, d1, l0, l1, _, _] = *header;
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    let payload_length = length.checked_sub(8)?;
    if length > body.length && !body.goes_on {
        return None;
    }
    Some(Transport::Udp(Udp {
        source: u16::from_be_bytes([s0, s1]),
        destination: u16::from_be_bytes([d0, d1]),
        payload: rest.get(..payload_length).unwrap_or(rest),
        payload_length,
    }))
}

/// Type, code, checksum, identifier, sequence number.
fn icmp(body: Body<'_>) -> Option<Transport<'_>> {
    let (header, payload) = body.bytes.split_first_chunk::<8>()?;
    let [kind, code, _, _, i0, i1, s0, s1] = *header;
    Some(Transport::Icmp(Icmp {
        kind,
        code,
        id: u16::from_be_bytes([i0, i1]),
        sequence: u16::from_be_bytes([s0, s1]),
        payload,
        payload_length: body.length.saturating_sub(8),
    }))
}
