//! Events as the store takes and gives them.

use std::net::{IpAddr, Ipv6Addr};

use aviary_event::Timestamp;
use aviary_insight::{Sighting, Stage};
use uuid::Uuid;

use crate::{Changed, Cursor};

/// An event that arrived.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its id: its own, or one made from its bytes.
    pub id: Uuid,
    /// When it happened.
    pub at: Timestamp,
    /// When it arrived.
    pub received: Timestamp,
    /// Whose credential it came with.
    pub sensor: String,
    /// The line, whole.
    pub line: String,
    /// The log type.
    pub logtype: Option<i64>,
    /// The service.
    pub service: Option<String>,
    /// The class.
    pub kind: &'static str,
    /// What free text is searched in: the values of `logdata`.
    pub words: String,
    /// Members of `logdata` that are found by their values.
    pub fields: Vec<(String, String)>,
    /// What it tells; `None` for one without a source.
    pub sighting: Option<Sighting>,
    /// The rule that hides it.
    pub hidden: Option<String>,
}

/// What taking events came to.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// For each record, whether it was new.
    pub fresh: Vec<bool>,
    /// Incidents that changed, each once.
    pub changed: Vec<Changed>,
}

/// An event that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// Its number in this store, in the order of arrival.
    pub row: i64,
    /// Its id.
    pub id: Uuid,
    /// When it happened.
    pub at: Timestamp,
    /// When it arrived.
    pub received: Timestamp,
    /// Whose it is.
    pub sensor: String,
    /// How far it went.
    pub stage: Option<Stage>,
    /// The rule that hides it.
    pub hidden: Option<String>,
    /// The line.
    pub line: String,
}

/// What is asked for; what is not given is not asked.
#[derive(Clone, Debug, Default)]
pub struct EventQuery {
    /// From this moment on.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
    /// Sources.
    pub sources: Option<Networks>,
    /// Destinations.
    pub destinations: Option<Networks>,
    /// The realm of the source, together with `sources`: one actor.
    pub realm: Option<String>,
    /// A sensor.
    pub sensor: Option<String>,
    /// A service.
    pub service: Option<String>,
    /// A class.
    pub kind: Option<String>,
    /// A log type.
    pub logtype: Option<i64>,
    /// At least this step.
    pub stage: Option<Stage>,
    /// A destination port.
    pub port: Option<u16>,
    /// Members of `logdata` with the text that they hold.
    pub fields: Vec<(String, String)>,
    /// Words that stand somewhere in `logdata`.
    pub text: Option<String>,
    /// Whether hidden events are meant: only those, only others, or all.
    pub hidden: Option<bool>,
    /// The rule that hid them.
    pub rule: Option<String>,
    /// Where the page before ended.
    pub after: Option<Cursor>,
    /// Rows of a page.
    pub limit: usize,
}

/// A network, as the first and last address of IPv6; IPv4 is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Networks {
    /// The first address.
    pub first: [u8; 16],
    /// The last one.
    pub last: [u8; 16],
}

impl Networks {
    /// One address.
    #[must_use]
    pub fn one(address: IpAddr) -> Self {
        let key = key_of(address);
        Self { first: key, last: key }
    }

    /// Reads `10.0.0.1`, `10.0.0.0/8`, `2001:db8::/32`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.trim().split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.trim().parse::<u32>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse().ok()?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(width);
        let host = width.checked_sub(prefix)?;
        let bits = u128::from_be_bytes(key_of(address));
        let mask = u128::MAX.checked_shl(host).unwrap_or(0);
        // A mapped address has the 96 bits before the IPv4 ones fixed.
        Some(Self { first: (bits & mask).to_be_bytes(), last: (bits | !mask).to_be_bytes() })
    }

    /// Whether an address is in it.
    #[must_use]
    pub fn holds(&self, address: IpAddr) -> bool {
        let key = key_of(address);
        self.first <= key && key <= self.last
    }

    /// Whether it is one address.
    #[must_use]
    pub fn is_one(&self) -> bool {
        self.first == self.last
    }
}

/// An address as 16 bytes.
pub(crate) fn key_of(address: IpAddr) -> [u8; 16] {
    let mapped: Ipv6Addr = match address.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    mapped.octets()
}

/// The address of 16 bytes that [`key_of`] gave.
pub(crate) fn address_of(key: [u8; 16]) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(key)).to_canonical()
}

/// What a step of [`Store::expire`](crate::Store::expire) came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    /// Events that were removed.
    pub removed: u64,
    /// Where the next step goes on; `None` when all is done.
    pub next: Option<Cursor>,
}

/// How much the store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Bytes that are in use; what is free of a file is not counted.
    pub bytes: u64,
    /// The first moment of which there is an event.
    pub oldest: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_of_both_families_are_ranges() {
        let holds = |network: &str, address: &str| {
            let network = Networks::parse(network).expect("a network");
            network.holds(address.parse().expect("an address"))
        };
        assert!(holds("10.0.0.1", "10.0.0.1") && !holds("10.0.0.1", "10.0.0.12"));
        assert!(holds("10.0.0.0/8", "10.255.255.255") && !holds("10.0.0.0/8", "11.0.0.0"));
        assert!(holds("0.0.0.0/0", "255.1.2.3") && !holds("0.0.0.0/0", "2001:db8::1"));
        assert!(holds("2001:db8::/32", "2001:db8:ffff::1") && holds("::/0", "2001:db8::1"));
        for bad in ["", "10.0.0", "10.0.0.0/33", "10.0.0.0/-1", "x/8"] {
            assert_eq!(Networks::parse(bad), None, "{bad}");
        }
    }
}
