//! Whether ports can be had, who holds them, and which are open: read from `/proc`.

use std::collections::HashMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use aviary_scan::Proto;
use aviary_service::Protocol;

use crate::machine::is_present;
use crate::plan::Plan;

/// State of a TCP socket that listens, and of a UDP socket that takes from anybody: `TCP_LISTEN` and
/// `TCP_CLOSE` of Linux's `net/tcp_states.h`.
const LISTEN: &str = "0A";
const UNCONNECTED: &str = "07";

/// The process that listens on a port, as `name (pid 123)`; `None` if it cannot be told, for
/// example because it is another user's.
#[must_use]
pub fn holder(port: u16, protocol: Protocol) -> Option<String> {
    let (tables, state) = match protocol {
        Protocol::Tcp => (["/proc/net/tcp", "/proc/net/tcp6"], LISTEN),
        Protocol::Udp => (["/proc/net/udp", "/proc/net/udp6"], UNCONNECTED),
    };
    let inodes: Vec<String> = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening_inodes(&table, port, state))
        .collect();
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let name = process.file_name();
        let Some(pid) = name.to_str().filter(|name| name.bytes().all(|b| b.is_ascii_digit())) else { continue };
        if owns_any(&process.path(), &inodes) {
            let program = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (pid {pid})", program.trim()));
        }
    }
    None
}

/// What of the plan could not be bound now, tried out: addresses that this machine does not have, and ports
/// that other processes hold or that this user may not bind. What the running canary holds, of this process id, is no
/// trouble: the second value counts its ports.
#[must_use]
pub fn port_trouble(plan: &Plan, running: Option<u64>) -> (Vec<String>, usize) {
    let own = running.map(|pid| format!(" (pid {pid})"));
    let is_own = |port, protocol| {
        let holder = || holder(port, protocol).unwrap_or_default();
        own.as_ref().is_some_and(|own| holder().ends_with(own))
    };
    let mut held = 0;
    let missing = |address: &Option<IpAddr>| address.is_some_and(|address| !is_present(address));
    let mut trouble = Vec::new();
    for machine in &plan.machines {
        let key = machine.path("device.listen_addr");
        let absent = machine.addresses.iter().filter(|address| missing(address)).flatten();
        trouble.extend(absent.map(|address| format!("{address} in `{key}` is no address of this machine")));
    }
    for service in &plan.services {
        for endpoint in service.endpoints() {
            for address in service.machine.addresses.iter().filter(|address| !missing(address)) {
                let bound = match endpoint.protocol {
                    Protocol::Tcp => crate::listener::bind(*address, endpoint.port).map(drop),
                    Protocol::Udp => crate::datagrams::bind(*address, endpoint.port).map(drop),
                };
                let Err(error) = bound else { continue };
                if error.kind() == std::io::ErrorKind::AddrInUse && is_own(endpoint.port, endpoint.protocol) {
                    held += 1;
                } else {
                    let (label, whose) = (&endpoint.label, service.machine.suffix());
                    let why = crate::listener::explain(*address, endpoint.port, endpoint.protocol, &error);
                    trouble.push(format!("service `{label}`{whose}: {why}"));
                }
            }
        }
    }
    (trouble, held)
}

/// How long the list of open ports is believed where it says that a port is closed, and where it says open.
const FRESH: Duration = Duration::from_secs(1);
const OLD: Duration = Duration::from_secs(10);

/// Ports where anything on this machine listens, looked up again after a while.
#[derive(Debug, Default)]
pub(crate) struct OpenPorts {
    /// The addresses of each; unspecified ones stand for all.
    ports: HashMap<(Proto, u16), Vec<IpAddr>>,
    looked: Option<Instant>,
}

impl OpenPorts {
    /// Whether something listens at a port of an address. A port that is not in the list may be new: the list
    /// is looked up again, which takes some milliseconds, but not more often than once a second.
    pub(crate) fn contains(&mut self, address: IpAddr, proto: Proto, port: u16) -> bool {
        if self.looked.is_none_or(|looked| looked.elapsed() > OLD) {
            self.look();
        }
        if self.knows(address, proto, port) {
            return true;
        }
        let is_fresh = self.looked.is_some_and(|looked| looked.elapsed() < FRESH);
        if !is_fresh {
            self.look();
        }
        !is_fresh && self.knows(address, proto, port)
    }

    fn knows(&self, address: IpAddr, proto: Proto, port: u16) -> bool {
        let Some(addresses) = self.ports.get(&(proto, port)) else { return false };
        // A socket of IPv6 may take IPv4 too; which of them does, the table does not say.
        addresses.iter().any(|open| open.is_unspecified() || *open == address.to_canonical())
    }

    fn look(&mut self) {
        self.ports.clear();
        for (table, proto) in [("tcp", Proto::Tcp), ("tcp6", Proto::Tcp), ("udp", Proto::Udp), ("udp6", Proto::Udp)] {
            let text = fs::read_to_string(Path::new("/proc/net").join(table)).unwrap_or_default();
            for (address, port) in text.lines().skip(1).filter_map(|line| listens(line, proto)) {
                let addresses = self.ports.entry((proto, port)).or_default();
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
        self.looked = Some(Instant::now());
    }
}

/// The address and port of a line of the table, if its socket takes from anybody.
fn listens(line: &str, proto: Proto) -> Option<(IpAddr, u16)> {
    let mut columns = line.split_whitespace().skip(1);
    let (local, state) = (columns.next()?, columns.nth(1)?);
    let wanted = match proto {
        Proto::Tcp => LISTEN,
        Proto::Udp => UNCONNECTED,
    };
    if state != wanted {
        return None;
    }
    let (address, port) = local.rsplit_once(':')?;
    Some((address_of(address)?, u16::from_str_radix(port, 16).ok()?))
}

/// An address as the table prints it: each four bytes as a number of this machine's.
fn address_of(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(hex.get(at * 8..at * 8 + 8)?, 16).ok()?.to_ne_bytes());
    match hex.len() {
        8 => Some(IpAddr::from(word(0)?)),
        32 => {
            let bytes: [u8; 16] = [word(0)?, word(1)?, word(2)?, word(3)?].concat().try_into().ok()?;
            Some(IpAddr::from(bytes).to_canonical())
        }
        _ => None,
    }
}

fn owns_any(process: &Path, inodes: &[String]) -> bool {
    let Ok(files) = fs::read_dir(process.join("fd")) else { return false };
    files.flatten().any(|file| {
        fs::read_link(file.path())
            .ok()
            .and_then(|target| target.to_str().map(str::to_owned))
            .and_then(|target| target.strip_prefix("socket:[").map(|rest| rest.trim_end_matches(']').to_owned()))
            .is_some_and(|inode| inodes.contains(&inode))
    })
}

/// Inodes of listening sockets on a port. Columns of the table, from `proc_net(5)`:
/// `sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode`.
fn listening_inodes(table: &str, port: u16, wanted: &str) -> Vec<String> {
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let (local, state, inode) = (columns.get(1)?, columns.get(3)?, columns.get(9)?);
            let hex = local.rsplit_once(':')?.1;
            (*state == wanted && u16::from_str_radix(hex, 16).ok()? == port).then(|| (*inode).to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_process_that_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let ours = format!("(pid {})", std::process::id());
        let found = holder(port, Protocol::Tcp).unwrap();
        assert!(found.ends_with(&ours), "{found}");
        let mut open = OpenPorts::default();
        let (here, elsewhere) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        assert!(open.contains(here, Proto::Tcp, port));
        assert!(!open.contains(elsewhere, Proto::Tcp, port), "another address");
        drop(listener);
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert!(OpenPorts::default().contains(here, Proto::Udp, port));
        let found = holder(port, Protocol::Udp).unwrap();
        assert!(found.ends_with(&ours), "{found}");
    }

    #[test]
    fn reads_addresses_as_the_kernel_prints_them() {
        if cfg!(target_endian = "little") {
            assert_eq!(address_of("0100007F"), Some(IpAddr::from([127, 0, 0, 1])));
            assert_eq!(address_of("B80D0120000000000000000001000000"), "2001:db8::1".parse().ok());
            assert_eq!(address_of("0000000000000000FFFF00000100007F"), Some(IpAddr::from([127, 0, 0, 1])));
        }
        for bad in ["", "0100007", "0100007G", "B80D012000000000000000000100000\u{e9}"] {
            assert_eq!(address_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn reads_only_listening_sockets() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                       0: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1\n\
                       1: 0100007F:0016 0100007F:8000 01 00000000:00000000 00:00000000 00000000     0        0 222 1\n";
        assert_eq!(listening_inodes(table, 22, LISTEN), ["111"]);
    }
}
