//! NTP ([RFC 5905], [RFC 9327], [RFC 8915]): a time server that tells the true time, and nothing else.
//!
//! Plays chrony 4.3 that serves its network: it answers clients of versions 1 to 4 in mode 4 and unknown
//! symmetric peers in mode 2, byte for byte as chrony was measured to, and is silent to MACs of keys that
//! it does not have, to NTS, to control messages (mode 6) and to private ones (mode 7). An answer has 48
//! bytes and never more than its request, so nothing here amplifies; what scanners for amplifiers send is
//! reported.
//!
//! The time is the canary's own, to the microsecond. Stratum and reference identifier are the operator's;
//! root delay, dispersion and the moment of the last update follow an installation's secret.
//!
//! Events: 11001 for a monlist, 31600 for a packet about the time, 31601 for a control message, 31602 for
//! a private one, 31603 for the rest. OpenCanary's 11001 looks at one octet of any datagram; here it is
//! written for both monlist requests of mode 7, and for that octet in whatever is no time packet.
//!
//! LIMIT: no kiss-of-death packet when a source asks too often: the frame drops the answer.
//!
//! Tried with ntpdate, ntpdig, ntpq, chronyd, nmap and Python sockets.
//!
//! [RFC 5905]: https://www.rfc-editor.org/rfc/rfc5905
//! [RFC 8915]: https://www.rfc-editor.org/rfc/rfc8915
//! [RFC 9327]: https://www.rfc-editor.org/rfc/rfc9327

mod answer;
mod clock;
mod codec;
mod events;
#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;

use aviary_config::{Key, Shape};
use aviary_service::{Endpoint, Entry, Facts, Materials, Outbox, Protocol, Rejection, Security, Service, Slot};
use ring::rand::{SecureRandom as _, SystemRandom};

/// The registry's entry.
pub(crate) static ENTRY: Entry = Entry {
    name: "ntp",
    summary: "chrony time server",
    opencanary: "CanaryNtp in opencanary.modules.ntp",
    keys: KEYS,
    kinds: &events::KINDS,
    build: &build,
};

static KEYS: &[Key] = &[
    Key { name: "ntp.enabled", shape: Shape::Flag, default: "false", doc: "Whether the NTP service runs." },
    Key { name: "ntp.port", shape: Shape::Port, default: "123", doc: "Its UDP port." },
    Key {
        name: "ntp.stratum",
        shape: Shape::Int { min: 1, max: 15 },
        default: "2",
        doc: "How far the server claims to be from a reference clock: 1 has one, 2 asks such a server.",
    },
    Key {
        name: "ntp.refid",
        shape: Shape::Text,
        default: "\"216.239.35.0\"",
        doc: "What the server claims to take its time from: the IPv4 address of a server, or up to four letters as \"GPS\" in stratum 1.",
    },
];

/// The settings that an answer needs.
struct Config {
    stratum: u8,
    reference_id: [u8; 4],
    /// 32 random bytes of this installation.
    secret: Slot,
}

struct Ntp {
    config: Config,
    port: u16,
}

impl Service for Ntp {
    fn endpoints(&self) -> Vec<Endpoint> {
        vec![Endpoint {
            port: self.port,
            label: "ntp".to_owned(),
            protocol: Protocol::Udp,
            security: Security::Plain,
            try_line: "printf '\\027\\000\\003\\052\\000\\000\\000\\000' | nc -u -w1 {host} {port}",
        }]
    }

    fn datagram(&self, _endpoint: usize, facts: &Facts, bytes: &[u8], out: &mut Outbox) {
        answer::datagram(&self.config, facts, bytes, out);
    }
}

fn build(materials: &Materials<'_>) -> Result<Box<dyn Service>, Rejection> {
    let settings = materials.settings;
    let text = settings.text("ntp.refid");
    let reference_id = reference_id(&text).ok_or_else(|| {
        let reason = format!("is \"{text}\"; accepted: an IPv4 address, or one to four ASCII letters and digits");
        Rejection::new("ntp.refid", reason)
    })?;
    let config = Config {
        stratum: u8::try_from(settings.int("ntp.stratum")).unwrap_or(2),
        reference_id,
        secret: materials.vault.slot("ntp", Box::new(random)),
    };
    Ok(Box::new(Ntp { config, port: settings.port("ntp.port") }))
}

/// The four octets of a reference identifier: an address, or letters padded with zeros.
fn reference_id(text: &str) -> Option<[u8; 4]> {
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Some(address.octets());
    }
    let mut octets = [0; 4];
    let letters = octets.get_mut(..text.len())?;
    letters.copy_from_slice(text.as_bytes());
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(octets)
}

fn random() -> Vec<u8> {
    let mut bytes = vec![0; 32];
    if SystemRandom::new().fill(&mut bytes).is_err() {
        bytes.clear();
    }
    bytes
}
