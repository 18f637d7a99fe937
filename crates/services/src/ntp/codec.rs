//! NTP's datagrams to values: time packets, control messages (mode 6) and private messages (mode 7).

use super::clock::Stamp;

/// Octets of a time packet without extensions.
pub(super) const HEADER: usize = 48;
/// Octets of a control message's head, and of a private message's.
const CONTROL_HEADER: usize = 12;
/// Octets that a private message needs to say what it asks for.
const PRIVATE_HEADER: usize = 4;
/// Longest MAC of version 4: key identifier and SHA-1. What is no longer than this at the end is a
/// MAC and no extension field (RFC 7822, section 3).
const LONGEST_MAC: usize = 24;
/// Least length of an extension field (RFC 7822).
const SHORTEST_FIELD: usize = 16;
/// Extension fields of Network Time Security (RFC 8915): cookies and what belongs to them.
const NTS: [u16; 4] = [0x0104, 0x0204, 0x0304, 0x0404];

/// What the first octet says: two bits leap indicator, three bits version, three bits mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct First {
    pub(super) leap: u8,
    pub(super) version: u8,
    pub(super) mode: u8,
}

impl First {
    pub(super) const fn of(octet: u8) -> Self {
        Self { leap: octet >> 6, version: octet >> 3 & 7, mode: octet & 7 }
    }
}

/// A datagram.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet<'a> {
    /// Asks for the time or tells it: modes 0 to 5.
    Time(Time<'a>),
    /// A control message: mode 6 (RFC 9327).
    Control(Control<'a>),
    /// A private message of ntpd: mode 7.
    Private(Private<'a>),
    /// Something else, and why.
    Malformed(&'static str),
}

/// A time packet (RFC 5905, section 7.3): first octet, stratum, poll, precision, root delay, root
/// dispersion, reference identifier (4 octets each), reference, origin, receive and transmit time
/// (8 octets each), then extension fields and a MAC.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Time<'a> {
    pub(super) first: First,
    pub(super) stratum: u8,
    pub(super) poll: u8,
    pub(super) transmit: Stamp,
    pub(super) tail: Tail<'a>,
}

/// What stands behind the header.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tail<'a> {
    /// Nothing.
    None,
    /// Extension fields, by type.
    Fields(Vec<u16>),
    /// A MAC: key identifier and digest, which is empty in a crypto-NAK.
    Mac { key: u32, digest: &'a [u8] },
    /// What is neither.
    Other,
}

impl Tail<'_> {
    /// Whether chrony without keys and without NTS answers a packet that ends so.
    pub(super) fn is_answered(&self, version: u8) -> bool {
        match self {
            Self::None => true,
            Self::Fields(types) => version == 4 && !types.iter().any(|kind| NTS.contains(kind)),
            Self::Mac { .. } | Self::Other => false,
        }
    }

    fn of(mut rest: &[u8]) -> Tail<'_> {
        if rest.is_empty() {
            return Tail::None;
        }
        let mut types = Vec::new();
        while rest.len() > LONGEST_MAC {
            // A field is two octets type, two octets length of the whole, and padding to four.
            let [a, b, c, d, ..] = rest else { return Tail::Other };
            let length = usize::from(u16::from_be_bytes([*c, *d]));
            if length < SHORTEST_FIELD || length % 4 != 0 {
                return Tail::Other;
            }
            let Some((_, after)) = rest.split_at_checked(length) else { return Tail::Other };
            types.push(u16::from_be_bytes([*a, *b]));
            rest = after;
        }
        match rest {
            [] => Tail::Fields(types),
            [a, b, c, d, digest @ ..] if matches!(digest.len(), 0 | 16 | 20) => {
                Tail::Mac { key: u32::from_be_bytes([*a, *b, *c, *d]), digest }
            }
            _ => Tail::Other,
        }
    }
}

/// A control message: first octet; response, error and more bits with five bits of operation; then two
/// octets each of sequence, status, association, offset and count; then data.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Control<'a> {
    pub(super) version: u8,
    pub(super) is_response: bool,
    pub(super) operation: u8,
    pub(super) association: u16,
    pub(super) data: &'a [u8],
}

/// A private message: response and more bits, version, mode; authenticated bit and sequence; then an
/// octet each of implementation and request; then error, number and size of items, and data.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Private<'a> {
    pub(super) version: u8,
    pub(super) is_response: bool,
    pub(super) implementation: u8,
    pub(super) request: u8,
    pub(super) data: &'a [u8],
}

/// Reads a datagram.
pub(super) fn packet(bytes: &[u8]) -> Packet<'_> {
    let [octet, second, third, fourth, ..] = bytes else {
        return Packet::Malformed(if bytes.is_empty() { "an empty datagram" } else { "shorter than any NTP message" });
    };
    let first = First::of(*octet);
    match first.mode {
        6 => control(first, *second, bytes),
        7 => Packet::Private(Private {
            // The high bit is the response bit here and the next one says that more follows.
            is_response: octet & 0x80 != 0,
            version: first.version,
            implementation: *third,
            request: *fourth,
            data: bytes.get(PRIVATE_HEADER..).unwrap_or_default(),
        }),
        _ => time(first, *second, *third, bytes),
    }
}

fn control(first: First, second: u8, bytes: &[u8]) -> Packet<'_> {
    let (Some([a, b]), Some(data)) = (bytes.get(6..8), bytes.get(CONTROL_HEADER..)) else {
        return Packet::Malformed("a control message shorter than its header");
    };
    Packet::Control(Control {
        version: first.version,
        is_response: second & 0x80 != 0,
        operation: second & 0x1f,
        association: u16::from_be_bytes([*a, *b]),
        data,
    })
}

fn time(first: First, stratum: u8, poll: u8, bytes: &[u8]) -> Packet<'_> {
    let Some((header, rest)) = bytes.split_at_checked(HEADER) else {
        return Packet::Malformed("a time packet shorter than its header");
    };
    let Some(transmit) = header.last_chunk::<8>() else { return Packet::Malformed("no transmit time") };
    Packet::Time(Time { first, stratum, poll, transmit: Stamp(u64::from_be_bytes(*transmit)), tail: Tail::of(rest) })
}

/// A time packet to send; see [`Time`] for the layout.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) first: First,
    pub(super) stratum: u8,
    pub(super) poll: u8,
    pub(super) precision: i8,
    /// In 1/65536 seconds.
    pub(super) root_delay: u32,
    /// In 1/65536 seconds.
    pub(super) root_dispersion: u32,
    pub(super) reference_id: [u8; 4],
    pub(super) reference: Stamp,
    pub(super) origin: Stamp,
    pub(super) receive: Stamp,
    pub(super) transmit: Stamp,
}

impl Answer {
    pub(super) fn encode(&self) -> Vec<u8> {
        let First { leap, version, mode } = self.first;
        let mut out = Vec::with_capacity(HEADER);
        out.extend([leap << 6 | (version & 7) << 3 | mode & 7, self.stratum, self.poll]);
        out.extend(self.precision.to_be_bytes());
        out.extend(self.root_delay.to_be_bytes());
        out.extend(self.root_dispersion.to_be_bytes());
        out.extend(self.reference_id);
        for stamp in [self.reference, self.origin, self.receive, self.transmit] {
            out.extend(stamp.0.to_be_bytes());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: [u8; HEADER] = {
        let mut bytes = [0; HEADER];
        bytes[0] = 0x23;
        bytes[1] = 9;
        bytes[2] = 10;
        bytes[47] = 0x88;
        bytes
    };

    fn with(tail: &[u8]) -> Vec<u8> {
        [&QUERY, tail].concat()
    }

    fn tail(bytes: &[u8]) -> Tail<'_> {
        match packet(bytes) {
            Packet::Time(time) => time.tail,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reads_a_client_query() {
        let Packet::Time(time) = packet(&QUERY) else { panic!("no time packet") };
        assert_eq!(time.first, First { leap: 0, version: 4, mode: 3 });
        assert_eq!((time.stratum, time.poll, time.transmit, time.tail), (9, 10, Stamp(0x88), Tail::None));
    }

    #[test]
    fn every_prefix_is_malformed() {
        for (whole, least) in [(&QUERY[..], 48), (b"\x16\x02\0\x01\0\0\0\0\0\0\0\0", 12), (b"\x17\0\x03\x2a", 4)] {
            assert!(!matches!(packet(whole), Packet::Malformed(_)));
            for end in 0..least {
                assert!(matches!(packet(&whole[..end]), Packet::Malformed(_)), "{end}");
            }
        }
    }

    #[test]
    fn reads_what_stands_behind_the_header() {
        let field = |kind: u16, length: u16| -> Vec<u8> {
            let mut field = [kind.to_be_bytes(), length.to_be_bytes()].concat();
            field.resize(usize::from(length).max(28), 0x55);
            field
        };
        assert_eq!(tail(&with(&field(0xfafa, 28))), Tail::Fields(vec![0xfafa]));
        assert_eq!(tail(&with(&[field(1, 28), field(2, 32)].concat())), Tail::Fields(vec![1, 2]));
        assert_eq!(tail(&with(b"\0\0\0\x01")), Tail::Mac { key: 1, digest: b"" });
        assert_eq!(tail(&with(&[7; 20])), Tail::Mac { key: 0x0707_0707, digest: &[7; 16] });
        assert_eq!(tail(&with(&[7; 24])), Tail::Mac { key: 0x0707_0707, digest: &[7; 20] });
        for odd in [&[0; 1][..], &[0; 8], &[0; 23], &field(1, 15), &field(1, 30), &field(1, 12)] {
            assert_eq!(tail(&with(odd)), Tail::Other, "{odd:?}");
        }
        let longer = [&field(1, 28)[..2], &[0xff, 0xfc], &[0; 24]].concat();
        assert_eq!(tail(&with(&longer)), Tail::Other, "a field that claims more than is there");
    }

    #[test]
    fn reads_control_and_private_messages() {
        assert_eq!(
            packet(b"\x16\x82\0\x01\0\0\x12\x34\0\0\0\0abc"),
            Packet::Control(Control { version: 2, is_response: true, operation: 2, association: 0x1234, data: b"abc" })
        );
        assert_eq!(
            packet(b"\x97\0\x03\x2a\0\0\0\0"),
            Packet::Private(Private {
                version: 2,
                is_response: true,
                implementation: 3,
                request: 42,
                data: b"\0\0\0\0"
            })
        );
    }
}
