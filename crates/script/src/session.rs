//! What a script holds of a connection: who talks to it, what it may do, and what it keeps.
//!
//! Nothing is done at once. What a call asks for is collected and handed to the frame after it, and dropped
//! when the call fails half way, but for events: what was seen was seen.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aviary_event::{Kind, LogData, PeerBytes, Timestamp};
use aviary_service::{Facts, Outbox};
use rhai::{Blob, Dynamic, Engine, EvalAltResult, ImmutableString, Map};

use crate::text::from_text;
use crate::values::{to_event, weigh};
use crate::{kinds, limits};

type Done = Result<(), Box<EvalAltResult>>;

/// What a session says of itself.
const GIVEN: [&str; 10] =
    ["config", "host_name", "id", "local", "local_port", "now", "peer", "peer_port", "random", "unused"];

/// A connection, or a datagram, as scripts see it.
#[derive(Clone)]
pub(crate) struct Session(Arc<Mutex<Inner>>);

/// One thing that a call asked for.
enum Act {
    Send(Vec<u8>),
    Report(Kind, LogData),
    Pause(Duration),
    Close,
}

struct Inner {
    facts: Facts,
    config: Arc<Map>,
    logtype: i64,
    now: Timestamp,
    acts: Vec<Act>,
    sent: usize,
    /// What the peer sent and no call has seen or used.
    unused: Vec<u8>,
    kept: BTreeMap<ImmutableString, (Dynamic, usize)>,
}

impl Session {
    pub(crate) fn new(facts: &Facts, config: Arc<Map>, logtype: i64) -> Self {
        let (facts, now) = (facts.clone(), Timestamp::from_micros(0));
        let inner =
            Inner { facts, config, logtype, now, acts: Vec::new(), sent: 0, unused: Vec::new(), kept: BTreeMap::new() };
        Self(Arc::new(Mutex::new(inner)))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call begins.
    pub(crate) fn begin(&self, now: Timestamp) {
        let mut inner = self.lock();
        inner.now = now;
        inner.sent = 0;
        inner.acts.clear();
    }

    /// What `session.unused` gives from now on, as far as a blob may hold it.
    pub(crate) fn set_unused(&self, bytes: &[u8]) {
        self.lock().unused = bytes.get(..limits::ITEMS).unwrap_or(bytes).to_vec();
    }

    /// The call ended; what it asked for goes to the frame, of a call that failed the events alone.
    pub(crate) fn finish(&self, failed: bool, out: &mut Outbox) {
        for act in std::mem::take(&mut self.lock().acts) {
            match act {
                Act::Report(kind, data) => out.report(kind, data),
                _ if failed => {}
                Act::Send(bytes) => out.reply(bytes),
                Act::Pause(_) if out.is_closing() => {}
                Act::Pause(time) => out.pause(time),
                Act::Close => out.close(),
            }
        }
    }

    fn send(&self, bytes: Vec<u8>) -> Done {
        let mut inner = self.lock();
        inner.sent = inner.sent.saturating_add(bytes.len());
        if inner.sent > limits::SENT {
            return Err(format!("more than {} bytes are sent in one call", limits::SENT).into());
        }
        inner.acts.push(Act::Send(bytes));
        Ok(())
    }

    fn report(&self, number: i64, map: &Map) -> Done {
        let mut data = LogData::new();
        let mut is_login = false;
        for (key, value) in map {
            is_login |= matches!(key.as_str(), "USERNAME" | "PASSWORD");
            data.insert(key, to_event(value, 0).map_err(|why| format!("`{key}` of an event {why}"))?);
        }
        let known = "accepted: 1006 and 99000 to 99009";
        let kind =
            kinds::find(number, is_login).ok_or_else(|| format!("logtype {number} is none of a module's; {known}"))?;
        let mut inner = self.lock();
        if inner.acts.iter().filter(|act| matches!(act, Act::Report(..))).count() >= limits::REPORTS {
            return Err(format!("more than {} events are reported in one call", limits::REPORTS).into());
        }
        inner.acts.push(Act::Report(kind, data));
        Ok(())
    }

    fn pause(&self, milliseconds: i64) -> Done {
        let (most, longest) = limits::PAUSES;
        let mut inner = self.lock();
        let so_far = inner.acts.iter().filter(|act| matches!(act, Act::Pause(_))).count();
        let time = u64::try_from(milliseconds).ok().filter(|_| milliseconds <= longest && so_far < most);
        let Some(time) = time else {
            return Err(format!("a call may pause {most} times, 0 to {longest} milliseconds each").into());
        };
        inner.acts.push(Act::Pause(Duration::from_millis(time)));
        Ok(())
    }

    /// What the session says of itself under one of [`GIVEN`].
    fn given(&self, name: &str) -> Dynamic {
        let inner = self.lock();
        let facts = &inner.facts;
        match name {
            "config" => Map::clone(&inner.config).into(),
            "host_name" => facts.host_name.to_string().into(),
            "id" => facts.session.to_string().into(),
            "local" => facts.local.ip().to_canonical().to_string().into(),
            "local_port" => i64::from(facts.local.port()).into(),
            "now" => inner.now.as_micros().div_euclid(1_000_000).into(),
            "peer" => facts.peer.ip().to_canonical().to_string().into(),
            "peer_port" => i64::from(facts.peer.port()).into(),
            "random" => Dynamic::from_blob(facts.entropy.to_vec()),
            "unused" => Dynamic::from_blob(inner.unused.clone()),
            _ => Dynamic::UNIT,
        }
    }

    fn keep(&self, name: &str, value: Dynamic) -> Done {
        if GIVEN.contains(&name) {
            // Calling a method of what is inside writes it back, though nothing of it has changed.
            let same = to_event(&value, 0).is_ok_and(|value| to_event(&self.given(name), 0) == Ok(value));
            if same {
                return Ok(());
            }
            return Err(format!("`session.{name}` is not to be changed; keep it under another name").into());
        }
        let mut inner = self.lock();
        let weight = weigh(&value, 0).map_err(|why| format!("what `session.{name}` shall keep {why}"))?;
        let before = inner.kept.remove(name);
        let sum = inner.kept.values().fold(weight, |sum, (_, weight)| sum.saturating_add(*weight));
        if sum > limits::KEPT.0 || inner.kept.len() >= limits::KEPT.1 || name.len() > 64 {
            if let Some(before) = before {
                inner.kept.insert(name.into(), before);
            }
            return Err(
                format!("a session keeps at most {} bytes under {} names", limits::KEPT.0, limits::KEPT.1).into()
            );
        }
        inner.kept.insert(name.into(), (value, weight));
        Ok(())
    }
}

/// An event about a module that failed.
pub(crate) fn report_failure(error: &str, data: &[u8], out: &mut Outbox) {
    let data = LogData::new().with("DATA", data).with("ERROR", PeerBytes::from(from_text(error)));
    out.report(kinds::FAILED, data);
}

/// Makes the session known to scripts. Properties that are not listed here are the script's own.
pub(crate) fn register(engine: &mut Engine) {
    engine.register_type_with_name::<Session>("session");
    engine.register_fn("send", |session: &mut Session, text: &str| session.send(from_text(text)));
    engine.register_fn("send", |session: &mut Session, bytes: Blob| session.send(bytes));
    engine.register_fn("close", |session: &mut Session| session.lock().acts.push(Act::Close));
    engine.register_fn("pause", Session::pause_from_script);
    engine.register_fn("report", |session: &mut Session, data: Map| {
        let number = session.lock().logtype;
        session.report(number, &data)
    });
    engine.register_fn("report", |session: &mut Session, number: i64, data: Map| session.report(number, &data));
    for name in GIVEN {
        engine.register_get(name, move |session: &mut Session| session.given(name));
    }
    engine.register_indexer_get(|session: &mut Session, name: &str| {
        session.lock().kept.get(name).map_or(Dynamic::UNIT, |(value, _)| value.clone())
    });
    engine.register_indexer_set(|session: &mut Session, name: &str, value: Dynamic| session.keep(name, value));
}

impl Session {
    fn pause_from_script(&mut self, milliseconds: i64) -> Done {
        self.pause(milliseconds)
    }
}
