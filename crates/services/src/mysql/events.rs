//! Kinds of event of this service.

use aviary_event::{Class, Kind, KindInfo};

/// All kinds, in the order of their numbers.
pub(super) static KINDS: [KindInfo; 5] = [
    KindInfo {
        number: 8001,
        constant: "LOG_MYSQL_LOGIN_ATTEMPT",
        class: Class::Login,
        when: "each login of a named user; `PASSWORD` is the clear text if the client gave it away, else its response in hex, or null",
        keys: &["PASSWORD", "USERNAME"],
        technique: &["T1110"],
    },
    KindInfo {
        number: 9003,
        constant: "LOG_MYSQL_CONNECTION_MADE",
        class: Class::Connection,
        when: "a connection was made, if `mysql.log_connection_made`",
        keys: &[],
        technique: &[],
    },
    KindInfo {
        number: 30800,
        constant: "LOG_MYSQL_HANDSHAKE",
        class: Class::Command,
        when: "a client answered the greeting",
        keys: &[
            "ATTRIBUTES",
            "CAPABILITIES",
            "CHARSET",
            "DATABASE",
            "MARIADB_CAPABILITIES",
            "MAX_PACKET",
            "PLUGIN",
            "RESPONSE",
            "TLS_CIPHER",
            "TLS_SERVER_NAME",
            "TLS_VERSION",
            "USERNAME",
        ],
        technique: &[],
    },
    KindInfo {
        number: 30801,
        constant: "LOG_MYSQL_LOGIN",
        class: Class::Login,
        when: "the end of each login, with all that is known of the password",
        keys: &[
            "DATABASE",
            "GUESSED",
            "HASH",
            "HASHCAT",
            "HASHCAT_MODE",
            "METHOD",
            "PASSWORD",
            "PLUGIN",
            "RESPONSE",
            "SALT",
            "USERNAME",
        ],
        technique: &["T1110"],
    },
    KindInfo {
        number: 30802,
        constant: "LOG_MYSQL_VIOLATION",
        class: Class::Violation,
        when: "a packet out of order, a handshake that is none, or bytes that were no packet",
        keys: &["DATA", "REASON"],
        technique: &[],
    },
];

/// OpenCanary's login attempt.
pub(super) const LOGIN_ATTEMPT: Kind = &KINDS[0];

/// OpenCanary's connection.
pub(super) const CONNECTION_MADE: Kind = &KINDS[1];

/// What a client said of itself.
pub(super) const HANDSHAKE: Kind = &KINDS[2];

/// A login with everything about it.
pub(super) const LOGIN: Kind = &KINDS[3];

/// What is no protocol.
pub(super) const VIOLATION: Kind = &KINDS[4];
