//! What a service says of itself: keys, defaults, kinds, endpoints.

use std::collections::BTreeSet;

use aviary_event::Value;

use super::{Finding, Subject, converse};

/// Its defaults are valid and build it, its names are in order, and it listens somewhere.
///
/// # Errors
/// With the first thing that is not so.
pub fn declaration_is_whole(subject: &Subject<'_>) -> Finding {
    let entry = subject.entry;
    let wrong = |what: String| Err(format!("{}: {what}", entry.name));
    if entry.summary.is_empty() {
        return wrong("no summary".to_owned());
    }
    let mut names = BTreeSet::new();
    for key in entry.keys {
        let rest = key.name.strip_prefix(entry.name).unwrap_or_default();
        // A part of something larger, such as `portscan.answer`, ends with it.
        let is_part = key.name.strip_suffix(entry.name).is_some_and(|whole| whole.ends_with('.'));
        if !rest.starts_with(['.', '_']) && !is_part {
            return wrong(format!("the key `{}` does not begin with the service's name", key.name));
        }
        if !key.default.is_empty() && serde_json::from_str::<serde_json::Value>(key.default).is_err() {
            return wrong(format!("the default of `{}` is not JSON: {}", key.name, key.default));
        }
        if key.doc.is_empty() {
            return wrong(format!("`{}` is not documented", key.name));
        }
        if !names.insert(key.name) {
            return wrong(format!("`{}` is declared twice", key.name));
        }
    }
    if entry.kinds.is_empty() {
        return wrong("no kinds of event".to_owned());
    }
    if let Err(reason) = Subject::plain(entry).install() {
        return wrong(format!("its defaults do not build it: {reason}"));
    }
    let service = subject.install().map_err(|reason| format!("{}: {reason}", entry.name))?.service;
    let endpoints = service.endpoints();
    if endpoints.is_empty() && service.seeker().is_none() && service.follows().is_empty() {
        return wrong("it listens nowhere, asks nobody and reads nothing".to_owned());
    }
    for endpoint in endpoints {
        if endpoint.port == 0 || !endpoint.label.starts_with(entry.name) {
            return wrong(format!("a strange endpoint: {endpoint:?}"));
        }
    }
    Ok(())
}

/// It reports only kinds and keys that it declares, whatever comes.
///
/// # Errors
/// With the first event that fits no declaration.
pub fn reports_what_it_declares(subject: &Subject<'_>) -> Finding {
    let installation = subject.install()?;
    for input in &subject.inputs {
        installation.on_each_endpoint([0x42; 32], |label, dialogue| {
            let transcript = converse(dialogue, input.segments.iter().map(Vec::as_slice));
            undeclared(subject.entry, &transcript).map_err(|what| format!("{label}, {}: {what}", input.name))
        })?;
        for transcript in installation.overheard([0x42; 32], &input.segments) {
            undeclared(subject.entry, &transcript)
                .map_err(|what| format!("{}, {}: {what}", subject.entry.name, input.name))?;
        }
    }
    Ok(())
}

pub(super) fn undeclared(entry: &aviary_service::Entry, transcript: &crate::Transcript) -> Finding {
    for (number, data) in transcript.events() {
        let Some(kind) = entry.kinds.iter().find(|kind| kind.number == number) else {
            return Err(format!("log type {number} is not declared"));
        };
        for (key, value) in data.iter() {
            // A user's module names its keys itself.
            if kind.keys != ["*"] && !kind.keys.contains(&key) {
                return Err(format!("log type {number} has the key `{key}`, which is not declared"));
            }
            if matches!(value, Value::Float(number) if !number.is_finite()) {
                return Err(format!("log type {number}, `{key}`: no JSON reader takes {value:?}"));
            }
        }
    }
    Ok(())
}
