//! Who did it, as far as one event can say.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Whom the events of an incident have in common: a source, in the realm where its address means one machine.
///
/// Compared as addresses, never as text: `10.0.0.1` is no beginning of `10.0.0.12`, `::ffff:10.0.0.1` is
/// `10.0.0.1`, and `2001:DB8:0::1` is `2001:db8::1`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Actor {
    /// Where the source's address is unique: empty for everywhere, a site where sites share private networks,
    /// a sensor for addresses that mean something on its own links only.
    pub realm: String,
    /// The source.
    pub source: Source,
}

/// A source as an event names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Source {
    /// An address, never a v4-mapped one.
    Address(IpAddr),
    /// What a foreign sensor wrote instead of one.
    Text(String),
}

impl Actor {
    /// The actor of a source as an event has it, seen by a sensor of a site; `None` for an event without a source.
    /// Where all sites have networks of their own, `site` is empty.
    #[must_use]
    pub fn new(source: &str, site: &str, sensor: &str) -> Option<Self> {
        let source = source.trim();
        if source.is_empty() {
            return None;
        }
        // A zone (`fe80::1%eth0`) says on which link, which the sensor does, too.
        let bare = source.split_once('%').map_or(source, |(address, _)| address);
        let bare = bare.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(bare);
        Some(match bare.parse::<IpAddr>() {
            Ok(address) => {
                let address = address.to_canonical();
                let realm = match address {
                    _ if is_of_a_link(address) => sensor,
                    _ if is_private(address) => site,
                    _ => "",
                };
                Self { realm: realm.to_owned(), source: Source::Address(address) }
            }
            Err(_) => Self { realm: site.to_owned(), source: Source::Text(source.to_owned()) },
        })
    }

    /// The source's address.
    #[must_use]
    pub const fn address(&self) -> Option<IpAddr> {
        match self.source {
            Source::Address(address) => Some(address),
            Source::Text(_) => None,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl fmt::Display for Actor {
    /// The source, and the realm where there is one: `10.0.0.1`, `10.0.0.1 (berlin)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)?;
        if self.realm.is_empty() { Ok(()) } else { write!(f, " ({})", self.realm) }
    }
}

/// Loopback and link-local addresses.
fn is_of_a_link(address: IpAddr) -> bool {
    address.is_loopback()
        || match address {
            IpAddr::V4(address) => address.is_link_local(),
            IpAddr::V6(address) => address.is_unicast_link_local(),
        }
}

/// RFC 1918, RFC 6598 (shared by carriers) and RFC 4193.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private() || matches!(address.octets(), [100, 64..=127, _, _]),
        IpAddr::V6(address) => address.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(source: &str) -> String {
        Actor::new(source, "berlin", "canary-1").map(|actor| actor.to_string()).unwrap_or_default()
    }

    #[test]
    fn one_source_has_one_form() {
        assert_eq!(shown("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(shown("2001:DB8:0::1"), "2001:db8::1");
        assert_eq!(shown("[2001:db8::1]"), "2001:db8::1");
        assert_ne!(Actor::new("10.0.0.1", "", ""), Actor::new("10.0.0.12", "", ""));
        assert_eq!(Actor::new("", "", ""), None);
        assert_eq!(shown("dhcp-7.example"), "dhcp-7.example (berlin)");
    }

    #[test]
    fn addresses_that_are_not_unique_have_a_realm() {
        assert_eq!(shown("10.0.0.1"), "10.0.0.1 (berlin)");
        assert_eq!(shown("100.64.0.1"), "100.64.0.1 (berlin)");
        assert_eq!(shown("fd00::1"), "fd00::1 (berlin)");
        assert_eq!(shown("fe80::1%eth0"), "fe80::1 (canary-1)");
        assert_eq!(shown("127.0.0.1"), "127.0.0.1 (canary-1)");
        assert_eq!(shown("100.128.0.1"), "100.128.0.1");
    }
}
