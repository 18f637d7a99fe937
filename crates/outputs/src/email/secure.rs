//! A mail server's connection before its mails: in clear, in TLS, or from the one to the other by
//! STARTTLS (RFC 3207). The conversation itself is the library's; it begins with the server's greeting,
//! which after STARTTLS has been heard already.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// Longest answer that is read before TLS, bytes.
const ANSWER: usize = 8 * 1024;

/// What stands for the greeting that the server gave in clear.
const GREETING: &[u8] = b"220 \r\n";

/// A connection inside of TLS.
#[derive(Debug)]
pub(super) struct Secure {
    stream: TlsStream<TcpStream>,
    /// Of [`GREETING`], what has not been read yet.
    unread: &'static [u8],
}

impl Secure {
    /// TLS from the first byte: the server greets inside.
    pub(super) const fn new(stream: TlsStream<TcpStream>) -> Self {
        Self { stream, unread: &[] }
    }

    /// TLS after STARTTLS: the server has greeted outside.
    pub(super) const fn greeted(stream: TlsStream<TcpStream>) -> Self {
        Self { stream, unread: GREETING }
    }
}

impl AsyncRead for Secure {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, into);
        }
        let count = self.unread.len().min(into.remaining());
        let (now, later) = self.unread.split_at_checked(count).unwrap_or_default();
        into.put_slice(now);
        self.unread = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Secure {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl AsyncTokioStream for Secure {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.get_ref().0.peer_addr()
    }
}

/// Has the server wait for the TLS handshake. The error is in its own words where it has any.
pub(super) async fn start_tls(stream: &mut TcpStream, hello: &str) -> Result<(), String> {
    answer(stream, 220).await?;
    say(stream, &format!("EHLO {hello}\r\n")).await?;
    let abilities = answer(stream, 250).await?;
    let offers =
        abilities.lines().skip(1).any(|line| line.get(4..).is_some_and(|word| word.eq_ignore_ascii_case("STARTTLS")));
    if !offers {
        return Err("it does not offer it".to_owned());
    }
    say(stream, "STARTTLS\r\n").await?;
    answer(stream, 220).await.map(drop)
}

async fn say(stream: &mut TcpStream, text: &str) -> Result<(), String> {
    stream.write_all(text.as_bytes()).await.map_err(|error| error.to_string())
}

/// An answer with the code wanted: its lines, each beginning with the code and `-` or, the last, a space.
/// Nothing may come after it, since whoever sits in between could put it there.
async fn answer(stream: &mut TcpStream, wanted: u16) -> Result<String, String> {
    let mut bytes = Vec::new();
    while !complete(&bytes) {
        if bytes.len() > ANSWER {
            return Err("its answer has no end".to_owned());
        }
        if stream.read_buf(&mut bytes).await.map_err(|error| error.to_string())? == 0 {
            return Err("it ended the connection".to_owned());
        }
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let (last, rest) = lines.split_last().map_or(("", [].as_slice()), |(last, rest)| (*last, rest));
    if rest.iter().any(|line| line.get(3..4) != Some("-")) {
        return Err("it says more than it was asked".to_owned());
    }
    if last.get(..3).and_then(|code| code.parse().ok()) != Some(wanted) {
        let said: String = text.trim_end().chars().take(200).collect();
        return Err(format!("it answered {}", said.replace(['\r', '\n'], " ")));
    }
    Ok(text)
}

/// Whether the bytes end with the last line of an answer.
fn complete(bytes: &[u8]) -> bool {
    let Some(whole) = bytes.strip_suffix(b"\n") else { return false };
    let last = whole.rsplit(|byte| *byte == b'\n').next().unwrap_or(whole);
    !matches!(last, [a, b, c, b'-', ..] if [a, b, c].iter().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn told(script: &'static str) -> Result<(), String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let port = listener.local_addr().expect("an address").port();
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
        let (mut server, _) = listener.accept().await.expect("a connection");
        let server = async move {
            for part in script.split('|') {
                server.write_all(part.as_bytes()).await.expect("sent");
                let _ = server.read(&mut [0; 100]).await;
            }
        };
        let (told, ()) = tokio::join!(start_tls(&mut stream, "h"), async {
            let _ = tokio::time::timeout(std::time::Duration::from_millis(200), server).await;
        });
        told
    }

    #[tokio::test]
    async fn takes_starttls_only_when_all_is_said_as_it_should_be() {
        assert_eq!(told("220 a\r\n|250-a\r\n250-SIZE 1\r\n250 starttls\r\n|220 go\r\n").await, Ok(()));
        for (script, words) in [
            ("220 a\r\n|250-a\r\n250 AUTH PLAIN\r\n|", "it does not offer it"),
            ("220 a\r\n|250 STARTTLS\r\n|", "it does not offer it"),
            ("421-busy\r\n421 later\r\n", "it answered 421-busy  421 later"),
            ("220 a\r\n|250-a\r\n250 STARTTLS\r\n|454 no\r\n", "it answered 454 no"),
            ("220 a\r\n|250-a\r\n250 STARTTLS\r\n|220 go\r\n250 injected\r\n", "it says more than it was asked"),
            ("SSH-2.0-x\r\n", "it answered SSH-2.0-x"),
            ("220 a\r\n|", "it ended the connection"),
        ] {
            assert_eq!(told(script).await, Err(words.to_owned()), "{script:?}");
        }
    }
}
