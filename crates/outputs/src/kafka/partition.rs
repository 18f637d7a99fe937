//! Which partition a key belongs to, as Java's producer has it, so that events of one key lie with what others
//! write under it.

/// The partition of a key among `count`; 0 when there are none.
pub(super) fn of(key: &[u8], count: u32) -> u32 {
    // The hash without its sign bit, as Java's `toPositive`.
    (murmur2(key) & 0x7fff_ffff).checked_rem(count).unwrap_or(0)
}

/// MurmurHash2 with Kafka's seed. Reference: Austin Appleby's `MurmurHash2.cpp`.
fn murmur2(key: &[u8]) -> u32 {
    const MIX: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    let mut hash = SEED ^ u32::try_from(key.len()).unwrap_or(u32::MAX);
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let word = u32::from_le_bytes(*word).wrapping_mul(MIX);
        hash = hash.wrapping_mul(MIX) ^ (word ^ word >> 24).wrapping_mul(MIX);
    }
    if !rest.is_empty() {
        let mut last = [0; 4];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        hash = (hash ^ u32::from_le_bytes(last)).wrapping_mul(MIX);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MIX);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_kafkas_own_clients() {
        // Vectors of Kafka's `UtilsTest`.
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
        assert_eq!((of(b"abc", 4), of(b"21", 4), of(b"x", 1), of(b"x", 0)), (479_470_107 % 4, 1_173_551_340 % 4, 0, 0));
    }
}
