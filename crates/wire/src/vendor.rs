//! Vendors of network interfaces, by MAC address: the listing of blocks that the IEEE's Registration Authority
//! publishes (MA-L, MA-M and MA-S), as of 26 August 2026.
//!
//! The IEEE claims no rights in the listing. `cargo xtask oui FILE…` makes `vendor/ieee.bin` of its files. Nothing
//! of the table is copied into memory to be searched:
//! ```text
//! counts of large, medium and small blocks, of bytes of fragments, of names (4 bytes each, big-endian)
//! blocks, in order: prefix (3, 4 or 5 bytes; 24, 28 or 36 bits, then zeros), number of the name (2)
//! fragments, for the bytes 0x01 to 0x1f and 0x7f to 0xff of a name in turn: place from the first one's text on
//! and length of each (2, 1), then their texts
//! of each 16th name: its place from the first name on (4)
//! names: length (1); ASCII, bytes that stand for fragments, and 0x00 before a byte that stands for itself
//! ```

/// The table.
const TABLE: Table<'static> = Table(include_bytes!("vendor/ieee.bin"));

/// Bytes of the counts before the blocks.
const HEAD: usize = 20;
/// Fragments of a table.
pub const FRAGMENTS: usize = 160;
/// Bytes of a fragment's place and length.
const FRAGMENT: usize = 3;
/// Names to a place.
pub const STRIDE: usize = 16;
/// Bit of the first byte: not the IEEE's to give away, so that it tells of no vendor.
const LOCAL: u8 = 2;
/// Lengths of prefixes and last nibble's mask: of 36 bits, of 28, of 24.
const SMALL: (usize, u8) = (5, 0xf0);
const MEDIUM: (usize, u8) = (4, 0xf0);
const LARGE: (usize, u8) = (3, 0xff);

/// Whose block of the IEEE's an address is in; `None` for one that was made up by its host, as telephones do.
#[must_use]
pub fn of(mac: [u8; 6]) -> Option<String> {
    TABLE.of(mac)
}

/// A table in the form that this module describes. What is no such table knows no vendor.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a>(pub &'a [u8]);

/// Where the parts of a table begin.
struct Parts<'a> {
    large: &'a [u8],
    medium: &'a [u8],
    small: &'a [u8],
    fragments: &'a [u8],
    names: &'a [u8],
    count: usize,
}

impl<'a> Table<'a> {
    /// Whose block an address is in.
    #[must_use]
    pub fn of(self, mac: [u8; 6]) -> Option<String> {
        if mac[0] & LOCAL != 0 {
            return None;
        }
        let parts = self.parts()?;
        let blocks = [(parts.small, SMALL), (parts.medium, MEDIUM), (parts.large, LARGE)];
        let number = blocks.into_iter().find_map(|(blocks, form)| find(blocks, form, mac))?;
        let name = parts.name(number)?;
        parts.expand(name)
    }

    fn parts(self) -> Option<Parts<'a>> {
        let (head, rest) = self.0.split_at_checked(HEAD)?;
        let (counts, _) = head.as_chunks::<4>();
        let [large, medium, small, fragments, names] =
            <[[u8; 4]; 5]>::try_from(counts).ok()?.map(|count| usize::try_from(u32::from_be_bytes(count)).unwrap_or(0));
        let (large, rest) = rest.split_at_checked(large.checked_mul(LARGE.0.checked_add(2)?)?)?;
        let (medium, rest) = rest.split_at_checked(medium.checked_mul(MEDIUM.0.checked_add(2)?)?)?;
        let (small, rest) = rest.split_at_checked(small.checked_mul(SMALL.0.checked_add(2)?)?)?;
        let (fragments, rest) = rest.split_at_checked(fragments)?;
        Some(Parts { large, medium, small, fragments, names: rest, count: names })
    }
}

/// The number of the name of the block that an address is in.
fn find(blocks: &[u8], (length, last): (usize, u8), mac: [u8; 6]) -> Option<usize> {
    let mut prefix = mac;
    *prefix.get_mut(length.checked_sub(1)?)? &= last;
    let wanted = prefix.get(..length)?;
    let size = length.checked_add(2)?;
    let (mut low, mut high) = (0, blocks.len().checked_div(size)?);
    while low < high {
        let middle = low.midpoint(high);
        let start = middle.checked_mul(size)?;
        let block = blocks.get(start..start.checked_add(size)?)?;
        let (prefix, number) = block.split_at_checked(length)?;
        match prefix.cmp(wanted) {
            std::cmp::Ordering::Less => low = middle.checked_add(1)?,
            std::cmp::Ordering::Greater => high = middle,
            std::cmp::Ordering::Equal => return Some(usize::from(u16::from_be_bytes(*number.first_chunk()?))),
        }
    }
    None
}

/// What stands behind a text with its length.
fn skip(bytes: &[u8]) -> Option<&[u8]> {
    bytes.get(usize::from(*bytes.first()?).checked_add(1)?..)
}

/// The text with its length that stands there.
fn text(bytes: &[u8]) -> Option<&[u8]> {
    bytes.get(1..usize::from(*bytes.first()?).checked_add(1)?)
}

impl Parts<'_> {
    fn name(&self, number: usize) -> Option<&[u8]> {
        let places = self.count.div_ceil(STRIDE).checked_mul(4)?;
        let (places, names) = self.names.split_at_checked(places)?;
        let at = number.checked_div(STRIDE)?.checked_mul(4)?;
        let place = u32::from_be_bytes(*places.get(at..)?.first_chunk()?);
        let mut rest = names.get(usize::try_from(place).ok()?..)?;
        for _ in 0..number.checked_rem(STRIDE)? {
            rest = skip(rest)?;
        }
        text(rest)
    }

    fn fragment(&self, byte: u8) -> Option<&[u8]> {
        let number = match byte {
            0x01..=0x1f => byte.checked_sub(1)?,
            0x7f.. => byte.checked_sub(0x7f)?.checked_add(0x1f)?,
            _ => return None,
        };
        let (places, texts) = self.fragments.split_at_checked(FRAGMENTS.checked_mul(FRAGMENT)?)?;
        let [high, low, length] =
            *places.get(usize::from(number).checked_mul(FRAGMENT)?..)?.first_chunk::<FRAGMENT>()?;
        let start = usize::from(u16::from_be_bytes([high, low]));
        texts.get(start..start.checked_add(usize::from(length))?)
    }

    fn expand(&self, name: &[u8]) -> Option<String> {
        let mut bytes = Vec::with_capacity(64);
        let mut rest = name.iter();
        while let Some(byte) = rest.next() {
            match byte {
                0 => bytes.push(*rest.next()?),
                0x20..=0x7e => bytes.push(*byte),
                _ => bytes.extend_from_slice(self.fragment(*byte)?),
            }
        }
        String::from_utf8(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vendor(mac: &str) -> Option<String> {
        let bytes: Vec<u8> = mac.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        of(bytes.try_into().unwrap())
    }

    #[test]
    fn well_known_blocks_have_their_vendors() {
        for (mac, expected) in [
            ("b8:27:eb:00:00:01", "Raspberry Pi Foundation"),
            ("d8:3a:dd:00:00:01", "Raspberry Pi Trading Ltd"),
            ("00:03:93:00:00:01", "Apple, Inc."),
            ("00:50:56:12:34:56", "VMware, Inc."),
            ("00:00:0c:07:ac:01", "Cisco Systems, Inc"),
            ("00:15:5d:00:00:00", "Microsoft Corporation"),
            ("08:00:27:ff:ff:ff", "PCS Systemtechnik GmbH"),
            ("00:1a:11:00:00:00", "Google, Inc."),
            ("00:00:00:00:00:01", "XEROX CORPORATION"),
        ] {
            assert_eq!(vendor(mac).as_deref(), Some(expected), "{mac}");
        }
    }

    #[test]
    fn made_up_and_unknown_addresses_have_none() {
        for mac in ["02:00:00:00:00:66", "52:54:00:12:34:56", "ff:ff:ff:ff:ff:ff", "fc:ff:ff:ff:ff:ff"] {
            assert_eq!(vendor(mac), None, "{mac}");
        }
    }

    #[test]
    fn the_table_is_sorted_and_every_block_has_a_name() {
        let parts = TABLE.parts().unwrap();
        let mut blocks = 0;
        for (part, (length, last)) in [(parts.large, LARGE), (parts.medium, MEDIUM), (parts.small, SMALL)] {
            let prefixes: Vec<&[u8]> = part.chunks(length + 2).map(|block| &block[..length]).collect();
            assert!(prefixes.is_sorted_by(|a, b| a < b));
            assert!(prefixes.iter().all(|prefix| prefix[0] & LOCAL == 0 && prefix[length - 1] & !last == 0));
            for block in part.chunks(length + 2) {
                let mut mac = [0; 6];
                mac[..length].copy_from_slice(&block[..length]);
                let number = usize::from(u16::from_be_bytes([block[length], block[length + 1]]));
                assert!(number < parts.count);
                let name = parts.expand(parts.name(number).unwrap()).unwrap();
                assert!(!name.trim().is_empty() && find(part, (length, last), mac) == Some(number), "{mac:x?}");
            }
            blocks += prefixes.len();
        }
        assert!(blocks > 50_000, "{blocks}");
        assert!(TABLE.0.len() <= 700 * 1024, "{}", TABLE.0.len());
    }

    #[test]
    fn smaller_blocks_stand_before_the_large_one_they_lie_in() {
        let parts = TABLE.parts().unwrap();
        let (mut mac, block) = ([0; 6], parts.small.chunks(7).next().unwrap());
        mac[..5].copy_from_slice(&block[..5]);
        let number = find(parts.small, SMALL, mac).unwrap();
        mac[4] |= 0x0f;
        mac[5] = 0xff;
        assert_eq!(of(mac), parts.expand(parts.name(number).unwrap()), "the last address of the block");
    }

    #[test]
    fn a_table_that_is_cut_knows_nobody_or_the_truth() {
        let whole = of([0xb8, 0x27, 0xeb, 0, 0, 1]);
        for end in (0..TABLE.0.len()).step_by(997) {
            let found = Table(&TABLE.0[..end]).of([0xb8, 0x27, 0xeb, 0, 0, 1]);
            assert!(found.is_none() || found == whole, "{end}");
        }
        assert_eq!(Table(&[0xff; 64]).of([0; 6]), None);
    }
}
