//! Channels: outputs of the canary, through which people are told. Their secrets are stored sealed and never shown.

use std::sync::Arc;
use std::time::Duration;

use aviary_event::Event;
use aviary_output::{Blueprint, DeliveryError, Entry, Output, Rejection, visible};
use aviary_outputs::{by_class, is_secret, short_classes};
use aviary_store::Document;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::{Seal, SealError};

/// The kind of their documents.
pub const CHANNEL: &str = "channel";

/// What stands for a secret that is not shown; who sends it back keeps the secret.
pub const HIDDEN: &str = "***";

/// Outputs that write files or start programs on the hub's machine.
const LOCAL: [&str; 5] = ["console", "exec", "file", "rotating_file", "timed_file"];

/// Longest answer that is kept, in characters.
const ANSWER: usize = 300;

/// Shortest secret that is looked for in answers; a shorter one may be part of any word.
const SECRET: usize = 6;

/// What events are called that come from the hub itself.
const HUB: &str = "hub";

/// A channel as it is stored: secrets are sealed, and [`HIDDEN`] stands in their place.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Channel {
    /// The output's class.
    pub class: String,
    /// Its options.
    pub options: Map<String, Value>,
    /// Its secret options, sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed: Option<String>,
}

/// Why a channel is none.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// Nothing plays the class.
    #[error("`class` is `{class}`, which is no output; `GET /api/v1/channels/classes` lists them")]
    Class {
        /// What it says.
        class: String,
    },
    /// The output is not open to people who are not at the machine.
    #[error(
        "`{class}` writes files or starts programs on the hub's machine; `aviary hub --local-channels` allows that"
    )]
    Local {
        /// What it says.
        class: String,
    },
    /// The output has no such option.
    #[error("`{option}` is no option of `{class}`; there are {known}")]
    Unknown {
        /// The option.
        option: String,
        /// The class.
        class: String,
        /// What there is.
        known: String,
    },
    /// A secret that stands for one that is not there.
    #[error("`{option}` is `{HIDDEN}`, which stands for a secret that the channel does not have yet")]
    NoSecret {
        /// The option.
        option: String,
    },
    /// The output refuses an option.
    #[error(transparent)]
    Option(#[from] Rejection),
    /// Its secrets.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// It cannot be read.
    #[error("it cannot be read: {reason}")]
    Unreadable {
        /// Why.
        reason: String,
    },
}

/// How channels are kept.
#[derive(Debug, Default)]
pub struct Channels {
    /// What secrets are sealed with.
    pub seal: Option<Seal>,
    /// Whether channels may write files and start programs on this machine.
    pub local: bool,
}

impl Channels {
    /// A channel of what somebody wrote. `before` is the channel that it replaces, whose secrets stay where
    /// [`HIDDEN`] stands.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn write(
        &self,
        name: &str,
        class: &str,
        mut options: Map<String, Value>,
        before: Option<&Document>,
    ) -> Result<Channel, ChannelError> {
        let before = before.map(Channel::read).transpose()?;
        let known = before.as_ref().map(|before| self.secrets(name, before)).transpose()?.unwrap_or_default();
        let (entry, _) = by_class(class).ok_or_else(|| ChannelError::Class { class: short(class) })?;
        let mut secrets = Map::new();
        for (key, value) in &mut options {
            if !is_secret(entry.name, key) || value.is_null() {
                continue;
            }
            let secret = if value == HIDDEN {
                let kept = known.get(key).cloned();
                kept.ok_or_else(|| ChannelError::NoSecret { option: key.clone() })?
            } else {
                value.clone()
            };
            secrets.insert(key.clone(), secret);
            *value = HIDDEN.into();
        }
        let sealed = match secrets.is_empty() {
            true => None,
            false => {
                let seal = self.seal.as_ref().ok_or(SealError::NoKey)?;
                Some(seal.close(name, &Value::Object(secrets).to_string())?)
            }
        };
        let channel = Channel { class: class.to_owned(), options, sealed };
        // What cannot be built is not stored.
        self.build(name, &channel).map(|_| channel)
    }

    /// What a channel may be: the classes' short names, sorted, with their outputs.
    #[must_use]
    pub fn classes(&self) -> Vec<(&'static str, &'static Entry)> {
        let all = short_classes().into_iter().filter_map(|class| Some((class, by_class(class)?.0)));
        all.filter(|(_, entry)| self.local || !LOCAL.contains(&entry.name)).collect()
    }

    /// The channel of a name, ready to send.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(crate) fn ready(&self, document: &Document) -> Result<Ready, ChannelError> {
        let channel = Channel::read(document)?;
        let output = self.build(&document.key, &channel)?;
        let mut secrets = Vec::new();
        for value in self.secrets(&document.key, &channel)?.values() {
            texts(value, &mut secrets);
        }
        Ok(Ready { version: document.version, output, secrets })
    }

    /// The output that a channel is.
    fn build(&self, name: &str, channel: &Channel) -> Result<Box<dyn Output>, ChannelError> {
        let class = || short(&channel.class);
        let (entry, full) = by_class(&channel.class).ok_or_else(|| ChannelError::Class { class: class() })?;
        if LOCAL.contains(&entry.name) && !self.local {
            return Err(ChannelError::Local { class: class() });
        }
        if let Some(option) = channel.options.keys().find(|key| !entry.options.contains(&key.as_str())) {
            let known = entry.options.join(", ");
            return Err(ChannelError::Unknown { option: short(option), class: class(), known });
        }
        let mut options = channel.options.clone();
        options.extend(self.secrets(name, channel)?);
        options.insert("class".to_owned(), full.into());
        let blueprint = Blueprint { name, options: &options, format: "%(message)s", extended: true, node_id: HUB };
        Ok((entry.build)(&blueprint)?)
    }

    fn secrets(&self, name: &str, channel: &Channel) -> Result<Map<String, Value>, ChannelError> {
        let Some(sealed) = &channel.sealed else { return Ok(Map::new()) };
        let text = self.seal.as_ref().ok_or(SealError::NoKey)?.open_text(name, sealed)?;
        serde_json::from_str(&text).map_err(|_| SealError::OtherKey.into())
    }
}

impl Channel {
    /// Reads a document.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(document: &Document) -> Result<Self, ChannelError> {
        serde_json::from_value(document.body.clone())
            .map_err(|error| ChannelError::Unreadable { reason: error.to_string() })
    }
}

/// A channel that can send.
pub(crate) struct Ready {
    /// The document's version.
    pub(crate) version: u64,
    output: Box<dyn Output>,
    /// What must not be shown of answers.
    secrets: Vec<String>,
}

/// What a try came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tried {
    /// The receiver has it.
    Delivered,
    /// It may take it later.
    Later { reason: String, asked: Option<Duration> },
    /// It will never take it.
    Refused { reason: String },
}

impl Ready {
    /// Hands an event over.
    pub(crate) async fn send(&mut self, event: Event) -> Tried {
        let batch = [Arc::new(event)];
        let limit = self.output.time_limit();
        let failure = match timeout(limit, self.output.deliver(&batch)).await {
            Ok(Ok(())) => return Tried::Delivered,
            Ok(Err(failure)) => failure,
            Err(_) => {
                let reason = format!("no answer within {} s", limit.as_secs());
                return Tried::Later { reason, asked: None };
            }
        };
        match failure.error {
            DeliveryError::Temporary { reason, retry_after } => {
                Tried::Later { reason: self.shown(&reason), asked: retry_after }
            }
            DeliveryError::Refused { reason } => Tried::Refused { reason: self.shown(&reason) },
        }
    }

    /// Why no test goes there, where its receiver takes none.
    pub(crate) fn no_test(&self) -> Option<&'static str> {
        self.output.no_test()
    }

    /// A receiver's words, fit to be shown.
    fn shown(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            text = text.replace(secret, "…");
        }
        visible(&text.chars().take(ANSWER).collect::<String>())
    }
}

/// The texts of a secret value that are long enough to be told from other words.
fn texts(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::String(text) if text.len() >= SECRET => out.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, out)),
        Value::Object(items) => items.values().for_each(|item| texts(item, out)),
        _ => {}
    }
}

fn short(text: &str) -> String {
    text.chars().take(60).collect()
}
