//! TOML whose tables nest the keys: `[ftp] port = 21` is `ftp.port`.

use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::hosts::HOSTS;
use super::{Document, Entry, Lines, Parts, below};
use crate::Shape;
use crate::problem::Problem;
use crate::space::KeySpace;

pub(super) fn parse(lines: &Lines<'_>, space: &KeySpace, document: &mut Document) -> Result<(), Box<Problem>> {
    let root = DeTable::parse(lines.text).map_err(|error| Box::new(explain(lines, &error)))?;
    collect(lines, space, root.get_ref(), document)
}

/// Adds the keys of a file, or of a host in it.
fn collect(
    lines: &Lines<'_>,
    space: &KeySpace,
    table: &DeTable<'_>,
    document: &mut Document,
) -> Result<(), Box<Problem>> {
    let mut entries = Vec::new();
    for (name, value) in table {
        match value.get_ref() {
            DeValue::Table(members) if name.get_ref() == HOSTS && !document.is_host() => {
                hosts(lines, space, members, document)?;
            }
            _ => flatten(lines, space, name.get_ref().to_string(), (name.span().start, value), &mut entries)?,
        }
    }
    // Tables come sorted by name.
    entries.sort_by_key(|(start, _)| *start);
    for (_, entry) in entries {
        document.add(entry);
    }
    Ok(())
}

fn hosts(
    lines: &Lines<'_>,
    space: &KeySpace,
    members: &DeTable<'_>,
    document: &mut Document,
) -> Result<(), Box<Problem>> {
    let mut members: Vec<_> = members.iter().collect();
    members.sort_by_key(|(name, _)| name.span().start);
    for (name, value) in members {
        let location = lines.location(name.span().start);
        match value.get_ref() {
            DeValue::Table(host) => collect(lines, space, host, document.host(name.get_ref(), &location))?,
            _ => {
                let value = convert(lines, value, "", &mut Parts::new())?;
                document.refuse_host(name.get_ref(), &value, location);
            }
        }
    }
    Ok(())
}

/// Collects the entries below a key with their offsets. Depth is limited by the parser.
fn flatten(
    lines: &Lines<'_>,
    space: &KeySpace,
    key: String,
    (start, value): (usize, &Spanned<DeValue<'_>>),
    entries: &mut Vec<(usize, Entry)>,
) -> Result<(), Box<Problem>> {
    let is_value = space.find(&key).is_some_and(|key| key.shape == Shape::Object);
    match value.get_ref() {
        DeValue::Table(inner) if !is_value => {
            for (name, value) in inner {
                let key = format!("{key}.{}", name.get_ref());
                flatten(lines, space, key, (name.span().start, value), entries)?;
            }
        }
        _ => {
            let mut parts = Parts::new();
            let value = convert(lines, value, "", &mut parts)?;
            entries.push((start, Entry { key, value, location: lines.location(start), parts }));
        }
    }
    Ok(())
}

fn convert(
    lines: &Lines<'_>,
    value: &Spanned<DeValue<'_>>,
    pointer: &str,
    parts: &mut Parts,
) -> Result<Value, Box<Problem>> {
    let refuse = |what: &str| {
        let problem = lines.error(value.span().start, format!("{what} is not a value that any key takes"));
        Box::new(problem.hint("put it in double quotes if it is text"))
    };
    Ok(match value.get_ref() {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Datetime(moment) => Value::String(moment.to_string()),
        DeValue::Integer(number) => {
            let number = i64::from_str_radix(number.as_str(), number.radix());
            Value::Number(Number::from(number.map_err(|_| refuse("a number beyond 64 bits"))?))
        }
        DeValue::Float(number) => {
            let number = number.as_str().parse().ok().and_then(Number::from_f64);
            Value::Number(number.ok_or_else(|| refuse("a number without end"))?)
        }
        DeValue::Array(items) => {
            let mut list = Vec::with_capacity(items.len());
            for (at, item) in items.iter().enumerate() {
                let pointer = below(pointer, &at.to_string());
                parts.insert(pointer.clone(), lines.location(item.span().start));
                list.push(convert(lines, item, &pointer, parts)?);
            }
            Value::Array(list)
        }
        DeValue::Table(table) => {
            let mut rows: Vec<_> = table.iter().collect();
            rows.sort_by_key(|(name, _)| name.span().start);
            let mut map = Map::new();
            for (name, item) in rows {
                let pointer = below(pointer, name.get_ref());
                parts.insert(pointer.clone(), lines.location(name.span().start));
                map.insert(name.get_ref().to_string(), convert(lines, item, &pointer, parts)?);
            }
            Value::Object(map)
        }
    })
}

fn explain(lines: &Lines<'_>, error: &toml::de::Error) -> Problem {
    let offset = error.span().map_or(0, |span| span.start);
    let problem = lines.error(offset, error.message().replace('\n', ", "));
    let line = problem.line_text.clone().unwrap_or_default();
    let value = line.split_once('=').map(|(_, value)| value.trim()).unwrap_or_default();
    let first = lines.text.trim_start();
    if first.starts_with('{') {
        problem.hint("this looks like JSON: give the file a name that does not end in `.toml`")
    } else if line.contains(['\u{201c}', '\u{201d}']) {
        problem.hint("type straight quotes `\"`; curly ones came from a word processor or a web page")
    } else if line.trim_start().starts_with("//") {
        problem.hint("comments begin with `#`")
    } else if matches!(value, "True" | "False" | "yes" | "no") {
        problem.hint("flags are `true` and `false`")
    } else if ["duplicate key", "dotted key"].iter().any(|sign| error.message().contains(sign)) {
        problem.hint("a key and a group of keys of the same name need quotes: `\"alertstring.enabled\" = true`")
    } else if value.starts_with(|c: char| c.is_ascii_alphabetic()) {
        problem.hint("texts stand in double quotes")
    } else {
        problem
    }
}
