//! The attacks: what a client says, and how it knows that the answer is complete.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// Longest time of one attack; one that takes longer counts as lost.
const PATIENCE: Duration = Duration::from_secs(20);
/// Most bytes of one answer.
const MOST: usize = 1 << 20;

/// One attack.
#[derive(Debug)]
pub(crate) struct Talk {
    /// Name of the service, prefix of its config keys.
    pub(crate) service: &'static str,
    /// What it is, for tables.
    pub(crate) title: &'static str,
    /// What is said and awaited, in order.
    pub(crate) turns: &'static [Turn],
}

/// One thing said, and the answer to it.
#[derive(Debug)]
pub(crate) struct Turn {
    /// Bytes sent; none where the server speaks first.
    pub(crate) send: &'static str,
    /// How every server's answer begins.
    pub(crate) starts: &'static str,
    /// When the answer is complete.
    pub(crate) until: Until,
}

/// When an answer is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// It ends with CR LF.
    Line,
    /// The server closed.
    Close,
}

/// All attacks.
pub(crate) static TALKS: &[Talk] = &[
    Talk {
        service: "ftp",
        title: "FTP login",
        turns: &[
            Turn { send: "", starts: "220", until: Until::Line },
            Turn { send: "USER admin\r\n", starts: "331", until: Until::Line },
            Turn { send: "PASS hunter2\r\n", starts: "530", until: Until::Line },
            Turn { send: "QUIT\r\n", starts: "221", until: Until::Close },
        ],
    },
    Talk {
        service: "http",
        title: "HTTP GET /index.html",
        turns: &[Turn {
            send: "GET /index.html HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nConnection: close\r\n\r\n",
            starts: "HTTP/1.1 200",
            until: Until::Close,
        }],
    },
    Talk {
        service: "redis",
        title: "Redis AUTH",
        turns: &[Turn { send: "*2\r\n$4\r\nAUTH\r\n$7\r\nhunter2\r\n", starts: "-", until: Until::Line }],
    },
];

/// The attack on a service.
pub(crate) fn named(service: &str) -> anyhow::Result<&'static Talk> {
    TALKS.iter().find(|talk| talk.service == service).ok_or_else(|| {
        let known: Vec<_> = TALKS.iter().map(|talk| talk.service).collect();
        anyhow::anyhow!("no attack on `{service}`; there are {}", known.join(", "))
    })
}

/// One of many addresses of this machine, so that neither ports nor a limit per source run out.
pub(crate) const fn source(number: usize) -> Ipv4Addr {
    // 250 addresses of 127.77.1.0/24; the remainder fits a byte.
    Ipv4Addr::new(127, 77, 1, 1 + (number % 250) as u8)
}

/// Connects from one of many addresses.
pub(crate) async fn connect(to: SocketAddr, number: usize) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(IpAddr::V4(source(number)), 0))?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Talk {
    /// Plays it once. Gives the answers.
    pub(crate) async fn play(&self, to: SocketAddr, number: usize) -> io::Result<Vec<Vec<u8>>> {
        tokio::time::timeout(PATIENCE, self.play_to_the_end(to, number)).await?
    }

    async fn play_to_the_end(&self, to: SocketAddr, number: usize) -> io::Result<Vec<Vec<u8>>> {
        let mut stream = connect(to, number).await?;
        let mut answers = Vec::with_capacity(self.turns.len());
        for turn in self.turns {
            stream.write_all(turn.send.as_bytes()).await?;
            let answer = answer(&mut stream, turn.until).await?;
            if !answer.starts_with(turn.starts.as_bytes()) {
                let begin = answer.get(..answer.len().min(60)).unwrap_or_default().escape_ascii();
                return Err(io::Error::other(format!("`{}` was answered with `{begin}`", turn.send.escape_debug())));
            }
            answers.push(answer);
        }
        Ok(answers)
    }
}

/// Reads one answer.
pub(crate) async fn answer(stream: &mut TcpStream, until: Until) -> io::Result<Vec<u8>> {
    let mut answer = Vec::with_capacity(4096);
    loop {
        let n = stream.read_buf(&mut answer).await?;
        match until {
            Until::Close if n == 0 => return Ok(answer),
            Until::Line if n == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            Until::Line if answer.ends_with(b"\r\n") => return Ok(answer),
            _ if answer.len() > MOST => return Err(io::Error::other("endless answer")),
            _ => {}
        }
    }
}
