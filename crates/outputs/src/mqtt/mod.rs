//! `aviary.mqtt`: messages to an MQTT broker.
//!
//! | key | meaning |
//! |---|---|
//! | `host`, `port` | the broker; 1883, over TLS 8883 |
//! | `topic` | `canary/{service}/{kind}`; fields are `{service}`, `{kind}`, `{node_id}`, `{logtype}` |
//! | `qos` | 0, 1 or 2; 1 |
//! | `protocol` | `5` or `3.1.1`; `5` |
//! | `client_id` | a name that no other client of the broker has; one made of the canary's and the handler's names |
//! | `username`, `password` | the login |
//! | `tls`, `verify` | whether to use TLS, and whom to trust; `false` |
//! | `timeout` | seconds for the broker's next word; 10 |
//!
//! The payload is the formatted line, not retained; with version 5 the user property `aviary.id` is the
//! event's id. Messages are written without waiting, as many as the broker allows at a time, and an event
//! counts when its `PUBACK` has come (`PUBCOMP` at QoS 2). At QoS 0, which has no answers, a batch ends with
//! `PINGREQ`, and the answer says that the broker has read it. The session is clean: what was under
//! way when a connection broke is published again on the next, so that a subscriber may see it twice.
//!
//! With version 5 an answer has a reason. Refused are events beyond the broker's maximum packet size and those
//! whose payload or size it does not take (149, 153); that a topic is forbidden or a quota exceeded can
//! be mended, and events wait. That nobody has subscribed (16) is no failure.
//!
//! LIMIT: version 3.1.1 has no reasons; there a broker says "received" also of what its rules make it throw away.
//! Keep-alive is off, since nobody reads between batches; a broker that ends idle connections all the
//! same is connected to again with the next event.
//!
//! The packets are read by ours and not by a library: that of `rumqttc` 0.25 takes a `PUBACK` with a reason
//! that the specification does not foresee there, as Mosquitto sends for a message that is too large, for the end
//! of the conversation. Tried with Mosquitto 2.0. Reference: <https://docs.oasis-open.org/mqtt/mqtt/v5.0/mqtt-v5.0.html>.

mod wire;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aviary_event::Event;
use aviary_output::{Blueprint, Delivery, DeliveryError, Entry, LineFormat, Output, Rejection};
use bytes::BytesMut;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use crate::dial::{CONNECTING, Link, late};
use crate::naming::{Grammar, Naming};
use crate::options::{Options, wrong};
use crate::receipts::{Receipts, Taken};
use crate::tls::{Tls, Trust};
use crate::worker::temporary;
use wire::{Said, Stage, Version, take};

/// MQTT.
pub(crate) static ENTRY: Entry = Entry {
    name: "mqtt",
    classes: &["aviary.mqtt"],
    summary: "messages to an MQTT broker, acknowledged one by one",
    options: &[
        "template",
        "host",
        "port",
        "topic",
        "qos",
        "protocol",
        "client_id",
        "username",
        "password",
        "tls",
        "verify",
        "timeout",
    ],
    build,
};

/// Topics are levels with slashes between; `+` and `#` are for those who subscribe.
static TOPICS: Grammar = Grammar { what: "a topic", separator: '/', forbidden: &['+', '#'], empty_levels: true };

/// Longest wait for the answers to a batch, unless `timeout` says otherwise.
const ANSWERING: Duration = Duration::from_secs(10);

/// Messages without an answer at a time, where the broker does not say how many it takes. Version 5 says
/// that it then takes 65,535; of 3.1.1 Mosquitto takes 20 of QoS 2 (`max_inflight_messages`) and ends the
/// connection at one more, EMQX 100 (`max_awaiting_rel`).
const UNDER_WAY: usize = 20;

/// Bytes that wait to be sent, after which no further event is written down.
const FULL: usize = 1 << 20;

/// Reasons that concern one message for good: packet too large, payload format invalid.
const REFUSALS: [u8; 2] = [149, 153];

fn build(blueprint: &Blueprint<'_>) -> Result<Box<dyn Output>, Rejection> {
    let options = Options(blueprint.options);
    let tls = options.flag("tls", false)?;
    let trust = Trust::read(options)?;
    let host = options.needed_text("host", "broker.example")?.trim_matches(['[', ']']);
    if host.is_empty() || host.contains(|c: char| c.is_control() || matches!(c, '/' | ' ' | '?')) {
        return Err(wrong("host", &Value::from(host), "a host such as `broker.example`"));
    }
    let username = options.name("username")?.map(str::to_owned);
    let password = match options.get("password") {
        None => None,
        // The value is not repeated, since it may be a secret.
        Some(Value::String(text)) if text.len() <= usize::from(u16::MAX) && !text.contains('\0') => Some(text.clone()),
        Some(_) => return Err(Rejection::new("password", "takes text of at most 65535 bytes")),
    };
    if password.is_some() && username.is_none() {
        return Err(Rejection::new("username", "is missing beside `password`; it takes a name"));
    }
    let client = options.name("client_id")?.map_or_else(|| client_id(blueprint), str::to_owned);
    Ok(Box::new(Mqtt {
        host: host.to_owned(),
        port: u16::try_from(options.whole("port", if tls { 8883 } else { 1883 }, 1, 65_535)?).unwrap_or(u16::MAX),
        topic: Naming::read(options, "topic", "canary/{service}/{kind}", &TOPICS)?,
        qos: u8::try_from(options.whole("qos", 1, 0, 2)?).unwrap_or(1),
        version: match options.choice("protocol", &["5", "3.1.1"])? {
            Some("3.1.1") => Version::Four,
            _ => Version::Five,
        },
        client,
        username,
        password,
        tls: tls.then(|| Tls::new(trust)),
        limit: options.seconds("timeout")?.unwrap_or(ANSWERING),
        lines: LineFormat::with_template(blueprint)?,
        session: None,
        taken: Taken::default(),
    }))
}

/// A name that is the same at every start: letters and digits, at most 23, which every broker takes
/// (version 3.1.1, section 3.1.3.1).
fn client_id(blueprint: &Blueprint<'_>) -> String {
    let sum = Sha256::new().chain_update(blueprint.node_id).chain_update("\0").chain_update(blueprint.name).finalize();
    sum.iter().take(8).fold("aviary".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

struct Mqtt {
    host: String,
    port: u16,
    topic: Naming,
    qos: u8,
    version: Version,
    client: String,
    username: Option<String>,
    password: Option<String>,
    tls: Option<Tls>,
    limit: Duration,
    lines: LineFormat,
    session: Option<Session>,
    taken: Taken,
}

/// A connection that is logged in.
struct Session {
    link: Link,
    /// The number of the next packet.
    number: u16,
    /// Messages without an answer at a time.
    under_way: usize,
    /// Longest packet, bytes.
    most: usize,
}

impl Output for Mqtt {
    fn deliver<'a>(&'a mut self, batch: &'a [Arc<Event>]) -> Delivery<'a> {
        Box::pin(async move {
            let mut receipts = Receipts::of(batch, &self.taken);
            let place = format!("broker at `{}` port {}", self.host, self.port);
            // Taken out, so that a delivery that is given up half way costs the connection.
            let reason = match self.session().await {
                Err(reason) => format!("{place}: {reason}"),
                Ok(mut session) => match self.publish(&mut session, &place, batch, &mut receipts).await {
                    Err(reason) => format!("{place}: {reason}"),
                    Ok(()) => {
                        self.session = Some(session);
                        format!("{place}: an event before it failed")
                    }
                },
            };
            receipts.close(batch, &mut self.taken, reason)
        })
    }

    fn batch_limit(&self) -> usize {
        1000
    }

    fn time_limit(&self) -> Duration {
        // Connection, TLS, greeting, and the batch.
        CONNECTING * 3 + self.limit + Duration::from_secs(1)
    }
}

impl Mqtt {
    /// The session that there is, if it still stands, or else a new one.
    async fn session(&mut self) -> Result<Session, String> {
        if let Some(mut session) = self.session.take() {
            let idle = |unread: &mut BytesMut, _: &mut BytesMut| {
                while let Some(said) = take(unread)? {
                    if matches!(said, Said::Farewell { .. }) {
                        return Err("farewell".to_owned());
                    }
                }
                Ok(false)
            };
            if session.link.stands(&mut BytesMut::new(), idle).await {
                return Ok(session);
            }
        }
        let mut link = Link::dial(&self.host, self.port).await?;
        if let Some(tls) = &self.tls {
            link = link.secure(tls, &self.host).await?;
        }
        let login = self.username.as_deref().map(|user| (user, self.password.as_deref()));
        let mut out = BytesMut::from(wire::connect(self.version, &self.client, login));
        let mut welcome = wire::Properties::default();
        let greeting =
            link.converse(&mut out, |unread, _| match take(unread).map_err(|error| format!("it sent {error}"))? {
                None => Ok(false),
                Some(Said::Welcome { code: 0, properties }) => {
                    welcome = properties;
                    Ok(true)
                }
                Some(Said::Welcome { code, properties }) => Err(said(code, properties.words.as_deref())),
                Some(Said::Farewell { reason, words }) => Err(said(reason, words.as_deref())),
                Some(_) => Err("it did not greet".to_owned()),
            });
        timeout(CONNECTING, greeting).await.map_err(|_| late("no greeting", CONNECTING))??;
        if let Some(most) = welcome.maximum_qos.filter(|most| *most < self.qos) {
            return Err(format!("it takes QoS {most} at most, and `qos` is {}", self.qos));
        }
        let default = if self.version == Version::Five { usize::from(u16::MAX) } else { UNDER_WAY };
        let most = welcome.maximum_packet.and_then(|most| usize::try_from(most).ok());
        Ok(Session {
            link,
            number: 0,
            under_way: welcome.receive_maximum.map_or(default, usize::from).max(1),
            most: most.unwrap_or(wire::MOST),
        })
    }

    /// Sends what is to be sent, and hears what became of it. An error costs the connection.
    async fn publish(
        &self,
        session: &mut Session,
        place: &str,
        batch: &[Arc<Event>],
        receipts: &mut Receipts,
    ) -> Result<(), String> {
        let Session { link, number, under_way, most } = session;
        let mut pinged = false;
        // Which event a packet's number stands for.
        let mut numbers: HashMap<u16, usize> = HashMap::new();
        let mut out = BytesMut::new();
        let talk = link.converse(&mut out, |unread, out| {
            while let Some(said) = take(unread).map_err(|error| format!("it sent {error}"))? {
                match said {
                    Said::Answer { stage, packet, reason, words } => {
                        let Some(at) = numbers.get(&packet).copied() else { continue };
                        if stage == Stage::Received && reason < 128 {
                            wire::release(packet, out);
                        } else {
                            numbers.remove(&packet);
                            receipts.settle(at, judge(place, reason, words.as_deref()));
                        }
                    }
                    Said::Pong if pinged => receipts.settle_rest(),
                    Said::Farewell { reason, words } => return Err(self::said(reason, words.as_deref())),
                    Said::Welcome { .. } => return Err("it greeted twice".to_owned()),
                    Said::Pong | Said::Else => {}
                }
            }
            let free = |waiting: usize| self.qos == 0 || waiting < *under_way;
            while out.len() < FULL
                && free(receipts.waiting())
                && let Some(at) = receipts.send()
            {
                let Some(event) = batch.get(at) else { continue };
                // Zero is no number. At most 1000 are in use at a time, so that the next is free.
                *number = number.checked_add(1).unwrap_or(1);
                let id = event.aviary.as_ref().map(|ours| ours.id.to_string());
                let (topic, line) = (self.topic.of(event), self.lines.line(event));
                let message = wire::publish(self.version, self.qos, *number, &topic, id.as_deref(), &line);
                if message.len() > *most {
                    let reason = format!("{} bytes are more than the broker's {most}", message.len());
                    receipts.settle(at, Err(DeliveryError::Refused { reason }));
                    continue;
                }
                numbers.insert(*number, at);
                out.extend_from_slice(&message);
            }
            if self.qos == 0 && !pinged && receipts.all_sent() && receipts.waiting() > 0 {
                pinged = true;
                wire::ping(out);
            }
            Ok(receipts.waiting() == 0 && receipts.all_sent())
        });
        timeout(self.limit, talk).await.map_err(|_| late("no answer", self.limit))?
    }
}

/// What an answer's reason means.
fn judge(place: &str, reason: u8, words: Option<&str>) -> Result<(), DeliveryError> {
    match reason {
        0..128 => Ok(()),
        _ if REFUSALS.contains(&reason) => Err(DeliveryError::Refused { reason: said(reason, words) }),
        _ => Err(temporary(format!("{place}: {}", said(reason, words)))),
    }
}

/// A reason in words: the broker's own, and the specification's (version 3.1.1, table 3.1; version 5, section 2.4).
fn said(reason: u8, words: Option<&str>) -> String {
    let meaning = match reason {
        1 | 132 => "unsupported protocol version; `protocol` says which",
        2 | 133 => "client identifier not valid",
        3 | 136 => "server unavailable",
        4 | 134 => "bad user name or password",
        5 | 135 => "not authorized",
        128 => "unspecified error",
        130 => "protocol error",
        131 => "implementation specific error",
        137 => "server busy",
        138 => "banned",
        139 => "server shutting down",
        141 => "keep alive timeout",
        142 => "session taken over; another client has the same `client_id`",
        144 => "topic name invalid",
        145 => "packet identifier in use",
        147 => "receive maximum exceeded",
        149 => "packet too large",
        150 => "message rate too high",
        151 => "quota exceeded",
        153 => "payload format invalid",
        155 => "QoS not supported",
        159 => "connection rate exceeded",
        _ => "no reason that is known here",
    };
    match words {
        Some(words) => format!("it said: {words} ({reason}, {meaning})"),
        None => format!("it said: {reason}, {meaning}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Map;

    #[test]
    fn a_client_has_the_same_name_at_every_start() {
        let map = Map::new();
        let named = |node_id, name| {
            client_id(&Blueprint { name, options: &map, format: "%(message)s", extended: true, node_id })
        };
        // SHA-256 of "n1", NUL, "mqtt", by sha256sum.
        assert_eq!(named("n1", "mqtt"), "aviary9e634467a2728d69");
        assert!(named("n1", "other") != named("n1", "mqtt") && named("n1m", "qtt") != named("n1", "mqtt"));
    }

    #[test]
    fn reasons_are_told_in_words() {
        let text = |reason, words| match judge("P", reason, words) {
            Ok(()) => "taken".to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(text(0, None), "taken");
        assert_eq!(text(16, None), "taken");
        assert_eq!(text(135, None), "P: it said: 135, not authorized");
        assert_eq!(text(151, Some("slow down")), "P: it said: slow down (151, quota exceeded)");
        assert_eq!(text(149, None), "refused: it said: 149, packet too large");
    }
}
