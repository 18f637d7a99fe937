//! Kinds of event of this service.

use aviary_event::{Class, Kind, KindInfo};

pub(super) static KINDS: [KindInfo; 1] = [KindInfo {
    number: 39900,
    constant: "LOG_ECHO_LINE",
    class: Class::Command,
    when: "a line was received",
    keys: &["DATA"],
    technique: &[],
}];

/// A line was received.
pub(super) const LINE: Kind = &KINDS[0];
