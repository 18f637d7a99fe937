//! A file as a reply: conditions (304, 412), ranges (206, 416) and compression, product by product.

use super::codec::Request;
use super::personas::Family;
use super::response::{Length, Response, read_date};
use super::skin::File;

/// The most ranges that are answered one by one, Apache's `MaxRanges`.
const MAX_RANGES: usize = 200;

/// What a delivery needs to know beside file and request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivery<'a> {
    /// Whose manners.
    pub(super) family: Family,
    /// Whether validators are those of IIS, which compresses nothing here.
    pub(super) iis: bool,
    /// Seconds since 1970.
    pub(super) now: i64,
    /// A word that ends no part of the file, for `multipart/byteranges`.
    pub(super) boundary: &'a str,
}

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
enum Ranges {
    /// Nothing, or nothing that is understood: the whole.
    Whole,
    /// These, first and last byte included.
    Some(Vec<(usize, usize)>),
    /// None that exists.
    None,
}

impl Delivery<'_> {
    /// The reply to GET, HEAD or, with Apache, POST.
    pub(super) fn answer(&self, file: &File, request: &Request) -> Response {
        let modified = file.modified.div_euclid(1_000_000).min(self.now);
        let plain = self.etag(file, modified);
        let packed = file.gzip.as_ref().filter(|_| !self.iis && accepts_gzip(request));
        let mut reply = Response {
            status: 200,
            media: file.media.map(str::to_owned),
            modified: Some(modified),
            etag: Some(plain.clone()),
            accept_ranges: true,
            vary: !self.iis && file.gzip.is_some(),
            ..Response::default()
        };
        if let Some(refusal) = self.condition(request, modified, &plain, &reply) {
            return refusal;
        }
        let body: &[u8] = match packed {
            Some(packed) => {
                reply.gzip = true;
                reply.etag = Some(format!("{}-gzip\"", plain.strip_suffix('"').unwrap_or(&plain)));
                packed
            }
            None => &file.body,
        };
        let ranges = match request.first("range") {
            Some(range) if self.range_counts(request, modified, &plain) => self.ranges(range, body.len()),
            _ => Ranges::Whole,
        };
        match ranges {
            Ranges::Whole => reply.body = body.to_vec(),
            Ranges::None => return self.unsatisfiable(body.len()),
            Ranges::Some(ranges) => self.partial(&mut reply, body, &ranges),
        }
        reply
    }

    /// nginx: `"<seconds>-<size>"`; Apache: `"<size>-<microseconds>"`; both in hex.
    fn etag(&self, file: &File, modified: i64) -> String {
        match self.family {
            Family::Nginx => format!("\"{modified:x}-{:x}\"", file.body.len()),
            Family::Apache if self.iis => super::iis::etag(modified.saturating_mul(1_000_000)),
            Family::Apache => format!("\"{:x}-{:x}\"", file.body.len(), file.modified),
        }
    }

    fn condition(&self, request: &Request, modified: i64, etag: &str, whole: &Response) -> Option<Response> {
        let failed = || match self.family {
            // nginx says keep-alive here and closes.
            Family::Nginx => Response { status: 412, close: true, ..Response::default() },
            Family::Apache => Response { status: 412, vary: false, ..whole.clone() },
        };
        let unchanged =
            || Response { status: 304, vary: false, accept_ranges: self.family == Family::Apache, ..whole.clone() };
        let if_match = request.first("if-match").is_none_or(|list| lists(list, etag, false));
        let since = request.first("if-unmodified-since").and_then(read_date);
        if !if_match || (request.first("if-match").is_none() && since.is_some_and(|date| modified > date)) {
            return Some(failed());
        }
        let none_match = request.first("if-none-match").map(|list| lists(list, etag, true));
        let dated = request.first("if-modified-since").map(|text| match (read_date(text), self.family) {
            (Some(date), Family::Nginx) => date == modified,
            (Some(date), Family::Apache) => modified <= date && date <= self.now,
            (None, _) => false,
        });
        match (self.family, none_match, dated) {
            (Family::Apache, Some(true), _) if !(request.is("GET") || request.is("HEAD")) => Some(failed()),
            // Both look at the date too when the tag matches.
            (_, Some(false), _) | (_, _, Some(false)) | (_, None, None) => None,
            (Family::Apache, None, Some(true)) if request.is("POST") => None,
            _ => Some(unchanged()),
        }
    }

    /// Whether `If-Range` lets the ranges count.
    fn range_counts(&self, request: &Request, modified: i64, etag: &str) -> bool {
        request.first("if-range").is_none_or(|value| value == etag.as_bytes() || read_date(value) == Some(modified))
    }

    fn ranges(&self, header: &[u8], size: usize) -> Ranges {
        let nginx = self.family == Family::Nginx;
        let unit = header.get(..6).unwrap_or_default();
        if !unit.eq_ignore_ascii_case(b"bytes=") {
            return Ranges::Whole;
        }
        let bad = if nginx { Ranges::None } else { Ranges::Whole };
        let list = header.get(6..).unwrap_or_default();
        let mut found: Vec<(usize, usize)> = Vec::new();
        for text in list.split(|b| *b == b',').take(MAX_RANGES) {
            let text = if nginx || !found.is_empty() { text.trim_ascii() } else { text };
            if text.is_empty() && !nginx {
                continue;
            }
            let Some(dash) = memchr::memchr(b'-', text) else { return bad };
            let (first, last) = (number(text.get(..dash)), number(text.get(dash.saturating_add(1)..)));
            let range = match (first, last) {
                (Some(Some(first)), Some(Some(last))) if first <= last => (first, last),
                (Some(Some(first)), Some(None)) => (first, usize::MAX),
                (Some(None), Some(Some(0))) | (None, _) | (_, None) => return bad,
                (Some(None), Some(Some(count))) => (size.saturating_sub(count), usize::MAX),
                _ => return bad,
            };
            if range.0 < size {
                let range = (range.0, range.1.min(size.saturating_sub(1)));
                match found.last_mut() {
                    // Apache joins neighbours.
                    Some(last)
                        if !nginx && range.0 <= last.1.saturating_add(1) && range.1.saturating_add(1) >= last.0 =>
                    {
                        *last = (last.0.min(range.0), last.1.max(range.1));
                    }
                    _ => found.push(range),
                }
            }
        }
        let total =
            found.iter().fold(0_usize, |sum, (a, b)| sum.saturating_add(b.saturating_sub(*a).saturating_add(1)));
        match found.len() {
            0 => Ranges::None,
            // nginx gives the whole rather than more than the whole.
            _ if nginx && total > size => Ranges::Whole,
            _ => Ranges::Some(found),
        }
    }

    fn unsatisfiable(&self, size: usize) -> Response {
        match self.family {
            Family::Nginx => {
                Response { status: 416, content_range: Some(format!("bytes */{size}")), ..Response::default() }
            }
            Family::Apache => Response { status: 416, length: Length::Chunked, ..Response::default() },
        }
    }

    fn partial(&self, reply: &mut Response, body: &[u8], ranges: &[(usize, usize)]) {
        let size = body.len();
        let slice = |(first, last): (usize, usize)| body.get(first..=last).unwrap_or_default();
        reply.status = 206;
        if let [(first, last)] = ranges {
            reply.content_range = Some(format!("bytes {first}-{last}/{size}"));
            reply.body = slice((*first, *last)).to_vec();
            return;
        }
        let (name, range_name) = match self.family {
            Family::Nginx => ("Content-Type", "Content-Range"),
            Family::Apache => ("Content-type", "Content-range"),
        };
        let media = reply.media.take().unwrap_or_default();
        for (first, last) in ranges {
            let head = format!(
                "\r\n--{}\r\n{name}: {media}\r\n{range_name}: bytes {first}-{last}/{size}\r\n\r\n",
                self.boundary
            );
            reply.body.extend_from_slice(head.as_bytes());
            reply.body.extend_from_slice(slice((*first, *last)));
        }
        reply.body.extend_from_slice(format!("\r\n--{}--\r\n", self.boundary).as_bytes());
        reply.media = Some(format!("multipart/byteranges; boundary={}", self.boundary));
    }
}

/// A number that may be missing: `None` when it is no number, `Some(None)` when nothing stands there.
fn number(text: Option<&[u8]>) -> Option<Option<usize>> {
    match std::str::from_utf8(text.unwrap_or_default()).ok()? {
        "" => Some(None),
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => Some(Some(digits.parse().unwrap_or(usize::MAX))),
        _ => None,
    }
}

/// Whether a list of entity tags holds this one.
fn lists(list: &[u8], etag: &str, weak: bool) -> bool {
    list.trim_ascii() == b"*"
        || list.split(|b| *b == b',').any(|item| {
            let item = item.trim_ascii();
            let item = if weak { item.strip_prefix(b"W/").unwrap_or(item) } else { item };
            item == etag.as_bytes()
        })
}

/// Whether the client takes gzip, as `mod_deflate` reads `Accept-Encoding`.
pub(super) fn accepts_gzip(request: &Request) -> bool {
    request.all("accept-encoding").flat_map(|value| value.split(|b| *b == b',')).any(|item| {
        let mut parts = item.split(|b| *b == b';').map(<[u8]>::trim_ascii);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(b"gzip"));
        named && !parts.any(|p| p.strip_prefix(b"q=").is_some_and(|q| q.iter().all(|b| matches!(b, b'0' | b'.'))))
    })
}
