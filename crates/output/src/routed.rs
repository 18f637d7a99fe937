//! An output with what any handler may say of it: `when` and `rate`.

use std::sync::Arc;
use std::time::Duration;

use aviary_event::Event;
use serde_json::{Map, Value};

use crate::{Delivery, Output, Rate, Rejection, Route, Someday};

/// Puts an output behind the `when` and `rate` of its handler, where there are such. `own` are the keys that the
/// output knows itself: one with a `when` of its own, as Python's timed rotation, says `route` instead, and one that
/// does not know `template` has no text that it could be.
///
/// # Errors
/// Names what is wrong in them.
pub fn routed(
    output: Box<dyn Output>,
    own: &[&str],
    options: &Map<String, Value>,
) -> Result<Box<dyn Output>, Rejection> {
    let given = |key: &str| options.get(key).filter(|value| !value.is_null());
    if given("template").is_some() && !own.contains(&"template") {
        let reason = "is not taken here: the receiver gets the event's fields, not a text of one's own";
        return Err(Rejection::new("template", reason));
    }
    let key = if own.contains(&"when") { "route" } else { "when" };
    let route = given(key).map(|value| Route::read(key, value)).transpose()?;
    let rate = given("rate").map(Rate::read).transpose()?;
    if route.is_none() && rate.is_none() {
        return Ok(output);
    }
    Ok(Box::new(Routed { output, route: route.unwrap_or_default(), rate }))
}

struct Routed {
    output: Box<dyn Output>,
    route: Route,
    rate: Option<Rate>,
}

impl Output for Routed {
    fn deliver<'a>(&'a mut self, batch: &'a [Arc<Event>]) -> Delivery<'a> {
        self.output.deliver(batch)
    }

    fn wants(&self, event: &Event) -> bool {
        self.route.takes(event) && self.output.wants(event)
    }

    fn takes_lifecycle(&self) -> bool {
        self.route.lifecycle().unwrap_or_else(|| self.output.takes_lifecycle())
    }

    fn takes_drills(&self) -> bool {
        self.output.takes_drills()
    }

    fn rate(&self) -> Option<Rate> {
        self.rate.or_else(|| self.output.rate())
    }

    fn no_test(&self) -> Option<&'static str> {
        self.output.no_test()
    }

    fn batch_limit(&self) -> usize {
        self.output.batch_limit()
    }

    fn in_doubt(&mut self) -> Someday<'_> {
        self.output.in_doubt()
    }

    fn time_limit(&self) -> Duration {
        self.output.time_limit()
    }

    fn take_passed_over(&mut self) -> usize {
        self.output.take_passed_over()
    }

    fn source(&self) -> &str {
        self.output.source()
    }
}
