//! Replies: what a product says, and how each of them puts it on the wire, header by header.

use aviary_event::Timestamp;
use jiff::tz::TimeZone;

use super::personas::{Family, Persona};

/// A reply before it is written. Its fields have no order; the product's writer gives them one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Response {
    /// The status.
    pub(super) status: u16,
    /// `Content-Type`.
    pub(super) media: Option<String>,
    /// The body, also when it is not sent for HEAD.
    pub(super) body: Vec<u8>,
    /// How the length is told.
    pub(super) length: Length,
    /// `Last-Modified`, seconds since 1970.
    pub(super) modified: Option<i64>,
    /// `ETag` with its quotes.
    pub(super) etag: Option<String>,
    /// `Accept-Ranges: bytes`.
    pub(super) accept_ranges: bool,
    /// `Content-Range`.
    pub(super) content_range: Option<String>,
    /// `Location`.
    pub(super) location: Option<String>,
    /// `Allow`.
    pub(super) allow: Option<&'static str>,
    /// `Vary: Accept-Encoding`.
    pub(super) vary: bool,
    /// `Content-Encoding: gzip`, which the body then is.
    pub(super) gzip: bool,
    /// Further headers in order: `WWW-Authenticate`, `Set-Cookie`.
    pub(super) extra: Vec<(String, String)>,
    /// What `Connection` says.
    pub(super) connection: Connection,
    /// Whether the connection ends after it, whatever `Connection` says.
    pub(super) close: bool,
}

/// How the length of the body is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Length {
    /// `Content-Length`.
    #[default]
    Shown,
    /// Not at all.
    Hidden,
    /// `Transfer-Encoding: chunked`, in one chunk.
    Chunked,
}

/// What `Connection` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Connection {
    /// It stays open, as HTTP/1.1 has it.
    #[default]
    Open,
    /// It stays open since the client asked; Apache tells how many requests are left.
    KeepAlive {
        /// Requests left.
        left: u32,
    },
    /// It closes.
    Close,
}

/// How much of a reply goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// Head and body.
    Whole,
    /// The head alone, for HEAD.
    Head,
    /// The body alone, for HTTP/0.9.
    Body,
}

impl Response {
    /// The bytes as this persona sends them.
    pub(super) fn write(&self, persona: &Persona, now: Timestamp, extent: Extent) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.body.len().saturating_add(512));
        if extent != Extent::Body {
            let mut head = Head { out: &mut out };
            head.line(&format!("HTTP/1.1 {} {}", self.status, persona.family.reason(self.status)));
            match persona.family {
                Family::Nginx => self.write_nginx(persona, now, &mut head),
                Family::Apache if persona.iis => super::iis::write(self, &persona.banner, now, &mut head),
                Family::Apache => self.write_apache(persona, now, &mut head),
            }
            head.line("");
        }
        if extent != Extent::Head && self.status != 304 {
            if self.length == Length::Chunked && extent == Extent::Whole {
                out.extend_from_slice(format!("{:x}\r\n", self.body.len()).as_bytes());
                out.extend_from_slice(&self.body);
                out.extend_from_slice(b"\r\n0\r\n\r\n");
            } else {
                out.extend_from_slice(&self.body);
            }
        }
        out
    }

    /// nginx: `Server, Date, Content-Type, Content-Length, Last-Modified, Location, Connection`, then
    /// its table, in which `ETag` and the ranges come last.
    fn write_nginx(&self, persona: &Persona, now: Timestamp, head: &mut Head<'_>) {
        head.field("Server", &persona.banner);
        head.field("Date", &http_date(now.as_seconds()));
        if self.status != 304 {
            head.option("Content-Type", self.media.as_deref());
            if self.length == Length::Shown {
                head.field("Content-Length", &self.body.len().to_string());
            }
        }
        head.option("Last-Modified", self.modified.map(http_date).as_deref());
        head.option("Location", self.location.as_deref());
        if self.length == Length::Chunked {
            head.field("Transfer-Encoding", "chunked");
        }
        head.field("Connection", if self.connection == Connection::Close { "close" } else { "keep-alive" });
        for (name, value) in &self.extra {
            head.field(name, value);
        }
        head.option("ETag", self.etag.as_deref());
        match &self.content_range {
            Some(range) => head.field("Content-Range", range),
            None if self.accept_ranges && self.status == 200 => head.field("Accept-Ranges", "bytes"),
            None => {}
        }
    }

    /// Apache: `Date, Server`, its tables, `Keep-Alive` and `Connection`, and `Content-Type` last.
    fn write_apache(&self, persona: &Persona, now: Timestamp, head: &mut Head<'_>) {
        head.field("Date", &http_date(now.as_seconds()));
        head.field("Server", &persona.banner);
        for (name, value) in &self.extra {
            head.field(name, value);
        }
        head.option("Location", self.location.as_deref());
        head.option("Allow", self.allow);
        head.option("Last-Modified", self.modified.map(http_date).as_deref());
        head.option("ETag", self.etag.as_deref());
        if self.accept_ranges {
            head.field("Accept-Ranges", "bytes");
        }
        let length = (self.length == Length::Shown && self.status != 304).then(|| self.body.len().to_string());
        let vary = self.vary.then_some("Accept-Encoding");
        // A file's length is known before the compressing filter looks at it, a made page's is not.
        if self.etag.is_some() && !self.gzip {
            head.option("Content-Length", length.as_deref());
            head.option("Vary", vary);
            head.option("Content-Range", self.content_range.as_deref());
        } else {
            head.option("Vary", vary);
            head.option("Content-Encoding", self.gzip.then_some("gzip"));
            head.option("Content-Range", self.content_range.as_deref());
            head.option("Content-Length", length.as_deref());
        }
        match self.connection {
            Connection::Open => {}
            Connection::KeepAlive { left } => {
                head.field("Keep-Alive", &format!("timeout={}, max={left}", persona.keep_alive.as_secs()));
                head.field("Connection", "Keep-Alive");
            }
            Connection::Close => head.field("Connection", "close"),
        }
        if self.length == Length::Chunked {
            head.field("Transfer-Encoding", "chunked");
        }
        if self.status != 304 {
            head.option("Content-Type", self.media.as_deref());
        }
    }
}

/// The head of a reply while it is written.
pub(super) struct Head<'a> {
    out: &'a mut Vec<u8>,
}

impl Head<'_> {
    fn line(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    /// A header.
    pub(super) fn field(&mut self, name: &str, value: &str) {
        self.line(&format!("{name}: {value}"));
    }

    /// A header, if there is a value.
    pub(super) fn option(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.field(name, value);
        }
    }
}

/// `Sun, 22 Nov 2026 22:00:00 GMT`.
pub(crate) fn http_date(seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.to_zoned(TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// Reads what [`http_date`] writes.
pub(super) fn read_date(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let time = jiff::civil::DateTime::strptime("%a, %d %b %Y %H:%M:%S GMT", text).ok()?;
    time.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp().as_second())
}

/// Text with what HTML would read as markup escaped, as Apache's `ap_escape_html` does.
pub(super) fn escape_html(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'"' => out.extend_from_slice(b"&quot;"),
            byte => out.push(*byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_and_reads_dates() {
        assert_eq!(http_date(1_795_384_800), "Sun, 22 Nov 2026 22:00:00 GMT");
        assert_eq!(read_date(b"Sun, 22 Nov 2026 22:00:00 GMT"), Some(1_795_384_800));
        assert_eq!(read_date(b"yesterday"), None);
    }
}
