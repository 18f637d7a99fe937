//! Questions and answers of LLMNR ([RFC 4795]), mDNS ([RFC 6762]) and NetBIOS name service ([RFC 1002]).
//!
//! ```text
//! id, flags, 4 counts (2 bytes each); questions: name, type, class;
//! records: name, type, class, TTL (4), length (2), data
//! ```
//! All three have the form of DNS. A NetBIOS name is one label of 32 letters: 16 bytes, the last the kind
//! of name, each as two letters from `A` on.
//!
//! [RFC 4795]: https://www.rfc-editor.org/rfc/rfc4795
//! [RFC 6762]: https://www.rfc-editor.org/rfc/rfc6762
//! [RFC 1002]: https://www.rfc-editor.org/rfc/rfc1002

use std::net::IpAddr;

pub(super) use aviary_wire::dns::{A, AAAA};
use aviary_wire::dns::{Message, NB, Record, Section, netbios_name};

/// A header that asks: nothing set but, for NetBIOS, recursion wanted and broadcast.
const PLAIN: u16 = 0;
const NETBIOS: u16 = 0x0110;

/// A question for the addresses of a name, as labels joined by dots.
pub(super) fn question(id: u16, name: &str, record: u16) -> Vec<u8> {
    let mut bytes = header(id, PLAIN);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let label = label.get(..63).unwrap_or(label);
        bytes.push(u8::try_from(label.len()).unwrap_or(0));
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend_from_slice(&record.to_be_bytes());
    bytes.extend_from_slice(&1_u16.to_be_bytes());
    bytes
}

/// A question for a NetBIOS name of a file server.
pub(super) fn netbios_question(id: u16, name: &str) -> Vec<u8> {
    let mut bytes = header(id, NETBIOS);
    bytes.push(32);
    bytes.extend_from_slice(&netbios_label(name));
    bytes.push(0);
    bytes.extend_from_slice(&NB.to_be_bytes());
    bytes.extend_from_slice(&1_u16.to_be_bytes());
    bytes
}

fn header(id: u16, flags: u16) -> Vec<u8> {
    [id, flags, 1, 0, 0, 0].iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// Fifteen characters in capitals, padded with blanks, and 0x20 for a file server.
fn netbios_label(name: &str) -> Vec<u8> {
    let upper = name.to_ascii_uppercase();
    let padded = upper.bytes().chain(std::iter::repeat(b' ')).take(15).chain([0x20]);
    padded.flat_map(|byte| [b'A'.wrapping_add(byte >> 4), b'A'.wrapping_add(byte & 15)]).collect()
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Of the question.
    pub id: u16,
    /// The code of a refusal; 0 without one.
    pub code: u8,
    /// The name that was asked for, or that the first record is about: labels joined by dots.
    pub name: Vec<u8>,
    /// The addresses.
    pub addresses: Vec<IpAddr>,
}

/// Reads an answer; `None` for questions and for what is none of it.
pub(super) fn answer(bytes: &[u8]) -> Option<Answer> {
    let message = Message::parse(bytes).filter(Message::is_answer)?;
    let name = message.questions.into_iter().next().map(|question| question.name);
    let records = || message.records.iter().filter(|record| record.section == Section::Answer);
    let name = name.or_else(|| records().next().map(|record| record.name.clone()))?;
    let name = netbios_name(&name).map_or(name, |(name, _)| name);
    let addresses = records().flat_map(Record::addresses).collect();
    let code = u8::try_from(message.flags & 15).unwrap_or(0);
    Some(Answer { id: message.id, code, name, addresses })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a poisoner of LLMNR sends it: the question again, and one record that points to its name.
    const POISON: &[u8] =
        b"\x12\x34\x80\0\0\x01\0\x01\0\0\0\0\x04DC03\0\0\x01\0\x01\x04DC03\0\0\x01\0\x01\0\0\0\x1e\0\x04\x0a\0\0\x42";

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn asks_as_clients_do() {
        assert_eq!(question(0x1234, "DC03", A), b"\x12\x34\0\0\0\x01\0\0\0\0\0\0\x04DC03\0\0\x01\0\x01");
        assert_eq!(question(0, "DC03.local", AAAA), b"\0\0\0\0\0\x01\0\0\0\0\0\0\x04DC03\x05local\0\0\x1c\0\x01");
        assert_eq!(
            netbios_question(0x1234, "Dc03"),
            b"\x12\x34\x01\x10\0\x01\0\0\0\0\0\0\x20EEEDDADDCACACACACACACACACACACACA\0\0\x20\0\x01"
        );
    }

    #[test]
    fn reads_the_answers_of_all_three() {
        let read = answer(POISON).unwrap();
        assert_eq!((read.id, read.code, read.name.as_slice()), (0x1234, 0, b"DC03".as_slice()));
        assert_eq!(read.addresses, addresses(&["10.0.0.66"]));
        let mdns = b"\0\0\x84\0\0\0\0\x02\0\0\0\0\x04DC03\x05local\0\0\x01\x80\x01\0\0\0\x78\0\x04\x0a\0\0\x42\xc0\x0c\0\x1c\0\x01\0\0\0\x78\0\x10\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\x01";
        let read = answer(mdns).unwrap();
        assert_eq!((read.id, read.name.as_slice()), (0, b"DC03.local".as_slice()));
        assert_eq!(read.addresses, addresses(&["10.0.0.66", "fe80::1"]));
        let netbios = b"\x12\x34\x85\0\0\0\0\x01\0\0\0\0\x20EEEDDADDCACACACACACACACACACACACA\0\0\x20\0\x01\0\0\0\xa5\0\x06\0\0\x0a\0\0\x42";
        let read = answer(netbios).unwrap();
        assert_eq!((read.id, read.name.as_slice()), (0x1234, b"DC03".as_slice()));
        assert_eq!(read.addresses, addresses(&["10.0.0.66"]));
    }

    #[test]
    fn every_prefix_gives_no_address_and_no_panic() {
        for end in 0..POISON.len() {
            let read = answer(&POISON[..end]);
            assert!(read.is_none_or(|read| read.addresses.is_empty()), "{end}");
        }
    }

    #[test]
    fn questions_and_other_kinds_are_no_answers() {
        assert_eq!(answer(&question(7, "DC03", A)), None);
        assert_eq!(answer(&netbios_question(7, "DC03")), None);
        let mut registration = POISON.to_vec();
        registration[2] = 0xa8;
        assert_eq!(answer(&registration), None);
        assert_eq!(answer(b""), None);
        assert_eq!(answer(&[0xff; 40]), None);
    }

    #[test]
    fn names_that_point_to_themselves_end() {
        assert_eq!(answer(b"\0\0\x80\0\0\x01\0\0\0\0\0\0\xc0\x0c\0\x01\0\x01"), None);
        assert_eq!(answer(b"\0\0\x80\0\0\x01\0\0\0\0\0\0\x40aaaa"), None);
        let long =
            [b"\0\0\x80\0\0\x01\0\0\0\0\0\0".as_slice(), &[b"\x3f".as_slice(), &[b'a'; 63]].concat().repeat(5), b"\0"]
                .concat();
        assert_eq!(answer(&long), None);
    }

    #[test]
    fn a_refusal_keeps_its_code() {
        let read = answer(b"\0\x07\x80\x03\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01").unwrap();
        assert_eq!((read.code, read.addresses.len()), (3, 0));
    }
}
