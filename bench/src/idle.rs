//! What a canary takes while nothing happens: memory, start, size.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::process::{machine, memory};
use crate::report::{micros, table, verdict};
use crate::servers::{Canary, Server, free_port, here};
use crate::talk::{Until, answer, connect};

/// How long a canary gets to settle before its memory is read.
const SETTLE: Duration = Duration::from_secs(4);

/// Measure memory, start and size of a canary with every service on
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    canary: Canary,
    /// Idle connections
    #[arg(long, default_value_t = 5000)]
    connections: usize,
    /// Starts of each sort; the middle one counts
    #[arg(long, default_value_t = 5)]
    starts: usize,
}

/// Measures and prints.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    println!("{}\n", machine());
    let mut rows = vec![["what", "measured", "target", ""].map(str::to_owned).to_vec()];
    let mut row = |what: &str, measured: String, target: &str, met: Option<bool>| {
        rows.push(vec![what.to_owned(), measured, target.to_owned(), met.map_or("", verdict).to_owned()]);
    };
    let canary = &arguments.canary;
    let bytes = std::fs::metadata(&canary.aviary).context("no `aviary`")?.len();
    let mib = bytes as f64 / f64::from(1 << 20);
    row("size of the stripped program", format!("{mib:.1} MiB"), "<= 15 MB", Some(bytes <= 15_000_000));

    let (mut config, keys) = everything(canary)?;
    let open = open_ports(canary, &mut config, &keys)?;
    row("services on", open.len().to_string(), "", None);

    let mut first = Vec::new();
    let mut warm = Vec::new();
    for _ in 0..arguments.starts {
        let (server, took) = start(canary, tempfile::tempdir()?, &mut config, &open)?;
        first.push(took);
        // Secrets are made behind the first start; a start is warm once they are there.
        tokio::time::sleep(SETTLE).await;
        let Some(folder) = server.stop() else { continue };
        let (server, took) = start(canary, folder, &mut config, &open)?;
        warm.push(took);
        drop(server);
    }
    for (what, mut times) in [("first start to every port open", first), ("warm start to every port open", warm)] {
        times.sort_unstable();
        let middle = times.get(times.len() / 2).copied().unwrap_or_default();
        row(what, micros(middle), "<= 100 ms", Some(middle <= Duration::from_millis(100)));
    }

    let (server, _) = start(canary, tempfile::tempdir()?, &mut config, &open)?;
    tokio::time::sleep(SETTLE * 2).await;
    let idle = memory(server.pid)?;
    row(
        "resident memory, every service on, after the first start",
        format!("{:.1} MiB ({:.1} anonymous)", idle.resident as f64 / 1024.0, idle.anonymous as f64 / 1024.0),
        "<= 12 MiB",
        Some(idle.resident <= 12 * 1024),
    );
    let Some(folder) = server.stop() else { return Ok(()) };
    let (server, _) = start(canary, folder, &mut config, &open)?;
    tokio::time::sleep(SETTLE).await;
    let idle = memory(server.pid)?;
    row(
        "the same, after a warm start",
        format!("{:.1} MiB ({:.1} anonymous)", idle.resident as f64 / 1024.0, idle.anonymous as f64 / 1024.0),
        "<= 12 MiB",
        Some(idle.resident <= 12 * 1024),
    );
    drop(server);

    for (service, greeted) in [("ftp", true), ("http", false), ("ssh", true), ("redis", false)] {
        let Some((_, port)) = open.iter().find(|(name, _)| name == service) else { continue };
        let (server, _) = start(canary, tempfile::tempdir()?, &mut config, &open)?;
        tokio::time::sleep(SETTLE).await;
        let each = per_connection(&server, *port, arguments.connections, greeted).await?;
        row(&format!("memory of an idle {service} connection"), each.0, "<= 1.5 KiB", Some(each.1 <= 1.5));
    }
    table(&rows);
    Ok(())
}

/// RSS per connection, in words and in KiB.
async fn per_connection(server: &Server, port: u16, count: usize, greeted: bool) -> anyhow::Result<(String, f64)> {
    let before = memory(server.pid)?;
    let mut held: Vec<TcpStream> = Vec::new();
    for number in 0..count {
        let mut stream = connect(here(port), number).await.with_context(|| format!("connection {number}"))?;
        if greeted {
            let first = tokio::time::timeout(Duration::from_secs(10), first_bytes(&mut stream)).await;
            first.with_context(|| format!("connection {number} was not greeted"))??;
        }
        held.push(stream);
    }
    tokio::time::sleep(SETTLE).await;
    let full = memory(server.pid)?;
    let mut alive = 0;
    for stream in &held {
        // Nothing to read and no end of input: it lives.
        let mut byte = [0];
        alive += usize::from(stream.try_read(&mut byte).is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock));
    }
    drop(held);
    tokio::time::sleep(SETTLE).await;
    let after = memory(server.pid)?;
    let each = (full.resident.saturating_sub(before.resident)) as f64 / alive.max(1) as f64;
    let kept = after.resident as f64 / 1024.0;
    Ok((format!("{each:.2} KiB ({alive} of {count} alive; {kept:.1} MiB resident once they left)"), each))
}

async fn first_bytes(stream: &mut TcpStream) -> std::io::Result<()> {
    // Telnet greets with options, which end with no line.
    stream.readable().await?;
    let mut first = [0; 1];
    stream.peek(&mut first).await?;
    if first != [0xff] {
        answer(stream, Until::Line).await?;
    } else {
        let mut buffer = [0; 512];
        while stream.try_read(&mut buffer).is_ok_and(|n| n > 0) {}
    }
    Ok(())
}

/// A config with every service on, each on a free port, and the names of the port keys.
fn everything(canary: &Canary) -> anyhow::Result<(Value, Vec<String>)> {
    let made = std::process::Command::new(&canary.aviary).args(["config", "copy", "--plain"]).output()?;
    let mut config: Value = serde_json::from_slice(&made.stdout).context("`aviary config copy --plain`")?;
    // Not among the sample's keys, since it has a default.
    config["tcpbanner_1.port"] = json!(0);
    let keys = config.as_object().context("not an object")?.keys().cloned().collect::<Vec<_>>();
    let mut ports = Vec::new();
    for key in keys {
        if key.ends_with(".enabled") {
            config[&key] = json!(true);
        } else if key.ends_with(".port") {
            config[&key] = json!(free_port()?);
            ports.push(key);
        }
    }
    // What speaks first speaks to nobody here.
    config["llmnr.interfaces"] = json!(["lo"]);
    config["aviary.limits.connections_per_source"] = json!(30_000);
    Ok((config, ports))
}

/// Services that do open a port, with it: found out by a start that is not measured.
fn open_ports(canary: &Canary, config: &mut Value, keys: &[String]) -> anyhow::Result<Vec<(String, u16)>> {
    let mut server = place(canary, tempfile::tempdir()?, config)?;
    server.await_port(keys.iter().find(|key| *key == "ftp.port").map_or(0, |key| port_of(config, key)))?;
    std::thread::sleep(SETTLE);
    let mut open = Vec::new();
    for key in keys {
        let port = port_of(config, key);
        if std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            open.push((key.trim_end_matches(".port").to_owned(), port));
        }
    }
    Ok(open)
}

fn port_of(config: &Value, key: &str) -> u16 {
    config[key].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(0)
}

fn place(canary: &Canary, folder: TempDir, config: &mut Value) -> anyhow::Result<Server> {
    let log = |path: &Path| json!(path.join("events.log"));
    config["logger"] = json!({"class": "PyLogger", "kwargs": {
        "formatters": {"plain": {"format": "%(message)s"}},
        "handlers": {"file": {"class": "logging.FileHandler", "filename": log(folder.path())}},
    }});
    canary.start(folder, config)
}

/// Starts it and waits for every port.
fn start(
    canary: &Canary,
    folder: TempDir,
    config: &mut Value,
    open: &[(String, u16)],
) -> anyhow::Result<(Server, Duration)> {
    let mut server = place(canary, folder, config)?;
    let mut took = Duration::ZERO;
    for (_, port) in open {
        took = server.await_port(*port)?;
    }
    Ok((server, took))
}
