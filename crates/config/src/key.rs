//! Keys: a name, the shape of its value, its default and one sentence for people.

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
    /// An array.
    List,
    /// An object, or in TOML a table.
    Object,
    /// A path of a file or folder.
    Path,
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
