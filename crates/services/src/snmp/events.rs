//! What the SNMP service reports.

use aviary_event::{Class, Kind, KindInfo};

/// All kinds of the service, in the order of their numbers.
pub(super) static KINDS: [KindInfo; 5] = [
    KindInfo {
        number: 13001,
        constant: "LOG_SNMP_CMD",
        class: Class::Command,
        when: "every message of version 1 or 2c",
        keys: &["COMMUNITY_STRING", "REQUESTS"],
        technique: &["T1602.001"],
    },
    KindInfo {
        number: 31500,
        constant: "LOG_SNMP_REQUEST",
        class: Class::Command,
        when: "the same message whole, with what 13001 leaves out",
        keys: &[
            "ACCEPTED",
            "AGENT",
            "COMMUNITY",
            "ENTERPRISE",
            "GENERIC_TRAP",
            "MAX_REPETITIONS",
            "NON_REPEATERS",
            "PDU",
            "REQUEST_ID",
            "SPECIFIC_TRAP",
            "VARIABLES",
            "VARIABLE_COUNT",
            "VERSION",
        ],
        technique: &["T1602.001"],
    },
    KindInfo {
        number: 31501,
        constant: "LOG_SNMP_V3_MESSAGE",
        class: Class::Command,
        when: "a message of version 3 without authentication: a discovery, or a request in nobody's or somebody's name",
        keys: V3_KEYS,
        technique: &["T1602.001"],
    },
    KindInfo {
        number: 31502,
        constant: "LOG_SNMP_V3_LOGIN_ATTEMPT",
        class: Class::Login,
        when: "an authenticated message of version 3, whose digest a password can be found for",
        keys: &[
            "CONTEXT",
            "DIGEST",
            "ENCRYPTED",
            "ENGINE_BOOTS",
            "ENGINE_ID",
            "ENGINE_TIME",
            "HASHCAT",
            "HASHCAT_MODE",
            "KNOWN_USER",
            "MESSAGE_ID",
            "PASSWORD",
            "PDU",
            "USERNAME",
            "VARIABLES",
            "VARIABLE_COUNT",
        ],
        technique: &["T1110"],
    },
    KindInfo {
        number: 31503,
        constant: "LOG_SNMP_MALFORMED",
        class: Class::Violation,
        when: "a datagram that is no SNMP message, or one that no agent takes",
        keys: &["DATA", "REASON"],
        technique: &[],
    },
];

static V3_KEYS: &[&str] = &[
    "CONTEXT",
    "ENCRYPTED",
    "ENGINE_BOOTS",
    "ENGINE_ID",
    "ENGINE_TIME",
    "KNOWN_USER",
    "MESSAGE_ID",
    "PDU",
    "USERNAME",
    "VARIABLES",
    "VARIABLE_COUNT",
];

/// OpenCanary's only event.
pub(super) const COMMAND: Kind = &KINDS[0];
/// The whole message.
pub(super) const REQUEST: Kind = &KINDS[1];
/// Version 3 without a digest.
pub(super) const V3_MESSAGE: Kind = &KINDS[2];
/// Version 3 with one.
pub(super) const V3_LOGIN: Kind = &KINDS[3];
/// What is no message.
pub(super) const MALFORMED: Kind = &KINDS[4];
