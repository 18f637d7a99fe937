//! Keys: a name, the shape of its value, its default and one sentence for people.

use std::fmt;

/// The shape of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `true` or `false`.
    Flag,
    /// A TCP or UDP port, 1 to 65535; a string of digits counts too, as in OpenCanary's files.
    Port,
    /// A whole number between two bounds, both included; a string of digits counts too.
    Int {
        /// Least value.
        min: i64,
        /// Greatest value.
        max: i64,
    },
    /// Text.
    Text,
    /// Text that must be one of these.
    OneOf(&'static [&'static str]),
    /// Text, or an array of texts.
    TextOrList,
    /// An array.
    List,
    /// An object, or in TOML a table.
    Object,
    /// A path of a file or folder.
    Path,
}

impl fmt::Display for Shape {
    /// What is accepted, as it reads after "accepted: ".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("true or false"),
            Self::Port => f.write_str("a port from 1 to 65535"),
            Self::Int { min, max: i64::MAX } => write!(f, "a whole number from {min}"),
            Self::Int { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::Text => f.write_str("text in double quotes"),
            Self::OneOf(words) => {
                f.write_str("one of ")?;
                for (at, word) in words.iter().enumerate() {
                    write!(f, "{}\"{word}\"", if at == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
            Self::TextOrList => f.write_str("text in double quotes, or a list of such texts"),
            Self::List => f.write_str("a list in square brackets"),
            Self::Object => f.write_str("an object in curly brackets"),
            Self::Path => f.write_str("a path in double quotes"),
        }
    }
}

/// A key that a config file may hold. `#` in a name stands for a number: `tcpbanner_#.port`.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The full name, `ftp.banner`.
    pub name: &'static str,
    /// The shape of its value.
    pub shape: Shape,
    /// The default as JSON text; empty when a missing key means "nothing".
    pub default: &'static str,
    /// What it does: a sentence.
    pub doc: &'static str,
}

/// `tcpbanner_12.port` as the key space writes it, `tcpbanner_#.port`, with the number; `None`
/// when the name holds no number after an underscore.
pub(crate) fn numbered(name: &str) -> Option<(String, u32)> {
    let (family, rest) = name.split_once('_')?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = rest.split_at(digits);
    let number = digits.parse().ok()?;
    (rest.is_empty() || rest.starts_with('.')).then(|| (format!("{family}_#{rest}"), number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stands_only_after_an_underscore_and_before_a_dot() {
        assert_eq!(numbered("tcpbanner_12.alertstring.enabled"), Some(("tcpbanner_#.alertstring.enabled".into(), 12)));
        assert_eq!(numbered("tcpbanner_1"), Some(("tcpbanner_#".into(), 1)));
        assert_eq!(numbered("ftp.log_auth_attempt_initiated"), None);
        assert_eq!(numbered("tcpbanner_1x.port"), None);
        assert_eq!(numbered("ftp.port"), None);
        assert_eq!(numbered("a_99999999999.port"), None);
    }

    #[test]
    fn shapes_say_what_they_accept() {
        assert_eq!(Shape::Int { min: 0, max: i64::MAX }.to_string(), "a whole number from 0");
        assert_eq!(Shape::OneOf(&["squid", "ms-isa"]).to_string(), "one of \"squid\", \"ms-isa\"");
    }
}
