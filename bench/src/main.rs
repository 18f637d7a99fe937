//! `aviary-bench`: what a canary costs, as ratios to a bare server and to OpenCanary.
//!
//! One client plays the same attacks against all servers in one run, since figures of different
//! machines, or of one machine at different hours, cannot be compared. The client works on one
//! thread, so that it never takes both cores of a small machine from the server.

mod bare;
mod compare;
mod datagrams;
mod engines;
mod hub;
mod idle;
mod latency;
mod load;
mod outputs;
mod process;
mod receiver;
mod report;
mod search;
mod servers;
mod sinks;
mod slow;
mod talk;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures a canary.
#[derive(Parser)]
#[command(name = "aviary-bench", arg_required_else_help = true)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Bare(bare::Arguments),
    BareDatagrams(datagrams::Bare),
    Load(load::Arguments),
    Compare(compare::Arguments),
    Datagrams(datagrams::Arguments),
    Hub(hub::Arguments),
    Idle(idle::Arguments),
    Latency(latency::Arguments),
    Outputs(outputs::Arguments),
    Search(search::Arguments),
    Slow(slow::Arguments),
}

fn main() -> ExitCode {
    match run(Line::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    process::raise_file_limit();
    match command {
        // As many threads as a canary has, so that the comparison is fair.
        Command::Bare(arguments) => {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(cores.min(4)).enable_all().build()?;
            runtime.block_on(bare::run(arguments))
        }
        Command::BareDatagrams(arguments) => client()?.block_on(datagrams::bare(arguments)),
        Command::Datagrams(arguments) => client()?.block_on(datagrams::run(arguments)),
        Command::Hub(arguments) => {
            let _ = rustls::crypto::ring::default_provider().install_default();
            tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(hub::run(arguments))
        }
        Command::Load(arguments) => client()?.block_on(load::run(arguments)),
        Command::Compare(arguments) => client()?.block_on(compare::run(arguments)),
        Command::Idle(arguments) => client()?.block_on(idle::run(arguments)),
        Command::Latency(arguments) => client()?.block_on(latency::run(arguments)),
        Command::Outputs(arguments) => outputs::run(&arguments),
        Command::Search(arguments) => client()?.block_on(search::run(&arguments)),
        Command::Slow(arguments) => client()?.block_on(slow::run(arguments)),
    }
}

fn client() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
