//! `opencanary.logger.SlackHandler`: an incoming webhook of Slack, in OpenCanary's look.
//!
//! | key | meaning |
//! |---|---|
//! | `webhook_url` | `https://hooks.slack.com/services/…` |
//!
//! The message is OpenCanary's: one attachment, "OpenCanary Alert", with a field for each member of
//! the line, objects as their JSON. Beside that the attachment has its plain summary (`fallback`),
//! which phones show, and the text is escaped. With a `template` the message is that text.
//!
//! References: <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>,
//! <https://docs.slack.dev/messaging/formatting-message-text>.

use aviary_output::{Blueprint, Entry, Output, Rejection};
use reqwest::Url;
use serde_json::{Value, json};

use super::alert::Alert;
use super::markup::{Markup, Unit};
use super::template::Words;
use super::verdict::{Verdict, by_status, later};
use super::{Post, Vendor, build as build_chat, keys, secrets_of, webhook_url};
use crate::http::Answer;
use crate::webhook::write_json;

pub(crate) static ENTRY: Entry = Entry {
    name: "slack",
    classes: &["opencanary.logger.SlackHandler"],
    summary: "a Slack message for each event",
    options: keys!["webhook_url"],
    build,
};

/// Longest text of a message, characters; Slack cuts at 40,000 and advises at most 4,000.
const TEXT: usize = 4000;

/// Our own bound for one field, characters; Slack documents none.
const VALUE: usize = 3000;

fn build(blueprint: &Blueprint<'_>) -> Result<Box<dyn Output>, Rejection> {
    build_chat(blueprint, 0, |options, words| {
        let url = webhook_url(options, "https://hooks.slack.com/services/T0/B0/key")?;
        Ok(Box::new(Slack { url, words }))
    })
}

pub(super) struct Slack {
    pub(super) url: Url,
    pub(super) words: Words,
}

/// Slack's reasons, in the body of a 400, that concern the address and not the event.
const ACCESS: &[&str] =
    &["invalid_token", "no_service", "no_team", "team_disabled", "channel", "user_not_found", "action_prohibited"];

impl Vendor for Slack {
    fn encode(&self, alert: &Alert<'_>, _: jiff::Timestamp) -> Post {
        // Addresses in what a peer sent are not visited to preview them.
        let body = if self.words.are_given() {
            let text = self.words.text(alert, Markup::Mrkdwn, Unit::Utf16, TEXT);
            json!({"text": text, "unfurl_links": false, "unfurl_media": false})
        } else {
            let fields: Vec<Value> = alert.members.iter().map(|(key, value)| field(key, value)).collect();
            let fallback = Markup::Mrkdwn.escaped(&alert.title, Unit::Utf16, VALUE);
            json!({"attachments": [{"pretext": "OpenCanary Alert", "fallback": fallback, "fields": fields}]})
        };
        Post::json(self.url.clone(), &body)
    }

    fn judge(&self, answer: &Answer) -> Verdict {
        let said = String::from_utf8_lossy(&answer.body);
        match answer.status {
            400 if ACCESS.iter().any(|reason| said.contains(reason)) => Err(later(answer, None)),
            _ => by_status(answer),
        }
    }

    fn secrets(&self) -> Vec<&str> {
        secrets_of(&self.url)
    }
}

fn field(key: &str, value: &Value) -> Value {
    let text = match value {
        Value::String(text) => text.clone(),
        other => {
            let mut text = String::new();
            write_json(&mut text, other);
            text
        }
    };
    json!({
        "title": Markup::Mrkdwn.escaped(key, Unit::Utf16, VALUE),
        "value": Markup::Mrkdwn.escaped(&text, Unit::Utf16, VALUE),
    })
}
