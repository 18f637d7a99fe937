//! Requests as Squid reads them: the line, the head, the target, and where the body ends.
//!
//! ```text
//! method SP target [SP HTTP/d.d] LF        a CR before the LF, and more spaces, are passed over
//! name ":" value LF                        until an empty line; a line that begins with space goes on
//! ```
//!
//! A line without a version is HTTP/0.9, which has GET only and no headers.

use crate::http::codec::{Framing, Header, Request, RequestLine, after, before, is_token};

/// Longest head (`request_header_max_size`).
pub(super) const LONGEST_HEAD: usize = 64 * 1024;
/// Longest target (Squid's `MAX_URL`).
const LONGEST_TARGET: usize = 8192;

/// Why a request gets an error page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is no request at all.
    Protocol,
    /// Its version is not 1.
    Version,
    /// Its target is none.
    Target,
    /// `*` is asked for with a method that knows it.
    Unsupported,
    /// A header is none.
    Header,
    /// The length of its body is none.
    Length,
    /// The line (414) or the head (431) is too long.
    TooLong(u16),
}

impl Fault {
    /// A word for the event; `None` for those whose request is reported whole.
    pub(super) const fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Protocol => Some("the line is no request"),
            Self::Version => Some("the version is not 1"),
            Self::Header => Some("a header is none"),
            Self::TooLong(_) => Some("the head is too long"),
            Self::Target | Self::Unsupported | Self::Length => None,
        }
    }
}

/// Reads a request line, without its line feed.
pub(super) fn read_line(line: &[u8]) -> Result<RequestLine, Fault> {
    let line = line.trim_ascii_end();
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let method = line.split(is_space).next().unwrap_or_default();
    let rest = line.get(method.len()..).unwrap_or_default().trim_ascii();
    if method.is_empty() || !method.iter().copied().all(is_token) || rest.is_empty() {
        return Err(Fault::Protocol);
    }
    let last = rest.iter().rposition(is_space).map_or(0, |at| at.saturating_add(1));
    let (target, version_text) = match rest.split_at_checked(last) {
        Some((target, word)) if last > 0 && is_version(word) => (target, word),
        // What looks like no version is a part of the target.
        _ if method == b"GET" => (rest, &b""[..]),
        _ => return Err(Fault::Protocol),
    };
    let target: Vec<u8> = target.iter().copied().filter(|byte| !is_space(byte)).collect();
    if target.iter().any(|byte| *byte < 0x20 || *byte == 0x7f) {
        return Err(Fault::Protocol);
    }
    let digit = |at: usize| version_text.get(at).map(|byte| u16::from(byte.saturating_sub(b'0')));
    let version = digit(5).zip(digit(7));
    let line = RequestLine {
        method: method.to_vec(),
        rest: target.clone(),
        target,
        version_text: version_text.to_vec(),
        version,
        authority: None,
    };
    if version.is_some_and(|(major, _)| major != 1) { Err(Fault::Version) } else { Ok(line) }
}

/// `HTTP/` and two digits with a dot between.
fn is_version(word: &[u8]) -> bool {
    matches!(word.strip_prefix(b"HTTP/"), Some([major, b'.', minor]) if major.is_ascii_digit() && minor.is_ascii_digit())
}

/// Reads the header lines of a head; whether all are good.
pub(super) fn read_headers(head: &[u8], request: &mut Request) -> bool {
    let mut good = true;
    for line in head.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        if matches!(line.first(), Some(b' ' | b'\t'))
            && let Some(last) = request.headers.last_mut()
        {
            last.line.extend_from_slice(b"\r\n");
            last.line.extend_from_slice(line);
            last.value.push(b' ');
            last.value.extend_from_slice(line.trim_ascii());
            continue;
        }
        let name = before(line, b':');
        let is_header = line.contains(&b':') && !name.is_empty() && name.iter().copied().all(is_token);
        if is_header && !line.contains(&0) {
            let value = after(line, b':').trim_ascii().to_vec();
            request.headers.push(Header { name: name.to_vec(), value, line: line.to_vec() });
        } else {
            good = false;
            request.ignored.push((request.headers.len(), line.to_vec()));
        }
    }
    good
}

/// Where the body ends.
pub(super) fn framing(request: &Request) -> Result<Framing, Fault> {
    if request.is("CONNECT") {
        return Ok(Framing::None);
    }
    if request.has_token("transfer-encoding", "chunked") {
        return Ok(Framing::Chunked);
    }
    let mut length = None;
    for value in request.all("content-length") {
        let number = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        let number: u64 = number.and_then(|text| text.parse().ok()).ok_or(Fault::Length)?;
        if length.is_some_and(|known| known != number) {
            return Err(Fault::Length);
        }
        length = Some(number);
    }
    Ok(length.map_or(Framing::None, Framing::Length))
}

/// Whether the connection stays open after it: 1.1 unless it says otherwise, 1.0 when it says so.
pub(super) fn keeps(request: &Request) -> bool {
    let says = |word| request.has_token("connection", word) || request.has_token("proxy-connection", word);
    if request.line.is_1_1() { !says("close") } else { request.line.version.is_some() && says("keep-alive") }
}

/// What a request asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Target {
    /// As Squid's pages show it: lower-case scheme and host, no name and password, no usual port, nothing
    /// behind the question mark.
    pub(super) shown: Vec<u8>,
    /// The host.
    pub(super) host: Vec<u8>,
    /// The port.
    pub(super) port: Option<u16>,
}

/// Schemes that Squid knows, and their ports.
const SCHEMES: &[(&[u8], u16)] = &[
    (b"http", 80),
    (b"https", 443),
    (b"ftp", 21),
    (b"cache_object", 3128),
    (b"coap", 5683),
    (b"coaps", 5684),
    (b"wais", 210),
    (b"whois", 43),
];

impl Target {
    /// Reads a request's target; `own` is the proxy's host and port.
    pub(super) fn of(line: &RequestLine, own: (&str, u16)) -> Result<Self, Fault> {
        let target = line.target.as_slice();
        if line.method == b"CONNECT" {
            return Self::of_connect(target);
        }
        if target == b"*" && matches!(line.method.as_slice(), b"OPTIONS" | b"TRACE") {
            return Err(Fault::Unsupported);
        }
        if target.len() > LONGEST_TARGET {
            return Err(Fault::Target);
        }
        if target.starts_with(b"/squid-internal-") {
            let shown = [format!("http://{}:{}", own.0, own.1).as_bytes(), before(target, b'?')].concat();
            return Ok(Self { shown, host: own.0.as_bytes().to_vec(), port: Some(own.1) });
        }
        if target.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"urn:")) {
            return Ok(Self { shown: target.to_vec(), ..Self::default() });
        }
        let at = memchr::memmem::find(target, b"://").ok_or(Fault::Target)?;
        let scheme = target.get(..at).unwrap_or_default().to_ascii_lowercase();
        let usual = SCHEMES.iter().find(|(name, _)| *name == scheme).map(|(_, port)| *port).ok_or(Fault::Target)?;
        let rest = target.get(at.saturating_add(3)..).unwrap_or_default();
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).unwrap_or_default();
        let named = authority.iter().rposition(|byte| *byte == b'@').map_or(0, |at| at.saturating_add(1));
        let (host, port) = host_and_port(authority.get(named..).unwrap_or_default())?;
        let port = port.unwrap_or(usual);
        let mut shown = [scheme.as_slice(), b"://", &host].concat();
        if port != usual {
            shown.extend_from_slice(format!(":{port}").as_bytes());
        }
        if !path.starts_with(b"/") {
            shown.push(b'/');
        }
        match memchr::memchr(b'?', path) {
            Some(mark) => shown.extend_from_slice(path.get(..=mark).unwrap_or_default()),
            None => shown.extend_from_slice(path),
        }
        Ok(Self { shown, host, port: Some(port) })
    }

    fn of_connect(target: &[u8]) -> Result<Self, Fault> {
        let (host, port) = host_and_port(target)?;
        let port = port.unwrap_or(443);
        let shown = if port == 443 {
            [b"https://", host.as_slice(), b"/*"].concat()
        } else {
            [host.as_slice(), format!(":{port}").as_bytes()].concat()
        };
        Ok(Self { shown, host, port: Some(port) })
    }
}

/// `host`, `host:port` or `[v6]:port`, in lower case.
fn host_and_port(authority: &[u8]) -> Result<(Vec<u8>, Option<u16>), Fault> {
    let colon = authority.iter().rposition(|byte| *byte == b':');
    let colon = colon.filter(|at| !authority.get(*at..).unwrap_or_default().contains(&b']'));
    let (host, port) = colon.and_then(|at| authority.split_at_checked(at)).unwrap_or((authority, b""));
    let port = match port.get(1..).filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => {
            let port = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
            Some(port.and_then(|text| text.parse().ok()).filter(|port| *port > 0).ok_or(Fault::Target)?)
        }
    };
    if host.is_empty() { Err(Fault::Target) } else { Ok((host.to_ascii_lowercase(), port)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(line: &str) -> Result<(String, String, Option<u16>), Fault> {
        let target = Target::of(&read_line(line.as_bytes())?, ("proxy01", 3128))?;
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ok((text(target.shown), text(target.host), target.port))
    }

    #[test]
    fn reads_lines_as_squid_does() {
        let line = read_line(b"GET  http://h/a b  HTTP/1.1\r").unwrap();
        assert_eq!((line.target.as_slice(), line.version), (b"http://h/ab".as_slice(), Some((1, 1))));
        assert_eq!(read_line(b"GET http://h/ HTTP/1.x").unwrap().target, b"http://h/HTTP/1.x");
        for bad in
            ["", "HELP", "GET", "\0\x01", "PROXY TCP4 1 2 3 4", "SSH-2.0-x", "G(T / HTTP/1.1", "GET /\x01 HTTP/1.1"]
        {
            assert_eq!(read_line(bad.as_bytes()), Err(Fault::Protocol), "{bad:?}");
        }
        assert_eq!(read_line(b"GET / HTTP/2.0"), Err(Fault::Version));
    }

    #[test]
    fn shows_targets_as_squid_does() {
        let shown = |line: &str| target(line).unwrap().0;
        assert_eq!(shown("GET HTTP://u:p@Host.Invalid:80/a?secret=1 HTTP/1.1"), "http://host.invalid/a?");
        assert_eq!(shown("GET http://h HTTP/1.1"), "http://h/");
        assert_eq!(
            target("CONNECT [2001:db8::1]:22 HTTP/1.1").unwrap(),
            ("[2001:db8::1]:22".into(), "[2001:db8::1]".into(), Some(22))
        );
        assert_eq!(target("CONNECT h:443 HTTP/1.1").unwrap(), ("https://h/*".into(), "h".into(), Some(443)));
        assert_eq!(target("GET ftp://h:2121/x HTTP/1.1").unwrap(), ("ftp://h:2121/x".into(), "h".into(), Some(2121)));
        for bad in ["/", "nonsense", "gopher://h/", "http:///x", "http://h:99999/", "http://h:x/", "http://h:0/"] {
            assert_eq!(target(&format!("GET {bad} HTTP/1.1")), Err(Fault::Target), "{bad}");
        }
        assert_eq!(target("OPTIONS * HTTP/1.1"), Err(Fault::Unsupported));
        assert_eq!(target(&format!("GET http://h/{} HTTP/1.1", "a".repeat(9000))), Err(Fault::Target));
    }

    fn request(head: &str) -> (Request, bool) {
        let mut request = Request { line: read_line(b"POST http://h/ HTTP/1.1").unwrap(), ..Request::default() };
        let good = read_headers(head.as_bytes(), &mut request);
        (request, good)
    }

    #[test]
    fn reads_headers_lengths_and_what_stays_open() {
        let (folded, good) = request("A: x\r\n y\r\nContent-Length: 3\r\n\r\n");
        assert!(
            good && folded.first("a") == Some(b"x y") && framing(&folded) == Ok(Framing::Length(3)) && keeps(&folded)
        );
        for bad in ["no colon\r\n", ": x\r\n", "na me: x\r\n", "name : x\r\n", "a: \0\r\n", " a: x\r\n"] {
            assert!(!request(bad).1, "{bad:?}");
        }
        for bad in [
            "Content-Length: x",
            "Content-Length: -1",
            "Content-Length: 1\r\nContent-Length: 2",
            "Content-Length: 99999999999999999999",
        ] {
            assert_eq!(framing(&request(bad).0), Err(Fault::Length), "{bad}");
        }
        assert_eq!(framing(&request("Transfer-Encoding: gzip, chunked").0), Ok(Framing::Chunked));
        assert!(!keeps(&request("Proxy-Connection: close").0));
    }
}
