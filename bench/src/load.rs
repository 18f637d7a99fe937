//! The load generator: a fixed number of attacks, so many at once, each on a new connection.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::LocalSet;

use crate::process::processor_time;
use crate::report::{micros, percentile};
use crate::talk::{self, Talk};

/// Attack one server and say how it did
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The service: ftp, http, redis, mysql, mssql or vnc
    service: String,
    /// Where it is
    #[arg(long)]
    to: SocketAddr,
    /// Process of the server, for its processor time
    #[arg(long)]
    pid: Option<u32>,
    #[command(flatten)]
    size: Size,
}

/// How much of it.
#[derive(Clone, Copy, clap::Args)]
pub(crate) struct Size {
    /// Attacks at once
    #[arg(long, default_value_t = 32)]
    pub(crate) clients: usize,
    /// Attacks in all; a tenth of it more comes before, to warm up
    #[arg(long, default_value_t = 20_000)]
    pub(crate) count: usize,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Attacks answered to the end.
    pub(crate) done: usize,
    /// Attacks that were refused, reset, answered wrongly or not at all.
    pub(crate) lost: usize,
    /// What the lost ones failed with.
    pub(crate) failures: BTreeMap<String, usize>,
    /// From the first to the last.
    pub(crate) took: Duration,
    /// Processor time of the server.
    pub(crate) processor: Duration,
    /// Processor time of the client.
    pub(crate) own: Duration,
    /// How long each took, in order of length.
    pub(crate) times: Vec<Duration>,
}

impl Outcome {
    /// Attacks a second.
    pub(crate) fn rate(&self) -> f64 {
        self.done as f64 / self.took.as_secs_f64()
    }

    /// The server's processor time of each attack, microseconds.
    pub(crate) fn cost(&self) -> f64 {
        self.processor.as_secs_f64() * 1e6 / self.done.max(1) as f64
    }
}

/// Attacks and prints.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let talk = talk::named(&arguments.service)?;
    let outcome = attack(talk, arguments.to, arguments.size, arguments.pid).await?;
    println!("{}: {:.0} attacks/s, {} lost", talk.title, outcome.rate(), outcome.lost);
    if arguments.pid.is_some() {
        println!("processor time of the server: {:.1} us per attack", outcome.cost());
    }
    for p in [50.0, 90.0, 99.0, 99.9, 100.0] {
        println!("p{p}: {}", micros(percentile(&outcome.times, p)));
    }
    for (failure, count) in &outcome.failures {
        println!("{count} x {failure}");
    }
    Ok(())
}

/// Warms up, then attacks.
pub(crate) async fn attack(
    talk: &'static Talk,
    to: SocketAddr,
    size: Size,
    pid: Option<u32>,
) -> anyhow::Result<Outcome> {
    burst(talk, to, size.clients, size.count / 10).await;
    let pid = pid.unwrap_or_else(std::process::id);
    let (before, own) = (processor_time(pid)?, processor_time(std::process::id())?);
    let mut outcome = burst(talk, to, size.clients, size.count).await;
    outcome.own = processor_time(std::process::id())?.saturating_sub(own);
    outcome.processor = processor_time(pid)?.saturating_sub(before);
    Ok(outcome)
}

async fn burst(talk: &'static Talk, to: SocketAddr, clients: usize, count: usize) -> Outcome {
    let left = Rc::new(Cell::new(count));
    let set = LocalSet::new();
    let started = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|_| {
            let left = Rc::clone(&left);
            set.spawn_local(async move {
                let mut part = Outcome::default();
                while let Some(rest) = left.get().checked_sub(1) {
                    left.set(rest);
                    let begun = Instant::now();
                    match talk.play(to, rest).await {
                        Ok(_) => {
                            part.done += 1;
                            part.times.push(begun.elapsed());
                        }
                        Err(error) => {
                            part.lost += 1;
                            *part.failures.entry(error.to_string()).or_default() += 1;
                        }
                    }
                }
                part
            })
        })
        .collect();
    set.await;
    let mut outcome = Outcome { took: started.elapsed(), ..Outcome::default() };
    for task in tasks {
        let Ok(part) = task.await else { continue };
        outcome.done += part.done;
        outcome.lost += part.lost;
        outcome.times.extend(part.times);
        for (failure, n) in part.failures {
            *outcome.failures.entry(failure).or_default() += n;
        }
    }
    outcome.times.sort_unstable();
    outcome
}
