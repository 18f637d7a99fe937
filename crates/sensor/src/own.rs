//! The addresses of this machine, as far as packets need to be known as for it.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How soon the list is looked up again for an address that is not in it.
const SOON: Duration = Duration::from_millis(500);
/// How long an address is believed to be there.
const OLD: Duration = Duration::from_secs(60);

/// This machine's addresses, looked up again when one is missed.
#[derive(Debug, Default)]
pub(crate) struct OwnAddresses {
    addresses: HashSet<IpAddr>,
    looked: Option<Instant>,
}

impl OwnAddresses {
    /// Whether an address is this machine's.
    pub(crate) fn contains(&mut self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let age = self.looked.map(|looked| looked.elapsed());
        if address.is_loopback() || age.is_some_and(|age| age < OLD) && self.addresses.contains(&address) {
            return true;
        }
        if age.is_none_or(|age| age > SOON) {
            self.look();
        }
        self.addresses.contains(&address)
    }

    fn look(&mut self) {
        self.looked = Some(Instant::now());
        let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return };
        self.addresses = interfaces
            .filter_map(|interface| {
                let address = interface.address?;
                let four = address.as_sockaddr_in().map(|four| IpAddr::V4(four.ip()));
                four.or_else(|| address.as_sockaddr_in6().map(|six| IpAddr::V6(six.ip())))
            })
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_ours_and_a_documentation_address_is_not() {
        let mut own = OwnAddresses::default();
        for text in ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"] {
            assert!(own.contains(text.parse().unwrap()), "{text}");
        }
        for text in ["192.0.2.1", "2001:db8::1"] {
            assert!(!own.contains(text.parse().unwrap()), "{text}");
        }
        assert!(own.addresses.contains(&IpAddr::from([127, 0, 0, 1])), "the system was asked");
    }
}
