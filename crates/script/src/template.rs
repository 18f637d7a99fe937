//! New modules and outputs, to begin with.

/// What a new module is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Over TCP, line by line.
    Lines,
    /// Over TCP, bytes as they come.
    Bytes,
    /// Over UDP.
    Datagrams,
    /// No module: an output.
    Output,
}

/// A module or an output and a transcript to test it with. Gives `None` when the name cannot be a module's.
#[must_use]
pub fn template(name: &str, shape: Shape) -> Option<(String, String)> {
    let (script, transcript) = match shape {
        Shape::Lines => (include_str!("template/lines.rhai"), include_str!("template/lines.txt")),
        Shape::Bytes => (include_str!("template/bytes.rhai"), include_str!("template/bytes.txt")),
        Shape::Datagrams => (include_str!("template/datagrams.rhai"), include_str!("template/datagrams.txt")),
        Shape::Output => (include_str!("template/output.rhai"), include_str!("template/output.txt")),
    };
    crate::manifest::is_name(name).then(|| (script.replace("NAME", name), transcript.replace("NAME", name)))
}
