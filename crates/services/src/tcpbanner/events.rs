//! What the TCP banner service reports.

use aviary_event::{Class, Kind, KindInfo};

/// All kinds of the service, in the order of their numbers.
pub(super) static KINDS: [KindInfo; 6] = [
    KindInfo {
        number: 18001,
        constant: "LOG_TCP_BANNER_CONNECTION_MADE",
        class: Class::Connection,
        when: "a connection to a banner port without alert string and keep-alive",
        keys: &["BANNER_ID", "DATA", "FUNCTION"],
        technique: &[],
    },
    KindInfo {
        number: 18002,
        constant: "LOG_TCP_BANNER_KEEP_ALIVE_CONNECTION_MADE",
        class: Class::Connection,
        when: "a connection to a banner port with keep-alive",
        keys: &["BANNER_ID", "DATA", "FUNCTION"],
        technique: &[],
    },
    KindInfo {
        number: 18003,
        constant: "LOG_TCP_BANNER_KEEP_ALIVE_SECRET_RECEIVED",
        class: Class::Command,
        when: "data with the secret on a keep-alive port; the connection is silent afterwards",
        keys: &["BANNER_ID", "DATA", "FUNCTION", "SECRET_STRING"],
        technique: &[],
    },
    KindInfo {
        number: 18004,
        constant: "LOG_TCP_BANNER_KEEP_ALIVE_DATA_RECEIVED",
        class: Class::Command,
        when: "data without the secret on a keep-alive port",
        keys: &["BANNER_ID", "DATA", "FUNCTION"],
        technique: &[],
    },
    KindInfo {
        number: 18005,
        constant: "LOG_TCP_BANNER_DATA_RECEIVED",
        class: Class::Command,
        when: "data with the alert string",
        keys: &["ALERT_STRING", "BANNER_ID", "DATA", "FUNCTION"],
        technique: &[],
    },
    KindInfo {
        number: 30700,
        constant: "LOG_TCP_BANNER_DATA",
        class: Class::Command,
        when: "data that no other event of the banner holds whole",
        keys: &["BANNER_ID", "DATA"],
        technique: &[],
    },
];

/// OpenCanary's connection, neither alert string nor keep-alive set.
pub(super) const CONNECTION_MADE: Kind = &KINDS[0];

/// OpenCanary's connection, keep-alive set.
pub(super) const KEEP_ALIVE_CONNECTION_MADE: Kind = &KINDS[1];

/// OpenCanary's secret.
pub(super) const KEEP_ALIVE_SECRET_RECEIVED: Kind = &KINDS[2];

/// OpenCanary's data, keep-alive set.
pub(super) const KEEP_ALIVE_DATA_RECEIVED: Kind = &KINDS[3];

/// OpenCanary's data, alert string found.
pub(super) const DATA_RECEIVED: Kind = &KINDS[4];

/// Data that OpenCanary leaves out, or cuts.
pub(super) const DATA: Kind = &KINDS[5];
