//! A thread of its own for an output whose writes may block: a terminal that is stopped, a pipe that
//! nobody reads, a file on a dead network share. The event loop never waits for it, and neither
//! does the end of the program.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread;

use aviary_event::Event;
use aviary_output::{DeliveryError, Failure};
use tokio::sync::oneshot;

/// Writes batches, and may block as long as it likes.
pub(crate) trait Writer: Send + 'static {
    /// Writes events in order.
    fn write(&mut self, batch: &[Arc<Event>]) -> Result<(), Failure>;
}

/// Stack of the thread, bytes. Only what is used of it takes memory; reading the system's time zone
/// without optimisation needs more than 256 KiB.
const STACK: usize = 1 << 20;

/// A writer in its thread, which starts with the first delivery.
pub(crate) struct Worker<W> {
    name: &'static str,
    stage: Stage<W>,
    /// A job that was given and whose answer nobody has taken yet.
    pending: Option<Pending>,
    /// Events that are written though the loop does not know it yet, since it gave up waiting for
    /// them; it will give them again.
    ahead: VecDeque<Arc<Event>>,
}

enum Stage<W> {
    Waiting(Option<W>),
    Running(mpsc::Sender<Job>),
}

struct Job {
    batch: Vec<Arc<Event>>,
    answer: oneshot::Sender<Result<(), Failure>>,
}

struct Pending {
    batch: Vec<Arc<Event>>,
    answer: oneshot::Receiver<Result<(), Failure>>,
}

impl<W: Writer> Worker<W> {
    pub(crate) const fn new(name: &'static str, writer: W) -> Self {
        Self { name, stage: Stage::Waiting(Some(writer)), pending: None, ahead: VecDeque::new() }
    }

    /// Has the batch written. When the caller gives up and comes again with the same events, none of
    /// them is written twice.
    pub(crate) async fn deliver(&mut self, batch: &[Arc<Event>]) -> Result<(), Failure> {
        // A writer that still hangs in an older job is waited for first; dropping this future here
        // leaves the job in place.
        let older = self.answer().await;
        let done = self.take_ahead(batch);
        if let Some(Err(error)) = older {
            return Err(Failure { delivered: done, error });
        }
        let rest = batch.get(done..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(());
        }
        self.begin(rest).map_err(|error| Failure { delivered: done, error })?;
        let result = self.answer().await;
        let delivered = done + self.take_ahead(rest);
        match result {
            Some(Err(error)) => Err(Failure { delivered, error }),
            _ => Ok(()),
        }
    }

    /// Waits for the pending job, if there is one, and remembers what it wrote.
    async fn answer(&mut self) -> Option<Result<(), DeliveryError>> {
        let pending = self.pending.as_mut()?;
        let answer = (&mut pending.answer).await;
        let batch = self.pending.take().map(|pending| pending.batch).unwrap_or_default();
        let (written, result) = match answer {
            Ok(Ok(())) => (batch.len(), Ok(())),
            Ok(Err(failure)) => (failure.delivered, Err(failure.error)),
            Err(_) => (0, Err(temporary("the writer panicked".to_owned()))),
        };
        self.ahead.extend(batch.into_iter().take(written));
        Some(result)
    }

    /// How many events at the head of the batch are written already; those are forgotten here.
    fn take_ahead(&mut self, batch: &[Arc<Event>]) -> usize {
        let mut done = 0;
        for event in batch {
            match self.ahead.front() {
                Some(written) if Arc::ptr_eq(written, event) => {
                    self.ahead.pop_front();
                    done += 1;
                }
                Some(_) => {
                    // Not the events that were given before: nothing to hold against these.
                    self.ahead.clear();
                    break;
                }
                None => break,
            }
        }
        done
    }

    fn begin(&mut self, batch: &[Arc<Event>]) -> Result<(), DeliveryError> {
        let jobs = self.running()?;
        let (sender, answer) = oneshot::channel();
        let batch = batch.to_vec();
        jobs.send(Job { batch: batch.clone(), answer: sender })
            .map_err(|_| temporary("the writer's thread ended".to_owned()))?;
        self.pending = Some(Pending { batch, answer });
        Ok(())
    }

    fn running(&mut self) -> Result<mpsc::Sender<Job>, DeliveryError> {
        let writer = match &mut self.stage {
            Stage::Running(jobs) => return Ok(jobs.clone()),
            Stage::Waiting(writer) => writer,
        };
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (hand, over) = mpsc::channel::<W>();
        let body = move || {
            let Ok(mut writer) = over.recv() else { return };
            while let Ok(job) = inbox.recv() {
                // A panic drops the answer's sender, which is the answer.
                if let Ok(result) = catch_unwind(AssertUnwindSafe(|| writer.write(&job.batch))) {
                    let _ = job.answer.send(result);
                }
            }
        };
        // The writer is handed over afterwards, so that a thread that cannot start does not cost it.
        thread::Builder::new()
            .name(format!("out-{}", self.name))
            .stack_size(STACK)
            .spawn(body)
            .map_err(|error| temporary(format!("no thread for the writer: {error}")))?;
        if let Some(writer) = writer.take() {
            let _ = hand.send(writer);
        }
        self.stage = Stage::Running(jobs.clone());
        Ok(jobs)
    }
}

/// A failure worth trying again.
pub(crate) const fn temporary(reason: String) -> DeliveryError {
    DeliveryError::Temporary { reason, retry_after: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::time::Duration;
    use tokio::time::timeout;

    fn events(count: usize) -> Vec<Arc<Event>> {
        (0..count).map(|n| Arc::new(Event::parse(&format!(r#"{{"logtype": {n}}}"#)).expect("an event"))).collect()
    }

    /// Waits for a word from the test before each batch, and does what the word says.
    struct Slow {
        words: mpsc::Receiver<&'static str>,
        written: Arc<Mutex<Vec<i64>>>,
    }

    impl Writer for Slow {
        fn write(&mut self, batch: &[Arc<Event>]) -> Result<(), Failure> {
            let word = self.words.recv().unwrap_or("go");
            let take = if word == "half" { batch.len() / 2 } else { batch.len() };
            assert_ne!(word, "panic");
            self.written.lock().expect("no panic").extend(batch[..take].iter().filter_map(|event| event.logtype));
            if word == "half" {
                return Err(Failure { delivered: take, error: temporary("full".to_owned()) });
            }
            Ok(())
        }
    }

    type Written = Arc<Mutex<Vec<i64>>>;

    fn slow() -> (Worker<Slow>, mpsc::Sender<&'static str>, Written) {
        let (say, words) = mpsc::channel();
        let written = Written::default();
        (Worker::new("test", Slow { words, written: Arc::clone(&written) }), say, written)
    }

    #[tokio::test]
    async fn writes_nothing_twice_when_the_loop_gave_up_waiting() {
        let (mut worker, say, written) = slow();
        let batch = events(4);
        for _ in 0..3 {
            timeout(Duration::from_millis(20), worker.deliver(&batch)).await.expect_err("the writer hangs");
        }
        say.send("go").expect("the writer listens");
        worker.deliver(&batch[..1]).await.expect("written");
        worker.deliver(&batch[1..]).await.expect("written");
        say.send("go").expect("the writer listens");
        worker.deliver(&events(1)).await.expect("written");
        assert_eq!(*written.lock().expect("no panic"), [0, 1, 2, 3, 0]);
    }

    #[tokio::test]
    async fn says_how_far_a_failed_write_came_even_later() {
        let (mut worker, say, written) = slow();
        let batch = events(4);
        timeout(Duration::from_millis(20), worker.deliver(&batch)).await.expect_err("the writer hangs");
        say.send("half").expect("the writer listens");
        let failure = worker.deliver(&batch).await.expect_err("half is missing");
        assert_eq!(failure.delivered, 2);
        say.send("go").expect("the writer listens");
        worker.deliver(&batch[2..]).await.expect("written");
        assert_eq!(*written.lock().expect("no panic"), [0, 1, 2, 3]);
    }

    #[tokio::test]
    async fn survives_a_panic_of_the_writer() {
        let (mut worker, say, written) = slow();
        let batch = events(1);
        say.send("panic").expect("the writer listens");
        let failure = worker.deliver(&batch).await.expect_err("the writer panicked");
        assert_eq!((failure.delivered, failure.error.to_string().as_str()), (0, "the writer panicked"));
        say.send("go").expect("the writer listens");
        worker.deliver(&batch).await.expect("written");
        assert_eq!(*written.lock().expect("no panic"), [0]);
    }
}
