//! From the peer's last byte to the receiver's first, at low load.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::process::machine;
use crate::receiver::{self, Arrivals, MARK};
use crate::report::{micros, percentile, table, verdict};
use crate::servers::{Canary, config, free_port, here};
use crate::talk::{Until, answer, connect, named};

/// Measure how long an alert takes from the peer's last byte to a webhook's first
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    canary: Canary,
    /// Attacks
    #[arg(long, default_value_t = 2000)]
    count: usize,
    /// Attacks a second
    #[arg(long, default_value_t = 100)]
    rate: u32,
}

/// Measures and prints.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    println!("{}", machine());
    let arrivals = Arrivals::default();
    let listener = TcpListener::bind(here(0)).await?;
    let url = format!("http://{}/alert", listener.local_addr()?);
    let mut tasks = JoinSet::new();
    tasks.spawn(receiver::run(listener, Arc::clone(&arrivals)));

    let folder = tempfile::tempdir()?;
    let port = free_port()?;
    let more = [("ftp.login_delay", json!(0)), ("ftp.log_commands", json!(false))];
    let mut config = config(folder.path(), &[(named("ftp")?, port)], &more);
    config["logger"]["kwargs"]["handlers"]["hook"] = json!({
        "class": "opencanary.logger.WebhookHandler", "url": url, "method": "POST",
        "data": {"message": "%(message)s"}, "status_code": 200,
    });
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
    let arrivals = arrivals.lock().unwrap_or_else(PoisonError::into_inner);
    let mut times: Vec<Duration> = sent
        .iter()
        .enumerate()
        .filter_map(|(number, moment)| Some(arrivals.get(&number.to_string())?.saturating_duration_since(*moment)))
        .collect();
    times.sort_unstable();
    answered.sort_unstable();
    println!("{} attacks, {} a second; {} of them arrived\n", arguments.count, arguments.rate, times.len());
    let row = |what: &str, times: &[Duration], target: String| {
        let mut row = vec![what.to_owned()];
        row.extend([50.0, 90.0, 99.0, 100.0].map(|p| micros(percentile(times, p))));
        row.push(target);
        row
    };
    let met = percentile(&times, 99.0) <= Duration::from_millis(10) && times.len() == arguments.count;
    table(&[
        ["from the peer's last byte", "p50", "p90", "p99", "most", "target"].map(str::to_owned).to_vec(),
        row("to the receiver's first byte", &times, format!("p99 <= 10 ms: {}", verdict(met))),
        row("to the reply, journal included", &answered, String::new()),
    ]);
    Ok(())
}
