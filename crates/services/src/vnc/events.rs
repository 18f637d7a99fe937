//! What the VNC service reports.

use aviary_event::{Class, KindInfo};

/// OpenCanary's login.
pub(super) const VNC: KindInfo = KindInfo {
    number: 12001,
    constant: "LOG_VNC",
    class: Class::Login,
    when: "a challenge was answered; `VNC Password` is the word of the list that fits",
    keys: &["VNC Client Response", "VNC Password", "VNC Server Challenge"],
    technique: &["T1110"],
};

/// A connection that came to no login.
pub(super) const HANDSHAKE: KindInfo = KindInfo {
    number: 31200,
    constant: "LOG_VNC_HANDSHAKE",
    class: Class::Connection,
    when: "a connection ended before a login; `REASON` says how far it came",
    keys: &["CLIENT_VERSION", "REASON", "SECURITY_TYPE", "SERVER"],
    technique: &[],
};

/// A login with everything that is known of it.
pub(super) const LOGIN: KindInfo = KindInfo {
    number: 31201,
    constant: "LOG_VNC_LOGIN",
    class: Class::Login,
    when: "a login by any security type: user name and password where they came in clear, else the line for John the Ripper (format `vnc`), with `PASSWORD` when a word of the list fits",
    keys: &["CLIENT_VERSION", "HASHCAT", "PASSWORD", "SECURITY_TYPE", "SERVER", "USERNAME"],
    technique: &["T1110"],
};

/// A source that is refused.
pub(super) const REFUSED: KindInfo = KindInfo {
    number: 31202,
    constant: "LOG_VNC_REFUSED",
    class: Class::Limit,
    when: "a source with too many connections without success was refused, as the product does; `SECONDS` are left",
    keys: &["SECONDS", "SERVER"],
    technique: &["T1110"],
};

/// What is no RFB, or asks for what was not offered.
pub(super) const OTHER_INPUT: KindInfo = KindInfo {
    number: 31203,
    constant: "LOG_VNC_OTHER_INPUT",
    class: Class::Violation,
    when: "the client spoke no RFB, asked for a version or security type that is not offered, or broke off inside a message",
    keys: &["CLIENT_VERSION", "DATA", "REASON", "SECURITY_TYPE", "SERVER"],
    technique: &[],
};
