//! `aviary.pushover`: a notification by Pushover.
//!
//! | key | meaning |
//! |---|---|
//! | `token` | the application's |
//! | `user` | the user's or group's key |
//! | `priority` | -2 to 2; by severity if missing: 1 for logins, else 0 |
//! | `retry`, `expire` | seconds, for priority 2: how often (at least 30; 60) and how long (at most 10,800; 3,600) it rings until somebody confirms |
//! | `device`, `sound` | Pushover's names |
//! | `server` | `https://api.pushover.net` |
//!
//! A form; the message has at most 1,024 characters, the title 250. `status` 1 is success; 429 means
//! that the month's messages are used up.
//! Reference: <https://pushover.net/api>.

use std::time::Duration;

use aviary_event::Severity;
use aviary_output::{Blueprint, Entry, Output, Rejection, moment};
use reqwest::Url;
use serde_json::Value;

use super::alert::Alert;
use super::markup::{Markup, Unit};
use super::template::Words;
use super::verdict::{self, Verdict, by_status, later, refused};
use super::{Post, Vendor, below, build as build_chat, keys, label};
use crate::http::{Answer, address};
use crate::options::{Options, wrong};
use crate::webhook::encode_form;

pub(crate) static ENTRY: Entry = Entry {
    name: "pushover",
    classes: &["aviary.pushover"],
    summary: "a Pushover notification for each event",
    options: keys!["token", "user", "priority", "retry", "expire", "device", "sound", "server"],
    build,
};

const MESSAGE: usize = 1024;
const TITLE: usize = 250;

fn build(blueprint: &Blueprint<'_>) -> Result<Box<dyn Output>, Rejection> {
    build_chat(blueprint, 0, |options, words| {
        let server = options.text("server")?.unwrap_or("https://api.pushover.net");
        Ok(Box::new(Pushover {
            url: below(&address("server", server, "https://api.pushover.net")?, &["1", "messages.json"]),
            token: key(options, "token")?,
            user: key(options, "user")?,
            priority: priority(options)?,
            retry: options.whole("retry", 60, 30, 10_800)?,
            expire: options.whole("expire", 3600, 30, 10_800)?,
            device: label(options, "device")?,
            sound: label(options, "sound")?,
            words,
        }))
    })
}

/// 30 letters and digits.
fn key(options: Options<'_>, name: &str) -> Result<String, Rejection> {
    let text = options.needed_text(name, "azGDORePK8gMaC0QOYAMyEEuzJnyUi")?;
    if text.len() != 30 || !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(Rejection::new(name, "takes 30 letters and digits"));
    }
    Ok(text.to_owned())
}

fn priority(options: Options<'_>) -> Result<Option<i64>, Rejection> {
    let Some(value) = options.get("priority") else { return Ok(None) };
    let number = value.as_i64().or_else(|| value.as_str()?.trim().parse().ok());
    let number = number.filter(|number| (-2..=2).contains(number));
    number.map(Some).ok_or_else(|| wrong("priority", value, "a whole number from -2 to 2"))
}

pub(super) struct Pushover {
    pub(super) url: Url,
    pub(super) token: String,
    pub(super) user: String,
    pub(super) priority: Option<i64>,
    pub(super) retry: u64,
    pub(super) expire: u64,
    pub(super) device: Option<String>,
    pub(super) sound: Option<String>,
    pub(super) words: Words,
}

impl Vendor for Pushover {
    fn encode(&self, alert: &Alert<'_>, _: jiff::Timestamp) -> Post {
        let priority = self.priority.unwrap_or(i64::from(alert.severity >= Severity::High));
        let mut fields = vec![
            ("token", self.token.clone()),
            ("user", self.user.clone()),
            ("title", Markup::Plain.escaped(&alert.title, Unit::Utf16, TITLE)),
            ("message", self.words.body(alert, Markup::Plain, Unit::Utf16, MESSAGE)),
            ("priority", priority.to_string()),
        ];
        if let Some(time) = moment(alert.event) {
            fields.push(("timestamp", time.as_micros().div_euclid(1_000_000).to_string()));
        }
        if priority == 2 {
            fields.push(("retry", self.retry.to_string()));
            fields.push(("expire", self.expire.to_string()));
        }
        for (name, value) in [("device", &self.device), ("sound", &self.sound)] {
            fields.extend(value.clone().map(|value| (name, value)));
        }
        let mut body = String::new();
        for (name, value) in fields {
            body.push_str(if body.is_empty() { "" } else { "&" });
            body.push_str(name);
            body.push('=');
            encode_form(&mut body, &value);
        }
        let content_type = "application/x-www-form-urlencoded";
        Post { url: self.url.clone(), headers: Default::default(), content_type, body }
    }

    fn judge(&self, answer: &Answer) -> Verdict {
        let body = verdict::json(answer);
        let access = ["token", "user", "device"].iter().any(|key| body.get(key) == Some(&Value::from("invalid")));
        match (answer.status, body.get("status").and_then(Value::as_i64)) {
            (200..=299, Some(1)) => Ok(()),
            (429, _) => Err(later(answer, Some(Duration::from_secs(3600)))),
            (400..=499, _) if access => Err(later(answer, None)),
            (200..=299, Some(_)) => Err(refused(answer)),
            // Whoever said this is not Pushover.
            (200..=299, None) => Err(later(answer, None)),
            _ => by_status(answer),
        }
    }

    fn secrets(&self) -> Vec<&str> {
        vec![&self.token, &self.user]
    }
}
