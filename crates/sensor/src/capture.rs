//! The packet socket: what of the wire is looked at, and reading it in batches.
//!
//! A classic filter in the kernel lets through what a scan, a newcomer or a name is told by; ordinary
//! traffic costs nothing here. The socket's receive buffer is the ring: its size is the bound, and what
//! does not fit is counted by the kernel (`SO_RXQ_OVFL`).

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

use nix::sys::socket::{ControlMessageOwned, LinkAddr, MsgFlags, MultiHeaders, recvmmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

/// `ETH_P_ALL` of Linux's `if_ether.h`: every protocol.
const EVERY_PROTOCOL: u16 = 0x0003;
/// `ARPHRD_ETHER` and `ARPHRD_LOOPBACK` of `if_arp.h`: frames that begin with an Ethernet header.
const WITH_HEADER: [u16; 2] = [1, 772];
/// Receive buffer that is asked for. Beyond `net.core.rmem_max` only root gets it.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;
/// Frames read at once.
const BATCH: usize = 64;
/// Bytes of a frame that are kept: two VLAN tags, the longest IPv4 and TCP headers and some payload.
const HEAD: u32 = 192;
/// The same for messages that may hold a host's name.
const MESSAGE: u32 = 1024;

/// UDP ports whose messages may hold a host's name: DHCP (server, client), NetBIOS name and datagram
/// services, multicast DNS, LLMNR.
const NAMES: [u32; 6] = [67, 68, 137, 138, 5353, 5355];

/// Which way a frame went: `sll_pkttype` of Linux's `if_packet.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// To this machine.
    In,
    /// To everybody.
    Broadcast,
    /// To a group.
    Multicast,
    /// From this machine.
    Out,
}

/// A frame as it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    /// Its first bytes, from the Ethernet header on.
    pub bytes: &'a [u8],
    /// Which way it went.
    pub way: Way,
    /// Number of the interface.
    pub interface: u32,
}

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// What scans are told by, and the rest.
    Scans,
    /// Connections that begin, and messages with names.
    Newcomers,
}

/// An open packet socket.
#[derive(Debug)]
pub(crate) struct Capture {
    socket: Socket,
    buffer: Vec<u8>,
    /// What the kernel says it dropped since the start, which it counts in 32 bits.
    dropped: u32,
}

impl Capture {
    /// Opens the socket, which needs CAP_NET_RAW.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn open(scope: Scope) -> io::Result<Self> {
        let protocol = Protocol::from(i32::from(EVERY_PROTOCOL.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), Some(protocol))?;
        socket.attach_filter(&program(scope))?;
        if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        }
        setsockopt(&socket, sockopt::RxqOvfl, &1)?;
        let capture = Self { socket, buffer: vec![0; BATCH * slot()], dropped: 0 };
        Ok(capture)
    }

    /// Changes how much is looked at.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn set_scope(&self, scope: Scope) -> io::Result<()> {
        self.socket.attach_filter(&program(scope))
    }

    /// Packets that the receive buffer had no room for, as far as the kernel has said; it says so with the
    /// next packet that is read.
    pub(crate) const fn dropped(&self) -> u32 {
        self.dropped
    }

    /// Reads up to [`BATCH`] frames and lets each be looked at; how many there were.
    ///
    /// # Errors
    /// `WouldBlock` when there are none; else what the system says.
    pub(crate) fn read(&mut self, mut look: impl FnMut(Frame<'_>)) -> io::Result<usize> {
        let mut headers: MultiHeaders<LinkAddr> = MultiHeaders::preallocate(BATCH, Some(nix::cmsg_space!(u32)));
        let mut slices: Vec<[IoSliceMut<'_>; 1]> =
            self.buffer.chunks_mut(slot()).map(|slot| [IoSliceMut::new(slot)]).collect();
        let descriptor = self.socket.as_raw_fd();
        let messages = recvmmsg(descriptor, &mut headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None)?;
        let mut count = 0;
        for message in messages {
            count += 1;
            for control in message.cmsgs().into_iter().flatten() {
                if let ControlMessageOwned::RxqOvfl(dropped) = control {
                    self.dropped = dropped;
                }
            }
            let Some(address) = message.address else { continue };
            let way = match address.pkttype() {
                0 => Way::In,
                1 => Way::Broadcast,
                2 => Way::Multicast,
                4 => Way::Out,
                // For others, as bridges and monitors see them.
                _ => continue,
            };
            if !WITH_HEADER.contains(&address.hatype()) {
                continue;
            }
            let bytes = message.iovs().next().unwrap_or_default();
            let interface = u32::try_from(address.ifindex()).unwrap_or(0);
            look(Frame { bytes, way, interface });
        }
        Ok(count)
    }
}

impl AsFd for Capture {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Bytes of a place in the buffer.
fn slot() -> usize {
    usize::try_from(MESSAGE).unwrap_or(1024)
}

/// Where a jump of the filter goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    /// The next instruction.
    Next,
    /// A place with a name.
    At(&'static str),
}

/// An instruction: the code of `linux/filter.h`, its operand, and where a comparison goes.
struct Step {
    name: &'static str,
    code: u16,
    operand: u32,
    yes: To,
    no: To,
}

/// Code, jump when true, jump when false, operand.
type Instruction = (u16, u8, u8, u32);

/// Writes a filter with named places.
#[derive(Default)]
struct Program {
    steps: Vec<Step>,
    name: &'static str,
}

/// Codes of `linux/filter.h`: load a byte, half a word, the same behind X, the length of an IPv4 header into X,
/// subtract X, and with a number, compare, test bits, answer.
const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE_X: u16 = 0x50;
const LOAD_HALF_X: u16 = 0x48;
const HEADER_X: u16 = 0xb1;
const SUBTRACT_X: u16 = 0x1c;
const AND: u16 = 0x54;
const EQUAL: u16 = 0x15;
const ANY_BIT: u16 = 0x45;
const ANSWER: u16 = 0x06;
/// `SKF_AD_OFF + SKF_AD_PKTTYPE`: the kernel's word on which way the packet goes.
const WAY: u32 = 0xffff_f004;
const OUTGOING: u32 = 4;

impl Program {
    /// Names the next instruction.
    fn at(&mut self, name: &'static str) -> &mut Self {
        self.name = name;
        self
    }

    fn step(&mut self, code: u16, operand: u32) -> &mut Self {
        self.branch(code, operand, To::Next, To::Next)
    }

    fn branch(&mut self, code: u16, operand: u32, yes: To, no: To) -> &mut Self {
        let name = std::mem::take(&mut self.name);
        self.steps.push(Step { name, code, operand, yes, no });
        self
    }

    /// Goes to a place when A is one of these numbers.
    fn when(&mut self, numbers: &[u32], place: &'static str) -> &mut Self {
        for number in numbers {
            self.branch(EQUAL, *number, To::At(place), To::Next);
        }
        self
    }

    /// Goes to the place that drops, whatever A is.
    fn drop(&mut self) -> &mut Self {
        self.branch(EQUAL, 0, To::At("drop"), To::At("drop"))
    }

    fn build(&self) -> Vec<Instruction> {
        let distance = |from: usize, to: To| match to {
            To::Next => 0,
            To::At(name) => {
                let place = self.steps.iter().position(|step| step.name == name).unwrap_or(from + 1);
                u8::try_from(place.saturating_sub(from + 1)).unwrap_or(u8::MAX)
            }
        };
        let built = self
            .steps
            .iter()
            .enumerate()
            .map(|(at, step)| (step.code, distance(at, step.yes), distance(at, step.no), step.operand));
        built.collect()
    }
}

/// The filter as the kernel takes it.
fn program(scope: Scope) -> Vec<SockFilter> {
    filter(scope).into_iter().map(|(code, yes, no, operand)| SockFilter::new(code, yes, no, operand)).collect()
}

/// The filter over a frame with an Ethernet header. It takes
///
/// - TCP with neither ACK nor RST, which no connection sends but to begin, both ways;
/// - with scans: bare ACK and FIN with ACK without options and payload to this machine, which connections of
///   today's systems rarely send and probes always are; this machine's own SYN with ACK and bare RST, which tell
///   what it knows of and what it does not; UDP both ways, since answers to one's own must be known; requests for
///   ICMP echo, timestamp and address mask; first fragments;
/// - UDP to the ports where names are told.
fn filter(scope: Scope) -> Vec<Instruction> {
    use To::{At, Next};
    let scans = scope == Scope::Scans;
    let mut p = Program::default();
    p.step(LOAD_HALF, 12).when(&[0x0800], "ipv4").when(&[0x86dd], "ipv6");
    // A tag that the interface left in the frame.
    p.when(&[0x8100, 0x88a8], "message").drop();

    p.at("ipv4").step(LOAD_HALF, 20).branch(ANY_BIT, 0x1fff, At("drop"), Next);
    if scans {
        // A first fragment may end inside the header, which is how some scan.
        p.branch(ANY_BIT, 0x2000, At("head"), Next);
    }
    p.step(HEADER_X, 14);
    p.step(LOAD_BYTE, 23).when(&[6], "tcp4").when(&[17], "udp4");
    if scans {
        p.when(&[1], "icmp4");
    }
    p.drop();
    p.at("tcp4").step(LOAD_BYTE_X, 27).step(AND, 0x3f);
    if scans {
        p.when(&[0x10, 0x11], "bare4").when(&[0x04, 0x12], "outgoing");
    }
    p.branch(ANY_BIT, 0x14, At("drop"), At("head"));
    if scans {
        p.at("bare4").step(LOAD_BYTE_X, 26).step(AND, 0xf0).branch(EQUAL, 0x50, Next, At("drop"));
        // The whole length less that of the header is that of a TCP header.
        p.step(LOAD_HALF, 16).step(SUBTRACT_X, 0).branch(EQUAL, 20, At("incoming"), At("drop"));
        p.at("icmp4").step(LOAD_BYTE_X, 14).when(&[8, 13, 17], "incoming").drop();
    }
    p.at("udp4").step(LOAD_HALF_X, 16).when(&NAMES, "message");
    p.branch(EQUAL, 0, At(if scans { "head" } else { "drop" }), At(if scans { "head" } else { "drop" }));

    p.at("ipv6").step(LOAD_BYTE, 20).when(&[6], "tcp6").when(&[17], "udp6");
    if scans {
        p.when(&[58], "icmp6");
    }
    // Hop-by-hop options, routing, fragment, destination options: whatever comes behind.
    p.when(&[0, 43, 44, 60], "message").drop();
    p.at("tcp6").step(LOAD_BYTE, 67).step(AND, 0x3f);
    if scans {
        p.when(&[0x10, 0x11], "bare6").when(&[0x04, 0x12], "outgoing");
    }
    p.branch(ANY_BIT, 0x14, At("drop"), At("head"));
    if scans {
        p.at("bare6").step(LOAD_BYTE, 66).step(AND, 0xf0).branch(EQUAL, 0x50, Next, At("drop"));
        p.step(LOAD_HALF, 18).branch(EQUAL, 20, At("incoming"), At("drop"));
        p.at("icmp6").step(LOAD_BYTE, 54).when(&[128], "incoming").drop();
    }
    p.at("udp6").step(LOAD_HALF, 56).when(&NAMES, "message");
    p.branch(EQUAL, 0, At(if scans { "head" } else { "drop" }), At(if scans { "head" } else { "drop" }));

    if scans {
        p.at("incoming").step(LOAD_BYTE, WAY).branch(EQUAL, OUTGOING, At("drop"), At("head"));
        p.at("outgoing").step(LOAD_BYTE, WAY).branch(EQUAL, OUTGOING, At("head"), At("drop"));
    }
    p.at("head").step(ANSWER, HEAD);
    p.at("message").step(ANSWER, MESSAGE);
    p.at("drop").step(ANSWER, 0);
    p.build()
}

#[cfg(test)]
mod tests;
