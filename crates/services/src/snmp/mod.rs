//! SNMP ([RFC 1157], [RFC 3416], [RFC 3414]): an agent that shows a small, living tree and lets nothing be written.
//!
//! `snmp.persona` selects what is played: net-snmp on Debian, a Catalyst switch, a JetDirect printer, an APC
//! UPS or the SNMP service of Windows. Versions 1 and 2c answer GET, GETNEXT, GETBULK and SET as net-snmp
//! 5.9.3 was measured to, errors included; a community that is not accepted gets silence. Version 3 answers a
//! discovery with its engine, an unknown user, an unauthenticated one and a wrong digest as net-snmp does;
//! nobody gets in. Windows knows no version 3.
//!
//! Uptime, counters and the engine's boots follow the clock and an installation's secret: the machine starts
//! anew every two to five months, so nothing needs to be remembered.
//!
//! Events: 13001 for every message of version 1 and 2c, 31500 for the same whole, 31501 for version 3 without
//! a digest, 31502 with one and a line for hashcat or John the Ripper, 31503 for the rest.
//!
//! LIMIT: passwords of version 3 are guessed for MD5 and SHA-1 only, and encrypted PDUs stay closed.
//! LIMIT: the tree is net-snmp's order and error behaviour for all personas.
//!
//! Tried with snmpget, snmpgetnext, snmpwalk, snmpbulkwalk and snmpset, nmap and hydra.
//!
//! [RFC 1157]: https://www.rfc-editor.org/rfc/rfc1157
//! [RFC 3414]: https://www.rfc-editor.org/rfc/rfc3414
//! [RFC 3416]: https://www.rfc-editor.org/rfc/rfc3416

mod agent;
mod codec;
mod events;
mod mib;
mod persona;
mod report;
mod service;
#[cfg(test)]
mod tests;
mod usm;
mod value;

use aviary_config::{Key, Shape};
use aviary_service::{Entry, Materials, Rejection, Service};
use aviary_wire::guess::Budget;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::Value;

use self::mib::Mib;
use self::persona::Persona;
use self::service::Snmp;

/// The registry's entry.
pub(crate) static ENTRY: Entry = Entry {
    name: "snmp",
    summary: "net-snmp, Cisco switch, printer, UPS or Windows agent",
    opencanary: "CanarySNMP in opencanary.modules.snmp",
    keys: KEYS,
    kinds: &events::KINDS,
    build: &build,
};

static KEYS: &[Key] = &[
    Key { name: "snmp.enabled", shape: Shape::Flag, default: "false", doc: "Whether the SNMP service runs." },
    Key { name: "snmp.port", shape: Shape::Port, default: "161", doc: "Its UDP port." },
    Key {
        name: "snmp.persona",
        shape: Shape::OneOf(persona::NAMES),
        default: "\"linux\"",
        doc: "The product: net-snmp on Debian, a Cisco switch, an HP printer, an APC UPS, or Windows.",
    },
    Key {
        name: "snmp.communities",
        shape: Shape::List,
        default: "[\"public\"]",
        doc: "Communities that may read; others get silence, and are reported all the same.",
    },
    Key {
        name: "snmp.read_write",
        shape: Shape::List,
        default: "[]",
        doc: "Communities that may read and try to write; they are told that nothing is writable.",
    },
    Key {
        name: "snmp.v3_users",
        shape: Shape::List,
        default: "[\"admin\"]",
        doc: "Users of version 3 that exist; others are told to be unknown, and nobody gets in.",
    },
    Key { name: "snmp.contact", shape: Shape::Text, default: "\"root\"", doc: "The person in charge, sysContact." },
    Key { name: "snmp.location", shape: Shape::Text, default: "\"Server room\"", doc: "The place, sysLocation." },
    Key {
        name: "snmp.description",
        shape: Shape::Text,
        default: "",
        doc: "What the machine says it is, sysDescr; the product's own if not given, and {host} stands for the host name.",
    },
];

fn build(materials: &Materials<'_>) -> Result<Box<dyn Service>, Rejection> {
    let settings = materials.settings;
    let persona = Persona::of_name(&settings.text("snmp.persona"));
    let mib = Mib::parse(persona.table)
        .map_err(|line| Rejection::new("snmp.persona", format!("cannot be played: {line}")))?;
    let texts = |key: &str| -> Result<Vec<Vec<u8>>, Rejection> {
        let text = |value: &Value| value.as_str().map(|text| text.as_bytes().to_vec());
        let list = settings.list(key);
        list.iter().map(|value| text(value).ok_or_else(|| Rejection::new(key, "accepted: a list of texts"))).collect()
    };
    let given = settings.text("snmp.description");
    let description = if given.is_empty() { persona.description } else { &given };
    Ok(Box::new(Snmp {
        port: settings.port("snmp.port"),
        persona,
        mib,
        read: texts("snmp.communities")?,
        write: texts("snmp.read_write")?,
        users: texts("snmp.v3_users")?,
        host: materials.host_name.to_owned(),
        contact: settings.text("snmp.contact"),
        location: settings.text("snmp.location"),
        description: description.replace("{host}", materials.host_name),
        secret: materials.vault.slot("snmp", Box::new(random)),
        guesses: Budget::new(usm::GUESSES),
    }))
}

fn random() -> Vec<u8> {
    let mut bytes = vec![0; 32];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => bytes,
        // Without randomness there is no secret; the vault tries again at the next start.
        Err(_) => Vec::new(),
    }
}
