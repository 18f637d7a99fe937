//! Times of day, in the zone in which people keep them.

use aviary_event::Timestamp;
use jiff::ToSpan as _;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::RuleError;
use crate::suppression::wrong;

/// A time of day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hours {
    /// `22:00`
    pub from: String,
    /// `06:00`, the next day if it is before `from`; not included.
    pub to: String,
    /// `mon` to `sun`, the day on which the time begins; every day if empty.
    #[serde(default)]
    pub days: Vec<String>,
    /// A name such as `Europe/Berlin`.
    pub zone: String,
}

/// [`Hours`], read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Minutes since midnight.
    from: u16,
    to: u16,
    days: Vec<Weekday>,
    zone: TimeZone,
}

impl Span {
    /// Reads hours.
    ///
    /// # Errors
    /// Names the field, what it says and what it takes.
    pub fn new(hours: &Hours) -> Result<Self, RuleError> {
        let accepted = "a time zone's name such as Europe/Berlin or UTC";
        let zone = TimeZone::get(hours.zone.trim()).map_err(|_| wrong("hours.zone", &hours.zone, accepted))?;
        let days = hours.days.iter().map(|day| weekday(day)).collect::<Result<_, _>>()?;
        Ok(Self { from: minutes("hours.from", &hours.from)?, to: minutes("hours.to", &hours.to)?, days, zone })
    }

    /// Whether a moment is within them.
    #[must_use]
    pub fn contains(&self, at: Timestamp) -> bool {
        let local = at.to_jiff().to_zoned(self.zone.clone());
        let minute = u16::from(local.hour().unsigned_abs())
            .saturating_mul(60)
            .saturating_add(u16::from(local.minute().unsigned_abs()));
        let day = local.weekday();
        let on = |day: Weekday| self.days.is_empty() || self.days.contains(&day);
        if self.from < self.to {
            on(day) && (self.from..self.to).contains(&minute)
        } else {
            // Over midnight: the evening of its day, or the morning after it.
            (on(day) && minute >= self.from) || (on(day.previous()) && minute < self.to)
        }
    }

    /// When they begin next, after a moment.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let local = after.to_jiff().to_zoned(self.zone.clone());
        let (hour, minute) = (i8::try_from(self.from / 60).ok()?, i8::try_from(self.from % 60).ok()?);
        (0..=8).find_map(|days| {
            let date = local.date().checked_add(days.days()).ok()?;
            if !self.days.is_empty() && !self.days.contains(&date.weekday()) {
                return None;
            }
            let begins = date.at(hour, minute, 0, 0).to_zoned(self.zone.clone()).ok()?.timestamp();
            (begins > after.to_jiff()).then(|| Timestamp::from_micros(begins.as_microsecond()))
        })
    }
}

fn minutes(field: &'static str, text: &str) -> Result<u16, RuleError> {
    let read = |part: &str, limit: u16| part.parse::<u16>().ok().filter(|number| part.len() == 2 && *number < limit);
    let time = text.trim().split_once(':').and_then(|(hour, minute)| Some((read(hour, 24)?, read(minute, 60)?)));
    let (hour, minute) = time.ok_or_else(|| wrong(field, text, "a time of day such as 22:00"))?;
    Ok(hour.saturating_mul(60).saturating_add(minute))
}

fn weekday(text: &str) -> Result<Weekday, RuleError> {
    Ok(match text {
        "mon" => Weekday::Monday,
        "tue" => Weekday::Tuesday,
        "wed" => Weekday::Wednesday,
        "thu" => Weekday::Thursday,
        "fri" => Weekday::Friday,
        "sat" => Weekday::Saturday,
        "sun" => Weekday::Sunday,
        _ => return Err(wrong("hours.days", text, "mon, tue, wed, thu, fri, sat, sun")),
    })
}
