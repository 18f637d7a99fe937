//! The options of a TCP header.

/// Numbers of TCP's options, as IANA lists them.
pub(crate) const END: u8 = 0;
pub(crate) const PADDING: u8 = 1;
pub(crate) const SEGMENT_SIZE: u8 = 2;
pub(crate) const WINDOW_SCALE: u8 = 3;
pub(crate) const SACK_PERMITTED: u8 = 4;
pub(crate) const SACK: u8 = 5;
pub(crate) const TIMESTAMPS: u8 = 8;

/// One option: its number and what stands behind number and length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TcpOption<'a> {
    pub(crate) kind: u8,
    pub(crate) data: &'a [u8],
}

/// Walks over options. An option whose length is impossible is the last, with no data.
#[derive(Clone, Debug)]
pub(crate) struct Options<'a> {
    rest: &'a [u8],
    /// Whether an option had an impossible length.
    pub(crate) broken: bool,
}

impl<'a> Options<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, broken: false }
    }

    /// What was not walked over yet.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = TcpOption<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (&kind, rest) = self.rest.split_first()?;
        if kind == END || kind == PADDING {
            self.rest = rest;
            return Some(TcpOption { kind, data: &[] });
        }
        // The length counts number and length, too.
        let data = rest.first().and_then(|length| rest.get(1..usize::from(*length).checked_sub(1)?));
        self.rest = match data {
            Some(data) => rest.get(data.len().saturating_add(1)..).unwrap_or_default(),
            None => &[],
        };
        self.broken |= data.is_none();
        Some(TcpOption { kind, data: data.unwrap_or_default() })
    }
}

/// The sender's timestamp and the one that it repeats.
pub(crate) fn timestamps(option: TcpOption<'_>) -> Option<(u32, u32)> {
    let (mine, rest) = option.data.split_first_chunk::<4>()?;
    let (theirs, _) = rest.split_first_chunk::<4>()?;
    (option.kind == TIMESTAMPS).then(|| (u32::from_be_bytes(*mine), u32::from_be_bytes(*theirs)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(bytes: &[u8]) -> (Vec<u8>, bool) {
        let mut options = Options::new(bytes);
        let kinds = options.by_ref().map(|option| option.kind).collect();
        (kinds, options.broken)
    }

    #[test]
    fn walks_over_options() {
        let linux = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 7, 0, 0, 0, 0, 1, 3, 3, 10];
        assert_eq!(kinds(&linux), (vec![2, 4, 8, 1, 3], false));
        assert_eq!(Options::new(&linux).find_map(timestamps), Some((7, 0)));
        assert_eq!(kinds(&[]), (vec![], false));
        assert_eq!(kinds(&[1, 0, 0]), (vec![1, 0, 0], false));
    }

    #[test]
    fn impossible_lengths_end_it() {
        for bytes in [&[2][..], &[2, 0], &[2, 1, 1, 1], &[2, 5, 1, 1], &[1, 2, 255]] {
            assert!(kinds(bytes).1, "{bytes:?}");
        }
        assert_eq!(kinds(&[2, 0, 1, 1]).0, [2]);
    }
}
