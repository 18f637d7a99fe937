//! Commands on keys, which in an open server hold strings.

use super::codec::integer;
use super::open::{NO_INTEGER, NO_KEY, SYNTAX, Session, is_any, word};
use super::reply::Replies;
use super::store::{DATABASES, fits};

impl Session {
    /// Commands on strings; whether it is one.
    pub(super) fn strings(&mut self, name: &str, words: &[Vec<u8>], to: &mut Replies) -> bool {
        let (key, value) = (word(words, 1), word(words, 2));
        match name {
            "get" | "getex" => to.bulk_or_nil(self.store.get(key)),
            "getdel" => {
                to.bulk_or_nil(self.store.get(key));
                self.store.remove(key);
            }
            "getset" => {
                to.bulk_or_nil(self.store.get(key));
                self.store.set(key, value);
            }
            "set" => self.set(words, to),
            "setex" | "psetex" => match integer(value) {
                None => to.error(NO_INTEGER),
                Some(..=0) => to.error(format!("ERR invalid expire time in '{name}' command")),
                Some(_) => {
                    self.store.set(key, word(words, 3));
                    to.ok();
                }
            },
            "setnx" => {
                let new = self.store.get(key).is_none();
                if new {
                    self.store.set(key, value);
                }
                to.int(i64::from(new));
            }
            "mget" => {
                to.array(words.len().saturating_sub(1));
                for key in words.iter().skip(1) {
                    to.bulk_or_nil(self.store.get(key));
                }
            }
            "mset" => {
                let pairs = words.get(1..).unwrap_or_default();
                if pairs.len() % 2 == 1 {
                    to.error("ERR wrong number of arguments for 'mset' command");
                } else {
                    for pair in pairs.chunks(2) {
                        self.store.set(word(pair, 0), word(pair, 1));
                    }
                    to.ok();
                }
            }
            "append" => {
                let joined = [self.store.get(key).unwrap_or_default(), value].concat();
                to.length(joined.len());
                self.store.set(key, &joined);
            }
            "strlen" => to.length(self.store.get(key).map_or(0, <[u8]>::len)),
            "getrange" | "substr" => match (integer(value), integer(word(words, 3))) {
                (Some(start), Some(end)) => to.bulk(range(self.store.get(key).unwrap_or_default(), start, end)),
                _ => to.error(NO_INTEGER),
            },
            "incr" | "decr" | "incrby" | "decrby" => {
                let by = if name.len() == 4 { Some(1) } else { integer(value) };
                let by = by.and_then(|by| if name.starts_with("decr") { by.checked_neg() } else { Some(by) });
                let old = integer(self.store.get(key).unwrap_or(b"0"));
                match old.zip(by).map(|(old, by)| old.checked_add(by)) {
                    None => to.error(NO_INTEGER),
                    Some(None) => to.error("ERR increment or decrement would overflow"),
                    Some(Some(sum)) => {
                        self.store.set(key, sum.to_string().as_bytes());
                        to.int(sum);
                    }
                }
            }
            _ => return false,
        }
        true
    }

    fn set(&mut self, words: &[Vec<u8>], to: &mut Replies) {
        let (mut only, mut get) = (None, false);
        let mut options = words.iter().skip(3);
        while let Some(option) = options.next() {
            match option.to_ascii_lowercase().as_slice() {
                b"nx" => only = Some(false),
                b"xx" => only = Some(true),
                b"get" => get = true,
                b"keepttl" => {}
                b"ex" | b"px" | b"exat" | b"pxat" => match options.next().map(|word| integer(word)) {
                    None => return to.error(SYNTAX),
                    Some(None) => return to.error(NO_INTEGER),
                    Some(Some(..=0)) => return to.error("ERR invalid expire time in 'set' command"),
                    Some(Some(_)) => {}
                },
                _ => return to.error(SYNTAX),
            }
        }
        let key = word(words, 1);
        let there = self.store.get(key).is_some();
        let old = self.store.get(key).map(<[u8]>::to_vec);
        let sets = only.is_none_or(|wanted| wanted == there);
        if sets {
            self.store.set(key, word(words, 2));
        }
        match (get, sets) {
            (true, _) => to.bulk_or_nil(old.as_deref()),
            (false, true) => to.ok(),
            (false, false) => to.nil(),
        }
    }

    /// Commands on keys of any type; whether it is one.
    pub(super) fn keyspace(&mut self, name: &str, words: &[Vec<u8>], to: &mut Replies) -> bool {
        let key = word(words, 1);
        match name {
            "dbsize" => to.length(self.store.keys().len()),
            "keys" => {
                let keys = self.store.keys();
                let found: Vec<_> = keys.into_iter().filter(|name| fits(key, name, false)).collect();
                to.array(found.len());
                found.iter().for_each(|key| to.bulk(key));
            }
            "scan" => self.scan(words, to),
            "randomkey" => to.bulk_or_nil(self.store.keys().first().copied()),
            "exists" | "touch" => {
                to.length(words.iter().skip(1).filter(|key| self.store.get(key).is_some()).count());
            }
            "del" | "unlink" => {
                let removed = words.iter().skip(1).filter(|key| self.store.remove(key)).count();
                to.length(removed);
            }
            "type" => to.status(if self.store.get(key).is_some() { "string" } else { "none" }),
            "ttl" | "pttl" => to.int(if self.store.get(key).is_some() { -1 } else { -2 }),
            "expire" | "pexpire" | "expireat" | "pexpireat" => match integer(word(words, 2)) {
                None => to.error(NO_INTEGER),
                Some(_) => to.int(i64::from(self.store.get(key).is_some())),
            },
            "persist" => to.int(0),
            "object|encoding" => match self.store.get(word(words, 2)) {
                None => to.nil(),
                Some(value) if integer(value).is_some() => to.bulk("int"),
                Some(value) => to.bulk(if value.len() <= 44 { "embstr" } else { "raw" }),
            },
            "rename" => match self.store.get(key).map(<[u8]>::to_vec) {
                None => to.error(NO_KEY),
                Some(value) => {
                    self.store.remove(key);
                    self.store.set(word(words, 2), &value);
                    to.ok();
                }
            },
            "flushall" | "flushdb" => match words.get(1) {
                Some(how) if !is_any(how, &["async", "sync"]) || words.len() > 2 => to.error(SYNTAX),
                _ => {
                    self.store.flush(name == "flushall");
                    to.ok();
                }
            },
            "select" => match integer(key) {
                None => to.error(NO_INTEGER),
                Some(number) => match u8::try_from(number).ok().filter(|number| *number < DATABASES) {
                    None => to.error("ERR DB index is out of range"),
                    Some(number) => {
                        self.store.database = number;
                        to.ok();
                    }
                },
            },
            "hmget" | "zmscore" => {
                to.array(words.len().saturating_sub(2));
                words.iter().skip(2).for_each(|_| to.nil());
            }
            "smismember" | "script|exists" => {
                to.array(words.len().saturating_sub(2));
                words.iter().skip(2).for_each(|_| to.int(0));
            }
            _ => return false,
        }
        true
    }

    fn scan(&self, words: &[Vec<u8>], to: &mut Replies) {
        let cursor = word(words, 1);
        if cursor.is_empty() || !cursor.iter().all(u8::is_ascii_digit) {
            return to.error("ERR invalid cursor");
        }
        let mut pattern: &[u8] = b"*";
        let mut kind: &[u8] = b"string";
        for pair in words.get(2..).unwrap_or_default().chunks(2) {
            let [option, value] = pair else { return to.error(SYNTAX) };
            match option.to_ascii_lowercase().as_slice() {
                b"match" => pattern = value,
                b"type" => kind = value,
                b"count" => match integer(value) {
                    None => return to.error(NO_INTEGER),
                    Some(..=0) => return to.error(SYNTAX),
                    Some(_) => {}
                },
                _ => return to.error(SYNTAX),
            }
        }
        let shown = cursor.iter().all(|digit| *digit == b'0') && kind.eq_ignore_ascii_case(b"string");
        let keys: Vec<_> = self.store.keys().into_iter().filter(|key| shown && fits(pattern, key, false)).collect();
        to.array(2);
        to.bulk("0");
        to.array(keys.len());
        keys.iter().for_each(|key| to.bulk(key));
    }
}

/// The bytes from `start` to `end`, both included; negative ones count from the end.
fn range(text: &[u8], start: i64, end: i64) -> &[u8] {
    let length = i64::try_from(text.len()).unwrap_or(i64::MAX);
    let place = |at: i64| if at < 0 { at.saturating_add(length).max(0) } else { at };
    let (start, end) = (place(start), place(end).min(length.saturating_sub(1)));
    match (usize::try_from(start), usize::try_from(end)) {
        (Ok(start), Ok(end)) if start <= end => text.get(start..=end).unwrap_or_default(),
        _ => &[],
    }
}
