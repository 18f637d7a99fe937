//! What is reported of those who answer.

use aviary_event::{Class, Kind, KindInfo};

/// All kinds of the service, in the order of their numbers.
pub(super) static KINDS: [KindInfo; 2] = [
    KindInfo {
        number: 19001,
        constant: "LOG_LLMNR_QUERY_RESPONSE",
        class: Class::Violation,
        when: "somebody answered to a name that nobody has, over LLMNR, mDNS or NetBIOS",
        keys: &["query_hostname", "response"],
        technique: &["T1557.001"],
    },
    KindInfo {
        number: 31900,
        constant: "LOG_LLMNR_RESPONDER",
        class: Class::Violation,
        when: "the same: who answered what, on which network; `MAC` and `TTL` where the system tells",
        keys: &["ANSWERS", "INTERFACE", "MAC", "NAME", "PROTOCOL", "RESPONSE_CODE", "TTL"],
        technique: &["T1557.001"],
    },
];

/// OpenCanary's.
pub(super) const QUERY_RESPONSE: Kind = &KINDS[0];

/// Who answered.
pub(super) const RESPONDER: Kind = &KINDS[1];
