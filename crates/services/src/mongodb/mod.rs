//! MongoDB ([wire protocol], [commands]): a server with logins that nobody passes.
//!
//! Plays `mongodb.version`, 7.0.14 unless told otherwise; 3.6 to 8.0 differ in `hello`, wire version,
//! mechanisms and error texts. OP_MSG, OP_QUERY (with OP_REPLY) and OP_COMPRESSED (snappy, zstd and zlib, as
//! far as `hello` offers them) are read; commands that need no login are answered, all others refused
//! in the version's words. A driver's monitor waits for its answers as long as it asks to.
//!
//! SCRAM-SHA-1 and SCRAM-SHA-256 go through to the client's proof, from `saslStart` and from `hello`;
//! every user exists, with a salt that is the installation's and never changes. The proof is reported
//! with all that it proves, and with the password when that is a planted or a common one. PLAIN and MONGODB-X509 are
//! reported and refused.
//!
//! Events: 20001 as OpenCanary writes it, with the class `login` for attempts only; 31300 the
//! credential; 31301 the driver; 31302 the bytes of what is no message.
//!
//! LIMIT: no TLS. A message has at most 256 KiB. No open server with data. OP_MSG's checksum is not
//! checked. Measured was 3.6.8 only: what later versions say is from MongoDB's sources and from public
//! transcripts. Streamed `hello` (`exhaustAllowed`) is answered one by one.
//!
//! Tried with pymongo 4 and 3.13, nmap with its scripts, and hydra.
//!
//! [wire protocol]: https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/
//! [commands]: https://www.mongodb.com/docs/manual/reference/command/

mod bson;
mod codec;
mod commands;
mod compress;
mod dialogue;
mod events;
mod hello;
mod login;
mod persona;
mod scram;
mod server;
#[cfg(test)]
mod tests;
mod text;

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use aviary_config::{Key, Shape};
use aviary_service::{Dialogue, Endpoint, Entry, Facts, Limits, Materials, Protocol, Rejection, Security, Service};
use aviary_wire::guess::Budget;
use ring::rand::SecureRandom as _;

use self::dialogue::Mongo;
use self::persona::Persona;
use self::scram::PLANTED;
use self::server::Server;

/// The registry's entry.
pub(crate) static ENTRY: Entry = Entry {
    name: "mongodb",
    summary: "MongoDB 3.6 to 8.0 with logins",
    opencanary: "CanaryMongoDB in opencanary.modules.mongodb",
    keys: KEYS,
    kinds: &events::KINDS,
    build: &build,
};

static KEYS: &[Key] = &[
    Key { name: "mongodb.enabled", shape: Shape::Flag, default: "false", doc: "Whether the MongoDB service runs." },
    Key { name: "mongodb.port", shape: Shape::Port, default: "27017", doc: "Its TCP port." },
    Key {
        name: "mongodb.version",
        shape: Shape::Text,
        default: "\"7.0.14\"",
        doc: "The version played, from 3.6 to 8.0; wire version, commands and error texts follow it.",
    },
    Key {
        name: "mongodb.honeycreds",
        shape: Shape::List,
        default: "",
        doc: "Planted credentials, whose use is marked in the event where the password is known.",
    },
];

/// Bytes that may wait: the longest message.
const LONGEST: usize = 256 * 1024;

struct MongoService {
    server: Arc<Server>,
    port: u16,
}

impl Service for MongoService {
    fn endpoints(&self) -> Vec<Endpoint> {
        vec![Endpoint {
            port: self.port,
            label: "mongodb".to_owned(),
            protocol: Protocol::Tcp,
            security: Security::Plain,
            try_line: "mongosh mongodb://admin:secret@{host}:{port}/",
        }]
    }

    fn dialogue(&self, _endpoint: usize, facts: &Facts) -> Box<dyn Dialogue> {
        Box::new(Mongo::new(Arc::clone(&self.server), facts.clone()))
    }

    fn limits(&self) -> Limits {
        // OpenCanary's time of silence; the server itself has none.
        Limits {
            idle: Duration::from_secs(1800),
            total: Duration::from_secs(24 * 3600),
            unconsumed: LONGEST,
            ..Limits::default()
        }
    }
}

fn build(materials: &Materials<'_>) -> Result<Box<dyn Service>, Rejection> {
    let settings = materials.settings;
    let server = Server {
        persona: Persona::of(&settings.text("mongodb.version")),
        seed: materials.vault.slot("mongodb-seed", Box::new(seed)),
        process: OnceLock::new(),
        planted: settings.honeycreds("mongodb").plain_passwords().take(PLANTED).map(<[u8]>::to_vec).collect(),
        candidates: Mutex::default(),
        guesses: Budget::new(server::GUESSES),
    };
    Ok(Box::new(MongoService { server: Arc::new(server), port: settings.port("mongodb.port") }))
}

/// 32 random bytes, drawn once and kept in the vault.
fn seed() -> Vec<u8> {
    let mut bytes = vec![0; 32];
    match ring::rand::SystemRandom::new().fill(&mut bytes) {
        Ok(()) => bytes,
        // Without randomness there is no secret; the vault tries again at the next start.
        Err(_) => Vec::new(),
    }
}
