//! Events a second through journal and delivery loop into each output, next to a bare loop that hands the same
//! bytes to the same receiver.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use aviary_event::{Class, Event, KindInfo, LogData, Timestamp};
use aviary_journal::{Journal, Options, Reader};
use aviary_output::{Batch, Blueprint, Health, Output, Pacing, Source};
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::engines;
use crate::process::{machine, processor_time};
use crate::report::{median, micros, percentile, table, verdict};
use crate::servers::here;
use crate::sinks::{Manners, Sink};

/// 2026-11-22 22:00:00 UTC, microseconds: the clock stands still here.
const NOW: i64 = 1_795_384_800_000_000;
/// How long a run may take.
const PATIENCE: Duration = Duration::from_secs(120);

static KIND: KindInfo = KindInfo {
    number: 2000,
    constant: "LOG_FTP_LOGIN_ATTEMPT",
    class: Class::Login,
    when: "each password",
    keys: &["PASSWORD", "USERNAME"],
    technique: &["T1110"],
};

/// Measure how many events a second go through the journal into each output
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Events of a run; a tenth of it for an output that takes one at a time
    #[arg(long, default_value_t = 200_000)]
    count: u64,
    /// Who report at once, each waiting for its event to be stored before it reports the next
    #[arg(long, default_value_t = 256)]
    reporters: u64,
    /// Rounds; the middle one counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Outputs, of those in the table; all if none is named
    #[arg(long = "output")]
    outputs: Vec<String>,
    /// A Python with chDB, for ClickHouse's own engine
    #[arg(long, value_name = "FILE")]
    clickhouse: Option<PathBuf>,
    /// A nats-server, for JetStream
    #[arg(long, value_name = "FILE")]
    nats: Option<PathBuf>,
    /// Events a second of the one who waits for the journal alone
    #[arg(long, default_value_t = 1000)]
    pace: u32,
}

/// One output and its receiver.
struct Case {
    name: &'static str,
    class: &'static str,
    receiver: Receiver,
    /// Events a second that are wanted.
    target: Option<f64>,
    /// Events of a request or write, which the bare loop uses too.
    batch: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Receiver {
    /// No output at all.
    Nobody,
    File,
    Stream,
    Http(&'static str),
    ClickHouse,
    JetStream,
}

/// All of them.
const CASES: &[Case] = &[
    Case { name: "journal", class: "", receiver: Receiver::Nobody, target: None, batch: 256 },
    Case {
        name: "file",
        class: "logging.handlers.WatchedFileHandler",
        receiver: Receiver::File,
        target: Some(50_000.0),
        batch: 256,
    },
    Case {
        name: "clickhouse",
        class: "aviary.clickhouse",
        receiver: Receiver::Http(""),
        target: Some(20_000.0),
        batch: 1000,
    },
    Case {
        name: "elasticsearch",
        class: "aviary.elasticsearch",
        receiver: Receiver::Http(r#"{"errors":false,"items":[]}"#),
        target: None,
        batch: 256,
    },
    Case { name: "gelf", class: "aviary.gelf", receiver: Receiver::Stream, target: None, batch: 64 },
    Case { name: "syslog", class: "aviary.syslog", receiver: Receiver::Stream, target: None, batch: 64 },
    Case {
        name: "webhook",
        class: "opencanary.logger.WebhookHandler",
        receiver: Receiver::Http(""),
        target: None,
        batch: 1,
    },
    Case {
        name: "clickhouse, its engine",
        class: "aviary.clickhouse",
        receiver: Receiver::ClickHouse,
        target: Some(20_000.0),
        batch: 1000,
    },
    Case {
        name: "jetstream",
        class: "aviary.nats",
        receiver: Receiver::JetStream,
        target: Some(20_000.0),
        batch: 1000,
    },
];

impl Case {
    /// The handler's keys, for a receiver at this place.
    fn handler(&self, folder: &Path, address: SocketAddr) -> Value {
        let place = json!([address.ip().to_string(), address.port()]);
        let url = format!("http://{address}/");
        match self.name {
            "file" => json!({"filename": folder.join("events.log")}),
            "gelf" | "syslog" => json!({"address": place, "transport": "tcp"}),
            "jetstream" => json!({"url": format!("nats://{address}")}),
            _ if self.receiver == Receiver::ClickHouse => {
                json!({"url": url, "user": engines::LOGIN.0, "password": engines::LOGIN.1})
            }
            _ => json!({"url": url}),
        }
    }
}

/// What a run came to.
#[derive(Clone, Copy)]
struct Run {
    /// Events a second that were reported and stored, while they were delivered.
    reported: f64,
    /// Events a second from the first report to the last delivery.
    delivered: f64,
    /// Events a second of what waited in the file when the output began.
    backlog: f64,
    /// The bare loop with the same bytes.
    bare: f64,
    /// Processor time of an event, all of this process: reporters, journal, output, receiver.
    micros: f64,
}

/// Measures and prints.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    println!("{}", machine());
    println!("{} events, {} reporters, {} rounds\n", arguments.count, arguments.reporters, arguments.rounds);
    let wanted = |case: &&Case| match arguments.outputs.as_slice() {
        [] => match case.name {
            "clickhouse, its engine" => arguments.clickhouse.is_some(),
            "jetstream" => arguments.nats.is_some(),
            _ => true,
        },
        names => names.iter().any(|name| name == case.name),
    };
    let cases: Vec<&Case> = CASES.iter().filter(wanted).collect();
    if cases.is_empty() {
        bail!("no such output; there are {}", CASES.iter().map(|case| case.name).collect::<Vec<_>>().join("; "));
    }
    let mut runs: Vec<Vec<Run>> = cases.iter().map(|_| Vec::new()).collect();
    for _ in 0..arguments.rounds.max(1) {
        for (case, runs) in cases.iter().zip(&mut runs) {
            runs.push(measure(case, arguments).with_context(|| case.name)?);
        }
    }
    let head = [
        "output",
        "reported/s",
        "delivered/s",
        "from the file/s",
        "bare loop/s",
        "to bare",
        "us an event",
        "target, a second",
        "",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for (case, runs) in cases.iter().zip(&runs) {
        let middle = |figure: fn(&Run) -> f64| median(runs.iter().map(figure).collect());
        let shown = |figure: f64| if figure > 0.0 { format!("{figure:.0}") } else { String::new() };
        let delivered = middle(|run| run.delivered);
        let ratio = middle(|run| 100.0 * run.delivered / run.bare);
        rows.push(vec![
            case.name.to_owned(),
            shown(middle(|run| run.reported)),
            shown(delivered),
            shown(middle(|run| run.backlog)),
            shown(middle(|run| run.bare)),
            if ratio.is_finite() { format!("{ratio:.1} %") } else { String::new() },
            format!("{:.1}", middle(|run| run.micros)),
            case.target.map(|target| format!(">= {target:.0}")).unwrap_or_default(),
            case.target.map(|target| verdict(delivered >= target)).unwrap_or_default().to_owned(),
        ]);
    }
    table(&rows);
    if arguments.outputs.is_empty() {
        let waits = waits(arguments.pace)?;
        let at = |p: f64| micros(percentile(&waits, p));
        println!("\none who reports {} a second waits for the journal:", arguments.pace);
        println!("p50 {}, p99 {}, p99.9 {}, most {}", at(50.0), at(99.0), at(99.9), at(100.0));
    }
    Ok(())
}

/// How long one who reports at a pace waits for the journal, in order of length.
fn waits(pace: u32) -> anyhow::Result<Vec<Duration>> {
    let folder = tempfile::tempdir()?;
    let (journal, guard) = Journal::open(&Options::at(folder.path().join("journal.db")), || NOW)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut waits = Vec::new();
    runtime.block_on(async {
        let begun = Instant::now();
        for number in 0..pace * 10 {
            tokio::time::sleep_until((begun + Duration::from_secs(1) / pace.max(1) * number).into()).await;
            let event = event(number.into());
            let moment = Instant::now();
            journal.append(event).await.wait().await;
            waits.push(moment.elapsed());
        }
    });
    drop(guard);
    waits.sort_unstable();
    Ok(waits)
}

fn measure(case: &Case, arguments: &Arguments) -> anyhow::Result<Run> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // As the canary has it.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(cores.min(4)).enable_all().build()?;
    let sink = match case.receiver {
        Receiver::Stream => Some(Sink::start(Manners::Reads)?),
        Receiver::Http(body) => Some(Sink::start(Manners::Answers(body))?),
        _ => None,
    };
    let engine = match case.receiver {
        Receiver::ClickHouse => Some(engines::clickhouse(arguments.clickhouse.as_ref().context("--clickhouse")?)?),
        Receiver::JetStream => Some(engines::jetstream(arguments.nats.as_ref().context("--nats")?)?),
        _ => None,
    };
    let address = match (&sink, &engine) {
        (Some(sink), _) => sink.address,
        (None, Some((_, port))) => here(*port),
        (None, None) => here(0),
    };
    let folder = tempfile::tempdir()?;
    let count = if case.batch == 1 { arguments.count / 10 } else { arguments.count };
    let mut options = Options::at(folder.path().join("journal.db"));
    options.max_bytes = 4 << 30;
    let (journal, guard) = Journal::open(&options, || NOW).context("the journal cannot be opened")?;
    let handler = case.handler(folder.path(), address);
    let health = Arc::new(Health::new("bench", || Timestamp::from_micros(NOW)));
    let start = |runtime: &tokio::runtime::Runtime| -> anyhow::Result<Option<watch::Sender<bool>>> {
        if case.receiver == Receiver::Nobody {
            return Ok(None);
        }
        let output = build(case, &handler)?;
        let (stop, stopped) = watch::channel(false);
        let source = Reading(journal.reader("bench"));
        drop(runtime.spawn(aviary_output::run(output, source, Arc::clone(&health), stopped, Pacing::default())));
        Ok(Some(stop))
    };
    let delivered = |until: u64| -> anyhow::Result<()> {
        let begun = Instant::now();
        while case.receiver != Receiver::Nobody && health.report().delivered < until {
            if begun.elapsed() > PATIENCE {
                bail!("{:?}", health.report());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    };
    let own = std::process::id();

    // Reported and delivered at once.
    let stop = start(&runtime)?;
    let spent = processor_time(own)?;
    let begun = Instant::now();
    runtime.block_on(report(&journal, 0, count, arguments.reporters));
    let reported = rate(count, begun.elapsed());
    delivered(count)?;
    let all = rate(count, begun.elapsed());
    let micros = (processor_time(own)?.saturating_sub(spent)).as_secs_f64() * 1e6 / count as f64;
    let bytes = sink.as_ref().map_or(0, Sink::bytes);
    let size = match case.receiver {
        Receiver::File => std::fs::metadata(folder.path().join("events.log"))?.len(),
        _ => bytes,
    };
    if let Some(stop) = stop {
        let _ = stop.send(true);
        runtime.block_on(stop.closed());
    }

    // Delivered from the file, with nobody reporting.
    let mut backlog = 0.0;
    if case.receiver != Receiver::Nobody {
        runtime.block_on(report(&journal, count, count, arguments.reporters));
        let begun = Instant::now();
        let stop = start(&runtime)?;
        delivered(2 * count)?;
        backlog = rate(count, begun.elapsed());
        drop(stop);
    }
    drop(runtime);
    drop(guard);

    let bare = match case.receiver {
        Receiver::Nobody | Receiver::ClickHouse | Receiver::JetStream => 0.0,
        Receiver::File => rate(count, bare_file(&folder.path().join("bare"), size, count, case.batch)?),
        Receiver::Stream | Receiver::Http(_) => {
            let answers = matches!(case.receiver, Receiver::Http(_));
            rate(count, bare_stream(address, size, count, case.batch, answers)?)
        }
    };
    let delivered = if case.receiver == Receiver::Nobody { 0.0 } else { all };
    Ok(Run { reported, delivered, backlog, bare, micros })
}

fn rate(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64().max(1e-9)
}

fn build(case: &Case, options: &Value) -> anyhow::Result<Box<dyn Output>> {
    let empty = Map::new();
    let (entry, _) = aviary_outputs::by_class(case.class).with_context(|| format!("no class {}", case.class))?;
    let options = options.as_object().unwrap_or(&empty);
    let blueprint =
        Blueprint { name: "bench", options, format: "%(message)s", extended: true, node_id: "opencanary-1" };
    Ok((entry.build)(&blueprint)?)
}

struct Reading(Reader);

impl Source for Reading {
    fn next(&mut self, limit: usize) -> Batch<'_> {
        Box::pin(self.0.next(limit))
    }

    fn advance(&mut self, seq: u64) {
        self.0.advance(seq);
    }
}

/// Reports `count` events from number `first` on.
async fn report(journal: &Journal, first: u64, count: u64, reporters: u64) {
    let mut tasks = JoinSet::new();
    let reporters = reporters.clamp(1, count.max(1));
    for reporter in 0..reporters {
        let journal = journal.clone();
        tasks.spawn(async move {
            let mut number = reporter;
            while number < count {
                journal.append(event(first + number)).await.wait().await;
                number += reporters;
            }
        });
    }
    tasks.join_all().await;
}

/// A login, as FTP reports it.
fn event(number: u64) -> Event {
    let data = LogData::new().with("USERNAME", b"admin".as_slice()).with("PASSWORD", b"hunter2".as_slice());
    let moment = Timestamp::from_micros(NOW + i64::try_from(number).unwrap_or(0) * 20);
    let src = SocketAddr::from(([192, 0, 2, 7], 40000)).into();
    let dst = SocketAddr::from(([192, 0, 2, 1], 21)).into();
    let id = Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0000 + u128::from(number));
    let session = format!("{number:016x}");
    Event::new(&KIND, data, id, moment, &TimeZone::UTC, "opencanary-1", "ftp", Some(&session), src, dst)
}

fn pieces(size: u64, count: u64, batch: u64) -> (Vec<u8>, u64) {
    let writes = count.div_ceil(batch).max(1);
    (vec![b'x'; usize::try_from(size / writes).unwrap_or(1).max(1)], writes)
}

/// The same bytes into a file, in as many writes.
fn bare_file(path: &PathBuf, size: u64, count: u64, batch: u64) -> anyhow::Result<Duration> {
    let (piece, writes) = pieces(size, count, batch);
    let mut file = std::fs::File::create(path)?;
    let begun = Instant::now();
    for _ in 0..writes {
        file.write_all(&piece)?;
    }
    Ok(begun.elapsed())
}

/// The same bytes to a receiver, in as many writes or requests.
fn bare_stream(to: SocketAddr, size: u64, count: u64, batch: u64, answers: bool) -> anyhow::Result<Duration> {
    let (piece, writes) = pieces(size, count, batch);
    let mut stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    let mut request = Vec::new();
    if answers {
        request.extend_from_slice(format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", piece.len()).as_bytes());
    }
    request.extend_from_slice(&piece);
    let mut answer = [0; 1024];
    let begun = Instant::now();
    for _ in 0..writes {
        stream.write_all(&request)?;
        if answers && stream.read(&mut answer)? == 0 {
            bail!("the receiver closed");
        }
    }
    Ok(begun.elapsed())
}
