//! What an output's script asks for while it looks at an event: messages to destinations, or a refusal.
//!
//! Nothing is sent before the call is over, and nothing of a call that fails.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aviary_output::Body;
use rhai::{Array, Blob, Dynamic, Engine, EvalAltResult, Map, NativeCallContext};

use crate::limits;
use crate::text::from_text;
use crate::values::to_json_text;

type Done = Result<(), Box<EvalAltResult>>;

/// What one call has asked for.
#[derive(Clone)]
pub(crate) struct Outgoing(Arc<Mutex<Inner>>);

struct Inner {
    /// Destinations that there are; in a rehearsal, whatever name is used.
    known: Option<Arc<[String]>>,
    sent: Vec<(String, Body)>,
    size: usize,
    refused: Option<String>,
}

impl Outgoing {
    pub(crate) fn new(known: Option<Arc<[String]>>) -> Self {
        Self(Arc::new(Mutex::new(Inner { known, sent: Vec::new(), size: 0, refused: None })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Messages in order, each with the name of its destination.
    pub(crate) fn take_sent(&self) -> Vec<(String, Body)> {
        std::mem::take(&mut self.lock().sent)
    }

    /// Why the script will not have the event sent.
    pub(crate) fn refused(&self) -> Option<String> {
        self.lock().refused.clone()
    }

    fn send(&self, name: &str, body: Body) -> Done {
        let mut inner = self.lock();
        if let Some(known) = inner.known.as_ref().filter(|known| !known.iter().any(|one| one == name)) {
            let known = known.join(", ");
            return Err(format!("there is no destination `{}`; there are {known}", name.escape_debug()).into());
        }
        if inner.sent.len() >= limits::SENDS {
            return Err(format!("more than {} messages are sent about one event", limits::SENDS).into());
        }
        inner.size = inner.size.saturating_add(body.as_bytes().len());
        if inner.size > limits::EMITTED {
            return Err(format!("more than {} bytes are sent about one event", limits::EMITTED).into());
        }
        inner.sent.push((name.to_owned(), body));
        Ok(())
    }
}

/// The state of the call that runs.
fn outgoing(context: &NativeCallContext<'_>) -> Result<Outgoing, Box<EvalAltResult>> {
    let tag = context.tag().and_then(|tag| tag.clone().try_cast::<Outgoing>());
    tag.ok_or_else(|| "there is no event here to send anything about".into())
}

/// Makes known to scripts what an output may do.
pub(crate) fn register(engine: &mut Engine) {
    engine.register_fn("send", |context: NativeCallContext<'_>, name: &str, text: &str| {
        let body = String::from_utf8(from_text(text));
        outgoing(&context)?.send(name, body.map_or_else(|error| Body::Bytes(error.into_bytes()), Body::Text))
    });
    engine.register_fn("send", |context: NativeCallContext<'_>, name: &str, bytes: Blob| {
        let body = String::from_utf8(bytes);
        outgoing(&context)?.send(name, body.map_or_else(|error| Body::Bytes(error.into_bytes()), Body::Text))
    });
    engine.register_fn("send", |context: NativeCallContext<'_>, name: &str, map: Map| {
        outgoing(&context)?.send(name, Body::Json(json(&map.into())?))
    });
    engine.register_fn("send", |context: NativeCallContext<'_>, name: &str, items: Array| {
        outgoing(&context)?.send(name, Body::Json(json(&items.into())?))
    });
    engine.register_fn("json", |value: Dynamic| json(&value));
    engine.register_fn("refuse", |context: NativeCallContext<'_>, why: &str| -> Done {
        let why: String = why.chars().take(limits::REASON).collect();
        outgoing(&context)?.lock().refused = Some(why);
        // This error is one that no script catches; what is said of it is the refusal.
        Err(Box::new(EvalAltResult::ErrorTerminated(Dynamic::UNIT, context.call_position())))
    });
}

fn json(value: &Dynamic) -> Result<String, Box<EvalAltResult>> {
    to_json_text(value).map_err(|why| format!("a value {why}").into())
}
