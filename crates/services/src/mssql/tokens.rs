//! Tokens of a server's answer ([MS-TDS] 2.2.7): ERROR, DONE, SSPI.
//!
//! [MS-TDS]: https://learn.microsoft.com/openspecs/windows_protocols/ms-tds/

use aviary_wire::ntlm::utf16;

/// An error as a server tells it.
#[derive(Clone, Debug)]
pub(super) struct Failure<'a> {
    /// Its number, such as 18456.
    pub(super) number: u32,
    /// What it says.
    pub(super) text: &'a str,
    /// The server's name.
    pub(super) server: &'a str,
    /// Whether the client speaks TDS 7.2 or later, which widened two fields.
    pub(super) wide: bool,
}

impl Failure<'_> {
    /// ERROR and DONE. ERROR: 0xaa, length (2), number (4), state (1), class (1), text (length of 2, in
    /// characters), server (length of 1), procedure (length of 1), line (4; 2 before TDS 7.2). DONE:
    /// 0xfd, status (2), command (2), rows (8; 4 before TDS 7.2). State 1 and class 14 are those of
    /// every refused login, and its line is 1.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut body = self.number.to_le_bytes().to_vec();
        body.extend_from_slice(&[1, 14]);
        let text = utf16(self.text);
        body.extend_from_slice(&u16::try_from(text.len() / 2).unwrap_or(u16::MAX).to_le_bytes());
        body.extend(text);
        let server = utf16(self.server);
        body.push(u8::try_from(server.len() / 2).unwrap_or(u8::MAX));
        body.extend(server);
        body.push(0);
        body.extend_from_slice(if self.wide { &[1, 0, 0, 0] } else { &[1, 0] });
        let mut out = vec![0xaa];
        out.extend_from_slice(&u16::try_from(body.len()).unwrap_or(u16::MAX).to_le_bytes());
        out.extend(body);
        // DONE_ERROR, and no rows.
        out.extend_from_slice(&[0xfd, 2, 0, 0, 0]);
        out.extend_from_slice(if self.wide { &[0; 8] } else { &[0; 4] });
        out
    }
}

/// An SSPI token: 0xed, length (2), the security package's bytes.
pub(super) fn sspi(token: &[u8]) -> Vec<u8> {
    let mut out = vec![0xed];
    out.extend_from_slice(&u16::try_from(token.len()).unwrap_or(u16::MAX).to_le_bytes());
    out.extend_from_slice(token);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_what_follows() {
        for (wide, done) in [(true, 13), (false, 9)] {
            let failure = Failure { number: 18456, text: "Login failed for user 'sa'.", server: "SQL01", wide };
            let bytes = failure.encode();
            let length = usize::from(u16::from_le_bytes([bytes[1], bytes[2]]));
            assert_eq!(bytes[3 + length], 0xfd);
            assert_eq!(bytes.len(), 3 + length + done);
            assert_eq!(bytes[3..9], [0x18, 0x48, 0, 0, 1, 14]);
            assert_eq!(bytes[9..11], [27, 0]);
        }
    }

    #[test]
    fn a_token_of_the_security_package_follows_its_length() {
        assert_eq!(sspi(b"NTLM"), b"\xed\x04\x00NTLM");
    }
}
