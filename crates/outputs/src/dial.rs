//! Connections on which both sides talk: to brokers that acknowledge.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use nix::sys::socket::{setsockopt, sockopt::TcpUserTimeout};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::tls::Tls;

/// Longest wait for a connection, and then for each of TLS and the greeting.
pub(crate) const CONNECTING: Duration = Duration::from_secs(5);

/// A TCP connection whose peer confirms nothing for this long is broken, milliseconds.
const UNCONFIRMED: u32 = 20_000;

/// Room for what comes at once, bytes.
const ROOM: usize = 32 * 1024;

/// A stream, with TLS or without.
trait Duplex: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Duplex for T {}

/// A connection and what of it was not looked at yet.
pub(crate) struct Link {
    stream: Box<dyn Duplex>,
    unread: BytesMut,
}

impl Link {
    /// Connects to any address of the host.
    pub(crate) async fn dial(host: &str, port: u16) -> Result<Self, String> {
        let stream = timeout(CONNECTING, TcpStream::connect((host, port))).await;
        let stream =
            stream.map_err(|_| late("no connection", CONNECTING))?.map_err(|error| unable("connect", &error))?;
        let _ = stream.set_nodelay(true);
        let _ = setsockopt(&stream, TcpUserTimeout, &UNCONFIRMED);
        Ok(Self { stream: Box::new(stream), unread: BytesMut::new() })
    }

    /// The same connection, from here on over TLS.
    pub(crate) async fn secure(self, tls: &Tls, host: &str) -> Result<Self, String> {
        if !self.unread.is_empty() {
            // Not to be taken for what came over TLS.
            return Err("it spoke before TLS began".to_owned());
        }
        let (connector, name) = tls.connector(host).await?;
        let stream = timeout(CONNECTING, connector.connect(name, self.stream)).await;
        let stream = stream.map_err(|_| late("no TLS", CONNECTING))?.map_err(|error| format!("TLS: {error}"))?;
        Ok(Self { stream: Box::new(stream), unread: BytesMut::new() })
    }

    /// Sends `out` and lets `hear` take what comes, until it says that all is said and `out` is sent.
    /// `hear` may add to `out`.
    pub(crate) async fn converse(
        &mut self,
        out: &mut BytesMut,
        mut hear: impl FnMut(&mut BytesMut, &mut BytesMut) -> Result<bool, String>,
    ) -> Result<(), String> {
        let (mut reader, mut writer) = split(&mut self.stream);
        let mut flushed = out.is_empty();
        loop {
            let done = hear(&mut self.unread, out)?;
            flushed &= out.is_empty();
            if done && flushed {
                return Ok(());
            }
            self.unread.reserve(ROOM);
            let flushing = out.is_empty();
            tokio::select! {
                read = reader.read_buf(&mut self.unread) => match read {
                    Ok(0) => return Err("it ended the connection".to_owned()),
                    Ok(_) => {}
                    Err(error) => return Err(unable("read", &error)),
                },
                sent = push(&mut writer, out), if !flushed || !out.is_empty() => {
                    sent.map_err(|error| unable("send", &error))?;
                    flushed = flushing;
                }
            }
        }
    }

    /// Whether the connection still stands, as far as anybody knows; `hear` takes what came meanwhile
    /// and may put answers into `out`.
    pub(crate) async fn stands(
        &mut self,
        out: &mut BytesMut,
        mut hear: impl FnMut(&mut BytesMut, &mut BytesMut) -> Result<bool, String>,
    ) -> bool {
        loop {
            if hear(&mut self.unread, out).is_err() {
                return false;
            }
            self.unread.reserve(ROOM);
            // Asks once and does not wait.
            match timeout(Duration::ZERO, self.stream.read_buf(&mut self.unread)).await {
                Err(_) => return true,
                Ok(Ok(1..)) => {}
                Ok(Ok(0) | Err(_)) => return false,
            }
        }
    }
}

/// One step of sending, which may be given up without losing anything.
async fn push(writer: &mut (impl AsyncWrite + Unpin), out: &mut BytesMut) -> io::Result<()> {
    if out.is_empty() { writer.flush().await } else { writer.write_buf(out).await.map(drop) }
}

/// The text for something that did not come in time.
pub(crate) fn late(what: &str, limit: Duration) -> String {
    format!("{what} within {} s", limit.as_secs_f32())
}

fn unable(what: &str, error: &io::Error) -> String {
    format!("cannot {what}: {error}")
}
