//! `aviary drill`: attacks oneself through real sockets and proves that every alert arrives.
//!
//! Each service that listens is touched the way an intruder would, with a mark that is new in each
//! drill. The running canary must report the touch, and each output must be done with it: a log file
//! must hold the mark, any other receiver must have taken the event. At last each output is sent one marked event of its
//! own, past its `when` and `rate`, and what its receiver answers is shown.

pub(crate) mod knock;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;
use aviary_event::{Event, Port};
use serde_json::{Value, json};

use crate::paint::{Ink, Style, Table};
use crate::process;

/// Attack the running canary's services and see that every event arrives
///
/// Exits with 1 when a service did not report or an output did not deliver.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  aviary drill\n  aviary drill --service ssh --wait 60")]
pub(super) struct Arguments {
    #[command(flatten)]
    which: super::Which,
    /// Only this service; may be given several times
    #[arg(long, short, value_name = "NAME")]
    service: Vec<String>,
    /// Seconds to wait for an event, and for each output
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    wait: u64,
}

/// A touched service and what came of it.
struct Touch {
    target: Target,
    result: Result<Seen, String>,
}

/// The event that tells of a touch.
struct Seen {
    seq: u64,
    id: String,
    source_port: u16,
    logtype: i64,
    took: Duration,
}

impl Seen {
    /// Whether a line of a log file is this event. Lines without the `aviary` object have no id;
    /// there the port that the drill came from tells.
    fn stands_in(&self, line: &str) -> bool {
        line.contains(&format!("\"id\": \"{}\"", self.id))
            || (!line.contains("\"aviary\": {") && line.contains(&format!("\"src_port\": {},", self.source_port)))
    }
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let folder = arguments.which.state_dir();
    let wait = Duration::from_secs(arguments.wait);
    process::small_runtime()?.block_on(async {
        let before = aviary_sensor::ask(&folder, json!({"ask": "status"})).await?;
        let targets = targets(&before, &arguments.service);
        let known: Vec<&str> = services_of(&before).filter_map(|service| service["service"].as_str()).collect();
        if let Some(unknown) = arguments.service.iter().find(|name| !known.contains(&name.as_str())) {
            bail!("no service `{unknown}` runs; there are {}", known.join(", "));
        }
        if targets.is_empty() {
            bail!("no service listens that could be touched; `aviary status` says why");
        }
        let mark = format!("drill-{:016x}", mark());
        println!("mark of this drill: {mark}\n");
        let mut touches = touch_all(&folder, &targets, &mark, wait).await;
        touches.extend(failed(&before, &arguments.service));
        let mut outputs = prove_outputs(&folder, &before, &touches, wait).await?;
        test_outputs(&folder, &mut outputs).await;
        let style = Style::of_stdout();
        print!("{}\n{}", touch_table(&touches).print(style), output_table(&outputs).print(style));
        let well = touches.iter().all(|touch| touch.result.is_ok()) && outputs.iter().all(Proof::is_good);
        Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// What came of an output.
struct Proof {
    name: String,
    /// The events of the touches.
    events: Result<String, String>,
    /// An event of its own.
    test: Result<String, String>,
}

impl Proof {
    const fn is_good(&self) -> bool {
        self.events.is_ok() && self.test.is_ok()
    }
}

/// A number that no earlier drill used.
fn mark() -> u64 {
    u64::try_from(aviary_sensor::now_micros()).unwrap_or(0) ^ (u64::from(std::process::id()) << 48)
}

/// A place to touch.
#[derive(Clone, Debug)]
struct Target {
    /// The host whose service it is; `None` for the canary's own.
    host: Option<String>,
    /// Its name in events, where the canary says it.
    node_id: Option<String>,
    service: String,
    address: String,
    port: u16,
    datagrams: bool,
}

impl Target {
    /// Out of what `status` says of a service; `None` for one that is not wanted.
    fn of(service: &Value, wanted: &[String]) -> Option<Self> {
        let word = |key: &str| service[key].as_str().map(str::to_owned);
        let label = word("service").filter(|label| wanted.is_empty() || wanted.contains(label))?;
        let address = match service["address"].as_str().unwrap_or_default() {
            "*" | "0.0.0.0" | "::" => "127.0.0.1",
            address => address,
        };
        Some(Self {
            host: word("host"),
            node_id: word("node_id"),
            service: label,
            address: address.to_owned(),
            port: service["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(0),
            datagrams: service["protocol"] == "udp",
        })
    }

    /// Whether an event of it names another machine.
    fn is_misnamed(&self, event: &Event) -> bool {
        self.node_id.is_some() && self.node_id != event.node_id
    }

    fn port_name(&self) -> String {
        match (self.port, self.datagrams) {
            (0, _) => "-".to_owned(),
            (port, false) => port.to_string(),
            (port, true) => format!("{port}/udp"),
        }
    }
}

fn services_of(status: &Value) -> impl Iterator<Item = &Value> {
    status["services"].as_array().into_iter().flatten()
}

/// Services that should listen and do not: nobody who touches them is reported.
fn failed<'a>(status: &'a Value, wanted: &'a [String]) -> impl Iterator<Item = Touch> + 'a {
    let failed = services_of(status).filter(|service| service["state"] == "failed");
    failed.filter_map(move |service| {
        let why = service["reason"].as_str().unwrap_or_default();
        Some(Touch { target: Target::of(service, wanted)?, result: Err(format!("failed: {why}")) })
    })
}

fn targets(status: &Value, wanted: &[String]) -> Vec<Target> {
    let listening = services_of(status).filter(|service| service["state"] == "listening");
    listening.filter_map(|service| Target::of(service, wanted)).collect()
}

async fn touch_all(folder: &Path, targets: &[Target], mark: &str, wait: Duration) -> Vec<Touch> {
    // The tail is open before the first touch, so that no event is missed.
    let (found, mut events) = tokio::sync::mpsc::unbounded_channel();
    let tail_folder = folder.to_owned();
    let tail = tokio::runtime::Handle::current().spawn(async move {
        let follow = aviary_sensor::follow(&tail_folder, 0, |line| match Event::parse(line) {
            Ok(event) => found.send((event, Instant::now())).is_ok(),
            Err(_) => true,
        });
        drop(follow.await);
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut touches = Vec::new();
    for target in targets {
        let Target { service, address, port, datagrams, .. } = target;
        let begun = Instant::now();
        let knocked = async {
            if *datagrams {
                knock::datagram(address, *port, mark, drop).await
            } else {
                knock::knock(service, address, *port, mark, drop).await
            }
        };
        let knocked = tokio::time::timeout(wait, knocked).await;
        let result = match knocked {
            Err(_) => Err(format!("did not answer within {} s", wait.as_secs())),
            Ok(Err(error)) => Err(format!("cannot be touched: {error}")),
            Ok(Ok(source_port)) => {
                let seen = async {
                    while let Some((event, when)) = events.recv().await {
                        if tells_of(&event, source_port, *port) {
                            return Some((event, when));
                        }
                    }
                    None
                };
                match tokio::time::timeout(wait, seen).await {
                    Ok(Some((event, _))) if target.is_misnamed(&event) => {
                        Err(format!("reported as `{}`, which is another machine", event.node_id.unwrap_or_default()))
                    }
                    Ok(Some((event, when))) => Ok(seen_as(&event, source_port, when.saturating_duration_since(begun))),
                    _ => Err("touched, but no event came; is this address in `ip.ignorelist`?".to_owned()),
                }
            }
        };
        touches.push(Touch { target: target.clone(), result });
    }
    tail.abort();
    touches
}

fn tells_of(event: &Event, source_port: u16, port: u16) -> bool {
    let is = |origin: &Option<aviary_event::Origin>, port: u16| {
        origin.as_ref().is_some_and(|origin| origin.port == Port::Number(i64::from(port)))
    };
    is(&event.src, source_port) && is(&event.dst, port)
}

fn seen_as(event: &Event, source_port: u16, took: Duration) -> Seen {
    let (seq, id) = event.aviary.as_ref().map_or((0, String::new()), |ours| (ours.seq, ours.id.to_string()));
    Seen { seq, id, source_port, logtype: event.logtype.unwrap_or(0), took }
}

/// For each output: how many of the events arrived, or why not.
async fn prove_outputs(folder: &Path, before: &Value, touches: &[Touch], wait: Duration) -> anyhow::Result<Vec<Proof>> {
    let seen: Vec<&Seen> = touches.iter().filter_map(|touch| touch.result.as_ref().ok()).collect();
    let last = seen.iter().map(|seen| seen.seq).max().unwrap_or(0);
    let refused_before: BTreeMap<String, u64> =
        outputs_of(before).map(|output| (name_of(output), output["refused"].as_u64().unwrap_or(0))).collect();
    let deadline = Instant::now() + wait;
    loop {
        let status = aviary_sensor::ask(folder, json!({"ask": "status"})).await?;
        let waiting = outputs_of(&status)
            .any(|output| output["state"] != "failed" && output["position"].as_u64().unwrap_or(0) < last);
        if waiting && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        }
        return Ok(outputs_of(&status)
            .map(|output| {
                let name = name_of(output);
                let refused = output["refused"].as_u64().unwrap_or(0) > refused_before.get(&name).copied().unwrap_or(0);
                Proof { events: verdict(output, refused, last, &seen), test: Err("does not run".to_owned()), name }
            })
            .collect());
    }
}

/// Outputs that are tested at once: the canary answers to so many, and a hung one takes its time.
const TESTS: usize = 8;

/// Sends each output one marked event.
async fn test_outputs(folder: &Path, outputs: &mut [Proof]) {
    for some in outputs.chunks_mut(TESTS) {
        let ask = |proof: &Proof| {
            let (folder, name) = (folder.to_owned(), proof.name.clone());
            tokio::runtime::Handle::current().spawn(async move {
                aviary_sensor::ask(&folder, json!({"ask": "test", "output": name, "by": "aviary drill"})).await
            })
        };
        let asked: Vec<_> = some.iter().map(ask).collect();
        for (proof, answer) in some.iter_mut().zip(asked) {
            proof.test = match answer.await {
                Ok(Ok(answer)) => said_of_test(&answer),
                Ok(Err(error)) => Err(error.to_string()),
                Err(error) => Err(error.to_string()),
            };
        }
    }
}

/// An output that takes no test was proven by the touches.
fn said_of_test(answer: &Value) -> Result<String, String> {
    let said = answer["answer"].as_str().unwrap_or_default();
    match (answer["delivered"] == true, answer["untested"] == true) {
        (true, _) => Ok(format!("delivered in {} ms", answer["milliseconds"])),
        (false, true) => Ok(format!("not tested: {said}")),
        (false, false) => Err(format!("not delivered: {said}")),
    }
}

fn outputs_of(status: &Value) -> impl Iterator<Item = &Value> {
    status["outputs"].as_array().into_iter().flatten()
}

fn name_of(output: &Value) -> String {
    output["output"].as_str().unwrap_or_default().to_owned()
}

fn verdict(output: &Value, refused: bool, last: u64, seen: &[&Seen]) -> Result<String, String> {
    let word = |key: &str| output[key].as_str().unwrap_or_default().to_owned();
    if output["state"] == "failed" {
        return Err(word("reason"));
    }
    if output["position"].as_u64().unwrap_or(0) < last {
        let why = word("last_error");
        return Err(if why.is_empty() {
            "did not deliver in time".to_owned()
        } else {
            format!("did not deliver: {why}")
        });
    }
    if refused {
        return Err(format!("the receiver refused: {}", word("last_error")));
    }
    let Some(file) = output["file"].as_str() else {
        return Ok(format!("the receiver took all {}", seen.len()));
    };
    let text =
        read_end(Path::new(file)).map_err(|error| format!("{file} cannot be read to see for oneself: {error}"))?;
    let missing = seen.iter().filter(|seen| !text.lines().any(|line| seen.stands_in(line))).count();
    match missing {
        0 => Ok(format!("all {} stand in {file}", seen.len())),
        n => Err(format!("{n} of {} are not in {file}", seen.len())),
    }
}

/// The last 4 MiB of a file.
fn read_end(path: &Path) -> std::io::Result<String> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    const END: u64 = 4 << 20;
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(END)))?;
    let mut bytes = vec![0; usize::try_from(length.min(END)).unwrap_or(0)];
    let mut filled = 0;
    while let Some(space) = bytes.get_mut(filled..).filter(|space| !space.is_empty()) {
        match file.read(space)? {
            0 => break,
            n => filled += n,
        }
    }
    bytes.truncate(filled);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn touch_table(touches: &[Touch]) -> Table {
    let mut table = Table::new(&["host", "service", "port", "event", "after", "result"]);
    for touch in touches {
        let (event, after, result, ink) = match &touch.result {
            Ok(seen) => {
                (seen.logtype.to_string(), format!("{} ms", seen.took.as_millis()), "reported".to_owned(), Ink::Good)
            }
            Err(why) => ("-".to_owned(), "-".to_owned(), why.clone(), Ink::Alarm),
        };
        let target = &touch.target;
        table.row(vec![
            (target.host.clone().unwrap_or_else(|| "-".to_owned()), None),
            (target.service.clone(), Some(Ink::Strong)),
            (target.port_name(), None),
            (event, None),
            (after, None),
            (result, Some(ink)),
        ]);
    }
    table.without_idle_column()
}

fn output_table(outputs: &[Proof]) -> Table {
    let mut table = Table::new(&["output", "events", "test event"]);
    let cell = |result: &Result<String, String>| match result {
        Ok(text) => (text.clone(), Some(Ink::Good)),
        Err(text) => (text.clone(), Some(Ink::Alarm)),
    };
    for Proof { name, events, test } in outputs {
        table.row(vec![(name.clone(), Some(Ink::Strong)), cell(events), cell(test)]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_that_lags_or_refuses_is_not_proven() {
        let seen = Seen { seq: 5, id: "x".to_owned(), source_port: 1, logtype: 2000, took: Duration::ZERO };
        let output = json!({"output": "hook", "state": "failing", "position": 4, "last_error": "connection refused"});
        assert_eq!(verdict(&output, false, 5, &[&seen]), Err("did not deliver: connection refused".to_owned()));
        let output = json!({"output": "hook", "state": "working", "position": 5, "last_error": "410 Gone"});
        assert_eq!(verdict(&output, true, 5, &[&seen]), Err("the receiver refused: 410 Gone".to_owned()));
        assert!(verdict(&output, false, 5, &[&seen]).is_ok());
    }

    #[test]
    fn a_test_counts_unless_the_output_takes_none() {
        let said = |answer: Value| said_of_test(&answer);
        assert_eq!(said(json!({"delivered": true, "milliseconds": 3})), Ok("delivered in 3 ms".to_owned()));
        assert_eq!(said(json!({"delivered": false, "answer": "410"})), Err("not delivered: 410".to_owned()));
        let none = json!({"delivered": false, "untested": true, "answer": "nobody's visit"});
        assert_eq!(said(none), Ok("not tested: nobody's visit".to_owned()));
        assert_eq!(said(json!({})), Err("not delivered: ".to_owned()));
    }

    #[test]
    fn a_log_file_must_hold_the_event_itself() {
        let file = std::env::temp_dir().join(format!("aviary-drill-{}", std::process::id()));
        std::fs::write(&file, "{\"aviary\": {\"id\": \"x\"}}\n").unwrap();
        let output = json!({"state": "working", "position": 9, "file": file.display().to_string()});
        let seen = |id: &str| Seen { seq: 1, id: id.to_owned(), source_port: 1, logtype: 0, took: Duration::ZERO };
        assert!(verdict(&output, false, 1, &[&seen("x")]).is_ok());
        assert!(verdict(&output, false, 1, &[&seen("y")]).is_err());
        std::fs::remove_file(&file).unwrap();
    }
}
