//! Conversations that were seen, so that answers and the rest of a connection are no scan.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};

/// Entries that share a place.
const WAYS: usize = 4;
/// Places for connections, and for datagrams that we sent: 16 KiB for 1,024 places.
const CONNECTIONS: usize = 4096;
const DATAGRAMS: usize = 1024;
/// How long a datagram of ours may be answered, in seconds.
const ANSWERED_WITHIN: u32 = 120;

/// Connections and datagrams, remembered as hashes with a secret key: who floods it makes us forget, and cannot
/// choose what.
#[derive(Debug)]
pub(crate) struct Flows {
    keys: RandomState,
    connections: Table,
    datagrams: Table,
}

#[derive(Debug)]
struct Table {
    /// A power of two of places.
    places: Vec<[Entry; WAYS]>,
}

/// Half a hash, and when it was seen last in seconds; zero and zero for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Entry {
    tag: u32,
    seen: u32,
}

impl Flows {
    pub(crate) fn new() -> Self {
        Self { keys: RandomState::new(), connections: Table::new(CONNECTIONS), datagrams: Table::new(DATAGRAMS) }
    }

    /// Bytes of both tables.
    pub(crate) const fn memory(&self) -> usize {
        let places = self.connections.places.capacity().saturating_add(self.datagrams.places.capacity());
        places.saturating_mul(size_of::<[Entry; WAYS]>())
    }

    /// Remembers a connection between a peer's port and one of ours. `now` is in seconds.
    pub(crate) fn connection(&mut self, peer: IpAddr, theirs: u16, ours: u16, now: u32) {
        let hash = self.keys.hash_one((number(peer), theirs, ours));
        self.connections.insert(hash, now);
    }

    /// Whether such a connection was seen, however long ago.
    pub(crate) fn has_connection(&self, peer: IpAddr, theirs: u16, ours: u16) -> bool {
        self.connections.seen(self.keys.hash_one((number(peer), theirs, ours))).is_some()
    }

    /// Remembers that a datagram of ours went to a peer, or to many. Who answers may do so from another port, as
    /// TFTP servers do.
    pub(crate) fn datagram(&mut self, peer: Option<IpAddr>, ours: u16, now: u32) {
        let hash = self.keys.hash_one((peer.map_or(0, number), ours));
        self.datagrams.insert(hash, now);
    }

    /// Whether a datagram from a peer may answer one of ours.
    pub(crate) fn is_answer(&self, peer: IpAddr, ours: u16, now: u32) -> bool {
        [number(peer), 0].into_iter().any(|peer| {
            let seen = self.datagrams.seen(self.keys.hash_one((peer, ours)));
            seen.is_some_and(|seen| now.saturating_sub(seen) <= ANSWERED_WITHIN)
        })
    }
}

/// An address as a number, the same for IPv4 and its form in IPv6.
pub(crate) const fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => Ipv6Addr::to_bits(address),
    }
}

impl Table {
    fn new(places: usize) -> Self {
        Self { places: vec![<[Entry; WAYS]>::default(); places] }
    }

    /// Which place, and which tag there.
    fn split(&self, hash: u64) -> (usize, u32) {
        let low = usize::try_from(hash & 0xffff_ffff).unwrap_or(0);
        let place = low & self.places.len().saturating_sub(1);
        // Never zero, which stands for none.
        (place, u32::try_from(hash >> 32).unwrap_or(0) | 1)
    }

    fn insert(&mut self, hash: u64, now: u32) {
        let (place, tag) = self.split(hash);
        let Some(entries) = self.places.get_mut(place) else { return };
        if let Some(entry) = entries.iter_mut().find(|entry| entry.tag == tag) {
            entry.seen = now;
        } else if let Some(oldest) = entries.iter_mut().min_by_key(|entry| (entry.tag != 0, entry.seen)) {
            *oldest = Entry { tag, seen: now };
        }
    }

    fn seen(&self, hash: u64) -> Option<u32> {
        let (place, tag) = self.split(hash);
        self.places.get(place)?.iter().find(|entry| entry.tag == tag).map(|entry| entry.seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 9));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 10));

    #[test]
    fn connections_are_known_by_both_ports() {
        let mut flows = Flows::new();
        flows.connection(PEER, 40_000, 22, 0);
        assert!(flows.has_connection(PEER, 40_000, 22));
        for (peer, theirs, ours) in [(PEER, 40_001, 22), (PEER, 40_000, 23), (OTHER, 40_000, 22)] {
            assert!(!flows.has_connection(peer, theirs, ours));
        }
    }

    #[test]
    fn datagrams_may_be_answered_for_a_while() {
        let mut flows = Flows::new();
        flows.datagram(Some(PEER), 5000, 100);
        assert!(flows.is_answer(PEER, 5000, 100 + ANSWERED_WITHIN));
        assert!(!flows.is_answer(PEER, 5000, 101 + ANSWERED_WITHIN));
        assert!(!flows.is_answer(OTHER, 5000, 100));
        flows.datagram(None, 5001, 100);
        assert!(flows.is_answer(OTHER, 5001, 100), "who was asked with many");
    }

    #[test]
    fn a_flood_forgets_the_oldest_first() {
        let mut flows = Flows::new();
        for port in 0..60_000 {
            flows.connection(OTHER, port, 22, u32::from(port));
        }
        let known = (0..60_000).filter(|port| flows.has_connection(OTHER, *port, 22)).count();
        assert!((12_000..=CONNECTIONS * WAYS).contains(&known), "{known}");
        assert!(flows.has_connection(OTHER, 59_999, 22));
    }
}
