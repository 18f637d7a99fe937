//! Events a second that a hub takes and keeps up with: parsed, judged by rules, stored durably and merged into incidents.
//!
//! The traffic is that of many canaries at once: many sources, most of which guess passwords, some of which look around
//! or sweep ports. Either it goes to the real program over HTTPS, as canaries send it, or straight into the hub's code in
//! this process, which leaves the network and TLS out.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use aviary_hub::{Hub, Source, Word};
use aviary_store::{Options, Sqlite};
use jiff::tz::TimeZone;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::process::{machine, memory, processor_time};
use crate::report::{micros, percentile, table, verdict};
use crate::servers::{Server, free_port, here};

/// Events a second that are wanted.
const TARGET: f64 = 20_000.0;
/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Length of a token's text.
const TOKEN: usize = 68;

/// Measure how many events a second a hub takes, with incidents on
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The program
    #[arg(long, value_name = "FILE", default_value = "target/release/aviary")]
    aviary: PathBuf,
    /// Leave the network out: the hub's code in this process
    #[arg(long)]
    inside: bool,
    /// How long, in seconds
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Length of the slices of which the slowest is shown, in seconds
    #[arg(long, default_value_t = 10)]
    slice: u64,
    /// Who send at once, each waiting for the answer to its batch
    #[arg(long, default_value_t = 8)]
    senders: u64,
    /// Events of a batch
    #[arg(long, default_value_t = 500)]
    batch: u64,
    /// Sources of attacks
    #[arg(long, default_value_t = 2000)]
    sources: u64,
    /// Canaries that they meet
    #[arg(long, default_value_t = 200)]
    canaries: u64,
}

/// Where events go.
enum Way {
    Https { client: reqwest::Client, url: String, token: String },
    Inside(Arc<Hub>),
}

/// What senders share.
struct Run {
    way: Way,
    begun: Instant,
    seconds: u64,
    batch: u64,
    sources: u64,
    canaries: u64,
    next: AtomicU64,
    taken: AtomicU64,
}

/// Measures and prints.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    println!("{}\n", machine());
    let mut server = None;
    let folder;
    let state;
    let way = if arguments.inside {
        folder = Some(tempfile::tempdir()?);
        state = folder.as_ref().map_or_else(PathBuf::new, |folder| folder.path().to_owned());
        let store = Sqlite::open(Options::at(state.join("hub.db")))?;
        Way::Inside(Arc::new(Hub::new(Arc::new(store), aviary_hub::clock::now).await?))
    } else {
        let (running, way) = start(&arguments.aviary)?;
        state = running.folder().join("state");
        server = Some(running);
        way
    };
    let run = Arc::new(Run {
        way,
        begun: Instant::now(),
        seconds: arguments.seconds.max(1),
        batch: arguments.batch.clamp(1, 10_000),
        sources: arguments.sources.max(1),
        canaries: arguments.canaries.max(1),
        next: AtomicU64::new(0),
        taken: AtomicU64::new(0),
    });
    let hub = server.as_ref().map_or_else(std::process::id, |server| server.pid);
    let before = processor_time(hub)?;
    let mut senders = JoinSet::new();
    for _ in 0..arguments.senders.max(1) {
        senders.spawn(send(Arc::clone(&run)));
    }
    let slices = slices(&run, arguments.slice.max(1)).await;
    let mut answers = Vec::new();
    while let Some(sender) = senders.join_next().await {
        answers.extend(sender??);
    }
    let took = run.begun.elapsed();
    let spent = processor_time(hub)?.saturating_sub(before);
    answers.sort_unstable();
    let taken = run.taken.load(Ordering::Relaxed);
    print(&arguments, &Figures { taken, took, spent, slices, answers, hub, state })
}

struct Figures {
    taken: u64,
    took: Duration,
    spent: Duration,
    slices: Vec<f64>,
    answers: Vec<Duration>,
    hub: u32,
    state: PathBuf,
}

fn print(arguments: &Arguments, figures: &Figures) -> anyhow::Result<()> {
    let whole = figures.taken as f64 / figures.took.as_secs_f64();
    let slowest = figures.slices.iter().copied().fold(whole, f64::min);
    let resident = memory(figures.hub)?.resident as f64 / 1024.0;
    let way = if arguments.inside { "inside" } else { "HTTPS" };
    let mut rows = vec![["what", "measured", "target", ""].map(str::to_owned).to_vec()];
    let mut row = |what: &str, measured: String, target: &str, met: &str| {
        rows.push([what, &measured, target, met].map(str::to_owned).to_vec());
    };
    row("events a second", format!("{whole:.0}"), ">= 20000", verdict(whole >= TARGET));
    let what = format!("in the slowest {} s", arguments.slice.max(1));
    row(&what, format!("{slowest:.0}"), ">= 20000", verdict(slowest >= TARGET));
    row("events", format!("{} in {:.0} s, {way}", figures.taken, figures.took.as_secs_f64()), "", "");
    for p in [50.0, 99.0] {
        row(
            &format!("answer to a batch of {}, p{p}", arguments.batch),
            micros(percentile(&figures.answers, p)),
            "",
            "",
        );
    }
    let each = figures.spent.as_secs_f64() * 1e6 / (figures.taken as f64).max(1.0);
    let what =
        if arguments.inside { "processor time an event, with making it" } else { "the hub's processor time an event" };
    row(what, format!("{each:.1} us"), "", "");
    row("resident memory at the end", format!("{resident:.0} MiB"), "", "");
    let disk = files(&figures.state)? as f64;
    row("on disk an event", format!("{:.0} bytes", disk / (figures.taken as f64).max(1.0)), "", "");
    table(&rows);
    Ok(())
}

/// Events a second of each whole slice, until the time is over.
async fn slices(run: &Run, length: u64) -> Vec<f64> {
    let length = Duration::from_secs(length);
    let (mut slices, mut before) = (Vec::new(), 0);
    let mut ticks = tokio::time::interval(length);
    ticks.tick().await;
    while run.begun.elapsed() + length <= Duration::from_secs(run.seconds) + length / 10 {
        ticks.tick().await;
        let now = run.taken.load(Ordering::Relaxed);
        slices.push((now - before) as f64 / length.as_secs_f64());
        before = now;
    }
    slices
}

/// Starts the program, and reads from its words how to reach it.
fn start(aviary: &Path) -> anyhow::Result<(Server, Way)> {
    let aviary = aviary.canonicalize().with_context(|| format!("no program `{}`", aviary.display()))?;
    let folder = tempfile::tempdir()?;
    let port = free_port()?;
    let mut command = Command::new(aviary);
    command.args(["hub", "--listen", &here(port).to_string(), "--state"]).arg(folder.path().join("state"));
    let mut server = Server::spawn(command, folder)?;
    server.await_port(port)?;
    let token = token(server.folder())?;
    // Whom it talks to is clear, and the certificate is of this minute.
    let client = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).timeout(PATIENCE).build()?;
    Ok((server, Way::Https { client, url: format!("https://{}/api/v1/events", here(port)), token }))
}

/// The first token, as the hub prints it just before it serves.
fn token(folder: &Path) -> anyhow::Result<String> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) {
        let said = std::fs::read_to_string(folder.join("stdout"))?;
        let found = said.split_whitespace().find(|word| word.starts_with("avt_") && word.len() == TOKEN);
        if let Some(token) = found {
            return Ok(token.to_owned());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("the hub prints no token")
}

/// Sends batches until the time is over, and gives how long each answer took.
async fn send(run: Arc<Run>) -> anyhow::Result<Vec<Duration>> {
    let mut answers = Vec::new();
    while run.begun.elapsed() < Duration::from_secs(run.seconds) {
        let first = run.next.fetch_add(run.batch, Ordering::Relaxed);
        let time = aviary_hub::clock::now();
        let lines: Vec<String> = (first..first + run.batch).map(|number| run.line(number, time)).collect();
        let asked = Instant::now();
        let taken = run.way.hand_over(&lines, first / run.batch % run.canaries).await?;
        if taken != run.batch {
            bail!("{taken} of {} events were taken", run.batch);
        }
        answers.push(asked.elapsed());
        run.taken.fetch_add(taken, Ordering::Relaxed);
    }
    Ok(answers)
}

impl Way {
    /// How many of these lines were stored.
    async fn hand_over(&self, lines: &[String], canary: u64) -> anyhow::Result<u64> {
        match self {
            Self::Inside(hub) => {
                let source = Source { sensor: format!("canary-{canary}"), site: String::new(), nodes: Vec::new() };
                let words = hub.take(&source, lines).await?;
                Ok(words.iter().map(|word| u64::from(matches!(word, Word::Accepted(_)))).sum())
            }
            Self::Https { client, url, token } => {
                let request = client.post(url).bearer_auth(token).body(lines.join("\n"));
                let answer = request.send().await?;
                let status = answer.status();
                let said = answer.text().await?;
                if !status.is_success() {
                    bail!("the hub says {status}: {said}");
                }
                let said: serde_json::Value = serde_json::from_str(&said)?;
                said.get("accepted").and_then(serde_json::Value::as_u64).context("no `accepted` in the answer")
            }
        }
    }
}

impl Run {
    /// An event as a canary writes it. Of ten, seven are logins, two connections and one a step of a sweep.
    fn line(&self, number: u64, time: aviary_event::Timestamp) -> String {
        // Neighbours in a batch have different sources; Fibonacci's constant spreads them.
        let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let source = spread % self.sources;
        let canary = spread / self.sources % self.canaries;
        let address = format!("10.{}.{}.{}", 64 + source / 62_500 % 64, source / 250 % 250, source % 250 + 1);
        let (logtype, port, service, kind, data) = match number % 10 {
            0..7 => {
                let password = spread % 5003;
                let data = format!(
                    r#"{{"LOCALVERSION": "SSH-2.0-OpenSSH_9.2p1 Debian-2", "PASSWORD": "guess-{password}", "REMOTEVERSION": "SSH-2.0-Go", "USERNAME": "root"}}"#
                );
                (4002, 22, "ssh", "login", data)
            }
            7 | 8 => (4000, 22, "ssh", "connection", format!(r#"{{"SESSION": "{spread}"}}"#)),
            _ => {
                let port = spread % 1000 + 1;
                (
                    5001,
                    port,
                    "portscan",
                    "scan",
                    format!(r#"{{"FLAGS": "SYN", "LEN": "44", "TTL": "{}"}}"#, spread % 64),
                )
            }
        };
        // As canaries make them: version 7, the time first.
        let millis = u128::from(time.as_micros().unsigned_abs() / 1000);
        let id = Uuid::from_u128(millis << 80 | 7 << 76 | 2 << 62 | u128::from(number));
        let rfc = time.to_rfc3339(&TimeZone::UTC);
        let plain = rfc.replace('T', " ");
        let plain = plain.trim_end_matches('Z');
        format!(
            r#"{{"aviary": {{"id": "{id}", "kind": "{kind}", "seq": {number}, "service": "{service}", "time": "{rfc}"}}, "dst_host": "10.9.{}.{}", "dst_port": {port}, "local_time": "{plain}", "local_time_adjusted": "{plain}", "logdata": {data}, "logtype": {logtype}, "node_id": "canary-{canary}", "src_host": "{address}", "src_port": {}, "utc_time": "{plain}"}}"#,
            canary / 250,
            canary % 250 + 1,
            40_000 + number % 20_000
        )
    }
}

/// Bytes of the files in a folder.
fn files(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[tokio::test]
    async fn what_is_sent_is_taken_and_comes_to_incidents() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Sqlite::open(Options::at(folder.path().join("hub.db"))).expect("a store");
        let hub = Arc::new(Hub::new(Arc::new(store), aviary_hub::clock::now).await.expect("a hub"));
        let run = Run {
            way: Way::Inside(Arc::clone(&hub)),
            begun: Instant::now(),
            seconds: 1,
            batch: 200,
            sources: 20,
            canaries: 5,
            next: AtomicU64::new(0),
            taken: AtomicU64::new(0),
        };
        let lines: Vec<String> = (0..200).map(|number| run.line(number, aviary_hub::clock::now())).collect();
        assert_eq!(lines.iter().collect::<HashSet<_>>().len(), 200);
        assert_eq!(run.way.hand_over(&lines, 0).await.expect("taken"), 200);
        let query = aviary_store::IncidentQuery { limit: 100, ..aviary_store::IncidentQuery::default() };
        let incidents = hub.store().incidents(query).await.expect("a page").rows;
        assert_eq!(incidents.len(), 20);
        assert_eq!(incidents.iter().map(|row| row.incident.events).sum::<u64>(), 200);
    }
}
