//! `opencanary.logger.HpfeedsHandler`: events to the channels of an hpfeeds broker.
//!
//! | key | meaning |
//! |---|---|
//! | `host`, `port` | the broker |
//! | `ident`, `secret` | who publishes, and its proof |
//! | `channels` | a list of channels, or one; each event goes to all of them |
//! | `timeout` | seconds for the broker to read a batch; 20, and at most 5 of them for connection and greeting each |
//!
//! The payload is the formatted line. OpenCanary subscribes to its channels instead of publishing to
//! them, and its `publish` fails from the second event on; here each event is published.
//!
//! hpfeeds confirms nothing. So that nothing is lost all the same, a batch has a connection of its own:
//! after it our side of the connection is closed, and a broker that has read everything without
//! complaint closes the other. A connection that ends in an error, a reset or silence proves nothing, and
//! the batch is tried again; so are an unknown `ident`, a wrong `secret` and a forbidden channel, since
//! the broker's side may be mended. A channel that took a batch does not get it again while another fails.
//!
//! LIMIT: no TLS, and no broker that lets half-closed connections stand. An event whose frame is greater
//! than 1 MiB is refused before it is sent. Tried with the broker of the Python package `hpfeeds` 3.1.
//! Reference: <https://hpfeeds.org/wire-protocol>.

mod wire;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aviary_event::Event;
use aviary_output::{Blueprint, Delivery, DeliveryError, Entry, Failure, LineFormat, Output, Rejection};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::options::{Options, wrong};
use crate::worker::temporary;
use wire::Said;

/// Events to a broker.
pub(crate) static ENTRY: Entry = Entry {
    name: "hpfeeds",
    classes: &["opencanary.logger.HpfeedsHandler"],
    summary: "events to channels of an hpfeeds broker",
    options: &["host", "port", "ident", "secret", "channels", "timeout"],
    build,
};

/// Longest wait for a connection, and then for the broker's greeting.
const GREETING: Duration = Duration::from_secs(5);

/// Longest wait for all else, unless `timeout` says otherwise: sending the batch, and the broker's reading it.
const READING: Duration = Duration::from_secs(20);

/// How long a broker that ends too early is listened for: some round trips of a local network.
const SETTLING: Duration = Duration::from_millis(20);

fn build(blueprint: &Blueprint<'_>) -> Result<Box<dyn Output>, Rejection> {
    let options = Options(blueprint.options);
    let channels = channels(options)?;
    if options.get("port").is_none() {
        return Err(Rejection::new("port", "is missing; it takes a port such as 10000"));
    }
    let secret = options.text("secret")?.filter(|secret| !secret.is_empty());
    Ok(Box::new(Hpfeeds {
        host: options.needed_text("host", "hpfeeds.example")?.trim_matches(['[', ']']).to_owned(),
        port: u16::try_from(options.whole("port", 10_000, 1, 65_535)?).unwrap_or(u16::MAX),
        ident: name("ident", options.needed_text("ident", "canary-1")?)?,
        secret: secret.ok_or_else(|| Rejection::new("secret", "is missing; it takes text"))?.to_owned(),
        patience: options.seconds("timeout")?.unwrap_or(READING),
        taken: vec![Vec::new(); channels.len()],
        channels,
        lines: LineFormat::new(blueprint)?,
    }))
}

/// A text whose length fits into one byte, without control characters.
fn name(key: &str, text: &str) -> Result<String, Rejection> {
    let fits = (1..=255).contains(&text.len()) && !text.contains(char::is_control);
    let accepted = "text of 1 to 255 bytes without control characters";
    if fits { Ok(text.to_owned()) } else { Err(wrong(key, &Value::from(text), accepted)) }
}

fn channels(options: Options<'_>) -> Result<Vec<String>, Rejection> {
    let accepted = "a list of channels such as `[\"opencanary.events\"]`";
    let value = options
        .get("channels")
        .ok_or_else(|| Rejection::new("channels", format!("is missing; it takes {accepted}")))?;
    let items = match value {
        Value::Array(items) => items.as_slice(),
        one => std::slice::from_ref(one),
    };
    if items.is_empty() {
        return Err(wrong("channels", value, accepted));
    }
    let text = |item: &Value| name("channels", item.as_str().ok_or_else(|| wrong("channels", value, accepted))?);
    items.iter().map(text).collect()
}

struct Hpfeeds {
    host: String,
    port: u16,
    ident: String,
    secret: String,
    channels: Vec<String>,
    /// Longest wait for the broker to read a batch.
    patience: Duration,
    /// For each channel the events of the batch at hand that it has already.
    taken: Vec<Vec<Arc<Event>>>,
    lines: LineFormat,
}

impl Output for Hpfeeds {
    fn deliver<'a>(&'a mut self, batch: &'a [Arc<Event>]) -> Delivery<'a> {
        Box::pin(async move {
            // One that no broker takes is refused before those after it are looked at.
            let lines: Vec<String> = batch.iter().map(|event| self.lines.line(event)).collect();
            let too_long = lines.iter().position(|line| self.longest(line) > wire::LARGEST);
            let fitting = too_long.unwrap_or(batch.len());
            let head = batch.get(..fitting).unwrap_or(batch);
            for place in 0..self.channels.len() {
                self.publish(place, head, &lines).await.map_err(|error| Failure { delivered: 0, error })?;
            }
            self.taken.iter_mut().for_each(Vec::clear);
            match too_long.and_then(|at| lines.get(at)) {
                None => Ok(()),
                Some(line) => {
                    let reason = format!("{} bytes do not fit into a frame", line.len());
                    Err(Failure { delivered: fitting, error: DeliveryError::Refused { reason } })
                }
            }
        })
    }

    fn time_limit(&self) -> Duration {
        let channels = u32::try_from(self.channels.len()).unwrap_or(u32::MAX);
        (GREETING * 2 + self.patience + Duration::from_secs(1)).saturating_mul(channels)
    }
}

impl Hpfeeds {
    /// Bytes of the greatest frame for a line.
    fn longest(&self, line: &str) -> usize {
        let channel = self.channels.iter().map(String::len).max().unwrap_or(0);
        wire::HEADER + 2 + self.ident.len() + channel + line.len()
    }

    /// Publishes what the channel does not have yet.
    async fn publish(&mut self, place: usize, batch: &[Arc<Event>], lines: &[String]) -> Result<(), DeliveryError> {
        let (Some(channel), Some(taken)) = (self.channels.get(place), self.taken.get_mut(place)) else { return Ok(()) };
        let mut frames = Vec::new();
        for (event, line) in batch.iter().zip(lines) {
            if !taken.iter().any(|old| Arc::ptr_eq(old, event)) {
                frames.extend(wire::publish(&self.ident, channel, line));
            }
        }
        if frames.is_empty() {
            return Ok(());
        }
        let said = self.converse(&frames).await;
        said.map_err(|reason| temporary(format!("broker at `{}` port {}: {reason}", self.host, self.port)))?;
        if let Some(taken) = self.taken.get_mut(place) {
            *taken = batch.to_vec();
        }
        Ok(())
    }

    /// A connection: greeting, proof, frames, and an orderly end.
    async fn converse(&self, frames: &[u8]) -> Result<(), String> {
        let greeting = GREETING.min(self.patience);
        let late = |what: &str, limit: Duration| format!("{what} within {} s", limit.as_secs_f32());
        let stream = timeout(greeting, TcpStream::connect((self.host.as_str(), self.port))).await;
        let stream = stream.map_err(|_| late("no connection", greeting))?;
        let mut broker =
            Broker { stream: stream.map_err(|error| format!("cannot connect: {error}"))?, unread: Vec::new() };
        let nonce = timeout(greeting, broker.greeting()).await.map_err(|_| late("no greeting", greeting))??;
        let work = async {
            let mut bytes = wire::auth(&self.ident, &self.secret, &nonce);
            bytes.extend_from_slice(frames);
            // What the broker says is read while the batch goes out, since it may say no and close early.
            let (mut reader, mut writer) = broker.stream.split();
            let said_all = AtomicBool::new(false);
            let sending = async {
                writer.write_all(&bytes).await?;
                // A broker ends when we do. One that ends before that has not read to the end of the batch.
                sleep(SETTLING).await;
                said_all.store(true, Ordering::Relaxed);
                writer.shutdown().await
            };
            let hearing = async {
                hear(&mut reader, &mut broker.unread).await?;
                if said_all.load(Ordering::Relaxed) {
                    return Ok(());
                }
                Err("it ended the connection before the batch was over".to_owned())
            };
            let (sent, heard) = tokio::join!(sending, hearing);
            heard?;
            sent.map_err(|error| format!("cannot send: {error}"))
        };
        timeout(self.patience, work).await.map_err(|_| late("it did not end the connection", self.patience))?
    }
}

struct Broker {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Broker {
    /// The nonce of the broker's greeting.
    async fn greeting(&mut self) -> Result<Vec<u8>, String> {
        loop {
            match wire::take(&mut self.unread).map_err(|error| format!("it sent {error}"))? {
                Some(Said::Info { nonce }) => return Ok(nonce),
                Some(Said::Error(text)) => return Err(format!("it said: {text}")),
                Some(Said::Else) => {}
                None => {
                    let read = self.stream.read_buf(&mut self.unread).await;
                    if read.map_err(|error| format!("cannot read: {error}"))? == 0 {
                        return Err("it ended the connection before its greeting".to_owned());
                    }
                }
            }
        }
    }
}

/// Reads until the broker closes; an error of its own is the result.
async fn hear(reader: &mut (impl tokio::io::AsyncRead + Unpin), unread: &mut Vec<u8>) -> Result<(), String> {
    loop {
        match wire::take(unread).map_err(|error| format!("it sent {error}"))? {
            Some(Said::Error(text)) => return Err(format!("it said: {text}")),
            Some(_) => {}
            None => match reader.read_buf(unread).await {
                Ok(0) if unread.is_empty() => return Ok(()),
                Ok(0) => return Err("it ended the connection within a frame".to_owned()),
                Ok(_) => {}
                Err(error) => return Err(reset(&error)),
            },
        }
    }
}

fn reset(error: &io::Error) -> String {
    format!("the connection broke: {error}")
}
