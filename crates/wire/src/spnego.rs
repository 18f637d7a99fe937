//! SPNEGO's answers ([RFC 4178], section 4.2.2): the DER around a server's NTLMSSP message.
//!
//! [RFC 4178]: https://www.rfc-editor.org/rfc/rfc4178

use crate::ber::element;

/// Object identifier of NTLMSSP, 1.3.6.1.4.1.311.2.2.10, with its tag and length.
const NTLMSSP: &[u8] = b"\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a";

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
        assert_eq!(rejected(), b"\xa1\x07\x30\x05\xa0\x03\x0a\x01\x02");
    }
}
