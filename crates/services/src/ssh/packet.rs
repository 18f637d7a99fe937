//! Binary packets: what stands around a payload, in the clear and under keys.
//!
//! `uint32 length, byte padding length, payload, padding, MAC` ([RFC 4253 section 6]). Limits, the
//! order of checks and the padding are OpenSSH's: zeros in the clear, random under keys.
//!
//! [RFC 4253 section 6]: https://www.rfc-editor.org/rfc/rfc4253#section-6

use super::cipher::{Cipher, CipherKind, TAG};
use super::entropy::Entropy;
use super::mac::Mac;

/// Greatest value of the length field that OpenSSH takes (`PACKET_MAX_SIZE`).
pub(crate) const LONGEST_PACKET: usize = 256 * 1024;

/// Bytes that a packet may take on the wire: the longest with its length field and the longest tag.
pub(crate) const LONGEST_ON_WIRE: usize = LONGEST_PACKET + 4 + 64;

/// Keys of one direction.
pub(crate) struct Keys {
    /// Which cipher.
    pub(crate) kind: CipherKind,
    /// The cipher.
    pub(crate) cipher: Cipher,
    /// The MAC, unless the cipher authenticates.
    pub(crate) mac: Option<Mac>,
}

impl Keys {
    fn tag_length(&self) -> usize {
        self.mac.as_ref().map_or(TAG, |mac| mac.kind().tag_length())
    }

    /// Whether the length field stands outside of what is encrypted and padded as a block.
    fn length_apart(&self) -> bool {
        self.mac.as_ref().is_none_or(|mac| mac.kind().after_encryption())
    }
}

/// What is wrong with a packet. OpenSSH ends the connection without a word, but for the padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The length field is below 5 or above [`LONGEST_PACKET`].
    Length(u32),
    /// The length is no multiple of the block size.
    Alignment(u32),
    /// The tag does not fit.
    Tag,
    /// Less than 4 bytes of padding: OpenSSH says `Corrupted padlen %d on input.`
    ShortPadding(u8),
    /// More padding than packet, or no message number.
    Empty,
}

/// What the bytes so far are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// More are needed.
    Incomplete,
    /// A packet.
    Packet {
        /// Message number and what follows; not empty.
        payload: Vec<u8>,
        /// Bytes of the input that it took.
        used: usize,
        /// Its sequence number.
        sequence: u32,
    },
}

/// Packets from the peer.
#[derive(Default)]
pub(crate) struct Inbound {
    keys: Option<Keys>,
    sequence: u32,
}

impl Inbound {
    /// New keys; with `reset` the sequence starts again (strict key exchange).
    pub(crate) fn set_keys(&mut self, keys: Keys, reset: bool) {
        self.keys = Some(keys);
        if reset {
            self.sequence = 0;
        }
    }

    /// Takes one packet from the start of the input.
    pub(crate) fn receive(&mut self, input: &[u8]) -> Result<Received, Fault> {
        let (block, apart, tag_length) = match &self.keys {
            None => (8, false, 0),
            Some(keys) => (keys.kind.block(), keys.length_apart(), keys.tag_length()),
        };
        let needed = if apart { 4 } else { block };
        let (true, Some(head)) = (input.len() >= needed, input.first_chunk::<4>()) else {
            return Ok(Received::Incomplete);
        };
        let clear = match &mut self.keys {
            Some(Keys { mac: Some(mac), .. }) if mac.kind().after_encryption() => *head,
            Some(keys) => keys.cipher.peek(self.sequence, *head),
            None => *head,
        };
        let claimed = u32::from_be_bytes(clear);
        let length = usize::try_from(claimed).unwrap_or(usize::MAX);
        if !(5..=LONGEST_PACKET).contains(&length) {
            return Err(Fault::Length(claimed));
        }
        let whole = length.saturating_add(4);
        if !(if apart { length } else { whole }).is_multiple_of(block) {
            return Err(Fault::Alignment(claimed));
        }
        let used = whole.saturating_add(tag_length);
        let Some((packet, tag)) = input.get(..used).and_then(|bytes| bytes.split_at_checked(whole)) else {
            return Ok(Received::Incomplete);
        };
        let mut packet = packet.to_vec();
        if let Some(keys) = &mut self.keys {
            open(keys, self.sequence, &mut packet, tag).ok_or(Fault::Tag)?;
        }
        let sequence = self.sequence;
        self.sequence = self.sequence.wrapping_add(1);
        let payload = payload_of(&packet)?;
        Ok(Received::Packet { payload, used, sequence })
    }
}

/// Checks the tag and deciphers; the length field may stay enciphered.
fn open(keys: &mut Keys, sequence: u32, packet: &mut [u8], tag: &[u8]) -> Option<()> {
    match &keys.mac {
        None => keys.cipher.open(sequence, packet, tag.try_into().ok()?),
        Some(mac) if mac.kind().after_encryption() => {
            mac.verifies(sequence, packet, tag).then_some(())?;
            keys.cipher.apply_stream(packet.get_mut(4..)?);
            Some(())
        }
        Some(mac) => {
            keys.cipher.apply_stream(packet);
            mac.verifies(sequence, packet, tag).then_some(())
        }
    }
}

fn payload_of(packet: &[u8]) -> Result<Vec<u8>, Fault> {
    let padding = *packet.get(4).ok_or(Fault::Empty)?;
    if padding < 4 {
        return Err(Fault::ShortPadding(padding));
    }
    let end = packet.len().checked_sub(usize::from(padding)).ok_or(Fault::Empty)?;
    match packet.get(5..end) {
        Some(payload) if !payload.is_empty() => Ok(payload.to_vec()),
        _ => Err(Fault::Empty),
    }
}

/// Packets to the peer.
#[derive(Default)]
pub(crate) struct Outbound {
    keys: Option<Keys>,
    sequence: u32,
}

impl Outbound {
    /// New keys; with `reset` the sequence starts again (strict key exchange).
    pub(crate) fn set_keys(&mut self, keys: Keys, reset: bool) {
        self.keys = Some(keys);
        if reset {
            self.sequence = 0;
        }
    }

    /// The packet of a payload; `None` when it is longer than a packet can be.
    pub(crate) fn seal(&mut self, payload: &[u8], entropy: &mut Entropy) -> Option<Vec<u8>> {
        let (block, apart) = match &self.keys {
            None => (8, false),
            Some(keys) => (keys.kind.block(), keys.length_apart()),
        };
        let inner = payload.len().checked_add(1)?;
        let covered = if apart { inner } else { inner.checked_add(4)? };
        let mut padding = block.checked_sub(covered.checked_rem(block)?)?;
        if padding < 4 {
            padding = padding.checked_add(block)?;
        }
        let length = u32::try_from(inner.checked_add(padding)?).ok()?;
        let mut packet = length.to_be_bytes().to_vec();
        packet.push(u8::try_from(padding).ok()?);
        packet.extend_from_slice(payload);
        let from = packet.len();
        packet.resize(from.checked_add(padding)?, 0);
        if let Some(keys) = &mut self.keys {
            entropy.fill(packet.get_mut(from..)?);
            let tag = match &keys.mac {
                None => keys.cipher.seal(self.sequence, &mut packet)?.to_vec(),
                Some(mac) if mac.kind().after_encryption() => {
                    keys.cipher.apply_stream(packet.get_mut(4..)?);
                    mac.tag(self.sequence, &packet)
                }
                Some(mac) => {
                    let tag = mac.tag(self.sequence, &packet);
                    keys.cipher.apply_stream(&mut packet);
                    tag
                }
            };
            packet.extend_from_slice(&tag);
        }
        self.sequence = self.sequence.wrapping_add(1);
        Some(packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::cipher::Way;
    use crate::ssh::mac::MacKind;

    const PAYLOAD: &[u8] = b"\x02\0\0\0\x15a payload for vectors";

    /// Keys of consecutive bytes.
    fn keys(cipher: &str, mac: Option<&str>, way: Way) -> Keys {
        let from = |first: u8, count: usize| (first..=255).take(count).collect::<Vec<u8>>();
        let kind = CipherKind::by_name(cipher).expect("a cipher");
        let mac = mac.map(|name| {
            let kind = MacKind::by_name(name).expect("a MAC");
            Mac::new(kind, &from(64, kind.key_length())).expect("a key")
        });
        let cipher = Cipher::new(kind, way, &from(0, kind.key_length()), &from(160, kind.iv_length()));
        Keys { kind, cipher: cipher.expect("a key"), mac }
    }

    fn inbound(cipher: &str, mac: Option<&str>) -> Inbound {
        Inbound { keys: Some(keys(cipher, mac, Way::Open)), sequence: 7 }
    }

    fn from_hex(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect()
    }

    /// Cipher, MAC and two packets of each line.
    fn vectors() -> impl Iterator<Item = (&'static str, Option<&'static str>, [Vec<u8>; 2])> {
        let lines = include_str!("fixtures/sealed-packets.txt").lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| {
            let [cipher, mac, first, second] = line.split(" | ").collect::<Vec<_>>()[..] else { panic!("{line}") };
            (cipher, (mac != "-").then_some(mac), [from_hex(first), from_hex(second)])
        })
    }

    #[test]
    fn opens_what_another_implementation_sealed() {
        let mut count = 0;
        for (cipher, mac, packets) in vectors() {
            let mut inbound = inbound(cipher, mac);
            for (packet, sequence) in packets.iter().zip(7..) {
                let expected = Received::Packet { payload: PAYLOAD.to_vec(), used: packet.len(), sequence };
                assert_eq!(inbound.receive(packet), Ok(expected), "{cipher} {mac:?}");
            }
            count += 1;
        }
        assert_eq!(count, 33);
    }

    #[test]
    fn every_prefix_of_a_packet_is_incomplete_and_changes_nothing() {
        for (cipher, mac, [packet, _]) in vectors() {
            let mut inbound = inbound(cipher, mac);
            for end in 0..packet.len() {
                assert_eq!(inbound.receive(&packet[..end]), Ok(Received::Incomplete), "{cipher} {mac:?} {end}");
            }
            assert!(matches!(inbound.receive(&packet), Ok(Received::Packet { .. })), "{cipher} {mac:?}");
        }
    }

    #[test]
    fn refuses_a_packet_with_any_byte_changed() {
        for (cipher, mac, [packet, _]) in vectors() {
            for at in 0..packet.len() {
                let mut changed = packet.clone();
                changed[at] ^= 0x10;
                let received = inbound(cipher, mac).receive(&changed);
                // A longer length leaves it incomplete.
                assert!(matches!(received, Err(_) | Ok(Received::Incomplete)), "{cipher} {mac:?} {at}");
            }
        }
    }

    #[test]
    fn opens_what_it_sealed_itself() {
        let mut entropy = Entropy::new([1; 32]);
        for (cipher, mac, _) in vectors() {
            let mut outbound = Outbound { keys: Some(keys(cipher, mac, Way::Seal)), sequence: 7 };
            let mut inbound = inbound(cipher, mac);
            for length in 1..70 {
                let payload = vec![9; length];
                let packet = outbound.seal(&payload, &mut entropy).expect("a short payload");
                let Ok(Received::Packet { payload: opened, used, .. }) = inbound.receive(&packet) else {
                    panic!("{cipher} {mac:?} {length}");
                };
                assert_eq!((opened, used), (payload, packet.len()));
            }
        }
    }

    #[test]
    fn refuses_impossible_lengths_in_the_clear() {
        for (packet, fault) in [
            (&b"\x7f\xff\xff\xffAAAA"[..], Fault::Length(0x7fff_ffff)),
            (b"\0\0\0\x04AAAA", Fault::Length(4)),
            (b"\0\x04\0\x01AAAA", Fault::Length(0x4_0001)),
            (b"\0\0\0\x0dAAAA", Fault::Alignment(13)),
            (b"\0\0\0\x0c\x03AAAAAAAAAAA", Fault::ShortPadding(3)),
            (b"\0\0\0\x0c\x0bAAAAAAAAAAA", Fault::Empty),
            (b"\0\0\0\x0c\xffAAAAAAAAAAA", Fault::Empty),
        ] {
            assert_eq!(Inbound::default().receive(packet), Err(fault), "{}", packet.escape_ascii());
        }
        assert_eq!(Inbound::default().receive(b"\0\x04\0\0AAAA"), Err(Fault::Alignment(0x4_0000)));
    }

    #[test]
    fn pads_with_zeros_in_the_clear_and_counts() {
        let mut outbound = Outbound::default();
        let packet = outbound.seal(b"\x15", &mut Entropy::new([0; 32])).expect("a short payload");
        assert_eq!(packet, b"\0\0\0\x0c\x0a\x15\0\0\0\0\0\0\0\0\0\0");
        assert_eq!(outbound.sequence, 1);
    }
}
