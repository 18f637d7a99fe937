//! Rehearsals of outputs: events in, what would be sent out. No connection, no clock.
//!
//! ```text
//! # a remark
//! > {"an event's": "line"}
//! < NAME what is sent to this destination, with \r \n \t \\ and \xNN; JSON as it is
//! ! why the event is not sent at all
//! ```

use aviary_event::Event;
use rhai::Map;
use serde_json::Value as Json;

use crate::emitter::{Emitted, Emitter};
use crate::rehearsal::{Rehearsal, content, escape, json, of_json, unescape};

/// Shows a transcript's events to an output.
///
/// # Errors
/// With the line of the transcript that is not one.
pub fn rehearse_output(output: &Emitter, settings: &Map, transcript: &str) -> Result<Rehearsal, String> {
    let (mut lines, mut expected) = (Vec::new(), Vec::new());
    for (at, line) in transcript.lines().enumerate() {
        let bad = |why: String| format!("line {}: {why}", at.saturating_add(1));
        let content = content(line).trim_end();
        match line.chars().next() {
            None | Some('#') => {}
            Some('>') => {
                let event = Event::parse(content).map_err(|error| bad(format!("no event's line: {error}")))?;
                expected.push(format!("> {content}"));
                lines.push(format!("> {content}"));
                match output.emit(&event, settings, None) {
                    Ok(Emitted::Sent(sent)) => {
                        lines.extend(sent.iter().map(|(name, body)| format!("< {name} {}", shown(body.as_bytes()))));
                    }
                    Ok(Emitted::Refused(why)) => lines.push(format!("! {}", escape(why.as_bytes()))),
                    Err(error) => lines.push(format!("! {}", escape(error.as_bytes()))),
                }
            }
            Some('<') => {
                let (name, body) = content.split_once(' ').unwrap_or((content, ""));
                let body = match as_json(body) {
                    Some(body) => body,
                    None => shown(&unescape(body).map_err(bad)?),
                };
                expected.push(format!("< {name} {body}"));
            }
            Some('!') => expected.push(format!("! {content}")),
            Some(_) => return Err(bad("it begins with none of # > < !".to_owned())),
        }
    }
    Ok(Rehearsal { lines, expected })
}

/// What a message says, in the one form in which two are compared.
fn shown(body: &[u8]) -> String {
    let text = std::str::from_utf8(body).ok();
    text.and_then(as_json).unwrap_or_else(|| escape(body))
}

/// An object or array as an event's line writes it.
fn as_json(text: &str) -> Option<String> {
    let value: Json = serde_json::from_str(text).ok()?;
    (value.is_object() || value.is_array()).then(|| json(&of_json(&value)))
}
