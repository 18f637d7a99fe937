//! Names in NetBIOS registrations and datagrams: [RFC 1002], sections 4.2 and 4.4.
//!
//! ```text
//! registration: a question for the name and a record of flags (2) and address (4)
//! datagram: type (1), flags (1), id (2), source address (4) and port (2), length (2), offset (2),
//!           source's name, destination's name
//! ```
//!
//! [RFC 1002]: https://www.rfc-editor.org/rfc/rfc1002

use std::net::IpAddr;

use crate::dns::{Message, NB, RESPONSE, netbios_name, read_name};

/// Ports of name service and datagram service.
pub(super) const NAMES: u16 = 137;
pub(super) const DATAGRAMS: u16 = 138;

/// Operations: registration, two that refresh, and registration by who has several addresses.
const REGISTRATIONS: [u16; 4] = [5, 8, 9, 15];
/// Flag of a record: a group's name.
const GROUP: u8 = 0x80;
/// Types of datagrams that carry data: to a host, to a group, to all.
const TYPES: [u8; 3] = [0x10, 0x11, 0x12];
/// Flag of a datagram: its first piece.
const FIRST: u8 = 0x02;

/// The name that a host registers for its own address.
pub(super) fn registration(sender: IpAddr, payload: &[u8]) -> Option<Vec<u8>> {
    let message = Message::parse(payload)?;
    if message.flags & RESPONSE != 0 || !REGISTRATIONS.contains(&message.operation()) {
        return None;
    }
    let name = own(&message.questions.first()?.name)?;
    let is_own = |record: &crate::dns::Record<'_>| {
        record.kind == NB
            && record.data.first().is_some_and(|flags| flags & GROUP == 0)
            && record.addresses().first() == Some(&sender)
    };
    message.records.iter().any(is_own).then_some(name)
}

/// The name of a datagram's sender.
pub(super) fn datagram(sender: IpAddr, payload: &[u8]) -> Option<Vec<u8>> {
    let ([kind, flags, _, _, a, b, c, d, ..], rest) = payload.split_first_chunk::<14>()?;
    if !TYPES.contains(kind) || flags & FIRST == 0 || sender != IpAddr::from([*a, *b, *c, *d]) {
        return None;
    }
    own(&read_name(rest, 0)?.0)
}

/// A name of a machine: a workstation's or a file server's.
fn own(name: &[u8]) -> Option<Vec<u8>> {
    netbios_name(name).filter(|(_, kind)| matches!(kind, 0 | 0x20)).map(|(name, _)| name)
}
