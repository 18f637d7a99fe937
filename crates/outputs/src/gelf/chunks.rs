//! GELF over UDP: one datagram a message, or up to 128 chunks.
//!
//! ```text
//! 0     2             10       11      12
//! +-----+-------------+--------+-------+----------
//! | 1e 0f | message id | number | count | part ...
//! +-----+-------------+--------+-------+----------
//! ```

/// Bytes of a chunk before its part.
const HEADER: usize = 12;

/// Most chunks of a message; a receiver throws away messages with more.
const MOST: usize = 128;

/// Largest chunk that a receiver takes, with its header, bytes.
pub(super) const LARGEST: usize = 8192;

/// Splits a message into datagrams of at most `size` bytes; of more, up to [`LARGEST`], when there
/// would be too many of them. `None` when there are too many even so.
pub(super) fn split(message: Vec<u8>, id: [u8; 8], size: usize) -> Option<Vec<Vec<u8>>> {
    if message.len() <= size {
        return Some(vec![message]);
    }
    let least = message.len().div_ceil(MOST);
    let part = size.saturating_sub(HEADER).max(least).max(1);
    if part > LARGEST - HEADER {
        return None;
    }
    let parts = message.chunks(part);
    let count = u8::try_from(parts.len()).ok()?;
    let chunk = |(number, part): (u8, &[u8])| {
        let mut chunk = Vec::with_capacity(HEADER + part.len());
        chunk.extend_from_slice(&[0x1e, 0x0f]);
        chunk.extend_from_slice(&id);
        chunk.extend_from_slice(&[number, count]);
        chunk.extend_from_slice(part);
        chunk
    };
    Some((0..count).zip(parts).map(chunk).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: [u8; 8] = *b"messagei";

    #[test]
    fn leaves_a_message_that_fits_whole() {
        assert_eq!(split(vec![b'{'; 1420], ID, 1420), Some(vec![vec![b'{'; 1420]]));
    }

    #[test]
    fn numbers_the_chunks_of_one_that_does_not() {
        let message: Vec<u8> = (0..=u8::MAX).collect();
        let chunks = split(message.clone(), ID, 112).expect("three chunks");
        assert_eq!(chunks.iter().map(Vec::len).collect::<Vec<_>>(), [112, 112, 68]);
        for (number, chunk) in (0..).zip(&chunks) {
            assert_eq!(&chunk[..12], [&[0x1e, 0x0f], &ID[..], &[number, 3]].concat());
        }
        assert_eq!(chunks.iter().flat_map(|chunk| &chunk[12..]).copied().collect::<Vec<_>>(), message);
    }

    #[test]
    fn makes_chunks_larger_rather_than_too_many() {
        let chunks = split(vec![7; 1408 * 128 + 1], ID, 1420).expect("it fits");
        assert!(chunks.len() <= 128 && chunks.iter().all(|chunk| chunk.len() <= 1421), "{}", chunks.len());
        assert_eq!(split(vec![7; 8180 * 128], ID, 1420).map(|chunks| chunks.len()), Some(128));
        assert_eq!(split(vec![7; 8180 * 128 + 1], ID, 1420), None);
    }
}
