//! `cargo xtask console`: builds the web console, which the next build of the hub takes in.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::run::{command, exists, run};

/// Longest time for one step.
const PATIENCE: Duration = Duration::from_secs(600);

/// Installs what it needs, checks its types, and builds it.
///
/// # Errors
/// When there is no Node, or a step fails.
pub fn build(root: &Path) -> Result<()> {
    if !exists("npm") {
        bail!("`npm` is not installed: the console needs Node 20.19 or newer");
    }
    let console = root.join("console");
    let steps: [&[&str]; 3] = [&["ci", "--no-audit", "--no-fund"], &["run", "check"], &["run", "build"]];
    for words in steps {
        let ended = run(command(&console, "npm", words), PATIENCE);
        if !ended.ok {
            bail!("`npm {}`: {}", words.join(" "), ended.why);
        }
    }
    Ok(())
}
