//! SIP ([RFC 3261], digest of [RFC 8760]) over UDP and TCP: a telephone server that nobody may use.
//!
//! `sip.server` selects what is played: FreePBX or plain Asterisk with its PJSIP driver, Asterisk with
//! its older driver, or a Cisco IOS gateway. The order and form of headers, the To tag, the nonce and
//! the words of a refusal are each product's own, the first three from captures in public issues, the
//! fourth from Cisco's documents. OPTIONS is answered by what the product can do, REGISTER, INVITE and
//! their like are challenged with a fresh nonce and refused by 403 once they bring a digest.
//!
//! Nonces need no memory (see `nonce.rs`), and who echoes one has shown that its address is no lie.
//! Until then an answer over UDP leaves out headers until it is no longer than the request.
//!
//! Events: 15001 for each request, as OpenCanary; 31700 for what OpenCanary leaves out of it: method,
//! target, the number dialled, the transport; 31701 for each digest, as a line for hashcat 11400 and with
//! the password when it is a planted or a common one; 31702 for what is no request. Keys: `sip.enabled`, `sip.port`,
//! `sip.server`, `sip.banner`, `sip.realm`, `sip.honeycreds`, `sip.max_connections`, `sip.timeout`.
//!
//! LIMIT: no TLS, no WebSocket, no call ever stands. A real PJSIP without a guest endpoint challenges
//! OPTIONS too; this one has a guest endpoint.
//!
//! [RFC 3261]: https://www.rfc-editor.org/rfc/rfc3261
//! [RFC 8760]: https://www.rfc-editor.org/rfc/rfc8760

mod agent;
mod codec;
mod dialogue;
mod events;
mod nonce;
mod persona;
#[cfg(test)]
mod tests;
mod via;

use std::sync::Arc;
use std::time::Duration;

use aviary_config::{Key, Shape};
use aviary_service::{
    Dialogue, Endpoint, Entry, Facts, Limits, Materials, Outbox, Protocol, Rejection, Security, Service,
};
use ring::rand::SecureRandom as _;

use self::agent::{Agent, Circumstances};
use self::dialogue::Connection;

/// The registry's entry.
pub(crate) static ENTRY: Entry = Entry {
    name: "sip",
    summary: "FreePBX, Asterisk or Cisco telephone server",
    opencanary: "CanarySIP in opencanary.modules.sip",
    keys: KEYS,
    kinds: &events::KINDS,
    build: &build,
};

static KEYS: &[Key] = &[
    Key { name: "sip.enabled", shape: Shape::Flag, default: "false", doc: "Whether the SIP service runs." },
    Key { name: "sip.port", shape: Shape::Port, default: "5060", doc: "Its port, over UDP and TCP." },
    Key {
        name: "sip.server",
        shape: Shape::OneOf(persona::NAMES),
        default: "\"freepbx\"",
        doc: "The product: FreePBX, Asterisk with PJSIP, Asterisk with its older driver, or a Cisco gateway.",
    },
    Key {
        name: "sip.banner",
        shape: Shape::Text,
        default: "\"\"",
        doc: "The `Server` header; the product's own if not given.",
    },
    Key {
        name: "sip.realm",
        shape: Shape::Text,
        default: "\"\"",
        doc: "The realm that credentials are asked for; the product's own if not given.",
    },
    Key {
        name: "sip.honeycreds",
        shape: Shape::List,
        default: "",
        doc: "Planted credentials, whose use is marked in the event.",
    },
    Key {
        name: "sip.max_connections",
        shape: Shape::Int { min: 1, max: 100_000 },
        default: "1000",
        doc: "TCP connections at once.",
    },
    Key {
        name: "sip.timeout",
        shape: Shape::Int { min: 1, max: 86_400 },
        default: "300",
        doc: "Seconds without a byte after which a TCP connection is closed.",
    },
];

struct SipService {
    agent: Arc<Agent>,
    port: u16,
    connections: usize,
    timeout: Duration,
}

impl Service for SipService {
    fn endpoints(&self) -> Vec<Endpoint> {
        let endpoint = |protocol, try_line| Endpoint {
            port: self.port,
            protocol,
            label: "sip".to_owned(),
            security: Security::Plain,
            try_line,
        };
        vec![
            endpoint(Protocol::Udp, "printf 'OPTIONS sip:100 SIP/2.0\\r\\n\\r\\n' | nc -u -w1 {host} {port}"),
            endpoint(Protocol::Tcp, "printf 'OPTIONS sip:100 SIP/2.0\\r\\n\\r\\n' | nc -w1 {host} {port}"),
        ]
    }

    fn dialogue(&self, _endpoint: usize, facts: &Facts) -> Box<dyn Dialogue> {
        Box::new(Connection::new(Arc::clone(&self.agent), facts))
    }

    fn datagram(&self, _endpoint: usize, facts: &Facts, bytes: &[u8], out: &mut Outbox) {
        let at = Circumstances {
            peer: facts.peer,
            local: facts.local,
            tcp: false,
            room: Some(bytes.len()),
            entropy: facts.entropy,
            count: 0,
        };
        match codec::datagram(bytes) {
            Ok((head, body)) => self.agent.message(head, body, at, out),
            Err(why) => self.agent.no_request(bytes, why, at, out),
        }
    }

    fn limits(&self) -> Limits {
        Limits { idle: self.timeout, connections: self.connections, ..Limits::default() }
    }
}

fn build(materials: &Materials<'_>) -> Result<Box<dyn Service>, Rejection> {
    let settings = materials.settings;
    let secret = materials.vault.slot("sip-nonce", Box::new(random));
    Ok(Box::new(SipService {
        agent: Arc::new(Agent::new(settings, secret)),
        port: settings.port("sip.port"),
        connections: usize::try_from(settings.int("sip.max_connections")).unwrap_or(1000),
        timeout: Duration::from_secs(u64::try_from(settings.int("sip.timeout")).unwrap_or(300)),
    }))
}

/// The key of the nonces' tags.
fn random() -> Vec<u8> {
    let mut bytes = vec![0; 32];
    match ring::rand::SystemRandom::new().fill(&mut bytes) {
        Ok(()) => bytes,
        // Without randomness there is no secret; the vault tries again at the next start.
        Err(_) => Vec::new(),
    }
}
