//! `aviary hub reset-password`: lets somebody in who is locked out, when no admin can.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use aviary_hub::Hub;
use aviary_store::{OpenError, Options, Sqlite};

use crate::process;

/// End somebody's password and second factor, and print a one-time link with which they set a new one
///
/// The hub must not be running: an admin does the same in the console.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  aviary hub reset-password anna\n  \
    aviary hub reset-password anna --state /var/lib/aviary/hub")]
pub(super) struct Arguments {
    /// Who
    name: String,
    /// State folder of the hub
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let folder = super::upkeep::folder(arguments.state.as_deref());
    let file = folder.join("hub.db");
    // Opening would make one.
    anyhow::ensure!(file.exists(), "there is no hub in `{}`; say with `--state` where its state is", folder.display());
    let store = Sqlite::open(Options::at(file)).map_err(|error| match error {
        error @ OpenError::InUse { .. } => {
            let what = "the hub is running; stop it first, or have an admin make the link in the console";
            anyhow::Error::from(error).context(what)
        }
        error => error.into(),
    })?;
    let runtime = process::runtime()?;
    let token = runtime.block_on(async {
        let hub = Hub::new(Arc::new(store), aviary_hub::clock::now).await?;
        let name = arguments.name.trim().to_lowercase();
        hub.people().reset(&name, "hub").await.with_context(|| format!("the password of `{name}` is not reset"))
    })?;
    process::end(runtime);
    println!("Start the hub and open, within three days, the address of its console with this at its end:");
    println!("  /console/#/setup/{token}");
    Ok(ExitCode::SUCCESS)
}
