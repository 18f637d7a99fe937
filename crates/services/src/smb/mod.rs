//! SMB ([MS-SMB2], [MS-CIFS]): a file server that takes logins and shows a decoy share, without Samba.
//!
//! Plays Windows Server 2022 unless told otherwise, or Samba. Speaks SMB2 from 2.0.2 to 3.1.1, also to
//! clients that ask in SMB1. NTLM gets a random challenge for each login, and the response becomes a
//! line for hashcat. Whoever logs in is a guest, unless `smb.guest` is off; a login of
//! `smb.honeycreds` in clear text is accepted, and its session signed or encrypted. The decoy share can be listed,
//! read and written to: what is written goes to quarantine, and changes are seen by the connection that
//! makes them only. Named pipes answer share lists and the server's facts; every other call is denied.
//!
//! Events: 5000 as OpenCanary, but with the connection's real ports: `openat`, `mkdirat`, `fdopendir`,
//! `pread` and `pwrite` (once for each open file), `renameat`, `unlinkat`; 31100 dialects; 31101 logins;
//! 31102 shares; 31103 pipes and interfaces; 31104 calls; 31105 uploads; 31106 changes; 31107 what is
//! no SMB, and probes for MS17-010 and DoublePulsar.
//!
//! LIMIT: guests have no key, so their sessions are not signed or encrypted, and clients that demand
//! either refuse them, as they do with Windows. Ciphers of 128 bits only. No oplocks, leases, durable handles, DFS, extended
//! attributes, streams, compression, multichannel. SMB1 ends behind the connection to a share. Calls
//! on authenticated pipes are told, with encrypted arguments, and denied. Answers to a compound end at
//! about 1 MiB, and files grow to the size of the volume at most.
//!
//! Tried with smbclient and rpcclient 4.17, impacket 0.13, nmap 7.93 and hydra 9.4.
//!
//! [MS-SMB2]: https://learn.microsoft.com/openspecs/windows_protocols/ms-smb2/
//! [MS-CIFS]: https://learn.microsoft.com/openspecs/windows_protocols/ms-cifs/

mod administration;
mod audit;
#[cfg(test)]
mod bound_tests;
#[cfg(test)]
mod client;
mod codec;
mod content;
mod decoys;
mod dialogue;
mod directory;
mod events;
mod files;
mod information;
mod interfaces;
mod login;
mod negotiate;
#[cfg(test)]
mod pipe_tests;
mod pipes;
mod rpc;
mod sealing;
mod server;
mod signing;
mod smb1;
mod state;
mod status;
#[cfg(test)]
mod tests;
mod tree;
mod trees;
mod upload;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aviary_config::{Key, Shape};
use aviary_service::{Dialogue, Endpoint, Entry, Facts, Follow, Limits, Materials, Rejection, Security, Service};
use ring::rand::SecureRandom;

use self::audit::Audit;
use self::decoys::Decoys;
use self::dialogue::Smb;
use self::server::{Product, Server};
use self::signing::Known;

/// The registry's entry.
pub(crate) static ENTRY: Entry = Entry {
    name: "smb",
    summary: "Windows or Samba file server with a decoy share",
    opencanary: "CanarySamba in opencanary.modules.samba",
    keys: KEYS,
    kinds: &events::KINDS,
    build: &build,
};

static KEYS: &[Key] = &[
    Key { name: "smb.enabled", shape: Shape::Flag, default: "false", doc: "Whether the SMB service runs." },
    Key { name: "smb.port", shape: Shape::Port, default: "445", doc: "Its TCP port." },
    Key {
        name: "smb.netbios_port",
        shape: Shape::Int { min: 0, max: 65_535 },
        default: "0",
        doc: "TCP port of the NetBIOS session service, 139 on real machines; 0 is none.",
    },
    Key {
        name: "smb.auditfile",
        shape: Shape::Path,
        default: "\"/var/log/samba-audit.log\"",
        doc: "Audit log of a Samba server that is followed beside, if this is set; it may appear later.",
    },
    Key {
        name: "smb.server",
        shape: Shape::OneOf(&["windows", "samba"]),
        default: "\"windows\"",
        doc: "The product: a Windows Server or Samba.",
    },
    Key {
        name: "smb.version",
        shape: Shape::Text,
        default: "\"\"",
        doc: "Its version, `10.0.17763` or `4.17.12-Debian`; empty is Windows Server 2022 or that Samba.",
    },
    Key {
        name: "smb.domain",
        shape: Shape::Text,
        default: "\"\"",
        doc: "Domain of the machine, `corp.example` or `CORP`; empty is none.",
    },
    Key { name: "smb.share", shape: Shape::Text, default: "\"Finance\"", doc: "Name of the decoy share." },
    Key { name: "smb.comment", shape: Shape::Text, default: "\"\"", doc: "Remark on the decoy share." },
    Key {
        name: "smb.files",
        shape: Shape::List,
        default: "",
        doc: "Decoy files: names, or objects of `name` and `size`, or `path` of a file or folder to show; without it some are invented.",
    },
    Key {
        name: "smb.guest",
        shape: Shape::Flag,
        default: "true",
        doc: "Whether whoever logs in becomes a guest and sees the share; otherwise every login fails.",
    },
    Key {
        name: "smb.writable",
        shape: Shape::Flag,
        default: "true",
        doc: "Whether the share can be written to; what comes goes to quarantine.",
    },
    Key {
        name: "smb.smb1",
        shape: Shape::Flag,
        default: "false",
        doc: "Whether clients that speak only SMB1 may log in.",
    },
    Key {
        name: "smb.honeycreds",
        shape: Shape::List,
        default: "",
        doc: "Planted credentials, whose use is marked in the event; with a password in clear text the login is accepted.",
    },
    Key {
        name: "smb.max_connections",
        shape: Shape::Int { min: 1, max: 65_535 },
        default: "1000",
        doc: "Connections at once.",
    },
];

/// Silence after which Windows ends a connection.
const IDLE: Duration = Duration::from_secs(900);

/// Bytes that a peer may send in all: some uploads.
const RECEIVED: u64 = 1024 * 1024 * 1024;

struct SmbService {
    server: Arc<Server>,
    port: u16,
    netbios_port: u16,
    connections: usize,
    /// A Samba's audit log to follow.
    audit: Option<PathBuf>,
}

impl Service for SmbService {
    fn endpoints(&self) -> Vec<Endpoint> {
        let endpoint = |port, label: &str| Endpoint {
            port,
            label: label.to_owned(),
            security: Security::Plain,
            protocol: aviary_service::Protocol::Tcp,
            try_line: "smbclient -L {host} -p {port} -U alice%wonderland",
        };
        let mut endpoints = vec![endpoint(self.port, "smb")];
        if self.netbios_port != 0 {
            endpoints.push(endpoint(self.netbios_port, "smb_netbios"));
        }
        endpoints
    }

    fn dialogue(&self, endpoint: usize, facts: &Facts) -> Box<dyn Dialogue> {
        Box::new(Smb::new(Arc::clone(&self.server), facts, endpoint == 1))
    }

    fn follows(&self) -> Vec<Follow> {
        let follow = |path: &PathBuf| Follow { path: path.clone(), reader: Box::new(Audit::new(&events::KINDS[0])) };
        self.audit.iter().map(follow).collect()
    }

    fn limits(&self) -> Limits {
        Limits {
            idle: IDLE,
            total: Duration::from_secs(12 * 3600),
            unconsumed: codec::LONGEST.saturating_add(64 * 1024),
            received: RECEIVED,
            connections: self.connections,
        }
    }
}

fn build(materials: &Materials<'_>) -> Result<Box<dyn Service>, Rejection> {
    let settings = materials.settings;
    let product = Product::of(&settings.text("smb.server"), &settings.text("smb.version"));
    let (target, group) = Server::names(&product, materials.host_name, &settings.text("smb.domain"));
    let share = settings.text("smb.share");
    if share.is_empty() || share.chars().count() > 80 || share.contains(['\\', '/', ':', '*', '?', '"', '<', '>', '|'])
    {
        return Err(Rejection::new(
            "smb.share",
            "is no name of a share; accepted: up to 80 characters without \\/:*?\"<>|",
        ));
    }
    let files = settings.is_set("smb.files").then(|| settings.list("smb.files"));
    let server = Server {
        product,
        target,
        group,
        share,
        comment: settings.text("smb.comment"),
        guest: settings.flag("smb.guest"),
        writable: settings.flag("smb.writable"),
        smb1: settings.flag("smb.smb1"),
        known: Known::all(&settings.list("smb.honeycreds")),
        planted: settings.honeycreds("smb"),
        seed: materials.vault.slot("smb-seed", Box::new(random)),
        decoys: Decoys::read(files.as_deref())?,
        tree: OnceLock::new(),
    };
    Ok(Box::new(SmbService {
        server: Arc::new(server),
        port: settings.port("smb.port"),
        netbios_port: u16::try_from(settings.int("smb.netbios_port")).unwrap_or(0),
        connections: usize::try_from(settings.int("smb.max_connections")).unwrap_or(1000),
        // Nobody who did not name the file has a Samba beside.
        audit: settings.path("smb.auditfile").filter(|_| settings.is_set("smb.auditfile")),
    }))
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
