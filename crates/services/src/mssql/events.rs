//! Kinds of event of this service.

use aviary_event::{Class, KindInfo};

/// OpenCanary's login with a password.
pub(super) const SQL_LOGIN: KindInfo = KindInfo {
    number: 9001,
    constant: "LOG_MSSQL_LOGIN_SQLAUTH",
    class: Class::Login,
    when: "a login with a password, whether or not the server would read on",
    keys: &["AppName", "CltIntName", "Database", "HostName", "Language", "Password", "ServerName", "UserName"],
    technique: &["T1110"],
};

/// OpenCanary's login through Windows.
pub(super) const WINDOWS_LOGIN: KindInfo = KindInfo {
    number: 9002,
    constant: "LOG_MSSQL_LOGIN_WINAUTH",
    class: Class::Login,
    when: "a Windows login, at its last message; `PASSWORD` is empty unless it is a planted or a common one, `USERNAME` when no NTLM response came",
    keys: &["PASSWORD", "USERNAME"],
    technique: &["T1110"],
};

/// What a login tells of the client.
pub(super) const CLIENT: KindInfo = KindInfo {
    number: 30900,
    constant: "LOG_MSSQL_CLIENT",
    class: Class::Command,
    when: "with each login: what else it tells of the client",
    keys: &[
        "APPNAME",
        "ATTACH_FILE",
        "CLIENT_ID",
        "CLIENT_PID",
        "CLIENT_VERSION",
        "CONNECTION_ID",
        "DATABASE",
        "DRIVER_VERSION",
        "ENCRYPTION",
        "FEATURES",
        "FEDAUTH",
        "FLAGS",
        "HOSTNAME",
        "INSTANCE",
        "LANGUAGE",
        "LCID",
        "LIBRARY",
        "MARS",
        "NEW_PASSWORD",
        "PACKET_SIZE",
        "SERVERNAME",
        "TDS_VERSION",
        "THREAD_ID",
        "TIMEZONE",
        "TLS",
        "TLS_CIPHER",
        "TLS_SCOPE",
        "TRACE_ID",
        "USERAGENT",
    ],
    technique: &[],
};

/// What a Windows login holds.
pub(super) const RESPONSE: KindInfo = KindInfo {
    number: 30901,
    constant: "LOG_MSSQL_WINDOWS_RESPONSE",
    class: Class::Login,
    when: "a Windows login: the NTLM response as a line for hashcat, or whom a Kerberos ticket is for",
    keys: &[
        "CLIENT_OS",
        "DATA",
        "DOMAIN",
        "ENCRYPTION_TYPE",
        "HASHCAT",
        "HASHCAT_MODE",
        "MECHANISM",
        "PASSWORD",
        "REALM",
        "SERVICE",
        "USERNAME",
        "WORKSTATION",
    ],
    technique: &["T1110"],
};

/// A client that asked and did not log in.
pub(super) const PRELOGIN: KindInfo = KindInfo {
    number: 30902,
    constant: "LOG_MSSQL_PRELOGIN",
    class: Class::Connection,
    when: "a client asked for version and encryption and ended, or went over a limit, without a login",
    keys: &[
        "DATA",
        "DRIVER_VERSION",
        "ENCRYPTION",
        "INSTANCE",
        "MARS",
        "REASON",
        "THREAD_ID",
        "TLS",
        "TLS_CIPHER",
        "TLS_SCOPE",
        "TRACE_ID",
    ],
    technique: &["T1046"],
};

/// What is not TDS, or not in its order.
pub(super) const VIOLATION: KindInfo = KindInfo {
    number: 30903,
    constant: "LOG_MSSQL_VIOLATION",
    class: Class::Violation,
    when: "bytes that are no TDS, a message out of order or malformed, or one that did not end",
    keys: &["DATA", "REASON"],
    technique: &[],
};

/// A question to SQL Browser.
pub(super) const BROWSER: KindInfo = KindInfo {
    number: 30904,
    constant: "LOG_MSSQL_BROWSER",
    class: Class::Command,
    when: "a datagram to SQL Browser: a list of instances, one instance, its administrator port, or something else",
    keys: &["DATA", "INSTANCE", "REQUEST"],
    technique: &["T1046"],
};

/// What a planted login asks for.
pub(super) const QUERY: KindInfo = KindInfo {
    number: 30905,
    constant: "LOG_MSSQL_QUERY",
    class: Class::Command,
    when: "a login with planted credentials sent a batch, a procedure call or a transaction request",
    keys: &["DATA", "DATABASE", "QUERY", "REQUEST", "USERNAME"],
    technique: &["T1059"],
};
