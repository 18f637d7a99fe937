//! The moment of an event, in the four spellings that readers expect.

use jiff::tz::TimeZone;

/// A moment in microseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since the epoch; outside the years -9999 to 9999 it is brought inside.
    #[must_use]
    pub fn from_micros(micros: i64) -> Self {
        let clamped = jiff::Timestamp::from_microsecond(micros).unwrap_or(if micros < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        });
        Self(clamped.as_microsecond())
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch.
    #[must_use]
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// The same moment for calendar work.
    #[must_use]
    pub fn to_jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }

    /// OpenCanary's spelling, `YYYY-MM-DD HH:MM:SS.ffffff`, always with six digits, in a zone.
    #[must_use]
    pub fn to_opencanary(self, zone: &TimeZone) -> String {
        let t = self.to_jiff().to_zoned(zone.clone()).datetime();
        format!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:06}",
            t.year(),
            t.month(),
            t.day(),
            t.hour(),
            t.minute(),
            t.second(),
            t.subsec_nanosecond() / 1000
        )
    }

    /// RFC 3339 with six digits and the zone's offset, `2026-11-22T23:00:00.000001+01:00`.
    #[must_use]
    pub fn to_rfc3339(self, zone: &TimeZone) -> String {
        let zoned = self.to_jiff().to_zoned(zone.clone());
        let seconds = zoned.offset().seconds();
        let sign = if seconds < 0 { '-' } else { '+' };
        let minutes = seconds.abs() / 60;
        let stem = self.to_opencanary(zone).replacen(' ', "T", 1);
        format!("{stem}{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }

    /// Reads RFC 3339.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|t| Self(t.as_microsecond()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_six_digits_always() {
        let t = Timestamp::from_micros(1_700_000_000_000_000);
        assert_eq!(t.to_opencanary(&TimeZone::UTC), "2023-11-14 22:13:20.000000");
        let zone = TimeZone::fixed(jiff::tz::offset(-3));
        assert_eq!(t.to_rfc3339(&zone), "2023-11-14T19:13:20.000000-03:00");
        assert_eq!(Timestamp::parse_rfc3339(&t.to_rfc3339(&zone)), Some(t));
    }
}
