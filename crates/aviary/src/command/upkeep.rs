//! `aviary hub backup|restore|check`: the store of a hub.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use aviary_store::{backup, check, restore};
use jiff::tz::TimeZone;

use crate::process;

/// What is done with a store.
#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Copy the store as it is now, also while the hub runs
    Backup {
        /// The copy
        file: PathBuf,
        #[command(flatten)]
        which: Which,
    },
    /// Put a copy in place of the store, while the hub does not run; what was there is kept beside it
    Restore {
        /// The copy
        file: PathBuf,
        #[command(flatten)]
        which: Which,
    },
    /// Look whether the store is sound, also while the hub runs
    Check {
        /// A copy to look at instead
        file: Option<PathBuf>,
        #[command(flatten)]
        which: Which,
    },
}

/// Which hub is meant.
#[derive(clap::Args)]
pub(super) struct Which {
    /// State folder of the hub
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,
}

impl Which {
    fn store(&self) -> PathBuf {
        folder(self.state.as_deref()).join("hub.db")
    }
}

/// The state folder of a hub.
pub(super) fn folder(state: Option<&Path>) -> PathBuf {
    state.map_or_else(|| process::state_dir(None).join("hub"), Path::to_owned)
}

pub(super) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Backup { file, which } => {
            let bytes = backup(&which.store(), file)?;
            println!("{bytes} bytes in `{}`", file.display());
            println!(
                "`ca.crt`, `ca.key` and `channels.key` are not in it; keep them, too: sensors know the hub by the first two."
            );
        }
        Command::Restore { file, which } => {
            let store = which.store();
            if let Some(folder) = store.parent() {
                process::make_private(folder)?;
            }
            let old = restore(file, &store, aviary_hub::clock::now())?;
            println!("`{}` is what `{}` was", store.display(), file.display());
            if let Some(old) = old {
                println!("The store before is in `{}`", old.display());
            }
        }
        Command::Check { file, which } => {
            let path = file.clone().unwrap_or_else(|| which.store());
            let report = check(&path)?;
            println!("`{}`: layout {}, {} bytes", path.display(), report.layout, report.bytes);
            if report.problems.is_empty() {
                println!("{} events, {} incidents", report.events, report.incidents);
                if let Some((first, last)) = report.span {
                    println!("from {} to {}", first.to_rfc3339(&TimeZone::UTC), last.to_rfc3339(&TimeZone::UTC));
                }
                println!("sound");
            } else {
                for problem in &report.problems {
                    println!("problem: {problem}");
                }
                println!("`aviary hub restore` puts a copy in its place");
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads `90d`, `12h`.
pub(super) fn age(text: &str) -> anyhow::Result<Duration> {
    let units = [("m", 60), ("h", 3600), ("d", 86_400), ("w", 7 * 86_400), ("y", 365 * 86_400)];
    match measured(text, &units) {
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => bail!("accepted: a whole number and m, h, d, w or y, such as 90d"),
    }
}

/// Reads `50G`, `800M`.
pub(super) fn bytes(text: &str) -> anyhow::Result<u64> {
    let units = [("M", 1 << 20), ("G", 1 << 30), ("T", 1 << 40), ("MB", 1 << 20), ("GB", 1 << 30), ("TB", 1 << 40)];
    match measured(text, &units) {
        Some(bytes) => Ok(bytes),
        None => bail!("accepted: a whole number and M, G or T, such as 50G"),
    }
}

/// A whole number above 0, in one of these units.
fn measured(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(end)?;
    let (_, times) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok().filter(|number| *number > 0)?.checked_mul(*times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_sizes_are_read() {
        assert_eq!(age("90d").expect("an age"), Duration::from_secs(90 * 86_400));
        assert_eq!(bytes("50GB").expect("a size"), 50 << 30);
        for bad in ["", "90", "d", "0d", "-1d", "1.5d", "90 d", "99999999999999999999y", "9999999999999999y"] {
            assert!(age(bad).is_err() && bytes(bad).is_err(), "{bad}");
        }
    }
}
