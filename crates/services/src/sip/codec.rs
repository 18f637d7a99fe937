//! Messages ([RFC 3261], sections 7 and 18.3): where one ends, its first line, its headers.
//!
//! ```text
//! INVITE sip:00442071234567@192.0.2.1 SIP/2.0 CRLF
//! Via: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK1;rport CRLF
//! ... CRLF CRLF body of Content-Length bytes
//! ```
//! Lines may end in a lone LF, as products let them. Blank lines before a message keep a connection
//! alive and say nothing.
//!
//! [RFC 3261]: https://www.rfc-editor.org/rfc/rfc3261

/// Longest first line and headers together that are read.
pub(super) const LONGEST_HEAD: usize = 16 * 1024;

/// Longest body that is read.
pub(super) const LONGEST_BODY: usize = 32 * 1024;

/// Most headers of a message.
const MOST_HEADERS: usize = 256;

/// What the first bytes of a stream are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    /// Not all there yet.
    Incomplete,
    /// So many bytes of blank lines.
    Blank(usize),
    /// A message; `used` bytes with the blank lines before it.
    Message {
        /// First line and headers, with their line ends.
        head: &'a [u8],
        /// The body.
        body: &'a [u8],
        /// Bytes of the whole message.
        used: usize,
    },
    /// What can be no message, and why; nothing behind it can be read.
    Broken(&'static str),
}

/// Reads the next message of a stream.
pub(super) fn frame(input: &[u8]) -> Frame<'_> {
    let blank = blank_lines(input);
    let rest = input.get(blank..).unwrap_or_default();
    if rest.is_empty() {
        return if blank == 0 { Frame::Incomplete } else { Frame::Blank(blank) };
    }
    let Some((head, behind)) = split_head(rest) else {
        return if rest.len() >= LONGEST_HEAD { Frame::Broken("head too long") } else { Frame::Incomplete };
    };
    if head.len() > LONGEST_HEAD {
        return Frame::Broken("head too long");
    }
    let length = match content_length(head) {
        Ok(length) => length,
        Err(why) => return Frame::Broken(why),
    };
    let used = input.len().saturating_sub(behind.len()).saturating_add(length);
    behind.get(..length).map_or(Frame::Incomplete, |body| Frame::Message { head, body, used })
}

/// Head and body of a datagram, or why it is no message. A body is never longer than the datagram, whatever
/// its length says.
pub(super) fn datagram(bytes: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    let rest = bytes.get(blank_lines(bytes)..).unwrap_or_default();
    if rest.is_empty() {
        return Err("blank lines and no message");
    }
    let Some((head, behind)) = split_head(rest) else { return Err("unfinished message") };
    if head.len() > LONGEST_HEAD {
        return Err("head too long");
    }
    let length = content_length(head).unwrap_or(behind.len());
    let length = if header_line(head, is_content_length).is_some() { length } else { behind.len() };
    Ok((head, behind.get(..length).unwrap_or(behind)))
}

/// Bytes of the blank lines at the front.
fn blank_lines(input: &[u8]) -> usize {
    input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count()
}

/// What stands before and behind the first empty line.
fn split_head(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut from = 0_usize;
    while let Some(found) = memchr::memchr(b'\n', input.get(from..)?) {
        let next = from.saturating_add(found).saturating_add(1);
        let (head, rest) = input.split_at_checked(next)?;
        for empty in [b"\n".as_slice(), b"\r\n"] {
            if let Some(behind) = rest.strip_prefix(empty) {
                return Some((head, behind));
            }
        }
        from = next;
    }
    None
}

fn is_content_length(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"l")
}

/// The value of the first header whose name is wanted.
fn header_line(head: &[u8], wanted: impl Fn(&[u8]) -> bool) -> Option<&[u8]> {
    head.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
        let (name, value) = line.split_at_checked(memchr::memchr(b':', line)?)?;
        wanted(name.trim_ascii()).then(|| value.get(1..).unwrap_or_default().trim_ascii())
    })
}

fn content_length(head: &[u8]) -> Result<usize, &'static str> {
    let Some(value) = header_line(head, is_content_length) else { return Ok(0) };
    let digits = str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match digits.map(str::parse::<usize>) {
        Some(Ok(length)) if length <= LONGEST_BODY => Ok(length),
        Some(_) if !value.is_empty() => Err("body too long"),
        _ => Err("Content-Length is no number"),
    }
}

/// A message's first line and headers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The first line.
    pub start: Start,
    /// Name, in lower case and in its long form, and value of each header in order.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The first line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// A request.
    Request {
        /// `INVITE` and the like.
        method: Vec<u8>,
        /// The request URI.
        target: Vec<u8>,
    },
    /// An answer, to whatever.
    Response,
}

/// The one-letter names of section 7.3.3 and of later documents.
const SHORT: [(&[u8], &[u8]); 10] = [
    (b"i", b"call-id"),
    (b"m", b"contact"),
    (b"e", b"content-encoding"),
    (b"l", b"content-length"),
    (b"c", b"content-type"),
    (b"f", b"from"),
    (b"s", b"subject"),
    (b"k", b"supported"),
    (b"t", b"to"),
    (b"v", b"via"),
];

impl Head {
    /// Reads a head.
    pub(super) fn parse(head: &[u8]) -> Result<Self, &'static str> {
        let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let start = Start::parse(lines.next().unwrap_or_default())?;
        let mut headers: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        for line in lines.filter(|line| !line.is_empty()) {
            if line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
                // A folded line belongs to the header before it; its indentation does not.
                let Some((_, value)) = headers.last_mut() else { return Err("a header without a name") };
                value.extend_from_slice(line.trim_ascii_start());
                continue;
            }
            let Some((name, value)) = memchr::memchr(b':', line).and_then(|at| line.split_at_checked(at)) else {
                return Err("a header without a colon");
            };
            if headers.len() >= MOST_HEADERS {
                return Err("too many headers");
            }
            let value = value.get(1..).unwrap_or_default().trim_ascii_start();
            headers.push((long_name(name.trim_ascii()), value.to_vec()));
        }
        Ok(Self { start, headers })
    }

    /// The values of a header, by its long name in lower case.
    pub(super) fn all<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.trim_ascii_end())
    }

    /// The first value of a header.
    pub(super) fn first(&self, name: &[u8]) -> Option<&[u8]> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.trim_ascii_end())
    }
}

fn long_name(name: &[u8]) -> Vec<u8> {
    let lower = name.to_ascii_lowercase();
    // OpenCanary's parser knows all but `k`, which came later; its events keep that letter.
    SHORT.iter().find(|(short, _)| *short != b"k" && *short == lower).map_or(lower, |(_, long)| long.to_vec())
}

impl Start {
    fn parse(line: &[u8]) -> Result<Self, &'static str> {
        let mut words = line.splitn(3, |byte| *byte == b' ');
        let (Some(first), Some(second), Some(third)) = (words.next(), words.next(), words.next()) else {
            return Err("no first line of a message");
        };
        if first == b"SIP/2.0" {
            return Ok(Self::Response);
        }
        if third != b"SIP/2.0" {
            return Err("no first line of a message");
        }
        let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(byte);
        if first.is_empty() || !first.iter().all(token) || second.is_empty() {
            return Err("no first line of a message");
        }
        Ok(Self::Request { method: first.to_vec(), target: second.to_vec() })
    }
}

/// The user part of a SIP, SIPS or TEL address, which of an INVITE is the number dialled:
/// `sip:00442071234567;phone-context=x@192.0.2.1` gives `00442071234567`.
pub(super) fn user_of(uri: &[u8]) -> Option<&[u8]> {
    let at = memchr::memchr(b':', uri)?;
    let (scheme, rest) = uri.split_at_checked(at)?;
    let rest = rest.get(1..).unwrap_or_default();
    let user = if scheme.eq_ignore_ascii_case(b"tel") {
        rest
    } else if scheme.eq_ignore_ascii_case(b"sip") || scheme.eq_ignore_ascii_case(b"sips") {
        // A password may stand behind the user, and an at sign may not.
        let user = rest.get(..memchr::memchr(b'@', rest)?)?;
        user.get(..memchr::memchr(b':', user).unwrap_or(user.len()))?
    } else {
        return None;
    };
    let user = user.get(..memchr::memchr(b';', user).unwrap_or(user.len()))?;
    (!user.is_empty()).then_some(user)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[u8] =
        b"INVITE sip:100@h SIP/2.0\r\nv: SIP/2.0/TCP h;branch=1\r\nSubject: a\r\n\tb\r\nContent-Length: 3\r\n\r\nabc";

    #[test]
    fn reads_a_whole_message() {
        let Frame::Message { head, body, used } = frame(GOOD) else { panic!() };
        assert_eq!((body, used), (b"abc".as_slice(), GOOD.len()));
        let head = Head::parse(head).unwrap();
        assert_eq!(head.start, Start::Request { method: b"INVITE".to_vec(), target: b"sip:100@h".to_vec() });
        assert_eq!(head.first(b"via"), Some(b"SIP/2.0/TCP h;branch=1".as_slice()));
        assert_eq!(head.first(b"subject"), Some(b"ab".as_slice()));
        assert_eq!(head.first(b"to"), None);
    }

    #[test]
    fn every_prefix_is_incomplete() {
        for end in 0..GOOD.len() {
            assert_eq!(frame(&GOOD[..end]), Frame::Incomplete, "{end}");
        }
    }

    #[test]
    fn blank_lines_are_no_message_and_belong_to_the_next() {
        assert_eq!(frame(b"\r\n\r\n"), Frame::Blank(4));
        let after = [b"\r\n\r\n".as_slice(), GOOD, b"rest"].concat();
        assert!(matches!(frame(&after), Frame::Message { body: b"abc", used, .. } if used == GOOD.len() + 4));
    }

    #[test]
    fn takes_lone_line_feeds_and_no_length() {
        let Frame::Message { head, body: b"", used: 28 } = frame(b"OPTIONS sip:a SIP/2.0\nA: b\n\nx") else { panic!() };
        assert_eq!(Head::parse(head).unwrap().first(b"a"), Some(b"b".as_slice()));
    }

    #[test]
    fn rejects_lengths_that_are_none_and_what_is_too_long() {
        let with = |value: &str| format!("BYE sip:a SIP/2.0\r\nl: {value}\r\n\r\n").into_bytes();
        for bad in ["-1", "x", "+3", "1 2", ""] {
            assert_eq!(frame(&with(bad)), Frame::Broken("Content-Length is no number"), "{bad}");
        }
        for long in ["32769", "4294967296", "99999999999999999999999"] {
            assert_eq!(frame(&with(long)), Frame::Broken("body too long"), "{long}");
        }
        assert_eq!(frame(&with("32768")), Frame::Incomplete);
        assert_eq!(frame(&vec![b'a'; LONGEST_HEAD]), Frame::Broken("head too long"));
        assert_eq!(frame(&vec![b'a'; LONGEST_HEAD - 1]), Frame::Incomplete);
        let long = [b"A b SIP/2.0\r\nc: ".as_slice(), &[b'd'; LONGEST_HEAD], b"\r\n\r\n"].concat();
        assert_eq!(frame(&long), Frame::Broken("head too long"));
    }

    #[test]
    fn a_datagram_ends_its_body() {
        assert_eq!(datagram(b"\r\nA b SIP/2.0\r\n\r\nxyz"), Ok((b"A b SIP/2.0\r\n".as_slice(), b"xyz".as_slice())));
        assert_eq!(datagram(b"A b SIP/2.0\r\nl: 1\r\n\r\nxyz").unwrap().1, b"x");
        assert_eq!(datagram(b"A b SIP/2.0\r\nl: 9\r\n\r\nxyz").unwrap().1, b"xyz");
        assert_eq!(datagram(b"A b SIP/2.0\r\nl: 9"), Err("unfinished message"));
        assert_eq!(datagram(b""), Err("blank lines and no message"));
        let head = |length: usize| [b"A b SIP/2.0\r\nc: ".as_slice(), &vec![b'd'; length - 18], b"\r\n\r\n"].concat();
        assert_eq!(datagram(&head(LONGEST_HEAD)).unwrap().0.len(), LONGEST_HEAD);
        assert_eq!(datagram(&head(LONGEST_HEAD + 1)), Err("head too long"));
    }

    #[test]
    fn rejects_heads_that_are_none() {
        for bad in [
            b"GET / HTTP/1.1\r\n".as_slice(),
            b"INVITE sip:a\r\n",
            b"INVITE  SIP/2.0\r\n",
            b"INV<TE sip:a SIP/2.0\r\n",
            b"INVITE sip:a SIP/2.0 \r\n",
            b"A b SIP/2.0\r\nnocolon\r\n",
            b"A b SIP/2.0\r\n folded\r\n",
            b"\xff\xfe\r\n",
        ] {
            assert!(Head::parse(bad).is_err(), "{}", bad.escape_ascii());
        }
        assert_eq!(Head::parse(b"SIP/2.0 200 OK\r\n").unwrap().start, Start::Response);
        let many = [b"A b SIP/2.0\r\n".as_slice(), &b"c: d\r\n".repeat(MOST_HEADERS + 1)].concat();
        assert_eq!(Head::parse(&many), Err("too many headers"));
    }

    #[test]
    fn finds_the_number_dialled() {
        for (uri, user) in [
            ("sip:00442071234567@192.0.2.1:5060", Some("00442071234567")),
            ("SIPS:+49301;ext=2:pw@h", Some("+49301")),
            ("tel:+1-201-555-0123;phone-context=x", Some("+1-201-555-0123")),
            ("sip:192.0.2.1", None),
            ("sip:@h", None),
            ("mailto:a@b", None),
            ("100", None),
        ] {
            assert_eq!(user_of(uri.as_bytes()), user.map(str::as_bytes), "{uri}");
        }
    }
}
