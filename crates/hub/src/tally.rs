//! What came in since the start: by sensor, and from whom nobody knows.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use aviary_event::Timestamp;

use crate::Word;

/// Sensors that are counted one by one.
const SENSORS: usize = 4096;
/// Strangers that are remembered, those that came last.
const STRANGERS: usize = 256;
/// Microseconds between two words in the log on the same thing.
const QUIET: i64 = 60 * 1_000_000;
/// Microseconds that one value of a clock stands for, and how many are looked at.
const SLICE: i64 = 60 * 1_000_000;
const SLICES: usize = 10;
/// Microseconds by which a clock may be off without a word.
const OFF: i64 = 300 * 1_000_000;

/// Counters of a running hub.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Books>);

#[derive(Debug, Default)]
struct Books {
    sensors: BTreeMap<String, Intake>,
    strangers: HashMap<IpAddr, Stranger>,
    unknown: Unknown,
}

/// What strangers came to since the log told of them.
#[derive(Debug, Default)]
struct Unknown {
    count: u64,
    told: Option<Timestamp>,
}

/// What came of one sensor.
#[derive(Clone, Debug, Default)]
pub struct Intake {
    /// Events that are stored.
    pub accepted: u64,
    /// Events that were there already.
    pub duplicate: u64,
    /// Lines that were not taken.
    pub refused: u64,
    /// When something came last.
    pub last: Option<Timestamp>,
    /// Why the last line that was not taken was not.
    pub refusal: Option<(Timestamp, String)>,
    told: Option<Timestamp>,
    clock: Clock,
    off: bool,
}

/// Somebody who has no credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranger {
    /// From where.
    pub address: IpAddr,
    /// How often.
    pub count: u64,
    /// When last.
    pub last: Timestamp,
    /// What it wanted.
    pub way: &'static str,
}

/// How a sensor's clock stands to the hub's.
///
/// An event may be late, but a sensor whose newest event of ten minutes is hours old is behind; and none is early.
#[derive(Clone, Debug, Default)]
struct Clock(VecDeque<(i64, i64)>);

impl Clock {
    /// Notes by how much the newest of some events is ahead of the hub's clock, in microseconds.
    fn note(&mut self, ahead: i64, now: Timestamp) {
        let slice = now.as_micros().div_euclid(SLICE);
        match self.0.back_mut() {
            Some((last, most)) if *last >= slice => *most = ahead.max(*most),
            _ => self.0.push_back((slice, ahead)),
        }
        while self.0.len() > SLICES {
            self.0.pop_front();
        }
    }

    /// By how much the clock is ahead, in seconds, if it is off.
    fn skew(&self) -> Option<i64> {
        let most = self.0.iter().map(|(_, ahead)| *ahead).max()?;
        (most.abs() > OFF).then(|| most.div_euclid(1_000_000))
    }
}

impl Intake {
    /// By how many seconds the sensor's clock is ahead of the hub's, if that is more than five minutes. Less than
    /// nothing: its clock is behind, or nothing that came within ten minutes was fresh.
    #[must_use]
    pub fn skew(&self) -> Option<i64> {
        self.clock.skew()
    }
}

impl Tally {
    /// Counts what became of lines of a sensor. `newest` is the time of their newest event, by the sensor's clock.
    pub(crate) fn took(&self, sensor: &str, words: &[Word], newest: Option<Timestamp>, now: Timestamp) {
        let mut books = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !books.sensors.contains_key(sensor) {
            if books.sensors.len() >= SENSORS {
                return;
            }
            books.sensors.insert(sensor.to_owned(), Intake::default());
        }
        let Some(intake) = books.sensors.get_mut(sensor) else { return };
        intake.last = Some(now);
        for word in words {
            match word {
                Word::Accepted(_) => intake.accepted = intake.accepted.saturating_add(1),
                Word::Duplicate(_) => intake.duplicate = intake.duplicate.saturating_add(1),
                Word::Refused(_) => intake.refused = intake.refused.saturating_add(1),
            }
        }
        let refusal = words.iter().rev().find_map(|word| if let Word::Refused(why) = word { Some(why) } else { None });
        if let Some(why) = refusal {
            let why = why.to_string();
            if may_tell(&mut intake.told, now) {
                tracing::warn!(sensor, refused = intake.refused, why, "a sensor sends what is not taken");
            }
            intake.refusal = Some((now, why));
        }
        if let Some(newest) = newest {
            intake.clock.note(newest.as_micros().saturating_sub(now.as_micros()), now);
            let skew = intake.skew();
            if intake.off != skew.is_some() {
                intake.off = skew.is_some();
                match skew {
                    Some(seconds) => {
                        tracing::warn!(sensor, seconds, "a sensor's clock is not the hub's, or all is late")
                    }
                    None => tracing::info!(sensor, "a sensor's clock is right"),
                }
            }
        }
    }

    /// Counts somebody who has no credential.
    pub(crate) fn refused(&self, address: IpAddr, way: &'static str, now: Timestamp) {
        let address = address.to_canonical();
        let mut books = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Books { strangers, unknown, .. } = &mut *books;
        if strangers.len() >= STRANGERS
            && !strangers.contains_key(&address)
            && let Some(oldest) = strangers.values().min_by_key(|stranger| stranger.last).map(|one| one.address)
        {
            strangers.remove(&oldest);
        }
        let stranger = strangers.entry(address).or_insert(Stranger { address, count: 0, last: now, way });
        (stranger.last, stranger.way) = (now, way);
        stranger.count = stranger.count.saturating_add(1);
        unknown.count = unknown.count.saturating_add(1);
        if may_tell(&mut unknown.told, now) {
            let count = std::mem::take(&mut unknown.count);
            tracing::warn!(%address, way, count, "lines of senders that nobody named are not taken");
        }
    }

    /// What came of one sensor.
    #[must_use]
    pub fn sensor(&self, name: &str) -> Option<Intake> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).sensors.get(name).cloned()
    }

    /// What came of each sensor, by name.
    #[must_use]
    pub fn sensors(&self) -> BTreeMap<String, Intake> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).sensors.clone()
    }

    /// Who had no credential, those that came last first.
    #[must_use]
    pub fn strangers(&self) -> Vec<Stranger> {
        let books = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut strangers: Vec<Stranger> = books.strangers.values().cloned().collect();
        strangers.sort_by_key(|stranger| std::cmp::Reverse((stranger.last, stranger.address)));
        strangers
    }
}

/// Whether it is time for another word in the log; if so, notes that it is said.
fn may_tell(told: &mut Option<Timestamp>, now: Timestamp) -> bool {
    let due = told.is_none_or(|told| now.as_micros().saturating_sub(told.as_micros()) >= QUIET);
    if due {
        *told = Some(now);
    }
    due
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const HOUR: i64 = 3600 * 1_000_000;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(1_700_000_000_000_000 + micros)
    }

    #[test]
    fn a_wrong_clock_shows_and_late_events_beside_fresh_ones_do_not() {
        let tally = Tally::default();
        let word = [Word::Accepted(Uuid::nil())];
        let skew = |sensor: &str| tally.sensor(sensor).and_then(|intake| intake.skew());
        tally.took("ahead", &word, Some(at(2 * HOUR)), at(0));
        assert_eq!(skew("ahead"), Some(7200));
        tally.took("behind", &word, Some(at(-HOUR)), at(0));
        assert_eq!(skew("behind"), Some(-3600));
        tally.took("late", &word, Some(at(-3 * HOUR)), at(0));
        tally.took("late", &word, Some(at(-1)), at(SLICE));
        tally.took("late", &word, Some(at(-3 * HOUR)), at(2 * SLICE));
        assert_eq!(skew("late"), None);
        // A clock that was set is right after ten minutes.
        for minute in 1..=10 {
            tally.took("ahead", &word, Some(at(minute * SLICE)), at(minute * SLICE));
        }
        assert_eq!(skew("ahead"), None);
    }

    #[test]
    fn strangers_are_counted_and_bounded() {
        let tally = Tally::default();
        for number in 0..1000_u32 {
            let address = IpAddr::V4(std::net::Ipv4Addr::from(number));
            tally.refused(address, "tcp", at(i64::from(number)));
        }
        tally.refused("0.0.3.231".parse().expect("an address"), "udp", at(2000));
        let strangers = tally.strangers();
        assert_eq!(strangers.len(), STRANGERS);
        assert_eq!(
            (strangers[0].address.to_string().as_str(), strangers[0].count, strangers[0].way),
            ("0.0.3.231", 2, "udp")
        );
        assert_eq!(strangers[1].address.to_string(), "0.0.3.230");
    }
}
