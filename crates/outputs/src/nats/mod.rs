//! `aviary.nats`: messages to NATS, kept by a JetStream stream or, without one, for whoever listens.
//!
//! | key | meaning |
//! |---|---|
//! | `url` or `servers` | `nats://nats.example:4222`, or a list of such; `tls://` demands TLS, `nats://` has it when the server does |
//! | `subject` | `canary.{service}.{kind}`; fields are `{service}`, `{kind}`, `{node_id}`, `{logtype}` |
//! | `jetstream` | `true`: a stream must acknowledge each event; `false`: the server has read them |
//! | `stream` | the stream that must take them; any if missing |
//! | `token`; `user`, `password`; `nkey`; `credentials` | a login: a token, a user, the seed of an nkey, the path of a `.creds` file |
//! | `verify` | over TLS |
//! | `batch` | most events under way, 1 to 10000; 1000 |
//! | `timeout` | seconds for the acknowledgements of a batch; 10 |
//!
//! The payload is the formatted line, `Nats-Msg-Id` is `aviary.id`, by which a stream leaves out what it has
//! already (within its `duplicate_window`). A batch is written without waiting, each message with a reply
//! subject of its own, and counts as far as acknowledgements have come without a gap. What was
//! acknowledged behind a gap is not sent again while the canary runs.
//!
//! Without JetStream a batch ends with `PING`, and the `PONG` says that the server has read it all and passed it on.
//!
//! Refused are events beyond the server's `max_payload` or the stream's `max_msg_size`. No stream for the subject,
//! a full one, one that is another than `stream`, and a forbidden subject can be mended, and events wait.
//!
//! LIMIT: a stream that takes a small event after having no room for a great one before it has them in another order.
//!
//! The conversation is ours and not that of `async-nats`: a client that reconnects by itself sends what it
//! still holds behind our back, in an order that nobody knows, and does not tell a `PONG`. Tried with nats-server
//! 2.9. References: <https://docs.nats.io/reference/reference-protocols/nats-protocol>,
//! <https://docs.nats.io/nats-concepts/jetstream>.

mod login;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use aviary_event::Event;
use aviary_output::{Blueprint, Delivery, DeliveryError, Entry, LineFormat, Output, Rejection};
use bytes::BytesMut;
use reqwest::Url;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::dial::{CONNECTING, Link, late};
use crate::naming::{Grammar, Naming};
use crate::options::{Options, wrong};
use crate::receipts::{Receipts, Taken};
use crate::tls::{Tls, Trust};
use crate::worker::temporary;
use login::Login;
use wire::{Said, take};

/// NATS.
pub(crate) static ENTRY: Entry = Entry {
    name: "nats",
    classes: &["aviary.nats"],
    summary: "messages to NATS, acknowledged by JetStream",
    options: &[
        "template",
        "url",
        "servers",
        "subject",
        "jetstream",
        "stream",
        "token",
        "user",
        "password",
        "nkey",
        "credentials",
        "verify",
        "batch",
        "timeout",
    ],
    build,
};

/// Subjects are words with dots between; `*` and `>` are for those who listen.
static SUBJECTS: Grammar =
    Grammar { what: "a subject", separator: '.', forbidden: &[' ', '*', '>'], empty_levels: false };

/// The port of NATS.
const PORT: u16 = 4222;

/// Longest wait for the acknowledgements of a batch, unless `timeout` says otherwise.
const ANSWERING: Duration = Duration::from_secs(10);

/// Bytes that wait to be sent, after which no further event is written down.
const FULL: usize = 1 << 20;

/// JetStream's code for a message beyond the stream's `max_msg_size`. Source: nats-server's `server/errors.json`.
const TOO_LARGE: u64 = 10_054;

fn build(blueprint: &Blueprint<'_>) -> Result<Box<dyn Output>, Rejection> {
    let options = Options(blueprint.options);
    let limit = options.seconds("timeout")?.unwrap_or(ANSWERING);
    Ok(Box::new(Nats {
        servers: servers(options)?,
        turn: 0,
        login: Login::read(options)?,
        tls: Tls::new(Trust::read(options)?),
        subject: Naming::read(options, "subject", "canary.{service}.{kind}", &SUBJECTS)?,
        jetstream: options.flag("jetstream", true)?,
        stream: options.name("stream")?.map(str::to_owned),
        name: format!("aviary {} {}", blueprint.node_id, blueprint.name),
        lines: LineFormat::with_template(blueprint)?,
        batch: usize::try_from(options.whole("batch", 1000, 1, 10_000)?).unwrap_or(1000),
        limit,
        session: None,
        taken: Taken::default(),
    }))
}

/// A server's address.
#[derive(Debug, PartialEq)]
struct Server {
    host: String,
    port: u16,
    /// Whether TLS is demanded, whatever the server says.
    tls: bool,
}

fn servers(options: Options<'_>) -> Result<Vec<Server>, Rejection> {
    let texts = match (options.get("url"), options.get("servers")) {
        (Some(Value::String(text)), None) => return Ok(vec![Server::read("url", text)?]),
        (Some(other), None) => return Err(wrong("url", other, "an address such as `nats://nats.example:4222`")),
        (None, None) => {
            return Err(Rejection::new("url", "is missing; it takes an address such as `nats://nats.example:4222`"));
        }
        (_, Some(Value::Array(texts))) if !texts.is_empty() => texts,
        (_, Some(other)) => return Err(wrong("servers", other, "a list of addresses")),
    };
    let servers: Result<Vec<Server>, Rejection> = texts
        .iter()
        .map(|text| {
            Server::read("servers", text.as_str().ok_or_else(|| wrong("servers", text, "a list of addresses"))?)
        })
        .collect();
    if options.get("url").is_some() {
        return Err(Rejection::new("servers", "is there beside `url`; it takes addresses when there is no `url`"));
    }
    servers
}

impl Server {
    /// Reads an address. It is not repeated, since people write passwords into it.
    fn read(key: &str, text: &str) -> Result<Self, Rejection> {
        let odd = || Rejection::new(key, "is no address; it takes one such as `nats://nats.example:4222`");
        let text = text.trim();
        let whole = if text.contains("://") { text.to_owned() } else { format!("nats://{text}") };
        let url = Url::parse(&whole).map_err(|_| odd())?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Rejection::new(key, "holds a login; it takes an address, and `user` and `password` the login"));
        }
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let is_bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        if !matches!(url.scheme(), "nats" | "tls") || host.is_empty() || host.contains(['%', ' ']) || !is_bare {
            return Err(odd());
        }
        Ok(Self { host, port: url.port().unwrap_or(PORT), tls: url.scheme() == "tls" })
    }
}

struct Nats {
    servers: Vec<Server>,
    /// Which server comes first next time.
    turn: usize,
    login: Login,
    tls: Tls,
    subject: Naming,
    jetstream: bool,
    stream: Option<String>,
    /// What the server shows of us.
    name: String,
    lines: LineFormat,
    batch: usize,
    limit: Duration,
    session: Option<Session>,
    taken: Taken,
}

/// A connection that is logged in.
struct Session {
    link: Link,
    /// Answers to the server that were not sent yet.
    out: BytesMut,
    /// Where the server is, for error texts.
    place: String,
    /// Begins the subject of every acknowledgement.
    inbox: String,
    /// The number of the next message.
    serial: u64,
    /// Most bytes of a message with its header.
    most: usize,
}

impl Output for Nats {
    fn deliver<'a>(&'a mut self, batch: &'a [Arc<Event>]) -> Delivery<'a> {
        Box::pin(async move {
            let mut receipts = Receipts::of(batch, &self.taken);
            // Taken out, so that a delivery that is given up half way costs the connection.
            let reason = match self.session().await {
                Err(reason) => reason,
                Ok(mut session) => match self.publish(&mut session, batch, &mut receipts).await {
                    Err(reason) => format!("{}: {reason}", session.place),
                    Ok(()) => {
                        let reason = format!("{}: an event before it failed", session.place);
                        self.session = Some(session);
                        reason
                    }
                },
            };
            receipts.close(batch, &mut self.taken, reason)
        })
    }

    fn batch_limit(&self) -> usize {
        self.batch
    }

    fn time_limit(&self) -> Duration {
        // For each server: connection, TLS, greeting.
        let servers = u32::try_from(self.servers.len()).unwrap_or(u32::MAX);
        (CONNECTING * 3).saturating_mul(servers).saturating_add(self.limit + Duration::from_secs(1))
    }
}

impl Nats {
    /// The session that there is, if it still stands, or else a new one.
    async fn session(&mut self) -> Result<Session, String> {
        if let Some(mut session) = self.session.take() {
            let idle = |unread: &mut BytesMut, out: &mut BytesMut| {
                while let Some(said) = take(unread)? {
                    match said {
                        Said::Ping => out.extend_from_slice(b"PONG\r\n"),
                        // Old ones, of subjects; the rest of them end the connection.
                        Said::Error(text) if denied(&text).is_none() => return Err(text),
                        _ => {}
                    }
                }
                Ok(false)
            };
            if session.link.stands(&mut session.out, idle).await {
                return Ok(session);
            }
        }
        let mut last = String::new();
        for _ in 0..self.servers.len() {
            let Some(server) = self.servers.get(self.turn % self.servers.len().max(1)) else { break };
            let place = format!("NATS at `{}` port {}", server.host, server.port);
            match self.connect(server, place.clone()).await {
                Ok(session) => return Ok(session),
                Err(reason) => last = format!("{place}: {reason}"),
            }
            self.turn = self.turn.wrapping_add(1);
        }
        Err(last)
    }

    async fn connect(&self, server: &Server, place: String) -> Result<Session, String> {
        let mut link = Link::dial(&server.host, server.port).await?;
        let mut info = Value::Null;
        let mut out = BytesMut::new();
        let greeting = link.converse(&mut out, |unread, _| {
            Ok(match take(unread).map_err(|error| format!("it sent {error}"))? {
                None => false,
                Some(Said::Info(bytes)) => {
                    info = serde_json::from_slice(&bytes).map_err(|_| "its greeting is no JSON".to_owned())?;
                    true
                }
                Some(Said::Error(text)) => return Err(format!("it said: {text}")),
                Some(_) => return Err("it sent no greeting".to_owned()),
            })
        });
        timeout(CONNECTING, greeting).await.map_err(|_| late("no greeting", CONNECTING))??;
        let tells = |key: &str| info.get(key).and_then(Value::as_bool).unwrap_or(false);
        if !tells("headers") {
            return Err("it is older than 2.2 or has headers turned off".to_owned());
        }
        let secure = server.tls || tells("tls_required");
        if secure {
            link = link.secure(&self.tls, &server.host).await?;
        }
        let mut connect = json!({
            "verbose": false, "pedantic": false, "name": self.name, "lang": "rust",
            "version": env!("CARGO_PKG_VERSION"), "protocol": 1, "headers": true, "no_responders": true,
            "tls_required": secure,
        });
        let nonce = info.get("nonce").and_then(Value::as_str).unwrap_or_default();
        let login = self.login.fields(nonce).await?;
        if let Value::Object(fields) = &mut connect {
            fields.extend(login);
        }
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| format!("no randomness: {error}"))?;
        let inbox = format!("_INBOX.{:032x}.", u128::from_le_bytes(random));
        out.extend_from_slice(format!("CONNECT {connect}\r\n").as_bytes());
        if self.jetstream {
            out.extend_from_slice(format!("SUB {inbox}* 1\r\n").as_bytes());
        }
        out.extend_from_slice(b"PING\r\n");
        let login = link.converse(&mut out, |unread, out| {
            while let Some(said) = take(unread).map_err(|error| format!("it sent {error}"))? {
                match said {
                    Said::Pong => return Ok(true),
                    Said::Ping => out.extend_from_slice(b"PONG\r\n"),
                    Said::Error(text) => return Err(format!("it said: {text}")),
                    _ => {}
                }
            }
            Ok(false)
        });
        timeout(CONNECTING, login).await.map_err(|_| late("no answer to the login", CONNECTING))??;
        let most = info.get("max_payload").and_then(Value::as_u64).and_then(|most| usize::try_from(most).ok());
        Ok(Session { link, out, place, inbox, serial: 0, most: most.unwrap_or(usize::MAX) })
    }

    /// The header of an event's message.
    fn header(&self, event: &Event) -> String {
        let id = event.aviary.as_ref().map(|ours| ours.id.to_string());
        let id = id.iter().map(|id| ("Nats-Msg-Id", id.as_str()));
        let stream = self.stream.iter().filter(|_| self.jetstream).map(|name| ("Nats-Expected-Stream", name.as_str()));
        wire::header(&id.chain(stream).collect::<Vec<_>>())
    }

    /// Sends what is to be sent, and hears what became of it. An error costs the connection.
    async fn publish(
        &self,
        session: &mut Session,
        batch: &[Arc<Event>],
        receipts: &mut Receipts,
    ) -> Result<(), String> {
        let Session { link, out, place, inbox, serial, most } = session;
        let base = *serial;
        *serial = base.saturating_add(u64::try_from(batch.len()).unwrap_or(u64::MAX));
        let mut subjects = vec![String::new(); batch.len()];
        let mut pinged = false;
        let talk = link.converse(out, |unread, out| {
            while let Some(said) = take(unread).map_err(|error| format!("it sent {error}"))? {
                match said {
                    Said::Ping => out.extend_from_slice(b"PONG\r\n"),
                    Said::Pong if pinged => receipts.settle_rest(),
                    Said::Pong | Said::Info(_) | Said::Else => {}
                    Said::Error(text) => {
                        let subject = denied(&text).ok_or_else(|| format!("it said: {text}"))?;
                        for (at, _) in subjects.iter().enumerate().filter(|(_, known)| *known == subject) {
                            receipts.settle(at, Err(temporary(format!("{place}: it said: {text}"))));
                        }
                    }
                    Said::Message { subject, header, payload } => {
                        let number = subject.strip_prefix(inbox.as_str()).and_then(|text| text.parse::<u64>().ok());
                        // Answers to older messages have no place any more.
                        let at = number.and_then(|number| usize::try_from(number.checked_sub(base)?).ok());
                        if let Some((at, subject)) = at.and_then(|at| Some((at, subjects.get(at)?))) {
                            receipts.settle(at, acknowledged(place, subject, &header, &payload));
                        }
                    }
                }
            }
            while out.len() < FULL
                && let Some(at) = receipts.send()
            {
                let (Some(event), Some(subject)) = (batch.get(at), subjects.get_mut(at)) else { continue };
                let (header, line) = (self.header(event), self.lines.line(event));
                let size = header.len() + line.len();
                if size > *most {
                    let reason = format!("{size} bytes are more than the server's max_payload of {most}");
                    receipts.settle(at, Err(DeliveryError::Refused { reason }));
                    continue;
                }
                *subject = self.subject.of(event);
                let reply = match self.jetstream {
                    true => format!("{inbox}{}", base.saturating_add(u64::try_from(at).unwrap_or(u64::MAX))),
                    false => String::new(),
                };
                wire::publish(subject, &reply, &header, &line, out);
            }
            if !self.jetstream && !pinged && receipts.all_sent() && receipts.waiting() > 0 {
                pinged = true;
                out.extend_from_slice(b"PING\r\n");
            }
            Ok(receipts.waiting() == 0 && receipts.all_sent())
        });
        let done = timeout(self.limit, talk).await;
        done.map_err(|_| match self.jetstream {
            true => format!("{}; is there a stream for the subject?", late("no acknowledgement", self.limit)),
            false => late("no answer", self.limit),
        })?
    }
}

/// The subject to which we may not publish, when that is what an error says:
/// `Permissions Violation for Publish to "canary.ftp.login"`.
fn denied(text: &str) -> Option<&str> {
    text.strip_prefix("Permissions Violation for Publish to \"")?.strip_suffix('"')
}

/// What an answer says: a stream's acknowledgement, or that nobody takes such messages.
fn acknowledged(place: &str, subject: &str, header: &[u8], payload: &[u8]) -> Result<(), DeliveryError> {
    let again = |reason: &str| Err(temporary(format!("{place}: {reason}")));
    if wire::status(header) == Some("503") {
        return again(&format!("no stream takes `{subject}` (no responders)"));
    }
    let answer: Value = serde_json::from_slice(payload).unwrap_or_default();
    if let Some(error) = answer.get("error") {
        let code = error.get("err_code").and_then(Value::as_u64).unwrap_or(0);
        let words = error.get("description").and_then(Value::as_str).unwrap_or("error without a description");
        let reason = format!("it said: {words} ({code})");
        return match code {
            TOO_LARGE => Err(DeliveryError::Refused { reason }),
            _ => again(&reason),
        };
    }
    let is_stored = answer.get("stream").is_some_and(Value::is_string) && answer.get("seq").is_some_and(Value::is_u64);
    if is_stored { Ok(()) } else { again(&format!("what answers on `{subject}` is no stream")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses_and_repeats_no_secret() {
        let server = |text: &str| Server::read("url", text).map_err(|rejection| rejection.to_string());
        let expected = |host: &str, port, tls| Ok(Server { host: host.to_owned(), port, tls });
        assert_eq!(server("nats://n.example:4333"), expected("n.example", 4333, false));
        assert_eq!(server("n.example"), expected("n.example", 4222, false));
        assert_eq!(server("tls://[2001:db8::1]:1/"), expected("2001:db8::1", 1, true));
        for odd in ["", "http://n.example", "ws://n.example", "nats://", "nats://n/x", "nats://n:99999", "a b", "\0?"] {
            let error = server(odd).expect_err(odd);
            assert!(error.starts_with("`url`: is no address"), "{error}");
        }
        let error = server("nats://root:hush@n.example").expect_err("a login");
        assert!(error.starts_with("`url`: holds a login") && !error.contains("hush"), "{error}");
    }

    #[test]
    fn understands_what_streams_answer() {
        let answer = |header: &[u8], payload: &str| match acknowledged("P", "a.b", header, payload.as_bytes()) {
            Ok(()) => "stored".to_owned(),
            Err(DeliveryError::Temporary { reason, .. }) => reason,
            Err(DeliveryError::Refused { reason }) => format!("refused: {reason}"),
        };
        let failed = |code: u64, words: &str| {
            json!({"error": {"code": 400, "err_code": code, "description": words}, "stream": "S", "seq": 0}).to_string()
        };
        for (header, payload, expected) in [
            ("", r#"{"stream":"S", "seq":1}"#.to_owned(), "stored"),
            ("", r#"{"stream":"S", "seq":1,"duplicate": true}"#.to_owned(), "stored"),
            ("NATS/1.0 503\r\n\r\n", String::new(), "P: no stream takes `a.b` (no responders)"),
            ("", failed(10_077, "maximum bytes exceeded"), "P: it said: maximum bytes exceeded (10077)"),
            ("", failed(10_054, "message size exceeds"), "refused: it said: message size exceeds (10054)"),
            ("", r#"{"error": 7}"#.to_owned(), "P: it said: error without a description (0)"),
            ("", "+OK".to_owned(), "P: what answers on `a.b` is no stream"),
            ("", "{}".to_owned(), "P: what answers on `a.b` is no stream"),
        ] {
            assert_eq!(answer(header.as_bytes(), &payload), expected);
        }
        assert_eq!(denied("Permissions Violation for Publish to \"a.b\""), Some("a.b"));
        assert_eq!(denied("Stale Connection"), None);
    }
}
