//! Values of objects: constants, and those that change with time.

use std::net::Ipv4Addr;

use aviary_event::Timestamp;
use aviary_wire::ber;
use sha2::{Digest as _, Sha256};

use super::codec::tag;
use super::mib::arcs;

/// Seconds for which a wavering value stays.
const STEP: u64 = 60;

/// What kind of value a table's line holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// INTEGER: `N`, or `N~S`, which wavers by up to S around N, or `{boots}` or `{seconds}` of the engine.
    Int,
    /// OCTET STRING of text, with words in braces filled in.
    Text,
    /// OCTET STRING of hexadecimal digits, or `{mac}` or `{mac+N}`, or the `{engine}`'s name.
    Hex,
    /// OCTET STRING: the date as DateAndTime of SNMPv2-TC, in UTC.
    Date,
    /// OBJECT IDENTIFIER.
    Oid,
    /// An address: four numbers, or `{ip}`.
    Ip,
    /// Counter32: `N`, or `N@R`, which grows by R a second.
    Count,
    /// Counter64, the same.
    Count64,
    /// Gauge32, as `Int`.
    Gauge,
    /// TimeTicks: `N`, or `{uptime}` or `{uptime+N}`.
    Ticks,
}

/// All that values depend on.
#[derive(Debug)]
pub(super) struct Moment<'a> {
    pub(super) now: Timestamp,
    /// How often the product started.
    pub(super) boots: u32,
    /// Microseconds since it did so last.
    pub(super) uptime: u64,
    pub(super) engine: &'a [u8],
    pub(super) address: Ipv4Addr,
    pub(super) mac: [u8; 6],
    pub(super) secret: &'a [u8],
    pub(super) host: &'a str,
    pub(super) contact: &'a str,
    pub(super) location: &'a str,
    pub(super) description: &'a str,
}

impl Kind {
    /// The kind of a table's word.
    pub(super) fn of_word(word: &str) -> Option<Self> {
        Some(match word {
            "int" => Self::Int,
            "text" => Self::Text,
            "hex" => Self::Hex,
            "date" => Self::Date,
            "oid" => Self::Oid,
            "ip" => Self::Ip,
            "count" => Self::Count,
            "count64" => Self::Count64,
            "gauge" => Self::Gauge,
            "ticks" => Self::Ticks,
            _ => return None,
        })
    }

    /// Its tag on the wire.
    pub(super) const fn tag(self) -> u8 {
        match self {
            Self::Int => ber::INTEGER,
            Self::Text | Self::Hex | Self::Date => ber::OCTET_STRING,
            Self::Oid => ber::OBJECT_IDENTIFIER,
            Self::Ip => tag::IP_ADDRESS,
            Self::Count => tag::COUNTER,
            Self::Count64 => tag::COUNTER64,
            Self::Gauge => tag::GAUGE,
            Self::Ticks => tag::TICKS,
        }
    }

    /// The encoded value of a table's text. What does not fit its kind is an empty value; a test reads all.
    pub(super) fn encode(self, text: &str, name: &[u32], moment: &Moment<'_>) -> Vec<u8> {
        let content = self.content(text, name, moment).unwrap_or_default();
        ber::element(self.tag(), &content)
    }

    pub(super) fn content(self, text: &str, name: &[u32], moment: &Moment<'_>) -> Option<Vec<u8>> {
        let seconds = moment.uptime / 1_000_000;
        Some(match self {
            Self::Int if text == "{boots}" => ber::integer_content(i64::from(moment.boots)),
            Self::Int if text == "{seconds}" => ber::integer_content(i64::try_from(seconds).ok()?),
            Self::Int => ber::integer_content(wavering(text, name, moment)?),
            Self::Gauge => ber::integer_content(wavering(text, name, moment)?.clamp(0, i64::from(u32::MAX))),
            Self::Count => ber::integer_content(i64::try_from(grown(text, name, moment, seconds)? & 0xffff_ffff).ok()?),
            Self::Count64 => ber::integer_content(i64::try_from(grown(text, name, moment, seconds)?).ok()?),
            Self::Ticks => ber::integer_content(i64::try_from(ticks(text, moment)? & 0xffff_ffff).ok()?),
            Self::Text => filled(text, moment).into_bytes(),
            Self::Hex => hex(text, moment)?,
            Self::Date => date(moment.now),
            Self::Oid => ber::object_identifier_content(&arcs(text)?),
            Self::Ip if text == "{ip}" => moment.address.octets().to_vec(),
            Self::Ip => text.parse::<Ipv4Addr>().ok()?.octets().to_vec(),
        })
    }
}

fn wavering(text: &str, name: &[u32], moment: &Moment<'_>) -> Option<i64> {
    let Some((middle, reach)) = text.split_once('~') else { return text.parse().ok() };
    let (middle, reach): (i64, u64) = (middle.parse().ok()?, reach.parse().ok()?);
    let span = reach.checked_mul(2)?.checked_add(1)?;
    let drawn = draw(name, moment, moment.uptime / 1_000_000 / STEP).checked_rem(span)?;
    middle.checked_add_unsigned(drawn)?.checked_sub_unsigned(reach)
}

/// A counter that grows by its rate, faster and slower from minute to minute, and never back: at the
/// beginning of each minute it is ahead by up to four fifths of a minute's growth, and in between it is
/// on the line from one to the next.
fn grown(text: &str, name: &[u32], moment: &Moment<'_>, seconds: u64) -> Option<u64> {
    let Some((base, rate)) = text.split_once('@') else { return text.parse().ok() };
    let base: u64 = base.parse().ok()?;
    // In thousandths.
    let rate = match rate.split_once('.') {
        Some((whole, part)) => {
            let part = format!("{part:0<3}");
            whole.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(part.get(..3)?.parse().ok()?)?
        }
        None => rate.parse::<u64>().ok()?.checked_mul(1000)?,
    };
    let minute_growth = rate.checked_mul(STEP)?;
    let most_ahead = minute_growth.saturating_sub(minute_growth / 5);
    let ahead = |minute: u64| draw(name, moment, minute).checked_rem(most_ahead).unwrap_or(0);
    let (minute, into) = (seconds / STEP, seconds % STEP);
    let here = minute.checked_mul(minute_growth)?.checked_add(ahead(minute))?;
    let next_minute = minute.checked_add(1)?;
    let next = next_minute.checked_mul(minute_growth)?.checked_add(ahead(next_minute))?;
    let between = next.checked_sub(here)?.checked_mul(into)? / STEP;
    base.checked_add(here.checked_add(between)? / 1000)
}

/// A number that is the same for a name and a minute, and another in other installations.
fn draw(name: &[u32], moment: &Moment<'_>, minute: u64) -> u64 {
    let mut hash = Sha256::new().chain_update(moment.secret).chain_update(minute.to_be_bytes());
    name.iter().for_each(|arc| hash.update(arc.to_be_bytes()));
    hash.finalize().first_chunk::<8>().map_or(0, |octets| u64::from_be_bytes(*octets) >> 1)
}

fn ticks(text: &str, moment: &Moment<'_>) -> Option<u64> {
    let hundredths = moment.uptime / 10_000;
    match text.strip_prefix("{uptime").and_then(|rest| rest.strip_suffix('}')) {
        Some("") => Some(hundredths),
        Some(more) => hundredths.checked_add(more.strip_prefix('+')?.parse().ok()?),
        None => text.parse().ok(),
    }
}

fn filled(text: &str, moment: &Moment<'_>) -> String {
    if !text.contains('{') {
        return text.to_owned();
    }
    let serial: String = moment.secret.iter().skip(8).take(6).map(|octet| format!("{octet:02X}")).collect();
    text.replace("{description}", moment.description)
        .replace("{host}", moment.host)
        .replace("{contact}", moment.contact)
        .replace("{location}", moment.location)
        .replace("{serial}", &serial)
        .replace("{empty}", "")
}

fn hex(text: &str, moment: &Moment<'_>) -> Option<Vec<u8>> {
    if let Some(rest) = text.strip_prefix("{mac").and_then(|rest| rest.strip_suffix('}')) {
        let mut mac = moment.mac;
        let last = mac.last_mut()?;
        *last = last.wrapping_add(if rest.is_empty() { 0 } else { rest.strip_prefix('+')?.parse().ok()? });
        return Some(mac.to_vec());
    }
    match text {
        "{empty}" => return Some(Vec::new()),
        "{engine}" => return Some(moment.engine.to_vec()),
        _ => {}
    }
    text.split(' ').map(|octet| u8::from_str_radix(octet, 16).ok()).collect()
}

/// Year (two octets), month, day, hour, minute, second, tenths, sign, hours and minutes from UTC.
fn date(now: Timestamp) -> Vec<u8> {
    let when = jiff::tz::Offset::UTC.to_datetime(now.to_jiff());
    let mut out = when.year().to_be_bytes().to_vec();
    for part in [when.month(), when.day(), when.hour(), when.minute(), when.second()] {
        out.push(part.unsigned_abs());
    }
    out.extend([0, b'+', 0, 0]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(seconds: u64) -> Moment<'static> {
        Moment {
            now: Timestamp::from_micros(1_795_384_800_000_000),
            boots: 3,
            uptime: seconds * 1_000_000,
            engine: b"engine",
            address: Ipv4Addr::new(192, 0, 2, 1),
            mac: [0, 0x1b, 0x54, 1, 2, 0xff],
            secret: b"0123456789abcdef",
            host: "srv01",
            contact: "root",
            location: "here",
            description: "a product",
        }
    }

    fn number(kind: Kind, text: &str, seconds: u64) -> i64 {
        ber::integer(&kind.content(text, &[1, 3], &moment(seconds)).unwrap()).unwrap()
    }

    #[test]
    fn counters_only_grow_and_keep_their_rate() {
        let values: Vec<i64> = (0..10_000).map(|second| number(Kind::Count64, "1000@12.5", second)).collect();
        assert!(values.is_sorted());
        let last = *values.last().unwrap();
        assert!((126_000..128_000).contains(&last), "{last}");
        let steps: std::collections::BTreeSet<i64> = values.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(steps.len() > 3, "the rate wavers: {steps:?}");
        assert_eq!(number(Kind::Count, "4294967295@1", 600) >> 32, 0, "wraps");
        assert_eq!(number(Kind::Count, "77", 5), 77);
    }

    #[test]
    fn numbers_waver_by_their_reach() {
        let values: Vec<i64> = (0..200).map(|minute| number(Kind::Gauge, "50~3", minute * 60)).collect();
        assert_eq!((values.iter().min(), values.iter().max()), (Some(&47), Some(&53)));
        assert_eq!(number(Kind::Int, "-5", 0), -5);
    }

    #[test]
    fn words_in_braces_are_filled_in() {
        let text = |kind: Kind, text: &str| kind.content(text, &[1], &moment(61)).unwrap();
        assert_eq!(text(Kind::Text, "{host}: {description}, {contact}, {location}"), b"srv01: a product, root, here");
        assert_eq!(text(Kind::Text, "S{serial}"), b"S383961626364");
        assert_eq!(text(Kind::Hex, "{mac}"), [0, 0x1b, 0x54, 1, 2, 0xff]);
        assert_eq!(text(Kind::Hex, "{mac+2}"), [0, 0x1b, 0x54, 1, 2, 1]);
        assert_eq!(text(Kind::Hex, "0a ff"), [10, 255]);
        assert_eq!(text(Kind::Ip, "{ip}"), [192, 0, 2, 1]);
        assert_eq!(text(Kind::Hex, "{engine}"), b"engine");
        assert_eq!((number(Kind::Int, "{boots}", 61), number(Kind::Int, "{seconds}", 61)), (3, 61));
        assert_eq!(number(Kind::Ticks, "{uptime+7}", 61), 6107);
        assert_eq!(text(Kind::Date, "now"), [7, 0xea, 11, 22, 22, 0, 0, 0, b'+', 0, 0]);
    }
}
