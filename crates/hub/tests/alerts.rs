//! From an event to a message and its row in the ledger: with a receiver that answers, one that does not, and a hub that
//! ends in between.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aviary_hub::{CHANNEL, Channels, DELIVERED, Hub, POLICY, Seal, alert, clock, test_channel};
use aviary_store::{Delivery, DeliveryQuery, Document, Fate, IncidentQuery, Options, Sqlite};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::{foreign, north};

/// A receiver of requests in a thread; it keeps their bodies and answers with a status.
struct Receiver {
    url: String,
    bodies: Arc<Mutex<Vec<String>>>,
    status: Arc<Mutex<u16>>,
}

impl Receiver {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let (bodies, status) = (Arc::default(), Arc::new(Mutex::new(200)));
        let (kept, answered): (Arc<Mutex<Vec<String>>>, _) = (Arc::clone(&bodies), Arc::clone(&status));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a peer");
                let mut text = Vec::new();
                let mut piece = [0; 4096];
                // The form ends a request of this size; the connection is closed after the answer.
                while !whole(&text) {
                    match stream.read(&mut piece) {
                        Ok(0) | Err(_) => break,
                        Ok(count) => text.extend_from_slice(&piece[..count]),
                    }
                }
                let status = *answered.lock().expect("no panic");
                if status == 200 && whole(&text) {
                    let text = String::from_utf8_lossy(&text);
                    let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
                    kept.lock().expect("no panic").push(body);
                }
                let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { url, bodies, status }
    }

    fn bodies(&self) -> Vec<Value> {
        let bodies = self.bodies.lock().expect("no panic");
        let read = |body: &String| {
            let body: Value = serde_json::from_str(body).expect("JSON");
            serde_json::from_str(body["message"].as_str().expect("a line")).expect("a line")
        };
        bodies.iter().map(read).collect()
    }
}

/// Whether a request has come as a whole.
fn whole(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.to_ascii_lowercase();
    let length = length.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.and_then(|length| length.trim().parse().ok()).is_some_and(|length: usize| body.len() >= length)
}

struct Running {
    hub: Arc<Hub>,
    stop: oneshot::Sender<()>,
    alerting: JoinHandle<()>,
}

#[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
async fn start(folder: &TempDir) -> Running {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let store = Sqlite::open(Options::at(folder.path().join("hub.db"))).expect("a store");
    let channels = Channels { seal: Some(Seal::new(&[7; 32]).expect("a key")), local: false };
    let hub = Hub::new(Arc::new(store), clock::now).await.expect("a hub").with_channels(channels);
    let hub = Arc::new(hub);
    let (stop, stopped) = oneshot::channel();
    let alerting = tokio::spawn(alert(Arc::clone(&hub), async { drop(stopped.await) }));
    Running { hub, stop, alerting }
}

impl Running {
    async fn put(&self, kind: &str, key: &str, body: Value) {
        let document = Document { kind: kind.to_owned(), key: key.to_owned(), version: 0, body };
        self.hub.store().put(document, "test".to_owned(), clock::now()).await.expect("done").expect("written");
        self.hub.wake();
    }

    async fn channel(&self, name: &str, url: &str) {
        let options = json!({"url": url, "headers": {"Content-Type": "application/json"}});
        let Value::Object(options) = options else { unreachable!("an object was written") };
        let channel = self.hub.channels().write(name, "webhook", options, None).expect("a channel");
        self.put(CHANNEL, name, serde_json::to_value(channel).expect("JSON")).await;
    }

    async fn take(&self, source: &str, sensor: &str) {
        let now = clock::now().to_opencanary(&jiff::tz::TimeZone::UTC);
        let from = aviary_hub::Source { sensor: sensor.to_owned(), ..north() };
        self.hub.take(&from, &[foreign(source, &now)]).await.expect("taken");
    }

    async fn ledger(&self) -> Vec<Delivery> {
        let query = DeliveryQuery { limit: 100, ..DeliveryQuery::default() };
        self.hub.store().deliveries(query).await.expect("a page").rows
    }

    async fn until(&self, what: &str, mut check: impl FnMut(&[Delivery]) -> bool) -> Vec<Delivery> {
        for _ in 0..1200 {
            let ledger = self.ledger().await;
            if check(&ledger) {
                return ledger;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("waited in vain for {what}: {:?}", self.ledger().await);
    }

    async fn end(self) {
        self.stop.send(()).expect("it runs");
        self.alerting.await.expect("no panic");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_becomes_a_message_and_a_second_sensor_one_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let (receiver, running) = (Receiver::new(), start(&folder).await);
    running.channel("hook", &receiver.url).await;
    running.put(POLICY, "all", json!({"channels": ["hook"]})).await;
    assert_eq!(test_channel(&running.hub, "hook", "anna").await.expect("a channel"), (true, DELIVERED.to_owned()));
    for _ in 0..50 {
        running.take("10.0.0.1", "north").await;
    }
    let all = |ledger: &[Delivery], count| {
        ledger.len() == count && ledger.iter().all(|row| row.fate == Fate::Delivered && row.attempts == 1)
    };
    running.until("one delivery", |ledger| all(ledger, 1)).await;
    running.take("10.0.0.1", "south").await;
    running.until("one more", |ledger| all(ledger, 2)).await;
    let told = receiver.bodies();
    let word = |at: usize, key: &str| told[at]["logdata"][key].as_str().unwrap_or_default().to_owned();
    assert_eq!(told.len(), 3, "a test and two messages");
    assert_eq!(word(1, "TEXT"), "High from 10.0.0.1: login attempt; new: sensor north, login attempt (incident 1)");
    assert_eq!((word(2, "NEW").as_str(), told[2]["aviary"]["severity"].as_str()), ("sensor south", Some("high")));
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_waits_for_its_receiver_over_the_end_of_the_hub() {
    let folder = tempfile::tempdir().expect("a folder");
    let (receiver, running) = (Receiver::new(), start(&folder).await);
    *receiver.status.lock().expect("no panic") = 503;
    running.channel("hook", &receiver.url).await;
    running.put(POLICY, "all", json!({"channels": ["hook"]})).await;
    running.take("10.0.0.1", "north").await;
    running.until("a try", |ledger| ledger.first().is_some_and(|row| row.attempts > 0)).await;
    running.end().await;
    let running = start(&folder).await;
    *receiver.status.lock().expect("no panic") = 200;
    let ledger = running.until("the delivery", |ledger| ledger.iter().all(|row| row.fate.is_final())).await;
    assert_eq!((ledger.len(), ledger[0].fate, receiver.bodies().len()), (1, Fate::Delivered, 1));
    assert!(ledger[0].attempts > 1, "{ledger:?}");
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_has_failed_and_is_an_incident_that_another_channel_tells() {
    let folder = tempfile::tempdir().expect("a folder");
    let (deaf, good, running) = (Receiver::new(), Receiver::new(), start(&folder).await);
    *deaf.status.lock().expect("no panic") = 410;
    running.channel("deaf", &deaf.url).await;
    running.channel("good", &good.url).await;
    running.put(POLICY, "all", json!({"channels": ["deaf"]})).await;
    running.put(POLICY, "own", json!({"channels": ["good", "deaf"], "kinds": ["trouble"]})).await;
    running.take("10.0.0.1", "north").await;
    let ledger =
        running.until("both", |ledger| ledger.len() == 2 && ledger.iter().all(|row| row.fate.is_final())).await;
    let of = |channel: &str| ledger.iter().find(|row| row.channel == channel).expect("a row").clone();
    assert_eq!((of("deaf").fate, of("deaf").attempts, of("good").fate), (Fate::Failed, 1, Fate::Delivered));
    let told = good.bodies();
    let text = told[0]["logdata"]["TEXT"].as_str().expect("text");
    assert_eq!(text, "High from channel deaf: alerts to channel deaf cannot be delivered (incident 2)");
    let incidents = running.hub.store().incidents(IncidentQuery { limit: 9, ..IncidentQuery::default() }).await;
    assert_eq!(incidents.expect("a page").rows.len(), 2);
    running.end().await;
}

#[tokio::test]
async fn secrets_are_sealed_kept_and_not_shown() {
    let channels = Channels { seal: Some(Seal::new(&[7; 32]).expect("a key")), local: false };
    let options = |url: &str, extra: Value| {
        let Value::Object(mut options) = json!({"url": url, "timeout": 5}) else { unreachable!("an object") };
        options.extend(extra.as_object().cloned().unwrap_or_default());
        options
    };
    let channel = channels
        .write("hook", "webhook", options("https://hook.example/secret-path", json!({})), None)
        .expect("a channel");
    let body = serde_json::to_value(&channel).expect("JSON");
    assert!(!body.to_string().contains("secret-path"), "{body}");
    assert_eq!((&channel.options["url"], &channel.options["timeout"]), (&json!("***"), &json!(5)));
    let before = Document { kind: CHANNEL.to_owned(), key: "hook".to_owned(), version: 1, body };
    let kept = channels.write("hook", "webhook", options("***", json!({"timeout": 6})), Some(&before));
    assert_eq!(kept.expect("the secret is kept").options["timeout"], json!(6));
    let said = |class: &str, options| channels.write("hook", class, options, None).expect_err("refused").to_string();
    assert!(said("webhook", options("***", json!({}))).contains("stands for a secret"));
    assert!(said("webhook", options("https://h.example", json!({"colour": 1}))).starts_with("`colour` is no option"));
    assert!(said("exec", serde_json::Map::new()).contains("--local-channels"));
    assert!(said("pigeon", serde_json::Map::new()).starts_with("`class` is `pigeon`"));
    let other = Channels { seal: Some(Seal::new(&[8; 32]).expect("a key")), local: false };
    let lost = other.write("hook", "webhook", options("***", json!({})), Some(&before)).expect_err("another key");
    assert!(lost.to_string().contains("enter them again"), "{lost}");
    let none = Channels::default().write("hook", "webhook", options("https://h.example", json!({})), None);
    assert_eq!(none.expect_err("no key").to_string(), "this hub has no key to keep secrets with");
}
