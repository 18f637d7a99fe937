//! The kernel's table of neighbours: which hardware address an address of this network has.
//!
//! ```text
//! IP address       HW type     Flags       HW address            Mask     Device
//! 192.0.2.66       0x1         0x2         02:00:00:00:00:01     *        eth0
//! ```
//! LIMIT: `/proc/net/arp` has IPv4 only.

use std::io::Read as _;
use std::net::IpAddr;

/// Bytes of the table that are read.
const LONGEST: u64 = 1 << 20;

/// The hardware address of a neighbour on an interface, where the kernel knows it.
pub(crate) fn mac(address: IpAddr, interface: &str) -> Option<String> {
    let mut table = String::new();
    std::fs::File::open("/proc/net/arp").ok()?.take(LONGEST).read_to_string(&mut table).ok()?;
    find(&table, address, interface)
}

fn find(table: &str, address: IpAddr, interface: &str) -> Option<String> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [ip, _, flags, mac, _, device] = fields[..] else { return None };
        // Bit 1: complete.
        let known = u32::from_str_radix(flags.trim_start_matches("0x"), 16).is_ok_and(|flags| flags & 2 != 0);
        let same = ip.parse().is_ok_and(|ip: IpAddr| ip == address) && device == interface;
        (known && same).then(|| mac.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_who_is_known_on_that_interface() {
        let table = "IP address       HW type     Flags       HW address            Mask     Device\n\
            192.0.2.66       0x1         0x2         02:00:00:00:00:01     *        eth0\n\
            192.0.2.67       0x1         0x0         00:00:00:00:00:00     *        eth0\n";
        let of = |address: &str, interface| find(table, address.parse().unwrap(), interface);
        assert_eq!(of("192.0.2.66", "eth0").as_deref(), Some("02:00:00:00:00:01"));
        assert_eq!(of("192.0.2.66", "eth1"), None);
        assert_eq!(of("192.0.2.67", "eth0"), None, "not complete");
        assert_eq!(of("fe80::1", "eth0"), None);
        assert_eq!(find("", "192.0.2.66".parse().unwrap(), "eth0"), None);
    }
}
