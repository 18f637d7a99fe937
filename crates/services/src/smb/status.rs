//! NTSTATUS values that are answered ([MS-ERREF] 2.3.1).

pub(super) const SUCCESS: u32 = 0;
pub(super) const PENDING: u32 = 0x0000_0103;
pub(super) const NOTIFY_CLEANUP: u32 = 0x0000_010b;
pub(super) const BUFFER_OVERFLOW: u32 = 0x8000_0005;
pub(super) const NO_MORE_FILES: u32 = 0x8000_0006;
pub(super) const INVALID_INFO_CLASS: u32 = 0xc000_0003;
pub(super) const INFO_LENGTH_MISMATCH: u32 = 0xc000_0004;
pub(super) const INVALID_PARAMETER: u32 = 0xc000_000d;
pub(super) const NO_SUCH_FILE: u32 = 0xc000_000f;
pub(super) const INVALID_DEVICE_REQUEST: u32 = 0xc000_0010;
pub(super) const END_OF_FILE: u32 = 0xc000_0011;
pub(super) const MORE_PROCESSING_REQUIRED: u32 = 0xc000_0016;
pub(super) const ACCESS_DENIED: u32 = 0xc000_0022;
pub(super) const OBJECT_NAME_INVALID: u32 = 0xc000_0033;
pub(super) const OBJECT_NAME_NOT_FOUND: u32 = 0xc000_0034;
pub(super) const OBJECT_NAME_COLLISION: u32 = 0xc000_0035;
pub(super) const OBJECT_PATH_NOT_FOUND: u32 = 0xc000_003a;
pub(super) const DISK_FULL: u32 = 0xc000_007f;
pub(super) const INSUFFICIENT_RESOURCES: u32 = 0xc000_009a;
pub(super) const FILE_IS_A_DIRECTORY: u32 = 0xc000_00ba;
pub(super) const NOT_SUPPORTED: u32 = 0xc000_00bb;
pub(super) const NETWORK_NAME_DELETED: u32 = 0xc000_00c9;
pub(super) const BAD_NETWORK_NAME: u32 = 0xc000_00cc;
pub(super) const REQUEST_NOT_ACCEPTED: u32 = 0xc000_00d0;
pub(super) const PIPE_EMPTY: u32 = 0xc000_00d9;
pub(super) const DIRECTORY_NOT_EMPTY: u32 = 0xc000_0101;
pub(super) const NOT_A_DIRECTORY: u32 = 0xc000_0103;
pub(super) const CANCELLED: u32 = 0xc000_0120;
pub(super) const CANNOT_DELETE: u32 = 0xc000_0121;
pub(super) const FILE_CLOSED: u32 = 0xc000_0128;
pub(super) const NOT_IMPLEMENTED: u32 = 0xc000_0002;
pub(super) const FS_DRIVER_REQUIRED: u32 = 0xc000_019c;
pub(super) const USER_SESSION_DELETED: u32 = 0xc000_0203;
pub(super) const NOT_FOUND: u32 = 0xc000_0225;
pub(super) const NO_PREAUTH_HASH_OVERLAP: u32 = 0xc05d_0000;
pub(super) const LOGON_FAILURE: u32 = 0xc000_006d;

/// What Samba's `full_audit` says of a result: `ok`, or `fail (reason)` with the words of `strerror`.
pub(super) fn audit(status: u32) -> &'static str {
    match status {
        SUCCESS => "ok",
        ACCESS_DENIED | CANNOT_DELETE => "fail (Permission denied)",
        OBJECT_NAME_NOT_FOUND | OBJECT_PATH_NOT_FOUND | NO_SUCH_FILE => "fail (No such file or directory)",
        OBJECT_NAME_COLLISION => "fail (File exists)",
        FILE_IS_A_DIRECTORY => "fail (Is a directory)",
        NOT_A_DIRECTORY => "fail (Not a directory)",
        DIRECTORY_NOT_EMPTY => "fail (Directory not empty)",
        DISK_FULL => "fail (No space left on device)",
        INSUFFICIENT_RESOURCES => "fail (Too many open files)",
        _ => "fail (Invalid argument)",
    }
}
