//! Salts, the responses that are computed over them, and what they give away.
//!
//! ```text
//! mysql_native_password   SHA1(password) xor SHA1(salt + SHA1(SHA1(password)))
//! caching_sha2_password   SHA256(password) xor SHA256(SHA256(SHA256(password)) + salt)
//! sha256_password         the password itself, over TLS or under the server's RSA key
//! ```

use std::sync::LazyLock;

use aviary_wire::guess;
use sha1::{Digest as _, Sha1};
use sha2::{Sha256, Sha512};

/// A server's challenge.
pub(super) type Salt = [u8; 20];

/// A way to prove who one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plugin {
    /// `mysql_native_password`
    Native,
    /// `caching_sha2_password`
    CachingSha2,
    /// `sha256_password`
    Sha256,
}

impl Plugin {
    /// Its name in packets.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Native => "mysql_native_password",
            Self::CachingSha2 => "caching_sha2_password",
            Self::Sha256 => "sha256_password",
        }
    }

    /// The plugin of a name, which has no case.
    pub(super) fn of_name(name: &[u8]) -> Option<Self> {
        [Self::Native, Self::CachingSha2, Self::Sha256]
            .into_iter()
            .find(|plugin| name.eq_ignore_ascii_case(plugin.name().as_bytes()))
    }
}

/// A salt out of the randomness of a connection; `purpose` tells several apart.
///
/// MariaDB and MySQL before 5.6 draw one of 94 graphic characters for each byte. Later ones cut random
/// bytes to seven bits, and move NUL and `$` up by one.
pub(super) fn salt(entropy: &[u8; 32], purpose: &str, graphic: bool) -> Salt {
    let stream = Sha512::new().chain_update(entropy).chain_update(purpose).finalize();
    let mut salt = [0; 20];
    let (pairs, _) = stream.as_chunks::<2>();
    for (byte, pair) in salt.iter_mut().zip(pairs) {
        let [low, _] = pair;
        *byte = if graphic {
            let place = u32::from(u16::from_le_bytes(*pair)).saturating_mul(94) >> 16;
            u8::try_from(place).unwrap_or_default().saturating_add(b'!')
        } else {
            match low & 0x7f {
                low @ (0 | b'$') => low.saturating_add(1),
                low => low,
            }
        };
    }
    salt
}

/// Once and twice hashed.
type Stages<const N: usize> = ([u8; N], [u8; N]);

fn sha1_stages(word: &[u8]) -> Stages<20> {
    let once: [u8; 20] = Sha1::digest(word).into();
    (once, Sha1::digest(once).into())
}

fn sha256_stages(word: &[u8]) -> Stages<32> {
    let once: [u8; 32] = Sha256::digest(word).into();
    (once, Sha256::digest(once).into())
}

/// What does not depend on the salt is computed once, so that a guess costs one hash.
static SHA1_STAGES: LazyLock<Vec<Stages<20>>> =
    LazyLock::new(|| guess::WORDS.iter().map(|word| sha1_stages(word.as_bytes())).collect());
static SHA256_STAGES: LazyLock<Vec<Stages<32>>> =
    LazyLock::new(|| guess::WORDS.iter().map(|word| sha256_stages(word.as_bytes())).collect());

/// Whether `response` hides `once` behind a hash.
fn hides<const N: usize>(response: &[u8; N], once: &[u8; N], hash: &[u8; N]) -> bool {
    response.iter().zip(once).zip(hash).all(|((response, once), hash)| response ^ once == *hash)
}

fn fits_native(response: &[u8; 20], salt: &Salt, (once, twice): &Stages<20>) -> bool {
    let hash: [u8; 20] = Sha1::new().chain_update(salt).chain_update(twice).finalize().into();
    hides(response, once, &hash)
}

/// Salt and twice hashed word as the one block that SHA-1 makes of 40 bytes: the bit 1 behind them, and
/// their length of 320 bits at the end. The word is still to be filled in.
fn block_of(salt: &Salt) -> [u8; 64] {
    let mut block = [0; 64];
    for (to, from) in block.iter_mut().zip(salt) {
        *to = *from;
    }
    let [.., high, low] = &mut block;
    (*high, *low) = (1, 64);
    if let Some(end) = block.get_mut(40) {
        *end = 0x80;
    }
    block
}

/// Whether the first four bytes fit. Every login that is guessed at costs some hundred of these, and
/// this takes half the time of a whole hash.
fn may_fit(response: &[u8; 20], block: &mut [u8; 64], (once, twice): &Stages<20>) -> bool {
    for (to, from) in block.iter_mut().skip(20).zip(twice) {
        *to = *from;
    }
    // The state that SHA-1 begins with, FIPS 180-4 section 5.3.1.
    let mut state = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    sha1::block_api::compress(&mut state, std::slice::from_ref(block));
    let [first, ..] = state;
    response.iter().zip(once).zip(first.to_be_bytes()).all(|((response, once), hash)| response ^ once == hash)
}

fn fits_caching_sha2(response: &[u8; 32], salt: &Salt, (once, twice): &Stages<32>) -> bool {
    let hash: [u8; 32] = Sha256::new().chain_update(twice).chain_update(salt).finalize().into();
    hides(response, once, &hash)
}

/// The first of the words, or else of the further candidates, that gives this response.
pub(super) fn guess(plugin: Plugin, response: &[u8], salt: &Salt, further: &[Vec<u8>]) -> Option<Vec<u8>> {
    let listed = |at: Option<usize>| Some(guess::WORDS.get(at?)?.as_bytes().to_vec());
    let among = |fits: &dyn Fn(&[u8]) -> bool| further.iter().find(|word| fits(word)).cloned();
    match plugin {
        Plugin::Native => {
            let response = response.try_into().ok()?;
            let mut block = block_of(salt);
            let fits = |stages| may_fit(response, &mut block, stages) && fits_native(response, salt, stages);
            listed(SHA1_STAGES.iter().position(fits))
                .or_else(|| among(&|word| fits_native(response, salt, &sha1_stages(word))))
        }
        Plugin::CachingSha2 => {
            let response = response.try_into().ok()?;
            listed(SHA256_STAGES.iter().position(|stages| fits_caching_sha2(response, salt, stages)))
                .or_else(|| among(&|word| fits_caching_sha2(response, salt, &sha256_stages(word))))
        }
        Plugin::Sha256 => None,
    }
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len().saturating_mul(2)), |mut text, byte| {
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(u32::from(digit), 16));
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn guesses_the_example_of_hashcat() {
        // Mode 11200 of hashcat's example hashes; the password is `hashcat`.
        let salt: Salt = bytes("1c24ab8d0ee94d70ab1f2e814d8f0948a14d10b9").try_into().unwrap();
        let response = bytes("437e93572f18ae44d9e779160c2505271f85821d");
        assert_eq!(guess(Plugin::Native, &response, &salt, &[]), None);
        let further = [b"other".to_vec(), b"hashcat".to_vec()];
        assert_eq!(guess(Plugin::Native, &response, &salt, &further).as_deref(), Some(&b"hashcat"[..]));
    }

    #[test]
    fn guesses_words_of_the_list_by_both_ways() {
        let salt = salt(&[1; 32], "", false);
        let word = b"changeme";
        let (once, twice) = sha1_stages(word);
        let hash: [u8; 20] = Sha1::new().chain_update(salt).chain_update(twice).finalize().into();
        let response: Vec<u8> = once.iter().zip(hash).map(|(a, b)| a ^ b).collect();
        assert_eq!(guess(Plugin::Native, &response, &salt, &[]).as_deref(), Some(&word[..]));
        let (once, twice) = sha256_stages(word);
        let hash: [u8; 32] = Sha256::new().chain_update(twice).chain_update(salt).finalize().into();
        let response: Vec<u8> = once.iter().zip(hash).map(|(a, b)| a ^ b).collect();
        assert_eq!(guess(Plugin::CachingSha2, &response, &salt, &[]).as_deref(), Some(&word[..]));
        assert_eq!(guess(Plugin::CachingSha2, &response[..31], &salt, &[]), None);
        assert_eq!(guess(Plugin::Sha256, &response, &salt, &[]), None);
    }

    #[test]
    fn salts_use_the_alphabet_of_the_product_and_all_of_it() {
        for (graphic, count, first, last) in [(true, 94, b'!', b'~'), (false, 126, 1, 127)] {
            let mut seen: Vec<u8> = (0..=255).flat_map(|seed| salt(&[seed; 32], "", graphic)).collect();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!((seen.len(), seen[0], seen[seen.len() - 1]), (count, first, last));
            assert!(graphic || !seen.contains(&b'$'));
        }
        assert_ne!(salt(&[1; 32], "", true), salt(&[1; 32], "second", true));
    }
}
