//! Mssql: gives back what it is sent, line by line.
//!
//! Imitates: the service of [RFC 862](https://www.rfc-editor.org/rfc/rfc862), as far as its TCP half.
//! Tried with: nothing yet.
//! Events: `LOG_MSSQL_LINE`. Keys: `mssql.enabled`, `mssql.port`.

mod codec;
mod dialogue;
mod events;

use aviary_config::{Key, Shape};
use aviary_service::{Dialogue, Endpoint, Entry, Facts, Materials, Rejection, Security, Service};

/// The registry's line.
pub(crate) static ENTRY: Entry = Entry {
    name: "mssql",
    summary: "RFC 862 mssql server",
    opencanary: "",
    keys: &[
        Key { name: "mssql.enabled", shape: Shape::Flag, default: "false", doc: "Whether the service runs." },
        Key { name: "mssql.port", shape: Shape::Port, default: "7", doc: "The TCP port." },
    ],
    kinds: &events::KINDS,
    build,
};

/// The service as configured.
struct Mssql {
    port: u16,
}

fn build(materials: &Materials<'_>) -> Result<Box<dyn Service>, Rejection> {
    Ok(Box::new(Mssql { port: materials.settings.port("mssql.port") }))
}

impl Service for Mssql {
    fn endpoints(&self) -> Vec<Endpoint> {
        vec![Endpoint {
            port: self.port,
            label: "mssql".to_owned(),
            security: Security::Plain,
            try_line: "nc {host} {port}",
        }]
    }

    fn dialogue(&self, _endpoint: usize, _facts: &Facts) -> Box<dyn Dialogue> {
        Box::new(dialogue::MssqlDialogue)
    }
}
