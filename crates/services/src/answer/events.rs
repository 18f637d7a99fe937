//! What answered ports report.

use aviary_event::{Class, KindInfo};

/// All kinds.
pub(super) static KINDS: [KindInfo; 1] = [KindInfo {
    number: 32001,
    constant: "LOG_PORT_ANSWERED",
    class: Class::Connection,
    when: "a connection to a port of `portscan.answer`: what came first, up to 4,096 bytes, and what it looks like",
    keys: &["BYTES", "DATA", "PROTOCOL"],
    technique: &["T1046"],
}];

pub(super) static ANSWERED: &KindInfo = &KINDS[0];
