//! What all subcommands share of being a process: state folder, logging, signals, exit codes.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use aviary_config::Settings;
use aviary_sensor::{Canary, Identity, PortRule, Reload, Startup};
use tokio::signal::unix::{SignalKind, signal};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::configuration;
use crate::joined::{self, Joined};

/// Threads that may block at once: host keys, key exchanges, honeycred hashes, reads of the journal.
const BLOCKING_THREADS: usize = 16;
/// Threads that serve; more do not help a canary.
const WORKERS: usize = 4;

/// How to run a canary from its config.
pub(crate) struct Run {
    pub(crate) config: Option<PathBuf>,
    pub(crate) state: Option<PathBuf>,
    pub(crate) user: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) keep_root: bool,
    /// Nothing but users' modules.
    pub(crate) only_modules: bool,
}

/// The folder of journal, secrets and control socket: the setting, the environment, or the usual
/// place for the user.
pub(crate) fn state_dir(settings: Option<&Settings>) -> PathBuf {
    if let Some(folder) = std::env::var_os("AVIARY_STATE_DIR").filter(|folder| !folder.is_empty()) {
        return folder.into();
    }
    // Only where the file names it: the key's default is root's, and an ordinary user has another.
    if let Some(settings) = settings.filter(|settings| settings.is_set("aviary.state_dir"))
        && let Some(folder) = settings.path("aviary.state_dir")
    {
        return folder;
    }
    if nix::unistd::Uid::effective().is_root() {
        return "/var/lib/aviary".into();
    }
    let home = std::env::home_dir().unwrap_or_else(std::env::temp_dir);
    match std::env::var_os("XDG_STATE_HOME").filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder).join("aviary"),
        None => home.join(".local/state/aviary"),
    }
}

/// Log lines to standard error; `AVIARY_LOG` names the least level, `info` if missing.
pub(crate) fn start_logging() {
    let level = std::env::var("AVIARY_LOG").ok().and_then(|level| level.parse().ok()).unwrap_or(tracing::Level::INFO);
    // This one tells of each of its tries, and of errors that an output tells itself.
    let chatty = if level > tracing::Level::INFO { LevelFilter::from_level(level) } else { LevelFilter::OFF };
    let started = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .finish()
        .with(Targets::new().with_default(level).with_target("rskafka", chatty))
        .try_init();
    drop(started);
    // One cryptographic provider for whatever speaks TLS in this process.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A runtime for asking a canary.
pub(crate) fn small_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// A runtime for a canary.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.min(WORKERS))
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(std::time::Duration::from_secs(2))
        .enable_all()
        .build()
        .context("runtime cannot be started")
}

/// Resolves at SIGTERM or SIGINT.
pub(crate) async fn told_to_stop() {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::error!("signals cannot be watched; only SIGKILL will stop this");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

/// Reloads at each SIGHUP.
pub(crate) async fn reload_on_hangup(reload: Reload) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    while hangup.recv().await.is_some() {
        let reload = Arc::clone(&reload);
        match tokio::task::spawn_blocking(move || reload()).await {
            Ok(Ok(changes)) => tracing::info!(?changes, "reloaded"),
            Ok(Err(reason)) => tracing::error!("not reloaded, nothing changed: {reason}"),
            Err(error) => tracing::error!(%error, "not reloaded"),
        }
    }
}

/// Runs a canary from its config until it is told to stop.
pub(crate) fn run(run: Run) -> anyhow::Result<ExitCode> {
    start_logging();
    let mut loaded = configuration::load(run.config.as_deref())?;
    let own = loaded.path.clone();
    let state_dir = run.state.clone().unwrap_or_else(|| state_dir(Some(&loaded.settings)));
    let joined = Joined::open(&state_dir)?;
    if let Some(pushed) = joined.as_ref().and_then(Joined::config) {
        // A hub's config that this version cannot read any more is no reason to see nothing.
        match configuration::load(Some(&pushed)) {
            Ok(pushed) => loaded = pushed,
            Err(error) => tracing::error!("the hub's config is not used: {error:#}"),
        }
    }
    loaded.log_warnings();
    let path = loaded.path.clone();
    let adjust = adjusting(run.only_modules, joined.clone());
    let settings = adjust(loaded.settings)?;
    let startup = Startup {
        state_dir,
        settings,
        port_rule: PortRule::AsConfigured,
        identity: Identity { user: run.user, group: run.group },
        keep_capabilities: run.keep_root,
    };
    let canary = Canary::start(startup)?;
    for post in canary.posts().iter().filter(|post| post.failure.is_none()) {
        let address = post.address.map_or_else(|| "*".to_owned(), |address| address.to_string());
        tracing::info!(host = post.host.as_deref(), service = post.label, address, port = post.port, "listening");
    }
    let runtime = runtime()?;
    runtime.block_on(async {
        let find: Find = match joined.clone() {
            Some(joined) => Arc::new(move || joined.config().unwrap_or_else(|| own.clone())),
            None => Arc::new(move || own.clone()),
        };
        let reload = reload_from(&canary, Arc::clone(&find), adjust);
        let member = joined.map(|joined| {
            let conversation = joined::run(joined, Arc::clone(&canary), find, Arc::clone(&reload));
            tokio::runtime::Handle::current().spawn(conversation)
        });
        let hangup = tokio::runtime::Handle::current().spawn(reload_on_hangup(Arc::clone(&reload)));
        canary.run(path.display().to_string(), reload, told_to_stop()).await;
        hangup.abort();
        if let Some(member) = member {
            member.abort();
        }
    });
    end(runtime);
    Ok(ExitCode::SUCCESS)
}

/// Ends a runtime without waiting for a thread that hangs in a write or makes a key.
pub(crate) fn end(runtime: tokio::runtime::Runtime) {
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
}

/// What a command makes of the file's settings before a canary gets them.
pub(crate) type Adjust = Arc<dyn Fn(Settings) -> anyhow::Result<Settings> + Send + Sync>;

/// Where the file is that a canary runs on; it may change.
pub(crate) type Find = Arc<dyn Fn() -> PathBuf + Send + Sync>;

fn adjusting(only_modules: bool, joined: Option<Joined>) -> Adjust {
    Arc::new(move |settings| {
        let settings = if only_modules { configuration::only_modules(&settings)? } else { settings };
        Ok(match &joined {
            Some(joined) => joined.adjust(settings),
            None => settings,
        })
    })
}

/// Reloading from a file.
pub(crate) fn reload_from(canary: &Arc<Canary>, find: Find, adjust: Adjust) -> Reload {
    let canary = Arc::clone(canary);
    let turn = std::sync::Mutex::new(());
    Arc::new(move || {
        // One at a time, from the file to the last port: the file as it is last is what holds.
        let _turn = turn.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let loaded = configuration::load(Some(&find())).map_err(|error| format!("{error:#}"))?;
        loaded.log_warnings();
        canary.reload(&adjust(loaded.settings).map_err(|error| error.to_string())?)
    })
}

/// Prints a line; whether somebody still reads.
pub(crate) fn print_line(text: &str) -> bool {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).is_ok()
}

/// The exit code; an error goes to standard error with its causes.
pub(crate) fn exit(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// Makes a folder that nobody else can read, if it is not there.
pub(crate) fn make_private(folder: &std::path::Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.with_context(|| format!("`{}` cannot be made", folder.display()))
}
