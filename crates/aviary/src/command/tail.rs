//! `aviary tail`: follows the events of a running canary.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use aviary_event::Event;
use serde_json::{Value, json};

use crate::paint::Style;
use crate::process;
use crate::terminal::Painter;

/// Follow the events of the running canary
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  aviary tail --service ssh --kind login\n  \
    aviary tail --last 100 --source 10.1.0.0/16 --json | jq .logdata")]
pub(super) struct Arguments {
    #[command(flatten)]
    which: super::Which,
    /// Begin with this many of the newest events
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 10)]
    last: u64,
    /// Only this service; may be given several times
    #[arg(long, short, value_name = "NAME")]
    service: Vec<String>,
    /// Only this node id, such as a host's; may be given several times
    #[arg(long, value_name = "NAME")]
    node: Vec<String>,
    /// Only this kind: login, connection, command, violation, scan, limit, lifecycle
    #[arg(long, short, value_name = "KIND", value_parser = KINDS, hide_possible_values = true)]
    kind: Vec<String>,
    /// Only this log type
    #[arg(long, value_name = "NUMBER")]
    logtype: Vec<i64>,
    /// Only sources in this address or network
    #[arg(long, value_name = "ADDRESS")]
    source: Vec<String>,
    /// Whole lines as JSON
    #[arg(long)]
    json: bool,
}

const KINDS: [&str; 7] = ["login", "connection", "command", "violation", "scan", "limit", "lifecycle"];

/// What `aviary.service` says of the canary itself.
const ITSELF: &str = "aviary";

/// Whether an event's service is the wanted one; `tcpbanner` stands for `tcpbanner_1` and its like, too.
fn is_of(service: &str, wanted: &str) -> bool {
    let family = service.rsplit_once('_').filter(|(_, number)| number.bytes().all(|byte| byte.is_ascii_digit()));
    service == wanted || family.is_some_and(|(family, _)| family == wanted)
}

/// An error if no event can ever be of this service: none of the canary's, and none that there is.
fn check_service(wanted: &str, status: &Value) -> anyhow::Result<()> {
    let running = status["services"].as_array().into_iter().flatten().filter_map(|service| service["service"].as_str());
    let built_in = aviary_services::ALL.iter().map(|entry| entry.name).chain([aviary_scan::NAME, ITSELF]);
    let mut known: Vec<&str> = running.chain(built_in).collect();
    known.sort_unstable();
    known.dedup();
    if known.iter().any(|known| is_of(known, wanted) || is_of(wanted, known)) {
        return Ok(());
    }
    match aviary_config::nearest(wanted, known.iter().copied()) {
        Some(near) => bail!("no service `{wanted}` is known; did you mean `{near}`?"),
        None => bail!("no service `{wanted}` is known; there are {}", known.join(", ")),
    }
}

struct Filter<'a> {
    arguments: &'a Arguments,
    sources: aviary_config::IgnoreList,
}

impl Filter<'_> {
    fn passes(&self, event: &Event) -> bool {
        let arguments = self.arguments;
        let one_of = |wanted: &[String], word: Option<&str>| {
            wanted.is_empty() || word.is_some_and(|word| wanted.iter().any(|wanted| wanted == word))
        };
        let service = event.service();
        let is_wanted = |wanted: &String| service.is_some_and(|service| is_of(service, wanted));
        (arguments.service.is_empty() || arguments.service.iter().any(is_wanted))
            && one_of(&arguments.node, event.node_id.as_deref())
            && one_of(&arguments.kind, event.aviary.as_ref().map(|ours| ours.kind.as_str()))
            && (arguments.logtype.is_empty() || event.logtype.is_some_and(|number| arguments.logtype.contains(&number)))
            && (self.sources.is_empty()
                || event
                    .src
                    .as_ref()
                    .and_then(|src| src.host.parse().ok())
                    .is_some_and(|address| self.sources.contains(address)))
    }
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut sources = aviary_config::IgnoreList::default();
    for source in &arguments.source {
        sources.add(source).with_context(|| format!("--source {source}"))?;
    }
    let filter = Filter { arguments, sources };
    let folder = arguments.which.state_dir();
    let runtime = process::small_runtime()?;
    let status = runtime.block_on(aviary_sensor::ask(&folder, json!({"ask": "status"})))?;
    arguments.service.iter().try_for_each(|wanted| check_service(wanted, &status))?;
    let painter = Painter::new(Style::of_stdout(), status["node_id"].as_str().unwrap_or_default().to_owned());
    let follow = aviary_sensor::follow(&folder, arguments.last, |line| {
        let Ok(event) = Event::parse(line) else { return true };
        if !filter.passes(&event) {
            return true;
        }
        let text = if arguments.json { line.to_owned() } else { painter.event(&event) };
        process::print_line(&text)
    });
    runtime.block_on(follow)?;
    Ok(ExitCode::SUCCESS)
}
