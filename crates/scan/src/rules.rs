//! What the operator asked for.

use std::collections::HashSet;
use std::net::IpAddr;

use aviary_config::{IgnoreList, Settings};

use crate::rate::{HOUR, SECOND};

/// Most targets that [`Rules::threshold`] may ask for: so many attempts are kept of a source that is not yet said
/// to scan.
pub(crate) const MOST_TARGETS: usize = 16;

/// Which events are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Events {
    /// A packet each, as OpenCanary writes them.
    Compatible,
    /// A scan each.
    Aggregated,
    /// Both.
    #[default]
    Both,
}

/// What is passed over, and from when on it is a scan.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Which events are written.
    pub events: Events,
    /// SYN packets a second of one source that are reported one by one.
    pub syn_rate: u64,
    /// Packets of nmap's making a second of one source that are reported one by one.
    pub nmap_rate: u64,
    /// Packets an hour on the loopback that are reported one by one.
    pub loopback_rate: u64,
    /// Distinct targets (an address of ours and a port) within the window that make a scan, at most 16.
    pub threshold: usize,
    /// How far apart the targets of one scan may be before it is known as one, in milliseconds.
    pub window: u64,
    /// How long nothing comes before a scan is over, in milliseconds; longer for slow scans.
    pub quiet: u64,
    /// How often a scan that goes on is told of, in milliseconds.
    pub update: u64,
    /// Whether scans from this machine are passed over.
    pub ignore_localhost: bool,
    /// Ports that are passed over.
    pub ignore_ports: HashSet<u16>,
    /// Sources that are passed over.
    pub ignore_sources: IgnoreList,
    /// TCP ports that are answered on purpose, though no service stands there: they count as closed. Each at an
    /// address of this machine; `None` stands for all.
    pub decoys: HashSet<(Option<IpAddr>, u16)>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            events: Events::Both,
            syn_rate: 5,
            nmap_rate: 5,
            loopback_rate: 3,
            threshold: 3,
            window: 6 * HOUR,
            quiet: 60 * SECOND,
            update: 10 * SECOND,
            ignore_localhost: false,
            ignore_ports: HashSet::new(),
            ignore_sources: IgnoreList::default(),
            decoys: HashSet::new(),
        }
    }
}

impl Rules {
    /// Whether a TCP port of an address is answered though no service stands there.
    #[must_use]
    pub fn is_decoy(&self, address: IpAddr, port: u16) -> bool {
        let at = |address| self.decoys.contains(&(address, port));
        !self.decoys.is_empty() && (at(None) || at(Some(address.to_canonical())))
    }

    /// What the settings say; `None` when scans are not watched for. Decoys are not theirs to say.
    #[must_use]
    pub fn of(settings: &Settings) -> Option<Self> {
        let number = |name| u64::try_from(settings.int(name)).unwrap_or(1);
        let mut ignore_sources = IgnoreList::default();
        for network in settings.list("portscan.ignore_sources") {
            // One that is no network was told of when the file was read.
            let _ = network.as_str().map(|network| ignore_sources.add(network));
        }
        settings.flag("portscan.enabled").then(|| Self {
            events: match settings.text("portscan.events").as_str() {
                "compatible" => Events::Compatible,
                "aggregated" => Events::Aggregated,
                _ => Events::Both,
            },
            syn_rate: number("portscan.synrate"),
            nmap_rate: number("portscan.nmaposrate"),
            loopback_rate: number("portscan.lorate"),
            threshold: usize::try_from(number("portscan.threshold")).unwrap_or(MOST_TARGETS),
            window: number("portscan.window_hours").saturating_mul(HOUR),
            quiet: number("portscan.quiet_seconds").saturating_mul(SECOND),
            update: number("portscan.update_seconds").saturating_mul(SECOND),
            ignore_localhost: settings.flag("portscan.ignore_localhost"),
            ignore_ports: settings
                .list("portscan.ignore_ports")
                .iter()
                .filter_map(|port| port.as_u64().or_else(|| port.as_str()?.trim().parse().ok()))
                .filter_map(|port| u16::try_from(port).ok())
                .collect(),
            ignore_sources,
            decoys: HashSet::new(),
        })
    }
}
