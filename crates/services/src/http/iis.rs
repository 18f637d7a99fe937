//! IIS 10 as installed: its order of headers, its pages, and the refusals of HTTP.sys, which speaks for it
//! while a request is not understood.
//!
//! From Microsoft's documentation of IIS and the pages that it installs (`%SystemDrive%\inetpub\custerr`),
//! not from captures. LIMIT: what is a good request is judged as Apache judges it.

use aviary_event::Timestamp;

use super::codec::{Checked, Fault, Request};
use super::delivery::Delivery;
use super::response::{Connection, Head, Length, Response, http_date};
use super::skin::{Resource, Skin};

/// What a static file allows, and what the server knows.
const ALLOW: &str = "GET, HEAD, OPTIONS, TRACE";
const PUBLIC: &str = "OPTIONS, TRACE, GET, HEAD, POST";

/// Seconds between 1601, from which Windows counts, and 1970.
const EPOCH_GAP: i64 = 11_644_473_600;

/// `"1db5d5e2f9a0c00:0"`: the time of the last change in units of 100 ns, and a number of changes.
pub(super) fn etag(modified_micros: i64) -> String {
    let filetime = modified_micros.saturating_add(EPOCH_GAP.saturating_mul(1_000_000)).saturating_mul(10);
    format!("\"{filetime:x}:0\"")
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
    if request.is("OPTIONS") {
        let extra = vec![("Allow".to_owned(), PUBLIC.to_owned()), ("Public".to_owned(), PUBLIC.to_owned())];
        return Response { status: 200, extra, ..Response::default() };
    }
    let found = if checked.path.nul { Resource::Missing } else { skin.find(&checked.path.bytes) };
    let reads = request.is("GET") || request.is("HEAD");
    match found {
        Resource::File(file) if reads => delivery.answer(file, request),
        Resource::Unslashed if reads || request.is("POST") => {
            let to = format!("{base}{}/", String::from_utf8_lossy(&checked.path.bytes));
            let body = format!(
                "<head><title>Document Moved</title></head>\n<body><h1>Object Moved</h1>This document may be found \
                 <a HREF=\"{to}\">here</a></body>"
            );
            let media = Some("text/html; charset=UTF-8".to_owned());
            Response { status: 301, location: Some(to), body: body.into_bytes(), media, ..Response::default() }
        }
        Resource::Folder if reads => status(403),
        Resource::Missing if reads || request.is("POST") => status(404),
        _ => Response { allow: Some(ALLOW), ..status(405) },
    }
}

/// The page of a status, from `custerr`.
pub(super) fn page(status: u16) -> Vec<u8> {
    let (title, text) = match status {
        401 => (
            "401 - Unauthorized: Access is denied due to invalid credentials.",
            "You do not have permission to view this directory or page using the credentials that you supplied.",
        ),
        403 => (
            "403 - Forbidden: Access is denied.",
            "You do not have permission to view this directory or page using the credentials that you supplied.",
        ),
        404 => (
            "404 - File or directory not found.",
            "The resource you are looking for might have been removed, had its name changed, or is temporarily \
             unavailable.",
        ),
        405 => (
            "405 - HTTP verb used to access this page is not allowed.",
            "The page you are looking for cannot be displayed because an invalid method (HTTP verb) was used to \
             attempt access.",
        ),
        412 => (
            "412 - Precondition set by the client failed when evaluated on the Web server.",
            "The request was not completed due to preconditions that are set in the request header. Preconditions \
             prevent the requested method from being applied to a resource other than the one intended. An example of \
             a precondition is testing for expired content in the page cache of the client.",
        ),
        416 => ("416 - Requested range not satisfiable.", "The requested range is not satisfiable."),
        501 => (
            "501 - Header values specify a method that is not implemented.",
            "The page you are looking for cannot be displayed because a header value in the request does not match \
             certain configuration settings on the Web server. For example, a request header might specify a POST to \
             a static file that cannot be posted to, or specify a Transfer-Encoding value that cannot make use of \
             compression.",
        ),
        _ => (
            "500 - Internal server error.",
            "There is a problem with the resource you are looking for, and it cannot be displayed.",
        ),
    };
    let lines = [
        "<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Strict//EN\" \"http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd\">",
        "<html xmlns=\"http://www.w3.org/1999/xhtml\">",
        "<head>",
        "<meta http-equiv=\"Content-Type\" content=\"text/html; charset=iso-8859-1\"/>",
        &format!("<title>{title}</title>"),
        "<style type=\"text/css\">",
        "<!--",
        "body{margin:0;font-size:.7em;font-family:Verdana, Arial, Helvetica, sans-serif;background:#EEEEEE;}",
        "fieldset{padding:0 15px 10px 15px;} ",
        "h1{font-size:2.4em;margin:0;color:#FFF;}",
        "h2{font-size:1.7em;margin:0;color:#CC0000;} ",
        "h3{font-size:1.2em;margin:10px 0 0 0;color:#000000;} ",
        "#header{width:96%;margin:0 0 0 0;padding:6px 2% 6px 2%;font-family:\"trebuchet MS\", Verdana, sans-serif;color:#FFF;",
        "background-color:#555555;}",
        "#content{margin:0 0 0 2%;position:relative;}",
        ".content-container{background:#FFF;width:96%;margin-top:8px;padding:10px;position:relative;}",
        "-->",
        "</style>",
        "</head>",
        "<body>",
        "<div id=\"header\"><h1>Server Error</h1></div>",
        "<div id=\"content\">",
        " <div class=\"content-container\"><fieldset>",
        &format!("  <h2>{title}</h2>"),
        &format!("  <h3>{text}</h3>"),
        " </fieldset></div>",
        "</div>",
        "</body>",
        "</html>",
    ];
    lines.iter().flat_map(|line| [line.as_bytes(), b"\r\n"].concat()).collect()
}

/// A refusal of HTTP.sys, whole: it names itself, not IIS.
pub(super) fn refusal(fault: &Fault, now: Timestamp) -> Vec<u8> {
    let (status, reason, heading, text) = match (fault.status, fault.reason) {
        (400, reason) if reason.contains("host") => {
            (400, "Bad Request", "Bad Request - Invalid Hostname", "HTTP Error 400. The request hostname is invalid.")
        }
        (400, reason) if reason.contains("method") => {
            (400, "Bad Request", "Bad Request - Invalid Verb", "HTTP Error 400. The request verb is invalid.")
        }
        (400, reason) if reason.contains("target") || reason.contains("path") => {
            (400, "Bad Request", "Bad Request - Invalid URL", "HTTP Error 400. The request URL is invalid.")
        }
        (400, reason) if reason.contains("header's name") => (
            400,
            "Bad Request",
            "Bad Request - Invalid Header",
            "HTTP Error 400. The request has an invalid header name.",
        ),
        (400, reason) if reason.contains("too long") || reason.contains("too many") => (
            400,
            "Bad Request",
            "Bad Request - Request Too Long",
            "HTTP Error 400. The size of the request headers is too long.",
        ),
        (414, _) => (414, "URI Too Long", "URI Too Long", "HTTP Error 414. The request URL is too long."),
        (501, _) => (
            501,
            "Not Implemented",
            "Not Implemented",
            "HTTP Error 501. The request transfer encoding is not supported.",
        ),
        (505, _) => (
            505,
            "HTTP Version Not Supported",
            "Version Not Supported",
            "HTTP Error 505. The HTTP version is not supported.",
        ),
        _ => (400, "Bad Request", "Bad Request", "HTTP Error 400. The request is badly formed."),
    };
    let body = format!(
        "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\"\"http://www.w3.org/TR/html4/strict.dtd\">\r\n\
         <HTML><HEAD><TITLE>{reason}</TITLE>\r\n\
         <META HTTP-EQUIV=\"Content-Type\" Content=\"text/html; charset=us-ascii\"></HEAD>\r\n\
         <BODY><h2>{heading}</h2>\r\n<hr><p>{text}</p>\r\n</BODY></HTML>\r\n"
    );
    format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: text/html; charset=us-ascii\r\nServer: Microsoft-HTTPAPI/2.0\r\n\
         Date: {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        http_date(now.as_seconds()),
        body.len()
    )
    .into_bytes()
}

/// `Content-Type`, validators, `Server`, what the application adds, `Date`, `Connection`, `Content-Length`.
pub(super) fn write(reply: &Response, banner: &str, now: Timestamp, head: &mut Head<'_>) {
    if reply.status != 304 {
        head.option("Content-Type", reply.media.as_deref());
    }
    head.option("Content-Range", reply.content_range.as_deref());
    head.option("Last-Modified", reply.modified.map(http_date).as_deref());
    if reply.accept_ranges {
        head.field("Accept-Ranges", "bytes");
    }
    head.option("ETag", reply.etag.as_deref());
    head.option("Location", reply.location.as_deref());
    head.option("Allow", reply.allow);
    head.field("Server", banner);
    for (name, value) in &reply.extra {
        head.field(name, value);
    }
    head.field("X-Powered-By", "ASP.NET");
    head.field("Date", &http_date(now.as_seconds()));
    match reply.connection {
        Connection::Open => {}
        Connection::KeepAlive { .. } => head.field("Connection", "keep-alive"),
        Connection::Close => head.field("Connection", "close"),
    }
    match reply.length {
        Length::Chunked => head.field("Transfer-Encoding", "chunked"),
        Length::Shown if reply.status != 304 => head.field("Content-Length", &reply.body.len().to_string()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_the_lengths_that_iis_tells() {
        // Content-Length of these pages as IIS 7 to 10 send them, seen in many published answers.
        for (status, length) in [(401, 1293), (403, 1233), (404, 1245), (405, 1293)] {
            assert_eq!(page(status).len(), length, "{status}");
        }
    }

    #[test]
    fn refusals_have_the_lengths_that_http_sys_tells() {
        for (reason, length) in [
            ("the host is missing", 334),
            ("the method is no token", 326),
            ("the target is no path", 324),
            ("the length is none", 311),
        ] {
            let text = refusal(&Fault::bad(reason), Timestamp::from_micros(0));
            assert!(String::from_utf8_lossy(&text).contains(&format!("Content-Length: {length}\r\n")), "{reason}");
        }
    }

    #[test]
    fn a_tag_counts_from_1601() {
        assert_eq!(etag(0), "\"19db1ded53e8000:0\"");
    }
}
