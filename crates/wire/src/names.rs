//! Names that hosts tell of themselves, unasked: in DHCP, NetBIOS, mDNS and LLMNR traffic that passes by.
//!
//! Nobody may name another: a name counts for the address that the packet came from, and only when what the
//! packet says is about that address.

mod dhcp;
mod netbios;
mod resolution;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

/// Longest name, in bytes before they are escaped.
const LONGEST: usize = 255;

/// The protocol that a name was heard in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameSource {
    /// A DHCP client's request.
    Dhcp,
    /// A NetBIOS name registration or datagram.
    NetBios,
    /// An mDNS announcement or answer.
    Mdns,
    /// An LLMNR check of one's own name, or an answer.
    Llmnr,
}

impl NameSource {
    /// The word for events.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Dhcp => "dhcp",
            Self::NetBios => "netbios",
            Self::Mdns => "mdns",
            Self::Llmnr => "llmnr",
        }
    }

    /// How far it is believed next to the others: a host gives its DHCP server the name that it has, while to
    /// answer with a name is what poisoners do.
    #[must_use]
    pub const fn rank(self) -> u8 {
        match self {
            Self::Dhcp => 3,
            Self::NetBios => 2,
            Self::Mdns => 1,
            Self::Llmnr => 0,
        }
    }

    /// Whether it may be an answer to somebody's question.
    #[must_use]
    pub const fn is_an_answer(self) -> bool {
        matches!(self, Self::Mdns | Self::Llmnr)
    }
}

/// Who sent a UDP datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Source of the frame, where that was seen.
    pub mac: Option<[u8; 6]>,
    /// Source address; unspecified while a host asks for one.
    pub address: IpAddr,
    /// Source port.
    pub port: u16,
}

/// A name that was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The MAC address whose name it is, where the packet shows that it is the host's own and no router's.
    pub mac: Option<[u8; 6]>,
    /// The IP address whose name it is.
    pub address: Option<IpAddr>,
    /// The name; bytes that are not UTF-8 are written as `\xNN`.
    pub name: String,
    /// How it was heard.
    pub from: NameSource,
}

/// UDP ports to which such datagrams go; answers of LLMNR come from its port instead.
pub const PORTS: [u16; 6] =
    [dhcp::V4, dhcp::V6, netbios::NAMES, netbios::DATAGRAMS, resolution::MDNS, resolution::LLMNR];

/// The name that a UDP datagram to a port tells of its sender, if any.
#[must_use]
pub fn passive(sender: Sender, destination: u16, payload: &[u8]) -> Option<Heard> {
    let sender = Sender { address: sender.address.to_canonical(), ..sender };
    let (name, from) = match (destination, sender.port) {
        (dhcp::V4, dhcp::V4_CLIENT) => return dhcp::v4(sender, payload),
        (dhcp::V6, _) => (dhcp::v6(payload)?, NameSource::Dhcp),
        (netbios::NAMES, _) => (netbios::registration(sender.address, payload)?, NameSource::NetBios),
        (netbios::DATAGRAMS, _) => (netbios::datagram(sender.address, payload)?, NameSource::NetBios),
        (resolution::MDNS, resolution::MDNS) => (resolution::mdns(sender.address, payload)?, NameSource::Mdns),
        (resolution::LLMNR, _) => (resolution::own_name(payload)?, NameSource::Llmnr),
        (_, resolution::LLMNR) => (resolution::llmnr(sender.address, payload)?, NameSource::Llmnr),
        _ => return None,
    };
    let link_local = match sender.address {
        IpAddr::V4(four) => four.is_link_local(),
        IpAddr::V6(six) => six.is_unicast_link_local(),
    };
    // No router passes a link-local address on, so that the frame is the host's own.
    let mac = sender.mac.filter(|_| link_local);
    let address = Some(sender.address).filter(|address| !address.is_unspecified());
    Some(Heard { mac, address, name: text(&name)?, from })
}

/// The names that a message of DNS's form asks for, as labels joined by dots.
#[must_use]
pub fn asked(payload: &[u8]) -> Vec<String> {
    use crate::dns::{Message, netbios_name};
    let questions = Message::parse(payload).filter(|message| !message.is_answer()).map(|message| message.questions);
    let name = |name: Vec<u8>| netbios_name(&name).map_or(name, |(name, _)| name);
    questions.into_iter().flatten().filter_map(|question| text(&name(question.name))).collect()
}

/// A name as text, without the zeros and blanks that some clients end it with; `None` when nothing is left.
fn text(name: &[u8]) -> Option<String> {
    let end = name.iter().rposition(|byte| !matches!(byte, 0 | b' ' | b'.'))?;
    let mut text = String::new();
    for chunk in name.get(..=end)?.get(..LONGEST).or(name.get(..=end))?.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    Some(text)
}
