//! The conversation: listen, say nothing, tell what came.

use std::time::Duration;

use aviary_event::LogData;
use aviary_service::{Dialogue, Outbox};
use aviary_wire::fingerprint::{Heard, HelloReader};

use super::{codec, events};
use crate::http::codec::JA4H;
use crate::http::lenient_head;

/// Bytes that are kept.
const KEPT: usize = 4096;

/// How long a peer may be silent; then it is told of, and the connection ends.
pub(super) const SILENCE: Duration = Duration::from_secs(3);

/// One connection.
pub(super) struct Answer {
    heard: Vec<u8>,
    /// Bytes in all, those that are not kept included.
    bytes: usize,
    told: bool,
}

impl Answer {
    pub(super) const fn new() -> Self {
        Self { heard: Vec::new(), bytes: 0, told: false }
    }

    fn hear(&mut self, input: &[u8]) {
        let room = KEPT.saturating_sub(self.heard.len());
        self.heard.extend_from_slice(input.get(..room).unwrap_or(input));
        self.bytes = self.bytes.saturating_add(input.len());
    }

    fn tell(&mut self, out: &mut Outbox) {
        if !std::mem::replace(&mut self.told, true) {
            let bytes = i64::try_from(self.bytes).unwrap_or(i64::MAX);
            let mut data = LogData::new().with("BYTES", bytes);
            let heard = std::mem::take(&mut self.heard);
            if let Some(protocol) = codec::likely(&heard) {
                note(protocol, &heard, out);
                data.insert("PROTOCOL", protocol);
            }
            data.insert("DATA", heard);
            out.report(events::ANSWERED, data);
        }
    }
}

/// Notes the fingerprint of a whole TLS hello or HTTP head.
fn note(protocol: &str, heard: &[u8], out: &mut Outbox) {
    match protocol {
        "tls" => {
            if let Heard::Whole(hello) = HelloReader::default().push(heard) {
                out.note("ja3", hello.ja3());
                out.note("ja4", hello.ja4());
            }
        }
        "http" if memchr::memmem::find(heard, b"\n\r\n").is_some() => {
            out.note(JA4H, lenient_head(heard).0.ja4h());
        }
        _ => {}
    }
}

impl Dialogue for Answer {
    fn open(&mut self, _out: &mut Outbox) {}

    fn feed(&mut self, input: &[u8], out: &mut Outbox) -> usize {
        if !self.told {
            // No more than is told of, so that pieces make no difference.
            let room = KEPT.saturating_sub(self.heard.len());
            let input = input.get(..room).unwrap_or(input);
            self.hear(input);
            if self.heard.len() >= KEPT {
                self.tell(out);
                out.close();
            }
            return input.len();
        }
        input.len()
    }

    fn ended(&mut self, rest: &[u8], out: &mut Outbox) {
        self.hear(rest);
        self.tell(out);
    }

    fn expired(&mut self, rest: &[u8], out: &mut Outbox) {
        self.ended(rest, out);
    }

    fn overflowed(&mut self, rest: &[u8], out: &mut Outbox) {
        self.ended(rest, out);
    }
}
