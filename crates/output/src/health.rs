//! How an output is doing: what `aviary status` shows.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use aviary_event::Timestamp;

/// What the loop does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Waits for events.
    Idle,
    /// A delivery is under way.
    Delivering,
    /// Waits before the next try.
    BackingOff {
        /// When that is.
        until: Timestamp,
    },
}

/// Counters and last words of one output; shared, and cheap to read while it delivers.
#[derive(Debug)]
pub struct Health {
    name: String,
    clock: fn() -> Timestamp,
    delivered: AtomicU64,
    refused: AtomicU64,
    passed_over: AtomicU64,
    retries: AtomicU64,
    held: AtomicU64,
    rest: Mutex<Rest>,
}

#[derive(Debug)]
struct Rest {
    state: State,
    last_success: Option<Timestamp>,
    last_error: Option<(Timestamp, String)>,
    failing: bool,
    unheard_since: Option<Timestamp>,
}

/// A moment's view of a [`Health`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthReport {
    /// The handler's name in the file.
    pub name: String,
    /// Events that arrived.
    pub delivered: u64,
    /// Events that the receiver would not take; they were passed over.
    pub refused: u64,
    /// Events of which the output chose to send nothing.
    pub passed_over: u64,
    /// Deliveries that failed and were or will be tried again.
    pub retries: u64,
    /// Events that the output's rate held back, since the start.
    pub held: u64,
    /// When an event arrived last.
    pub last_success: Option<Timestamp>,
    /// When something went wrong last, and what: printable, at most some 300 characters.
    pub last_error: Option<(Timestamp, String)>,
    /// Whether the last delivery failed.
    pub failing: bool,
    /// Since when deliveries fail that are tried again; `None` once the receiver takes or refuses an event.
    pub unheard_since: Option<Timestamp>,
    /// What the loop does.
    pub state: State,
}

impl Health {
    /// Nothing has happened yet. `clock` is asked when something does.
    #[must_use]
    pub fn new(name: impl Into<String>, clock: fn() -> Timestamp) -> Self {
        Self {
            name: name.into(),
            clock,
            delivered: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            passed_over: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            held: AtomicU64::new(0),
            rest: Mutex::new(Rest {
                state: State::Idle,
                last_success: None,
                last_error: None,
                failing: false,
                unheard_since: None,
            }),
        }
    }

    /// The handler's name in the file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Everything, as of now.
    #[must_use]
    pub fn report(&self) -> HealthReport {
        let rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        HealthReport {
            name: self.name.clone(),
            delivered: self.delivered.load(Relaxed),
            refused: self.refused.load(Relaxed),
            passed_over: self.passed_over.load(Relaxed),
            retries: self.retries.load(Relaxed),
            held: self.held.load(Relaxed),
            last_success: rest.last_success,
            last_error: rest.last_error.clone(),
            failing: rest.failing,
            unheard_since: rest.unheard_since,
            state: rest.state,
        }
    }

    pub(crate) fn enter(&self, state: State) {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner).state = state;
    }

    pub(crate) fn back_off(&self, wait: std::time::Duration) {
        let wait = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
        let now = (self.clock)();
        let until = Timestamp::from_micros(now.as_micros().saturating_add(wait));
        self.retries.fetch_add(1, Relaxed);
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        rest.state = State::BackingOff { until };
        rest.unheard_since.get_or_insert(now);
    }

    pub(crate) fn count_delivered(&self, events: usize) {
        self.delivered.fetch_add(u64::try_from(events).unwrap_or(u64::MAX), Relaxed);
        let now = (self.clock)();
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        rest.last_success = Some(now);
        rest.failing = false;
        rest.unheard_since = None;
    }

    pub(crate) fn count_passed_over(&self, events: usize) {
        self.passed_over.fetch_add(u64::try_from(events).unwrap_or(u64::MAX), Relaxed);
    }

    pub(crate) fn count_refused(&self) {
        self.refused.fetch_add(1, Relaxed);
        // Whoever refuses has answered.
        self.rest.lock().unwrap_or_else(PoisonError::into_inner).unheard_since = None;
    }

    pub(crate) fn count_held(&self) {
        self.held.fetch_add(1, Relaxed);
    }

    pub(crate) fn note_error(&self, text: &str) {
        let now = (self.clock)();
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        rest.last_error = Some((now, text.to_owned()));
        rest.failing = true;
    }
}
