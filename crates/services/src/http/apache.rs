//! What Apache httpd takes for a request and what it answers, measured against 2.4.71 of Debian.

use std::fmt::Write as _;

use super::codec::{
    Checked, Detail, Fault, Framing, Header, Path, PathFault, Request, RequestLine, before, is_token, split_target,
};
use super::delivery::Delivery;
use super::personas::{APACHE_DOCTYPE, read_host};
use super::response::{Connection, Length, Response, escape_html};
use super::skin::{Resource, Skin};

/// Longest line: `LimitRequestLine` and `LimitRequestFieldSize`.
pub(super) const MAX_LINE: usize = 8190;
/// Most headers: `LimitRequestFields`.
const MAX_HEADERS: usize = 100;
/// All headers together; real Apache has no such limit below 100 long ones.
const MAX_HEAD: usize = 256 * 1024;

/// What it allows at a file or folder. The order depends on the loaded modules: one recording of 2.4.71
/// has this one, which the fixtures were brought to; with a shorter module list `HEAD` came first.
const ALLOW: &str = "GET,POST,OPTIONS,HEAD";

/// Methods that it knows and does not allow here; all others are "not implemented".
const KNOWN: [&str; 24] = [
    "PUT",
    "DELETE",
    "CONNECT",
    "PATCH",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
    "VERSION-CONTROL",
    "CHECKOUT",
    "UNCHECKOUT",
    "CHECKIN",
    "UPDATE",
    "LABEL",
    "REPORT",
    "MKWORKSPACE",
    "MKACTIVITY",
    "BASELINE-CONTROL",
    "MERGE",
    "ACL",
    "TRACE",
];

/// Reads a request line, without its line feed: `HttpProtocolOptions Strict`.
pub(super) fn read_line(line: &[u8]) -> Result<RequestLine, Fault> {
    if line.len() > MAX_LINE.saturating_add(1) {
        return Err(Fault::of(414, "the request line is too long"));
    }
    let line = line.strip_suffix(b"\r").ok_or(Fault::bad("a line ends without a carriage return"))?;
    let mut words = line.splitn(3, |b| *b == b' ');
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    let version_text = words.next();
    let bad = Fault::bad;
    if method.is_empty() || !method.iter().copied().all(is_token) {
        return Err(bad("the method is no token"));
    }
    if target.is_empty() || target.iter().any(|b| *b <= 0x20 || *b == 0x7f || *b == b'#') {
        return Err(bad("the target is no path"));
    }
    let version = match version_text {
        None if method == b"GET" => None,
        None => return Err(bad("HTTP/0.9 knows GET only")),
        Some([b'H', b'T', b'T', b'P', b'/', major @ b'1'..=b'9', b'.', minor @ b'0'..=b'9']) => {
            Some((u16::from(major.wrapping_sub(b'0')), u16::from(minor.wrapping_sub(b'0'))))
        }
        Some(_) => return Err(bad("the version is none")),
    };
    let (authority, rest): (Option<&[u8]>, &[u8]) = match split_target(target) {
        Some(parts) => parts,
        None if method == b"OPTIONS" && target == b"*" => (None, b"*"),
        None if method == b"CONNECT" => (Some(target), b"/"),
        None => return Err(bad("the target is no path")),
    };
    Ok(RequestLine {
        method: method.to_vec(),
        target: target.to_vec(),
        version_text: version_text.unwrap_or_default().to_vec(),
        version,
        authority: authority.map(<[u8]>::to_vec),
        rest: rest.to_vec(),
    })
}

/// Reads a header line, without its line feed, into the request.
pub(super) fn read_header(line: &[u8], request: &mut Request) -> Result<(), Fault> {
    let detailed = |detail, reason| Fault { status: 400, detail, reason, old: false };
    if line.len() > MAX_LINE.saturating_add(1) || request.size > MAX_HEAD {
        return Err(detailed(Detail::HeaderTooLarge, "a header is too long"));
    }
    let line = line.strip_suffix(b"\r").ok_or(Fault::bad("a line ends without a carriage return"))?;
    if line.iter().any(|b| (*b < 0x20 && *b != b'\t') || *b == 0x7f) {
        return Err(Fault::bad("a header holds a control byte"));
    }
    if line.starts_with(b" ") || line.starts_with(b"\t") {
        let last = request.headers.last_mut().ok_or(Fault::bad("the first header is a continuation"))?;
        last.value.push(b' ');
        last.value.extend_from_slice(line.trim_ascii());
        last.line.extend_from_slice(b"\r\n");
        last.line.extend_from_slice(line);
        return Ok(());
    }
    let name = before(line, b':');
    if name.len() == line.len() || name.is_empty() || !name.iter().copied().all(is_token) {
        return Err(Fault::bad("a header's name is none"));
    }
    if request.headers.len() >= MAX_HEADERS {
        return Err(detailed(Detail::TooManyHeaders, "there are too many headers"));
    }
    let value = line.get(name.len().saturating_add(1)..).unwrap_or_default().trim_ascii().to_vec();
    request.headers.push(Header { name: name.to_vec(), value, line: line.to_vec() });
    Ok(())
}

/// Judges a complete head. Once the host is known to be good, pages name it, also in a fault.
pub(super) fn check(request: &mut Request) -> Result<Checked, Fault> {
    let chunked = framing(request)?;
    let hosts: Vec<&[u8]> = request.all("host").collect();
    let given = match (&request.line.authority, hosts.as_slice()) {
        (Some(authority), _) if !authority.is_empty() && is_http(&request.line.target) && !request.is("CONNECT") => {
            Some(authority.as_slice())
        }
        (_, []) => None,
        (_, [host]) => Some(*host),
        _ => return Err(Fault::bad("there are two hosts")),
    };
    let missing = hosts.is_empty();
    let host = given.map(|text| read_host(text, false).ok_or(Fault::bad("the host is none"))).transpose()?;
    request.host = host;
    if missing && request.line.is_1_1() {
        return Err(Fault::bad("the host is missing"));
    }
    if !is_http(&request.line.target) {
        return Err(Fault::bad("the scheme is not HTTP"));
    }
    let path = match request.line.rest.as_slice() {
        b"*" => Path::default(),
        rest => Path::decode(before(rest, b'?')).map_err(|fault| {
            Fault::bad(match fault {
                PathFault::Escape => "the path holds a bad escape",
                PathFault::Above => "the path leaves the root",
            })
        })?,
    };
    let expects = request.line.is_1_1() && request.first("expect").is_some();
    if let Some(value) = request.first("expect").filter(|v| expects && !v.eq_ignore_ascii_case(b"100-continue")) {
        let detail = Detail::Expectation(value.to_vec());
        return Err(Fault { status: 417, detail, reason: "the expectation is unknown", old: false });
    }
    let asked = request.has_token("connection", "keep-alive");
    let closing = request.has_token("connection", "close");
    let smuggled = chunked == Framing::Chunked && (request.first("content-length").is_some() || !request.line.is_1_1());
    // Who waits for `100 Continue` and has no body to send is not kept.
    let idle_wait = expects && chunked == Framing::None;
    let keep = if request.line.is_1_1() { !closing } else { asked && !closing };
    Ok(Checked { framing: chunked, keep: keep && !smuggled && !idle_wait, asked, expects, path })
}

fn is_http(target: &[u8]) -> bool {
    match memchr::memmem::find(target, b"://").and_then(|at| target.get(..at)) {
        Some(scheme) if !target.starts_with(b"/") => {
            scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https")
        }
        _ => true,
    }
}

fn framing(request: &Request) -> Result<Framing, Fault> {
    let lengths: Vec<&[u8]> = request.all("content-length").collect();
    let digits = |text: &&[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let length = match lengths.as_slice() {
        [] => None,
        [text] if digits(text) => {
            let number = std::str::from_utf8(text).ok().and_then(|t| t.parse::<i64>().ok());
            Some(number.and_then(|n| u64::try_from(n).ok()).ok_or(Fault::bad("the length is none"))?)
        }
        _ => return Err(Fault::bad("the length is none")),
    };
    let last = request
        .all("transfer-encoding")
        .last()
        .map(|value| value.rsplit(|b| *b == b',').next().unwrap_or_default().trim_ascii().to_ascii_lowercase());
    match (last.as_deref(), length) {
        (Some(b"chunked"), _) => Ok(Framing::Chunked),
        (Some(_), _) => Err(Fault::bad("the transfer coding is unknown")),
        (None, Some(length)) => Ok(Framing::Length(length)),
        (None, None) => Ok(Framing::None),
    }
}

/// The reply to a request for a static file. An error's page is left to the caller, with its detail.
pub(super) fn answer(
    request: &Request,
    checked: &Checked,
    skin: &Skin,
    delivery: &Delivery<'_>,
    base: &str,
    signature: &[u8],
) -> (Response, Detail) {
    let status = |status| (Response { status, ..Response::default() }, Detail::None);
    let refused = |status, allow, close| {
        let connection = if close { Connection::Close } else { Connection::Open };
        let reply = Response { status, allow: Some(allow), connection, close, ..Response::default() };
        (reply, Detail::Method(request.line.method.clone()))
    };
    if request.line.rest == b"*" {
        return status(200);
    }
    if request.is("TRACE") {
        return refused(405, "", false);
    }
    let found = skin.find(&checked.path.bytes);
    let found = if checked.path.nul || checked.path.slash { Resource::Missing } else { found };
    if matches!(found, Resource::Unslashed) && !request.is("CONNECT") {
        let to = format!("{base}{}/", percent_encode(&checked.path.bytes));
        let query = request.line.query();
        let to = if query.is_empty() { to } else { format!("{to}?{}", String::from_utf8_lossy(query)) };
        return (Response { status: 301, location: Some(to.clone()), ..Response::default() }, Detail::Location(to));
    }
    match (request.line.method.as_slice(), found) {
        (b"OPTIONS", found) => {
            let media = match found {
                Resource::File(file) => file.media,
                Resource::Folder => Some("httpd/unix-directory"),
                _ => None,
            };
            let media = media.map(str::to_owned);
            (Response { status: 200, media, allow: Some(ALLOW), ..Response::default() }, Detail::None)
        }
        (b"GET" | b"HEAD" | b"POST", Resource::File(file)) => (delivery.answer(file, request), Detail::None),
        (b"GET" | b"HEAD" | b"POST", Resource::Folder) => (listing(request, checked, skin, signature), Detail::None),
        (b"GET" | b"HEAD" | b"POST", _) => status(404),
        (method, _) if KNOWN.iter().any(|known| known.as_bytes() == method) => refused(405, ALLOW, false),
        _ => refused(501, ALLOW, true),
    }
}

fn percent_encode(path: &[u8]) -> String {
    path.iter().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"/-_.~!$&'()*+,;=:@".contains(byte) {
            out.push(char::from(*byte));
        } else {
            let _ = write!(out, "%{byte:02x}");
        }
        out
    })
}

/// A line of a folder's listing.
struct Row<'a> {
    name: &'a str,
    /// Time in microseconds and size; `None` for a folder.
    file: Option<(i64, usize)>,
}

/// `mod_autoindex` with Debian's `FancyIndexing VersionSort HTMLTable`.
fn listing(request: &Request, checked: &Checked, skin: &Skin, signature: &[u8]) -> Response {
    let folder = String::from_utf8_lossy(&checked.path.bytes).into_owned();
    let mut rows: Vec<Row<'_>> = Vec::new();
    for (path, file) in &skin.files {
        let Some(below) = path.strip_prefix(&folder) else { continue };
        match below.split_once('/') {
            None => rows.push(Row { name: below, file: Some((file.modified, file.body.len())) }),
            Some((name, _)) if rows.iter().all(|row| row.name != name) => rows.push(Row { name, file: None }),
            Some(_) => {}
        }
    }
    let query = request.line.query();
    let (column, descending) = sorting(query);
    rows.sort_by(|a, b| match column {
        b'M' => a.file.map(|f| f.0).cmp(&b.file.map(|f| f.0)).then(a.name.cmp(b.name)),
        b'S' => a.file.map(|f| f.1).cmp(&b.file.map(|f| f.1)).then(a.name.cmp(b.name)),
        _ => a.name.to_ascii_lowercase().cmp(&b.name.to_ascii_lowercase()),
    });
    if descending {
        rows.reverse();
    }
    let body = listing_page(&folder, &rows, column, descending, signature);
    Response {
        status: 200,
        media: Some("text/html;charset=UTF-8".to_owned()),
        body,
        vary: !request.is("HEAD"),
        length: if request.is("HEAD") { Length::Hidden } else { Length::Shown },
        ..Response::default()
    }
}

/// `?C=M;O=D`: the column and whether it descends.
fn sorting(query: &[u8]) -> (u8, bool) {
    let (mut column, mut descending) = (b'N', false);
    for part in query.split(|b| matches!(b, b';' | b'&')) {
        match part {
            [b'C', b'=', name @ (b'N' | b'M' | b'S' | b'D')] => column = *name,
            b"O=D" => descending = true,
            _ => {}
        }
    }
    (column, descending)
}

fn listing_page(folder: &str, rows: &[Row<'_>], column: u8, descending: bool, signature: &[u8]) -> Vec<u8> {
    let title = folder.strip_suffix('/').unwrap_or(folder);
    let title = String::from_utf8_lossy(&escape_html(title.as_bytes())).into_owned();
    let parent = title.rsplit_once('/').map_or("/", |(parent, _)| if parent.is_empty() { "/" } else { parent });
    let parent = if parent == "/" { "/".to_owned() } else { format!("{parent}/") };
    let mut page = format!(
        "{APACHE_DOCTYPE}<html>\n <head>\n  <title>Index of {title}</title>\n </head>\n <body>\n\
         <h1>Index of {title}</h1>\n  <table>\n   <tr><th valign=\"top\"><img src=\"/icons/blank.gif\" \
         alt=\"[ICO]\"></th>"
    );
    for (letter, label) in [('N', "Name"), ('M', "Last modified"), ('S', "Size"), ('D', "Description")] {
        let order = if column == u8::try_from(letter).unwrap_or_default() && !descending { 'D' } else { 'A' };
        let _ = write!(page, "<th><a href=\"?C={letter};O={order}\">{label}</a></th>");
    }
    let rule = "   <tr><th colspan=\"5\"><hr></th></tr>\n";
    let _ = write!(
        page,
        "</tr>\n{rule}<tr><td valign=\"top\"><img src=\"/icons/back.gif\" alt=\"[PARENTDIR]\"></td>\
         <td><a href=\"{parent}\">Parent Directory</a></td><td>&nbsp;</td><td align=\"right\">  - </td>\
         <td>&nbsp;</td></tr>\n"
    );
    for row in rows {
        let slash = if row.file.is_none() { "/" } else { "" };
        let (icon, alt) = icon(row);
        let time = row.file.map_or_else(|| "&nbsp;".to_owned(), |(micros, _)| local_minute(micros));
        let size = row.file.map_or_else(|| "  - ".to_owned(), |(_, size)| short_size(size));
        let link = percent_encode(row.name.as_bytes());
        let name = String::from_utf8_lossy(&escape_html(row.name.as_bytes())).into_owned();
        let _ = writeln!(
            page,
            "<tr><td valign=\"top\"><img src=\"/icons/{icon}.gif\" alt=\"{alt}\"></td>\
             <td><a href=\"{link}{slash}\">{name}{slash}</a></td><td align=\"right\">{time}  </td>\
             <td align=\"right\">{size}</td><td>&nbsp;</td></tr>"
        );
    }
    let _ = writeln!(page, "{rule}</table>");
    let mut page = page.into_bytes();
    page.extend_from_slice(signature);
    page.extend_from_slice(b"</body></html>\n");
    page
}

fn icon(row: &Row<'_>) -> (&'static str, &'static str) {
    let extension = row.name.rsplit('.').next().unwrap_or_default();
    match (row.file, extension) {
        (None, _) => ("folder", "[DIR]"),
        (_, "png" | "jpg" | "jpeg" | "gif" | "ico" | "svg" | "webp") => ("image2", "[IMG]"),
        (_, "txt" | "css" | "html" | "htm" | "xml" | "js") => ("text", "[TXT]"),
        _ => ("unknown", "[   ]"),
    }
}

/// `2026-11-22 21:04`.
fn local_minute(micros: i64) -> String {
    let time = jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y-%m-%d %H:%M").to_string()
}

/// A size in four columns, as APR's `apr_strfsize` prints it: `  7 `, `1.2K`, ` 31M`.
fn short_size(size: usize) -> String {
    if size < 973 {
        return format!("{size:3} ");
    }
    let mut size = size;
    for unit in ['K', 'M', 'G', 'T'] {
        let remain = size & 1023;
        size >>= 10;
        if size >= 973 {
            continue;
        }
        if size < 9 || (size == 9 && remain < 973) {
            let tenth = remain.saturating_mul(5).saturating_add(256).checked_div(512).unwrap_or(0);
            let (size, tenth) = if tenth >= 10 { (size.saturating_add(1), 0) } else { (size, tenth) };
            return format!("{size}.{tenth}{unit}");
        }
        return format!("{:3}{unit}", if remain >= 512 { size.saturating_add(1) } else { size });
    }
    "****".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_sizes_in_four_columns() {
        for (size, text) in [(7, "  7 "), (972, "972 "), (1024, "1.0K"), (10_701, " 10K"), (5_000_000, "4.8M")] {
            assert_eq!(short_size(size), text, "{size}");
        }
    }

    #[test]
    fn writes_dates_of_a_listing() {
        assert_eq!(local_minute(1_795_381_476_500_000), "2026-11-22 21:04");
    }
}
