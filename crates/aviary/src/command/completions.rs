//! `aviary completions`: completions for a shell, on standard output.

use std::process::ExitCode;

/// Print completions for a shell
#[derive(clap::Args)]
#[command(after_help = "Example:\n  aviary completions bash > /etc/bash_completion.d/aviary")]
pub(super) struct Arguments {
    /// The shell
    shell: clap_complete::Shell,
}

pub(super) fn run(arguments: &Arguments, command: &mut clap::Command) -> ExitCode {
    clap_complete::generate(arguments.shell, command, "aviary", &mut std::io::stdout());
    ExitCode::SUCCESS
}
