//! `aviary.discord`: a webhook of a Discord channel.
//!
//! | key | meaning |
//! |---|---|
//! | `webhook_url` | `https://discord.com/api/webhooks/ID/TOKEN` |
//! | `username` | the name that the message shows |
//! | `thread_id` | a thread of the channel |
//!
//! An embed with headline, facts and colour; with a `template` an ordinary message. Nothing in it
//! mentions anybody. Limits (characters): message 2,000, title 256, description 4,096. Answers 204.
//! Reference: <https://discord.com/developers/docs/resources/webhook#execute-webhook>.

use aviary_event::Severity;
use aviary_output::{Blueprint, Entry, Output, Rejection, moment};
use jiff::tz::TimeZone;
use reqwest::Url;
use serde_json::{Value, json};

use super::alert::Alert;
use super::markup::{Markup, Unit};
use super::template::Words;
use super::{Post, Vendor, build as build_chat, keys, label, secrets_of, webhook_url};
use crate::options::whole_of;

pub(crate) static ENTRY: Entry = Entry {
    name: "discord",
    classes: &["aviary.discord"],
    summary: "a Discord message for each event",
    options: keys!["webhook_url", "username", "thread_id"],
    build,
};

const CONTENT: usize = 2000;
const TITLE: usize = 256;
const DESCRIPTION: usize = 4096;

/// `SUPPRESS_EMBEDS`: addresses in the text are not visited to preview them.
const NO_PREVIEWS: u32 = 1 << 2;

fn build(blueprint: &Blueprint<'_>) -> Result<Box<dyn Output>, Rejection> {
    build_chat(blueprint, 0, |options, words| {
        let mut url = webhook_url(options, "https://discord.com/api/webhooks/123/token")?;
        if let Some(value) = options.get("thread_id") {
            let id = whole_of(value).ok_or_else(|| Rejection::new("thread_id", "takes the number of a thread"))?;
            url.query_pairs_mut().append_pair("thread_id", &id.to_string());
        }
        Ok(Box::new(Discord { url, username: label(options, "username")?, words }))
    })
}

pub(super) struct Discord {
    pub(super) url: Url,
    pub(super) username: Option<String>,
    pub(super) words: Words,
}

impl Vendor for Discord {
    fn encode(&self, alert: &Alert<'_>, _: jiff::Timestamp) -> Post {
        let mut body = json!({"allowed_mentions": {"parse": []}});
        if self.words.are_given() {
            body["content"] = Value::from(self.words.text(alert, Markup::Backslash, Unit::Utf16, CONTENT));
            body["flags"] = Value::from(NO_PREVIEWS);
        } else {
            let color = match alert.severity {
                Severity::Critical => 0x00c4_1e1e,
                Severity::High => 0x00e0_7b00,
                Severity::Medium | Severity::Low => 0x00e0_c000,
                Severity::Informational => 0x0080_8080,
            };
            let mut embed = json!({
                "title": Markup::Backslash.escaped(&alert.title, Unit::Utf16, TITLE),
                "description": self.words.body(alert, Markup::Backslash, Unit::Utf16, DESCRIPTION),
                "color": color,
            });
            if let Some(time) = moment(alert.event) {
                embed["timestamp"] = Value::from(time.to_rfc3339(&TimeZone::UTC));
            }
            body["embeds"] = json!([embed]);
        }
        if let Some(username) = &self.username {
            body["username"] = Value::from(username.as_str());
        }
        Post::json(self.url.clone(), &body)
    }

    fn secrets(&self) -> Vec<&str> {
        secrets_of(&self.url)
    }
}
