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
