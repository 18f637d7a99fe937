//! Receivers that only read and acknowledge, on a thread of their own: what an output is measured against.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::servers::here;

/// Bytes that are read at once.
const PIECE: usize = 1 << 18;

/// What a receiver does with those that connect.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Manners {
    /// Reads and says nothing, as collectors of syslog and GELF do.
    Reads,
    /// Answers every HTTP request with 200 and this body.
    Answers(&'static str),
    /// The same after some time.
    AnswersAfter(Duration),
    /// Accepts, and neither reads nor answers.
    Hangs,
}

/// A running receiver; ended when dropped.
pub(crate) struct Sink {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    bytes: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sink {
    /// Starts one.
    pub(crate) fn start(manners: Manners) -> anyhow::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let bytes = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&bytes);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let body = move || {
            runtime.block_on(async move {
                let bound = bind(manners);
                let Ok(listener) = bound else { return };
                let _ = tell.send(listener.local_addr());
                tokio::select! {
                    () = accept(listener, manners, &counter) => {}
                    _ = stopped => {}
                }
            });
        };
        let thread = std::thread::Builder::new().name("sink".to_owned()).spawn(body)?;
        let address = told.recv().context("the receiver cannot listen")??;
        Ok(Self { address, bytes, stop: Some(stop), thread: Some(thread) })
    }

    /// Bytes that came, without the heads of requests.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn bind(manners: Manners) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    if matches!(manners, Manners::Hangs) {
        // Little room, so that who sends notices soon.
        socket.set_recv_buffer_size(4096)?;
    }
    socket.bind(here(0))?;
    socket.listen(64)
}

async fn accept(listener: TcpListener, manners: Manners, bytes: &Arc<AtomicU64>) {
    let mut tasks = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let bytes = Arc::clone(bytes);
        tasks.spawn(async move {
            let _ = match manners {
                Manners::Reads => read(stream, &bytes).await,
                Manners::Answers(body) => serve(stream, body, Duration::ZERO, &bytes).await,
                Manners::AnswersAfter(pause) => serve(stream, "", pause, &bytes).await,
                Manners::Hangs => {
                    std::future::pending::<()>().await;
                    drop(stream);
                    Ok(())
                }
            };
        });
    }
}

async fn read(mut stream: TcpStream, bytes: &AtomicU64) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        match stream.read(&mut piece).await? {
            0 => return Ok(()),
            count => bytes.fetch_add(count as u64, Ordering::Relaxed),
        };
    }
}

async fn serve(mut stream: TcpStream, body: &str, pause: Duration, bytes: &AtomicU64) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut piece = vec![0; PIECE];
    let mut request: Vec<u8> = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            match stream.read(&mut piece).await? {
                0 => return Ok(()),
                count => request.extend_from_slice(piece.get(..count).unwrap_or_default()),
            }
        };
        let head = String::from_utf8_lossy(request.get(..end).unwrap_or_default()).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
        let mut missing = length.saturating_sub(request.len() - end);
        while missing > 0 {
            match stream.read(&mut piece).await? {
                0 => return Ok(()),
                count => missing = missing.saturating_sub(count),
            }
        }
        // Nobody here sends a request before the answer to the last.
        request.clear();
        bytes.fetch_add(length as u64, Ordering::Relaxed);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        stream.write_all(answer.as_bytes()).await?;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn answers_requests_and_counts_their_bodies() {
        let sink = Sink::start(Manners::Answers("yes")).unwrap();
        let mut stream = std::net::TcpStream::connect(sink.address).unwrap();
        for _ in 0..2 {
            stream.write_all(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab").unwrap();
            stream.write_all(b"cde").unwrap();
            let mut answer = vec![0; 41];
            stream.read_exact(&mut answer).unwrap();
            assert!(answer.ends_with(b"\r\n\r\nyes"), "{}", answer.escape_ascii());
        }
        assert_eq!(sink.bytes(), 10);
    }
}
