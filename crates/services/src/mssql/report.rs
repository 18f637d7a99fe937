//! What goes into the events: the facts of a PRELOGIN, a login, a security package's token.

use aviary_config::HoneyCreds;
use aviary_event::LogData;
use aviary_service::TlsFacts;
use aviary_wire::guess;
use aviary_wire::ntlm::{Authenticate, Negotiate};

use super::login::Login;
use super::prelogin::Prelogin;
use super::sspi::Ticket;

/// OpenCanary's keys of a login with a password.
pub(super) fn sql_login(login: &Login) -> LogData {
    LogData::new()
        .with("AppName", login.app.as_slice())
        .with("CltIntName", login.library.as_slice())
        .with("Database", login.database.as_slice())
        .with("HostName", login.host.as_slice())
        .with("Language", login.language.as_slice())
        .with("Password", login.password.as_slice())
        .with("ServerName", login.server.as_slice())
        .with("UserName", login.user.as_slice())
}

/// OpenCanary's keys of a Windows login.
pub(super) fn windows_login(user: &[u8], password: &[u8]) -> LogData {
    LogData::new().with("PASSWORD", password).with("USERNAME", user)
}

/// How TLS stands, for the events.
#[derive(Clone, Debug)]
pub(super) struct Secured {
    pub(super) facts: TlsFacts,
    /// `login`, `connection` or `strict`.
    pub(super) scope: &'static str,
}

/// What a PRELOGIN and TLS tell of a client.
pub(super) fn prelogin(prelogin: Option<&Prelogin>, secured: Option<&Secured>) -> LogData {
    let mut data = LogData::new();
    if let Some(prelogin) = prelogin {
        data.insert("DRIVER_VERSION", prelogin.version.as_str());
        data.insert("ENCRYPTION", prelogin.asked());
        some(&mut data, "INSTANCE", &prelogin.instance);
        if let Some(mars) = prelogin.mars {
            data.insert("MARS", mars);
        }
        if let Some(thread) = prelogin.thread {
            data.insert("THREAD_ID", thread);
        }
        if !prelogin.trace.is_empty() {
            data.insert("TRACE_ID", hex(&prelogin.trace));
        }
    }
    if let Some(secured) = secured {
        data.insert("TLS", secured.facts.version);
        data.insert("TLS_CIPHER", secured.facts.cipher.as_str());
        data.insert("TLS_SCOPE", secured.scope);
    }
    data
}

/// What a login tells besides, into what its PRELOGIN told.
pub(super) fn client(mut data: LogData, login: &Login) -> LogData {
    data.insert("APPNAME", login.app.as_slice());
    data.insert("CLIENT_PID", login.client_pid);
    data.insert("HOSTNAME", login.host.as_slice());
    data.insert("LANGUAGE", login.language.as_slice());
    data.insert("LIBRARY", login.library.as_slice());
    data.insert("SERVERNAME", login.server.as_slice());
    data.insert("TDS_VERSION", login.version());
    if login.is_old() {
        return data;
    }
    let [a, b, c, d] = login.client_version;
    let [m0, m1, m2, m3, m4, m5] = login.client_id;
    data.insert("CLIENT_ID", format!("{m0:02x}:{m1:02x}:{m2:02x}:{m3:02x}:{m4:02x}:{m5:02x}"));
    // A number, little endian, of which drivers put the major version into the highest byte.
    data.insert("CLIENT_VERSION", format!("{d}.{c}.{b}.{a}"));
    data.insert("CONNECTION_ID", login.connection);
    data.insert("DATABASE", login.database.as_slice());
    data.insert("FLAGS", login.flag_names());
    data.insert("LCID", login.lcid);
    data.insert("PACKET_SIZE", login.packet_size);
    data.insert("TIMEZONE", login.time_zone);
    some(&mut data, "ATTACH_FILE", &login.attach);
    some(&mut data, "FEDAUTH", &login.federated);
    some(&mut data, "NEW_PASSWORD", &login.new_password);
    some(&mut data, "USERAGENT", &login.user_agent);
    if !login.features.is_empty() {
        data.insert("FEATURES", login.features.clone());
    }
    data
}

/// An NTLM login that went no further than its first message.
pub(super) fn negotiate(offer: &Negotiate) -> LogData {
    let mut data = LogData::new().with("MECHANISM", "NTLM");
    some(&mut data, "DOMAIN", &offer.domain);
    some(&mut data, "WORKSTATION", &offer.workstation);
    if let Some(version) = offer.version {
        data.insert("CLIENT_OS", windows(version));
    }
    data
}

/// An NTLM response: the event's data, and the password when it is a planted or a common one.
pub(super) fn authenticate(
    response: &Authenticate,
    challenge: &[u8; 8],
    planted: &HoneyCreds,
) -> (LogData, Option<Vec<u8>>) {
    let guessed = guess::ntlm(response, challenge, planted.plain_passwords());
    let mut data = LogData::new()
        .with("DOMAIN", response.domain.as_slice())
        .with("MECHANISM", "NTLM")
        .with("USERNAME", response.user.as_slice())
        .with("WORKSTATION", response.workstation.as_slice());
    if let (Some(line), Some(mode)) = (response.hashcat(challenge), response.mode()) {
        data.insert("HASHCAT", line);
        data.insert("HASHCAT_MODE", mode);
    }
    if let Some(version) = response.version {
        data.insert("CLIENT_OS", windows(version));
    }
    if let Some(password) = &guessed {
        data.insert("PASSWORD", password.as_slice());
    }
    (data, guessed)
}

/// A Kerberos ticket with the token that it came in.
pub(super) fn ticket(ticket: Option<&Ticket>, token: &[u8]) -> LogData {
    let mut data = LogData::new().with("DATA", token).with("MECHANISM", "Kerberos");
    if let Some(ticket) = ticket {
        data.insert("ENCRYPTION_TYPE", ticket.encryption);
        data.insert("REALM", ticket.realm.as_slice());
        data.insert("SERVICE", ticket.service.as_slice());
    }
    data
}

fn some(data: &mut LogData, key: &str, value: &[u8]) {
    if !value.is_empty() {
        data.insert(key, value);
    }
}

fn windows((major, minor, build): (u8, u8, u16)) -> String {
    format!("{major}.{minor}.{build}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
