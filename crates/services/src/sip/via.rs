//! The Via header: as products echo it, and as OpenCanary writes it into its event.
//!
//! ```text
//! SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK1;rport, SIP/2.0/UDP proxy
//! ```
//! [RFC 3261], sections 18.2 and 20.42, and [RFC 3581] for `rport`.
//!
//! [RFC 3261]: https://www.rfc-editor.org/rfc/rfc3261
//! [RFC 3581]: https://www.rfc-editor.org/rfc/rfc3581

use std::net::SocketAddr;

/// One hop of a Via header.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Via<'a> {
    /// Protocol and sender: all before the first semicolon.
    pub sent: &'a [u8],
    /// Name and, if there is one, value of each parameter, in order.
    pub parameters: Vec<(&'a [u8], Option<&'a [u8]>)>,
}

impl<'a> Via<'a> {
    /// Reads one hop.
    pub(super) fn parse(hop: &'a [u8]) -> Self {
        let mut parts = hop.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let sent = parts.next().unwrap_or_default();
        let parameters = parts
            .map(|part| match memchr::memchr(b'=', part).and_then(|at| part.split_at_checked(at)) {
                Some((name, value)) => (name, Some(value.get(1..).unwrap_or_default())),
                None => (part, None),
            })
            .collect();
        Self { sent, parameters }
    }

    /// The value of a parameter: `Some(None)` when it has none.
    pub(super) fn get(&self, name: &str) -> Option<Option<&'a [u8]>> {
        self.parameters.iter().find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| *value)
    }

    /// Whether the sender names this address as its own.
    pub(super) fn is_from(&self, address: &[u8]) -> bool {
        let by = self.sent.split(|byte| *byte == b' ').next_back().unwrap_or_default();
        by.strip_prefix(address).is_some_and(|rest| rest.first().is_none_or(|byte| *byte == b':'))
    }

    /// Whether the sender asks for the port that it is seen from.
    pub(super) fn wants_port(&self) -> bool {
        self.get("rport").is_some_and(|value| value.unwrap_or_default().is_empty())
    }
}

/// The first hop of a header, and what follows it with its comma.
pub(super) fn first_hop(value: &[u8]) -> (&[u8], &[u8]) {
    value.split_at_checked(memchr::memchr(b',', value).unwrap_or(value.len())).unwrap_or_default()
}

/// The first Via of a request as OpenCanary's event has it: with `received` and `rport` when the
/// sender's address is not the one that it names or it asks for them, and then with its parameters in
/// the order of Twisted. `None` where the header stays as it is.
pub(super) fn as_opencanary(value: &[u8], peer: SocketAddr) -> Option<Vec<u8>> {
    let mut pieces = value.split(|byte| *byte == b';');
    let sent = pieces.next()?;
    let (protocol, by) = sent.split_at_checked(memchr::memchr(b' ', sent)?)?;
    let transport = protocol.strip_prefix(b"SIP/2.0/").filter(|rest| !rest.contains(&b'/'))?;
    let by = by.trim_ascii();
    let (host, port) = match by.iter().filter(|byte| **byte == b':').count() {
        0 => (by, 5060),
        1 => {
            let (host, port) = by.split_at_checked(memchr::memchr(b':', by)?)?;
            (host, number(port.get(1..)?)?)
        }
        _ => return None,
    };
    let mut parameters: Vec<(&[u8], Option<&[u8]>)> = Vec::new();
    let mut hidden = false;
    for piece in pieces {
        let piece = piece.trim_ascii();
        // What stands behind a space is a comment.
        let piece = piece.get(..memchr::memchr(b' ', piece).unwrap_or(piece.len()))?;
        let parameter = match memchr::memchr(b'=', piece).and_then(|at| piece.split_at_checked(at)) {
            Some((name, value)) => (name, Some(value.get(1..)?)),
            None => (piece, None),
        };
        if piece == b"hidden" {
            hidden = true;
            continue;
        }
        parameters.retain(|(name, _)| *name != parameter.0);
        parameters.push(parameter);
    }
    let find = |name: &[u8]| parameters.iter().find(|(n, _)| *n == name).map(|(_, value)| *value);
    let asked = find(b"rport") == Some(None);
    let mut rport = match find(b"rport") {
        Some(Some(value)) => Some(number(value)?),
        _ => None,
    };
    let source = peer.ip().to_canonical().to_string();
    let elsewhere = host != source.as_bytes();
    if !elsewhere && !asked {
        return None;
    }
    let mut asked_still = asked;
    if port != i64::from(peer.port()) || !elsewhere {
        rport = Some(i64::from(peer.port()));
        asked_still = false;
    }
    let mut out = [b"SIP/2.0/", transport, b" ", host, b":", port.to_string().as_bytes()].concat();
    if hidden {
        out.extend_from_slice(b";hidden");
    }
    let mut add = |name: &[u8], value: Option<&[u8]>| {
        out.push(b';');
        out.extend_from_slice(name);
        if let Some(value) = value {
            out.push(b'=');
            out.extend_from_slice(value);
        }
    };
    for name in [b"ttl".as_slice(), b"branch", b"maddr"] {
        if let Some(Some(value)) = find(name) {
            add(name, Some(value));
        }
    }
    add(b"received", Some(source.as_bytes()));
    match rport {
        _ if asked_still => add(b"rport", None),
        Some(port) => add(b"rport", Some(port.to_string().as_bytes())),
        None => {}
    }
    let own = [b"ttl".as_slice(), b"branch", b"maddr", b"received", b"rport"];
    let mut others: Vec<_> = parameters.iter().filter(|(name, _)| !own.contains(name)).collect();
    others.sort_unstable();
    for (name, value) in others {
        add(name, *value);
    }
    Some(out)
}

fn number(text: &[u8]) -> Option<i64> {
    str::from_utf8(text).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opencanary(value: &str, peer: &str) -> Option<String> {
        as_opencanary(value.as_bytes(), peer.parse().unwrap()).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    /// Each as Twisted 24.11 gave it.
    #[test]
    fn writes_what_opencanary_writes() {
        for (value, peer, expected) in [
            (
                "SIP/2.0/UDP 10.0.2.15:46759",
                "192.168.1.7:46759",
                Some("SIP/2.0/UDP 10.0.2.15:46759;received=192.168.1.7"),
            ),
            (
                "SIP/2.0/UDP nm;branch=foo;rport",
                "127.0.0.1:4444",
                Some("SIP/2.0/UDP nm:5060;branch=foo;received=127.0.0.1;rport=4444"),
            ),
            (
                "SIP/2.0/UDP nm;branch=foo;rport",
                "127.0.0.1:5060",
                Some("SIP/2.0/UDP nm:5060;branch=foo;received=127.0.0.1;rport"),
            ),
            (
                "SIP/2.0/UDP 127.0.0.1:9;rport;z=1;a;branch=b",
                "127.0.0.1:4444",
                Some("SIP/2.0/UDP 127.0.0.1:9;branch=b;received=127.0.0.1;rport=4444;a;z=1"),
            ),
            (
                "SIP/2.0/TCP h:1;rport=7;hidden;ttl=3 (x)",
                "127.0.0.1:1",
                Some("SIP/2.0/TCP h:1;hidden;ttl=3;received=127.0.0.1;rport=7"),
            ),
            ("SIP/2.0/UDP 127.0.0.1:9;branch=b", "127.0.0.1:4444", None),
            ("SIP/1.0/UDP h", "127.0.0.1:4444", None),
            ("SIP/2.0/UDP [::1]:9", "127.0.0.1:4444", None),
            ("SIP/2.0/UDP h:x", "127.0.0.1:4444", None),
            ("rubbish", "127.0.0.1:4444", None),
        ] {
            assert_eq!(opencanary(value, peer).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn reads_a_hop_and_its_parameters() {
        let (hop, rest) = first_hop(b"SIP/2.0/UDP a;branch=x;rport, SIP/2.0/UDP b");
        assert_eq!(rest, b", SIP/2.0/UDP b");
        let via = Via::parse(hop);
        assert_eq!(via.sent, b"SIP/2.0/UDP a");
        assert_eq!(via.get("branch"), Some(Some(b"x".as_slice())));
        assert!(via.wants_port());
        assert!(!Via::parse(b"SIP/2.0/UDP a;rport=5").wants_port());
        assert_eq!(Via::parse(b"").get("branch"), None);
    }
}
