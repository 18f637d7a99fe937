//! Documents: everything that people decide.

use serde_json::Value;

/// A small JSON object with a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// What it is: `sensor`, `suppression`, `person`.
    pub kind: String,
    /// Its name among its kind.
    pub key: String,
    /// Counts its changes, from 1; 0 for one that is not stored yet.
    pub version: u64,
    /// What it says.
    pub body: Value,
}

/// Why a document was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    /// Somebody else changed it in between.
    #[error("it was changed in between; its version is now {now}")]
    Conflict {
        /// The version that is there; 0 if there is none.
        now: u64,
    },
}
