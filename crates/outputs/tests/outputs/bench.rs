//! What the tests build outputs and events with.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use aviary_event::{Aviary, Event, PeerBytes, Timestamp, Value};
use aviary_output::{Blueprint, Failure, Output, Rejection, routed};
use serde_json::{Map, Value as Json};
use tokio::time::timeout;
use uuid::Uuid;

/// 2026-11-22 22:00:00 UTC in microseconds.
pub(crate) const NOW: i64 = 1_795_384_800_000_000;

/// How an output under test is built.
pub(crate) struct Setup {
    pub(crate) class: &'static str,
    pub(crate) options: Json,
    pub(crate) format: &'static str,
    pub(crate) extended: bool,
}

impl Setup {
    pub(crate) fn new(class: &'static str, options: Json) -> Self {
        Self { class, options, format: "%(message)s", extended: true }
    }

    pub(crate) fn try_build(&self) -> Result<Box<dyn Output>, Rejection> {
        let empty = Map::new();
        let blueprint = Blueprint {
            name: "tested",
            options: self.options.as_object().unwrap_or(&empty),
            format: self.format,
            extended: self.extended,
            node_id: "opencanary-1",
        };
        let (entry, _) = aviary_outputs::by_class(self.class).unwrap_or_else(|| panic!("no class {}", self.class));
        (entry.build)(&blueprint).and_then(|output| routed(output, entry.options, blueprint.options))
    }

    pub(crate) fn build(&self) -> Box<dyn Output> {
        self.try_build().unwrap_or_else(|rejection| panic!("{}: {rejection}", self.class))
    }
}

/// The event at a place in the journal, `seq` seconds after [`NOW`].
pub(crate) fn event(seq: u64) -> Arc<Event> {
    event_with(seq, Value::from("root"))
}

pub(crate) fn event_with(seq: u64, user: Value) -> Arc<Event> {
    let time = Timestamp::from_micros(NOW + i64::try_from(seq).expect("a small number") * 1_000_000);
    let utc = time.to_opencanary(&jiff::tz::TimeZone::UTC);
    let line = format!(
        r#"{{"dst_host": "192.0.2.1", "dst_port": 21, "local_time": "{utc}", "local_time_adjusted": "{utc}", "logdata": {{}}, "logtype": 2000, "node_id": "opencanary-1", "src_host": "192.0.2.7", "src_port": 40000, "utc_time": "{utc}"}}"#
    );
    let mut event = Event::parse(&line).expect("the line is an event");
    event.logdata = Value::Map(BTreeMap::from([("USERNAME".to_owned(), user)]));
    event.aviary = Some(Aviary {
        id: Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0000 + u128::from(seq)),
        seq,
        session: Some("00000000000000aa".to_owned()),
        service: "ftp".to_owned(),
        time,
        kind: "login".to_owned(),
        technique: Vec::new(),
        more: BTreeMap::new(),
    });
    Arc::new(event)
}

pub(crate) fn events(seqs: impl IntoIterator<Item = u64>) -> Vec<Arc<Event>> {
    seqs.into_iter().map(event).collect()
}

/// Events as no service should make them, but somebody will.
pub(crate) fn odd_events() -> Vec<Arc<Event>> {
    let parsed = [
        "{}",
        r#"{"logtype": null, "logdata": "text"}"#,
        r#"{"utc_time": "yesterday", "local_time_adjusted": "ä", "node_id": "a\nb%s"}"#,
        r#"{"logdata": {"a": [[[1.5e300, null, {"%(message)s": "%n%s\u0000"}]]], "id": "x"}}"#,
        r#"{"utc_time": "9999-12-31 23:59:59.999999", "local_time_adjusted": "9999-12-31 23:59:59.999999"}"#,
    ];
    let mut odd: Vec<_> = parsed.iter().map(|line| Arc::new(Event::parse(line).expect("an event"))).collect();
    odd.push(event_with(7, Value::Bytes(PeerBytes::from(vec![0xff; 400]))));
    odd.push(event_with(8, Value::Bytes(PeerBytes::from(b"\"},\n{\"aviary\": {\"id\": \"x\"}"))));
    odd
}

/// What the loop does with a batch, as far as a test needs it; `None` when the time limit is hit.
pub(crate) async fn deliver(output: &mut Box<dyn Output>, batch: &[Arc<Event>]) -> Option<Result<(), Failure>> {
    let limit = output.time_limit();
    timeout(limit, output.deliver(batch)).await.ok()
}

/// Delivers all of a batch that may be larger than the output takes at once.
pub(crate) async fn deliver_all(output: &mut Box<dyn Output>, batch: &[Arc<Event>]) {
    for part in batch.chunks(output.batch_limit()) {
        match deliver(output, part).await {
            Some(Ok(())) => {}
            Some(Err(failure)) => panic!("{failure}: {}", failure.error),
            None => panic!("no answer within the limit"),
        }
    }
}

/// The error text of a delivery that must be worth trying again, and how far it came.
pub(crate) async fn temporary(output: &mut Box<dyn Output>, batch: &[Arc<Event>]) -> (usize, String) {
    match deliver(output, batch).await {
        Some(Err(Failure { delivered, error: aviary_output::DeliveryError::Temporary { reason, .. } })) => {
            (delivered, reason)
        }
        other => panic!("not a temporary failure: {other:?}"),
    }
}

/// Where the `seq` of each line is, in order.
pub(crate) fn seqs(text: &str) -> Vec<u64> {
    let number = |line: &str| line.split("\"seq\": ").nth(1)?.split(',').next()?.parse().ok();
    text.lines().map(|line| number(line).unwrap_or_else(|| panic!("not a whole line: {line}"))).collect()
}

/// Waits until something holds, which it must within ten seconds.
pub(crate) async fn until<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    for _ in 0..1000 {
        if let Some(found) = check() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain for {what}");
}

/// A program that ends with the test.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether a program is there; says so when not, and the test has nothing to check.
pub(crate) fn have(program: &str) -> bool {
    let found = ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/bin"]
        .iter()
        .any(|folder| Path::new(folder).join(program).exists());
    if !found {
        println!("skipped: `{program}` is not installed");
    }
    found
}

pub(crate) fn start(program: &str, arguments: &[&str]) -> Running {
    let child = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    Running(child.unwrap_or_else(|error| panic!("{program}: {error}")))
}
