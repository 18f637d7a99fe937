//! `aviary config`: check a configuration, show what it means, write a new one.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use aviary_config::{KeySpace, Location, Problem, Settings, Severity, Spelling};
use aviary_sensor::PlannedOutput;
use serde_json::json;

use crate::configuration;
use crate::paint::{Ink, Style};
use crate::process;

/// Check, show or write a configuration
#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Check a config and print every problem at once
    ///
    /// Exits with 1 if there is an error; warnings alone are 0.
    #[command(after_help = "Examples:\n  aviary config check\n  aviary config check /etc/opencanaryd/opencanary.conf")]
    Check(Which),
    /// Show every setting in force, defaults included
    #[command(after_help = "Example:\n  aviary config show opencanary.conf | grep ftp")]
    Show(Which),
    /// Write a commented config with every key
    #[command(after_help = "Examples:\n  aviary config copy\n  aviary config copy --toml /etc/aviary/aviary.toml")]
    Copy(Copy),
}

#[derive(clap::Args)]
pub(super) struct Which {
    /// The config; where it would be looked for if missing
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The same, as the other commands call it
    #[arg(long, value_name = "FILE", hide_short_help = true, conflicts_with = "file")]
    config: Option<PathBuf>,
}

impl Which {
    fn path(&self) -> Option<&Path> {
        self.file.as_deref().or(self.config.as_deref())
    }
}

#[derive(clap::Args)]
pub(super) struct Copy {
    /// Where to; standard output if missing. A file that exists is never overwritten
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// TOML instead of OpenCanary's JSON
    #[arg(long)]
    toml: bool,
    /// JSON without comments, which OpenCanary itself reads too
    #[arg(long, conflicts_with = "toml")]
    plain: bool,
}

pub(super) fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Check(which) => check(which.path()),
        Command::Show(which) => show(which.path()),
        Command::Copy(copy) => {
            let spelling = match (copy.toml, copy.plain) {
                (true, _) => Spelling::Toml,
                (false, true) => Spelling::Plain,
                (false, false) => Spelling::Commented,
            };
            let text = aviary_config::sample(&configuration::key_space(), spelling);
            match copy.file {
                None => print!("{text}"),
                Some(path) => write_new(&path, &text)?,
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn check(file: Option<&Path>) -> anyhow::Result<ExitCode> {
    let style = Style::of_stdout();
    let (loaded, _) = configuration::read(file)?;
    let mut errors = 0;
    let mut warnings = 0;
    for problem in &loaded.problems {
        let ink = match problem.severity {
            Severity::Error => {
                errors += 1;
                Ink::Alarm
            }
            Severity::Warning => {
                warnings += 1;
                Ink::Notice
            }
        };
        println!("{}", style.paint(ink, &problem.detailed()));
    }
    if errors == 0 {
        // What the file alone cannot show: outputs and services as they would be built, and the ports.
        let running = running(&loaded.settings);
        let (found, held) = findings(&loaded.settings, &loaded.path, running);
        if let Some(pid) = running.filter(|_| held > 0) {
            println!("{held} of the ports are held by the canary that runs (pid {pid}), as they should be");
        }
        for finding in found {
            warnings += 1;
            println!("{}", style.paint(Ink::Notice, &finding.to_string()));
        }
    }
    println!("{}: {errors} errors, {warnings} warnings", loaded.path.display());
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The process of the canary that runs with these settings, if one does and lets itself be asked.
fn running(settings: &Settings) -> Option<u64> {
    let folder = process::state_dir(Some(settings));
    let answer = process::small_runtime().ok()?.block_on(aviary_sensor::ask(&folder, json!({"ask": "status"})));
    answer.ok()?["pid"].as_u64()
}

/// What is found beyond the file, and how many ports the running canary of this process id holds.
fn findings(settings: &Settings, file: &Path, running: Option<u64>) -> (Vec<Problem>, usize) {
    let whole = || Location::whole(&file.into());
    let vault = aviary_service::MemoryVault::default();
    let plan = aviary_sensor::Plan::build(settings, &vault);
    let mut found = Vec::new();
    for PlannedOutput { handler, output, .. } in &plan.outputs {
        if let Err(why) = output {
            let place = handler.place_of(&why.option).cloned().unwrap_or_else(whole);
            found.push(Problem::warning(place, format!("{} `{}`: {why}", handler.word(), handler.name)));
        }
    }
    for service in &plan.services {
        if let Err(why) = &service.service {
            found.push(Problem::warning(whole(), format!("service {}: {why}", service.title())));
        }
    }
    let (trouble, held) = aviary_sensor::port_trouble(&plan, running);
    found.extend(trouble.into_iter().map(|trouble| Problem::warning(whole(), trouble)));
    (found, held)
}

fn show(file: Option<&Path>) -> anyhow::Result<ExitCode> {
    let loaded = configuration::load(file)?;
    let (_, space) = configuration::read(file)?;
    println!("# {}", loaded.path.display());
    show_settings(&loaded.settings, "", &space, |_| true);
    for host in loaded.settings.hosts() {
        let settings = &host.settings;
        println!("# host {}, in events {}", host.name, host.node_id(&loaded.settings.node_id()));
        // What a host does not play is at its default in each of them.
        let in_force = |name: &str| {
            let family = name.split('.').next().unwrap_or_default();
            family == "device" || settings.flag(&format!("{family}.enabled"))
        };
        show_settings(settings, &format!("hosts.{}.", host.name), &space, in_force);
    }
    Ok(ExitCode::SUCCESS)
}

/// Every key that is set, and the defaults of those that are in force.
fn show_settings(settings: &Settings, prefix: &str, space: &KeySpace, in_force: impl Fn(&str) -> bool) {
    for key in space.keys() {
        let pattern = key.name.split_once('#');
        for (name, value) in settings.iter() {
            let given = name == key.name
                || pattern.is_some_and(|(before, after)| name.starts_with(before) && name.ends_with(after));
            if given {
                println!("{prefix}{name} = {value}");
            }
        }
        if pattern.is_none() && !settings.is_set(key.name) && in_force(key.name) {
            let own = key.default.split_whitespace().collect::<Vec<_>>().join(" ");
            match (settings.persona(), settings.default_of(key.name)) {
                (Some(persona), Some(value)) if serde_json::from_str(key.default).ok().as_ref() != Some(value) => {
                    println!("{prefix}{} = {value}  # persona {persona}", key.name);
                }
                // A host's default is made of the canary's.
                _ if own.is_empty() || (!prefix.is_empty() && key.name == "device.node_id") => {}
                _ => println!("{prefix}{} = {own}  # default", key.name),
            }
        }
    }
}

/// Writes a file that is not there yet.
pub(crate) fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o640).open(path);
    match made {
        Ok(mut file) => {
            file.write_all(text.as_bytes()).with_context(|| format!("{} cannot be written", path.display()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            bail!("{} is there already; move it away first", path.display())
        }
        Err(error) => Err(error).with_context(|| format!("{} cannot be made", path.display())),
    }
}
