//! One gzip member (RFC 1952): no name, no time, made on Unix.

/// Compresses as Apache's `mod_deflate` does.
#[must_use]
pub fn gzip(body: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    out.extend_from_slice(&miniz_oxide::deflate::compress_to_vec(body, 6));
    out.extend_from_slice(&crc32(body).to_le_bytes());
    // The format counts the length modulo 2^32; nothing here is that long.
    out.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
    out
}

/// CRC-32 (IEEE 802.3, reflected).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compresses_to_what_gunzip_reads() {
        let body = b"one two one two one two ".repeat(40);
        let packed = gzip(&body);
        assert_eq!(miniz_oxide::inflate::decompress_to_vec(&packed[10..packed.len() - 8]).unwrap(), body);
        assert!(packed.len() < 80);
    }

    #[test]
    fn ends_with_the_checksum_and_the_length() {
        let packed = gzip(b"123456789");
        // 0xcbf43926 is the check value of this CRC.
        assert!(packed.ends_with(&[0x26, 0x39, 0xf4, 0xcb, 9, 0, 0, 0]), "{packed:?}");
    }
}
