//! A conversation over UDP from a port of its own: a dialogue whose every feed is one datagram.
//!
//! Whoever sends to the port has most likely received from it, but ports can be guessed. So each datagram that comes
//! earns one answer, of a size that a link carries, and proves nothing to anybody else.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use aviary_event::LogData;
use aviary_journal::Receipt;
use aviary_service::{Dialogue, Outbox, Step};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::datagrams::Talk;
use crate::listener::Station;
use crate::reporter::Context;
use crate::{clock, kinds};

/// Largest datagram.
const LARGEST: usize = 65_536;
/// Bytes of an answer that a datagram earns: what an Ethernet link carries in one.
const EARNED: usize = 1500;
/// How long the first datagram on the new port may take.
const FIRST: Duration = Duration::from_secs(5);

/// Runs a conversation with the peer of a context until the dialogue closes, the peer is quiet for the idle
/// limit, a limit is reached or the endpoint stops.
pub(crate) async fn run(
    station: Arc<Station>,
    dialogue: Box<dyn Dialogue>,
    context: Context,
    from: IpAddr,
    talk: Talk,
    mut stop: watch::Receiver<bool>,
) {
    let socket = match open(from, context.peer).await {
        Ok(socket) => socket,
        Err(error) => {
            tracing::debug!(%error, "no port for a conversation over UDP");
            return;
        }
    };
    let limits = station.limits;
    let mut this = Conversation {
        station,
        dialogue,
        context,
        socket,
        idle: limits.idle,
        notes: BTreeMap::new(),
        earned: false,
        failed: false,
    };
    let mut goes_on = this.turn(|dialogue, out| dialogue.open(out)).await;
    let end = Instant::now() + limits.total;
    let mut received = 0_u64;
    let mut buffer = vec![0; LARGEST];
    while goes_on {
        let patience = if received == 0 { this.idle.min(FIRST) } else { this.idle };
        let quiet = (Instant::now() + patience).min(end);
        tokio::select! {
            biased;
            () = stopped(&mut stop) => {
                this.turn(|dialogue, out| dialogue.ended(&[], out)).await;
                break;
            }
            read = this.socket.recv(&mut buffer) => {
                // A refusal by ICMP says that the peer is gone; anything else is as final.
                let Ok(length) = read else {
                    this.turn(|dialogue, out| dialogue.ended(&[], out)).await;
                    break;
                };
                let bytes = buffer.get(..length).unwrap_or_default();
                this.station.shared.guard.received(this.context.peer.ip(), length);
                this.earned = true;
                received = received.saturating_add(u64::try_from(length).unwrap_or(0));
                if received > limits.received {
                    this.turn(|dialogue, out| dialogue.overflowed(bytes, out)).await;
                    break;
                }
                goes_on = this.turn(|dialogue, out| {
                    dialogue.feed(bytes, out);
                }).await;
            }
            () = tokio::time::sleep_until(quiet) => {
                this.turn(|dialogue, out| dialogue.expired(&[], out)).await;
                break;
            }
        }
    }
    drop(talk);
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn open(from: IpAddr, peer: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = UdpSocket::bind(SocketAddr::new(from, 0)).await?;
    socket.connect(peer).await?;
    Ok(socket)
}

struct Conversation {
    station: Arc<Station>,
    dialogue: Box<dyn Dialogue>,
    context: Context,
    socket: UdpSocket,
    idle: Duration,
    notes: BTreeMap<String, aviary_event::Value>,
    /// Whether a datagram came that was not answered yet.
    earned: bool,
    failed: bool,
}

impl Conversation {
    /// Lets the dialogue act, and does what it asks for; whether it goes on. A panic ends the conversation and is told.
    async fn turn(&mut self, act: impl FnOnce(&mut dyn Dialogue, &mut Outbox)) -> bool {
        let mut out = Outbox::for_datagrams(clock::now());
        let dialogue = &mut *self.dialogue;
        if self.failed || catch_unwind(AssertUnwindSafe(|| act(dialogue, &mut out))).is_err() {
            if !std::mem::replace(&mut self.failed, true) {
                let data = LogData::new()
                    .with("BYTES", 0)
                    .with("DATA", "")
                    .with("DURATION_MS", 0)
                    .with("REASON", "service failed");
                let reporter = &self.station.shared.reporter;
                reporter.report_now(&self.context, &kinds::UNREPORTED, data, &self.notes);
            }
            return false;
        }
        self.act(out).await
    }

    /// Whether an answer of so many bytes may be sent.
    fn may_send(&mut self, bytes: usize) -> bool {
        let earned = bytes <= EARNED && std::mem::take(&mut self.earned);
        earned || self.station.shared.guard.spend(self.context.peer.ip(), bytes)
    }

    /// Does what the dialogue asked for; whether it goes on.
    async fn act(&mut self, out: Outbox) -> bool {
        let mut receipt: Option<Receipt> = None;
        let shared = Arc::clone(&self.station.shared);
        let mut goes_on = true;
        for step in out.into_steps() {
            match step {
                Step::Report(kind, data) => {
                    if let Some(newer) = shared.reporter.report(&self.context, kind, data, &self.notes).await {
                        receipt = Some(newer);
                    }
                }
                Step::Reply(bytes) => {
                    if let Some(receipt) = receipt.take() {
                        receipt.wait().await;
                    }
                    if self.may_send(bytes.len()) {
                        let _ = self.socket.send(&bytes).await;
                    }
                }
                Step::ReplyOr(bytes, otherwise) => {
                    if let Some(receipt) = receipt.take() {
                        receipt.wait().await;
                    }
                    let chosen = [bytes, otherwise].into_iter().find(|bytes| self.may_send(bytes.len()));
                    if let Some(bytes) = chosen {
                        let _ = self.socket.send(&bytes).await;
                    }
                }
                Step::Note(name, value) => {
                    self.notes.insert(name.to_owned(), value);
                }
                Step::Pause(time) => tokio::time::sleep(time).await,
                Step::IdleLimit(time) => self.idle = time,
                Step::Proven => shared.guard.prove(self.context.peer.ip()),
                Step::Keep(name, bytes) => shared.quarantine.keep(self.context.session, &name, bytes).await,
                Step::Close { .. } => goes_on = false,
                // Of streams, or begun from an endpoint only.
                Step::StartTls(_) | Step::StopTls | Step::Compute(_) | Step::Converse(_) => {}
            }
        }
        if let Some(receipt) = receipt {
            receipt.wait().await;
        }
        goes_on
    }
}
