//! Whether ports can be had, and who holds them: read from `/proc`, for the message that a person needs.

use std::collections::HashSet;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

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
/// that other processes hold or that this user may not bind.
#[must_use]
pub fn port_trouble(plan: &Plan) -> Vec<String> {
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
                if let Err(error) = bound {
                    let (label, whose) = (&endpoint.label, service.machine.suffix());
                    let why = crate::listener::explain(*address, endpoint.port, endpoint.protocol, &error);
                    trouble.push(format!("service `{label}`{whose}: {why}"));
                }
            }
        }
    }
    trouble
}

/// TCP ports on which anything of this machine listens.
#[must_use]
pub(crate) fn listening() -> HashSet<u16> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let texts = tables.iter().filter_map(|table| fs::read_to_string(table).ok());
    let mut ports = HashSet::new();
    for text in texts {
        ports.extend(text.lines().skip(1).filter_map(|line| {
            let mut columns = line.split_whitespace().skip(1);
            let (local, state) = (columns.next()?, columns.nth(1)?);
            let port = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
            (state == LISTEN).then_some(port)
        }));
    }
    ports
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
        assert!(listening().contains(&port));
        drop(listener);
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let found = holder(port, Protocol::Udp).unwrap();
        assert!(found.ends_with(&ours), "{found}");
    }

    #[test]
    fn reads_only_listening_sockets() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                       0: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1\n\
                       1: 0100007F:0016 0100007F:8000 01 00000000:00000000 00:00000000 00000000     0        0 222 1\n";
        assert_eq!(listening_inodes(table, 22, LISTEN), ["111"]);
    }
}
