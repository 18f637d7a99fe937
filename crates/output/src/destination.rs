//! Where messages go that an output did not write itself: what a script says about an event.

use std::sync::Arc;
use std::time::Duration;

use aviary_event::Event;

use crate::Delivery;

/// A message about an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// What it tells of.
    pub event: Arc<Event>,
    /// Which one it is of those about its event to one destination, from 1.
    pub number: usize,
    /// What it says.
    pub body: Body,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Text.
    Text(String),
    /// A JSON text.
    Json(String),
    /// Bytes that are no UTF-8.
    Bytes(Vec<u8>),
}

impl Body {
    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) | Self::Json(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl Message {
    /// What the receiver tells a repetition by: the event's id, with `/2` and so on behind it after the first.
    #[must_use]
    pub fn id(&self) -> Option<String> {
        let id = self.event.aviary.as_ref()?.id.hyphenated().to_string();
        Some(if self.number > 1 { format!("{id}/{}", self.number) } else { id })
    }
}

/// A receiver of messages, with all that is known of how to reach it.
pub trait Destination: Send + 'static {
    /// Hands messages over in order. [`Failure::delivered`](crate::Failure) counts messages.
    fn send<'a>(&'a mut self, messages: &'a [Message]) -> Delivery<'a>;

    /// Most messages at once.
    fn batch_limit(&self) -> usize;

    /// Longest time that one `send` may take.
    fn time_limit(&self) -> Duration;
}
