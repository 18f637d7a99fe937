//! MySQL and MariaDB: a server that nobody can log in to, and that learns the password on the way.
//!
//! Plays MySQL 3.23 to 9.x and MariaDB 5.5 to 12 from the greeting to the refusal; `mysql.banner` is
//! the version that is claimed, and the product next to it is played: capability flags, plugin,
//! alphabet of the salt, TLS or none, texts and sequence numbers. MySQL 8.0.46, 9.7.4 and MariaDB
//! 10.11.19 answer byte for byte as measured, the others as their protocol documents say.
//!
//! From 8.0 on accounts use `caching_sha2_password`, whose full authentication gives the password in
//! clear: inside TLS, or encrypted under the RSA key of this installation. A name that is not `root`
//! gets, as on the real server, a plugin that stays the same for this name and host, one of the three
//! there are (two since 8.4). Where the plugin is `mysql_native_password`, salt and response are
//! reported in hashcat's form, and compared with a list of common passwords.
//!
//! Events: OpenCanary's 8001 (login of a named user) and 9003 (connection, if asked for); 30800 what
//! the client said of itself, 30801 the login with all that is known of the password, 30802 violations.
//! `PASSWORD` of 8001 is the clear text when the client gave it away, else the response in hex as
//! OpenCanary writes it, or null; a guessed password is in 30801 only.
//!
//! LIMIT: nobody gets in, so no command is ever answered. What is played is a server with
//! `skip_name_resolve` on, as the official container images have it: messages name the address, and a
//! source that fails often is never blocked (`max_connect_errors`).
//!
//! Tried with the command line client of MariaDB 10.11 (with and without `--ssl`), PyMySQL 1.2
//! (every plugin, TLS, RSA), hydra 9.4, ncrack 0.7, `nmap -sV -sC` with `mysql-info`, and raw sockets.
//!
//! Specification: MySQL's [client/server protocol] and MariaDB's [connection phase].
//!
//! [client/server protocol]: https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html
//! [connection phase]: https://mariadb.com/docs/server/reference/clientserver-protocol/1-connecting/connection

mod codec;
mod dialogue;
mod events;
mod handshake;
mod keys;
mod login;
mod persona;
mod scramble;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use aviary_config::{Key, Shape};
use aviary_service::{
    Dialogue, Endpoint, Entry, Facts, Limits, Materials, Protocol, Rejection, Security, Service, TlsKey, TlsProfile,
};

use self::dialogue::MySql;
use self::keys::Keys;
use self::persona::Persona;

/// What is claimed when nothing else is asked for.
const DEFAULT_BANNER: &str = "8.0.43-0ubuntu0.24.04.2";

/// `connect_timeout`: what a server waits for each packet before the login is done.
const PATIENCE: Duration = Duration::from_secs(10);

/// The registry's line.
pub(crate) static ENTRY: Entry = Entry {
    name: "mysql",
    summary: "MySQL or MariaDB server, no login succeeds",
    opencanary: "CanaryMySQL in opencanary.modules.mysql",
    keys: KEYS,
    kinds: &events::KINDS,
    build: &build,
};

static KEYS: &[Key] = &[
    Key { name: "mysql.enabled", shape: Shape::Flag, default: "false", doc: "Whether the MySQL server runs." },
    Key { name: "mysql.port", shape: Shape::Port, default: "3306", doc: "Its TCP port." },
    Key {
        name: "mysql.banner",
        shape: Shape::Text,
        default: "\"8.0.43-0ubuntu0.24.04.2\"",
        doc: "Version that the server names, of MySQL or MariaDB; the product nearest to it is played.",
    },
    Key {
        name: "mysql.log_connection_made",
        shape: Shape::Flag,
        default: "false",
        doc: "Whether 9003 is written for each connection.",
    },
    Key {
        name: "mysql.honeycreds",
        shape: Shape::List,
        default: "",
        doc: "Planted credentials, whose use is marked in the event; plain passwords are found in responses, too.",
    },
];

/// What all connections share.
struct Shared {
    persona: Persona,
    /// As it stands in the greeting.
    banner: String,
    log_connection_made: bool,
    keys: Keys,
    /// Passwords of planted credentials, as far as they are plain.
    planted: Vec<Vec<u8>>,
}

struct MySqlService {
    port: u16,
    shared: Arc<Shared>,
}

impl Service for MySqlService {
    fn endpoints(&self) -> Vec<Endpoint> {
        let offers_tls = self.shared.persona.certificate.is_some();
        vec![Endpoint {
            port: self.port,
            protocol: Protocol::Tcp,
            label: "mysql".to_owned(),
            security: if offers_tls { Security::OnDemand } else { Security::Plain },
            try_line: "mariadb -h {host} -P {port} -u root -psecret",
        }]
    }

    fn dialogue(&self, _endpoint: usize, facts: &Facts) -> Box<dyn Dialogue> {
        Box::new(MySql::new(Arc::clone(&self.shared), facts))
    }

    fn tls(&self) -> Option<TlsProfile> {
        let (owner, issuer) = self.shared.persona.certificate.clone()?;
        Some(TlsProfile {
            name: "mysql".to_owned(),
            subject: vec![("CN", owner)],
            issuer: vec![("CN", issuer)],
            names: Vec::new(),
            key: TlsKey::Rsa2048,
            days: 3650,
            alpn: Vec::new(),
            server_auth: false,
            files: None,
        })
    }

    fn limits(&self) -> Limits {
        Limits {
            idle: PATIENCE,
            // A login takes six packets of the client at most.
            total: PATIENCE.saturating_mul(7),
            unconsumed: codec::LONGEST.saturating_add(codec::HEADER),
            ..Limits::default()
        }
    }
}

fn build(materials: &Materials<'_>) -> Result<Box<dyn Service>, Rejection> {
    let settings = materials.settings;
    let banner = match settings.text("mysql.banner") {
        text if text.is_empty() => DEFAULT_BANNER.to_owned(),
        text => text,
    };
    let (persona, banner) = persona::of_banner(&banner).map_err(|accepted| Rejection::new("mysql.banner", accepted))?;
    let shared = Shared {
        persona,
        banner,
        log_connection_made: settings.flag("mysql.log_connection_made"),
        keys: Keys::new(materials.vault),
        planted: settings.honeycreds("mysql").plain_passwords().map(<[u8]>::to_vec).collect(),
    };
    Ok(Box::new(MySqlService { port: settings.port("mysql.port"), shared: Arc::new(shared) }))
}
