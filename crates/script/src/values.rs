//! Rhai's values as those of events and of the configuration, with a bound on depth.

use std::collections::BTreeMap;

use aviary_event::Value;
use rhai::{Array, Blob, Dynamic, ImmutableString, Map};

use crate::limits::DEPTH;
use crate::text::{from_text, to_text};

/// A value of an event. Texts enter as bytes, since a peer's may be among them.
pub(crate) fn to_event(value: &Dynamic, depth: usize) -> Result<Value, String> {
    let depth = deeper(depth)?;
    if value.is_unit() {
        return Ok(Value::Null);
    }
    if let Ok(flag) = value.as_bool() {
        return Ok(Value::Bool(flag));
    }
    if let Ok(number) = value.as_int() {
        return Ok(Value::Int(number));
    }
    if let Ok(c) = value.as_char() {
        return Ok(Value::from(from_text(c.encode_utf8(&mut [0; 4]))));
    }
    if let Some(text) = value.read_lock::<ImmutableString>() {
        return Ok(Value::from(from_text(&text)));
    }
    if let Some(blob) = value.read_lock::<Blob>() {
        return Ok(Value::from(blob.as_slice()));
    }
    if let Some(items) = value.read_lock::<Array>() {
        return items.iter().map(|item| to_event(item, depth)).collect::<Result<_, _>>().map(Value::List);
    }
    if let Some(map) = value.read_lock::<Map>() {
        let entries = map.iter().map(|(key, value)| Ok((key.to_string(), to_event(value, depth)?)));
        return entries.collect::<Result<BTreeMap<_, _>, String>>().map(Value::Map);
    }
    Err(no_value(value))
}

/// Bytes that a value takes when it is kept, about.
pub(crate) fn weigh(value: &Dynamic, depth: usize) -> Result<usize, String> {
    /// What any value takes.
    const OWN: usize = 16;
    let depth = deeper(depth)?;
    let mut sum = OWN;
    if let Some(text) = value.read_lock::<ImmutableString>() {
        sum = sum.saturating_add(text.len());
    } else if let Some(blob) = value.read_lock::<Blob>() {
        sum = sum.saturating_add(blob.len());
    } else if let Some(items) = value.read_lock::<Array>() {
        for item in items.iter() {
            sum = sum.saturating_add(weigh(item, depth)?);
        }
    } else if let Some(map) = value.read_lock::<Map>() {
        for (key, value) in map.iter() {
            sum = sum.saturating_add(key.len()).saturating_add(OWN).saturating_add(weigh(value, depth)?);
        }
    } else if !(value.is_unit() || value.is_bool() || value.is_int() || value.is_char()) {
        return Err(no_value(value));
    }
    Ok(sum)
}

/// A value of the configuration or of an event's line. What lies too deep is its JSON text.
pub(crate) fn from_json(value: &serde_json::Value, depth: usize) -> Dynamic {
    use serde_json::Value as Json;
    let Ok(depth) = deeper(depth) else { return to_text(value.to_string().as_bytes()).into() };
    match value {
        Json::Null => Dynamic::UNIT,
        Json::Bool(flag) => (*flag).into(),
        Json::Number(number) => number.as_i64().map_or_else(|| number.to_string().into(), Into::into),
        Json::String(text) => to_text(text.as_bytes()).into(),
        Json::Array(items) => items.iter().map(|item| from_json(item, depth)).collect::<Array>().into(),
        Json::Object(object) => {
            object.iter().map(|(key, value)| (key.as_str().into(), from_json(value, depth))).collect::<Map>().into()
        }
    }
}

/// A value as JSON text, with the spelling of an event's line.
pub(crate) fn to_json_text(value: &Dynamic) -> Result<String, String> {
    let mut text = String::new();
    write_json(&to_event(value, 0)?, &mut text);
    Ok(text)
}

/// Appends a value as it will stand in an event's line.
pub(crate) fn write_json(value: &Value, text: &mut String) {
    match value {
        Value::Map(map) => {
            text.push('{');
            for (at, (key, value)) in map.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { ", " });
                aviary_event::write_json_string(text, key);
                text.push_str(": ");
                write_json(value, text);
            }
            text.push('}');
        }
        Value::List(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { ", " });
                write_json(item, text);
            }
            text.push(']');
        }
        Value::Null => text.push_str("null"),
        Value::Bool(flag) => text.push_str(if *flag { "true" } else { "false" }),
        Value::Int(number) => text.push_str(&number.to_string()),
        Value::Float(number) => text.push_str(&number.to_string()),
        Value::Text(inner) => aviary_event::write_json_string(text, inner),
        Value::Bytes(bytes) => aviary_event::write_json_string(text, &bytes.to_text()),
    }
}

/// The default of a config key as JSON; only what a file can say.
pub(crate) fn to_json(value: &Dynamic, depth: usize) -> Result<serde_json::Value, String> {
    use serde_json::Value as Json;
    let depth = deeper(depth)?;
    if let Ok(flag) = value.as_bool() {
        return Ok(Json::Bool(flag));
    }
    if let Ok(number) = value.as_int() {
        return Ok(number.into());
    }
    if let Some(text) = value.read_lock::<ImmutableString>() {
        return Ok(text.as_str().into());
    }
    if let Some(items) = value.read_lock::<Array>() {
        return items.iter().map(|item| to_json(item, depth)).collect::<Result<_, _>>().map(Json::Array);
    }
    Err(format!("is of type {}; a config key is text, a whole number, true or false, or an array", value.type_name()))
}

fn deeper(depth: usize) -> Result<usize, String> {
    match depth.saturating_add(1) {
        deeper if deeper > DEPTH => Err(format!("lies deeper than {DEPTH} levels")),
        deeper => Ok(deeper),
    }
}

fn no_value(value: &Dynamic) -> String {
    format!("is of type {}, which is no plain value", value.type_name())
}
