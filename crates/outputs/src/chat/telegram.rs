//! `aviary.telegram`: a message of a Telegram bot.
//!
//! | key | meaning |
//! |---|---|
//! | `token` | the bot's, from BotFather |
//! | `chat_id` | number of a chat, or `@channel` |
//! | `message_thread_id` | a topic of the group |
//! | `silent` | whether nobody's phone rings; `false` |
//! | `server` | another Bot API server; `https://api.telegram.org` |
//!
//! HTML of at most 4,096 characters, without previews. A bot may send 20 messages a minute to a
//! group, so `per_minute` is 20. The answer's `ok` decides; 429 says when to come again.
//! Reference: <https://core.telegram.org/bots/api#sendmessage>.

use aviary_output::{Blueprint, Entry, Output, Rejection};
use reqwest::Url;
use serde_json::{Value, json};

use super::alert::Alert;
use super::markup::{Markup, Unit};
use super::template::Words;
use super::verdict::{self, Verdict, later, refused};
use super::{Post, Vendor, below, build as build_chat, keys};
use crate::http::{Answer, address};
use crate::options::{Options, whole_of, wrong};

pub(crate) static ENTRY: Entry = Entry {
    name: "telegram",
    classes: &["aviary.telegram"],
    summary: "a Telegram message for each event",
    options: keys!["token", "chat_id", "message_thread_id", "silent", "server"],
    build,
};

const TEXT: usize = 4096;

/// Messages a minute to one group.
const PER_MINUTE: u64 = 20;

fn build(blueprint: &Blueprint<'_>) -> Result<Box<dyn Output>, Rejection> {
    build_chat(blueprint, PER_MINUTE, |options, words| {
        let token = options.needed_text("token", "123456:ABC-DEF")?;
        let sound = token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":-_".contains(&byte));
        if !sound || !token.contains(':') {
            // The value is not repeated, since it is a secret.
            return Err(Rejection::new("token", "is no bot's token; it takes one such as `123456:ABC-DEF`"));
        }
        let server = options.text("server")?.unwrap_or("https://api.telegram.org");
        let server = address("server", server, "https://api.telegram.org")?;
        let thread = match options.get("message_thread_id") {
            Some(value) => {
                let number = whole_of(value).and_then(|number| i64::try_from(number).ok());
                Some(number.ok_or_else(|| wrong("message_thread_id", value, "the number of a topic"))?)
            }
            None => None,
        };
        Ok(Box::new(Telegram {
            url: below(&server, &[&format!("bot{token}"), "sendMessage"]),
            token: token.to_owned(),
            chat: chat(options)?,
            thread,
            silent: options.flag("silent", false)?,
            words,
        }))
    })
}

/// A whole number, also a negative one or in quotes, or the name of a channel.
fn chat(options: Options<'_>) -> Result<Value, Rejection> {
    let value =
        options.get("chat_id").ok_or_else(|| Rejection::new("chat_id", "is missing; it takes a chat's number"))?;
    let number = value.as_i64().or_else(|| value.as_str()?.trim().parse().ok());
    let name = value.as_str().filter(|text| {
        let name = text.strip_prefix('@').unwrap_or_default();
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    });
    let chat = number.map(Value::from).or_else(|| name.map(Value::from));
    chat.ok_or_else(|| wrong("chat_id", value, "a chat's number, or a channel's name such as `@alerts`"))
}

pub(super) struct Telegram {
    pub(super) url: Url,
    pub(super) token: String,
    pub(super) chat: Value,
    pub(super) thread: Option<i64>,
    pub(super) silent: bool,
    pub(super) words: Words,
}

/// Telegram's words for a 400 that is about the chat and not about the text.
const ACCESS: &[&str] =
    &["chat not found", "upgraded to a supergroup", "not enough rights", "thread not found", "TOPIC_", "CHAT_"];

impl Vendor for Telegram {
    fn encode(&self, alert: &Alert<'_>, _: jiff::Timestamp) -> Post {
        let mut body = json!({
            "chat_id": self.chat,
            "text": self.words.text(alert, Markup::Html, Unit::Utf16, TEXT),
            "parse_mode": "HTML",
            "link_preview_options": {"is_disabled": true},
        });
        if let Some(thread) = self.thread {
            body["message_thread_id"] = Value::from(thread);
        }
        if self.silent {
            body["disable_notification"] = Value::from(true);
        }
        Post::json(self.url.clone(), &body)
    }

    fn judge(&self, answer: &Answer) -> Verdict {
        let body = verdict::json(answer);
        if (200..300).contains(&answer.status) && body.get("ok") == Some(&Value::Bool(true)) {
            return Ok(());
        }
        let code = body.get("error_code").and_then(Value::as_i64).unwrap_or(i64::from(answer.status));
        let words = body.get("description").and_then(Value::as_str).unwrap_or_default();
        match code {
            400 | 413 if !ACCESS.iter().any(|reason| words.contains(reason)) => Err(refused(answer)),
            _ => Err(later(answer, None)),
        }
    }

    fn secrets(&self) -> Vec<&str> {
        // The whole, and without the bot's number, which is public.
        std::iter::once(self.token.as_str()).chain(self.token.split_once(':').map(|(_, key)| key)).collect()
    }
}
