//! The syslog output against sockets of our own and against rsyslog.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aviary_event::{Event, Value};
use aviary_output::{DeliveryError, Output};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::bench::{
    Running, Setup, deliver, deliver_all, event, event_with, events, have, seqs, start, temporary, until,
};

const FORMAT: &str = "opencanaryd[%(process)-5s:%(thread)d]: %(name)s %(levelname)-5s %(message)s";

fn output(options: serde_json::Value) -> Box<dyn Output> {
    Setup { format: FORMAT, ..Setup::new("logging.handlers.SysLogHandler", options) }.build()
}

fn tcp(port: u16) -> Box<dyn Output> {
    output(json!({"address": ["127.0.0.1", port], "socktype": "ext://socket.SOCK_STREAM"}))
}

/// The message for an event as it leaves, without framing.
fn message(seq: u64) -> String {
    let pid = std::process::id();
    format!("<12>opencanaryd[{pid:<5}:{pid}]: opencanary-1 WARNING {}", event(seq).to_line(true))
}

fn udp_receiver() -> (UdpSocket, u16) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a time limit");
    let port = socket.local_addr().expect("an address").port();
    (socket, port)
}

#[tokio::test]
async fn sends_a_datagram_for_each_event() {
    let (socket, port) = udp_receiver();
    let mut output = output(json!({"address": ["localhost", port]}));
    // `localhost` may be the IPv6 one first, where nobody listens; the next try takes the other.
    if deliver(&mut output, &events(1..=2)).await.is_none_or(|result| result.is_err()) {
        deliver_all(&mut output, &events(1..=2)).await;
    }
    let mut buffer = [0; 2000];
    for seq in 1..=2 {
        let length = socket.recv(&mut buffer).expect("a datagram");
        assert_eq!(String::from_utf8_lossy(&buffer[..length]), message(seq));
    }
}

#[tokio::test]
async fn notices_that_nobody_takes_its_datagrams() {
    let (socket, port) = udp_receiver();
    drop(socket);
    let mut output = output(json!({"address": ["127.0.0.1", port]}));
    let (delivered, reason) = temporary(&mut output, &events(1..=3)).await;
    assert_eq!(delivered, 0);
    assert!(reason.contains("Connection refused") && reason.contains(&format!("port {port}")), "{reason}");
    let socket = UdpSocket::bind(("127.0.0.1", port)).expect("the same port");
    deliver_all(&mut output, &events(1..=3)).await;
    let mut buffer = [0; 2000];
    let length = socket.recv(&mut buffer).expect("a datagram");
    assert_eq!(String::from_utf8_lossy(&buffer[..length]), message(1));
}

#[tokio::test]
async fn cuts_what_no_datagram_holds_and_says_so() {
    let (socket, port) = udp_receiver();
    let mut output = output(json!({"address": ["127.0.0.1", port]}));
    let batch = [event(1), event_with(2, Value::from("x".repeat(100_000)))];
    let Some(Err(failure)) = deliver(&mut output, &batch).await else { panic!("it cannot fit") };
    assert_eq!(failure.delivered, 1);
    assert!(matches!(failure.error, DeliveryError::Refused { .. }), "{}", failure.error);
    let mut buffer = vec![0; 100_000];
    assert_eq!(socket.recv(&mut buffer).expect("the first"), message(1).len());
    assert_eq!(socket.recv(&mut buffer).expect("the second"), 65_507);
    deliver_all(&mut output, &events(3..=3)).await;
}

#[tokio::test]
async fn says_which_name_does_not_resolve() {
    let mut output = output(json!({"address": ["no-such-host.invalid", 514]}));
    let (_, reason) = temporary(&mut output, &events(1..=1)).await;
    assert!(reason.starts_with("syslog at `no-such-host.invalid` port 514: cannot resolve"), "{reason}");
}

fn lines(reader: &mut impl BufReadLines, count: usize) -> Vec<String> {
    (0..count).map(|_| reader.line()).collect()
}

trait BufReadLines {
    fn line(&mut self) -> String;
}

impl<R: std::io::Read> BufReadLines for BufReader<R> {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.read_line(&mut line).expect("a line");
        line
    }
}

fn accept(listener: &TcpListener) -> BufReader<std::net::TcpStream> {
    let (stream, _) = listener.accept().expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time limit");
    BufReader::new(stream)
}

fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    (listener, port)
}

#[tokio::test]
async fn ends_messages_of_a_stream_with_a_newline() {
    let (listener, port) = listen();
    let mut output = tcp(port);
    deliver_all(&mut output, &events(1..=2)).await;
    let mut reader = accept(&listener);
    deliver_all(&mut output, &events(3..=3)).await;
    let expected: Vec<_> = (1..=3).map(|seq| message(seq) + "\n").collect();
    assert_eq!(lines(&mut reader, 3), expected);
}

#[tokio::test]
async fn loses_nothing_when_the_daemon_restarts() {
    let (listener, port) = listen();
    let mut output = tcp(port);
    deliver_all(&mut output, &events(1..=2)).await;
    let mut reader = accept(&listener);
    assert_eq!(lines(&mut reader, 2).len(), 2);
    // An orderly end: everything was read, but what was read just before may have died with the daemon.
    drop(reader);
    deliver_all(&mut output, &events(3..=3)).await;
    let mut reader = accept(&listener);
    assert_eq!(lines(&mut reader, 3), [message(1) + "\n", message(2) + "\n", message(3) + "\n"]);
    tokio::time::sleep(Duration::from_millis(2100)).await;
    drop(reader);
    deliver_all(&mut output, &events(4..=4)).await;
    let mut reader = accept(&listener);
    assert_eq!(reader.line(), message(4) + "\n", "what was read long ago does not come again");
    // And with nobody there at all, until somebody is again.
    drop((reader, listener));
    let (delivered, reason) = temporary(&mut output, &events(5..=6)).await;
    assert!(delivered == 0 && reason.contains("Connection refused"), "{reason}");
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the same port");
    deliver_all(&mut output, &events(5..=6)).await;
    assert_eq!(lines(&mut accept(&listener), 3), [message(4) + "\n", message(5) + "\n", message(6) + "\n"]);
}

#[tokio::test]
async fn sends_again_what_a_killed_daemon_had_not_read() {
    let (listener, port) = listen();
    let mut output = tcp(port);
    deliver_all(&mut output, &events(1..=1)).await;
    let reader = accept(&listener);
    deliver_all(&mut output, &events(2..=2)).await;
    // Closing with unread bytes resets the connection.
    drop(reader);
    deliver_all(&mut output, &events(3..=3)).await;
    let expected: Vec<_> = (1..=3).map(|seq| message(seq) + "\n").collect();
    assert_eq!(lines(&mut accept(&listener), 3), expected);
}

#[tokio::test]
async fn notices_in_idle_that_a_killed_daemon_had_not_read() {
    let (listener, port) = listen();
    let mut output = tcp(port);
    deliver_all(&mut output, &events(1..=2)).await;
    let reader = accept(&listener);
    assert!(timeout(Duration::from_millis(50), output.in_doubt()).await.is_err(), "all is well");
    drop(reader);
    timeout(Duration::from_secs(5), output.in_doubt()).await.expect("the reset is noticed");
    assert!(matches!(deliver(&mut output, &[]).await, Some(Ok(()))), "sent again");
    assert_eq!(lines(&mut accept(&listener), 2), [message(1) + "\n", message(2) + "\n"]);
}

#[tokio::test]
async fn who_speaks_and_ends_is_no_daemon() {
    let (listener, port) = listen();
    let mut output = tcp(port);
    let page = "HTTP/1.1 400 Bad Request\r\n\r\n";
    let answer = |listener: &TcpListener| {
        let listener = listener.try_clone().expect("a handle");
        std::thread::spawn(move || {
            let mut reader = accept(&listener);
            reader.line();
            reader.get_mut().write_all(page.as_bytes()).expect("an answer");
        })
    };
    for _ in 0..6 {
        let peer = answer(&listener);
        let reason = failed(&mut output, &events(1..=1)).await;
        peer.join().expect("no panic");
        assert!(reason.contains("it said `HTTP/1.1 400 Bad Request` and"), "{reason}");
    }
    deliver_all(&mut output, &events(1..=1)).await;
    assert_eq!(accept(&listener).line(), message(1) + "\n");
}

/// The reason of a failure that comes at once, or a moment later in idle.
async fn failed(output: &mut Box<dyn Output>, batch: &[Arc<Event>]) -> String {
    if let Some(Err(failure)) = deliver(output, batch).await {
        return failure.error.to_string();
    }
    timeout(Duration::from_secs(5), output.in_doubt()).await.expect("the end is noticed");
    temporary(output, &[]).await.1
}

/// Reads what comes first on each connection and ends it; gives what came on each.
fn one_read_each(listener: TcpListener) -> Arc<Mutex<Vec<String>>> {
    let came = Arc::<Mutex<Vec<String>>>::default();
    let keep = Arc::clone(&came);
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut bytes = vec![0; 65_536];
            let count = stream.read(&mut bytes).unwrap_or(0);
            keep.lock().expect("no panic").push(String::from_utf8_lossy(&bytes[..count]).into_owned());
        }
    });
    came
}

#[tokio::test]
async fn takes_a_daemon_that_ends_every_connection() {
    let (listener, port) = listen();
    let mut output = tcp(port);
    let came = one_read_each(listener);
    for seq in 1..=6 {
        let mut tries = 0;
        while !matches!(deliver(&mut output, &events(seq..=seq)).await, Some(Ok(()))) {
            tries += 1;
            assert!(tries < 10, "it never counts as delivered");
        }
        // On a busy machine the end comes later.
        while timeout(Duration::from_millis(50), output.in_doubt()).await.is_ok() {
            let _ = deliver(&mut output, &[]).await;
        }
    }
    let came = came.lock().expect("no panic").concat();
    for seq in 1..=6 {
        let times = came.matches(&message(seq)).count();
        // By the fifth it is known that this is its habit.
        assert!(if seq < 5 { times > 0 } else { times == 1 }, "{seq} came {times} times");
    }
}

#[tokio::test]
async fn believes_no_sudden_end_of_a_daemon_that_stays() {
    let (listener, port) = listen();
    let mut output = tcp(port);
    deliver_all(&mut output, &events(1..=1)).await;
    deliver_all(&mut output, &events(2..=2)).await;
    drop(accept(&listener));
    timeout(Duration::from_secs(5), output.in_doubt()).await.expect("the end is noticed");
    let second = listener.try_clone().expect("a handle");
    let came = one_read_each(second);
    for _ in 0..6 {
        let delivered = deliver(&mut output, &events(3..=3)).await;
        // The end came late: it was noticed, and what was sent comes again.
        if matches!(delivered, Some(Ok(()))) {
            timeout(Duration::from_secs(5), output.in_doubt()).await.expect("the end is noticed");
            return;
        }
    }
    let came = came.lock().expect("no panic").clone();
    assert!(came.len() >= 6 && came.iter().all(|text| text.contains(&message(3))), "{came:?}");
}

#[tokio::test]
async fn writes_to_unix_sockets_of_both_kinds() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("datagrams");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    let mut sender = output(json!({"address": path, "append_nul": true}));
    deliver_all(&mut sender, &events(1..=1)).await;
    let mut buffer = [0; 2000];
    let length = socket.recv(&mut buffer).expect("a datagram");
    assert_eq!(String::from_utf8_lossy(&buffer[..length]), message(1) + "\0");
    // The daemon starts anew.
    drop(socket);
    fs::remove_file(&path).expect("it goes");
    temporary(&mut sender, &events(2..=2)).await;
    let socket = UnixDatagram::bind(&path).expect("a socket");
    deliver_all(&mut sender, &events(2..=2)).await;
    assert!(socket.recv(&mut buffer).expect("a datagram") > 0);

    let path = folder.path().join("stream");
    let listener = UnixListener::bind(&path).expect("a socket");
    let mut sender = output(json!({"address": path}));
    deliver_all(&mut sender, &events(1..=2)).await;
    let mut reader = BufReader::new(listener.accept().expect("a connection").0);
    assert_eq!(lines(&mut reader, 2), [message(1) + "\n", message(2) + "\n"]);
}

/// rsyslog with UDP, TCP and a Unix socket, writing what it got to a file.
struct Rsyslog {
    folder: TempDir,
    port: u16,
    running: Option<Running>,
}

impl Rsyslog {
    fn new() -> Self {
        let (_, port) = listen();
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().display();
        let config = format!(
            r#"global(workDirectory="{path}" maxMessageSize="128k")
module(load="imudp") module(load="imtcp") module(load="imuxsock" SysSock.Use="off")
input(type="imudp" port="{port}" address="127.0.0.1")
input(type="imtcp" port="{port}" address="127.0.0.1")
input(type="imuxsock" Socket="{path}/log.sock" UseSysTimeStamp="off")
template(name="raw" type="string" string="%rawmsg%\n")
action(type="omfile" file="{path}/got" template="raw")
"#
        );
        fs::write(folder.path().join("rsyslog.conf"), config).expect("a config");
        let mut made = Self { folder, port, running: None };
        made.start();
        made
    }

    fn start(&mut self) {
        let of = |name: &str| self.folder.path().join(name).display().to_string();
        let _ = fs::remove_file(self.folder.path().join("pid"));
        let arguments = ["-n", "-f", &of("rsyslog.conf"), "-i", &of("pid")];
        self.running = Some(start("rsyslogd", &arguments));
    }

    async fn ready(&self) {
        let port = self.port;
        until("rsyslog to listen", || std::net::TcpStream::connect(("127.0.0.1", port)).ok()).await;
        let socket = self.socket();
        until("rsyslog's socket", || socket.exists().then_some(())).await;
    }

    fn socket(&self) -> std::path::PathBuf {
        self.folder.path().join("log.sock")
    }

    /// The lines once there are so many.
    async fn lines(&self, count: usize) -> Vec<String> {
        let path = self.folder.path().join("got");
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        let text = until("rsyslog's file", || Some(read(&path)).filter(|text| text.lines().count() >= count)).await;
        text.lines().map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn rsyslog_takes_all_three_ways() {
    if !have("rsyslogd") {
        return;
    }
    let daemon = Rsyslog::new();
    daemon.ready().await;
    let address = json!(["127.0.0.1", daemon.port]);
    let mut ways = [
        output(json!({"address": address})),
        output(json!({"address": address, "socktype": 1, "facility": "local0"})),
        output(json!({"address": daemon.socket()})),
    ];
    for (way, output) in ways.iter_mut().enumerate() {
        let from = way as u64 * 100;
        deliver_all(output, &events(from..from + 100)).await;
        let lines = daemon.lines((way + 1) * 100).await;
        let news = &lines[way * 100..];
        assert_eq!(seqs(&news.join("\n")), (from..from + 100).collect::<Vec<_>>());
        let priority = if way == 1 { "<132>" } else { "<12>" };
        assert_eq!(news[0], message(from).replacen("<12>", priority, 1));
    }
}

#[tokio::test]
async fn rsyslog_gets_every_line_over_tcp_across_restarts() {
    if !have("rsyslogd") {
        return;
    }
    let mut daemon = Rsyslog::new();
    daemon.ready().await;
    let mut output = tcp(daemon.port);
    for round in 0..3_u64 {
        let path = daemon.folder.path().join("got");
        let seen = || Some(seqs(&fs::read_to_string(&path).ok()?).into_iter().collect::<BTreeSet<_>>());
        deliver_all(&mut output, &events(round * 10..round * 10 + 5)).await;
        // What a daemon had read and not written when it was killed is lost: it ends the connection as if all were well.
        until("the first lines", || seen().filter(|seen| seen.len() as u64 == round * 10 + 5)).await;
        daemon.running = None;
        let (_, reason) = temporary(&mut output, &events(round * 10 + 5..round * 10 + 10)).await;
        assert!(reason.contains("refused") || reason.contains("reset"), "{reason}");
        daemon.start();
        daemon.ready().await;
        deliver_all(&mut output, &events(round * 10 + 5..round * 10 + 10)).await;
        // Some may come twice, since nobody knows what a killed daemon had written.
        let all = round * 10 + 10;
        until("every line", || seen().filter(|seen| seen.len() as u64 == all)).await;
    }
}
