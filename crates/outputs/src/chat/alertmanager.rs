//! `aviary.alertmanager`: an alert in Prometheus's Alertmanager (API version 2).
//!
//! | key | meaning |
//! |---|---|
//! | `url` | the server, `http://alertmanager.example:9093` |
//! | `labels` | an object of names and texts that every alert gets |
//! | `resolve_after` | seconds until the alert counts as resolved; the server's `resolve_timeout` if missing |
//! | `token` | a bearer token, or `auth`: `["user", "password"]` |
//!
//! Labels: `alertname` (`Canary`), `severity` (`informational`, `low`, `medium`,
//! `high`, `critical`), `kind`, `service`,
//! `logtype`, `node_id`, `src_host`, `dst_port`, `event_id`. The id makes every event an alert of its
//! own and an event that comes twice the same alert; a route's `group_by: [alertname, src_host]` makes
//! one notification of many. Annotations: `summary`, `description`, `event` (the line).
//! Reference: <https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml>.

use std::time::Duration;

use aviary_event::Timestamp;
use aviary_output::{Blueprint, Entry, Output, Rejection, moment};
use jiff::tz::TimeZone;
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use serde_json::{Map, Value, json};

use super::alert::Alert;
use super::markup::{Markup, Unit};
use super::template::Words;
use super::{Post, Vendor, authorization, below, build as build_chat, keys};
use crate::http::address;
use crate::options::{Options, wrong};

pub(crate) static ENTRY: Entry = Entry {
    name: "alertmanager",
    classes: &["aviary.alertmanager"],
    summary: "an alert in Prometheus's Alertmanager for each event",
    options: keys!["url", "labels", "resolve_after", "token", "auth"],
    build,
};

/// Our own bounds, characters; Alertmanager has none, but what it notifies has.
const LABEL: usize = 200;
const DESCRIPTION: usize = 4000;
const LINE: usize = 64_000;

fn build(blueprint: &Blueprint<'_>) -> Result<Box<dyn Output>, Rejection> {
    build_chat(blueprint, 0, |options, words| {
        let example = "http://alertmanager.example:9093";
        let server = address("url", options.needed_text("url", example)?, example)?;
        Ok(Box::new(Alertmanager {
            url: below(&server, &["api", "v2", "alerts"]),
            labels: labels(options)?,
            resolve_after: options.seconds("resolve_after")?,
            authorization: authorization(options)?,
            secret: options.text("token")?.unwrap_or_default().to_owned(),
            words,
        }))
    })
}

fn labels(options: Options<'_>) -> Result<Map<String, Value>, Rejection> {
    let Some(value) = options.get("labels") else { return Ok(Map::new()) };
    let Value::Object(map) = value else { return Err(wrong("labels", value, "an object of names and texts")) };
    for (name, text) in map {
        let mut bytes = name.bytes();
        let sound = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !sound || !text.is_string() {
            let reason = "is not a label's name (letters, digits and `_`, no digit first) with a text";
            return Err(Rejection::new(format!("labels.{name}"), reason));
        }
    }
    Ok(map.clone())
}

pub(super) struct Alertmanager {
    pub(super) url: Url,
    pub(super) labels: Map<String, Value>,
    pub(super) resolve_after: Option<Duration>,
    pub(super) authorization: Option<HeaderValue>,
    pub(super) secret: String,
    pub(super) words: Words,
}

impl Vendor for Alertmanager {
    fn encode(&self, alert: &Alert<'_>, _: jiff::Timestamp) -> Post {
        let mut labels = Map::from_iter([("alertname".to_owned(), Value::from("Canary"))]);
        for (label, field) in [
            ("severity", "severity"),
            ("kind", "kind"),
            ("service", "service"),
            ("logtype", "logtype"),
            ("node_id", "node_id"),
            ("src_host", "src_host"),
            ("dst_port", "dst_port"),
            ("event_id", "id"),
        ] {
            let value = Markup::Plain.escaped(&alert.field(field), Unit::Utf16, LABEL);
            // An empty label is the same as none.
            if !value.is_empty() {
                labels.insert(label.to_owned(), Value::from(value));
            }
        }
        labels.extend(self.labels.clone());
        let mut one = json!({
            "labels": labels,
            "annotations": {
                "summary": Markup::Plain.escaped(&alert.title, Unit::Utf16, DESCRIPTION),
                "description": self.words.body(alert, Markup::Plain, Unit::Utf16, DESCRIPTION),
                "event": Markup::Plain.escaped(&alert.line, Unit::Utf16, LINE),
            },
        });
        if let Some(time) = moment(alert.event) {
            one["startsAt"] = Value::from(time.to_rfc3339(&TimeZone::UTC));
            if let Some(after) = self.resolve_after {
                let micros = i64::try_from(after.as_micros()).unwrap_or(i64::MAX);
                let end = Timestamp::from_micros(time.as_micros().saturating_add(micros));
                one["endsAt"] = Value::from(end.to_rfc3339(&TimeZone::UTC));
            }
        }
        let mut post = Post::json(self.url.clone(), &json!([one]));
        if let Some(value) = &self.authorization {
            post.headers.insert(AUTHORIZATION, value.clone());
        }
        post
    }

    fn secrets(&self) -> Vec<&str> {
        vec![&self.secret]
    }
}
