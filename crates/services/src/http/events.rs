//! Kinds of event that HTTP and HTTPS report.

use aviary_event::{Class, KindInfo};

/// All of them, for the entries.
pub(super) static KINDS: [KindInfo; 7] = [
    KindInfo {
        number: 3000,
        constant: "LOG_HTTP_GET",
        class: Class::Command,
        when: "GET of the login page",
        keys: &["HOSTNAME", "PATH", "SKIN", "USERAGENT"],
        technique: &[],
    },
    KindInfo {
        number: 3001,
        constant: "LOG_HTTP_POST_LOGIN_ATTEMPT",
        class: Class::Login,
        when: "POST to the login page",
        keys: &["HOSTNAME", "PASSWORD", "PATH", "SKIN", "USERAGENT", "USERNAME"],
        technique: &["T1110"],
    },
    KindInfo {
        number: 3002,
        constant: "LOG_HTTP_UNIMPLEMENTED_METHOD",
        class: Class::Command,
        when: "another method on the login page, if `http.log_unimplemented_method_requests`",
        keys: &["HOSTNAME", "PATH", "REQUEST_TYPE", "SKIN", "USERAGENT"],
        technique: &[],
    },
    KindInfo {
        number: 3003,
        constant: "LOG_HTTP_REDIRECT",
        class: Class::Command,
        when: "any method on `/`, if `http.log_redirect_request`",
        keys: &["HOSTNAME", "PATH", "USERAGENT"],
        technique: &[],
    },
    KindInfo {
        number: 30200,
        constant: "LOG_HTTP_REQUEST",
        class: Class::Command,
        when: "every request, unless `http.log_requests` is false",
        keys: &["BODY", "BODY_LENGTH", "BODY_SHA256", "HEADERS", "METHOD", "TARGET", "VERSION"],
        technique: &[],
    },
    KindInfo {
        number: 30201,
        constant: "LOG_HTTP_LOGIN_OTHER",
        class: Class::Login,
        when: "a credential that is not the login page's form: Basic, Digest, NTLM, a token, another form, JSON",
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
        number: 30202,
        constant: "LOG_HTTP_MALFORMED",
        class: Class::Violation,
        when: "bytes that are no good request, an unfinished one, or bytes behind the last one",
        keys: &["RAW", "REASON"],
        technique: &[],
    },
];

/// GET of the login page.
pub(super) static GET: &KindInfo = &KINDS[0];
/// POST to the login page.
pub(super) static POST: &KindInfo = &KINDS[1];
/// Another method on the login page.
pub(super) static UNIMPLEMENTED: &KindInfo = &KINDS[2];
/// Any method on `/`.
pub(super) static REDIRECT: &KindInfo = &KINDS[3];
/// Every request.
pub(super) static REQUEST: &KindInfo = &KINDS[4];
/// A credential of another form.
pub(super) static LOGIN: &KindInfo = &KINDS[5];
/// What is no request.
pub(super) static MALFORMED: &KindInfo = &KINDS[6];
