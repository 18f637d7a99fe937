//! What the SMB service reports.

use aviary_event::{Class, Kind, KindInfo};

/// All kinds of the service, in the order of their numbers.
pub(super) static KINDS: [KindInfo; 9] = [
    KindInfo {
        number: 5000,
        constant: "LOG_SMB_FILE_OPEN",
        class: Class::Command,
        when: "a file or folder of the decoy share was opened, listed, read, written, renamed or deleted; or the audit \
               log of a Samba server tells of one",
        keys: &[
            "AUDITACTION",
            "DOMAIN",
            "FILENAME",
            "LOCALNAME",
            "REMOTENAME",
            "SHARENAME",
            "SMBARCH",
            "SMBVER",
            "STATUS",
            "USER",
        ],
        technique: &["T1039"],
    },
    KindInfo {
        number: 31100,
        constant: "LOG_SMB_NEGOTIATE",
        class: Class::Connection,
        when: "a client said which dialects it speaks; at 3.1.1 also its ciphers and the name it calls us by",
        keys: &[
            "CAPABILITIES",
            "CHOSEN",
            "CIPHERS",
            "CLIENT_GUID",
            "DIALECTS",
            "NETBIOS_CALLED",
            "NETBIOS_CALLING",
            "SECURITY_MODE",
            "SERVER_NAME",
        ],
        technique: &[],
    },
    KindInfo {
        number: 31101,
        constant: "LOG_SMB_LOGIN_ATTEMPT",
        class: Class::Login,
        when: "a login, with the response as a line for hashcat and, where it is a planted or a common password, its clear text",
        keys: &[
            "CLIENT_VERSION",
            "DOMAIN",
            "HASHCAT",
            "HASHCAT_MODE",
            "MECHANISM",
            "NATIVE_LM",
            "NATIVE_OS",
            "PASSWORD",
            "RESULT",
            "USERNAME",
            "WORKSTATION",
        ],
        technique: &["T1110"],
    },
    KindInfo {
        number: 31102,
        constant: "LOG_SMB_TREE_CONNECT",
        class: Class::Command,
        when: "a client connected to a share, or tried to",
        keys: &["PATH", "STATUS", "USERNAME"],
        technique: &["T1021.002"],
    },
    KindInfo {
        number: 31103,
        constant: "LOG_SMB_PIPE_BIND",
        class: Class::Command,
        when: "a client opened a named pipe or bound an interface on it",
        keys: &["INTERFACE", "PIPE", "STATUS", "USERNAME", "UUID", "VERSION"],
        technique: &[],
    },
    KindInfo {
        number: 31104,
        constant: "LOG_SMB_PIPE_CALL",
        class: Class::Command,
        when: "a call over a named pipe, with its arguments as they came",
        keys: &["ARGUMENTS", "INTERFACE", "OPERATION", "OPNUM", "PIPE", "STATUS", "TEXTS", "USERNAME", "UUID"],
        technique: &[],
    },
    KindInfo {
        number: 31105,
        constant: "LOG_SMB_UPLOAD",
        class: Class::Command,
        when: "a file that was written to is closed: what came is in quarantine",
        keys: &["FILENAME", "QUARANTINE", "SHA256", "SHARENAME", "SIZE", "USERNAME"],
        technique: &["T1570"],
    },
    KindInfo {
        number: 31106,
        constant: "LOG_SMB_CHANGE",
        class: Class::Command,
        when: "a file was renamed or deleted, for this connection only",
        keys: &["ACTION", "FILENAME", "NEW_NAME", "SHARENAME", "STATUS", "USERNAME"],
        technique: &[],
    },
    KindInfo {
        number: 31107,
        constant: "LOG_SMB_VIOLATION",
        class: Class::Violation,
        when: "what is no SMB, breaks its rules, or is a known probe of SMB1",
        keys: &["DATA", "REASON"],
        technique: &[],
    },
];

/// OpenCanary's file event.
pub(super) const FILE: Kind = &KINDS[0];

/// Dialects.
pub(super) const NEGOTIATE: Kind = &KINDS[1];

/// A login.
pub(super) const LOGIN: Kind = &KINDS[2];

/// A share.
pub(super) const TREE: Kind = &KINDS[3];

/// A pipe or interface.
pub(super) const BIND: Kind = &KINDS[4];

/// A remote procedure call.
pub(super) const CALL: Kind = &KINDS[5];

/// A file that was written.
pub(super) const UPLOAD: Kind = &KINDS[6];

/// A rename or deletion.
pub(super) const CHANGE: Kind = &KINDS[7];

/// What is no SMB.
pub(super) const VIOLATION: Kind = &KINDS[8];
