//! Microsoft SQL Server ([MS-TDS]), 2008 R2 to 2022: a login that nobody passes but with a planted
//! credential.
//!
//! `mssql.version` selects what is played; version, Windows version and texts follow from it. PRELOGIN is
//! answered with the options that the client has, and encryption as it asks for it: none, for the login
//! alone, for everything, and before everything (TDS 8.0) where the version knows it. So every client comes
//! as far as its login, whose password is read. A Windows login gets an NTLM challenge, bare or in SPNEGO.
//! What the server closes on without a word (a login or batch without PRELOGIN, another protocol) is
//! closed, and reported all the same.
//!
//! `mssql.honeycreds` lead into an instance with its own databases, nothing in them and no rights; nothing is
//! run there, and each request is reported.
//!
//! SQL Browser on UDP 1434 ([MC-SQLR]) names the instance, its version and its port.
//!
//! Events: 9001 for each password, 9002 for each Windows login, 30900 for what a login tells besides, 30901
//! for the NTLM response or Kerberos ticket, 30902 for a client that did not log in, 30903 for what is out
//! of order, 30904 for questions to SQL Browser, 30905 for what a planted login asks for.
//!
//! LIMIT: TLS inside TDS is version 1.2 with the suites of today; old clients that know only TLS 1.0 fail.
//! LIMIT: the instance knows few functions and one catalog view; other objects are invalid names.
//!
//! Tried with FreeTDS' tsql, python-tds, impacket, hydra and nmap with its ms-sql scripts.
//!
//! [MS-TDS]: https://learn.microsoft.com/openspecs/windows_protocols/ms-tds/
//! [MC-SQLR]: https://learn.microsoft.com/openspecs/windows_protocols/mc-sqlr/

mod browser;
mod codec;
mod dialogue;
mod events;
mod instance;
mod login;
mod prelogin;
mod report;
mod rpc;
mod session;
mod sspi;
mod statement;
#[cfg(test)]
mod tests;
mod tokens;
mod version;

use std::sync::Arc;
use std::time::Duration;

use aviary_config::{HoneyCreds, Key, Shape};
use aviary_service::{
    Dialogue, Endpoint, Entry, Facts, Limits, Materials, Outbox, Protocol, Rejection, Security, Service, TlsKey,
    TlsProfile,
};

use self::dialogue::Mssql;
use self::version::Version;

/// The registry's line.
pub(crate) static ENTRY: Entry = Entry {
    name: "mssql",
    summary: "SQL Server 2008 R2 to 2022, and SQL Browser",
    opencanary: "MSSQL in opencanary.modules.mssql",
    keys: KEYS,
    kinds: &[
        events::SQL_LOGIN,
        events::WINDOWS_LOGIN,
        events::CLIENT,
        events::RESPONSE,
        events::PRELOGIN,
        events::VIOLATION,
        events::BROWSER,
        events::QUERY,
    ],
    build: &build,
};

static KEYS: &[Key] = &[
    Key { name: "mssql.enabled", shape: Shape::Flag, default: "false", doc: "Whether the SQL Server runs." },
    Key { name: "mssql.port", shape: Shape::Port, default: "1433", doc: "Its TCP port." },
    Key {
        name: "mssql.version",
        shape: Shape::Text,
        default: "\"2019\"",
        doc: "Its version: 2008R2, 2012, 2014, 2016, 2017, 2019 or 2022, or numbers such as 15.0.4430.1.",
    },
    Key {
        name: "mssql.instance",
        shape: Shape::Text,
        default: "\"MSSQLSERVER\"",
        doc: "Name of the instance; the default one has no name in the server's own.",
    },
    Key {
        name: "mssql.honeycreds",
        shape: Shape::List,
        default: "",
        doc: "Planted credentials, whose use is marked in the event; they lead into an empty instance.",
    },
    Key { name: "mssql.browser", shape: Shape::Flag, default: "false", doc: "Whether SQL Browser runs too." },
    Key { name: "mssql.browser_port", shape: Shape::Port, default: "1434", doc: "UDP port of SQL Browser." },
];

/// The settings that a conversation needs.
struct Config {
    version: Version,
    /// The machine's NetBIOS name.
    machine: String,
    instance: String,
    /// What the server calls itself: the machine, and the instance unless it is the default one.
    server: String,
    host_name: String,
    port: u16,
    /// Credentials that are let in.
    planted: HoneyCreds,
}

struct SqlServer {
    config: Arc<Config>,
    browser: Option<u16>,
}

impl Service for SqlServer {
    fn endpoints(&self) -> Vec<Endpoint> {
        let server = Endpoint {
            port: self.config.port,
            protocol: Protocol::Tcp,
            label: "mssql".to_owned(),
            security: Security::OnDemand,
            try_line: "tsql -H {host} -p {port} -U sa -P sa",
        };
        let browser = self.browser.map(|port| Endpoint {
            port,
            protocol: Protocol::Udp,
            label: "mssql_browser".to_owned(),
            security: Security::Plain,
            try_line: "printf '\\003' | nc -u -w 1 {host} {port}",
        });
        [server].into_iter().chain(browser).collect()
    }

    fn dialogue(&self, _endpoint: usize, facts: &Facts) -> Box<dyn Dialogue> {
        Box::new(Mssql::new(Arc::clone(&self.config), facts))
    }

    fn datagram(&self, _endpoint: usize, _facts: &Facts, bytes: &[u8], out: &mut Outbox) {
        browser::answer(&self.config, bytes, out);
    }

    /// The certificate that a server makes for itself at its first start when it has none.
    fn tls(&self) -> Option<TlsProfile> {
        Some(TlsProfile {
            name: "mssql".to_owned(),
            subject: vec![("CN", "SSL_Self_Signed_Fallback".to_owned())],
            issuer: Vec::new(),
            names: Vec::new(),
            key: TlsKey::Rsa2048,
            // Thirty years.
            days: 10_957,
            server_auth: false,
            alpn: vec![b"tds/8.0".to_vec()],
            files: None,
        })
    }

    fn limits(&self) -> Limits {
        // A login has to be complete after a minute.
        Limits { idle: Duration::from_secs(60), unconsumed: 64 * 1024, ..Limits::default() }
    }
}

fn build(materials: &Materials<'_>) -> Result<Box<dyn Service>, Rejection> {
    let settings = materials.settings;
    let version = Version::parse(&settings.text("mssql.version"));
    let version = version.map_err(|accepted| Rejection::new("mssql.version", accepted))?;
    let instance = settings.text("mssql.instance");
    // The rules of setup: 16 characters, a letter first.
    let is_name = instance.starts_with(|c: char| c.is_ascii_alphabetic())
        && instance.len() <= 16
        && instance.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '$'));
    if !is_name {
        return Err(Rejection::new("mssql.instance", "a letter and up to 15 letters, digits, `_` and `$`"));
    }
    let machine = aviary_wire::ntlm::Target::standalone(materials.host_name).netbios_computer;
    let server = if instance.eq_ignore_ascii_case("MSSQLSERVER") {
        machine.clone()
    } else {
        format!("{machine}\\{}", instance.to_uppercase())
    };
    let config = Config {
        version,
        machine,
        server,
        instance: instance.to_uppercase(),
        host_name: materials.host_name.to_owned(),
        port: settings.port("mssql.port"),
        planted: settings.honeycreds("mssql"),
    };
    let browser = settings.flag("mssql.browser").then(|| settings.port("mssql.browser_port"));
    Ok(Box::new(SqlServer { config: Arc::new(config), browser }))
}
