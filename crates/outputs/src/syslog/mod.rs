//! `logging.handlers.SysLogHandler`: one message an event to a syslog daemon.
//!
//! | key | meaning |
//! |---|---|
//! | `address` | `["host", port]`, `"host"` (port 514), or the path of a Unix socket, `/dev/log`; `["localhost", 514]` if missing |
//! | `facility` | name or number; `user` if missing |
//! | `socktype` | `ext://socket.SOCK_DGRAM` (also 2), `ext://socket.SOCK_STREAM` (also 1); UDP if missing, on a Unix socket whatever works |
//! | `append_nul` | whether a NUL ends each message; `false` |
//!
//! A message is `<PRI>` and the formatted line, with neither time nor host, as Python writes it; the
//! level is WARNING, so that facility `user` gives `<12>`. Two things differ from Python on purpose:
//! no NUL byte follows the text, since receivers of today store it as part of the event
//! (`append_nul` brings it back), and a stream ends each message with a newline, which is what
//! daemons split at (RFC 6587, section 3.4.2).
//!
//! LIMIT: syslog knows no answers. Over TCP what was sent shortly before the connection broke is
//! sent again on the next; over UDP a receiver that is not there is only noticed when its machine
//! says so. Tried with rsyslog over UDP, TCP and a Unix socket. References: RFC 3164, RFC 6587,
//! <https://docs.python.org/3/library/logging.handlers.html#sysloghandler>.

mod cef;
mod leef;
pub(crate) mod link;
mod structured;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aviary_event::Event;
use aviary_output::{Blueprint, Delivery, Entry, LineFormat, Output, Rejection, Someday};
use serde_json::Value;

use crate::options::{Options, whole_of, wrong};
use link::{Kind, Sender, Target};
pub(crate) use structured::{Daemon, STRUCTURED};

/// Messages to a syslog daemon.
pub(crate) static ENTRY: Entry = Entry {
    name: "syslog",
    classes: &["logging.handlers.SysLogHandler"],
    summary: "messages to a syslog daemon over UDP, TCP or a Unix socket",
    options: &["address", "facility", "socktype", "append_nul", "template"],
    build,
};

/// Facilities by name; the place in the list is the number, empty places have none. Source:
/// RFC 5424 table 1, with the names of Python's table.
const FACILITIES: &[&str] = &[
    "kern",
    "user",
    "mail",
    "daemon",
    "auth",
    "syslog",
    "lpr",
    "news",
    "uucp",
    "cron",
    "authpriv",
    "ftp",
    "ntp",
    "security",
    "console",
    "solaris-cron",
    "local0",
    "local1",
    "local2",
    "local3",
    "local4",
    "local5",
    "local6",
    "local7",
];

/// The severity of level WARNING.
const WARNING: u64 = 4;

/// The port of syslog over UDP and, by custom, over TCP.
const PORT: u16 = 514;

fn build(blueprint: &Blueprint<'_>) -> Result<Box<dyn Output>, Rejection> {
    let options = Options(blueprint.options);
    let encoder = Encoder {
        priority: facility(options)? * 8 + WARNING,
        nul: options.flag("append_nul", false)?,
        lines: LineFormat::with_template(blueprint)?,
    };
    let sender = Sender::new("syslog", target(options, PORT)?, kind(options)?);
    Ok(Box::new(Syslog { encoder, sender }))
}

fn facility(options: Options<'_>) -> Result<u64, Rejection> {
    let Some(value) = options.get("facility") else { return Ok(1) };
    let named = value.as_str().map(|name| name.trim_start_matches("ext://logging.handlers.SysLogHandler.LOG_"));
    let number = match named {
        Some(name) => FACILITIES
            .iter()
            .position(|known| known.eq_ignore_ascii_case(name))
            .and_then(|at| u64::try_from(at).ok())
            .or_else(|| whole_of(value)),
        None => whole_of(value),
    };
    number
        .filter(|number| *number < 24)
        .ok_or_else(|| wrong("facility", value, &format!("a number from 0 to 23 or one of {}", FACILITIES.join(", "))))
}

/// Where `address` points; `port` where it names none.
pub(crate) fn target(options: Options<'_>, port: u16) -> Result<Target, Rejection> {
    let accepted = "`[\"host\", port]`, `\"host\"`, or the path of a Unix socket such as `/dev/log`";
    let host = |host: &str, port| Target::Host { host: host.trim_matches(['[', ']']).to_owned(), port };
    match options.get("address") {
        None => Ok(host("localhost", port)),
        Some(Value::String(text)) if text.starts_with(['/', '.']) => Ok(Target::Path(PathBuf::from(text))),
        Some(Value::String(text)) if !text.is_empty() => Ok(host(text, port)),
        Some(value @ Value::Array(items)) => match items.as_slice() {
            [Value::String(name), port] if !name.is_empty() => {
                let port = whole_of(port).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
                Ok(host(name, port.ok_or_else(|| wrong("address", value, accepted))?))
            }
            _ => Err(wrong("address", value, accepted)),
        },
        Some(other) => Err(wrong("address", other, accepted)),
    }
}

fn kind(options: Options<'_>) -> Result<Kind, Rejection> {
    let Some(value) = options.get("socktype") else { return Ok(Kind::Unsaid) };
    // The numbers are Linux's, which is where such a file comes from.
    match (value.as_str().map(|text| text.trim_start_matches("ext://socket.")), whole_of(value)) {
        (Some("SOCK_STREAM"), _) | (_, Some(1)) => Ok(Kind::Stream),
        (Some("SOCK_DGRAM"), _) | (_, Some(2)) => Ok(Kind::Datagram),
        _ => Err(wrong("socktype", value, "`ext://socket.SOCK_DGRAM` or `ext://socket.SOCK_STREAM`")),
    }
}

/// Turns events into messages.
#[derive(Debug)]
struct Encoder {
    priority: u64,
    nul: bool,
    lines: LineFormat,
}

impl Encoder {
    /// A message without framing.
    fn encode(&self, event: &Event) -> String {
        let mut message = format!("<{}>", self.priority);
        self.lines.write(event, &mut message);
        if self.nul {
            message.push('\0');
        }
        message
    }
}

struct Syslog {
    encoder: Encoder,
    sender: Sender,
}

impl Output for Syslog {
    fn deliver<'a>(&'a mut self, batch: &'a [Arc<Event>]) -> Delivery<'a> {
        Box::pin(async move { self.sender.send(batch.iter().map(|event| self.encoder.encode(event))).await })
    }

    fn in_doubt(&mut self) -> Someday<'_> {
        Box::pin(self.sender.in_doubt())
    }

    fn batch_limit(&self) -> usize {
        self.sender.batch_limit()
    }

    fn time_limit(&self) -> Duration {
        Duration::from_secs(20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, json};

    fn encoder(options: &Value) -> Result<(String, Target), String> {
        let Value::Object(map) = options else { return Err("no object".to_owned()) };
        let format = "opencanaryd: %(name)s %(levelname)-5s %(message)s";
        let blueprint = Blueprint { name: "s", options: map, format, extended: false, node_id: "n1" };
        let text = |rejection: Rejection| rejection.to_string();
        let options = Options(map);
        let encoder = Encoder {
            priority: facility(options).map_err(text)? * 8 + WARNING,
            nul: options.flag("append_nul", false).map_err(text)?,
            lines: LineFormat::new(&blueprint).map_err(text)?,
        };
        kind(options).map_err(text)?;
        let event = Event::parse(r#"{"logtype": 2000}"#).expect("an event");
        Ok((encoder.encode(&event), target(options, PORT).map_err(text)?))
    }

    #[test]
    fn writes_what_python_writes_but_the_nul() {
        let (message, target) = encoder(&json!({})).expect("defaults are good");
        assert_eq!(message, r#"<12>opencanaryd: n1 WARNING {"logdata": null, "logtype": 2000}"#);
        assert_eq!(target, Target::Host { host: "localhost".to_owned(), port: 514 });
        let (message, _) = encoder(&json!({"append_nul": true, "facility": "local0"})).expect("good");
        assert!(message.starts_with("<132>") && message.ends_with("}\0"));
    }

    #[test]
    fn takes_facilities_and_socket_types_in_all_their_spellings() {
        for (facility, priority) in [(json!("LOCAL7"), "<188>"), (json!(16), "<132>"), (json!("3"), "<28>")] {
            let (message, _) = encoder(&json!({"facility": facility})).expect("good");
            assert!(message.starts_with(priority), "{message}");
        }
        for kind in [json!("ext://socket.SOCK_STREAM"), json!(1), json!(2), Value::Null] {
            assert!(encoder(&json!({"socktype": kind})).is_ok());
        }
    }

    #[test]
    fn takes_hosts_ports_and_paths() {
        let host = |host: &str, port| Target::Host { host: host.to_owned(), port };
        for (address, expected) in [
            (json!(["192.0.2.1", "1514"]), host("192.0.2.1", 1514)),
            (json!(["[2001:db8::1]", 514]), host("2001:db8::1", 514)),
            (json!("log.example"), host("log.example", 514)),
            (json!("/dev/log"), Target::Path("/dev/log".into())),
        ] {
            assert_eq!(encoder(&json!({"address": address})).expect("good").1, expected);
        }
    }

    #[test]
    fn names_the_key_that_is_wrong() {
        for (options, start) in [
            (json!({"address": 5}), "`address`: is 5; it takes"),
            (json!({"address": ["h", 0]}), "`address`: is [\"h\",0]; it takes"),
            (json!({"address": ["h"]}), "`address`: is"),
            (json!({"address": ""}), "`address`: is"),
            (json!({"facility": "lokal0"}), "`facility`: is \"lokal0\"; it takes a number"),
            (json!({"facility": 24}), "`facility`: is 24"),
            (json!({"socktype": "tcp"}), "`socktype`: is \"tcp\"; it takes"),
            (json!({"append_nul": "x"}), "`append_nul`: is"),
        ] {
            let message = encoder(&options).expect_err("wrong");
            assert!(message.starts_with(start), "{message}");
        }
        assert!(
            build(&Blueprint { name: "s", options: &Map::new(), format: "x", extended: true, node_id: "" }).is_err()
        );
    }
}
