//! CredSSP's TSRequest ([MS-CSSP] 2.2.1), in DER.
//!
//! ```text
//! 30 { a0 { 02 version }, a1 { 30 { 30 { a0 { 04 token } } } }, a2 { 04 credentials },
//!      a3 { 04 public key }, a4 { 02 error code }, a5 { 04 nonce } }
//! ```
//!
//! [MS-CSSP]: https://learn.microsoft.com/openspecs/windows_protocols/ms-cssp/

use aviary_wire::ber::{self, BerError, Reader};

/// The version that servers since 2018 say.
pub(super) const VERSION: i64 = 6;
/// STATUS_LOGON_FAILURE.
pub(super) const LOGON_FAILURE: u32 = 0xc000_006d;
/// Longest request; a Kerberos token with many groups has some 12 KiB.
const LONGEST: usize = 32 * 1024;

/// Why bytes are no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CredSspError {
    #[error("not a TSRequest")]
    Tag,
    #[error("the TSRequest is too long")]
    Long,
    #[error("TSRequest: {0}")]
    Ber(#[from] BerError),
}

/// What a client sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TsRequest<'a> {
    /// 2 to 6.
    pub(super) version: i64,
    /// The first token of SPNEGO or NTLM.
    pub(super) token: Option<&'a [u8]>,
}

/// The first request's bytes and how many they are; `None` when they are not all there yet.
///
/// # Errors
/// As soon as they cannot become a request.
pub(super) fn whole(input: &[u8]) -> Result<Option<(&[u8], usize)>, CredSspError> {
    let used = match *input {
        [] | [0x30] => return Ok(None),
        [0x30, length @ 0..=0x7f, ..] => usize::from(length).saturating_add(2),
        [0x30, 0x81, length, ..] => usize::from(length).saturating_add(3),
        [0x30, 0x82, high, low, ..] => usize::from(u16::from_be_bytes([high, low])).saturating_add(4),
        [0x30, 0x81 | 0x82, ..] => return Ok(None),
        [0x30, 0x83 | 0x84, ..] => return Err(CredSspError::Long),
        [0x30, ..] => return Err(CredSspError::Ber(BerError::Length)),
        _ => return Err(CredSspError::Tag),
    };
    if used > LONGEST {
        return Err(CredSspError::Long);
    }
    Ok(input.get(..used).map(|bytes| (bytes, used)))
}

impl<'a> TsRequest<'a> {
    /// Reads a whole request. Public key and nonce are not looked at: nobody here knows the password
    /// that they would be checked with.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, CredSspError> {
        let mut fields = Reader::new(bytes).nested(ber::SEQUENCE)?;
        let version = fields.nested(0xa0)?.integer()?;
        let token = match fields.optional(0xa1)? {
            Some(tokens) => {
                let mut first = Reader::new(tokens).nested(ber::SEQUENCE)?.nested(ber::SEQUENCE)?;
                Some(first.nested(0xa0)?.expect(ber::OCTET_STRING)?)
            }
            None => None,
        };
        while !fields.is_empty() {
            fields.element()?;
        }
        Ok(Self { version, token })
    }
}

/// A request of the server with a token for the client.
pub(super) fn answer(token: &[u8]) -> Vec<u8> {
    let item = ber::element(0xa0, &ber::element(ber::OCTET_STRING, token));
    let tokens = ber::element(ber::SEQUENCE, &ber::element(ber::SEQUENCE, &item));
    request(&[ber::element(0xa1, &tokens)])
}

/// A request of the server that refuses, if the client's version has a field for that: 3, 4 and 6 do.
pub(super) fn refusal(client: i64, code: u32) -> Option<Vec<u8>> {
    matches!(client.min(VERSION), 3 | 4 | 6)
        .then(|| request(&[ber::element(0xa4, &ber::element(ber::INTEGER, &code.to_be_bytes()))]))
}

fn request(fields: &[Vec<u8>]) -> Vec<u8> {
    let version = ber::element(0xa0, &ber::element(ber::INTEGER, &ber::integer_content(VERSION)));
    ber::element(ber::SEQUENCE, &[version, fields.concat()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What nmap's `rdp-ntlm-info` sends: version 2 of CredSSP, NTLM without SPNEGO.
    pub(crate) const NMAP: &[u8] = b"\x30\x37\xa0\x03\x02\x01\x60\xa1\x30\x30\x2e\x30\x2c\xa0\x2a\x04\x28NTLMSSP\0\
        \x01\0\0\0\xb7\x82\x08\xe2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x0a\0\x63\x45\0\0\0\x0f";

    #[test]
    fn reads_what_nmap_says() {
        let (bytes, used) = whole(NMAP).unwrap().unwrap();
        assert_eq!(used, NMAP.len());
        let request = TsRequest::parse(bytes).unwrap();
        assert_eq!(request.version, 0x60);
        assert!(request.token.unwrap().starts_with(b"NTLMSSP\0\x01"));
    }

    #[test]
    fn every_prefix_is_incomplete() {
        let long = answer(&[7; 500]);
        for good in [NMAP, &answer(&[7; 130]), &long] {
            for end in 0..good.len() {
                assert_eq!(whole(&good[..end]), Ok(None), "{end}");
            }
            assert_eq!(whole(good).unwrap().unwrap().1, good.len());
        }
    }

    #[test]
    fn rejects_what_cannot_become_a_request() {
        assert_eq!(whole(b"\x03\0"), Err(CredSspError::Tag));
        assert_eq!(whole(b"\x30\x80"), Err(CredSspError::Ber(BerError::Length)));
        assert_eq!(whole(b"\x30\x83"), Err(CredSspError::Long));
        assert_eq!(whole(b"\x30\x82\xff\xff"), Err(CredSspError::Long));
    }

    #[test]
    fn an_inner_length_stays_inside() {
        let mut bytes = NMAP.to_vec();
        bytes[16] = 0x29;
        assert_eq!(TsRequest::parse(&bytes), Err(CredSspError::Ber(BerError::Truncated)));
        assert!(TsRequest::parse(b"\x30\x03\x02\x01\x06").is_err());
        assert_eq!(TsRequest::parse(b"\x30\x05\xa0\x03\x02\x01\x06"), Ok(TsRequest { version: 6, token: None }));
    }

    #[test]
    fn answers_round_trip_and_refusals_are_for_those_who_know_them() {
        let bytes = answer(b"token");
        assert_eq!(TsRequest::parse(&bytes), Ok(TsRequest { version: 6, token: Some(b"token") }));
        let refused = b"\x30\x0d\xa0\x03\x02\x01\x06\xa4\x06\x02\x04\xc0\0\0\x6d";
        assert_eq!(refusal(6, LOGON_FAILURE).as_deref(), Some(&refused[..]));
        assert_eq!(refusal(0x60, LOGON_FAILURE).as_deref(), Some(&refused[..]));
        assert_eq!((refusal(2, LOGON_FAILURE), refusal(5, LOGON_FAILURE)), (None, None));
    }
}
