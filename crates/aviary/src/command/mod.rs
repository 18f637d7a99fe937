//! The subcommands of `aviary`.

mod companion;
mod completions;
pub(crate) mod config;
mod drill;
mod hub;
mod module;
mod outputs;
mod reload;
mod reset_password;
mod sensor;
mod simulate;
mod standing;
mod status;
mod tail;
mod up;
mod upkeep;
mod ways_in;

pub(crate) use drill::knock;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

/// A honeypot: looks like an ordinary server, and reports whoever touches it.
#[derive(Parser)]
#[command(name = "aviary", version, arg_required_else_help = true)]
#[command(after_help = "Examples:\n  \
    aviary up                          a canary in this terminal, no config needed\n  \
    aviary sensor --config canary.toml the same from a config, for a service manager\n  \
    aviary drill                       attack yourself and see that every alert arrives")]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Up(up::Arguments),
    Sensor(sensor::Arguments),
    Hub(hub::Arguments),
    #[command(subcommand)]
    Config(config::Command),
    Status(status::Arguments),
    Reload(reload::Arguments),
    Tail(tail::Arguments),
    Drill(drill::Arguments),
    #[command(subcommand)]
    Module(module::Command),
    Outputs(outputs::Arguments),
    Simulate(simulate::Arguments),
    Completions(completions::Arguments),
}

/// Which running canary is meant. Before and after a subcommand of a subcommand, as `aviary outputs test x --state y`.
#[derive(clap::Args)]
struct Which {
    /// State folder of the canary; found from the config or the defaults if missing
    #[arg(long, value_name = "FOLDER", global = true)]
    state: Option<PathBuf>,
    /// Config of the canary
    #[arg(long, short, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

impl Which {
    /// The state folder. A config that cannot be read is no reason not to find a canary that runs.
    fn state_dir(&self) -> PathBuf {
        if let Some(folder) = &self.state {
            return folder.clone();
        }
        let settings = crate::configuration::load(self.config.as_deref()).ok().map(|loaded| loaded.settings);
        crate::process::state_dir(settings.as_ref())
    }
}

/// Runs `aviary`.
#[must_use]
pub fn main() -> ExitCode {
    let line = Line::parse();
    let result = match line.command {
        Command::Up(arguments) => up::run(&arguments),
        Command::Sensor(arguments) => sensor::run(&arguments),
        Command::Hub(arguments) => hub::run(&arguments),
        Command::Config(command) => config::run(command),
        Command::Status(arguments) => status::run(&arguments),
        Command::Reload(arguments) => reload::run(&arguments),
        Command::Tail(arguments) => tail::run(&arguments),
        Command::Drill(arguments) => drill::run(&arguments),
        Command::Module(command) => module::run(command),
        Command::Outputs(arguments) => outputs::run(&arguments),
        Command::Simulate(arguments) => simulate::run(&arguments),
        Command::Completions(arguments) => Ok(completions::run(&arguments, &mut Line::command())),
    };
    crate::process::exit(result)
}
