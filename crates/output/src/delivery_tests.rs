//! The delivery loop against scripted outputs, in paused time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aviary_event::{Aviary, Event, Timestamp, Value};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use crate::{Batch, Delivery, DeliveryError, Failure, Health, HealthReport, Output, Pacing, Source, State, run};

const START: i64 = 1_795_384_800_000_000;

fn event(seq: u64, kind: &str) -> Arc<Event> {
    let mut event = Event::parse(r#"{"logtype": 2000}"#).expect("an event");
    event.logdata = Value::Null;
    event.aviary = Some(Aviary {
        id: Uuid::from_u128(u128::from(seq)),
        seq,
        session: None,
        service: "ftp".to_owned(),
        time: Timestamp::from_micros(START),
        kind: kind.to_owned(),
        technique: Vec::new(),
        more: std::collections::BTreeMap::new(),
    });
    Arc::new(event)
}

fn logins(seqs: impl IntoIterator<Item = u64>) -> Vec<Arc<Event>> {
    seqs.into_iter().map(|seq| event(seq, "login")).collect()
}

/// What became of events, by their numbers.
type Fates = Arc<Mutex<Vec<(&'static str, Vec<u64>)>>>;

/// Gives its batches one after the other, then waits for ever.
#[derive(Clone, Default)]
struct Script {
    batches: Arc<Mutex<VecDeque<Vec<Arc<Event>>>>>,
    advanced: Arc<Mutex<Vec<u64>>>,
    refused: Arc<Mutex<Vec<(u64, String)>>>,
    /// What became of which events, in order.
    fates: Fates,
}

impl Script {
    fn note(&self, fate: &'static str, events: &[Arc<Event>]) {
        let seqs = events.iter().filter_map(|event| event.aviary.as_ref()).map(|ours| ours.seq).collect();
        self.fates.lock().expect("no panic").push((fate, seqs));
    }
}

impl Source for Script {
    fn next(&mut self, _limit: usize) -> Batch<'_> {
        let batch = self.batches.lock().expect("no panic").pop_front();
        Box::pin(async move {
            match batch {
                Some(batch) => batch,
                None => std::future::pending().await,
            }
        })
    }

    fn advance(&mut self, seq: u64) {
        self.advanced.lock().expect("no panic").push(seq);
    }

    fn refused(&mut self, event: &Event, reason: &str) {
        let seq = event.aviary.as_ref().map_or(0, |ours| ours.seq);
        self.refused.lock().expect("no panic").push((seq, reason.to_owned()));
        self.fates.lock().expect("no panic").push(("refused", vec![seq]));
    }

    fn delivered(&mut self, events: &[Arc<Event>]) {
        self.note("delivered", events);
    }

    fn failed(&mut self, events: &[Arc<Event>], reason: &str) {
        assert!(!reason.contains('\x1b'), "{reason}");
        self.note("failed", events);
    }
}

/// What a scripted output does with one delivery.
#[derive(Clone, Copy)]
enum Act {
    Take,
    TakeSome(usize),
    Fail(Option<u64>),
    Refuse(usize),
    Hang,
    Panic,
}

type Try = (Instant, Vec<u64>);

#[derive(Clone, Default)]
struct Scripted {
    acts: Arc<Mutex<VecDeque<Act>>>,
    /// When each try happened, and what was in it.
    tries: Arc<Mutex<Vec<Try>>>,
    lifecycle: bool,
    limit: usize,
    panics_at: Option<u64>,
    /// How often it is yet to come into doubt.
    doubts: Arc<Mutex<u32>>,
    in_trouble: bool,
    /// Events that it says it passed over, when it is asked.
    passed_over: Arc<Mutex<VecDeque<usize>>>,
    /// Keys that any handler may have.
    common: serde_json::Map<String, serde_json::Value>,
}

impl Output for Scripted {
    fn deliver<'a>(&'a mut self, batch: &'a [Arc<Event>]) -> Delivery<'a> {
        let seqs: Vec<u64> = batch.iter().filter_map(|e| e.aviary.as_ref()).map(|ours| ours.seq).collect();
        assert!(!seqs.is_empty() || self.in_trouble, "an empty delivery");
        if self.panics_at.is_some_and(|at| seqs.contains(&at)) {
            self.tries.lock().expect("no panic").push((Instant::now(), seqs));
            panic!("cannot stand it");
        }
        self.tries.lock().expect("no panic").push((Instant::now(), seqs));
        let act = self.acts.lock().expect("no panic").pop_front().unwrap_or(Act::Take);
        Box::pin(async move {
            let temporary = |retry_after: Option<u64>| DeliveryError::Temporary {
                reason: "gone\x1b[2J fishing".to_owned(),
                retry_after: retry_after.map(Duration::from_secs),
            };
            match act {
                Act::Take => Ok(()),
                Act::TakeSome(delivered) => Err(Failure { delivered, error: temporary(None) }),
                Act::Fail(after) => Err(Failure { delivered: 0, error: temporary(after) }),
                Act::Refuse(delivered) => {
                    Err(Failure { delivered, error: DeliveryError::Refused { reason: "too odd".to_owned() } })
                }
                Act::Hang => std::future::pending().await,
                Act::Panic => panic!("in the middle"),
            }
        })
    }

    fn wants(&self, event: &Event) -> bool {
        event.aviary.as_ref().is_none_or(|ours| ours.kind != "scan")
    }

    fn takes_lifecycle(&self) -> bool {
        self.lifecycle
    }

    fn in_doubt(&mut self) -> crate::Someday<'_> {
        let tried = !self.tries.lock().expect("no panic").is_empty();
        let mut doubts = self.doubts.lock().expect("no panic");
        if tried && *doubts > 0 {
            *doubts -= 1;
            self.in_trouble = true;
            return Box::pin(std::future::ready(()));
        }
        Box::pin(std::future::pending())
    }

    fn take_passed_over(&mut self) -> usize {
        self.passed_over.lock().expect("no panic").pop_front().unwrap_or(0)
    }

    fn batch_limit(&self) -> usize {
        if self.limit == 0 { 256 } else { self.limit }
    }
}

struct Outcome {
    tries: Vec<Vec<u64>>,
    /// Seconds from the start to each try.
    times: Vec<f32>,
    advanced: Vec<u64>,
    refused: Vec<(u64, String)>,
    fates: Vec<(&'static str, Vec<u64>)>,
    health: HealthReport,
}

/// Runs the loop for two hours of paused time.
async fn played(output: Scripted, batches: Vec<Vec<Arc<Event>>>) -> Outcome {
    let source = Script::default();
    source.batches.lock().expect("no panic").extend(batches);
    let health = Arc::new(Health::new("test", || Timestamp::from_micros(START)));
    let (_keep, stop) = watch::channel(false);
    let start = Instant::now();
    let routed = crate::routed(Box::new(output.clone()), &[], &output.common).expect("keys in order");
    let courier = run(routed, source.clone(), Arc::clone(&health), stop, Pacing::default());
    timeout(Duration::from_secs(7200), courier).await.expect_err("the loop goes on");
    let tries = output.tries.lock().expect("no panic").clone();
    Outcome {
        times: tries.iter().map(|(at, _)| at.duration_since(start).as_secs_f32()).collect(),
        tries: tries.into_iter().map(|(_, seqs)| seqs).collect(),
        advanced: source.advanced.lock().expect("no panic").clone(),
        refused: source.refused.lock().expect("no panic").clone(),
        fates: source.fates.lock().expect("no panic").clone(),
        health: health.report(),
    }
}

fn acting(acts: impl IntoIterator<Item = Act>) -> Scripted {
    Scripted { acts: Arc::new(Mutex::new(acts.into_iter().collect())), ..Scripted::default() }
}

#[tokio::test(start_paused = true)]
async fn delivers_batches_in_order_and_advances_after_each() {
    let outcome = played(acting([]), vec![logins(1..=3), logins(4..=5)]).await;
    assert_eq!(outcome.tries, [vec![1, 2, 3], vec![4, 5]]);
    assert_eq!(outcome.advanced, [3, 5]);
    assert_eq!((outcome.health.delivered, outcome.health.state), (5, State::Idle));
    assert_eq!(outcome.health.last_success, Some(Timestamp::from_micros(START)));
    assert!(!outcome.health.failing);
}

#[tokio::test(start_paused = true)]
async fn the_source_hears_what_became_of_each_event() {
    let acts = [Act::TakeSome(1), Act::Hang, Act::Refuse(1), Act::Panic];
    let outcome = played(acting(acts), vec![logins(1..=4)]).await;
    let told: Vec<_> = outcome.fates.iter().map(|(fate, seqs)| (*fate, seqs.as_slice())).collect();
    assert_eq!(
        told,
        [
            ("delivered", &[1][..]),
            ("failed", &[2, 3, 4]),
            ("failed", &[2, 3, 4]),
            ("delivered", &[2]),
            ("refused", &[3]),
            ("failed", &[4]),
            ("delivered", &[4]),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn what_an_output_sends_nothing_of_counts_apart_and_hides_no_failure() {
    let output = acting([Act::Refuse(0), Act::Take, Act::Take]);
    output.passed_over.lock().expect("no panic").extend([1, 1]);
    let outcome = played(output.clone(), vec![logins(1..=2)]).await;
    assert_eq!((outcome.health.refused, outcome.health.passed_over, outcome.health.delivered), (1, 1, 0));
    assert!(outcome.health.failing && outcome.health.last_success.is_none());
    let outcome = played(output, vec![logins(3..=5)]).await;
    assert_eq!((outcome.health.passed_over, outcome.health.delivered, outcome.health.failing), (1, 2, false));
    assert_eq!(outcome.advanced, [2, 5]);
}

fn with(common: serde_json::Value) -> Scripted {
    Scripted { common: common.as_object().expect("an object").clone(), ..Scripted::default() }
}

#[tokio::test(start_paused = true)]
async fn a_rate_holds_back_and_tells_how_many_when_its_period_is_over() {
    let outcome = played(with(serde_json::json!({"rate": "2/m"})), vec![logins(1..=5), logins(6..=9)]).await;
    assert_eq!(outcome.tries, [vec![1, 2], vec![9]], "the digest stands for 3 to 9");
    assert_eq!(outcome.times[1].round(), 60.0);
    assert_eq!(outcome.advanced, [5, 9], "what is held back is done");
    assert_eq!((outcome.health.delivered, outcome.health.held), (3, 7));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_counts_as_silent_until_it_takes_or_refuses_something() {
    let outcome = played(acting((0..4).map(|_| Act::Fail(Some(3600)))), vec![logins(1..=1)]).await;
    assert_eq!(outcome.health.unheard_since, Some(Timestamp::from_micros(START)));
    for answer in [Act::Take, Act::Refuse(0)] {
        let outcome = played(acting([Act::Fail(None), Act::Fail(None), answer]), vec![logins(1..=1)]).await;
        assert_eq!((outcome.tries.len(), outcome.health.unheard_since), (3, None));
    }
    let outcome = played(acting([Act::Refuse(0)]), vec![logins(1..=1)]).await;
    assert!(outcome.health.failing && outcome.health.unheard_since.is_none(), "a refusal is an answer");
}

#[tokio::test(start_paused = true)]
async fn a_digest_that_fails_is_tried_again_before_what_follows() {
    let output = with(serde_json::json!({"rate": "1/s"}));
    output.acts.lock().expect("no panic").extend([Act::Take, Act::Fail(None)]);
    let outcome = played(output, vec![logins(1..=3)]).await;
    assert_eq!(outcome.tries, [vec![1], vec![3], vec![3]]);
}

#[tokio::test(start_paused = true)]
async fn when_says_what_goes_there_and_beats_what_the_output_says_of_its_life() {
    let batch = || vec![event(1, "login"), event(2, "lifecycle"), event(3, "command"), event(4, "scan")];
    let some = |when| with(serde_json::json!({ "when": when }));
    let outcome = played(some(serde_json::json!({"kinds": ["command", "scan"]})), vec![batch()]).await;
    assert_eq!(outcome.tries, [vec![3]], "the output itself wants no scans");
    assert_eq!(outcome.advanced, [2, 4]);
    let outcome = played(some(serde_json::json!({"kinds": "login", "lifecycle": true})), vec![batch()]).await;
    assert_eq!(outcome.tries, [vec![1, 2]]);
}

#[test]
fn an_output_with_a_when_of_its_own_says_route() {
    let common = serde_json::json!({"when": "midnight", "route": {"kinds": "login"}});
    let routed = crate::routed(Box::new(Scripted::default()), &["when"], common.as_object().unwrap()).unwrap();
    assert!(routed.wants(&event(1, "login")) && !routed.wants(&event(2, "command")));
    assert!(crate::routed(Box::new(Scripted::default()), &[], common.as_object().unwrap()).is_err());
}

#[tokio::test(start_paused = true)]
async fn tries_again_with_growing_waits_and_keeps_the_order() {
    let outcome = played(acting([Act::Fail(None); 10]), vec![logins(1..=2), logins(3..=3)]).await;
    assert_eq!(outcome.tries.len(), 12);
    assert!(outcome.tries.iter().take(11).all(|seqs| *seqs == [1, 2]));
    assert_eq!(outcome.tries.last(), Some(&vec![3]));
    assert_eq!(outcome.health.retries, 10);
    let waits: Vec<f32> = outcome.times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let mut limit = 0.5;
    for wait in &waits[..10] {
        assert!(*wait <= limit + 0.01 && *wait >= limit / 2.0 - 0.01, "{waits:?}");
        limit = (limit * 2.0).min(60.0);
    }
    let (_, text) = outcome.health.last_error.expect("an error was noted");
    assert_eq!(text, "gone [2J fishing", "no control characters");
}

#[tokio::test(start_paused = true)]
async fn continues_behind_what_was_delivered() {
    let outcome = played(acting([Act::TakeSome(2), Act::TakeSome(99)]), vec![logins(1..=4)]).await;
    assert_eq!(outcome.tries, [vec![1, 2, 3, 4], vec![3, 4]]);
    assert_eq!(outcome.advanced, [2, 4], "the position follows each part");
    assert_eq!(outcome.health.delivered, 4);
}

#[tokio::test(start_paused = true)]
async fn waits_as_long_as_the_receiver_asks_up_to_an_hour() {
    let outcome = played(acting([Act::Fail(Some(100)), Act::Fail(Some(1_000_000))]), vec![logins(1..=1)]).await;
    let waits: Vec<f32> = outcome.times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!((waits[0] - 100.0).abs() < 0.1 && (waits[1] - 3600.0).abs() < 0.1, "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn tries_now_what_waits_when_asked() {
    let (output, source) = (acting([Act::Fail(Some(3000)), Act::Fail(None)]), Script::default());
    source.batches.lock().expect("no panic").push_back(logins(1..=1));
    let health = Arc::new(Health::new("test", || Timestamp::from_micros(START)));
    assert!(!health.hurry(), "nothing waits yet");
    let (_keep, stop) = watch::channel(false);
    let start = Instant::now();
    let courier = run(Box::new(output.clone()), source, Arc::clone(&health), stop, Pacing::default());
    let operator = async {
        sleep(Duration::from_secs(5)).await;
        assert!(health.hurry());
        sleep(Duration::from_secs(100)).await;
    };
    tokio::select! { () = courier => {} () = operator => {} }
    let times = output.tries.lock().expect("no panic").clone();
    let times: Vec<u64> = times.iter().map(|(at, _)| at.duration_since(start).as_secs()).collect();
    assert_eq!(times, [0, 5, 5], "asked for after 5 s, and then as ever");
}

#[tokio::test(start_paused = true)]
async fn gives_an_output_in_doubt_nothing_until_that_goes_well() {
    let output = Scripted { doubts: Arc::new(Mutex::new(1)), ..acting([Act::Take, Act::Fail(None), Act::Fail(None)]) };
    let outcome = played(output, vec![logins(1..=1)]).await;
    assert_eq!(outcome.tries, [vec![1], vec![], vec![], vec![]]);
    assert!(outcome.times[3] > outcome.times[2] + 0.4, "{:?}", outcome.times);
    assert_eq!((outcome.health.delivered, outcome.health.retries, outcome.health.failing), (1, 2, false));
}

#[tokio::test(start_paused = true)]
async fn passes_over_a_refused_event_at_once() {
    let outcome = played(acting([Act::Refuse(1), Act::Refuse(0)]), vec![logins(1..=4)]).await;
    assert_eq!(outcome.tries, [vec![1, 2, 3, 4], vec![3, 4], vec![4]]);
    assert_eq!(outcome.times, [0.0; 3]);
    assert_eq!((outcome.health.delivered, outcome.health.refused), (2, 2));
    assert_eq!(outcome.refused, [(2, "too odd".to_owned()), (3, "too odd".to_owned())], "for the dead letters");
    assert_eq!(outcome.advanced.last(), Some(&4));
}

#[tokio::test(start_paused = true)]
async fn calls_silence_a_failure_after_the_time_limit() {
    let outcome = played(acting([Act::Hang]), vec![logins(1..=1)]).await;
    assert_eq!(outcome.tries.len(), 2);
    assert!(outcome.times[1] > 30.0 && outcome.times[1] < 31.0, "{:?}", outcome.times);
    assert_eq!(outcome.health.last_error.map(|(_, text)| text).as_deref(), Some("no answer within 30 s"));
}

#[tokio::test(start_paused = true)]
async fn keeps_an_output_that_panics() {
    let outcome = played(acting([Act::Panic]), vec![logins(1..=3), logins(4..=6)]).await;
    assert_eq!(outcome.tries, [vec![1, 2, 3], vec![1], vec![2, 3], vec![4, 5, 6]]);
    assert_eq!(outcome.health.delivered, 6);
    let error = outcome.health.last_error.map(|(_, text)| text);
    assert_eq!(error.as_deref(), Some("the output panicked: in the middle"));
}

#[tokio::test(start_paused = true)]
async fn passes_over_the_one_event_that_always_makes_it_panic() {
    let output = Scripted { panics_at: Some(2), ..acting([]) };
    let outcome = played(output, vec![logins(1..=3)]).await;
    assert_eq!((outcome.health.delivered, outcome.health.refused), (2, 1));
    assert_eq!(outcome.advanced.last(), Some(&3));
    assert!(outcome.tries.len() < 12, "{:?}", outcome.tries);
}

#[tokio::test(start_paused = true)]
async fn leaves_out_what_the_output_does_not_want_and_still_advances() {
    let mixed = || vec![event(1, "lifecycle"), event(2, "login"), event(3, "scan"), event(4, "lifecycle")];
    let outcome = played(acting([]), vec![mixed(), vec![event(5, "scan")]]).await;
    assert_eq!(outcome.tries, [vec![2]]);
    assert_eq!(outcome.advanced.last(), Some(&5));
    let outcome = played(Scripted { lifecycle: true, ..acting([]) }, vec![mixed()]).await;
    assert_eq!(outcome.tries, [vec![1, 2, 4]]);
    assert_eq!(outcome.advanced.last(), Some(&4));
}

#[tokio::test(start_paused = true)]
async fn never_gives_more_than_the_output_takes_at_once() {
    let outcome = played(Scripted { limit: 2, ..acting([]) }, vec![logins(1..=5)]).await;
    assert_eq!(outcome.tries, [vec![1, 2], vec![3, 4], vec![5]]);
    assert_eq!(outcome.advanced, [2, 4, 5]);
}

/// Starts the loop, says stop after a second, and tells how long the loop then took, in seconds.
async fn stopped(output: Scripted, batches: Vec<Vec<Arc<Event>>>) -> (f32, Vec<u64>) {
    let source = Script::default();
    source.batches.lock().expect("no panic").extend(batches);
    let health = Arc::new(Health::new("test", || Timestamp::from_micros(START)));
    let (say, stop) = watch::channel(false);
    let courier = run(Box::new(output), source.clone(), health, stop, Pacing::default());
    let stopper = async {
        sleep(Duration::from_secs(1)).await;
        say.send_replace(true);
        Instant::now()
    };
    let ((), said) = tokio::join!(courier, stopper);
    let advanced = source.advanced.lock().expect("no panic").clone();
    (Instant::now().duration_since(said).as_secs_f32(), advanced)
}

#[tokio::test(start_paused = true)]
async fn stops_at_once_when_idle_or_waiting() {
    let (took, advanced) = stopped(acting([]), vec![logins(1..=1)]).await;
    assert_eq!((took, advanced), (0.0, vec![1]));
    let (took, advanced) = stopped(acting([Act::Fail(Some(1000))]), vec![logins(1..=1)]).await;
    assert_eq!((took, advanced), (0.0, vec![]));
}

#[tokio::test(start_paused = true)]
async fn gives_a_delivery_in_flight_a_grace_period() {
    let (took, advanced) = stopped(acting([Act::Hang]), vec![logins(1..=1)]).await;
    assert!((took - 5.0).abs() < 0.01, "{took}");
    assert!(advanced.is_empty(), "what may not have arrived is delivered again");
}

#[tokio::test(start_paused = true)]
async fn ends_with_its_source_and_with_whoever_could_stop_it() {
    let source = Script::default();
    source.batches.lock().expect("no panic").push_back(Vec::new());
    let health = Arc::new(Health::new("test", || Timestamp::from_micros(START)));
    let (say, stop) = watch::channel(false);
    run(Box::new(acting([])), source, Arc::clone(&health), stop.clone(), Pacing::default()).await;
    drop(say);
    run(Box::new(acting([])), Script::default(), health, stop, Pacing::default()).await;
}
