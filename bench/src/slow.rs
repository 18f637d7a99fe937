//! What an output that is slow, or hangs, costs those that talk to a service: nothing, it should be.
//!
//! Four canaries run at the same time, and each attack is played against one after the other, so that what else
//! the machine does meets all of them alike.

use std::time::{Duration, Instant};

use anyhow::bail;
use serde_json::{Value, json};

use crate::process::machine;
use crate::report::{micros, percentile, table, verdict};
use crate::servers::{Canary, Server, config, free_port, here};
use crate::sinks::{Manners, Sink};
use crate::talk::{Talk, named};

/// Most that a slow output may add at the 99th percentile.
const MOST: Duration = Duration::from_millis(1);

/// Measure what a service's peers notice of an output that is slow or hangs
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    canary: Canary,
    /// The service: ftp, http, redis, mysql, mssql or vnc
    #[arg(long, default_value = "redis")]
    service: String,
    /// Attacks on each canary
    #[arg(long, default_value_t = 4000)]
    count: usize,
    /// Attacks a second on each canary
    #[arg(long, default_value_t = 100)]
    rate: u32,
}

struct Case {
    name: &'static str,
    port: u16,
    times: Vec<Duration>,
    /// Held until the end.
    server: Server,
    _sink: Option<Sink>,
}

/// Measures and prints.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    println!("{}", machine());
    let talk = named(&arguments.service)?;
    let mut cases = [
        start(&arguments, talk, "a file alone", None)?,
        start(&arguments, talk, "and a webhook that hangs", Some(("webhook", Manners::Hangs)))?,
        start(&arguments, talk, "and a syslog receiver over TCP that does not read", Some(("syslog", Manners::Hangs)))?,
        start(
            &arguments,
            talk,
            "and ClickHouse that takes 2 s for each answer",
            Some(("clickhouse", Manners::AnswersAfter(Duration::from_secs(2)))),
        )?,
    ];
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / arguments.rate.max(1));
    let warm = arguments.count / 10;
    for number in 0..arguments.count + warm {
        ticks.tick().await;
        // Who comes first changes, since the first after a pause finds cold caches.
        for turn in 0..cases.len() {
            let at = (number + turn) % cases.len();
            let Some(case) = cases.get_mut(at) else { continue };
            let begun = Instant::now();
            talk.play(here(case.port), number).await?;
            if number >= warm {
                case.times.push(begun.elapsed());
            }
        }
    }
    println!("{} attacks on each, {} a second: {}\n", arguments.count, arguments.rate, talk.title);
    let head = ["outputs", "p50", "p90", "p99", "most", "p99, added", ""];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let mut base = None;
    for case in &mut cases {
        case.times.sort_unstable();
        let mut row = vec![case.name.to_owned()];
        row.extend([50.0, 90.0, 99.0, 100.0].map(|p| micros(percentile(&case.times, p))));
        let p99 = percentile(&case.times, 99.0);
        match base {
            None => {
                base = Some(p99);
                row.extend([String::new(), String::new()]);
            }
            Some(base) => {
                let added = p99.as_secs_f64() - base.as_secs_f64();
                row.push(format!("{:+.0} us", added * 1e6));
                row.push(verdict(added <= MOST.as_secs_f64()).to_owned());
            }
        }
        rows.push(row);
    }
    table(&rows);
    for case in cases {
        let said = case.server.events("");
        if said < arguments.count {
            bail!("{}: {said} events in its log file, of at least {}", case.name, arguments.count);
        }
    }
    Ok(())
}

fn start(
    arguments: &Arguments,
    talk: &Talk,
    name: &'static str,
    slow: Option<(&str, Manners)>,
) -> anyhow::Result<Case> {
    let folder = tempfile::tempdir()?;
    let port = free_port()?;
    let mut config = config(folder.path(), &[(talk, port)], &[]);
    let mut sink = None;
    if let Some((output, manners)) = slow {
        let receiver = Sink::start(manners)?;
        config["logger"]["kwargs"]["handlers"]["slow"] = handler(output, &receiver);
        sink = Some(receiver);
    }
    let mut server = arguments.canary.start(folder, &config)?;
    server.await_port(port)?;
    Ok(Case { name, port, times: Vec::new(), server, _sink: sink })
}

fn handler(output: &str, sink: &Sink) -> Value {
    let address = sink.address;
    match output {
        "webhook" => json!({
            "class": "opencanary.logger.WebhookHandler", "url": format!("http://{address}/"), "method": "POST",
            "data": {"message": "%(message)s"}, "status_code": 200,
        }),
        "syslog" => {
            let place = json!([address.ip().to_string(), address.port()]);
            json!({"class": "aviary.syslog", "address": place, "transport": "tcp"})
        }
        _ => json!({"class": "aviary.clickhouse", "url": format!("http://{address}/")}),
    }
}
