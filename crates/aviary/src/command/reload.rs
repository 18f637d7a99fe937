//! `aviary reload`: applies a changed config to a running canary.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::process;

/// Apply a changed config to the running canary
///
/// Services whose settings did not change keep their connections. A config with an error changes nothing. Exits with 1
/// when a service or an output did not start.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  aviary config check && aviary reload")]
pub(super) struct Arguments {
    #[command(flatten)]
    which: super::Which,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let folder = arguments.which.state_dir();
    let answer = process::small_runtime()?.block_on(aviary_sensor::ask(&folder, json!({"ask": "reload"})))?;
    let changes: Vec<&str> = answer["changes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if changes.is_empty() {
        println!("reloaded; no service or output changed");
    }
    for change in &changes {
        println!("{change}");
    }
    // Applied, but not as it was asked for.
    let is_whole = !changes.iter().any(|change| change.contains(" did not start: "));
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
