//! What the writer, the readers and those who report share.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aviary_event::Event;
use tokio::sync::{Semaphore, oneshot, watch};

use crate::Stats;
use crate::store::{Lines, Store};

/// Events that may wait for the writer; beyond, who reports waits.
const ROOM: usize = 1024;
/// Newest events held in memory for readers that keep up.
const RECENT: usize = 512;

/// An event on its way into the file.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) event: Event,
    pub(crate) done: oneshot::Sender<()>,
}

#[derive(Debug, Default)]
struct Inbox {
    waiting: Vec<Pending>,
    cursors_moved: bool,
    closed: bool,
    owed: usize,
    /// The writer sleeps until the bell rings; ringing for nobody is a system call too.
    idle: bool,
    /// The writer has taken events that readers do not see yet.
    in_work: bool,
}

#[derive(Debug)]
pub(crate) struct Shared {
    inbox: Mutex<Inbox>,
    bell: Condvar,
    pub(crate) room: Semaphore,
    recent: Mutex<VecDeque<Arc<Event>>>,
    head: watch::Sender<u64>,
    cursors: Mutex<BTreeMap<String, u64>>,
    counters: Mutex<Stats>,
    removed_through: AtomicU64,
    pub(crate) store: Mutex<Store>,
    pub(crate) lines: Mutex<Lines>,
}

/// A poisoned lock still guards whole data here: every critical section is one assignment or push.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(store: Store, lines: Lines, head: u64, stored: u64, cursors: BTreeMap<String, u64>) -> Self {
        Self {
            inbox: Mutex::default(),
            bell: Condvar::new(),
            room: Semaphore::new(ROOM),
            recent: Mutex::default(),
            head: watch::Sender::new(head),
            cursors: Mutex::new(cursors),
            counters: Mutex::new(Stats { head, stored, ..Stats::default() }),
            removed_through: AtomicU64::new(0),
            store: Mutex::new(store),
            lines: Mutex::new(lines),
        }
    }

    pub(crate) fn push(&self, pending: Pending) {
        let mut inbox = lock(&self.inbox);
        inbox.waiting.push(pending);
        let idle = std::mem::take(&mut inbox.idle);
        drop(inbox);
        if idle {
            self.bell.notify_one();
        }
    }

    pub(crate) fn owe_permit(&self) {
        lock(&self.inbox).owed += 1;
    }

    pub(crate) fn close(&self) {
        lock(&self.inbox).closed = true;
        self.bell.notify_one();
    }

    /// Everything that waits, whether cursors moved since they were saved, and whether this is the
    /// end. Returns at the latest after `patience`, and for moved cursors only if that is news.
    pub(crate) fn take(&self, patience: Duration, known_to_move: bool) -> (Vec<Pending>, bool, bool) {
        let mut inbox = lock(&self.inbox);
        let news = inbox.cursors_moved && !known_to_move;
        if inbox.waiting.is_empty() && !inbox.closed && !news {
            inbox.idle = true;
            inbox = self.bell.wait_timeout(inbox, patience).unwrap_or_else(PoisonError::into_inner).0;
            inbox.idle = false;
        }
        let taken = std::mem::take(&mut inbox.waiting);
        inbox.in_work = !taken.is_empty();
        let moved = inbox.cursors_moved;
        let owed = inbox.owed.min(taken.len());
        inbox.owed -= owed;
        let closed = inbox.closed;
        drop(inbox);
        self.room.add_permits(taken.len() - owed);
        (taken, moved, closed)
    }

    /// Makes written events readable; [`Shared::announce`] wakes who waits for them. Those from `unsaved_from` on are not in the file, and
    /// stay in memory until they are: a reader would otherwise take them for removed.
    pub(crate) fn publish(&self, events: &[Arc<Event>], head: u64, unsaved_from: u64) {
        let mut recent = lock(&self.recent);
        recent.extend(events.iter().cloned());
        while recent.len() > RECENT && recent.front().is_some_and(|event| seq_of(event) < unsaved_from) {
            recent.pop_front();
        }
        drop(recent);
        self.head.send_if_modified(|newest| {
            *newest = head;
            false
        });
        lock(&self.inbox).in_work = false;
    }

    /// Wakes readers that wait for published events.
    pub(crate) fn announce(&self) {
        self.head.send_modify(|_| ());
    }

    /// Whether events are on their way that readers do not see yet.
    pub(crate) fn is_waiting(&self) -> bool {
        let inbox = lock(&self.inbox);
        inbox.in_work || !inbox.waiting.is_empty()
    }

    /// Events up to this one were removed from the file, delivered or not, since the start.
    pub(crate) fn removed_through(&self) -> u64 {
        self.removed_through.load(Ordering::Acquire)
    }

    pub(crate) fn set_removed_through(&self, seq: u64) {
        self.removed_through.store(seq, Ordering::Release);
    }

    pub(crate) fn head(&self) -> u64 {
        *self.head.borrow()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// Up to `limit` events after `after` if memory holds the very next one.
    pub(crate) fn recent_after(&self, after: u64, limit: usize) -> Option<Vec<Arc<Event>>> {
        let recent = lock(&self.recent);
        let oldest = seq_of(recent.front()?);
        if oldest > after + 1 {
            return None;
        }
        let skip = usize::try_from(after + 1 - oldest).unwrap_or(usize::MAX);
        Some(recent.iter().skip(skip).take(limit).cloned().collect())
    }

    /// The position before the oldest event in memory.
    pub(crate) fn before_recent(&self) -> Option<u64> {
        lock(&self.recent).front().map(|event| seq_of(event).saturating_sub(1))
    }

    /// An output's position. A new one is in the file before this returns: an output that the file
    /// does not know would begin at the newest event after a crash, past all that it has not had.
    pub(crate) fn cursor(&self, output: &str) -> u64 {
        let head = self.head();
        let known = lock(&self.cursors).get(output).copied();
        if let Some(cursor) = known {
            return cursor;
        }
        lock(&self.cursors).insert(output.to_owned(), head);
        let cursors = self.cursors();
        if let Err(error) = lock(&self.store).write(&[], Some(&cursors)) {
            tracing::error!(%error, output, "position of a new output cannot be written");
            self.cursors_moved();
        }
        head
    }

    pub(crate) fn advance(&self, output: &str, seq: u64) {
        if let Some(cursor) = lock(&self.cursors).get_mut(output) {
            *cursor = seq.max(*cursor);
        }
        self.cursors_moved();
    }

    pub(crate) fn retain_outputs(&self, names: &[String]) {
        lock(&self.cursors).retain(|name, _| names.contains(name));
        self.cursors_moved();
    }

    /// Rings once; the next ring comes after the cursors were saved.
    fn cursors_moved(&self) {
        let already = std::mem::replace(&mut lock(&self.inbox).cursors_moved, true);
        if !already {
            self.bell.notify_one();
        }
    }

    /// The cursors; what moves after this call is for the next time.
    pub(crate) fn cursors_to_save(&self) -> BTreeMap<String, u64> {
        lock(&self.inbox).cursors_moved = false;
        self.cursors()
    }

    pub(crate) fn cursors(&self) -> BTreeMap<String, u64> {
        lock(&self.cursors).clone()
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Stats)) {
        change(&mut lock(&self.counters));
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut stats = lock(&self.counters).clone();
        stats.head = self.head();
        stats.cursors = self.cursors();
        stats
    }
}

pub(crate) fn seq_of(event: &Event) -> u64 {
    event.aviary.as_ref().map_or(0, |ours| ours.seq)
}
