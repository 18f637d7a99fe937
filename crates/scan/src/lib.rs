//! Packets off the wire into scan events: what a packet says, what it is part of, and how the kernel's
//! firewall would print it. No I/O and no clock: whoever captures gives both.

#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::string_slice,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

mod detector;
mod events;
mod fingerprint;
mod flows;
mod kernel;
mod options;
mod packet;
mod ports;
mod probe;
mod rate;
mod rules;
mod scan;
mod source;
mod sources;
mod summary;
mod tool;

use aviary_config::{Key, Shape};

pub use detector::{Detector, Direction, Moment, Observed};
pub use events::{KINDS, SCAN};
pub use fingerprint::{Fingerprint, distance, initial_ttl};
pub use kernel::log_data;
pub use packet::{Cut, Flags, Icmp, Ip, Packet, Tcp, Transport, Udp};
pub use probe::Probe;
pub use rules::{Events, Rules};
pub use scan::Proto;
pub use summary::{PortList, State, Summary, scan_data};
pub use tool::Tool;

/// Name of the service, prefix of its keys.
pub const NAME: &str = "portscan";

/// What it is, for tables.
pub const SUMMARY: &str = "scans: of ports where nothing listens, of hosts, of systems";

/// OpenCanary's class and module, for its start-up line.
pub const OPENCANARY: &str = "CanaryPortscan in opencanary.modules.portscan";

const fn key(name: &'static str, shape: Shape, default: &'static str, doc: &'static str) -> Key {
    Key { name, shape, default, doc }
}

const fn rate(name: &'static str, default: &'static str, doc: &'static str) -> Key {
    key(name, Shape::Int { min: 1, max: 1_000_000 }, default, doc)
}

/// Config keys, which are OpenCanary's.
pub static KEYS: &[Key] = &[
    key(
        "portscan.enabled",
        Shape::Flag,
        "false",
        "Reports scans of ports where nothing listens; needs root or CAP_NET_RAW, and no firewall.",
    ),
    key("portscan.ignore_localhost", Shape::Flag, "false", "Whether scans from this machine are passed over."),
    key(
        "portscan.logfile",
        Shape::Path,
        r#""/var/log/kern.log""#,
        "Read by nothing: packets are seen as they come, not in the kernel's log.",
    ),
    rate("portscan.synrate", "5", "SYN packets a second that are reported of one source."),
    rate("portscan.nmaposrate", "5", "Probes a second of nmap's making that are reported of one source."),
    rate("portscan.lorate", "3", "Packets an hour on the loopback that are reported."),
    key("portscan.ignore_ports", Shape::List, "[]", "Ports that are passed over."),
    key("portscan.ignore_sources", Shape::List, "[]", "Addresses and networks that may scan."),
    key(
        "portscan.events",
        Shape::OneOf(&["compatible", "aggregated", "both"]),
        r#""both""#,
        "What is reported: packets one by one as OpenCanary does, each scan as a whole, or both.",
    ),
    key(
        "portscan.threshold",
        Shape::Int { min: 1, max: 16 },
        "3",
        "So many ports where nothing listens, over all addresses, make a scan when one source tries them.",
    ),
    key(
        "portscan.window_hours",
        Shape::Int { min: 1, max: 168 },
        "6",
        "Hours within which so many ports must be tried to make a scan.",
    ),
    key(
        "portscan.quiet_seconds",
        Shape::Int { min: 5, max: 3600 },
        "60",
        "Seconds without a packet after which a scan is over; longer for slow ones, up to an hour.",
    ),
    key(
        "portscan.update_seconds",
        Shape::Int { min: 2, max: 3600 },
        "10",
        "Seconds between two reports of a scan that goes on.",
    ),
];
