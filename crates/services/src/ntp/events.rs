//! What the NTP service reports.

use aviary_event::{Class, Kind, KindInfo};

/// All kinds of the service, in the order of their numbers.
pub(super) static KINDS: [KindInfo; 5] = [
    KindInfo {
        number: 11001,
        constant: "LOG_NTP_MONLIST",
        class: Class::Command,
        when: "a list of clients is asked for, as who looks for servers that amplify does",
        keys: &["NTP CMD"],
        technique: &["T1498.002"],
    },
    KindInfo {
        number: 31600,
        constant: "LOG_NTP_TIME_PACKET",
        class: Class::Command,
        when: "a packet that asks for the time, or tells it",
        keys: &["ANSWERED", "EXTENSIONS", "KEY_ID", "MODE", "POLL", "SIZE", "STRATUM", "TRANSMIT", "VERSION"],
        technique: &[],
    },
    KindInfo {
        number: 31601,
        constant: "LOG_NTP_CONTROL",
        class: Class::Command,
        when: "a control message (mode 6), such as ntpq sends",
        keys: &["ASSOCIATION", "DATA", "OPERATION", "RESPONSE", "SIZE", "VERSION"],
        technique: &["T1046"],
    },
    KindInfo {
        number: 31602,
        constant: "LOG_NTP_PRIVATE",
        class: Class::Command,
        when: "a private message (mode 7), such as ntpdc sends",
        keys: &["DATA", "IMPLEMENTATION", "REQUEST", "REQUEST_CODE", "RESPONSE", "SIZE", "VERSION"],
        technique: &["T1046"],
    },
    KindInfo {
        number: 31603,
        constant: "LOG_NTP_MALFORMED",
        class: Class::Violation,
        when: "a datagram that is no NTP message",
        keys: &["DATA", "REASON"],
        technique: &[],
    },
];

/// OpenCanary's only event.
pub(super) const MONLIST: Kind = &KINDS[0];
/// Modes 0 to 5.
pub(super) const TIME_PACKET: Kind = &KINDS[1];
/// Mode 6.
pub(super) const CONTROL: Kind = &KINDS[2];
/// Mode 7.
pub(super) const PRIVATE: Kind = &KINDS[3];
/// What is none.
pub(super) const MALFORMED: Kind = &KINDS[4];
