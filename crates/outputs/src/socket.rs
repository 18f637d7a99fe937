//! Lines of JSON to a socket: `opencanary.logger.SocketJSONHandler`, `logging.handlers.SocketHandler`
//! and `logging.handlers.DatagramHandler`.
//!
//! | key | meaning |
//! |---|---|
//! | `host` | name or address; without a `port` the path of a Unix socket |
//! | `port` | from 1; `SocketJSONHandler` needs it |
//!
//! The first two send a line an event, each ended with a newline, over TCP or a Unix stream; the third
//! sends a datagram an event, without a newline. What goes out is the event's line as it is, since
//! neither OpenCanary's class nor Python's asks the formatter.
//!
//! Python's own two classes send pickled `LogRecord`s, which only Python reads and which are not safe
//! to read. Here they send the same lines as OpenCanary's class. A receiver made for pickles has to be
//! changed; one that reads lines gets more than it would from Python.
//!
//! OpenCanary loses the event after the receiver went away, sends later ones out of order and drops
//! what ten tries did not deliver. Here order is kept and tries do not end.
//!
//! LIMIT: such receivers give no answer. Over TCP what was sent shortly before the connection broke is
//! sent again on the next; `aviary.id` tells a repetition. Over UDP a receiver that is not there is only
//! noticed when its machine says so, and an event over 65,507 bytes arrives cut. Tried with Python's
//! socketserver. References: <https://docs.python.org/3/library/logging.handlers.html#sockethandler>,
//! <https://docs.python.org/3/library/logging.handlers.html#datagramhandler>.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aviary_event::Event;
use aviary_output::{Blueprint, Delivery, Entry, LineFormat, Output, Rejection, Someday};
use serde_json::Value;

use crate::options::{Options, whole_of, wrong};
use crate::syslog::link::{Kind, Sender, Target};

/// Datagrams.
pub(crate) static DATAGRAM: Entry = Entry {
    name: "datagram",
    classes: &["logging.handlers.DatagramHandler"],
    summary: "a JSON datagram for each event over UDP or a Unix socket",
    options: &["host", "port", "template"],
    build: |blueprint| build(blueprint, Kind::Datagram, true),
};

/// Lines on a stream, as Python's class is configured.
pub(crate) static SOCKET: Entry = Entry {
    name: "socket",
    classes: &["logging.handlers.SocketHandler"],
    summary: "JSON lines over TCP or a Unix socket",
    options: &["host", "port", "template"],
    build: |blueprint| build(blueprint, Kind::Stream, true),
};

/// Lines on a stream, as OpenCanary's class is configured.
pub(crate) static SOCKET_JSON: Entry = Entry {
    name: "socket_json",
    classes: &["opencanary.logger.SocketJSONHandler"],
    summary: "JSON lines over TCP",
    options: &["host", "port", "template"],
    build: |blueprint| build(blueprint, Kind::Stream, false),
};

fn build(blueprint: &Blueprint<'_>, kind: Kind, or_path: bool) -> Result<Box<dyn Output>, Rejection> {
    let options = Options(blueprint.options);
    // The formatter is not used, but a mistake in it is one all the same.
    let lines = LineFormat::with_template(blueprint)?;
    let sender = Sender::new("receiver", target(options, or_path)?, kind);
    Ok(Box::new(Socket { lines, sender }))
}

fn target(options: Options<'_>, or_path: bool) -> Result<Target, Rejection> {
    let host = options.needed_text("host", "192.0.2.10")?;
    if host.contains(char::is_control) {
        return Err(wrong("host", &Value::from(host), "a name or an address"));
    }
    let Some(value) = options.get("port") else {
        if or_path && host.starts_with(['/', '.']) {
            return Ok(Target::Path(PathBuf::from(host)));
        }
        let reason = "is missing; it takes a port such as 1234";
        return Err(Rejection::new(
            "port",
            if or_path { "is missing; only the path of a Unix socket in `host` goes without" } else { reason },
        ));
    };
    let port = whole_of(value).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    let port = port.ok_or_else(|| wrong("port", value, "a whole number from 1 to 65535"))?;
    Ok(Target::Host { host: host.trim_matches(['[', ']']).to_owned(), port })
}

struct Socket {
    lines: LineFormat,
    sender: Sender,
}

impl Output for Socket {
    fn deliver<'a>(&'a mut self, batch: &'a [Arc<Event>]) -> Delivery<'a> {
        Box::pin(async move { self.sender.send(batch.iter().map(|event| self.lines.text_or_json(event))).await })
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
    use serde_json::json;

    fn target_of(options: &Value, or_path: bool) -> Result<Target, String> {
        let map = options.as_object().expect("an object");
        target(Options(map), or_path).map_err(|rejection| rejection.to_string())
    }

    #[test]
    fn takes_hosts_and_for_pythons_classes_paths() {
        let host = |host: &str, port| Ok(Target::Host { host: host.to_owned(), port });
        assert_eq!(target_of(&json!({"host": "log.example", "port": "1234"}), false), host("log.example", 1234));
        assert_eq!(target_of(&json!({"host": "[2001:db8::1]", "port": 9}), true), host("2001:db8::1", 9));
        assert_eq!(
            target_of(&json!({"host": "/run/x.sock", "port": null}), true),
            Ok(Target::Path("/run/x.sock".into()))
        );
    }

    #[test]
    fn names_the_key_that_is_wrong() {
        for (options, or_path, start) in [
            (json!({"port": 1}), false, "`host`: is missing"),
            (json!({"host": "h"}), false, "`port`: is missing; it takes"),
            (json!({"host": "/run/x.sock"}), false, "`port`: is missing; it takes"),
            (json!({"host": "h"}), true, "`port`: is missing; only"),
            (json!({"host": "h", "port": 65536}), true, "`port`: is 65536; it takes"),
            (json!({"host": "h\n", "port": 1}), true, "`host`: is"),
        ] {
            let message = target_of(&options, or_path).expect_err("wrong");
            assert!(message.starts_with(start), "{message}");
        }
    }
}
