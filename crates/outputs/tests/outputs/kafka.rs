//! The Kafka output against a broker of our own with one topic of four partitions; the real library's mock is tried
//! in `tests/clients`.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard};

use aviary_event::Value;
use aviary_output::{DeliveryError, Output};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value as Json, json};

use crate::bench::{Setup, deliver, deliver_all, event, event_with, events, temporary};

const TOO_LARGE: i16 = 10;
const NOT_LEADER: i16 = 6;
const NOT_ENOUGH_REPLICAS: i16 = 19;

/// A record as it was stored.
#[derive(Clone, Debug, PartialEq)]
struct Stored {
    partition: i32,
    key: String,
    value: String,
    headers: Vec<(String, String)>,
}

#[derive(Default)]
struct State {
    stored: Vec<Stored>,
    /// Records of each request, stored or not.
    requests: Vec<usize>,
    /// Errors of the next requests that store.
    errors: VecDeque<i16>,
    /// Error of the topic.
    topic: i16,
    /// What a client must log in with, and what it said.
    login: Option<&'static str>,
    said: Vec<String>,
    /// Never answers a request that stores.
    hangs: bool,
}

#[derive(Clone, Default)]
struct Broker(Arc<Mutex<State>>);

/// Reads a request's members.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(count);
        self.0 = rest;
        head
    }

    fn number(&mut self, size: usize) -> i64 {
        let start = if self.0[0] & 0x80 == 0 { 0 } else { -1_i64 };
        self.take(size).iter().fold(start, |number, byte| number << 8 | i64::from(*byte))
    }

    fn bytes(&mut self, size: usize) -> &'a [u8] {
        let length = self.number(size);
        self.take(usize::try_from(length).unwrap_or(0))
    }

    fn text(&mut self) -> String {
        String::from_utf8(self.bytes(2).to_vec()).expect("text")
    }

    fn varint(&mut self) -> i64 {
        let mut number = 0_u64;
        for shift in (0..).step_by(7) {
            let byte = self.take(1)[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
    }

    fn string(&mut self) -> String {
        let length = usize::try_from(self.varint()).expect("a length");
        String::from_utf8(self.take(length).to_vec()).expect("text")
    }
}

fn text(text: &str) -> Vec<u8> {
    [&i16::try_from(text.len()).expect("short").to_be_bytes(), text.as_bytes()].concat()
}

/// The records of a batch of format 2.
fn records(partition: i32, mut batch: Reader<'_>) -> Vec<Stored> {
    batch.take(8 + 4 + 4);
    assert_eq!(batch.number(1), 2, "the format");
    batch.take(4 + 2 + 4 + 8 + 8 + 8 + 2 + 4);
    let count = batch.number(4);
    let record = |_| {
        batch.varint();
        batch.take(1);
        batch.varint();
        batch.varint();
        let (key, value) = (batch.string(), batch.string());
        let headers = (0..batch.varint()).map(|_| (batch.string(), batch.string())).collect();
        Stored { partition, key, value, headers }
    };
    (0..count).map(record).collect()
}

impl Broker {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic")
    }

    fn listen(&self, tls: Option<Arc<ServerConfig>>) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
        let port = listener.local_addr().expect("an address").port();
        let broker = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let (broker, tls) = (broker.clone(), tls.clone());
                std::thread::spawn(move || match tls {
                    None => broker.serve(stream, port),
                    Some(tls) => {
                        let tls = ServerConnection::new(tls).expect("a TLS server");
                        broker.serve(StreamOwned::new(tls, stream), port)
                    }
                });
            }
        });
        port
    }

    fn serve(&self, mut stream: impl Read + Write, port: u16) -> Option<()> {
        loop {
            let mut length = [0; 4];
            stream.read_exact(&mut length).ok()?;
            let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut bytes).ok()?;
            let mut request = Reader(&bytes);
            let (kind, version, number) = (request.number(2), request.number(2), request.take(4));
            assert_eq!(request.text(), "aviary");
            let body = match (kind, version) {
                (18, 0) => Self::versions(),
                // The newest that is understood is told in the oldest form.
                (18, _) => 35_i16.to_be_bytes().into_iter().chain([0; 4]).collect(),
                (17, 1) => self.handshake(&request.text()),
                (36, 0) => self.authenticate(request.bytes(4)),
                (3, 1) => self.metadata(port),
                (0, 3) => self.produce(request),
                other => panic!("a request of kind and version {other:?}"),
            };
            let length = u32::try_from(body.len() + 4).expect("short").to_be_bytes();
            stream.write_all(&[&length, number, &body].concat()).ok()?;
            stream.flush().ok()?;
        }
    }

    fn versions() -> Vec<u8> {
        let one = |kind: i16, version: i16| [kind.to_be_bytes(), version.to_be_bytes(), version.to_be_bytes()].concat();
        let all = [one(0, 3), one(3, 1), one(17, 1), one(18, 0), one(36, 0)].concat();
        [&[0, 0][..], &5_i32.to_be_bytes(), &all].concat()
    }

    fn handshake(&self, mechanism: &str) -> Vec<u8> {
        self.state().said.push(mechanism.to_owned());
        [&[0, 0][..], &1_i32.to_be_bytes(), &text("PLAIN")].concat()
    }

    fn authenticate(&self, token: &[u8]) -> Vec<u8> {
        let mut state = self.state();
        let token = String::from_utf8(token.to_vec()).expect("text");
        let fine = state.login == Some(token.as_str());
        state.said.push(token);
        let (error, words) = if fine { (0_i16, vec![0xff, 0xff]) } else { (58, text("wrong credentials")) };
        [&error.to_be_bytes()[..], &words, &[0; 4]].concat()
    }

    fn metadata(&self, port: u16) -> Vec<u8> {
        let one = 1_i32.to_be_bytes();
        let broker = [&one[..], &text("localhost"), &i32::from(port).to_be_bytes(), &[0xff, 0xff]].concat();
        let partition = |number: i32| [&[0, 0][..], &number.to_be_bytes(), &one, &one, &one, &one, &one].concat();
        let partitions: Vec<u8> = (0..4).flat_map(partition).collect();
        let error = self.state().topic;
        let known = if error == 0 { 4_i32 } else { 0 };
        let partitions = if error == 0 { partitions } else { Vec::new() };
        let topic = [&error.to_be_bytes()[..], &text("canary"), &[0], &known.to_be_bytes(), &partitions].concat();
        [&one[..], &broker, &one, &one, &topic].concat()
    }

    fn produce(&self, mut request: Reader<'_>) -> Vec<u8> {
        let mut state = self.state();
        assert_eq!(request.number(2), -1, "no transaction");
        assert_eq!(request.number(2), -1, "all replicas");
        request.take(4);
        assert_eq!((request.number(4), request.text().as_str(), request.number(4)), (1, "canary", 1));
        let partition = i32::try_from(request.number(4)).expect("a partition");
        let records = records(partition, Reader(request.bytes(4)));
        state.requests.push(records.len());
        if state.hangs {
            drop(state);
            std::thread::park();
            return Vec::new();
        }
        let error = state.errors.pop_front().unwrap_or(0);
        if error == 0 {
            state.stored.extend(records);
        }
        let place = [&partition.to_be_bytes()[..], &error.to_be_bytes(), &[0; 8], &[0xff; 8]].concat();
        [&1_i32.to_be_bytes()[..], &text("canary"), &1_i32.to_be_bytes(), &place, &[0; 4]].concat()
    }

    fn seqs(&self) -> Vec<u64> {
        let state = self.state();
        let seq =
            |record: &Stored| serde_json::from_str::<Json>(&record.value).expect("JSON")["aviary"]["seq"].as_u64();
        state.stored.iter().map(|record| seq(record).expect("a number")).collect()
    }
}

fn output(port: u16, mut options: Json) -> Box<dyn Output> {
    options["brokers"] = json!(format!("localhost:{port}"));
    options["topic"] = json!("canary");
    Setup::new("aviary.kafka", options).build()
}

#[tokio::test]
async fn stores_records_of_one_canary_in_one_partition() {
    let broker = Broker::default();
    let mut output = output(broker.listen(None), json!({}));
    deliver_all(&mut output, &events(1..=3)).await;
    deliver_all(&mut output, &events(4..=4)).await;
    assert_eq!(broker.state().requests, [3, 1]);
    let stored = broker.state().stored.clone();
    for (record, seq) in stored.iter().zip(1..) {
        let id = format!("01990000-0000-7000-8000-{seq:012}");
        let expected = Stored {
            partition: stored[0].partition,
            key: "opencanary-1".to_owned(),
            value: event(seq).to_line(true),
            headers: vec![("aviary.id".to_owned(), id)],
        };
        assert_eq!(*record, expected);
    }
    assert_eq!(stored.len(), 4);
}

#[tokio::test]
async fn keeps_a_batch_in_order_over_the_partitions_of_its_sources() {
    let broker = Broker::default();
    let mut output = output(broker.listen(None), json!({"key": "src_host"}));
    let mut batch = Vec::new();
    // The first and the last lie in one partition, the one between them in another.
    for (seq, host) in (1..).zip(["192.0.2.1", "192.0.2.1", "192.0.2.3", "192.0.2.3", "192.0.2.2", "192.0.2.2"]) {
        let mut one = (*event(seq)).clone();
        if let Some(src) = &mut one.src {
            host.clone_into(&mut src.host);
        }
        batch.push(Arc::new(one));
    }
    broker.state().errors.extend([0, NOT_ENOUGH_REPLICAS]);
    let (delivered, reason) = temporary(&mut output, &batch).await;
    assert!(delivered == 2 && reason.contains("NotEnoughReplicas"), "{delivered} {reason}");
    deliver_all(&mut output, &batch[2..]).await;
    assert_eq!(broker.seqs(), [1, 2, 3, 4, 5, 6]);
    let stored = broker.state().stored.clone();
    assert!(stored.chunks(2).all(|pair| pair[0].partition == pair[1].partition && pair[0].key == pair[1].key));
    assert_eq!(stored[0].partition, stored[4].partition);
    assert_ne!(stored[0].partition, stored[2].partition);
}

#[tokio::test]
async fn a_partition_may_be_named() {
    let broker = Broker::default();
    let mut output = output(broker.listen(None), json!({"partition": 3}));
    deliver_all(&mut output, &events(1..=2)).await;
    assert!(broker.state().stored.iter().all(|record| record.partition == 3));
}

#[tokio::test]
async fn halves_what_is_too_large_and_refuses_what_is_alone() {
    let broker = Broker::default();
    let mut output = output(broker.listen(None), json!({}));
    broker.state().errors.extend([TOO_LARGE, TOO_LARGE]);
    deliver_all(&mut output, &events(1..=4)).await;
    assert_eq!(broker.seqs(), [1, 2, 3, 4]);
    assert_eq!(broker.state().requests, [4, 2, 1, 1, 1, 1]);
    broker.state().errors.extend([TOO_LARGE]);
    let Some(Err(failure)) = deliver(&mut output, &events(5..=5)).await else { panic!("it was refused") };
    let DeliveryError::Refused { reason } = &failure.error else { panic!("{}", failure.error) };
    assert_eq!((failure.delivered, reason.as_str()), (0, "kafka: the broker said: MessageTooLarge"));
    deliver_all(&mut output, &events(6..=6)).await;
    assert_eq!(broker.seqs(), [1, 2, 3, 4, 6]);
}

#[tokio::test]
async fn a_request_stays_below_what_brokers_take() {
    let broker = Broker::default();
    let mut output = output(broker.listen(None), json!({}));
    let batch: Vec<_> = (1..=5).map(|seq| event_with(seq, Value::from("x".repeat(400_000)))).collect();
    deliver_all(&mut output, &batch).await;
    assert_eq!(broker.state().requests, [2, 2, 1]);
}

#[tokio::test]
async fn finds_the_new_leader_by_itself_and_waits_for_a_topic() {
    let broker = Broker::default();
    let mut output = output(broker.listen(None), json!({}));
    deliver_all(&mut output, &events(1..=1)).await;
    broker.state().errors.push_back(NOT_LEADER);
    deliver_all(&mut output, &events(2..=2)).await;
    assert_eq!(broker.seqs(), [1, 2]);
    broker.state().topic = 3;
    let mut late = Setup::new(
        "aviary.kafka",
        json!({"brokers": [format!("localhost:{}", broker.listen(None))], "topic": "canary"}),
    )
    .build();
    let (_, reason) = temporary(&mut late, &events(3..=3)).await;
    assert_eq!(reason, "kafka: the broker said: UnknownTopicOrPartition");
    broker.state().topic = 0;
    deliver_all(&mut late, &events(3..=3)).await;
    assert_eq!(broker.seqs(), [1, 2, 3]);
}

#[tokio::test]
async fn logs_in_over_tls_with_our_trust() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let pem = folder.path().join("broker.pem");
    std::fs::write(&pem, made.cert.pem()).expect("the file");
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .expect("a config");
    let broker = Broker::default();
    broker.state().login = Some("\0canary\0s3cret");
    let port = broker.listen(Some(Arc::new(config)));
    let with = |password: &str, verify: Json| {
        let login =
            json!({"transport": "tls", "verify": verify, "sasl": "plain", "user": "canary", "password": password});
        output(port, login)
    };
    let (_, reason) = temporary(&mut with("s3cret", json!(true)), &events(1..=1)).await;
    assert!(reason.contains("certificate"), "{reason}");
    let (_, reason) = temporary(&mut with("wr0ng", json!(pem)), &events(1..=1)).await;
    assert!(reason.contains("SaslAuthenticationFailed") && !reason.contains("wr0ng"), "{reason}");
    deliver_all(&mut with("s3cret", json!(pem)), &events(1..=2)).await;
    assert_eq!(broker.seqs(), [1, 2]);
    assert_eq!(broker.state().said[..2], ["PLAIN", "\0canary\0wr0ng"]);
}

#[tokio::test]
async fn stands_silence_and_garbage() {
    let broker = Broker::default();
    broker.state().hangs = true;
    let (_, reason) = temporary(&mut output(broker.listen(None), json!({"timeout": 0.5})), &events(1..=2)).await;
    assert_eq!(reason, "kafka: no answer within 0.5 s");
    for garbage in
        [b"HTTP/1.1 400 Bad Request\r\n\r\n".as_slice(), b"\0\0\0\x04\xff\xff\xff\xff", b"\xff\xff\xff\xff", b""]
    {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
        let port = listener.local_addr().expect("an address").port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = stream.expect("a connection").write_all(garbage);
            }
        });
        let (delivered, reason) = temporary(&mut output(port, json!({"timeout": 1})), &events(1..=2)).await;
        assert!(delivered == 0 && reason.len() > 20, "{reason}");
    }
}
