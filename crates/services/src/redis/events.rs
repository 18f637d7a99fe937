//! What the Redis service reports.

use aviary_event::{Class, Kind, KindInfo};

/// All kinds of the service, in the order of their numbers.
pub(super) static KINDS: [KindInfo; 5] = [
    KindInfo {
        number: 17001,
        constant: "LOG_REDIS_COMMAND",
        class: Class::Command,
        when: "every command, and every protocol error",
        keys: &["ARGS", "CMD", "ERROR"],
        technique: &[],
    },
    KindInfo {
        number: 30500,
        constant: "LOG_REDIS_WHOLE_COMMAND",
        class: Class::Command,
        when: "a command that 17001 cuts, or cannot tell from another one",
        keys: &["ARGUMENTS", "COMMAND", "SHA256", "SIZE"],
        technique: &[],
    },
    KindInfo {
        number: 30501,
        constant: "LOG_REDIS_LOGIN_ATTEMPT",
        class: Class::Login,
        when: "a password in AUTH or HELLO; without a user name it is that of the user `default`",
        keys: &["PASSWORD", "USERNAME"],
        technique: &["T1110"],
    },
    KindInfo {
        number: 30502,
        constant: "LOG_REDIS_ABUSE",
        class: Class::Command,
        when: "a step of a known way to take over a Redis server",
        keys: &["ARGUMENTS", "TECHNIQUE"],
        technique: &["T1190"],
    },
    KindInfo {
        number: 30503,
        constant: "LOG_REDIS_VIOLATION",
        class: Class::Violation,
        when: "another protocol, a protocol error, or a request without its end",
        keys: &["ARGUMENTS", "DATA", "ERROR"],
        technique: &[],
    },
];

/// OpenCanary's command, cut to `redis.max_arg_length`.
pub(super) const COMMAND: Kind = &KINDS[0];

/// A command whole.
pub(super) const WHOLE_COMMAND: Kind = &KINDS[1];

/// A password.
pub(super) const LOGIN_ATTEMPT: Kind = &KINDS[2];

/// A step of an attack.
pub(super) const ABUSE: Kind = &KINDS[3];

/// What is no request.
pub(super) const VIOLATION: Kind = &KINDS[4];
