//! `aviary.mattermost`: an incoming webhook of Mattermost.
//!
//! | key | meaning |
//! |---|---|
//! | `webhook_url` | `https://mattermost.example/hooks/KEY` |
//! | `channel`, `username` | instead of the webhook's own, where the server allows that |
//!
//! Markdown of at most 16,383 characters, in which every value stands in a code span: only there
//! does Mattermost look for no mention and no link. Answers 200 `ok`, errors as JSON.
//! Reference: <https://developers.mattermost.com/integrate/webhooks/incoming/>.

use aviary_output::{Blueprint, Entry, Output, Rejection};
use reqwest::Url;
use serde_json::{Value, json};

use super::alert::Alert;
use super::markup::{Markup, Unit};
use super::template::Words;
use super::{Post, Vendor, build as build_chat, keys, label, secrets_of, webhook_url};

pub(crate) static ENTRY: Entry = Entry {
    name: "mattermost",
    classes: &["aviary.mattermost"],
    summary: "a Mattermost message for each event",
    options: keys!["webhook_url", "channel", "username"],
    build,
};

const TEXT: usize = 16_383;

fn build(blueprint: &Blueprint<'_>) -> Result<Box<dyn Output>, Rejection> {
    build_chat(blueprint, 0, |options, words| {
        Ok(Box::new(Mattermost {
            url: webhook_url(options, "https://mattermost.example/hooks/key")?,
            channel: label(options, "channel")?,
            username: label(options, "username")?,
            words,
        }))
    })
}

pub(super) struct Mattermost {
    pub(super) url: Url,
    pub(super) channel: Option<String>,
    pub(super) username: Option<String>,
    pub(super) words: Words,
}

impl Vendor for Mattermost {
    fn encode(&self, alert: &Alert<'_>, _: jiff::Timestamp) -> Post {
        let mut body = json!({"text": self.words.text(alert, Markup::CodeSpan, Unit::Utf16, TEXT)});
        for (key, value) in [("channel", &self.channel), ("username", &self.username)] {
            if let Some(value) = value {
                body[key] = Value::from(value.as_str());
            }
        }
        Post::json(self.url.clone(), &body)
    }

    fn secrets(&self) -> Vec<&str> {
        secrets_of(&self.url)
    }
}
