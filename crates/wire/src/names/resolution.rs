//! Names in mDNS ([RFC 6762]) and LLMNR ([RFC 4795]).
//!
//! [RFC 6762]: https://www.rfc-editor.org/rfc/rfc6762
//! [RFC 4795]: https://www.rfc-editor.org/rfc/rfc4795

use std::net::IpAddr;

use crate::dns::{A, AAAA, ANY, Message, RESPONSE};

/// Ports.
pub(super) const MDNS: u16 = 5353;
pub(super) const LLMNR: u16 = 5355;

/// The domain of mDNS.
const LOCAL: &[u8] = b".local";

/// The name that an announcement or an answer gives for the sender's own address.
pub(super) fn mdns(sender: IpAddr, payload: &[u8]) -> Option<Vec<u8>> {
    let mut name = named(sender, payload)?;
    let host = name.len().checked_sub(LOCAL.len())?;
    let (_, domain) = name.split_at_checked(host)?;
    if !domain.eq_ignore_ascii_case(LOCAL) {
        return None;
    }
    name.truncate(host);
    Some(name)
}

/// The same of LLMNR's answers.
pub(super) fn llmnr(sender: IpAddr, payload: &[u8]) -> Option<Vec<u8>> {
    named(sender, payload)
}

/// The name that a host checks for being its alone: it asks for all records of it (section 4 of RFC 4795).
pub(super) fn own_name(payload: &[u8]) -> Option<Vec<u8>> {
    let message = Message::parse(payload)?;
    if message.flags & RESPONSE != 0 || message.operation() != 0 {
        return None;
    }
    match <[_; 1]>::try_from(message.questions) {
        Ok([question]) if question.kind == ANY => Some(question.name),
        _ => None,
    }
}

fn named(sender: IpAddr, payload: &[u8]) -> Option<Vec<u8>> {
    let message = Message::parse(payload).filter(Message::is_answer)?;
    let mut records = message.records.into_iter().filter(|record| matches!(record.kind, A | AAAA));
    records.find(|record| record.addresses().first() == Some(&sender)).map(|record| record.name)
}
