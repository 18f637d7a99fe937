//! Kinds of event that the frame itself reports.

use aviary_event::{Class, KindInfo};

/// OpenCanary's `LOG_BASE_MSG`: a line about the canary itself.
pub(crate) static MESSAGE: KindInfo = KindInfo {
    number: 1001,
    constant: "LOG_BASE_MSG",
    class: Class::Lifecycle,
    when: "the canary starts, stops, reloads, or a service could not start",
    keys: &["msg"],
    technique: &[],
};

/// A connection that ended without any other event.
pub(crate) static UNREPORTED: KindInfo = KindInfo {
    number: 30000,
    constant: "LOG_CONNECTION_UNREPORTED",
    class: Class::Connection,
    when: "a connection ended and no other event told of it",
    keys: &["BYTES", "DATA", "DURATION_MS", "REASON"],
    technique: &["T1046"],
};

/// A TLS handshake that failed.
pub(crate) static TLS_FAILED: KindInfo = KindInfo {
    number: 30001,
    constant: "LOG_TLS_HANDSHAKE_FAILED",
    class: Class::Violation,
    when: "a TLS handshake failed",
    keys: &["DATA", "ERROR"],
    technique: &["T1046"],
};

/// Connections refused or cut off at a limit.
pub(crate) static LIMITED: KindInfo = KindInfo {
    number: 30002,
    constant: "LOG_CONNECTIONS_LIMITED",
    class: Class::Limit,
    when: "connections of a source were cut off at a limit; once per source and minute",
    keys: &["COUNT", "LIMIT"],
    technique: &["T1499"],
};

/// An output fails, or works again.
pub(crate) static OUTPUT: KindInfo = KindInfo {
    number: 30010,
    constant: "LOG_OUTPUT_STATE",
    class: Class::Lifecycle,
    when: "an output begins to fail, or works again",
    keys: &["ERROR", "OUTPUT", "STATE", "WAITING"],
    technique: &[],
};

/// Events that could not be kept.
pub(crate) static LOST: KindInfo = KindInfo {
    number: 30011,
    constant: "LOG_EVENTS_LOST",
    class: Class::Lifecycle,
    when: "events were removed by a bound before an output had them, or could not be stored",
    keys: &["COUNT", "OUTPUT", "REASON"],
    technique: &[],
};

/// All of them, for documents and checks.
pub static ALL: &[&KindInfo] =
    &[&MESSAGE, &UNREPORTED, &TLS_FAILED, &LIMITED, &OUTPUT, &LOST, &aviary_output::DIGEST, &aviary_output::TEST];
