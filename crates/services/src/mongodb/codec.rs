//! The [wire protocol](https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/): messages
//! in their parts. All numbers are little-endian.
//!
//! ```text
//! header         int32 length (itself included), int32 request, int32 answered request, int32 opcode
//! OP_REPLY     1 int32 flags, int64 cursor, int32 first, int32 count, documents
//! OP_QUERY  2004 int32 flags, collection up to 00, int32 skip, int32 count, document
//! OP_COMPRESSED  int32 opcode, int32 length of the body, uint8 compressor, the packed body
//! OP_MSG    2013 uint32 flags, sections, uint32 checksum if flag bit 0 is set
//! section        00 document | 01 int32 length (itself included), name up to 00, documents
//! ```

use super::bson::{Bson, Document};
use super::compress::Compressor;

/// Opcodes.
pub(super) mod opcode {
    /// Answer to OP_QUERY.
    pub(in super::super) const REPLY: i32 = 1;
    /// OP_UPDATE, OP_INSERT, OP_DELETE and OP_KILL_CURSORS, which nobody answers.
    pub(in super::super) const UNANSWERED: [i32; 4] = [2001, 2002, 2006, 2007];
    /// OP_QUERY.
    pub(in super::super) const QUERY: i32 = 2004;
    /// OP_COMPRESSED.
    pub(in super::super) const COMPRESSED: i32 = 2012;
    /// OP_MSG.
    pub(in super::super) const MSG: i32 = 2013;
}

/// Bytes of a header.
pub(super) const HEADER: usize = 16;

/// The server's `maxMessageSizeBytes`.
const LONGEST: usize = 48_000_000;

/// Flags of OP_MSG.
mod flag {
    pub(super) const CHECKSUM: u32 = 1;
    pub(super) const MORE_TO_COME: u32 = 2;
    /// Those that a receiver must know or refuse.
    pub(super) const REQUIRED: u32 = 0xffff;
}

/// What stands at the start of the bytes that came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    /// Not enough to say.
    Incomplete,
    /// A browser.
    Http,
    /// A header with a length that no message has.
    BadLength(u32),
    /// A whole message.
    Message(Message<'a>),
}

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    /// The sender's number for it.
    pub(super) request: i32,
    /// What the body is.
    pub(super) opcode: i32,
    /// What follows the header.
    pub(super) body: &'a [u8],
}

/// The first message. Like the server, it looks at nothing before 16 bytes are there.
pub(super) fn frame(input: &[u8]) -> Frame<'_> {
    let Some(header) = input.first_chunk::<HEADER>() else { return Frame::Incomplete };
    if header.starts_with(b"GET ") {
        return Frame::Http;
    }
    let [l0, l1, l2, l3, r0, r1, r2, r3, _, _, _, _, o0, o1, o2, o3] = *header;
    let claimed = u32::from_le_bytes([l0, l1, l2, l3]);
    let Some(length) = usize::try_from(claimed).ok().filter(|length| (HEADER..=LONGEST).contains(length)) else {
        return Frame::BadLength(claimed);
    };
    match input.get(HEADER..length) {
        Some(body) => Frame::Message(Message {
            request: i32::from_le_bytes([r0, r1, r2, r3]),
            opcode: i32::from_le_bytes([o0, o1, o2, o3]),
            body,
        }),
        None => Frame::Incomplete,
    }
}

/// Why a body is none, and what the server makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// The connection ends without a word.
    #[error("{0}")]
    Fatal(&'static str),
    /// A document is none: an error is answered.
    #[error("bson length doesn't match what we found in object with unknown _id")]
    Bson,
    /// An error with a number of its own is answered.
    #[error("{1}")]
    Located(i32, &'static str),
}

/// A request.
#[derive(Debug, PartialEq)]
pub(super) struct Request {
    /// How it is answered.
    pub(super) shape: Shape,
    /// Whether no answer is wanted.
    pub(super) silent: bool,
    /// The command; its sections of documents are arrays in it.
    pub(super) document: Document,
}

/// What a request came as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// OP_MSG.
    Msg,
    /// OP_QUERY to this collection.
    Query(Vec<u8>),
}

/// Reads the body of OP_MSG.
pub(super) fn read_msg(body: &[u8]) -> Result<Request, Fault> {
    const SHORT: Fault = Fault::Fatal("OP_MSG without flags");
    let (flags, mut rest) = split(body).ok_or(SHORT)?;
    let flags = u32::from_le_bytes(flags);
    if flags & flag::REQUIRED & !(flag::CHECKSUM | flag::MORE_TO_COME) != 0 {
        return Err(Fault::Fatal("OP_MSG with unknown flags"));
    }
    if flags & flag::CHECKSUM != 0 {
        let end = rest.len().checked_sub(4).ok_or(SHORT)?;
        rest = rest.get(..end).unwrap_or_default();
    }
    let mut command = None;
    let mut sequences = Vec::new();
    let mut room = 16 * 1024;
    while let Some((kind, behind)) = rest.split_first() {
        match kind {
            0 => {
                let (document, used) = Document::read_within(behind, &mut room).map_err(|_| Fault::Bson)?;
                if command.replace(document).is_some() {
                    return Err(Fault::Located(40430, "Multiple body sections in message"));
                }
                rest = behind.get(used..).unwrap_or_default();
            }
            1 => {
                let (length, _) = split(behind).ok_or(Fault::Bson)?;
                let length = usize::try_from(u32::from_le_bytes(length)).map_err(|_| Fault::Bson)?;
                let section = behind.get(4..length).ok_or(Fault::Bson)?;
                sequences.push(sequence(section, &mut room)?);
                rest = behind.get(length..).unwrap_or_default();
            }
            _ => return Err(Fault::Located(40432, "Unknown section kind")),
        }
    }
    let mut document = command.ok_or(Fault::Located(40587, "OP_MSG messages must have a body"))?;
    document.0.extend(sequences);
    Ok(Request { shape: Shape::Msg, silent: flags & flag::MORE_TO_COME != 0, document })
}

fn sequence(section: &[u8], room: &mut usize) -> Result<(Vec<u8>, Bson), Fault> {
    let end = memchr::memchr(0, section).ok_or(Fault::Bson)?;
    let (name, rest) = section.split_at_checked(end).ok_or(Fault::Bson)?;
    let mut rest = rest.get(1..).unwrap_or_default();
    let mut documents = Vec::new();
    while !rest.is_empty() {
        let (document, used) = Document::read_within(rest, room).map_err(|_| Fault::Bson)?;
        rest = rest.get(used..).unwrap_or_default();
        // Documents count as elements do, so that many empty ones cost little.
        if let Some(left) = room.checked_sub(1) {
            *room = left;
            documents.push(document);
        }
    }
    Ok((name.to_vec(), documents.into_iter().collect()))
}

/// Reads the body of OP_QUERY; what follows the first document (the fields to show) is passed over.
pub(super) fn read_query(body: &[u8]) -> Result<Request, Fault> {
    const SHORT: Fault = Fault::Fatal("OP_QUERY that ends early");
    let (_, rest) = split::<4>(body).ok_or(SHORT)?;
    let end = memchr::memchr(0, rest).ok_or(SHORT)?;
    let (collection, rest) = rest.split_at_checked(end).ok_or(SHORT)?;
    let (_, document) = split::<8>(rest.get(1..).unwrap_or_default()).ok_or(SHORT)?;
    let (document, _) = Document::read(document).map_err(|_| Fault::Bson)?;
    // Some drivers wrap a command to say more about it.
    let document = match document.0.first() {
        Some((name, Bson::Document(inner))) if matches!(name.as_slice(), b"$query" | b"query") => inner.clone(),
        _ => document,
    };
    Ok(Request { shape: Shape::Query(collection.to_vec()), silent: false, document })
}

/// Reads OP_COMPRESSED: what it packs, by whom, and the packed bytes with the length they claim.
pub(super) fn read_compressed(body: &[u8]) -> Option<(i32, u32, u8, &[u8])> {
    let (opcode, rest) = split(body)?;
    let (length, rest) = split(rest)?;
    let (compressor, packed) = rest.split_first()?;
    Some((i32::from_le_bytes(opcode), u32::from_le_bytes(length), *compressor, packed))
}

fn split<const N: usize>(bytes: &[u8]) -> Option<([u8; N], &[u8])> {
    bytes.split_first_chunk().map(|(chunk, rest)| (*chunk, rest))
}

/// An answer as a whole message.
///
/// A `legacy` one is OP_REPLY with flag 8 (`AwaitCapable`) or 2 (`QueryFailure`) for a failed query.
pub(super) fn answer(
    number: i32,
    request: i32,
    shape: &Shape,
    failed: bool,
    document: &Document,
    packed_by: Option<Compressor>,
) -> Vec<u8> {
    let (opcode, mut body) = match shape {
        // Flags and the kind of the only section.
        Shape::Msg => (opcode::MSG, vec![0; 5]),
        Shape::Query(_) => {
            let mut body = vec![if failed { 2 } else { 8 }];
            body.extend_from_slice(&[0; 15]);
            body.extend_from_slice(&1_i32.to_le_bytes());
            (opcode::REPLY, body)
        }
    };
    body.extend_from_slice(&document.encode());
    match packed_by {
        None => message(number, request, opcode, &body),
        Some(compressor) => {
            let mut packed = opcode.to_le_bytes().to_vec();
            packed.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
            packed.push(compressor.number());
            packed.extend_from_slice(&compressor.pack(&body));
            message(number, request, opcode::COMPRESSED, &packed)
        }
    }
}

/// A message of these parts.
pub(super) fn message(number: i32, request: i32, opcode: i32, body: &[u8]) -> Vec<u8> {
    let length = i32::try_from(HEADER.saturating_add(body.len())).unwrap_or(i32::MAX);
    let mut out = Vec::with_capacity(HEADER.saturating_add(body.len()));
    for number in [length, number, request, opcode] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(body);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ping() -> Document {
        Document::default().with("ping", 1).with("$db", "admin")
    }

    fn msg(flags: u32, sections: &[&[u8]]) -> Vec<u8> {
        [flags.to_le_bytes().as_slice(), &sections.concat()].concat()
    }

    #[test]
    fn every_prefix_of_a_message_is_incomplete() {
        let body = msg(0, &[b"\0", &ping().encode()]);
        let bytes = message(7, 0, opcode::MSG, &body);
        for end in 0..bytes.len() {
            assert_eq!(frame(&bytes[..end]), Frame::Incomplete, "{end}");
        }
        let longer = [bytes.as_slice(), b"x"].concat();
        assert_eq!(frame(&longer), Frame::Message(Message { request: 7, opcode: opcode::MSG, body: &body }));
        assert_eq!(read_msg(&body).unwrap().document, ping());
    }

    #[test]
    fn lengths_that_no_message_has_are_told() {
        for length in [0, 15, 48_000_001, u32::MAX] {
            let bytes = [length.to_le_bytes().as_slice(), &[0; 12]].concat();
            assert_eq!(frame(&bytes), Frame::BadLength(length));
            assert_eq!(frame(&bytes[..15]), Frame::Incomplete);
        }
        assert_eq!(frame(b"GET / HTTP/1.0\r\n\r\n"), Frame::Http);
        assert_eq!(frame(b"POST / HTTP/1.0\r\n"), Frame::BadLength(0x5453_4f50));
    }

    #[test]
    fn sections_of_documents_become_arrays() {
        let two = [ping().encode(), Document::default().encode()].concat();
        let mut section = u32::try_from(4 + 10 + two.len()).unwrap().to_le_bytes().to_vec();
        section.extend_from_slice(b"documents\0");
        section.extend_from_slice(&two);
        let body = msg(3, &[b"\x01", &section, b"\0", &ping().encode(), b"\xde\xad\xbe\xef"]);
        let request = read_msg(&body).unwrap();
        assert!(request.silent);
        assert_eq!(
            request.document,
            ping().with("documents", [ping(), Document::default()].into_iter().collect::<Bson>())
        );
    }

    #[test]
    fn what_is_no_op_msg_is_refused_as_the_server_does() {
        let document = ping().encode();
        for (body, fault) in [
            (vec![0; 3], Fault::Fatal("OP_MSG without flags")),
            (msg(4, &[b"\0", &document]), Fault::Fatal("OP_MSG with unknown flags")),
            (msg(1, &[b"\0\0"]), Fault::Fatal("OP_MSG without flags")),
            (msg(0, &[]), Fault::Located(40587, "OP_MSG messages must have a body")),
            (msg(0, &[b"\x02"]), Fault::Located(40432, "Unknown section kind")),
            (msg(0, &[b"\0", &document, b"\0", &document]), Fault::Located(40430, "Multiple body sections in message")),
            (msg(0, &[b"\0\xff\xff\xff\x7f\0"]), Fault::Bson),
            (msg(0, &[b"\x01\xff\xff\xff\xff"]), Fault::Bson),
            (msg(0, &[b"\x01\0\0\0\0"]), Fault::Bson),
        ] {
            assert_eq!(read_msg(&body), Err(fault), "{body:x?}");
        }
        // Unknown optional flags are passed over.
        assert!(read_msg(&msg(0x0003_0000, &[b"\0", &document])).is_ok());
    }

    #[test]
    fn reads_a_query_and_looks_into_its_wrapper() {
        let wrapped = Document::default().with("$query", ping()).with("$readPreference", Document::default());
        let body = [b"\0\0\0\0admin.$cmd\0\0\0\0\0\xff\xff\xff\xff".as_slice(), &wrapped.encode()].concat();
        let request = read_query(&body).unwrap();
        assert_eq!((request.shape, request.document), (Shape::Query(b"admin.$cmd".to_vec()), ping()));
        assert_eq!(read_query(&body[..12]), Err(Fault::Fatal("OP_QUERY that ends early")));
        assert_eq!(read_query(&body[..30]), Err(Fault::Bson));
    }

    #[test]
    fn answers_come_back_through_every_compressor() {
        for compressor in Compressor::ALL {
            let bytes = answer(3, 7, &Shape::Msg, false, &ping(), Some(compressor));
            let Frame::Message(Message { opcode: opcode::COMPRESSED, body, .. }) = frame(&bytes) else { panic!() };
            let (opcode, length, number, packed) = read_compressed(body).unwrap();
            assert_eq!((opcode, number), (opcode::MSG, compressor.number()));
            let unpacked = compressor.unpack(packed, length).unwrap();
            assert_eq!(read_msg(&unpacked).unwrap().document, ping());
        }
    }
}
