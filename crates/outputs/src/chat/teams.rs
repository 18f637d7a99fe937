//! `opencanary.logger.TeamsHandler`: a channel of Microsoft Teams, in OpenCanary's look.
//!
//! | key | meaning |
//! |---|---|
//! | `webhook_url` | a workflow's address ("When a Teams webhook request is received"), or a connector's |
//! | `card` | `adaptive`: what workflows take; `message`: the MessageCard of Office 365 connectors; `auto` (default) chooses by the address |
//!
//! The card is OpenCanary's: its heading and a fact for each member of the line, objects taken apart
//! with `__` between the names. A workflow answers 202. A connector answers 200 even when Teams did
//! not take the card, and says so in its body.
//!
//! References: <https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using>,
//! <https://adaptivecards.io/explorer/FactSet.html>,
//! <https://learn.microsoft.com/en-us/outlook/actionable-messages/message-card-reference>.

use std::time::Duration;

use aviary_event::Severity;
use aviary_output::{Blueprint, Entry, Output, Rejection};
use reqwest::Url;
use serde_json::{Map, Value, json};

use super::alert::Alert;
use super::markup::{Markup, Unit};
use super::template::Words;
use super::verdict::{Verdict, by_status, json, later, refused};
use super::{Post, Vendor, build as build_chat, keys, secrets_of, webhook_url};
use crate::http::Answer;
use crate::options::{Options, wrong};
use crate::webhook::plain;

pub(crate) static ENTRY: Entry = Entry {
    name: "teams",
    classes: &["opencanary.logger.TeamsHandler"],
    summary: "a card in Microsoft Teams for each event",
    options: keys!["webhook_url", "card"],
    build,
};

/// Teams takes messages of at most 28 KB; this is for facts or text, as JSON.
const FACTS: usize = 24_000;

/// Our own bound for one fact, UTF-16 units.
const VALUE: usize = 2000;

/// Hosts of Office 365 connectors.
const CONNECTORS: &[&str] = &["webhook.office.com", "outlook.office.com", "outlook.office365.com"];

/// OpenCanary's heading.
const LOGO: &str = "https://resources.canary.tools/images/open-canary-green_logo.png";

fn build(blueprint: &Blueprint<'_>) -> Result<Box<dyn Output>, Rejection> {
    build_chat(blueprint, 0, |options, words| {
        let url = webhook_url(options, "https://example.logic.azure.com/workflows/id/triggers/manual/paths/invoke")?;
        let adaptive = is_adaptive(options, &url)?;
        Ok(Box::new(Teams { url, adaptive, words }))
    })
}

fn is_adaptive(options: Options<'_>, url: &Url) -> Result<bool, Rejection> {
    let host = url.host_str().unwrap_or_default();
    match options.text("card")?.unwrap_or("auto") {
        "adaptive" => Ok(true),
        "message" => Ok(false),
        "auto" => Ok(!CONNECTORS.iter().any(|known| host == *known || host.ends_with(&format!(".{known}")))),
        other => Err(wrong("card", &Value::from(other), "`auto`, `adaptive` or `message`")),
    }
}

pub(super) struct Teams {
    pub(super) url: Url,
    pub(super) adaptive: bool,
    pub(super) words: Words,
}

impl Vendor for Teams {
    fn encode(&self, alert: &Alert<'_>, _: jiff::Timestamp) -> Post {
        let body = if self.adaptive { self.adaptive_card(alert) } else { self.message_card(alert) };
        Post::json(self.url.clone(), &body)
    }

    fn judge(&self, answer: &Answer) -> Verdict {
        let said = String::from_utf8_lossy(&answer.body);
        // What the connector says when Teams behind it refused.
        let behind = said.split_once("Microsoft Teams endpoint returned HTTP error ");
        let behind = behind.map(|(_, rest)| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
        match (answer.status, behind.and_then(|number| number.parse::<u16>().ok())) {
            (_, Some(400 | 413 | 422)) => Err(refused(answer)),
            (_, Some(429)) => Err(later(answer, Some(Duration::from_secs(5)))),
            (_, Some(_)) => Err(later(answer, None)),
            // The workflow is gone or off, which is nothing that the event did.
            (400, None) if workflow_is_off(answer) => Err(later(answer, None)),
            _ => by_status(answer),
        }
    }

    fn secrets(&self) -> Vec<&str> {
        secrets_of(&self.url)
    }
}

fn workflow_is_off(answer: &Answer) -> bool {
    json(answer).pointer("/error/code").and_then(Value::as_str).is_some_and(|code| code.starts_with("Workflow"))
}

impl Teams {
    fn adaptive_card(&self, alert: &Alert<'_>) -> Value {
        let rest = if self.words.are_given() {
            let text = self.words.text(alert, Markup::Backslash, Unit::Bytes, FACTS / 2);
            json!({"type": "TextBlock", "text": text, "wrap": true})
        } else {
            let facts: Vec<Value> = facts(&alert.members)
                .into_iter()
                .map(|(title, value)| json!({"title": title, "value": value}))
                .collect();
            json!({"type": "FactSet", "facts": facts})
        };
        json!({
            "type": "message",
            "attachments": [{
                "contentType": "application/vnd.microsoft.card.adaptive",
                "content": {
                    "type": "AdaptiveCard",
                    "$schema": "https://adaptivecards.io/schemas/adaptive-card.json",
                    "version": "1.5",
                    "body": [
                        {"type": "ColumnSet", "columns": [
                            {"type": "Column", "width": "auto", "items": [
                                {"type": "Image", "url": LOGO, "width": "82px", "horizontalAlignment": "Left"},
                            ]},
                            {"type": "Column", "items": [
                                {"type": "TextBlock", "text": "\u{a0}", "size": "Small"},
                                {"type": "TextBlock", "text": "OpenCanary Alert", "weight": "Bolder", "size": "ExtraLarge"},
                            ]},
                        ]},
                        rest,
                    ],
                },
            }],
        })
    }

    fn message_card(&self, alert: &Alert<'_>) -> Value {
        let color = if alert.severity >= Severity::High { "C4314B" } else { "49C5B1" };
        let mut card = json!({
            "@type": "MessageCard",
            "@context": "https://schema.org/extensions",
            "themeColor": color,
            "summary": Markup::Plain.escaped(&alert.title, Unit::Utf16, VALUE),
            "title": "OpenCanary Alert",
        });
        if self.words.are_given() {
            card["text"] = Value::from(self.words.text(alert, Markup::Backslash, Unit::Bytes, FACTS / 2));
        } else {
            let facts: Vec<Value> =
                facts(&alert.members).into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
            card["sections"] = json!([{"facts": facts}]);
        }
        card
    }
}

/// Members as OpenCanary lists them; as many as fit.
fn facts(members: &Map<String, Value>) -> Vec<(String, String)> {
    let mut all = Vec::new();
    flatten(members, "", &mut all);
    let mut left = FACTS;
    let mut kept = Vec::new();
    for (name, value) in all {
        let name = Markup::Backslash.escaped(&name, Unit::Utf16, 200);
        let value = Markup::Backslash.escaped(&value, Unit::Utf16, VALUE);
        // As JSON, with what stands around them.
        let size = Value::from(name.as_str()).to_string().len() + Value::from(value.as_str()).to_string().len() + 22;
        let Some(rest) = left.checked_sub(size) else {
            kept.push(("…".to_owned(), "…".to_owned()));
            break;
        };
        left = rest;
        kept.push((name, value));
    }
    kept
}

fn flatten(members: &Map<String, Value>, prefix: &str, facts: &mut Vec<(String, String)>) {
    for (key, value) in members {
        let key = key.to_lowercase();
        let name = if prefix.is_empty() { key } else { format!("{prefix}__{key}") };
        match value {
            Value::Object(inner) => flatten(inner, &name, facts),
            other => facts.push((name, plain(other).unwrap_or_else(|| "None".to_owned()))),
        }
    }
}
