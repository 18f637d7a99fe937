//! Codes that a telephone shows: TOTP (RFC 6238) with SHA-1, six digits and 30 seconds, which every such program knows.

use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

/// Seconds of a step.
const STEP: i64 = 30;
/// Steps that a telephone's clock may be off, either way.
const OFF: i64 = 1;
/// Bytes of a secret: as many as SHA-1 gives, as RFC 4226 recommends.
pub(super) const SECRET: usize = 20;

/// A secret as people type it.
pub(super) fn to_text(secret: &[u8]) -> String {
    BASE32_NOPAD.encode(secret)
}

/// What a QR code of the secret says.
pub(super) fn uri(secret: &str, name: &str) -> String {
    format!("otpauth://totp/Aviary:{}?secret={secret}&issuer=Aviary&algorithm=SHA1&digits=6&period=30", escape(name))
}

/// The step whose code this is, if it is later than `last`: a code counts once, and so do those before it.
pub(super) fn step_of(secret: &str, code: &str, now: i64, last: i64) -> Option<i64> {
    let secret = BASE32_NOPAD.decode(secret.as_bytes()).ok()?;
    let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    let present = now.div_euclid(STEP);
    let mut found = None;
    // All are computed, whichever fits.
    for step in present.saturating_sub(OFF)..=present.saturating_add(OFF) {
        let right = same(code_of(&secret, step).as_bytes(), code.as_bytes());
        if right && step > last && found.is_none() {
            found = Some(step);
        }
    }
    found
}

/// The code of a step.
fn code_of(secret: &[u8], step: i64) -> String {
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret) else { return String::new() };
    mac.update(&step.to_be_bytes());
    let digest: [u8; 20] = mac.finalize().into_bytes().into();
    let offset = usize::from(digest.last().copied().unwrap_or(0) & 0x0f);
    let four = digest.get(offset..).and_then(|rest| rest.first_chunk::<4>()).copied().unwrap_or_default();
    format!("{:06}", (u32::from_be_bytes(four) & 0x7fff_ffff) % 1_000_000)
}

/// Whether two texts are the same, in a time that tells nothing of where they differ.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

/// A name in an address.
fn escape(name: &str) -> String {
    use std::fmt::Write as _;
    name.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    /// The last six digits of the values of RFC 6238, appendix B.
    #[test]
    fn codes_are_those_of_the_specification() {
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(code_of(b"12345678901234567890", seconds / 30), code);
            assert_eq!(step_of(TEXT, code, seconds, 0), Some(seconds / 30));
        }
        assert_eq!(to_text(b"12345678901234567890"), TEXT);
    }

    #[test]
    fn a_clock_may_be_off_by_one_step_and_a_code_counts_once() {
        let code = code_of(b"12345678901234567890", 100);
        assert_eq!(step_of(TEXT, &code, 101 * 30, 0), Some(100));
        assert_eq!(step_of(TEXT, &code, 99 * 30, 0), Some(100));
        assert_eq!(step_of(TEXT, &code, 102 * 30, 0), None);
        assert_eq!(step_of(TEXT, &code, 98 * 30, 0), None);
        assert_eq!(step_of(TEXT, &code, 100 * 30, 100), None, "it was used");
        assert_eq!(step_of(TEXT, &code, 100 * 30, 101), None, "a later one was used");
        assert_eq!(step_of(TEXT, &format!(" {} {} ", &code[..3], &code[3..]), 100 * 30, 99), Some(100));
        assert_eq!(step_of(TEXT, "", 100 * 30, 0), None);
        assert_eq!(step_of("", "", 100 * 30, 0), None);
    }

    #[test]
    fn the_address_for_a_qr_code_holds_any_name() {
        assert_eq!(
            uri("AAAA", "anna b&c=李"),
            "otpauth://totp/Aviary:anna%20b%26c%3D%E6%9D%8E?secret=AAAA&issuer=Aviary&algorithm=SHA1&digits=6&period=30"
        );
    }
}
