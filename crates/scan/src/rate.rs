//! How much of what comes is reported.

/// What may come at once beyond a rate: the burst that the kernel's `limit` match has by default.
pub(crate) const BURST: u64 = 5;
/// Milliseconds of a second and of an hour.
pub(crate) const SECOND: u64 = 1000;
pub(crate) const HOUR: u64 = 3_600_000;
/// Parts of a packet, so many that a rate an hour gains whole ones in every millisecond.
const WHOLE: u64 = HOUR;

/// Room for events that fills again with time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    /// Events that may be reported, in [`WHOLE`]ths.
    room: u64,
    seen: u64,
}

impl Bucket {
    /// A bucket that nothing was taken from.
    pub(crate) const fn full(burst: u64, now: u64) -> Self {
        Self { room: burst.saturating_mul(WHOLE), seen: now }
    }

    /// Takes one event from a bucket that regains `rate` of them in `per` milliseconds; whether there was one.
    pub(crate) fn take(&mut self, burst: u64, rate: u64, per: u64, now: u64) -> bool {
        let passed = now.saturating_sub(self.seen);
        let gained = passed.saturating_mul(rate).saturating_mul(WHOLE).checked_div(per).unwrap_or(0);
        // Time too short for a whole part counts on.
        if gained > 0 {
            self.room = self.room.saturating_add(gained).min(burst.saturating_mul(WHOLE));
            self.seen = now;
        }
        let has = self.room >= WHOLE;
        if has {
            self.room = self.room.saturating_sub(WHOLE);
        }
        has
    }
}
