//! What is cut out of a message, whatever the message is.

use aviary_hub::{event_in, object_in};
use proptest::prelude::*;

/// Text as messages have it, and worse.
fn text() -> impl Strategy<Value = String> {
    const PIECES: &[&str] =
        &["<14>", "1 ", "- ", "[a b=\"", "\\\"", "]", "{", "}", "{\"a\": 1}", "\"", "\\", "\0", " ", "ü", "\u{feff}"];
    let piece = prop_oneof![proptest::sample::select(PIECES).prop_map(str::to_owned), ".{0,4}"];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn what_is_found_is_a_part_of_the_message_and_json(message in text()) {
        let found = event_in(&message);
        prop_assert!(message.contains(found));
        if let Some(object) = object_in(&message) {
            prop_assert!(serde_json::from_str::<serde_json::Map<_, _>>(object).is_ok(), "{}", object);
        }
    }

    #[test]
    fn an_event_is_found_behind_any_header_without_braces(header in "[^{}]{0,40}", value in ".{0,20}") {
        let event = serde_json::json!({"logtype": 2000, "logdata": {"USERNAME": value}}).to_string();
        let message = format!("<14>{header} {event}");
        prop_assert_eq!(object_in(&message), Some(event.as_str()));
    }
}
