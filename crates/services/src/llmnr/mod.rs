//! Looks for those who answer to names that nobody has: LLMNR ([RFC 4795]), NetBIOS name service
//! ([RFC 1002]) and mDNS ([RFC 6762]), over IPv4 and IPv6.
//!
//! Every minute or so it asks each network for a name, as a Windows client does that looks for a mistyped
//! or vanished server: LLMNR and mDNS to their groups, NetBIOS to the broadcast address, from the port and
//! with the TTL that Windows uses, LLMNR and NetBIOS with new ids and repeated as Windows repeats them. The
//! name is another each time and on each network, unless the operator sets one. Who answers is a poisoner,
//! such as Responder or Inveigh, or a machine of that name. Nobody is ever connected to or logged in at.
//!
//! Only an answer counts that has our id and our name, comes to the port that asked, and in time; other
//! hosts' questions are not even read, for nothing listens on the ports of these protocols.
//!
//! Events: 19001 as OpenCanary, for all three protocols; 31900 with protocol, addresses, network, MAC and TTL.
//! `src_host` is who answered, `dst_port` the protocol's port.
//!
//! LIMIT: the MAC comes from the kernel's table of neighbours. mDNS has no ids, so an answer to it counts by
//! its name alone.
//!
//! Tried with a responder in a network namespace of its own over a pair of virtual interfaces.
//!
//! [RFC 4795]: https://www.rfc-editor.org/rfc/rfc4795
//! [RFC 1002]: https://www.rfc-editor.org/rfc/rfc1002
//! [RFC 6762]: https://www.rfc-editor.org/rfc/rfc6762

mod asker;
mod codec;
mod events;
mod names;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aviary_config::{Key, Shape};
use aviary_service::{Endpoint, Entry, Materials, Rejection, Seeker, Service};

use self::asker::{Asker, Protocol};

/// The registry's entry.
pub(crate) static ENTRY: Entry = Entry {
    name: "llmnr",
    summary: "asks for names that nobody has, and tells who answers",
    opencanary: "CanaryLLMNR in opencanary.modules.llmnr",
    keys: KEYS,
    kinds: &events::KINDS,
    build: &build,
};

static KEYS: &[Key] = &[
    Key {
        name: "llmnr.enabled",
        shape: Shape::Flag,
        default: "false",
        doc: "Whether it asks the networks for names that nobody has; who answers is a poisoner.",
    },
    Key {
        name: "llmnr.query_interval",
        shape: Shape::Int { min: 1, max: 86_400 },
        default: "60",
        doc: "Seconds between questions.",
    },
    Key {
        name: "llmnr.query_splay",
        shape: Shape::Int { min: 0, max: 86_400 },
        default: "5",
        doc: "Seconds by which the interval varies.",
    },
    Key {
        name: "llmnr.hostname",
        shape: Shape::Text,
        default: "\"\"",
        doc: "Name to ask for, which nobody may have; another each time if not given, or if OpenCanary's own.",
    },
    Key { name: "llmnr.port", shape: Shape::Port, default: "5355", doc: "UDP port that LLMNR questions go to." },
    Key {
        name: "llmnr.protocols",
        shape: Shape::List,
        default: "[\"llmnr\", \"nbt-ns\", \"mdns\"]",
        doc: "Protocols to ask over.",
    },
    Key {
        name: "llmnr.interfaces",
        shape: Shape::List,
        default: "[]",
        doc: "Network interfaces to ask on, such as \"eth0\"; if empty, those of `device.listen_addr`, or all but the loopback.",
    },
];

/// OpenCanary's shipped name, which every poisoner's author knows.
const SHIPPED_NAME: &str = "DC03";

/// The settings.
#[derive(Debug)]
struct Config {
    interval: Duration,
    splay: Duration,
    /// The operator's own name.
    name: Option<String>,
    port: u16,
    protocols: Vec<Protocol>,
    interfaces: Vec<String>,
    /// Addresses whose interfaces are asked on.
    addresses: Vec<IpAddr>,
    host_name: String,
}

struct LlmnrService {
    config: Arc<Config>,
}

impl Service for LlmnrService {
    fn endpoints(&self) -> Vec<Endpoint> {
        Vec::new()
    }

    fn seeker(&self) -> Option<Box<dyn Seeker>> {
        Some(Box::new(Asker::new(Arc::clone(&self.config))))
    }
}

fn build(materials: &Materials<'_>) -> Result<Box<dyn Service>, Rejection> {
    let settings = materials.settings;
    let texts = |key: &str| -> Vec<String> {
        settings.list(key).iter().filter_map(|item| item.as_str().map(|text| text.trim().to_owned())).collect()
    };
    let mut protocols = Vec::new();
    for word in texts("llmnr.protocols") {
        match Protocol::ALL.iter().find(|(_, known)| *known == word.to_ascii_lowercase()) {
            Some((protocol, _)) => protocols.push(*protocol),
            None => {
                let known = Protocol::ALL.map(|(_, known)| format!("\"{known}\"")).join(", ");
                return Err(Rejection::new("llmnr.protocols", format!("\"{word}\" is none of {known}")));
            }
        }
    }
    let name = settings.text("llmnr.hostname");
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.len() > 15 || !name.chars().all(plain) {
        let wanted = "is no host name; accepted: up to 15 letters, digits and dashes";
        return Err(Rejection::new("llmnr.hostname", wanted));
    }
    let seconds = |key: &str| Duration::from_secs(u64::try_from(settings.int(key)).unwrap_or(0));
    let config = Config {
        interval: seconds("llmnr.query_interval"),
        splay: seconds("llmnr.query_splay"),
        name: (!name.is_empty() && !name.eq_ignore_ascii_case(SHIPPED_NAME)).then_some(name),
        port: settings.port("llmnr.port"),
        protocols,
        interfaces: texts("llmnr.interfaces"),
        addresses: settings.listen_addrs(),
        host_name: materials.host_name.to_owned(),
    };
    Ok(Box::new(LlmnrService { config: Arc::new(config) }))
}
