//! `aviary sensor`: a canary in the foreground, for a service manager.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::process::{self, Run};

/// Run a canary from its config, in the foreground
#[derive(clap::Args)]
#[command(after_help = "The config is looked for where OpenCanary looks, then in /etc/aviary.\n\n\
    Examples:\n  aviary sensor\n  aviary sensor --config /etc/aviary/aviary.toml --user nobody --group nogroup")]
pub(super) struct Arguments {
    /// The config: OpenCanary's JSON, or TOML
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// State folder; `aviary.state_dir` of the config if missing
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,
    /// User to become once the ports are bound
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Group to become once the ports are bound
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    process::run(Run {
        config: arguments.config.clone(),
        state: arguments.state.clone(),
        user: arguments.user.clone(),
        group: arguments.group.clone(),
        keep_root: false,
        only_modules: false,
    })
}
