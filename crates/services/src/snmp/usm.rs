//! Version 3's User-based Security Model (RFC 3414): the engine, its reports, and captured digests.

use hmac::{Hmac, KeyInit as _, Mac as _};
use md5::{Digest as _, Md5};
use sha1::Sha1;

use super::codec::{Secure, integer, pdu, pdu_bytes, push_variable, tag};

/// usmStats, the counters that a report names (RFC 3414, section 5): 1.3.6.1.6.3.15.1.1.
const STATISTICS: [u32; 9] = [1, 3, 6, 1, 6, 3, 15, 1, 1];
/// Octets of an engine identifier that hashcat takes: 26 to 34 hexadecimal digits.
const HASHCAT_ENGINE: std::ops::RangeInclusive<usize> = 13..=17;
/// Octets of a message that hashcat takes.
const HASHCAT_MESSAGE: usize = 1500;
/// Common passwords of at least eight characters, as RFC 3414 demands them, with the key that MD5 and
/// SHA-1 make of a mebibyte of each (appendix A.2). Making them takes milliseconds a word, looking none.
const KEYS: &str = include_str!("fixtures/password-keys.txt");

/// Digests that are tried with common passwords in one second; each takes about a millisecond.
pub(super) const GUESSES: u16 = 64;

/// Why a message is answered with a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// usmStatsUnknownUserNames.
    UnknownUser,
    /// usmStatsUnknownEngineIDs, which is how an engine is discovered.
    UnknownEngine,
    /// usmStatsWrongDigests.
    WrongDigest,
}

impl Refusal {
    const fn column(self) -> u32 {
        match self {
            Self::UnknownUser => 3,
            Self::UnknownEngine => 4,
            Self::WrongDigest => 5,
        }
    }

    /// The report's PDU: one counter. `id` is the request's, or 0 when it is encrypted.
    pub(super) fn report(self, id: i32, count: u32) -> Vec<u8> {
        let name: Vec<u32> = STATISTICS.iter().copied().chain([self.column(), 0]).collect();
        let mut value = integer(i64::from(count));
        if let Some(first) = value.first_mut() {
            *first = tag::COUNTER;
        }
        let mut variables = Vec::new();
        push_variable(&mut variables, &name, &value);
        pdu_bytes(pdu::REPORT, id, 0, 0, &variables)
    }
}

/// The protocols that a digest of some length may be of, by hashcat: signature and mode.
fn hashcat_of(digest: usize) -> Option<(u8, i64)> {
    Some(match digest {
        12 => (0, 25_000),
        16 => (3, 26_700),
        24 => (4, 26_800),
        32 => (5, 26_900),
        48 => (6, 27_300),
        _ => return None,
    })
}

/// A captured digest.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Capture {
    /// `$SNMPv3$0$NUMBER$MESSAGE$ENGINE$DIGEST`, in hexadecimal digits; the message has zeros for its
    /// digest. hashcat and John the Ripper read it.
    pub(super) line: String,
    /// hashcat's mode, when it takes an engine of this length.
    pub(super) mode: Option<i64>,
    /// The password, when it is a common one.
    pub(super) password: Option<&'static str>,
}

/// What can be kept of an authenticated message; nothing when there is no digest, no engine to whose name
/// the key is bound, or too much of it. `number` tells lines apart; with `guess` common passwords are tried.
pub(super) fn capture(message: &Secure<'_>, bytes: &[u8], number: u64, guess: bool) -> Option<Capture> {
    let (kind, mode) = hashcat_of(message.digest.len())?;
    if message.engine.len() < 5 || message.digest.iter().all(|octet| *octet == 0) {
        return None;
    }
    let unsigned = without_digest(bytes, message.digest).filter(|unsigned| unsigned.len() <= HASHCAT_MESSAGE)?;
    let line = format!(
        "$SNMPv3${kind}${}${}${}${}",
        number % 100_000_000,
        hex(&unsigned),
        hex(message.engine),
        hex(message.digest)
    );
    let mode = HASHCAT_ENGINE.contains(&message.engine.len()).then_some(mode);
    let password = (guess && kind == 0).then(|| common_password(&unsigned, message.engine, message.digest)).flatten();
    Some(Capture { line, mode, password })
}

/// The message with zeros where its digest stands.
fn without_digest(bytes: &[u8], digest: &[u8]) -> Option<Vec<u8>> {
    // The message ends where its sequence does, whatever stands behind.
    let mut reader = aviary_wire::ber::Reader::new(bytes);
    reader.element().ok()?;
    let length = bytes.len().checked_sub(reader.rest().len())?;
    let mut message = bytes.get(..length)?.to_vec();
    // `digest` is a part of `bytes`: where it begins is where its address says.
    let at = digest.as_ptr().addr().checked_sub(bytes.as_ptr().addr())?;
    message.get_mut(at..)?.get_mut(..digest.len())?.fill(0);
    Some(message)
}

fn common_password(message: &[u8], engine: &[u8], digest: &[u8]) -> Option<&'static str> {
    KEYS.lines().find_map(|line| {
        let mut fields = line.rsplitn(3, ' ');
        let (sha1, md5, word) = (unhex(fields.next()?)?, unhex(fields.next()?)?, fields.next()?);
        // The localized key: a digest over key, engine and key (RFC 3414, section 2.6).
        let md5 = Md5::new().chain_update(&md5).chain_update(engine).chain_update(&md5).finalize();
        let sha1 = Sha1::new().chain_update(&sha1).chain_update(engine).chain_update(&sha1).finalize();
        let mut md5 = Hmac::<Md5>::new_from_slice(&md5).ok()?;
        let mut sha1 = Hmac::<Sha1>::new_from_slice(&sha1).ok()?;
        md5.update(message);
        sha1.update(message);
        (md5.finalize().into_bytes().starts_with(digest) || sha1.finalize().into_bytes().starts_with(digest))
            .then_some(word)
    })
}

/// Hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
