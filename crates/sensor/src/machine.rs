//! The machines that a canary plays: its own, and each of `hosts` at addresses of its own.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use aviary_config::{Host, Settings};
use aviary_service::{Maker, Slot, Vault};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

/// A machine that is played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Its name in `hosts`; `None` for the canary's own.
    pub host: Option<Arc<str>>,
    /// Its name in events.
    pub node_id: String,
    /// The host name that it plays.
    pub host_name: String,
    /// Addresses to bind; `None` stands for all.
    pub addresses: Vec<Option<IpAddr>>,
}

impl Machine {
    /// A key of its settings as the operator's file has it: `ssh`, or `hosts.printer.ssh`.
    #[must_use]
    pub fn path(&self, key: &str) -> String {
        match &self.host {
            None => key.to_owned(),
            Some(host) => format!("hosts.{host}.{key}"),
        }
    }

    /// What stands behind the name of one of its services: nothing, or " of host `printer`".
    #[must_use]
    pub fn suffix(&self) -> String {
        suffix(self.host.as_deref())
    }
}

/// What stands behind the name of a service: nothing for the canary's own, or " of host `printer`".
#[must_use]
pub(crate) fn suffix(host: Option<&str>) -> String {
    host.map_or_else(String::new, |host| format!(" of host `{host}`"))
}

/// The canary's own machine first, then the hosts in the file's order, each with its settings.
#[must_use]
pub(crate) fn all(settings: &Settings) -> Vec<(Arc<Machine>, &Settings)> {
    let node_id = settings.node_id();
    let hosts: Vec<Machine> = settings.hosts().iter().map(|host| of_host(host, &node_id)).collect();
    let own = Machine {
        host: None,
        node_id: node_id.into_owned(),
        host_name: own_host_name(settings),
        addresses: own_addresses(&settings.listen_addrs(), &hosts, of_this_machine),
    };
    let all_settings = std::iter::once(settings).chain(settings.hosts().iter().map(|host| &host.settings));
    std::iter::once(own).chain(hosts).map(Arc::new).zip(all_settings).collect()
}

fn of_host(host: &Host, canary: &str) -> Machine {
    Machine {
        host: Some(Arc::from(host.name.as_str())),
        node_id: host.node_id(canary),
        host_name: host.host_name(),
        addresses: distinct(host.settings.listen_addrs()),
    }
}

/// Where the canary's own services listen. A socket for every address would take the hosts' too, so that
/// beside hosts "every address" means each that this machine has now and no host claims.
fn own_addresses(given: &[IpAddr], hosts: &[Machine], present: impl Fn() -> Vec<IpAddr>) -> Vec<Option<IpAddr>> {
    let is_for_all = given.is_empty() || given.iter().any(IpAddr::is_unspecified);
    match (is_for_all, hosts.is_empty()) {
        (true, true) if given.is_empty() => vec![None],
        (true, false) => {
            let claimed = |address: &IpAddr| hosts.iter().any(|host| host.addresses.contains(&Some(*address)));
            let wanted = |address: &IpAddr| {
                let whole = |family: &IpAddr| family.is_unspecified() && family.is_ipv4() == address.is_ipv4();
                given.is_empty() || given.iter().any(whole)
            };
            let named = given.iter().copied().filter(|address| !address.is_unspecified());
            let free = present().into_iter().filter(|address| wanted(address) && !claimed(address));
            distinct(named.chain(free))
        }
        _ => given.iter().copied().map(Some).collect(),
    }
}

fn distinct(addresses: impl IntoIterator<Item = IpAddr>) -> Vec<Option<IpAddr>> {
    let mut seen = BTreeSet::new();
    let canonical = addresses.into_iter().map(|address| address.to_canonical());
    canonical.filter(|address| seen.insert(*address)).map(Some).collect()
}

/// Addresses of the interfaces that are up. Those of IPv6 that hold on one link only are left out: they
/// are bound with the link's number, which no setting has.
fn of_this_machine() -> Vec<IpAddr> {
    let Ok(interfaces) = getifaddrs() else { return Vec::new() };
    interfaces
        .filter(|interface| interface.flags.contains(InterfaceFlags::IFF_UP))
        .filter_map(|interface| {
            let address = interface.address?;
            let four = address.as_sockaddr_in().map(|four| IpAddr::V4(four.ip()));
            four.or_else(|| address.as_sockaddr_in6().map(|six| IpAddr::V6(six.ip())))
        })
        .filter(|address| !matches!(address, IpAddr::V6(six) if Ipv6Addr::is_unicast_link_local(six)))
        .collect()
}

/// Whether this machine has an address: whatever the system lets us bind.
#[must_use]
pub(crate) fn is_present(address: IpAddr) -> bool {
    match UdpSocket::bind(SocketAddr::new(address, 0)) {
        Err(error) => error.kind() != std::io::ErrorKind::AddrNotAvailable,
        Ok(_) => true,
    }
}

/// The configured host name, or this machine's own.
fn own_host_name(settings: &Settings) -> String {
    let configured = settings.text("aviary.host_name");
    if !configured.is_empty() {
        return configured;
    }
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_else(|| "localhost".to_owned())
}

/// The secrets of one machine. Those of a host are under its name, so that no two machines share any, and
/// the canary's own stay where they were before there were hosts.
pub(crate) struct MachineVault<'a> {
    vault: &'a dyn Vault,
    prefix: String,
}

impl<'a> MachineVault<'a> {
    pub(crate) fn new(vault: &'a dyn Vault, machine: &Machine) -> Self {
        let prefix = machine.host.as_ref().map_or_else(String::new, |host| format!("hosts/{host}/"));
        Self { vault, prefix }
    }
}

impl Vault for MachineVault<'_> {
    fn slot(&self, name: &str, make: Maker) -> Slot {
        self.vault.slot(&format!("{}{name}", self.prefix), make)
    }
}

#[cfg(test)]
mod tests {
    use aviary_service::MemoryVault;

    use super::*;

    fn host(name: &str, address: &str) -> Machine {
        Machine {
            host: Some(Arc::from(name)),
            node_id: name.to_owned(),
            host_name: name.to_owned(),
            addresses: vec![Some(address.parse().unwrap())],
        }
    }

    #[test]
    fn the_canary_has_what_no_host_claims() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let present = || ["127.0.0.1", "10.0.0.5", "10.0.0.7", "::1", "2001:db8::7"].map(ip).to_vec();
        let hosts = [host("a", "10.0.0.7"), host("b", "2001:db8::7")];
        let own = |given: &[&str], hosts: &[Machine]| {
            let given: Vec<IpAddr> = given.iter().map(|text| ip(text)).collect();
            let own = own_addresses(&given, hosts, present);
            own.iter().map(|address| address.map_or("*".to_owned(), |it| it.to_string())).collect::<Vec<_>>()
        };
        assert_eq!(own(&[], &[]), ["*"]);
        assert_eq!(own(&["0.0.0.0"], &[]), ["0.0.0.0"]);
        assert_eq!(own(&[], &hosts), ["127.0.0.1", "10.0.0.5", "::1"]);
        assert_eq!(own(&["0.0.0.0"], &hosts), ["127.0.0.1", "10.0.0.5"]);
        assert_eq!(own(&["10.0.0.5", "::"], &hosts), ["10.0.0.5", "::1"]);
        assert_eq!(own(&["10.0.0.5"], &hosts), ["10.0.0.5"]);
    }

    #[test]
    fn this_machine_has_its_loopback_and_no_address_of_a_document() {
        assert!(of_this_machine().contains(&IpAddr::from([127, 0, 0, 1])));
        assert!(is_present(IpAddr::from([127, 0, 0, 9])));
        assert!(!is_present(IpAddr::from([192, 0, 2, 7])));
    }

    #[test]
    fn secrets_of_two_machines_differ_and_the_canarys_own_keep_their_names() {
        let vault = MemoryVault::default();
        let own = Machine { host: None, ..host("", "10.0.0.5") };
        let machines = [own, host("a", "10.0.0.7"), host("b", "10.0.0.8")];
        for (number, machine) in (1u8..).zip(&machines) {
            let slot = MachineVault::new(&vault, machine).slot("ssh/rsa", Box::new(move || vec![number]));
            assert_eq!(slot.wait(), [number]);
        }
        assert_eq!(vault.slot("ssh/rsa", Box::new(Vec::new)).wait(), [1]);
        assert_eq!(vault.slot("hosts/b/ssh/rsa", Box::new(Vec::new)).wait(), [3]);
    }
}
