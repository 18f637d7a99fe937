//! RDP's own encryption as FIPS 140-1 has it ([MS-RDPBCGR] 5.3.5.2 and 5.3.6.2): Triple DES in CBC mode
//! that goes on from packet to packet, and HMAC-SHA-1.
//!
//! ```text
//! header   flags (2), flags (2), size 16 (2), version 1 (1), bytes of padding (1), signature (8)
//! ```
//!
//! [MS-RDPBCGR]: https://learn.microsoft.com/openspecs/windows_protocols/ms-rdpbcgr/

use cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};
use des::TdesEde3;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::{Digest as _, Sha1};

use super::little::Little;

/// Where CBC begins, in both directions.
const BEGIN: [u8; 8] = [0x12, 0x34, 0x56, 0x78, 0x90, 0xab, 0xcd, 0xef];

/// The ciphers of one connection.
pub(super) struct Fips {
    signing: [u8; 20],
    from_client: cbc::Decryptor<TdesEde3>,
    to_client: cbc::Encryptor<TdesEde3>,
    received: u32,
    sent: u32,
}

impl Fips {
    /// Derives the keys.
    pub(super) fn new(client: &[u8; 32], server: &[u8; 32]) -> Option<Self> {
        let half = |at: usize| -> Option<[u8; 20]> {
            let (client, server) = (client.get(at..)?.get(..16)?, server.get(at..)?.get(..16)?);
            Some(Sha1::new().chain_update(client).chain_update(server).finalize().into())
        };
        let (theirs, ours) = (half(16)?, half(0)?);
        Some(Self {
            signing: Sha1::new().chain_update(ours).chain_update(theirs).finalize().into(),
            from_client: cbc::Decryptor::new_from_slices(&triple(&theirs), &BEGIN).ok()?,
            to_client: cbc::Encryptor::new_from_slices(&triple(&ours), &BEGIN).ok()?,
            received: 0,
            sent: 0,
        })
    }

    /// Decrypts what follows the flags, and says whether the signature is right.
    pub(super) fn open(&mut self, packet: &[u8]) -> Option<(Vec<u8>, bool)> {
        let mut rest = Little(packet);
        rest.take(3)?;
        let padding = usize::from(rest.u8()?);
        let signature = rest.take(8)?;
        let mut plain = rest.0.to_vec();
        for block in plain.chunks_exact_mut(8) {
            self.from_client.decrypt_block(block.try_into().ok()?);
        }
        plain.truncate(plain.len().checked_sub(padding)?);
        let right = self.signature(&plain, self.received) == signature;
        self.received = self.received.saturating_add(1);
        Some((plain, right))
    }

    /// Encrypts, with the header in front.
    pub(super) fn seal(&mut self, flags: u16, plain: &[u8]) -> Vec<u8> {
        let mut padded = plain.to_vec();
        padded.resize(plain.len().next_multiple_of(8), 0);
        let padding = padded.len().saturating_sub(plain.len());
        let mut out = flags.to_le_bytes().to_vec();
        out.extend_from_slice(&[0, 0, 16, 0, 1, u8::try_from(padding).unwrap_or(0)]);
        out.extend_from_slice(&self.signature(plain, self.sent));
        self.sent = self.sent.saturating_add(1);
        for block in padded.chunks_exact_mut(8) {
            if let Ok(block) = block.try_into() {
                self.to_client.encrypt_block(block);
            }
        }
        out.extend_from_slice(&padded);
        out
    }

    fn signature(&self, plain: &[u8], count: u32) -> [u8; 8] {
        let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(&self.signing) else { return [0; 8] };
        mac.update(plain);
        mac.update(&count.to_le_bytes());
        mac.finalize().into_bytes().first_chunk().copied().unwrap_or_default()
    }
}

/// Three keys of DES out of 160 bits and the first eight of them again: seven bits a byte, lowest
/// first. The lowest then makes the number of ones odd, so that DES sees six of the seven; clients do
/// it that way.
fn triple(half: &[u8; 20]) -> [u8; 24] {
    let mut bits = half.iter().chain(half.first()).flat_map(|byte| (0..8).map(move |bit| (byte >> bit) & 1));
    let mut key = [0; 24];
    for byte in &mut key {
        for place in 0..7 {
            *byte |= bits.next().unwrap_or(0) << place;
        }
        *byte &= 0xfe;
        if byte.count_ones() % 2 == 0 {
            *byte |= 1;
        }
    }
    key
}

#[cfg(test)]
impl Fips {
    /// The other end, for tests.
    pub(super) fn mirrored(client: &[u8; 32], server: &[u8; 32]) -> Self {
        let mut end = Self::new(client, server).unwrap();
        let swap = |random: &[u8; 32]| -> [u8; 32] { [&random[16..], &random[..16]].concat().try_into().unwrap() };
        let other = Self::new(&swap(client), &swap(server)).unwrap();
        (end.from_client, end.to_client) = (other.from_client, other.to_client);
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_spread_over_bytes_of_odd_parity() {
        assert_eq!(triple(&[0xff; 20]), [0x7f; 24]);
        assert_eq!(triple(&[0; 20]), [1; 24]);
        let mut one = [0; 20];
        one[0] = 0x82;
        let key = triple(&one);
        // Bit 1 in the first byte, bit 7 in the second; both again at the end.
        assert_eq!((key[0], key[1], key[2]), (0x02, 0x01, 0x01));
        assert_eq!((key[22], key[23]), (0x01, 0x40));
    }

    #[test]
    fn both_ends_understand_each_other_packet_after_packet() {
        let mut server = Fips::new(&[1; 32], &[2; 32]).unwrap();
        let mut client = Fips::mirrored(&[1; 32], &[2; 32]);
        for text in [&b"who I am"[..], b"and what I know", b""] {
            let sealed = client.seal(0x48, text);
            assert_eq!(sealed[..7], [0x48, 0, 0, 0, 16, 0, 1]);
            assert_eq!(server.open(&sealed[4..]), Some((text.to_vec(), true)));
            let back = server.seal(8, text);
            assert_eq!(client.open(&back[4..]), Some((text.to_vec(), true)));
        }
        let mut broken = client.seal(0x48, b"who I am");
        broken[8] ^= 1;
        assert_eq!(server.open(&broken[4..]), Some((b"who I am".to_vec(), false)));
        assert_eq!(server.open(b"\x10\0\x01\x09signatur12345678"), None, "more padding than packet");
        assert_eq!(server.open(b"\x10\0\x01"), None);
    }
}
