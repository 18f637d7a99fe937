//! How long to wait before the next try.

use std::time::Duration;

/// Times of the delivery loop.
#[derive(Clone, Copy, Debug)]
pub struct Pacing {
    /// Longest first wait after a failure.
    pub first: Duration,
    /// Longest wait; each failure in a row doubles the wait up to it.
    pub longest: Duration,
    /// Longest wait that a receiver may ask for.
    pub asked: Duration,
    /// How long a delivery in flight may take once the loop was told to stop.
    pub grace: Duration,
    /// Where jitter starts from. Different canaries should have different seeds, so that they do
    /// not all come back to a receiver in the same moment.
    pub seed: u64,
}

impl Default for Pacing {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(60),
            asked: Duration::from_secs(3600),
            grace: Duration::from_secs(5),
            seed: 0,
        }
    }
}

/// Waits that grow while nothing succeeds.
#[derive(Debug)]
pub(crate) struct Backoff {
    pacing: Pacing,
    failures: u32,
    noise: u64,
}

impl Backoff {
    pub(crate) const fn new(pacing: Pacing) -> Self {
        // Xorshift never leaves zero.
        Self { pacing, failures: 0, noise: pacing.seed ^ 0x9e37_79b9_7f4a_7c15 | 1 }
    }

    /// Something succeeded: the next failure waits the shortest time again.
    pub(crate) const fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait after one more failure: between half and all of the doubled time, and never less
    /// than what the receiver asked for (up to [`Pacing::asked`]).
    pub(crate) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let doubled = self.pacing.first.saturating_mul(1 << self.failures.min(20)).min(self.pacing.longest);
        self.failures = self.failures.saturating_add(1);
        self.noise ^= self.noise << 13;
        self.noise ^= self.noise >> 7;
        self.noise ^= self.noise << 17;
        let share = u32::try_from(self.noise % 1024).unwrap_or(0);
        let wait = doubled / 2 + doubled / 2 * share / 1023;
        wait.max(asked.unwrap_or_default().min(self.pacing.asked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_from_half_a_second_to_a_minute() {
        let mut backoff = Backoff::new(Pacing { seed: 7, ..Pacing::default() });
        let mut limit = Duration::from_millis(500);
        for _ in 0..40 {
            let wait = backoff.next(None);
            assert!(wait <= limit && wait >= limit / 2, "{wait:?} of {limit:?}");
            limit = (limit * 2).min(Duration::from_secs(60));
        }
        backoff.reset();
        assert!(backoff.next(None) <= Duration::from_millis(500));
    }

    #[test]
    fn obeys_the_receiver_up_to_an_hour() {
        let mut backoff = Backoff::new(Pacing::default());
        assert_eq!(backoff.next(Some(Duration::from_secs(90))), Duration::from_secs(90));
        assert_eq!(backoff.next(Some(Duration::from_secs(90_000))), Duration::from_secs(3600));
        assert!(backoff.next(Some(Duration::ZERO)) > Duration::ZERO);
    }

    #[test]
    fn spreads_canaries_with_different_seeds() {
        let waits: std::collections::BTreeSet<_> =
            (0..50).map(|seed| Backoff::new(Pacing { seed, ..Pacing::default() }).next(None)).collect();
        assert!(waits.len() > 20, "{waits:?}");
    }
}
