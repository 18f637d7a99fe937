//! Whether a value has its key's shape.

use serde_json::{Number, Value};

use crate::Shape;
use crate::problem::{nearest, printable};

/// A value that fits its shape.
#[derive(Debug, PartialEq)]
pub(crate) enum Fit {
    /// As it stands.
    Same,
    /// After a reading that deserves a word to the operator: the value to use, and the word.
    Read(Value, String),
}

/// Reads a value as its shape, or says what is wrong with it, as it reads after the key's name.
/// `strict` flags are those that OpenCanary itself wants to be `true` or `false`.
pub(crate) fn read(shape: Shape, value: &Value, strict: bool) -> Result<Fit, String> {
    match (shape, value) {
        (Shape::Flag, Value::Bool(_))
        | (Shape::List, Value::Array(_))
        | (Shape::Object, Value::Object(_))
        | (Shape::Text, Value::String(_) | Value::Number(_))
        | (Shape::Path | Shape::TextOrList, Value::String(_)) => Ok(Fit::Same),
        (Shape::TextOrList, Value::Array(items)) if items.iter().all(Value::is_string) => Ok(Fit::Same),
        (Shape::Flag, value) if !strict => match as_flag(value) {
            Some(flag) => Ok(Fit::Read(Value::Bool(flag), format!("is {}, read as {flag}", show(value)))),
            None => Err(wrong(shape, value)),
        },
        (Shape::Port, value) => whole(shape, value, 1, 65535),
        (Shape::Int { min, max }, value) => whole(shape, value, min, max),
        (Shape::OneOf(words), Value::String(text)) => {
            if words.contains(&text.as_str()) {
                return Ok(Fit::Same);
            }
            let meant = nearest(text, words.iter().copied());
            let meant = meant.map(|word| format!("; did you mean \"{word}\"?")).unwrap_or_default();
            Err(format!("{}{meant}", wrong(shape, value)))
        }
        (shape, value) => Err(wrong(shape, value)),
    }
}

fn whole(shape: Shape, value: &Value, min: i64, max: i64) -> Result<Fit, String> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().to_owned(),
        _ => return Err(wrong(shape, value)),
    };
    if let Ok(number) = text.parse::<i64>() {
        return if (min..=max).contains(&number) { Ok(Fit::Same) } else { Err(wrong(shape, value)) };
    }
    // OpenCanary takes fractions of seconds for some limits; the next whole number is near enough.
    match (shape, text.parse::<f64>()) {
        (Shape::Int { .. }, Ok(fraction)) => match whole_above(fraction) {
            Some(number) if (min..=max).contains(&number) => {
                let said = format!("is {}, read as {number}: a whole number is kept", show(value));
                Ok(Fit::Read(Value::Number(Number::from(number)), said))
            }
            _ => Err(wrong(shape, value)),
        },
        _ => Err(wrong(shape, value)),
    }
}

fn whole_above(fraction: f64) -> Option<i64> {
    fraction.is_finite().then(|| format!("{:.0}", fraction.ceil())).and_then(|text| text.parse().ok())
}

fn as_flag(value: &Value) -> Option<bool> {
    match value {
        Value::Number(number) => number.as_i64().map(|number| number != 0),
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some(true),
            "false" | "no" | "off" | "0" | "" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn wrong(shape: Shape, value: &Value) -> String {
    format!("is {}; accepted: {shape}", show(value))
}

/// A value for a message: short, on one line.
pub(crate) fn show(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::String(text) => format!("\"{}\"", printable(text, 60)),
        value => printable(&value.to_string(), 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_may_be_strings_of_digits() {
        assert_eq!(read(Shape::Port, &json!("123"), true), Ok(Fit::Same));
        assert_eq!(read(Shape::Port, &json!(65535), true), Ok(Fit::Same));
        for bad in [json!(0), json!(65536), json!("ssh"), json!(22.5), json!(true), json!(null), json!([22])] {
            assert!(read(Shape::Port, &bad, true).is_err(), "{bad}");
        }
    }

    #[test]
    fn fractions_are_rounded_up_and_told() {
        let shape = Shape::Int { min: 1, max: 600 };
        assert!(matches!(read(shape, &json!(0.5), true), Ok(Fit::Read(value, _)) if value == json!(1)));
        assert!(read(shape, &json!(600.5), true).is_err());
        assert!(read(shape, &json!("inf"), true).is_err());
    }

    #[test]
    fn flags_that_opencanary_takes_loosely_are_read_and_told() {
        assert!(matches!(read(Shape::Flag, &json!("yes"), false), Ok(Fit::Read(Value::Bool(true), _))));
        assert!(matches!(read(Shape::Flag, &json!(0), false), Ok(Fit::Read(Value::Bool(false), _))));
        assert!(read(Shape::Flag, &json!("maybe"), false).is_err());
        assert!(read(Shape::Flag, &json!("true"), true).is_err());
    }

    #[test]
    fn a_wrong_word_names_the_nearest() {
        let error = read(Shape::OneOf(&["basicLogin", "nasLogin"]), &json!("nasLogn"), true).expect_err("wrong");
        assert_eq!(error, "is \"nasLogn\"; accepted: one of \"basicLogin\", \"nasLogin\"; did you mean \"nasLogin\"?");
    }
}
