//! The destinations of events: a folder or file each, and the list of all.

use aviary_output::Entry;

/// Every output, in alphabetical order. A new output is one file or folder and two lines here.
pub static ALL: &[&Entry] = &[];

/// Handler classes that OpenCanary's users have in their files and that nothing here plays yet.
pub const FORESEEN: &[&str] = &[];

/// The output that plays a handler class.
#[must_use]
pub fn by_class(class: &str) -> Option<&'static Entry> {
    ALL.iter().copied().find(|entry| entry.classes.contains(&class))
}
