//! A conversation over UDP from a port of its own: a dialogue whose every feed is one datagram.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use aviary_journal::Receipt;
use aviary_service::{Dialogue, Outbox, Step};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock;
use crate::datagrams::Talk;
use crate::listener::Station;
use crate::reporter::Context;

/// Largest datagram.
const LARGEST: usize = 65_536;

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
    let mut this = Conversation { station, dialogue, context, socket, idle: limits.idle, notes: BTreeMap::new() };
    let mut out = Outbox::for_datagrams(clock::now());
    this.dialogue.open(&mut out);
    let mut goes_on = this.act(out).await;
    let end = Instant::now() + limits.total;
    let mut received = 0_u64;
    let mut buffer = vec![0; LARGEST];
    while goes_on {
        let quiet = (Instant::now() + this.idle).min(end);
        let mut out = Outbox::for_datagrams(clock::now());
        tokio::select! {
            biased;
            () = stopped(&mut stop) => {
                this.dialogue.ended(&[], &mut out);
                this.act(out).await;
                break;
            }
            read = this.socket.recv(&mut buffer) => {
                // A refusal by ICMP says that the peer is gone; anything else is as final.
                let Ok(length) = read else {
                    this.dialogue.ended(&[], &mut out);
                    this.act(out).await;
                    break;
                };
                let bytes = buffer.get(..length).unwrap_or_default();
                let source = this.context.peer.ip();
                let guard = &this.station.shared.guard;
                guard.received(source, length);
                // Nobody else knows this port.
                guard.prove(source);
                received = received.saturating_add(u64::try_from(length).unwrap_or(0));
                if received > limits.received {
                    this.dialogue.overflowed(bytes, &mut out);
                    this.act(out).await;
                    break;
                }
                this.dialogue.feed(bytes, &mut out);
                goes_on = this.act(out).await;
            }
            () = tokio::time::sleep_until(quiet) => {
                this.dialogue.expired(&[], &mut out);
                this.act(out).await;
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
}

impl Conversation {
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
                    if shared.guard.spend(self.context.peer.ip(), bytes.len()) {
                        let _ = self.socket.send(&bytes).await;
                    }
                }
                Step::ReplyOr(bytes, otherwise) => {
                    if let Some(receipt) = receipt.take() {
                        receipt.wait().await;
                    }
                    let source = self.context.peer.ip();
                    if let Some(bytes) = shared.guard.affordable(source, bytes, otherwise) {
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
