//! `aviary.redis`: entries of a Redis stream, or items of a list, or messages to whoever listens.
//!
//! | key | meaning |
//! |---|---|
//! | `address` | `["host", port]`, `"host"` for port 6379, or the path of a Unix socket; `["localhost", 6379]` |
//! | `transport`, `verify` | `tcp` or `tls`; `tcp` |
//! | `user`, `password` | `AUTH`; a password alone is that of the user `default` |
//! | `database` | `SELECT`; 0 |
//! | `mode` | `stream` (`XADD`), `list` (`RPUSH`) or `pubsub` (`PUBLISH`); `stream` |
//! | `key` | name of the stream, list or channel; `aviary:events` |
//! | `maxlen` | of a stream: about so many entries are kept (`MAXLEN ~`); all |
//! | `batch` | most events at once, 1 to 1000; 256 |
//! | `timeout` | seconds for a connection, and for the answer to a batch; 10 |
//!
//! An entry has the fields `id`, `logtype`, `kind`, `service`, `node_id`, `src_host` and `event`, which is the formatted
//! line; items and messages are the line alone. Its own id is the server's time.
//!
//! Several events go as a transaction (`MULTI`, `EXEC`). Without one, a server that is full for the third event
//! and has room again for the fourth would take them out of order. A user who may not `MULTI` gets the same
//! commands one by one, which is noticed by the answers and needs no setting.
//!
//! Every error of the server can be mended there: memory (`OOM`), a replica (`READONLY`), a failing disk
//! (`MISCONF`), a missing right (`NOPERM`), a key of another type (`WRONGTYPE`). So everything waits and is tried again, but
//! an event that is longer than the server's `proto-max-bulk-len`.
//!
//! An answer that was lost means that the batch is sent again, and its entries are there twice under one `id`.
//! Entries with ids made from the journal's `seq` would be refused by Redis then; but numbers begin anew with
//! a new state folder, digests and events that are sent again come with lower ones than those before, and
//! each of these would be taken for delivered. So the field `id` tells.
//!
//! LIMIT: the address must be that of the node that holds the key; `MOVED` is not followed. Tried with Redis
//! 7.0 over TCP, TLS and a Unix socket. References: <https://redis.io/docs/latest/commands/xadd>,
//! <https://redis.io/docs/latest/develop/reference/protocol-spec>.

mod link;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use aviary_event::Event;
use aviary_output::{Blueprint, Delivery, DeliveryError, Entry, Failure, LineFormat, Output, Rejection};

use crate::options::Options;
use crate::syslog::link::Target;
use crate::syslog::target;
use crate::tls::{Tls, Trust};
use crate::worker::temporary;
use link::Link;
use wire::{Reply, command};

/// Redis.
pub(crate) static ENTRY: Entry = Entry {
    name: "redis",
    classes: &["aviary.redis"],
    summary: "entries of a Redis stream, items of a list, or messages of a channel",
    options: &[
        "template",
        "address",
        "transport",
        "verify",
        "user",
        "password",
        "database",
        "mode",
        "key",
        "maxlen",
        "batch",
        "timeout",
    ],
    build,
};

/// The port of Redis.
const PORT: u16 = 6379;

/// A connection that was silent for longer is asked first whether it still stands: servers may end idle ones.
const SILENT: Duration = Duration::from_secs(1);

/// Bytes of a transaction after which no further event is added.
const FULL: usize = 1 << 20;

/// What a server says before it ends the connection when a string is longer than it takes.
const TOO_LONG: &str = "ERR Protocol error: invalid bulk length";

fn build(blueprint: &Blueprint<'_>) -> Result<Box<dyn Output>, Rejection> {
    let options = Options(blueprint.options);
    let target = target(options, PORT)?;
    let secure = options.choice("transport", &["tcp", "tls"])? == Some("tls");
    if secure && matches!(target, Target::Path(_)) {
        return Err(Rejection::new("transport", "is `tls`, but `address` is the path of a Unix socket"));
    }
    let trust = Trust::read(options)?;
    let mode = match options.choice("mode", &["stream", "list", "pubsub"])? {
        Some("list") => Mode::List,
        Some("pubsub") => Mode::Channel,
        _ => Mode::Stream,
    };
    let most = match options.whole("maxlen", 0, 1, u64::from(u32::MAX))? {
        0 => None,
        _ if mode != Mode::Stream => return Err(Rejection::new("maxlen", "is for streams only")),
        most => Some(most.to_string()),
    };
    // A secret is not repeated in a message.
    let text = options.get("password").map(|value| value.as_str().filter(|text| !text.is_empty()));
    let password = match text {
        None => None,
        Some(text) => Some(text.ok_or_else(|| Rejection::new("password", "takes text that is not empty"))?.to_owned()),
    };
    let user = options.name("user")?.map(str::to_owned);
    if user.is_some() && password.is_none() {
        return Err(Rejection::new("password", "is missing; a `user` needs one"));
    }
    Ok(Box::new(Redis {
        target,
        tls: secure.then(|| Tls::new(trust)),
        user,
        password,
        database: options.whole("database", 0, 0, 1_000_000)?,
        encoder: Encoder {
            mode,
            key: options.name("key")?.unwrap_or("aviary:events").to_owned(),
            most,
            lines: LineFormat::with_template(blueprint)?,
        },
        batch: usize::try_from(options.whole("batch", 256, 1, 1000)?).unwrap_or(256),
        patience: options.seconds("timeout")?.unwrap_or(Duration::from_secs(10)),
        link: None,
    }))
}

/// What the key names.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Stream,
    List,
    Channel,
}

/// Turns events into commands.
#[derive(Debug)]
struct Encoder {
    mode: Mode,
    key: String,
    /// About how many entries are kept.
    most: Option<String>,
    lines: LineFormat,
}

impl Encoder {
    /// Appends the command that hands over an event.
    fn encode(&self, event: &Event, out: &mut Vec<u8>) {
        let (key, line) = (self.key.as_bytes(), self.lines.line(event));
        match self.mode {
            Mode::List => return command(&[b"RPUSH", key, line.as_bytes()], out),
            Mode::Channel => return command(&[b"PUBLISH", key, line.as_bytes()], out),
            Mode::Stream => {}
        }
        let id = event.aviary.as_ref().map(|ours| ours.id.to_string()).unwrap_or_default();
        let logtype = event.logtype.map(|number| number.to_string()).unwrap_or_default();
        let source = event.src.as_ref().map(|src| src.host.as_str()).unwrap_or_default();
        let mut words: Vec<&[u8]> = vec![b"XADD", key];
        if let Some(most) = &self.most {
            words.extend([b"MAXLEN".as_slice(), b"~", most.as_bytes()]);
        }
        words.push(b"*");
        for (field, value) in [
            ("id", id.as_str()),
            ("logtype", &logtype),
            ("kind", event.class().word()),
            ("service", event.service().unwrap_or_default()),
            ("node_id", event.node_id.as_deref().unwrap_or_default()),
            ("src_host", source),
            ("event", &line),
        ] {
            words.extend([field.as_bytes(), value.as_bytes()]);
        }
        command(&words, out);
    }
}

struct Redis {
    target: Target,
    tls: Option<Tls>,
    user: Option<String>,
    password: Option<String>,
    database: u64,
    encoder: Encoder,
    batch: usize,
    patience: Duration,
    link: Option<Link>,
}

/// How far some events came.
enum Outcome {
    All,
    /// So many at the head, and what stopped the next one.
    Part(usize, String),
    /// One of them is longer than the server takes.
    TooLong,
}

impl Redis {
    /// A connection that answers.
    async fn link(&mut self) -> Result<Link, String> {
        // Taken out, so that a delivery that is given up half way costs the connection.
        if let Some(mut link) = self.link.take().filter(|link| !link.spoke_unasked()) {
            if link.idle() < SILENT {
                return Ok(link);
            }
            let mut ping = Vec::new();
            command(&[b"PING"], &mut ping);
            if link.exchange(&ping, 1, self.patience).await.1.is_ok() {
                return Ok(link);
            }
        }
        let mut link = Link::connect(&self.target, self.tls.as_ref(), self.patience).await?;
        let mut greeting = Vec::new();
        let mut count = 1;
        if let Some(password) = &self.password {
            let user = self.user.as_deref().map(str::as_bytes);
            let words: Vec<&[u8]> =
                [Some(b"AUTH".as_slice()), user, Some(password.as_bytes())].into_iter().flatten().collect();
            command(&words, &mut greeting);
            count += 1;
        }
        if self.database > 0 {
            command(&[b"SELECT", self.database.to_string().as_bytes()], &mut greeting);
            count += 1;
        }
        // A server that still loads its data says so here, before a batch is begun.
        command(&[b"PING"], &mut greeting);
        let (replies, result) = link.exchange(&greeting, count, self.patience).await;
        for (place, reply) in replies.iter().enumerate() {
            match reply {
                // Who may add entries need not be allowed to ask.
                Reply::Error(words) if words.starts_with("NOPERM") && place + 1 == count => {}
                Reply::Error(words) => return Err(said(words)),
                _ => {}
            }
        }
        result.map(|()| link)
    }

    /// Hands over some events, all of them or, if the server does not do transactions for us, as many as it takes.
    async fn hand_over(&mut self, commands: &[u8], count: usize) -> Outcome {
        let mut link = match self.link().await {
            Ok(link) => link,
            Err(reason) => return Outcome::Part(0, reason),
        };
        let mut bytes = Vec::new();
        let mut expected = count;
        if count > 1 {
            command(&[b"MULTI"], &mut bytes);
            bytes.extend_from_slice(commands);
            command(&[b"EXEC"], &mut bytes);
            expected += 2;
        } else {
            bytes.extend_from_slice(commands);
        }
        let (replies, result) = link.exchange(&bytes, expected, self.patience).await;
        if replies.iter().any(|reply| matches!(reply, Reply::Error(words) if words.starts_with(TOO_LONG))) {
            return Outcome::TooLong;
        }
        if result.is_ok() {
            self.link = Some(link);
        }
        outcome(replies, result, count)
    }
}

fn said(words: &str) -> String {
    format!("it said: {words}")
}

/// What the replies to a transaction, or to one command, mean.
fn outcome(replies: Vec<Reply>, result: Result<(), String>, count: usize) -> Outcome {
    let mut results = replies;
    if count > 1 {
        let executed = match results.get(count + 1) {
            Some(Reply::Each(_)) => results.pop(),
            _ => None,
        };
        let begun = matches!(results.first(), Some(Reply::Fine(_)));
        match executed {
            Some(Reply::Each(each)) => results = each,
            // Every command was queued, or refused; nothing was done.
            _ if begun => {
                let refused = results.into_iter().find_map(|reply| match reply {
                    Reply::Error(words) => Some(said(&words)),
                    _ => None,
                });
                let broken = result.err().unwrap_or_else(|| "it did not answer `EXEC`".to_owned());
                return Outcome::Part(0, refused.unwrap_or(broken));
            }
            // No transaction: each command was done for itself.
            _ => {
                results = results.into_iter().skip(1).take(count).collect();
            }
        }
    }
    let taken = results.iter().take_while(|reply| matches!(reply, Reply::Fine(_))).count();
    if taken >= count {
        return Outcome::All;
    }
    let reason = match (results.into_iter().nth(taken), result) {
        (Some(Reply::Error(words)), _) => said(&words),
        (None, Err(reason)) => reason,
        _ => "it answered something else than was asked".to_owned(),
    };
    Outcome::Part(taken, reason)
}

impl Output for Redis {
    fn deliver<'a>(&'a mut self, batch: &'a [Arc<Event>]) -> Delivery<'a> {
        Box::pin(async move {
            let mut delivered = 0;
            // Once an event was too long, events go one by one.
            let mut alone = false;
            while delivered < batch.len() {
                let mut commands = Vec::new();
                let mut count = 0;
                for event in batch.get(delivered..).unwrap_or_default() {
                    if count > 0 && (alone || commands.len() > FULL) {
                        break;
                    }
                    self.encoder.encode(event, &mut commands);
                    count += 1;
                }
                match self.hand_over(&commands, count).await {
                    Outcome::All => delivered += count,
                    Outcome::TooLong if count == 1 => {
                        let reason = format!("redis at {}: {}", self.target, said(TOO_LONG));
                        return Err(Failure { delivered, error: DeliveryError::Refused { reason } });
                    }
                    Outcome::TooLong => alone = true,
                    Outcome::Part(taken, reason) => {
                        // Servers quote commands that they do not know.
                        let reason = match &self.password {
                            Some(password) => reason.replace(password.as_str(), "***"),
                            None => reason,
                        };
                        let error = temporary(format!("redis at {}: {reason}", self.target));
                        return Err(Failure { delivered: delivered + taken, error });
                    }
                }
            }
            Ok(())
        })
    }

    fn batch_limit(&self) -> usize {
        self.batch
    }

    fn time_limit(&self) -> Duration {
        // A question, a connection, a greeting and a batch, each of which has its own limit and says what was slow.
        self.patience * 6
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, json};

    const LINE: &str = r#"{"aviary": {"id": "01990000-0000-7000-8000-000000000001", "kind": "login", "seq": 7, "service": "ftp", "time": "2026-11-22T22:00:01.000010+00:00"}, "logdata": {"USERNAME": "a\"\\\r\n"}, "logtype": 2000, "node_id": "n", "src_host": "192.0.2.7", "src_port": 40000}"#;

    fn encoded(mode: Mode, most: Option<&str>, line: &str) -> String {
        let blueprint =
            Blueprint { name: "r", options: &Map::new(), format: "%(message)s", extended: true, node_id: "n" };
        let lines = LineFormat::new(&blueprint).expect("a format");
        let encoder = Encoder { mode, key: "k".to_owned(), most: most.map(str::to_owned), lines };
        let mut out = Vec::new();
        encoder.encode(&Event::parse(line).expect("an event"), &mut out);
        String::from_utf8(out).expect("text").replace("\r\n", " ")
    }

    #[test]
    fn writes_an_entry_with_fields_to_filter_by() {
        let expected = concat!(
            "*20 $4 XADD $1 k $6 MAXLEN $1 ~ $3 100 $1 * $2 id $36 01990000-0000-7000-8000-000000000001 ",
            "$7 logtype $4 2000 $4 kind $5 login $7 service $3 ftp $7 node_id $1 n $8 src_host $9 192.0.2.7 ",
            "$5 event $"
        );
        assert_eq!(encoded(Mode::Stream, Some("100"), LINE), format!("{expected}{} {LINE} ", LINE.len()));
    }

    #[test]
    fn writes_items_and_messages_and_nothing_for_what_is_not_known() {
        let length = LINE.len();
        assert_eq!(encoded(Mode::List, None, LINE), format!("*3 $5 RPUSH $1 k ${length} {LINE} "));
        assert_eq!(encoded(Mode::Channel, None, LINE), format!("*3 $7 PUBLISH $1 k ${length} {LINE} "));
        let empty = encoded(Mode::Stream, None, "{}");
        let start = "*17 $4 XADD $1 k $1 * $2 id $0  $7 logtype $0  $4 kind $7 command $7 service $0  ";
        assert!(empty.starts_with(start), "{empty}");
    }

    #[test]
    fn a_transaction_is_all_or_nothing_and_without_one_the_head_counts() {
        let fine = || Reply::Fine("QUEUED".to_owned());
        let error = |words: &str| Reply::Error(words.to_owned());
        let part =
            |replies: Vec<Reply>, result: Result<(), &str>| match outcome(replies, result.map_err(str::to_owned), 2) {
                Outcome::Part(taken, reason) => (taken, reason),
                Outcome::All => (2, String::new()),
                Outcome::TooLong => unreachable!("not told here"),
            };
        let done = |each: Vec<Reply>| vec![fine(), fine(), fine(), Reply::Each(each)];
        assert_eq!(part(done(vec![fine(), fine()]), Ok(())), (2, String::new()));
        assert_eq!(part(done(vec![fine(), error("WRONGTYPE x")]), Ok(())), (1, "it said: WRONGTYPE x".to_owned()));
        let full = vec![fine(), error("OOM no"), fine(), error("EXECABORT because")];
        assert_eq!(part(full, Ok(())), (0, "it said: OOM no".to_owned()));
        assert_eq!(part(vec![fine(), fine(), fine()], Err("gone")), (0, "gone".to_owned()));
        let forbidden = vec![error("NOPERM multi"), fine(), fine(), error("ERR EXEC without MULTI")];
        assert_eq!(part(forbidden, Ok(())), (2, String::new()));
        let both = vec![error("NOPERM multi"), fine(), error("OOM no"), error("ERR EXEC without MULTI")];
        assert_eq!(part(both, Ok(())), (1, "it said: OOM no".to_owned()));
        assert_eq!(part(vec![error("NOPERM multi"), fine()], Err("gone")), (1, "gone".to_owned()));
        let odd = done(vec![fine()]);
        assert_eq!(part(odd, Ok(())), (1, "it answered something else than was asked".to_owned()));
    }

    #[test]
    fn names_the_key_that_is_wrong_and_no_secret() {
        for (options, key) in [
            (json!({"address": "/run/redis.sock", "transport": "tls"}), "transport"),
            (json!({"user": "u"}), "password"),
            (json!({"password": ["0f0f"]}), "password"),
            (json!({"mode": "list", "maxlen": 5}), "maxlen"),
            (json!({"key": ""}), "key"),
        ] {
            let Some(options) = options.as_object() else { unreachable!("an object was written") };
            let blueprint = Blueprint { name: "r", options, format: "%(message)s", extended: true, node_id: "" };
            let rejection = build(&blueprint).map(|_| ()).expect_err(key);
            assert!(rejection.option == key && !rejection.to_string().contains("0f0f"), "{rejection}");
        }
    }
}
