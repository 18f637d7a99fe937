//! FTP ([RFC 959], [RFC 2389], [RFC 4217]): a server that nobody can log in to.
//!
//! Plays the control connection of vsftpd 3.0, ProFTPD 1.3.8, IIS 10 and FileZilla Server 1.x up to
//! the login, which always fails; `ftp.banner` selects the product, and a banner that names none of
//! them (OpenCanary's `FTP server ready` too) is greeted with as it stands and played as vsftpd. The
//! first two answer byte for byte as measured, the others as documented. PORT and EPRT need a login,
//! so no data connection is ever made, neither way.
//!
//! With `ftp.tls` on, AUTH TLS begins TLS and FEAT lists it. It is off for vsftpd and ProFTPD, as
//! these are installed; FileZilla Server is installed with it on.
//!
//! Events: 2000 for each password, 2001 before it if asked for, 30100 for any other command, 30101 for
//! TLS, 30102 for what is no command, 30103 for a password without a user name.
//!
//! LIMIT: ProFTPD's HELP marks AUTH, PBSZ and PROT as unimplemented with TLS on, too.
//!
//! Tried with curl, Python's ftplib, lftp, tnftp and nmap; TLS in tests alone.
//!
//! [RFC 959]: https://www.rfc-editor.org/rfc/rfc959
//! [RFC 2389]: https://www.rfc-editor.org/rfc/rfc2389
//! [RFC 4217]: https://www.rfc-editor.org/rfc/rfc4217

mod codec;
mod dialogue;
mod events;
mod persona;
mod proftpd;
#[cfg(test)]
mod tests;
mod vsftpd;
mod windows;

use std::sync::Arc;
use std::time::Duration;

use aviary_config::{Key, Shape};
use aviary_service::{
    Dialogue, Endpoint, Entry, Facts, Limits, Materials, Protocol, Rejection, Security, Service, TlsKey, TlsProfile,
};

use self::dialogue::Ftp;
use self::persona::Persona;

/// The registry's entry.
pub(crate) static ENTRY: Entry = Entry {
    name: "ftp",
    summary: "vsftpd, ProFTPD, IIS FTP or FileZilla Server",
    opencanary: "CanaryFTP in opencanary.modules.ftp",
    keys: KEYS,
    kinds: &[
        events::LOGIN_ATTEMPT,
        events::AUTH_ATTEMPT_INITIATED,
        events::COMMAND,
        events::TLS_STARTED,
        events::MALFORMED,
        events::PASSWORD_WITHOUT_USER,
    ],
    build: &build,
};

static KEYS: &[Key] = &[
    Key { name: "ftp.enabled", shape: Shape::Flag, default: "false", doc: "Whether the FTP service runs." },
    Key { name: "ftp.port", shape: Shape::Port, default: "21", doc: "Its TCP port." },
    Key {
        name: "ftp.banner",
        shape: Shape::Text,
        default: "\"(vsFTPd 3.0.5)\"",
        doc: "The greeting after `220 `; it selects the product: vsFTPd, ProFTPD, Microsoft FTP Service or FileZilla Server.",
    },
    Key {
        name: "ftp.log_auth_attempt_initiated",
        shape: Shape::Flag,
        default: "false",
        doc: "Whether 2001 is written just before each login attempt.",
    },
    Key {
        name: "ftp.log_commands",
        shape: Shape::Flag,
        default: "true",
        doc: "Whether commands other than PASS are written (30100).",
    },
    Key {
        name: "ftp.login_delay",
        shape: Shape::Int { min: 0, max: 60_000 },
        default: "",
        doc: "Milliseconds before a wrong password is answered; as the product without it.",
    },
    Key {
        name: "ftp.tls",
        shape: Shape::Flag,
        default: "",
        doc: "Whether AUTH TLS is offered; as the product is installed without it.",
    },
    Key {
        name: "ftp.honeycreds",
        shape: Shape::List,
        default: "",
        doc: "Planted credentials, whose use is marked in the event.",
    },
];

/// The settings that a conversation needs.
struct Config {
    persona: &'static Persona,
    banner: String,
    tls: bool,
    log_auth_attempt_initiated: bool,
    log_commands: bool,
    /// Milliseconds.
    login_delay: Option<u64>,
}

impl Config {
    /// The greeting; `local` is the address that the peer reached.
    fn greeting(&self, local: &str) -> Vec<u8> {
        let mut lines: Vec<&str> = self.banner.lines().chain(self.persona.greeting).collect();
        let last = lines.pop().unwrap_or_default();
        let mut text: String = lines.iter().map(|line| format!("220-{line}\r\n")).collect();
        text.push_str(&format!("220 {last}"));
        // ProFTPD's default identification names the address after the server's name.
        if self.banner.starts_with("ProFTPD Server (") && self.banner.ends_with(')') {
            text.push_str(&format!(" [{local}]"));
        }
        text.push_str("\r\n");
        text.into_bytes()
    }
}

struct FtpService {
    config: Arc<Config>,
    port: u16,
    host_name: String,
}

impl Service for FtpService {
    fn endpoints(&self) -> Vec<Endpoint> {
        vec![Endpoint {
            port: self.port,
            protocol: Protocol::Tcp,
            label: "ftp".to_owned(),
            security: if self.config.tls { Security::OnDemand } else { Security::Plain },
            try_line: "curl ftp://admin:secret@{host}:{port}/",
        }]
    }

    fn dialogue(&self, _endpoint: usize, facts: &Facts) -> Box<dyn Dialogue> {
        Box::new(Ftp::new(Arc::clone(&self.config), facts))
    }

    fn tls(&self) -> Option<TlsProfile> {
        self.config.tls.then(|| TlsProfile {
            name: "ftp".to_owned(),
            subject: vec![("CN", self.host_name.clone())],
            issuer: Vec::new(),
            names: vec![self.host_name.clone()],
            key: TlsKey::Rsa2048,
            days: 3650,
            alpn: Vec::new(),
            server_auth: false,
            files: None,
        })
    }

    fn limits(&self) -> Limits {
        Limits { idle: Duration::from_secs(self.config.persona.idle), unconsumed: 16 * 1024, ..Limits::default() }
    }
}

fn build(materials: &Materials<'_>) -> Result<Box<dyn Service>, Rejection> {
    let settings = materials.settings;
    let banner = settings.text("ftp.banner");
    let banner = banner.strip_prefix("220 ").unwrap_or(&banner).to_owned();
    let persona = Persona::of_banner(&banner);
    let config = Config {
        persona,
        tls: if settings.is_set("ftp.tls") { settings.flag("ftp.tls") } else { persona.tls_by_default },
        log_auth_attempt_initiated: settings.flag("ftp.log_auth_attempt_initiated"),
        log_commands: settings.flag("ftp.log_commands"),
        login_delay: settings
            .value("ftp.login_delay")
            .and_then(|_| u64::try_from(settings.int("ftp.login_delay")).ok()),
        banner,
    };
    Ok(Box::new(FtpService {
        config: Arc::new(config),
        port: settings.port("ftp.port"),
        host_name: materials.host_name.to_owned(),
    }))
}
