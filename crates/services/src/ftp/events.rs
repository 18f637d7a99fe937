//! What the FTP service reports.

use aviary_event::{Class, KindInfo};

/// OpenCanary's login attempt.
pub(super) const LOGIN_ATTEMPT: KindInfo = KindInfo {
    number: 2000,
    constant: "LOG_FTP_LOGIN_ATTEMPT",
    class: Class::Login,
    when: "PASS after USER; the password is empty when PASS had no argument",
    keys: &["PASSWORD", "USERNAME"],
    technique: &["T1110"],
};

/// OpenCanary's announcement of a login attempt.
pub(super) const AUTH_ATTEMPT_INITIATED: KindInfo = KindInfo {
    number: 2001,
    constant: "LOG_FTP_AUTH_ATTEMPT_INITIATED",
    class: Class::Login,
    when: "just before 2000, if `ftp.log_auth_attempt_initiated`",
    keys: &[],
    technique: &["T1110"],
};

/// Any other command.
pub(super) const COMMAND: KindInfo = KindInfo {
    number: 30100,
    constant: "LOG_FTP_COMMAND",
    class: Class::Command,
    when: "a command other than PASS was received, if `ftp.log_commands`",
    keys: &["ARGUMENT", "COMMAND"],
    technique: &[],
};

/// TLS began.
pub(super) const TLS_STARTED: KindInfo = KindInfo {
    number: 30101,
    constant: "LOG_FTP_TLS_STARTED",
    class: Class::Command,
    when: "the handshake after AUTH TLS is done",
    keys: &["ALPN", "CIPHER", "SERVER_NAME", "VERSION"],
    technique: &[],
};

/// Not FTP.
pub(super) const MALFORMED: KindInfo = KindInfo {
    number: 30102,
    constant: "LOG_FTP_MALFORMED",
    class: Class::Violation,
    when: "a line was too long, did not begin with a word, or never ended",
    keys: &["DATA", "REASON"],
    technique: &[],
};

/// A password out of order.
pub(super) const PASSWORD_WITHOUT_USER: KindInfo = KindInfo {
    number: 30103,
    constant: "LOG_FTP_PASSWORD_WITHOUT_USER",
    class: Class::Login,
    when: "PASS without a USER before it",
    keys: &["PASSWORD"],
    technique: &["T1110"],
};
