//! `logging.NullHandler`: takes every event and keeps none.
//!
//! It has no keys. With it alone, a canary shows its events nowhere but in its own journal. Reference:
//! <https://docs.python.org/3/library/logging.handlers.html#nullhandler>.

use std::sync::Arc;

use aviary_event::Event;
use aviary_output::{Delivery, Entry, LineFormat, Output};

/// Nowhere.
pub(crate) static ENTRY: Entry = Entry {
    name: "null",
    classes: &["logging.NullHandler"],
    summary: "nowhere",
    options: &["template"],
    build: |blueprint| {
        LineFormat::with_template(blueprint)?;
        Ok(Box::new(Null))
    },
};

struct Null;

impl Output for Null {
    fn deliver<'a>(&'a mut self, _: &'a [Arc<Event>]) -> Delivery<'a> {
        Box::pin(std::future::ready(Ok(())))
    }
}
