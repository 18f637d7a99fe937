//! Diffie-Hellman over the integers: fixed groups and group exchange.

use num_bigint::BigUint;

use super::Agreement;
use super::groups::{self, Group};
use crate::ssh::codec::{Reader, Writer, message};
use crate::ssh::entropy::Entropy;

/// Least and greatest bits of a group that OpenSSH serves (`DH_GRP_MIN`, `DH_GRP_MAX`).
const BITS: (u32, u32) = (2048, 8192);

/// Bytes of our exponent: twice the 256 bits of the strongest cipher.
const EXPONENT: usize = 64;

/// Longest `mpint` that OpenSSH reads, in bytes (`SSHBUF_MAX_BIGNUM`).
const LONGEST_NUMBER: usize = 16384 / 8;

/// What a client asks of a group exchange, as it asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupRequest {
    min: u32,
    wanted: u32,
    max: u32,
}

impl GroupRequest {
    /// `byte 34, uint32 min, uint32 n, uint32 max`; `None` when cut short or out of range.
    pub(crate) fn parse(payload: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(payload);
        reader.u8()?;
        let request = Self { min: reader.u32()?, wanted: reader.u32()?, max: reader.u32()? };
        reader.end()?;
        let Self { min, wanted, max } = request;
        (min <= wanted && wanted <= max && max >= BITS.0).then_some(request)
    }

    /// The smallest group that has the wanted size, else the largest within the bounds; where none is
    /// within the bounds, the one that OpenSSH falls back to.
    ///
    /// LIMIT: the groups of RFC 3526. A real server draws one from `/etc/ssh/moduli`; one without
    /// that file has these.
    pub(super) fn group(&self) -> &'static Group {
        let (min, max) = (self.min.max(BITS.0), self.max.min(BITS.1));
        let wanted = self.wanted.clamp(BITS.0, BITS.1);
        let mut within = groups::ALL.iter().filter(|group| (min..=max).contains(&group.bits));
        let best = within.clone().find(|group| group.bits >= wanted).or_else(|| within.next_back());
        best.copied().unwrap_or(match max {
            ..3072 => &groups::GROUP_14,
            3072..6144 => &groups::GROUP_16,
            _ => &groups::GROUP_18,
        })
    }

    /// `byte 31, mpint p, mpint g`
    pub(crate) fn reply(&self) -> Vec<u8> {
        let group = self.group();
        Writer::message(message::KEX_REPLY).mpint(&group.prime().to_bytes_be()).mpint(&[groups::GENERATOR]).done()
    }

    /// What stands in the exchange hash between host key and shares.
    pub(super) fn hashed(&self) -> Vec<u8> {
        let prime = self.group().prime().to_bytes_be();
        Writer::new().u32(self.min).u32(self.wanted).u32(self.max).mpint(&prime).mpint(&[groups::GENERATOR]).done()
    }
}

/// Agrees on a secret in a group; refuses what OpenSSH's `dh_pub_is_valid` refuses: a share below 2 or
/// above `p - 2`, or with less than four bits set.
pub(super) fn agree(group: &Group, client: &[u8], entropy: &mut Entropy) -> Option<Agreement> {
    let negative = client.first().is_some_and(|byte| *byte >= 0x80);
    if negative || client.len() > LONGEST_NUMBER {
        return None;
    }
    let prime = group.prime();
    let theirs = BigUint::from_bytes_be(client);
    // A prime is odd, so this reaches it from one below.
    let mut next_odd = theirs.clone();
    next_odd.set_bit(0, true);
    if next_odd >= prime || theirs.count_ones() < 4 {
        return None;
    }
    let exponent = BigUint::from_bytes_be(&entropy.array::<EXPONENT>());
    let ours = BigUint::from(groups::GENERATOR).modpow(&exponent, &prime);
    let secret = theirs.modpow(&exponent, &prime);
    Some(Agreement {
        client_share: Writer::new().mpint(&theirs.to_bytes_be()).done(),
        server_share: Writer::new().mpint(&ours.to_bytes_be()).done(),
        secret: Writer::new().mpint(&secret.to_bytes_be()).done(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(min: u32, wanted: u32, max: u32) -> Option<GroupRequest> {
        GroupRequest::parse(&Writer::message(message::GEX_REQUEST).u32(min).u32(wanted).u32(max).done())
    }

    #[test]
    fn serves_the_smallest_group_that_is_large_enough() {
        for ((min, wanted, max), bits) in [
            ((1024, 1024, 8192), 2048),
            ((2048, 2049, 8192), 3072),
            ((2048, 8192, 8192), 8192),
            ((2048, 7680, 16384), 8192),
            ((2048, 8000, 8096), 6144),
            ((2049, 2060, 2061), 2048),
            ((4097, 5000, 6000), 4096),
        ] {
            let group = request(min, wanted, max).map(|request| request.group().bits);
            assert_eq!(group, Some(bits), "{min} {wanted} {max}");
        }
    }

    #[test]
    fn refuses_bounds_that_contradict_themselves() {
        for (min, wanted, max) in [(4096, 2048, 8192), (1024, 1024, 1024), (2048, 8192, 4096)] {
            assert_eq!(request(min, wanted, max), None);
        }
        assert_eq!(GroupRequest::parse(b"\x22\0\0\x08\0"), None);
    }

    #[test]
    fn refuses_shares_without_a_secret() {
        let prime = groups::GROUP_14.prime();
        let mut entropy = Entropy::new([3; 32]);
        let one = BigUint::from(1_u8);
        for share in [BigUint::ZERO, one.clone(), &prime - &one, prime.clone(), BigUint::from(2_u8)] {
            let mut bytes = vec![0];
            bytes.extend(share.to_bytes_be());
            assert!(agree(&groups::GROUP_14, &bytes, &mut entropy).is_none(), "{share}");
        }
        assert!(agree(&groups::GROUP_14, &[0x80; 4], &mut entropy).is_none(), "a negative number");
        assert!(agree(&groups::GROUP_14, &[1, 2, 3, 4, 5], &mut entropy).is_some());
    }
}
