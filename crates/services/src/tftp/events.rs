//! What the TFTP service reports.

use aviary_event::{Class, KindInfo};

/// OpenCanary's request.
pub(super) const REQUEST: KindInfo = KindInfo {
    number: 10001,
    constant: "LOG_TFTP",
    class: Class::Command,
    when: "a file was asked for or offered; `OPCODE` is `READ` or `WRITE`",
    keys: &["FILENAME", "MODE", "OPCODE"],
    technique: &[],
};

/// Options of a request.
pub(super) const OPTIONS: KindInfo = KindInfo {
    number: 31800,
    constant: "LOG_TFTP_OPTIONS",
    class: Class::Command,
    when: "a request had options, in `OPTIONS` as `name=value`",
    keys: &["FILENAME", "OPTIONS"],
    technique: &[],
};

/// A decoy was read.
pub(super) const DOWNLOAD: KindInfo = KindInfo {
    number: 31801,
    constant: "LOG_TFTP_DOWNLOAD",
    class: Class::Command,
    when: "the transfer of a decoy file ended; `BYTES` were received by the peer, `COMPLETE` says whether these are all",
    keys: &["BYTES", "COMPLETE", "ERROR", "FILENAME"],
    technique: &["T1602.002"],
};

/// A file was uploaded.
pub(super) const UPLOAD: KindInfo = KindInfo {
    number: 31802,
    constant: "LOG_TFTP_UPLOAD",
    class: Class::Command,
    when: "an upload ended; `SHA256` is of all `BYTES` that came, `REASON` why these are not all of it, `QUARANTINE` the file's name there without the session",
    keys: &["BYTES", "COMPLETE", "ERROR", "FILENAME", "MODE", "QUARANTINE", "REASON", "SHA256"],
    technique: &["T1105"],
};

/// What is no request.
pub(super) const OTHER_INPUT: KindInfo = KindInfo {
    number: 31803,
    constant: "LOG_TFTP_OTHER_INPUT",
    class: Class::Violation,
    when: "a datagram was no request, or a request that OpenCanary takes for none",
    keys: &["DATA", "REASON"],
    technique: &[],
};
