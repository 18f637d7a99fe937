//! DCE/RPC over pipes: the packets of C706 chapter 12 and [MS-RPCE] that are needed to answer binds
//! and calls.

use super::codec::{Put as _, short, slice, u16_at, u32_at};
use super::negotiate::guid_text;

pub(super) const REQUEST: u8 = 0;
const RESPONSE: u8 = 2;
const FAULT: u8 = 3;
pub(super) const BIND: u8 = 11;
const BIND_ACK: u8 = 12;
const BIND_NAK: u8 = 13;
pub(super) const ALTER_CONTEXT: u8 = 14;
const ALTER_CONTEXT_RESPONSE: u8 = 15;
pub(super) const AUTH3: u8 = 16;

const FIRST: u8 = 1;
const LAST: u8 = 2;
const OBJECT: u8 = 0x80;

/// nca_s_fault_access_denied.
pub(super) const ACCESS_DENIED: u32 = 5;
/// nca_s_fault_unk_if.
pub(super) const UNKNOWN_INTERFACE: u32 = 0x1c01_0003;
/// nca_s_fault_op_rng_error.
pub(super) const NO_SUCH_CALL: u32 = 0x1c01_0002;
/// RPC_X_BAD_STUB_DATA.
pub(super) const BAD_ARGUMENTS: u32 = 0x0000_06f7;

/// Bytes of a fragment's header.
const HEADER: usize = 16;

/// Contexts of a bind that are looked at.
const CONTEXTS: usize = 32;

/// A fragment: version 5.0, type, flags, data representation (4), length (2), length of
/// authentication (2), call id (4), body, authentication.
#[derive(Debug)]
pub(super) struct Fragment<'a> {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) call: u32,
    pub(super) body: &'a [u8],
    pub(super) auth: Option<Auth<'a>>,
}

/// A security trailer: type, level, padding, reserved, context (4), token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Auth<'a> {
    pub(super) kind: u8,
    pub(super) level: u8,
    pub(super) context: u32,
    pub(super) token: &'a [u8],
}

/// Reads a fragment and says how long it is; `Ok(None)` when more is needed.
///
/// # Errors
/// With what is wrong.
pub(super) fn fragment(input: &[u8]) -> Result<Option<(Fragment<'_>, usize)>, &'static str> {
    let Some(header) = input.get(..HEADER) else { return Ok(None) };
    let [5, _, kind, flags, order, ..] = *header else { return Err("no DCE/RPC") };
    if order & 0xf0 != 0x10 {
        return Err("big-endian DCE/RPC");
    }
    let length = usize::from(u16_at(header, 8).unwrap_or(0));
    let auth = usize::from(u16_at(header, 10).unwrap_or(0));
    if length < HEADER {
        return Err("a fragment shorter than its header");
    }
    let Some(whole) = input.get(..length) else { return Ok(None) };
    let body = whole.get(HEADER..).unwrap_or_default();
    let (body, auth) = match auth {
        0 => (body, None),
        _ => trailer(body, auth).ok_or("a security trailer longer than its fragment")?,
    };
    Ok(Some((Fragment { kind, flags, call: u32_at(header, 12).unwrap_or(0), body, auth }, length)))
}

fn trailer(body: &[u8], length: usize) -> Option<(&[u8], Option<Auth<'_>>)> {
    let (rest, token) = body.split_at_checked(body.len().checked_sub(length)?)?;
    let (body, head) = rest.split_at_checked(rest.len().checked_sub(8)?)?;
    let [kind, level, padding, _, ..] = *head else { return None };
    let body = body.get(..body.len().checked_sub(usize::from(padding))?)?;
    Some((body, Some(Auth { kind, level, context: u32_at(head, 4)?, token })))
}

impl Fragment<'_> {
    /// Whether it begins a call, and whether it ends one.
    pub(super) const fn bounds(&self) -> (bool, bool) {
        (self.flags & FIRST != 0, self.flags & LAST != 0)
    }

    /// Context, number of the call, arguments.
    pub(super) fn request(&self) -> Option<(u16, u16, &[u8])> {
        let skip = if self.flags & OBJECT != 0 { 24 } else { 8 };
        Some((u16_at(self.body, 4)?, u16_at(self.body, 6)?, self.body.get(skip..)?))
    }
}

/// A context that a bind asks for.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) id: u16,
    pub(super) uuid: String,
    /// Major and minor version.
    pub(super) version: (u16, u16),
    /// Encodings: UUID and version.
    pub(super) encodings: Vec<[u8; 20]>,
}

/// What a bind asks for: longest fragment that the client takes, its group, contexts.
pub(super) fn bind(body: &[u8]) -> Option<(u16, u32, Vec<Context>)> {
    let (receives, group) = (u16_at(body, 2)?, u32_at(body, 4)?);
    let count = usize::from(*body.get(8)?);
    let mut contexts = Vec::new();
    let mut at = 12_usize;
    for _ in 0..count.min(CONTEXTS) {
        let head = slice(body, at, 24_usize)?;
        let encodings = usize::from(*head.get(2)?);
        let mut listed = Vec::new();
        at = at.saturating_add(24);
        for _ in 0..encodings.min(16) {
            listed.push(*slice(body, at, 20_usize)?.first_chunk()?);
            at = at.saturating_add(20);
        }
        contexts.push(Context {
            id: u16_at(head, 0)?,
            uuid: guid_text(head.get(4..)?.first_chunk()?),
            version: (u16_at(head, 20)?, u16_at(head, 22)?),
            encodings: listed,
        });
    }
    Some((receives, group, contexts))
}

/// How a context is answered: result, reason, encoding.
pub(super) type Verdict = (u16, u16, [u8; 20]);

/// A bind_ack or its like: longest fragments, group, pipe, results.
pub(super) fn bound(fragment: &Fragment<'_>, group: u32, pipe: &str, results: &[Verdict], token: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    body.put16(4280);
    body.put16(4280);
    body.put32(group);
    let address = if fragment.kind == BIND { format!("\\PIPE\\{pipe}\0") } else { String::new() };
    body.put16(short(address.len()));
    body.extend_from_slice(address.as_bytes());
    // The results begin at a multiple of 4 of the fragment, whose header has 16 bytes.
    body.align(4);
    body.put32(u32::try_from(results.len()).unwrap_or(0));
    for (result, reason, encoding) in results {
        body.put16(*result);
        body.put16(*reason);
        body.extend_from_slice(encoding);
    }
    let kind = if fragment.kind == BIND { BIND_ACK } else { ALTER_CONTEXT_RESPONSE };
    let mut auth = Vec::new();
    if let Some(asked) = fragment.auth.filter(|_| !token.is_empty()) {
        auth.extend_from_slice(&[asked.kind, asked.level, 0, 0]);
        auth.put32(asked.context);
        auth.extend_from_slice(token);
    }
    packet(kind, FIRST | LAST, fragment.call, &body, &auth)
}

/// A bind_nak: protocol version not supported is the only reason that is given.
pub(super) fn refused(call: u32) -> Vec<u8> {
    packet(BIND_NAK, FIRST | LAST, call, &[4, 0, 1, 5, 0, 0], &[])
}

/// A fault.
pub(super) fn fault(call: u32, context: u16, status: u32) -> Vec<u8> {
    let mut body = Vec::new();
    body.put32(32);
    body.put16(context);
    body.put16(0);
    body.put32(status);
    body.put32(0);
    packet(FAULT, FIRST | LAST | 0x20, call, &body, &[])
}

/// A response in as many fragments as its length needs, of at most `longest` bytes each.
pub(super) fn responses(call: u32, context: u16, stub: &[u8], longest: u16) -> Vec<Vec<u8>> {
    let room = usize::from(longest.clamp(256, 4280)).saturating_sub(HEADER.saturating_add(8)) & !7;
    let mut pieces: Vec<&[u8]> = stub.chunks(room.max(8)).collect();
    if pieces.is_empty() {
        pieces.push(&[]);
    }
    let last = pieces.len().saturating_sub(1);
    let one = |(number, piece): (usize, &&[u8])| {
        let mut body = Vec::new();
        body.put_len(stub.len());
        body.put16(context);
        body.put16(0);
        body.extend_from_slice(piece);
        let flags = if number == 0 { FIRST } else { 0 } | if number == last { LAST } else { 0 };
        packet(RESPONSE, flags, call, &body, &[])
    };
    pieces.iter().enumerate().map(one).collect()
}

/// `auth` is a security trailer with its token.
fn packet(kind: u8, flags: u8, call: u32, body: &[u8], auth: &[u8]) -> Vec<u8> {
    let length = HEADER.saturating_add(body.len()).saturating_add(auth.len());
    let mut out = Vec::with_capacity(length);
    out.extend_from_slice(&[5, 0, kind, flags, 0x10, 0, 0, 0]);
    out.put16(short(length));
    out.put16(short(auth.len().saturating_sub(8)));
    out.put32(call);
    out.extend_from_slice(body);
    out.extend_from_slice(auth);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// impacket's bind to srvsvc.
    const SRVSVC: &[u8] = b"\x05\0\x0b\x03\x10\0\0\0\x48\0\0\0\x01\0\0\0\xb8\x10\xb8\x10\0\0\0\0\x01\0\0\0\0\0\x01\0\
        \xc8\x4f\x32\x4b\x70\x16\xd3\x01\x12\x78\x5a\x47\xbf\x6e\xe1\x88\x03\0\0\0\
        \x04\x5d\x88\x8a\xeb\x1c\xc9\x11\x9f\xe8\x08\0\x2b\x10\x48\x60\x02\0\0\0";

    #[test]
    fn reads_a_bind_and_none_of_its_prefixes() {
        for end in 0..SRVSVC.len() {
            assert!(fragment(&SRVSVC[..end]).unwrap().is_none(), "{end}");
        }
        let (read, used) = fragment(SRVSVC).unwrap().unwrap();
        assert_eq!((read.kind, read.call, used), (BIND, 1, 72));
        let (receives, _, contexts) = bind(read.body).unwrap();
        assert_eq!(receives, 4280);
        assert_eq!(contexts[0].uuid, super::super::interfaces::SRVSVC);
        assert_eq!(contexts[0].encodings, [super::super::interfaces::NDR]);
        let answer = bound(&read, 0x53f0, "srvsvc", &[(0, 0, super::super::interfaces::NDR)], &[]);
        assert_eq!(answer.len(), 68);
        assert_eq!(&answer[24..40], b"\x0d\0\\PIPE\\srvsvc\0\0");
    }

    #[test]
    fn rejects_what_is_no_fragment() {
        assert!(fragment(b"GET / HTTP/1.0\r\n\r\n").is_err());
        let mut short = SRVSVC.to_vec();
        short[8] = 15;
        assert!(fragment(&short).is_err());
        let mut auth = SRVSVC.to_vec();
        auth[10] = 200;
        assert!(fragment(&auth).is_err());
        assert!(bind(&SRVSVC[16..60]).is_none());
    }

    #[test]
    fn long_responses_come_in_fragments() {
        let parts = responses(7, 0, &[1; 10_000], 4280);
        assert_eq!(parts.len(), 3);
        assert!(parts.iter().all(|part| part.len() <= 4280));
        assert_eq!((parts[0][3], parts[1][3], parts[2][3]), (FIRST, 0, LAST));
    }
}
