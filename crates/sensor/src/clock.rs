//! The clock: the only place that asks what time it is.

use std::time::{SystemTime, UNIX_EPOCH};

use aviary_event::Timestamp;

/// Now.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::from_micros(now_micros())
}

/// Microseconds since 1970-01-01 UTC.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub fn now_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Time that this thread has had a processor.
pub(crate) fn on_processor() -> std::time::Duration {
    let read = nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID);
    read.map_or(std::time::Duration::ZERO, std::time::Duration::from)
}
