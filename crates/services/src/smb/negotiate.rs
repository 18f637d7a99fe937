//! NEGOTIATE of SMB2: dialects 2.0.2 to 3.1.1 and their contexts ([MS-SMB2] 2.2.3 and 2.2.4).

use aviary_event::LogData;
use aviary_service::Outbox;
use aviary_wire::spnego;

use super::codec::{Answer, Put as _, filetime, short, slice, text, u16_at, u32_at};
use super::events;
use super::state::Connection;
use super::status;

/// The dialects that are spoken, best first.
const DIALECTS: [u16; 5] = [0x0311, 0x0302, 0x0300, 0x0210, 0x0202];

/// Asks the client to negotiate again in SMB2: the answer to `SMB 2.???` in SMB1.
pub(super) const WILDCARD: u16 = 0x02ff;

/// Contexts that are looked at.
const CONTEXTS: usize = 16;

const PREAUTH_INTEGRITY: u16 = 1;
const ENCRYPTION: u16 = 2;
const NETNAME: u16 = 5;
const SIGNING: u16 = 8;

/// Capabilities: DFS, leasing, credits for large requests, directory leasing, encryption.
const DFS: u32 = 0x01;
const LEASING: u32 = 0x02;
const LARGE_MTU: u32 = 0x04;
const DIRECTORY_LEASING: u32 = 0x20;
const ENCRYPTS: u32 = 0x40;

/// What a client sends at 3.1.1.
#[derive(Debug, Default)]
struct Contexts {
    hashes: Vec<u16>,
    ciphers: Option<Vec<u16>>,
    signing: Option<Vec<u16>>,
    name: Vec<u8>,
}

impl Contexts {
    /// Reads the list: type (2), length (2), reserved (4), data, each at a multiple of 8.
    fn read(message: &[u8], at: usize, count: u16) -> Option<Self> {
        let mut contexts = Self::default();
        let mut at = at;
        for _ in 0..usize::from(count).min(CONTEXTS) {
            let (kind, length) = (u16_at(message, at)?, usize::from(u16_at(message, at.saturating_add(2))?));
            let data = slice(message, at.saturating_add(8), length)?;
            match kind {
                // Count (2), length of the salt (2), algorithms.
                PREAUTH_INTEGRITY => contexts.hashes = numbers(data, 4)?,
                ENCRYPTION => contexts.ciphers = Some(numbers(data, 2)?),
                SIGNING => contexts.signing = Some(numbers(data, 2)?),
                NETNAME => contexts.name = text(data).into_bytes(),
                _ => {}
            }
            at = at.saturating_add(8).saturating_add(length).next_multiple_of(8);
        }
        Some(contexts)
    }
}

/// Numbers of two bytes behind their count, which stands first.
fn numbers(data: &[u8], at: usize) -> Option<Vec<u16>> {
    let count = usize::from(u16_at(data, 0)?);
    (0..count.min(64)).map(|n| u16_at(data, at.saturating_add(n.saturating_mul(2)))).collect()
}

impl Connection {
    /// Answers NEGOTIATE; an answer that is no success is followed by a close.
    pub(super) fn negotiate(&mut self, message: &[u8], out: &mut Outbox) -> Answer {
        let fields = || -> Option<(u16, u16, u32, [u8; 16])> {
            let guid = slice(message, 76, 16)?.first_chunk().copied()?;
            Some((u16_at(message, 66)?, u16_at(message, 68)?, u32_at(message, 72)?, guid))
        };
        let Some((count, security, capabilities, guid)) = fields() else {
            return Answer::fail(status::INVALID_PARAMETER);
        };
        let dialects: Vec<u16> = (0..usize::from(count).min(64))
            .map_while(|n| u16_at(message, 100_usize.saturating_add(n.saturating_mul(2))))
            .collect();
        let newest = self.server.product.newest();
        let chosen = DIALECTS.into_iter().find(|dialect| *dialect <= newest && dialects.contains(dialect));
        let contexts = match (chosen, u32_at(message, 92), u16_at(message, 96)) {
            (Some(0x0311), Some(at), Some(count)) => {
                Contexts::read(message, usize::try_from(at).unwrap_or(usize::MAX), count)
            }
            _ => Some(Contexts::default()),
        };
        let names: Vec<String> = dialects.iter().map(|dialect| name(*dialect)).collect();
        let mut data = LogData::new()
            .with("DIALECTS", names)
            .with("CHOSEN", chosen.map_or_else(String::new, name))
            .with("CLIENT_GUID", guid_text(&guid))
            .with("SECURITY_MODE", if security & 2 != 0 { "signing required" } else { "signing enabled" })
            .with("CAPABILITIES", format!("{capabilities:#010x}"));
        if let Some(contexts) = contexts.as_ref().filter(|_| chosen == Some(0x0311)) {
            let ciphers = contexts.ciphers.iter().flatten().map(|cipher| cipher_name(*cipher)).collect::<Vec<_>>();
            data = data.with("CIPHERS", ciphers).with("SERVER_NAME", contexts.name.as_slice());
        }
        out.report(events::NEGOTIATE, data);
        self.client.dialects = dialects;
        (self.client.guid, self.client.security, self.client.capabilities) = (guid, security, capabilities);
        if self.client.arch == "UNKNOWN" {
            // What Samba takes a client for that begins with SMB2.
            self.client.arch = "Vista";
        }
        let Some(dialect) = chosen.filter(|_| count > 0) else {
            return Answer::fail(if count == 0 { status::INVALID_PARAMETER } else { status::NOT_SUPPORTED });
        };
        let Some(contexts) = contexts else { return Answer::fail(status::INVALID_PARAMETER) };
        if dialect == 0x0311 && contexts.hashes.is_empty() {
            return Answer::fail(status::INVALID_PARAMETER);
        }
        if dialect == 0x0311 && !contexts.hashes.contains(&1) {
            return Answer::fail(status::NO_PREAUTH_HASH_OVERLAP);
        }
        self.dialect = Some(dialect);
        if matches!(dialect, 0x0300 | 0x0302) && capabilities & ENCRYPTS != 0 {
            self.cipher = 1;
        }
        Answer::ok(self.negotiated(dialect, Some(&contexts), out))
    }

    /// The answer to an SMB1 negotiation that offers SMB2.
    pub(super) fn negotiate_from_smb1(&mut self, dialect: u16, out: &Outbox) -> Answer {
        if dialect != WILDCARD {
            self.dialect = Some(dialect);
        }
        Answer::ok(self.negotiated(dialect, None, out))
    }

    /// Capabilities that the server tells for a dialect.
    pub(super) fn capabilities(&self, dialect: u16) -> u32 {
        match dialect {
            0x0202 => DFS,
            0x0210 | WILDCARD => DFS | LEASING | LARGE_MTU,
            0x0300 | 0x0302 => DFS | LEASING | LARGE_MTU | (DIRECTORY_LEASING | ENCRYPTS) & self.client.capabilities,
            _ => DFS | LEASING | LARGE_MTU | DIRECTORY_LEASING & self.client.capabilities,
        }
    }

    /// The response: size 65, security mode (signing enabled, not required), dialect, count of contexts,
    /// GUID, capabilities, largest transaction, read and write, time, time of start, security buffer,
    /// offset of contexts.
    fn negotiated(&mut self, dialect: u16, contexts: Option<&Contexts>, out: &Outbox) -> Vec<u8> {
        let largest: u32 = if dialect == 0x0202 { 65_536 } else { 8_388_608 };
        let listed = contexts.filter(|_| dialect == 0x0311).map(|contexts| self.contexts(contexts));
        let offer = spnego::offer(self.server.offer());
        let mut body = Vec::with_capacity(320);
        body.put16(65);
        body.put16(1);
        body.put16(dialect);
        body.put16(short(listed.as_ref().map_or(0, Vec::len)));
        body.extend_from_slice(&self.server.guid());
        body.put32(self.capabilities(dialect));
        body.put32(largest);
        body.put32(largest);
        // An encrypted WRITE must be held whole, and only planted logins can send one.
        body.put32(if self.server.known.is_empty() { largest } else { 65_536 });
        body.put64(filetime(out.now().as_micros()));
        body.put64(0);
        body.put16(128);
        body.put16(short(offer.len()));
        let after = 128_usize.saturating_add(offer.len()).next_multiple_of(8);
        body.put_len(if listed.is_some() { after } else { 0 });
        body.extend_from_slice(&offer);
        for (kind, data) in listed.unwrap_or_default() {
            body.align(8);
            body.put16(kind);
            body.put16(short(data.len()));
            body.put32(0);
            body.extend_from_slice(&data);
        }
        body
    }

    /// Contexts of the answer: SHA-512 with a salt, and one cipher and signature of those offered.
    fn contexts(&mut self, offered: &Contexts) -> Vec<(u16, Vec<u8>)> {
        let mut integrity = vec![1, 0, 32, 0, 1, 0];
        integrity.extend_from_slice(&self.random("preauth salt", 0));
        let mut listed = vec![(PREAUTH_INTEGRITY, integrity)];
        // AES-128-GCM, then CCM. Every client that knows 256 bits knows these.
        if let Some(ciphers) = &offered.ciphers {
            self.cipher = [2_u16, 1].into_iter().find(|cipher| ciphers.contains(cipher)).unwrap_or(0);
            let chosen = self.cipher;
            listed.push((ENCRYPTION, [1_u16.to_le_bytes(), chosen.to_le_bytes()].concat()));
        }
        let newer = self.server.product.negotiates_signing();
        if let Some(signing) = offered.signing.as_ref().filter(|_| newer) {
            let chosen = [2_u16, 1, 0].into_iter().find(|algorithm| signing.contains(algorithm)).unwrap_or(1);
            self.algorithm = chosen;
            listed.push((SIGNING, [1_u16.to_le_bytes(), chosen.to_le_bytes()].concat()));
        }
        listed
    }
}

/// A dialect as people write it.
fn name(dialect: u16) -> String {
    match dialect {
        0x0202 => "2.0.2".to_owned(),
        0x0210 => "2.1".to_owned(),
        0x0300 => "3.0".to_owned(),
        0x0302 => "3.0.2".to_owned(),
        0x0311 => "3.1.1".to_owned(),
        other => format!("{other:#06x}"),
    }
}

fn cipher_name(cipher: u16) -> String {
    match cipher {
        1 => "AES-128-CCM".to_owned(),
        2 => "AES-128-GCM".to_owned(),
        3 => "AES-256-CCM".to_owned(),
        4 => "AES-256-GCM".to_owned(),
        other => format!("{other:#06x}"),
    }
}

/// A GUID in the byte order of Windows as text.
pub(super) fn guid_text(guid: &[u8; 16]) -> String {
    let [a, b, c, d, e, f, g, h, rest @ ..] = *guid;
    let first = u32::from_le_bytes([a, b, c, d]);
    let (second, third) = (u16::from_le_bytes([e, f]), u16::from_le_bytes([g, h]));
    let mut text = format!("{first:08x}-{second:04x}-{third:04x}-");
    for (at, byte) in rest.iter().enumerate() {
        if at == 2 {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}
