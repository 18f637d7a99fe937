//! Real receivers: nats-server with a JetStream stream, and ClickHouse's engine behind the tests' HTTP interface.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::servers::{Server, free_port, here};

/// Where the table is described.
const PAGE: &str = "docs/outputs/siem.md";
/// ClickHouse's HTTP interface as the tests have it.
const INTERFACE: &str = "tests/clients/fake_clickhouse.py";
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who may log in at [`clickhouse`].
pub(crate) const LOGIN: (&str, &str) = ("canary", "secret");

/// Starts nats-server with a stream in a file for all that canaries say. Gives its port.
pub(crate) fn jetstream(program: &Path) -> anyhow::Result<(Server, u16)> {
    let folder = tempfile::tempdir()?;
    let port = free_port()?;
    let mut command = Command::new(program);
    command.args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"]).arg(folder.path().join("store"));
    let mut server = Server::spawn(command, folder)?;
    server.await_port(port)?;
    let mut stream = TcpStream::connect(here(port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let wanted = r#"{"name": "BENCH", "subjects": ["canary.>"], "storage": "file", "retention": "limits"}"#;
    let subject = "$JS.API.STREAM.CREATE.BENCH";
    write!(stream, "CONNECT {{\"verbose\":false}}\r\nSUB answer 1\r\n")?;
    write!(stream, "PUB {subject} answer {}\r\n{wanted}\r\n", wanted.len())?;
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let Some(answer) = lines.skip_while(|line| !line.starts_with("MSG ")).nth(1) else {
        bail!("nats-server did not answer: {}", server.said());
    };
    if answer.contains("\"error\"") {
        bail!("nats-server made no stream: {answer}");
    }
    Ok((server, port))
}

/// Starts ClickHouse's engine with the table of the documents. Gives its port.
pub(crate) fn clickhouse(python: &Path) -> anyhow::Result<(Server, u16)> {
    let page = std::fs::read_to_string(PAGE).with_context(|| format!("{PAGE} is missing"))?;
    let table = page.split("```").find_map(|block| block.find("CREATE TABLE aviary_events").map(|at| &block[at..]));
    let table = table.with_context(|| format!("{PAGE} has no table"))?.trim().trim_end_matches(';');
    let folder = tempfile::tempdir()?;
    let port = free_port()?;
    // Not followed where it is a link, which would lead out of its environment.
    let mut command = Command::new(std::path::absolute(python)?);
    command.arg(Path::new(INTERFACE).canonicalize()?).arg(port.to_string()).arg(folder.path().join("store"));
    let mut server = Server::spawn(command, folder)?;
    server.await_port(port)?;
    let mut stream = TcpStream::connect(here(port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let (user, password) = LOGIN;
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: bench\r\nX-ClickHouse-User: {user}\r\nX-ClickHouse-Key: {password}\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{table}",
        table.len()
    )?;
    let mut answer = [0; 1024];
    let count = stream.read(&mut answer)?;
    let answer = String::from_utf8_lossy(answer.get(..count).unwrap_or_default()).into_owned();
    if !answer.starts_with("HTTP/1.1 200") {
        bail!("ClickHouse made no table: {answer}");
    }
    Ok((server, port))
}
