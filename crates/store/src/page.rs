//! Pages of a long list, by key and not by number: what comes in between moves nothing.

use serde::{Deserialize, Serialize};

/// Where a page ends: the moment of its last row, and its place among rows of the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cursor {
    /// Microseconds since 1970.
    pub at: i64,
    /// The row's own number.
    pub row: i64,
}

impl Cursor {
    /// The text in an address, `1795384800000000.17`.
    #[must_use]
    pub fn to_text(self) -> String {
        format!("{}.{}", self.at, self.row)
    }

    /// Reads what [`Cursor::to_text`] gave.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let (at, row) = text.split_once('.')?;
        Some(Self { at: at.parse().ok()?, row: row.parse().ok()? })
    }
}

/// A page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// Its rows.
    pub rows: Vec<T>,
    /// Where the next one begins; `None` when this is the last.
    pub next: Option<Cursor>,
}
