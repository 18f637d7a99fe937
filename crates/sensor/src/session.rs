//! One connection: moves bytes between socket and dialogue and does what the dialogue asks for.
//!
//! INVARIANT: a reply that follows a report leaves only when the journal has the event.
//! INVARIANT: between two bursts of the peer a session holds no buffer: one lent by the thread takes
//! what arrives, and everything that works is boxed for as long as it works. A waiting session is
//! this struct, its dialogue and the socket.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io::{self, ErrorKind, Read as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aviary_event::{LogData, Value};
use aviary_journal::Receipt;
use aviary_service::{Dialogue, Facts, Outbox, Security, Service, Step, TlsFacts, TlsStart, Transport};
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::connections::{Place, Verdict};
use crate::datagrams::Guard;
use crate::quarantine::Quarantine;
use crate::reporter::{Context, Reporter};
use crate::tls::{Filter, Tls};
use crate::{clock, kinds};

/// Bytes read at once, per thread.
const CHUNK: usize = 16 * 1024;
/// Bytes of a connection kept for [`kinds::UNREPORTED`] while nothing else was reported.
const UNTOLD: usize = 4096;
/// Rounds of feeding before other connections of the thread get their turn.
const ROUNDS: usize = 64;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into_boxed_slice());
}

/// What all connections of an endpoint share.
pub(crate) struct Shared {
    /// The service.
    pub service: Arc<dyn Service>,
    /// Index into its endpoints.
    pub endpoint: usize,
    /// When TLS begins.
    pub security: Security,
    /// TLS, where the service has it.
    pub tls: Option<Tls>,
    /// Bytes that may wait unconsumed.
    pub unconsumed: usize,
    /// Bytes that the peer may send in all.
    pub received: u64,
    /// Turns reports into events.
    pub reporter: Arc<Reporter>,
    /// Long computations at once.
    pub workshop: Arc<tokio::sync::Semaphore>,
    /// Where uploads go.
    pub quarantine: Arc<Quarantine>,
    /// Who may be answered over UDP.
    pub guard: Arc<Guard>,
}

/// A live session.
pub(crate) struct Session {
    shared: Arc<Shared>,
    place: Place,
    context: Context,
    dialogue: Option<Box<dyn Dialogue>>,
    facts: Option<Box<Facts>>,
    filter: Option<Box<Filter>>,
    pending: Vec<u8>,
    untold: Vec<u8>,
    received: u64,
    opened: Instant,
    notes: BTreeMap<String, Value>,
    told: bool,
    /// The peer takes no more replies. What it sent before it went is still worked through.
    gone: bool,
    reason: &'static str,
}

/// Whether the session goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    End,
}

impl Session {
    /// A session on an accepted connection.
    #[must_use]
    pub(crate) fn new(shared: Arc<Shared>, place: Place, context: Context, facts: Facts) -> Self {
        Self {
            shared,
            place,
            context,
            dialogue: None,
            facts: Some(Box::new(facts)),
            filter: None,
            pending: Vec::new(),
            untold: Vec::new(),
            received: 0,
            opened: Instant::now(),
            notes: BTreeMap::new(),
            told: false,
            gone: false,
            reason: "closed by peer",
        }
    }

    /// Runs to its end.
    pub(crate) async fn run(mut self: Box<Self>) {
        if self.shared.security != Security::Tls && Box::pin(self.begin(Transport::Plain)).await == Flow::End {
            return;
        }
        loop {
            // Unlike `readable`, which keeps its waker in the future, this makes a waiting task no larger.
            if poll_fn(|context| self.place.live.stream.poll_read_ready(context)).await.is_err() {
                self.reason = "connection failed";
                break;
            }
            if Box::pin(self.work()).await == Flow::End {
                break;
            }
        }
    }

    /// Makes the dialogue and lets it greet.
    async fn begin(&mut self, transport: Transport) -> Flow {
        let Some(mut facts) = self.facts.take() else { return Flow::End };
        if let Transport::Tls(tls) = &transport {
            self.note_tls(tls);
        }
        facts.transport = transport;
        let mut dialogue = self.shared.service.dialogue(self.shared.endpoint, &facts);
        let mut out = Outbox::new(clock::now());
        dialogue.open(&mut out);
        self.dialogue = Some(dialogue);
        self.act(out).await
    }

    /// Takes in what the socket has and lets the dialogue work on it.
    async fn work(&mut self) -> Flow {
        let read = BUFFER.with_borrow_mut(|buffer| match receive(&self.place.live.stream, buffer) {
            Ok(n) => {
                let bytes = buffer.get(..n).unwrap_or_default();
                self.received += u64::try_from(n).unwrap_or(0);
                if !self.told && self.filter.is_none() {
                    keep_some(&mut self.untold, bytes);
                }
                if n > 0 && self.filter.is_none() {
                    self.pending.extend_from_slice(bytes);
                    Ok((n, Vec::new()))
                } else {
                    Ok((n, bytes.to_vec()))
                }
            }
            Err(error) => Err(error),
        });
        let (n, raw) = match read {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Flow::On,
            Err(_) => {
                self.reason = "connection reset by peer";
                self.gone = true;
                self.finish_input().await;
                return Flow::End;
            }
        };
        if n == 0 {
            return self.ended().await;
        }
        let now = self.now_seconds();
        self.place.live.touch(now);
        if self.received > self.shared.received {
            self.reason = "byte limit";
            return self.overflow().await;
        }
        if self.dialogue.is_none() && self.filter.is_none() {
            return Box::pin(self.first_bytes()).await;
        }
        if self.filter.is_some() { Box::pin(self.decrypt(&raw)).await } else { self.feed().await }
    }

    /// The first bytes on a TLS port: TLS, or something else.
    async fn first_bytes(&mut self) -> Flow {
        // 0x16 begins a TLS handshake record; 0x80 an SSL 2 hello, which rustls answers with an alert.
        if !matches!(self.pending.first(), Some(0x16 | 0x80)) {
            if self.begin(Transport::PlainOnTlsPort).await == Flow::End {
                return Flow::End;
            }
            return self.feed().await;
        }
        if self.secure(TlsStart::default()).await == Flow::End {
            return Flow::End;
        }
        let raw = std::mem::take(&mut self.pending);
        self.decrypt(&raw).await
    }

    /// Puts TLS between socket and dialogue.
    async fn secure(&mut self, start: TlsStart) -> Flow {
        // What waits is the handshake; the filter keeps it apart from what the peer says inside.
        self.untold.truncate(self.untold.len().saturating_sub(self.pending.len()));
        if self.untold.ends_with(&start.heard) {
            self.untold.truncate(self.untold.len().saturating_sub(start.heard.len()));
        }
        let Some(tls) = self.shared.tls.clone() else {
            self.reason = "no TLS";
            return Flow::End;
        };
        let wrapped = start.wrapping.is_some();
        let config = match tls.ready(wrapped) {
            Some(config) => Ok(config),
            None => tokio::task::spawn_blocking(move || tls.wait_for(wrapped))
                .await
                .unwrap_or_else(|error| Err(error.to_string())),
        };
        match config.and_then(|config| Filter::new(config, start).map_err(|error| error.to_string())) {
            Ok(filter) => {
                self.filter = Some(Box::new(filter));
                Flow::On
            }
            Err(error) => {
                tracing::error!(service = %self.context.service, %error, "no TLS");
                self.reason = "no TLS";
                Flow::End
            }
        }
    }

    async fn decrypt(&mut self, raw: &[u8]) -> Flow {
        let Some(filter) = &mut self.filter else { return Flow::End };
        let decrypted = filter.receive(raw);
        let outgoing = filter.outgoing();
        // Before anything is reported, and whatever comes of the handshake.
        if let Some(hello) = &decrypted.hello {
            self.notes.insert("ja3".to_owned(), Value::from(hello.ja3()));
            self.notes.insert("ja4".to_owned(), Value::from(hello.ja4()));
        }
        self.write(&outgoing).await;
        if let Some(facts) = decrypted.secured {
            let flow = if self.dialogue.is_none() {
                self.begin(Transport::Tls(facts)).await
            } else {
                self.note_tls(&facts);
                let mut out = Outbox::new(clock::now());
                if let Some(dialogue) = &mut self.dialogue {
                    dialogue.secured(&facts, &mut out);
                }
                self.act(out).await
            };
            if flow == Flow::End {
                return Flow::End;
            }
        }
        if !self.told {
            keep_some(&mut self.untold, &decrypted.plain);
        }
        self.pending.extend_from_slice(&decrypted.plain);
        if self.dialogue.is_some() && self.feed().await == Flow::End {
            return Flow::End;
        }
        if let Some(error) = decrypted.error {
            let heard = self.filter.as_mut().map(|filter| filter.take_heard()).unwrap_or_default();
            let data = if heard.is_empty() { raw.to_vec() } else { heard };
            self.report(&kinds::TLS_FAILED, LogData::new().with("DATA", data).with("ERROR", error)).await;
            self.reason = "TLS failed";
            self.finish_input().await;
            self.close(false).await;
            return Flow::End;
        }
        // Where the service ended TLS, the peer may end it too and go on.
        if decrypted.closed && self.filter.is_some() { self.ended().await } else { Flow::On }
    }

    /// Lets the dialogue use what waits.
    async fn feed(&mut self) -> Flow {
        let mut rounds = 0;
        while !self.pending.is_empty() {
            let Some(dialogue) = &mut self.dialogue else { return Flow::End };
            // Frames that came together are answered together, unless one asks for something first.
            let mut out = Outbox::new(clock::now());
            let mut used = 0;
            loop {
                let rest = self.pending.get(used..).unwrap_or_default();
                let step = dialogue.feed(rest, &mut out).min(rest.len());
                used += step;
                rounds += 1;
                if step == 0 || step == rest.len() || out.must_act() || rounds % ROUNDS == 0 {
                    break;
                }
            }
            self.pending.drain(..used);
            if self.act(out).await == Flow::End {
                return Flow::End;
            }
            // A dialogue that wants something without using a byte would want it for ever.
            if used == 0 {
                break;
            }
            if rounds % ROUNDS == 0 {
                tokio::task::yield_now().await;
            }
        }
        if self.pending.is_empty() {
            self.pending = Vec::new();
        } else if self.pending.len() > self.shared.unconsumed {
            self.reason = "unconsumed bytes";
            return self.overflow().await;
        }
        Flow::On
    }

    /// The end of input: the peer's, or a verdict of the frame.
    async fn ended(&mut self) -> Flow {
        let mut out = Outbox::new(clock::now());
        let verdict = self.place.live.verdict();
        self.reason = match verdict {
            Verdict::None if self.gone => self.reason,
            Verdict::None => "closed by peer",
            Verdict::Idle => "idle limit",
            Verdict::Total => "time limit",
            Verdict::Evicted => "connection limit",
            Verdict::Stopping => "service stopped",
        };
        if let Some(dialogue) = &mut self.dialogue {
            match verdict {
                Verdict::Idle | Verdict::Total => dialogue.expired(&self.pending, &mut out),
                _ => dialogue.ended(&self.pending, &mut out),
            }
        }
        if self.act(out).await == Flow::On {
            self.close(false).await;
        }
        Flow::End
    }

    /// Tells the dialogue that no more comes, where there is nobody left to close for.
    async fn finish_input(&mut self) {
        let mut out = Outbox::new(clock::now());
        if let Some(dialogue) = &mut self.dialogue {
            dialogue.ended(&self.pending, &mut out);
        }
        self.act(out).await;
    }

    async fn overflow(&mut self) -> Flow {
        let mut out = Outbox::new(clock::now());
        if let Some(dialogue) = &mut self.dialogue {
            dialogue.overflowed(&self.pending, &mut out);
        }
        if self.act(out).await == Flow::On {
            self.close(false).await;
        }
        Flow::End
    }

    /// Does what the dialogue asked for, in order. When the session ends half way, what was to be
    /// reported after that still is.
    async fn act(&mut self, out: Outbox) -> Flow {
        let mut steps = out.into_steps().into_iter();
        let flow = self.take_steps(&mut steps).await;
        for step in steps {
            if let Step::Report(kind, data) = step {
                self.report(kind, data).await;
            }
        }
        flow
    }

    async fn take_steps(&mut self, steps: &mut std::vec::IntoIter<Step>) -> Flow {
        let mut receipt: Option<Receipt> = None;
        for step in steps {
            match step {
                // One writer takes events in order, so the last receipt stands for all before it.
                Step::Report(kind, data) => {
                    if let Some(newer) = self.report(kind, data).await {
                        receipt = Some(newer);
                    }
                }
                Step::Reply(bytes) => {
                    if let Some(receipt) = receipt.take() {
                        receipt.wait().await;
                    }
                    let bytes = match &mut self.filter {
                        Some(filter) => {
                            filter.send(&bytes);
                            filter.outgoing()
                        }
                        None => bytes,
                    };
                    self.write(&bytes).await;
                }
                Step::Note(name, value) => {
                    self.notes.insert(name.to_owned(), value);
                }
                Step::Pause(time) => Box::pin(self.pause(time)).await,
                Step::IdleLimit(time) => self.place.live.set_idle(time),
                Step::Keep(name, bytes) => {
                    Box::pin(self.shared.quarantine.keep(self.context.session, &name, bytes)).await;
                }
                // Of datagrams.
                Step::Proven | Step::Converse(_) | Step::ReplyOr(..) => {}
                Step::StartTls(start) => {
                    let begun = !start.heard.is_empty();
                    if self.secure(start).await == Flow::End {
                        return Flow::End;
                    }
                    // INVARIANT: bytes sent before the handshake are never taken as if sent inside it.
                    let raw = std::mem::take(&mut self.pending);
                    if (begun || !raw.is_empty()) && Box::pin(self.decrypt(&raw)).await == Flow::End {
                        return Flow::End;
                    }
                }
                Step::StopTls => self.filter = None,
                Step::Compute(work) => {
                    let permit = self.shared.workshop.clone().acquire_owned().await;
                    let result = tokio::task::spawn_blocking(work).await;
                    drop(permit);
                    let Ok(result) = result else {
                        self.reason = "computation failed";
                        return Flow::End;
                    };
                    let mut out = Outbox::new(clock::now());
                    if let Some(dialogue) = &mut self.dialogue {
                        dialogue.computed(result, &mut out);
                    }
                    if Box::pin(self.act(out)).await == Flow::End {
                        return Flow::End;
                    }
                }
                Step::Close { reset } => {
                    if let Some(receipt) = receipt.take() {
                        receipt.wait().await;
                    }
                    self.reason = "closed by service";
                    self.close(reset).await;
                    return Flow::End;
                }
            }
        }
        Flow::On
    }

    /// Waits, but not for a peer that is known to be gone, and not when the canary stops: what else
    /// the peer sent is to be reported before that.
    async fn pause(&mut self, time: Duration) {
        // The runtime's clock would make a millisecond of no time.
        if self.gone || time.is_zero() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = self.place.stopping() => {}
        }
        self.place.live.touch(self.now_seconds());
    }

    async fn report(&mut self, kind: aviary_event::Kind, data: LogData) -> Option<Receipt> {
        self.told = true;
        self.untold = Vec::new();
        // Boxed, since it holds the event: what works on every burst stays small without it.
        Box::pin(self.shared.reporter.report(&self.context, kind, data, &self.notes)).await
    }

    /// Writes all of it, or finds that the peer is gone. A peer that does not read is ended by the
    /// table's limits, which make this fail.
    async fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.gone {
            match self.place.live.stream.try_write(bytes) {
                Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if self.place.live.stream.writable().await.is_err() {
                        self.reason = "connection failed";
                        self.gone = true;
                    }
                }
                Err(_) => {
                    self.reason = "connection reset by peer";
                    self.gone = true;
                }
            }
        }
    }

    async fn close(&mut self, reset: bool) {
        if let Some(filter) = &mut self.filter {
            filter.close();
            let bytes = filter.outgoing();
            self.write(&bytes).await;
        }
        let socket = socket2::SockRef::from(&self.place.live.stream);
        if reset {
            let _ = socket.set_linger(Some(Duration::ZERO));
        } else {
            let _ = socket.shutdown(std::net::Shutdown::Write);
            // Bytes that lie unread would turn the FIN into an RST that overtakes the reply.
            BUFFER.with_borrow_mut(|buffer| {
                while let Ok(n @ 1..) = receive(&self.place.live.stream, buffer) {
                    self.received += u64::try_from(n).unwrap_or(0);
                    if !self.told && self.filter.is_none() {
                        keep_some(&mut self.untold, buffer.get(..n).unwrap_or_default());
                    }
                    // LIMIT: a peer that sends faster than this reads is cut off by the kernel.
                    if self.received > self.shared.received {
                        break;
                    }
                }
            });
        }
    }

    fn note_tls(&mut self, tls: &TlsFacts) {
        let mut facts = BTreeMap::new();
        if let Some(name) = &tls.server_name {
            facts.insert("sni".to_owned(), Value::from(name.as_str()));
        }
        if let Some(alpn) = &tls.alpn {
            facts.insert("alpn".to_owned(), Value::from(alpn.as_slice()));
        }
        facts.insert("cipher".to_owned(), Value::from(tls.cipher.as_str()));
        facts.insert("version".to_owned(), Value::from(tls.version));
        self.notes.insert("tls".to_owned(), Value::Map(facts));
    }

    fn now_seconds(&self) -> u32 {
        self.place.now()
    }
}

impl Drop for Session {
    /// Also runs when the dialogue panicked: the connection still leaves its trace.
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if self.told && !failed {
            return;
        }
        let mut data = std::mem::take(&mut self.untold);
        if self.told {
            keep_some(&mut data, &self.pending);
        } else if let Some(filter) = &mut self.filter {
            keep_some(&mut data, &filter.take_heard());
        }
        let duration = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        let data = LogData::new()
            .with("BYTES", i64::try_from(self.received).unwrap_or(i64::MAX))
            .with("DATA", data)
            .with("DURATION_MS", i64::try_from(duration).unwrap_or(i64::MAX))
            .with("REASON", if failed { "service failed" } else { self.reason });
        self.shared.reporter.report_now(&self.context, &kinds::UNREPORTED, data, &self.notes);
    }
}

/// Reads what is there. A read that leaves room has emptied the socket, which the runtime is told,
/// so that it does not ask the kernel again before something new has come.
fn receive(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    let read = stream.try_io(Interest::READABLE, || {
        got = (&*socket2::SockRef::from(stream)).read(buffer)?;
        if (1..buffer.len()).contains(&got) { Err(ErrorKind::WouldBlock.into()) } else { Ok(got) }
    });
    if got > 0 { Ok(got) } else { read }
}

/// Appends as much as [`UNTOLD`] allows.
fn keep_some(kept: &mut Vec<u8>, bytes: &[u8]) {
    let room = UNTOLD.saturating_sub(kept.len());
    kept.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
}

#[cfg(test)]
mod tests;
