//! Kinds of event that the HTTP proxy reports.

use aviary_event::{Class, Kind, KindInfo};

/// All of them, for the entry.
pub(super) static KINDS: [KindInfo; 5] = [
    KindInfo {
        number: 7001,
        constant: "LOG_HTTPPROXY_LOGIN_ATTEMPT",
        class: Class::Login,
        when: "a request with credentials; the password is empty where only a proof of it came and it is no planted or common one",
        keys: &["PASSWORD", "USERNAME"],
        technique: &["T1110"],
    },
    KindInfo {
        number: 31400,
        constant: "LOG_HTTPPROXY_REQUEST",
        class: Class::Command,
        when: "every request, with the target that it asks for",
        keys: &["HEADERS", "HOST", "METHOD", "PORT", "TARGET", "USERAGENT", "VERSION"],
        technique: &["T1090"],
    },
    KindInfo {
        number: 31401,
        constant: "LOG_HTTPPROXY_LOGIN_OTHER",
        class: Class::Login,
        when: "credentials other than Basic: NTLM, also inside Negotiate, Digest, a token",
        keys: &[
            "DIGEST",
            "DOMAIN",
            "HASHCAT",
            "HASHCAT_MODE",
            "METHOD",
            "PASSWORD",
            "SCHEME",
            "TARGET",
            "TOKEN",
            "USERNAME",
            "WORKSTATION",
        ],
        technique: &["T1110"],
    },
    KindInfo {
        number: 31402,
        constant: "LOG_HTTPPROXY_MALFORMED",
        class: Class::Violation,
        when: "bytes that are no good request, or an unfinished one",
        keys: &["RAW", "REASON"],
        technique: &[],
    },
    KindInfo {
        number: 31403,
        constant: "LOG_HTTPPROXY_BODY",
        class: Class::Command,
        when: "the body of a request came, or all of it that did",
        keys: &["BODY", "BODY_LENGTH", "METHOD", "TARGET"],
        technique: &[],
    },
];

/// Credentials, as OpenCanary writes them.
pub(super) static LOGIN: Kind = &KINDS[0];
/// Every request.
pub(super) static REQUEST: Kind = &KINDS[1];
/// Credentials other than Basic.
pub(super) static OTHER: Kind = &KINDS[2];
/// What is no request.
pub(super) static MALFORMED: Kind = &KINDS[3];
/// A body.
pub(super) static BODY: Kind = &KINDS[4];
