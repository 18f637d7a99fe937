//! TCP banners: up to `tcpbanner.maxnum` ports that send a fixed text and take anything.
//!
//! Imitates whatever the operator writes into the banners; there is no protocol behind them. Each
//! port `tcpbanner_1`, `tcpbanner_2` and so on sends its `initbanner` to whoever connects and its
//! `datareceivedbanner` for every chunk of data. Keys, escapes and events are OpenCanary's, down to
//! the banner in Python's notation as `DATA` of a connection:
//!
//! | mode | connection | data |
//! |---|---|---|
//! | neither alert string nor keep-alive | 18001 | 30700 |
//! | `alertstring.enabled` | - | 18005 if it holds the alert string, else 30700 |
//! | `keep_alive.enabled` | 18002 | 18003 if it holds the secret, else 18004 |
//!
//! 30700 is ours: it also holds data whole when it is longer than the 255 bytes of 18003 to 18005.
//! Strings are looked for in the whole chunk, not in its first 255 bytes. After the secret the peer
//! is taken for the operator's own and nothing more is reported, as in OpenCanary; an empty secret
//! is none (OpenCanary finds it in any data and falls silent). `device.listen_addr` holds here, too.
//!
//! LIMIT: data is looked at as it arrives; an alert string split over two chunks is not recognised,
//! but both chunks are reported.
//!
//! Tried with netcat and nmap.

mod codec;
mod dialogue;
mod events;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use aviary_config::{Key, Settings, Shape};
use aviary_service::{
    Dialogue, Endpoint, Entry, Facts, KeepAlive, Limits, Materials, Protocol, Rejection, Security, Service,
};

use self::dialogue::TcpBanner;

/// The registry's entry.
pub(crate) static ENTRY: Entry = Entry {
    name: "tcpbanner",
    summary: "ports with a fixed text",
    opencanary: "CanaryTCPBanner in opencanary.modules.tcpbanner",
    keys: KEYS,
    kinds: &events::KINDS,
    build: &build,
};

/// Most banner ports; one more than anybody has asked for would need a reason.
const MOST: i64 = 1000;

static KEYS: &[Key] = &[
    Key { name: "tcpbanner.enabled", shape: Shape::Flag, default: "false", doc: "Whether banner ports run at all." },
    Key {
        name: "tcpbanner.maxnum",
        shape: Shape::Int { min: 1, max: MOST },
        default: "10",
        doc: "Highest number of a banner that is looked for.",
    },
    Key { name: "tcpbanner_#.enabled", shape: Shape::Flag, default: "false", doc: "Whether this banner port runs." },
    Key {
        name: "tcpbanner_#.port",
        shape: Shape::Port,
        default: "",
        doc: "Its TCP port; 8000 and its number if not set.",
    },
    Key {
        name: "tcpbanner_#.initbanner",
        shape: Shape::Text,
        default: "\"\"",
        doc: "What is sent at once; `\\n` and `\\r` stand for newline and return.",
    },
    Key {
        name: "tcpbanner_#.datareceivedbanner",
        shape: Shape::Text,
        default: "\"\"",
        doc: "What is sent for each chunk of data.",
    },
    Key {
        name: "tcpbanner_#.alertstring.enabled",
        shape: Shape::Flag,
        default: "false",
        doc: "Whether only data with the alert string is an alert (18005).",
    },
    Key { name: "tcpbanner_#.alertstring", shape: Shape::Text, default: "\"\"", doc: "The alert string." },
    Key {
        name: "tcpbanner_#.keep_alive.enabled",
        shape: Shape::Flag,
        default: "false",
        doc: "Whether connections are kept alive and every chunk of data is an alert.",
    },
    Key {
        name: "tcpbanner_#.keep_alive_secret",
        shape: Shape::Text,
        default: "\"\"",
        doc: "Text after which a kept connection raises no more alerts; empty for none.",
    },
    Key {
        name: "tcpbanner_#.keep_alive_probes",
        shape: Shape::Int { min: 1, max: 127 },
        default: "11",
        doc: "Unanswered probes after which a connection is dead.",
    },
    Key {
        name: "tcpbanner_#.keep_alive_interval",
        shape: Shape::Int { min: 1, max: 32_767 },
        default: "300",
        doc: "Seconds between probes.",
    },
    Key {
        name: "tcpbanner_#.keep_alive_idle",
        shape: Shape::Int { min: 1, max: 32_767 },
        default: "300",
        doc: "Seconds of silence before the first probe.",
    },
];

/// One banner port.
struct Banner {
    /// Its number, as text since OpenCanary logs it so.
    id: String,
    port: u16,
    greeting: Vec<u8>,
    answer: Vec<u8>,
    /// The alert string, if it is on.
    alert: Option<Vec<u8>>,
    keep_alive: Option<KeepAlive>,
    secret: Vec<u8>,
}

impl Banner {
    fn of(settings: &Settings, number: i64) -> Option<Self> {
        let key = |name: &str| format!("tcpbanner_{number}.{name}");
        if !settings.flag(&key("enabled")) {
            return None;
        }
        let text = |name: &str| codec::unescape(&settings.text(&key(name)));
        let seconds = |name: &str| Duration::from_secs(u64::try_from(settings.int(&key(name))).unwrap_or(300));
        let port = match settings.port(&key("port")) {
            0 => u16::try_from(number.saturating_add(8000)).unwrap_or(0),
            port => port,
        };
        Some(Self {
            id: number.to_string(),
            port,
            greeting: text("initbanner"),
            answer: text("datareceivedbanner"),
            alert: settings.flag(&key("alertstring.enabled")).then(|| text("alertstring")),
            keep_alive: settings.flag(&key("keep_alive.enabled")).then(|| KeepAlive {
                idle: seconds("keep_alive_idle"),
                interval: seconds("keep_alive_interval"),
                probes: u32::try_from(settings.int(&key("keep_alive_probes"))).unwrap_or(11),
            }),
            secret: text("keep_alive_secret"),
        })
    }
}

struct TcpBannerService {
    banners: Vec<Arc<Banner>>,
}

impl Service for TcpBannerService {
    fn endpoints(&self) -> Vec<Endpoint> {
        let endpoint = |banner: &Arc<Banner>| Endpoint {
            port: banner.port,
            protocol: Protocol::Tcp,
            label: format!("tcpbanner_{}", banner.id),
            security: Security::Plain,
            try_line: "nc {host} {port}",
        };
        self.banners.iter().map(endpoint).collect()
    }

    fn dialogue(&self, endpoint: usize, _facts: &Facts) -> Box<dyn Dialogue> {
        let banner = self.banners.get(endpoint).map_or_else(|| Arc::new(Banner::mute()), Arc::clone);
        Box::new(TcpBanner::new(banner))
    }

    fn limits(&self) -> Limits {
        // OpenCanary never closes; a kept connection may stay for the week that `dialogue` asks for.
        Limits { total: Duration::from_secs(7 * 24 * 3600), received: u64::MAX, ..Limits::default() }
    }

    fn keep_alive(&self, endpoint: usize) -> Option<KeepAlive> {
        self.banners.get(endpoint)?.keep_alive
    }
}

impl Banner {
    /// A banner that says nothing, for an endpoint that does not exist.
    const fn mute() -> Self {
        Self {
            id: String::new(),
            port: 0,
            greeting: Vec::new(),
            answer: Vec::new(),
            alert: None,
            keep_alive: None,
            secret: Vec::new(),
        }
    }
}

fn build(materials: &Materials<'_>) -> Result<Box<dyn Service>, Rejection> {
    let settings = materials.settings;
    let most = settings.int("tcpbanner.maxnum").clamp(1, MOST);
    let banners = (1..=most).filter_map(|number| Banner::of(settings, number)).map(Arc::new).collect();
    Ok(Box::new(TcpBannerService { banners }))
}
