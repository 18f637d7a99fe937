//! OP_COMPRESSED's three compressors, none of which gives more than was allowed.

use ruzstd::decoding::FrameDecoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

/// Bytes that a message may have when it is unpacked.
const LARGEST: usize = 256 * 1024;

/// One compressor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compressor {
    /// Number 1.
    Snappy,
    /// Number 2.
    Zlib,
    /// Number 3.
    Zstd,
}

impl Compressor {
    /// In the order of `net.compression.compressors`, as servers from 4.2 on have it by default.
    pub(super) const ALL: [Self; 3] = [Self::Snappy, Self::Zstd, Self::Zlib];

    /// The one of a number.
    pub(super) fn of_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.number() == number)
    }

    /// Its number.
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Snappy => 1,
            Self::Zlib => 2,
            Self::Zstd => 3,
        }
    }

    /// Its name in `hello`.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Snappy => "snappy",
            Self::Zlib => "zlib",
            Self::Zstd => "zstd",
        }
    }

    /// Unpacks what claims to become `length` bytes; `None` when it does not, or that is too much.
    pub(super) fn unpack(self, packed: &[u8], length: u32) -> Option<Vec<u8>> {
        let length = usize::try_from(length).ok().filter(|length| *length <= LARGEST)?;
        let unpacked = match self {
            Self::Snappy => {
                // The length stands in the packed bytes, too, and is what the decoder would believe.
                if snap::raw::decompress_len(packed).ok()? != length {
                    return None;
                }
                snap::raw::Decoder::new().decompress_vec(packed).ok()?
            }
            Self::Zlib => miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(packed, length).ok()?,
            Self::Zstd => {
                // Stops when the room is full; its own memory grows with what was really unpacked.
                let mut room = vec![0; length];
                let filled = FrameDecoder::new().decode_all(packed, &mut room).ok()?;
                room.truncate(filled);
                room
            }
        };
        (unpacked.len() == length).then_some(unpacked)
    }

    /// Packs bytes.
    pub(super) fn pack(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Snappy => snap::raw::Encoder::new().compress_vec(bytes).unwrap_or_default(),
            Self::Zlib => miniz_oxide::deflate::compress_to_vec_zlib(bytes, 6),
            Self::Zstd => compress_to_vec(bytes, CompressionLevel::Fastest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_what_was_packed_and_no_more_than_was_claimed() {
        let text = b"the same again and ".repeat(400);
        let length = u32::try_from(text.len()).unwrap();
        for one in Compressor::ALL {
            let packed = one.pack(&text);
            assert!(packed.len() < text.len(), "{one:?}");
            assert_eq!(one.unpack(&packed, length).as_deref(), Some(text.as_slice()), "{one:?}");
            for wrong in [0, length - 1, length + 1, u32::MAX] {
                assert_eq!(one.unpack(&packed, wrong), None, "{one:?} {wrong}");
            }
            for end in 0..packed.len() {
                assert_eq!(one.unpack(&packed[..end], length), None, "{one:?} {end}");
            }
        }
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let zeros = vec![0; LARGEST + 1];
        let length = u32::try_from(zeros.len()).unwrap();
        for one in Compressor::ALL {
            let packed = one.pack(&zeros);
            assert_eq!(one.unpack(&packed, length), None);
            assert_eq!(one.unpack(&packed, 1000), None);
        }
        // A snappy length of 4 GiB, and a zstd window of 64 MiB, with nothing behind them.
        assert_eq!(Compressor::Snappy.unpack(b"\xff\xff\xff\xff\x0f", 1000), None);
        assert_eq!(Compressor::Zstd.unpack(b"\x28\xb5\x2f\xfd\0\x80\0\0\0", 1000), None);
    }

    #[test]
    fn numbers_and_names_are_those_of_the_protocol() {
        let known: Vec<_> = (0..5).filter_map(Compressor::of_number).map(Compressor::name).collect();
        assert_eq!(known, ["snappy", "zlib", "zstd"]);
    }
}
