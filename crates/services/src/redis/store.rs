//! The decoy keys of an open server, and what one connection changed of them.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes of changes that one connection may hold; what goes beyond is answered and forgotten.
const CHANGES: usize = 256 * 1024;

/// Databases, as `databases` says.
pub(super) const DATABASES: u8 = 16;

/// Keys and values of database 0, sorted.
pub(super) type Decoys = Arc<BTreeMap<Vec<u8>, Vec<u8>>>;

/// What one connection sees. Nothing that it does is seen by another one.
#[derive(Debug)]
pub(super) struct Store {
    decoys: Decoys,
    /// The decoys were flushed.
    flushed: bool,
    changes: BTreeMap<(u8, Vec<u8>), Option<Vec<u8>>>,
    held: usize,
    /// The database that is selected.
    pub database: u8,
}

impl Store {
    pub(super) const fn new(decoys: Decoys) -> Self {
        Self { decoys, flushed: false, changes: BTreeMap::new(), held: 0, database: 0 }
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        match self.changes.get(&(self.database, key.to_vec())) {
            Some(change) => change.as_deref(),
            None if self.database == 0 && !self.flushed => self.decoys.get(key).map(Vec::as_slice),
            None => None,
        }
    }

    /// Sets a key.
    pub(super) fn set(&mut self, key: &[u8], value: &[u8]) {
        self.change(key, Some(value));
    }

    /// Removes a key; whether it was there.
    pub(super) fn remove(&mut self, key: &[u8]) -> bool {
        let there = self.get(key).is_some();
        if there {
            self.change(key, None);
        }
        there
    }

    fn change(&mut self, key: &[u8], value: Option<&[u8]>) {
        let cost = key.len().saturating_add(value.map_or(0, <[u8]>::len)).saturating_add(64);
        let held = self.held.saturating_add(cost);
        if held <= CHANGES {
            self.held = held;
            self.changes.insert((self.database, key.to_vec()), value.map(<[u8]>::to_vec));
        }
    }

    /// All keys of the selected database, sorted.
    pub(super) fn keys(&self) -> Vec<&[u8]> {
        let shown = self.database == 0 && !self.flushed;
        let decoys = self.decoys.keys().filter(|_| shown).map(Vec::as_slice);
        let own = self.changes.keys().filter(|(database, _)| *database == self.database).map(|(_, key)| key.as_slice());
        let mut keys: Vec<&[u8]> = decoys.chain(own).filter(|key| self.get(key).is_some()).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Removes all keys, of all databases or of the selected one.
    pub(super) fn flush(&mut self, all: bool) {
        self.flushed |= all || self.database == 0;
        let database = self.database;
        self.changes.retain(|(other, _), _| !all && *other != database);
        if self.changes.is_empty() {
            self.held = 0;
        }
    }
}

/// Whether `text` fits a pattern of `*`, `?`, `[a-c]` and `\`; without regard to case if so wished.
/// The work is bounded by the product of both lengths.
pub(super) fn fits(pattern: &[u8], text: &[u8], ignore_case: bool) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        let next = match (pattern, text) {
            ([b'*', after @ ..], _) => {
                retry = Some((after, text));
                Some((after, text))
            }
            ([], []) => return true,
            (_, []) => return false,
            (_, [byte, rest @ ..]) => one(pattern, *byte, ignore_case).map(|after| (after, rest)),
        };
        (pattern, text) = match (next, retry) {
            (Some(next), _) => next,
            (None, Some((after, [_, rest @ ..]))) => {
                retry = Some((after, rest));
                (after, rest)
            }
            (None, _) => return false,
        };
    }
}

/// What is left of the pattern when its first sign takes the byte.
fn one(pattern: &[u8], byte: u8, ignore_case: bool) -> Option<&[u8]> {
    let fold = |byte: u8| if ignore_case { byte.to_ascii_lowercase() } else { byte };
    match pattern {
        [b'?', after @ ..] => Some(after),
        [b'[', class @ ..] => {
            let (negated, class) = class.strip_prefix(b"^").map_or((false, class), |class| (true, class));
            let end = memchr::memchr(b']', class).unwrap_or(class.len());
            let (class, after) = class.split_at_checked(end)?;
            let mut rest = class;
            let mut found = false;
            loop {
                rest = match rest {
                    [] => break,
                    [low, b'-', high, tail @ ..] => {
                        let (low, high) = (fold(*low.min(high)), fold(*low.max(high)));
                        found |= (low..=high).contains(&fold(byte));
                        tail
                    }
                    [single, tail @ ..] => {
                        found |= fold(*single) == fold(byte);
                        tail
                    }
                };
            }
            (found != negated).then(|| after.get(1..).unwrap_or_default())
        }
        [b'\\', sign, after @ ..] | [sign, after @ ..] => (fold(*sign) == fold(byte)).then_some(after),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> Store {
        Store::new(Arc::new([(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), b"2".to_vec())].into()))
    }

    #[test]
    fn a_connection_sees_its_own_changes() {
        let mut store = store();
        assert!(store.remove(b"a") && !store.remove(b"a"));
        store.set(b"c", b"3");
        assert_eq!(store.keys(), [b"b", b"c"]);
        store.database = 1;
        assert!(store.keys().is_empty());
        store.set(b"c", b"4");
        store.flush(false);
        store.database = 0;
        assert_eq!(store.get(b"c"), Some(b"3".as_slice()));
        store.flush(true);
        assert!(store.keys().is_empty());
    }

    #[test]
    fn forgets_beyond_its_share() {
        let mut store = store();
        for n in 0..2000_u32 {
            store.set(&n.to_be_bytes(), &[0; 1000]);
        }
        assert!(store.keys().len() < 260 && store.held <= CHANGES);
    }

    #[test]
    fn fits_patterns() {
        for (pattern, text) in [
            ("*", ""),
            ("a*c", "abbc"),
            ("?b", "xb"),
            ("[a-c]x", "bx"),
            ("[^a]", "b"),
            ("\\*", "*"),
            ("*ab", "aab"),
            ("ab*", "ab"),
        ] {
            assert!(fits(pattern.as_bytes(), text.as_bytes(), false), "{pattern} {text}");
        }
        for (pattern, text) in
            [("", "a"), ("a*c", "abd"), ("[a-c]", "d"), ("?", ""), ("a", "A"), ("[", "a"), ("\\*", "a")]
        {
            assert!(!fits(pattern.as_bytes(), text.as_bytes(), false), "{pattern} {text}");
        }
        assert!(fits(b"MAX[M]*", b"maxmemory", true));
    }
}
