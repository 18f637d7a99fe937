//! `cargo xtask bench`: after the benches, the figures of a whole canary that `aviary-bench` takes.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use crate::bench;
use crate::run::{command, run};

/// Longest time of one measurement.
const LIMIT: Duration = Duration::from_secs(1800);
/// Names the virtual environment of OpenCanary 0.9.10 to compare with.
const OPENCANARY: &str = "OPENCANARY_VENV";

/// Runs the benches, then every measurement; fails when one cannot run.
#[must_use]
pub fn all(root: &Path) -> ExitCode {
    let mut ok = bench::all(root) == ExitCode::SUCCESS;
    let build = ["build", "--release", "--package", "aviary", "--package", "aviary-bench"];
    ok &= run(command(root, "cargo", &build), LIMIT).ok;
    let opencanary = std::env::var(OPENCANARY).unwrap_or_default();
    let mut compare = vec!["compare"];
    if !opencanary.is_empty() {
        compare.extend(["--opencanary", &opencanary]);
    }
    let mut datagrams = compare.clone();
    datagrams[0] = "datagrams";
    for arguments in [compare.as_slice(), &datagrams, &["idle"], &["latency"], &["hub"], &["hub", "--inside"]] {
        println!("\n== aviary-bench {}", arguments.join(" "));
        ok &= run(command(root, root.join("target/release/aviary-bench"), arguments), LIMIT).ok;
    }
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
