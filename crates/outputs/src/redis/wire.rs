//! The protocol's bytes (RESP2): a command is an array of strings, a reply is one of five kinds.
//!
//! ```text
//! *2\r\n$4\r\nPING\r\n$1\r\nx\r\n        command
//! +OK\r\n  -ERR why\r\n  :12\r\n  $3\r\nabc\r\n  $-1\r\n  *2\r\n:1\r\n:2\r\n        replies
//! ```

/// Longest line of a reply, bytes: an error text that quotes a command.
const LINE: usize = 16_384;

/// Longest string in a reply, bytes. An entry's id has at most 41.
const STRING: usize = 4096;

/// Most members of a reply: those of the largest transaction.
const MEMBERS: usize = 1000;

/// What a server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Anything that is no error: `OK`, a number, an id.
    Fine(String),
    /// Its own words.
    Error(String),
    /// What each command of a transaction came to.
    Each(Vec<Reply>),
}

/// Appends a command.
pub(super) fn command(words: &[&[u8]], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// The first reply in `bytes` and how many of them it takes; nothing while it is not whole.
///
/// # Errors
/// Says what no server would send, so that nothing is waited for that never comes.
pub(super) fn reply(bytes: &[u8]) -> Result<Option<(Reply, usize)>, String> {
    let mut rest = Rest { bytes, taken: 0 };
    Ok(rest.reply(true)?.map(|reply| (reply, rest.taken)))
}

/// What is not read yet.
struct Rest<'a> {
    bytes: &'a [u8],
    taken: usize,
}

impl<'a> Rest<'a> {
    fn reply(&mut self, outermost: bool) -> Result<Option<Reply>, String> {
        let Some(line) = self.line()? else { return Ok(None) };
        let Some((kind, text)) = line.split_first() else { return Err("it sent an empty line".to_owned()) };
        let words = || String::from_utf8_lossy(text).into_owned();
        match kind {
            b'+' | b':' => Ok(Some(Reply::Fine(words()))),
            b'-' => Ok(Some(Reply::Error(words()))),
            b'$' => self.string(text),
            b'*' if outermost => self.members(text),
            _ => Err(format!("it sent `{}`, which is no reply of Redis", shown(line))),
        }
    }

    fn string(&mut self, length: &[u8]) -> Result<Option<Reply>, String> {
        if length == b"-1" {
            return Ok(Some(Reply::Fine(String::new())));
        }
        let length = number(length, STRING).ok_or_else(|| format!("it sent a string of {} bytes", shown(length)))?;
        let Some((text, later)) = self.bytes.split_at_checked(length) else { return Ok(None) };
        let Some(end) = later.first_chunk::<2>() else { return Ok(None) };
        if end != b"\r\n" {
            return Err("it sent a string that does not end where it said".to_owned());
        }
        self.skip(length.saturating_add(2));
        Ok(Some(Reply::Fine(String::from_utf8_lossy(text).into_owned())))
    }

    fn members(&mut self, count: &[u8]) -> Result<Option<Reply>, String> {
        if count == b"-1" {
            return Ok(Some(Reply::Each(Vec::new())));
        }
        let count = number(count, MEMBERS).ok_or_else(|| format!("it sent a list of {} replies", shown(count)))?;
        let mut members = Vec::new();
        for _ in 0..count {
            let Some(member) = self.reply(false)? else { return Ok(None) };
            members.push(member);
        }
        Ok(Some(Reply::Each(members)))
    }

    fn line(&mut self) -> Result<Option<&'a [u8]>, String> {
        let bytes = self.bytes;
        match bytes.iter().take(LINE).position(|byte| *byte == b'\n') {
            Some(end) => {
                self.skip(end.saturating_add(1));
                let line = bytes.get(..end).unwrap_or_default();
                line.strip_suffix(b"\r")
                    .map(Some)
                    .ok_or_else(|| format!("it sent `{}`, which is no reply of Redis", shown(line)))
            }
            None if bytes.len() >= LINE => Err(format!("it sent a line of more than {LINE} bytes")),
            None => Ok(None),
        }
    }

    fn skip(&mut self, count: usize) {
        self.bytes = self.bytes.get(count..).unwrap_or_default();
        self.taken = self.taken.saturating_add(count);
    }
}

/// A number of digits alone, at most `most`.
fn number(text: &[u8], most: usize) -> Option<usize> {
    let digits = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok().filter(|number| *number <= most)
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..60).unwrap_or(bytes)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fine(text: &str) -> Reply {
        Reply::Fine(text.to_owned())
    }

    #[test]
    fn commands_are_arrays_of_any_bytes() {
        let mut out = Vec::new();
        command(&[b"PING", b"\r\n\0\xff", b""], &mut out);
        assert_eq!(out, b"*3\r\n$4\r\nPING\r\n$4\r\n\r\n\0\xff\r\n$0\r\n\r\n");
    }

    #[test]
    fn reads_each_kind_and_every_prefix_is_incomplete() {
        for (bytes, expected) in [
            (b"+OK\r\n".as_slice(), fine("OK")),
            (b"-WRONGTYPE Operation against a key\r\n", Reply::Error("WRONGTYPE Operation against a key".to_owned())),
            (b":12\r\n", fine("12")),
            (b"$3\r\n1\r\n\r\n", fine("1\r\n")),
            (b"$0\r\n\r\n", fine("")),
            (b"$-1\r\n", fine("")),
            (b"*-1\r\n", Reply::Each(vec![])),
            (b"*2\r\n$3\r\n1-0\r\n-ERR x\r\n", Reply::Each(vec![fine("1-0"), Reply::Error("ERR x".to_owned())])),
        ] {
            assert_eq!(reply(bytes), Ok(Some((expected, bytes.len()))));
            for end in 0..bytes.len() {
                assert_eq!(reply(&bytes[..end]), Ok(None), "{end} of {}", bytes.escape_ascii());
            }
            let more = [bytes, b"+next\r\n"].concat();
            assert_eq!(reply(&more).map(|found| found.map(|(_, taken)| taken)), Ok(Some(bytes.len())));
        }
    }

    #[test]
    fn says_what_no_server_sends_before_more_is_waited_for() {
        let endless = vec![b'x'; LINE];
        for (bytes, words) in [
            (b"HTTP/1.1 400 Bad Request\r\n".as_slice(), "`HTTP/1.1 400 Bad Request`, which is no reply"),
            (b"\r\n", "an empty line"),
            (b"+OK\n", "no reply of Redis"),
            (b"$99999999999999999999\r\n", "a string of 99999999999999999999 bytes"),
            (b"$4097\r\n", "a string of 4097 bytes"),
            (b"$+3\r\nabc\r\n", "a string of +3 bytes"),
            (b"$2\r\nabcd", "does not end where it said"),
            (b"*1001\r\n", "a list of 1001 replies"),
            (b"*1\r\n*1\r\n+x\r\n", "no reply of Redis"),
            (&endless, "a line of more than 16384 bytes"),
        ] {
            let error = reply(bytes).expect_err("no reply");
            assert!(error.contains(words), "{error}");
        }
    }
}
