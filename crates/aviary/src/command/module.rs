//! `aviary module`: begin, check and test a module or an output in Rhai.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use aviary_script::{Emitter, Module, Rehearsal, TemplateShape, Transport};

use crate::command::config::write_new;

/// Modules and outputs of your own, in Rhai
#[derive(clap::Subcommand)]
#[command(after_help = "Example:\n  aviary module new teapot && aviary module test teapot.rhai teapot.txt")]
pub(super) enum Command {
    New(New),
    Check(Check),
    Test(Test),
}

/// Write a module or an output to begin with, and a transcript to test it
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  aviary module new teapot --folder /etc/aviary/modules\n  \
    aviary module new --output siem --folder /etc/aviary")]
pub(super) struct New {
    /// Its name: lower-case letters, digits and `-`
    name: String,
    /// It gets bytes as they come, not lines
    #[arg(long, conflicts_with = "udp")]
    bytes: bool,
    /// It gets datagrams
    #[arg(long)]
    udp: bool,
    /// It is an output: it sends events on
    #[arg(long, conflicts_with_all = ["bytes", "udp"])]
    output: bool,
    /// Where the two files go
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    folder: PathBuf,
}

/// Compile modules and outputs, and show what they declare
#[derive(clap::Args)]
pub(super) struct Check {
    /// The modules and outputs
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Play a transcript to a module, and show replies and events; to an output, and show what it would send
///
/// Nothing listens, and nothing is sent. Where the transcript says what must come of it, a difference is shown and fails.
#[derive(clap::Args)]
#[command(after_help = "A transcript has a line for each thing:\n  \
    > what the peer sends, with \\r \\n \\t \\\\ and \\xNN\n  \
    < what is sent back\n  \
    ! 99000 {\"KEY\": \"of an event\"}\n  \
    ~ 250 (a pause, in milliseconds)\n  \
    . (the module closes)\n  \
    = (the peer closes)\n\n\
    A transcript of an output:\n  \
    > {\"an event's\": \"line\"}\n  \
    < siem what is sent to the destination `siem`\n  \
    ! why the event is not sent\n\n\
    Example:\n  printf '> hello\\\\r\\\\n\\n' | aviary module test teapot.rhai -")]
pub(super) struct Test {
    /// The module or output
    module: PathBuf,
    /// The transcript; `-` reads it from the terminal or a pipe
    transcript: PathBuf,
    /// Settings of an output, as its handler has them: {"ports": [22]}
    #[arg(long, value_name = "JSON")]
    settings: Option<String>,
}

pub(super) fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::New(arguments) => new(&arguments),
        Command::Check(arguments) => check(&arguments),
        Command::Test(arguments) => test(&arguments),
    }
}

fn new(arguments: &New) -> anyhow::Result<ExitCode> {
    let shape = match arguments {
        New { bytes: true, .. } => TemplateShape::Bytes,
        New { udp: true, .. } => TemplateShape::Datagrams,
        New { output: true, .. } => TemplateShape::Output,
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
        let described = read(file).and_then(|text| {
            if aviary_script::is_output(&text) {
                emitter(file, &text).map(|output| describe_output(file, &output))
            } else {
                compile(file, &text).map(|module| describe(&module))
            }
        });
        match described {
            Ok(text) => println!("{text}"),
            Err(error) => {
                eprintln!("error: {error:#}");
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

fn describe_output(file: &Path, output: &Emitter) -> String {
    let declared = &output.declared;
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    let mut text = format!("{name}: {} (output)", declared.summary);
    for (key, default) in declared.settings.iter().flatten() {
        text.push_str(&format!("\n  settings.{key} = {default}"));
    }
    for name in &declared.destinations {
        text.push_str(&format!("\n  destinations.{name}"));
    }
    text
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
    let script = read(&arguments.module)?;
    let transcript = if arguments.transcript == Path::new("-") {
        std::io::read_to_string(std::io::stdin()).context("the transcript cannot be read")?
    } else {
        read(&arguments.transcript)?
    };
    let rehearsal = if aviary_script::is_output(&script) {
        let output = emitter(&arguments.module, &script)?;
        let settings = serde_json::from_str(arguments.settings.as_deref().unwrap_or("{}"));
        let settings = output.settings(&settings.context("the settings are no JSON object")?);
        let settings = settings.map_err(|(key, why)| anyhow::anyhow!("the setting `{key}` {why}"))?;
        aviary_script::rehearse_output(&output, &settings, &transcript)
    } else if arguments.settings.is_some() {
        bail!("settings are an output's, and `{}` is a module", arguments.module.display());
    } else {
        aviary_script::rehearse(compile(&arguments.module, &script)?, &transcript)
    };
    let rehearsal = rehearsal.map_err(|why| anyhow::anyhow!("{}: {why}", arguments.transcript.display()))?;
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

/// An output whose prints are shown.
fn emitter(file: &Path, text: &str) -> anyhow::Result<Emitter> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    Ok(Emitter::compile_with(&name, text, |text| eprintln!("print: {text}"))?)
}

/// A module whose prints are shown.
fn compile(file: &Path, text: &str) -> anyhow::Result<Module> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let module = Module::compile_with(&name, text, |text| eprintln!("print: {text}"))?;
    if file.file_stem().is_none_or(|stem| stem != module.manifest.name.as_str()) {
        bail!("module `{name}`: its name is `{0}`; name the file {0}.rhai", module.manifest.name);
    }
    Ok(module)
}

fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))
}
