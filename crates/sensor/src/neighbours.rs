//! The kernel's table of neighbours: which hardware address an address of this network has.
//!
//! Asked over rtnetlink ([rtnetlink(7)]), which anybody may:
//! ```text
//! message:  length (4), type (2), flags (2), sequence (4), port (4), all in the machine's byte order
//! neighbour: family (1), padding (3), interface (4), state (2), flags (1), type (1)
//! attribute: length (2), type (2), data, padded to four bytes; 1 is the address, 2 the hardware's
//! ```
//! [rtnetlink(7)]: https://man7.org/linux/man-pages/man7/rtnetlink.7.html

use std::fmt::Write as _;
use std::net::IpAddr;
use std::os::fd::AsRawFd as _;

use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike as _};

/// Bytes of a message's head, and of what stands before a neighbour's attributes.
const HEAD: usize = 16;
const NEIGHBOUR: usize = 12;

/// Types of messages and attributes, from `linux/rtnetlink.h` and `linux/neighbour.h`.
const DONE: u16 = 3;
const NEW_NEIGHBOUR: u16 = 28;
const GET_NEIGHBOUR: u16 = 30;
const DESTINATION: u16 = 1;
const HARDWARE: u16 = 2;

/// Parts of the table that are read; each is up to 32 KiB.
const MOST_PARTS: usize = 64;

/// The hardware address of a neighbour on an interface, where the kernel knows it.
pub(crate) fn mac(address: IpAddr, interface: u32) -> Option<String> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let kernel = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute).ok()?;
    setsockopt(&kernel, sockopt::ReceiveTimeout, &TimeVal::milliseconds(200)).ok()?;
    send(kernel.as_raw_fd(), &question(address), MsgFlags::empty()).ok()?;
    let mut buffer = vec![0; 32 * 1024];
    for _ in 0..MOST_PARTS {
        let length = recv(kernel.as_raw_fd(), &mut buffer, MsgFlags::empty()).ok()?;
        let part = buffer.get(..length)?;
        match find(part, address, interface) {
            Found::Here(mac) => return Some(mac),
            Found::End => return None,
            Found::Further => {}
        }
    }
    None
}

/// The request for the whole table of a family.
fn question(address: IpAddr) -> Vec<u8> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_DUMP;
    let length = u32::try_from(HEAD + NEIGHBOUR).unwrap_or(0);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(GET_NEIGHBOUR.to_ne_bytes());
    bytes.extend(u16::try_from(flags).unwrap_or(0).to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.push(u8::try_from(family).unwrap_or(0));
    bytes.extend([0; NEIGHBOUR - 1]);
    bytes
}

/// What a part of the table says.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// The neighbour's address.
    Here(String),
    /// Nothing; more parts follow.
    Further,
    /// Nothing; it was the last.
    End,
}

fn find(mut part: &[u8], address: IpAddr, interface: u32) -> Found {
    let wanted = match address {
        IpAddr::V4(four) => four.octets().to_vec(),
        IpAddr::V6(six) => six.octets().to_vec(),
    };
    while let Some(head) = part.first_chunk::<HEAD>() {
        let [a, b, c, d, e, f, ..] = *head;
        let length = usize::try_from(u32::from_ne_bytes([a, b, c, d])).unwrap_or(0);
        let kind = u16::from_ne_bytes([e, f]);
        if kind == DONE {
            return Found::End;
        }
        let Some(body) = part.get(HEAD..length) else { return Found::End };
        if kind == NEW_NEIGHBOUR
            && let Some(mac) = neighbour(body, &wanted, interface)
        {
            return Found::Here(mac);
        }
        part = part.get(padded(length)..).unwrap_or_default();
    }
    Found::Further
}

/// The hardware address in a message about that address on that interface.
fn neighbour(body: &[u8], wanted: &[u8], interface: u32) -> Option<String> {
    let number = body.get(4..8)?.first_chunk::<4>()?;
    let mut rest = body.get(NEIGHBOUR..)?;
    let (mut destination, mut hardware) = (None, None);
    while let Some([a, b, c, d]) = rest.first_chunk::<4>() {
        let length = usize::from(u16::from_ne_bytes([*a, *b]));
        let data = rest.get(4..length)?;
        match u16::from_ne_bytes([*c, *d]) {
            DESTINATION => destination = Some(data),
            HARDWARE => hardware = Some(data),
            _ => {}
        }
        rest = rest.get(padded(length)..).unwrap_or_default();
    }
    let known = u32::from_ne_bytes(*number) == interface && destination == Some(wanted);
    let hardware = hardware.filter(|bytes| known && bytes.len() == 6 && bytes.iter().any(|byte| *byte != 0))?;
    let mut mac = String::new();
    for (at, byte) in hardware.iter().enumerate() {
        let _ = write!(mac, "{}{byte:02x}", if at == 0 { "" } else { ":" });
    }
    Some(mac)
}

/// The next multiple of four.
const fn padded(length: usize) -> usize {
    length.saturating_add(3) & !3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, data: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + data.len()).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(data);
        bytes.resize(padded(bytes.len()), 0);
        bytes
    }

    fn message(kind: u16, interface: u32, attributes: &[Vec<u8>]) -> Vec<u8> {
        let mut body = vec![2, 0, 0, 0];
        body.extend(interface.to_ne_bytes());
        body.extend([2, 0, 0, 1]);
        body.extend(attributes.concat());
        let length = u32::try_from(HEAD + body.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(body);
        bytes
    }

    #[test]
    fn finds_who_is_known_on_that_interface() {
        let mac = [2, 0, 0, 0, 0, 0x66];
        let entry = |last, mac: &[u8]| [attribute(DESTINATION, &[192, 0, 2, last]), attribute(HARDWARE, mac)];
        let table = [
            message(NEW_NEIGHBOUR, 3, &entry(65, &[2, 0, 0, 0, 0, 0x65])),
            message(NEW_NEIGHBOUR, 3, &entry(66, &mac)),
            message(NEW_NEIGHBOUR, 3, &entry(67, &[0; 6])),
            message(NEW_NEIGHBOUR, 3, &entry(68, &[])),
        ]
        .concat();
        let of = |text: &str, interface| find(&table, text.parse().unwrap(), interface);
        assert_eq!(of("192.0.2.66", 3), Found::Here("02:00:00:00:00:66".to_owned()));
        assert_eq!(of("192.0.2.66", 4), Found::Further, "another interface");
        assert_eq!(of("192.0.2.67", 3), Found::Further, "not known yet");
        assert_eq!(of("192.0.2.68", 3), Found::Further, "has none");
        assert_eq!(of("fe80::1", 3), Found::Further);
        let end = [table.clone(), message(DONE, 0, &[])].concat();
        assert_eq!(find(&end, "192.0.2.1".parse().unwrap(), 3), Found::End);
    }

    #[test]
    fn cut_and_lying_messages_end() {
        let whole = message(NEW_NEIGHBOUR, 3, &[attribute(DESTINATION, &[192, 0, 2, 66])]);
        for end in 0..whole.len() {
            let _ = find(&whole[..end], "192.0.2.66".parse().unwrap(), 3);
        }
        let _ = find(&[0; 64], "192.0.2.66".parse().unwrap(), 3);
        let _ = find(&[0xff; 64], "192.0.2.66".parse().unwrap(), 3);
    }

    #[test]
    fn the_kernel_answers() {
        assert_eq!(mac("192.0.2.254".parse().unwrap(), 1), None);
        assert_eq!(mac("fe80::dead".parse().unwrap(), 1), None);
    }
}
