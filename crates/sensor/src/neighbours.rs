//! The kernel's tables of routes and neighbours: whether a router stands before an address, and which MAC address
//! stands on the link for it.
//!
//! Asked over rtnetlink ([rtnetlink(7)]), which anybody may; nothing is sent to a network:
//! ```text
//! message:  length (4), type (2), flags (2), sequence (4), port (4), all in the machine's byte order
//! neighbour: family (1), padding (3), interface (4), state (2), flags (1), type (1)
//! route: family (1), bits of destination (1) and source (1), TOS (1), table (1), protocol (1), scope (1),
//!        type (1), flags (4)
//! attribute: length (2), type (2), data, padded to four bytes
//! ```
//! [rtnetlink(7)]: https://man7.org/linux/man-pages/man7/rtnetlink.7.html

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike as _};

/// Bytes of a message's head, and of what stands before the attributes of a neighbour and of a route.
const HEAD: usize = 16;
const FIXED: usize = 12;

/// Types of messages, from `linux/netlink.h` and `linux/rtnetlink.h`.
const ERROR: u16 = 2;
const DONE: u16 = 3;
const NEW_ROUTE: u16 = 24;
const GET_ROUTE: u16 = 26;
const NEW_NEIGHBOUR: u16 = 28;
const GET_NEIGHBOUR: u16 = 30;

/// `NDA_DST` and `NDA_LLADDR` of `linux/neighbour.h`.
const NEIGHBOUR_ADDRESS: u16 = 1;
const NEIGHBOUR_HARDWARE: u16 = 2;

/// `RTA_DST`, `RTA_OIF`, `RTA_GATEWAY` and `RTA_VIA` of `linux/rtnetlink.h`.
const ROUTE_DESTINATION: u16 = 1;
const ROUTE_INTERFACE: u16 = 4;
const ROUTE_GATEWAY: u16 = 5;
const ROUTE_VIA: u16 = 18;
/// `RTN_UNICAST`.
const UNICAST: u8 = 1;

/// Parts of the table that are read; each is up to 32 KiB.
const MOST_PARTS: usize = 64;

/// A MAC address of Ethernet.
pub(crate) type Mac = [u8; 6];

/// Where an address stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Whether it is on none of the networks that this machine is connected to, so that its packets come from a
    /// router.
    pub is_routed: bool,
    /// The MAC address of its own, or of the router before it, where the kernel knows it.
    pub mac: Option<Mac>,
}

/// Where an address stands, as this machine's route to it says. `interface` is its number, which a link-local
/// address needs, or 0. Takes some 20 us.
#[must_use]
pub(crate) fn standing(address: IpAddr, interface: u32) -> Standing {
    // Every link has these addresses; without the link there is no route to ask for.
    if interface == 0 && matches!(address, IpAddr::V6(six) if six.is_unicast_link_local()) {
        return Standing { is_routed: false, mac: mac(address, None) };
    }
    let Some(kernel) = open() else { return Standing::default() };
    match route(&kernel, address, interface) {
        Answer::Is(Route { kind: UNICAST, interface, gateway }) => {
            Standing { is_routed: gateway.is_some(), mac: neighbour(&kernel, gateway.unwrap_or(address), interface) }
        }
        // An address of this machine, or none that anybody has.
        Answer::Is(_) => Standing::default(),
        Answer::None => Standing { is_routed: true, mac: None },
        Answer::Unsaid => Standing { is_routed: false, mac: mac(address, (interface > 0).then_some(interface)) },
    }
}

/// The hardware address of a neighbour on an interface, or on any, where the kernel knows it. Reads the whole
/// table.
#[must_use]
pub(crate) fn mac(address: IpAddr, interface: Option<u32>) -> Option<Mac> {
    let kernel = open()?;
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_DUMP;
    send(kernel.as_raw_fd(), &neighbour_question(address, 0, flags), MsgFlags::empty()).ok()?;
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

fn open() -> Option<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let kernel = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute).ok()?;
    setsockopt(&kernel, sockopt::ReceiveTimeout, &TimeVal::milliseconds(200)).ok()?;
    Some(kernel)
}

/// What the kernel said to a question about one thing.
#[derive(Debug, PartialEq, Eq)]
enum Answer<T> {
    /// This.
    Is(T),
    /// That there is none.
    None,
    /// Nothing that could be read, or that it does not know such questions.
    Unsaid,
}

#[derive(Debug, PartialEq, Eq)]
struct Route {
    /// `RTN_…`: whether it leads to another machine.
    kind: u8,
    interface: u32,
    gateway: Option<IpAddr>,
}

/// Asks one question and reads its one answer, which is there before `send` returns.
fn one<T>(kernel: &OwnedFd, question: &[u8], kind: u16, read: fn(&[u8]) -> Option<T>) -> Answer<T> {
    let mut buffer = [0; 2048];
    if send(kernel.as_raw_fd(), question, MsgFlags::empty()).is_err() {
        return Answer::Unsaid;
    }
    let Ok(length) = recv(kernel.as_raw_fd(), &mut buffer, MsgFlags::empty()) else { return Answer::Unsaid };
    answer(buffer.get(..length).unwrap_or_default(), kind, read)
}

fn answer<T>(bytes: &[u8], wanted: u16, read: fn(&[u8]) -> Option<T>) -> Answer<T> {
    match first(bytes) {
        Some((kind, body, _)) if kind == wanted => read(body).map_or(Answer::Unsaid, Answer::Is),
        // The error's number, negative, and then the question.
        Some((ERROR, body, _)) => match body.first_chunk::<4>().map(|code| -i32::from_ne_bytes(*code)) {
            Some(libc::ENOENT | libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES) => Answer::None,
            _ => Answer::Unsaid,
        },
        _ => Answer::Unsaid,
    }
}

fn route(kernel: &OwnedFd, address: IpAddr, interface: u32) -> Answer<Route> {
    let (family, octets) = octets(address);
    let bits = u8::try_from(octets.len().saturating_mul(8)).unwrap_or(0);
    let mut fixed = [0; FIXED];
    (fixed[0], fixed[1]) = (family, bits);
    let mut attributes = attribute(ROUTE_DESTINATION, &octets);
    if interface > 0 {
        attributes.extend(attribute(ROUTE_INTERFACE, &interface.to_ne_bytes()));
    }
    let question = message(GET_ROUTE, libc::NLM_F_REQUEST, fixed, &attributes);
    one(kernel, &question, NEW_ROUTE, read_route)
}

fn read_route(body: &[u8]) -> Option<Route> {
    let kind = *body.get(7)?;
    let (mut interface, mut gateway) = (0, None);
    for (number, data) in Attributes(body.get(FIXED..)?) {
        match number {
            ROUTE_INTERFACE => interface = u32::from_ne_bytes(*data.first_chunk()?),
            ROUTE_GATEWAY => gateway = address(data),
            // A family in two bytes, and an address of that.
            ROUTE_VIA => gateway = address(data.get(2..)?),
            _ => {}
        }
    }
    Some(Route { kind, interface, gateway })
}

fn neighbour(kernel: &OwnedFd, address: IpAddr, interface: u32) -> Option<Mac> {
    let question = neighbour_question(address, interface, libc::NLM_F_REQUEST);
    match one(kernel, &question, NEW_NEIGHBOUR, |body| Some(read_neighbour(body)?.hardware)) {
        Answer::Is(mac) => mac,
        Answer::None => None,
        // Kernels before 5.0 give nothing but the whole table.
        Answer::Unsaid => mac(address, Some(interface)),
    }
}

fn octets(address: IpAddr) -> (u8, Vec<u8>) {
    let (family, octets) = match address {
        IpAddr::V4(four) => (libc::AF_INET, four.octets().to_vec()),
        IpAddr::V6(six) => (libc::AF_INET6, six.octets().to_vec()),
    };
    (u8::try_from(family).unwrap_or(0), octets)
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(octets).map(|four| Ipv4Addr::from(four).into());
    four.or_else(|_| <[u8; 16]>::try_from(octets).map(|six| Ipv6Addr::from(six).into())).ok()
}

/// Asks for the whole table of a family, or for one of it when the flags do not say dump.
fn neighbour_question(address: IpAddr, interface: u32, flags: i32) -> Vec<u8> {
    let (family, octets) = octets(address);
    let mut fixed = [0; FIXED];
    fixed[0] = family;
    fixed[4..8].copy_from_slice(&interface.to_ne_bytes());
    let one = flags & libc::NLM_F_DUMP == 0;
    let attributes = if one { attribute(NEIGHBOUR_ADDRESS, &octets) } else { Vec::new() };
    message(GET_NEIGHBOUR, flags, fixed, &attributes)
}

fn message(kind: u16, flags: i32, fixed: [u8; FIXED], attributes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEAD + FIXED + attributes.len()).unwrap_or(0);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(u16::try_from(flags).unwrap_or(0).to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend(fixed);
    bytes.extend(attributes);
    bytes
}

fn attribute(kind: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + data.len()).unwrap_or(0);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(data);
    bytes.resize(padded(bytes.len()), 0);
    bytes
}

/// The first message's type and body, and what follows it.
fn first(part: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let [a, b, c, d, e, f, ..] = *part.first_chunk::<HEAD>()?;
    let length = usize::try_from(u32::from_ne_bytes([a, b, c, d])).unwrap_or(0);
    Some((u16::from_ne_bytes([e, f]), part.get(HEAD..length)?, part.get(padded(length)..).unwrap_or_default()))
}

/// Types and data of attributes, up to one that is cut.
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let [a, b, c, d] = *self.0.first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let data = self.0.get(4..length)?;
        self.0 = self.0.get(padded(length)..).unwrap_or_default();
        Some((u16::from_ne_bytes([c, d]), data))
    }
}

/// What a part of the table says.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// The neighbour's address.
    Here(Mac),
    /// Nothing; more parts follow.
    Further,
    /// Nothing; it was the last.
    End,
}

fn find(mut part: &[u8], wanted: IpAddr, interface: Option<u32>) -> Found {
    while !part.is_empty() {
        let Some((kind, body, rest)) = first(part) else { return Found::End };
        if kind == DONE || kind == ERROR {
            return Found::End;
        }
        if kind == NEW_NEIGHBOUR
            && let Some(neighbour) = read_neighbour(body)
            && neighbour.address == Some(wanted)
            && interface.is_none_or(|interface| interface == neighbour.interface)
            && let Some(mac) = neighbour.hardware
        {
            return Found::Here(mac);
        }
        part = rest;
    }
    Found::Further
}

struct Neighbour {
    address: Option<IpAddr>,
    interface: u32,
    /// `None` while the kernel does not know it.
    hardware: Option<Mac>,
}

fn read_neighbour(body: &[u8]) -> Option<Neighbour> {
    let interface = u32::from_ne_bytes(*body.get(4..8)?.first_chunk::<4>()?);
    let mut neighbour = Neighbour { address: None, interface, hardware: None };
    for (number, data) in Attributes(body.get(FIXED..)?) {
        match number {
            NEIGHBOUR_ADDRESS => neighbour.address = address(data),
            NEIGHBOUR_HARDWARE => neighbour.hardware = Mac::try_from(data).ok().filter(|mac| *mac != [0; 6]),
            _ => {}
        }
    }
    Some(neighbour)
}

/// The next multiple of four.
const fn padded(length: usize) -> usize {
    length.saturating_add(3) & !3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(kind: u16, fixed: [u8; FIXED], attributes: &[Vec<u8>]) -> Vec<u8> {
        message(kind, 0, fixed, &attributes.concat())
    }

    fn entry(interface: u8, attributes: &[Vec<u8>]) -> Vec<u8> {
        heard(NEW_NEIGHBOUR, [2, 0, 0, 0, interface, 0, 0, 0, 2, 0, 0, 1], attributes)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn finds_who_is_known_on_that_interface_or_any() {
        let mac = [2, 0, 0, 0, 0, 0x66];
        let of = |last, mac: &[u8]| {
            entry(3, &[attribute(NEIGHBOUR_ADDRESS, &[192, 0, 2, last]), attribute(NEIGHBOUR_HARDWARE, mac)])
        };
        let table = [of(65, &[2, 0, 0, 0, 0, 0x65]), of(66, &mac), of(67, &[0; 6]), of(68, &[])].concat();
        assert_eq!(find(&table, ip("192.0.2.66"), Some(3)), Found::Here(mac));
        assert_eq!(find(&table, ip("192.0.2.66"), None), Found::Here(mac));
        assert_eq!(find(&table, ip("192.0.2.66"), Some(4)), Found::Further, "another interface");
        assert_eq!(find(&table, ip("192.0.2.67"), Some(3)), Found::Further, "not known yet");
        assert_eq!(find(&table, ip("192.0.2.68"), Some(3)), Found::Further, "has none");
        assert_eq!(find(&table, ip("fe80::1"), Some(3)), Found::Further);
        let end = [table.clone(), heard(DONE, [0; FIXED], &[])].concat();
        assert_eq!(find(&end, ip("192.0.2.1"), Some(3)), Found::End);
    }

    #[test]
    fn reads_routes_with_and_without_a_gateway() {
        let fixed = [2, 32, 0, 0, 254, 0, 0, UNICAST, 0, 0, 0, 0];
        let to = attribute(ROUTE_DESTINATION, &[198, 51, 100, 7]);
        let by = attribute(ROUTE_INTERFACE, &4_u32.to_ne_bytes());
        let via = |number, data: &[u8]| Some((number, data.to_vec()));
        let six = [&[10, 0][..], &ip("fe80::1").to_string().parse::<Ipv6Addr>().unwrap().octets()].concat();
        for (gateway, expected) in [
            (None, None),
            (via(ROUTE_GATEWAY, &[192, 0, 2, 1]), Some("192.0.2.1")),
            (via(ROUTE_VIA, &six), Some("fe80::1")),
        ] {
            let gateway = gateway.map(|(number, data)| attribute(number, &data)).unwrap_or_default();
            let bytes = heard(NEW_ROUTE, fixed, &[to.clone(), by.clone(), gateway]);
            let route = Route { kind: UNICAST, interface: 4, gateway: expected.map(ip) };
            assert_eq!(answer(&bytes, NEW_ROUTE, read_route), Answer::Is(route));
        }
    }

    #[test]
    fn a_refusal_is_told_from_a_kernel_that_does_not_know_the_question() {
        let error = |code: i32| {
            let mut fixed = [0; FIXED];
            fixed[..4].copy_from_slice(&(-code).to_ne_bytes());
            answer(&heard(ERROR, fixed, &[]), NEW_ROUTE, read_route)
        };
        assert_eq!(error(libc::ENETUNREACH), Answer::None);
        assert_eq!(error(libc::EOPNOTSUPP), Answer::Unsaid);
        assert_eq!(answer(&[], NEW_ROUTE, read_route), Answer::Unsaid);
    }

    #[test]
    fn cut_and_lying_messages_end() {
        let whole = entry(3, &[attribute(NEIGHBOUR_ADDRESS, &[192, 0, 2, 66])]);
        for end in 0..whole.len() {
            assert!(!matches!(find(&whole[..end], ip("192.0.2.66"), Some(3)), Found::Here(_)), "{end}");
            assert_eq!(answer(&whole[..end], NEW_NEIGHBOUR, |body| Some(body.len())), Answer::Unsaid, "{end}");
        }
        assert_eq!(find(&[0; 64], ip("192.0.2.66"), None), Found::End);
        assert_eq!(find(&[0xff; 64], ip("192.0.2.66"), None), Found::End);
    }

    #[test]
    fn the_kernel_answers() {
        assert_eq!(mac(ip("192.0.2.254"), Some(1)), None);
        assert_eq!(mac(ip("fe80::dead"), None), None);
        assert_eq!(standing(ip("127.0.0.1"), 0), Standing::default());
        assert_eq!(standing(ip("::1"), 0), Standing::default());
    }
}
