//! How often somebody may try: by name and by address.
//!
//! Each key has an allowance that a try takes from and time gives back (the generic cell rate algorithm: one number a
//! key). A try that succeeds is given back at once.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

const SECOND: i64 = 1_000_000;
/// Keys that are remembered, at most.
const KEYS: usize = 10_000;

/// What is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// Tries with a name, from addresses that it did not sign in from before.
    Name(String),
    /// Tries with a name from an address that it signed in from before, so that strangers do not lock anybody out.
    Known(String, IpAddr),
    /// Tries from an address, with whatever name.
    Address(IpAddr),
}

impl Key {
    /// An address; of IPv6 its network of 64 bits, which one machine may have whole.
    pub(super) const fn address(address: IpAddr) -> Self {
        Self::Address(narrow(address))
    }

    /// Tries at once, and the microseconds after which there is one more.
    const fn allowance(&self) -> (i64, i64) {
        match self {
            Self::Name(_) | Self::Known(..) => (10, 60 * SECOND),
            Self::Address(_) => (30, 20 * SECOND),
        }
    }
}

/// An address, of IPv6 its network.
pub(super) const fn narrow(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Allowances by key: the moment at which each is whole again.
#[derive(Debug, Default)]
pub(super) struct Limits(Mutex<HashMap<Key, i64>>);

impl Limits {
    /// Takes one try of each key, or none and says after how many seconds there is one.
    pub(super) fn take(&self, keys: &[Key], now: i64) -> Result<(), u64> {
        let mut whole = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = keys.iter().map(|key| wait(&whole, key, now)).max().unwrap_or(0);
        if waits > 0 {
            return Err(u64::try_from(waits.div_euclid(SECOND)).unwrap_or(0).saturating_add(1));
        }
        for key in keys {
            let (_, interval) = key.allowance();
            let at = whole.get(key).map_or(now, |at| now.max(*at));
            if whole.len() >= KEYS && !whole.contains_key(key) {
                make_room(&mut whole, now);
            }
            whole.insert(key.clone(), at.saturating_add(interval));
        }
        Ok(())
    }

    /// Gives back what a try took that succeeded.
    pub(super) fn give_back(&self, keys: &[Key]) {
        let mut whole = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys {
            if let Some(at) = whole.get_mut(key) {
                *at = at.saturating_sub(key.allowance().1);
            }
        }
    }

    /// Whether there is no try left.
    pub(super) fn is_used_up(&self, key: &Key, now: i64) -> bool {
        wait(&self.0.lock().unwrap_or_else(PoisonError::into_inner), key, now) > 0
    }
}

/// Microseconds until there is a try.
fn wait(whole: &HashMap<Key, i64>, key: &Key, now: i64) -> i64 {
    let (burst, interval) = key.allowance();
    let Some(at) = whole.get(key) else { return 0 };
    let later = at.saturating_sub(now).saturating_add(interval);
    later.saturating_sub(burst.saturating_mul(interval)).max(0)
}

/// Forgets what is whole again, or else the half that is nearest to it.
fn make_room(whole: &mut HashMap<Key, i64>, now: i64) {
    whole.retain(|_, at| *at > now);
    if whole.len() >= KEYS {
        let mut moments: Vec<i64> = whole.values().copied().collect();
        moments.sort_unstable();
        let middle = moments.get(KEYS / 2).copied().unwrap_or(now);
        whole.retain(|_, at| *at > middle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Key {
        Key::Name(text.to_owned())
    }

    #[test]
    fn tries_are_counted_and_time_gives_them_back() {
        let limits = Limits::default();
        let anna = [name("anna")];
        for _ in 0..10 {
            assert_eq!(limits.take(&anna, 0), Ok(()));
        }
        assert_eq!(limits.take(&anna, 0), Err(61));
        assert!(limits.is_used_up(&anna[0], 0));
        assert_eq!(limits.take(&[name("bert")], 0), Ok(()), "another name has its own");
        assert_eq!(limits.take(&anna, 59 * SECOND), Err(2));
        assert_eq!(limits.take(&anna, 60 * SECOND), Ok(()));
        assert_eq!(limits.take(&anna, 60 * SECOND), Err(61));
        limits.give_back(&anna);
        assert_eq!(limits.take(&anna, 60 * SECOND), Ok(()));
    }

    #[test]
    fn what_one_key_refuses_takes_nothing_of_the_others() {
        let limits = Limits::default();
        let address = Key::address("10.0.0.1".parse().expect("an address"));
        while limits.take(&[name("anna")], 0).is_ok() {}
        for _ in 0..100 {
            assert!(limits.take(&[name("anna"), address.clone()], 0).is_err());
        }
        assert_eq!(limits.take(&[address], 0), Ok(()));
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address_and_a_mapped_one_as_itself() {
        let key = |text: &str| Key::address(text.parse().expect("an address"));
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:0:0:2"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:10.0.0.1"), key("10.0.0.1"));
        assert_ne!(key("10.0.0.1"), key("10.0.0.12"));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_most_used_stays() {
        let limits = Limits::default();
        while limits.take(&[name("anna")], 0).is_ok() {}
        for number in 0..3 * KEYS {
            assert_eq!(limits.take(&[name(&number.to_string())], 0), Ok(()));
        }
        assert!(limits.0.lock().expect("a lock").len() <= KEYS);
        assert!(limits.is_used_up(&name("anna"), 0));
    }
}
