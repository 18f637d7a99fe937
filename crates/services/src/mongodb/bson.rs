//! [BSON](https://bsonspec.org/spec.html): documents read and written, and shown as text.
//!
//! ```text
//! document  int32 length (itself and the last byte included), elements, 00
//! element   type, name up to 00, value
//! ```

/// Deepest nesting; the server's own limit is 200.
const DEEPEST: usize = 100;

/// Elements that are kept of one message. More are checked and passed over.
const KEPT: usize = 16 * 1024;

/// A document: names and values in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Document(pub(super) Vec<(Vec<u8>, Bson)>);

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Bson {
    /// 01
    Double(f64),
    /// 02, usually UTF-8.
    Text(Vec<u8>),
    /// 03
    Document(Document),
    /// 04: a document whose names are numbers.
    Array(Document),
    /// 05: subtype and bytes.
    Binary(u8, Vec<u8>),
    /// 07
    ObjectId([u8; 12]),
    /// 08
    Bool(bool),
    /// 09: milliseconds since 1970.
    Date(i64),
    /// 0a, and 06 (undefined).
    Null,
    /// 0b: pattern and options.
    Regex(Vec<u8>, Vec<u8>),
    /// 0c: collection and identifier.
    Pointer(Vec<u8>, [u8; 12]),
    /// 0d and 0e: code or a symbol; 0f with a scope.
    Code(Vec<u8>, Option<Document>),
    /// 10
    Int(i32),
    /// 11
    Timestamp(u64),
    /// 12
    Long(i64),
    /// 13: IEEE 754-2008 decimal, as its bytes.
    Decimal([u8; 16]),
    /// ff and 7f
    Bound(bool),
}

/// The bytes are no document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a BSON document")]
pub(super) struct NoDocument;

type Result<T> = std::result::Result<T, NoDocument>;

impl Document {
    /// The document at the start of `bytes`, and its length.
    pub(super) fn read(bytes: &[u8]) -> Result<(Self, usize)> {
        let mut room = KEPT;
        Self::read_within(bytes, &mut room)
    }

    /// The same, with a budget of elements that several documents share.
    pub(super) fn read_within(bytes: &[u8], room: &mut usize) -> Result<(Self, usize)> {
        let mut reader = Reader { rest: bytes };
        let document = reader.document(0, room)?;
        Ok((document, bytes.len().saturating_sub(reader.rest.len())))
    }

    /// The value of a name.
    pub(super) fn get(&self, name: &str) -> Option<&Bson> {
        self.0.iter().find(|(key, _)| key == name.as_bytes()).map(|(_, value)| value)
    }

    /// The text of a name.
    pub(super) fn text(&self, name: &str) -> Option<&[u8]> {
        match self.get(name)? {
            Bson::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The document of a name.
    pub(super) fn document(&self, name: &str) -> Option<&Self> {
        match self.get(name)? {
            Bson::Document(inner) => Some(inner),
            _ => None,
        }
    }

    /// The bytes of a name: a binary value, or base64 text as some clients send payloads.
    pub(super) fn payload(&self, name: &str) -> Option<Vec<u8>> {
        use base64::Engine as _;
        match self.get(name)? {
            Bson::Binary(_, bytes) => Some(bytes.clone()),
            Bson::Text(text) => base64::engine::general_purpose::STANDARD.decode(text).ok(),
            _ => None,
        }
    }

    /// A number of a name.
    pub(super) fn number(&self, name: &str) -> Option<i64> {
        match self.get(name)? {
            Bson::Int(number) => Some(i64::from(*number)),
            Bson::Long(number) => Some(*number),
            _ => None,
        }
    }

    /// Adds a value and gives the document back, for chains.
    #[must_use]
    pub(super) fn with(mut self, name: &str, value: impl Into<Bson>) -> Self {
        self.0.push((name.as_bytes().to_vec(), value.into()));
        self
    }

    /// The bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; 4];
        for (name, value) in &self.0 {
            out.push(value.tag());
            out.extend_from_slice(name);
            out.push(0);
            value.encode(&mut out);
        }
        out.push(0);
        let length = u32::try_from(out.len()).unwrap_or(u32::MAX).to_le_bytes();
        if let Some(start) = out.first_chunk_mut() {
            *start = length;
        }
        out
    }
}

impl Bson {
    const fn tag(&self) -> u8 {
        match self {
            Self::Double(_) => 0x01,
            Self::Text(_) => 0x02,
            Self::Document(_) => 0x03,
            Self::Array(_) => 0x04,
            Self::Binary(..) => 0x05,
            Self::ObjectId(_) => 0x07,
            Self::Bool(_) => 0x08,
            Self::Date(_) => 0x09,
            Self::Null => 0x0a,
            Self::Regex(..) => 0x0b,
            Self::Pointer(..) => 0x0c,
            Self::Code(_, None) => 0x0d,
            Self::Code(_, Some(_)) => 0x0f,
            Self::Int(_) => 0x10,
            Self::Timestamp(_) => 0x11,
            Self::Long(_) => 0x12,
            Self::Decimal(_) => 0x13,
            Self::Bound(false) => 0xff,
            Self::Bound(true) => 0x7f,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let text = |out: &mut Vec<u8>, text: &[u8]| {
            out.extend_from_slice(&length_of(text.len().saturating_add(1)));
            out.extend_from_slice(text);
            out.push(0);
        };
        match self {
            Self::Double(number) => out.extend_from_slice(&number.to_le_bytes()),
            Self::Text(bytes) | Self::Code(bytes, None) => text(out, bytes),
            Self::Document(inner) | Self::Array(inner) => out.extend_from_slice(&inner.encode()),
            Self::Binary(subtype, bytes) => {
                out.extend_from_slice(&length_of(bytes.len()));
                out.push(*subtype);
                out.extend_from_slice(bytes);
            }
            Self::ObjectId(id) => out.extend_from_slice(id),
            Self::Bool(flag) => out.push(u8::from(*flag)),
            Self::Date(number) | Self::Long(number) => out.extend_from_slice(&number.to_le_bytes()),
            Self::Null | Self::Bound(_) => {}
            Self::Regex(pattern, options) => {
                for part in [pattern, options] {
                    out.extend_from_slice(part);
                    out.push(0);
                }
            }
            Self::Pointer(collection, id) => {
                text(out, collection);
                out.extend_from_slice(id);
            }
            Self::Code(code, Some(scope)) => {
                let mut inner = Vec::new();
                text(&mut inner, code);
                inner.extend_from_slice(&scope.encode());
                out.extend_from_slice(&length_of(inner.len().saturating_add(4)));
                out.extend_from_slice(&inner);
            }
            Self::Int(number) => out.extend_from_slice(&number.to_le_bytes()),
            Self::Timestamp(number) => out.extend_from_slice(&number.to_le_bytes()),
            Self::Decimal(bytes) => out.extend_from_slice(bytes),
        }
    }
}

fn length_of(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

impl From<&str> for Bson {
    fn from(text: &str) -> Self {
        Self::Text(text.as_bytes().to_vec())
    }
}

impl From<bool> for Bson {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}

impl From<i32> for Bson {
    fn from(number: i32) -> Self {
        Self::Int(number)
    }
}

impl From<f64> for Bson {
    fn from(number: f64) -> Self {
        Self::Double(number)
    }
}

impl From<Document> for Bson {
    fn from(document: Document) -> Self {
        Self::Document(document)
    }
}

/// An array.
impl<T: Into<Self>> FromIterator<T> for Bson {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let numbered = items.into_iter().enumerate();
        Self::Array(Document(numbered.map(|(n, item)| (n.to_string().into_bytes(), item.into())).collect()))
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(NoDocument)?;
        self.rest = rest;
        Ok(taken)
    }

    fn chunk<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.first_chunk().copied().ok_or(NoDocument)
    }

    /// An int32 that is a length.
    fn length(&mut self) -> Result<usize> {
        usize::try_from(i32::from_le_bytes(self.chunk()?)).map_err(|_| NoDocument)
    }

    /// Up to a zero byte, which goes too.
    fn name(&mut self) -> Result<Vec<u8>> {
        let end = memchr::memchr(0, self.rest).ok_or(NoDocument)?;
        let name = self.take(end)?.to_vec();
        self.take(1)?;
        Ok(name)
    }

    /// A length that counts the zero byte at the end, text, and that byte.
    fn text(&mut self) -> Result<Vec<u8>> {
        let length = self.length()?;
        let (last, text) = self.take(length)?.split_last().ok_or(NoDocument)?;
        if *last == 0 { Ok(text.to_vec()) } else { Err(NoDocument) }
    }

    /// INVARIANT: nothing inside reads past the length that the document says.
    fn document(&mut self, depth: usize, room: &mut usize) -> Result<Document> {
        let whole = self.rest;
        let length = self.length()?;
        if depth > DEEPEST || length < 5 {
            return Err(NoDocument);
        }
        let body = whole.get(4..length).ok_or(NoDocument)?;
        self.rest = whole.get(length..).ok_or(NoDocument)?;
        let mut inner = Reader { rest: body };
        let mut document = Document::default();
        loop {
            let [tag] = inner.chunk()?;
            if tag == 0 {
                break;
            }
            let name = inner.name()?;
            let value = inner.value(tag, depth, room)?;
            if let Some(left) = room.checked_sub(1) {
                *room = left;
                document.0.push((name, value));
            }
        }
        if inner.rest.is_empty() { Ok(document) } else { Err(NoDocument) }
    }

    fn value(&mut self, tag: u8, depth: usize, room: &mut usize) -> Result<Bson> {
        let deeper = depth.saturating_add(1);
        Ok(match tag {
            0x01 => Bson::Double(f64::from_le_bytes(self.chunk()?)),
            0x02 => Bson::Text(self.text()?),
            0x03 => Bson::Document(self.document(deeper, room)?),
            0x04 => Bson::Array(self.document(deeper, room)?),
            0x05 => {
                let length = self.length()?;
                let [subtype] = self.chunk()?;
                Bson::Binary(subtype, self.take(length)?.to_vec())
            }
            0x06 | 0x0a => Bson::Null,
            0x07 => Bson::ObjectId(self.chunk()?),
            0x08 => match self.chunk()? {
                [flag @ (0 | 1)] => Bson::Bool(flag == 1),
                _ => return Err(NoDocument),
            },
            0x09 => Bson::Date(i64::from_le_bytes(self.chunk()?)),
            0x0b => Bson::Regex(self.name()?, self.name()?),
            0x0c => Bson::Pointer(self.text()?, self.chunk()?),
            0x0d | 0x0e => Bson::Code(self.text()?, None),
            0x0f => {
                let length = self.length()?.checked_sub(4).ok_or(NoDocument)?;
                let mut inner = Reader { rest: self.take(length)? };
                let code = inner.text()?;
                Bson::Code(code, Some(inner.document(deeper, room)?))
            }
            0x10 => Bson::Int(i32::from_le_bytes(self.chunk()?)),
            0x11 => Bson::Timestamp(u64::from_le_bytes(self.chunk()?)),
            0x12 => Bson::Long(i64::from_le_bytes(self.chunk()?)),
            0x13 => Bson::Decimal(self.chunk()?),
            0xff => Bson::Bound(false),
            0x7f => Bson::Bound(true),
            _ => return Err(NoDocument),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> Document {
        Document::default()
            .with("double", 1.5)
            .with("text", "a\u{e9}")
            .with("inner", Document::default().with("x", true).with("y", Bson::Null))
            .with("list", ["a", "b"].into_iter().collect::<Bson>())
            .with("binary", Bson::Binary(4, vec![0, 255, 1]))
            .with("id", Bson::ObjectId(*b"abcdefghijkl"))
            .with("date", Bson::Date(-1))
            .with("regex", Bson::Regex(b"^a".to_vec(), b"i".to_vec()))
            .with("pointer", Bson::Pointer(b"c".to_vec(), [7; 12]))
            .with("code", Bson::Code(b"f()".to_vec(), None))
            .with("scope", Bson::Code(b"f()".to_vec(), Some(Document::default().with("a", 1))))
            .with("int", i32::MIN)
            .with("timestamp", Bson::Timestamp(u64::MAX))
            .with("long", Bson::Long(i64::MAX))
            .with("decimal", Bson::Decimal([9; 16]))
            .with("min", Bson::Bound(false))
            .with("max", Bson::Bound(true))
    }

    #[test]
    fn every_type_comes_back() {
        let bytes = everything().encode();
        assert_eq!(Document::read(&bytes), Ok((everything(), bytes.len())));
        let longer = [bytes.as_slice(), b"rest"].concat();
        assert_eq!(Document::read(&longer).unwrap().1, bytes.len());
    }

    #[test]
    fn every_prefix_is_no_document() {
        let bytes = everything().encode();
        for end in 0..bytes.len() {
            assert_eq!(Document::read(&bytes[..end]), Err(NoDocument), "{end}");
        }
    }

    #[test]
    fn an_inner_length_never_reads_past_an_outer_one() {
        let mut bytes = Document::default().with("a", Document::default().with("b", "text")).encode();
        // The inner document claims one byte more, which is the outer one's end.
        bytes[7] += 1;
        assert_eq!(Document::read(&bytes), Err(NoDocument));
        let mut text = Document::default().with("a", "text").encode();
        text[7] = 0xff;
        assert_eq!(Document::read(&text), Err(NoDocument));
        assert_eq!(Document::read(b"\xff\xff\xff\x7f\0"), Err(NoDocument));
        assert_eq!(Document::read(b"\x05\0\0\0\x01"), Err(NoDocument));
        assert_eq!(Document::read(b"\x04\0\0\0"), Err(NoDocument));
        assert_eq!(Document::read(b"\x08\0\0\0\x08a\0\0"), Err(NoDocument), "no end");
        assert_eq!(Document::read(b"\x09\0\0\0\x08a\0\x02\0"), Err(NoDocument), "a flag is 0 or 1");
    }

    #[test]
    fn depth_and_number_are_bounded() {
        let mut deep = Document::default();
        for _ in 0..DEEPEST {
            deep = Document::default().with("a", deep);
        }
        assert!(Document::read(&deep.encode()).is_ok());
        assert_eq!(Document::read(&Document::default().with("a", deep).encode()), Err(NoDocument));
        let many = Document(vec![(Vec::new(), Bson::Null); KEPT + 10]);
        assert_eq!(Document::read(&many.encode()).unwrap().0.0.len(), KEPT);
    }
}
