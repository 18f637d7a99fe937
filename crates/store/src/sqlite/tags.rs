//! What an event is found by, beside its words: tags in the same inverted index.
//!
//! A tag is a private letter, a letter for what it says, and a digest of the value. An index of words answers any
//! combination of them in order of time, so no search sorts or looks through the table, and a new event costs one index
//! instead of ten. Digests may collide and words may forge tags, so a search asks the columns, too.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aviary_insight::Stage;

use super::events::step;
use crate::event::address_of;
use crate::{EventQuery, Networks, Record};

/// Begins a tag. FTS5 takes it for a letter, and nobody types it.
const MARK: char = '\u{e000}';

/// Tags of which one has to be there, at most; a network that takes more is asked for by a wider one.
const MANY: u32 = 7;

/// Words of a long value that are looked for.
const LONG: usize = 16;
/// Longest value that has a tag, as in `aviary_insight::fields`.
const VALUE: usize = 256;

/// What a tag says.
#[derive(Clone, Copy)]
enum Of {
    Sensor,
    Realm,
    Service,
    Kind,
    LogType,
    Stage,
    Port,
    Hidden,
    Rule,
    Field,
    Source,
    Target,
}

impl Of {
    const fn letter(self) -> char {
        match self {
            Self::Sensor => 'a',
            Self::Realm => 'b',
            Self::Service => 'c',
            Self::Kind => 'd',
            Self::LogType => 'e',
            Self::Stage => 'f',
            Self::Port => 'g',
            Self::Hidden => 'h',
            Self::Rule => 'i',
            Self::Field => 'j',
            Self::Source => 'k',
            Self::Target => 'l',
        }
    }
}

/// Lengths of prefixes that have tags, in bits, the longest first; the last says which family it is.
const V4: &[u8] = &[32, 24, 16, 8, 0];
const V6: &[u8] = &[128, 64, 48, 32, 16, 0];

/// The text that is indexed of an event: its words and its tags.
pub(super) fn text(record: &Record, src: Option<[u8; 16]>, dst: Option<[u8; 16]>, port: Option<u16>) -> String {
    let mut out = String::with_capacity(record.words.len() + 512);
    out.push_str(&record.words);
    let mut add = |of: Of, value: &[u8]| {
        out.push(' ');
        push(&mut out, of, value);
    };
    add(Of::Sensor, record.sensor.as_bytes());
    add(Of::Kind, record.kind.as_bytes());
    if let Some(service) = &record.service {
        add(Of::Service, service.as_bytes());
    }
    if let Some(logtype) = record.logtype {
        add(Of::LogType, &logtype.to_le_bytes());
    }
    if let Some(sighting) = &record.sighting {
        add(Of::Stage, &step(sighting.stage).to_le_bytes());
        add(Of::Realm, sighting.actor.realm.as_bytes());
    }
    if let Some(port) = port {
        add(Of::Port, &port.to_le_bytes());
    }
    add(Of::Hidden, &[u8::from(record.hidden.is_some())]);
    if let Some(rule) = &record.hidden {
        add(Of::Rule, rule.as_bytes());
    }
    for (key, value) in &record.fields {
        add(Of::Field, &pair(key, value));
    }
    for (of, address) in [(Of::Source, src), (Of::Target, dst)] {
        let Some(address) = address else { continue };
        let address = address_of(address);
        for bits in if address.is_ipv4() { V4 } else { V6 } {
            add(of, &masked(address, *bits));
        }
    }
    out
}

/// What a query asks the index; `None` when it asks for all, or only for a time.
pub(super) fn question(query: &EventQuery) -> Option<String> {
    let mut all: Vec<String> = Vec::new();
    let text = |of: Of, value: &Option<String>| value.as_ref().map(|value| quoted(of, value.as_bytes()));
    all.extend(text(Of::Sensor, &query.sensor));
    all.extend(text(Of::Realm, &query.realm));
    all.extend(text(Of::Service, &query.service));
    all.extend(text(Of::Kind, &query.kind));
    all.extend(text(Of::Rule, &query.rule));
    all.extend(query.logtype.map(|logtype| quoted(Of::LogType, &logtype.to_le_bytes())));
    all.extend(query.port.map(|port| quoted(Of::Port, &port.to_le_bytes())));
    all.extend(query.hidden.map(|hidden| quoted(Of::Hidden, &[u8::from(hidden)])));
    for (key, value) in &query.fields {
        if value.len() <= VALUE {
            all.push(quoted(Of::Field, &pair(key, value)));
        } else {
            all.extend(tokens(value).take(LONG));
        }
    }
    if let Some(least) = query.stage {
        let stages = Stage::ALL.into_iter().filter(|stage| *stage >= least);
        all.push(any(stages.map(|stage| quoted(Of::Stage, &step(stage).to_le_bytes())).collect()));
    }
    all.extend(query.sources.as_ref().and_then(|network| within(Of::Source, network)));
    all.extend(query.destinations.as_ref().and_then(|network| within(Of::Target, network)));
    all.extend(query.text.iter().flat_map(|text| tokens(text)));
    (!all.is_empty()).then(|| all.join(" AND "))
}

/// The tags of a network, of which one has to be there: those of its addresses or of the networks in it, or that of one
/// around it. `None` for a network that holds both families, which is everything.
fn within(of: Of, network: &Networks) -> Option<String> {
    let (first, last) = (Ipv6Addr::from(network.first), Ipv6Addr::from(network.last));
    let whole = (u128::from(first) ^ u128::from(last)).leading_zeros();
    let (first, bits, lengths) = match (first.to_ipv4_mapped(), last.to_ipv4_mapped()) {
        (Some(first), Some(_)) => (IpAddr::V4(first), whole.saturating_sub(96), V4),
        _ if (first..=last).contains(&Ipv4Addr::UNSPECIFIED.to_ipv6_mapped()) => return None,
        _ => (IpAddr::V6(first), whole, V6),
    };
    // The shortest prefixes that are not wider than the network, if they are not too many, or one that is.
    let inner = lengths.iter().rev().copied().find(|length| u32::from(*length) >= bits);
    let spread = inner.map(|length| u32::from(length).saturating_sub(bits)).filter(|spread| *spread <= MANY);
    if let (Some(length), Some(spread)) = (inner, spread) {
        let tags = (0..1_u32 << spread).map(|number| quoted(of, &masked(plus(first, length, number), length)));
        return Some(any(tags.collect()));
    }
    let outer = lengths.iter().copied().find(|length| u32::from(*length) <= bits)?;
    Some(quoted(of, &masked(first, outer)))
}

/// The address that many networks of a length further on.
fn plus(address: IpAddr, length: u8, number: u32) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let step = number.checked_shl(32_u32.saturating_sub(length.into())).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from(u32::from(address).wrapping_add(step)))
        }
        IpAddr::V6(address) => {
            let step = u128::from(number).checked_shl(128_u32.saturating_sub(length.into())).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from(u128::from(address).wrapping_add(step)))
        }
    }
}

/// A prefix as bytes: its length, and the address without the rest.
fn masked(address: IpAddr, length: u8) -> [u8; 17] {
    let mut out = [0; 17];
    let rest = match address {
        IpAddr::V4(_) => 32_u32,
        IpAddr::V6(_) => 128,
    }
    .saturating_sub(length.into());
    let bits = match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    };
    let bits = bits.checked_shr(rest).unwrap_or(0).to_be_bytes();
    for (to, from) in out.iter_mut().zip([length].into_iter().chain(bits)) {
        *to = from;
    }
    if address.is_ipv4() {
        // A /32 of IPv4 is no /32 of IPv6.
        if let Some(length) = out.first_mut() {
            *length |= 0x80;
        }
    }
    out
}

fn pair(key: &str, value: &str) -> Vec<u8> {
    [key.as_bytes(), &[0], value.as_bytes()].concat()
}

/// Words as FTS5 takes them: each quoted, so that nothing in them is an operator.
fn tokens(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| format!("\"{word}\""))
}

fn any(tags: Vec<String>) -> String {
    if tags.len() == 1 { tags.concat() } else { format!("({})", tags.join(" OR ")) }
}

fn quoted(of: Of, value: &[u8]) -> String {
    let mut out = String::from("\"");
    push(&mut out, of, value);
    out.push('"');
    out
}

/// Appends a tag: 13 digits of base 32 after two letters.
fn push(out: &mut String, of: Of, value: &[u8]) {
    const DIGITS: [char; 32] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l',
        'm', 'n', 'o', 'p', 'q', 'r', 's', 't', 'u', 'v',
    ];
    out.push(MARK);
    out.push(of.letter());
    let mut rest = digest(value);
    for _ in 0..13 {
        let digit = usize::try_from(rest % 32).unwrap_or(0);
        out.push(DIGITS.get(digit).copied().unwrap_or('0'));
        rest /= 32;
    }
}

/// FNV-1a (Fowler, Noll, Vo), 64 bits: short, and the same in every version. What it gives is in files.
fn digest(value: &[u8]) -> u64 {
    value.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(network: &str) -> usize {
        let network = Networks::parse(network).expect("a network");
        within(Of::Source, &network).map_or(0, |tags| tags.matches(MARK).count())
    }

    #[test]
    fn a_network_is_few_tags() {
        let counts =
            ["10.0.0.1", "10.0.0.0/31", "10.0.0.0/25", "10.0.0.0/24", "10.0.0.0/23", "10.0.0.0/16", "10.0.0.0/9"];
        assert_eq!(counts.map(tags), [1, 2, 128, 1, 2, 1, 128]);
        assert_eq!(["10.0.0.0/8", "8.0.0.0/5", "0.0.0.0/1", "0.0.0.0/0"].map(tags), [1, 8, 128, 1]);
        assert_eq!(["2001:db8::1", "2001:db8::/64", "2001:db8::/60", "2001:db8::/32"].map(tags), [1, 1, 16, 1]);
        assert_eq!(["2001:db8::/100", "2001:db8::/50", "2001::/16", "2000::/3", "::/0"].map(tags), [1, 1, 1, 1, 0]);
    }

    #[test]
    fn tags_are_the_same_for_ever() {
        // From the authors' table of test vectors.
        assert_eq!(digest(b"foobar"), 0x8594_4171_f739_67e8);
        assert_eq!(digest(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(quoted(Of::Sensor, b"foobar"), "\"\u{e000}a8vpijr7e125b8\"".to_owned());
    }
}
