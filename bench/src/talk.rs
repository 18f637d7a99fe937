//! The attacks: what a client says, and how it knows that the answer is complete.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::LazyLock;
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
    pub(crate) turns: Vec<Turn>,
    /// Keys that canary and OpenCanary are given, so that both say much the same.
    pub(crate) settings: &'static [(&'static str, &'static str)],
}

/// One thing said, and the answer to it.
#[derive(Debug)]
pub(crate) struct Turn {
    /// Bytes sent; none where the server speaks first.
    pub(crate) send: Vec<u8>,
    /// How every server's answer begins.
    pub(crate) starts: &'static [u8],
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
    /// It has so many bytes.
    Bytes(usize),
    /// It is a packet of MySQL: three bytes of length, a number, and so many bytes.
    MySql,
    /// It is a packet of TDS: the length of all of it stands in its third and fourth byte.
    Tds,
}

impl Until {
    fn is_there(self, answer: &[u8]) -> bool {
        match self {
            Self::Close => false,
            Self::Line => answer.ends_with(b"\r\n"),
            Self::Bytes(length) => answer.len() >= length,
            Self::MySql => match answer {
                [a, b, c, ..] => answer.len() >= 4 + usize::from(*a) + (usize::from(*b) << 8) + (usize::from(*c) << 16),
                _ => false,
            },
            Self::Tds => match answer {
                [_, _, a, b, ..] => answer.len() >= usize::from(u16::from_be_bytes([*a, *b])),
                _ => false,
            },
        }
    }
}

/// All attacks.
pub(crate) static TALKS: LazyLock<Vec<Talk>> = LazyLock::new(|| {
    vec![
        Talk {
            service: "ftp",
            title: "FTP login",
            turns: vec![
                turn("", b"220", Until::Line),
                turn("USER admin\r\n", b"331", Until::Line),
                turn("PASS hunter2\r\n", b"530", Until::Line),
                turn("QUIT\r\n", b"221", Until::Close),
            ],
            settings: &[],
        },
        Talk {
            service: "http",
            title: "HTTP GET /index.html",
            turns: vec![turn(
                "GET /index.html HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nConnection: close\r\n\r\n",
                b"HTTP/1.1 200",
                Until::Close,
            )],
            settings: &[],
        },
        Talk {
            service: "redis",
            title: "Redis AUTH",
            turns: vec![turn("*2\r\n$4\r\nAUTH\r\n$7\r\nhunter2\r\n", b"-", Until::Line)],
            settings: &[],
        },
        Talk {
            service: "mysql",
            title: "MySQL login",
            turns: vec![turn("", b"", Until::MySql), turn(mysql_login(), b"", Until::Close)],
            settings: &[("mysql.banner", "5.7.44")],
        },
        Talk {
            service: "mssql",
            title: "MSSQL login",
            turns: vec![turn(tds_prelogin(), b"\x04\x01", Until::Tds), turn(tds_login(), b"\x04\x01", Until::Tds)],
            settings: &[("mssql.version", "2014")],
        },
        Talk {
            service: "vnc",
            title: "VNC login",
            turns: vec![
                turn("", b"RFB 003.008\n", Until::Bytes(12)),
                // The list of security types: its length, and types; only one is offered.
                turn("RFB 003.008\n", b"\x01\x02", Until::Bytes(2)),
                turn([2], b"", Until::Bytes(16)),
                turn([0x5a; 16], b"\0\0\0\x01", Until::Close),
            ],
            // All logins come from one source, and TigerVNC waits before it refuses.
            settings: &[("vnc.blacklist", "0"), ("vnc.login_delay", "0")],
        },
    ]
});

fn turn(send: impl AsRef<[u8]>, starts: &'static [u8], until: Until) -> Turn {
    Turn { send: send.as_ref().to_vec(), starts, until }
}

/// HandshakeResponse41 of `root` with a response of 20 bytes for `mysql_native_password`.
fn mysql_login() -> Vec<u8> {
    // LONG_PASSWORD, PROTOCOL_41, SECURE_CONNECTION, PLUGIN_AUTH.
    let mut body = 0x0008_8201_u32.to_le_bytes().to_vec();
    body.extend(0x0100_0000_u32.to_le_bytes());
    body.push(33);
    body.extend([0; 23]);
    body.extend(b"root\0\x14");
    body.extend([0x5a; 20]);
    body.extend(b"mysql_native_password\0");
    let mut packet = u32::try_from(body.len()).unwrap_or(0).to_le_bytes()[..3].to_vec();
    packet.push(1);
    packet.extend(body);
    packet
}

/// PRELOGIN with a version and no encryption.
fn tds_prelogin() -> Vec<u8> {
    tds(0x12, b"\x00\x00\x0b\x00\x06\x01\x00\x11\x00\x01\xff\x09\x00\x00\x00\x00\x00\x02")
}

/// LOGIN7 of TDS 7.2: the fixed part of 94 bytes, then names in UTF-16.
fn tds_login() -> Vec<u8> {
    let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let hidden: Vec<u8> = wide("hunter2").iter().map(|byte| byte.rotate_left(4) ^ 0xa5).collect();
    let texts =
        [wide("host"), wide("sa"), hidden, wide("bench"), wide("server"), vec![], wide("ODBC"), vec![], wide("master")];
    let mut fixed = vec![0; 4];
    fixed.extend(0x7209_0002_u32.to_le_bytes());
    fixed.extend(4096_u32.to_le_bytes());
    fixed.extend([0; 24]);
    let (mut data, mut fields) = (Vec::<u8>::new(), Vec::<u8>::new());
    for text in &texts {
        fields.extend(u16::try_from(94 + data.len()).unwrap_or(0).to_le_bytes());
        fields.extend(u16::try_from(text.len() / 2).unwrap_or(0).to_le_bytes());
        data.extend(text);
    }
    let end = u16::try_from(94 + data.len()).unwrap_or(0).to_le_bytes();
    fixed.extend(fields);
    // ClientID, then SSPI, attached file, new password, long SSPI: nothing.
    fixed.extend([0; 6]);
    for _ in 0..3 {
        fixed.extend([end[0], end[1], 0, 0]);
    }
    fixed.extend([0; 4]);
    fixed.extend(data);
    let length = u32::try_from(fixed.len()).unwrap_or(0).to_le_bytes();
    fixed[..4].copy_from_slice(&length);
    tds(0x10, &fixed)
}

/// A packet: kind, last of its message, length, channel, number, window.
fn tds(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 8).unwrap_or(0).to_be_bytes();
    [&[kind, 1, length[0], length[1], 0, 0, 1, 0], body].concat()
}

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
        for turn in &self.turns {
            stream.write_all(&turn.send).await?;
            let answer = answer(&mut stream, turn.until).await?;
            if !answer.starts_with(turn.starts) {
                let begin = answer.get(..answer.len().min(60)).unwrap_or_default().escape_ascii();
                return Err(io::Error::other(format!("`{}` was answered with `{begin}`", turn.send.escape_ascii())));
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
            _ if until.is_there(&answer) => return Ok(answer),
            _ if n == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ if answer.len() > MOST => return Err(io::Error::other("endless answer")),
            _ => {}
        }
    }
}
