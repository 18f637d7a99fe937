//! `aviary.syslog` against sockets of our own, with and without TLS, and against rsyslog with GnuTLS.

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aviary_output::Output;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value as Json, json};

use crate::bench::{Running, Setup, deliver, deliver_all, event, events, have, seqs, start, temporary, until};

fn output(options: Json) -> Box<dyn Output> {
    Setup::new("aviary.syslog", options).build()
}

/// The messages of a stream with octet counting, and what is left.
fn counted(mut bytes: &[u8]) -> (Vec<String>, &[u8]) {
    let mut messages = Vec::new();
    while let Some(space) = bytes.iter().position(|byte| *byte == b' ') {
        let length: usize = String::from_utf8_lossy(&bytes[..space]).parse().expect("a length");
        let Some(message) = bytes.get(space + 1..space + 1 + length) else { break };
        messages.push(String::from_utf8(message.to_vec()).expect("UTF-8"));
        bytes = &bytes[space + 1 + length..];
    }
    (messages, bytes)
}

fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    (listener, port)
}

#[tokio::test]
async fn counts_the_octets_of_each_message() {
    let (listener, port) = listen();
    let mut output = output(json!({"address": ["127.0.0.1", port], "transport": "tcp"}));
    deliver_all(&mut output, &events(1..=3)).await;
    drop(output);
    let mut bytes = Vec::new();
    let mut stream = listener.accept().expect("a connection").0.take(1 << 20);
    std::io::copy(&mut stream, &mut bytes).expect("bytes");
    let (messages, rest) = counted(&bytes);
    assert!(rest.is_empty() && messages.len() == 3);
    for (message, seq) in messages.iter().zip(1..) {
        assert!(message.starts_with("<11>1 2026-11-22T22:00:0") && message.contains(&format!(" seq=\"{seq}\" ")));
        assert!(message.ends_with(&event(seq).to_line(true)), "{message}");
    }
}

#[tokio::test]
async fn ends_messages_with_a_newline_when_asked() {
    let (listener, port) = listen();
    for options in [json!({"framing": "newline"}), json!({"protocol": "rfc3164", "message": "leef"})] {
        let mut options = options;
        options["address"] = json!(["127.0.0.1", port]);
        options["transport"] = json!("tcp");
        let mut output = output(options);
        deliver_all(&mut output, &events(1..=2)).await;
        drop(output);
        let mut text = String::new();
        listener.accept().expect("a connection").0.read_to_string(&mut text).expect("text");
        assert!(text.lines().count() == 2 && text.ends_with("\n") && text.starts_with("<11>"), "{text}");
    }
}

/// A certificate for `localhost`, which says that it is an authority as most self-signed ones do, the
/// file that says to trust it, and a server with it.
fn certificate(folder: &Path) -> (Arc<ServerConfig>, Json) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let signing_key = rcgen::KeyPair::generate().expect("a key");
    let made = params.self_signed(&signing_key).expect("a certificate");
    fs::write(folder.join("ca.pem"), made.pem()).expect("a file");
    fs::write(folder.join("key.pem"), signing_key.serialize_pem()).expect("a file");
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    let tls = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.der().clone()], key.into())
        .expect("a TLS server");
    (Arc::new(tls), json!(folder.join("ca.pem")))
}

/// Reads all that comes over TLS, connection by connection, until told to end one.
struct Receiver {
    got: Arc<Mutex<Vec<Vec<u8>>>>,
    port: u16,
}

impl Receiver {
    /// Ends each connection after so many bytes, with or without TLS's farewell.
    fn start(tls: Arc<ServerConfig>, end_after: Option<usize>, farewell: bool) -> Self {
        let (listener, port) = listen();
        let got = Arc::new(Mutex::new(Vec::<Vec<u8>>::new()));
        let shared = Arc::clone(&got);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let connection = ServerConnection::new(Arc::clone(&tls)).expect("a TLS server");
                let mut stream = StreamOwned::new(connection, stream);
                shared.lock().expect("no panic").push(Vec::new());
                let mut buffer = [0; 4096];
                let mut count = 0;
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    count += length;
                    shared.lock().expect("no panic").last_mut().expect("a connection").extend(&buffer[..length]);
                    if end_after.is_some_and(|end| count >= end) {
                        break;
                    }
                }
                if farewell {
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                }
            }
        });
        Self { got, port }
    }

    fn messages(&self) -> Vec<String> {
        self.got.lock().expect("no panic").iter().flat_map(|bytes| counted(bytes).0).collect()
    }

    fn output(&self, verify: &Json) -> Box<dyn Output> {
        output(json!({"address": ["localhost", self.port], "transport": "tls", "verify": verify}))
    }
}

#[tokio::test]
async fn speaks_tls_to_whom_the_file_trusts() {
    let folder = tempfile::tempdir().expect("a folder");
    let (tls, trusted) = certificate(folder.path());
    let receiver = Receiver::start(tls, None, true);
    let (_, reason) = temporary(&mut receiver.output(&json!(true)), &events(1..=1)).await;
    assert!(reason.contains("invalid peer certificate"), "{reason}");
    let (_, reason) = temporary(&mut receiver.output(&json!("/no/such.pem")), &events(1..=1)).await;
    assert!(reason.contains("`/no/such.pem`: No such file"), "{reason}");
    let other = tempfile::tempdir().expect("a folder");
    let (_, reason) = temporary(&mut receiver.output(&certificate(other.path()).1), &events(1..=1)).await;
    assert!(reason.contains("invalid peer certificate"), "{reason}");
    let mut output = receiver.output(&trusted);
    deliver_all(&mut output, &events(1..=70)).await;
    deliver_all(&mut output, &events(71..=71)).await;
    let mut careless = receiver.output(&json!(false));
    drop(output);
    deliver_all(&mut careless, &events(72..=72)).await;
    let messages = until("every message", || Some(receiver.messages()).filter(|got| got.len() == 72)).await;
    assert!(messages[71].contains(" seq=\"72\" "));
}

#[tokio::test]
async fn loses_nothing_when_a_tls_receiver_ends_connections() {
    let folder = tempfile::tempdir().expect("a folder");
    let (tls, trusted) = certificate(folder.path());
    for farewell in [true, false] {
        let receiver = Receiver::start(Arc::clone(&tls), Some(1), farewell);
        let mut output = receiver.output(&trusted);
        for seq in 1..=5 {
            let mut tries = 0;
            // That it ends every connection has to be learned.
            while !matches!(deliver(&mut output, &events(seq..=seq)).await, Some(Ok(()))) {
                tries += 1;
                assert!(tries < 10, "it never counts as delivered");
            }
            // The connection's end has arrived before the next message goes out.
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        let all = |receiver: &Receiver| {
            let mut first_sights = Vec::new();
            for message in receiver.messages() {
                let seq = seqs(&message)[0];
                if !first_sights.contains(&seq) {
                    first_sights.push(seq);
                }
            }
            Some(first_sights).filter(|all| all.last() == Some(&5))
        };
        assert_eq!(until("every message", || all(&receiver)).await, [1, 2, 3, 4, 5], "farewell: {farewell}");
    }
}

#[tokio::test]
async fn does_not_wait_for_ever_for_a_tls_handshake() {
    let (listener, port) = listen();
    let mut output = output(json!({"address": ["127.0.0.1", port], "transport": "tls", "verify": false}));
    let (_, reason) = temporary(&mut output, &events(1..=1)).await;
    assert!(reason.contains("cannot connect: timed out"), "{reason}");
    drop(listener);
}

#[tokio::test]
async fn says_that_the_peer_speaks_no_tls() {
    let (listener, port) = listen();
    let garbage = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        stream.write_all(b"220 welcome to something else entirely\r\n")
    });
    let mut output = output(json!({"address": ["127.0.0.1", port], "transport": "tls", "verify": false}));
    let (_, reason) = temporary(&mut output, &events(1..=1)).await;
    assert!(reason.contains("corrupt message"), "{reason}");
    drop(garbage.join());
}

/// rsyslog with octet counting over TCP and, in another process, over TLS.
struct Rsyslog {
    folder: tempfile::TempDir,
    port: u16,
    running: Option<Running>,
}

impl Rsyslog {
    fn new(secure: bool) -> (Self, Json) {
        let folder = tempfile::tempdir().expect("a folder");
        let (_, trusted) = certificate(folder.path());
        let (_, port) = listen();
        let path = folder.path().display();
        let (globals, module) = if secure {
            (
                format!(
                    r#"defaultNetstreamDriver="gtls" defaultNetstreamDriverCAFile="{path}/ca.pem" defaultNetstreamDriverCertFile="{path}/ca.pem" defaultNetstreamDriverKeyFile="{path}/key.pem""#
                ),
                r#"StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="anon""#,
            )
        } else {
            (String::new(), "")
        };
        let template = "%hostname%|%app-name%|%msgid%|%structured-data%|%syslogseverity%|%msg%";
        let config = format!(
            r#"global(workDirectory="{path}" maxMessageSize="128k" {globals})
module(load="imtcp" {module})
input(type="imtcp" port="{port}" address="127.0.0.1")
template(name="parts" type="string" string="{template}\n")
action(type="omfile" file="{path}/got" template="parts")
"#
        );
        fs::write(folder.path().join("rsyslog.conf"), config).expect("a config");
        let mut made = Self { folder, port, running: None };
        made.start();
        (made, trusted)
    }

    fn start(&mut self) {
        let of = |name: &str| self.folder.path().join(name).display().to_string();
        let _ = fs::remove_file(self.folder.path().join("pid"));
        self.running = Some(start("rsyslogd", &["-n", "-f", &of("rsyslog.conf"), "-i", &of("pid")]));
    }

    async fn ready(&self) {
        let port = self.port;
        until("rsyslog to listen", || match TcpStream::connect(("127.0.0.1", port)) {
            Ok(_) => Some(()),
            Err(error) => (error.kind() != ErrorKind::ConnectionRefused).then_some(()),
        })
        .await;
    }

    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join("got")).unwrap_or_default();
        text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(|line| line.trim_end().to_owned()).collect()
    }
}

#[tokio::test]
async fn rsyslog_reads_every_part_over_tcp_and_tls_across_restarts() {
    if !have("rsyslogd") {
        return;
    }
    let gnutls = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64"]
        .iter()
        .any(|folder| Path::new(folder).join("rsyslog/lmnsd_gtls.so").exists());
    for secure in [false, true] {
        if secure && !gnutls {
            println!("skipped: `rsyslog-gnutls` is not installed");
            continue;
        }
        let (mut daemon, trusted) = Rsyslog::new(secure);
        daemon.ready().await;
        let transport = if secure { "tls" } else { "tcp" };
        let options = json!({"address": ["localhost", daemon.port], "transport": transport, "verify": trusted});
        let mut output = output(options);
        for round in 0..2_u64 {
            deliver_all(&mut output, &events(round * 10..round * 10 + 5)).await;
            let all = usize::try_from(round * 10 + 5).expect("a small number");
            until("the first half", || (daemon.lines().len() >= all).then_some(())).await;
            daemon.running = None;
            temporary(&mut output, &events(round * 10 + 5..round * 10 + 10)).await;
            daemon.start();
            daemon.ready().await;
            deliver_all(&mut output, &events(round * 10 + 5..round * 10 + 10)).await;
        }
        let seen = || {
            let lines = daemon.lines();
            let seen: BTreeSet<u64> = lines.iter().flat_map(|line| seqs(line)).collect();
            (seen.len() == 20).then_some(lines)
        };
        let lines = until("every line", seen).await;
        let parts: Vec<_> = lines[3].splitn(6, '|').collect();
        assert_eq!(parts[..3], ["opencanary-1", "opencanaryd", "2000"]);
        assert!(
            parts[3].starts_with("[aviary@32473 id=\"01990000-0000-7000-8000-000000000003\" seq=\"3\""),
            "{}",
            parts[3]
        );
        assert_eq!((parts[4], parts[5]), ("3", event(3).to_line(true).as_str()));
    }
}
