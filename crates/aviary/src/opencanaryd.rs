//! `opencanaryd`: OpenCanary's start script, its flags with their meaning.
//!
//! There is no pid file: the control socket says who runs, so that a canary that was killed starts
//! again as if nothing had happened.

use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use aviary_config::Spelling;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::process::{self, Run};
use crate::{command, configuration};

/// How long a start or a stop may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// The environment variable by which `--start` tells the process that it starts to leave the terminal.
const DETACHED: &str = "AVIARY_DETACHED";
/// Where `--copyconfig` writes.
const SAMPLE: &str = "/etc/opencanaryd/opencanary.conf";

const USAGE: &str = "
  OpenCanary, played by Aviary

\topencanaryd [ --start | --dev | --stop | --restart | --copyconfig | --usermodule | --version | --help ] [--uid=nobody] [--gid=nogroup]

\t\t--start\tStart in the background
\t\t--dev\tRun in the foreground
\t\t--stop\tStop the one that runs in the background
\t\t--restart\tStop it, then start it
\t\t--usermodule\tRun in the foreground with only user modules enabled: those of usermodule.path
\t\t--copyconfig\tWrite a config with every key to /etc/opencanaryd/opencanary.conf
\t\t--version\tPrint the version
\t\t--help\tPrint this

\toptions
\t\t--uid=USER\tUser name or number to become once the ports are bound
\t\t--gid=GROUP\tGroup name or number to become once the ports are bound
\t\t--allow-run-as-root\tKeep root's capabilities
";

#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    action: Option<Action>,
    user: Option<String>,
    group: Option<String>,
    allow_root: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Start,
    Dev,
    Stop,
    Restart,
    UserModule,
    CopyConfig,
    Version,
    Help,
}

/// Runs `opencanaryd`.
#[must_use]
pub fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    process::exit(parse(&arguments).and_then(act))
}

fn parse(arguments: &[String]) -> anyhow::Result<Options> {
    let mut options = Options::default();
    for argument in arguments {
        let action = match argument.as_str() {
            "--start" => Action::Start,
            "--dev" => Action::Dev,
            "--stop" => Action::Stop,
            "--restart" => Action::Restart,
            "--usermodule" => Action::UserModule,
            "--copyconfig" => Action::CopyConfig,
            "--version" => Action::Version,
            "--help" | "-h" => Action::Help,
            "--allow-run-as-root" => {
                options.allow_root = true;
                continue;
            }
            other => {
                if let Some(user) = other.strip_prefix("--uid=") {
                    options.user = Some(user.to_owned());
                } else if let Some(group) = other.strip_prefix("--gid=") {
                    options.group = Some(group.to_owned());
                } else {
                    bail!("unknown argument `{other}`\n{USAGE}");
                }
                continue;
            }
        };
        if let Some(first) = options.action {
            bail!("both {first:?} and {action:?} are asked for; give one\n{USAGE}");
        }
        options.action = Some(action);
    }
    Ok(options)
}

fn act(options: Options) -> anyhow::Result<ExitCode> {
    match options.action {
        None => {
            print!("{USAGE}");
            Ok(ExitCode::FAILURE)
        }
        Some(Action::Help) => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        Some(Action::Version) => {
            println!("{} (Aviary; takes the place of OpenCanary 0.9.10)", env!("CARGO_PKG_VERSION"));
            Ok(ExitCode::SUCCESS)
        }
        Some(Action::CopyConfig) => copy_config(Path::new(SAMPLE)),
        Some(action @ (Action::Dev | Action::UserModule)) => {
            warn_of_root(&options);
            if std::env::var_os(DETACHED).is_some() {
                // A session of its own, so that closing the terminal does not reach it. Fails only
                // for a process that leads its group already, which then needs none.
                let _ = nix::unistd::setsid();
            }
            process::run(Run {
                config: None,
                state: None,
                user: options.user,
                group: options.group,
                keep_root: options.allow_root,
                only_modules: action == Action::UserModule,
            })
        }
        Some(Action::Start) => {
            warn_of_root(&options);
            start(&options)
        }
        Some(Action::Stop) => stop(),
        Some(Action::Restart) => {
            // As in OpenCanary, whose script goes on to start when there was nothing to stop.
            if let Err(error) = stop() {
                eprintln!("{error:#}");
            }
            warn_of_root(&options);
            start(&options)
        }
    }
}

fn warn_of_root(options: &Options) {
    if nix::unistd::Uid::effective().is_root() && (options.user.is_none() || options.group.is_none()) {
        eprintln!(
            "WARNING: will stay root{}. Set both --uid=nobody and --gid=nogroup (or another user and group of low privilege) to silence this.",
            if options.allow_root { ", with all its capabilities" } else { ", without its capabilities" }
        );
    }
}

fn state_dir() -> std::path::PathBuf {
    let settings = configuration::load(None).ok().map(|loaded| loaded.settings);
    process::state_dir(settings.as_ref())
}

fn pid_of_running(folder: &Path) -> anyhow::Result<Option<i32>> {
    let asked = process::small_runtime()?.block_on(aviary_sensor::ask(folder, json!({"ask": "status"})));
    match asked {
        Ok(status) => Ok(status["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok())),
        Err(aviary_sensor::ControlError::NotRunning { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Starts `--dev` in the background and waits until it serves, or says why it does not.
fn start(options: &Options) -> anyhow::Result<ExitCode> {
    // Checked here, where the operator sees it.
    let loaded = configuration::load(None)?;
    for problem in &loaded.problems {
        eprintln!("{problem}");
    }
    let folder = process::state_dir(Some(&loaded.settings));
    if let Some(pid) = pid_of_running(&folder)? {
        bail!("opencanaryd runs already as process {pid}");
    }
    let program = std::env::current_exe().context("own program cannot be found")?;
    let mut child = Command::new(program);
    child
        .arg0("opencanaryd")
        .arg("--dev")
        .env(DETACHED, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    if let Some(user) = &options.user {
        child.arg(format!("--uid={user}"));
    }
    if let Some(group) = &options.group {
        child.arg(format!("--gid={group}"));
    }
    if options.allow_root {
        child.arg("--allow-run-as-root");
    }
    let mut private = std::fs::DirBuilder::new();
    private.recursive(true).mode(0o700);
    private.create(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let log = folder.join("opencanaryd.log");
    let to = std::fs::OpenOptions::new().create(true).append(true).mode(0o640).open(&log);
    child.stderr(to.with_context(|| format!("{} cannot be opened", log.display()))?);
    let mut child = child.spawn().context("opencanaryd cannot be started")?;
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait()? {
            bail!("opencanaryd ended at once with {status}; {} says why", log.display());
        }
        if pid_of_running(&folder)? == i32::try_from(child.id()).ok() {
            println!("opencanaryd runs as process {}; its own log is {}", child.id(), log.display());
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("opencanaryd did not begin to serve within {} s; {} may say why", PATIENCE.as_secs(), log.display());
}

fn stop() -> anyhow::Result<ExitCode> {
    let folder = state_dir();
    let Some(pid) = pid_of_running(&folder)? else {
        bail!("opencanaryd does not run (state folder {})", folder.display())
    };
    kill(Pid::from_raw(pid), Signal::SIGTERM).with_context(|| format!("process {pid} cannot be stopped"))?;
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if kill(Pid::from_raw(pid), None).is_err() || pid_of_running(&folder)? != Some(pid) {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("process {pid} did not stop within {} s", PATIENCE.as_secs());
}

fn copy_config(path: &Path) -> anyhow::Result<ExitCode> {
    if path.exists() {
        bail!("A config file already exists at {}, please move it first", path.display());
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    command::config::write_new(path, &aviary_config::sample(&configuration::key_space(), Spelling::Commented))?;
    println!("[*] A sample config file is ready {}\n", path.display());
    println!("[*] Edit your configuration, then launch with \"opencanaryd --start\"");
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> anyhow::Result<Options> {
        parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn takes_opencanarys_flags_in_any_order() {
        let options = parsed("--uid=nobody --start --gid=nogroup --allow-run-as-root").unwrap();
        assert_eq!(options.action, Some(Action::Start));
        assert_eq!((options.user.as_deref(), options.group.as_deref()), (Some("nobody"), Some("nogroup")));
        assert!(options.allow_root);
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        assert!(parsed("--strat").unwrap_err().to_string().contains("`--strat`"));
        assert!(parsed("--start --stop").is_err());
    }
}
