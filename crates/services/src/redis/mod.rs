//! Redis ([RESP], [commands]): with a password that nobody knows, or open with decoy keys.
//!
//! Plays `redis.version`, 7.0.15 unless told otherwise; 6.0, 6.2, 7.0, 7.2, 7.4 and 8.0 differ in
//! commands, arities and error texts. In both modes requests are read as the server reads them:
//! arrays and inline lines with quotes, the limits before a login, the protocol errors, the silence
//! at empty lines, the silent end of a browser's request.
//!
//! * `requirepass`: every password is wrong. Answers are those of the real server, byte for byte, so
//!   far as they do not depend on the password.
//! * `open`: no password. String keys, INFO, CONFIG, CLIENT, transactions, subscriptions and scripts'
//!   errors answer believably; changes are kept for the connection that makes them. Nothing is
//!   obeyed: CONFIG SET sets nothing, SAVE writes nothing, SLAVEOF connects to nobody, MODULE LOAD
//!   loads nothing, EVAL runs nothing.
//!
//! Events: 17001 for every command and protocol error, as OpenCanary (CMD and ARGS cut to
//! `redis.max_arg_length`); 30500 the command whole where 17001 does not say all; 30501 passwords of
//! AUTH and HELLO; 30502 steps of known attacks; 30503 what is no request. OpenCanary's idle limit
//! of 10 seconds is not the default here, since Redis has none.
//!
//! LIMIT: no TLS, no blocking (BLPOP and the like are never answered), no types but strings, COMMAND
//! without flags and documentation, one request at most 2 MiB, a word of an open server 1 MiB.
//!
//! Tried with redis-cli 7.0 (RESP2 and RESP3), redis-py and nmap; compared with redis-server 7.0.15
//! and 6.2.5 on the same probes, and with captures of 6.0.16 and 8.0.2.
//!
//! [RESP]: https://redis.io/docs/latest/develop/reference/protocol-spec/
//! [commands]: https://redis.io/docs/latest/commands/

mod abuse;
mod codec;
mod commands;
mod dialogue;
mod events;
mod inline;
mod keys;
mod open;
mod persona;
mod reply;
mod scripts;
mod server;
mod store;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aviary_config::{Key, Shape};
use aviary_service::{Dialogue, Endpoint, Entry, Facts, Limits, Materials, Protocol, Rejection, Security, Service};
use ring::rand::SecureRandom;
use serde_json::Value;

use self::dialogue::Redis;
use self::persona::Persona;
use self::server::Server;

/// The registry's entry.
pub(crate) static ENTRY: Entry = Entry {
    name: "redis",
    summary: "Redis 6.0 to 8.0, with a password or open",
    opencanary: "CanaryRedis in opencanary.modules.redis",
    keys: KEYS,
    kinds: &events::KINDS,
    build: &build,
};

static KEYS: &[Key] = &[
    Key { name: "redis.enabled", shape: Shape::Flag, default: "false", doc: "Whether the Redis service runs." },
    Key { name: "redis.port", shape: Shape::Port, default: "6379", doc: "Its TCP port." },
    Key {
        name: "redis.version",
        shape: Shape::Text,
        default: "\"7.0.15\"",
        doc: "The version played, from 6.0 to 8.0; commands and error texts follow it.",
    },
    Key {
        name: "redis.mode",
        shape: Shape::OneOf(&["requirepass", "open"]),
        default: "\"requirepass\"",
        doc: "`requirepass` refuses every password; `open` needs none and shows decoy keys.",
    },
    Key {
        name: "redis.decoys",
        shape: Shape::Object,
        default: "",
        doc: "Keys and their text in `open` mode; without it some are invented.",
    },
    Key {
        name: "redis.max_arg_length",
        shape: Shape::Int { min: 0, max: 1_048_576 },
        default: "30",
        doc: "Bytes of CMD and of ARGS in 17001; 0 leaves both empty.",
    },
    Key {
        name: "redis.max_bulk_string_length",
        shape: Shape::Int { min: 1, max: 536_870_912 },
        default: "536870912",
        doc: "Longest string in a request, Redis's `proto-max-bulk-len`.",
    },
    Key {
        name: "redis.max_connections",
        shape: Shape::Int { min: 1, max: 100_000 },
        default: "10000",
        doc: "Connections at once, Redis's `maxclients`.",
    },
    Key {
        name: "redis.timeout",
        shape: Shape::Int { min: 0, max: 604_800 },
        default: "0",
        doc: "Seconds without a byte after which a connection is closed; 0 is as long as we can bear.",
    },
    Key {
        name: "redis.honeycreds",
        shape: Shape::List,
        default: "",
        doc: "Planted credentials, whose use is marked in the event.",
    },
];

/// The idle limit where Redis has none.
const IDLE: Duration = Duration::from_secs(3600);

/// Longest string where no login limits it: we hold it in memory.
const WORD: i64 = 1024 * 1024;

/// Bytes that may wait: a line of 64 KiB and what came with it.
const WAITING: usize = 128 * 1024;

struct RedisService {
    server: Arc<Server>,
    limits: Limits,
}

impl Service for RedisService {
    fn endpoints(&self) -> Vec<Endpoint> {
        vec![Endpoint {
            port: self.server.port,
            protocol: Protocol::Tcp,
            label: "redis".to_owned(),
            security: Security::Plain,
            try_line: "redis-cli -h {host} -p {port} AUTH secret",
        }]
    }

    fn dialogue(&self, _endpoint: usize, facts: &Facts) -> Box<dyn Dialogue> {
        Box::new(Redis::new(Arc::clone(&self.server), facts))
    }

    fn limits(&self) -> Limits {
        self.limits
    }
}

fn build(materials: &Materials<'_>) -> Result<Box<dyn Service>, Rejection> {
    let settings = materials.settings;
    let open = settings.text("redis.mode") == "open";
    let word = settings.int("redis.max_bulk_string_length");
    let given = match settings.value("redis.decoys") {
        Some(Value::Object(map)) => Some(Arc::new(
            map.into_iter()
                .map(|(key, value)| match value {
                    Value::String(text) => (key.into_bytes(), text.into_bytes()),
                    other => (key.into_bytes(), other.to_string().into_bytes()),
                })
                .collect(),
        )),
        _ => None,
    };
    let persona = Persona::of(&settings.text("redis.version"));
    let server = Server {
        open,
        port: settings.port("redis.port"),
        word: if open || !persona.strict { word.min(WORD) } else { word },
        persona,
        logged: usize::try_from(settings.int("redis.max_arg_length")).unwrap_or_default(),
        seed: materials.vault.slot("redis-seed", Box::new(random)),
        given,
        decoys: OnceLock::new(),
        started: OnceLock::new(),
    };
    let idle = match u64::try_from(settings.int("redis.timeout")) {
        Ok(0) | Err(_) => IDLE,
        Ok(seconds) => Duration::from_secs(seconds),
    };
    let limits = Limits {
        idle,
        total: Duration::from_secs(24 * 3600),
        unconsumed: WAITING,
        connections: usize::try_from(settings.int("redis.max_connections")).unwrap_or(10_000),
        ..Limits::default()
    };
    Ok(Box::new(RedisService { server: Arc::new(server), limits }))
}

/// 32 random bytes, drawn once and kept in the vault.
fn random() -> Vec<u8> {
    let mut bytes = vec![0; 32];
    match ring::rand::SystemRandom::new().fill(&mut bytes) {
        Ok(()) => bytes,
        // Without randomness there is no secret; the vault tries again at the next start.
        Err(_) => Vec::new(),
    }
}

/// Whether `part` stands somewhere in `whole`.
fn holds(whole: &[u8], part: &str) -> bool {
    memchr::memmem::find(whole, part.as_bytes()).is_some()
}
