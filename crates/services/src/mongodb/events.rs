//! Kinds of event that MongoDB reports. OpenCanary has one number for all it sees, `action` telling
//! what it is; the class tells logins from the rest.

use aviary_event::{Class, Kind, KindInfo};

/// All of them, for the entry.
pub(super) static KINDS: [KindInfo; 7] = [
    opencanary(Class::Login, "a login begins (`action` is `mongodb.auth_attempt`)", &["T1110"]),
    opencanary(Class::Connection, "a connection begins or ends (`mongodb.connection`, `mongodb.disconnect`)", &[]),
    opencanary(Class::Command, "a command other than `hello` by OP_MSG (`mongodb.command`)", &[]),
    opencanary(Class::Violation, "bytes that are no message of MongoDB (`mongodb.error`)", &[]),
    KindInfo {
        number: 31300,
        constant: "LOG_MONGODB_CREDENTIAL",
        class: Class::Login,
        when: "a login shows its credential: the proof of SCRAM with all that was agreed, a password, a certificate's name",
        keys: &[
            "AUTH_MESSAGE",
            "DATABASE",
            "ITERATIONS",
            "MECHANISM",
            "NONCE",
            "PASSWORD",
            "PROOF",
            "SALT",
            "USERNAME",
        ],
        technique: &["T1110"],
    },
    KindInfo {
        number: 31301,
        constant: "LOG_MONGODB_CLIENT",
        class: Class::Connection,
        when: "a driver says what it is",
        keys: &[
            "APPLICATION",
            "ARCHITECTURE",
            "COMPRESSION",
            "DRIVER",
            "DRIVER_VERSION",
            "OS",
            "OS_VERSION",
            "PLATFORM",
        ],
        technique: &[],
    },
    KindInfo {
        number: 31302,
        constant: "LOG_MONGODB_MALFORMED",
        class: Class::Violation,
        when: "the bytes that 20001 with `mongodb.error` tells of",
        keys: &["RAW", "REASON"],
        technique: &[],
    },
];

const fn opencanary(class: Class, when: &'static str, technique: &'static [&'static str]) -> KindInfo {
    KindInfo {
        number: 20001,
        constant: "LOG_MONGODB_LOGIN_ATTEMPT",
        class,
        when,
        keys: &["action", "auth_data", "command", "error", "mechanism", "query", "username"],
        technique,
    }
}

/// A login begins.
pub(super) static ATTEMPT: Kind = &KINDS[0];
/// A connection begins or ends.
pub(super) static CONNECTION: Kind = &KINDS[1];
/// A command.
pub(super) static COMMAND: Kind = &KINDS[2];
/// What is no message.
pub(super) static ERROR: Kind = &KINDS[3];
/// A login shows its credential.
pub(super) static CREDENTIAL: Kind = &KINDS[4];
/// A driver says what it is.
pub(super) static CLIENT: Kind = &KINDS[5];
/// The bytes of a violation.
pub(super) static MALFORMED: Kind = &KINDS[6];
