//! Squid's replies: the head's order and the error pages, measured against 5.7 as Debian 12 has it.
//!
//! The pages are those that Squid sends, with its licence's remark in them, as data in `pages/`.
//!
//! LIMIT: pages are English; Squid has some forty languages and picks by `Accept-Language`.

use aviary_event::Timestamp;

use super::request::Fault;
use super::{Proxy, Reply};
use crate::http::codec::{Request, before};
use crate::http::response::http_date;

const STYLE: &str = include_str!("pages/errorpage.css");

/// A page and what stands around it.
struct Page {
    status: u16,
    reason: &'static str,
    id: &'static str,
    text: &'static str,
}

const DENIED: Page = Page {
    status: 407,
    reason: "Proxy Authentication Required",
    id: "ERR_CACHE_ACCESS_DENIED",
    text: include_str!("pages/err_cache_access_denied.html"),
};

const fn page_of(fault: &Fault) -> Page {
    let (status, reason, id, text) = match fault {
        Fault::Protocol => {
            (400, "Bad Request", "ERR_PROTOCOL_UNKNOWN", include_str!("pages/err_protocol_unknown.html"))
        }
        Fault::Version => (
            505,
            "HTTP Version not supported",
            "ERR_UNSUP_HTTPVERSION",
            include_str!("pages/err_unsup_httpversion.html"),
        ),
        Fault::Target => (400, "Bad Request", "ERR_INVALID_URL", include_str!("pages/err_invalid_url.html")),
        Fault::Unsupported => (501, "Not Implemented", "ERR_UNSUP_REQ", include_str!("pages/err_unsup_req.html")),
        Fault::Header => (400, "Bad Request", "ERR_INVALID_REQ", include_str!("pages/err_invalid_req.html")),
        Fault::Length => (411, "Length Required", "ERR_INVALID_REQ", include_str!("pages/err_invalid_req.html")),
        Fault::TooLong(414) => (414, "URI Too Long", "ERR_TOO_BIG", include_str!("pages/err_too_big.html")),
        Fault::TooLong(_) => {
            (431, "Request Header Fields Too Large", "ERR_TOO_BIG", include_str!("pages/err_too_big.html"))
        }
    };
    Page { status, reason, id, text }
}

/// The whole reply.
pub(super) fn write(proxy: &Proxy, reply: &Reply<'_>, port: u16, now: Timestamp) -> Vec<u8> {
    let page = reply.fault.map_or(DENIED, page_of);
    let date = http_date(now.as_seconds());
    let language = language_of(reply.request);
    let body = fill(proxy, reply, &page, &date, language);
    let (host, server) = (proxy.host_name.as_str(), proxy.server.as_str());
    let mut head = format!(
        "HTTP/1.1 {} {}\r\nServer: {server}\r\nMime-Version: 1.0\r\nDate: {date}\r\n\
         Content-Type: text/html;charset=utf-8\r\nContent-Length: {}\r\nX-Squid-Error: {} 0\r\n\
         Vary: Accept-Language\r\nContent-Language: {language}\r\n",
        page.status,
        page.reason,
        body.len(),
        page.id,
    );
    for offer in reply.offers {
        head.push_str(&format!("Proxy-Authenticate: {offer}\r\n"));
    }
    head.push_str(&format!(
        "X-Cache: MISS from {host}\r\nX-Cache-Lookup: NONE from {host}:{port}\r\nVia: 1.1 {host} ({server})\r\n\
         Connection: {}\r\n\r\n",
        if reply.keep { "keep-alive" } else { "close" },
    ));
    let mut out = head.into_bytes();
    if !reply.request.is("HEAD") {
        out.extend_from_slice(&body);
    }
    out
}

/// Fills a page's marks in. What comes from the peer is escaped, and no mark in it is filled.
fn fill(proxy: &Proxy, reply: &Reply<'_>, page: &Page, date: &str, language: &str) -> Vec<u8> {
    let request = reply.request;
    let known = |bytes: &[u8], other: &str| if bytes.is_empty() { other.as_bytes().to_vec() } else { quote(bytes) };
    let id = if language == "en" { page.id.to_owned() } else { format!("\"{}\"", page.id) };
    let url = match reply.fault {
        Some(Fault::Protocol) => b"error:invalid-request".to_vec(),
        Some(Fault::TooLong(_)) => b"error:request-too-large".to_vec(),
        Some(Fault::Unsupported) => b"http://:80*".to_vec(),
        Some(Fault::Target) => quote(&request.line.target),
        _ => quote(reply.shown),
    };
    // A request with a bad header is none yet when its page is made.
    let dumped = reply.fault == Some(&Fault::Length);
    let scheme = before(reply.shown, b':');
    let method = if dumped { request.line.method.as_slice() } else { b"" };
    let dump = if dumped { dump_of(request, reply.shown) } else { b"[no request]".to_vec() };
    let mut out = Vec::with_capacity(4096);
    let mut rest = page.text;
    while let Some((text, behind)) = rest.split_once('{') {
        out.extend_from_slice(text.as_bytes());
        let Some((mark, after)) = behind.split_once('}') else { break };
        match mark {
            "style" => out.extend_from_slice(STYLE.as_bytes()),
            "id" => out.extend_from_slice(id.as_bytes()),
            "url" => out.extend_from_slice(&url),
            "date" => out.extend_from_slice(date.as_bytes()),
            "host" => out.extend_from_slice(proxy.host_name.as_bytes()),
            "server" => out.extend_from_slice(proxy.server.as_bytes()),
            "request" => out.extend_from_slice(&dump),
            "method" => out.extend_from_slice(&known(method, "[unknown method]")),
            "protocol" => out.extend_from_slice(&known(if dumped { scheme } else { b"" }, "[unknown protocol]")),
            _ => {
                // A brace of the style sheet's, which is no mark.
                out.push(b'{');
                rest = behind;
                continue;
            }
        }
        rest = after;
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

/// The request as Squid prints it: line, the target's host, and an empty line.
fn dump_of(request: &Request, shown: &[u8]) -> Vec<u8> {
    let behind = memchr::memmem::find(shown, b"://").map_or(0, |at| at.saturating_add(3));
    let rest = shown.get(behind..).unwrap_or_default();
    let host = before(rest, b'/');
    let path = rest.get(host.len()..).unwrap_or_default();
    let text = [
        &request.line.method,
        b" ".as_slice(),
        path,
        b" ",
        &request.line.version_text,
        b"\r\nHost: ",
        host,
        b"\r\n\r\n",
    ];
    quote(&text.concat())
}

/// Squid's `html_quote`: markup by name, and what is not ASCII by number.
fn quote(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'"' => out.extend_from_slice(b"&quot;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            b'\n' | b'\r' | b'\t' | 0x20..=0x7e => out.push(*byte),
            byte => out.extend_from_slice(format!("&#{byte};").as_bytes()),
        }
    }
    out
}

/// Which English: that of the United States when it is what the client likes best.
fn language_of(request: &Request) -> &'static str {
    let wanted = request.first("accept-language").unwrap_or_default();
    let first = before(before(wanted, b','), b';').trim_ascii();
    if first.eq_ignore_ascii_case(b"en-us") { "en-us" } else { "en" }
}
