//! `aviary.kafka`: records of a Kafka topic.
//!
//! | key | meaning |
//! |---|---|
//! | `brokers` | `"host:port"` or a list of such: whom to ask for the cluster |
//! | `topic` | the topic |
//! | `key` | `node_id` or `src_host`: the records' key, which chooses the partition; `node_id` |
//! | `partition` | this partition, whatever the key says |
//! | `compression` | `none` or `snappy`; `none` |
//! | `transport`, `verify` | `tcp` or `tls`; `tcp` |
//! | `sasl` | `plain`, `scram-sha-256` or `scram-sha-512`, with `user` and `password`; none |
//! | `batch` | most events at once, 1 to 10000; 256 |
//! | `timeout` | seconds for the connection to the cluster, and for the answer to a batch; 20 |
//!
//! A record's value is the formatted line, its time the event's, its header `aviary.id` the event's id. Every
//! replica in sync has it when the broker answers (`acks=all`).
//!
//! With `key: node_id` all records of a canary have its name as their key and lie in one partition, so a
//! consumer sees them in order. With `src_host` those of one source are in order. Batches
//! are cut where the partition changes, and each is waited for, so that a failure leaves no later event
//! before an earlier one. Partitions are chosen by the hash of Java's producer.
//!
//! Refused is a record that is longer than the topic takes, or whose time the topic's settings forbid. Everything
//! else waits: a topic that is missing, a right that is missing, a partition without a leader. An answer
//! that was lost means that a batch is stored twice; the header tells.
//!
//! LIMIT: no idempotent producer (the library has none), no OAUTHBEARER, no IPv6 addresses in `brokers` over TLS.
//! Tried with the mock cluster of librdkafka 2.16, which has neither TLS nor SASL. Reference: <https://kafka.apache.org/protocol>.

mod partition;

use std::collections::BTreeMap;
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use aviary_event::Event;
use aviary_output::{Blueprint, Delivery, DeliveryError, Entry, Failure, LineFormat, Output, Rejection, moment};
use rskafka::BackoffConfig;
use rskafka::chrono::DateTime;
use rskafka::client::error::{Error, ProtocolError};
use rskafka::client::partition::{Compression, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder, Credentials, SaslConfig};
use rskafka::record::Record;
use serde_json::Value;
use tokio::time::timeout;

use crate::options::{Options, wrong};
use crate::tls::{Tls, Trust};
use crate::worker::temporary;

/// Kafka.
pub(crate) static ENTRY: Entry = Entry {
    name: "kafka",
    classes: &["aviary.kafka"],
    summary: "records of a Kafka topic",
    options: &[
        "template",
        "brokers",
        "topic",
        "key",
        "partition",
        "compression",
        "transport",
        "verify",
        "sasl",
        "user",
        "password",
        "batch",
        "timeout",
    ],
    build,
};

/// Bytes of records after which no further one is added to a request; brokers take 1,048,588 unless told
/// otherwise (`message.max.bytes`).
const FULL: usize = 900_000;

/// Longest answer of a broker that is read, bytes: what it says of all its topics.
const ANSWER: usize = 16 << 20;

/// How long the library looks for a new leader by itself before the loop waits and tries again.
const LOOKING: Duration = Duration::from_millis(300);

fn build(blueprint: &Blueprint<'_>) -> Result<Box<dyn Output>, Rejection> {
    let options = Options(blueprint.options);
    let name = options.needed_text("topic", "canary-events")?;
    // Kafka's own rule for names: `org.apache.kafka.common.internals.Topic`.
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    if !plain || name.len() > 249 {
        let accepted = "up to 249 letters, digits, `.`, `_` and `-`";
        return Err(wrong("topic", &Value::from(name), accepted));
    }
    let secure = options.choice("transport", &["tcp", "tls"])? == Some("tls");
    let trust = Trust::read(options)?;
    let by_source = options.choice("key", &["node_id", "src_host"])? == Some("src_host");
    let partition = match options.get("partition") {
        None => None,
        Some(_) => i32::try_from(options.whole("partition", 0, 0, 100_000)?).ok(),
    };
    let compression = match options.choice("compression", &["none", "snappy"])? {
        Some("snappy") => Compression::Snappy,
        _ => Compression::NoCompression,
    };
    Ok(Box::new(Kafka {
        brokers: brokers(options)?,
        topic: name.to_owned(),
        partition,
        compression,
        tls: secure.then(|| Tls::new(trust)),
        sasl: sasl(options)?,
        encoder: Encoder {
            by_source,
            node_id: blueprint.node_id.to_owned(),
            lines: LineFormat::with_template(blueprint)?,
        },
        batch: usize::try_from(options.whole("batch", 256, 1, 10_000)?).unwrap_or(256),
        patience: options.seconds("timeout")?.unwrap_or(Duration::from_secs(20)),
        cluster: None,
    }))
}

fn brokers(options: Options<'_>) -> Result<Vec<String>, Rejection> {
    let accepted = "`\"host:port\"` or a list of such, as `[\"kafka-1.example:9092\"]`";
    let value =
        options.get("brokers").ok_or_else(|| Rejection::new("brokers", format!("is missing; it takes {accepted}")))?;
    let items = match value {
        Value::Array(items) => items.as_slice(),
        one => std::slice::from_ref(one),
    };
    let broker = |item: &Value| {
        let text = item.as_str()?;
        let (host, port) = text.rsplit_once(':')?;
        let fits = !host.is_empty() && !host.contains(|c: char| c.is_control() || matches!(c, ' ' | '/' | ','));
        (fits && port.parse::<u16>().is_ok_and(|port| port > 0)).then(|| text.to_owned())
    };
    let brokers: Option<Vec<String>> = items.iter().map(broker).collect();
    brokers.filter(|brokers| !brokers.is_empty()).ok_or_else(|| wrong("brokers", value, accepted))
}

fn sasl(options: Options<'_>) -> Result<Option<SaslConfig>, Rejection> {
    let mechanism = options.choice("sasl", &["plain", "scram-sha-256", "scram-sha-512"])?;
    let user = options.name("user")?;
    // A secret is not repeated in a message.
    let password = options.get("password").map(|value| value.as_str().filter(|text| !text.is_empty()));
    let password = password.map(|text| text.ok_or_else(|| Rejection::new("password", "takes text that is not empty")));
    let password = password.transpose()?;
    let Some(mechanism) = mechanism else {
        let idle = user.map(|_| "user").or_else(|| password.map(|_| "password"));
        return match idle {
            Some(key) => Err(Rejection::new(key, "is given, but `sasl` names no mechanism")),
            None => Ok(None),
        };
    };
    let missing = |key| Rejection::new(key, format!("is missing; `{mechanism}` needs one"));
    let user = user.ok_or_else(|| missing("user"))?.to_owned();
    let credentials = Credentials::new(user, password.ok_or_else(|| missing("password"))?.to_owned());
    Ok(Some(match mechanism {
        "plain" => SaslConfig::Plain(credentials),
        "scram-sha-256" => SaslConfig::ScramSha256(credentials),
        _ => SaslConfig::ScramSha512(credentials),
    }))
}

/// Turns events into records.
#[derive(Debug)]
struct Encoder {
    /// Whether the key is the source's address and not the canary's name.
    by_source: bool,
    node_id: String,
    lines: LineFormat,
}

impl Encoder {
    fn key<'a>(&'a self, event: &'a Event) -> &'a str {
        match &event.src {
            Some(src) if self.by_source => &src.host,
            _ => &self.node_id,
        }
    }

    fn encode(&self, event: &Event) -> Record {
        let id = event.aviary.as_ref().map(|ours| ("aviary.id".to_owned(), ours.id.to_string().into_bytes()));
        let micros = moment(event).map_or(0, |time| time.as_micros());
        Record {
            key: Some(self.key(event).as_bytes().to_vec()),
            value: Some(self.lines.line(event).into_bytes()),
            headers: id.into_iter().collect::<BTreeMap<_, _>>(),
            timestamp: DateTime::from_timestamp_micros(micros).unwrap_or_default(),
        }
    }
}

struct Kafka {
    brokers: Vec<String>,
    topic: String,
    partition: Option<i32>,
    compression: Compression,
    tls: Option<Tls>,
    sasl: Option<SaslConfig>,
    encoder: Encoder,
    batch: usize,
    patience: Duration,
    cluster: Option<Cluster>,
}

/// What is known of the cluster while it works.
struct Cluster {
    client: Client,
    /// Partitions of the topic.
    count: u32,
    leaders: BTreeMap<i32, PartitionClient>,
}

/// What stopped a batch.
enum Trouble {
    /// The records are more than the topic takes.
    TooLarge(String),
    /// What holds for any record.
    Other(String),
}

impl Kafka {
    async fn cluster(&self) -> Result<Cluster, Trouble> {
        let backoff = BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: LOOKING,
            base: 2.0,
            deadline: Some(LOOKING),
        };
        let mut builder = ClientBuilder::new(self.brokers.clone())
            .client_id("aviary")
            .max_message_size(ANSWER)
            .backoff_config(backoff);
        if let Some(tls) = &self.tls {
            builder = builder.tls_config(tls.config().await.map_err(Trouble::Other)?);
        }
        if let Some(sasl) = &self.sasl {
            builder = builder.sasl_config(sasl.clone());
        }
        let client = builder.build().await.map_err(|error| trouble(&error))?;
        let topics = client.list_topics().await.map_err(|error| trouble(&error))?;
        let known = topics.iter().find(|topic| topic.name == self.topic);
        let count = known.and_then(|topic| u32::try_from(topic.partitions.len()).ok()).unwrap_or(0);
        let mut cluster = Cluster { client, count, leaders: BTreeMap::new() };
        if count == 0 && self.partition.is_none() {
            // Asking for one makes a topic where brokers do that, and brings their words where not.
            self.leader(&mut cluster, 0).await?;
            return Err(Trouble::Other(format!("topic `{}` is about to be made", self.topic)));
        }
        Ok(cluster)
    }

    async fn leader<'a>(&self, cluster: &'a mut Cluster, number: i32) -> Result<&'a PartitionClient, Trouble> {
        use std::collections::btree_map::Entry;
        match cluster.leaders.entry(number) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(place) => {
                let handling = UnknownTopicHandling::Error;
                let found = cluster.client.partition_client(&self.topic, number, handling).await;
                Ok(place.insert(found.map_err(|error| trouble(&error))?))
            }
        }
    }

    fn place(&self, count: u32, event: &Event) -> i32 {
        let hashed = || i32::try_from(partition::of(self.encoder.key(event).as_bytes(), count)).unwrap_or(0);
        self.partition.unwrap_or_else(hashed)
    }

    /// Hands over events of one partition from the head of a batch, at most `most`; says how many.
    async fn hand_over(
        &self,
        cluster: &mut Cluster,
        events: &[Arc<Event>],
        most: usize,
    ) -> Result<usize, (usize, Trouble)> {
        let count = cluster.count;
        let Some(number) = events.first().map(|event| self.place(count, event)) else { return Ok(0) };
        let mut records = Vec::new();
        let mut size = 0_usize;
        for event in events.iter().take(most).take_while(|event| self.place(count, event) == number) {
            let record = self.encoder.encode(event);
            size = size.saturating_add(record.approximate_size());
            if size > FULL && !records.is_empty() {
                break;
            }
            records.push(record);
        }
        let sent = records.len();
        let leader = self.leader(cluster, number).await.map_err(|error| (sent, error))?;
        leader.produce(records, self.compression).await.map(|_| sent).map_err(|error| (sent, trouble(&error)))
    }

    /// Hands over a batch; on a failure says how far it came.
    async fn all(&mut self, batch: &[Arc<Event>], delivered: &mut usize) -> Result<(), DeliveryError> {
        let failed = |trouble| match trouble {
            Trouble::TooLarge(reason) | Trouble::Other(reason) => temporary(reason),
        };
        let slow = || temporary(format!("no answer within {} s", self.patience.as_secs_f32()));
        // Taken out, so that a delivery that is given up half way costs the connection.
        let mut cluster = match self.cluster.take() {
            Some(cluster) => cluster,
            None => timeout(self.patience, self.cluster()).await.map_err(|_| slow())?.map_err(failed)?,
        };
        let mut most = usize::MAX;
        while *delivered < batch.len() {
            let rest = batch.get(*delivered..).unwrap_or_default();
            let answer = timeout(self.patience, self.hand_over(&mut cluster, rest, most)).await;
            match answer.map_err(|_| slow())? {
                Ok(count) => *delivered = delivered.saturating_add(count),
                Err((1, Trouble::TooLarge(reason))) => {
                    self.cluster = Some(cluster);
                    return Err(DeliveryError::Refused { reason: format!("kafka: {reason}") });
                }
                Err((count, Trouble::TooLarge(_))) => most = (count / 2).max(1),
                Err((_, trouble)) => return Err(failed(trouble)),
            }
        }
        self.cluster = Some(cluster);
        Ok(())
    }
}

/// Sorts an error of the library, in the broker's words where it has any.
fn trouble(error: &Error) -> Trouble {
    match error {
        // What the last of several tries came to.
        Error::RetryFailed(retries) => {
            let last = retries.source().and_then(|source| source.downcast_ref::<Error>());
            last.map_or_else(|| Trouble::Other(retries.to_string()), trouble)
        }
        Error::ServerError { protocol_error, error_message, .. } => {
            let words = error_message.as_deref().filter(|text| !text.is_empty());
            let said = match words {
                Some(words) => format!("the broker said: {protocol_error} ({words})"),
                None => format!("the broker said: {protocol_error}"),
            };
            match protocol_error {
                ProtocolError::MessageTooLarge
                | ProtocolError::RecordListTooLarge
                | ProtocolError::InvalidTimestamp
                | ProtocolError::InvalidRecord => Trouble::TooLarge(said),
                _ => Trouble::Other(said),
            }
        }
        other => Trouble::Other(other.to_string()),
    }
}

impl Output for Kafka {
    fn deliver<'a>(&'a mut self, batch: &'a [Arc<Event>]) -> Delivery<'a> {
        Box::pin(async move {
            let mut delivered = 0;
            self.all(batch, &mut delivered).await.map_err(|error| {
                let error = match error {
                    DeliveryError::Temporary { reason, .. } => temporary(format!("kafka: {reason}")),
                    refused @ DeliveryError::Refused { .. } => refused,
                };
                Failure { delivered, error }
            })
        })
    }

    fn batch_limit(&self) -> usize {
        self.batch
    }

    fn time_limit(&self) -> Duration {
        // A batch may be several requests; the limit of each says what was slow.
        self.patience * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, json};

    #[test]
    fn a_record_has_key_time_and_id() {
        let line = r#"{"aviary": {"id": "01990000-0000-7000-8000-000000000001", "kind": "login", "seq": 7, "service": "ftp", "time": "2026-11-22T22:00:01.000010+00:00"}, "logdata": null, "logtype": 2000, "node_id": "other", "src_host": "192.0.2.7", "src_port": 40000}"#;
        let blueprint =
            Blueprint { name: "k", options: &Map::new(), format: "%(message)s", extended: true, node_id: "n" };
        let lines = LineFormat::new(&blueprint).expect("a format");
        let mut encoder = Encoder { by_source: false, node_id: "n".to_owned(), lines };
        let event = Event::parse(line).expect("an event");
        let expected = Record {
            key: Some(b"n".to_vec()),
            value: Some(line.as_bytes().to_vec()),
            headers: BTreeMap::from([("aviary.id".to_owned(), b"01990000-0000-7000-8000-000000000001".to_vec())]),
            timestamp: DateTime::from_timestamp_micros(1_795_384_801_000_010).expect("a time"),
        };
        assert_eq!(encoder.encode(&event), expected);
        encoder.by_source = true;
        assert_eq!(encoder.encode(&event).key, Some(b"192.0.2.7".to_vec()));
        let bare = encoder.encode(&Event::parse("{}").expect("an event"));
        assert_eq!((bare.key, bare.headers.len(), bare.timestamp), (Some(b"n".to_vec()), 0, DateTime::UNIX_EPOCH));
    }

    #[test]
    fn names_the_key_that_is_wrong_and_no_secret() {
        let fine = json!({"brokers": ["h:9092"], "topic": "t"});
        for (key, value, named) in [
            ("brokers", json!("h"), "brokers"),
            ("brokers", json!(["h:9092", "h:0"]), "brokers"),
            ("brokers", json!([]), "brokers"),
            ("topic", json!("a b"), "topic"),
            ("topic", json!(""), "topic"),
            ("compression", json!("zstd"), "compression"),
            ("sasl", json!("plain"), "user"),
            ("user", json!("u"), "user"),
            ("password", json!("0f0f"), "password"),
            ("password", json!(["0f0f"]), "password"),
        ] {
            let Value::Object(mut options) = fine.clone() else { unreachable!("an object was written") };
            options.insert(key.to_owned(), value);
            let options = &options;
            let blueprint = Blueprint { name: "k", options, format: "%(message)s", extended: true, node_id: "" };
            let rejection = build(&blueprint).map(|_| ()).expect_err(key);
            assert!(rejection.option == named && !rejection.to_string().contains("0f0f"), "{rejection}");
        }
    }
}
