//! What goes on from a port of its own: an error, a download, an upload.
//!
//! There is no clock of our own for sending again: who lost something asks again, and is answered a
//! bounded number of times for each block.

use std::sync::Arc;
use std::time::Duration;

use aviary_event::LogData;
use aviary_service::{Dialogue, Outbox};
use sha2::{Digest as _, Sha256};

use super::codec::{self, Options, Packet, code};
use super::events::{DOWNLOAD, UPLOAD};

/// Times that one block, or one acknowledgement, is sent again.
const AGAIN: u8 = 6;
/// Longest name in the quarantine.
const LONGEST_NAME: usize = 40;
/// Packets of no use after which a transfer ends.
const USELESS: u8 = 32;
/// How long the acknowledgement of an upload's end is repeated for who lost it.
const LINGER: Duration = Duration::from_secs(6);

/// An error and nothing more.
pub(super) struct Refusal(pub u16, pub &'static str);

impl Dialogue for Refusal {
    fn open(&mut self, out: &mut Outbox) {
        // The text may be more than a stranger sent; the code never is, but for requests of a few bytes.
        out.reply_or(codec::error(self.0, self.1), codec::error(self.0, ""));
        out.close();
    }

    fn feed(&mut self, input: &[u8], _out: &mut Outbox) -> usize {
        input.len()
    }
}

/// A decoy goes to the peer.
pub(super) struct Download {
    name: Vec<u8>,
    options: Options,
    content: Arc<[u8]>,
    /// The block that was sent last; 0 is the answer to the options.
    block: usize,
    again: u8,
    useless: u8,
    over: bool,
}

impl Download {
    pub(super) fn new(name: &[u8], options: Options, content: Arc<[u8]>) -> Self {
        let block = usize::from(options.oack.is_none());
        Self { name: name.to_vec(), options, content, block, again: 0, useless: 0, over: false }
    }

    /// The bytes of a block, which counts from 1; behind the last there is none.
    fn bytes_of(&self, block: usize) -> Option<&[u8]> {
        let start = block.checked_sub(1)?.checked_mul(self.options.blksize)?;
        let rest = self.content.get(start..)?;
        Some(rest.get(..self.options.blksize).unwrap_or(rest))
    }

    fn packet(&self) -> Vec<u8> {
        match (&self.options.oack, self.block) {
            (Some(oack), 0) => oack.clone(),
            _ => codec::data(wrapped(self.block), self.bytes_of(self.block).unwrap_or_default()),
        }
    }

    fn repeat(&mut self, out: &mut Outbox) {
        self.again = self.again.saturating_add(1);
        if self.again <= AGAIN {
            out.reply(self.packet());
        } else {
            self.end(self.block.saturating_sub(1), None, out);
        }
    }

    fn acknowledged(&mut self, number: u16, out: &mut Outbox) {
        if number == wrapped(self.block) {
            let is_last = self.block > 0 && self.bytes_of(self.block).is_none_or(|b| b.len() < self.options.blksize);
            if is_last {
                return self.end(self.block, None, out);
            }
            self.block = self.block.saturating_add(1);
            self.again = 0;
            out.reply(self.packet());
        } else if self.block > 0 && number == wrapped(self.block.saturating_sub(1)) {
            self.repeat(out);
        } else {
            self.useless(out);
        }
    }

    fn useless(&mut self, out: &mut Outbox) {
        self.useless = self.useless.saturating_add(1);
        if self.useless >= USELESS {
            self.end(self.block.saturating_sub(1), None, out);
        }
    }

    /// Tells how it went. `received` is the last block that the peer has.
    fn end(&mut self, received: usize, error: Option<&[u8]>, out: &mut Outbox) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        let bytes = received.saturating_mul(self.options.blksize).min(self.content.len());
        let is_all = self.bytes_of(received).is_some_and(|last| last.len() < self.options.blksize);
        let mut data = LogData::new()
            .with("FILENAME", self.name.as_slice())
            .with("BYTES", i64::try_from(bytes).unwrap_or(i64::MAX))
            .with("COMPLETE", is_all);
        if let Some(error) = error {
            data.insert("ERROR", error);
        }
        out.report(&DOWNLOAD, data);
        out.close();
    }
}

fn wrapped(block: usize) -> u16 {
    u16::try_from(block & 0xffff).unwrap_or_default()
}

impl Dialogue for Download {
    fn open(&mut self, out: &mut Outbox) {
        if self.options.oack.is_some() {
            return out.reply(self.packet());
        }
        // A first block is more than a stranger sent. Block 0 is no part of the protocol, but clients take
        // it for one that they have, and repeat to this port what they said: that proves them.
        out.reply_or(self.packet(), codec::data(0, b""));
    }

    fn feed(&mut self, input: &[u8], out: &mut Outbox) -> usize {
        match codec::packet(input) {
            Packet::Ack(number) => self.acknowledged(number, out),
            Packet::Error(text) => self.end(self.block.saturating_sub(1), Some(text), out),
            // The request again, by who was sent block 0.
            Packet::Other if self.block <= 1 && codec::u16_at(input, 0) == Some(1) => self.repeat(out),
            Packet::Data(..) | Packet::Other => self.useless(out),
        }
        input.len()
    }

    fn ended(&mut self, _rest: &[u8], out: &mut Outbox) {
        self.end(self.block.saturating_sub(1), None, out);
    }

    fn expired(&mut self, _rest: &[u8], out: &mut Outbox) {
        self.end(self.block.saturating_sub(1), None, out);
    }

    fn overflowed(&mut self, _input: &[u8], out: &mut Outbox) {
        self.end(self.block.saturating_sub(1), None, out);
    }
}

/// A file comes from the peer.
pub(super) struct Upload {
    name: Vec<u8>,
    options: Options,
    /// Name of the file in the quarantine.
    kept_as: String,
    mode: Vec<u8>,
    /// Most bytes that are taken.
    most: u64,
    /// The block that came last.
    block: u16,
    bytes: u64,
    digest: Sha256,
    again: u8,
    useless: u8,
    over: bool,
}

impl Upload {
    /// `count` tells uploads of one session apart.
    pub(super) fn new(name: &[u8], mode: &[u8], options: Options, count: u64, most: u64) -> Self {
        let last = name.rsplit(|byte| matches!(byte, b'/' | b'\\')).next().unwrap_or_default();
        let safe = |byte: &u8| match byte {
            b'.' | b'_' | b'-' => char::from(*byte),
            byte if byte.is_ascii_alphanumeric() => char::from(*byte),
            _ => '_',
        };
        Self {
            name: name.to_vec(),
            options,
            kept_as: format!("{count}-{}", last.iter().take(LONGEST_NAME).map(safe).collect::<String>()),
            mode: mode.to_vec(),
            most,
            block: 0,
            bytes: 0,
            digest: Sha256::new(),
            again: 0,
            useless: 0,
            over: false,
        }
    }

    fn data(&mut self, number: u16, bytes: &[u8], out: &mut Outbox) {
        if number == self.block && (self.bytes > 0 || self.over) {
            self.again = self.again.saturating_add(1);
            if self.again <= AGAIN {
                out.reply(codec::ack(self.block));
            }
            return;
        }
        if self.over || number != self.block.wrapping_add(1) || bytes.len() > self.options.blksize {
            return self.useless(out);
        }
        self.again = 0;
        self.block = number;
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or_default());
        self.digest.update(bytes);
        if self.bytes > self.most {
            self.end("too large", None, out);
            out.reply(codec::error(code::FULL, "Disk full or allocation exceeded"));
            return out.close();
        }
        out.keep(self.kept_as.clone(), bytes);
        if bytes.len() < self.options.blksize {
            self.end("", None, out);
            out.idle_limit(LINGER);
        }
        out.reply(codec::ack(number));
    }

    fn useless(&mut self, out: &mut Outbox) {
        self.useless = self.useless.saturating_add(1);
        if self.useless >= USELESS {
            self.end("packets out of order", None, out);
            out.close();
        }
    }

    /// Tells how it went; an empty reason stands for all of it.
    fn end(&mut self, reason: &str, error: Option<&[u8]>, out: &mut Outbox) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        let digest: [u8; 32] = self.digest.clone().finalize().into();
        let mut data = LogData::new()
            .with("FILENAME", self.name.as_slice())
            .with("MODE", self.mode.as_slice())
            .with("BYTES", i64::try_from(self.bytes).unwrap_or(i64::MAX))
            .with("SHA256", digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
            .with("COMPLETE", reason.is_empty());
        if self.bytes > 0 {
            data.insert("QUARANTINE", self.kept_as.clone());
        }
        if !reason.is_empty() {
            data.insert("REASON", reason);
        }
        if let Some(error) = error {
            data.insert("ERROR", error);
        }
        out.report(&UPLOAD, data);
    }
}

impl Dialogue for Upload {
    fn open(&mut self, out: &mut Outbox) {
        out.reply(self.options.oack.clone().unwrap_or_else(|| codec::ack(0)));
    }

    fn feed(&mut self, input: &[u8], out: &mut Outbox) -> usize {
        match codec::packet(input) {
            Packet::Data(number, bytes) => self.data(number, bytes, out),
            Packet::Error(text) => {
                self.end("the peer gave up", Some(text), out);
                out.close();
            }
            Packet::Ack(_) | Packet::Other => self.useless(out),
        }
        input.len()
    }

    fn ended(&mut self, _rest: &[u8], out: &mut Outbox) {
        self.end("the peer is gone", None, out);
    }

    fn expired(&mut self, _rest: &[u8], out: &mut Outbox) {
        self.end("the peer fell silent", None, out);
    }

    fn overflowed(&mut self, _input: &[u8], out: &mut Outbox) {
        self.end("too large", None, out);
    }
}
