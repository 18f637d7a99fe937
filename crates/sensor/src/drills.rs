//! Touches that the canary makes of itself, to prove that it sees: their events carry a word that the one who asked
//! for the proof gave.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aviary_event::Event;
use aviary_output::DRILL;

/// Touches that are remembered; a canary has fewer services.
const MOST: usize = 4096;

/// Where touches of the own drill come from.
#[derive(Debug, Default)]
pub(crate) struct Drills {
    /// How many there are, so that events of everybody else pay one look at a number.
    count: AtomicUsize,
    from: Mutex<HashMap<SocketAddr, Arc<str>>>,
}

impl Drills {
    /// Expects a touch from an address and port.
    pub(crate) fn expect(&self, from: SocketAddr, word: &Arc<str>) {
        let mut map = self.from.lock().unwrap_or_else(PoisonError::into_inner);
        if map.len() < MOST {
            map.insert(canonical(from), Arc::clone(word));
        }
        self.count.store(map.len(), Ordering::Release);
    }

    /// Forgets all touches of a drill.
    pub(crate) fn forget(&self, word: &str) {
        let mut map = self.from.lock().unwrap_or_else(PoisonError::into_inner);
        map.retain(|_, known| &**known != word);
        self.count.store(map.len(), Ordering::Release);
    }

    /// Marks an event of such a touch.
    pub(crate) fn mark(&self, event: &mut Event, peer: SocketAddr) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let map = self.from.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(word), Some(ours)) = (map.get(&canonical(peer)), &mut event.aviary) {
            ours.more.insert(DRILL.to_owned(), word.to_string().into());
        }
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_touches_of_an_open_drill_are_marked() {
        let line = r#"{"aviary": {"id": "01990000-0000-7000-8000-000000000001", "kind": "login", "seq": 1, "service": "ftp", "time": "2026-11-22T22:00:01.000000+00:00"}, "logdata": {}, "logtype": 2000}"#;
        let drills = Drills::default();
        let word = |drills: &Drills, peer: &str| {
            let mut event = Event::parse(line).unwrap();
            drills.mark(&mut event, peer.parse().unwrap());
            event.aviary.unwrap().more.get(DRILL).and_then(|word| word.as_str().map(str::to_owned))
        };
        drills.expect("127.0.0.1:4000".parse().unwrap(), &Arc::from("one"));
        assert_eq!(word(&drills, "[::ffff:127.0.0.1]:4000").as_deref(), Some("one"));
        assert_eq!(word(&drills, "127.0.0.1:4001"), None);
        drills.forget("two");
        assert_eq!(word(&drills, "127.0.0.1:4000").as_deref(), Some("one"));
        drills.forget("one");
        assert_eq!(word(&drills, "127.0.0.1:4000"), None);
    }
}
