//! Frames good and bad.

use std::net::IpAddr;

use super::*;

/// The packet of the article's event 5005: FIN to port 23 from 192.168.1.6.
pub(crate) fn frame(flags: u8) -> Vec<u8> {
    let mut frame = vec![0x08, 0, 0x27, 0xda, 0x4c, 0xe2, 0x6c, 0x96, 0xcf, 0xdd, 0xee, 0xbd, 0x08, 0x00];
    frame.extend([0x45, 0, 0, 40, 0x74, 0x48, 0, 0, 59, 6, 0, 0, 192, 168, 1, 6, 192, 168, 1, 7]);
    frame.extend([0x89, 0x2c, 0, 23, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 4, 0, 0, 0, 0, 0]);
    frame
}

/// The same frame with other bytes behind its IPv4 header, and the protocol's number.
fn carrying(protocol: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = frame(2)[..34].to_vec();
    frame[23] = protocol;
    let total = u16::try_from(20 + body.len()).unwrap().to_be_bytes();
    frame.splice(16..18, total);
    frame.extend(body);
    frame
}

fn tcp(frame: &[u8]) -> Option<Tcp<'_>> {
    Packet::parse(frame).and_then(|packet| packet.tcp().copied())
}

#[test]
fn reads_ipv4() {
    let frame = frame(1);
    let packet = Packet::parse(&frame).expect("a packet");
    assert_eq!(packet.source, IpAddr::from([192, 168, 1, 6]));
    assert_eq!(packet.ip, Ip::V4 { tos: 0, length: 40, id: 29768, fragment: 0, ttl: 59, options: 0 });
    let tcp = packet.tcp().expect("a segment");
    assert_eq!((tcp.source, tcp.destination, tcp.window), (35116, 23, 1024));
    assert_eq!((tcp.sequence, tcp.acknowledgement, tcp.options, tcp.payload_length), (1, 0, &[][..], 0));
    assert_eq!(packet.ports(), Some((35116, 23)));
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
fn reads_options_and_the_length_of_what_was_cut_off() {
    let mut long = frame(0x18);
    long[16..18].copy_from_slice(&9000_u16.to_be_bytes());
    long[46] = 0x60;
    long.extend([2, 4, 5, 0xb4]);
    long.extend([b'x'; 400]);
    let segment = tcp(&long).expect("a jumbo frame, cut");
    assert_eq!((segment.options, segment.payload_length), (&[2, 4, 5, 0xb4][..], 9000 - 44));
    assert_eq!(tcp(&long[..56]).expect("cut inside the options").options, [2, 4]);
}

#[test]
fn reads_through_vlan_tags_and_ip_options() {
    let mut tagged = frame(2);
    tagged.splice(12..12, [0x81, 0, 0, 7]);
    assert_eq!(tcp(&tagged), tcp(&frame(2)));
    tagged.splice(12..12, [0x88, 0xa8, 0, 9]);
    assert_eq!(tcp(&tagged), tcp(&frame(2)));
    tagged.splice(12..12, [0x81, 0, 0, 9]);
    assert_eq!(tcp(&tagged), None, "three tags");
    let mut optioned = frame(2);
    optioned[14] = 0x46;
    optioned[17] = 44;
    optioned.splice(34..34, [1, 1, 1, 0]);
    let packet = Packet::parse(&optioned).expect("with options");
    assert_eq!(packet.ports(), Some((35116, 23)));
    assert!(matches!(packet.ip, Ip::V4 { options: 4, .. }));
}

#[test]
fn other_protocols_and_contradictions_are_none() {
    // EtherType, version, header length, a later fragment, its lowest bit, protocol, total length, data offset.
    for (at, value) in
        [(12, 0x86), (14, 0x65), (14, 0x44), (20, 0x05), (21, 1), (23, 132), (17, 39), (17, 19), (46, 0x40), (46, 0x60)]
    {
        let mut other = frame(2);
        other[at] = value;
        assert_eq!(Packet::parse(&other), None, "{at}: {value:#x}");
    }
}

#[test]
fn first_fragments_are_read_as_far_as_they_go() {
    let mut whole = frame(2);
    whole[20] = 0x20;
    assert_eq!(tcp(&whole).map(|tcp| tcp.flags), Some(Flags(2)), "a header and nothing more");
    let mut small = frame(2)[..42].to_vec();
    (small[17], small[20]) = (28, 0x20);
    let cut = Packet::parse(&small).map(|packet| packet.transport);
    assert_eq!(cut, Some(Transport::Cut(Cut { source: 35116, destination: 23 })));
    small[20] = 0;
    assert_eq!(Packet::parse(&small), None, "no fragment, but too short");
    let mut overlapping = frame(0x10);
    overlapping[21] = 1;
    assert_eq!(Packet::parse(&overlapping), None, "what would overwrite the flags");
}

#[test]
fn reads_udp() {
    let frame = carrying(17, &[0x9c, 0x25, 0, 53, 0, 11, 0, 0, 1, 2, 3, 0, 0]);
    let packet = Packet::parse(&frame).expect("a datagram");
    let expected = Udp { source: 39973, destination: 53, payload: &[1, 2, 3], payload_length: 3 };
    assert_eq!(packet.transport, Transport::Udp(expected), "no more than its own length");
    for end in 0..42 {
        assert_eq!(Packet::parse(&frame[..end]), None, "{end}");
    }
    for length in [0, 7, 14, 255] {
        let mut wrong = frame.clone();
        wrong[39] = length;
        assert_eq!(Packet::parse(&wrong), None, "{length}");
    }
    let mut fragment = frame.clone();
    (fragment[38], fragment[20]) = (4, 0x20);
    let Some(Transport::Udp(udp)) = Packet::parse(&fragment).map(|packet| packet.transport) else { panic!("first") };
    assert_eq!((udp.payload.len(), udp.payload_length), (5, 1024 + 3));
}

#[test]
fn reads_icmp() {
    let frame = carrying(1, &[8, 0, 0, 0, 0, 7, 0, 1, 9, 9]);
    let packet = Packet::parse(&frame).expect("an echo");
    let expected = Icmp { kind: 8, code: 0, id: 7, sequence: 1, payload: &[9, 9], payload_length: 2 };
    assert_eq!(packet.transport, Transport::Icmp(expected));
    assert_eq!(packet.ports(), None);
    for end in 0..42 {
        assert_eq!(Packet::parse(&frame[..end]), None, "{end}");
    }
}

/// An IPv6 header to fe80::2 with a payload of so many bytes.
fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = frame(2)[..12].to_vec();
    let [high, low] = u16::try_from(payload.len()).unwrap().to_be_bytes();
    frame.extend([0x86, 0xdd, 0x61, 0x23, 0x45, 0x67, high, low, next, 64]);
    frame.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    frame.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    frame.extend(payload);
    frame
}

#[test]
fn reads_ipv6_behind_extension_headers() {
    let segment = frame(2)[34..].to_vec();
    let plain = ipv6(6, &segment);
    let extended = ipv6(60, &[&[6, 0, 1, 4, 0, 0, 0, 0][..], &segment].concat());
    let packet = Packet::parse(&extended).expect("a packet");
    assert_eq!(packet.ip, Ip::V6 { class: 0x12, flow: 0x34567, length: 68, hops: 64 });
    assert_eq!(tcp(&extended), tcp(&plain));
    for end in 0..extended.len() {
        assert_eq!(Packet::parse(&extended[..end]), None, "{end}");
    }
    let mut padded = plain.clone();
    padded.extend([0; 20]);
    assert_eq!(tcp(&padded), tcp(&plain), "padding of the link");
    let echo = ipv6(58, &[128, 0, 0, 0, 0, 7, 0, 1]);
    assert!(matches!(Packet::parse(&echo).unwrap().transport, Transport::Icmp(Icmp { kind: 128, .. })));
}

#[test]
fn reads_fragments_and_jumbograms_of_ipv6() {
    let segment = frame(2)[34..].to_vec();
    let first = ipv6(44, &[&[6, 0, 0, 1, 0, 0, 0, 9][..], &segment].concat());
    assert_eq!(tcp(&first).map(|tcp| tcp.destination), Some(23));
    let cut = ipv6(44, &[&[6, 0, 0, 1, 0, 0, 0, 9][..], &segment[..8]].concat());
    assert!(matches!(Packet::parse(&cut).unwrap().transport, Transport::Cut(_)));
    let later = ipv6(44, &[&[6, 0, 0, 8, 0, 0, 0, 9][..], &segment].concat());
    assert_eq!(Packet::parse(&later), None);
    let mut jumbo = ipv6(0, &[&[6, 0, 0xc2, 4, 0, 1, 0, 0][..], &segment].concat());
    jumbo[18..20].copy_from_slice(&[0, 0]);
    assert_eq!(tcp(&jumbo).map(|tcp| tcp.destination), Some(23));
    jumbo[20] = 60;
    assert_eq!(Packet::parse(&jumbo), None, "a length of zero and no option that says more");
    let endless = ipv6(60, &[60, 0, 1, 4, 0, 0, 0, 0].repeat(20));
    assert_eq!(Packet::parse(&endless), None);
}
