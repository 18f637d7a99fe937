//! UMAC with 64 and 128 bits of tag, after [RFC 4418], over RustCrypto's AES.
//!
//! The one primitive that is ours: no library has it, and every OpenSSH offers it first. Its tests are
//! the RFC's vectors, and what real clients send (`umac-128` is not in the RFC).
//!
//! [RFC 4418]: https://www.rfc-editor.org/rfc/rfc4418

use std::marker::PhantomData;

use aes::Aes128;
use cipher::{BlockCipherEncrypt as _, KeyInit as _};

/// Bytes of the layer-1 key and of a message part hashed with it.
const L1_BYTES: usize = 1024;

/// Prime of the second layer, 2^64 - 59.
const P64: u128 = 0xffff_ffff_ffff_ffc5;
/// Prime of the third layer, 2^36 - 5.
const P36: u64 = 0xf_ffff_fffb;
/// Key bits of the second layer that may be set.
const MASK64: u64 = 0x01ff_ffff_01ff_ffff;
/// From here on a word of the second layer is written as two.
const WORD_RANGE: u64 = 0xffff_ffff_0000_0000;

/// How long a tag is.
pub(crate) trait TagSize {
    /// Rounds; each gives 4 bytes of tag.
    const ROUNDS: usize;
}

/// 8 bytes.
pub(crate) struct Tag64;
impl TagSize for Tag64 {
    const ROUNDS: usize = 2;
}

/// 16 bytes.
pub(crate) struct Tag128;
impl TagSize for Tag128 {
    const ROUNDS: usize = 4;
}

/// UMAC under one key.
///
/// LIMIT: messages up to 2^24 bytes, beyond which the second layer changes its modulus; a packet has
/// at most 2^18.
pub(crate) struct Umac<T> {
    /// Key words of the first layer; those of round `n` begin at word `4 * n`.
    layer1: Box<[u32]>,
    /// Keys of the other layers, one for each round.
    rounds: Box<[Round]>,
    pad: Aes128,
    size: PhantomData<T>,
}

struct Round {
    layer2: u64,
    multipliers: [u64; 8],
    summand: u32,
}

impl<T: TagSize> Umac<T> {
    pub(crate) fn new(key: &[u8; 16]) -> Self {
        let aes = Aes128::new(key.into());
        let of_round = |bytes: usize| bytes.saturating_mul(T::ROUNDS);
        let layer1 = derive(&aes, 1, L1_BYTES.saturating_add(of_round(16)).saturating_sub(16));
        let layer2 = derive(&aes, 2, of_round(24));
        let multipliers = derive(&aes, 3, of_round(64));
        let summands = derive(&aes, 4, of_round(4));
        let rounds = (layer2.chunks_exact(24).zip(multipliers.chunks_exact(64)).zip(summands.chunks_exact(4)))
            .map(|((layer2, multipliers), summand)| Round {
                layer2: be64(layer2) & MASK64,
                multipliers: {
                    let mut words = [0; 8];
                    for (word, bytes) in words.iter_mut().zip(multipliers.chunks_exact(8)) {
                        *word = be64(bytes).wrapping_rem(P36);
                    }
                    words
                },
                summand: be32(summand),
            })
            .collect();
        let pad_key: [u8; 16] = derive(&aes, 0, 16).try_into().unwrap_or_default();
        Self {
            layer1: layer1.chunks_exact(4).map(be32).collect(),
            rounds,
            pad: Aes128::new(&pad_key.into()),
            size: PhantomData,
        }
    }

    /// The tag of a message under a nonce that is used once.
    pub(crate) fn tag(&self, nonce: [u8; 8], message: &[u8]) -> Vec<u8> {
        let mut tag = Vec::with_capacity(16);
        for (n, round) in self.rounds.iter().enumerate() {
            let key = self.layer1.get(n.saturating_mul(4)..).unwrap_or_default();
            tag.extend_from_slice(&round.hash(key, message).to_be_bytes());
        }
        for (byte, pad) in tag.iter_mut().zip(self.pad(nonce)) {
            *byte ^= pad;
        }
        tag
    }

    /// The pad of a nonce. An 8 byte tag takes one half of a block, by the nonce's last bit.
    fn pad(&self, nonce: [u8; 8]) -> impl Iterator<Item = u8> {
        let number = u64::from_be_bytes(nonce);
        let (number, half) = if T::ROUNDS == 2 { (number & !1, number & 1 == 1) } else { (number, false) };
        let mut block = [0; 16];
        for (to, from) in block.iter_mut().zip(number.to_be_bytes()) {
            *to = from;
        }
        let mut block = block.into();
        self.pad.encrypt_block(&mut block);
        block.into_iter().skip(if half { 8 } else { 0 })
    }
}

impl Round {
    /// The three layers over a message.
    fn hash(&self, key: &[u32], message: &[u8]) -> u32 {
        let mut parts = message.chunks(L1_BYTES);
        let first = layer1(key, parts.next().unwrap_or_default());
        // A message of one part skips the second layer.
        if message.len() <= L1_BYTES {
            return self.layer3(first);
        }
        let sum = parts.fold(self.layer2(1, first), |sum, part| self.layer2(sum, layer1(key, part)));
        self.layer3(sum)
    }

    /// One step of the polynomial over 2^64 - 59.
    fn layer2(&self, sum: u64, word: u64) -> u64 {
        let step = |sum: u64, word: u64| {
            let sum = u128::from(self.layer2).wrapping_mul(u128::from(sum)).wrapping_add(u128::from(word));
            // INVARIANT: the remainder is below 2^64.
            u64::try_from(sum.wrapping_rem(P64)).unwrap_or_default()
        };
        if word >= WORD_RANGE { step(step(sum, 0xffff_ffff_ffff_ffc4), word.wrapping_sub(59)) } else { step(sum, word) }
    }

    /// 64 bits (of 128, whose first half is zero) to 32.
    fn layer3(&self, word: u64) -> u32 {
        let words = [word >> 48, word >> 32 & 0xffff, word >> 16 & 0xffff, word & 0xffff];
        // The multipliers of the first half meet zeros.
        let keys = self.multipliers.iter().skip(4);
        let sum = words.iter().zip(keys).fold(0_u64, |sum, (a, b)| sum.wrapping_add(a.wrapping_mul(*b)));
        let low = sum.wrapping_rem(P36) & 0xffff_ffff;
        u32::try_from(low).unwrap_or_default() ^ self.summand
    }
}

/// NH of one part, plus its length in bits.
fn layer1(key: &[u32], part: &[u8]) -> u64 {
    let bits = u64::try_from(part.len()).unwrap_or_default().wrapping_mul(8);
    let whole = part.chunks_exact(32);
    let tail = whole.remainder();
    let keys = key.chunks_exact(8);
    let mut sum = whole.zip(keys.clone()).fold(bits, |sum, (block, key)| sum.wrapping_add(nh(key, block)));
    if !tail.is_empty() || part.is_empty() {
        let mut padded = [0; 32];
        for (to, from) in padded.iter_mut().zip(tail) {
            *to = *from;
        }
        let done = part.len().wrapping_div(32);
        sum = sum.wrapping_add(keys.clone().nth(done).map_or(0, |key| nh(key, &padded)));
    }
    sum
}

/// NH of 32 bytes: word `i` goes with word `i + 4`.
fn nh(key: &[u32], block: &[u8]) -> u64 {
    let mut words = [0_u32; 8];
    for ((word, bytes), key) in words.iter_mut().zip(block.chunks_exact(4)).zip(key) {
        *word = be32(bytes).swap_bytes().wrapping_add(*key);
    }
    let (low, high) = words.split_at(4);
    low.iter().zip(high).fold(0, |sum, (a, b)| sum.wrapping_add(u64::from(*a).wrapping_mul(u64::from(*b))))
}

/// The RFC's KDF: AES of `uint64 index || uint64 counter`, from 1.
fn derive(aes: &Aes128, index: u8, bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.saturating_add(16));
    let mut counter = 0_u64;
    while out.len() < bytes {
        counter = counter.saturating_add(1);
        let input = (u128::from(index) << 64) | u128::from(counter);
        let mut block = input.to_be_bytes().into();
        aes.encrypt_block(&mut block);
        out.extend_from_slice(&block);
    }
    out.truncate(bytes);
    out
}

fn be32(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

fn be64(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn umac64(message: &[u8]) -> String {
        let tag = Umac::<Tag64>::new(b"abcdefghijklmnop").tag(*b"bcdefghi", message);
        tag.iter().map(|b| format!("{b:02X}")).collect()
    }

    /// RFC 4418, appendix: key `abcdefghijklmnop`, nonce `bcdefghi`.
    #[test]
    fn agrees_with_the_vectors_of_rfc_4418() {
        for (message, tag) in [
            (Vec::new(), "6E155FAD26900BE1"),
            (b"aaa".to_vec(), "44B5CB542F220104"),
            (vec![b'a'; 1 << 10], "26BF2F5D60118BD9"),
            (vec![b'a'; 1 << 15], "27F8EF643B0D118D"),
            (vec![b'a'; 1 << 20], "A4477E87E9F55853"),
            (b"abc".to_vec(), "D4D7B9F6BD4FBFCF"),
            (b"abc".repeat(500), "D4CF26DDEFD5C01A"),
        ] {
            assert_eq!(umac64(&message), tag, "{} bytes", message.len());
        }
    }

    /// The first 12 bytes of the RFC's 96 bit tags are those of a 128 bit tag, but for the pad: both
    /// take the whole block.
    #[test]
    fn the_long_tag_begins_as_the_96_bit_tag_of_the_rfc() {
        let umac = Umac::<Tag128>::new(b"abcdefghijklmnop");
        for (message, start) in [
            (Vec::new(), "32FEDB100C79AD58F07FF764"),
            (b"aaa".to_vec(), "185E4FE905CBA7BD85E4C2DC"),
            (vec![b'a'; 1 << 10], "7A54ABE04AF82D60FB298C3C"),
            (vec![b'a'; 1 << 15], "7B136BD911E4B734286EF2BE"),
            (vec![b'a'; 1 << 20], "F8ACFA3AC31CFEEA047F7B11"),
            (b"abc".to_vec(), "883C3D4B97A61976FFCF2323"),
            (b"abc".repeat(500), "8824A260C53C66A36C9260A6"),
        ] {
            let tag: String = umac.tag(*b"bcdefghi", &message).iter().map(|b| format!("{b:02X}")).collect();
            assert_eq!(tag.get(..24), Some(start), "{} bytes", message.len());
        }
    }
}
