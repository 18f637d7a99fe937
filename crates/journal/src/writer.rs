//! The one thread that writes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use aviary_event::Event;

use crate::queue::{Shared, lock};
use crate::store::Row;
use crate::{Options, Stats};

/// How long cursors may be newer in memory than in the file; after a crash, deliveries of this long
/// are repeated.
const CURSOR_DELAY: Duration = Duration::from_millis(200);
/// Least time between transactions while events come faster than one by one, so that many share one
/// and the threads are woken once for all of them.
const PACE: Duration = Duration::from_millis(1);
/// Events in a transaction from which on they come faster than one by one. A peer alone never does
/// that, since a dialogue waits for its event before it replies.
const MANY: usize = 2;
/// How often bounds are looked at.
const UPKEEP: Duration = Duration::from_secs(5);
/// Bytes of lines held in memory while the file cannot be written.
const BACKLOG_BYTES: usize = 8 << 20;
/// Pause between tries while the file cannot be written.
const RETRY: Duration = Duration::from_secs(1);
/// Delivered events beyond `keep` before they are removed, so that removal is one statement for many.
const SLACK: u64 = 1000;

pub(crate) struct Writer {
    shared: Arc<Shared>,
    options: Options,
    now: fn() -> i64,
    head: u64,
    backlog: VecDeque<Row>,
    backlog_bytes: usize,
    tried: Option<Instant>,
    cursors_due: Option<Instant>,
    upkeep_at: Instant,
    removed_through: u64,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, options: Options, now: fn() -> i64) -> Self {
        let head = shared.head();
        // What an earlier run removed was counted by it.
        let removed_through = match lock(&shared.store).oldest() {
            Ok(oldest) => oldest.map_or(head, |oldest| oldest.saturating_sub(1)),
            Err(_) => 0,
        };
        Self {
            shared,
            options,
            now,
            head,
            backlog: VecDeque::new(),
            backlog_bytes: 0,
            tried: None,
            cursors_due: None,
            upkeep_at: Instant::now() + UPKEEP,
            removed_through,
        }
    }

    pub(crate) fn run(mut self) {
        let copier = Copier::start(Arc::clone(&self.shared));
        loop {
            let (taken, moved, closed) = self.shared.take(self.patience(), self.cursors_due.is_some());
            let begun = Instant::now();
            let many = taken.len() >= MANY;
            if moved && self.cursors_due.is_none() {
                self.cursors_due = Some(Instant::now() + CURSOR_DELAY);
            }
            let (events, done): (Vec<_>, Vec<_>) = taken.into_iter().map(|p| (self.number(p.event), p.done)).unzip();
            self.enqueue(&events);
            self.flush(closed);
            if !events.is_empty() {
                // What the file does not have, memory keeps for readers.
                let unsaved_from = self.backlog.front().map_or(self.head + 1, |row| row.seq);
                self.shared.publish(&events, self.head, unsaved_from);
            }
            // Before outputs are woken, so that no reply waits behind their work.
            for done in done {
                let _ = done.send(());
            }
            if !events.is_empty() {
                self.shared.announce();
            }
            if lock(&self.shared.store).log_is_due() {
                copier.ring();
            }
            if closed {
                self.save_cursors();
                drop(copier);
                lock(&self.shared.store).checkpoint();
                return;
            }
            if Instant::now() >= self.upkeep_at {
                self.upkeep_at = Instant::now() + UPKEEP;
                self.keep_bounds();
            }
            if many {
                std::thread::sleep(PACE.saturating_sub(begun.elapsed()));
            }
        }
    }

    /// How long there is nothing to do unless somebody rings.
    fn patience(&self) -> Duration {
        let now = Instant::now();
        let wait = match self.cursors_due {
            Some(due) => due.saturating_duration_since(now),
            None if !self.backlog.is_empty() => RETRY,
            None => UPKEEP,
        };
        // After a failure nothing is due before the next try.
        self.tried.map_or(wait, |tried| wait.max((tried + RETRY).saturating_duration_since(now)))
    }

    fn number(&mut self, mut event: Event) -> Arc<Event> {
        self.head += 1;
        if let Some(ours) = &mut event.aviary {
            ours.seq = self.head;
        }
        Arc::new(event)
    }

    fn enqueue(&mut self, events: &[Arc<Event>]) {
        for event in events {
            let Some(ours) = &event.aviary else { continue };
            let row = Row { seq: ours.seq, at: ours.time.as_micros(), line: event.to_line(true) };
            self.backlog_bytes += row.line.len();
            self.backlog.push_back(row);
        }
    }

    /// Writes what waits, if it is time to try.
    fn flush(&mut self, last: bool) {
        let cursors_due = self.cursors_due.is_some_and(|due| due <= Instant::now());
        if self.backlog.is_empty() && !cursors_due {
            return;
        }
        if let Some(tried) = self.tried
            && tried.elapsed() < RETRY
            && !last
        {
            self.shed();
            return;
        }
        let cursors = cursors_due.then(|| self.shared.cursors_to_save());
        let result = lock(&self.shared.store).write(self.backlog.make_contiguous(), cursors.as_ref());
        match result {
            Ok(()) => {
                let written = u64::try_from(self.backlog.len()).unwrap_or(0);
                self.backlog.clear();
                self.backlog_bytes = 0;
                if self.tried.take().is_some() {
                    tracing::warn!("journal can be written again");
                }
                if cursors_due {
                    self.cursors_due = None;
                }
                self.shared.count(|stats| {
                    stats.stored += written;
                    stats.trouble = None;
                });
            }
            Err(error) => {
                if self.tried.is_none() {
                    tracing::error!(%error, "journal cannot be written, events wait in memory");
                }
                self.tried = Some(Instant::now());
                self.shared.count(|stats| {
                    stats.failures += 1;
                    stats.trouble = Some(error.to_string());
                });
                self.shed();
            }
        }
    }

    /// Keeps the memory bound while the file cannot be written; what goes is counted.
    fn shed(&mut self) {
        let mut unsaved = 0;
        while self.backlog_bytes > BACKLOG_BYTES
            && let Some(row) = self.backlog.pop_front()
        {
            self.backlog_bytes -= row.line.len();
            unsaved += 1;
        }
        if unsaved > 0 {
            self.shared.count(|stats| stats.unsaved += unsaved);
        }
    }

    fn save_cursors(&mut self) {
        let cursors = self.shared.cursors();
        if let Err(error) = lock(&self.shared.store).write(&[], Some(&cursors)) {
            tracing::error!(%error, "positions of outputs cannot be written");
        }
    }

    /// Removes what is delivered, and what is too much or too old.
    fn keep_bounds(&mut self) {
        if let Err(error) = self.try_keep_bounds() {
            tracing::error!(%error, "journal cannot be tidied");
        }
    }

    fn try_keep_bounds(&mut self) -> rusqlite::Result<()> {
        let cursors = self.shared.cursors();
        let done = cursors.values().copied().min().unwrap_or(self.head);
        let delivered = done.min(self.head.saturating_sub(self.options.keep));
        let mut store = lock(&self.shared.store);
        let mut through = 0;
        if delivered >= self.removed_through + SLACK {
            through = delivered;
        }
        let oldest = (self.now)().saturating_sub(i64::try_from(self.options.max_age.as_micros()).unwrap_or(i64::MAX));
        if let Some(aged) = store.newest_before(oldest)? {
            through = through.max(aged);
        }
        let bytes = store.bytes()?;
        if bytes > self.options.max_bytes {
            // A tenth at a time: a bound that is reached is a bound that is being hit hard.
            let stored = self.shared.stats().stored;
            if let Some(tenth) = store.nth_oldest(stored / 10)? {
                through = through.max(tenth);
            }
        }
        // The newest event stays, so that numbering goes on from it after a restart.
        let through = through.min(self.head.saturating_sub(1));
        if through > 0 {
            let removed = store.remove_through(through)?;
            store.shrink()?;
            let bytes = store.bytes()?;
            self.shared.count(|stats| {
                stats.stored = stats.stored.saturating_sub(removed);
                stats.bytes = bytes;
                count_lost(stats, &cursors, self.removed_through, through);
            });
            self.removed_through = self.removed_through.max(through);
            self.shared.set_removed_through(self.removed_through);
        } else {
            self.shared.count(|stats| stats.bytes = bytes);
        }
        Ok(())
    }
}

/// The thread that copies the log into the file: it waits for the disk, so that nobody else does.
struct Copier {
    bell: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Copier {
    /// Without such a thread the writer copies the log when it is long.
    fn start(shared: Arc<Shared>) -> Self {
        let (bell, rings) = sync_channel(1);
        let body = move || rings.iter().for_each(|()| lock(&shared.lines).copy_log());
        let thread = std::thread::Builder::new().name("journal-log".to_owned()).stack_size(256 * 1024).spawn(body);
        Self { bell: Some(bell), thread: thread.ok() }
    }

    fn ring(&self) {
        // One that is rung for already will come to it.
        if let Some(bell) = &self.bell {
            let _ = bell.try_send(());
        }
    }
}

impl Drop for Copier {
    fn drop(&mut self) {
        self.bell = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Counts, for each output, the events between `from` and `through` that it had not yet had.
fn count_lost(stats: &mut Stats, cursors: &std::collections::BTreeMap<String, u64>, from: u64, through: u64) {
    for (output, cursor) in cursors {
        let lost = through.saturating_sub((*cursor).max(from));
        if lost > 0 {
            *stats.lost.entry(output.clone()).or_default() += lost;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    fn writer(folder: &std::path::Path, first: u64) -> Writer {
        let options = Options::at(folder.join("j.db"));
        let (mut store, lines) = Store::open(&options.path).unwrap();
        let rows: Vec<Row> = (first..first + 3).map(|seq| Row { seq, at: 0, line: "{}".to_owned() }).collect();
        store.write(&rows, None).unwrap();
        let (head, stored, cursors) = store.position().unwrap();
        Writer::new(Arc::new(Shared::new(store, lines, head, stored, cursors)), options, || 0)
    }

    #[test]
    fn rests_between_tries_while_the_file_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(folder.path(), 1);
        writer.cursors_due = Some(Instant::now());
        assert_eq!(writer.patience(), Duration::ZERO);
        writer.tried = Some(Instant::now());
        assert!(writer.patience() > RETRY / 2, "{:?}", writer.patience());
    }

    #[test]
    fn does_not_count_again_what_an_earlier_run_removed() {
        let folder = tempfile::tempdir().unwrap();
        let writer = writer(folder.path(), 1000);
        assert_eq!((writer.head, writer.removed_through), (1002, 999));
        let mut stats = Stats::default();
        count_lost(&mut stats, &[("dead".to_owned(), 5)].into(), writer.removed_through, 1001);
        assert_eq!(stats.lost["dead"], 2);
    }
}
