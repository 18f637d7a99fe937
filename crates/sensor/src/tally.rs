//! How many events of which service and kind: counted where they are made, without a lock.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use aviary_event::Kind;

/// Places of the table; a canary with every service on uses fewer than two hundred.
const PLACES: usize = 1024;
/// Places that are tried for one pair.
const TRIES: usize = 32;

/// A table that only grows: a place belongs to the first pair that comes to it.
#[derive(Debug)]
pub(crate) struct Tally {
    places: Box<[OnceLock<Counted>]>,
    /// LIMIT: events of pairs that found no place.
    others: AtomicU64,
}

#[derive(Debug)]
struct Counted {
    service: Box<str>,
    kind: Kind,
    events: AtomicU64,
}

impl Default for Tally {
    fn default() -> Self {
        Self { places: (0..PLACES).map(|_| OnceLock::new()).collect(), others: AtomicU64::new(0) }
    }
}

impl Tally {
    /// One more event.
    pub(crate) fn count(&self, service: &str, kind: Kind) {
        let mut hasher = DefaultHasher::new();
        (service, kind.number).hash(&mut hasher);
        // The low bits are as good as all of them.
        let first = usize::try_from(hasher.finish() & 0xffff).unwrap_or(0);
        for attempt in 0..TRIES {
            let Some(place) = self.places.get((first + attempt) % PLACES) else { continue };
            let fresh = || Counted { service: service.into(), kind, events: AtomicU64::new(0) };
            let counted = place.get_or_init(fresh);
            if counted.kind.number == kind.number && *counted.service == *service {
                counted.events.fetch_add(1, Relaxed);
                return;
            }
        }
        self.others.fetch_add(1, Relaxed);
    }

    /// Every pair that was seen, with its events.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&str, Kind, u64)> {
        let counted = self.places.iter().filter_map(OnceLock::get);
        counted.map(|counted| (&*counted.service, counted.kind, counted.events.load(Relaxed)))
    }

    /// Events of pairs that found no place.
    pub(crate) fn others(&self) -> u64 {
        self.others.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds;

    #[test]
    fn each_pair_has_its_own_count() {
        let tally = Tally::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        tally.count("ftp", &kinds::UNREPORTED);
                        tally.count("ssh", &kinds::UNREPORTED);
                        tally.count("ftp", &kinds::LIMITED);
                    }
                });
            }
        });
        let mut counts: Vec<_> = tally.counts().map(|(service, kind, events)| (service, kind.number, events)).collect();
        counts.sort_unstable();
        assert_eq!(counts, [("ftp", 30000, 4000), ("ftp", 30002, 4000), ("ssh", 30000, 4000)]);
        assert_eq!(tally.others(), 0);
    }

    #[test]
    fn what_finds_no_place_is_counted_together() {
        let tally = Tally::default();
        for number in 0..5000 {
            tally.count(&format!("service-{number}"), &kinds::UNREPORTED);
        }
        let counted = tally.counts().map(|(.., events)| events).sum::<u64>();
        assert!(tally.counts().count() <= PLACES && tally.others() > 0);
        assert_eq!(counted + tally.others(), 5000);
    }
}
