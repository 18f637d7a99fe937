//! The sources that are remembered: the one that was seen least recently makes room.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::flows::number;
use crate::source::Source;

/// Sources that are remembered.
pub(crate) const SOURCES: usize = 4096;
/// Stands for no place.
const NONE: u32 = u32::MAX;

/// Sources in the order in which they were seen.
#[derive(Debug)]
pub(crate) struct Sources {
    index: HashMap<u128, u32>,
    places: Vec<Place>,
    free: Vec<u32>,
    newest: u32,
    oldest: u32,
}

/// A place in a list of two directions, and who is there.
#[derive(Debug)]
struct Place {
    source: Option<Source>,
    newer: u32,
    older: u32,
}

impl Sources {
    pub(crate) fn new() -> Self {
        Self { index: HashMap::new(), places: Vec::new(), free: Vec::new(), newest: NONE, oldest: NONE }
    }

    /// The place of a source that is remembered.
    pub(crate) fn find(&self, address: IpAddr) -> Option<u32> {
        self.index.get(&number(address)).copied()
    }

    /// Who is at a place.
    pub(crate) fn at(&mut self, place: u32) -> Option<&mut Source> {
        self.place(place)?.source.as_mut()
    }

    /// The places that there are; some may be free.
    pub(crate) fn places(&self) -> impl Iterator<Item = u32> + use<> {
        0..u32::try_from(self.places.len()).unwrap_or(0)
    }

    /// Bytes of all that is remembered.
    pub(crate) fn memory(&self) -> usize {
        // A byte beside each entry, and at most an eighth of them free.
        let entry = size_of::<(u128, u32)>().saturating_add(1);
        let index = self.index.capacity().saturating_add(self.index.capacity().div_ceil(7)).saturating_mul(entry);
        let places = self.places.capacity().saturating_mul(size_of::<Place>());
        let free = self.free.capacity().saturating_mul(size_of::<u32>());
        let sources = self.places.iter().filter_map(|place| place.source.as_ref());
        sources.map(Source::memory).fold(index.saturating_add(places).saturating_add(free), usize::saturating_add)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// The place of a source that was seen now, and who made room for it.
    pub(crate) fn see(&mut self, address: IpAddr, now: u64) -> (u32, Option<Source>) {
        if let Some(place) = self.find(address) {
            if place != self.newest {
                self.unlink(place);
                self.link(place);
            }
            if let Some(source) = self.at(place) {
                source.seen = now;
            }
            return (place, None);
        }
        let evicted = if self.index.len() >= SOURCES { self.remove(self.oldest) } else { None };
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { source: None, newer: NONE, older: NONE });
            u32::try_from(self.places.len().saturating_sub(1)).unwrap_or(NONE)
        });
        if let Some(free) = self.place(place) {
            free.source = Some(Source::new(address, now));
        }
        self.link(place);
        self.index.insert(number(address), place);
        (place, evicted)
    }

    /// Forgets who is at a place.
    pub(crate) fn remove(&mut self, place: u32) -> Option<Source> {
        let source = self.place(place)?.source.take()?;
        self.unlink(place);
        self.index.remove(&number(source.address));
        self.free.push(place);
        Some(source)
    }

    fn place(&mut self, place: u32) -> Option<&mut Place> {
        self.places.get_mut(usize::try_from(place).ok()?)
    }

    /// Puts a place first.
    fn link(&mut self, place: u32) {
        let second = self.newest;
        if let Some(first) = self.place(place) {
            (first.newer, first.older) = (NONE, second);
        }
        match self.place(second) {
            Some(second) => second.newer = place,
            None => self.oldest = place,
        }
        self.newest = place;
    }

    /// Takes a place out of the order.
    fn unlink(&mut self, place: u32) {
        let Some(&mut Place { newer, older, .. }) = self.place(place) else { return };
        match self.place(newer) {
            Some(newer) => newer.older = older,
            None => self.newest = older,
        }
        match self.place(older) {
            Some(older) => older.newer = newer,
            None => self.oldest = newer,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    #[test]
    fn the_least_recently_seen_makes_room() {
        let mut sources = Sources::new();
        for number in 0..4096 {
            assert!(sources.see(address(number), 0).1.is_none());
        }
        sources.see(address(0), 1);
        assert_eq!(sources.see(address(9000), 2).1.map(|source| source.address), Some(address(1)));
        let place = sources.find(address(2)).expect("remembered");
        assert_eq!(sources.remove(place).map(|source| source.address), Some(address(2)));
        assert!(sources.see(address(9001), 3).1.is_none(), "in the free place");
        assert_eq!(sources.see(address(9002), 3).1.map(|source| source.address), Some(address(3)));
        assert_eq!(sources.len(), SOURCES);
    }

    #[test]
    fn the_order_holds_whatever_is_taken_out() {
        let mut sources = Sources::new();
        let mut model: Vec<u32> = Vec::new();
        let mut dice = 7_u32;
        for step in 0..20_000 {
            dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let number = (dice >> 8) % 5000;
            if dice >> 29 == 0 && model.contains(&number) {
                let place = sources.find(address(number)).expect("remembered");
                assert!(sources.remove(place).is_some());
                model.retain(|known| *known != number);
                continue;
            }
            let evicted = sources.see(address(number), step).1.map(|source| source.address);
            model.retain(|known| *known != number);
            let expected = (model.len() == SOURCES).then(|| address(model.remove(0)));
            model.push(number);
            assert_eq!(evicted, expected, "{step}");
        }
    }
}
