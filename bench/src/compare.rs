//! Bare server, canary and OpenCanary under the same attacks, in turn, several times over.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::load::{Outcome, Size, attack};
use crate::process::machine;
use crate::report::{median, micros, percentile, table, verdict};
use crate::servers::{self, Canary, Server, config, free_port, here};
use crate::talk::{TALKS, Talk};

/// Compare a canary with a bare server and with OpenCanary
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    canary: Canary,
    /// Virtual environment of OpenCanary 0.9.10; left out if missing
    #[arg(long, value_name = "FOLDER")]
    opencanary: Option<PathBuf>,
    /// Only these services
    #[arg(long, value_name = "NAME")]
    service: Vec<String>,
    /// Times that the servers take turns; figures are medians
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Attacks of one round at OpenCanary, which is slow
    #[arg(long, default_value_t = 2000)]
    opencanary_count: usize,
    #[command(flatten)]
    size: Size,
    /// Attacks at once, to see whether any is lost
    #[arg(long, default_value_t = 256)]
    crowd: usize,
}

/// One server under one attack.
struct Contestant {
    name: &'static str,
    port: u16,
    count: usize,
    server: Server,
    rounds: Vec<Outcome>,
}

/// Measures and prints the tables.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    println!("{}", machine());
    println!(
        "{} at once, {} attacks a round, {} rounds\n",
        arguments.size.clients, arguments.size.count, arguments.rounds
    );
    let mut rows = vec![header()];
    let mut marks = vec![["what", "measured", "target", ""].map(str::to_owned).to_vec()];
    for talk in TALKS.iter() {
        if !arguments.service.is_empty() && !arguments.service.iter().any(|name| name == talk.service) {
            continue;
        }
        match compare(talk, &arguments).await {
            Ok(contestants) => judge(talk, &contestants, &mut rows, &mut marks),
            Err(error) => eprintln!("{}: not measured: {error:#}", talk.title),
        }
    }
    table(&rows);
    println!();
    table(&marks);
    Ok(())
}

async fn compare(talk: &'static Talk, arguments: &Arguments) -> anyhow::Result<Vec<Contestant>> {
    let mut contestants = contestants(talk, arguments)?;
    for round in 0..arguments.rounds {
        for contestant in &mut contestants {
            let size = Size { count: contestant.count, ..arguments.size };
            let outcome = attack(talk, here(contestant.port), size, Some(contestant.server.pid)).await?;
            eprintln!(
                "{} {} of {}: {:.0}/s, {:.1} us, {} lost",
                contestant.name,
                round + 1,
                arguments.rounds,
                outcome.rate(),
                outcome.cost(),
                outcome.lost
            );
            contestant.rounds.push(outcome);
        }
    }
    // The crowd comes last, as a round of its own.
    for contestant in &mut contestants {
        let size = Size { clients: arguments.crowd, count: contestant.count };
        let outcome = attack(talk, here(contestant.port), size, Some(contestant.server.pid)).await?;
        contestant.rounds.push(outcome);
    }
    Ok(contestants)
}

fn contestants(talk: &'static Talk, arguments: &Arguments) -> anyhow::Result<Vec<Contestant>> {
    let count = arguments.size.count;
    let mut all = Vec::new();
    // As OpenCanary: one event an attack, and no delay. Many at once from few addresses are expected.
    let like_opencanary: &[(&str, Value)] = &[
        ("ftp.login_delay", json!(0)),
        ("ftp.log_commands", json!(false)),
        ("aviary.limits.connections_per_source", json!(30_000)),
    ];
    let canary = start(&arguments.canary, talk, "canary", count, like_opencanary)?;
    let port = free_port()?;
    let bare = servers::bare(talk, canary.port, port)?;
    all.push(Contestant { name: "bare", port, count, server: bare, rounds: Vec::new() });
    all.push(canary);
    if talk.service == "ftp" {
        let every_command: &[(&str, Value)] =
            &[("ftp.login_delay", json!(0)), ("aviary.limits.connections_per_source", json!(30_000))];
        all.push(start(&arguments.canary, talk, "canary, every command", count, every_command)?);
    }
    match &arguments.opencanary {
        None => eprintln!("OpenCanary is left out: --opencanary names its virtual environment"),
        Some(environment) => {
            let port = free_port()?;
            let more = [("http.skin", json!("nasLogin")), ("http.banner", json!("Apache/2.2.22 (Ubuntu)"))];
            let mut server = servers::opencanary(environment, |folder| config(folder, &[(talk, port)], &more))?;
            server.await_port(port)?;
            let count = arguments.opencanary_count;
            all.push(Contestant { name: "OpenCanary", port, count, server, rounds: Vec::new() });
        }
    }
    Ok(all)
}

fn start(
    canary: &Canary,
    talk: &'static Talk,
    name: &'static str,
    count: usize,
    more: &[(&str, Value)],
) -> anyhow::Result<Contestant> {
    let folder = tempfile::tempdir()?;
    let port = free_port()?;
    let config = config(folder.path(), &[(talk, port)], more);
    let mut server = canary.start(folder, &config)?;
    server.await_port(port)?;
    Ok(Contestant { name, port, count, server, rounds: Vec::new() })
}

fn header() -> Vec<String> {
    ["attack", "server", "attacks/s", "server us", "client us", "p50", "p99", "lost", "lost in crowd", "events"]
        .map(str::to_owned)
        .to_vec()
}

impl Contestant {
    /// Rounds but the last, which is the crowd's.
    fn ordinary(&self) -> &[Outcome] {
        self.rounds.split_last().map_or(&[], |(_, rounds)| rounds)
    }

    fn over_rounds(&self, figure: impl Fn(&Outcome) -> f64) -> f64 {
        median(self.ordinary().iter().map(figure).collect())
    }

    /// The median over rounds of a figure's ratio to another server's in the same round.
    fn ratio(&self, other: &Self, figure: impl Fn(&Outcome) -> f64) -> f64 {
        median(
            self.ordinary().iter().zip(other.ordinary()).map(|(ours, theirs)| figure(ours) / figure(theirs)).collect(),
        )
    }

    fn row(&self, talk: &Talk) -> Vec<String> {
        let of_times = |p| self.over_rounds(|round| percentile(&round.times, p).as_secs_f64());
        let time = |p| micros(Duration::from_secs_f64(of_times(p)));
        let crowd = self.rounds.last();
        for (failure, count) in self.rounds.iter().flat_map(|round| &round.failures) {
            eprintln!("{} {}: {count} x {failure}", talk.title, self.name);
        }
        vec![
            talk.title.to_owned(),
            self.name.to_owned(),
            format!("{:.0}", self.over_rounds(Outcome::rate)),
            format!("{:.1}", self.over_rounds(Outcome::cost)),
            format!("{:.1}", self.over_rounds(|round| round.own.as_secs_f64() * 1e6 / round.done.max(1) as f64)),
            time(50.0),
            time(99.0),
            self.ordinary().iter().map(|round| round.lost).sum::<usize>().to_string(),
            crowd.map(|round| round.lost).unwrap_or_default().to_string(),
            self.events(),
        ]
    }

    /// Events in the log for each attack, warm-ups included; whole numbers show that none is lost.
    fn events(&self) -> String {
        if self.name == "bare" {
            return String::new();
        }
        let attacks = (self.count + self.count / 10) * self.rounds.len();
        // The log is written behind the attacks; let it catch up.
        let (mut events, mut before) = (self.server.events(""), 0);
        while events != before {
            std::thread::sleep(Duration::from_millis(500));
            (before, events) = (events, self.server.events(""));
        }
        let ours = ["2000", "30100", "3000", "17001", "8001", "9001", "12001"]
            .iter()
            .map(|logtype| self.server.events(logtype))
            .sum::<usize>();
        format!("{:.3} per attack", ours as f64 / attacks as f64)
    }
}

fn judge(talk: &Talk, contestants: &[Contestant], rows: &mut Vec<Vec<String>>, marks: &mut Vec<Vec<String>>) {
    rows.extend(contestants.iter().map(|contestant| contestant.row(talk)));
    let of = |name| contestants.iter().find(|contestant| contestant.name == name);
    let (Some(bare), Some(canary)) = (of("bare"), of("canary")) else { return };
    let mut mark = |what: &str, measured: String, target: &str, met: bool| {
        marks.push(vec![format!("{}: {what}", talk.title), measured, target.to_owned(), verdict(met).to_owned()]);
    };
    let cost = canary.ratio(bare, Outcome::cost);
    mark("processor time per attack, to bare", format!("{cost:.2} x"), "<= 1.25 x", cost <= 1.25);
    let rate = canary.ratio(bare, Outcome::rate) * 100.0;
    mark("attacks/s, to bare", format!("{rate:.0} %"), ">= 80 %", rate >= 80.0);
    if let Some(opencanary) = of("OpenCanary") {
        let rate = canary.ratio(opencanary, Outcome::rate);
        mark("attacks/s, to OpenCanary", format!("{rate:.1} x"), ">= 6 x", rate >= 6.0);
        let cost = opencanary.ratio(canary, Outcome::cost);
        mark("processor time, OpenCanary to canary", format!("{cost:.1} x"), "", true);
    }
    let lost: usize = canary.rounds.iter().map(|round| round.lost).sum();
    mark("lost connections, crowd included", lost.to_string(), "0", lost == 0);
}
