//! A connection to a Redis server: commands go out together, replies are read one by one.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout};

use super::wire::{Reply, reply};
use crate::syslog::link::Target;
use crate::tls::Tls;

/// Most bytes of replies that wait for being read: a transaction's, each an id.
const WAITING: usize = 1 << 20;

/// Room for what is read at once, bytes.
const PIECE: usize = 8192;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection that has been greeted or is about to be.
pub(super) struct Link {
    stream: Box<dyn Stream>,
    /// What came and is not read as a reply yet.
    heard: Vec<u8>,
    /// When the server answered last.
    used: Instant,
}

impl Link {
    /// Connects, over TLS when given.
    pub(super) async fn connect(target: &Target, tls: Option<&Tls>, patience: Duration) -> Result<Self, String> {
        let attempt = async {
            let broken = |error: io::Error| format!("cannot connect: {error}");
            let (host, port) = match target {
                Target::Path(path) => {
                    let stream = UnixStream::connect(path).await.map_err(broken)?;
                    return Ok::<Box<dyn Stream>, String>(Box::new(stream));
                }
                Target::Host { host, port } => (host.as_str(), *port),
            };
            let stream = TcpStream::connect((host, port)).await.map_err(broken)?;
            stream.set_nodelay(true).map_err(broken)?;
            let Some(tls) = tls else { return Ok(Box::new(stream)) };
            let (connector, name) = tls.connector(host).await?;
            Ok(Box::new(connector.connect(name, stream).await.map_err(broken)?))
        };
        let stream = timeout(patience, attempt)
            .await
            .unwrap_or_else(|_| Err(format!("no connection within {} s", patience.as_secs_f32())))?;
        Ok(Self { stream, heard: Vec::new(), used: Instant::now() })
    }

    /// How long it has been silent.
    pub(super) fn idle(&self) -> Duration {
        self.used.elapsed()
    }

    /// Whether the server said something that nobody asked for.
    pub(super) const fn spoke_unasked(&self) -> bool {
        !self.heard.is_empty()
    }

    /// Sends commands and gives the reply to each; fewer, and why, when the connection broke on the way.
    pub(super) async fn exchange(
        &mut self,
        commands: &[u8],
        count: usize,
        patience: Duration,
    ) -> (Vec<Reply>, Result<(), String>) {
        let mut replies = Vec::new();
        let talk = async {
            let sent = async {
                self.stream.write_all(commands).await?;
                self.stream.flush().await
            };
            // A server that ends the connection may have said why before.
            let sent = sent.await.map_err(|error| format!("cannot send: {error}"));
            while replies.len() < count {
                match (self.hear().await, &sent) {
                    (Ok(reply), _) => replies.push(reply),
                    (Err(_), Err(reason)) => return Err(reason.clone()),
                    (Err(reason), Ok(())) => return Err(reason),
                }
            }
            self.used = Instant::now();
            sent
        };
        let result = timeout(patience, talk)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} s", patience.as_secs_f32())));
        (replies, result)
    }

    async fn hear(&mut self) -> Result<Reply, String> {
        loop {
            if let Some((reply, taken)) = reply(&self.heard)? {
                self.heard.drain(..taken);
                return Ok(reply);
            }
            if self.heard.len() >= WAITING {
                return Err(format!("it sent a reply of more than {WAITING} bytes"));
            }
            self.heard.reserve(PIECE);
            match self.stream.read_buf(&mut self.heard).await {
                Ok(0) => return Err("it ended the connection".to_owned()),
                Ok(_) => {}
                Err(error) => return Err(format!("the connection broke: {error}")),
            }
        }
    }
}
