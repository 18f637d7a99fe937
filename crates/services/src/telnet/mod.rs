//! Telnet ([RFC 854], [RFC 855], [RFC 1143]): a login that nobody passes.
//!
//! `telnet.persona` selects what is played: Cisco IOS (as OpenCanary), inetutils-telnetd with Debian's
//! login, a BusyBox router, the Windows Telnet service, or an HP ProCurve switch. The second and third
//! were measured, the others are from nmap's signatures and public transcripts.
//!
//! Lines end with CR LF, CR NUL, CR or LF; characters are echoed unless the client forbids it, and
//! passwords never. No prompt waits for negotiation, but for inetutils-telnetd, which says nothing
//! until the client has answered all its questions. A client that does not gets silence here, too, yet
//! its lines are taken for user names and passwords in turn and reported.
//!
//! Events: 6002 at the connection if asked for, 6001 for each password, 30400 for what the client tells
//! about its terminal, 30401 for a user name that `login` would take for an option (CVE-2026-24061),
//! 30402 for everything else.
//!
//! LIMIT: IOS asks again twice after 30 seconds of silence; here the first silence ends the connection.
//!
//! Tried with inetutils telnet on a pty, Python sockets, curl, nc and nmap.
//!
//! [RFC 854]: https://www.rfc-editor.org/rfc/rfc854
//! [RFC 855]: https://www.rfc-editor.org/rfc/rfc855
//! [RFC 1143]: https://www.rfc-editor.org/rfc/rfc1143

mod codec;
mod dialogue;
mod events;
mod line;
mod negotiation;
mod option;
mod persona;
mod terminal;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use aviary_config::{Key, Shape};
use aviary_service::{Dialogue, Endpoint, Entry, Facts, Limits, Materials, Protocol, Rejection, Security, Service};

use self::dialogue::Telnet;
use self::persona::Persona;

/// The registry's entry.
pub(crate) static ENTRY: Entry = Entry {
    name: "telnet",
    summary: "Cisco IOS, Linux, BusyBox, Windows or ProCurve login",
    opencanary: "Telnet in opencanary.modules.telnet",
    keys: KEYS,
    kinds: &[
        events::LOGIN_ATTEMPT,
        events::CONNECTION_MADE,
        events::TERMINAL,
        events::ENVIRON_EXPLOIT,
        events::OTHER_INPUT,
    ],
    build: &build,
};

static KEYS: &[Key] = &[
    Key { name: "telnet.enabled", shape: Shape::Flag, default: "false", doc: "Whether the Telnet service runs." },
    Key { name: "telnet.port", shape: Shape::Port, default: "23", doc: "Its TCP port." },
    Key { name: "telnet.banner", shape: Shape::Text, default: "\"\"", doc: "Text before the login." },
    Key {
        name: "telnet.persona",
        shape: Shape::OneOf(persona::NAMES),
        default: "\"ios\"",
        doc: "The product: Cisco IOS, Debian's telnetd, a BusyBox router, Windows, or an HP ProCurve switch.",
    },
    Key {
        name: "telnet.max_connections",
        shape: Shape::Int { min: 1, max: 65_535 },
        default: "64",
        doc: "Connections at once.",
    },
    Key {
        name: "telnet.timeout",
        shape: Shape::Int { min: 1, max: 86_400 },
        default: "120",
        doc: "Seconds of silence that end a connection; a product with less patience ends it earlier.",
    },
    Key {
        name: "telnet.honeycreds",
        shape: Shape::List,
        default: "",
        doc: "Planted credentials, whose use is marked in the event.",
    },
    Key {
        name: "telnet.log_tcp_connection",
        shape: Shape::Flag,
        default: "false",
        doc: "Whether 6002 is written for each connection.",
    },
];

/// The settings that a conversation needs.
struct Config {
    persona: &'static Persona,
    /// Lines end CR LF.
    banner: String,
    host_name: String,
    log_tcp_connection: bool,
    timeout: Duration,
}

impl Config {
    fn patience(&self) -> Duration {
        self.timeout.min(Duration::from_secs(self.persona.patience))
    }
}

struct TelnetService {
    config: Arc<Config>,
    port: u16,
    connections: usize,
}

impl Service for TelnetService {
    fn endpoints(&self) -> Vec<Endpoint> {
        vec![Endpoint {
            port: self.port,
            protocol: Protocol::Tcp,
            label: "telnet".to_owned(),
            security: Security::Plain,
            try_line: "(echo admin; sleep 1; echo secret; sleep 1) | nc -q 1 {host} {port}",
        }]
    }

    fn dialogue(&self, _endpoint: usize, facts: &Facts) -> Box<dyn Dialogue> {
        Box::new(Telnet::new(Arc::clone(&self.config), facts))
    }

    fn limits(&self) -> Limits {
        Limits { idle: self.config.timeout, unconsumed: 4096, connections: self.connections, ..Limits::default() }
    }
}

fn build(materials: &Materials<'_>) -> Result<Box<dyn Service>, Rejection> {
    let settings = materials.settings;
    let config = Config {
        persona: Persona::of_name(&settings.text("telnet.persona")),
        banner: settings.text("telnet.banner").lines().map(|line| format!("{line}\r\n")).collect(),
        host_name: materials.host_name.to_owned(),
        log_tcp_connection: settings.flag("telnet.log_tcp_connection"),
        timeout: Duration::from_secs(u64::try_from(settings.int("telnet.timeout")).unwrap_or(120)),
    };
    Ok(Box::new(TelnetService {
        config: Arc::new(config),
        port: settings.port("telnet.port"),
        connections: usize::try_from(settings.int("telnet.max_connections")).unwrap_or(64),
    }))
}
