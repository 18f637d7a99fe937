//! The words of chat messages for outputs that are none: a line with fields, and an event's facts.

use aviary_event::Event;
use aviary_output::Rejection;

use super::alert::Alert;
use super::markup::{Markup, Unit};
use super::template::Words;

/// A line of text with fields of the event in it.
#[derive(Debug)]
pub(crate) struct Headline(Words);

impl Headline {
    /// Reads a handler's key; its fields are those of `template`.
    pub(crate) fn new(key: &str, text: &str) -> Result<Self, Rejection> {
        if text.contains(char::is_control) {
            return Err(Rejection::new(key, "holds a control character; it takes text on one line"));
        }
        Words::read(key, text).map(Self)
    }

    /// The line of an event without anything that cannot be shown, of at most so many UTF-16 units.
    pub(crate) fn text(&self, event: &Event, line: String, limit: usize) -> String {
        let text = self.0.text(&Alert::new(event, line, true), Markup::Plain, Unit::Utf16, limit);
        // A value is made visible by a rule of its own; whatever it lets through ends no header.
        text.replace(char::is_control, " ")
    }
}

/// The headline of an event and its facts, name and value, the most telling first.
pub(crate) fn facts(event: &Event) -> (String, Vec<(String, String)>) {
    let alert = Alert::new(event, String::new(), true);
    (alert.title, alert.facts)
}
