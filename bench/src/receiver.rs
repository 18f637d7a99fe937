//! Receivers that note when the first byte of each alert came, and what it held.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// When each attack was told of, by the mark in it.
pub(crate) type Arrivals = Arc<Mutex<HashMap<String, Instant>>>;

/// What attacks carry as user name, before their number.
pub(crate) const MARK: &str = "attack-";

/// Receives until dropped.
pub(crate) async fn run(listener: TcpListener, arrivals: Arrivals) {
    let mut tasks = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let arrivals = Arc::clone(&arrivals);
        tasks.spawn(async move { drop(receive(stream, &arrivals).await) });
    }
}

async fn receive(mut stream: TcpStream, arrivals: &Arrivals) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let mut request = Vec::with_capacity(8192);
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
        let came = Instant::now();
        while !is_whole(&request) {
            if stream.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
        }
        for mark in marks(&request) {
            arrivals.lock().unwrap_or_else(PoisonError::into_inner).entry(mark).or_insert(came);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await?;
    }
}

/// Receives a stream of messages without answers until dropped.
pub(crate) async fn run_stream(listener: TcpListener, arrivals: Arrivals) {
    let mut tasks = JoinSet::new();
    while let Ok((mut stream, _)) = listener.accept().await {
        let arrivals = Arc::clone(&arrivals);
        tasks.spawn(async move {
            let mut marks = Marks::default();
            let mut piece = vec![0; 65_536];
            while let Ok(count @ 1..) = stream.read(&mut piece).await {
                marks.take(piece.get(..count).unwrap_or_default(), Instant::now(), &arrivals);
            }
        });
    }
}

/// Finds marks in a stream, whatever pieces it comes in.
#[derive(Default)]
pub(crate) struct Marks {
    /// The end of what came, in which a mark may have begun, and when that came.
    rest: Vec<u8>,
    since: Option<Instant>,
}

impl Marks {
    /// Notes the marks of a piece that came at a moment. A message that began in an earlier piece came then.
    pub(crate) fn take(&mut self, piece: &[u8], came: Instant, arrivals: &Arrivals) {
        let since = self.since.take().unwrap_or(came);
        self.rest.extend_from_slice(piece);
        // Lines end with a newline, GELF's messages with a NUL, counted ones with a brace.
        let whole = self.rest.iter().rposition(|byte| matches!(byte, b'\n' | b'\0' | b'}')).map_or(0, |at| at + 1);
        for mark in marks(self.rest.get(..whole).unwrap_or_default()) {
            arrivals.lock().unwrap_or_else(PoisonError::into_inner).entry(mark).or_insert(since);
        }
        self.rest.drain(..whole);
        if !self.rest.is_empty() {
            self.since = Some(if whole == 0 { since } else { came });
        }
    }
}

fn is_whole(request: &[u8]) -> bool {
    let Some(head) = request.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let text = String::from_utf8_lossy(request.get(..head).unwrap_or_default()).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")).and_then(|n| n.trim().parse().ok());
    request.len() >= head + 4 + length.unwrap_or(0usize)
}

fn marks(request: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(request);
    let found = text.split(MARK).skip(1);
    found.map(|rest| rest.chars().take_while(char::is_ascii_digit).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_whole_with_its_body() {
        let request = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
        assert!(is_whole(request));
        assert!((0..request.len()).all(|n| !is_whole(&request[..n])));
    }

    #[test]
    fn a_mark_in_two_pieces_is_one_and_came_with_the_first() {
        let arrivals = Arrivals::default();
        let (first, second) = (Instant::now(), Instant::now() + std::time::Duration::from_secs(1));
        let mut marks = Marks::default();
        marks.take(b"{attack-1}\n{attack-2", first, &arrivals);
        marks.take(b"3}\n", second, &arrivals);
        let arrivals = arrivals.lock().unwrap();
        assert_eq!((arrivals.len(), arrivals.get("1"), arrivals.get("23")), (2, Some(&first), Some(&first)));
    }

    #[test]
    fn finds_the_marks_of_attacks() {
        assert_eq!(marks(b"...attack-17\" ... attack-18,"), ["17", "18"]);
    }
}
