//! Personas: the product in the banner, with its limits, its words for statuses and its pages.
//!
//! Measured against Debian's binaries of nginx 1.22.1 and Apache 2.4.71, with short configurations
//! that keep Debian's settings for keep-alive, time-outs, compression and listings. IIS has pages, headers
//! and refusals of its own ([`super::iis`]). A banner of none of them gets Apache's manners under its own name.

use std::time::Duration;

use super::codec::{Detail, Host};
use super::response::escape_html;

/// The server whose manners a persona has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Apache httpd 2.4.
    Apache,
    /// nginx.
    Nginx,
}

/// A product version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Persona {
    /// What `Server` says.
    pub(super) banner: String,
    /// Whose manners it has.
    pub(super) family: Family,
    /// Whether it is IIS: understood as by Apache, answered as by itself.
    pub(super) iis: bool,
    /// Time for a request to arrive: `client_header_timeout`, `RequestReadTimeout`.
    pub(super) patience: Duration,
    /// Idle time between requests: `keepalive_timeout`, `KeepAliveTimeout`.
    pub(super) keep_alive: Duration,
    /// Requests that leave a connection open: the one after them closes it.
    pub(super) requests: u32,
}

impl Persona {
    /// The persona of a banner.
    pub(super) fn of(banner: &str) -> Self {
        let family = if banner.to_ascii_lowercase().contains("nginx") { Family::Nginx } else { Family::Apache };
        let iis = family == Family::Apache && banner.starts_with("Microsoft-IIS");
        let (patience, keep_alive, requests) = match family {
            // HTTP.sys's `headerWaitTimeout` and `connectionTimeout`; it counts no requests.
            Family::Apache if iis => (120, 120, u32::MAX),
            Family::Apache => (20, 5, 100),
            // keepalive_requests is 1000 since 1.19.10; it counts the closing one.
            Family::Nginx => (60, 65, if minor_version(banner) < 20 { 99 } else { 999 }),
        };
        Self {
            banner: banner.to_owned(),
            family,
            iis,
            patience: Duration::from_secs(patience),
            keep_alive: Duration::from_secs(keep_alive),
            requests,
        }
    }

    /// The page of a status. `host` and `port` stand in Apache's signature.
    pub(super) fn page(&self, status: u16, detail: &Detail, host: &str, port: u16) -> Vec<u8> {
        match self.family {
            Family::Nginx => self.nginx_page(status, detail).into_bytes(),
            Family::Apache if self.iis => super::iis::page(status),
            Family::Apache => self.apache_page(status, detail, host, port),
        }
    }

    fn nginx_page(&self, status: u16, detail: &Detail) -> String {
        let reason = if status == 401 { "Authorization Required" } else { self.family.reason(status) };
        let plain = format!("{status} {reason}");
        let note = match detail {
            Detail::HeaderTooLarge | Detail::TooManyHeaders => Some("Request Header Or Cookie Too Large"),
            Detail::PlainOnTls => Some("The plain HTTP request was sent to HTTPS port"),
            _ => None,
        };
        let title = note.map_or_else(|| plain.clone(), |note| format!("{status} {note}"));
        let note = note.map(|note| format!("<center>{note}</center>\r\n")).unwrap_or_default();
        format!(
            "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{plain}</h1></center>\r\n\
             {note}<hr><center>{}</center>\r\n</body>\r\n</html>\r\n",
            self.banner
        )
    }

    fn apache_page(&self, status: u16, detail: &Detail, host: &str, port: u16) -> Vec<u8> {
        let reason = self.family.reason(status);
        let heading = format!(
            "{APACHE_DOCTYPE}<html><head>\n<title>{status} {reason}</title>\n</head><body>\n<h1>{reason}</h1>\n"
        );
        let mut page = heading.into_bytes();
        match (status, detail) {
            (_, Detail::Location(to)) => {
                page.extend_from_slice(b"<p>The document has moved <a href=\"");
                page.extend_from_slice(&escape_html(to.as_bytes()));
                page.extend_from_slice(b"\">here</a>.</p>\n");
            }
            (405, Detail::Method(method)) => {
                page.extend_from_slice(b"<p>The requested method ");
                page.extend_from_slice(&escape_html(method));
                page.extend_from_slice(b" is not allowed for this URL.</p>\n");
            }
            (501, Detail::Method(method)) => {
                page.extend_from_slice(b"<p>");
                page.extend_from_slice(&escape_html(method));
                page.extend_from_slice(b" not supported for current URL.<br />\n</p>\n");
            }
            (417, Detail::Expectation(value)) => {
                page.extend_from_slice(
                    b"<p>The expectation given in the Expect request-header\nfield could not be met by this server.\n\
                      The client sent<pre>\n    Expect: ",
                );
                page.extend_from_slice(&escape_html(value));
                page.extend_from_slice(b"\n</pre>\n</p><p>Only the 100-continue expectation is supported.</p>\n");
            }
            (400, detail) => {
                page.extend_from_slice(
                    b"<p>Your browser sent a request that this server could not understand.<br />\n",
                );
                page.extend_from_slice(match detail {
                    Detail::HeaderTooLarge => b"Size of a request header field exceeds server limit.",
                    Detail::TooManyHeaders => b"The number of request header fields exceeds this server's limit.",
                    Detail::PlainOnTls => {
                        b"Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />\n \
                          Instead use the HTTPS scheme to access this URL, please.<br />\n"
                    }
                    _ => b"".as_slice(),
                });
                page.extend_from_slice(b"</p>\n");
            }
            (status, _) => page.extend_from_slice(apache_words(status).as_bytes()),
        }
        page.extend_from_slice(b"<hr>\n");
        page.extend_from_slice(&self.signature(host, port));
        page.extend_from_slice(b"</body></html>\n");
        page
    }

    /// Apache's line below its own pages.
    pub(super) fn signature(&self, host: &str, port: u16) -> Vec<u8> {
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let text = format!("{} Server at {host} Port {port}", self.banner);
        [b"<address>".as_slice(), &escape_html(text.as_bytes()), b"</address>\n"].concat()
    }
}

/// The second number of a version: 22 of `nginx/1.22.1`; without one the newest is meant.
fn minor_version(banner: &str) -> u32 {
    banner.split('.').nth(1).and_then(|n| n.parse().ok()).unwrap_or(u32::MAX)
}

/// What Apache's own pages begin with.
pub(super) const APACHE_DOCTYPE: &str =
    "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\" \"http://www.w3.org/TR/html4/strict.dtd\">\n";

/// What Apache says below the heading of a status that needs no detail.
const fn apache_words(status: u16) -> &'static str {
    match status {
        401 => {
            "<p>This server could not verify that you\nare authorized to access the document\nrequested.  Either you \
             supplied the wrong\ncredentials (e.g., bad password), or your\nbrowser doesn't understand how to \
             supply\nthe credentials required.</p>\n"
        }
        403 => "<p>You don't have permission to access this resource.</p>\n",
        404 => "<p>The requested URL was not found on this server.</p>\n",
        408 => "<p>Server timeout waiting for the HTTP request from the client.</p>\n",
        413 => {
            "The requested resource does not allow request data with POST requests, or the amount of data provided \
             in\nthe request exceeds the capacity limit.\n"
        }
        414 => "<p>The requested URL's length exceeds the capacity\nlimit for this server.<br />\n</p>\n",
        416 => {
            "<p>None of the range-specifier values in the Range\nrequest-header field overlap the current extent\nof \
             the selected resource.</p>\n"
        }
        _ => "",
    }
}

impl Family {
    /// The words behind a status.
    pub(super) const fn reason(self, status: u16) -> &'static str {
        let apache = matches!(self, Self::Apache);
        match status {
            200 => "OK",
            201 => "Created",
            204 => "No Content",
            206 => "Partial Content",
            301 => "Moved Permanently",
            302 if apache => "Found",
            302 => "Moved Temporarily",
            303 => "See Other",
            304 => "Not Modified",
            307 => "Temporary Redirect",
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            405 if apache => "Method Not Allowed",
            405 => "Not Allowed",
            408 if apache => "Request Timeout",
            408 => "Request Time-out",
            412 => "Precondition Failed",
            413 => "Request Entity Too Large",
            414 if apache => "Request-URI Too Long",
            414 => "Request-URI Too Large",
            416 => "Requested Range Not Satisfiable",
            417 => "Expectation Failed",
            429 => "Too Many Requests",
            501 => "Not Implemented",
            503 if apache => "Service Unavailable",
            503 => "Service Temporarily Unavailable",
            505 => "HTTP Version Not Supported",
            _ => "Internal Server Error",
        }
    }

    /// The `Content-Type` of a file by the last part of its name.
    pub(super) fn media(self, path: &str) -> Option<&'static str> {
        let name = path.rsplit('/').next().unwrap_or_default();
        let extension = name.rsplit_once('.').map(|(_, e)| e.to_ascii_lowercase()).unwrap_or_default();
        let found = MEDIA.iter().find(|(e, _, _)| *e == extension);
        match self {
            Self::Apache => found.map(|(_, apache, _)| *apache),
            Self::Nginx => Some(found.map_or("application/octet-stream", |(_, _, nginx)| *nginx)),
        }
    }

    /// Whether the compressing filter takes a type, as Debian's `deflate.conf` lists them.
    pub(super) fn compresses(self, media: &str) -> bool {
        const TYPES: [&str; 7] = [
            "text/html",
            "text/plain",
            "text/xml",
            "text/css",
            "text/javascript",
            "application/javascript",
            "application/xml",
        ];
        self == Self::Apache && TYPES.contains(&media.split(';').next().unwrap_or_default())
    }
}

/// Extension, type in Debian's `mime.types`, type in nginx's.
const MEDIA: &[(&str, &str, &str)] = &[
    ("html", "text/html", "text/html"),
    ("htm", "text/html", "text/html"),
    ("css", "text/css", "text/css"),
    ("js", "text/javascript", "application/javascript"),
    ("json", "application/json", "application/json"),
    ("xml", "application/xml", "text/xml"),
    ("txt", "text/plain", "text/plain"),
    ("svg", "image/svg+xml", "image/svg+xml"),
    ("png", "image/png", "image/png"),
    ("jpg", "image/jpeg", "image/jpeg"),
    ("jpeg", "image/jpeg", "image/jpeg"),
    ("gif", "image/gif", "image/gif"),
    ("webp", "image/webp", "image/webp"),
    ("ico", "image/vnd.microsoft.icon", "image/x-icon"),
    ("woff", "font/woff", "font/woff"),
    ("woff2", "font/woff2", "font/woff2"),
    ("ttf", "font/ttf", "application/octet-stream"),
    ("pdf", "application/pdf", "application/pdf"),
    ("zip", "application/zip", "application/zip"),
];

/// Reads a host as Apache does: a name of letters, digits, `-`, `.` and `_`, or an IPv6 address in
/// brackets, and a port of 16 bits. `loose` takes any other visible character too, as nginx does.
pub(super) fn read_host(text: &[u8], loose: bool) -> Option<Host> {
    let text = std::str::from_utf8(text).ok()?;
    let (name, port) = match text.strip_prefix('[') {
        Some(inner) => {
            let end = inner.find(']')?;
            let (address, rest) = inner.split_at_checked(end)?;
            (format!("[{address}]"), rest.strip_prefix(']')?.strip_prefix(':'))
        }
        None => match text.split_once(':') {
            Some((name, port)) => (name.to_owned(), Some(port)),
            None => (text.to_owned(), None),
        },
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let good = |c: char| if loose { c.is_ascii_graphic() && !matches!(c, '/' | '\\') } else { plain(c) };
    let inner = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
    let fine = match inner {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok() || loose,
        None => name.chars().all(good),
    };
    let short = name.strip_suffix('.').unwrap_or(&name);
    if !fine || short.is_empty() || name.contains("..") {
        return None;
    }
    let port = match port {
        None | Some("") => None,
        Some(port) if loose => port.parse().ok(),
        Some(port) => Some(port.parse().ok().filter(|n| *n != 0)?),
    };
    Some(Host { name: short.to_ascii_lowercase(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_family_from_the_banner() {
        assert_eq!(Persona::of("nginx/1.22.1").requests, 999);
        assert_eq!(Persona::of("nginx/1.18.0 (Ubuntu)").requests, 99);
        assert_eq!(Persona::of("nginx").family, Family::Nginx);
        assert!(Persona::of("Microsoft-IIS/10.0").iis && !Persona::of("Apache").iis);
    }

    #[test]
    fn reads_hosts_as_each_product_does() {
        let host = |name: &str, port| Some(Host { name: name.to_owned(), port });
        assert_eq!(read_host(b"Srv.Example.:8080", false), host("srv.example", Some(8080)));
        assert_eq!(read_host(b"[::1]:81", false), host("[::1]", Some(81)));
        assert_eq!(read_host(b"a&b", false), None);
        assert_eq!(read_host(b"a&b", true), host("a&b", None));
        assert_eq!(read_host(b"h:99999", false), None);
        assert_eq!(read_host(b"h:99999", true), host("h", None));
        for bad in [b"".as_slice(), b".", b"a b", b"a/b", b"a..b", b"[::1", b"\xff"] {
            assert_eq!(read_host(bad, true), None, "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn escapes_what_a_peer_puts_into_a_page() {
        let page = Persona::of("Apache/2.4.71").page(405, &Detail::Method(b"<b>".to_vec()), "h", 80);
        assert!(memchr::memmem::find(&page, b"method &lt;b&gt; is").is_some());
    }
}
