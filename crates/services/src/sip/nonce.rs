//! Nonces that need no memory: who echoes one was sent it, by us, a moment ago.
//!
//! ```text
//! long:  seconds "/" 8 hex digits of chance, 24 of the tag
//! short: hex digits of chance and of the tag
//! ```
//! The tag is HMAC-SHA-256 over the moment, the chance and the source's address, under a secret of this
//! installation. Asterisk's own nonce has the long form: its 32 digits are a hash of the same things.

use std::net::IpAddr;

use ring::hmac;

/// Seconds for which a nonce is good; Asterisk's default is 32.
const LIFETIME: i64 = 32;

/// Characters of a nonce that nobody guesses: 48 bits of it or more are the tag.
pub(super) const PROOF: usize = 16;

/// How a product writes its nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Asterisk's PJSIP driver.
    Seconds,
    /// So many lower-case digits: 8 of Asterisk's older driver.
    Digits(usize),
    /// So many upper-case digits.
    Capitals(usize),
}

/// What is told of a nonce that a peer sent, from bad to good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// Not ours.
    Foreign,
    /// We made it for this source, too long ago.
    Stale,
    /// We made it for this source, not long ago.
    Good,
}

/// A nonce for a source at a moment in seconds since 1970; `chance` is eight random bytes.
pub(super) fn make(form: Form, secret: &[u8], source: IpAddr, seconds: i64, chance: [u8; 8]) -> String {
    let chance = hex(&chance);
    match form {
        Form::Seconds => {
            let chance = chance.get(..8).unwrap_or_default();
            format!("{seconds}/{chance}{}", tag(secret, source, seconds, chance, 24))
        }
        Form::Digits(length) | Form::Capitals(length) => {
            let chance = chance.get(..split(length)).unwrap_or_default();
            let rest = length.saturating_sub(chance.len());
            let nonce = format!("{chance}{}", tag(secret, source, seconds, chance, rest));
            if matches!(form, Form::Capitals(_)) { nonce.to_ascii_uppercase() } else { nonce }
        }
    }
}

/// What a nonce is worth.
pub(super) fn check(form: Form, secret: &[u8], source: IpAddr, now: i64, nonce: &[u8]) -> Verdict {
    let Ok(nonce) = str::from_utf8(nonce) else { return Verdict::Foreign };
    match form {
        Form::Seconds => {
            let Some((seconds, digits)) = nonce.split_once('/') else { return Verdict::Foreign };
            let Ok(seconds) = seconds.parse::<i64>() else { return Verdict::Foreign };
            let Some((chance, rest)) = digits.split_at_checked(8) else { return Verdict::Foreign };
            if rest != tag(secret, source, seconds, chance, 24) {
                return Verdict::Foreign;
            }
            let age = now.saturating_sub(seconds);
            if (0..=LIFETIME).contains(&age) { Verdict::Good } else { Verdict::Stale }
        }
        Form::Digits(length) | Form::Capitals(length) => {
            let lower = nonce.to_ascii_lowercase();
            let Some((chance, rest)) = lower.split_at_checked(split(length)) else { return Verdict::Foreign };
            let left = length.saturating_sub(chance.len());
            let good = |age| rest == tag(secret, source, now.saturating_sub(age), chance, left);
            if nonce.len() == length && (0..=LIFETIME).any(good) { Verdict::Good } else { Verdict::Foreign }
        }
    }
}

/// Digits of chance in a short nonce: half of it, but no more than four.
fn split(length: usize) -> usize {
    (length / 2).min(4)
}

fn tag(secret: &[u8], source: IpAddr, moment: i64, chance: &str, digits: usize) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let mut context = hmac::Context::with_key(&key);
    for part in [moment.to_string().as_str(), "/", chance, "/", &source.to_canonical().to_string()] {
        context.update(part.as_bytes());
    }
    let mut text = hex(context.sign().as_ref());
    text.truncate(digits);
    text
}

/// Lower-case hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const FORMS: [Form; 3] = [Form::Seconds, Form::Digits(8), Form::Capitals(16)];

    #[test]
    fn a_nonce_is_good_for_its_source_and_a_while() {
        for form in FORMS {
            let nonce = make(form, b"secret", HERE, 1_000_000, [0xab; 8]);
            let check = |secret: &[u8], source: IpAddr, now| check(form, secret, source, now, nonce.as_bytes());
            assert_eq!(check(b"secret", HERE, 1_000_000), Verdict::Good, "{nonce}");
            assert_eq!(check(b"secret", HERE, 1_000_030), Verdict::Good, "{nonce}");
            assert_ne!(check(b"secret", HERE, 1_000_100), Verdict::Good, "{nonce}");
            assert_eq!(check(b"secret", "192.0.2.9".parse().unwrap(), 1_000_000), Verdict::Foreign);
            assert_eq!(check(b"another", HERE, 1_000_000), Verdict::Foreign);
        }
    }

    #[test]
    fn an_old_nonce_of_ours_is_stale() {
        let nonce = make(Form::Seconds, b"secret", HERE, 1_000_000, [0xab; 8]);
        assert_eq!(check(Form::Seconds, b"secret", HERE, 1_000_033, nonce.as_bytes()), Verdict::Stale);
        assert_eq!(check(Form::Seconds, b"secret", HERE, 999_999, nonce.as_bytes()), Verdict::Stale);
    }

    #[test]
    fn chance_makes_each_another() {
        for form in FORMS {
            let of = |chance| make(form, b"secret", HERE, 7, [chance; 8]);
            assert_ne!(of(1), of(2));
            assert_eq!(of(1), of(1));
        }
    }

    #[test]
    fn has_the_product_s_form() {
        let long = make(Form::Seconds, b"s", HERE, 1_717_776_386, [1; 8]);
        assert!(long.starts_with("1717776386/01010101") && long.len() == 43, "{long}");
        assert_eq!(make(Form::Digits(8), b"s", HERE, 1, [1; 8]).len(), 8);
        let capitals = make(Form::Capitals(16), b"s", HERE, 1, [0xaf; 8]);
        assert!(capitals.starts_with("AFAF") && capitals.len() == 16, "{capitals}");
    }

    #[test]
    fn garbage_is_foreign() {
        for form in FORMS {
            for garbage in [
                &b""[..],
                b"/",
                b"1/",
                b"x/0123456789",
                b"\xff\xfe",
                "1/\u{e9}\u{e9}\u{e9}\u{e9}1".as_bytes(),
                b"00000000",
            ] {
                assert_eq!(check(form, b"secret", HERE, 1, garbage), Verdict::Foreign, "{}", garbage.escape_ascii());
            }
        }
    }
}
