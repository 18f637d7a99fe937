//! Oracles of the fuzz targets that are no services: what must hold for any bytes.

use std::path::Path;

use aviary_config::{Document, Format, Key, KeySpace, check};
use aviary_event::Event;

/// A line that can be read prints a line that is read as the same event, and prints the same again.
///
/// # Panics
/// When it does not.
pub fn event_line(data: &[u8]) {
    let Ok(line) = std::str::from_utf8(data) else { return };
    let Ok(event) = Event::parse(line) else { return };
    for extended in [true, false] {
        let printed = event.to_line(extended);
        assert!(printed.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "not printable ASCII: {printed}");
        let again = Event::parse(&printed).map(|event| event.to_line(extended));
        assert_eq!(again.ok().as_ref(), Some(&printed), "read again");
    }
    for form in [event.to_ecs(), event.to_ocsf()] {
        assert!(serde_json::from_str::<serde_json::Value>(&form).is_ok(), "not JSON: {form}");
    }
}

/// Text in either spelling is read or explained: every problem has a place in the file, and settings
/// come out whatever stands there.
///
/// # Panics
/// When a problem stands nowhere, or names another file.
pub fn config<'a>(data: &[u8], services: impl IntoIterator<Item = &'a [Key]>) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let space = KeySpace::new(services);
    for (format, file) in [(Format::Json, "opencanary.conf"), (Format::Toml, "aviary.toml")] {
        let problems = match Document::parse(Path::new(file), text, format, &space) {
            Ok(document) => check(&document, &space).1,
            Err(problem) => vec![*problem],
        };
        for problem in problems {
            assert!(problem.to_string().contains(file) && !problem.detailed().is_empty(), "{problem:?}");
        }
    }
}
