//! Requests: the head as its parts, the target as a path, the body as a stream with bounds.
//!
//! Which bytes make a good request line or header differs between products and stands in `nginx`
//! and `apache`; `httparse` is stricter than both (it refuses `HTTP/9.9`, HTTP/0.9 and a header
//! without a colon, which real servers serve), so the grammar is ours.

use aviary_wire::fingerprint::ja4h;

/// The note under which [`Request::ja4h`] stands in events: of the last whole head of a connection.
pub(crate) const JA4H: &str = "ja4h";

/// A request line in its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestLine {
    /// The method as sent.
    pub(crate) method: Vec<u8>,
    /// The target as sent.
    pub(crate) target: Vec<u8>,
    /// The version as sent, `HTTP/1.1`; empty for HTTP/0.9.
    pub(crate) version_text: Vec<u8>,
    /// Major and minor version; `None` for HTTP/0.9.
    pub(crate) version: Option<(u16, u16)>,
    /// The authority of an absolute target.
    pub(crate) authority: Option<Vec<u8>>,
    /// What follows the authority: path and query as sent; `/` when there is none.
    pub(crate) rest: Vec<u8>,
}

impl RequestLine {
    /// Whether the version is 1.1 or above.
    pub(crate) fn is_1_1(&self) -> bool {
        self.version >= Some((1, 1))
    }

    /// The path as sent, without its query: OpenCanary's `PATH`.
    pub(crate) fn path(&self) -> &[u8] {
        before(&self.target, b'?')
    }

    /// The query as sent, without its `?`.
    pub(crate) fn query(&self) -> &[u8] {
        after(&self.target, b'?')
    }
}

/// A header as sent, without the white space around its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The name.
    pub(crate) name: Vec<u8>,
    /// The value.
    pub(crate) value: Vec<u8>,
    /// The line as it came, without its end.
    pub(crate) line: Vec<u8>,
}

/// A request whose head is complete.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    /// The first line.
    pub(crate) line: RequestLine,
    /// The headers in order.
    pub(crate) headers: Vec<Header>,
    /// Lines among the headers that the product passes over, and where they stood.
    pub(crate) ignored: Vec<(usize, Vec<u8>)>,
    /// Bytes of the head so far.
    pub(crate) size: usize,
    /// The host that it asks for, once the product found it good.
    pub(crate) host: Option<Host>,
}

impl Request {
    /// The values of a header, in order.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(|h| h.name.eq_ignore_ascii_case(name.as_bytes())).map(|h| h.value.as_slice())
    }

    /// The first value of a header.
    pub(crate) fn first(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name.as_bytes())).map(|h| h.value.as_slice())
    }

    /// The last value of a header, which is the one that OpenCanary logs.
    pub(crate) fn last(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().rev().find(|h| h.name.eq_ignore_ascii_case(name.as_bytes())).map(|h| h.value.as_slice())
    }

    /// Whether a comma-separated header holds a word.
    pub(crate) fn has_token(&self, name: &str, token: &str) -> bool {
        self.all(name).any(|value| {
            value.split(|b| *b == b',').any(|word| word.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
        })
    }

    /// JA4H of the head, with the headers that the product passes over.
    pub(crate) fn ja4h(&self) -> String {
        let mut ignored = self.ignored.iter().peekable();
        let mut sent = Vec::with_capacity(self.headers.len().saturating_add(self.ignored.len()));
        for at in 0..=self.headers.len() {
            while let Some((_, line)) = ignored.next_if(|(place, _)| *place <= at) {
                if line.contains(&b':') {
                    sent.push((before(line, b':'), after(line, b':').trim_ascii()));
                }
            }
            sent.extend(self.headers.get(at).map(|header| (header.name.as_slice(), header.value.as_slice())));
        }
        ja4h(&self.line.method, self.line.version, sent.into_iter())
    }

    /// Whether the method is this one.
    pub(crate) fn is(&self, method: &str) -> bool {
        self.line.method == method.as_bytes()
    }
}

/// A host that a request names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    /// Lower case, without a last dot, IPv6 in brackets.
    pub(crate) name: String,
    /// The port behind the colon.
    pub(crate) port: Option<u16>,
}

/// Why a request gets an error page before anything is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The status.
    pub(crate) status: u16,
    /// What the page says beyond the status.
    pub(crate) detail: Detail,
    /// A word for the event.
    pub(crate) reason: &'static str,
    /// Whether the request is of HTTP/0.9, whose replies have no head.
    pub(crate) old: bool,
}

impl Fault {
    /// A plain 400.
    pub(crate) const fn bad(reason: &'static str) -> Self {
        Self::of(400, reason)
    }

    /// Another plain status.
    pub(crate) const fn of(status: u16, reason: &'static str) -> Self {
        Self { status, detail: Detail::None, reason, old: false }
    }
}

/// Which variant of a status's page is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Detail {
    /// The ordinary one.
    #[default]
    None,
    /// A header, or all of them, is too long.
    HeaderTooLarge,
    /// There are too many headers.
    TooManyHeaders,
    /// Plain HTTP on the TLS port.
    PlainOnTls,
    /// An expectation other than `100-continue`.
    Expectation(Vec<u8>),
    /// The method that the page names.
    Method(Vec<u8>),
    /// The address that the page links to.
    Location(String),
}

/// Where a body ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none.
    None,
    /// After this many bytes.
    Length(u64),
    /// Where its chunks say.
    Chunked,
}

/// What a product makes of a complete head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checked {
    /// Where the body ends.
    pub(crate) framing: Framing,
    /// Whether the connection may stay open.
    pub(crate) keep: bool,
    /// Whether the client asked in words that it stay open.
    pub(crate) asked: bool,
    /// Whether the client waits for `100 Continue`.
    pub(crate) expects: bool,
    /// The path.
    pub(crate) path: Path,
}

/// Why a body cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFault {
    /// A chunk that is none.
    Malformed,
    /// A chunk size beyond 64 bits.
    TooLarge,
}

/// Reads a body piece by piece.
#[derive(Clone, Debug)]
pub(crate) struct BodyReader {
    state: Reading,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Plain(u64),
    Size {
        value: u64,
        digits: u8,
    },
    Extension(u64),
    SizeEnd(u64),
    Data(u64),
    DataEnd {
        seen_cr: bool,
    },
    /// In the trailer; whether the current line holds something.
    Trailer {
        something: bool,
    },
    Done,
}

impl BodyReader {
    /// A reader at the body's first byte.
    pub(crate) const fn new(framing: &Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => Reading::Done,
            Framing::Length(length) => Reading::Plain(*length),
            Framing::Chunked => Reading::Size { value: 0, digits: 0 },
        };
        Self { state }
    }

    /// Whether the body is complete.
    pub(crate) const fn is_done(&self) -> bool {
        matches!(self.state, Reading::Done)
    }

    /// Reads on: hands the body's bytes to `sink` and says how many bytes of `input` it used, which
    /// are all of them unless the body ends before.
    pub(crate) fn push(&mut self, input: &[u8], mut sink: impl FnMut(&[u8])) -> Result<usize, BodyFault> {
        let mut rest = input;
        while !rest.is_empty() && !self.is_done() {
            if let Reading::Plain(left) | Reading::Data(left) = self.state {
                let take = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                let (data, behind) = rest.split_at_checked(take).unwrap_or((rest, &[]));
                sink(data);
                rest = behind;
                let left = left.saturating_sub(u64::try_from(take).unwrap_or(u64::MAX));
                self.state = match (self.state, left) {
                    (Reading::Plain(_), 0) => Reading::Done,
                    (Reading::Plain(_), _) => Reading::Plain(left),
                    (_, 0) => Reading::DataEnd { seen_cr: false },
                    _ => Reading::Data(left),
                };
            } else if let Some((byte, behind)) = rest.split_first() {
                rest = behind;
                self.state = self.state.after(*byte)?;
            }
        }
        Ok(input.len().saturating_sub(rest.len()))
    }
}

impl Reading {
    /// The state after one byte of chunk framing.
    fn after(self, byte: u8) -> Result<Self, BodyFault> {
        let sized = |value| if value == 0 { Self::Trailer { something: false } } else { Self::Data(value) };
        Ok(match (self, byte) {
            (Self::Size { value, digits }, _) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                let value = value.checked_mul(16).and_then(|v| v.checked_add(u64::from(digit)));
                Self::Size { value: value.ok_or(BodyFault::TooLarge)?, digits: digits.saturating_add(1) }
            }
            (Self::Size { digits: 0, .. }, _) => return Err(BodyFault::Malformed),
            (Self::Size { value, .. }, b';' | b' ' | b'\t') => Self::Extension(value),
            (Self::Size { value, .. } | Self::Extension(value), b'\r') => Self::SizeEnd(value),
            (Self::Size { value, .. } | Self::Extension(value) | Self::SizeEnd(value), b'\n') => sized(value),
            (Self::Extension(value), _) => Self::Extension(value),
            (Self::DataEnd { seen_cr: false }, b'\r') => Self::DataEnd { seen_cr: true },
            (Self::DataEnd { .. }, b'\n') => Self::Size { value: 0, digits: 0 },
            (Self::Trailer { something: false }, b'\n') => Self::Done,
            (Self::Trailer { something: true }, b'\n') => Self::Trailer { something: false },
            (Self::Trailer { something }, b'\r') => Self::Trailer { something },
            (Self::Trailer { .. }, _) => Self::Trailer { something: true },
            _ => return Err(BodyFault::Malformed),
        })
    }
}

/// A target's path, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Path {
    /// Decoded, with `.` and `..` resolved and slashes merged; begins with `/`.
    pub(crate) bytes: Vec<u8>,
    /// Whether it held `%00`.
    pub(crate) nul: bool,
    /// Whether it held `%2f`.
    pub(crate) slash: bool,
}

/// Why a path is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathFault {
    /// A `%` without two hex digits.
    Escape,
    /// More `..` than folders.
    Above,
}

impl Path {
    /// Decodes a path as sent (no query).
    pub(crate) fn decode(raw: &[u8]) -> Result<Self, PathFault> {
        let mut path = Self::default();
        let decoded = percent_decode(raw, false).ok_or(PathFault::Escape)?;
        path.nul = decoded.contains(&0);
        path.slash = raw.windows(3).any(|w| w.eq_ignore_ascii_case(b"%2f"));
        let mut parts: Vec<&[u8]> = Vec::new();
        for part in decoded.split(|b| *b == b'/') {
            match part {
                b"" | b"." => {}
                b".." => {
                    parts.pop().ok_or(PathFault::Above)?;
                }
                _ => parts.push(part),
            }
        }
        let folder = decoded.ends_with(b"/") || decoded.ends_with(b"/.") || decoded.ends_with(b"/..");
        for part in &parts {
            path.bytes.push(b'/');
            path.bytes.extend_from_slice(part);
        }
        if folder || parts.is_empty() {
            path.bytes.push(b'/');
        }
        Ok(path)
    }
}

/// Decodes `%41`; `None` at a bad escape. `lenient` leaves it as it is instead and reads `+` as a
/// space, as forms do.
pub(crate) fn percent_decode(raw: &[u8], lenient: bool) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        match byte {
            b'%' => {
                let value = behind.first_chunk::<2>().and_then(|[a, b]| {
                    let high = char::from(*a).to_digit(16)?;
                    let low = char::from(*b).to_digit(16)?;
                    u8::try_from((high << 4) | low).ok()
                });
                match value {
                    Some(value) => {
                        out.push(value);
                        rest = behind.get(2..).unwrap_or_default();
                    }
                    None if lenient => out.push(b'%'),
                    None => return None,
                }
            }
            b'+' if lenient => out.push(b' '),
            byte => out.push(*byte),
        }
    }
    Some(out)
}

/// The three words of a request line as their readers share it: scheme, authority and rest of an
/// absolute target, or no authority and the target itself.
pub(crate) fn split_target(target: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    if target.starts_with(b"/") {
        return Some((None, target));
    }
    let at = memchr::memmem::find(target, b"://")?;
    let (scheme, rest) = target.split_at_checked(at)?;
    let good = scheme.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    if !good || !scheme.first().is_some_and(u8::is_ascii_alphabetic) {
        return None;
    }
    let rest = rest.get(3..)?;
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end)?;
    Some((Some(authority), if path.is_empty() { b"/" } else { path }))
}

/// What stands before the first `mark`, or all.
pub(crate) fn before(bytes: &[u8], mark: u8) -> &[u8] {
    bytes.split(|b| *b == mark).next().unwrap_or_default()
}

/// What stands behind the first `mark`, or nothing.
pub(crate) fn after(bytes: &[u8], mark: u8) -> &[u8] {
    let at = memchr::memchr(mark, bytes).map(|n| n.saturating_add(1));
    at.and_then(|n| bytes.get(n..)).unwrap_or_default()
}

/// Whether a byte may stand in a token (RFC 9110, section 5.6.2).
pub(crate) const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(framing: &Framing, pieces: &[&[u8]]) -> Result<(Vec<u8>, bool, usize), BodyFault> {
        let (mut reader, mut data, mut used) = (BodyReader::new(framing), Vec::new(), 0);
        for piece in pieces {
            used += reader.push(piece, |bytes| data.extend_from_slice(bytes))?;
        }
        Ok((data, reader.is_done(), used))
    }

    #[test]
    fn reads_chunks_whole_and_byte_by_byte() {
        let body = b"5;a=b\r\nabcde\r\n3\r\n\r\nx\r\n0\r\nX: y\r\n\r\nGET";
        let (data, done, used) = read(&Framing::Chunked, &[body]).unwrap();
        assert_eq!((data.as_slice(), done, used), (b"abcde\r\nx".as_slice(), true, body.len() - 3));
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(read(&Framing::Chunked, &bytes).unwrap().0, data);
    }

    #[test]
    fn every_prefix_of_a_chunked_body_is_incomplete() {
        let body = b"a\r\n0123456789\r\n0\r\n\r\n";
        for end in 0..body.len() {
            assert!(!read(&Framing::Chunked, &[&body[..end]]).unwrap().1, "{end}");
        }
    }

    #[test]
    fn rejects_what_is_no_chunk() {
        assert_eq!(read(&Framing::Chunked, &[b"ZZ\r\n"]), Err(BodyFault::Malformed));
        assert_eq!(read(&Framing::Chunked, &[b"3\r\nabcXX"]), Err(BodyFault::Malformed));
        assert_eq!(read(&Framing::Chunked, &[b"fffffffffffffffff\r\n"]), Err(BodyFault::TooLarge));
    }

    #[test]
    fn stops_at_the_length() {
        assert_eq!(read(&Framing::Length(3), &[b"ab", b"cGET"]).unwrap(), (b"abc".to_vec(), true, 3));
        assert!(read(&Framing::Length(0), &[]).unwrap().1);
    }

    #[test]
    fn resolves_dots_and_merges_slashes() {
        let path = |raw: &[u8]| Path::decode(raw).map(|p| p.bytes);
        assert_eq!(path(b"//css//./../css/%73tyle.css").unwrap(), b"/css/style.css");
        assert_eq!(path(b"/css/..").unwrap(), b"/");
        assert_eq!(path(b"/css/.").unwrap(), b"/css/");
        assert_eq!(path(b"/%2e%2e/etc"), Err(PathFault::Above));
        assert_eq!(path(b"/%zz"), Err(PathFault::Escape));
        assert!(Path::decode(b"/a%2Fb%00").unwrap().slash && Path::decode(b"/%00").unwrap().nul);
    }

    #[test]
    fn keeps_bytes_that_are_no_text() {
        assert_eq!(percent_decode(b"b%ff%fe+%", true).unwrap(), b"b\xff\xfe %");
    }
}
