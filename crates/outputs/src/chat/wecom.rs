//! `aviary.wecom`: a group robot of WeCom (Enterprise WeChat).
//!
//! | key | meaning |
//! |---|---|
//! | `webhook_url` | `https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=…` |
//!
//! Plain text of at most 2,048 bytes, since WeCom's Markdown has no escape and reads `<@user>`. A
//! robot may send 20 messages a minute, which is `per_minute`. The answer is always 200; `errcode`
//! decides. Reference: <https://developer.work.weixin.qq.com/document/path/91770>.

use std::time::Duration;

use aviary_output::{Blueprint, Entry, Output, Rejection};
use reqwest::Url;
use serde_json::json;

use super::alert::Alert;
use super::markup::{Markup, Unit};
use super::template::Words;
use super::verdict::{Codes, Verdict};
use super::{Post, Vendor, build as build_chat, keys, secrets_of, webhook_url};
use crate::http::Answer;

pub(crate) static ENTRY: Entry = Entry {
    name: "wecom",
    classes: &["aviary.wecom"],
    summary: "a message of a WeCom robot for each event",
    options: keys!["webhook_url"],
    build,
};

const PER_MINUTE: u64 = 20;
const TEXT: usize = 2048;

/// 45009, 45033: too many messages, or at once; -1: busy. 93000: the address is not, or no longer, a
/// robot's; 93008, 93017: the robot is not in the group.
const CODES: Codes = Codes {
    keys: &["errcode"],
    busy: &[45_009, 45_033, -1],
    wait: Duration::from_secs(60),
    access: &[93_000, 93_008, 93_017],
};

fn build(blueprint: &Blueprint<'_>) -> Result<Box<dyn Output>, Rejection> {
    build_chat(blueprint, PER_MINUTE, |options, words| {
        let url = webhook_url(options, "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=key")?;
        Ok(Box::new(WeCom { url, words }))
    })
}

pub(super) struct WeCom {
    pub(super) url: Url,
    pub(super) words: Words,
}

impl Vendor for WeCom {
    fn encode(&self, alert: &Alert<'_>, _: jiff::Timestamp) -> Post {
        let text = self.words.text(alert, Markup::Plain, Unit::Bytes, TEXT);
        Post::json(self.url.clone(), &json!({"msgtype": "text", "text": {"content": text}}))
    }

    fn judge(&self, answer: &Answer) -> Verdict {
        CODES.judge(answer)
    }

    fn secrets(&self) -> Vec<&str> {
        secrets_of(&self.url)
    }
}
