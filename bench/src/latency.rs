//! From the peer's last byte to the receiver's first, at low load, for outputs of each sort.

use std::io::Read as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use anyhow::bail;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::process::machine;
use crate::receiver::{self, Arrivals, MARK, Marks};
use crate::report::{micros, percentile, table, verdict};
use crate::servers::{Canary, config, free_port, here};
use crate::talk::{Until, answer, connect, named};

/// How often the file is looked at: what is measured of it is too long by half of this on average.
const LOOK: Duration = Duration::from_micros(200);

/// Measure how long an alert takes from the peer's last byte to the receiver's first
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    canary: Canary,
    /// Attacks for each output
    #[arg(long, default_value_t = 2000)]
    count: usize,
    /// Attacks a second
    #[arg(long, default_value_t = 100)]
    rate: u32,
    /// Outputs, of webhook, syslog, gelf and file; all if none is named
    #[arg(long = "output")]
    outputs: Vec<String>,
}

/// Measures and prints.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    println!("{}\n{} attacks for each output, {} a second\n", machine(), arguments.count, arguments.rate);
    let head = ["from the peer's last byte", "p50", "p90", "p99", "most", "arrived", "target"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let all = ["webhook", "syslog", "gelf", "file"].map(str::to_owned);
    let outputs = if arguments.outputs.is_empty() { all.as_slice() } else { &arguments.outputs };
    let mut all_answered = Vec::new();
    for output in outputs {
        let (times, answered) = measure(&arguments, output).await?;
        let met = percentile(&times, 99.0) <= Duration::from_millis(10) && times.len() == arguments.count;
        let target = format!("p99 <= 10 ms: {}", verdict(met));
        rows.push(row(&format!("to the first byte at {output}"), &times, target));
        all_answered.extend(answered);
    }
    all_answered.sort_unstable();
    rows.push(row("to the reply, journal included", &all_answered, String::new()));
    table(&rows);
    Ok(())
}

fn row(what: &str, times: &[Duration], target: String) -> Vec<String> {
    let mut row = vec![what.to_owned()];
    row.extend([50.0, 90.0, 99.0, 100.0].map(|p| micros(percentile(times, p))));
    row.extend([times.len().to_string(), target]);
    row
}

/// Times to the receiver and to the reply, in order of length.
async fn measure(arguments: &Arguments, output: &str) -> anyhow::Result<(Vec<Duration>, Vec<Duration>)> {
    let arrivals = Arrivals::default();
    let listener = TcpListener::bind(here(0)).await?;
    let address = listener.local_addr()?;
    let folder = tempfile::tempdir()?;
    let watched = folder.path().join("watched.log");
    let place = json!([address.ip().to_string(), address.port()]);
    let handler = match output {
        "webhook" => json!({
            "class": "opencanary.logger.WebhookHandler", "url": format!("http://{address}/alert"), "method": "POST",
            "data": {"message": "%(message)s"}, "status_code": 200,
        }),
        "syslog" => json!({"class": "aviary.syslog", "address": place, "transport": "tcp"}),
        "gelf" => json!({"class": "aviary.gelf", "address": place, "transport": "tcp"}),
        "file" => json!({"class": "logging.FileHandler", "filename": watched}),
        other => bail!("no output {other}; there are webhook, syslog, gelf and file"),
    };
    let mut tasks = JoinSet::new();
    let mut watcher = None;
    match output {
        "webhook" => drop(tasks.spawn(receiver::run(listener, Arc::clone(&arrivals)))),
        "file" => watcher = Some(Watcher::start(watched, Arc::clone(&arrivals))?),
        _ => drop(tasks.spawn(receiver::run_stream(listener, Arc::clone(&arrivals)))),
    }
    let port = free_port()?;
    let more = [("ftp.login_delay", json!(0)), ("ftp.log_commands", json!(false))];
    let mut config: Value = config(folder.path(), &[(named("ftp")?, port)], &more);
    config["logger"]["kwargs"]["handlers"]["measured"] = handler;
    let mut server = arguments.canary.start(folder, &config)?;
    server.await_port(port)?;

    let mut sent = Vec::new();
    let mut answered = Vec::new();
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / arguments.rate.max(1));
    for number in 0..arguments.count {
        ticks.tick().await;
        let mut stream = connect(here(port), number).await?;
        answer(&mut stream, Until::Line).await?;
        stream.write_all(format!("USER {MARK}{number}\r\n").as_bytes()).await?;
        answer(&mut stream, Until::Line).await?;
        let moment = Instant::now();
        stream.write_all(b"PASS hunter2\r\n").await?;
        sent.push(moment);
        answer(&mut stream, Until::Line).await?;
        answered.push(moment.elapsed());
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(watcher);
    let arrivals = arrivals.lock().unwrap_or_else(PoisonError::into_inner);
    let mut times: Vec<Duration> = sent
        .iter()
        .enumerate()
        .filter_map(|(number, moment)| Some(arrivals.get(&number.to_string())?.saturating_duration_since(*moment)))
        .collect();
    times.sort_unstable();
    answered.sort_unstable();
    Ok((times, answered))
}

/// A thread that looks at a file again and again.
struct Watcher {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watcher {
    fn start(path: PathBuf, arrivals: Arrivals) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let body = move || {
            let mut file = None;
            let mut marks = Marks::default();
            let mut piece = vec![0; 65_536];
            while !told.load(Ordering::Relaxed) {
                if file.is_none() {
                    file = std::fs::File::open(&path).ok();
                }
                match file.as_mut().map(|file| file.read(&mut piece)) {
                    Some(Ok(count)) if count > 0 => {
                        marks.take(piece.get(..count).unwrap_or_default(), Instant::now(), &arrivals);
                    }
                    _ => std::thread::sleep(LOOK),
                }
            }
        };
        Ok(Self { stop, thread: Some(std::thread::Builder::new().spawn(body)?) })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
