//! HTTP proxy ([RFC 9110], [MS-NTHT]): Squid or Microsoft ISA Server, asking everybody for a password.
//!
//! `httpproxy.skin` selects `squid` (5.7 as Debian 12 has it, measured: which bytes are a request, header
//! order, error pages, keep-alive, what a body does to the next request) or `ms-isa` (from nmap's
//! signatures and public captures). Each request is answered by a 407 that offers Negotiate, NTLM and
//! Basic, or as few of them as `httpproxy.auth` says; NTLM's opening gets a challenge, bare or inside
//! Negotiate, and the connection stays for the response. No credential is ever right.
//!
//! INVARIANT: targets are reported and nothing else: no connection is made and no name looked up.
//!
//! Events: 7001 for credentials as OpenCanary, whose `PASSWORD` is empty where only a proof came and it is
//! that of no planted or common password; 31400 every request; 31401 credentials other than Basic with the line
//! for hashcat; 31402 what is no request; 31403 bodies.
//!
//! LIMIT: no TLS to the proxy, no HTTP/2, English pages only; another version in `httpproxy.banner` changes
//! the name, not the manners. Kerberos tokens inside Negotiate are kept as they are.
//!
//! Tried with curl (Basic, NTLM, CONNECT), Python requests, hydra and nmap with its scripts.
//!
//! [RFC 9110]: https://www.rfc-editor.org/rfc/rfc9110
//! [MS-NTHT]: https://learn.microsoft.com/openspecs/windows_protocols/ms-ntht/

mod dialogue;
mod events;
mod isa;
mod report;
mod request;
mod squid;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use aviary_config::{HoneyCreds, Key, Shape};
use aviary_service::{Dialogue, Endpoint, Entry, Facts, Limits, Materials, Protocol, Rejection, Security, Service};

use self::dialogue::HttpProxy;
use self::request::{Fault, LONGEST_HEAD};
use crate::http::codec::Request;

/// The registry's entry.
pub(crate) static ENTRY: Entry = Entry {
    name: "httpproxy",
    summary: "HTTP proxy, Squid or ISA Server",
    opencanary: "HTTPProxy in opencanary.modules.httpproxy",
    keys: KEYS,
    kinds: &events::KINDS,
    build: &build,
};

static KEYS: &[Key] = &[
    Key { name: "httpproxy.enabled", shape: Shape::Flag, default: "false", doc: "Whether the HTTP proxy runs." },
    Key { name: "httpproxy.port", shape: Shape::Port, default: "8080", doc: "Its TCP port." },
    Key {
        name: "httpproxy.skin",
        shape: Shape::OneOf(&["squid", "ms-isa"]),
        default: "\"squid\"",
        doc: "The product: Squid, or Microsoft ISA Server.",
    },
    Key {
        name: "httpproxy.banner",
        shape: Shape::Text,
        default: "\"\"",
        doc: "Squid's name and version, such as `squid/5.7`; any other text is the realm, as in OpenCanary.",
    },
    Key {
        name: "httpproxy.auth",
        shape: Shape::OneOf(&["basic", "ntlm", "negotiate"]),
        default: "\"negotiate\"",
        doc: "The strongest scheme that is offered; weaker ones are offered beside it.",
    },
    Key {
        name: "httpproxy.honeycreds",
        shape: Shape::List,
        default: "",
        doc: "Planted credentials, whose use is marked in the event.",
    },
];

/// The version that was measured.
const SQUID: &str = "squid/5.7";
/// Squid's own realm, which its sample configuration repeats.
const REALM: &str = "Squid proxy-caching web server";

/// Which product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Skin {
    Squid,
    Isa,
}

/// What all connections share.
#[derive(Clone, Debug)]
struct Proxy {
    skin: Skin,
    host_name: String,
    /// `Server` of Squid.
    server: String,
    realm: String,
    /// How many of [`SCHEMES`] are offered.
    strongest: usize,
    port: u16,
    /// Tried on responses of NTLM.
    planted: HoneyCreds,
}

/// Schemes beside Basic, the weakest first.
const SCHEMES: [&str; 2] = ["NTLM", "Negotiate"];

impl Proxy {
    /// What `Proxy-Authenticate` offers, the strongest first.
    fn schemes(&self) -> Vec<String> {
        let strong = SCHEMES.iter().take(self.strongest).rev().map(|scheme| (*scheme).to_owned());
        strong.chain([self.basic()]).collect()
    }

    fn basic(&self) -> String {
        format!("Basic realm=\"{}\"", self.realm)
    }

    fn offers(&self, scheme: &str) -> bool {
        SCHEMES.iter().take(self.strongest).any(|offered| *offered == scheme)
    }
}

/// A reply before it is written.
struct Reply<'a> {
    request: &'a Request,
    /// The target as the product shows it.
    shown: &'a [u8],
    /// What is wrong; `None` for a demand for credentials.
    fault: Option<&'a Fault>,
    /// Values of `Proxy-Authenticate`.
    offers: &'a [String],
    keep: bool,
}

struct ProxyService(Arc<Proxy>);

impl Service for ProxyService {
    fn endpoints(&self) -> Vec<Endpoint> {
        vec![Endpoint {
            port: self.0.port,
            label: "httpproxy".to_owned(),
            protocol: Protocol::Tcp,
            security: Security::Plain,
            try_line: "curl -x http://{host}:{port}/ -U admin:secret http://intranet.example/",
        }]
    }

    fn dialogue(&self, _endpoint: usize, facts: &Facts) -> Box<dyn Dialogue> {
        Box::new(HttpProxy::new(Arc::clone(&self.0), facts.clone()))
    }

    fn limits(&self) -> Limits {
        // Squid's `request_start_timeout`; room for the longest head and one segment more.
        Limits {
            idle: Duration::from_secs(300),
            unconsumed: LONGEST_HEAD.saturating_add(16 * 1024),
            ..Limits::default()
        }
    }
}

fn build(materials: &Materials<'_>) -> Result<Box<dyn Service>, Rejection> {
    let settings = materials.settings;
    let banner = settings.text("httpproxy.banner");
    let skin = if settings.text("httpproxy.skin") == "ms-isa" { Skin::Isa } else { Skin::Squid };
    let is_name = banner.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("squid/"));
    // Neither may end its header or its quotes early.
    let clean: String = banner.chars().filter(|c| !c.is_control() && *c != '"').collect();
    let realm = match skin {
        _ if !is_name && !clean.is_empty() => clean.clone(),
        Skin::Squid => REALM.to_owned(),
        Skin::Isa => materials.host_name.to_owned(),
    };
    Ok(Box::new(ProxyService(Arc::new(Proxy {
        skin,
        host_name: materials.host_name.to_owned(),
        server: if is_name { clean } else { SQUID.to_owned() },
        realm,
        strongest: match settings.text("httpproxy.auth").as_str() {
            "basic" => 0,
            "ntlm" => 1,
            _ => 2,
        },
        port: settings.port("httpproxy.port"),
        planted: settings.honeycreds("httpproxy"),
    }))))
}
