//! Syslog over UDP: a message a datagram. Nobody is told when one is lost, so the socket's buffer is large, and whoever
//! has the choice takes another way.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::sleep;

use super::Way;
use super::desk::{Batch, Desk, Read};
use super::framing::Piece;

/// Datagrams that are stored together, at most.
const TOGETHER: usize = 512;
/// Largest datagram.
const LARGEST: usize = 64 << 10;
/// The socket's buffer, bytes; the system may give less.
pub(super) const BUFFER: usize = 8 << 20;

/// Reads datagrams for ever.
pub(super) async fn listen(socket: UdpSocket, desk: Arc<Desk>) {
    let mut buffer = vec![0; LARGEST];
    loop {
        let mut batch = BTreeMap::<IpAddr, Batch>::new();
        match socket.recv_from(&mut buffer).await {
            Ok((count, from)) => note(&desk, from.ip(), buffer.get(..count), &mut batch).await,
            Err(error) => {
                tracing::warn!(%error, "no datagram can be read");
                sleep(Duration::from_millis(100)).await;
            }
        }
        for _ in 1..TOGETHER {
            let Ok((count, from)) = socket.try_recv_from(&mut buffer) else { break };
            note(&desk, from.ip(), buffer.get(..count), &mut batch).await;
        }
        for batch in batch.into_values() {
            desk.store(batch).await;
        }
    }
}

async fn note(desk: &Desk, from: IpAddr, bytes: Option<&[u8]>, batch: &mut BTreeMap<IpAddr, Batch>) {
    let Some(bytes) = bytes.filter(|bytes| !bytes.trim_ascii().is_empty()) else { return };
    let from = from.to_canonical();
    match desk.read(Piece::Message(bytes.to_vec()), &desk.by_address(from)).await {
        Ok(Read::Line(source, line)) => batch.entry(from).or_default().add(&source, line),
        // A datagram stands alone.
        Ok(Read::Nobody | Read::Introduction(_)) => desk.refuse(from, Way::SyslogUdp.word()),
        Err(error) => tracing::error!(%error, "a token cannot be looked up"),
    }
}
