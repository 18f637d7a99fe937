//! How much waits for the writer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Record;

/// What a record takes beside its texts, about.
const RECORD: usize = 1024;

/// Counts bytes that wait.
#[derive(Debug)]
pub(super) struct Backlog {
    waiting: Arc<AtomicUsize>,
    limit: usize,
}

/// Bytes of a job, counted as long as this is held.
#[derive(Debug)]
pub(super) struct Held {
    waiting: Arc<AtomicUsize>,
    bytes: usize,
}

impl Backlog {
    pub(super) fn new(limit: usize) -> Self {
        Self { waiting: Arc::default(), limit }
    }

    /// Counts records in, if there is room. Where nothing waits, there is room for anything.
    pub(super) fn hold(&self, records: &[Record]) -> Option<Held> {
        let bytes = records.iter().map(|record| record.line.len() + record.words.len() + RECORD).sum();
        let room = |waiting: usize| {
            let then = waiting.saturating_add(bytes);
            (waiting == 0 || then <= self.limit).then_some(then)
        };
        self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).ok()?;
        Some(Held { waiting: Arc::clone(&self.waiting), bytes })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
