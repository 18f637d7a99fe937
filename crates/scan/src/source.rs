//! What is remembered of a source.

use std::net::IpAddr;

use crate::rate::{BURST, Bucket};
use crate::rules::MOST_TARGETS;
use crate::scan::{Hit, Proto, Scan, Standing};

/// How long a stray acknowledgement waits for an answer of ours, in milliseconds; the system gives it at once.
const ANSWERED_WITHIN: u64 = 1000;
/// Packets that no conversation has, which make a scan.
const ODD: usize = 2;

/// A source: what it may still have reported, and its scan or what may become one.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) address: IpAddr,
    /// When it was seen last, in milliseconds.
    pub(crate) seen: u64,
    /// Room for OpenCanary's events: those of a SYN, and the others.
    pub(crate) syn: Bucket,
    pub(crate) nmap: Bucket,
    /// What came while it is not said to scan, the oldest first, and when the last of it came.
    attempts: Vec<Hit>,
    last: (u64, i64),
    pub(crate) scan: Option<Box<Scan>>,
}

impl Source {
    pub(crate) const fn new(address: IpAddr, now: u64) -> Self {
        let full = Bucket::full(BURST, now);
        Self { address, seen: now, syn: full, nmap: full, attempts: Vec::new(), last: (now, 0), scan: None }
    }

    /// Bytes beside those of the value itself.
    pub(crate) fn memory(&self) -> usize {
        let attempts = self.attempts.capacity().saturating_mul(size_of::<Hit>());
        self.scan.as_ref().map_or(0, |scan| scan.memory()).saturating_add(attempts)
    }

    /// Remembers what may become a scan.
    pub(crate) fn attempt(&mut self, hit: Hit, window: u64) {
        self.last = (hit.at, hit.wall);
        self.attempts.retain(|known| hit.at.saturating_sub(known.at) <= window);
        let same = |known: &&mut Hit| {
            let is_alike = known.standing == hit.standing || hit.standing == Standing::Waiting;
            is_alike && known.host == hit.host && known.port == hit.port && known.probe == hit.probe
        };
        if let Some(known) = self.attempts.iter_mut().find(same) {
            known.count = known.count.saturating_add(1);
            return;
        }
        if self.attempts.len() >= MOST_TARGETS {
            // What is served matters least.
            let served = self.attempts.iter().position(|known| known.standing == Standing::Served);
            self.attempts.remove(served.unwrap_or(0));
        }
        self.attempts.push(hit);
    }

    /// Whether what came is a scan.
    pub(crate) fn does_scan(&self, threshold: usize) -> bool {
        let (mut odd, mut targets, mut pinged) = (0_usize, 0_usize, 0_usize);
        for hit in &self.attempts {
            match hit.standing {
                Standing::Served | Standing::Waiting => {}
                Standing::Ping => pinged = pinged.saturating_add(1),
                Standing::Target => targets = targets.saturating_add(1),
                Standing::Odd => {
                    odd = odd.saturating_add(usize::try_from(hit.count).unwrap_or(usize::MAX));
                    targets = targets.saturating_add(1);
                }
            }
        }
        odd >= ODD.min(threshold) || targets >= threshold || pinged >= 2
    }

    /// Gives all attempts away, and when the last of them was.
    pub(crate) fn take_attempts(&mut self) -> (Vec<Hit>, (u64, i64)) {
        (std::mem::take(&mut self.attempts), self.last)
    }

    /// Whether an acknowledgement waits for its explanation.
    pub(crate) fn waits(&self) -> bool {
        self.attempts.iter().any(|hit| hit.standing == Standing::Waiting)
    }

    /// We answered something from a port: as part of a conversation, so that it was no scan, or with a reset.
    pub(crate) fn answered(&mut self, port: u16, is_reset: bool) {
        let is_it = |hit: &Hit| hit.standing == Standing::Waiting && hit.port == Some((Proto::Tcp, port));
        if is_reset {
            self.attempts.iter_mut().filter(|hit| is_it(hit)).for_each(|hit| hit.standing = Standing::Target);
        } else {
            self.attempts.retain(|hit| !is_it(hit));
        }
    }

    /// Forgets what waited long enough for a reset: the system did not say that it was stray.
    pub(crate) fn give_up_waiting(&mut self, now: u64) {
        let is_over = |hit: &Hit| hit.standing == Standing::Waiting && now.saturating_sub(hit.at) >= ANSWERED_WITHIN;
        self.attempts.retain(|hit| !is_over(hit));
    }
}
