//! How many bytes of what comes in are held at once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of all senders.
const ALL: usize = 256 << 20;
/// Bytes of one sensor, so that none leaves nothing for the others.
const ONE: usize = 64 << 20;

/// Room for what is read and not stored yet.
#[derive(Clone, Debug, Default)]
pub struct Room(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    all: usize,
    sensors: HashMap<String, usize>,
}

/// Room that somebody has taken, until this is dropped.
#[derive(Debug)]
pub struct Place {
    room: Room,
    sensor: String,
    bytes: usize,
}

impl Room {
    /// A place of a sensor, with nothing in it yet.
    #[must_use]
    pub fn place(&self, sensor: &str) -> Place {
        Place { room: self.clone(), sensor: sensor.to_owned(), bytes: 0 }
    }
}

impl Place {
    /// Makes room for more bytes, if there is any.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        let mut held = self.room.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = held.sensors.get(&self.sensor).copied().unwrap_or(0).saturating_add(bytes);
        let all = held.all.saturating_add(bytes);
        if own > ONE || all > ALL {
            return false;
        }
        held.all = all;
        held.sensors.insert(self.sensor.clone(), own);
        self.bytes = self.bytes.saturating_add(bytes);
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.room.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.all = held.all.saturating_sub(self.bytes);
        if let Entry::Occupied(mut own) = held.sensors.entry(std::mem::take(&mut self.sensor)) {
            let left = own.get().saturating_sub(self.bytes);
            if left == 0 {
                own.remove();
            } else {
                own.insert(left);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sensor_leaves_room_for_others_and_gives_back_what_it_took() {
        let room = Room::default();
        let mut north = room.place("north");
        assert!(north.grow(ONE) && !north.grow(1));
        let others: Vec<Place> = ["a", "b", "c"].into_iter().map(|name| room.place(name)).collect();
        let others = others.into_iter().map(|mut place| place.grow(ONE)).collect::<Vec<_>>();
        assert_eq!(others, [true; 3], "each gave back what it took");
        let mut second = room.place("north");
        assert!(!second.grow(1), "two places of a sensor share its room");
        drop(north);
        assert!(second.grow(ONE));
        drop(second);
        assert!(room.0.lock().expect("a lock").sensors.is_empty());
    }
}
