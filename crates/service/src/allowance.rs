//! What may be answered to whom over UDP, where anybody can write anybody's address on a datagram.
//!
//! INVARIANT: to a source that has proven nothing, no more bytes go than came from it. Who asks again, as
//! clients over UDP do, has sent enough for a longer answer in the end; who writes another's address on a
//! datagram gains nothing. A source has proven that it receives what is sent to it when it sent back what
//! it could not guess, or completed a TCP handshake. How often anybody is answered is bounded, too.

use std::collections::HashMap;
use std::net::IpAddr;

/// Sources that are remembered. To forget one costs it its credit and nobody anything else.
const SOURCES: usize = 8192;
/// Bytes that a source can be in credit.
const MOST_CREDIT: u64 = 64 * 1024;
/// Milliseconds after which credit is forgotten.
const CREDIT_LASTS: u64 = 60_000;
/// Milliseconds for which a proof holds.
const PROOF_LASTS: u64 = 600_000;

/// Who sent how much and may be sent how much. Times are milliseconds of any clock that does not go back.
#[derive(Debug)]
pub struct Allowance {
    sources: HashMap<IpAddr, Source>,
    rate: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Source {
    credit: u64,
    proven_until: u64,
    /// Replies that may be sent, in thousandths.
    replies: u64,
    seen: u64,
}

impl Allowance {
    /// Nobody is known yet; each source may get `rate` datagrams a second, and five times as many at once.
    #[must_use]
    pub fn new(rate: u64) -> Self {
        Self { sources: HashMap::new(), rate: rate.max(1) }
    }

    /// A datagram of so many bytes came.
    pub fn received(&mut self, source: IpAddr, bytes: usize, now: u64) {
        let entry = self.entry(source, now);
        entry.credit = entry.credit.saturating_add(u64::try_from(bytes).unwrap_or(0)).min(MOST_CREDIT);
    }

    /// A source has proven that it receives what is sent to it.
    pub fn prove(&mut self, source: IpAddr, now: u64) {
        self.entry(source, now).proven_until = now.saturating_add(PROOF_LASTS);
    }

    /// Whether so many bytes may go to a source now; if so, they are taken from what it may get.
    pub fn spend(&mut self, source: IpAddr, bytes: usize, now: u64) -> bool {
        let entry = self.entry(source, now);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let is_proven = entry.proven_until > now;
        if entry.replies < 1000 || !is_proven && entry.credit < bytes {
            return false;
        }
        entry.replies = entry.replies.saturating_sub(1000);
        entry.credit = entry.credit.saturating_sub(bytes);
        true
    }

    /// Bytes that may go to a source now, in one datagram.
    pub fn room(&mut self, source: IpAddr, now: u64) -> usize {
        let entry = self.entry(source, now);
        if entry.proven_until > now { usize::MAX } else { usize::try_from(entry.credit).unwrap_or(usize::MAX) }
    }

    fn entry(&mut self, source: IpAddr, now: u64) -> &mut Source {
        let most = self.rate.saturating_mul(5000);
        if self.sources.len() >= SOURCES && !self.sources.contains_key(&source) {
            self.make_room(now);
        }
        let entry = self.sources.entry(source).or_insert(Source { replies: most, seen: now, ..Source::default() });
        let passed = now.saturating_sub(entry.seen);
        if passed > CREDIT_LASTS {
            entry.credit = 0;
        }
        entry.replies = entry.replies.saturating_add(passed.saturating_mul(self.rate)).min(most);
        entry.seen = now;
        entry
    }

    /// Forgets who has nothing to lose, or else whoever comes first.
    fn make_room(&mut self, now: u64) {
        self.sources.retain(|_, source| source.proven_until > now || now.saturating_sub(source.seen) <= CREDIT_LASTS);
        let surplus = self.sources.len().saturating_sub(SOURCES / 2);
        if self.sources.len() >= SOURCES {
            let first: Vec<IpAddr> = self.sources.keys().take(surplus).copied().collect();
            for source in first {
                self.sources.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    #[test]
    fn nobody_is_answered_more_than_it_sent() {
        let mut allowance = Allowance::new(100);
        assert!(!allowance.spend(A, 1, 0));
        allowance.received(A, 60, 0);
        assert!(!allowance.spend(A, 100, 0));
        assert_eq!(allowance.room(A, 0), 60);
        allowance.received(A, 60, 1000);
        assert!(allowance.spend(A, 100, 1000), "asked again");
        assert!(!allowance.spend(A, 21, 1000));
        assert!(allowance.spend(A, 20, 1000));
    }

    #[test]
    fn credit_is_forgotten_and_bounded() {
        let mut allowance = Allowance::new(100);
        allowance.received(A, 60, 0);
        assert!(!allowance.spend(A, 60, 60_001));
        for _ in 0..100 {
            allowance.received(A, 65_535, 70_000);
        }
        assert!(!allowance.spend(A, 65_537, 70_000));
        assert!(allowance.spend(A, 65_536, 70_000));
    }

    #[test]
    fn a_proof_holds_for_a_while() {
        let mut allowance = Allowance::new(100);
        allowance.prove(A, 5);
        assert_eq!(allowance.room(A, 6), usize::MAX);
        assert!(allowance.spend(A, 500, 600_004));
        assert!(!allowance.spend(A, 500, 600_005));
    }

    #[test]
    fn answers_are_bounded_in_number() {
        let mut allowance = Allowance::new(10);
        allowance.prove(A, 0);
        let sent = (0..1000).filter(|_| allowance.spend(A, 10, 0)).count();
        assert_eq!(sent, 50);
        let sent = (0..1000).filter(|_| allowance.spend(A, 10, 1000)).count();
        assert_eq!(sent, 10);
    }

    #[test]
    fn sources_are_bounded_in_number() {
        let mut allowance = Allowance::new(10);
        for number in 0..50_000_u32 {
            allowance.received(IpAddr::V4(number.into()), 100, 0);
        }
        assert!(allowance.sources.len() <= SOURCES);
        for number in 0..50_000_u32 {
            allowance.prove(IpAddr::V4(number.into()), 100_000);
        }
        assert!(allowance.sources.len() <= SOURCES);
    }
}
