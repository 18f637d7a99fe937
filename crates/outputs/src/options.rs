//! Reads a handler's keys. Every mistake names the key and what would be accepted.
//!
//! A key that is there but `null` counts as missing, as Python's handlers have it.

use std::time::Duration;

use aviary_output::Rejection;
use serde_json::{Map, Value};

/// The keys of one handler.
#[derive(Clone, Copy)]
pub(crate) struct Options<'a>(pub(crate) &'a Map<String, Value>);

impl<'a> Options<'a> {
    /// The value of a key that is there and not `null`.
    pub(crate) fn get(self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    /// Text.
    pub(crate) fn text(self, key: &str) -> Result<Option<&'a str>, Rejection> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(key, other, "text")),
        }
    }

    /// Text that must be there and not be empty.
    pub(crate) fn needed_text(self, key: &str, example: &str) -> Result<&'a str, Rejection> {
        match self.text(key)? {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(Rejection::new(key, format!("is missing; it takes text such as `{example}`"))),
        }
    }

    /// A name that the receiver gives things: text that is not empty and has no control characters.
    pub(crate) fn name(self, key: &str) -> Result<Option<&'a str>, Rejection> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        if text.is_empty() || text.contains(char::is_control) {
            return Err(wrong(key, &Value::from(text), "a name"));
        }
        Ok(Some(text))
    }

    /// One of these words.
    pub(crate) fn choice(self, key: &str, words: &[&'static str]) -> Result<Option<&'static str>, Rejection> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let named = words.iter().copied().find(|word| value.as_str() == Some(word));
        let accepted = || match words {
            [rest @ .., last] => format!("{} or {last}", rest.join(", ")),
            [] => "nothing".to_owned(),
        };
        named.map(Some).ok_or_else(|| wrong(key, value, &accepted()))
    }

    /// `true` or `false`; 0 and 1 count too.
    pub(crate) fn flag(self, key: &str, default: bool) -> Result<bool, Rejection> {
        match self.get(key) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(Value::Number(number)) if number.as_i64() == Some(0) => Ok(false),
            Some(Value::Number(number)) if number.as_i64() == Some(1) => Ok(true),
            Some(other) => Err(wrong(key, other, "true or false")),
        }
    }

    /// A whole number from `least` to `most`; text of digits counts too.
    pub(crate) fn whole(self, key: &str, default: u64, least: u64, most: u64) -> Result<u64, Rejection> {
        let Some(value) = self.get(key) else { return Ok(default) };
        let wanted = || wrong(key, value, &format!("a whole number from {least} to {most}"));
        let number = whole_of(value).ok_or_else(wanted)?;
        if (least..=most).contains(&number) { Ok(number) } else { Err(wanted()) }
    }

    /// Seconds, with a fraction or without, above 0.
    pub(crate) fn seconds(self, key: &str) -> Result<Option<Duration>, Rejection> {
        self.get(key).map(|value| seconds_of(key, value)).transpose()
    }
}

/// A number of seconds.
pub(crate) fn seconds_of(key: &str, value: &Value) -> Result<Duration, Rejection> {
    let seconds = value.as_f64().filter(|seconds| (0.001..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| wrong(key, value, "seconds, more than 0 and at most a day"))
}

/// A whole number, or text that spells one.
pub(crate) fn whole_of(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// The rejection of a value of another type or out of bounds.
pub(crate) fn wrong(key: &str, value: &Value, accepted: &str) -> Rejection {
    let mut shown: String = value.to_string().chars().take(60).collect();
    if shown.len() < value.to_string().len() {
        shown.push('…');
    }
    Rejection::new(key, format!("is {shown}; it takes {accepted}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn with<T>(value: Value, read: impl FnOnce(Options<'_>) -> Result<T, Rejection>) -> Result<T, String> {
        let Value::Object(map) = json!({ "key": value }) else { unreachable!("an object was written") };
        read(Options(&map)).map_err(|rejection| rejection.to_string())
    }

    #[test]
    fn takes_null_for_missing() {
        assert_eq!(with(Value::Null, |o| o.text("key").map(|t| t.is_none())), Ok(true));
        assert_eq!(with(Value::Null, |o| o.whole("key", 7, 0, 9)), Ok(7));
    }

    #[test]
    fn takes_digits_for_a_number_and_keeps_bounds() {
        assert_eq!(with(json!("12"), |o| o.whole("key", 7, 0, 99)), Ok(12));
        let message = "`key`: is 100; it takes a whole number from 0 to 99";
        assert_eq!(with(json!(100), |o| o.whole("key", 7, 0, 99)), Err(message.to_owned()));
        assert!(with(json!(-1), |o| o.whole("key", 7, 0, 99)).is_err());
        assert!(with(json!([]), |o| o.whole("key", 7, 0, 99)).is_err());
    }

    #[test]
    fn names_the_key_and_what_it_takes() {
        assert_eq!(with(json!(5), |o| o.text("key").map(|_| ())), Err("`key`: is 5; it takes text".to_owned()));
        assert!(with(json!("yes"), |o| o.flag("key", true)).is_err());
        assert!(with(json!(0), |o| o.seconds("key")).is_err());
        assert_eq!(with(json!(0.5), |o| o.seconds("key")), Ok(Some(Duration::from_millis(500))));
    }
}
