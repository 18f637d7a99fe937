//! BER and DER ([X.690]): tags, lengths, integers. What SNMP, SPNEGO, CredSSP and MCS share.
//!
//! The reader takes BER with definite lengths, as the peers' products do; the writer makes DER.
//!
//! [X.690]: https://www.itu.int/rec/T-REC-X.690

/// BOOLEAN.
pub const BOOLEAN: u8 = 0x01;
/// INTEGER.
pub const INTEGER: u8 = 0x02;
/// OCTET STRING.
pub const OCTET_STRING: u8 = 0x04;
/// NULL.
pub const NULL: u8 = 0x05;
/// OBJECT IDENTIFIER.
pub const OBJECT_IDENTIFIER: u8 = 0x06;
/// ENUMERATED.
pub const ENUMERATED: u8 = 0x0a;
/// SEQUENCE, constructed.
pub const SEQUENCE: u8 = 0x30;

/// Most sub-identifiers of an object identifier (RFC 3416, section 4.1).
const MOST_ARCS: usize = 128;

/// Why bytes are no BER.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BerError {
    /// They end inside an element. More bytes may help.
    #[error("the element is longer than what is there")]
    Truncated,
    /// The length is indefinite, or has more than four octets.
    #[error("the length has a form that is not taken")]
    Length,
    /// Another tag than was asked for.
    #[error("tag {found:#04x} where {expected:#04x} was expected")]
    Tag {
        /// The tag that is there.
        found: u8,
        /// The tag that was asked for.
        expected: u8,
    },
    /// The content does not fit its type.
    #[error("the content does not fit its type")]
    Content,
}

/// Reads elements one after the other. Copy it to look ahead.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader over the content of an element, or over a whole message.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What was not read yet.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything was read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The tag of the next element. Tags of more than one octet are given by their first.
    #[must_use]
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// The next element, whatever it is: tag and content. An element is one tag octet (a tag number
    /// above 30 goes on in octets with the high bit set), a length and as many octets.
    ///
    /// # Errors
    /// When it does not end here, or its length has a form that is not taken.
    pub fn element(&mut self) -> Result<(u8, &'a [u8]), BerError> {
        let (&tag, mut rest) = self.rest.split_first().ok_or(BerError::Truncated)?;
        if tag & 0x1f == 0x1f {
            loop {
                let (&octet, after) = rest.split_first().ok_or(BerError::Truncated)?;
                rest = after;
                if octet & 0x80 == 0 {
                    break;
                }
            }
        }
        let (&first, mut rest) = rest.split_first().ok_or(BerError::Truncated)?;
        let length = match first {
            0..=0x7f => usize::from(first),
            0x81..=0x84 => {
                let (octets, after) = rest.split_at_checked(usize::from(first & 0x7f)).ok_or(BerError::Truncated)?;
                rest = after;
                let length = octets.iter().fold(0_u32, |sum, octet| (sum << 8) | u32::from(*octet));
                usize::try_from(length).map_err(|_| BerError::Length)?
            }
            _ => return Err(BerError::Length),
        };
        let (content, rest) = rest.split_at_checked(length).ok_or(BerError::Truncated)?;
        self.rest = rest;
        Ok((tag, content))
    }

    /// The content of the next element, which must have this tag. Nothing is read when it has not.
    ///
    /// # Errors
    /// As [`Reader::element`], and for another tag.
    pub fn expect(&mut self, tag: u8) -> Result<&'a [u8], BerError> {
        let mut ahead = *self;
        let (found, content) = ahead.element()?;
        if found != tag {
            return Err(BerError::Tag { found, expected: tag });
        }
        *self = ahead;
        Ok(content)
    }

    /// A reader over the content of the next element, which must have this tag.
    ///
    /// # Errors
    /// As [`Reader::expect`].
    pub fn nested(&mut self, tag: u8) -> Result<Self, BerError> {
        self.expect(tag).map(Self::new)
    }

    /// The content of the next element if it has this tag, as OPTIONAL fields need it.
    ///
    /// # Errors
    /// As [`Reader::element`].
    pub fn optional(&mut self, tag: u8) -> Result<Option<&'a [u8]>, BerError> {
        if self.peek() == Some(tag) { self.expect(tag).map(Some) } else { Ok(None) }
    }

    /// The next INTEGER, of at most eight octets.
    ///
    /// # Errors
    /// As [`Reader::expect`], and when it does not fit.
    pub fn integer(&mut self) -> Result<i64, BerError> {
        integer(self.expect(INTEGER)?)
    }
}

/// A whole number out of an element's content: two's complement, one to eight octets.
///
/// # Errors
/// When there are none or more than eight.
pub fn integer(content: &[u8]) -> Result<i64, BerError> {
    let first = *content.first().ok_or(BerError::Content)?;
    if content.len() > 8 {
        return Err(BerError::Content);
    }
    let start = if first & 0x80 == 0 { 0 } else { -1 };
    Ok(content.iter().fold(start, |sum: i64, octet| (sum << 8) | i64::from(*octet)))
}

/// An object identifier out of an element's content, as numbers. The first octets hold two arcs.
///
/// # Errors
/// When an arc does not end, does not fit 32 bits, or there are more than 128.
pub fn object_identifier(content: &[u8]) -> Result<Vec<u32>, BerError> {
    let mut arcs = Vec::new();
    let mut arc = 0_u32;
    let mut open = false;
    for octet in content {
        if arc >> 25 != 0 {
            return Err(BerError::Content);
        }
        arc = (arc << 7) | u32::from(octet & 0x7f);
        open = octet & 0x80 != 0;
        if open {
            continue;
        }
        if arcs.is_empty() {
            let first = (arc / 40).min(2);
            arcs.push(first);
            arcs.push(arc.saturating_sub(first.saturating_mul(40)));
        } else {
            arcs.push(arc);
        }
        if arcs.len() > MOST_ARCS {
            return Err(BerError::Content);
        }
        arc = 0;
    }
    if open || content.is_empty() { Err(BerError::Content) } else { Ok(arcs) }
}

/// Writes an element: tag, shortest length, content.
#[must_use]
pub fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len().saturating_add(6));
    push(&mut out, tag, content);
    out
}

/// The same behind what is there.
pub fn push(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.push(tag);
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    match length.to_be_bytes() {
        [0, 0, 0, low @ 0..=0x7f] => out.push(low),
        [0, 0, 0, low] => out.extend_from_slice(&[0x81, low]),
        [0, 0, high, low] => out.extend_from_slice(&[0x82, high, low]),
        [0, a, b, c] => out.extend_from_slice(&[0x83, a, b, c]),
        [a, b, c, d] => out.extend_from_slice(&[0x84, a, b, c, d]),
    }
    out.extend_from_slice(content);
}

/// The content of an INTEGER in the fewest octets.
#[must_use]
pub fn integer_content(value: i64) -> Vec<u8> {
    let octets = value.to_be_bytes();
    let needless =
        |pair: &[u8]| matches!(pair, [0, low] if low & 0x80 == 0) || matches!(pair, [0xff, low] if low & 0x80 != 0);
    let skip = octets.windows(2).take_while(|pair| needless(pair)).count();
    octets.iter().skip(skip).copied().collect()
}

/// The content of an OBJECT IDENTIFIER.
#[must_use]
pub fn object_identifier_content(arcs: &[u32]) -> Vec<u8> {
    let mut out = Vec::with_capacity(arcs.len().saturating_add(4));
    let (first, rest) = match arcs {
        [first, second, rest @ ..] => (first.saturating_mul(40).saturating_add(*second), rest),
        [first] => (first.saturating_mul(40), [].as_slice()),
        [] => (0, [].as_slice()),
    };
    for arc in std::iter::once(&first).chain(rest) {
        for shift in [28, 21, 14, 7] {
            let octet = arc >> shift;
            if octet != 0 {
                out.push(0x80 | u8::try_from(octet & 0x7f).unwrap_or(0));
            }
        }
        out.push(u8::try_from(arc & 0x7f).unwrap_or(0));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_of_an_element_is_truncated() {
        for content in [0, 1, 127, 128, 300, 70_000] {
            let bytes = element(OCTET_STRING, &vec![7; content]);
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.expect(OCTET_STRING).map(<[u8]>::len), Ok(content));
            assert!(reader.is_empty());
            for end in (0..bytes.len()).step_by(bytes.len().div_ceil(50)) {
                assert_eq!(Reader::new(&bytes[..end]).element(), Err(BerError::Truncated));
            }
        }
    }

    #[test]
    fn lengths_of_other_forms_are_refused() {
        for bytes in [&b"\x30\x80\0\0"[..], b"\x30\x85\0\0\0\0\x01x", b"\x30\xff"] {
            assert_eq!(Reader::new(bytes).element(), Err(BerError::Length));
        }
        assert_eq!(Reader::new(b"\x30\x84\0\0\0\x01x").element(), Ok((SEQUENCE, &b"x"[..])), "longer than needed");
        assert_eq!(Reader::new(b"\x30\x84\xff\xff\xff\xffx").element(), Err(BerError::Truncated));
    }

    #[test]
    fn another_tag_is_left_unread() {
        let mut reader = Reader::new(b"\x04\x01x\x02\x01\x05");
        assert_eq!(reader.expect(INTEGER), Err(BerError::Tag { found: 4, expected: 2 }));
        assert_eq!(reader.optional(INTEGER), Ok(None));
        assert_eq!(reader.optional(OCTET_STRING), Ok(Some(&b"x"[..])));
        assert_eq!(reader.integer(), Ok(5));
        assert_eq!(reader.element(), Err(BerError::Truncated));
    }

    #[test]
    fn integers_round_trip_in_the_fewest_octets() {
        for (value, octets) in [
            (0, &b"\0"[..]),
            (127, b"\x7f"),
            (128, b"\0\x80"),
            (-1, b"\xff"),
            (-128, b"\x80"),
            (-129, b"\xff\x7f"),
            (i64::MAX, b"\x7f\xff\xff\xff\xff\xff\xff\xff"),
            (i64::MIN, b"\x80\0\0\0\0\0\0\0"),
        ] {
            assert_eq!(integer_content(value), octets);
            assert_eq!(integer(octets), Ok(value));
        }
        assert_eq!(integer(b""), Err(BerError::Content));
        assert_eq!(integer(&[0; 9]), Err(BerError::Content));
    }

    #[test]
    fn object_identifiers_round_trip() {
        for (arcs, octets) in [
            (&[1, 3, 6, 1, 4, 1, 311, 2, 2, 10][..], &b"\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a"[..]),
            (&[2, 999, 3], b"\x88\x37\x03"),
            (&[1, 3, u32::MAX], b"\x2b\x8f\xff\xff\xff\x7f"),
        ] {
            assert_eq!(object_identifier_content(arcs), octets);
            assert_eq!(object_identifier(octets).as_deref(), Ok(arcs));
        }
        for bad in [&b""[..], b"\x2b\x86", b"\x2b\x90\x80\x80\x80\x00", &[1; 200]] {
            assert_eq!(object_identifier(bad), Err(BerError::Content));
        }
    }

    #[test]
    fn a_tag_of_several_octets_is_skipped_whole() {
        assert_eq!(Reader::new(b"\x7f\x65\x01x").element(), Ok((0x7f, &b"x"[..])));
        assert_eq!(Reader::new(b"\x7f\xe5").element(), Err(BerError::Truncated));
    }
}
