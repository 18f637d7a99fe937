//! Git daemon ([protocol]): exports nothing.
//!
//! Plays `git daemon` 2.47 with its defaults, byte for byte, up to the request: every path is
//! refused with `access denied or repository not exported`, whichever of the three services
//! (upload-pack, receive-pack, upload-archive) and of the versions 0, 1 and 2 was asked for, and
//! whatever is no request is closed without a word, with a reset when more was sent than the daemon
//! reads. Nothing is ever cloned from or pushed to it, so later packets have no one to talk to.
//!
//! Events: 16001 for upload-pack, as OpenCanary, but with a clean host and path (it tells both
//! wrongly when the path holds `host`, the version is 1 or 2, or there is no host); 30600 for every
//! request whole; 30601 for what is none. Keys: `git.enabled`, `git.port`, `git.max_connections`,
//! `git.timeout`.
//!
//! Tried with git 2.47 (ls-remote, clone, push and archive; versions 0, 1 and 2), netcat and nmap;
//! compared with `git daemon` 2.47.3 on the same probes.
//!
//! [protocol]: https://git-scm.com/docs/gitprotocol-pack#_git_transport

mod codec;
mod dialogue;
mod events;
#[cfg(test)]
mod tests;

use std::time::Duration;

use aviary_config::{Key, Shape};
use aviary_service::{Dialogue, Endpoint, Entry, Facts, Limits, Materials, Protocol, Rejection, Security, Service};

use self::dialogue::GitDaemon;

/// The registry's entry.
pub(crate) static ENTRY: Entry = Entry {
    name: "git",
    summary: "git daemon that exports nothing",
    opencanary: "CanaryGit in opencanary.modules.git",
    keys: KEYS,
    kinds: &events::KINDS,
    build: &build,
};

static KEYS: &[Key] = &[
    Key { name: "git.enabled", shape: Shape::Flag, default: "false", doc: "Whether the Git daemon runs." },
    Key { name: "git.port", shape: Shape::Port, default: "9418", doc: "Its TCP port." },
    Key {
        name: "git.max_connections",
        shape: Shape::Int { min: 1, max: 100_000 },
        default: "32",
        doc: "Connections at once; `git daemon` drops more than 32, too.",
    },
    Key {
        name: "git.timeout",
        shape: Shape::Int { min: 1, max: 86_400 },
        default: "10",
        doc: "Seconds without a byte after which a connection is closed.",
    },
];

/// Bytes that may wait: the longest packet and a little more.
const WAITING: usize = 68 * 1024;

struct GitService {
    port: u16,
    connections: usize,
    timeout: Duration,
}

impl Service for GitService {
    fn endpoints(&self) -> Vec<Endpoint> {
        vec![Endpoint {
            port: self.port,
            protocol: Protocol::Tcp,
            label: "git".to_owned(),
            security: Security::Plain,
            try_line: "git ls-remote git://{host}:{port}/project.git",
        }]
    }

    fn dialogue(&self, _endpoint: usize, _facts: &Facts) -> Box<dyn Dialogue> {
        Box::new(GitDaemon)
    }

    fn limits(&self) -> Limits {
        Limits { idle: self.timeout, unconsumed: WAITING, connections: self.connections, ..Limits::default() }
    }
}

fn build(materials: &Materials<'_>) -> Result<Box<dyn Service>, Rejection> {
    let settings = materials.settings;
    Ok(Box::new(GitService {
        port: settings.port("git.port"),
        connections: usize::try_from(settings.int("git.max_connections")).unwrap_or(32),
        timeout: Duration::from_secs(u64::try_from(settings.int("git.timeout")).unwrap_or(10)),
    }))
}
