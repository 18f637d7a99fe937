//! Messages of the form of DNS, as mDNS ([RFC 6762]), LLMNR ([RFC 4795]) and NetBIOS name service ([RFC 1002])
//! have it, too.
//!
//! ```text
//! id, flags, 4 counts (2 bytes each); questions: name, type, class;
//! records: name, type, class, TTL (4), length (2), data
//! ```
//! A NetBIOS name is one label of 32 letters: 16 bytes, the last the kind of name, each as two letters from `A`
//! on.
//!
//! [RFC 6762]: https://www.rfc-editor.org/rfc/rfc6762
//! [RFC 4795]: https://www.rfc-editor.org/rfc/rfc4795
//! [RFC 1002]: https://www.rfc-editor.org/rfc/rfc1002

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Type of an IPv4 address record.
pub const A: u16 = 1;
/// Type of an IPv6 address record.
pub const AAAA: u16 = 28;
/// Type of a NetBIOS name record.
pub const NB: u16 = 0x20;
/// Type of a question for all there is.
pub const ANY: u16 = 255;

/// Bit of the flags that an answer has.
pub const RESPONSE: u16 = 0x8000;

/// Questions, and records of a section, that are looked at.
const MOST: u16 = 32;
/// Names that a name may point to, one after the other.
const MOST_JUMPS: usize = 8;
/// Longest name.
const LONGEST_NAME: usize = 255;

/// A message, as far as it could be read.
#[derive(Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Joins question and answer.
    pub id: u16,
    /// Bit 15: an answer; 14 to 11: the kind of query; 3 to 0: the code of a refusal.
    pub flags: u16,
    /// The questions.
    pub questions: Vec<Question>,
    /// The records of all three sections, up to one that is cut or wrong.
    pub records: Vec<Record<'a>>,
}

/// A question.
#[derive(Debug, PartialEq, Eq)]
pub struct Question {
    /// Labels joined by dots.
    pub name: Vec<u8>,
    /// Type.
    pub kind: u16,
}

/// A part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// What was asked for.
    Answer,
    /// Who knows.
    Authority,
    /// What may be of use.
    Additional,
}

/// A record.
#[derive(Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Where it stands.
    pub section: Section,
    /// Labels joined by dots.
    pub name: Vec<u8>,
    /// Type.
    pub kind: u16,
    /// Data.
    pub data: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads a message; `None` when it ends before its questions do.
    ///
    /// LIMIT: 32 questions, and as many records of each section; what follows more is not read.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let word = |at| word(bytes, at);
        let (id, flags, asked) = (word(0)?, word(2)?, word(4)?);
        let sections = [(Section::Answer, word(6)?), (Section::Authority, word(8)?), (Section::Additional, word(10)?)];
        let mut message = Self { id, flags, questions: Vec::new(), records: Vec::new() };
        let mut at = 12;
        for _ in 0..asked.min(MOST) {
            let (name, next) = read_name(bytes, at)?;
            message.questions.push(Question { name, kind: word(next)? });
            at = next.checked_add(4)?;
        }
        if asked > MOST {
            return Some(message);
        }
        for (section, count) in sections {
            for _ in 0..count.min(MOST) {
                let Some((record, next)) = read_record(bytes, at, section) else { return Some(message) };
                message.records.push(record);
                at = next;
            }
            if count > MOST {
                break;
            }
        }
        Some(message)
    }

    /// Whether it is an answer about names, be it a refusal.
    #[must_use]
    pub const fn is_answer(&self) -> bool {
        self.flags & RESPONSE != 0 && self.operation() == 0
    }

    /// The kind of query: 0 is for names; NetBIOS has others.
    #[must_use]
    pub const fn operation(&self) -> u16 {
        (self.flags >> 11) & 15
    }
}

impl Record<'_> {
    /// The addresses in its data.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        let four = |four: &[u8; 4]| IpAddr::V4(Ipv4Addr::from(*four));
        match self.kind {
            A => self.data.first_chunk::<4>().map(four).into_iter().collect(),
            AAAA => self.data.first_chunk::<16>().map(|six| IpAddr::V6(Ipv6Addr::from(*six))).into_iter().collect(),
            // Each of two bytes of flags and an address.
            NB => self.data.chunks_exact(6).filter_map(|entry| entry.last_chunk::<4>().map(four)).collect(),
            _ => Vec::new(),
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let (high, low) = (bytes.get(at)?, bytes.get(at.checked_add(1)?)?);
    Some(u16::from_be_bytes([*high, *low]))
}

fn read_record(bytes: &[u8], at: usize, section: Section) -> Option<(Record<'_>, usize)> {
    let (name, next) = read_name(bytes, at)?;
    let kind = word(bytes, next)?;
    let length = word(bytes, next.checked_add(8)?)?;
    let start = next.checked_add(10)?;
    let end = start.checked_add(usize::from(length))?;
    Some((Record { section, name, kind, data: bytes.get(start..end)? }, end))
}

/// A name, as labels joined by dots, and where it ends. A label of 0xc0 and more points to a name elsewhere.
#[must_use]
pub fn read_name(bytes: &[u8], start: usize) -> Option<(Vec<u8>, usize)> {
    let mut name: Vec<u8> = Vec::new();
    let mut at = start;
    let mut end = None;
    let mut jumps = 0_usize;
    loop {
        let length = *bytes.get(at)?;
        let next = at.checked_add(1)?;
        match length {
            0 => return Some((name, end.unwrap_or(next))),
            0xc0.. => {
                jumps = jumps.checked_add(1).filter(|jumps| *jumps <= MOST_JUMPS)?;
                end.get_or_insert(next.checked_add(1)?);
                at = usize::from(u16::from_be_bytes([length & 0x3f, *bytes.get(next)?]));
            }
            64.. => return None,
            _ => {
                let stop = next.checked_add(usize::from(length))?;
                let label = bytes.get(next..stop)?;
                if !name.is_empty() {
                    name.push(b'.');
                }
                name.extend_from_slice(label);
                if name.len() > LONGEST_NAME {
                    return None;
                }
                at = stop;
            }
        }
    }
}

/// The NetBIOS name in a name's first label, without its padding, and its kind: 0 is a workstation, 0x20 a file
/// server.
#[must_use]
pub fn netbios_name(name: &[u8]) -> Option<(Vec<u8>, u8)> {
    let label = name.split(|byte| *byte == b'.').next()?;
    if label.len() != 32 || !label.iter().all(|letter| (b'A'..=b'P').contains(letter)) {
        return None;
    }
    let nibble = |letter: &u8| letter.wrapping_sub(b'A');
    let bytes: Vec<u8> = label
        .chunks_exact(2)
        .filter_map(|pair| match pair {
            [high, low] => Some(nibble(high) << 4 | nibble(low)),
            _ => None,
        })
        .collect();
    let (kind, name) = bytes.split_last()?;
    Some((name.trim_ascii_end().to_vec(), *kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three records, one of each section, that point to the question's name.
    const ALL_SECTIONS: &[u8] = b"\x12\x34\x84\0\0\x01\0\x01\0\x01\0\x01\x04DC03\x05local\0\0\x01\0\x01\
        \xc0\x0c\0\x01\0\x01\0\0\0\x1e\0\x04\x0a\0\0\x42\
        \xc0\x0c\0\x1c\0\x01\0\0\0\x1e\0\x10\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\
        \xc0\x11\0\x10\0\x01\0\0\0\x1e\0\x01\0";

    #[test]
    fn reads_questions_and_all_sections() {
        let message = Message::parse(ALL_SECTIONS).unwrap();
        assert!(message.is_answer());
        assert_eq!(message.questions, [Question { name: b"DC03.local".to_vec(), kind: A }]);
        let told: Vec<(Section, &[u8], Vec<String>)> = message
            .records
            .iter()
            .map(|r| (r.section, r.name.as_slice(), r.addresses().iter().map(ToString::to_string).collect()))
            .collect();
        assert_eq!(
            told,
            [
                (Section::Answer, b"DC03.local".as_slice(), vec!["10.0.0.66".to_owned()]),
                (Section::Authority, b"DC03.local", vec!["fe80::1".to_owned()]),
                (Section::Additional, b"local", Vec::new()),
            ]
        );
    }

    #[test]
    fn every_prefix_has_fewer_records() {
        let mut most = 0;
        for end in 0..ALL_SECTIONS.len() {
            let records = Message::parse(&ALL_SECTIONS[..end]).map_or(0, |message| message.records.len());
            assert!(records >= most && records < 3, "{end}");
            most = records;
        }
        assert_eq!(most, 2);
    }

    #[test]
    fn counts_that_lie_cost_nothing() {
        let mut many = ALL_SECTIONS.to_vec();
        many[6..12].fill(0xff);
        assert!(Message::parse(&many).unwrap().records.len() <= 3);
        many[4..6].fill(0xff);
        assert!(Message::parse(&many).is_none_or(|message| message.records.is_empty()));
        let endless = [&[0, 0, 0x80, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0][..], &[0; 11].repeat(100)].concat();
        assert_eq!(Message::parse(&endless).unwrap().records.len(), usize::from(MOST));
    }

    #[test]
    fn names_that_point_to_themselves_end() {
        assert_eq!(read_name(b"\xc0\0", 0), None);
        assert_eq!(read_name(b"\x01a\xc0\0", 0), None);
        assert_eq!(read_name(b"\x40aaaa", 0), None);
        assert_eq!(read_name(&[b"\x3f".as_slice(), &[b'a'; 63]].concat().repeat(5), 0), None);
        assert_eq!(read_name(b"\x01a\0", usize::MAX), None);
    }

    #[test]
    fn a_netbios_name_has_a_kind_and_may_have_a_scope() {
        for scope in ["", ".corp.example"] {
            let name = format!("EEEDDADDCACACACACACACACACACACACA{scope}");
            assert_eq!(netbios_name(name.as_bytes()), Some((b"DC03".to_vec(), 0x20)));
        }
        assert_eq!(netbios_name(b"DC03"), None);
        assert_eq!(netbios_name(&[b'Q'; 32]), None);
    }
}
