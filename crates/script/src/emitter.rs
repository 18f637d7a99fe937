//! A script that is an output: compiled, its declaration read, called for events.

use std::fmt;
use std::sync::Arc;

use aviary_event::Event;
use aviary_output::Body;
use rhai::{AST, Array, Dynamic, Engine, ImmutableString, Map};
use serde_json::Value as Json;

use crate::engine::{self, OUTPUT_ENGINE};
use crate::limits::{DEPTH, EVENT_DEPTH};
use crate::module::Fault;
use crate::outgoing::Outgoing;
use crate::values::{from_json, to_json};

/// A script with a function `emit`.
pub struct Emitter {
    /// What it declares.
    pub declared: Declared,
    file: String,
    script: AST,
    own: Option<Engine>,
    /// Whether `emit` takes the settings, too.
    takes_settings: bool,
}

/// What an output says of itself in a function `about`, which it may have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Declared {
    /// What it does, in a few words.
    pub summary: String,
    /// Its settings with their defaults; without it, any.
    pub settings: Option<Vec<(String, Json)>>,
    /// Destinations that its handler must have.
    pub destinations: Vec<String>,
}

/// What a script made of an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Emitted {
    /// These messages, in order, each with its destination; none passes the event over.
    Sent(Vec<(String, Body)>),
    /// It will not have the event sent, and says why.
    Refused(String),
}

/// Whether a text is meant as an output, not as a module; it need not compile.
#[must_use]
pub fn is_output(text: &str) -> bool {
    let starts = |line: &str, with: &str| line.trim_start().starts_with(with);
    text.lines().any(|line| starts(line, "fn emit(")) && !text.lines().any(|line| starts(line, "fn on_"))
}

impl Emitter {
    /// Compiles a script and reads its declaration. `file` is for texts.
    ///
    /// # Errors
    /// When it is no Rhai, has no `emit`, or declares what cannot be.
    pub fn compile(file: &str, script: &str) -> Result<Self, Fault> {
        Self::read(file, script, None)
    }

    /// The same; what the script prints goes to `print`.
    ///
    /// # Errors
    /// The same.
    pub fn compile_with(
        file: &str,
        script: &str,
        print: impl Fn(&str) + Send + Sync + Clone + 'static,
    ) -> Result<Self, Fault> {
        Self::read(file, script, Some(engine::output_engine(print)))
    }

    fn read(file: &str, script: &str, own: Option<Engine>) -> Result<Self, Fault> {
        let fault = |reason: String| Fault { file: file.to_owned(), reason };
        let engine = own.as_ref().unwrap_or(&OUTPUT_ENGINE);
        let script = engine.compile(script).map_err(|error| fault(error.to_string()))?;
        let values = |name: &str| script.iter_functions().find(|f| f.name == name).map(|f| f.params.len());
        let takes_settings = match values("emit") {
            Some(1) => false,
            Some(2) => true,
            Some(count) => return Err(fault(format!("`emit` takes {count} values; accepted: 1 or 2"))),
            None => return Err(fault("it has no function `emit(event)` or `emit(event, settings)`".to_owned())),
        };
        if let Some(other) = script.iter_functions().find(|function| function.name.starts_with("on_")) {
            return Err(fault(format!(
                "it has `{}`, which is a module's, and `emit`, which is an output's",
                other.name
            )));
        }
        let declared = match values("about") {
            None => Declared::default(),
            Some(_) => {
                let about = engine::call(engine, &script, "about", (), Dynamic::UNIT).map_err(fault)?;
                let about = about.try_cast::<Map>();
                let about = about.ok_or_else(|| fault("`about` gives no map `#{ settings: ... }`".to_owned()))?;
                Declared::read(&about).map_err(fault)?
            }
        };
        Ok(Self { declared, file: file.to_owned(), script, own, takes_settings })
    }

    /// The settings that `emit` gets: what is given over what is declared.
    ///
    /// # Errors
    /// Names the one that is not declared, or that is of another type, and what is wrong with it.
    pub fn settings(&self, given: &serde_json::Map<String, Json>) -> Result<Map, (String, String)> {
        let value = |(key, value): (&String, &Json)| (key.as_str().into(), from_json(value, 0));
        let Some(declared) = &self.declared.settings else { return Ok(given.iter().map(value).collect()) };
        for (key, given) in given {
            let Some((_, default)) = declared.iter().find(|(known, _)| known == key) else {
                let known: Vec<&str> = declared.iter().map(|(key, _)| key.as_str()).collect();
                return Err((key.clone(), format!("is not known to the script; there are {}", known.join(", "))));
            };
            if std::mem::discriminant(given) != std::mem::discriminant(default) {
                return Err((key.clone(), format!("is {given}; it takes what is like {default}")));
            }
        }
        let over = |(key, default)| (key, given.get(key).unwrap_or(default));
        Ok(declared.iter().map(|(key, default)| value(over((key, default)))).collect())
    }

    /// Shows an event to the script. `known` are the destinations; without it, any name is one.
    ///
    /// # Errors
    /// What went wrong in the script, with line and position.
    pub fn emit(&self, event: &Event, settings: &Map, known: Option<Arc<[String]>>) -> Result<Emitted, String> {
        let engine = self.own.as_ref().unwrap_or(&OUTPUT_ENGINE);
        let outgoing = Outgoing::new(known);
        let event = as_seen(event);
        let called = if self.takes_settings {
            engine::call(engine, &self.script, "emit", (event, settings.clone()), Dynamic::from(outgoing.clone()))
        } else {
            engine::call(engine, &self.script, "emit", (event,), Dynamic::from(outgoing.clone()))
        };
        if let Some(why) = outgoing.refused() {
            return Ok(Emitted::Refused(why));
        }
        match called {
            Ok(_) => Ok(Emitted::Sent(outgoing.take_sent())),
            Err(error) => Err(format!("`{}`: {error}", self.file)),
        }
    }
}

impl fmt::Debug for Emitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emitter").field("declared", &self.declared).finish_non_exhaustive()
    }
}

/// An event's line as a map.
fn as_seen(event: &Event) -> Dynamic {
    let line = event.to_line(true);
    let line = serde_json::from_str(&line).unwrap_or(Json::Null);
    from_json(&line, DEPTH.saturating_sub(EVENT_DEPTH))
}

impl Declared {
    fn read(about: &Map) -> Result<Self, String> {
        const KNOWN: [&str; 4] = ["destinations", "name", "settings", "summary"];
        if let Some(other) = about.keys().find(|key| !KNOWN.contains(&key.as_str())) {
            return Err(format!(
                "`about` says `{other}`, which is not known to an output; there are {}",
                KNOWN.join(", ")
            ));
        }
        let summary = about.get("summary").map(|text| words(text).ok_or("`summary` is no text")).transpose()?;
        let settings = about.get("settings").map(settings).transpose()?;
        let destinations = about.get("destinations").map(|names| {
            let names = names.read_lock::<Array>().and_then(|names| names.iter().map(words).collect());
            names.ok_or("`destinations` is no array of names")
        });
        let destinations = destinations.transpose()?.unwrap_or_default();
        Ok(Self { summary: summary.unwrap_or_default(), settings, destinations })
    }
}

fn words(value: &Dynamic) -> Option<String> {
    value.read_lock::<ImmutableString>().map(|text| text.to_string())
}

fn settings(value: &Dynamic) -> Result<Vec<(String, Json)>, String> {
    let Some(map) = value.read_lock::<Map>() else {
        return Err("`settings` is no map of names with their defaults".to_owned());
    };
    let one = |key: &str, value| match to_json(value, 0) {
        Ok(value) => Ok((key.to_owned(), value)),
        Err(why) => Err(format!("the default of `{key}` in `settings` {why}")),
    };
    map.iter().map(|(key, value)| one(key, value)).collect()
}
