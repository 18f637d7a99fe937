//! Settings: checked values with their defaults.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Key;

/// The values of one configuration, each right by construction: what a getter returns has the
/// key's shape, because values of another shape are problems that stop the start.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    keys: BTreeMap<&'static str, Key>,
    values: BTreeMap<String, Value>,
}

impl Settings {
    /// Settings over a key space, with values that were checked.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = Key>, values: BTreeMap<String, Value>) -> Self {
        Self { keys: keys.into_iter().map(|key| (key.name, key)).collect(), values }
    }

    /// The value of a key as given, or its default; `None` when there is neither.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<Value> {
        self.values.get(name).cloned().or_else(|| self.default_of(name))
    }

    /// Whether the file holds the key.
    #[must_use]
    pub fn is_set(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// A flag; `false` when unknown.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        match self.value(name) {
            Some(Value::Bool(flag)) => flag,
            _ => false,
        }
    }

    /// Text; empty when unknown.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        match self.value(name) {
            Some(Value::String(text)) => text,
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        }
    }

    /// A whole number; 0 when unknown.
    #[must_use]
    pub fn int(&self, name: &str) -> i64 {
        match self.value(name) {
            Some(Value::Number(number)) => number.as_i64().unwrap_or(0),
            Some(Value::String(text)) => text.trim().parse().unwrap_or(0),
            _ => 0,
        }
    }

    /// A port; 0 when unknown.
    #[must_use]
    pub fn port(&self, name: &str) -> u16 {
        u16::try_from(self.int(name)).unwrap_or(0)
    }

    /// An array; empty when unknown.
    #[must_use]
    pub fn list(&self, name: &str) -> Vec<Value> {
        match self.value(name) {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        }
    }

    fn default_of(&self, name: &str) -> Option<Value> {
        let key = self.keys.get(name).or_else(|| self.keys.get(numbered(name).as_str()))?;
        serde_json::from_str(key.default).ok()
    }
}

/// `tcpbanner_12.port` as the key space writes it, `tcpbanner_#.port`.
fn numbered(name: &str) -> String {
    let mut pattern = String::with_capacity(name.len());
    let mut digits = false;
    for c in name.chars() {
        if c.is_ascii_digit() && (digits || pattern.ends_with('_')) {
            if !digits {
                pattern.push('#');
            }
            digits = true;
        } else {
            digits = false;
            pattern.push(c);
        }
    }
    pattern
}
