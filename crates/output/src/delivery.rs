//! The delivery loop: takes events from a source and hands them to one output, for as long as it takes.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use aviary_event::Event;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::backoff::Backoff;
use crate::throttle::{TEST, Throttle};
use crate::{DRILL, DeliveryError, Failure, Health, Output, Pacing, State};

/// Events as a [`Source`] gives them.
pub type Batch<'a> = Pin<Box<dyn Future<Output = Vec<Arc<Event>>> + Send + 'a>>;

/// Where events come from: one output's reading position in the journal.
pub trait Source: Send {
    /// The next events in order, at most `limit`. Waits until there is at least one; none at all
    /// means that there never will be one again. Dropping the future loses nothing.
    fn next(&mut self, limit: usize) -> Batch<'_>;

    /// Everything up to `seq`, that one included, is done: delivered, refused, or not wanted.
    /// The loop calls it for the whole of a batch before it asks for the next.
    fn advance(&mut self, seq: u64);

    /// The receiver refused this event for good, for this reason; it is passed over.
    fn refused(&mut self, event: &Event, reason: &str) {
        let _ = (event, reason);
    }

    /// The receiver has these events.
    fn delivered(&mut self, events: &[Arc<Event>]) {
        let _ = events;
    }

    /// The output sends nothing of these events, as it was told to.
    fn passed_over(&mut self, events: &[Arc<Event>]) {
        let _ = events;
    }

    /// A delivery of these events failed, for this reason; they are tried again.
    fn failed(&mut self, events: &[Arc<Event>], reason: &str) {
        let _ = (events, reason);
    }
}

/// A refusal or failure is logged at once, and then at most once in this time.
const QUIET: Duration = Duration::from_secs(60);

/// An event at which the output panics this many times in a row, alone, is passed over.
const PANICS: u32 = 5;

/// Longest error text that is kept, in characters.
const ERROR_TEXT: usize = 300;

/// Delivers until `stop` says true, its sender is gone, or the source ends.
///
/// Order is kept: what fails is tried again, with growing waits, before anything after it. A
/// refused event is counted and passed over. An output that panics is kept and tried again. When
/// told to stop, a delivery in flight gets [`Pacing::grace`] to end.
pub async fn run(
    output: Box<dyn Output>,
    mut source: impl Source,
    health: Arc<Health>,
    mut stop: watch::Receiver<bool>,
    pacing: Pacing,
) {
    let mut courier = Courier::new(output, health, pacing);
    let mut reached = 0;
    loop {
        let mut doubtful = false;
        courier.health.enter(State::Idle);
        let due = courier.throttle.as_ref().and_then(Throttle::next);
        let mut load = tokio::select! {
            biased;
            () = stopped(&mut stop) => {
                // The last word on what was held back, if there is something and it can be said now.
                let rest = courier.throttle.as_mut().map(Throttle::rest).unwrap_or_default();
                if !rest.is_empty() {
                    let _ = timeout(pacing.grace, courier.deliver(&rest)).await;
                }
                return;
            }
            events = source.next(courier.output.batch_limit().max(1)) => match events.is_empty() {
                true => return,
                false => courier.pick(events),
            },
            () = until(due) => courier.digests(),
            () = courier.output.in_doubt() => {
                doubtful = true;
                Load { events: Vec::new(), end: None }
            }
        };
        load.advance(&mut source, &mut reached);
        while doubtful || !load.events.is_empty() {
            let answer = tokio::select! {
                biased;
                answer = courier.deliver(&load.events) => answer,
                () = async { stopped(&mut stop).await; sleep(pacing.grace).await } => return,
            };
            let wait = courier.settle(&mut load, answer, &mut source);
            load.advance(&mut source, &mut reached);
            doubtful &= wait.is_some();
            if let Some(wait) = wait {
                courier.health.back_off(wait);
                tokio::select! {
                    biased;
                    () = stopped(&mut stop) => return,
                    () = courier.health.hurried() => {}
                    () = sleep(wait) => {}
                }
            } else if *stop.borrow() {
                return;
            }
        }
    }
}

/// Resolves at a moment, or never when there is none.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Resolves when the loop shall end.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that whoever could say so is gone.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// What of a batch is still to be delivered.
struct Load {
    events: Vec<Arc<Event>>,
    /// The position of the batch's last event, wanted or not.
    end: Option<u64>,
}

impl Load {
    /// Tells the source how far all is done, if that is further than `reached`.
    fn advance(&self, source: &mut impl Source, reached: &mut u64) {
        let done = match self.events.first() {
            Some(event) => position(event).and_then(|seq| seq.checked_sub(1)),
            None => self.end,
        };
        if let Some(seq) = done.filter(|seq| *seq > *reached) {
            *reached = seq;
            source.advance(seq);
        }
    }
}

/// The event's place in the journal; lines of other canaries have none.
fn position(event: &Event) -> Option<u64> {
    event.aviary.as_ref().map(|ours| ours.seq)
}

/// What one try came to.
enum Answer {
    /// So many events from the head of the load.
    Delivered(usize),
    Failed(Failure),
    TooLate(Duration),
    Panicked(String),
}

/// The output and what is remembered between deliveries.
struct Courier {
    output: Box<dyn Output>,
    health: Arc<Health>,
    backoff: Backoff,
    /// Panics since the last thing that went well. After one, events go one by one.
    panics: u32,
    failures: Notice,
    refusals: Notice,
    throttle: Option<Throttle>,
}

impl Courier {
    fn new(output: Box<dyn Output>, health: Arc<Health>, pacing: Pacing) -> Self {
        let throttle = output.rate().map(Throttle::new);
        Self {
            throttle,
            output,
            health,
            backoff: Backoff::new(pacing),
            panics: 0,
            failures: Notice::default(),
            refusals: Notice::default(),
        }
    }

    /// What is to be told of events that were held back.
    fn digests(&mut self) -> Load {
        let events = self.throttle.as_mut().map(|throttle| throttle.due(Instant::now())).unwrap_or_default();
        Load { events, end: None }
    }

    /// Leaves out what the output does not want, and what its rate holds back. Digests that are due go first.
    fn pick(&mut self, events: Vec<Arc<Event>>) -> Load {
        let end = events.iter().rev().find_map(|event| position(event));
        let is_test = |event: &Arc<Event>| event.logtype == Some(TEST.number);
        let wanted = |event: &Arc<Event>| {
            // A test is for nobody else, and must get there.
            if is_test(event) {
                return true;
            }
            if event.is_lifecycle() && !self.output.takes_lifecycle() {
                return false;
            }
            let is_drill = event.aviary.as_ref().is_some_and(|ours| ours.more.contains_key(DRILL));
            if is_drill && !self.output.takes_drills() {
                return false;
            }
            // If even the question panics, the event goes the ordinary way, where panics are dealt with.
            catch_unwind(AssertUnwindSafe(|| self.output.wants(event))).unwrap_or(true)
        };
        let wanted: Vec<Arc<Event>> = events.into_iter().filter(wanted).collect();
        let events = match &mut self.throttle {
            None => wanted,
            Some(throttle) => {
                let now = Instant::now();
                let mut load = throttle.due(now);
                let health = &self.health;
                load.extend(wanted.into_iter().filter(|event| {
                    let passes = is_test(event) || throttle.passes(event, now);
                    if !passes {
                        health.count_held();
                    }
                    passes
                }));
                load
            }
        };
        Load { events, end }
    }

    async fn deliver(&mut self, events: &[Arc<Event>]) -> Answer {
        self.health.enter(State::Delivering);
        let most = if self.panics > 0 { 1 } else { self.output.batch_limit().max(1) };
        let batch = events.get(..most).unwrap_or(events);
        let limit = self.output.time_limit();
        let output = &mut self.output;
        let guarded = async {
            let begin = move || {
                // Moved in, so that the delivery may outlive this closure.
                let output = output;
                output.deliver(batch)
            };
            let mut delivery = catch_unwind(AssertUnwindSafe(begin))?;
            poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| delivery.as_mut().poll(context))) {
                Ok(Poll::Ready(result)) => Poll::Ready(Ok(result)),
                Ok(Poll::Pending) => Poll::Pending,
                Err(panic) => Poll::Ready(Err(panic)),
            })
            .await
        };
        match timeout(limit, guarded).await {
            Ok(Ok(Ok(()))) => Answer::Delivered(batch.len()),
            Ok(Ok(Err(failure))) => {
                Answer::Failed(Failure { delivered: failure.delivered.min(batch.len()), error: failure.error })
            }
            Ok(Err(panic)) => Answer::Panicked(panic_text(&*panic)),
            Err(_) => Answer::TooLate(limit),
        }
    }

    /// Takes what is done off the load; says how long to wait when something is to be tried again.
    fn settle(&mut self, load: &mut Load, answer: Answer, source: &mut impl Source) -> Option<Duration> {
        match answer {
            Answer::Delivered(events) => {
                self.went_well(load, events, source);
                None
            }
            Answer::Failed(Failure { delivered, error }) => {
                if delivered > 0 {
                    self.went_well(load, delivered, source);
                }
                match error {
                    DeliveryError::Temporary { reason, retry_after } => {
                        Some(self.try_again(load, &reason, retry_after, source))
                    }
                    DeliveryError::Refused { reason } => {
                        self.pass_over(load, &reason, source);
                        None
                    }
                }
            }
            Answer::TooLate(limit) => {
                Some(self.try_again(load, &format!("no answer within {} s", limit.as_secs_f32()), None, source))
            }
            Answer::Panicked(text) => {
                self.panics = self.panics.saturating_add(1);
                let reason = format!("the output panicked: {text}");
                if self.panics >= PANICS {
                    self.pass_over(load, &reason, source);
                    return None;
                }
                Some(self.try_again(load, &reason, None, source))
            }
        }
    }

    fn went_well(&mut self, load: &mut Load, events: usize, source: &mut impl Source) {
        let done: Vec<Arc<Event>> = load.events.drain(..events.min(load.events.len())).collect();
        // What is only sent again may soon be in doubt again.
        if events > 0 {
            self.backoff.reset();
        }
        self.panics = 0;
        let passed_over = self.output.take_passed_over().min(events);
        self.health.count_passed_over(passed_over);
        // What was not sent says nothing of how sending goes.
        if events > 0 && events == passed_over {
            source.passed_over(&done);
            return;
        }
        source.delivered(&done);
        self.health.count_delivered(events.saturating_sub(passed_over));
        if std::mem::take(&mut self.failures.open) {
            tracing::info!(output = self.health.name(), "delivers again");
        }
    }

    fn pass_over(&mut self, load: &mut Load, reason: &str, source: &mut impl Source) {
        if load.events.is_empty() {
            return;
        }
        let event = load.events.remove(0);
        // The receiver did answer, so whatever comes next need not wait.
        self.backoff.reset();
        self.panics = 0;
        let reason = printable(reason);
        source.refused(&event, &reason);
        self.health.count_refused();
        self.health.note_error(&format!("refused: {reason}"));
        if let Some(unsaid) = self.refusals.speak() {
            let seq = position(&event);
            tracing::warn!(output = self.health.name(), seq, unsaid, "event refused and passed over: {reason}");
        }
    }

    fn try_again(
        &mut self,
        load: &Load,
        reason: &str,
        retry_after: Option<Duration>,
        source: &mut impl Source,
    ) -> Duration {
        let reason = printable(reason);
        source.failed(&load.events, &reason);
        self.health.note_error(&reason);
        let wait = self.backoff.next(retry_after);
        if let Some(unsaid) = self.failures.speak() {
            self.failures.open = true;
            let seconds = wait.as_secs_f32();
            tracing::warn!(
                output = self.health.name(),
                unsaid,
                "failed to deliver, next try in {seconds:.1} s: {reason}"
            );
        }
        wait
    }
}

/// Holds back repetitions of a log line.
#[derive(Default)]
struct Notice {
    last: Option<Instant>,
    unsaid: u64,
    /// Whether something was said that is not yet over.
    open: bool,
}

impl Notice {
    /// Whether to speak now, and how many times it was silent since the last time.
    fn speak(&mut self) -> Option<u64> {
        let now = Instant::now();
        if self.last.is_some_and(|last| now.duration_since(last) < QUIET) {
            self.unsaid = self.unsaid.saturating_add(1);
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

/// A receiver's words made fit for a terminal: no control characters, not endless.
fn printable(text: &str) -> String {
    // The others turn the direction of writing round.
    let harmful = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut shown: String = text.chars().take(ERROR_TEXT).map(|c| if harmful(c) { ' ' } else { c }).collect();
    if text.chars().nth(ERROR_TEXT).is_some() {
        shown.push('…');
    }
    shown
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
