//! Frames through the filter.

use super::*;

/// Bytes of a frame that the filter takes, by a reading of `linux/filter.h` of its own.
fn taken(scope: Scope, frame: &[u8], outgoing: bool) -> u32 {
    let program = filter(scope);
    let (mut a, mut x, mut at) = (0_u32, 0_u32, 0);
    let load = |from: u32, length: u32| -> Option<u32> {
        let from = usize::try_from(from).unwrap();
        let bytes = frame.get(from..from + usize::try_from(length).unwrap())?;
        Some(bytes.iter().fold(0, |word, byte| (word << 8) | u32::from(*byte)))
    };
    loop {
        let (code, yes, no, k) = program[at];
        at += 1;
        let mut jump = |taken: bool| at += usize::from(if taken { yes } else { no });
        let loaded = match code {
            LOAD_BYTE if k == WAY => Some(if outgoing { OUTGOING } else { 0 }),
            LOAD_BYTE => load(k, 1),
            LOAD_HALF => load(k, 2),
            LOAD_BYTE_X => load(x + k, 1),
            LOAD_HALF_X => load(x + k, 2),
            HEADER_X => {
                let Some(byte) = load(k, 1) else { return 0 };
                x = (byte & 0x0f) * 4;
                Some(a)
            }
            SUBTRACT_X => Some(a.wrapping_sub(x)),
            AND => Some(a & k),
            EQUAL => {
                jump(a == k);
                Some(a)
            }
            ANY_BIT => {
                jump(a & k != 0);
                Some(a)
            }
            ANSWER => return k,
            code => panic!("{code:#x}"),
        };
        // A load beyond the packet drops it.
        let Some(loaded) = loaded else { return 0 };
        a = loaded;
    }
}

fn ethernet(kind: u16, rest: &[u8]) -> Vec<u8> {
    [&[0; 12], &kind.to_be_bytes()[..], rest].concat()
}

fn ipv4(protocol: u8, options: usize, segment: &[u8]) -> Vec<u8> {
    let header = 20 + options;
    let mut bytes = vec![0; header];
    bytes[0] = 0x40 | u8::try_from(header / 4).unwrap();
    bytes[2..4].copy_from_slice(&u16::try_from(header + segment.len()).unwrap().to_be_bytes());
    bytes[9] = protocol;
    bytes.extend(segment);
    ethernet(0x0800, &bytes)
}

fn ipv6(next: u8, segment: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 40];
    bytes[0] = 0x60;
    bytes[4..6].copy_from_slice(&u16::try_from(segment.len()).unwrap().to_be_bytes());
    bytes[6] = next;
    bytes.extend(segment);
    ethernet(0x86dd, &bytes)
}

/// A TCP segment with so many bytes of options and payload.
fn tcp(flags: u8, options: usize, payload: usize) -> Vec<u8> {
    let mut bytes = vec![0; 20 + options + payload];
    bytes[12] = u8::try_from((20 + options) / 4).unwrap() << 4;
    bytes[13] = flags;
    bytes
}

fn udp(port: u16) -> Vec<u8> {
    let mut bytes = vec![0; 12];
    bytes[2..4].copy_from_slice(&port.to_be_bytes());
    bytes
}

#[test]
fn every_jump_has_a_place() {
    for scope in [Scope::Scans, Scope::Newcomers] {
        let program = filter(scope);
        assert!(program.len() < 100, "{}", program.len());
        for frame in [&[][..], &[0; 14], &[0; 60], &[0xff; 200]] {
            assert_eq!(taken(scope, frame, false), 0);
        }
    }
}

#[test]
fn takes_what_begins_and_what_no_connection_sends() {
    for options in [0, 4, 40] {
        for (flags, scans, newcomers) in [
            (0x02, HEAD, HEAD),
            (0xc2, HEAD, HEAD),
            (0x00, HEAD, HEAD),
            (0x01, HEAD, HEAD),
            (0x29, HEAD, HEAD),
            (0x2b, HEAD, HEAD),
            (0x10, HEAD, 0),
            (0x11, HEAD, 0),
            (0x12, 0, 0),
            (0x18, 0, 0),
            (0x19, 0, 0),
            (0x04, 0, 0),
            (0x14, 0, 0),
        ] {
            for frame in [ipv4(6, options, &tcp(flags, 0, 0)), ipv6(6, &tcp(flags, 0, 0))] {
                assert_eq!(taken(Scope::Scans, &frame, false), scans, "{flags:#x} {frame:x?}");
                assert_eq!(taken(Scope::Newcomers, &frame, false), newcomers, "{flags:#x}");
            }
        }
    }
}

#[test]
fn leaves_the_traffic_of_connections_out() {
    for (options, payload) in [(12, 0), (0, 1), (0, 1400), (12, 1400)] {
        for frame in [ipv4(6, 0, &tcp(0x10, options, payload)), ipv6(6, &tcp(0x10, options, payload))] {
            assert_eq!(taken(Scope::Scans, &frame, false), 0, "{options} {payload}");
        }
    }
    let own = |flags| [ipv4(6, 0, &tcp(flags, 0, 0)), ipv6(6, &tcp(flags, 0, 0))];
    for (flags, size) in [(0x10, 0), (0x11, 0), (0x14, 0), (0x02, HEAD), (0x12, HEAD), (0x04, HEAD)] {
        for frame in own(flags) {
            assert_eq!(taken(Scope::Scans, &frame, true), size, "one's own {flags:#x}");
        }
    }
}

#[test]
fn takes_datagrams_and_requests() {
    let ping = |kind: u8| [&[kind], &[0; 7][..]].concat();
    for (frame, scans, newcomers) in [
        (ipv4(17, 0, &udp(161)), HEAD, 0),
        (ipv4(17, 8, &udp(5353)), MESSAGE, MESSAGE),
        (ipv6(17, &udp(161)), HEAD, 0),
        (ipv6(17, &udp(5355)), MESSAGE, MESSAGE),
        (ipv4(1, 0, &ping(8)), HEAD, 0),
        (ipv4(1, 0, &ping(13)), HEAD, 0),
        (ipv4(1, 0, &ping(0)), 0, 0),
        (ipv6(58, &ping(128)), HEAD, 0),
        (ipv6(58, &ping(135)), 0, 0),
        (ipv6(0, &ping(6)), MESSAGE, MESSAGE),
        (ipv4(47, 0, &[0; 20]), 0, 0),
        (ethernet(0x8100, &[0; 40]), MESSAGE, MESSAGE),
        (ethernet(0x0806, &[0; 40]), 0, 0),
    ] {
        assert_eq!(taken(Scope::Scans, &frame, false), scans, "{frame:x?}");
        assert_eq!(taken(Scope::Newcomers, &frame, false), newcomers, "{frame:x?}");
    }
    let mut later = ipv4(17, 0, &udp(161));
    later[21] = 1;
    assert_eq!(taken(Scope::Scans, &later, false), 0, "a later fragment");
}

#[test]
fn takes_first_fragments_however_short() {
    for (flags, expected) in [([0x20, 0], HEAD), ([0, 1], 0), ([0x20, 1], 0)] {
        let mut frame = ipv4(6, 0, &tcp(2, 0, 0)[..8]);
        frame[20..22].copy_from_slice(&flags);
        assert_eq!(taken(Scope::Scans, &frame, false), expected, "{flags:?}");
        assert_eq!(taken(Scope::Newcomers, &frame, false), 0, "{flags:?}");
    }
}
