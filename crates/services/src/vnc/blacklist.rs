//! Sources that are refused for a while, as TigerVNC refuses them.
//!
//! Every connection that does not end in a login is a mark, a mere port scan too. From the threshold
//! on, one connection is let in when the time is up, and each time doubles the next: 10 seconds, 20, 40.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use aviary_event::Timestamp;

/// First time of refusal, in seconds (`BlacklistTimeout`).
const FIRST: i64 = 10;
/// Longest; TigerVNC doubles without end.
const LONGEST: i64 = 1 << 40;
/// Sources in a generation. The older of two generations is forgotten when the newer is full.
const GENERATION: usize = 4096;

#[derive(Clone, Copy)]
struct Mark {
    connections: u32,
    /// Seconds since the epoch.
    refused_until: i64,
    /// Seconds.
    next: i64,
}

/// The marks of all sources.
pub(super) struct Blacklist {
    /// Marks from which a source is refused; 0 refuses none.
    threshold: u32,
    generations: Mutex<(HashMap<IpAddr, Mark>, HashMap<IpAddr, Mark>)>,
}

impl Blacklist {
    pub(super) fn new(threshold: u32) -> Self {
        Self { threshold, generations: Mutex::default() }
    }

    /// Counts a connection, and says for how many seconds its source is still refused.
    pub(super) fn refuses(&self, source: IpAddr, now: Timestamp) -> Option<i64> {
        if self.threshold == 0 {
            return None;
        }
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let (newer, older) = &mut *generations;
        if newer.len() >= GENERATION && !newer.contains_key(&source) {
            *older = std::mem::take(newer);
        }
        let fresh = Mark { connections: 1, refused_until: 0, next: FIRST };
        let mark = newer.entry(source).or_insert_with(|| older.remove(&source).unwrap_or(fresh));
        if mark.connections < self.threshold {
            mark.connections = mark.connections.saturating_add(1);
            return None;
        }
        let left = mark.refused_until.saturating_sub(now.as_seconds());
        if left > 0 {
            return Some(left);
        }
        mark.refused_until = now.as_seconds().saturating_add(mark.next);
        mark.next = mark.next.saturating_mul(2).min(LONGEST);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    #[test]
    fn the_sixth_connection_is_refused_and_the_time_doubles() {
        let (list, source) = (Blacklist::new(5), IpAddr::from([192, 0, 2, 7]));
        for _ in 0..5 {
            assert_eq!(list.refuses(source, at(1000)), None);
        }
        assert_eq!(list.refuses(source, at(1000)), Some(10));
        assert_eq!(list.refuses(source, at(1009)), Some(1));
        assert_eq!(list.refuses(source, at(1010)), None);
        assert_eq!(list.refuses(source, at(1010)), Some(20));
        assert_eq!(list.refuses(source, at(1030)), None);
        assert_eq!(list.refuses(source, at(1030)), Some(40));
        assert_eq!(list.refuses(IpAddr::from([192, 0, 2, 8]), at(1030)), None);
    }

    #[test]
    fn threshold_0_refuses_nobody() {
        let list = Blacklist::new(0);
        assert!((0..100).all(|_| list.refuses(IpAddr::from([192, 0, 2, 7]), at(1)).is_none()));
    }

    #[test]
    fn many_sources_are_forgotten_before_they_fill_the_memory() {
        let (list, busy) = (Blacklist::new(5), IpAddr::from([192, 0, 2, 7]));
        for number in 0..100_000_u32 {
            list.refuses(IpAddr::from(number.to_be_bytes()), at(1000));
            if number % 1000 == 0 {
                list.refuses(busy, at(1000));
            }
        }
        let generations = list.generations.lock().unwrap();
        assert!(generations.0.len() <= GENERATION && generations.1.len() <= GENERATION);
        drop(generations);
        assert!(list.refuses(busy, at(1000)).is_some(), "a source that keeps coming is not forgotten");
    }
}
