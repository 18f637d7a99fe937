//! Names in requests of DHCP clients: [RFC 2131], options of [RFC 2132] and [RFC 4702]; [RFC 8415] and [RFC 4704]
//! for IPv6.
//!
//! ```text
//! v4: op (1), hardware type and length (1 each), hops (1), id (4), seconds and flags (2 each),
//!     ciaddr, yiaddr, siaddr, giaddr (4 each), chaddr (16), sname (64), file (128), cookie (4);
//!     options: code (1), length (1), data
//! v6: type (1), id (3); options: code (2), length (2), data
//! ```
//!
//! [RFC 2131]: https://www.rfc-editor.org/rfc/rfc2131
//! [RFC 2132]: https://www.rfc-editor.org/rfc/rfc2132
//! [RFC 4702]: https://www.rfc-editor.org/rfc/rfc4702
//! [RFC 8415]: https://www.rfc-editor.org/rfc/rfc8415
//! [RFC 4704]: https://www.rfc-editor.org/rfc/rfc4704

use super::{Heard, NameSource, Sender, text};

/// Ports of servers, and of clients.
pub(super) const V4: u16 = 67;
pub(super) const V4_CLIENT: u16 = 68;
pub(super) const V6: u16 = 547;

const REQUEST: u8 = 1;
const ETHERNET: [u8; 2] = [1, 6];
const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// DHCPDISCOVER, DHCPREQUEST and DHCPINFORM.
const FROM_CLIENTS: [u8; 3] = [1, 3, 8];
/// Solicit, Request, Confirm, Renew, Rebind and Information-request.
const FROM_CLIENTS_V6: [u8; 6] = [1, 3, 4, 5, 6, 11];

/// Options of v4: padding, host name, type of message, FQDN, end.
const PAD: u8 = 0;
const HOST_NAME: u8 = 12;
const MESSAGE_TYPE: u8 = 53;
const FQDN: u8 = 81;
const END: u8 = 255;
/// FQDN of v6.
const FQDN_V6: u16 = 39;
/// Flag of the FQDN: the name is in DNS's labels, not in text.
const LABELS: u8 = 4;

/// What a client tells its server about itself. A relayed request is not the sender's own.
pub(super) fn v4(sender: Sender, payload: &[u8]) -> Option<Heard> {
    let (op, hardware, relay) = (payload.first()?, payload.get(1..3)?, payload.get(24..28)?);
    let mac = *payload.get(28..34)?.first_chunk::<6>()?;
    let itself = sender.mac.is_none_or(|seen| seen == mac);
    if *op != REQUEST || hardware != ETHERNET || relay != [0; 4] || !itself || payload.get(236..240)? != COOKIE {
        return None;
    }
    let (mut from_client, mut host_name, mut fqdn) = (false, None, None);
    let mut rest = payload.get(240..)?;
    while let Some((code, after)) = rest.split_first() {
        rest = after;
        match *code {
            PAD => continue,
            END => break,
            _ => {}
        }
        let Some((length, after)) = rest.split_first() else { break };
        let Some((data, after)) = after.split_at_checked(usize::from(*length)) else { break };
        match *code {
            HOST_NAME => host_name = Some(data.to_vec()),
            MESSAGE_TYPE => from_client = matches!(data, [kind] if FROM_CLIENTS.contains(kind)),
            // Flags and two codes of results that are no longer used, then the name.
            FQDN => {
                fqdn = data.split_first_chunk::<3>().and_then(|([flags, ..], name)| {
                    if flags & LABELS == 0 { Some(name.to_vec()) } else { labels(name) }
                });
            }
            _ => {}
        }
        rest = after;
    }
    let names = [host_name, fqdn].into_iter().flatten().filter(|_| from_client);
    let name = names.into_iter().find_map(|name| text(&name))?;
    let address = Some(sender.address).filter(|address| !address.is_unspecified());
    Some(Heard { mac: Some(mac), address, name, from: NameSource::Dhcp })
}

/// The same for IPv6, where relays wrap what they pass on into a type of their own.
pub(super) fn v6(payload: &[u8]) -> Option<Vec<u8>> {
    let (kind, rest) = payload.split_first()?;
    if !FROM_CLIENTS_V6.contains(kind) {
        return None;
    }
    let mut rest = rest.get(3..)?;
    while let Some(([c0, c1, l0, l1], after)) = rest.split_first_chunk::<4>() {
        let (data, after) = after.split_at_checked(usize::from(u16::from_be_bytes([*l0, *l1])))?;
        if u16::from_be_bytes([*c0, *c1]) == FQDN_V6 {
            return labels(data.get(1..)?);
        }
        rest = after;
    }
    None
}

/// Labels joined by dots; a partial name has no empty label at its end.
fn labels(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut name = Vec::new();
    while let Some((length @ 1..=63, after)) = rest.split_first() {
        let (label, after) = after.split_at_checked(usize::from(*length))?;
        if !name.is_empty() {
            name.push(b'.');
        }
        name.extend_from_slice(label);
        rest = after;
    }
    matches!(rest, [] | [0, ..]).then_some(name)
}
