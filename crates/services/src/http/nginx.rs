//! What nginx takes for a request and what it answers, measured against 1.22.1.

use super::codec::{
    Checked, Detail, Fault, Framing, Header, Path, PathFault, Request, RequestLine, before, split_target,
};
use super::delivery::Delivery;
use super::personas::read_host;
use super::response::Response;
use super::skin::{Resource, Skin};

/// Longest line: one of `large_client_header_buffers`.
pub(super) const MAX_LINE: usize = 8192;
/// Longest head: `client_header_buffer_size` and all four large buffers.
const MAX_HEAD: usize = 1024 + 4 * MAX_LINE;
/// Longest body: `client_max_body_size`.
pub(super) const MAX_BODY: u64 = 1024 * 1024;

const METHOD: &str = "the method is not upper case";

/// Whether the beginning of a line may still become a request line; nginx answers at the first byte
/// that cannot, without waiting for the line's end.
pub(super) fn may_begin(start: &[u8]) -> bool {
    let method = before(start, b' ');
    let method = method.strip_suffix(b"\r").unwrap_or(method);
    let good = |b: &u8| b.is_ascii_uppercase() || matches!(b, b'_' | b'-');
    method.iter().all(good) && !start.starts_with(b" ")
}

/// Reads a request line, without its line feed.
pub(super) fn read_line(line: &[u8]) -> Result<RequestLine, Fault> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() >= MAX_LINE {
        return Err(Fault::of(414, "the request line is too long"));
    }
    if !may_begin(line) {
        return Err(Fault::bad(METHOD));
    }
    let method = before(line, b' ');
    let rest = line.get(method.len()..).unwrap_or_default().trim_ascii_start();
    let target = before(rest, b' ');
    if target.iter().any(|b| *b < 0x20 || *b == 0x7f) {
        return Err(Fault::bad("the target holds a control byte"));
    }
    let (authority, path) = split_target(target).ok_or(Fault::bad("the target is no path"))?;
    let version_text = rest.get(target.len()..).unwrap_or_default();
    let version_text: &[u8] = version_text.strip_prefix(b" ").map_or(b"", <[u8]>::trim_ascii);
    let version = if version_text.is_empty() {
        if method != b"GET" {
            return Err(Fault { old: true, ..Fault::bad("HTTP/0.9 knows GET only") });
        }
        None
    } else {
        Some(read_version(version_text)?)
    };
    Ok(RequestLine {
        method: method.to_vec(),
        target: target.to_vec(),
        version_text: version_text.to_vec(),
        version,
        authority: authority.map(<[u8]>::to_vec),
        rest: path.to_vec(),
    })
}

fn read_version(text: &[u8]) -> Result<(u16, u16), Fault> {
    const BAD: Fault = Fault::bad("the version is none");
    let numbers = text.strip_prefix(b"HTTP/").ok_or(BAD)?;
    let mut major: u16 = 0;
    for byte in before(numbers, b'.') {
        let digit = char::from(*byte).to_digit(10).and_then(|d| u16::try_from(d).ok()).ok_or(BAD)?;
        major = major.saturating_mul(10).saturating_add(digit);
        if major == 0 {
            return Err(BAD);
        }
        if major > 1 {
            return Err(Fault::of(505, "the version is above 1"));
        }
    }
    let minor = numbers.split(|b| *b == b'.').nth(1).ok_or(BAD)?;
    let good = !minor.is_empty() && minor.len() <= 2 && minor.iter().all(u8::is_ascii_digit);
    let minor = std::str::from_utf8(minor).ok().filter(|_| good).and_then(|m| m.parse().ok()).ok_or(BAD)?;
    if numbers.iter().filter(|b| **b == b'.').count() > 1 || major == 0 {
        return Err(BAD);
    }
    Ok((major, minor))
}

/// Reads a header line, without its line feed, into the request.
pub(super) fn read_header(line: &[u8], request: &mut Request) -> Result<(), Fault> {
    let too_large =
        Fault { status: 400, detail: Detail::HeaderTooLarge, reason: "the headers are too long", old: false };
    if line.len() >= MAX_LINE || request.size > MAX_HEAD {
        return Err(too_large);
    }
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let name = before(line, b':');
    if name.iter().any(|b| *b <= 0x20 || *b == 0x7f) || line.first() == Some(&b':') {
        return Err(Fault::bad("a header's name is none"));
    }
    let value = line.get(name.len().saturating_add(1)..);
    if line.iter().any(|b| matches!(b, 0 | b'\r')) {
        return Err(Fault::bad("a header holds a control byte"));
    }
    match value {
        Some(value) if name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-') => {
            let value = trim_spaces(value).to_vec();
            request.headers.push(Header { name: name.to_vec(), value, line: line.to_vec() });
        }
        // `ignore_invalid_headers`: what has no colon or odd letters is passed over.
        _ => request.ignored.push((request.headers.len(), line.to_vec())),
    }
    Ok(())
}

fn trim_spaces(value: &[u8]) -> &[u8] {
    let mut value = value;
    while let Some(rest) = value.strip_prefix(b" ") {
        value = rest;
    }
    while let Some(rest) = value.strip_suffix(b" ") {
        value = rest;
    }
    value
}

/// Judges a complete head.
pub(super) fn check(request: &mut Request) -> Result<Checked, Fault> {
    let raw_path = before(before(&request.line.rest, b'?'), b'#');
    let path = Path::decode(raw_path).map_err(|fault| {
        Fault::bad(match fault {
            PathFault::Escape => "the path holds a bad escape",
            PathFault::Above => "the path leaves the root",
        })
    })?;
    if path.nul {
        return Err(Fault::bad("the path holds a zero byte"));
    }
    let hosts: Vec<&[u8]> = request.all("host").collect();
    if hosts.len() > 1 {
        return Err(Fault::bad("there are two hosts"));
    }
    let bad_host = Fault::bad("the host is none");
    let mut host = None;
    if let Some(text) = hosts.first() {
        host = Some(read_host(text, true).ok_or(bad_host.clone())?);
    }
    if let Some(authority) = &request.line.authority {
        host = Some(read_host(authority, true).ok_or(bad_host)?);
    }
    if request.line.is_1_1() && hosts.is_empty() {
        return Err(Fault::bad("the host is missing"));
    }
    let framing = framing(request)?;
    request.host = host;
    if request.is("TRACE") || request.is("CONNECT") {
        return Err(Fault::of(405, "the method is never allowed"));
    }
    let says = |word: &str| {
        request.all("connection").any(|v| memchr::memmem::find(&v.to_ascii_lowercase(), word.as_bytes()).is_some())
    };
    let asked = says("keep-alive");
    Ok(Checked {
        framing,
        keep: if request.line.is_1_1() { !says("close") } else { asked },
        asked,
        expects: request.line.is_1_1()
            && request.first("expect").is_some_and(|v| v.eq_ignore_ascii_case(b"100-continue")),
        path,
    })
}

fn framing(request: &Request) -> Result<Framing, Fault> {
    let lengths: Vec<&[u8]> = request.all("content-length").collect();
    let length = match lengths.as_slice() {
        [] => None,
        [text] if !text.is_empty() && text.iter().all(u8::is_ascii_digit) => {
            std::str::from_utf8(text).ok().and_then(|t| t.parse::<i64>().ok()).and_then(|n| u64::try_from(n).ok())
        }
        _ => None,
    };
    if length.is_none() && !lengths.is_empty() {
        return Err(Fault::bad("the length is none"));
    }
    let codings: Vec<&[u8]> = request.all("transfer-encoding").collect();
    match (codings.as_slice(), length) {
        ([], None) => Ok(Framing::None),
        ([], Some(length)) => Ok(Framing::Length(length)),
        ([coding], None) if request.line.is_1_1() => {
            if coding.eq_ignore_ascii_case(b"chunked") {
                Ok(Framing::Chunked)
            } else {
                Err(Fault::of(501, "the transfer coding is unknown"))
            }
        }
        _ => Err(Fault::bad("length and transfer coding contradict each other")),
    }
}

/// The reply to a request for a static file. An error's page is left to the caller.
pub(super) fn answer(
    request: &Request,
    checked: &Checked,
    skin: &Skin,
    delivery: &Delivery<'_>,
    base: &str,
) -> Response {
    let status = |status| Response { status, ..Response::default() };
    if !(request.is("GET") || request.is("HEAD") || request.is("POST")) {
        return status(405);
    }
    match skin.find(&checked.path.bytes) {
        Resource::File(_) if request.is("POST") => status(405),
        Resource::File(file) => delivery.answer(file, request),
        Resource::Folder => status(403),
        Resource::Unslashed => {
            let query = request.line.query();
            let mut to = format!("{base}{}/", String::from_utf8_lossy(&checked.path.bytes));
            if !query.is_empty() {
                to.push('?');
                to.push_str(&String::from_utf8_lossy(query));
            }
            Response { status: 301, location: Some(to), ..Response::default() }
        }
        Resource::Missing => status(404),
    }
}
