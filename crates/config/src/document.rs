//! Documents: a file as written, each value with its place, before anything is believed.

mod hints;
mod hosts;
mod json;
mod lines;
mod tables;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::problem::{Location, Problem};
use crate::space::KeySpace;

pub(crate) use hosts::HOSTS;
pub use hosts::HostPart;
use lines::Lines;

/// Longest file that is read, in bytes.
pub const LONGEST_FILE: usize = 4 * 1024 * 1024;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenCanary's flat JSON; `//` and `/* */` comments are allowed, nothing else beyond JSON is.
    Json,
    /// TOML whose tables nest the same keys.
    Toml,
}

impl Format {
    /// By the file's name: TOML if it ends in `.toml`.
    #[must_use]
    pub fn of(file: &Path) -> Self {
        match file.extension() {
            Some(extension) if extension.eq_ignore_ascii_case("toml") => Self::Toml,
            _ => Self::Json,
        }
    }
}

/// A key as a file gives it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The full name.
    pub key: String,
    /// Its value.
    pub value: Value,
    /// Where the key stands.
    pub location: Location,
    /// Where the parts of the value stand, by JSON pointer from the value.
    pub(crate) parts: Parts,
}

impl Entry {
    /// Where a part of the value stands, given as a JSON pointer (`/kwargs/handlers/file`); where
    /// the nearest part around it stands if there is no such part.
    #[must_use]
    pub fn locate(&self, pointer: &str) -> &Location {
        let mut pointer = pointer;
        loop {
            if let Some(location) = self.parts.get(pointer) {
                return location;
            }
            match pointer.rfind('/') {
                Some(cut) => pointer = &pointer[..cut],
                None => return &self.location,
            }
        }
    }
}

/// Places of a value's parts, by JSON pointer.
pub(crate) type Parts = BTreeMap<String, Location>;

/// A file, parsed.
#[derive(Clone, Debug)]
pub struct Document {
    /// The file.
    pub file: Arc<Path>,
    /// How it is written.
    pub format: Format,
    /// Its keys in the order of the file, each once.
    pub entries: Vec<Entry>,
    /// What is odd but parses, such as a key given twice.
    pub problems: Vec<Problem>,
    /// The members of `hosts` in the order of the file, each with keys of its own.
    pub hosts: Vec<HostPart>,
    /// What stands before a key here: nothing, or `hosts.NAME.` in a part for a host.
    prefix: String,
}

impl Document {
    const fn empty(file: Arc<Path>, format: Format, prefix: String) -> Self {
        Self { file, format, entries: Vec::new(), problems: Vec::new(), hosts: Vec::new(), prefix }
    }

    /// A key as people find it in the file: `ftp.port`, or `hosts.printer.ftp.port` in the part for a host.
    #[must_use]
    pub fn path(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Whether it is the part for a host.
    #[must_use]
    pub fn is_host(&self) -> bool {
        !self.prefix.is_empty()
    }

    /// Parses a file's text. The key space says which TOML tables are values, not groups of keys.
    ///
    /// # Errors
    /// The first error of syntax, with the offending line.
    pub fn parse(file: &Path, text: &str, format: Format, space: &KeySpace) -> Result<Self, Box<Problem>> {
        // Editors on Windows may put a byte order mark first.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let file: Arc<Path> = file.into();
        let lines = Lines::new(&file, text);
        let mut document = Self::empty(Arc::clone(&file), format, String::new());
        match format {
            Format::Json => json::parse(&lines, &mut document)?,
            Format::Toml => tables::parse(&lines, space, &mut document)?,
        }
        Ok(document)
    }

    /// The last entry of a name.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// Adds an entry; one of the same name goes, as in Python, and this is told. `hosts.printer.ftp.port`
    /// goes to its host.
    fn add(&mut self, mut entry: Entry) {
        if let Some((host, key)) = self.host_and_key(&entry.key) {
            entry.key = key;
            return self.host(&host, &entry.location).add(entry);
        }
        if let Some(at) = self.entries.iter().position(|earlier| earlier.key == entry.key) {
            let earlier = self.entries.remove(at);
            self.problems.push(twice(&self.path(&entry.key), &entry.location, &earlier.location));
        }
        self.entries.push(entry);
    }
}

fn twice(key: &str, later: &Location, earlier: &Location) -> Problem {
    Problem::warning(later.clone(), format!("`{key}` is given twice, first in line {}; the last counts", earlier.line))
        .of_key(key)
        .hint("keep one of them")
}

/// A JSON pointer with one more part.
pub(crate) fn below(pointer: &str, part: &str) -> String {
    format!("{pointer}/{}", part.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests;
