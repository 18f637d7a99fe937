//! Published signatures, from SYNs of the systems that they stand for.

use super::*;
use crate::packet::tests::frame;

/// A SYN over IPv4 that may not be divided, with an identification.
fn syn(ttl: u8, window: u16, options: &[u8]) -> Vec<u8> {
    let mut frame = frame(Flags::SYN);
    frame[17] = u8::try_from(40 + options.len()).unwrap();
    (frame[20], frame[22]) = (0x40, ttl);
    frame[46] = u8::try_from((5 + options.len() / 4) << 4).unwrap();
    frame[48..50].copy_from_slice(&window.to_be_bytes());
    frame.extend(options);
    frame
}

fn of(frame: &[u8]) -> (String, String) {
    let of = Fingerprint::of(&Packet::parse(frame).expect("a packet")).expect("a SYN");
    (of.tcp, of.ja4t)
}

const LINUX: &[u8] = &[2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 7, 0, 0, 0, 0, 1, 3, 3, 7];
const WINDOWS: &[u8] = &[2, 4, 5, 0xb4, 1, 3, 3, 8, 1, 1, 4, 2];
const MAC: &[u8] = &[2, 4, 5, 0xb4, 1, 3, 3, 6, 1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 0, 4, 2, 0, 0];

/// Signatures of p0f.fp 3.09b with the version, segment size and TTL that they leave open.
#[test]
fn signatures_of_p0f_are_found() {
    for (frame, expected) in [
        (syn(60, 29_200, LINUX), "4:64:0:1460:mss*20,7:mss,sok,ts,nop,ws:df,id+:0"),
        (syn(128, 8192, WINDOWS), "4:128:0:1460:8192,8:mss,nop,ws,nop,nop,sok:df,id+:0"),
        (syn(64, 65_535, MAC), "4:64:0:1460:65535,6:mss,nop,ws,nop,nop,ts,sok,eol+1:df,id+:0"),
    ] {
        assert_eq!(of(&frame).0, expected);
    }
    let mut nmap = syn(51, 1024, &[2, 4, 5, 0xb4]);
    nmap[20] = 0;
    assert_eq!(of(&nmap).0, "4:64:0:1460:1024,0:mss::0", "NMap: SYN scan");
}

/// The table of FoxIO's README.
#[test]
fn fingerprints_of_foxio_are_found() {
    for (frame, expected) in [
        (syn(128, 64_240, WINDOWS), "64240_2-1-3-1-1-4_1460_8"),
        (syn(64, 64_240, LINUX), "64240_2-4-8-1-3_1460_7"),
        (syn(64, 65_535, MAC), "65535_2-1-3-1-1-8-4-0-0_1460_6"),
        (syn(51, 1024, &[2, 4, 5, 0xb4]), "1024_2_1460_00"),
        (syn(255, 65_535, &[]), "65535_00_00_00"),
        (syn(64, 1024, &[]), "1024_00_00_00"),
    ] {
        assert_eq!(of(&frame).1, expected);
    }
}

#[test]
fn quirks_are_told_in_order() {
    let mut odd = syn(20, 0, &[8, 10, 0, 0, 0, 0, 0, 0, 0, 9, 3, 3, 15, 0, 1, 0]);
    // ECN and the reserved bit; a zero sequence number, an acknowledgement, an urgent pointer, PSH, data.
    (odd[15], odd[20]) = (1, 0xc0);
    (odd[18], odd[19]) = (0, 0);
    odd[41] = 0;
    odd[45] = 1;
    odd[47] = Flags::SYN | Flags::PSH;
    odd[53] = 9;
    odd[17] += 3;
    odd.extend(b"abc");
    assert_eq!(of(&odd).0, "4:32:0:0:0,15:ts,ws,eol+2:df,ecn,0+,seq-,ack+,uptr+,pushf+,ts1-,ts2+,opt+,exws:+");
    let mut plain = syn(64, 100, &[2, 3, 5, 0xb4]);
    (plain[18], plain[19], plain[20]) = (0, 0, 0);
    plain[47] = Flags::SYN | Flags::URG;
    assert_eq!(of(&plain).0, "4:64:0:0:100,0:mss,?180:id-,urgf+,bad:0", "lengths that are wrong");
}

#[test]
fn only_what_begins_a_connection_has_one() {
    for flags in [Flags::ACK, Flags::SYN | Flags::ACK, Flags::SYN | Flags::FIN, Flags::RST, 0] {
        assert_eq!(Fingerprint::of(&Packet::parse(&frame(flags)).unwrap()), None, "{flags:#x}");
    }
}

#[test]
fn ttl_says_how_far_it_was() {
    for (ttl, initial, hops) in [(64, 64, 0), (62, 64, 2), (65, 128, 63), (128, 128, 0), (30, 32, 2), (250, 255, 5)] {
        assert_eq!((initial_ttl(ttl), distance(ttl)), (initial, hops), "{ttl}");
    }
}
