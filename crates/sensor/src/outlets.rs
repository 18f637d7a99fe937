//! What an output reads from, and what operators may ask of it: a test, its dead letters again, a replay.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aviary_event::{Event, LogData, Origin};
use aviary_journal::{DeadLetter, Journal, Reader};
use aviary_output::{Batch, Health, Source, TEST};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::canary::Canary;
use crate::clock;

/// Batches that wait for an output beside the journal.
const BESIDE: usize = 4;
/// Events of a batch.
const BATCH: usize = 256;
/// How long an answer to a test is waited for.
const PATIENCE: Duration = Duration::from_secs(8);
/// Dead letters that are listed and sent again at once.
const LETTERS: usize = 1000;

/// What goes to an output beside what the journal has for it.
pub(crate) type Beside = mpsc::Sender<Parcel>;

/// Events that go beside, the dead letters that they are, and who waits for what comes of the first.
pub(crate) struct Parcel {
    events: Vec<Arc<Event>>,
    letters: Vec<i64>,
    fate: Option<oneshot::Sender<Fate>>,
}

impl Parcel {
    const fn of(events: Vec<Arc<Event>>) -> Self {
        Self { events, letters: Vec::new(), fate: None }
    }

    /// Whether whoever waited for its fate is gone, so that nobody wants it any more.
    fn is_given_up(&self) -> bool {
        self.fate.as_ref().is_some_and(oneshot::Sender::is_closed)
    }
}

/// What came of the first try to deliver an event.
enum Fate {
    Delivered,
    /// The output sends nothing of it.
    PassedOver,
    /// Not now, for this reason; it is tried again.
    Failed(String),
    /// Never, for this reason.
    Refused(String),
}

/// An event whose fate somebody waits for.
struct Watched {
    event: Arc<Event>,
    fate: oneshot::Sender<Fate>,
}

/// The journal as the delivery loop sees it, and what is sent to the output beside.
pub(crate) struct Feed {
    name: String,
    journal: Journal,
    reader: Reader,
    beside: mpsc::Receiver<Parcel>,
    /// Dead letters of the batch that is being delivered.
    letters: Vec<i64>,
    /// The test of the batch that is being delivered.
    watched: Option<Watched>,
}

/// The two ends of what goes beside.
pub(crate) fn beside() -> (Beside, mpsc::Receiver<Parcel>) {
    mpsc::channel(BESIDE)
}

impl Feed {
    pub(crate) fn new(journal: Journal, name: &str, beside: mpsc::Receiver<Parcel>) -> Self {
        let reader = journal.reader(name);
        Self { name: name.to_owned(), reader, journal, beside, letters: Vec::new(), watched: None }
    }

    /// Tells whoever waits for one of these events what came of it.
    fn tell(&mut self, events: &[&Event], fate: impl FnOnce() -> Fate) {
        let is_watched = |watched: &Watched| events.iter().any(|event| std::ptr::eq(*event, &*watched.event));
        if let Some(watched) = self.watched.take_if(|watched| is_watched(watched)) {
            drop(watched.fate.send(fate()));
        }
    }
}

impl Source for Feed {
    fn next(&mut self, limit: usize) -> Batch<'_> {
        // Whoever asks for more is done with what there was. INVARIANT: not before that does a letter leave its table.
        if !self.letters.is_empty()
            && let Err(error) = self.journal.exhume(&std::mem::take(&mut self.letters))
        {
            tracing::error!(output = self.name, error, "dead letters that were sent again cannot be taken out");
        }
        Box::pin(async move {
            loop {
                tokio::select! {
                    biased;
                    Some(parcel) = self.beside.recv() => {
                        if parcel.is_given_up() {
                            continue;
                        }
                        let Parcel { events, letters, fate } = parcel;
                        self.letters = letters;
                        self.watched = fate.zip(events.first()).map(|(fate, event)| {
                            Watched { event: Arc::clone(event), fate }
                        });
                        return events;
                    }
                    events = self.reader.next(limit) => return events as Vec<Arc<Event>>,
                }
            }
        })
    }

    fn advance(&mut self, seq: u64) {
        // What goes beside is older, and moves nothing back.
        self.reader.advance(seq);
    }

    fn delivered(&mut self, events: &[Arc<Event>]) {
        let events: Vec<&Event> = events.iter().map(|event| &**event).collect();
        self.tell(&events, || Fate::Delivered);
    }

    fn passed_over(&mut self, events: &[Arc<Event>]) {
        let events: Vec<&Event> = events.iter().map(|event| &**event).collect();
        self.tell(&events, || Fate::PassedOver);
    }

    fn failed(&mut self, events: &[Arc<Event>], reason: &str) {
        let events: Vec<&Event> = events.iter().map(|event| &**event).collect();
        self.tell(&events, || Fate::Failed(reason.to_owned()));
    }

    fn refused(&mut self, event: &Event, reason: &str) {
        self.tell(&[event], || Fate::Refused(reason.to_owned()));
        if event.logtype == Some(TEST.number) {
            return;
        }
        if let Err(error) = self.journal.bury(&self.name, event, clock::now().as_micros(), reason) {
            tracing::error!(output = self.name, error, "a refused event cannot be kept");
        }
    }
}

/// Answers a question about outputs; `None` when it is none.
pub(crate) async fn answer(canary: &Arc<Canary>, question: &Value) -> Option<Value> {
    let ask = question.get("ask").and_then(Value::as_str)?;
    let name = question.get("output").and_then(Value::as_str);
    let done = match ask {
        "dead" => dead(canary, name.map(str::to_owned)).await,
        "test" => test(canary, name?, question.get("by").and_then(Value::as_str)).await,
        "resend" => resend(canary, name?).await,
        "discard" => discard(canary, name?).await,
        "replay" => match moment(question.get("since").and_then(Value::as_str)?, clock::now().as_micros()) {
            Ok(since) => replay(canary, name?, since).await,
            Err(reason) => Err(reason),
        },
        _ => return None,
    };
    Some(done.unwrap_or_else(|reason| json!({ "refused": reason })))
}

/// An output's way in beside the journal, and its health.
fn find(canary: &Canary, name: &str) -> Result<(Beside, Arc<Health>), String> {
    canary.inspect(|_, _, outlets| match outlets.iter().find(|outlet| outlet.name == name) {
        Some(outlet) => match (&outlet.failure, &outlet.beside) {
            (None, Some(beside)) => Ok((beside.clone(), Arc::clone(&outlet.health))),
            (why, _) => Err(format!("output `{name}` does not run: {}", why.as_deref().unwrap_or_default())),
        },
        None => {
            let known: Vec<&str> = outlets.iter().map(|outlet| outlet.name.as_str()).collect();
            Err(format!("there is no output `{name}`; there are {}", known.join(", ")))
        }
    })
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(error.to_string()))
}

/// Sends one marked event, and says what came of that event.
async fn test(canary: &Arc<Canary>, name: &str, by: Option<&str>) -> Result<Value, String> {
    let (beside, health) = find(canary, name)?;
    if let Some(why) = canary.inspect(|_, _, outlets| outlets.iter().find(|outlet| outlet.name == name)?.no_test) {
        return Ok(json!({"delivered": false, "untested": true, "answer": why}));
    }
    let (rules, now) = (canary.reporter().rules(), clock::now());
    let text = format!("a test by `{}`: nothing happened", by.unwrap_or("aviary outputs test"));
    let data = LogData::new().with("OUTPUT", name).with("TEXT", text);
    let id = canary.reporter().next_id(now);
    let (zone, node) = (&rules.zone, &rules.node_id);
    let event = Event::new(&TEST, data, id, now, zone, node, "aviary", None, Origin::none(), Origin::none());
    let begun = Instant::now();
    let (fate, told) = oneshot::channel();
    let parcel = Parcel { fate: Some(fate), ..Parcel::of(vec![Arc::new(event)]) };
    let answer = tokio::time::timeout(PATIENCE, async {
        beside.send(parcel).await.ok()?;
        told.await.ok()
    });
    let answer = match answer.await {
        Ok(Some(Fate::Delivered)) => {
            let took = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            return Ok(json!({"delivered": true, "id": id.to_string(), "milliseconds": took}));
        }
        Ok(Some(Fate::PassedOver)) => "the output sends nothing of a test".to_owned(),
        Ok(Some(Fate::Failed(reason))) => format!("{reason}; it is tried again"),
        Ok(Some(Fate::Refused(reason))) => format!("refused: {reason}"),
        Ok(None) => return Err(format!("output `{name}` stops")),
        // Whatever is under way, or waits for its time, is older than the test.
        Err(_) => {
            let last = health.report().last_error.map(|(_, text)| format!("; last error: {text}"));
            format!("no answer within {} s{}", PATIENCE.as_secs(), last.unwrap_or_default())
        }
    };
    Ok(json!({"delivered": false, "answer": answer}))
}

/// How many dead letters each output has; none where that cannot be read.
pub(crate) async fn dead_counts(canary: &Arc<Canary>) -> BTreeMap<String, u64> {
    let journal = canary.reporter().journal().clone();
    let counts = blocking(move || journal.count_dead()).await.unwrap_or_default();
    counts.into_iter().collect()
}

/// Lists dead letters.
async fn dead(canary: &Arc<Canary>, name: Option<String>) -> Result<Value, String> {
    let journal = canary.reporter().journal().clone();
    let (counts, letters) =
        blocking(move || Ok((journal.count_dead()?, journal.dead(name.as_deref(), LETTERS)?))).await?;
    let letters: Vec<Value> = letters
        .iter()
        .map(|letter| {
            let time = aviary_event::Timestamp::from_micros(letter.at);
            json!({
                "output": letter.output,
                "time": time.to_opencanary(&jiff::tz::TimeZone::UTC),
                "reason": letter.reason,
                "event": serde_json::from_str::<Value>(&letter.event.to_line(true)).unwrap_or(Value::Null),
            })
        })
        .collect();
    let counts: serde_json::Map<String, Value> =
        counts.into_iter().map(|(output, count)| (output, json!(count))).collect();
    Ok(json!({"counts": counts, "letters": letters}))
}

/// Sends an output's dead letters again. Those that are refused again are dead letters again.
async fn resend(canary: &Arc<Canary>, name: &str) -> Result<Value, String> {
    let (beside, _) = find(canary, name)?;
    let (journal, name) = (canary.reporter().journal().clone(), name.to_owned());
    let letters: Vec<DeadLetter> = blocking(move || journal.dead(Some(&name), LETTERS)).await?;
    let sent = letters.len();
    // In a task of its own: the receiver may be slow, and whoever asked need not wait for it.
    drop(tokio::runtime::Handle::current().spawn(async move {
        for part in letters.chunks(BATCH) {
            let parcel = Parcel {
                events: part.iter().map(|letter| Arc::clone(&letter.event)).collect(),
                letters: part.iter().map(|letter| letter.id).collect(),
                fate: None,
            };
            if beside.send(parcel).await.is_err() {
                return;
            }
        }
    }));
    Ok(json!({ "sent": sent }))
}

/// Forgets an output's dead letters, which may be one that there no longer is.
async fn discard(canary: &Arc<Canary>, name: &str) -> Result<Value, String> {
    let (journal, name) = (canary.reporter().journal().clone(), name.to_owned());
    let count = blocking(move || {
        let letters = journal.dead(Some(&name), usize::try_from(i64::MAX).unwrap_or(usize::MAX))?;
        let ids: Vec<i64> = letters.iter().map(|letter| letter.id).collect();
        journal.exhume(&ids)?;
        Ok(ids.len())
    })
    .await?;
    Ok(json!({ "discarded": count }))
}

/// A moment in microseconds since 1970: so long before `now`, or a time.
fn moment(text: &str, now: i64) -> Result<i64, String> {
    let text = text.trim();
    for (unit, seconds) in [("s", 1_i64), ("m", 60), ("h", 3600), ("d", 86_400)] {
        if let Some(number) = text.strip_suffix(unit).and_then(|number| number.trim().parse::<u32>().ok()) {
            return Ok(now.saturating_sub(i64::from(number) * seconds * 1_000_000));
        }
    }
    match aviary_event::Timestamp::parse_rfc3339(text) {
        Some(time) if time.as_micros() <= now => Ok(time.as_micros()),
        Some(_) => Err(format!("`{text}` has not come yet")),
        None => Err(format!(
            "`{text}` is no time; accepted: 90s, 30m, 2h, 3d, or a time with zone such as 2026-11-25T00:00:00Z"
        )),
    }
}

/// Sends an output what the journal still has from a moment on, once more.
async fn replay(canary: &Arc<Canary>, name: &str, since: i64) -> Result<Value, String> {
    let (beside, _) = find(canary, name)?;
    let head = canary.reporter().journal().stats().head;
    let first = {
        let journal = canary.reporter().journal().clone();
        blocking(move || journal.since(since, 0, 1)).await?
    };
    let Some(first) = first.first().and_then(|event| event.aviary.as_ref()).map(|ours| ours.seq) else {
        return Ok(json!({ "replayed": 0 }));
    };
    let journal = canary.reporter().journal().clone();
    // In a task of its own: the receiver may be slow, and whoever asked need not wait for it.
    drop(tokio::runtime::Handle::current().spawn(async move {
        let mut after = first.saturating_sub(1);
        while after < head {
            let journal = journal.clone();
            let Ok(mut events) = blocking(move || journal.since(since, after, BATCH)).await else { return };
            events.retain(|event| event.aviary.as_ref().is_some_and(|ours| ours.seq <= head));
            let Some(last) = events.last().and_then(|event| event.aviary.as_ref()).map(|ours| ours.seq) else { return };
            after = last;
            if beside.send(Parcel::of(events)).await.is_err() {
                return;
            }
        }
    }));
    Ok(json!({ "replayed": head.saturating_sub(first).saturating_add(1) }))
}

/// When the first event after a position came, if the journal says so within a second.
pub(crate) async fn oldest_after(canary: &Canary, cursor: u64) -> Option<aviary_event::Timestamp> {
    let mut reader = canary.reporter().journal().peek(cursor);
    let events = tokio::time::timeout(Duration::from_secs(1), reader.next(1)).await.ok()?;
    events.first()?.aviary.as_ref().map(|ours| ours.time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_spans_or_times() {
        let now = 1_795_384_800_000_000;
        assert_eq!(moment("90s", now), Ok(now - 90_000_000));
        assert_eq!(moment("2h", now), Ok(now - 7_200_000_000));
        assert_eq!(moment("2026-11-22T21:00:00Z", now), Ok(now - 3_600_000_000));
        for bad in ["", "2 fortnights", "-1h", "2030-01-01T00:00:00Z"] {
            assert!(moment(bad, now).is_err(), "{bad}");
        }
    }
}
