//! `aviary simulate`: events of sensors that do not exist.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use aviary_event::{Event, Timestamp};
use aviary_output::{Blueprint, DeliveryError, Output};
use aviary_simulate::{Options, Simulation};
use serde_json::{Map, Value, json};

use crate::process;

/// Events that go out together at most.
const TOGETHER: usize = 1000;
/// How often is looked whether the next events are due.
const TICK: Duration = Duration::from_millis(50);
/// Wait before a hub is asked again that takes nothing.
const AGAIN: Duration = Duration::from_secs(2);

/// Write or send events of sensors that do not exist, the same for the same seed
///
/// Strangers knock, ask and guess passwords; into that come, again and again, a sweep of all sensors, a spray of one
/// password over many users, and a worm.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  aviary simulate --events 100000 > events.ndjson\n  \
    aviary simulate --hub https://127.0.0.1:8443 --token-file tokens --verify ca.crt --start now --rate 500")]
pub(super) struct Arguments {
    /// How many sensors
    #[arg(long, value_name = "COUNT", default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    sensors: u16,
    /// Chance begins here
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// How many events
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    events: usize,
    /// Time of the first event, or `now`
    #[arg(long, value_name = "TIME", default_value = "2026-01-01T00:00:00Z")]
    start: String,
    /// Visits of strangers a second of the simulated time; the more, the denser are the events
    #[arg(long, value_name = "NUMBER", default_value_t = 0.2)]
    pace: f64,
    /// Only strangers: no sweep, spray or worm
    #[arg(long)]
    no_scenes: bool,
    /// Events a second that are written or sent; as fast as can be if missing
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Where lines are written; standard output if missing
    #[arg(long, value_name = "FILE", conflicts_with = "hub")]
    to: Option<PathBuf>,
    /// A hub that gets them instead
    #[arg(long, value_name = "URL", requires = "token_file")]
    hub: Option<String>,
    /// A file with a token for the hub, or one a line for each sensor
    #[arg(long, value_name = "FILE", requires = "hub")]
    token_file: Option<PathBuf>,
    /// The hub's certificate, or that of its authority, in PEM
    #[arg(long, value_name = "FILE", requires = "hub")]
    verify: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let start = match arguments.start.as_str() {
        "now" => aviary_hub::clock::now(),
        text => match Timestamp::parse_rfc3339(text) {
            Some(start) => start,
            None => bail!("`--start` is no time; accepted: `now`, or a time with zone such as 2026-11-25T00:00:00Z"),
        },
    };
    if !(arguments.pace.is_finite() && arguments.pace > 0.0) {
        bail!("`--pace` is not above 0");
    }
    let options = Options {
        seed: arguments.seed,
        sensors: usize::from(arguments.sensors),
        start,
        pace: arguments.pace,
        scenes: !arguments.no_scenes,
    };
    let mut events = Simulation::new(options).take(arguments.events);
    let begun = Instant::now();
    let mut sent = 0_usize;
    let mut sink = Sink::open(arguments)?;
    let runtime = process::small_runtime()?;
    runtime.block_on(async {
        loop {
            let due = match arguments.rate {
                None => TOGETHER,
                Some(rate) => {
                    let due = begun.elapsed().as_millis().saturating_mul(u128::from(rate)) / 1000;
                    usize::try_from(due).unwrap_or(usize::MAX).saturating_add(1).saturating_sub(sent).min(TOGETHER)
                }
            };
            let batch: Vec<_> = events.by_ref().take(due).collect();
            if batch.is_empty() && due > 0 {
                break;
            }
            sent += batch.len();
            let full = due == TOGETHER;
            sink.take(batch).await?;
            if arguments.rate.is_some() && !full {
                tokio::time::sleep(TICK).await;
            }
        }
        anyhow::Ok(())
    })?;
    sink.end()?;
    let seconds = begun.elapsed().as_secs_f64().max(0.001);
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let rate = sent as f64 / seconds;
    eprintln!("{sent} events in {seconds:.1} s, {rate:.0} a second");
    Ok(ExitCode::SUCCESS)
}

/// Where events go.
enum Sink {
    Lines(Box<dyn Write>),
    Hub(Vec<Box<dyn Output>>),
}

impl Sink {
    fn open(arguments: &Arguments) -> anyhow::Result<Self> {
        if let (Some(url), Some(file)) = (&arguments.hub, &arguments.token_file) {
            process::start_logging();
            let text = std::fs::read_to_string(file);
            let text = text.with_context(|| format!("`{}` cannot be read", file.display()))?;
            let tokens: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            if tokens.is_empty() {
                bail!("`{}` holds no token", file.display());
            }
            let verify = arguments.verify.as_ref().map_or(Value::Bool(true), |path| json!(path.display().to_string()));
            let hubs = tokens.iter().map(|token| hub(url, token, &verify)).collect::<anyhow::Result<_>>()?;
            return Ok(Self::Hub(hubs));
        }
        let lines: Box<dyn Write> = match &arguments.to {
            None => Box::new(BufWriter::new(std::io::stdout())),
            Some(path) => {
                let file = File::create(path).with_context(|| format!("`{}` cannot be written", path.display()))?;
                Box::new(BufWriter::new(file))
            }
        };
        Ok(Self::Lines(lines))
    }

    async fn take(&mut self, batch: Vec<aviary_simulate::Sent>) -> anyhow::Result<()> {
        match self {
            Self::Lines(lines) => {
                let mut text = String::new();
                for sent in &batch {
                    sent.event.write_line(&mut text, true);
                    text.push('\n');
                }
                lines.write_all(text.as_bytes()).context("a line cannot be written")
            }
            Self::Hub(hubs) => {
                let mut parts: Vec<Vec<Arc<Event>>> = hubs.iter().map(|_| Vec::new()).collect();
                let count = parts.len();
                for sent in batch {
                    if let Some(part) = parts.get_mut(sent.sensor % count) {
                        part.push(Arc::new(sent.event));
                    }
                }
                for (hub, events) in hubs.iter_mut().zip(parts) {
                    deliver(hub.as_mut(), &events).await?;
                }
                Ok(())
            }
        }
    }

    fn end(self) -> anyhow::Result<()> {
        match self {
            Self::Lines(mut lines) => lines.flush().context("a line cannot be written"),
            Self::Hub(_) => Ok(()),
        }
    }
}

/// The output that a canary would send with.
fn hub(url: &str, token: &str, verify: &Value) -> anyhow::Result<Box<dyn Output>> {
    let Some((entry, class)) = aviary_outputs::by_class("aviary.hub") else { bail!("there is no output to a hub") };
    let mut options = Map::new();
    options.insert("class".to_owned(), json!(class));
    options.insert("url".to_owned(), json!(url));
    options.insert("token".to_owned(), json!(token));
    options.insert("verify".to_owned(), verify.clone());
    let blueprint =
        Blueprint { name: "simulate", options: &options, format: "%(message)s", extended: true, node_id: "simulate" };
    (entry.build)(&blueprint).map_err(|rejection| anyhow::anyhow!("`{}` {}", rejection.option, rejection.reason))
}

/// Delivers all events; waits for a hub that is full, and says what it refuses.
async fn deliver(hub: &mut dyn Output, events: &[Arc<Event>]) -> anyhow::Result<()> {
    let mut done = 0;
    while let Some(rest) = events.get(done..).filter(|rest| !rest.is_empty()) {
        let Err(failure) = hub.deliver(rest).await else { break };
        done += failure.delivered;
        match failure.error {
            DeliveryError::Temporary { reason, retry_after } => {
                tracing::warn!(reason, "the hub takes nothing now; trying again");
                tokio::time::sleep(retry_after.unwrap_or(AGAIN)).await;
            }
            DeliveryError::Refused { reason } => {
                tracing::warn!(reason, "an event was refused");
                done += 1;
            }
        }
    }
    Ok(())
}
