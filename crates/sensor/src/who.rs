//! Who stands behind an address: its MAC address and vendor, its name, how far away it is, and how its TCP
//! begins. Learnt from what passes by; nothing is ever sent to learn it.
//!
//! The capture tells what it sees with [`Who::saw_frame`], [`Who::saw_syn`] and [`Who::saw_name`]; the
//! reporter asks with [`Who::describe`] for every event that has a peer. What no frame told, the kernel's own
//! tables do: the neighbour that an address is, or whether a router stands before it.
//!
//! LIMIT: [`ADDRESSES`], [`SYNS`] and [`NAMES`] are remembered; what was not heard of for longest goes first.

mod description;
mod recent;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aviary_wire::names::NameSource;

pub use self::description::Description;
pub(crate) use self::description::mac_text;
use self::recent::Recent;
use crate::neighbours::{self, Mac, Standing};

/// Addresses, SYNs and names that are remembered. Filled, they take some 6 MiB.
const ADDRESSES: usize = 8192;
const SYNS: usize = 8192;
const NAMES: usize = 4096;
/// Names that this canary asked for itself and that are remembered.
const ASKED: usize = 256;

/// How long the kernel's answer about an address is believed, with and without a neighbour in it.
const FOUND: Duration = Duration::from_secs(60);
const NOT_FOUND: Duration = Duration::from_secs(10);
/// How long a frame's word is worth more than the kernel's: addresses change hands.
const FRESH: Duration = Duration::from_secs(300);
/// How long a name stands against one from a source that is believed less.
const NAME_STANDS: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest name that is kept, in bytes.
const LONGEST_NAME: usize = 255;
/// Different names that an address or a MAC address may answer to before none of them is believed: poisoners
/// answer to whatever is asked for.
const MOST_NAMES: usize = 4;

/// What a frame says about its sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Source MAC address of the Ethernet header.
    pub mac: Option<Mac>,
    /// TTL or hop limit, as it arrived.
    pub ttl: Option<u8>,
    /// Routers between, guessed from the TTL.
    pub hops: Option<u8>,
}

/// What the first packet of a TCP connection says about its sender.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sighting {
    /// The frame.
    pub frame: Frame,
    /// p0f's signature.
    pub tcp: Option<String>,
    /// JA4T.
    pub ja4t: Option<String>,
}

/// What is known of an address.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// Of the last frame that had a MAC address, and when that was.
    mac: Option<(Mac, Instant)>,
    ttl: Option<u8>,
    hops: Option<u8>,
    /// The kernel's answer, and when it was asked.
    kernel: Option<(Standing, Instant)>,
}

/// A name, who told it, and when.
#[derive(Clone, Debug)]
struct Named {
    name: Box<str>,
    from: NameSource,
    told: Instant,
    /// Names that it has answered to, one after the other.
    names: usize,
}

/// What a name belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Owner {
    Mac(Mac),
    Address(IpAddr),
}

#[derive(Debug)]
struct Memory {
    addresses: Recent<IpAddr, Known>,
    /// By source address, source port and destination port.
    syns: Recent<(IpAddr, u16, u16), Box<Sighting>>,
    names: Recent<Owner, Named>,
    /// In small letters, without a domain.
    asked: Recent<Box<str>, ()>,
}

/// The registry. Shared by the capture and the reporter.
#[derive(Debug)]
pub struct Who {
    memory: Mutex<Memory>,
    ask: fn(IpAddr, u32) -> Standing,
}

impl Default for Who {
    fn default() -> Self {
        Self::asking(neighbours::standing)
    }
}

impl Who {
    /// A registry that asks this about an address, given the interface's number or 0.
    fn asking(ask: fn(IpAddr, u32) -> Standing) -> Self {
        let memory = Memory {
            addresses: Recent::new(ADDRESSES),
            syns: Recent::new(SYNS),
            names: Recent::new(NAMES),
            asked: Recent::new(ASKED),
        };
        Self { memory: Mutex::new(memory), ask }
    }

    /// A frame came from this address.
    pub fn saw_frame(&self, source: IpAddr, frame: Frame) {
        self.lock().saw(source.to_canonical(), frame);
    }

    /// A packet that begins a TCP connection came from there to here.
    pub fn saw_syn(&self, source: SocketAddr, destination: SocketAddr, sighting: Sighting) {
        let address = source.ip().to_canonical();
        let mut memory = self.lock();
        memory.saw(address, sighting.frame);
        memory.syns.insert((address, source.port(), destination.port()), Box::new(sighting));
    }

    /// Who has this MAC address, this IP address or both told its own name. What `aviary_wire::names::passive`
    /// makes of a packet; nobody may name another.
    pub fn saw_name(&self, mac: Option<Mac>, address: Option<IpAddr>, name: &str, from: NameSource) {
        let name = cut(name.trim(), LONGEST_NAME);
        if name.is_empty() {
            return;
        }
        let mut memory = self.lock();
        if from.is_an_answer() && memory.asked.get(&plain(name)).is_some() {
            return;
        }
        let owners = [mac.map(Owner::Mac), address.map(|address| Owner::Address(address.to_canonical()))];
        for owner in owners.into_iter().flatten() {
            memory.named(owner, name, from);
        }
    }

    /// This canary asked for a name that nobody has: who answers to it is no proof of a name.
    pub fn asked_for(&self, name: &str) {
        self.lock().asked.insert(plain(name), ());
    }

    /// What is known of a peer, `local` being the port that it used (0 where there is none). May ask the kernel,
    /// which takes some 20 us, when that was not done within the last minute.
    #[must_use]
    pub fn describe(&self, peer: SocketAddr, local: u16) -> Description {
        let address = peer.ip().to_canonical();
        let scope = match peer {
            SocketAddr::V6(six) => six.scope_id(),
            SocketAddr::V4(_) => 0,
        };
        let (mut description, stale) = {
            let mut memory = self.lock();
            (memory.describe(address, peer.port(), local), memory.is_stale(address))
        };
        if stale {
            let standing = (self.ask)(address, scope);
            let mut memory = self.lock();
            memory.addresses.change(address, |known| known.kernel = Some((standing, Instant::now())));
            description = memory.describe(address, peer.port(), local);
        }
        description
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn saw(&mut self, source: IpAddr, frame: Frame) {
        // The loopback's frames have a MAC address of zeros.
        let mac = frame.mac.filter(|mac| *mac != [0; 6]);
        self.addresses.change(source, |known| {
            known.mac = mac.map(|mac| (mac, Instant::now())).or(known.mac);
            if frame.ttl.is_some() {
                (known.ttl, known.hops) = (frame.ttl, frame.hops);
            }
        });
    }

    fn named(&mut self, owner: Owner, name: &str, from: NameSource) {
        let told = Instant::now();
        let Some(held) = self.names.get_mut(&owner) else {
            self.names.insert(owner, Named { name: name.into(), from, told, names: 1 });
            return;
        };
        let stands = held.from.rank() > from.rank() && held.told.elapsed() < NAME_STANDS;
        if held.name.eq_ignore_ascii_case(name) {
            held.told = told;
            if !stands {
                held.from = from;
            }
        } else if !stands {
            let names = if from.is_an_answer() { held.names.saturating_add(1) } else { 1 };
            *held = Named { name: name.into(), from, told, names };
        }
    }

    /// Whether the kernel is to be asked about an address.
    fn is_stale(&mut self, address: IpAddr) -> bool {
        if address.is_loopback() || address.is_unspecified() {
            return false;
        }
        match self.addresses.get(&address).and_then(|known| known.kernel) {
            Some((standing, asked)) => asked.elapsed() > if standing.mac.is_some() { FOUND } else { NOT_FOUND },
            None => true,
        }
    }

    fn describe(&mut self, address: IpAddr, port: u16, local: u16) -> Description {
        let known = self.addresses.get(&address).copied().unwrap_or_default();
        let standing = known.kernel.map_or_else(Standing::default, |(standing, _)| standing);
        let seen = known.mac.filter(|(_, at)| at.elapsed() < FRESH || standing.mac.is_none());
        let mac = seen.map(|(mac, _)| mac).or(standing.mac).filter(|_| !address.is_loopback());
        let syn = self.syns.get(&(address, port, local));
        let (tcp, ja4t) = syn.map_or((None, None), |syn| (syn.tcp.clone(), syn.ja4t.clone()));
        let path = syn.map(|syn| syn.frame).filter(|frame| frame.ttl.is_some());
        let (ttl, hops) = path.map_or((known.ttl, known.hops), |frame| (frame.ttl, frame.hops));
        // A neighbour has no router before it, whatever TTL its tools choose.
        let is_neighbour = standing.mac.is_some() && !standing.is_routed;
        let hops = if is_neighbour && hops.is_some() { Some(0) } else { hops };
        let own = mac.filter(|_| !standing.is_routed).map(Owner::Mac);
        let name = [Some(Owner::Address(address)), own].into_iter().flatten().find_map(|owner| self.name(owner));
        Description { mac, is_router: mac.is_some() && standing.is_routed, name, ttl, hops, tcp, ja4t }
    }

    fn name(&mut self, owner: Owner) -> Option<(Box<str>, NameSource)> {
        let named = self.names.get(&owner).filter(|named| named.names <= MOST_NAMES)?;
        Some((named.name.clone(), named.from))
    }
}

/// The first label in small letters.
fn plain(name: &str) -> Box<str> {
    name.split('.').next().unwrap_or_default().to_ascii_lowercase().into()
}

/// At most so many bytes, cut between two characters.
fn cut(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or(text)
}

#[cfg(test)]
mod tests;
