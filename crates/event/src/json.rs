//! JSON exactly as Python's `json.dumps(value, sort_keys=True)` writes it.
//!
//! Separators are `", "` and `": "`; everything outside U+0020..U+007E is escaped, above the BMP as
//! a surrogate pair; a float prints as Python's `repr`: shortest digits, exponent form below 1e-4
//! and from 1e16 on.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::Value;

/// Appends `text` as a JSON string.
pub fn write_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    // Whole runs of plain characters are copied at once: nearly all text is one run.
    while let Some(at) = rest.bytes().position(|byte| !is_plain(byte)) {
        let (plain, special) = rest.split_at(at);
        out.push_str(plain);
        let mut chars = special.chars();
        if let Some(c) = chars.next() {
            write_escape(out, c);
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

/// Whether a byte stands for itself in a JSON string. The first byte of every character beyond
/// ASCII is not plain, so a run of plain bytes ends where a character ends.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

fn write_escape(out: &mut String, c: char) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        _ => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
}

/// Appends a float as Python's `repr(float)` does; infinities and NaN as `json.dumps` does.
pub(crate) fn write_float(out: &mut String, number: f64) {
    if number.is_nan() {
        out.push_str("NaN");
        return;
    }
    if number.is_infinite() {
        out.push_str(if number > 0.0 { "Infinity" } else { "-Infinity" });
        return;
    }
    // Rust's `{:e}` gives the shortest digits that read back, as Python's repr does.
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{number}");
        out.push_str(&plain);
        if !plain.contains('.') {
            out.push_str(".0");
        }
    } else {
        let _ = write!(out, "{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
    }
}

/// Appends an object whose members come in the given order.
pub(crate) fn write_members<'a>(out: &mut String, members: impl Iterator<Item = (&'a str, &'a Value)>) {
    out.push('{');
    for (n, (key, value)) in members.enumerate() {
        if n > 0 {
            out.push_str(", ");
        }
        write_string(out, key);
        out.push_str(": ");
        write_value(out, value);
    }
    out.push('}');
}

/// Appends any value.
pub fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Int(number) => {
            let _ = write!(out, "{number}");
        }
        Value::Float(number) => write_float(out, *number),
        Value::Text(text) => write_string(out, text),
        Value::Bytes(bytes) => match bytes.as_str() {
            Some(text) => write_string(out, text),
            None => write_string(out, &bytes.to_text()),
        },
        Value::List(items) => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push_str(", ");
                }
                write_value(out, item);
            }
            out.push(']');
        }
        Value::Map(map) => write_members(out, map.iter().map(|(key, value)| (key.as_str(), value))),
    }
}

/// Reads JSON text, with the `NaN`, `Infinity` and `-Infinity` that Python writes and JSON lacks.
pub(crate) fn read(text: &str) -> Result<serde_json::Value, serde_json::Error> {
    serde_json::from_str(text).or_else(|error| match without_python_numbers(text) {
        Some(plain) => serde_json::from_str(&plain),
        None => Err(error),
    })
}

/// Stands for `NaN` between the two readings: a spelling of zero that no program writes.
const NAN: &str = "-0.00e+0";

/// The text with Python's three words replaced by numbers; `None` when it holds none of them.
fn without_python_numbers(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len() + 16);
    let (mut in_string, mut found, mut rest) = (false, false, text);
    while let Some(c) = rest.chars().next() {
        let word = ["NaN", "Infinity"].iter().find(|word| !in_string && rest.starts_with(**word));
        let length = match word {
            Some(word) => {
                found = true;
                plain.push_str(if *word == "NaN" { NAN } else { "1e999" });
                word.len()
            }
            None => {
                let escaped = if in_string && c == '\\' { rest.chars().nth(1) } else { None };
                in_string ^= c == '"';
                let length = c.len_utf8() + escaped.map_or(0, char::len_utf8);
                plain.push_str(rest.get(..length)?);
                length
            }
        };
        rest = rest.get(length..)?;
    }
    found.then_some(plain)
}

/// Reads a parsed JSON value.
///
/// LIMIT: whole numbers beyond 64 bits with sign become floats; no event of OpenCanary or ours
/// holds one.
pub(crate) fn from_json(value: serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(flag) => Value::Bool(flag),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(whole) => Value::Int(whole),
            None => {
                let text = number.to_string();
                Value::Float(if text == NAN { f64::NAN } else { text.parse().unwrap_or(f64::NAN) })
            }
        },
        serde_json::Value::String(text) => Value::Text(text),
        serde_json::Value::Array(items) => Value::List(items.into_iter().map(from_json).collect()),
        serde_json::Value::Object(map) => {
            Value::Map(map.into_iter().map(|(key, value)| (key, from_json(value))).collect::<BTreeMap<_, _>>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn float(number: f64) -> String {
        let mut out = String::new();
        write_float(&mut out, number);
        out
    }

    #[test]
    fn prints_floats_as_python_does() {
        for (number, expected) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(float(number), expected);
        }
    }

    #[test]
    fn escapes_strings_as_python_does() {
        let mut out = String::new();
        write_string(&mut out, "a\"\\\n\u{7f}\u{0}é\u{1f600}");
        assert_eq!(out, r#""a\"\\\n\u007f\u0000\u00e9\ud83d\ude00""#);
    }

    #[test]
    fn reads_the_numbers_that_only_python_writes() {
        let text = r#"{"a": NaN, "b": [Infinity, -Infinity, 1], "c": "NaN \" Infinity \\"}"#;
        let Value::Map(map) = from_json(read(text).unwrap()) else { panic!("an object") };
        let mut out = String::new();
        write_value(&mut out, &Value::Map(map));
        assert_eq!(out, text);
        assert!(read("{\"a\": Nan}").is_err() && read("NaNa").is_err());
    }
}
