//! Chance that comes again with its seed.

/// SplitMix64 (Steele, Lea and Flood, 2014): small, and the same everywhere for ever, which a library's generator does
/// not promise.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below a bound; 0 below 0 or 1.
    pub(crate) const fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next() % bound }
    }

    /// An index of a list.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(u64::try_from(length).unwrap_or(0))).unwrap_or(0)
    }

    /// One of a list; the first ones far more often, as words of a list of passwords are.
    pub(crate) fn skewed(&mut self, length: usize) -> usize {
        let first = self.index(length.max(1));
        let bound = self.index(first.saturating_add(1));
        self.index(bound.saturating_add(1))
    }

    pub(crate) fn one<'a>(&mut self, list: &[&'a str]) -> &'a str {
        let index = self.index(list.len());
        list.get(index).copied().unwrap_or_default()
    }

    pub(crate) fn skewed_one<'a>(&mut self, list: &[&'a str]) -> &'a str {
        let index = self.skewed(list.len());
        list.get(index).copied().unwrap_or_default()
    }

    /// Between 0 and 1, both left out.
    fn fraction(&mut self) -> f64 {
        let bits = u32::try_from(self.next() >> 32).unwrap_or(0);
        (f64::from(bits) + 0.5) / 4_294_967_296.0
    }

    /// The time until the next of things that come at random so many a second, in microseconds.
    pub(crate) fn pause(&mut self, rate: f64) -> i64 {
        let seconds = -self.fraction().ln() / rate.max(1e-6);
        let micros = (seconds * 1e6).clamp(1.0, 1e15);
        // In range by the line before.
        #[expect(clippy::cast_possible_truncation, reason = "clamped")]
        let micros = micros as i64;
        micros
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        for chunk in bytes.chunks_mut(8) {
            for (byte, random) in chunk.iter_mut().zip(self.next().to_le_bytes()) {
                *byte = random;
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_the_one_that_was_published() {
        let mut random = Random::new(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn pauses_have_the_mean_that_the_rate_says() {
        let mut random = Random::new(7);
        let sum: i64 = (0..20_000).map(|_| random.pause(4.0)).sum();
        let mean = sum / 20_000;
        assert!((240_000..260_000).contains(&mean), "{mean}");
    }

    #[test]
    fn what_is_skewed_stays_in_the_list() {
        let mut random = Random::new(3);
        let mut counts = [0; 10];
        for _ in 0..10_000 {
            counts[random.skewed(10)] += 1;
        }
        assert!(counts[0] > counts[9] * 5 && counts[9] > 0, "{counts:?}");
        assert_eq!(Random::new(1).skewed(0), 0);
    }
}
