//! Ways in beside HTTP, over real sockets.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aviary_hub::{Hub, Scope, Token, Way, Ways, make_token, own_certificate};
use aviary_store::{Document, EventQuery, EventRow};
use rustls::pki_types::ServerName;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{sleep, timeout};

use crate::{foreign, fresh, now};

const DEADLINE: Duration = Duration::from_secs(60);
const TIME: &str = "2026-11-24 23:59:58.250000";

/// A hub with every way open.
struct Open {
    folder: TempDir,
    hub: Arc<Hub>,
    addresses: Vec<SocketAddr>,
}

#[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
async fn open() -> Open {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (folder, hub) = fresh().await;
    let hub = Arc::new(hub);
    let now = aviary_hub::clock::now;
    let authority = aviary_hub::Authority::open(folder.path(), now()).expect("an authority");
    let certificate =
        own_certificate(folder.path(), &["localhost".to_owned()], &authority, now()).expect("a certificate");
    let mut ways = Ways::default();
    for way in [Way::Lines, Way::SyslogUdp, Way::SyslogTcp, Way::SyslogTls] {
        ways.open(way, "127.0.0.1:0".parse().expect("an address")).await.expect("open");
    }
    let addresses = ways.addresses().iter().map(|(_, address)| *address).collect();
    drop(tokio::spawn(ways.run(Arc::clone(&hub), Some(certificate.config), pending())));
    Open { folder, hub, addresses }
}

impl Open {
    /// Says that a sensor sends from everywhere on this machine.
    async fn know(&self, sensor: &str, nodes: &[&str]) {
        let body = json!({"networks": ["127.0.0.0/8"], "nodes": nodes});
        let document = Document { kind: "sender".to_owned(), key: sensor.to_owned(), version: 0, body };
        self.hub.store().put(document, "test".to_owned(), now()).await.expect("an answer").expect("written");
        self.hub.reload().await.expect("reloaded");
    }

    async fn token(&self, sensor: &str) -> String {
        let (scopes, sensor) = (vec![Scope::Ingest], Some(sensor.to_owned()));
        let token = Token { name: "test".to_owned(), scopes, sensor, site: String::new(), nodes: Vec::new() };
        make_token(self.hub.store().as_ref(), &token, "test", now()).await.expect("a token")
    }

    /// Waits for this many events.
    async fn events(&self, count: usize) -> Vec<EventRow> {
        let found = timeout(DEADLINE, async {
            loop {
                let query = EventQuery { limit: 100, ..EventQuery::default() };
                let rows = self.hub.store().events(query).await.expect("a page").rows;
                if rows.len() >= count {
                    return rows;
                }
                sleep(Duration::from_millis(20)).await;
            }
        });
        let rows = found.await.expect("the events");
        assert_eq!(rows.len(), count);
        rows
    }

    async fn connect(&self, way: usize) -> TcpStream {
        TcpStream::connect(self.addresses[way]).await.expect("a connection")
    }
}

/// An event in one line.
fn event(source: &str) -> String {
    foreign(source, TIME).replace("\n        ", " ")
}

fn sensors(rows: &[EventRow]) -> Vec<&str> {
    let mut sensors: Vec<&str> = rows.iter().map(|row| row.sensor.as_str()).collect();
    sensors.sort_unstable();
    sensors
}

/// Waits until the hub ends a connection.
async fn ended(mut stream: TcpStream) {
    let read = timeout(DEADLINE, stream.read(&mut [0; 1])).await.expect("an end");
    assert!(!matches!(read, Ok(1..)), "the hub says something");
}

#[tokio::test]
async fn every_way_brings_events_of_a_sender_that_is_known_by_its_address() {
    let open = open().await;
    open.know("north", &[]).await;
    let mut lines = open.connect(0).await;
    lines.write_all(format!("{}\n{}\n", event("10.0.0.1"), event("10.0.0.2")).as_bytes()).await.expect("sent");
    let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let old = format!("<14>Nov 24 23:59:58 host opencanary[7]: {}", event("10.0.0.3"));
    udp.send_to(old.as_bytes(), open.addresses[1]).await.expect("sent");
    let mut tcp = open.connect(2).await;
    let new = format!("<14>1 2026-11-24T23:59:58Z host app 7 - - {}", event("10.0.0.4"));
    let framed = format!("{} {new}<14>{}\0", new.len(), event("10.0.0.5"));
    tcp.write_all(framed.as_bytes()).await.expect("sent");
    let mut roots = rustls::RootCertStore::empty();
    let pem = std::fs::read(open.folder.path().join("ca.crt")).expect("a certificate");
    let certificate =
        <rustls::pki_types::CertificateDer<'_> as rustls::pki_types::pem::PemObject>::from_pem_slice(&pem);
    roots.add(certificate.expect("a certificate")).expect("a root");
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from("localhost").expect("a name");
    let mut tls = connector.connect(name, open.connect(3).await).await.expect("a handshake");
    let new = format!("<14>1 2026-11-24T23:59:58Z host app 7 - [a b=\"c\"] {}", event("10.0.0.6"));
    tls.write_all(format!("{} {new}", new.len()).as_bytes()).await.expect("sent");
    tls.flush().await.expect("sent");
    let rows = open.events(6).await;
    assert_eq!(sensors(&rows), ["north"; 6]);
    let mut lines: Vec<&str> = rows.iter().map(|row| row.line.as_str()).collect();
    lines.sort_unstable();
    let expected: Vec<String> = (1..=6).map(|number| event(&format!("10.0.0.{number}"))).collect();
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn a_token_says_whose_a_message_is_and_alone_it_holds_for_a_connection() {
    let open = open().await;
    let (south, east) = (open.token("south").await, open.token("east").await);
    let mut lines = open.connect(0).await;
    let text = format!("{south}\n{}\n{east} {}\n{}\n", event("10.0.0.1"), event("10.0.0.2"), event("10.0.0.3"));
    lines.write_all(text.as_bytes()).await.expect("sent");
    let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let new = format!("<14>1 - - - - - [aviary token=\"{east}\"] {}", event("10.0.0.4"));
    udp.send_to(new.as_bytes(), open.addresses[1]).await.expect("sent");
    let rows = open.events(4).await;
    assert_eq!(sensors(&rows), ["east", "east", "south", "south"]);
    assert!(rows.iter().all(|row| !row.line.contains("avt_")), "the token is not kept");
}

#[tokio::test]
async fn whoever_is_not_known_is_shown_and_stores_nothing() {
    let open = open().await;
    let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    udp.send_to(event("10.0.0.1").as_bytes(), open.addresses[1]).await.expect("sent");
    for text in
        [event("10.0.0.1") + "\n", format!("avt_{}\n{}\n", "0".repeat(64), event("10.0.0.1")), "x".repeat(10_000)]
    {
        let mut lines = open.connect(0).await;
        lines.write_all(text.as_bytes()).await.expect("sent");
        ended(lines).await;
    }
    let strangers = timeout(DEADLINE, async {
        loop {
            match open.hub.tally().strangers() {
                strangers if strangers.iter().map(|one| one.count).sum::<u64>() >= 4 => return strangers,
                _ => sleep(Duration::from_millis(20)).await,
            }
        }
    });
    let strangers = strangers.await.expect("the strangers");
    assert_eq!((strangers.len(), strangers[0].address.to_string().as_str()), (1, "127.0.0.1"));
    open.events(0).await;
}

#[tokio::test]
async fn bad_messages_are_counted_with_the_reason_and_the_good_ones_taken() {
    let open = open().await;
    open.know("north", &["north-1"]).await;
    let mut tcp = open.connect(2).await;
    let others = event("10.0.0.9").replace("north-1", "other");
    let text = format!("<14>hello\n{others}\n<14>{}\n{}\n", "x".repeat(2 << 20), event("10.0.0.1"));
    tcp.write_all(text.as_bytes()).await.expect("sent");
    // What is not UTF-8, and what is cut off.
    tcp.write_all(b"<14>\xff\xfe\n<14>{\"logtype\": 1").await.expect("sent");
    tcp.shutdown().await.expect("an end");
    open.events(1).await;
    let intake = timeout(DEADLINE, async {
        loop {
            match open.hub.tally().sensor("north") {
                Some(intake) if intake.refused >= 5 => return intake,
                _ => sleep(Duration::from_millis(20)).await,
            }
        }
    });
    let intake = intake.await.expect("the count");
    assert_eq!((intake.accepted, intake.refused), (1, 5));
    assert_eq!(intake.refusal.map(|(_, why)| why).as_deref(), Some("not JSON"));
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let open = open().await;
    let taken = open.addresses[0];
    let why = Ways::default().open(Way::Lines, taken).await.expect_err("an error").to_string();
    assert!(why.contains(&taken.to_string()) && why.contains("lines"), "{why}");
}
