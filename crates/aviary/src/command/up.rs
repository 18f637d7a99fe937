//! `aviary up`: a canary and a hub in this terminal, joined, with no config at all if there is none.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use aviary_config::{Handler, Settings};
use aviary_sensor::{Canary, Identity, PortRule, Reload, Startup};

use super::companion::{Companion, has_hub};
use super::ways_in::address;
use crate::configuration;
use crate::paint::{Ink, Style, Table};
use crate::process;
use crate::terminal::Painter;

/// Start a canary and its hub here, and show what happens
///
/// The hub keeps what the canary reports, joins it into incidents and shows it in a browser. A config that has an output
/// to another hub starts none.
///
/// Needs no config and no root: a port below 1024 that may not be bound moves to 10000 + port. An output of the config
/// to the console does not run, since events are shown here.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  aviary up\n  aviary up --config opencanary.conf\n  aviary up --listen 0.0.0.0:8443\n  \
        aviary up --canary-only\n  aviary up --json > events.jsonl"
)]
pub(super) struct Arguments {
    /// A config; without it every service runs with its defaults
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Show events as JSON lines
    #[arg(long)]
    json: bool,
    /// Where the console is; 127.0.0.1:8443 if missing, or another port if that one is taken
    #[arg(long, value_name = "ADDRESS", value_parser = address, conflicts_with = "canary_only")]
    listen: Option<SocketAddr>,
    /// Start no hub
    #[arg(long)]
    canary_only: bool,
    /// State folder
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    process::start_logging();
    let state = || arguments.state.clone().unwrap_or_else(|| process::state_dir(None));
    let (settings, path) = match &arguments.config {
        Some(path) => {
            let loaded = configuration::load(Some(path))?;
            loaded.log_warnings();
            (loaded.settings, Some(loaded.path))
        }
        None => (configuration::without_file(&state()), None),
    };
    let state_dir = arguments.state.clone().unwrap_or_else(|| process::state_dir(Some(&settings)));
    let runtime = process::runtime()?;
    let wanted = !arguments.canary_only && !has_hub(&settings);
    let joined = if wanted { Some(runtime.block_on(Companion::open(&state_dir, arguments.listen))?) } else { None };
    let output = joined.as_ref().map(Companion::output);
    let adjust: process::Adjust = Arc::new(move |settings| {
        let settings = without_consoles(settings);
        Ok(match &output {
            Some(output) => settings.with_handler(output.clone()),
            None => settings,
        })
    });
    let settings = adjust(settings)?;
    let canary = Canary::start(Startup {
        settings,
        state_dir,
        port_rule: PortRule::MoveUp,
        identity: Identity::default(),
        keep_capabilities: false,
    })?;
    let console = match &joined {
        Some(joined) => runtime.block_on(joined.greeting())?,
        None => String::new(),
    };
    if arguments.json {
        eprint!("{console}");
    } else {
        print!("{}", greeting(&canary, path.as_deref(), &console, Style::of_stdout()));
    }
    let shown = show_events(&canary, arguments.json);
    runtime.block_on(async {
        let reload = match path.clone() {
            Some(path) => process::reload_from(&canary, Arc::new(move || path.clone()), adjust),
            None => Arc::new(|| Err("this canary has no config file; start it with --config".to_owned())) as Reload,
        };
        let runtime = tokio::runtime::Handle::current();
        let hangup = runtime.spawn(process::reload_on_hangup(Arc::clone(&reload)));
        let shown = runtime.spawn(shown);
        let config = path.map_or_else(|| "built-in defaults".to_owned(), |path| path.display().to_string());
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let hub = joined.map(|joined| {
            runtime.spawn(joined.serve(async move {
                let _ = ended.await;
            }))
        });
        // The hub ends last: it takes what the canary says at its end.
        canary.run(config, reload, process::told_to_stop()).await;
        drop(end);
        hangup.abort();
        shown.abort();
        if let Some(hub) = hub {
            let _ = hub.await;
        }
    });
    process::end(runtime);
    Ok(ExitCode::SUCCESS)
}

/// The settings without outputs to this terminal, where every event is shown already: OpenCanary's own file has one.
/// Standard error that goes elsewhere is a log as any other.
fn without_consoles(settings: Settings) -> Settings {
    let is_shown = |handler: &Handler| {
        let console = aviary_sensor::console_of(handler);
        console == Some("ext://sys.stdout") || (console.is_some() && std::io::stderr().is_terminal())
    };
    settings.without_handlers(is_shown)
}

fn greeting(canary: &Canary, path: Option<&Path>, console: &str, style: Style) -> String {
    let config = path.map_or_else(|| "built-in defaults".to_owned(), |path| path.display().to_string());
    let mut out =
        format!("{} ({config}; state in {})\n\n", style.paint(Ink::Strong, "Aviary"), canary.state_dir().display());
    let mut table = Table::new(&["host", "service", "port", "try it"]);
    for post in canary.posts() {
        let host = post.address.map_or_else(|| "127.0.0.1".to_owned(), |address| address.to_string());
        let port = match post.failure {
            None if post.port == post.configured_port => post.port_name(),
            None => format!("{} (not {})", post.port_name(), post.configured_port),
            Some(_) => "-".to_owned(),
        };
        let (last, ink) = match post.failure {
            Some(why) => (why, Ink::Alarm),
            None => (post.try_line.replace("{host}", &host).replace("{port}", &post.port.to_string()), Ink::Good),
        };
        let host = (post.host.as_deref().unwrap_or("-").to_owned(), None);
        table.row(vec![host, (post.label, Some(Ink::Strong)), (port, None), (last, Some(ink))]);
    }
    out.push_str(&table.without_idle_column().print(style));
    if !console.is_empty() {
        out.push('\n');
        out.push_str(console);
    }
    out.push_str("\nWaiting for somebody to touch it; Ctrl-C stops. In another terminal: aviary status, aviary tail, aviary drill\n\n");
    out
}

/// Prints events until the canary ends. A reader that is slow or gone holds up nothing but itself.
fn show_events(canary: &Arc<Canary>, json: bool) -> impl Future<Output = ()> + use<> {
    let canary = Arc::clone(canary);
    async move {
        let mut events = canary.events();
        let painter = Painter::new(Style::of_stdout(), canary.node_id());
        loop {
            let batch = events.next(64).await;
            let mut text = String::new();
            for event in batch {
                if json {
                    event.write_line(&mut text, true);
                } else if event.is_lifecycle() {
                    continue;
                } else {
                    text.push_str(&painter.event(&event));
                }
                text.push('\n');
            }
            if text.is_empty() {
                continue;
            }
            text.pop();
            let written = tokio::task::spawn_blocking(move || process::print_line(&text)).await;
            if !matches!(written, Ok(true)) {
                return;
            }
        }
    }
}
