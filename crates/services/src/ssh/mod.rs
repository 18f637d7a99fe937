//! OpenSSH's server, from the first byte to the last failed login.
//!
//! Imitates `sshd` 8.2 to 10.6 as Debian and Ubuntu build it: identification, KEXINIT, every offered
//! key exchange, host key, cipher and MAC, EXT_INFO, strict key exchange, and authentication that
//! refuses every credential with the counting, the delays and the texts of the real one. The build
//! that is played (a [persona](personas)) is chosen by the banner. There is no shell: nobody gets in,
//! so compression (delayed until after login) and rekeying never begin; a KEXINIT before login is
//! answered with UNIMPLEMENTED, as OpenSSH does.
//!
//! LIMIT: what depends on a source's history is not played: `MaxStartups`, and the penalties of 9.8 and
//! later. A group exchange serves the groups of RFC 3526 instead of drawing from `/etc/ssh/moduli`.
//!
//! Tried with OpenSSH 9.2 (every key exchange, host key, cipher and MAC that it shares with the personas
//! of 8.4, 9.2 and 10.0), PuTTY's `plink` 0.78, Dropbear's `dbclient` 2022.83, paramiko 5.1, asyncssh 2.24
//! (ML-KEM), hydra 9.4, `nmap -sV --script ssh2-enum-algos,ssh-hostkey,ssh-auth-methods`; and against
//! `sshd` 9.2 side by side with 94 probes in the clear and 75 under keys.
//!
//! Events: OpenCanary's 4000 (connection), 4001 (each request for `ssh-userauth`) and 4002 (each
//! password); 30300 the client with its lists and HASSH, 30301 public keys, 30302 answers to
//! keyboard-interactive, 30303 other authentication requests, 30304 password changes, 30305 messages
//! beside, 30306 violations.
//!
//! Keys: `ssh.enabled`, `ssh.port`, `ssh.version`, `ssh.preauth_banner`, `ssh.keyboard_interactive`.
//!
//! Specification: RFC 4250 to 4254, 4256, 4344, 4419, 5647, 5656, 8308, 8332, 8709, 8731, and
//! OpenSSH's [`PROTOCOL`](https://github.com/openssh/openssh-portable/blob/master/PROTOCOL).

mod auth;
mod cipher;
mod codec;
mod dialogue;
mod entropy;
mod events;
mod hassh;
mod hostkey;
mod kex;
mod mac;
mod negotiation;
mod packet;
mod personas;
#[cfg(test)]
mod tests;
mod umac;

use std::sync::Arc;

use aviary_config::{Key, Shape};
use aviary_service::{Dialogue, Endpoint, Entry, Facts, Limits, Materials, Protocol, Rejection, Security, Service};

use dialogue::SshDialogue;
use hostkey::HostKeys;
use personas::Persona;

/// The registry's line.
pub(crate) static ENTRY: Entry = Entry {
    name: "ssh",
    summary: "OpenSSH server, no login succeeds",
    opencanary: "CanarySSH in opencanary.modules.ssh",
    keys: KEYS,
    kinds: events::KINDS,
    build: &build,
};

static KEYS: &[Key] = &[
    Key { name: "ssh.enabled", shape: Shape::Flag, default: "false", doc: "Whether the SSH server runs." },
    Key { name: "ssh.port", shape: Shape::Port, default: "22", doc: "TCP port." },
    Key {
        name: "ssh.version",
        shape: Shape::Text,
        default: "\"SSH-2.0-OpenSSH_10.0p2 Debian-7+deb13u4\"",
        doc: "Identification line, `SSH-2.0-...`; the OpenSSH version nearest to it is played.",
    },
    Key {
        name: "ssh.preauth_banner",
        shape: Shape::Text,
        default: "\"\"",
        doc: "Text that clients show before login; `\\r` and `\\n` may be written as backslash and letter.",
    },
    Key {
        name: "ssh.keyboard_interactive",
        shape: Shape::Flag,
        default: "false",
        doc: "Whether keyboard-interactive is offered beside password and public key.",
    },
];

/// What all connections share.
struct Shared {
    persona: &'static Persona,
    banner: Arc<str>,
    preauth_banner: Option<String>,
    keyboard: bool,
    host_keys: Arc<HostKeys>,
}

struct Ssh {
    port: u16,
    shared: Arc<Shared>,
}

fn build(materials: &Materials<'_>) -> Result<Box<dyn Service>, Rejection> {
    let settings = materials.settings;
    let banner = match settings.text("ssh.version") {
        text if text.is_empty() => personas::DEFAULT.banner.to_owned(),
        text => text,
    };
    // RFC 4253 section 4.2: 255 bytes with CR and LF, printable ASCII.
    let printable = banner.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let software = banner.strip_prefix("SSH-2.0-").or_else(|| banner.strip_prefix("SSH-1.99-"));
    if software.is_none_or(str::is_empty) || banner.len() > 253 || !printable {
        let accepted = "expected `SSH-2.0-` and a name, at most 253 printable ASCII characters";
        return Err(Rejection::new("ssh.version", accepted));
    }
    let preauth = settings.text("ssh.preauth_banner").replace("\\r", "\r").replace("\\n", "\n");
    let shared = Shared {
        persona: personas::nearest(&banner),
        banner: banner.into(),
        preauth_banner: match preauth {
            text if text.is_empty() => None,
            text if text.ends_with('\n') => Some(text),
            text => Some(text + "\r\n"),
        },
        keyboard: settings.flag("ssh.keyboard_interactive"),
        host_keys: Arc::new(HostKeys::new(materials.vault)),
    };
    Ok(Box::new(Ssh { port: settings.port("ssh.port"), shared: Arc::new(shared) }))
}

impl Service for Ssh {
    fn endpoints(&self) -> Vec<Endpoint> {
        vec![Endpoint {
            port: self.port,
            protocol: Protocol::Tcp,
            label: "ssh".to_owned(),
            security: Security::Plain,
            try_line: "ssh -p {port} root@{host}",
        }]
    }

    fn dialogue(&self, _endpoint: usize, facts: &Facts) -> Box<dyn Dialogue> {
        Box::new(SshDialogue::new(&self.shared, facts))
    }

    fn limits(&self) -> Limits {
        Limits {
            idle: personas::LOGIN_GRACE,
            total: personas::LOGIN_GRACE,
            unconsumed: packet::LONGEST_ON_WIRE,
            ..Limits::default()
        }
    }
}
