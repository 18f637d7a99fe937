//! `aviary sensor`: a canary in the foreground, for a service manager.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::joined::{self, Wish};
use crate::process::{self, Run};

/// Run a canary from its config, in the foreground
///
/// A canary that enrolled at a hub sends its events there, too, and takes its config from there once the hub has one.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "The config is looked for where OpenCanary looks, then in /etc/aviary.\n\n\
    Examples:\n  aviary sensor\n  aviary sensor --config /etc/aviary/aviary.toml --user nobody --group nogroup\n  \
    aviary sensor enrol https://hub.example:8443 ave_…")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
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

#[derive(clap::Subcommand)]
enum Command {
    Enrol(Enrol),
}

/// Make this canary a sensor of a hub
///
/// The token comes from the hub and works once. It also says by what certificate the hub is known, so that nobody
/// else can stand in for it. A canary that runs already joins at its next start.
#[derive(clap::Args)]
struct Enrol {
    /// The hub, `https://hub.example:8443`
    url: String,
    /// The token that the hub gave
    token: String,
    /// Name that the sensor shall have at the hub; the host's name if missing
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Enrol anew although this canary is enrolled
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    which: super::Which,
}

fn enrol(arguments: &Enrol) -> anyhow::Result<ExitCode> {
    process::start_logging();
    let name = match &arguments.name {
        Some(name) => name.clone(),
        None => {
            let name = nix::unistd::gethostname()?;
            name.into_string().ok().context("the host's name is not UTF-8; give the sensor one with --name")?
        }
    };
    let state = arguments.which.state_dir();
    let Enrol { url, token, force, .. } = arguments;
    let wish = Wish { url, token, name: &name, state: &state, force: *force };
    let name = process::small_runtime()?.block_on(joined::enrol(wish))?;
    println!("This canary is the sensor `{name}` of {url} now (state in {}).", state.display());
    println!("It joins at its next start: aviary sensor");
    Ok(ExitCode::SUCCESS)
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if let Some(Command::Enrol(arguments)) = &arguments.command {
        return enrol(arguments);
    }
    process::run(Run {
        config: arguments.config.clone(),
        state: arguments.state.clone(),
        user: arguments.user.clone(),
        group: arguments.group.clone(),
        keep_root: false,
        only_modules: false,
    })
}
