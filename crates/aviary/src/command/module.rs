//! `aviary module`: begin, check and test a module in Rhai.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use aviary_script::{Module, Rehearsal, TemplateShape, Transport};

use crate::command::config::write_new;

/// Modules of your own, in Rhai
#[derive(clap::Subcommand)]
#[command(after_help = "Example:\n  aviary module new teapot && aviary module test teapot.rhai teapot.txt")]
pub(super) enum Command {
    New(New),
    Check(Check),
    Test(Test),
}

/// Write a module to begin with, and a transcript to test it
#[derive(clap::Args)]
#[command(after_help = "Example:\n  aviary module new teapot --folder /etc/aviary/modules")]
pub(super) struct New {
    /// Its name: lower-case letters, digits and `-`
    name: String,
    /// It gets bytes as they come, not lines
    #[arg(long, conflicts_with = "udp")]
    bytes: bool,
    /// It gets datagrams
    #[arg(long)]
    udp: bool,
    /// Where the two files go
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    folder: PathBuf,
}

/// Compile modules, and show what they declare
#[derive(clap::Args)]
pub(super) struct Check {
    /// The modules
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Play a transcript to a module, and show replies and events
///
/// Nothing listens. Where the transcript says what must come of it, a difference is shown and fails.
#[derive(clap::Args)]
#[command(after_help = "A transcript has a line for each thing:\n  \
    > what the peer sends, with \\r \\n \\t \\\\ and \\xNN\n  \
    < what is sent back\n  \
    ! 99000 {\"KEY\": \"of an event\"}\n  \
    ~ 250 (a pause, in milliseconds)\n  \
    . (the module closes)\n  \
    = (the peer closes)\n\n\
    Example:\n  printf '> hello\\\\r\\\\n\\n' | aviary module test teapot.rhai -")]
pub(super) struct Test {
    /// The module
    module: PathBuf,
    /// The transcript; `-` reads it from the terminal or a pipe
    transcript: PathBuf,
}

pub(super) fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::New(arguments) => new(&arguments),
        Command::Check(arguments) => check(&arguments),
        Command::Test(arguments) => test(&arguments),
    }
}

fn new(arguments: &New) -> anyhow::Result<ExitCode> {
    let shape = match (arguments.bytes, arguments.udp) {
        (true, _) => TemplateShape::Bytes,
        (_, true) => TemplateShape::Datagrams,
        _ => TemplateShape::Lines,
    };
    let name = &arguments.name;
    let Some((script, transcript)) = aviary_script::template(name, shape) else {
        bail!("`{name}` cannot be a module's name; accepted: lower-case letters, digits, `-`, a letter first");
    };
    let files = [(format!("{name}.rhai"), script), (format!("{name}.txt"), transcript)];
    for (file, text) in files {
        let path = arguments.folder.join(file);
        write_new(&path, &text)?;
        println!("{}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn check(arguments: &Check) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for file in &arguments.files {
        match compile(file) {
            Ok(module) => println!("{}", describe(&module)),
            Err(error) => {
                eprintln!("error: {error:#}");
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

fn describe(module: &Module) -> String {
    let manifest = &module.manifest;
    let name = &manifest.name;
    let transport = match manifest.transport {
        Transport::Tcp => "tcp",
        Transport::Tls => "tls",
        Transport::Udp => "udp",
    };
    let mut text =
        format!("{name}: {} ({}/{transport}, logtype {})", manifest.summary, manifest.port, manifest.logtype);
    let keys = [("enabled".to_owned(), "true".to_owned()), ("port".to_owned(), manifest.port.to_string())];
    let own = manifest.config.iter().map(|(key, default)| (key.clone(), default.to_string()));
    for (key, default) in keys.into_iter().chain(own) {
        text.push_str(&format!("\n  {name}.{key} = {default}"));
    }
    text
}

fn test(arguments: &Test) -> anyhow::Result<ExitCode> {
    let module = compile(&arguments.module)?;
    let transcript = if arguments.transcript == Path::new("-") {
        std::io::read_to_string(std::io::stdin()).context("the transcript cannot be read")?
    } else {
        read(&arguments.transcript)?
    };
    let rehearsal = aviary_script::rehearse(module, &transcript)
        .map_err(|why| anyhow::anyhow!("{}: {why}", arguments.transcript.display()))?;
    let mut out = std::io::stdout().lock();
    for line in &rehearsal.lines {
        writeln!(out, "{line}")?;
    }
    Ok(verdict(&rehearsal))
}

fn verdict(rehearsal: &Rehearsal) -> ExitCode {
    let failed = rehearsal.lines.iter().any(|line| line.starts_with("! 32100 "));
    if failed {
        eprintln!("error: the module failed; see the event 32100");
    }
    if let Some((at, expected, happened)) = rehearsal.difference().filter(|_| rehearsal.expects_something()) {
        let shown = |line: Option<&str>| line.unwrap_or("nothing more").to_owned();
        eprintln!(
            "error: line {at} is not as the transcript says\nexpected: {}\nhappened: {}",
            shown(expected),
            shown(happened)
        );
        return ExitCode::FAILURE;
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// A module whose prints are shown.
fn compile(file: &Path) -> anyhow::Result<Module> {
    let text = read(file)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let module = Module::compile_with(&name, &text, |text| eprintln!("print: {text}"))?;
    if file.file_stem().is_none_or(|stem| stem != module.manifest.name.as_str()) {
        bail!("module `{name}`: its name is `{0}`; name the file {0}.rhai", module.manifest.name);
    }
    Ok(module)
}

fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))
}
