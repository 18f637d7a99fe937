//! `aviary.feishu`, also `aviary.lark`: a custom bot of a Feishu or Lark group.
//!
//! | key | meaning |
//! |---|---|
//! | `webhook_url` | `https://open.feishu.cn/open-apis/bot/v2/hook/…`, or that of `open.larksuite.com` |
//! | `secret` | when the bot's security setting is a signature |
//!
//! A rich text (`post`), whose text elements are taken literally; plain messages would read
//! `<at user_id="all">` in them. With a secret the body carries `timestamp` (seconds) and `sign`: the
//! HMAC-SHA256 of nothing, under `timestamp`, a line feed and the secret, as base64. A bot may send
//! 100 messages a minute, which is `per_minute`; requests have at most 20 KB. The answer's `code` decides.
//! Reference: <https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot>.

use std::time::Duration;

use aviary_output::{Blueprint, Entry, Output, Rejection};
use base64::Engine as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::Url;
use serde_json::{Value, json};
use sha2::Sha256;

use super::alert::Alert;
use super::markup::{Markup, Unit};
use super::template::Words;
use super::verdict::{Codes, Verdict};
use super::{Post, Vendor, build as build_chat, keys, secrets_of, webhook_url};
use crate::http::Answer;

pub(crate) static ENTRY: Entry = Entry {
    name: "feishu",
    classes: &["aviary.feishu", "aviary.lark"],
    summary: "a message of a Feishu or Lark bot for each event",
    options: keys!["webhook_url", "secret"],
    build,
};

const PER_MINUTE: u64 = 100;

/// Bytes of text; JSON may double what it quotes.
const TEXT: usize = 9000;

/// 11232: too many messages. 19001, 19021, 19022, 19024: token, signature, address or keyword are not
/// as the bot's settings want them.
const CODES: Codes = Codes {
    keys: &["code", "StatusCode"],
    busy: &[11_232, 99_991_400],
    wait: Duration::from_secs(10),
    access: &[19_001, 19_021, 19_022, 19_024],
};

fn build(blueprint: &Blueprint<'_>) -> Result<Box<dyn Output>, Rejection> {
    build_chat(blueprint, PER_MINUTE, |options, words| {
        let url = webhook_url(options, "https://open.feishu.cn/open-apis/bot/v2/hook/key")?;
        Ok(Box::new(Feishu { url, secret: options.text("secret")?.map(str::to_owned), words }))
    })
}

pub(super) struct Feishu {
    pub(super) url: Url,
    pub(super) secret: Option<String>,
    pub(super) words: Words,
}

impl Vendor for Feishu {
    fn encode(&self, alert: &Alert<'_>, now: jiff::Timestamp) -> Post {
        let text = self.words.body(alert, Markup::Plain, Unit::Bytes, TEXT);
        let lines: Vec<Value> = text.split('\n').map(|line| json!([{"tag": "text", "text": line}])).collect();
        let title = Markup::Plain.escaped(&alert.title, Unit::Bytes, 500);
        let mut body = json!({
            "msg_type": "post",
            "content": {"post": {"en_us": {"title": title, "content": lines}}},
        });
        if let Some(secret) = &self.secret {
            let time = now.as_second().to_string();
            let sign = hmac_base64(format!("{time}\n{secret}").as_bytes(), b"");
            body["timestamp"] = Value::from(time);
            body["sign"] = Value::from(sign);
        }
        Post::json(self.url.clone(), &body)
    }

    fn judge(&self, answer: &Answer) -> Verdict {
        CODES.judge(answer)
    }

    fn secrets(&self) -> Vec<&str> {
        let mut secrets = secrets_of(&self.url);
        secrets.extend(self.secret.as_deref());
        secrets
    }
}

/// HMAC-SHA256 as base64; empty for a key that cannot be, which HMAC does not know.
pub(crate) fn hmac_base64(key: &[u8], message: &[u8]) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return String::new() };
    mac.update(message);
    base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes())
}
