//! Randomness of one connection, stretched from the 32 bytes that the frame drew for it.

use ring::hmac;

/// An endless stream of bytes out of a seed: HMAC-SHA-256 of a counter under the seed.
///
/// Cookies, padding, delays, Diffie-Hellman exponents and the secrets of the post-quantum halves come
/// from here, so that one seed gives one transcript. What `ring` makes itself (X25519 and NIST
/// shares, ECDSA nonces) it draws from the operating system.
#[derive(Clone, Debug)]
pub(crate) struct Entropy {
    seed: [u8; 32],
    counter: u64,
}

impl Entropy {
    pub(crate) const fn new(seed: [u8; 32]) -> Self {
        Self { seed, counter: 0 }
    }

    fn block(&mut self) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.seed);
        let tag = hmac::sign(&key, &self.counter.to_be_bytes());
        self.counter = self.counter.wrapping_add(1);
        let mut block = [0; 32];
        for (to, from) in block.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        block
    }

    /// Fills with fresh bytes.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            let block = self.block();
            for (to, from) in chunk.iter_mut().zip(block) {
                *to = from;
            }
        }
    }

    /// Fresh bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// A stream of its own, for a computation that runs elsewhere.
    pub(crate) fn fork(&mut self) -> Self {
        Self::new(self.block())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_stream_and_never_repeats_itself() {
        let (mut a, mut b, mut c) = (Entropy::new([1; 32]), Entropy::new([1; 32]), Entropy::new([2; 32]));
        let (first, second): ([u8; 40], [u8; 40]) = (a.array(), a.array());
        assert_eq!(first, b.array());
        assert_ne!(first, second);
        assert_ne!(first, c.array());
        assert_ne!(a.fork().array::<16>(), a.array::<16>());
    }
}
