//! The audit log: who changed what.

use aviary_event::Timestamp;
use serde_json::Value;

use crate::Cursor;

/// What a change was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A document is new.
    Created,
    /// It says something else.
    Changed,
    /// It is gone.
    Removed,
}

impl Change {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Removed => "removed",
        }
    }
}

/// What is asked of the audit log.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// Who changed something.
    pub by: Option<String>,
    /// The kind of what was changed.
    pub kind: Option<String>,
    /// Where the page before ended.
    pub after: Option<Cursor>,
    /// Rows of a page.
    pub limit: usize,
}

/// An entry of the audit log. What it says of a document is what was stored, secrets included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// What was done.
    pub change: Change,
    /// The document's kind.
    pub kind: String,
    /// Its key.
    pub key: String,
    /// What it said before.
    pub before: Option<Value>,
    /// What it says since.
    pub after: Option<Value>,
}
