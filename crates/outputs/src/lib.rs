//! The destinations of events: a folder or file each, and the list of all.

use aviary_output::Entry;

/// Every output, in alphabetical order. A new output is one file or folder and two lines here.
pub static ALL: &[&Entry] = &[];
