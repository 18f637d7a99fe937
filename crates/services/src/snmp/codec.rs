//! SNMP's messages: versions 1, 2c and 3 to values, and answers to bytes.
//!
//! The reader takes what net-snmp takes: lengths longer than needed, integers of up to eight octets cut
//! to 32 bits, anything behind the message. What it refuses, net-snmp is silent to.

use aviary_wire::ber::{self, BerError, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE};

/// Kinds of PDU (RFC 3416, section 3; the trap of version 1: RFC 1157, section 4.1.6).
pub(super) mod pdu {
    pub(crate) const GET: u8 = 0xa0;
    pub(crate) const GET_NEXT: u8 = 0xa1;
    pub(crate) const RESPONSE: u8 = 0xa2;
    pub(crate) const SET: u8 = 0xa3;
    pub(crate) const TRAP: u8 = 0xa4;
    pub(crate) const GET_BULK: u8 = 0xa5;
    pub(crate) const INFORM: u8 = 0xa6;
    pub(crate) const TRAP_V2: u8 = 0xa7;
    pub(crate) const REPORT: u8 = 0xa8;
}

/// Tags of values that are not of all ASN.1 (RFC 2578, section 2, and RFC 3416).
pub(super) mod tag {
    pub(crate) const IP_ADDRESS: u8 = 0x40;
    pub(crate) const COUNTER: u8 = 0x41;
    pub(crate) const GAUGE: u8 = 0x42;
    pub(crate) const TICKS: u8 = 0x43;
    pub(crate) const OPAQUE: u8 = 0x44;
    pub(crate) const COUNTER64: u8 = 0x46;
    pub(crate) const UNSIGNED: u8 = 0x47;
    pub(crate) const NO_SUCH_OBJECT: u8 = 0x80;
    pub(crate) const NO_SUCH_INSTANCE: u8 = 0x81;
    pub(crate) const END_OF_MIB_VIEW: u8 = 0x82;
}

/// Longest community that is taken; net-snmp's buffer has 256 octets.
const LONGEST_COMMUNITY: usize = 255;
/// Greatest engine identifier and user name (RFC 3411, SnmpEngineID and SnmpAdminString of USM).
const LONGEST_NAME: usize = 32;
/// Least message size that a peer may name (RFC 3412, section 6).
const LEAST_SIZE: i64 = 484;
/// The User-based Security Model.
const USM: i64 = 3;

/// Why a datagram is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("no BER: {0}")]
    Ber(#[from] BerError),
    #[error("version {0} is none of 0, 1 and 3")]
    Version(i64),
    #[error("a value of an unknown type")]
    Value,
    #[error("a field of version 3 is out of its range: {0}")]
    Header(&'static str),
    #[error("a community of more than 255 octets")]
    Community,
}

/// One message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message<'a> {
    Community(Community<'a>),
    Secure(Secure<'a>),
}

/// A message of version 1 or 2c: SEQUENCE of version, community and PDU.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Community<'a> {
    /// 0 for version 1, 1 for version 2c.
    pub(super) version: i64,
    pub(super) community: &'a [u8],
    pub(super) pdu: Pdu<'a>,
}

/// A message of version 3 (RFC 3412, section 6): SEQUENCE of version, header, security parameters in an
/// OCTET STRING, and scoped PDU, which is an OCTET STRING when it is encrypted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Secure<'a> {
    pub(super) id: i32,
    /// Most octets that the peer takes in an answer.
    pub(super) max_size: i64,
    /// Bit 0: authenticated; bit 1: encrypted; bit 2: a report is wanted.
    pub(super) flags: u8,
    pub(super) engine: &'a [u8],
    pub(super) boots: i64,
    pub(super) time: i64,
    pub(super) user: &'a [u8],
    pub(super) digest: &'a [u8],
    /// What stands in clear; nothing when it is encrypted.
    pub(super) scoped: Option<Scoped<'a>>,
}

impl Secure<'_> {
    pub(super) const fn is_authenticated(&self) -> bool {
        self.flags & 1 != 0
    }

    pub(super) const fn is_encrypted(&self) -> bool {
        self.flags & 2 != 0
    }
}

/// SEQUENCE of context engine, context name and PDU.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scoped<'a> {
    pub(super) engine: &'a [u8],
    pub(super) context: &'a [u8],
    pub(super) pdu: Pdu<'a>,
}

/// A PDU: request identifier, error status, error index, variables. GETBULK has non-repeaters and
/// greatest number of repetitions in the second and third place, a trap of version 1 other fields.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pdu<'a> {
    pub(super) tag: u8,
    pub(super) id: i32,
    pub(super) second: i32,
    pub(super) third: i32,
    pub(super) trap: Option<Trap<'a>>,
    pub(super) variables: Vec<Variable<'a>>,
}

/// What only a trap of version 1 has.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Trap<'a> {
    pub(super) enterprise: Vec<u32>,
    pub(super) agent: &'a [u8],
    pub(super) generic: i64,
    pub(super) specific: i64,
}

/// A name and what is bound to it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Variable<'a> {
    pub(super) name: Vec<u32>,
    pub(super) tag: u8,
    pub(super) value: &'a [u8],
}

/// Reads a datagram.
pub(super) fn message(bytes: &[u8]) -> Result<Message<'_>, Malformed> {
    let mut reader = Reader::new(bytes).nested(SEQUENCE)?;
    match reader.integer()? {
        version @ (0 | 1) => {
            let community = reader.expect(OCTET_STRING)?;
            if community.len() > LONGEST_COMMUNITY {
                return Err(Malformed::Community);
            }
            Ok(Message::Community(Community { version, community, pdu: read_pdu(&mut reader)? }))
        }
        3 => secure(&mut reader).map(Message::Secure),
        version => Err(Malformed::Version(version)),
    }
}

fn secure<'a>(reader: &mut Reader<'a>) -> Result<Secure<'a>, Malformed> {
    let mut header = reader.nested(SEQUENCE)?;
    let (id, max_size) = (header.integer()?, header.integer()?);
    let flags = header.expect(OCTET_STRING)?;
    let model = header.integer()?;
    let id = i32::try_from(id).ok().filter(|id| *id >= 0).ok_or(Malformed::Header("message identifier"))?;
    let [flags] = flags else { return Err(Malformed::Header("flags")) };
    if max_size < LEAST_SIZE {
        return Err(Malformed::Header("greatest size"));
    }
    if model != USM {
        return Err(Malformed::Header("security model"));
    }
    // Encryption without authentication is not defined.
    if flags & 3 == 2 {
        return Err(Malformed::Header("flags"));
    }
    let mut parameters = reader.nested(OCTET_STRING)?.nested(SEQUENCE)?;
    let engine = parameters.expect(OCTET_STRING)?;
    let (boots, time) = (parameters.integer()?, parameters.integer()?);
    let user = parameters.expect(OCTET_STRING)?;
    let digest = parameters.expect(OCTET_STRING)?;
    parameters.expect(OCTET_STRING)?;
    if engine.len() > LONGEST_NAME || user.len() > LONGEST_NAME {
        return Err(Malformed::Header("engine or user"));
    }
    let scoped = if flags & 2 == 0 {
        let mut scoped = reader.nested(SEQUENCE)?;
        let (engine, context) = (scoped.expect(OCTET_STRING)?, scoped.expect(OCTET_STRING)?);
        Some(Scoped { engine, context, pdu: read_pdu(&mut scoped)? })
    } else {
        reader.expect(OCTET_STRING)?;
        None
    };
    Ok(Secure { id, max_size, flags: *flags, engine, boots, time, user, digest, scoped })
}

fn read_pdu<'a>(reader: &mut Reader<'a>) -> Result<Pdu<'a>, Malformed> {
    let (tag, content) = reader.element()?;
    let mut reader = Reader::new(content);
    if tag == pdu::TRAP {
        let enterprise = name(reader.expect(OBJECT_IDENTIFIER)?)?;
        let agent = reader.expect(tag::IP_ADDRESS)?;
        let (generic, specific) = (reader.integer()?, reader.integer()?);
        reader.expect(tag::TICKS)?;
        let trap = Some(Trap { enterprise, agent, generic, specific });
        return Ok(Pdu { tag, id: 0, second: 0, third: 0, trap, variables: variables(&mut reader)? });
    }
    let (id, second, third) = (small(reader.integer()?), small(reader.integer()?), small(reader.integer()?));
    Ok(Pdu { tag, id, second, third, trap: None, variables: variables(&mut reader)? })
}

fn variables<'a>(reader: &mut Reader<'a>) -> Result<Vec<Variable<'a>>, Malformed> {
    let mut list = reader.nested(SEQUENCE)?;
    let mut variables = Vec::new();
    while !list.is_empty() {
        let mut variable = list.nested(SEQUENCE)?;
        let name = name(variable.expect(OBJECT_IDENTIFIER)?)?;
        let (tag, value) = variable.element()?;
        if !matches!(tag, INTEGER | OCTET_STRING | ber::NULL | OBJECT_IDENTIFIER | 0x40..=0x47 | 0x80..=0x82) {
            return Err(Malformed::Value);
        }
        variables.push(Variable { name, tag, value });
    }
    Ok(variables)
}

/// An empty name is zero point zero to net-snmp.
fn name(content: &[u8]) -> Result<Vec<u32>, BerError> {
    if content.is_empty() { Ok(vec![0, 0]) } else { ber::object_identifier(content) }
}

/// The low 32 bits, as net-snmp reads integers.
fn small(value: i64) -> i32 {
    let [_, _, _, _, a, b, c, d] = value.to_be_bytes();
    i32::from_be_bytes([a, b, c, d])
}

/// Names with dots.
pub(super) fn dotted(name: &[u32]) -> String {
    name.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
}

/// A variable to send: a name and an encoded value.
pub(super) fn push_variable(out: &mut Vec<u8>, name: &[u32], value: &[u8]) {
    let mut content = ber::element(OBJECT_IDENTIFIER, &ber::object_identifier_content(name));
    content.extend_from_slice(value);
    ber::push(out, SEQUENCE, &content);
}

/// A PDU to send; `variables` are those of [`push_variable`].
pub(super) fn pdu_bytes(tag: u8, id: i32, status: u8, index: usize, variables: &[u8]) -> Vec<u8> {
    let mut content = integer(i64::from(id));
    content.extend(integer(i64::from(status)));
    content.extend(integer(i64::try_from(index).unwrap_or(0)));
    ber::push(&mut content, SEQUENCE, variables);
    ber::element(tag, &content)
}

/// A message of version 1 or 2c to send.
pub(super) fn community_bytes(version: i64, community: &[u8], pdu: &[u8]) -> Vec<u8> {
    let mut content = integer(version);
    ber::push(&mut content, OCTET_STRING, community);
    content.extend_from_slice(pdu);
    ber::element(SEQUENCE, &content)
}

/// A message of version 3 to send, neither authenticated nor encrypted.
pub(super) struct SecureAnswer<'a> {
    pub(super) id: i32,
    pub(super) engine: &'a [u8],
    pub(super) boots: u32,
    pub(super) time: u32,
    pub(super) user: &'a [u8],
    pub(super) context: &'a [u8],
    pub(super) pdu: &'a [u8],
}

impl SecureAnswer<'_> {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut header = integer(i64::from(self.id));
        header.extend(integer(65_507));
        ber::push(&mut header, OCTET_STRING, &[0]);
        header.extend(integer(USM));

        let mut parameters = ber::element(OCTET_STRING, self.engine);
        parameters.extend(integer(i64::from(self.boots)));
        parameters.extend(integer(i64::from(self.time)));
        ber::push(&mut parameters, OCTET_STRING, self.user);
        ber::push(&mut parameters, OCTET_STRING, b"");
        ber::push(&mut parameters, OCTET_STRING, b"");

        let mut scoped = ber::element(OCTET_STRING, self.engine);
        ber::push(&mut scoped, OCTET_STRING, self.context);
        scoped.extend_from_slice(self.pdu);

        let mut content = integer(3);
        ber::push(&mut content, SEQUENCE, &header);
        ber::push(&mut content, OCTET_STRING, &ber::element(SEQUENCE, &parameters));
        ber::push(&mut content, SEQUENCE, &scoped);
        ber::element(SEQUENCE, &content)
    }
}

/// An INTEGER element.
pub(super) fn integer(value: i64) -> Vec<u8> {
    ber::element(INTEGER, &ber::integer_content(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// net-snmp's `snmpget -v2c -c public HOST 1.3.6.1.2.1.1.1.0`, as it was captured.
    const GET: &[u8] = b"0)\x02\x01\x01\x04\x06public\xa0\x1c\x02\x04\x1a+<M\x02\x01\x00\x02\x01\x000\x0e0\x0c\x06\x08+\x06\x01\x02\x01\x01\x01\x00\x05\x00";
    /// Its discovery of version 3.
    const DISCOVERY: &[u8] = b"0>\x02\x01\x030\x11\x02\x04Ji\xf2\xc2\x02\x03\x00\xff\xe3\x04\x01\x04\x02\x01\x03\x04\x100\x0e\x04\x00\x02\x01\x00\x02\x01\x00\x04\x00\x04\x00\x04\x000\x14\x04\x00\x04\x00\xa0\x0e\x02\x047\x1b\x8bP\x02\x01\x00\x02\x01\x000\x00";

    #[test]
    fn reads_a_get() {
        let Ok(Message::Community(message)) = message(GET) else { panic!("no message") };
        assert_eq!((message.version, message.community), (1, &b"public"[..]));
        assert_eq!((message.pdu.tag, message.pdu.id), (pdu::GET, 0x1a2b_3c4d));
        assert_eq!(
            message.pdu.variables,
            [Variable { name: vec![1, 3, 6, 1, 2, 1, 1, 1, 0], tag: ber::NULL, value: b"" }]
        );
    }

    #[test]
    fn reads_a_discovery() {
        let Ok(Message::Secure(message)) = message(DISCOVERY) else { panic!("no message") };
        assert_eq!((message.id, message.max_size, message.flags), (0x4a69_f2c2, 65_507, 4));
        assert!(message.engine.is_empty() && message.user.is_empty() && !message.is_authenticated());
        assert_eq!(message.scoped.map(|scoped| scoped.pdu.id), Some(0x371b_8b50));
    }

    #[test]
    fn every_prefix_is_truncated() {
        for whole in [GET, DISCOVERY] {
            for end in 0..whole.len() {
                assert_eq!(message(&whole[..end]), Err(Malformed::Ber(BerError::Truncated)));
            }
        }
    }

    #[test]
    fn wrong_fields_are_named() {
        let at = |from: &[u8], offset: usize, octet: u8| {
            let mut bytes = from.to_vec();
            bytes[offset] = octet;
            message(&bytes).map(|_| ()).map_err(|error| error.to_string())
        };
        for (from, offset, octet, words) in [
            (GET, 4, 2, "version 2"),
            (GET, 5, 2, "tag 0x02"),
            (GET, 41, 0x55, "unknown type"),
            (GET, 40, 0xff, "does not fit"),
            (DISCOVERY, 9, 0xff, "message identifier"),
            (DISCOVERY, 15, 0x80, "greatest size"),
            (DISCOVERY, 20, 6, "flags"),
            (DISCOVERY, 23, 1, "security model"),
        ] {
            let said = at(from, offset, octet);
            assert!(said.as_ref().is_err_and(|said| said.contains(words)), "{offset}: {said:?}");
        }
        let long = community_bytes(0, &[b'c'; 256], &pdu_bytes(pdu::GET, 1, 0, 0, b""));
        assert_eq!(message(&long), Err(Malformed::Community));
    }

    #[test]
    fn messages_round_trip() {
        let mut variables = Vec::new();
        push_variable(&mut variables, &[1, 3, 6, 1, 2, 1, 1, 5, 0], &ber::element(OCTET_STRING, b"srv01"));
        let bytes = community_bytes(1, b"public", &pdu_bytes(pdu::RESPONSE, -7, 6, 1, &variables));
        let Ok(Message::Community(read)) = message(&bytes) else { panic!("no message") };
        assert_eq!((read.pdu.id, read.pdu.second, read.pdu.third), (-7, 6, 1));
        assert_eq!(read.pdu.variables[0].value, b"srv01");

        let pdu = pdu_bytes(pdu::REPORT, 5, 0, 0, &variables);
        let answer =
            SecureAnswer { id: 9, engine: b"12345", boots: 2, time: 300, user: b"bob", context: b"c", pdu: &pdu };
        let bytes = answer.encode();
        let Ok(Message::Secure(read)) = message(&bytes) else { panic!("no message") };
        assert_eq!((read.id, read.engine, read.boots, read.time, read.user), (9, &b"12345"[..], 2, 300, &b"bob"[..]));
        assert_eq!(
            read.scoped.map(|scoped| (scoped.engine, scoped.context, scoped.pdu.tag)),
            Some((&b"12345"[..], &b"c"[..], pdu::REPORT))
        );
    }

    #[test]
    fn integers_are_cut_to_32_bits() {
        assert_eq!((small(0x01_0203_0405), small(-1), small(5)), (0x0203_0405, -1, 5));
    }

    #[test]
    fn reads_a_trap_of_version_1() {
        let mut content = ber::element(OBJECT_IDENTIFIER, &ber::object_identifier_content(&[1, 3, 6, 1, 4, 1, 9]));
        content.extend(ber::element(tag::IP_ADDRESS, &[192, 0, 2, 9]));
        content.extend([integer(6), integer(17), ber::element(tag::TICKS, &[5]), ber::element(SEQUENCE, b"")].concat());
        let bytes = community_bytes(0, b"public", &ber::element(pdu::TRAP, &content));
        let Ok(Message::Community(read)) = message(&bytes) else { panic!("no message") };
        let trap = Trap { enterprise: vec![1, 3, 6, 1, 4, 1, 9], agent: &[192, 0, 2, 9], generic: 6, specific: 17 };
        assert_eq!(read.pdu.trap, Some(trap));
    }
}
