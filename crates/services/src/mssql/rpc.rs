//! What a client's requests hold once it is in: the text of a batch, of a procedure call, and what a
//! transaction request wants ([MS-TDS] 2.2.6).
//!
//! [MS-TDS]: https://learn.microsoft.com/openspecs/windows_protocols/ms-tds/

use super::tokens::Cell;

/// Most parameters of a call that are read.
const MOST_PARAMETERS: usize = 64;
/// Names of the procedures that have a number, from 1.
const NUMBERED: [&str; 15] = [
    "sp_cursor",
    "sp_cursoropen",
    "sp_cursorprepare",
    "sp_cursorexecute",
    "sp_cursorprepexec",
    "sp_cursorunprepare",
    "sp_cursorfetch",
    "sp_cursoroption",
    "sp_cursorclose",
    "sp_executesql",
    "sp_prepare",
    "sp_execute",
    "sp_prepexec",
    "sp_prepexecrpc",
    "sp_unprepare",
];

/// The message behind its headers, which came with TDS 7.2: a length (4) that counts itself.
pub(super) fn without_headers(message: &[u8], wide: bool) -> &[u8] {
    let length = message.first_chunk().map(|length| usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX));
    match length {
        Some(length @ 4..) if wide => message.get(length..).unwrap_or(message),
        _ => message,
    }
}

/// UTF-16LE as text; what is no text becomes the replacement character.
pub(super) fn text(bytes: &[u8]) -> String {
    let units = bytes.chunks_exact(2).filter_map(|pair| pair.first_chunk().map(|unit| u16::from_le_bytes(*unit)));
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// A procedure call: its name, and its parameters as far as they could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) name: String,
    /// Names, mostly empty or with an `@`, and values.
    pub(super) parameters: Vec<(String, Cell)>,
}

impl Call {
    /// The first parameter when it is text: what `sp_executesql` and its like run.
    pub(super) fn statement(&self) -> Option<&str> {
        match self.parameters.first() {
            Some((_, Cell::Text(text))) => Some(text),
            _ => None,
        }
    }
}

/// Reads a procedure call. Name: length in characters (2), or 0xffff and a number (2); flags (2); then
/// parameters. Reading stops at the first that is neither text nor a number.
pub(super) fn call(message: &[u8]) -> Option<Call> {
    let (length, rest) = message.split_first_chunk()?;
    let length = usize::from(u16::from_le_bytes(*length));
    let (name, rest) = if length == 0xffff {
        let (number, rest) = rest.split_first_chunk()?;
        let number = usize::from(u16::from_le_bytes(*number));
        let name = number.checked_sub(1).and_then(|at| NUMBERED.get(at));
        (name.map_or_else(|| number.to_string(), |name| (*name).to_owned()), rest)
    } else {
        let (name, rest) = rest.split_at_checked(length.saturating_mul(2))?;
        (text(name), rest)
    };
    let mut rest = rest.get(2..)?;
    let mut parameters = Vec::new();
    while let Some((name, cell, after)) = parameter(rest) {
        if parameters.len() >= MOST_PARAMETERS {
            break;
        }
        parameters.push((name, cell));
        rest = after;
    }
    Some(Call { name, parameters })
}

/// A parameter and what follows: name (length of 1), status (1), type and value. `nvarchar`: 0xe7, longest
/// (2), collation (5), length (2; 0xffff is null); where the longest is 0xffff, a total (8) and pieces of
/// length (4) up to an empty one. `int`: 0x26, longest (1), length (1; 0 is null).
fn parameter(bytes: &[u8]) -> Option<(String, Cell, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length).saturating_mul(2))?;
    let name = text(name);
    let (&[_, kind], rest) = rest.split_first_chunk()?;
    match kind {
        0x26 => {
            let (&[_, length], rest) = rest.split_first_chunk()?;
            let (value, rest) = rest.split_at_checked(usize::from(length))?;
            let number = value.iter().rev().fold(0_i64, |sum, byte| (sum << 8) | i64::from(*byte));
            let cell = if value.is_empty() { Cell::Null } else { Cell::Int(i32::try_from(number).unwrap_or(i32::MAX)) };
            Some((name, cell, rest))
        }
        0xe7 => {
            let (&[l0, l1, ..], rest) = rest.split_first_chunk::<7>()?;
            if (l0, l1) == (0xff, 0xff) {
                let (value, rest) = pieces(rest.get(8..)?)?;
                return Some((name, Cell::Text(text(&value)), rest));
            }
            let (length, rest) = rest.split_first_chunk()?;
            match u16::from_le_bytes(*length) {
                0xffff => Some((name, Cell::Null, rest)),
                length => {
                    let (value, rest) = rest.split_at_checked(usize::from(length))?;
                    Some((name, Cell::Text(text(value)), rest))
                }
            }
        }
        _ => None,
    }
}

fn pieces(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut whole = Vec::new();
    loop {
        let (length, after) = rest.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        if length == 0 {
            return Some((whole, after));
        }
        let (piece, after) = after.split_at_checked(length)?;
        whole.extend_from_slice(piece);
        rest = after;
    }
}

/// What a transaction request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transaction {
    Begin,
    Commit,
    Rollback,
}

/// Reads a transaction request: its type (2), then what is of no interest here.
pub(super) fn transaction(message: &[u8]) -> Option<Transaction> {
    match u16::from_le_bytes(*message.first_chunk()?) {
        5 => Some(Transaction::Begin),
        7 => Some(Transaction::Commit),
        8 => Some(Transaction::Rollback),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::wide;
    use super::*;

    #[test]
    fn headers_are_skipped_where_there_are_any() {
        let message = [&b"\x06\0\0\0hh"[..], &wide("go")].concat();
        assert_eq!(text(without_headers(&message, true)), "go");
        assert_eq!(without_headers(&message, false), message);
        assert_eq!(without_headers(b"\xff\0\0\0", true), b"\xff\0\0\0");
        assert_eq!(without_headers(b"ab", true), b"ab");
    }

    #[test]
    fn reads_a_numbered_call_and_a_named_one() {
        let query = wide("select 1");
        let parameter = [&b"\0\0\xe7\x40\x1f\x09\x04\xd0\0\x34\x10\0"[..], &query].concat();
        let numbered = [&b"\xff\xff\x0a\0\0\0"[..], &parameter].concat();
        let read = call(&numbered).unwrap();
        assert_eq!((read.name.as_str(), read.statement()), ("sp_executesql", Some("select 1")));
        let named = [&b"\x07\0"[..], &wide("sp_help"), b"\0\0"].concat();
        assert_eq!(call(&named), Some(Call { name: "sp_help".to_owned(), parameters: Vec::new() }));
        for end in 0..numbered.len() {
            assert!(call(&numbered[..end]).is_none_or(|call| call.parameters.is_empty()), "{end}");
        }
    }

    #[test]
    fn reads_parameters_by_name() {
        let number = [&b"\x03"[..], &wide("@p1"), b"\0\x26\x04\x04\x2a\0\0\0"].concat();
        let null = b"\0\0\xe7\x40\x1f\x09\x04\xd0\0\x34\xff\xff";
        let message = [&b"\xff\xff\x0a\0\0\0"[..], &number, null, b"\0\0\x24"].concat();
        let expected = [("@p1".to_owned(), Cell::Int(42)), (String::new(), Cell::Null)];
        assert_eq!(call(&message).unwrap().parameters, expected);
    }

    #[test]
    fn reads_a_long_text_in_pieces() {
        let pieces = [b"\x04\0\0\0".to_vec(), wide("se"), b"\x08\0\0\0".to_vec(), wide("lect"), vec![0; 4]].concat();
        let parameter = [&b"\0\0\xe7\xff\xff\x09\x04\xd0\0\x34\x0c\0\0\0\0\0\0\0"[..], &pieces].concat();
        let message = [&b"\xff\xff\x0a\0\0\0"[..], &parameter].concat();
        assert_eq!(call(&message).unwrap().statement(), Some("select"));
    }

    #[test]
    fn knows_what_a_transaction_request_wants() {
        assert_eq!(transaction(b"\x05\0\x00\0"), Some(Transaction::Begin));
        assert_eq!(transaction(b"\x08\0"), Some(Transaction::Rollback));
        assert_eq!((transaction(b"\x01\0"), transaction(b"\x05")), (None, None));
    }
}
