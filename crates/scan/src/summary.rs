//! What is told of a scan, and as which event.

use std::collections::BTreeMap;
use std::net::IpAddr;

use aviary_event::{LogData, Timestamp, Value};
use jiff::tz::TimeZone;

use crate::probe::Probe;
use crate::tool::Tool;

/// Where in its life a scan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is known as one now.
    Begun,
    /// It was told of before.
    GoingOn,
    /// Nothing came for a while, or there was no room to watch it further.
    Ended,
}

impl State {
    /// The word in events.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::GoingOn => "going on",
            Self::Ended => "ended",
        }
    }
}

/// Ports that were tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortList {
    /// The first 256, in the order in which they were tried.
    pub order: Vec<u16>,
    /// How many there are.
    pub count: u32,
    /// Whether there may be more than `count`.
    pub is_at_least: bool,
}

/// A scan as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The same for all that is told of one scan.
    pub id: u64,
    /// Where in its life it is.
    pub state: State,
    /// Who scans.
    pub source: IpAddr,
    /// The port from which the first packet came.
    pub source_port: Option<u16>,
    /// Where the first packet went: an address of ours, and the port if it has one.
    pub target: (IpAddr, Option<u16>),
    /// How most packets scan.
    pub probe: Probe,
    /// Packets of each way, without those that did not happen.
    pub probes: Vec<(Probe, u32)>,
    /// The program that sends them, if that is certain.
    pub tool: Option<Tool>,
    /// TCP ports, those included where a service stands.
    pub tcp: PortList,
    /// UDP ports.
    pub udp: PortList,
    /// Packets in all.
    pub packets: u64,
    /// Addresses of ours, the first 64.
    pub hosts: Vec<IpAddr>,
    /// Whether there may be more addresses.
    pub hosts_at_least: bool,
    /// When the first packet came.
    pub first: Timestamp,
    /// When the last packet came.
    pub last: Timestamp,
    /// From the first to the last packet, in milliseconds of a clock that does not go back.
    pub duration: u64,
}

impl Summary {
    /// The id as it stands in events: twelve hexadecimal digits.
    #[must_use]
    pub fn id_text(&self) -> String {
        format!("{:012x}", self.id)
    }

    /// Packets a second between the first and the last, to three digits; `None` when both came in one
    /// millisecond.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        let thousandths = self.packets.saturating_sub(1).saturating_mul(1_000_000).checked_div(self.duration)?;
        Some(f64::from(u32::try_from(thousandths).unwrap_or(u32::MAX)) / 1000.0)
    }
}

/// The event's data, for kind 32000.
#[must_use]
pub fn scan_data(summary: &Summary) -> LogData {
    let moment = |moment: Timestamp| moment.to_rfc3339(&TimeZone::UTC);
    let hosts: Vec<String> = summary.hosts.iter().map(ToString::to_string).collect();
    let kinds: BTreeMap<String, Value> =
        summary.probes.iter().map(|(probe, packets)| (probe.word().to_owned(), Value::from(*packets))).collect();
    let mut data = LogData::new()
        .with("SCAN", summary.id_text())
        .with("STATE", summary.state.word())
        .with("KIND", summary.probe.word())
        .with("KINDS", Value::Map(kinds))
        .with("PACKETS", i64::try_from(summary.packets).unwrap_or(i64::MAX))
        .with("HOST_COUNT", summary.hosts.len())
        .with("HOSTS", hosts)
        .with("FIRST", moment(summary.first))
        .with("LAST", moment(summary.last))
        .with("DURATION_MS", i64::try_from(summary.duration).unwrap_or(i64::MAX));
    for (ports, list, count) in [(&summary.tcp, "PORTS", "PORT_COUNT"), (&summary.udp, "UDP_PORTS", "UDP_PORT_COUNT")] {
        if ports.count > 0 {
            data.insert(list, Value::List(ports.order.iter().map(|port| Value::from(*port)).collect()));
            data.insert(count, ports.count);
        }
    }
    if summary.tcp.is_at_least || summary.udp.is_at_least {
        data.insert("PORTS_AT_LEAST", true);
    }
    if summary.hosts_at_least {
        data.insert("HOSTS_AT_LEAST", true);
    }
    if let Some(tool) = summary.tool {
        data.insert("TOOL", tool.word());
    }
    if let Some(rate) = summary.rate() {
        data.insert("RATE", Value::Float(rate));
    }
    data
}
