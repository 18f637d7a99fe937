//! What the Telnet service reports.

use aviary_event::{Class, KindInfo};

/// OpenCanary's login attempt, and its limit on subnegotiations under the same number.
pub(super) const LOGIN_ATTEMPT: KindInfo = KindInfo {
    number: 6001,
    constant: "LOG_TELNET_LOGIN_ATTEMPT",
    class: Class::Login,
    when: "each password; with `ERROR` alone when a subnegotiation reached 256 bytes",
    keys: &["ERROR", "PASSWORD", "USERNAME"],
    technique: &["T1110"],
};

/// OpenCanary's connection.
pub(super) const CONNECTION_MADE: KindInfo = KindInfo {
    number: 6002,
    constant: "LOG_TELNET_CONNECTION_MADE",
    class: Class::Connection,
    when: "a connection was made, if `telnet.log_tcp_connection`",
    keys: &[],
    technique: &[],
};

/// The client's terminal.
pub(super) const TERMINAL: KindInfo = KindInfo {
    number: 30400,
    constant: "LOG_TELNET_TERMINAL",
    class: Class::Command,
    when: "the client told about its terminal; at its first line or its end, and again when that changed",
    keys: &["DISPLAY", "ENVIRON", "NEGOTIATED", "SPEED", "TERMINAL", "WINDOW"],
    technique: &[],
};

/// An argument for `login` smuggled in as a user name.
pub(super) const ENVIRON_EXPLOIT: KindInfo = KindInfo {
    number: 30401,
    constant: "LOG_TELNET_ENVIRON_EXPLOIT",
    class: Class::Violation,
    when: "an environment variable USER began with `-`, as for CVE-2026-24061",
    keys: &["NAME", "VALUE"],
    technique: &["T1190"],
};

/// Anything else.
pub(super) const OTHER_INPUT: KindInfo = KindInfo {
    number: 30402,
    constant: "LOG_TELNET_OTHER_INPUT",
    class: Class::Violation,
    when: "a line was too long, interrupted or never ended, a user name had no password, or a subnegotiation was unknown",
    keys: &["DATA", "REASON", "USERNAME"],
    technique: &[],
};
