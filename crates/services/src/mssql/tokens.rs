//! Tokens of a server's answer ([MS-TDS] 2.2.7).
//!
//! [MS-TDS]: https://learn.microsoft.com/openspecs/windows_protocols/ms-tds/

use aviary_wire::ntlm::utf16;

use super::version::Version;

/// `SQL_Latin1_General_CP1_CI_AS`, what setup chooses for US English ([MS-TDS] 2.2.5.1.2).
const COLLATION: [u8; 5] = [0x09, 0x04, 0xd0, 0x00, 0x34];
/// Most characters of a text column of ours.
const TEXT_BYTES: u16 = 8000;

/// What ENVCHANGE tells of.
pub(super) mod environment {
    pub(in super::super) const DATABASE: u8 = 1;
    pub(in super::super) const LANGUAGE: u8 = 2;
    pub(in super::super) const PACKET_SIZE: u8 = 4;
}

/// An error or a message: number, state, class (severity) and text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) number: u32,
    pub(super) state: u8,
    pub(super) class: u8,
    pub(super) text: String,
}

impl Message {
    pub(super) fn new(number: u32, state: u8, class: u8, text: impl Into<String>) -> Self {
        Self { number, state, class, text: text.into() }
    }
}

/// A value in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Null,
    Text(String),
    Int(i32),
}

/// How a client reads tokens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dialect {
    /// TDS 7.2 and later, which widened some fields.
    pub(super) wide: bool,
}

/// Collects tokens.
#[derive(Debug)]
pub(super) struct Tokens<'a> {
    out: Vec<u8>,
    dialect: Dialect,
    server: &'a str,
}

impl<'a> Tokens<'a> {
    pub(super) const fn new(dialect: Dialect, server: &'a str) -> Self {
        Self { out: Vec::new(), dialect, server }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// A token of variable length: its number, length (2), body.
    fn token(&mut self, number: u8, body: &[u8]) -> &mut Self {
        self.out.push(number);
        self.out.extend_from_slice(&u16::try_from(body.len()).unwrap_or(u16::MAX).to_le_bytes());
        self.out.extend_from_slice(body);
        self
    }

    /// ERROR: number (4), state (1), class (1), text (length of 2, in characters), server (length of 1),
    /// procedure (length of 1), line (4; 2 before TDS 7.2).
    pub(super) fn error(&mut self, message: &Message) -> &mut Self {
        self.message(0xaa, message)
    }

    /// INFO, which is laid out like ERROR.
    pub(super) fn info(&mut self, message: &Message) -> &mut Self {
        self.message(0xab, message)
    }

    fn message(&mut self, number: u8, message: &Message) -> &mut Self {
        let mut body = message.number.to_le_bytes().to_vec();
        body.extend_from_slice(&[message.state, message.class]);
        let text = utf16(&message.text);
        body.extend_from_slice(&u16::try_from(text.len() / 2).unwrap_or(u16::MAX).to_le_bytes());
        body.extend(text);
        push_short(&mut body, self.server);
        body.push(0);
        body.extend_from_slice(if self.dialect.wide { &[1, 0, 0, 0] } else { &[1, 0] });
        self.token(number, &body)
    }

    /// DONE: status (2), command (2), rows (8; 4 before TDS 7.2). `rows` sets the bit that they count,
    /// `more` the one that more follows.
    pub(super) fn done(&mut self, failed: bool, rows: Option<u32>, more: bool) -> &mut Self {
        let status = u8::from(more) | u8::from(failed) << 1 | u8::from(rows.is_some()) << 4;
        // SELECT.
        let command = if rows.is_some() { 0xc1 } else { 0 };
        self.out.extend_from_slice(&[0xfd, status, 0, command, 0]);
        self.out.extend_from_slice(&rows.unwrap_or(0).to_le_bytes());
        if self.dialect.wide {
            self.out.extend_from_slice(&[0; 4]);
        }
        self
    }

    /// DONE that acknowledges an attention.
    pub(super) fn attention(&mut self) -> &mut Self {
        self.out.extend_from_slice(&[0xfd, 0x20, 0, 0, 0]);
        self.out.extend_from_slice(if self.dialect.wide { &[0; 8] } else { &[0; 4] });
        self
    }

    /// SSPI: the security package's bytes.
    pub(super) fn sspi(&mut self, token: &[u8]) -> &mut Self {
        self.token(0xed, token)
    }

    /// ENVCHANGE: type (1), new and old value, each with a length of 1.
    pub(super) fn environment(&mut self, kind: u8, new: &str, old: &str) -> &mut Self {
        let mut body = vec![kind];
        push_short(&mut body, new);
        push_short(&mut body, old);
        self.token(0xe3, &body)
    }

    /// ENVCHANGE of the collation.
    pub(super) fn collation(&mut self) -> &mut Self {
        let mut body = vec![7, 5];
        body.extend_from_slice(&COLLATION);
        body.push(0);
        self.token(0xe3, &body)
    }

    /// ENVCHANGE of a transaction: 8 with its number when it begins, 9 or 10 with it when it ends.
    pub(super) fn transaction(&mut self, kind: u8, number: [u8; 8]) -> &mut Self {
        let mut body = vec![kind];
        let (new, old): (&[u8], &[u8]) = if kind == 8 { (&number, &[]) } else { (&[], &number) };
        for value in [new, old] {
            body.push(u8::try_from(value.len()).unwrap_or(0));
            body.extend_from_slice(value);
        }
        self.token(0xe3, &body)
    }

    /// LOGINACK: interface (1), TDS version (4, big endian), program (length of 1), its version (4).
    pub(super) fn acknowledge(&mut self, tds: u32, version: Version) -> &mut Self {
        let mut body = vec![1];
        body.extend_from_slice(&tds.to_be_bytes());
        push_short(&mut body, "Microsoft SQL Server");
        let [major, minor, high, low, ..] = version.bytes();
        body.extend_from_slice(&[major, minor, high, low]);
        self.token(0xad, &body)
    }

    /// COLMETADATA: count (2), then per column user type (4; 2 before TDS 7.2), flags (2; nullable), type
    /// and name. `nvarchar`: 0xe7, longest (2, bytes), collation (5). `int`: 0x26, 4.
    pub(super) fn columns(&mut self, columns: &[(String, Cell)]) -> &mut Self {
        self.out.push(0x81);
        self.out.extend_from_slice(&u16::try_from(columns.len()).unwrap_or(u16::MAX).to_le_bytes());
        for (name, sample) in columns {
            self.out.extend_from_slice(if self.dialect.wide { &[0; 4] } else { &[0; 2] });
            self.out.extend_from_slice(&[1, 0]);
            match sample {
                Cell::Int(_) => self.out.extend_from_slice(&[0x26, 4]),
                Cell::Text(_) | Cell::Null => {
                    self.out.push(0xe7);
                    self.out.extend_from_slice(&TEXT_BYTES.to_le_bytes());
                    self.out.extend_from_slice(&COLLATION);
                }
            }
            push_short(&mut self.out, name);
        }
        self
    }

    /// ROW: 0xd1, then each value: text with a length of 2 (0xffff is null), a number with one of 1.
    pub(super) fn row(&mut self, cells: &[Cell]) -> &mut Self {
        self.out.push(0xd1);
        for cell in cells {
            match cell {
                Cell::Null => self.out.extend_from_slice(&[0xff, 0xff]),
                Cell::Int(number) => {
                    self.out.push(4);
                    self.out.extend_from_slice(&number.to_le_bytes());
                }
                Cell::Text(text) => {
                    let mut text = utf16(text);
                    text.truncate(usize::from(TEXT_BYTES));
                    self.out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(0).to_le_bytes());
                    self.out.extend(text);
                }
            }
        }
        self
    }
}

/// Text with a length of one byte, in characters.
fn push_short(out: &mut Vec<u8>, text: &str) {
    let mut text = utf16(text);
    text.truncate(510);
    out.push(u8::try_from(text.len() / 2).unwrap_or(u8::MAX));
    out.extend(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_what_follows() {
        for (wide, done) in [(true, 13), (false, 9)] {
            let mut tokens = Tokens::new(Dialect { wide }, "SQL01");
            tokens.error(&Message::new(18456, 1, 14, "Login failed for user 'sa'.")).done(true, None, false);
            let bytes = tokens.into_bytes();
            let length = usize::from(u16::from_le_bytes([bytes[1], bytes[2]]));
            assert_eq!(bytes[3 + length..][..5], [0xfd, 2, 0, 0, 0]);
            assert_eq!(bytes.len(), 3 + length + done);
            assert_eq!(bytes[3..9], [0x18, 0x48, 0, 0, 1, 14]);
            assert_eq!(bytes[9..11], [27, 0]);
        }
    }

    #[test]
    fn a_token_of_the_security_package_follows_its_length() {
        let mut tokens = Tokens::new(Dialect { wide: true }, "");
        tokens.sspi(b"NTLM");
        assert_eq!(tokens.into_bytes(), b"\xed\x04\x00NTLM");
    }

    #[test]
    fn rows_follow_their_columns() {
        let mut tokens = Tokens::new(Dialect { wide: true }, "");
        let row = [Cell::Text("a".to_owned()), Cell::Int(7), Cell::Null];
        let columns: Vec<_> = row.iter().map(|cell| ("c".to_owned(), cell.clone())).collect();
        tokens.columns(&columns).row(&row).done(false, Some(1), true);
        assert_eq!(
            tokens.into_bytes(),
            [
                &b"\x81\x03\0"[..],
                b"\0\0\0\0\x01\0\xe7\x40\x1f\x09\x04\xd0\0\x34\x01c\0",
                b"\0\0\0\0\x01\0\x26\x04\x01c\0",
                b"\0\0\0\0\x01\0\xe7\x40\x1f\x09\x04\xd0\0\x34\x01c\0",
                b"\xd1\x02\0a\0\x04\x07\0\0\0\xff\xff",
                b"\xfd\x11\0\xc1\0\x01\0\0\0\0\0\0\0",
            ]
            .concat()
        );
    }
}
