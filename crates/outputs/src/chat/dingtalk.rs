//! `aviary.dingtalk`: a custom robot of a DingTalk group.
//!
//! | key | meaning |
//! |---|---|
//! | `webhook_url` | `https://oapi.dingtalk.com/robot/send?access_token=…` |
//! | `secret` | `SEC…`, when the robot's security setting is a signature |
//!
//! Plain text, since DingTalk's Markdown has no escape. With a secret the address carries
//! `timestamp` (milliseconds) and `sign`, the HMAC-SHA256 of `timestamp`, a line feed and the secret
//! under the secret, as base64. A robot may send 20 messages a minute and is silent for ten minutes
//! after more, so `per_minute` is 20. The answer is always 200; `errcode` decides.
//!
//! References: <https://open.dingtalk.com/document/robots/custom-robot-access>,
//! <https://open.dingtalk.com/document/robots/customize-robot-security-settings>.

use std::time::Duration;

use aviary_output::{Blueprint, Entry, Output, Rejection};
use reqwest::Url;
use serde_json::json;

use super::alert::Alert;
use super::markup::{Markup, Unit};
use super::template::Words;
use super::verdict::{Codes, Verdict};
use super::{Post, Vendor, build as build_chat, keys, secrets_of, webhook_url};
use crate::chat::feishu::hmac_base64;
use crate::http::Answer;

pub(crate) static ENTRY: Entry = Entry {
    name: "dingtalk",
    classes: &["aviary.dingtalk"],
    summary: "a message of a DingTalk robot for each event",
    options: keys!["webhook_url", "secret"],
    build,
};

const PER_MINUTE: u64 = 20;

/// Bytes of text; DingTalk takes requests of 20,000, and JSON may double what it quotes.
const TEXT: usize = 9000;

/// 130101: too many messages; -1: busy. 300001, 300005, 310000: token unknown, robot switched off, or
/// keyword, signature or address not as the robot's security settings want it; 40035: no token.
const CODES: Codes = Codes {
    keys: &["errcode"],
    busy: &[130_101, 90_030, -1],
    wait: Duration::from_secs(60),
    access: &[300_001, 300_005, 310_000, 40_035],
};

fn build(blueprint: &Blueprint<'_>) -> Result<Box<dyn Output>, Rejection> {
    build_chat(blueprint, PER_MINUTE, |options, words| {
        let url = webhook_url(options, "https://oapi.dingtalk.com/robot/send?access_token=key")?;
        Ok(Box::new(DingTalk { url, secret: options.text("secret")?.map(str::to_owned), words }))
    })
}

pub(super) struct DingTalk {
    pub(super) url: Url,
    pub(super) secret: Option<String>,
    pub(super) words: Words,
}

impl Vendor for DingTalk {
    fn encode(&self, alert: &Alert<'_>, now: jiff::Timestamp) -> Post {
        let text = self.words.text(alert, Markup::Plain, Unit::Bytes, TEXT);
        let body = json!({"msgtype": "text", "text": {"content": text}, "at": {"isAtAll": false}});
        let mut url = self.url.clone();
        if let Some(secret) = &self.secret {
            let time = now.as_millisecond().to_string();
            let sign = hmac_base64(secret.as_bytes(), format!("{time}\n{secret}").as_bytes());
            url.query_pairs_mut().append_pair("timestamp", &time).append_pair("sign", &sign);
        }
        Post::json(url, &body)
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
