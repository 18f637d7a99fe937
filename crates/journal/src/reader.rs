//! Reads events in order at one output's own pace.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use aviary_event::Event;
use tokio::sync::watch;

use crate::queue::{Shared, lock, seq_of};

/// Pause before the file is read again after it could not be.
const RETRY: Duration = Duration::from_secs(1);
/// Events that are read from the file at once, at least: an output that takes one at a time need not ask for each.
const AHEAD: usize = 256;
/// Bytes of lines after which no further one is read at once.
const AHEAD_BYTES: usize = 512 * 1024;

/// One output's view of the journal.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    head: watch::Receiver<u64>,
    output: Option<String>,
    at: u64,
    /// What was read from the file and not given out yet, with the position of each.
    ahead: VecDeque<(u64, Arc<Event>)>,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>, output: &str) -> Self {
        let at = shared.cursor(output);
        Self { head: shared.watch(), shared, output: Some(output.to_owned()), at, ahead: VecDeque::new() }
    }

    pub(crate) fn peek(shared: Arc<Shared>, after: u64) -> Self {
        Self { head: shared.watch(), shared, output: None, at: after, ahead: VecDeque::new() }
    }

    /// The next events in order, at least one and at most `limit`. Waits for the first. Dropping the future loses
    /// nothing.
    pub async fn next(&mut self, limit: usize) -> Vec<Arc<Event>> {
        let limit = limit.max(1);
        loop {
            let head = *self.head.borrow_and_update();
            while head > self.at {
                self.forget_removed();
                if self.ahead.is_empty() {
                    if let Some(events) = self.shared.recent_after(self.at, limit)
                        && let Some(last) = events.last()
                    {
                        self.at = seq_of(last).max(self.at);
                        return events;
                    }
                    self.read(limit, head).await;
                }
                let count = self.ahead.len().min(limit);
                if count > 0 {
                    let given: Vec<_> = self.ahead.drain(..count).collect();
                    self.at = given.last().map_or(self.at, |(seq, _)| (*seq).max(self.at));
                    return given.into_iter().map(|(_, event)| event).collect();
                }
            }
            if self.head.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// What the bounds took from the file while it waited here is counted as lost, and is not given out.
    fn forget_removed(&mut self) {
        let removed = self.shared.removed_through();
        while self.ahead.front().is_some_and(|(seq, _)| *seq <= removed) {
            self.ahead.pop_front();
        }
    }

    /// Reads on from the file. Passes over what is not there, or is no event, up to `head`.
    async fn read(&mut self, limit: usize, head: u64) {
        loop {
            let shared = Arc::clone(&self.shared);
            let after = self.at;
            let work = move || {
                // Others wait for the lock, so that lines are read under it and understood without.
                let lines = lock(&shared.lines).read(after, limit.max(AHEAD), AHEAD_BYTES)?;
                let end = lines.last().map(|(seq, _)| *seq);
                Ok::<_, rusqlite::Error>((end, parse(lines)))
            };
            match tokio::task::spawn_blocking(work).await {
                Ok(Ok((end, events))) => {
                    if events.is_empty() {
                        // Everything up to there was removed or cannot be read; what cannot be written is in memory.
                        let seq = end.or_else(|| self.shared.before_recent()).unwrap_or(head).max(after);
                        self.at = seq;
                        self.advance(seq);
                    }
                    self.ahead.extend(events);
                    return;
                }
                Ok(Err(error)) => tracing::error!(%error, "journal cannot be read"),
                Err(error) => tracing::error!(%error, "journal reader ended"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Everything up to `seq` is done; it will not be given again after a restart.
    pub fn advance(&mut self, seq: u64) {
        if let Some(output) = &self.output {
            self.shared.advance(output, seq);
        }
    }

    /// Events that were reported and not yet given out by this reader.
    #[must_use]
    pub fn behind(&self) -> u64 {
        self.shared.head().saturating_sub(self.at)
    }
}

/// A line that no longer parses is passed over with an error in the log, since nothing could ever deliver it.
fn parse(lines: Vec<(u64, String)>) -> Vec<(u64, Arc<Event>)> {
    let event = |(seq, line): (u64, String)| match Event::parse(&line) {
        Ok(event) => Some((seq, Arc::new(event))),
        Err(error) => {
            tracing::error!(seq, %error, "stored event cannot be read");
            None
        }
    };
    lines.into_iter().filter_map(event).collect()
}
