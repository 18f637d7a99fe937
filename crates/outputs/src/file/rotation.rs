//! Rotations of our own: by size, as `RotatingFileHandler` has it, and by time, as
//! `TimedRotatingFileHandler` has it.
//!
//! The clock of the second is the time of the events themselves, so that a line stands in the file
//! of its own hour even when it was delivered late.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aviary_event::Event;
use aviary_output::{Rejection, moment};
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _, Zoned};
use serde_json::Value;

use crate::options::{Options, wrong};

/// When a file gives way to a new one.
#[derive(Debug)]
pub(crate) enum Rotation {
    /// Others do that.
    Never,
    /// Before it holds `most` bytes; `keep` older ones stay, as `.1`, `.2` and so on.
    Size {
        /// Bytes.
        most: u64,
        /// Files.
        keep: u64,
        /// After a move that failed: the size at which it is tried again.
        retry_at: u64,
    },
    /// At certain times.
    Time(Timed),
}

/// Rotation by time.
#[derive(Debug)]
pub(crate) struct Timed {
    when: When,
    interval: u64,
    /// Older files that stay; 0 keeps all.
    keep: u64,
    utc: bool,
    at: Time,
    /// Known once the first event came.
    next: Option<Next>,
}

#[derive(Debug)]
struct Next {
    turn: Timestamp,
    zone: TimeZone,
    /// The latest event's time.
    now: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    Second,
    Minute,
    Hour,
    Day,
    Midnight,
    Weekly(Weekday),
}

impl Rotation {
    /// Called once, before the first line: `path` may hold lines of an earlier run.
    pub(crate) fn begin(&mut self, path: &Path, first: Option<&Event>) {
        let Self::Time(timed) = self else { return };
        let touched = fs::metadata(path).and_then(|there| there.modified()).ok();
        let touched = touched.and_then(|time| Timestamp::try_from(time).ok());
        if let Some(from) = touched.or_else(|| first.and_then(when_it_happened)) {
            timed.start(from);
        }
    }

    /// Whether the file of `size` bytes gives way before a line of `length` bytes. Never when empty.
    pub(crate) fn due(&mut self, size: u64, length: u64, event: &Event) -> bool {
        match self {
            Self::Never => false,
            Self::Size { most, retry_at, .. } => size > 0 && size.saturating_add(length) >= *most.max(retry_at),
            Self::Time(timed) => {
                let Some(now) = when_it_happened(event) else { return false };
                let Some(next) = &mut timed.next else {
                    timed.start(now);
                    return false;
                };
                next.now = now;
                if now < next.turn {
                    return false;
                }
                if size == 0 {
                    timed.plan();
                }
                size > 0
            }
        }
    }

    /// Moves the file of `size` bytes out of the way. When that fails the lines go on in the old
    /// file, and it is tried again one interval later: a log that grows is better than one that stops.
    pub(crate) fn turn(&mut self, path: &Path, size: u64) {
        let result = match self {
            Self::Never => Ok(()),
            Self::Size { most, keep, retry_at } => {
                let result = shift(path, *keep);
                *retry_at = if result.is_ok() { 0 } else { size.saturating_add(*most) };
                result
            }
            Self::Time(timed) => timed.turn(path),
        };
        if let Err(error) = result {
            tracing::warn!("failed to rotate `{}`: {error}", path.display());
        }
    }
}

fn when_it_happened(event: &Event) -> Option<Timestamp> {
    moment(event).map(aviary_event::Timestamp::to_jiff)
}

/// `x.log` with something behind.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

/// Moves `x.log.1` to `x.log.2` and so on, then the file itself to `x.log.1`.
fn shift(path: &Path, keep: u64) -> io::Result<()> {
    for number in (1..keep).rev() {
        match fs::rename(beside(path, &number.to_string()), beside(path, &(number + 1).to_string())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(path, beside(path, "1"))
}

impl Timed {
    pub(crate) fn new(options: Options<'_>) -> Result<Self, Rejection> {
        let spelled = options.text("when")?.unwrap_or("h");
        let when = match spelled.to_ascii_uppercase().as_str() {
            "S" => When::Second,
            "M" => When::Minute,
            "H" => When::Hour,
            "D" => When::Day,
            "MIDNIGHT" => When::Midnight,
            "W0" => When::Weekly(Weekday::Monday),
            "W1" => When::Weekly(Weekday::Tuesday),
            "W2" => When::Weekly(Weekday::Wednesday),
            "W3" => When::Weekly(Weekday::Thursday),
            "W4" => When::Weekly(Weekday::Friday),
            "W5" => When::Weekly(Weekday::Saturday),
            "W6" => When::Weekly(Weekday::Sunday),
            _ => {
                let accepted = "`S`, `M`, `H`, `D`, `midnight`, or `W0` (Monday) to `W6` (Sunday)";
                return Err(wrong("when", &Value::from(spelled), accepted));
            }
        };
        let at = match options.text("atTime")? {
            None => Time::midnight(),
            Some(text) => text
                .parse()
                .map_err(|_| wrong("atTime", &Value::from(text), "a time of day such as `02:30` or `02:30:00`"))?,
        };
        Ok(Self {
            when,
            interval: options.whole("interval", 1, 1, 1_000_000)?,
            keep: options.whole("backupCount", 0, 0, 10_000)?,
            utc: options.flag("utc", false)?,
            at,
            next: None,
        })
    }

    /// Seconds between two turns, for the ones that are not tied to the calendar.
    fn seconds(&self) -> i64 {
        let unit = match self.when {
            When::Second => 1,
            When::Minute => 60,
            When::Hour => 3600,
            When::Day | When::Midnight | When::Weekly(_) => 86_400,
        };
        unit * i64::try_from(self.interval).unwrap_or(1)
    }

    /// The next turn after a moment. Those of `S`, `M`, `H` and `D` are one interval away, those of
    /// `midnight` and `W` at the time of day that the file names, clock changes included.
    fn turn_after(&self, now: Timestamp, zone: &TimeZone) -> Timestamp {
        let local = now.to_zoned(zone.clone());
        let turn = match self.when {
            When::Midnight => self.day_after(&local, |_| true),
            When::Weekly(day) => self.day_after(&local, |date| date == day),
            _ => now.checked_add(self.seconds().seconds()).ok(),
        };
        // Past the end of the calendar there is no next turn.
        turn.unwrap_or(Timestamp::MAX)
    }

    fn day_after(&self, now: &Zoned, right: impl Fn(Weekday) -> bool) -> Option<Timestamp> {
        (0..=8).find_map(|days| {
            let date = now.date().checked_add(days.days()).ok()?;
            let turn = date.to_datetime(self.at).to_zoned(now.time_zone().clone()).ok()?;
            (right(date.weekday()) && turn > *now).then(|| turn.timestamp())
        })
    }

    /// Sets the first turn.
    fn start(&mut self, now: Timestamp) {
        let zone = if self.utc { TimeZone::UTC } else { TimeZone::system() };
        let turn = self.turn_after(now, &zone);
        self.next = Some(Next { turn, zone, now });
    }

    /// Sets the next turn by the latest event's time.
    fn plan(&mut self) {
        if let Some(Next { zone, now, .. }) = self.next.take() {
            let turn = self.turn_after(now, &zone);
            self.next = Some(Next { turn, zone, now });
        }
    }

    fn turn(&mut self, path: &Path) -> io::Result<()> {
        let Some(Next { turn, zone, .. }) = &self.next else { return Ok(()) };
        let back = match self.when {
            When::Weekly(_) => 7.days(),
            When::Midnight => 1.day(),
            _ => self.seconds().seconds(),
        };
        let begun = turn.to_zoned(zone.clone()).checked_sub(back).unwrap_or_else(|_| turn.to_zoned(zone.clone()));
        let stem = begun.strftime(self.pattern()).to_string();
        // A file of that name may be there after a clock went back; it is not written over.
        let free = std::iter::once(stem.clone())
            .chain((1..1000).map(|number| format!("{stem}.{number}")))
            .find(|suffix| !beside(path, suffix).exists());
        self.plan();
        fs::rename(path, beside(path, &free.unwrap_or(stem)))?;
        self.forget(path)
    }

    const fn pattern(&self) -> &'static str {
        match self.when {
            When::Second => "%Y-%m-%d_%H-%M-%S",
            When::Minute => "%Y-%m-%d_%H-%M",
            When::Hour => "%Y-%m-%d_%H",
            When::Day | When::Midnight | When::Weekly(_) => "%Y-%m-%d",
        }
    }

    /// Removes the oldest files beyond `keep`.
    fn forget(&self, path: &Path) -> io::Result<()> {
        let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|_| self.keep > 0) else {
            return Ok(());
        };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut old: Vec<PathBuf> = fs::read_dir(folder)?
            .flatten()
            .filter(|entry| {
                let other = entry.file_name();
                let suffix = other.to_str().and_then(|other| other.strip_prefix(name)?.strip_prefix('.'));
                suffix.is_some_and(|suffix| self.made(suffix))
            })
            .map(|entry| entry.path())
            .collect();
        old.sort();
        let keep = usize::try_from(self.keep).unwrap_or(usize::MAX);
        for path in old.iter().rev().skip(keep) {
            fs::remove_file(path)?;
        }
        Ok(())
    }

    /// Whether a suffix looks like those of this rotation, a packed one's included.
    fn made(&self, suffix: &str) -> bool {
        let shape = match self.when {
            When::Second => "dddd-dd-dd_dd-dd-dd",
            When::Minute => "dddd-dd-dd_dd-dd",
            When::Hour => "dddd-dd-dd_dd",
            When::Day | When::Midnight | When::Weekly(_) => "dddd-dd-dd",
        };
        let (date, rest) = suffix.split_at_checked(shape.len()).unwrap_or((suffix, ""));
        let fits = |(wanted, c): (char, char)| if wanted == 'd' { c.is_ascii_digit() } else { c == wanted };
        date.len() == shape.len()
            && shape.chars().zip(date.chars()).all(fits)
            && (rest.is_empty() || rest.starts_with('.'))
    }
}
