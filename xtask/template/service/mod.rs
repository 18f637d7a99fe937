//! Echo: gives back what it is sent, line by line.
//!
//! Imitates: the service of [RFC 862](https://www.rfc-editor.org/rfc/rfc862), as far as its TCP half.
//! Tried with: nothing yet.
//! Events: `LOG_ECHO_LINE`. Keys: `echo.enabled`, `echo.port`.

mod codec;
mod dialogue;
mod events;

use aviary_config::{Key, Shape};
use aviary_service::{Dialogue, Endpoint, Entry, Facts, Materials, Protocol, Rejection, Security, Service};

/// The registry's line.
pub(crate) static ENTRY: Entry = Entry {
    name: "echo",
    summary: "RFC 862 echo server",
    opencanary: "",
    keys: &[
        Key { name: "echo.enabled", shape: Shape::Flag, default: "false", doc: "Whether the service runs." },
        Key { name: "echo.port", shape: Shape::Port, default: "7", doc: "The TCP port." },
    ],
    kinds: &events::KINDS,
    build: &build,
};

/// The service as configured.
struct Echo {
    port: u16,
}

fn build(materials: &Materials<'_>) -> Result<Box<dyn Service>, Rejection> {
    Ok(Box::new(Echo { port: materials.settings.port("echo.port") }))
}

impl Service for Echo {
    fn endpoints(&self) -> Vec<Endpoint> {
        vec![Endpoint {
            port: self.port,
            protocol: Protocol::Tcp,
            label: "echo".to_owned(),
            security: Security::Plain,
            try_line: "nc {host} {port}",
        }]
    }

    fn dialogue(&self, _endpoint: usize, _facts: &Facts) -> Box<dyn Dialogue> {
        Box::new(dialogue::EchoDialogue)
    }
}
