//! Hosts: each by itself as the file at its top, and what no two of them may have.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Check;
use crate::document::{Document, Entry, HostPart, below};
use crate::hosts::Host;
use crate::problem::{Location, Problem};
use crate::settings::Settings;
use crate::space::KeySpace;

/// Longest name of a host, in bytes: a label of the DNS (RFC 1035, 2.3.4).
const LONGEST_NAME: usize = 63;
/// Words in a host name that tell what it is.
const TELLING: [&str; 6] = ["aviary", "canary", "decoy", "honeypot", "honeynet", "trap"];

/// Checks every host; `canary` are the settings at the top.
pub(super) fn check(
    document: &Document,
    space: &KeySpace,
    canary: &Settings,
    problems: &mut Vec<Problem>,
) -> Vec<Host> {
    let mut hosts = Vec::new();
    let mut taken = Taken::of(document, canary);
    for part in &document.hosts {
        let mut check = Check::new(&part.document, space, part.location.clone());
        let host = Host { name: part.name.clone(), settings: check.keys() };
        check.host_name(part, &host);
        check.host_addresses(space, part);
        check.services(&host.settings, true);
        check.ports(&host.settings);
        taken.addresses(part, &mut check.problems);
        taken.node_id(part, host.node_id(&canary.node_id()), &mut check.problems);
        taken.audit_file(part, &host.settings, &mut check.problems);
        problems.append(&mut check.problems);
        hosts.push(host);
    }
    hosts
}

impl Check<'_> {
    fn host_name(&mut self, part: &HostPart, host: &Host) {
        let name = &part.name;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(fits) {
            let message = format!(
                "\"{name}\" in `hosts` is no name for a host; accepted: 1 to {LONGEST_NAME} letters, digits and hyphens"
            );
            self.problems.push(Problem::error(part.location.clone(), message).of_key("hosts"));
        }
        let played = host.host_name();
        let lower = played.to_ascii_lowercase();
        if let Some(word) = TELLING.iter().find(|word| lower.contains(*word)) {
            let path = part.document.path("aviary.host_name");
            let entry = part.document.entry("aviary.host_name");
            let location = entry.map_or(&part.location, |entry| &entry.location).clone();
            let message = format!("the host name \"{played}\" that `hosts.{name}` plays holds the word \"{word}\"");
            let hint = format!("give it another with `{path}`");
            self.problems.push(Problem::warning(location, message).of_key(path).hint(hint));
        }
    }

    /// A host is what answers at an address of its own: one at least, and none that stands for all.
    fn host_addresses(&mut self, space: &KeySpace, part: &HostPart) {
        let path = part.document.path("device.listen_addr");
        let given = part.document.entry("device.listen_addr");
        let is_empty = |entry: &Entry| match &entry.value {
            serde_json::Value::Array(items) => items.is_empty(),
            value => value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty()),
        };
        match given.filter(|entry| !is_empty(entry)) {
            None => {
                let location = given.map_or(&part.location, |entry| &entry.location).clone();
                let message = format!("`{path}` is not given: a host needs an address of its own");
                let problem = Problem::error(location, message).of_key(&path);
                let is_group = part.name == "device" || space.services().any(|service| service == part.name);
                let hint = if is_group {
                    format!(
                        "`{0}` is a group of keys: a host's name stands before it, as in `hosts.printer.{0}`",
                        part.name
                    )
                } else {
                    "name one address of this machine, or several in a list".to_owned()
                };
                self.problems.push(problem.hint(hint));
            }
            Some(entry) => {
                for (address, location) in addresses(entry).filter(|(address, _)| address.is_unspecified()) {
                    let message = format!("{address} in `{path}` stands for every address, and a host has its own");
                    self.problems.push(Problem::error(location.clone(), message).of_key(&path));
                }
            }
        }
    }
}

/// What hosts have that only one may have, each with the path of the key that says so.
struct Taken {
    addresses: BTreeMap<IpAddr, String>,
    node_ids: BTreeMap<String, String>,
    audit_files: BTreeMap<String, String>,
}

/// The file of another program that SMB follows, where it does.
fn audit_file(settings: &Settings) -> Option<String> {
    let file = settings.text("smb.auditfile");
    (settings.flag("smb.enabled") && settings.is_set("smb.auditfile") && !file.is_empty()).then_some(file)
}

impl Taken {
    /// What the canary has by itself.
    fn of(document: &Document, canary: &Settings) -> Self {
        let own = document.entry("device.listen_addr");
        let own = own.into_iter().flat_map(addresses).filter(|(address, _)| !address.is_unspecified());
        let node_id = (canary.node_id().into_owned(), "device.node_id".to_owned());
        Self {
            addresses: own.map(|(address, _)| (address, "device.listen_addr".to_owned())).collect(),
            node_ids: BTreeMap::from([node_id]),
            audit_files: audit_file(canary).map(|file| (file, "smb.auditfile".to_owned())).into_iter().collect(),
        }
    }

    fn audit_file(&mut self, part: &HostPart, settings: &Settings, problems: &mut Vec<Problem>) {
        let (path, entry) = (part.document.path("smb.auditfile"), part.document.entry("smb.auditfile"));
        let (Some(file), Some(entry)) = (audit_file(settings), entry) else { return };
        match self.audit_files.get(&file) {
            None => drop(self.audit_files.insert(file, path)),
            Some(owner) => {
                let message = format!("`{path}` is \"{file}\", as `{owner}` is: each line becomes two events");
                let problem = Problem::warning(entry.location.clone(), message).of_key(path);
                problems.push(problem.hint("let one machine follow it"));
            }
        }
    }

    fn addresses(&mut self, part: &HostPart, problems: &mut Vec<Problem>) {
        let path = part.document.path("device.listen_addr");
        for (address, location) in part.document.entry("device.listen_addr").into_iter().flat_map(addresses) {
            match self.addresses.get(&address) {
                None => drop(self.addresses.insert(address, path.clone())),
                // Given twice in one list: one is as good as two.
                Some(owner) if *owner == path => {}
                Some(owner) => {
                    let message = format!("{address} in `{path}` is in `{owner}` too");
                    let problem = Problem::error(location.clone(), message).of_key(&path);
                    problems.push(problem.hint("an address plays one machine"));
                }
            }
        }
    }

    fn node_id(&mut self, part: &HostPart, node_id: String, problems: &mut Vec<Problem>) {
        let path = part.document.path("device.node_id");
        match self.node_ids.get(&node_id) {
            None => drop(self.node_ids.insert(node_id, path)),
            Some(owner) => {
                let entry = part.document.entry("device.node_id");
                let location = entry.map_or(&part.location, |entry| &entry.location).clone();
                let message = format!("`{path}` is \"{node_id}\", as `{owner}` is: events do not tell the two apart");
                problems.push(Problem::warning(location, message).of_key(path).hint("give each host its own"));
            }
        }
    }
}

/// The addresses that an entry holds, as IPv4 where they are that in disguise, each with its place.
fn addresses(entry: &Entry) -> impl Iterator<Item = (IpAddr, &Location)> {
    let many = entry.value.as_array();
    let items = many.map_or_else(|| std::slice::from_ref(&entry.value), Vec::as_slice);
    items.iter().enumerate().filter_map(move |(at, item)| {
        let address: IpAddr = item.as_str()?.trim().parse().ok()?;
        Some((address.to_canonical(), entry.locate(&below("", &at.to_string()))))
    })
}
