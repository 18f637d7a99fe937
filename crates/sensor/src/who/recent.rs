//! A map that keeps what was used last.

use std::collections::HashMap;
use std::hash::Hash;

/// At most so many entries, in two halves: what is used goes to the young half; when that is full, the old half
/// is dropped and the young one takes its place. Nothing is allocated before it is needed.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    half: usize,
}

impl<K: Hash + Eq + Clone, V> Recent<K, V> {
    /// A map of this many entries; it always keeps the last half of that.
    pub(super) fn new(most: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), half: (most / 2).max(1) }
    }

    /// Takes a value in, in place of another under this key.
    pub(super) fn insert(&mut self, key: K, value: V) {
        self.old.remove(&key);
        self.make_room(&key);
        self.young.insert(key, value);
    }

    /// The value under a key, which is then used.
    pub(super) fn get(&mut self, key: &K) -> Option<&V> {
        self.get_mut(key).map(|value| &*value)
    }

    /// The same to change it.
    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        if let Some((key, value)) = self.old.remove_entry(key) {
            self.insert(key, value);
        }
        self.young.get_mut(key)
    }

    /// Changes the value under a key, or a default one that is then taken in.
    pub(super) fn change(&mut self, key: K, change: impl FnOnce(&mut V))
    where
        V: Default,
    {
        if let Some(value) = self.get_mut(&key) {
            return change(value);
        }
        let mut value = V::default();
        change(&mut value);
        self.insert(key, value);
    }

    /// Entries that are held.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    fn make_room(&mut self, key: &K) {
        if self.young.len() >= self.half && !self.young.contains_key(key) {
            self.old = std::mem::take(&mut self.young);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_last_and_no_more() {
        let mut recent = Recent::new(100);
        for n in 0..1000 {
            recent.insert(n, n);
            assert!(recent.len() <= 100, "{n}");
        }
        assert!((950..1000).all(|n| recent.get(&n) == Some(&n)));
        assert_eq!(recent.get(&0), None);
    }

    #[test]
    fn what_is_used_stays() {
        let mut recent = Recent::new(100);
        for n in 0..1000 {
            recent.change(n, |value: &mut i32| *value = n);
            assert_eq!(recent.get(&0), Some(&0), "{n}");
        }
        recent.change(0, |value| *value += 7);
        assert_eq!(recent.get(&0), Some(&7));
        recent.insert(0, 1);
        assert_eq!(recent.get(&0), Some(&1));
        assert!(!recent.old.contains_key(&0));
    }

    #[test]
    fn nothing_is_allocated_before_it_is_needed() {
        let recent: Recent<u64, u64> = Recent::new(8192);
        assert_eq!((recent.young.capacity(), recent.old.capacity()), (0, 0));
    }
}
