//! Remote Desktop of a Windows Server ([MS-RDPBCGR], [MS-CSSP]), up to the refused login.
//!
//! X.224 answers as Windows does to each set of requested protocols. With CredSSP (NLA) the client's
//! NetNTLM response is taken and refused with STATUS_LOGON_FAILURE; where a client offers TLS alone, or
//! RDP's own encryption, it goes on through MCS to the Client Info, which holds the password in clear
//! text. A session is never given: the server then denies the connection.
//!
//! Events: 14001 for each login, or at the end of a connection without one; 31000 for the connection
//! request, 31001 and 31004 for what the client says of itself, 31002 for the NetNTLM response, 31003
//! for what is no RDP.
//!
//! LIMIT: no RDSTLS and no Kerberos, which a machine of a domain would take.
//!
//! Tried with xfreerdp, rdesktop, hydra, ncrack, impacket's `rdp_check`, and nmap.
//!
//! [MS-RDPBCGR]: https://learn.microsoft.com/openspecs/windows_protocols/ms-rdpbcgr/
//! [MS-CSSP]: https://learn.microsoft.com/openspecs/windows_protocols/ms-cssp/

mod client_info;
mod credssp;
mod dialogue;
mod events;
mod fips;
mod gcc;
mod little;
mod mcs;
mod persona;
mod security;
#[cfg(test)]
mod tests;
mod x224;

use std::sync::Arc;
use std::time::Duration;

use aviary_config::{HoneyCreds, Key, Shape};
use aviary_service::{
    Dialogue, Endpoint, Entry, Facts, Limits, Materials, Protocol, Rejection, Security, Service, TlsKey, TlsProfile,
};
use aviary_wire::ntlm::Target;

use self::dialogue::{Nla, Rdp};
use self::persona::Release;
use self::security::ServerKey;

/// The registry's entry.
pub(crate) static ENTRY: Entry = Entry {
    name: "rdp",
    summary: "Windows Remote Desktop with NLA, TLS and RDP's own encryption",
    opencanary: "CanaryRDP in opencanary.modules.rdp",
    keys: KEYS,
    kinds: &[events::LOGIN, events::CONNECTION, events::CLIENT, events::NTLM, events::MALFORMED, events::CLIENT_INFO],
    build: &build,
};

static KEYS: &[Key] = &[
    Key { name: "rdp.enabled", shape: Shape::Flag, default: "false", doc: "Whether the Remote Desktop service runs." },
    Key { name: "rdp.port", shape: Shape::Port, default: "3389", doc: "Its TCP port." },
    Key {
        name: "rdp.version",
        shape: Shape::OneOf(persona::NAMES),
        default: "\"2022\"",
        doc: "The Windows Server that it plays.",
    },
    Key {
        name: "rdp.nla",
        shape: Shape::OneOf(&["optional", "required", "off"]),
        default: "\"optional\"",
        doc: "Who gets NLA, which shows hashes: who asks, with `required` everybody; `off` shows clear passwords.",
    },
    Key {
        name: "rdp.domain",
        shape: Shape::Text,
        default: "\"\"",
        doc: "DNS name of the Windows domain that the machine is in; empty means a workgroup.",
    },
];

/// What a conversation needs.
struct Config {
    release: Release,
    target: Target,
    nla: Nla,
    key: ServerKey,
    /// Tried on responses.
    planted: HoneyCreds,
}

struct RdpService {
    config: Arc<Config>,
    port: u16,
}

impl Service for RdpService {
    fn endpoints(&self) -> Vec<Endpoint> {
        vec![Endpoint {
            port: self.port,
            label: "rdp".to_owned(),
            protocol: Protocol::Tcp,
            security: Security::OnDemand,
            try_line: "nmap -Pn -p {port} --script rdp-ntlm-info {host}",
        }]
    }

    fn dialogue(&self, _endpoint: usize, facts: &Facts) -> Box<dyn Dialogue> {
        Box::new(Rdp::new(Arc::clone(&self.config), facts))
    }

    /// What Windows makes for itself: its own name, six months.
    fn tls(&self) -> Option<TlsProfile> {
        Some(TlsProfile {
            name: "rdp".to_owned(),
            subject: vec![("CN", self.config.target.dns_computer.clone())],
            issuer: Vec::new(),
            names: Vec::new(),
            key: TlsKey::Rsa2048,
            days: 182,
            alpn: Vec::new(),
            files: None,
            server_auth: true,
        })
    }

    fn limits(&self) -> Limits {
        Limits {
            idle: Duration::from_secs(60),
            total: Duration::from_secs(300),
            received: 1024 * 1024,
            ..Limits::default()
        }
    }
}

fn build(materials: &Materials<'_>) -> Result<Box<dyn Service>, Rejection> {
    let settings = materials.settings;
    let release = Release::of_name(&settings.text("rdp.version"));
    let config = Config {
        target: persona::target(materials.host_name, &settings.text("rdp.domain"), release.windows),
        release,
        nla: match settings.text("rdp.nla").as_str() {
            "required" => Nla::Required,
            "off" => Nla::Off,
            _ => Nla::Optional,
        },
        key: ServerKey::new(materials.vault),
        planted: settings.honeycreds("rdp"),
    };
    Ok(Box::new(RdpService { config: Arc::new(config), port: settings.port("rdp.port") }))
}
