//! SPNEGO's answers ([RFC 4178], section 4.2.2): the DER around a server's NTLMSSP message.
//!
//! [RFC 4178]: https://www.rfc-editor.org/rfc/rfc4178

use crate::ber::{self, element};

/// Object identifier of NTLMSSP, 1.3.6.1.4.1.311.2.2.10, with its tag and length.
const NTLMSSP: &[u8] = b"\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a";

/// SPNEGO's own, 1.3.6.1.5.5.2.
const SPNEGO: &[u8] = b"\x06\x06\x2b\x06\x01\x05\x05\x02";

/// NEGOEX, 1.3.6.1.4.1.311.2.2.30, which Windows offers first.
const NEGOEX: &[u8] = b"\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x1e";

/// Kerberos as members of a domain offer it: 1.2.840.48018.1.2.2, 1.2.840.113554.1.2.2 and .3.
const KERBEROS: &[u8] = b"\x06\x09\x2a\x86\x48\x82\xf7\x12\x01\x02\x02\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\
    \x06\x0a\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x03";

/// What a server offers before it was asked: Samba, Windows of a workgroup, Windows of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// NTLMSSP.
    Samba,
    /// NEGOEX and NTLMSSP.
    Workgroup,
    /// NEGOEX, Kerberos and NTLMSSP.
    Domain,
}

/// A server's NegTokenInit2 ([MS-SPNG] 2.2.1), with the hint that all servers give.
///
/// [MS-SPNG]: https://learn.microsoft.com/openspecs/windows_protocols/ms-spng/
#[must_use]
pub fn offer(offer: Offer) -> Vec<u8> {
    let mechanisms = match offer {
        Offer::Samba => NTLMSSP.to_vec(),
        Offer::Workgroup => [NEGOEX, NTLMSSP].concat(),
        Offer::Domain => [NEGOEX, KERBEROS, NTLMSSP].concat(),
    };
    let list = element(0xa0, &element(0x30, &mechanisms));
    let hint = element(0xa3, &element(0x30, &element(0xa0, &element(0x1b, b"not_defined_in_RFC4178@please_ignore"))));
    let init = element(0xa0, &element(0x30, &[list, hint].concat()));
    element(0x60, &[SPNEGO, &init].concat())
}

/// A NegTokenResp: `accept-completed`.
#[must_use]
pub fn completed() -> Vec<u8> {
    element(0xa1, &element(0x30, &element(0xa0, b"\x0a\x01\x00")))
}

/// A NegTokenResp: `accept-completed`, with a signature over the client's list of mechanisms.
#[must_use]
pub fn completed_with(signature: &[u8]) -> Vec<u8> {
    let state = element(0xa0, b"\x0a\x01\x00");
    let sum = element(0xa3, &element(0x04, signature));
    element(0xa1, &element(0x30, &[state, sum].concat()))
}

/// A NegTokenResp to a client that began with another mechanism: `accept-incomplete`, NTLMSSP chosen.
#[must_use]
pub fn ntlm_instead() -> Vec<u8> {
    let state = element(0xa0, b"\x0a\x01\x01");
    let mechanism = element(0xa1, NTLMSSP);
    element(0xa1, &element(0x30, &[state, mechanism].concat()))
}

/// The list of mechanisms of a client's NegTokenInit as it was encoded, which signatures cover.
#[must_use]
pub fn mechanism_list(token: &[u8]) -> Option<&[u8]> {
    let mut outer = ber::Reader::new(token).nested(0x60).ok()?;
    outer.expect(ber::OBJECT_IDENTIFIER).ok()?;
    outer.nested(0xa0).ok()?.nested(ber::SEQUENCE).ok()?.expect(0xa0).ok()
}

/// The mechanisms of a client's NegTokenInit, as dotted identifiers; empty when it is none.
#[must_use]
pub fn mechanisms(token: &[u8]) -> Vec<String> {
    let list = || -> Result<Vec<String>, ber::BerError> {
        let mut inner = ber::Reader::new(mechanism_list(token).unwrap_or_default()).nested(ber::SEQUENCE)?;
        let mut names = Vec::new();
        while !inner.is_empty() && names.len() < 16 {
            let arcs = ber::object_identifier(inner.expect(ber::OBJECT_IDENTIFIER)?)?;
            names.push(arcs.iter().map(u32::to_string).collect::<Vec<_>>().join("."));
        }
        Ok(names)
    };
    list().unwrap_or_default()
}

/// A NegTokenResp: `accept-incomplete`, NTLMSSP chosen, and the message.
#[must_use]
pub fn incomplete(message: &[u8]) -> Vec<u8> {
    let state = element(0xa0, b"\x0a\x01\x01");
    let mechanism = element(0xa1, NTLMSSP);
    let token = element(0xa2, &element(0x04, message));
    element(0xa1, &element(0x30, &[state, mechanism, token].concat()))
}

/// Whether a token of a client names NTLMSSP among its mechanisms.
#[must_use]
pub fn offers_ntlm(token: &[u8]) -> bool {
    memchr::memmem::find(token, NTLMSSP).is_some()
}

/// A NegTokenResp: `accept-incomplete`, and NTLMSSP chosen instead of the mechanism whose message came.
#[must_use]
pub fn ntlm_chosen() -> Vec<u8> {
    let state = element(0xa0, b"\x0a\x01\x01");
    element(0xa1, &element(0x30, &[state, element(0xa1, NTLMSSP)].concat()))
}

/// A NegTokenResp: `reject`.
#[must_use]
pub fn rejected() -> Vec<u8> {
    element(0xa1, &element(0x30, &element(0xa0, b"\x0a\x01\x02")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_with_the_shortest_lengths() {
        let short = incomplete(b"NTLMSSP\0");
        assert_eq!(short[..6], [0xa1, 0x21, 0x30, 0x1f, 0xa0, 0x03]);
        assert!(short.ends_with(b"\xa2\x0a\x04\x08NTLMSSP\0"));
        let long = incomplete(&[0; 200]);
        assert_eq!(long[..3], [0xa1, 0x81, 0xe4]);
        assert!(offers_ntlm(&long) && !offers_ntlm(&rejected()));
        assert_eq!(ntlm_chosen().len(), 23);
        assert_eq!(completed(), b"\xa1\x07\x30\x05\xa0\x03\x0a\x01\x00");
        assert_eq!(rejected(), b"\xa1\x07\x30\x05\xa0\x03\x0a\x01\x02");
    }

    #[test]
    fn offers_are_as_long_as_those_of_windows_and_samba() {
        assert_eq!(offer(Offer::Samba).len(), 74);
        let domain = offer(Offer::Domain);
        assert_eq!((domain.len(), &domain[..4]), (120, b"\x60\x76\x06\x06".as_slice()));
        let named = mechanisms(&domain);
        assert_eq!(named.first().map(String::as_str), Some("1.3.6.1.4.1.311.2.2.30"));
        assert_eq!(named.last().map(String::as_str), Some("1.3.6.1.4.1.311.2.2.10"));
        assert_eq!(mechanisms(b"NTLMSSP\0"), Vec::<String>::new());
        assert!(ntlm_instead().len() < 30);
    }
}
