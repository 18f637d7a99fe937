//! What a security package's token is: NTLM bare or in SPNEGO, or a Kerberos ticket.

use aviary_wire::ber::{self, Reader};
use aviary_wire::{ntlm, spnego};

/// Kerberos 5, 1.2.840.113554.1.2.2, and the number that Windows 2000 made of it.
const KERBEROS: [&[u8]; 2] = [b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02", b"\x2a\x86\x48\x82\xf7\x12\x01\x02\x02"];

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// An NTLM message.
    Ntlm {
        /// The message.
        message: &'a [u8],
        /// Whether it is inside SPNEGO.
        wrapped: bool,
    },
    /// A Kerberos ticket, or the wish to use one.
    Kerberos {
        /// Whom the ticket is for, when it is there and can be read.
        ticket: Option<Ticket>,
        /// Whether the client would take NTLM too.
        or_ntlm: bool,
    },
    /// SPNEGO without a token, from a client that takes NTLM.
    Offer,
    /// Something else.
    Unknown,
}

/// What stands unencrypted in a Kerberos ticket ([RFC 4120], 5.3).
///
/// [RFC 4120]: https://www.rfc-editor.org/rfc/rfc4120
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ticket {
    /// The realm.
    pub(super) realm: Vec<u8>,
    /// The service, `MSSQLSvc/sql01:1433`.
    pub(super) service: Vec<u8>,
    /// Number of the encryption type, 23 for RC4.
    pub(super) encryption: i64,
}

/// What a token is.
pub(super) fn classify(token: &[u8]) -> Token<'_> {
    if token.starts_with(ntlm::SIGNATURE) {
        return Token::Ntlm { message: token, wrapped: false };
    }
    if let Some(message) = ntlm::find(token) {
        return Token::Ntlm { message, wrapped: true };
    }
    let holds = |what: &[u8]| memchr::memmem::find(token, what).is_some();
    let or_ntlm = spnego::offers_ntlm(token);
    if KERBEROS.iter().any(|mechanism| holds(mechanism)) {
        return Token::Kerberos { ticket: ticket(token), or_ntlm };
    }
    if or_ntlm { Token::Offer } else { Token::Unknown }
}

/// The ticket in the AP-REQ of a token: `6e` SEQUENCE { version, type, options, `a3` Ticket, ... };
/// Ticket: `61` SEQUENCE { version, `a1` realm, `a2` SEQUENCE { type, `a1` SEQUENCE of name parts },
/// `a3` SEQUENCE { `a0` encryption type, ... } }.
fn ticket(token: &[u8]) -> Option<Ticket> {
    // Behind the mechanism's number there are two bytes that say AP-REQ.
    let at = memchr::memmem::find(token, b"\x01\x00\x6e")?;
    let mut request = Reader::new(token.get(at.saturating_add(2)..)?).nested(0x6e).ok()?.nested(ber::SEQUENCE).ok()?;
    for tag in [0xa0, 0xa1, 0xa2] {
        request.expect(tag).ok()?;
    }
    let mut ticket = request.nested(0xa3).ok()?.nested(0x61).ok()?.nested(ber::SEQUENCE).ok()?;
    ticket.expect(0xa0).ok()?;
    let realm = ticket.nested(0xa1).ok()?.element().ok()?.1.to_vec();
    let mut name = ticket.nested(0xa2).ok()?.nested(ber::SEQUENCE).ok()?;
    name.expect(0xa0).ok()?;
    let mut parts = name.nested(0xa1).ok()?.nested(ber::SEQUENCE).ok()?;
    let mut service = Vec::new();
    while let Ok((_, part)) = parts.element() {
        if !service.is_empty() {
            service.push(b'/');
        }
        service.extend_from_slice(part);
    }
    let mut encrypted = ticket.nested(0xa3).ok()?.nested(ber::SEQUENCE).ok()?;
    let encryption = encrypted.nested(0xa0).ok()?.integer().ok()?;
    Some(Ticket { realm, service, encryption })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// NTLMSSP, 1.3.6.1.4.1.311.2.2.10.
    const NTLMSSP: &[u8] = b"\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a";

    /// Tag, short or two-byte length, content.
    fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).unwrap();
        let head = if length < 0x80 { vec![tag, length] } else { vec![tag, 0x81, length] };
        [head, content.to_vec()].concat()
    }

    pub(crate) fn kerberos(with_ntlm: bool) -> Vec<u8> {
        let name = tlv(
            0x30,
            &[
                tlv(0xa0, b"\x02\x01\x02"),
                tlv(0xa1, &tlv(0x30, &[tlv(0x1b, b"MSSQLSvc"), tlv(0x1b, b"sql01:1433")].concat())),
            ]
            .concat(),
        );
        let encrypted = tlv(0x30, &[tlv(0xa0, b"\x02\x01\x17"), tlv(0xa2, &tlv(4, b"cipher"))].concat());
        let ticket = tlv(
            0x61,
            &tlv(
                0x30,
                &[
                    tlv(0xa0, b"\x02\x01\x05"),
                    tlv(0xa1, &tlv(0x1b, b"CORP.EXAMPLE")),
                    tlv(0xa2, &name),
                    tlv(0xa3, &encrypted),
                ]
                .concat(),
            ),
        );
        let request = tlv(
            0x6e,
            &tlv(
                0x30,
                &[
                    tlv(0xa0, b"\x02\x01\x05"),
                    tlv(0xa1, b"\x02\x01\x0e"),
                    tlv(0xa2, b"\x03\x05\0\0\0\0\0"),
                    tlv(0xa3, &ticket),
                ]
                .concat(),
            ),
        );
        let mut token = tlv(6, KERBEROS[0]);
        if with_ntlm {
            token.extend(tlv(6, NTLMSSP));
        }
        token.extend(b"\x01\x00");
        token.extend(request);
        token
    }

    #[test]
    fn knows_ntlm_bare_and_wrapped() {
        assert_eq!(classify(b"NTLMSSP\0\x01"), Token::Ntlm { message: b"NTLMSSP\0\x01", wrapped: false });
        assert_eq!(classify(b"\x60\x10NTLMSSP\0\x01"), Token::Ntlm { message: b"NTLMSSP\0\x01", wrapped: true });
        assert_eq!(classify(&tlv(6, NTLMSSP)), Token::Offer);
        assert_eq!(classify(b"anything"), Token::Unknown);
    }

    #[test]
    fn reads_whom_a_ticket_is_for() {
        let ticket =
            Ticket { realm: b"CORP.EXAMPLE".to_vec(), service: b"MSSQLSvc/sql01:1433".to_vec(), encryption: 23 };
        assert_eq!(classify(&kerberos(false)), Token::Kerberos { ticket: Some(ticket.clone()), or_ntlm: false });
        assert_eq!(classify(&kerberos(true)), Token::Kerberos { ticket: Some(ticket), or_ntlm: true });
    }

    #[test]
    fn a_ticket_that_is_cut_is_still_a_ticket() {
        let whole = kerberos(false);
        for end in 11..whole.len() {
            assert!(matches!(classify(&whole[..end]), Token::Kerberos { ticket: None, .. }), "{end}");
        }
    }
}
