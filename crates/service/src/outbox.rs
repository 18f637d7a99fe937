//! What a dialogue asks the frame to do, in order.

use std::fmt;
use std::time::Duration;

use aviary_event::{Kind, LogData, Timestamp, Value};

use crate::Dialogue;

/// A computation too long for the event loop, such as a Diffie-Hellman step or an RSA signature.
pub type Computation = Box<dyn FnOnce() -> Vec<u8> + Send>;

/// How another protocol carries TLS until the handshake is finished, after which TLS stands bare on
/// the connection. TDS before version 8 does so.
pub trait Wrapping: Send {
    /// Takes the TLS bytes out of the first frame of `input`: how long the frame is, and what it
    /// holds; `None` when it is not whole yet. A frame has at most 64 KiB.
    ///
    /// # Errors
    /// With the reason, when `input` begins with no such frame.
    fn take_out<'a>(&mut self, input: &'a [u8]) -> Result<Option<(usize, &'a [u8])>, String>;

    /// Puts TLS bytes of ours into frames.
    fn put_in(&mut self, tls: &[u8]) -> Vec<u8>;
}

/// How TLS begins.
#[derive(Default)]
pub struct TlsStart {
    /// What the dialogue has used up of the handshake: the peer's first TLS bytes, out of any wrapping.
    pub heard: Vec<u8>,
    /// What carries the rest of the handshake. TLS is 1.2 at most then: version 1.3 goes on with
    /// tickets after the handshake, which no wrapping foresees.
    pub wrapping: Option<Box<dyn Wrapping>>,
}

/// One thing to do.
pub enum Step {
    /// Send these bytes.
    Reply(Vec<u8>),
    /// Send the first as one datagram; where the source may not be sent so much, the second.
    ReplyOr(Vec<u8>, Vec<u8>),
    /// Report an event. A reply after it leaves only when the event is safe in the journal.
    Report(Kind, LogData),
    /// Remember a fact about the peer for `aviary.fingerprint` of this session's later events.
    Note(&'static str, Value),
    /// Do nothing for a while; what follows waits.
    Pause(Duration),
    /// Begin TLS as the server, after the replies before it were sent.
    StartTls(TlsStart),
    /// End TLS without a word: what follows is plain, in both directions.
    StopTls,
    /// Run this elsewhere, then call `Dialogue::computed`.
    Compute(Computation),
    /// Change the idle limit of this connection.
    IdleLimit(Duration),
    /// The source of this datagram really receives what is sent to it.
    Proven,
    /// Talk with the source of this datagram from a port of its own.
    Converse(Box<dyn Dialogue>),
    /// Append bytes to a file in the quarantine.
    Keep(String, Vec<u8>),
    /// Close. With `reset` the peer gets an RST instead of a FIN.
    Close {
        /// Whether to reset.
        reset: bool,
    },
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply(bytes) => write!(f, "Reply({})", bytes.escape_ascii()),
            Self::ReplyOr(bytes, otherwise) => {
                write!(f, "ReplyOr({}, {})", bytes.escape_ascii(), otherwise.escape_ascii())
            }
            Self::Report(kind, data) => f.debug_tuple("Report").field(&kind.number).field(data).finish(),
            Self::Note(name, value) => f.debug_tuple("Note").field(name).field(value).finish(),
            Self::Pause(time) => f.debug_tuple("Pause").field(time).finish(),
            Self::StartTls(_) => f.write_str("StartTls"),
            Self::StopTls => f.write_str("StopTls"),
            Self::Compute(_) => f.write_str("Compute"),
            Self::Proven => f.write_str("Proven"),
            Self::Converse(_) => f.write_str("Converse"),
            Self::Keep(name, bytes) => write!(f, "Keep({name}, {})", bytes.escape_ascii()),
            Self::IdleLimit(time) => f.debug_tuple("IdleLimit").field(time).finish(),
            Self::Close { reset } => f.debug_struct("Close").field("reset", reset).finish(),
        }
    }
}

/// Collects steps.
#[derive(Debug)]
pub struct Outbox {
    steps: Vec<Step>,
    now: Timestamp,
    closing: bool,
    waiting: bool,
    datagrams: bool,
    room: usize,
}

impl Outbox {
    /// An empty outbox; `now` is what [`Outbox::now`] will say.
    #[must_use]
    pub const fn new(now: Timestamp) -> Self {
        Self { steps: Vec::new(), now, closing: false, waiting: false, datagrams: false, room: usize::MAX }
    }

    /// The same where each reply is a datagram.
    #[must_use]
    pub const fn for_datagrams(now: Timestamp) -> Self {
        Self { steps: Vec::new(), now, closing: false, waiting: false, datagrams: true, room: usize::MAX }
    }

    /// The same, and [`Outbox::room`] will say this.
    #[must_use]
    pub const fn with_room(mut self, room: usize) -> Self {
        self.room = room;
        self
    }

    /// Bytes that the frame would send to the source of this datagram now. Where an answer may be shorter or
    /// longer, as a list of what was found may, it is best no longer than this.
    #[must_use]
    pub const fn room(&self) -> usize {
        self.room
    }

    /// The moment of this call, for `Date` headers and the like.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// Sends bytes; of a stream as they come, otherwise as one datagram.
    pub fn reply(&mut self, bytes: impl AsRef<[u8]>) {
        if self.closing {
            return;
        }
        let bytes = bytes.as_ref();
        match self.steps.last_mut() {
            Some(Step::Reply(last)) if !self.datagrams => last.extend_from_slice(bytes),
            _ => self.steps.push(Step::Reply(bytes.to_vec())),
        }
    }

    /// Sends one datagram, and where it would be more than a source that has proven nothing may be sent, a
    /// smaller one instead: one that makes the source answer and so prove itself.
    pub fn reply_or(&mut self, bytes: impl AsRef<[u8]>, otherwise: impl AsRef<[u8]>) {
        if !self.closing {
            self.steps.push(Step::ReplyOr(bytes.as_ref().to_vec(), otherwise.as_ref().to_vec()));
        }
    }

    /// Reports an event.
    pub fn report(&mut self, kind: Kind, data: LogData) {
        self.steps.push(Step::Report(kind, data));
    }

    /// Remembers a fact about the peer; see [`Step::Note`].
    pub fn note(&mut self, name: &'static str, value: impl Into<Value>) {
        self.steps.push(Step::Note(name, value.into()));
    }

    /// Waits before what follows.
    pub fn pause(&mut self, time: Duration) {
        self.waiting = true;
        self.steps.push(Step::Pause(time));
    }

    /// Begins TLS; see [`Step::StartTls`].
    pub fn start_tls(&mut self) {
        self.start_tls_with(TlsStart::default());
    }

    /// Begins TLS with what was heard of it already, or inside another protocol; see [`TlsStart`].
    pub fn start_tls_with(&mut self, start: TlsStart) {
        self.waiting = true;
        self.steps.push(Step::StartTls(start));
    }

    /// Ends TLS; see [`Step::StopTls`].
    pub fn stop_tls(&mut self) {
        self.waiting = true;
        self.steps.push(Step::StopTls);
    }

    /// Runs something long elsewhere; see [`Step::Compute`].
    pub fn compute(&mut self, work: impl FnOnce() -> Vec<u8> + Send + 'static) {
        self.waiting = true;
        self.steps.push(Step::Compute(Box::new(work)));
    }

    /// Says that the source of this datagram really receives what is sent to it, since it sent back what it
    /// could not guess. From then on replies to it may be larger than what it sends.
    pub fn proven(&mut self) {
        self.steps.push(Step::Proven);
    }

    /// Talks with the source of this datagram from a port of its own, as TFTP does: what it sends there is fed
    /// to the dialogue datagram by datagram, and each reply is one. That it sends anything there proves it.
    pub fn converse(&mut self, dialogue: Box<dyn Dialogue>) {
        self.steps.push(Step::Converse(dialogue));
    }

    /// Appends what the peer uploads to a file of this session in the quarantine, `SESSION-NAME` in the state
    /// folder's `quarantine`. Beyond the bounds of the quarantine bytes are dropped, so report length and digest
    /// of what came, not of what is kept. Characters outside `A-Za-z0-9._-` of the name become `_`.
    pub fn keep(&mut self, name: impl Into<String>, bytes: impl AsRef<[u8]>) {
        self.steps.push(Step::Keep(name.into(), bytes.as_ref().to_vec()));
    }

    /// Changes the idle limit of this connection.
    pub fn idle_limit(&mut self, time: Duration) {
        self.steps.push(Step::IdleLimit(time));
    }

    /// Closes with a FIN after everything before was sent. Later replies are dropped.
    pub fn close(&mut self) {
        self.end(false);
    }

    /// Closes with an RST after everything before was sent. Later replies are dropped.
    pub fn reset(&mut self) {
        self.end(true);
    }

    fn end(&mut self, reset: bool) {
        if !self.closing {
            self.closing = true;
            self.steps.push(Step::Close { reset });
        }
    }

    /// Whether a close was asked for.
    #[must_use]
    pub const fn is_closing(&self) -> bool {
        self.closing
    }

    /// Whether the frame must act before it may feed again.
    #[must_use]
    pub const fn must_act(&self) -> bool {
        self.closing || self.waiting
    }

    /// Whether nothing was asked for.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The steps, in order.
    #[must_use]
    pub fn into_steps(self) -> Vec<Step> {
        self.steps
    }
}
