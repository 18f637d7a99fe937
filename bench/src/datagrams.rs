//! UDP: answers a second next to a bare loop, and what is lost of a burst.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::UdpSocket;

use crate::process::{machine, processor_time};
use crate::report::{median, table, verdict};
use crate::servers::{self, Canary, Server, free_port, here};

/// An NTP client's question: version 4, mode 3.
const QUESTION: [u8; 48] = {
    let mut bytes = [0; 48];
    bytes[0] = 0x23;
    bytes[40] = 0x7f;
    bytes
};
/// A request for monlist, which OpenCanary reports too and nobody answers.
const MONLIST: [u8; 48] = {
    let mut bytes = [0; 48];
    bytes[0] = 0x17;
    bytes[2] = 3;
    bytes[3] = 0x2a;
    bytes
};
/// Questions without an answer at any time.
const WINDOW: usize = 64;
/// How long an answer may take before it counts as lost.
const PATIENCE: Duration = Duration::from_millis(500);
/// Datagrams of a burst.
const BURST: usize = 3000;

/// Measure services over UDP: answers a second, and losses of a burst
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    canary: Canary,
    /// Virtual environment of OpenCanary 0.9.10; left out if missing
    #[arg(long, value_name = "FOLDER")]
    opencanary: Option<PathBuf>,
    /// Questions of a round
    #[arg(long, default_value_t = 100_000)]
    count: usize,
    /// Times that the servers take turns; figures are medians
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

/// Answer each datagram with as many bytes, and record nothing
#[derive(clap::Args)]
pub(crate) struct Bare {
    /// Where to listen
    #[arg(long)]
    listen: SocketAddr,
}

/// Serves until killed.
pub(crate) async fn bare(arguments: Bare) -> anyhow::Result<()> {
    let socket = UdpSocket::bind(arguments.listen).await?;
    println!("ready");
    let mut buffer = [0; 2048];
    loop {
        let (length, peer) = socket.recv_from(&mut buffer).await?;
        let _ = socket.send_to(&buffer[..length], peer).await;
    }
}

/// Measures and prints the tables.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    println!("{}\n{} questions a round, {WINDOW} at once, {} rounds\n", machine(), arguments.count, arguments.rounds);
    let port = free_port()?;
    let canary = canary(&arguments.canary, port)?;
    let bare_port = free_port()?;
    let bare = servers::bare_datagrams(bare_port)?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut figures: [Vec<(f64, f64)>; 2] = [Vec::new(), Vec::new()];
    let mut lost = 0;
    for _ in 0..arguments.rounds {
        for (place, (port, server)) in [(bare_port, &bare), (port, &canary)].into_iter().enumerate() {
            let before = processor_time(server.pid)?;
            let (took, missing) = ask(here(port), arguments.count).await?;
            let processor = processor_time(server.pid)?.saturating_sub(before);
            let answered = (arguments.count - missing) as f64;
            figures[place].push((answered / took.as_secs_f64(), processor.as_secs_f64() * 1e6 / answered));
            lost += if place == 1 { missing } else { 0 };
        }
    }
    let of = |place: usize, figure: fn(&(f64, f64)) -> f64| median(figures[place].iter().map(figure).collect());
    let mut rows = vec![["server", "answers/s", "server us"].map(str::to_owned).to_vec()];
    for (place, name) in ["bare", "canary, NTP"].into_iter().enumerate() {
        rows.push(vec![name.to_owned(), format!("{:.0}", of(place, |f| f.0)), format!("{:.1}", of(place, |f| f.1))]);
    }
    table(&rows);
    println!();
    let share = 100.0 * of(1, |f| f.0) / of(0, |f| f.0);
    let mut marks = vec![["what", "measured", "target", ""].map(str::to_owned).to_vec()];
    let mut mark = |what: &str, measured: String, target: &str, met: Option<bool>| {
        marks.push(vec![what.to_owned(), measured, target.to_owned(), met.map_or("", verdict).to_owned()]);
    };
    mark("answers/s, to bare", format!("{share:.0} %"), ">= 80 %", Some(share >= 80.0));
    mark("questions without an answer", lost.to_string(), "0", Some(lost == 0));
    let kept = burst(&canary, port, "11001").await?;
    mark("lost of a burst of 3,000", (BURST - kept).to_string(), "0", Some(kept == BURST));
    if let Some(environment) = &arguments.opencanary {
        let port = free_port()?;
        let server = servers::opencanary(environment, |folder| config(folder, port))?;
        tokio::time::sleep(Duration::from_secs(6)).await;
        let kept = burst(&server, port, "11001").await?;
        mark("OpenCanary: lost of a burst of 3,000", (BURST.saturating_sub(kept)).to_string(), "", None);
    }
    table(&marks);
    Ok(())
}

fn config(folder: &std::path::Path, port: u16) -> Value {
    let mut config = servers::config(folder, &[], &[]);
    config["ntp.enabled"] = json!(true);
    config["ntp.port"] = json!(port);
    config
}

fn canary(canary: &Canary, port: u16) -> anyhow::Result<Server> {
    let folder = tempfile::tempdir()?;
    let mut config = config(folder.path(), port);
    config["aviary.limits.datagrams_per_source"] = json!(1_000_000);
    canary.start(folder, &config)
}

/// Asks so many questions and gives how long that took, and how many were never answered.
async fn ask(to: SocketAddr, count: usize) -> anyhow::Result<(Duration, usize)> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    socket.connect(to).await?;
    let begun = Instant::now();
    let (mut sent, mut answered, mut given_up) = (0, 0, 0);
    let mut buffer = [0; 2048];
    while answered + given_up < count {
        while sent < count && sent - answered - given_up < WINDOW {
            socket.send(&QUESTION).await?;
            sent += 1;
        }
        match tokio::time::timeout(PATIENCE, socket.recv(&mut buffer)).await {
            Ok(received) => {
                received?;
                answered += 1;
            }
            Err(_) => given_up = sent - answered,
        }
    }
    Ok((begun.elapsed(), given_up))
}

/// Sends a burst as fast as it goes, and gives how many of it are in the log.
async fn burst(server: &Server, port: u16, logtype: &str) -> anyhow::Result<usize> {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(here(port))?;
    let before = server.events(logtype);
    for _ in 0..BURST {
        socket.send(&MONLIST)?;
    }
    let (mut kept, mut last) = (server.events(logtype), usize::MAX);
    while kept != last {
        tokio::time::sleep(Duration::from_secs(2)).await;
        (last, kept) = (kept, server.events(logtype));
    }
    Ok(kept - before)
}
