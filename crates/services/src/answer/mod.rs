//! Ports without a service that are answered all the same: `portscan.answer`.
//!
//! Imitates nothing: the handshake is completed, nothing is said, and what the peer says first is kept, so that a
//! port scan or a worm that finds one shows what it is after. Off unless ports are named. A port of the list where
//! a service of this canary stands is that service's.
//!
//! Whole TLS hellos and HTTP heads are fingerprinted (`ja3`, `ja4`, `ja4h`).
//!
//! Events: 32001, once a connection, when the peer has said enough, falls silent or leaves: the first bytes, how
//! many there were, and the protocol that they look like.
//!
//! LIMIT: protocols in which the server speaks first (FTP, SMTP, MySQL …) are not told apart, since nothing is said.
//!
//! Tried with nmap, curl, openssl, smbclient, redis-cli and ncat.

mod codec;
mod dialogue;
mod events;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use aviary_config::{Key, Settings, Shape};
use aviary_service::{Dialogue, Endpoint, Entry, Facts, Limits, Materials, Protocol, Rejection, Security, Service};
use serde_json::Value;

use self::dialogue::Answer;

/// The registry's entry.
pub(crate) static ENTRY: Entry = Entry {
    name: "answer",
    summary: "ports without a service that take a connection",
    opencanary: "PortAnswer in aviary.portscan",
    keys: KEYS,
    kinds: &events::KINDS,
    build: &build,
};

/// The key.
const PORTS: &str = "portscan.answer";

/// Most ports: each is a listening socket.
const MOST: usize = 256;

static KEYS: &[Key] = &[Key {
    name: PORTS,
    shape: Shape::List,
    default: "[]",
    doc: "TCP ports without a service that take a connection and keep what comes first, such as 8080 or \"9000-9010\"; at most 256.",
}];

/// The TCP ports that are answered, in order; without those where an enabled service stands, and without what is no
/// port.
#[must_use]
pub fn answered_ports(settings: &Settings) -> Vec<u16> {
    let taken = taken(settings);
    ports(settings).unwrap_or_default().into_iter().filter(|port| !taken.contains(port)).collect()
}

/// The ports of the list.
fn ports(settings: &Settings) -> Result<BTreeSet<u16>, Rejection> {
    let refuse = |item: &Value| Rejection::new(PORTS, format!("{item} is no port and no range such as \"9000-9010\""));
    let mut ports = BTreeSet::new();
    for item in settings.list(PORTS) {
        let text = item.as_str().map_or_else(|| item.to_string(), |text| text.trim().to_owned());
        let (first, last) = text.split_once('-').unwrap_or((&text, &text));
        let (first, last) = (first.trim().parse::<u16>(), last.trim().parse::<u16>());
        let (Ok(first @ 1..), Ok(last)) = (first, last) else { return Err(refuse(&item)) };
        if last < first {
            return Err(refuse(&item));
        }
        ports.extend((first..=last).take(MOST.saturating_add(1)));
        if ports.len() > MOST {
            return Err(Rejection::new(PORTS, format!("more than {MOST} ports")));
        }
    }
    Ok(ports)
}

/// Ports of the services that are enabled.
fn taken(settings: &Settings) -> BTreeSet<u16> {
    let others = crate::ALL.iter().filter(|entry| entry.name != ENTRY.name && entry.is_enabled(settings));
    let declared = others.flat_map(|entry| entry.keys).filter(|key| key.shape == Shape::Port).map(|key| key.name);
    let numbered = settings.iter().map(|(name, _)| name).filter(|name| name.starts_with("tcpbanner_"));
    let numbered = numbered.filter(|name| name.ends_with(".port"));
    declared.filter(|name| !name.contains('#')).chain(numbered).map(|name| settings.port(name)).collect()
}

struct AnswerService {
    ports: Vec<u16>,
}

impl Service for AnswerService {
    fn endpoints(&self) -> Vec<Endpoint> {
        let endpoint = |port: &u16| Endpoint {
            port: *port,
            protocol: Protocol::Tcp,
            label: format!("answer_{port}"),
            security: Security::Plain,
            try_line: "echo hello | nc -w 1 {host} {port}",
        };
        self.ports.iter().map(endpoint).collect()
    }

    fn dialogue(&self, _endpoint: usize, _facts: &Facts) -> Box<dyn Dialogue> {
        Box::new(Answer::new())
    }

    fn limits(&self) -> Limits {
        Limits { idle: dialogue::SILENCE, total: Duration::from_secs(60), received: 1024 * 1024, ..Limits::default() }
    }
}

fn build(materials: &Materials<'_>) -> Result<Box<dyn Service>, Rejection> {
    ports(materials.settings)?;
    Ok(Box::new(AnswerService { ports: answered_ports(materials.settings) }))
}
