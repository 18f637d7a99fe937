//! The clock that is played: NTP's time stamps, and how well the server claims to know the time.

use aviary_event::Timestamp;
use sha2::{Digest as _, Sha256};

/// Seconds from 1900, where NTP begins, to 1970.
const EPOCH: u64 = 2_208_988_800;
/// Microseconds of a second.
const SECOND: u64 = 1_000_000;
/// Microseconds between two updates of the server's clock: a poll of 2^10 seconds.
const UPDATE: u64 = 1024 * SECOND;
/// Microseconds in which the error grows by 1/65536 second, at 15 parts in a million.
const GROWTH: u64 = SECOND * SECOND / 65_536 / 15;

/// Seconds since 1900 in the high half, fractions of 2^-32 in the low half. The seconds wrap in 2036.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp(pub(super) u64);

impl Stamp {
    /// A moment in microseconds since 1970. `noise` fills what is below a microsecond.
    pub(super) fn of_micros(micros: u64, noise: u16) -> Self {
        let seconds = (micros / SECOND).wrapping_add(EPOCH) & 0xffff_ffff;
        let fraction = ((micros % SECOND) << 32) / SECOND;
        // A microsecond is 4294 units; 12 bits of noise stay below it.
        Self(seconds << 32 | fraction.saturating_add(u64::from(noise & 0x0fff)) & 0xffff_ffff)
    }
}

/// What the server says of its own clock.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Quality {
    /// When the clock was set last.
    pub(super) reference: Stamp,
    /// Round trip to the primary source, in 1/65536 seconds.
    pub(super) root_delay: u32,
    /// Greatest error, in 1/65536 seconds.
    pub(super) root_dispersion: u32,
}

/// The quality at a moment. An update every 1024 seconds, at a phase and with values of this
/// installation's own; in between the error grows by 15 parts in a million, as RFC 5905 has it.
pub(super) fn quality(now: Timestamp, secret: &[u8]) -> Quality {
    let micros = u64::try_from(now.as_micros()).unwrap_or(0);
    let phase = u64::from(first_u32(secret, b"phase", 0)) % UPDATE;
    let since_phase = micros.saturating_sub(phase);
    let update = since_phase / UPDATE;
    let age = since_phase % UPDATE;
    let drawn = first_u32(secret, b"update", update);
    // 4 to 20 ms away from the source, 0.2 to 1.2 ms unsure of it.
    let base_delay = 262_u32.saturating_add(first_u32(secret, b"delay", 0) % 1000);
    let grown = u32::try_from(age / GROWTH).unwrap_or(0);
    Quality {
        reference: Stamp::of_micros(micros.saturating_sub(age), u16::try_from(drawn >> 16).unwrap_or(0)),
        root_delay: base_delay.saturating_add(drawn % 40),
        root_dispersion: 13_u32.saturating_add((drawn >> 8) % 64).saturating_add(grown),
    }
}

fn first_u32(secret: &[u8], what: &[u8], number: u64) -> u32 {
    let digest = Sha256::new().chain_update(secret).chain_update(what).chain_update(number.to_be_bytes()).finalize();
    digest.first_chunk::<4>().map_or(0, |octets| u32::from_be_bytes(*octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_of_1900() {
        // 2026-11-22 22:00:00.5 UTC.
        assert_eq!(Stamp::of_micros(1_795_384_800_500_000, 0).0 >> 32, 1_795_384_800 + 2_208_988_800);
        assert_eq!(Stamp::of_micros(1_795_384_800_500_000, 0).0 & 0xffff_ffff, 0x8000_0000);
        // The first second of era 1: 2036-02-07 06:28:16 UTC.
        assert_eq!(Stamp::of_micros(2_085_978_496_000_000, 0), Stamp(0));
        let late = Stamp::of_micros(999_999, u16::MAX);
        assert_eq!(late.0 >> 32, 2_208_988_800, "noise carries into no second");
    }

    #[test]
    fn the_clock_is_set_every_1024_seconds_and_decays_between() {
        let at = |second: i64| quality(Timestamp::from_micros((1_795_384_800 + second) * 1_000_000), b"secret");
        let references: Vec<u64> = (0..2100).map(|second| at(second).reference.0).collect();
        let mut updates = references.clone();
        updates.dedup();
        assert!((2..=4).contains(&updates.len()), "{}", updates.len());
        assert!((0..2100).all(|second| at(second).root_delay.abs_diff(at(0).root_delay) < 40));
        let worst = (0..2100).map(|second| at(second).root_dispersion).max();
        assert!(worst > Some(1000) && worst < Some(1100), "{worst:?}");
    }

    #[test]
    fn installations_are_set_at_other_moments() {
        let now = Timestamp::from_micros(1_795_384_800_000_000);
        assert_ne!(quality(now, b"one").reference, quality(now, b"two").reference);
    }
}
