//! What the SIP service reports.

use aviary_event::{Class, Kind, KindInfo};

/// All kinds of the service, in the order of their numbers.
pub(super) static KINDS: [KindInfo; 4] = [
    KindInfo {
        number: 15001,
        constant: "LOG_SIP_REQUEST",
        class: Class::Command,
        when: "each request: all its headers, by name in lower case",
        keys: &["HEADERS"],
        technique: &[],
    },
    KindInfo {
        number: 31700,
        constant: "LOG_SIP_REQUEST_LINE",
        class: Class::Command,
        when: "each request: what it asked for and who asked; `DIALLED` is the number that an INVITE calls",
        keys: &["BODY", "DIALLED", "FROM", "METHOD", "TARGET", "TO", "TRANSPORT", "USER_AGENT"],
        technique: &[],
    },
    KindInfo {
        number: 31701,
        constant: "LOG_SIP_LOGIN",
        class: Class::Login,
        when: "a request with a digest; `HASHCAT_TARGET` is the line for clients that name one address and compute with \
               the request's; with `PASSWORD` when that is a planted or a common one",
        keys: &["HASHCAT", "HASHCAT_MODE", "HASHCAT_TARGET", "METHOD", "PASSWORD", "REALM", "TARGET", "USERNAME"],
        technique: &["T1110"],
    },
    KindInfo {
        number: 31702,
        constant: "LOG_SIP_VIOLATION",
        class: Class::Violation,
        when: "bytes that are no request",
        keys: &["DATA", "ERROR", "TRANSPORT"],
        technique: &[],
    },
];

/// OpenCanary's request.
pub(super) const REQUEST: Kind = &KINDS[0];

/// The request line, and who is behind it.
pub(super) const REQUEST_LINE: Kind = &KINDS[1];

/// A digest.
pub(super) const LOGIN: Kind = &KINDS[2];

/// What is no request.
pub(super) const VIOLATION: Kind = &KINDS[3];
