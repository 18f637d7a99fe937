//! What the Git daemon reports.

use aviary_event::{Class, Kind, KindInfo};

/// All kinds of the service, in the order of their numbers.
pub(super) static KINDS: [KindInfo; 3] = [
    KindInfo {
        number: 16001,
        constant: "LOG_GIT_CLONE_REQUEST",
        class: Class::Command,
        when: "a request for git-upload-pack (clone, fetch, ls-remote)",
        keys: &["HOST", "REPO"],
        technique: &["T1213.003"],
    },
    KindInfo {
        number: 30600,
        constant: "LOG_GIT_REQUEST",
        class: Class::Command,
        when: "a request for any of the three services, with all that it said",
        keys: &["EXTRA", "HOST", "PATH", "SERVICE", "VERSION"],
        technique: &["T1213.003"],
    },
    KindInfo {
        number: 30601,
        constant: "LOG_GIT_VIOLATION",
        class: Class::Violation,
        when: "bytes that are no request",
        keys: &["DATA", "ERROR"],
        technique: &[],
    },
];

/// OpenCanary's clone request: host without its terminator, path without its first slash.
pub(super) const CLONE_REQUEST: Kind = &KINDS[0];

/// A request as it was made.
pub(super) const REQUEST: Kind = &KINDS[1];

/// What the daemon dies of.
pub(super) const VIOLATION: Kind = &KINDS[2];
