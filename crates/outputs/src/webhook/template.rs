//! The body of a webhook request: the handler's `data` with the event's line put in.

use aviary_output::Rejection;
use serde_json::Value;

use crate::options::wrong;

/// Where the line goes.
const MARK: &str = "%(message)s";

/// What `data` says, and how it is sent.
#[derive(Clone, Debug)]
pub(super) struct Template {
    data: Value,
    json: bool,
}

/// A request's body.
#[derive(Debug, PartialEq)]
pub(super) struct Body {
    /// The bytes.
    pub(super) text: String,
    /// The content type, unless the handler's headers say one.
    pub(super) content_type: Option<&'static str>,
}

impl Template {
    /// Reads `data`; `None` is an object with the one key `message`.
    pub(super) fn new(data: Option<&Value>, json: bool) -> Result<Self, Rejection> {
        let data = data.cloned().unwrap_or_else(|| serde_json::json!({ "message": MARK }));
        if !json && !is_form(&data) {
            let accepted =
                "text or an object; anything else needs `\"headers\": {\"Content-Type\": \"application/json\"}`";
            return Err(wrong("data", &data, accepted));
        }
        Ok(Self { data, json })
    }

    /// The body for a line. Each call starts from `data` as it was given.
    pub(super) fn fill(&self, line: &str) -> Body {
        if self.json {
            let mut text = String::new();
            write_json(&mut text, &filled(&self.data, line));
            return Body { text, content_type: Some("application/json") };
        }
        match filled(&self.data, line) {
            Value::String(text) => Body { text, content_type: None },
            data => Body { text: form(&data), content_type: Some("application/x-www-form-urlencoded") },
        }
    }
}

/// Whether a value can be sent as a form: text as it stands, an object, or a list of pairs.
fn is_form(data: &Value) -> bool {
    match data {
        Value::String(_) | Value::Object(_) => true,
        Value::Array(items) => items.iter().all(|item| matches!(item, Value::Array(pair) if pair.len() == 2)),
        _ => false,
    }
}

fn filled(data: &Value, line: &str) -> Value {
    match data {
        Value::String(text) => Value::String(put(text, line)),
        Value::Array(items) => Value::Array(items.iter().map(|item| filled(item, line)).collect()),
        Value::Object(map) => {
            Value::Object(map.iter().map(|(key, value)| (key.clone(), filled(value, line))).collect())
        }
        other => other.clone(),
    }
}

/// `%(message)s` becomes the line and `%%` a percent sign, as in Python; any other percent sign is
/// one, where Python fails. What the line itself holds is not looked at.
fn put(text: &str, line: &str) -> String {
    let mut out = String::with_capacity(text.len() + line.len());
    let mut rest = text;
    while let Some((before, _)) = rest.split_once('%') {
        let (_, from) = rest.split_at(before.len());
        out.push_str(before);
        if let Some(after) = from.strip_prefix(MARK) {
            out.push_str(line);
            rest = after;
        } else {
            out.push('%');
            rest = from.strip_prefix("%%").or_else(|| from.strip_prefix('%')).unwrap_or_default();
        }
    }
    out.push_str(rest);
    out
}

/// JSON as Python's `json.dumps` writes it, keys in the order of the file.
pub(crate) fn write_json(out: &mut String, value: &Value) {
    match value {
        Value::String(text) => aviary_event::write_json_string(out, text),
        Value::Array(items) => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                out.push_str(if n > 0 { ", " } else { "" });
                write_json(out, item);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            for (n, (key, item)) in map.iter().enumerate() {
                out.push_str(if n > 0 { ", " } else { "" });
                aviary_event::write_json_string(out, key);
                out.push_str(": ");
                write_json(out, item);
            }
            out.push('}');
        }
        plain => out.push_str(&plain.to_string()),
    }
}

/// A form's body: a list gives its key several times, `null` nothing, an object its JSON.
fn form(data: &Value) -> String {
    let mut out = String::new();
    let mut field = |key: &str, value: &Value| {
        let values = match value {
            Value::Array(values) => values.as_slice(),
            one => std::slice::from_ref(one),
        };
        for text in values.iter().filter_map(plain) {
            if !out.is_empty() {
                out.push('&');
            }
            encode(&mut out, key);
            out.push('=');
            encode(&mut out, &text);
        }
    };
    match data {
        Value::Object(map) => map.iter().for_each(|(key, value)| field(key, value)),
        Value::Array(items) => {
            for item in items {
                if let Value::Array(pair) = item
                    && let [key, value] = pair.as_slice()
                {
                    field(&plain(key).unwrap_or_default(), value);
                }
            }
        }
        _ => {}
    }
    out
}

/// A value as Python's `str` prints it; `null` is nothing.
pub(crate) fn plain(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::String(text) => text.clone(),
        other => {
            let mut text = String::new();
            write_json(&mut text, other);
            text
        }
    })
}

/// `application/x-www-form-urlencoded`, as Python's `quote_plus` does it.
pub(crate) fn encode(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'_' | b'.' | b'-' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn body(data: Value, json: bool, line: &str) -> Body {
        Template::new(Some(&data), json).expect("a good template").fill(line)
    }

    #[test]
    fn puts_the_line_in_at_any_depth() {
        let data = json!({"a": "%(message)s", "b": {"c": ["x %(message)s %(message)s", 5, null, true]}});
        let body = body(data, true, "{\"q\": \"%(message)s\"}");
        let line = r#"{\"q\": \"%(message)s\"}"#;
        assert_eq!(body.text, format!(r#"{{"a": "{line}", "b": {{"c": ["x {line} {line}", 5, null, true]}}}}"#));
        assert_eq!(body.content_type, Some("application/json"));
    }

    #[test]
    fn starts_afresh_for_each_event() {
        let template = Template::new(Some(&json!({"a": {"b": "%(message)s"}})), true).expect("a good template");
        assert_eq!(template.fill("one").text, r#"{"a": {"b": "one"}}"#);
        assert_eq!(template.fill("two").text, r#"{"a": {"b": "two"}}"#);
    }

    #[test]
    fn takes_other_percent_signs_as_they_are() {
        for (text, expected) in [
            ("100% %(message)s", "100% L"),
            ("100%% %(message)s%", "100% L%"),
            ("%(other)s %d %", "%(other)s %d %"),
            ("%%(message)s", "%(message)s"),
            ("%%%(message)s", "%L"),
            ("", ""),
        ] {
            assert_eq!(put(text, "L"), expected, "{text}");
        }
    }

    #[test]
    fn sends_a_form_unless_told_otherwise() {
        let form = |data| body(data, false, "ä &=1");
        assert_eq!(Template::new(None, false).expect("good").fill("a b").text, "message=a+b");
        assert_eq!(Template::new(None, true).expect("good").fill("a b").text, r#"{"message": "a b"}"#);
        let both =
            form(json!({"text": "%(message)s", "n": 5, "f": true, "none": null, "l": [1, "x"], "o": {"k": "~"}}));
        assert_eq!(both.text, "text=%C3%A4+%26%3D1&n=5&f=True&l=1&l=x&o=%7B%22k%22%3A+%22~%22%7D");
        assert_eq!(both.content_type, Some("application/x-www-form-urlencoded"));
        assert_eq!(form(json!([["k", "%(message)s"]])).text, "k=%C3%A4+%26%3D1");
    }

    #[test]
    fn sends_text_as_it_stands_or_as_a_json_string() {
        assert_eq!(body(json!("<%(message)s>"), false, "x"), Body { text: "<x>".to_owned(), content_type: None });
        assert_eq!(body(json!("<%(message)s>"), true, "\"x\"").text, r#""<\"x\">""#);
    }

    #[test]
    fn refuses_data_that_is_no_form() {
        for data in [json!(5), json!(["a"]), json!(true)] {
            assert_eq!(Template::new(Some(&data), false).map(|_| ()).expect_err("no form").option, "data");
            assert!(Template::new(Some(&data), true).is_ok());
        }
    }
}
