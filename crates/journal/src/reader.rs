//! Reads events in order at one output's own pace.

use std::sync::Arc;
use std::time::Duration;

use aviary_event::Event;
use tokio::sync::watch;

use crate::queue::{Shared, lock, seq_of};

/// Pause before the file is read again after it could not be.
const RETRY: Duration = Duration::from_secs(1);

/// One output's view of the journal.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    head: watch::Receiver<u64>,
    output: Option<String>,
    at: u64,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>, output: &str) -> Self {
        let at = shared.cursor(output);
        Self { head: shared.watch(), shared, output: Some(output.to_owned()), at }
    }

    pub(crate) fn peek(shared: Arc<Shared>, after: u64) -> Self {
        Self { head: shared.watch(), shared, output: None, at: after }
    }

    /// The next events in order, at least one and at most `limit`. Waits for the first.
    pub async fn next(&mut self, limit: usize) -> Vec<Arc<Event>> {
        loop {
            let head = *self.head.borrow_and_update();
            if head > self.at {
                let events = self.fetch(limit.max(1)).await;
                match events.last() {
                    Some(last) => {
                        self.at = seq_of(last).max(self.at);
                        return events;
                    }
                    // A gap: everything up to the head was removed or cannot be read.
                    None => {
                        self.at = head;
                        let seq = self.at;
                        self.advance(seq);
                    }
                }
            }
            if self.head.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    async fn fetch(&self, limit: usize) -> Vec<Arc<Event>> {
        if let Some(events) = self.shared.recent_after(self.at, limit) {
            return events;
        }
        loop {
            let shared = Arc::clone(&self.shared);
            let after = self.at;
            let read = tokio::task::spawn_blocking(move || lock(&shared.store).read(after, limit)).await;
            match read {
                Ok(Ok(events)) => return events.into_iter().map(Arc::new).collect(),
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
