//! The output trait and the registry's line for an output.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use aviary_event::Event;
use serde_json::{Map, Value};

use crate::Rate;

/// What a delivery comes to.
pub type Delivery<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>>;

/// Something that may never happen.
pub type Someday<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// The member of `aviary` that says of which drill of the canary's own an event is.
pub const DRILL: &str = "drill";

/// A destination of events.
pub trait Output: Send + 'static {
    /// Hands over a batch in order. The loop limits the time it may take.
    fn deliver<'a>(&'a mut self, batch: &'a [Arc<Event>]) -> Delivery<'a>;

    /// Whether the event is for this destination at all. Life-cycle events are only asked about
    /// where the destination is a log; see [`Output::takes_lifecycle`].
    fn wants(&self, event: &Event) -> bool {
        let _ = event;
        true
    }

    /// Whether life-cycle events go here: yes for logs, only on request for alerts.
    fn takes_lifecycle(&self) -> bool {
        true
    }

    /// Whether events of the canary's own drills go there: to a hub, which asked for them, and to nobody else.
    fn takes_drills(&self) -> bool {
        false
    }

    /// How many events of one kind go there; the loop holds back the others and tells how many there were.
    fn rate(&self) -> Option<Rate> {
        None
    }

    /// Why no test event goes there, where its receiver takes none: what is told there are real visits.
    fn no_test(&self) -> Option<&'static str> {
        None
    }

    /// Most events in one batch.
    fn batch_limit(&self) -> usize {
        256
    }

    /// Resolves when what counted as delivered came into doubt: the connection broke on which it went to a receiver that
    /// gives no answers. The loop asks while it has nothing to deliver, and then calls [`Output::deliver`] with an empty
    /// batch until that goes well. Dropping the future loses nothing.
    fn in_doubt(&mut self) -> Someday<'_> {
        Box::pin(std::future::pending())
    }

    /// Longest time that one delivery may take.
    fn time_limit(&self) -> Duration {
        Duration::from_secs(30)
    }

    /// How many of the events that were delivered since this was asked last it sent nothing of, by its own choice.
    fn take_passed_over(&mut self) -> usize {
        0
    }

    /// What it was built from beside its handler's keys: the text of a script. A reload that finds another text takes
    /// the output for a changed one.
    fn source(&self) -> &str {
        ""
    }
}

/// How far a delivery came, and what stopped it.
#[derive(Debug, thiserror::Error)]
#[error("delivered {delivered} of the batch")]
pub struct Failure {
    /// Events at the head of the batch that are delivered.
    pub delivered: usize,
    /// What stopped the next one.
    #[source]
    pub error: DeliveryError,
}

/// Why an event was not delivered.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// Worth trying again: the receiver is down, slow, or says so.
    #[error("{reason}")]
    Temporary {
        /// In the receiver's own words where it has any.
        reason: String,
        /// When the receiver said how long to wait.
        retry_after: Option<Duration>,
    },
    /// The receiver will never take this event; it is counted and passed over.
    #[error("refused: {reason}")]
    Refused {
        /// In the receiver's own words where it has any.
        reason: String,
    },
}

/// What an output is built from: one entry of `logger.kwargs.handlers`, checked for its class.
#[derive(Debug)]
pub struct Blueprint<'a> {
    /// The handler's name in the file.
    pub name: &'a str,
    /// The handler's own keys, `class` included.
    pub options: &'a Map<String, Value>,
    /// The Python format string of the formatter that the handler names; `%(message)s` if none.
    pub format: &'a str,
    /// Whether lines carry the `aviary` object.
    pub extended: bool,
    /// The canary's name, which Python's `%(name)s` stands for.
    pub node_id: &'a str,
}

/// An output as the list `ALL` holds it.
pub struct Entry {
    /// The folder's or file's name, `syslog`.
    pub name: &'static str,
    /// Handler classes that it plays, `logging.handlers.SysLogHandler`.
    pub classes: &'static [&'static str],
    /// What it does, in a few words.
    pub summary: &'static str,
    /// Handler keys that it knows, beside those of all; `template` where it has a text that it could be.
    pub options: &'static [&'static str],
    /// Builds it. Nothing is written and nobody connected to; only a script's file is read.
    pub build: fn(&Blueprint<'_>) -> Result<Box<dyn Output>, Rejection>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why an output cannot be built: the handler's key at fault and what is accepted.
#[derive(Debug, thiserror::Error)]
#[error("`{option}`: {reason}")]
pub struct Rejection {
    /// The key below the handler, `filename`.
    pub option: String,
    /// What is wrong and what would be accepted.
    pub reason: String,
}

impl Rejection {
    /// A rejection of a key.
    #[must_use]
    pub fn new(option: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { option: option.into(), reason: reason.into() }
    }
}
