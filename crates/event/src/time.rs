//! The moment of an event, in the spellings that readers expect.

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

/// A moment in microseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since the epoch; outside the years -9999 to 9999 it is brought inside.
    #[must_use]
    pub fn from_micros(micros: i64) -> Self {
        // Whole seconds: jiff's last moment has a fraction that its own conversion refuses.
        let (least, most) = (jiff::Timestamp::MIN.as_second(), jiff::Timestamp::MAX.as_second());
        Self(micros.clamp(least * 1_000_000, most * 1_000_000))
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
        let mut text = String::with_capacity(26);
        self.write(&mut text, ' ', zone.to_offset(self.to_jiff()));
        text
    }

    /// RFC 3339 with six digits and the zone's offset, `2026-11-22T23:00:00.000001+01:00`.
    ///
    /// RFC 3339 knows no offsets with seconds, which zones had before 1972; such an offset is
    /// shortened to whole minutes and the clock reading with it, so the moment stays the same.
    #[must_use]
    pub fn to_rfc3339(self, zone: &TimeZone) -> String {
        let mut text = String::with_capacity(32);
        self.write_rfc3339(&mut text, zone.to_offset(self.to_jiff()));
        text
    }

    pub(crate) fn write_rfc3339(self, out: &mut String, offset: Offset) {
        let minutes = offset.seconds() / 60;
        let offset = Offset::from_seconds(minutes * 60).unwrap_or(Offset::UTC);
        self.write(out, 'T', offset);
        out.push(if minutes < 0 { '-' } else { '+' });
        push_digits(out, minutes.unsigned_abs() / 60, 2);
        out.push(':');
        push_digits(out, minutes.unsigned_abs() % 60, 2);
    }

    fn write(self, out: &mut String, between: char, offset: Offset) {
        let t = offset.to_datetime(self.to_jiff());
        if t.year() < 0 {
            out.push('-');
        }
        push_digits(out, u32::from(t.year().unsigned_abs()), 4);
        for (before, part) in
            [('-', t.month()), ('-', t.day()), (between, t.hour()), (':', t.minute()), (':', t.second())]
        {
            out.push(before);
            push_digits(out, u32::from(part.unsigned_abs()), 2);
        }
        out.push('.');
        push_digits(out, t.subsec_nanosecond().unsigned_abs() / 1000, 6);
    }

    /// The offset, in whole minutes, of a clock that shows `reading` (OpenCanary's spelling) at this
    /// moment; `None` when it is not in that spelling, or more than a day off.
    pub(crate) fn offset_of(self, reading: &str) -> Option<Offset> {
        let part = |from: usize, to: usize| reading.get(from..to)?.parse::<i16>().ok();
        let small = |from: usize| i8::try_from(part(from, from + 2)?).ok();
        let shown = DateTime::new(part(0, 4)?, small(5)?, small(8)?, small(11)?, small(14)?, small(17)?, 0).ok()?;
        let shown = Offset::UTC.to_timestamp(shown).ok()?.as_second();
        let seconds = i32::try_from(shown - self.as_seconds()).ok()?;
        Offset::from_seconds(seconds.div_euclid(60) * 60).ok()
    }

    /// Reads RFC 3339.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|t| Self(t.as_microsecond()))
    }
}

/// Appends `number` with at least `width` digits.
fn push_digits(out: &mut String, mut number: u32, width: usize) {
    let mut digits = [b'0'; 10];
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        used += 1;
        if number == 0 && used >= width {
            break;
        }
    }
    out.extend(digits[digits.len() - used..].iter().map(|digit| char::from(*digit)));
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

    #[test]
    fn finds_the_offset_of_a_clock_again() {
        let t = Timestamp::from_micros(1_700_000_000_999_999);
        for minutes in [-720, -210, -1, 0, 1, 345, 840] {
            let offset = Offset::from_seconds(minutes * 60).unwrap();
            assert_eq!(t.offset_of(&t.to_opencanary(&TimeZone::fixed(offset))), Some(offset));
        }
        assert_eq!(t.offset_of("2023-11-18 22:13:20.999999"), None, "more than a day off");
        assert_eq!(t.offset_of("yesterday, about noon, ööööööö"), None);
        assert_eq!(t.offset_of(""), None);
    }

    #[test]
    fn keeps_the_moment_when_an_offset_has_seconds() {
        let t = Timestamp::from_micros(1_700_000_000_000_001);
        let zone = TimeZone::fixed(Offset::from_seconds(-17_762).unwrap());
        assert_eq!(Timestamp::parse_rfc3339(&t.to_rfc3339(&zone)), Some(t));
        assert!(t.to_rfc3339(&zone).ends_with("-04:56"));
    }

    #[test]
    fn is_brought_inside_the_calendar() {
        assert!(Timestamp::from_micros(i64::MAX).to_opencanary(&TimeZone::UTC).starts_with("9999-12-3"));
        assert!(Timestamp::from_micros(i64::MIN).to_opencanary(&TimeZone::UTC).starts_with("-9999-01-0"));
    }
}
