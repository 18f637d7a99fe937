//! A webhook receiver that notes when the first byte of each request came, and what it held.

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
    fn finds_the_marks_of_attacks() {
        assert_eq!(marks(b"...attack-17\" ... attack-18,"), ["17", "18"]);
    }
}
