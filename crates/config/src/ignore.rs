//! Ignore rules: sources and log types that are not reported.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::Value;

/// Sources and log types that are not reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IgnoreRules {
    /// `ip.ignorelist`.
    pub sources: IgnoreList,
    /// `logtype.ignorelist`.
    pub kinds: BTreeSet<i64>,
}

impl IgnoreRules {
    /// Whether an event of this kind from this source is passed over.
    #[must_use]
    pub fn passes_over(&self, source: Option<IpAddr>, kind: i64) -> bool {
        self.kinds.contains(&kind) || source.is_some_and(|source| self.sources.contains(source))
    }
}

/// A set of IPv4 and IPv6 networks.
///
/// Addresses of IPv4 mapped into IPv6 (`::ffff:10.0.0.1`) count as IPv4, in entries and in what is
/// asked. A network of IPv6 shorter than the mapped prefix, `::/0` say, means IPv6 only; all of
/// IPv4 is `0.0.0.0/0`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IgnoreList {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

/// Why an entry is not a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadNetwork {
    /// The part before the slash.
    #[error("is not an address of IPv4 or IPv6")]
    Address,
    /// The part after the slash.
    #[error("has a prefix that is not a number from 0 to {longest}")]
    Prefix {
        /// Bits of an address of that family.
        longest: u32,
    },
    /// A netmask after the slash.
    #[error("has a netmask; accepted: the number of its leading one bits, here /{prefix}")]
    Netmask {
        /// The netmask as a prefix.
        prefix: u32,
    },
}

impl IgnoreList {
    /// Whether an address is in one of the networks.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let bits = address.to_bits();
                self.v4.iter().any(|(network, mask)| bits & mask == *network)
            }
            IpAddr::V6(address) => {
                let bits = address.to_bits();
                self.v6.iter().any(|(network, mask)| bits & mask == *network)
            }
        }
    }

    /// Whether it holds no network.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Adds `10.0.0.5`, `10.0.0.0/8`, `2001:db8::/32` and the like. Bits after the prefix do not
    /// matter, as in OpenCanary.
    ///
    /// # Errors
    /// If it is none of these.
    pub fn add(&mut self, entry: &str) -> Result<(), BadNetwork> {
        let entry = entry.trim();
        let (address, prefix) = match entry.split_once('/') {
            Some((address, prefix)) => (address.trim_end(), Some(prefix.trim_start())),
            None => (entry, None),
        };
        match address.parse().map_err(|_| BadNetwork::Address)? {
            IpAddr::V4(address) => self.add_v4(address, prefix_of(prefix, 32)?),
            IpAddr::V6(address) => {
                let prefix = prefix_of(prefix, 128)?;
                match (address.to_ipv4_mapped(), prefix.checked_sub(96)) {
                    (Some(mapped), Some(prefix)) => self.add_v4(mapped, prefix),
                    _ => self.add_v6(address, prefix),
                }
            }
        }
        Ok(())
    }

    fn add_v4(&mut self, address: Ipv4Addr, prefix: u32) {
        let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
        self.v4.push((address.to_bits() & mask, mask));
    }

    fn add_v6(&mut self, address: Ipv6Addr, prefix: u32) {
        let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
        self.v6.push((address.to_bits() & mask, mask));
    }
}

fn prefix_of(prefix: Option<&str>, longest: u32) -> Result<u32, BadNetwork> {
    let Some(prefix) = prefix else { return Ok(longest) };
    if let Ok(mask) = prefix.parse::<Ipv4Addr>() {
        let prefix = mask.to_bits().leading_ones();
        return Err(BadNetwork::Netmask { prefix });
    }
    let digits = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
    match prefix.parse() {
        Ok(prefix) if digits && prefix <= longest => Ok(prefix),
        _ => Err(BadNetwork::Prefix { longest }),
    }
}

/// The networks of `ip.ignorelist`, and what is wrong with which item.
pub(crate) fn sources(items: &[Value]) -> (IgnoreList, Vec<(usize, String)>) {
    let mut list = IgnoreList::default();
    let mut faults = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let fault = match item {
            Value::String(entry) => list.add(entry).err().map(|error| error.to_string()),
            _ => Some("is not text".to_owned()),
        };
        faults.extend(fault.map(|fault| (at, fault)));
    }
    (list, faults)
}

/// The numbers of `logtype.ignorelist`, and what is wrong with which item.
pub(crate) fn kinds(items: &[Value]) -> (BTreeSet<i64>, Vec<(usize, String)>) {
    let mut numbers = BTreeSet::new();
    let mut faults = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let number = match item {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        match number {
            Some(number) => drop(numbers.insert(number)),
            None => faults.push((at, "is not a whole number".to_owned())),
        }
    }
    (numbers, faults)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn list(entries: &[&str]) -> IgnoreList {
        let mut list = IgnoreList::default();
        for entry in entries {
            list.add(entry).unwrap_or_else(|error| panic!("{entry} {error}"));
        }
        list
    }

    fn has(list: &IgnoreList, address: &str) -> bool {
        list.contains(address.parse().expect("an address"))
    }

    #[test]
    fn matches_single_addresses_and_networks() {
        let list = list(&["10.0.0.5", "192.168.7.9/24", "2001:db8::/33", " fe80::1 "]);
        for inside in ["10.0.0.5", "192.168.7.255", "2001:db8:7fff::1", "fe80::1"] {
            assert!(has(&list, inside), "{inside}");
        }
        for outside in ["10.0.0.6", "192.168.8.0", "2001:db8:8000::1", "fe80::2"] {
            assert!(!has(&list, outside), "{outside}");
        }
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        assert!(has(&list(&["127.0.0.1"]), "::ffff:127.0.0.1"));
        assert!(has(&list(&["::ffff:127.0.0.1"]), "127.0.0.1"));
        assert!(has(&list(&["::ffff:10.0.0.0/104"]), "10.200.0.1"));
        assert!(!has(&list(&["::ffff:10.0.0.0/104"]), "11.0.0.1"));
    }

    #[test]
    fn slash_zero_is_everything_of_one_family() {
        assert!(has(&list(&["0.0.0.0/0"]), "203.0.113.9"));
        assert!(!has(&list(&["0.0.0.0/0"]), "2001:db8::1"));
        assert!(has(&list(&["::/0"]), "2001:db8::1"));
        assert!(!has(&list(&["::/0"]), "203.0.113.9"));
        assert!(!has(&list(&["::/0"]), "::ffff:203.0.113.9"));
    }

    #[test]
    fn refuses_what_is_no_network() {
        let refused = |entry: &str| IgnoreList::default().add(entry).expect_err(entry);
        assert_eq!(refused("nessus"), BadNetwork::Address);
        assert_eq!(refused(""), BadNetwork::Address);
        assert_eq!(refused("10.1"), BadNetwork::Address);
        assert_eq!(refused("10.0.0.0/33"), BadNetwork::Prefix { longest: 32 });
        assert_eq!(refused("10.0.0.0/"), BadNetwork::Prefix { longest: 32 });
        assert_eq!(refused("10.0.0.0/+8"), BadNetwork::Prefix { longest: 32 });
        assert_eq!(refused("2001:db8::/129"), BadNetwork::Prefix { longest: 128 });
        assert_eq!(refused("10.0.0.0/255.255.0.0"), BadNetwork::Netmask { prefix: 16 });
    }

    #[test]
    fn kinds_and_sources_both_pass_over() {
        let (kinds, faults) = kinds(&[json!(4000), json!("4001"), json!("ssh"), json!(1.5)]);
        assert_eq!(faults.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [2, 3]);
        let rules = IgnoreRules { sources: list(&["10.0.0.0/8"]), kinds };
        assert!(rules.passes_over(None, 4001));
        assert!(rules.passes_over("10.9.9.9".parse().ok(), 4002));
        assert!(!rules.passes_over("11.9.9.9".parse().ok(), 4002));
        assert!(!rules.passes_over(None, 4002));
    }
}
