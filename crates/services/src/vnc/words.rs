//! Which of the planted and the common passwords made a response: single DES, with every key schedule made once.
//!
//! VNC's key is the first eight bytes of the password, padded with NUL, the bits of each byte in
//! reverse order. Challenge and response are two blocks, each encrypted on its own.

use std::collections::HashSet;

use aviary_wire::guess;
use cipher::{Array, BlockCipherEncrypt as _, KeyInit as _};
use des::Des;

use super::codec::CHALLENGE;

/// Words that are taken from the operator's file at most; each costs 128 bytes.
const MOST: usize = 10_000;

/// Passwords with their key schedules.
pub(super) struct Words {
    words: Vec<(Des, Box<[u8]>)>,
}

impl Words {
    /// The planted passwords, the common words and the operator's own, one a line. Of words that begin
    /// with the same eight bytes, which nobody can tell apart, the first stays.
    pub(super) fn new<'a>(planted: impl IntoIterator<Item = &'a [u8]>, own: &'a [u8]) -> Self {
        let own = own.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let own = own.filter(|word| !word.is_empty()).take(MOST);
        let mut seen = HashSet::new();
        let listed = guess::WORDS.iter().map(|word| word.as_bytes());
        let words = planted.into_iter().chain(listed).chain(own);
        let fresh = words.filter(|word| seen.insert(key(word)));
        Self { words: fresh.map(|word| (Des::new(&key(word).into()), word.into())).collect() }
    }

    /// The word that made the response.
    pub(super) fn find(&self, challenge: &[u8; CHALLENGE], response: &[u8; CHALLENGE]) -> Option<&[u8]> {
        let halves = |bytes: &[u8; CHALLENGE]| -> Option<(Array<u8, _>, Array<u8, _>)> {
            let (first, second) = bytes.split_first_chunk::<8>()?;
            Some(((*first).into(), (*second.first_chunk::<8>()?).into()))
        };
        let (first, second) = halves(challenge)?;
        let (wanted_first, wanted_second) = halves(response)?;
        let makes = |des: &Des, from: &Array<u8, _>, to: &Array<u8, _>| {
            let mut block = *from;
            des.encrypt_block(&mut block);
            block == *to
        };
        let fits = |des: &Des| makes(des, &first, &wanted_first) && makes(des, &second, &wanted_second);
        self.words.iter().find(|(des, _)| fits(des)).map(|(_, word)| word.as_ref())
    }
}

fn key(word: &[u8]) -> [u8; 8] {
    let mut key = [0; 8];
    for (to, from) in key.iter_mut().zip(word) {
        *to = from.reverse_bits();
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> [u8; CHALLENGE] {
        let number = u128::from_str_radix(text, 16).unwrap();
        number.to_be_bytes()
    }

    #[test]
    fn finds_the_password_of_a_published_response() {
        // John the Ripper's own test of the format.
        let (challenge, response) = (hex("84076F040550EEA9341967633B5F3855"), hex("DD96D21781A70DA49443279975404DD0"));
        assert_eq!(Words::new([], b"").find(&challenge, &response), Some(&b"pass1234"[..]));
        assert_eq!(Words::new([], b"").find(&response, &challenge), None);
        let mut other = response;
        other[15] ^= 1;
        assert_eq!(Words::new([], b"").find(&challenge, &other), None);
    }

    #[test]
    fn a_planted_password_stands_for_all_that_begin_as_it_does() {
        let (challenge, response) = (hex("84076F040550EEA9341967633B5F3855"), hex("DD96D21781A70DA49443279975404DD0"));
        let words = Words::new([&b"pass1234 and more"[..]], b"");
        assert_eq!(words.find(&challenge, &response), Some(&b"pass1234 and more"[..]));
    }

    #[test]
    fn takes_the_operators_words_too_and_no_word_twice() {
        let common = Words::new([], b"").words.len();
        let words = Words::new([], b"\r\nteakettle\r\nteakettle2\nOneMore\n\npassword\n");
        assert_eq!(words.words.len(), common + 2);
        let many: String = (0..20_000).map(|n| format!("w{n:07}\n")).collect();
        assert_eq!(Words::new([], many.as_bytes()).words.len(), common + MOST);
    }
}
