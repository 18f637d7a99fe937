//! A file that another program writes and a service reads, line by line, as `tail -F` does.
//!
//! The frame opens the file, waits for it, notices that it was rotated or cut, bounds its lines and keeps
//! the time; a [`LineReader`] is pure.

use std::fmt;
use std::path::PathBuf;

use aviary_event::{Kind, LogData, Origin};

/// A file to follow.
pub struct Follow {
    /// The file; it need not be there yet.
    pub path: PathBuf,
    /// Makes events of its lines.
    pub reader: Box<dyn LineReader>,
}

impl fmt::Debug for Follow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follow").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Makes events of lines.
pub trait LineReader: Send {
    /// A line without its end. `None` when it tells of nothing.
    fn line(&mut self, line: &[u8]) -> Option<Told>;
}

/// An event that a line tells of. Unlike a connection's, its peers come from the line.
#[derive(Clone, Debug)]
pub struct Told {
    /// The kind.
    pub kind: Kind,
    /// Its data.
    pub data: LogData,
    /// Who did it.
    pub source: Origin,
    /// Whom it reached.
    pub target: Origin,
}
