//! A script as an output: what it asks for is kept until it has arrived.
//!
//! Looking at events is done on a thread that may be slow, since nobody else waits for it. What was made of an event is
//! kept, so that trying again repeats neither the script nor a message that has arrived.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aviary_event::Event;
use aviary_output::{Blueprint, Delivery, DeliveryError, Destination, Failure, LineFormat, Message, Output, Rejection};
use rhai::Map;
use serde_json::Value as Json;
use tokio::time::timeout;

use crate::emitter::{Emitted, Emitter};
use crate::folder::read;
use crate::limits;

/// The handler's keys.
pub const OUTPUT_OPTIONS: &[&str] = &["file", "settings", "destinations", "lifecycle"];

/// What knows how to reach a destination: its name, and what the handler says of it.
pub type Open = fn(&Blueprint<'_>, &str, &Json) -> Result<Box<dyn Destination>, Rejection>;

/// Beside what all messages of an event may take.
const MARGIN: Duration = Duration::from_secs(10);

/// Builds the output of a handler: reads and compiles its script, and reads its destinations.
///
/// # Errors
/// Names the key at fault.
pub fn output(blueprint: &Blueprint<'_>, open: Open) -> Result<Box<dyn Output>, Rejection> {
    // Not used otherwise, but a mistake in the format is one all the same.
    LineFormat::new(blueprint)?;
    let given = |key: &str| blueprint.options.get(key).filter(|value| !value.is_null());
    let wrong = |key: &str, accepted: &str| match given(key) {
        None => Rejection::new(key, format!("is missing; it takes {accepted}")),
        Some(value) => Rejection::new(key, format!("is {value}; it takes {accepted}")),
    };
    let file = given("file").and_then(Json::as_str).filter(|file| !file.is_empty() && !file.contains('\0'));
    let file = Path::new(file.ok_or_else(|| wrong("file", "the path of a script such as `/etc/aviary/siem.rhai`"))?);
    let text = read(file).map_err(|why| Rejection::new("file", format!("`{}`: {why}", file.display())))?;
    let shown = file.file_name().unwrap_or_default().to_string_lossy();
    let script = Emitter::compile(&shown, &text).map_err(|fault| Rejection::new("file", fault.to_string()))?;
    let settings = match given("settings") {
        None => script.settings(&serde_json::Map::new()),
        Some(Json::Object(settings)) => script.settings(settings),
        Some(_) => return Err(wrong("settings", "an object of names and values")),
    };
    let settings = settings.map_err(|(key, why)| Rejection::new(format!("settings.{key}"), why))?;
    let Some(Json::Object(named)) =
        given("destinations").filter(|given| given.as_object().is_some_and(|m| !m.is_empty()))
    else {
        return Err(wrong("destinations", "an object such as {\"siem\": {\"url\": \"https://siem.example/events\"}}"));
    };
    if named.len() > limits::DESTINATIONS {
        let most = limits::DESTINATIONS;
        return Err(Rejection::new("destinations", format!("are {}; accepted: up to {most}", named.len())));
    }
    if let Some(missing) = script.declared.destinations.iter().find(|name| !named.contains_key(*name)) {
        return Err(Rejection::new("destinations", format!("lack `{missing}`, which the script sends to")));
    }
    let destination = |(name, options): (&String, &Json)| {
        open(blueprint, name, options)
            .map_err(|rejection| Rejection::new(format!("destinations.{}", rejection.option), rejection.reason))
    };
    let lifecycle = match given("lifecycle") {
        None => false,
        Some(value) => value.as_bool().ok_or_else(|| wrong("lifecycle", "true or false"))?,
    };
    Ok(Box::new(Scripted {
        destinations: named.iter().map(destination).collect::<Result<_, _>>()?,
        names: named.keys().cloned().collect(),
        script: Arc::new(script),
        settings: Arc::new(settings),
        text,
        lifecycle,
        made: VecDeque::new(),
        passed_over: 0,
    }))
}

struct Scripted {
    script: Arc<Emitter>,
    settings: Arc<Map>,
    text: String,
    lifecycle: bool,
    names: Arc<[String]>,
    /// In the order of their names.
    destinations: Vec<Box<dyn Destination>>,
    /// What was made of the events at the head of the last batch.
    made: VecDeque<Made>,
    passed_over: usize,
}

/// What a script made of an event.
struct Made {
    event: Arc<Event>,
    /// Whether the script said anything about it.
    said: bool,
    /// What has not arrived, each with the place of its destination.
    left: VecDeque<(usize, Message)>,
    /// Why the event is passed over when nothing is left.
    refused: Option<String>,
}

impl Output for Scripted {
    fn deliver<'a>(&'a mut self, batch: &'a [Arc<Event>]) -> Delivery<'a> {
        Box::pin(async move {
            while let (Some(made), Some(event)) = (self.made.front(), batch.first())
                && !Arc::ptr_eq(&made.event, event)
            {
                self.made.pop_front();
            }
            for (delivered, event) in batch.iter().enumerate() {
                if !self.made.get(delivered).is_some_and(|made| Arc::ptr_eq(&made.event, event)) {
                    self.made.truncate(delivered);
                    let made = self.make(batch.get(delivered..).unwrap_or_default()).await;
                    let made = made.map_err(|error| self.failure(delivered, error))?;
                    self.made.extend(made);
                }
                while self.made.get(delivered).is_some_and(|made| !made.left.is_empty()) {
                    self.send(delivered).await.map_err(|error| self.failure(delivered, error))?;
                }
                if let Some(reason) = self.made.get(delivered).and_then(|made| made.refused.clone()) {
                    return Err(self.failure(delivered, DeliveryError::Refused { reason }));
                }
            }
            self.count(batch.len());
            Ok(())
        })
    }

    fn takes_lifecycle(&self) -> bool {
        self.lifecycle
    }

    fn batch_limit(&self) -> usize {
        self.destinations.iter().map(|destination| destination.batch_limit()).min().unwrap_or(1)
    }

    /// Each message has its receiver's own limit, and what has arrived is remembered.
    fn time_limit(&self) -> Duration {
        let longest = self.destinations.iter().map(|destination| destination.time_limit()).max().unwrap_or_default();
        let most = u32::try_from(limits::SENDS).unwrap_or(u32::MAX);
        longest.saturating_mul(most).saturating_add(MARGIN)
    }

    fn take_passed_over(&mut self) -> usize {
        std::mem::take(&mut self.passed_over)
    }

    fn source(&self) -> &str {
        &self.text
    }
}

impl Scripted {
    /// What a delivery came to that came so far.
    fn failure(&mut self, delivered: usize, error: DeliveryError) -> Failure {
        self.count(delivered);
        Failure { delivered, error }
    }

    /// Counts those among the first so many events of which nothing was to be sent.
    fn count(&mut self, events: usize) {
        self.passed_over = self.made.iter().take(events).filter(|made| !made.said && made.refused.is_none()).count();
    }

    /// Shows events to the script, the first and as many more as messages are small.
    async fn make(&mut self, batch: &[Arc<Event>]) -> Result<Vec<Made>, DeliveryError> {
        let (script, settings, names) = (Arc::clone(&self.script), Arc::clone(&self.settings), Arc::clone(&self.names));
        let events = batch.to_vec();
        let work = move || {
            let mut made = Vec::new();
            let mut size: usize = 0;
            for event in events {
                let look = || script.emit(&event, &settings, Some(Arc::clone(&names)));
                let emitted = catch_unwind(AssertUnwindSafe(look))
                    .unwrap_or_else(|_| Err("the script made its engine panic".to_owned()));
                let (sent, refused) = match emitted {
                    Ok(Emitted::Sent(sent)) => (sent, None),
                    Ok(Emitted::Refused(why)) => (Vec::new(), Some(format!("the script refused it: {why}"))),
                    Err(error) => (Vec::new(), Some(format!("the script failed: {error}"))),
                };
                size = sent.iter().fold(size, |size, (_, body)| size.saturating_add(body.as_bytes().len()));
                made.push(Made { said: !sent.is_empty(), left: messages(&event, sent, &names), event, refused });
                if size > limits::EMITTED {
                    break;
                }
            }
            made
        };
        let failed = |error| DeliveryError::Temporary {
            reason: format!("no thread for the script: {error}"),
            retry_after: None,
        };
        tokio::task::spawn_blocking(work).await.map_err(failed)
    }

    /// Sends what is next from this place on, as much as goes to one destination at once.
    async fn send(&mut self, place: usize) -> Result<(), DeliveryError> {
        let mut left = self.made.iter().skip(place).flat_map(|made| &made.left);
        let Some((to, first)) = left.next() else { return Ok(()) };
        let to = *to;
        let (Some(destination), Some(name)) = (self.destinations.get_mut(to), self.names.get(to)) else {
            return Ok(());
        };
        let more = destination.batch_limit().saturating_sub(1);
        let mut messages = vec![first.clone()];
        messages.extend(left.take_while(|(other, _)| *other == to).take(more).map(|(_, message)| message.clone()));
        let limit = destination.time_limit();
        let (arrived, error) = match timeout(limit, destination.send(&messages)).await {
            Ok(Ok(())) => (messages.len(), None),
            Ok(Err(failure)) => (failure.delivered.min(messages.len()), Some(failure.error)),
            Err(_) => {
                let reason = format!("no answer within {} s", limit.as_secs());
                (0, Some(DeliveryError::Temporary { reason, retry_after: None }))
            }
        };
        for _ in 0..arrived {
            take(&mut self.made, place);
        }
        match error {
            None => Ok(()),
            Some(DeliveryError::Temporary { reason, retry_after }) => {
                Err(DeliveryError::Temporary { reason: format!("`{name}`: {reason}"), retry_after })
            }
            // The others still get theirs.
            Some(DeliveryError::Refused { reason }) => {
                if let Some(made) = take(&mut self.made, place) {
                    made.refused.get_or_insert_with(|| format!("`{name}`: {reason}"));
                }
                Ok(())
            }
        }
    }
}

/// Takes the first message that is left, from a place on; gives what it belongs to.
fn take(made: &mut VecDeque<Made>, place: usize) -> Option<&mut Made> {
    let made = made.iter_mut().skip(place).find(|made| !made.left.is_empty())?;
    made.left.pop_front();
    Some(made)
}

/// Messages about an event, numbered for each destination.
fn messages(
    event: &Arc<Event>,
    sent: Vec<(String, aviary_output::Body)>,
    names: &[String],
) -> VecDeque<(usize, Message)> {
    let mut messages: VecDeque<(usize, Message)> = VecDeque::new();
    for (name, body) in sent {
        let Some(to) = names.iter().position(|known| *known == name) else { continue };
        let number = messages.iter().filter(|(other, _)| *other == to).count().saturating_add(1);
        messages.push_back((to, Message { event: Arc::clone(event), number, body }));
    }
    messages
}
