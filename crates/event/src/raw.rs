//! `aviary.raw`: the whole bytes of what stands in `logdata` with `\xNN` escapes.
//!
//! An object from path to base64. A path joins keys and list positions with dots, `HEADERS.via.0`;
//! in a key, `~` is written `~0`, a dot `~1`, and an empty key `~2`, so that no two places share
//! a path. The path of `logdata` itself, when it is no object, is empty.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::{PeerBytes, Value};

/// Whether any bytes in the value are not given back whole by their text.
pub(crate) fn is_needed(value: &Value) -> bool {
    match value {
        Value::Bytes(bytes) => bytes.as_str().is_none(),
        Value::List(items) => items.iter().any(is_needed),
        Value::Map(map) => map.values().any(is_needed),
        _ => false,
    }
}

/// Path and base64 of every such bytes.
pub(crate) fn collect(value: &Value) -> BTreeMap<String, Value> {
    let mut raw = BTreeMap::new();
    descend(value, "", &mut raw);
    raw
}

fn descend(value: &Value, path: &str, raw: &mut BTreeMap<String, Value>) {
    let below = |step: String| if path.is_empty() { step } else { format!("{path}.{step}") };
    match value {
        Value::Bytes(bytes) if bytes.as_str().is_none() => {
            raw.insert(path.to_owned(), Value::Text(STANDARD.encode(bytes.as_bytes())));
        }
        Value::List(items) => {
            for (n, item) in items.iter().enumerate().filter(|(_, item)| is_needed(item)) {
                descend(item, &below(n.to_string()), raw);
            }
        }
        Value::Map(map) => {
            for (key, item) in map.iter().filter(|(_, item)| is_needed(item)) {
                descend(item, &below(escaped(key)), raw);
            }
        }
        _ => {}
    }
}

/// Puts whole bytes back where their escaped text stands; `None` when there is no such place, or
/// `base64` is none.
pub(crate) fn restore(root: &mut Value, path: &str, base64: &Value) -> Option<()> {
    let bytes = STANDARD.decode(base64.as_str()?).ok()?;
    let mut place = root;
    for step in path.split('.').filter(|_| !path.is_empty()) {
        place = match place {
            Value::Map(map) => map.get_mut(&unescaped(step))?,
            Value::List(items) => items.get_mut(step.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    matches!(place, Value::Text(_)).then(|| *place = Value::Bytes(PeerBytes::from(bytes)))
}

fn escaped(key: &str) -> String {
    if key.is_empty() { "~2".to_owned() } else { key.replace('~', "~0").replace('.', "~1") }
}

fn unescaped(step: &str) -> String {
    if step == "~2" { String::new() } else { step.replace("~1", ".").replace("~0", "~") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map<const N: usize>(members: [(&str, Value); N]) -> Value {
        Value::Map(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    #[test]
    fn names_every_place_apart() {
        let bytes = || Value::from(b"\xff".as_slice());
        let value = map([
            ("", map([("", bytes()), ("~2", bytes())])),
            ("a", map([("b", bytes()), ("c", Value::List(vec![Value::Null, bytes()]))])),
            ("a.b", bytes()),
            ("~1", bytes()),
            ("plain", "text".into()),
        ]);
        let raw = collect(&value);
        let paths: Vec<_> = raw.keys().map(String::as_str).collect();
        assert_eq!(paths, ["a.b", "a.c.1", "a~1b", "~01", "~2.~02", "~2.~2"]);
    }

    #[test]
    fn refuses_a_path_that_leads_nowhere() {
        let mut value = map([("a", "\\xff".into()), ("n", Value::Int(1))]);
        let base64 = Value::from("/w==");
        for path in ["", "b", "n", "a.b", "a.0"] {
            assert_eq!(restore(&mut value, path, &base64), None, "{path}");
        }
        assert_eq!(restore(&mut value, "a", &"?".into()), None);
        assert_eq!(restore(&mut value, "a", &base64), Some(()));
        assert_eq!(value.get("a"), Some(&Value::from(b"\xff".as_slice())));
    }
}
