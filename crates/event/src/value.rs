//! The values of `logdata`: JSON's own, plus bytes that a peer sent.

use std::collections::BTreeMap;

use crate::PeerBytes;
use crate::json::write_value;

/// One value in an event's data.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction or exponent; printed as Python prints a `float`.
    Float(f64),
    /// Text of our own, or text read back from a line.
    Text(String),
    /// Bytes from a peer.
    Bytes(PeerBytes),
    /// An array.
    List(Vec<Value>),
    /// An object; keys print in code point order.
    Map(BTreeMap<String, Value>),
}

/// The `logdata` of an event. OpenCanary once writes text there instead of an object (see log type
/// `null`), so a [`Value`] it is; every service reports a [`Value::Map`], built with [`LogData`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogData(BTreeMap<String, Value>);

impl LogData {
    /// No keys.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds a key and gives the data back, for chains.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.insert(key, value);
        self
    }

    /// Adds or replaces a key.
    pub fn insert(&mut self, key: &str, value: impl Into<Value>) {
        self.0.insert(key.to_owned(), value.into());
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// All keys and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }
}

impl From<LogData> for Value {
    fn from(data: LogData) -> Self {
        Self::Map(data.0)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<PeerBytes> for Value {
    fn from(bytes: PeerBytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<&PeerBytes> for Value {
    fn from(bytes: &PeerBytes) -> Self {
        Self::Bytes(bytes.clone())
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}

macro_rules! from_int {
    ($($int:ty),*) => {$(
        impl From<$int> for Value {
            fn from(number: $int) -> Self {
                Self::Int(i64::from(number))
            }
        }
    )*};
}
from_int!(i64, i32, u32, u16, u8);

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<Option<Value>> for Value {
    fn from(value: Option<Value>) -> Self {
        value.unwrap_or(Self::Null)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value
where
    T: ListItem,
{
    fn from(items: Vec<T>) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }
}

/// What may stand in a list built with `into()`; `u8` may not, since bytes are not a list.
pub trait ListItem {}
impl ListItem for Value {}
impl ListItem for LogData {}
impl ListItem for PeerBytes {}
impl ListItem for String {}
impl ListItem for &str {}

impl Value {
    /// The text of a [`Value::Text`], or of peer bytes that are UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Bytes(bytes) => bytes.as_str(),
            _ => None,
        }
    }

    /// The bytes of text, whoever wrote it.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Text(text) => Some(text.as_bytes()),
            Self::Bytes(bytes) => Some(bytes.as_bytes()),
            _ => None,
        }
    }

    /// The members of an object.
    #[must_use]
    pub const fn as_map(&self) -> Option<&BTreeMap<String, Self>> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    /// A member of an object.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.as_map()?.get(key)
    }

    /// Lists and objects more than `levels` deep become their JSON text.
    pub(crate) fn flattened_below(self, levels: usize) -> Self {
        match self {
            Self::List(_) | Self::Map(_) if levels == 0 => {
                let mut text = String::new();
                write_value(&mut text, &self);
                Self::Text(text)
            }
            Self::List(mut items) => {
                for item in items.iter_mut().filter(|item| item.is_container()) {
                    *item = std::mem::replace(item, Self::Null).flattened_below(levels - 1);
                }
                Self::List(items)
            }
            Self::Map(mut map) => {
                for item in map.values_mut().filter(|item| item.is_container()) {
                    *item = std::mem::replace(item, Self::Null).flattened_below(levels - 1);
                }
                Self::Map(map)
            }
            other => other,
        }
    }

    const fn is_container(&self) -> bool {
        matches!(self, Self::List(_) | Self::Map(_))
    }
}
