//! Destinations of a script's messages: an HTTP receiver or a syslog daemon, with the keys of the outputs that
//! send there.
//!
//! | key | meaning |
//! |---|---|
//! | `url` | an HTTP receiver, with `method`, `headers`, `params`, `cookies`, `auth`, `status_code`, `verify` and `timeout` as for `opencanary.logger.WebhookHandler` |
//! | `syslog` | a daemon: `"host:port"`, `["host", port]`, `"host"` or the path of a Unix socket, with `transport`, `verify`, `protocol`, `framing`, `facility`, `app_name` and `sd_id` as for `aviary.syslog` |
//!
//! A request's media type is that of its message, `application/json` or `text/plain`, unless `headers` say otherwise,
//! and the message's id stands in `Idempotency-Key`. A message to a daemon has the header that `aviary.syslog` writes:
//! severity, time, canary and id are the event's.

use std::time::Duration;

use aviary_output::{Blueprint, Body, Delivery, Destination, Failure, Message, Rejection};
use serde_json::{Map, Value, json};

use crate::options::{Options, wrong};
use crate::syslog::Daemon;
use crate::webhook::Request;

/// Builds the destination that a handler has under a name. Nothing is opened.
///
/// # Errors
/// Names the key at fault, below the destination's name.
pub fn destination(blueprint: &Blueprint<'_>, name: &str, options: &Value) -> Result<Box<dyn Destination>, Rejection> {
    let example = "{\"url\": \"https://siem.example/events\"} or {\"syslog\": \"siem.example:514\"}";
    let Value::Object(options) = options else { return Err(wrong(name, options, &format!("an object, {example}"))) };
    let given = |key| Options(options).get(key).is_some();
    let below = |rejection: Rejection| {
        let option = if rejection.option == "address" { "syslog" } else { &rejection.option };
        Rejection::new(format!("{name}.{option}"), rejection.reason)
    };
    match (given("url"), given("syslog")) {
        (true, false) => {
            known(name, options, "url", Request::OPTIONS)?;
            let request = Request::read(Options(options)).map_err(below)?;
            Ok(Box::new(Web { request }))
        }
        (false, true) => {
            known(name, options, "syslog", Daemon::OPTIONS)?;
            let mut options = options.clone();
            let address = options.remove("syslog").map_or(Value::Null, address);
            options.insert("address".to_owned(), address);
            let blueprint = Blueprint { options: &options, ..*blueprint };
            let daemon = Daemon::read(&blueprint).map_err(below)?;
            Ok(Box::new(daemon))
        }
        _ => Err(Rejection::new(name, format!("has to have one of `url` and `syslog`: {example}"))),
    }
}

/// Refuses keys that nobody reads.
fn known(name: &str, options: &Map<String, Value>, first: &str, others: &[&str]) -> Result<(), Rejection> {
    let unknown = options.keys().find(|key| *key != first && !others.contains(&key.as_str()));
    let Some(key) = unknown else { return Ok(()) };
    let reason = format!("is not known; beside `{first}` there are {}", others.join(", "));
    Err(Rejection::new(format!("{name}.{key}"), reason))
}

/// `"host:port"` as `address` has it.
fn address(value: Value) -> Value {
    let Value::String(text) = &value else { return value };
    match text.rsplit_once(':') {
        // More colons without brackets are an address of version 6, and no port.
        Some((host, port)) if !text.starts_with(['/', '.']) && (!host.contains(':') || host.ends_with(']')) => {
            json!([host, port])
        }
        _ => value,
    }
}

/// A receiver of requests.
struct Web {
    request: Request,
}

impl Destination for Web {
    fn send<'a>(&'a mut self, messages: &'a [Message]) -> Delivery<'a> {
        Box::pin(async move {
            for (delivered, message) in messages.iter().enumerate() {
                let content_type = match message.body {
                    Body::Json(_) => "application/json",
                    Body::Text(_) => "text/plain; charset=utf-8",
                    Body::Bytes(_) => "application/octet-stream",
                };
                let (body, id) = (message.body.as_bytes().to_vec(), message.id());
                let sent = self.request.send(body, Some(content_type), id.as_deref()).await;
                sent.map_err(|error| Failure { delivered, error })?;
            }
            Ok(())
        })
    }

    /// One, so that a time limit never cuts between messages that arrived and messages that did not.
    fn batch_limit(&self) -> usize {
        1
    }

    fn time_limit(&self) -> Duration {
        self.request.time_limit()
    }
}
