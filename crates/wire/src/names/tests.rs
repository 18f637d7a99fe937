//! What packets tell of their senders, and what they do not.

use super::*;

#[test]
fn names_lose_what_is_no_part_of_them() {
    assert_eq!(text(b"LAPTOP-7\0"), Some("LAPTOP-7".to_owned()));
    assert_eq!(text(b"a.example. "), Some("a.example".to_owned()));
    assert_eq!(text(b"caf\xe9"), Some("caf\\xe9".to_owned()));
    assert_eq!(text("café".as_bytes()), Some("café".to_owned()));
    assert_eq!(text(b" \0."), None);
    assert_eq!(text(&[b'x'; 400]).map(|text| text.len()), Some(LONGEST));
}
