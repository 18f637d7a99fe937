//! Drives dialogues without sockets: what tests, snapshots and fuzzing of services stand on.
//!
//! [`exchange`] plays the frame: it opens a dialogue, feeds it the peer's bytes chunk by chunk and
//! writes down, in order, what was sent and reported. Pauses pass at once, computations run inline,
//! and TLS stands as soon as it is asked for.

pub mod battery;
pub mod oracle;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use aviary_config::{Key, Settings};
use aviary_event::{LogData, Timestamp, Value};
use aviary_service::{
    Dialogue, Entry, Facts, Materials, MemoryVault, Outbox, Service, SessionId, Step, TlsFacts, Transport,
};

/// The moment at which every test happens: 2026-11-22 22:00:00 UTC.
pub const NOW: i64 = 1_795_384_800_000_000;

/// What came of an exchange, in order.
#[derive(Debug, Default)]
pub struct Transcript {
    /// What happened.
    pub lines: Vec<Line>,
    /// Bytes that the peer sent and the dialogue never used.
    pub unused: Vec<u8>,
}

/// One thing in a transcript.
#[derive(Debug)]
pub enum Line {
    /// The peer sent this.
    Sent(Vec<u8>),
    /// The service replied this.
    Reply(Vec<u8>),
    /// The service reported log type and data.
    Event(i64, LogData),
    /// The service noted a fact about the peer.
    Note(&'static str, Value),
    /// The service waited this many milliseconds.
    Pause(u128),
    /// TLS began.
    Tls,
    /// TLS ended, and the conversation went on plainly.
    NoTls,
    /// The service said that the source receives what is sent to it.
    Proven,
    /// The service goes on from a port of its own.
    Converse,
    /// The service kept these bytes of an upload under a name.
    Keep(String, Vec<u8>),
    /// The service closed, with a reset or not.
    Close {
        /// RST instead of FIN.
        reset: bool,
    },
}

impl Transcript {
    /// All bytes that the service sent.
    #[must_use]
    pub fn replies(&self) -> Vec<u8> {
        self.lines
            .iter()
            .filter_map(|l| if let Line::Reply(b) = l { Some(b.clone()) } else { None })
            .flatten()
            .collect()
    }

    /// All events, as (log type, data).
    #[must_use]
    pub fn events(&self) -> Vec<(i64, &LogData)> {
        self.lines.iter().filter_map(|l| if let Line::Event(n, d) = l { Some((*n, d)) } else { None }).collect()
    }

    /// Events of one log type.
    #[must_use]
    pub fn events_of(&self, logtype: i64) -> Vec<&LogData> {
        self.events().into_iter().filter(|(n, _)| *n == logtype).map(|(_, d)| d).collect()
    }

    /// Whether the service closed.
    #[must_use]
    pub fn closed(&self) -> bool {
        self.lines.iter().any(|l| matches!(l, Line::Close { .. }))
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            match line {
                Line::Sent(bytes) => writeln!(f, "> {}", bytes.escape_ascii())?,
                Line::Reply(bytes) => writeln!(f, "< {}", bytes.escape_ascii())?,
                Line::Event(number, data) => {
                    write!(f, "! {number}")?;
                    for (key, value) in data.iter() {
                        write!(f, " {key}={value:?}")?;
                    }
                    writeln!(f)?;
                }
                Line::Note(name, value) => writeln!(f, "# {name}={value:?}")?,
                Line::Pause(ms) => writeln!(f, "  ({ms} ms)")?,
                Line::Tls => writeln!(f, "  (TLS)")?,
                Line::NoTls => writeln!(f, "  (no TLS)")?,
                Line::Proven => writeln!(f, "  (proven)")?,
                Line::Converse => writeln!(f, "  (from a port of its own)")?,
                Line::Keep(name, bytes) => writeln!(f, "+ {name} {}", bytes.escape_ascii())?,
                Line::Close { reset } => writeln!(f, "{}", if *reset { "  RST" } else { "  FIN" })?,
            }
        }
        Ok(())
    }
}

/// Facts of a connection that never was: 192.0.2.7:40000 to 192.0.2.1:`port`, entropy all 0x42.
#[must_use]
pub fn facts(port: u16) -> Facts {
    Facts {
        session: SessionId(1),
        peer: ([192, 0, 2, 7], 40000).into(),
        local: ([192, 0, 2, 1], port).into(),
        transport: Transport::Plain,
        entropy: [0x42; 32],
        count: 1,
        host_name: Arc::from("srv01"),
    }
}

/// Bytes of text with the escapes that fixtures have: `\\r`, `\\n`, `\\xNN`, and a backslash before anything else
/// that stands for itself.
///
/// # Panics
/// When an escape is not whole.
#[must_use]
pub fn unescape(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text.bytes());
    let digit = |byte: Option<u8>| {
        let digit = byte.and_then(|byte| char::from(byte).to_digit(16));
        u8::try_from(digit.unwrap_or_else(|| panic!("no hex digit behind `\\x` in {text}"))).unwrap_or(0)
    };
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next() {
                Some(b'r') => b'\r',
                Some(b'n') => b'\n',
                Some(b'x') => (digit(rest.next()) << 4) | digit(rest.next()),
                Some(other) => other,
                None => panic!("a backslash ends {text}"),
            },
            other => other,
        });
    }
    bytes
}

/// Settings over an entry's keys, from `(name, JSON text)` pairs.
///
/// # Panics
/// When a text is not JSON.
#[must_use]
pub fn settings(keys: &[Key], given: &[(&str, &str)]) -> Settings {
    let values: BTreeMap<_, _> = given
        .iter()
        .map(|(name, json)| ((*name).to_owned(), serde_json::from_str(json).unwrap_or_else(|e| panic!("{name}: {e}"))))
        .collect();
    Settings::new(keys.iter().copied(), values)
}

/// Builds a service of an entry with these settings and a vault that forgets.
///
/// # Panics
/// When the service refuses the settings.
#[must_use]
pub fn build(entry: &Entry, given: &[(&str, &str)]) -> Box<dyn Service> {
    let settings = settings(entry.keys, given);
    let vault = MemoryVault::default();
    (entry.build)(&Materials { settings: &settings, vault: &vault, host_name: "srv01" })
        .unwrap_or_else(|rejection| panic!("{}: {rejection}", entry.name))
}

/// The datagrams of an endpoint over UDP as a dialogue: each chunk that is sent is one of them.
pub struct Datagrams<'a> {
    service: &'a dyn Service,
    endpoint: usize,
    facts: Facts,
}

impl<'a> Datagrams<'a> {
    /// Datagrams to an endpoint of a service, from the peer of these facts.
    #[must_use]
    pub fn new(service: &'a dyn Service, endpoint: usize, facts: Facts) -> Self {
        Self { service, endpoint, facts: Facts { transport: Transport::Datagrams, ..facts } }
    }
}

impl Dialogue for Datagrams<'_> {
    fn open(&mut self, _out: &mut Outbox) {}

    fn feed(&mut self, input: &[u8], out: &mut Outbox) -> usize {
        self.service.datagram(self.endpoint, &self.facts, input, out);
        input.len()
    }
}

/// One exchange: opens the dialogue, then sends each chunk, then ends the peer's side.
pub fn exchange(dialogue: &mut dyn Dialogue, chunks: &[&[u8]]) -> Transcript {
    let mut talk = Talk::open(dialogue);
    for chunk in chunks {
        talk.send(chunk);
    }
    talk.end()
}

/// An exchange in steps, for tests that answer what the service sent.
pub struct Talk<'a> {
    dialogue: &'a mut dyn Dialogue,
    /// What goes on from a port of its own; it gets everything from then on.
    conversation: Option<Box<dyn Dialogue>>,
    transcript: Transcript,
    pending: Vec<u8>,
    closed: bool,
}

impl<'a> Talk<'a> {
    /// Opens the dialogue.
    pub fn open(dialogue: &'a mut dyn Dialogue) -> Self {
        let mut talk = Self {
            dialogue,
            conversation: None,
            transcript: Transcript::default(),
            pending: Vec::new(),
            closed: false,
        };
        let mut out = Outbox::new(Timestamp::from_micros(NOW));
        talk.dialogue.open(&mut out);
        talk.act(out);
        talk
    }

    /// Sends bytes and gives back the reply bytes that came of them.
    ///
    /// # Panics
    /// When the dialogue claims to have used more than it was given.
    pub fn send(&mut self, bytes: &[u8]) -> Vec<u8> {
        let from = self.transcript.lines.len();
        self.transcript.lines.push(Line::Sent(bytes.to_vec()));
        self.pending.extend_from_slice(bytes);
        while !self.closed && !self.pending.is_empty() {
            let mut out = Outbox::new(Timestamp::from_micros(NOW));
            let used = match &mut self.conversation {
                Some(conversation) => conversation.feed(&self.pending, &mut out),
                None => self.dialogue.feed(&self.pending, &mut out),
            };
            assert!(used <= self.pending.len(), "used {used} of {} bytes", self.pending.len());
            self.pending.drain(..used);
            let acted = !out.is_empty();
            let handshakes = self.handshakes();
            self.act(out);
            if used == 0 && self.handshakes() > handshakes {
                // What waits was the handshake; here it is what the peer says inside.
                continue;
            }
            if used == 0 {
                assert!(!acted || self.closed, "steps without using a byte would repeat for ever");
                break;
            }
        }
        let news = self.transcript.lines.get(from..).unwrap_or_default();
        news.iter()
            .filter_map(|l| if let Line::Reply(b) = l { Some(b.as_slice()) } else { None })
            .flatten()
            .copied()
            .collect()
    }

    fn handshakes(&self) -> usize {
        self.transcript.lines.iter().filter(|line| matches!(line, Line::Tls)).count()
    }

    /// The transcript so far.
    #[must_use]
    pub const fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// Ends the peer's side and gives the transcript.
    #[must_use]
    pub fn end(self) -> Transcript {
        self.finish(|dialogue, rest, out| dialogue.ended(rest, out))
    }

    /// Lets the peer be silent until the idle limit and gives the transcript.
    #[must_use]
    pub fn expire(self) -> Transcript {
        self.finish(|dialogue, rest, out| dialogue.expired(rest, out))
    }

    fn finish(mut self, end: impl FnOnce(&mut dyn Dialogue, &[u8], &mut Outbox)) -> Transcript {
        if !self.closed {
            let mut out = Outbox::new(Timestamp::from_micros(NOW));
            let rest = std::mem::take(&mut self.pending);
            match &mut self.conversation {
                Some(conversation) => end(&mut **conversation, &rest, &mut out),
                None => end(self.dialogue, &rest, &mut out),
            }
            self.pending = rest;
            self.act(out);
        }
        self.transcript.unused = self.pending;
        self.transcript
    }

    fn act(&mut self, out: Outbox) {
        for step in out.into_steps() {
            if self.closed {
                break;
            }
            match step {
                Step::Reply(bytes) | Step::ReplyOr(bytes, _) => self.transcript.lines.push(Line::Reply(bytes)),
                Step::Report(kind, data) => self.transcript.lines.push(Line::Event(kind.number, data)),
                Step::Note(name, value) => self.transcript.lines.push(Line::Note(name, value)),
                Step::Pause(time) => self.transcript.lines.push(Line::Pause(time.as_millis())),
                Step::StartTls(_) => {
                    self.transcript.lines.push(Line::Tls);
                    let mut out = Outbox::new(Timestamp::from_micros(NOW));
                    self.dialogue.secured(&TlsFacts::default(), &mut out);
                    self.act(out);
                }
                Step::StopTls => self.transcript.lines.push(Line::NoTls),
                Step::IdleLimit(_) => {}
                Step::Proven => self.transcript.lines.push(Line::Proven),
                Step::Keep(name, bytes) => self.transcript.lines.push(Line::Keep(name, bytes)),
                Step::Converse(mut conversation) => {
                    self.transcript.lines.push(Line::Converse);
                    let mut out = Outbox::new(Timestamp::from_micros(NOW));
                    conversation.open(&mut out);
                    self.conversation = Some(conversation);
                    self.act(out);
                }
                Step::Compute(work) => {
                    let mut out = Outbox::new(Timestamp::from_micros(NOW));
                    self.dialogue.computed(work(), &mut out);
                    self.act(out);
                }
                Step::Close { reset } => {
                    self.closed = true;
                    self.transcript.lines.push(Line::Close { reset });
                }
            }
        }
    }
}
