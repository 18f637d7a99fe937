//! Lines of JSON to sockets of our own. What the connection does when a daemon restarts or dies is tried
//! in `syslog.rs`, since both share it.

use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::time::Duration;

use aviary_event::{PeerBytes, Value};
use serde_json::{Value as Json, json};

use crate::bench::{Setup, deliver_all, event, event_with, events, temporary};

const OPENCANARY: &str = "opencanary.logger.SocketJSONHandler";
const SOCKET: &str = "logging.handlers.SocketHandler";
const DATAGRAM: &str = "logging.handlers.DatagramHandler";

fn lines(stream: impl std::io::Read, count: usize) -> Vec<String> {
    BufReader::new(stream).lines().take(count).map(|line| line.expect("a line")).collect()
}

#[tokio::test]
async fn sends_the_line_alone_whatever_the_formatter_says() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    for (class, extended) in [(OPENCANARY, true), (SOCKET, false)] {
        let options = json!({"host": "127.0.0.1", "port": port});
        let mut output = Setup { format: "<%(name)s> %(message)s", extended, ..Setup::new(class, options) }.build();
        let odd = event_with(3, Value::Bytes(PeerBytes::from(b"a\n\xff\0\"}")));
        deliver_all(&mut output, &[event(1), event(2), odd.clone()]).await;
        let (stream, _) = listener.accept().expect("a connection");
        let expected: Vec<_> = [event(1), event(2), odd].iter().map(|event| event.to_line(extended)).collect();
        assert_eq!(lines(stream, 3), expected);
    }
}

#[tokio::test]
async fn keeps_order_and_loses_nothing_when_the_receiver_comes_back() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    let mut output = Setup::new(OPENCANARY, json!({"host": "127.0.0.1", "port": port})).build();
    deliver_all(&mut output, &events(1..=1)).await;
    let (stream, _) = listener.accept().expect("a connection");
    assert_eq!(lines(stream, 1).len(), 1);
    drop(listener);
    let (delivered, reason) = temporary(&mut output, &events(2..=3)).await;
    assert_eq!(delivered, 0);
    assert!(reason.starts_with(&format!("receiver at `127.0.0.1` port {port}: ")), "{reason}");
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the same port");
    deliver_all(&mut output, &events(2..=3)).await;
    let (stream, _) = listener.accept().expect("a connection");
    assert_eq!(lines(stream, 2), [event(2).to_line(true), event(3).to_line(true)]);
}

#[tokio::test]
async fn takes_paths_of_unix_sockets_as_python_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let options = |name: &str| -> Json { json!({"host": at(name), "port": null}) };
    let listener = UnixListener::bind(at("stream")).expect("a socket");
    deliver_all(&mut Setup::new(SOCKET, options("stream")).build(), &events(1..=1)).await;
    assert_eq!(lines(listener.accept().expect("a connection").0, 1), [event(1).to_line(true)]);

    let socket = UnixDatagram::bind(at("datagrams")).expect("a socket");
    deliver_all(&mut Setup::new(DATAGRAM, options("datagrams")).build(), &events(2..=2)).await;
    let mut buffer = [0; 2000];
    let length = socket.recv(&mut buffer).expect("a datagram");
    assert_eq!(String::from_utf8_lossy(&buffer[..length]), event(2).to_line(true));
}

#[tokio::test]
async fn sends_a_datagram_for_each_event() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a time limit");
    let port = socket.local_addr().expect("an address").port();
    let mut output = Setup::new(DATAGRAM, json!({"host": "127.0.0.1", "port": port})).build();
    deliver_all(&mut output, &events(1..=3)).await;
    let mut buffer = [0; 2000];
    for seq in 1..=3 {
        let length = socket.recv(&mut buffer).expect("a datagram");
        assert_eq!(String::from_utf8_lossy(&buffer[..length]), event(seq).to_line(true));
    }
}

#[tokio::test]
async fn null_takes_everything() {
    deliver_all(&mut Setup::new("logging.NullHandler", json!({})).build(), &events(1..=3)).await;
}

#[tokio::test]
async fn a_template_is_the_line() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    let template = "%(id)s %(username)s";
    let mut output = Setup::new(OPENCANARY, json!({"host": "127.0.0.1", "port": port, "template": template})).build();
    deliver_all(&mut output, &[event_with(1, "a\r\nb".into())]).await;
    let (stream, _) = listener.accept().expect("a connection");
    assert_eq!(lines(stream, 1), ["01990000-0000-7000-8000-000000000001 a\\r\\nb"]);
}
