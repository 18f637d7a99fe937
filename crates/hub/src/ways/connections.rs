//! Ways with connections: lines, and syslog over TCP and TLS.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::Way;
use super::desk::{Batch, Desk, Read};
use super::framing::Framing;

/// Connections of a way at once; more wait before they are accepted.
const CONNECTIONS: usize = 1024;
/// Longest handshake, longest pause within a message, and longest time for a stranger to say who it is.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest pause between messages. Canaries are quiet for days; the system's keep-alive finds those that are gone.
const QUIET: Duration = Duration::from_secs(7 * 24 * 3600);
/// Bytes that a stranger may send before it has said who it is.
const STRANGE: usize = 4096;
/// Bytes that are read at once.
const PIECE: usize = 64 << 10;
/// Pause when there is no room, or no descriptor.
const BREATH: Duration = Duration::from_millis(100);

/// Accepts connections of a way for ever.
pub(super) async fn listen(listener: TcpListener, way: Way, tls: Option<TlsAcceptor>, desk: Arc<Desk>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, way = way.word(), "no connection can be accepted");
                sleep(BREATH).await;
                continue;
            }
        };
        let (tls, desk) = (tls.clone(), Arc::clone(&desk));
        connections.spawn(async move {
            let _permit = permit;
            one(stream, address, way, tls, &desk).await;
        });
        // What has ended is let go.
        while connections.try_join_next().is_some() {}
    }
}

async fn one(stream: TcpStream, address: SocketAddr, way: Way, tls: Option<TlsAcceptor>, desk: &Desk) {
    let kept = socket2::TcpKeepalive::new().with_time(Duration::from_secs(120));
    let _ = socket2::SockRef::from(&stream).set_tcp_keepalive(&kept);
    let from = address.ip().to_canonical();
    match tls {
        None => converse(stream, from, way, desk).await,
        Some(tls) => match timeout(PATIENCE, tls.accept(stream)).await {
            Ok(Ok(stream)) => converse(stream, from, way, desk).await,
            Ok(Err(error)) => tracing::debug!(%address, %error, "handshake failed"),
            Err(_) => tracing::debug!(%address, "handshake took too long"),
        },
    }
}

/// Reads until the sender has no more, or is nobody.
async fn converse(mut stream: impl AsyncRead + Unpin, from: IpAddr, way: Way, desk: &Desk) {
    let mut framing = Framing::new(way != Way::Lines);
    let mut introduced = None;
    let mut piece = vec![0; PIECE];
    let mut place = desk.place(None, from);
    let mut messages = Vec::new();
    loop {
        // Asked each time: who may send from where can change.
        let mut known = introduced.clone().or_else(|| desk.by_address(from));
        let patience = if known.is_none() || framing.held() > 0 { PATIENCE } else { QUIET };
        let limit = if known.is_none() { STRANGE } else { PIECE };
        let count = match timeout(patience, stream.read(piece.get_mut(..limit).unwrap_or_default())).await {
            Ok(Ok(count)) => count,
            Ok(Err(error)) => {
                tracing::debug!(%from, %error, "connection ended");
                0
            }
            Err(_) => {
                tracing::debug!(%from, "connection is quiet for too long");
                0
            }
        };
        if count == 0 {
            framing.finish(&mut messages);
        } else {
            if !make_room(&mut place, count).await {
                return;
            }
            framing.push(piece.get(..count).unwrap_or_default(), &mut messages);
        }
        let mut batch = Batch::default();
        let strange = known.is_none();
        for message in messages.drain(..) {
            match desk.read(message, &known).await {
                Ok(Read::Line(source, line)) => batch.add(&source, line),
                Ok(Read::Introduction(source)) => {
                    known = Some(Arc::clone(&source));
                    introduced = Some(source);
                }
                Ok(Read::Nobody) => {
                    desk.refuse(from, way.word());
                    desk.store(batch).await;
                    return;
                }
                Err(error) => {
                    tracing::error!(%error, "a token cannot be looked up");
                    desk.store(batch).await;
                    return;
                }
            }
        }
        desk.store(batch).await;
        if strange && introduced.is_none() && framing.held() >= STRANGE {
            desk.refuse(from, way.word());
            return;
        }
        if count == 0 {
            return;
        }
        place = desk.place(known.as_deref(), from);
        if framing.held() > 0 && !make_room(&mut place, framing.held()).await {
            return;
        }
    }
}

/// Waits for room, but not for ever: whoever holds some may wait for more.
async fn make_room(place: &mut crate::Place, bytes: usize) -> bool {
    let wait = async {
        while !place.grow(bytes) {
            sleep(BREATH).await;
        }
    };
    timeout(PATIENCE.saturating_mul(6), wait).await.is_ok()
}
