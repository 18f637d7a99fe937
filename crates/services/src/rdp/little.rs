//! A cursor over little-endian fields, as the structures of [MS-RDPBCGR] have them.
//!
//! [MS-RDPBCGR]: https://learn.microsoft.com/openspecs/windows_protocols/ms-rdpbcgr/

/// What is left to read. Every read gives `None` when the bytes end before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Little<'a>(pub(super) &'a [u8]);

impl<'a> Little<'a> {
    /// The next bytes.
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// A length of two bytes, as a size.
    pub(super) fn length(&mut self) -> Option<usize> {
        self.u16().map(usize::from)
    }
}
