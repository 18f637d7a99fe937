//! Makes the table of `aviary_wire::vendor` of the IEEE's listings of address blocks.
//!
//! Names become shorter by pair encoding: the pair of bytes that stands most often gets a byte of its own, again
//! and again, until there is none left.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use aviary_wire::vendor::{FRAGMENTS, STRIDE, Table};

/// Where the table is.
const PLACE: &str = "crates/wire/src/vendor/ieee.bin";

/// Registrants that say nothing of a vendor: the IEEE's own, which it divides, and who wants not to be named.
const NOBODY: [&str; 2] = ["IEEE Registration Authority", "Private"];

/// Bytes of a name that stand for fragments.
const CODES: [std::ops::RangeInclusive<u8>; 2] = [0x01..=0x1f, 0x7f..=0xff];

/// Names by prefix in hexadecimal digits: 6, 7 or 9 of them.
type Blocks = BTreeMap<String, String>;

type Texts = Vec<Vec<u8>>;

/// Reads listings and writes the table. A listing is a file that the IEEE publishes (`oui.csv`, `mam.csv`,
/// `oui36.csv`), or a JSON object of prefixes whose values begin with the name in a line of its own.
///
/// # Errors
/// When a file cannot be read, or is none of these.
pub fn write(root: &Path, listings: &[&str]) -> Result<()> {
    let mut blocks = Blocks::new();
    for path in listings {
        let text = fs::read_to_string(path).with_context(|| format!("failed to read `{path}`"))?;
        let json = text.trim_start().starts_with('{');
        blocks.extend(if json { from_json(&text)? } else { from_csv(&text)? });
    }
    let table = encode(&blocks)?;
    fs::write(root.join(PLACE), &table)?;
    println!("{PLACE}: {} blocks, {} bytes", blocks.len(), table.len());
    Ok(())
}

fn from_json(text: &str) -> Result<Blocks> {
    let map: BTreeMap<String, String> = serde_json::from_str(text).context("not an object of prefixes and texts")?;
    let name = |value: String| value.lines().next().unwrap_or_default().to_owned();
    Ok(map.into_iter().filter_map(|(prefix, value)| block(&prefix, &name(value))).collect())
}

/// Columns are registry, prefix, name, address; a field with commas stands in quotes, which are doubled within.
fn from_csv(text: &str) -> Result<Blocks> {
    ensure!(text.starts_with("Registry,Assignment,"), "not a listing of the IEEE: its first line names other columns");
    let mut blocks = Blocks::new();
    for record in records(text).into_iter().skip(1) {
        let [_, prefix, name, ..] = record.as_slice() else { bail!("a line of {} columns", record.len()) };
        blocks.extend(block(prefix, name));
    }
    Ok(blocks)
}

fn records(text: &str) -> Vec<Vec<String>> {
    let (mut records, mut record, mut field, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' if quoted && rest.peek() == Some(&'"') => field.extend(rest.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
            }
            '\r' => {}
            c => field.push(c),
        }
    }
    if !record.is_empty() {
        record.push(field);
        records.push(record);
    }
    records
}

/// A block worth keeping; `None` when it is not the IEEE's to give away or says nothing.
fn block(prefix: &str, name: &str) -> Option<(String, String)> {
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    let first = u8::from_str_radix(prefix.get(..2)?, 16).ok()?;
    let good = matches!(prefix.len(), 6 | 7 | 9) && first & 2 == 0 && !name.is_empty();
    (good && !NOBODY.contains(&name.as_str())).then(|| (prefix.to_ascii_lowercase(), name))
}

fn encode(blocks: &Blocks) -> Result<Vec<u8>> {
    let names: Vec<&str> = blocks.values().map(String::as_str).collect::<BTreeSet<_>>().into_iter().collect();
    let numbers: HashMap<&str, u16> = names.iter().copied().zip(0..).collect();
    ensure!(names.len() == numbers.len() && names.len() <= 1 << 16, "{} names, more than 65,536", names.len());
    let (fragments, texts) = shorten(&names)?;
    let fragments = places(&fragments)?;
    let mut bytes = Vec::new();
    let count = |digits| blocks.keys().filter(|prefix| prefix.len() == digits).count();
    for count in [count(6), count(7), count(9), fragments.len(), names.len()] {
        bytes.extend(u32::try_from(count)?.to_be_bytes());
    }
    for digits in [6, 7, 9] {
        for (prefix, name) in blocks.iter().filter(|(prefix, _)| prefix.len() == digits) {
            let padded = format!("{prefix}{}", "0".repeat(digits % 2));
            for at in (0..padded.len()).step_by(2) {
                bytes.push(u8::from_str_radix(&padded[at..at + 2], 16)?);
            }
            bytes.extend(numbers[name.as_str()].to_be_bytes());
        }
    }
    bytes.extend(fragments);
    let mut place = 0;
    for (number, text) in texts.iter().enumerate() {
        if number % STRIDE == 0 {
            bytes.extend(u32::try_from(place)?.to_be_bytes());
        }
        place += text.len() + 1;
    }
    for text in &texts {
        bytes.push(u8::try_from(text.len())?);
        bytes.extend(text);
    }
    for (prefix, name) in blocks {
        let digits = format!("{prefix:0<12}");
        let mut mac = [0; 6];
        for (at, byte) in mac.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16)?;
        }
        let found = Table(&bytes).of(mac);
        let within = found.is_some() && found.as_deref() != Some(name) && prefix.len() < 9;
        ensure!(found.as_deref() == Some(name) || within, "`{prefix}` reads back as {found:?}, not `{name}`");
    }
    Ok(bytes)
}

/// Places and lengths of fragments, and their texts.
fn places(fragments: &Texts) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut place = 0;
    for number in 0..FRAGMENTS {
        let length = fragments.get(number).map_or(0, Vec::len);
        bytes.extend(u16::try_from(place)?.to_be_bytes());
        bytes.push(u8::try_from(length)?);
        place += length;
    }
    bytes.extend(fragments.concat());
    Ok(bytes)
}

/// Fragments in the order of their bytes, and the names with them.
fn shorten(names: &[&str]) -> Result<(Texts, Texts)> {
    // Symbols: bytes as they are, then fragments. What is not printable ASCII is in no pair.
    let mut texts: Vec<Vec<u16>> = names.iter().map(|name| name.bytes().map(u16::from).collect()).collect();
    let mut fragments: Vec<Vec<u8>> = Vec::new();
    let plain = |symbol: u16| (0x20..0x7f).contains(&symbol) || symbol >= 256;
    let codes: Vec<u8> = CODES.into_iter().flatten().collect();
    for symbol in (256..).take(codes.len()) {
        let mut counts: HashMap<[u16; 2], usize> = HashMap::new();
        for pair in
            texts.iter().flat_map(|text| text.array_windows::<2>()).filter(|pair| pair.iter().all(|s| plain(*s)))
        {
            *counts.entry(*pair).or_default() += 1;
        }
        let Some(pair) = counts.iter().max_by_key(|(pair, count)| (**count, **pair)).map(|(pair, _)| *pair) else {
            break;
        };
        let spelled = |symbol: u16| match symbol.checked_sub(256) {
            Some(number) => fragments[usize::from(number)].clone(),
            None => vec![u8::try_from(symbol).unwrap_or(b'?')],
        };
        let fragment = pair.map(spelled).concat();
        fragments.push(fragment);
        for text in &mut texts {
            let mut at = 0;
            while at + 1 < text.len() {
                if text[at..at + 2] == pair {
                    text.splice(at..at + 2, [symbol]);
                }
                at += 1;
            }
        }
    }
    let mut encoded = Vec::new();
    for text in texts {
        let mut bytes = Vec::new();
        for symbol in text {
            match symbol.checked_sub(256) {
                Some(number) => bytes.push(codes[usize::from(number)]),
                None if plain(symbol) => bytes.push(u8::try_from(symbol)?),
                None => bytes.extend([0, u8::try_from(symbol)?]),
            }
        }
        encoded.push(bytes);
    }
    Ok((fragments, encoded))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV: &str = "Registry,Assignment,Organization Name,Organization Address\r\n\
        MA-L,00AA01,\"Example, \"\"Ltd\"\".\",\"Street 1, Town\"\r\n\
        MA-M,00AA02F,Exämple  GmbH,\r\n\
        MA-L,00AA02,IEEE Registration Authority,x\r\n\
        MA-S,00AA03FFF,Small Example,\r\n\
        MA-L,02AA04,Not theirs,\r\n";

    #[test]
    fn a_listing_becomes_a_table_that_knows_its_vendors() {
        let table = encode(&from_csv(CSV).unwrap()).unwrap();
        let of = |mac| Table(&table).of(mac);
        assert_eq!(of([0, 0xaa, 1, 0, 0, 7]).as_deref(), Some("Example, \"Ltd\"."));
        assert_eq!(of([0, 0xaa, 2, 0xf1, 0, 7]).as_deref(), Some("Exämple GmbH"));
        assert_eq!(of([0, 0xaa, 2, 0x01, 0, 7]), None, "the IEEE's own");
        assert_eq!(of([0, 0xaa, 3, 0xff, 0xf7, 7]).as_deref(), Some("Small Example"));
        assert_eq!(of([2, 0xaa, 4, 0, 0, 7]), None, "locally administered");
    }

    #[test]
    fn the_json_spelling_says_the_same() {
        let json = r#"{"00AA01": "Example\nStreet 1", "00AA03FFF": "Small Example", "00AA02": "Private"}"#;
        let expected: Blocks =
            [("00aa01", "Example"), ("00aa03fff", "Small Example")].map(|(a, b)| (a.to_owned(), b.to_owned())).into();
        assert_eq!(from_json(json).unwrap(), expected);
        assert!(from_csv("a,b\n").is_err());
    }
}
