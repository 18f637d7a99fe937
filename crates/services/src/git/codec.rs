//! Packet lines and the request in the first of them.
//!
//! ```text
//! 0033 git-upload-pack /project.git NUL host=myserver.com NUL [NUL version=2 NUL ...]
//! ```
//! Four hex digits give the length of the packet, themselves included; below 4 they are a packet of
//! their own without a body.

/// Longest body of a packet that the daemon's buffer takes: 65520 less the byte that ends it.
const LONGEST_BODY: usize = 65_519;

/// Longest packet that the daemon writes, length included.
const LONGEST_PACKET: usize = 65_520;

/// What the first bytes are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    /// Not all there yet.
    Incomplete,
    /// The length is not hex, is 3, or is more than the daemon takes.
    BadLength,
    /// A body, empty for the special packets `0000` to `0002`; `used` bytes with its length.
    Packet {
        /// What stands behind the length.
        body: &'a [u8],
        /// Bytes of the whole packet.
        used: usize,
    },
}

/// Reads one packet line.
pub(super) fn frame(input: &[u8]) -> Frame<'_> {
    let Some((head, rest)) = input.split_at_checked(4) else {
        return Frame::Incomplete;
    };
    let hex = str::from_utf8(head).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let Some(length) = hex.and_then(|text| usize::from_str_radix(text, 16).ok()) else {
        return Frame::BadLength;
    };
    match length {
        0..=2 => Frame::Packet { body: &[], used: 4 },
        3 => Frame::BadLength,
        _ => {
            let body_length = length.saturating_sub(4);
            if body_length > LONGEST_BODY {
                return Frame::BadLength;
            }
            rest.get(..body_length).map_or(Frame::Incomplete, |body| Frame::Packet { body, used: length })
        }
    }
}

/// A request to the daemon.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request<'a> {
    /// `git-upload-pack`, `git-receive-pack` or `git-upload-archive`.
    pub service: &'static str,
    /// The path as sent, with its slash if it has one.
    pub path: &'a [u8],
    /// The value of `host=`, if it was sent.
    pub host: Option<&'a [u8]>,
    /// The arguments behind the second NUL, such as `version=2`.
    pub extra: Vec<&'a [u8]>,
}

/// Why a packet is no request; the daemon says nothing in either case.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoRequest {
    /// Something else than `host=` stands behind the first NUL.
    Invalid,
    /// None of the three services.
    UnknownService,
}

const SERVICES: [&str; 3] = ["git-upload-pack", "git-receive-pack", "git-upload-archive"];

impl<'a> Request<'a> {
    /// Reads the body of the first packet, in the order in which the daemon does.
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, NoRequest> {
        let (line, hidden) = terminated(body);
        let (host, rest) = match hidden.split_at_checked(5) {
            Some((name, value)) if name.eq_ignore_ascii_case(b"host=") => {
                let (host, rest) = terminated(value);
                (Some(host), rest)
            }
            _ => (None, hidden),
        };
        if rest.first().is_some_and(|&byte| byte != 0) {
            return Err(NoRequest::Invalid);
        }
        let extra = rest.split(|&byte| byte == 0).filter(|argument| !argument.is_empty()).collect();
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let found = SERVICES
            .iter()
            .find_map(|service| Some((*service, line.strip_prefix(service.as_bytes())?.strip_prefix(b" ")?)));
        let (service, path) = found.ok_or(NoRequest::UnknownService)?;
        Ok(Self { service, path, host, extra })
    }

    /// The protocol version that was asked for.
    pub(super) fn version(&self) -> Option<&'a [u8]> {
        self.extra.iter().find_map(|argument| argument.strip_prefix(b"version="))
    }

    /// The path without its first slash, which OpenCanary leaves out.
    pub(super) fn repo(&self) -> &'a [u8] {
        self.path.strip_prefix(b"/").unwrap_or(self.path)
    }
}

/// The bytes before the first NUL and those behind it.
fn terminated(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len());
    let (head, rest) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
    (head, rest.get(1..).unwrap_or_default())
}

/// The daemon's refusal, whether the path is missing, not exported or not allowed; empty where
/// it would be longer than a packet, since the daemon dies then.
pub(super) fn refusal(path: &[u8]) -> Vec<u8> {
    let text = [b"ERR access denied or repository not exported: ".as_slice(), path].concat();
    let length = text.len().saturating_add(4);
    if length > LONGEST_PACKET {
        return Vec::new();
    }
    [format!("{length:04x}").as_bytes(), &text].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[u8] = b"003agit-upload-pack /project.git\0host=h:9418\0\0version=2\0a\0";

    fn body(frame_bytes: &[u8]) -> &[u8] {
        match frame(frame_bytes) {
            Frame::Packet { body, used } if used == frame_bytes.len() => body,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reads_a_whole_request() {
        let request = Request::parse(body(GOOD)).unwrap();
        assert_eq!(request.service, "git-upload-pack");
        assert_eq!((request.path, request.repo()), (b"/project.git".as_slice(), b"project.git".as_slice()));
        assert_eq!(request.host, Some(b"h:9418".as_slice()));
        assert_eq!(request.extra, [b"version=2".as_slice(), b"a"]);
        assert_eq!(request.version(), Some(b"2".as_slice()));
    }

    #[test]
    fn every_prefix_is_incomplete() {
        for end in 0..GOOD.len() {
            assert_eq!(frame(&GOOD[..end]), Frame::Incomplete, "{end}");
        }
    }

    #[test]
    fn rejects_lengths_that_are_none() {
        for bad in [b"zzzz".as_slice(), b"0 10", b"+010", b"GET ", b"0003", b"fff4", b"FFFF", b"\xff\xff\xff\xff"] {
            assert_eq!(frame(bad), Frame::BadLength, "{}", bad.escape_ascii());
        }
        for special in [b"0000", b"0001", b"0002", b"0004"] {
            assert_eq!(frame(special), Frame::Packet { body: b"", used: 4 });
        }
        assert_eq!(frame(b"fff3"), Frame::Incomplete);
    }

    #[test]
    fn takes_only_the_three_services_with_a_blank() {
        for line in ["git-upload-pack", "upload-pack /x", "git-Upload-pack /x", "git-upload-pack-x /x", "foo /x", ""] {
            assert_eq!(Request::parse(line.as_bytes()), Err(NoRequest::UnknownService), "{line}");
        }
        assert_eq!(Request::parse(b"git-receive-pack ").unwrap().path, b"");
        assert_eq!(Request::parse(b"git-upload-archive  /x\n").unwrap().path, b" /x");
    }

    #[test]
    fn takes_only_a_host_behind_the_first_nul() {
        assert_eq!(Request::parse(b"git-upload-pack /a\0garbage\0"), Err(NoRequest::Invalid));
        assert_eq!(Request::parse(b"git-upload-pack /a\0host=h\0junk\0"), Err(NoRequest::Invalid));
        assert_eq!(Request::parse(b"git-upload-pack /a\0host=").unwrap().host, Some(b"".as_slice()));
        assert_eq!(Request::parse(b"git-upload-pack /a\0HOST=h").unwrap().host, Some(b"h".as_slice()));
        assert_eq!(Request::parse(b"git-upload-pack /a\0\0version=1\0").unwrap().version(), Some(b"1".as_slice()));
        // A path that holds `host` once misled OpenCanary.
        let request = Request::parse(b"git-upload-pack /myhost/proj.git\0host=x\0").unwrap();
        assert_eq!((request.repo(), request.host), (b"myhost/proj.git".as_slice(), Some(b"x".as_slice())));
    }

    #[test]
    fn a_refusal_longer_than_a_packet_is_not_sent() {
        assert_eq!(refusal(b"/x"), b"0034ERR access denied or repository not exported: /x");
        assert_eq!(refusal(&[b'a'; 65_520 - 50]).len(), 65_520);
        assert_eq!(refusal(&[b'a'; 65_520 - 49]), b"");
    }
}
