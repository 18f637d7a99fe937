//! Replies: RESP2, and RESP3 after `HELLO 3`.

/// Collects replies.
#[derive(Debug, Default)]
pub(super) struct Replies {
    bytes: Vec<u8>,
    /// RESP3 was agreed.
    pub resp3: bool,
}

impl Replies {
    /// What was collected so far.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// `+text`
    pub(super) fn status(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// `+OK`
    pub(super) fn ok(&mut self) {
        self.status("OK");
    }

    /// `-text`; line ends within become blanks.
    pub(super) fn error(&mut self, text: impl AsRef<[u8]>) {
        let text: Vec<u8> = text.as_ref().iter().map(|&b| if matches!(b, b'\r' | b'\n') { b' ' } else { b }).collect();
        self.line(b'-', &text);
    }

    /// `:number`
    pub(super) fn int(&mut self, number: i64) {
        self.line(b':', number.to_string().as_bytes());
    }

    /// The length of something.
    pub(super) fn length(&mut self, length: usize) {
        self.line(b':', length.to_string().as_bytes());
    }

    /// A string.
    pub(super) fn bulk(&mut self, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        self.line(b'$', text.len().to_string().as_bytes());
        self.bytes.extend_from_slice(text);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Text for people: in RESP3 marked as such.
    pub(super) fn text(&mut self, text: &str) {
        if self.resp3 {
            self.line(b'=', text.len().saturating_add(4).to_string().as_bytes());
            self.bytes.extend_from_slice(format!("txt:{text}\r\n").as_bytes());
        } else {
            self.bulk(text);
        }
    }

    /// Null.
    pub(super) fn nil(&mut self) {
        self.bytes.extend_from_slice(if self.resp3 { b"_\r\n" } else { b"$-1\r\n" });
    }

    /// A string or null.
    pub(super) fn bulk_or_nil(&mut self, text: Option<&[u8]>) {
        match text {
            Some(text) => self.bulk(text),
            None => self.nil(),
        }
    }

    /// The head of an array.
    pub(super) fn array(&mut self, items: usize) {
        self.line(b'*', items.to_string().as_bytes());
    }

    /// The head of a map of so many pairs; in RESP2 an array of twice as many.
    pub(super) fn map(&mut self, pairs: usize) {
        let (sign, items) = if self.resp3 { (b'%', pairs) } else { (b'*', pairs.saturating_mul(2)) };
        self.line(sign, items.to_string().as_bytes());
    }

    /// The head of a set; in RESP2 an array.
    pub(super) fn set(&mut self, items: usize) {
        self.line(if self.resp3 { b'~' } else { b'*' }, items.to_string().as_bytes());
    }

    /// The head of a message that was not asked for; in RESP2 an array.
    pub(super) fn push(&mut self, items: usize) {
        self.line(if self.resp3 { b'>' } else { b'*' }, items.to_string().as_bytes());
    }

    fn line(&mut self, sign: u8, text: &[u8]) {
        self.bytes.push(sign);
        self.bytes.extend_from_slice(text);
        self.bytes.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(resp3: bool) -> String {
        let mut replies = Replies { resp3, ..Replies::default() };
        replies.ok();
        replies.error("ERR a\r\nb");
        replies.int(-2);
        replies.bulk(b"\xff");
        replies.text("hi");
        replies.nil();
        replies.array(1);
        replies.map(1);
        replies.set(0);
        replies.push(3);
        replies.take().escape_ascii().to_string().replace("\\r\\n", "|")
    }

    #[test]
    fn writes_both_versions() {
        assert_eq!(all(false), r"+OK|-ERR a  b|:-2|$1|\xff|$2|hi|$-1|*1|*2|*0|*3|");
        assert_eq!(all(true), r"+OK|-ERR a  b|:-2|$1|\xff|=6|txt:hi|_|*1|%1|~0|>3|");
    }
}
