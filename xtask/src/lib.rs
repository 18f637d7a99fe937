//! The developer's commands, as a library so that tests reach them.

pub mod bench;
pub mod clients;
pub mod console;
pub mod docs;
pub mod fuzz;
pub mod house;
pub mod measure;
pub mod oui;
pub mod run;
pub mod scaffold;
pub mod stages;

use std::path::{Path, PathBuf};

/// The repository's root.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}
