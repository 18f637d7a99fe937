//! `aviary-bench search`: how fast a hub's store takes events, and how fast the first page of any search over them is.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use aviary_event::{Event, Severity, Timestamp, Value};
use aviary_hub::{Hub, Source};
use aviary_insight::Stage;
use aviary_simulate::{Options as Model, Simulation};
use aviary_store::{
    CredentialQuery, Cursor, EventQuery, IncidentQuery, Networks, Options, OverviewQuery, SourceQuery, Sqlite, State,
    Store, Whose,
};

use crate::report::{micros, percentile, table, verdict};

/// Events that go to the store together.
const TOGETHER: usize = 1000;
/// Batches that are under way at once.
const UNDER_WAY: usize = 4;
/// Events of which values are taken for the searches.
const SAMPLES: usize = 64;
/// Over so long events are spread, in seconds.
const SPREAD: f64 = 30.0 * 86_400.0;
/// Events that a visit comes to, about.
const VISIT: f64 = 7.5;
/// Longest time that the first page of a search may take, 95 of 100 times.
const SEARCH: Duration = Duration::from_millis(300);
/// Longest time of an incident list.
const LIST: Duration = Duration::from_millis(100);
/// Longest time of numbers.
const NUMBERS: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Events in the store
    #[arg(long, default_value_t = 10_000_000)]
    events: usize,
    /// Times that each question is asked, with other values each time
    #[arg(long, default_value_t = 40)]
    rounds: usize,
    /// Where the store is made, or one that was filled before; a folder that goes at the end if missing
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
}

/// A question, with other values each round.
type Ask<'a> = Box<dyn Fn(&Arc<dyn Store>, &Sample) -> Asked + 'a>;
type Asked = std::pin::Pin<Box<dyn Future<Output = anyhow::Result<usize>> + Send>>;

/// What an event says that searches ask for.
#[derive(Clone, Debug)]
struct Sample {
    at: Timestamp,
    source: String,
    target: String,
    sensor: String,
    service: String,
    kind: &'static str,
    logtype: i64,
    port: u16,
    field: (String, String),
    word: String,
}

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = arguments.store.clone().unwrap_or_else(|| folder.path().join("hub.db"));
    // No limit: what is slow is to be seen.
    let options = Options { patience: Duration::from_secs(600), ..Options::at(&path) };
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(options)?);
    let hub = Hub::new(Arc::clone(&store), aviary_hub::clock::now).await?;
    fill(&hub, arguments.events, &path).await?;
    let samples = samples(&store).await?;
    let mut rows = vec![["question", "rows", "p50", "p95", "longest", "target"].map(str::to_owned).to_vec()];
    let mut missed = 0;
    for (name, limit, ask) in questions(hub.now()) {
        let mut times = Vec::new();
        let mut found = 0;
        for round in 0..arguments.rounds.max(1) {
            let sample = samples.get(round % samples.len()).context("there are no events")?;
            let begun = Instant::now();
            found += ask(&store, sample).await.with_context(|| name)?;
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        let met = percentile(&times, 95.0) <= limit;
        missed += usize::from(!met);
        rows.push(vec![
            name.to_owned(),
            (found / times.len()).to_string(),
            micros(percentile(&times, 50.0)),
            micros(percentile(&times, 95.0)),
            micros(percentile(&times, 100.0)),
            format!("{} {}", micros(limit), verdict(met)),
        ]);
    }
    table(&rows);
    println!("\n{missed} targets missed");
    Ok(())
}

/// Fills the store up to a number of events, as a hub would.
async fn fill(hub: &Hub, count: usize, path: &Path) -> anyhow::Result<()> {
    if hub.store().size().await?.oldest.is_some() {
        println!("`{}` is filled already\n", path.display());
        return Ok(());
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let pace = count as f64 / SPREAD / VISIT;
    let start = hub.now().as_micros().saturating_sub(30 * 86_400 * 1_000_000);
    let mut events = Simulation::new(Model { start: Timestamp::from_micros(start), pace, ..Model::default() });
    let names: Vec<String> = events.sensors().map(str::to_owned).collect();
    let begun = Instant::now();
    let mut done = 0_usize;
    while done < count {
        let mut batches = Vec::new();
        for _ in 0..UNDER_WAY {
            let mut lines = Vec::with_capacity(TOGETHER);
            let mut sensor = 0;
            for sent in events.by_ref().take(TOGETHER.min(count.saturating_sub(done))) {
                sensor = sent.sensor;
                lines.push(sent.event.to_line(true));
            }
            done += lines.len();
            let sensor = names.get(sensor).cloned().unwrap_or_default();
            let source = Source { sensor, site: String::new(), nodes: Vec::new() };
            batches.push(async move { hub.take(&source, &lines).await });
        }
        for answer in join(batches).await {
            answer?;
        }
    }
    let seconds = begun.elapsed().as_secs_f64().max(0.001);
    let bytes = hub.store().size().await?.bytes;
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let (rate, each) = (count as f64 / seconds, bytes as f64 / count as f64);
    println!(
        "{count} events in {seconds:.1} s: {rate:.0} a second, {each:.0} bytes each, incidents and sums among them\n"
    );
    Ok(())
}

/// Waits for all, polled together.
async fn join<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(move |context| {
        let mut ready = true;
        for (future, output) in &mut waiting {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *output = Some(value),
                    std::task::Poll::Pending => ready = false,
                }
            }
        }
        if !ready {
            return std::task::Poll::Pending;
        }
        std::task::Poll::Ready(waiting.iter_mut().filter_map(|(_, output)| output.take()).collect())
    })
    .await
}

/// Values of events from all over the time.
async fn samples(store: &Arc<dyn Store>) -> anyhow::Result<Vec<Sample>> {
    let newest = page(store, EventQuery { limit: 1, ..EventQuery::default() }).await?;
    let oldest = store.size().await?.oldest;
    let (Some(newest), Some(oldest)) = (newest.first().map(|row| row.at.as_micros()), oldest) else {
        bail!("the store is empty");
    };
    let oldest = oldest.as_micros();
    let mut samples = Vec::new();
    for number in 1..=SAMPLES {
        let number = i64::try_from(number).unwrap_or(1);
        let part = (newest - oldest) / i64::try_from(SAMPLES).unwrap_or(1) * number;
        let until = Some(Timestamp::from_micros(oldest + part + 1));
        let rows = page(store, EventQuery { until, limit: 50, ..EventQuery::default() }).await?;
        // One that has everything; logins do.
        samples.extend(rows.iter().find_map(|row| sample(&row.line, &row.sensor, row.at)));
    }
    if samples.is_empty() {
        bail!("no event has a user name");
    }
    Ok(samples)
}

async fn page(store: &Arc<dyn Store>, query: EventQuery) -> anyhow::Result<Vec<aviary_store::EventRow>> {
    Ok(store.events(query).await?.rows)
}

fn sample(line: &str, sensor: &str, at: Timestamp) -> Option<Sample> {
    let event = Event::parse(line).ok()?;
    let text = |key: &str| event.logdata.get(key).and_then(Value::as_str).map(str::to_owned);
    let (user, password) = (text("USERNAME")?, text("PASSWORD")?);
    let port = match event.dst.as_ref()?.port {
        aviary_event::Port::Number(number) => u16::try_from(number).ok()?,
        aviary_event::Port::Text(_) => return None,
    };
    Some(Sample {
        at,
        source: event.src.as_ref()?.host.clone(),
        target: event.dst.as_ref()?.host.clone(),
        sensor: sensor.to_owned(),
        service: event.service()?.to_owned(),
        kind: event.class().word(),
        logtype: event.logtype?,
        port,
        field: ("USERNAME".to_owned(), user),
        word: password,
    })
}

/// Everything that is asked, with the longest time that it may take.
fn questions(now: Timestamp) -> Vec<(&'static str, Duration, Ask<'static>)> {
    fn events(query: impl Fn(&Sample) -> EventQuery + 'static) -> Ask<'static> {
        Box::new(move |store, sample| {
            let (store, query) = (Arc::clone(store), EventQuery { limit: 100, ..query(sample) });
            Box::pin(async move { Ok(store.events(query).await?.rows.len()) })
        })
    }
    let all = EventQuery::default;
    let network = |address: &str, bits: u8| Networks::parse(&format!("{address}/{bits}"));
    let wide = move |address: &str, four: u8, six: u8| network(address, if address.contains(':') { six } else { four });
    let mut questions: Vec<(&'static str, Duration, Ask<'static>)> = Vec::new();
    let mut search = |name, ask| questions.push((name, SEARCH, ask));
    search("events: all", events(move |_| all()));
    search(
        "events: a page in the middle",
        events(move |s| EventQuery {
            after: Some(Cursor { at: s.at.as_micros(), row: s.at.as_micros().saturating_mul(16) }),
            ..all()
        }),
    );
    search("events: before a time", events(move |s| EventQuery { until: Some(s.at), ..all() }));
    search("events: a source", events(move |s| EventQuery { sources: Networks::parse(&s.source), ..all() }));
    search("events: a /24 or /64", events(move |s| EventQuery { sources: wide(&s.source, 24, 64), ..all() }));
    search("events: a /20 or /40", events(move |s| EventQuery { sources: wide(&s.source, 20, 40), ..all() }));
    search("events: a /9 or /25", events(move |s| EventQuery { sources: wide(&s.source, 9, 25), ..all() }));
    search(
        "events: a source that never came",
        events(move |_| EventQuery { sources: Networks::parse("192.0.2.99"), ..all() }),
    );
    search("events: a decoy", events(move |s| EventQuery { destinations: Networks::parse(&s.target), ..all() }));
    search("events: a sensor", events(move |s| EventQuery { sensor: Some(s.sensor.clone()), ..all() }));
    search("events: a service", events(move |s| EventQuery { service: Some(s.service.clone()), ..all() }));
    search("events: a kind", events(move |s| EventQuery { kind: Some(s.kind.to_owned()), ..all() }));
    search("events: a log type", events(move |s| EventQuery { logtype: Some(s.logtype), ..all() }));
    search("events: a port", events(move |s| EventQuery { port: Some(s.port), ..all() }));
    search("events: exploits", events(move |_| EventQuery { stage: Some(Stage::ExploitAttempt), ..all() }));
    search("events: hidden ones", events(move |_| EventQuery { hidden: Some(true), ..all() }));
    search("events: others than hidden", events(move |_| EventQuery { hidden: Some(false), ..all() }));
    search("events: a field", events(move |s| EventQuery { fields: vec![s.field.clone()], ..all() }));
    search(
        "events: a field with a value that nothing has",
        events(move |_| EventQuery { fields: vec![("USERNAME".to_owned(), "nobody has it".to_owned())], ..all() }),
    );
    search("events: a word", events(move |s| EventQuery { text: Some(s.word.clone()), ..all() }));
    search(
        "events: two words that never meet",
        events(move |_| EventQuery { text: Some("root 3723264".to_owned()), ..all() }),
    );
    search(
        "events: a word, a sensor and a /16",
        events(move |s| EventQuery {
            text: Some(s.word.clone()),
            sensor: Some(s.sensor.clone()),
            sources: wide(&s.source, 16, 32),
            ..all()
        }),
    );
    search(
        "events: a word before a time",
        events(move |s| EventQuery { text: Some(s.word.clone()), until: Some(s.at), ..all() }),
    );
    let hour = 3_600_000_000;
    let ago = move |hours: i64| Timestamp::from_micros(now.as_micros().saturating_sub(hours * hour));
    questions.push((
        "overview",
        NUMBERS,
        Box::new(move |store, _| {
            let store = Arc::clone(store);
            Box::pin(async move {
                let query = OverviewQuery { new: ago(24), trend: ago(47), top: 8 };
                Ok(store.overview(query).await?.trend.len())
            })
        }),
    ));
    let sources = |query: fn(&Sample) -> SourceQuery| -> Ask<'static> {
        Box::new(move |store, sample| {
            let (store, query) = (Arc::clone(store), SourceQuery { limit: 50, ..query(sample) });
            Box::pin(async move { Ok(store.sources(query).await?.rows.len()) })
        })
    };
    questions.push(("sources", NUMBERS, sources(|_| SourceQuery::default())));
    questions.push((
        "sources: a /16",
        NUMBERS,
        sources(|s| SourceQuery { network: Networks::parse(&format!("{}/16", s.source)), ..SourceQuery::default() }),
    ));
    questions.push((
        "a source's story",
        NUMBERS,
        Box::new(|store, sample| {
            let (store, address) = (Arc::clone(store), sample.source.parse::<IpAddr>());
            Box::pin(async move {
                let whose = Whose { address: address?, realm: None, limit: 1000 };
                Ok(store.source(whose).await?.map_or(0, |story| story.credentials.len()))
            })
        }),
    ));
    let credentials = |query: fn(&Sample) -> CredentialQuery| -> Ask<'static> {
        Box::new(move |store, sample| {
            let (store, query) = (Arc::clone(store), CredentialQuery { limit: 100, ..query(sample) });
            Box::pin(async move { Ok(store.credentials(query).await?.rows.len()) })
        })
    };
    questions.push(("credentials: the most tried", NUMBERS, credentials(|_| CredentialQuery::default())));
    questions.push((
        "credentials: the latest",
        NUMBERS,
        credentials(|_| CredentialQuery { latest: true, ..CredentialQuery::default() }),
    ));
    questions.push((
        "credentials: the most tried of a service",
        NUMBERS,
        credentials(|s| CredentialQuery { service: Some(s.service.clone()), ..CredentialQuery::default() }),
    ));
    questions.push((
        "credentials: the most tried since a time",
        NUMBERS,
        credentials(|s| CredentialQuery { since: Some(s.at), ..CredentialQuery::default() }),
    ));
    let incidents = |query: IncidentQuery| -> Ask<'static> {
        Box::new(move |store, _| {
            let (store, query) = (Arc::clone(store), IncidentQuery { limit: 50, ..query.clone() });
            Box::pin(async move { Ok(store.incidents(query).await?.rows.len()) })
        })
    };
    questions.push(("incidents", LIST, incidents(IncidentQuery::default())));
    let open =
        IncidentQuery { state: Some(State::Open), severity: Some(Severity::Critical), ..IncidentQuery::default() };
    questions.push(("incidents: open and critical", LIST, incidents(open)));
    let closed = IncidentQuery { state: Some(State::Closed), ..IncidentQuery::default() };
    questions.push(("incidents: closed, of which there are none", LIST, incidents(closed)));
    questions
}
