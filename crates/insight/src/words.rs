//! What of an event is searched in.

use aviary_event::Value;

/// Longest text that is searched in, in bytes. The line is kept whole.
const WORDS: usize = 16 << 10;

/// Longest value that is found as a whole, in bytes.
const VALUE: usize = 256;
/// Members of `logdata` that are found by their values, at most.
const MEMBERS: usize = 64;

/// The values of `logdata`, for free text.
#[must_use]
pub fn words(logdata: &Value) -> String {
    let mut out = String::new();
    collect(logdata, &mut out);
    out
}

/// Members of `logdata` with their values as the line has them. Lists, objects and what is longer than 256 bytes are left
/// out: they are searched in by their words.
#[must_use]
pub fn fields(logdata: &Value) -> Vec<(String, String)> {
    let members = logdata.as_map().into_iter().flatten();
    let texts = members.filter_map(|(key, value)| {
        let text = match value {
            Value::Int(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            Value::Text(text) => text.clone(),
            Value::Bytes(bytes) if bytes.as_bytes().len() <= VALUE => bytes.to_text(),
            _ => return None,
        };
        (text.len() <= VALUE).then(|| (key.clone(), text))
    });
    texts.take(MEMBERS).collect()
}

fn collect(value: &Value, out: &mut String) {
    if out.len() > WORDS {
        return;
    }
    let mut add = |text: &str| {
        let room = WORDS.saturating_sub(out.len());
        let end = (0..=room.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        out.push_str(text.get(..end).unwrap_or_default());
        out.push(' ');
    };
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Int(number) => add(&number.to_string()),
        Value::Float(number) => add(&number.to_string()),
        Value::Text(text) => add(text),
        Value::Bytes(bytes) => add(&bytes.to_string()),
        Value::List(items) => items.iter().for_each(|item| collect(item, out)),
        Value::Map(map) => map.values().for_each(|item| collect(item, out)),
    }
}

#[cfg(test)]
mod tests {
    use aviary_event::Event;

    use super::*;

    #[test]
    fn members_are_found_by_what_the_line_says() {
        let logdata = r#"{"a": "x", "b": 22, "c": true, "d": null, "e": ["y"], "f": {"g": "z"}, "h": "é\u0000"}"#;
        let event = Event::parse(&format!(r#"{{"logdata": {logdata}}}"#)).expect("an event");
        let found = fields(&event.logdata);
        let found: Vec<_> = found.iter().map(|(key, text)| (key.as_str(), text.as_str())).collect();
        assert_eq!(found, [("a", "x"), ("b", "22"), ("c", "true"), ("h", "é\0")]);
        assert_eq!(words(&event.logdata), "x 22 y z é\0 ");
    }

    #[test]
    fn what_is_searched_in_is_bounded() {
        let long = Value::Text("é".repeat(WORDS));
        assert!(words(&Value::List(vec![long.clone(), long.clone()])).len() <= WORDS + 2);
        let many = (0..100).map(|number| (number.to_string(), Value::Int(number))).collect();
        assert_eq!((fields(&Value::Map(many)).len(), fields(&long).len()), (MEMBERS, 0));
    }
}
