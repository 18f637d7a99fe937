//! `aviary.ntfy`: a notification by ntfy, on ntfy.sh or a server of one's own.
//!
//! | key | meaning |
//! |---|---|
//! | `topic` | letters, digits, `_` and `-`, at most 64 |
//! | `server` | `https://ntfy.sh` |
//! | `token` | an access token, or `auth`: `["user", "password"]` |
//! | `priority` | 1 to 5; by severity if missing: 5 for a planted credential, 4 for a login, 3 for the rest |
//!
//! JSON to the server's root; the message has at most 4,096 bytes, beyond which ntfy would make a
//! file of it. Reference: <https://docs.ntfy.sh/publish/#publish-as-json>.

use aviary_event::Severity;
use aviary_output::{Blueprint, Entry, Output, Rejection};
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use serde_json::json;

use super::alert::Alert;
use super::markup::{Markup, Unit};
use super::template::Words;
use super::{Post, Vendor, authorization, build as build_chat, keys};
use crate::http::address;
use crate::options::Options;

pub(crate) static ENTRY: Entry = Entry {
    name: "ntfy",
    classes: &["aviary.ntfy"],
    summary: "an ntfy notification for each event",
    options: keys!["topic", "server", "token", "auth", "priority"],
    build,
};

const MESSAGE: usize = 4096;

/// Our own bound; ntfy documents none.
const TITLE: usize = 250;

fn build(blueprint: &Blueprint<'_>) -> Result<Box<dyn Output>, Rejection> {
    build_chat(blueprint, 0, |options, words| {
        let server = options.text("server")?.unwrap_or("https://ntfy.sh");
        let priority = match options.get("priority") {
            Some(_) => Some(options.whole("priority", 3, 1, 5)?),
            None => None,
        };
        Ok(Box::new(Ntfy {
            url: address("server", server, "https://ntfy.sh")?,
            topic: topic(options)?,
            priority,
            authorization: authorization(options)?,
            secret: options.text("token")?.unwrap_or_default().to_owned(),
            words,
        }))
    })
}

fn topic(options: Options<'_>) -> Result<String, Rejection> {
    let topic = options.needed_text("topic", "canary-7f3a")?;
    if topic.len() > 64 || !topic.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) {
        // The value is not repeated: on a public server the topic is the password.
        return Err(Rejection::new("topic", "takes at most 64 letters, digits, `_` and `-`"));
    }
    Ok(topic.to_owned())
}

pub(super) struct Ntfy {
    pub(super) url: Url,
    pub(super) topic: String,
    pub(super) priority: Option<u64>,
    pub(super) authorization: Option<HeaderValue>,
    pub(super) secret: String,
    pub(super) words: Words,
}

impl Vendor for Ntfy {
    fn encode(&self, alert: &Alert<'_>, _: jiff::Timestamp) -> Post {
        let (priority, tag) = match alert.severity {
            Severity::Critical => (5, "rotating_light"),
            Severity::High => (4, "warning"),
            Severity::Medium | Severity::Low => (3, "bell"),
            Severity::Informational => (2, "information_source"),
        };
        let body = json!({
            "topic": self.topic,
            "title": Markup::Plain.escaped(&alert.title, Unit::Bytes, TITLE),
            "message": self.words.body(alert, Markup::Plain, Unit::Bytes, MESSAGE),
            "priority": self.priority.unwrap_or(priority),
            "tags": [tag],
        });
        let mut post = Post::json(self.url.clone(), &body);
        if let Some(value) = &self.authorization {
            post.headers.insert(AUTHORIZATION, value.clone());
        }
        post
    }

    fn secrets(&self) -> Vec<&str> {
        vec![&self.secret, &self.topic]
    }
}
