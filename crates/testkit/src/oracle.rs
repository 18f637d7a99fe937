//! Oracles of the fuzz targets that are no services: what must hold for any bytes.

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
