//! What a SYN says of the system that sent it, in the notations of p0f and of JA4T.

use std::fmt::Write as _;

use crate::options::{END, Options, PADDING, SACK, SACK_PERMITTED, SEGMENT_SIZE, TIMESTAMPS, WINDOW_SCALE, timestamps};
use crate::packet::{Flags, Ip, Packet, Tcp};

/// TTLs that systems begin with: those that p0f guesses by.
const INITIAL: [u8; 4] = [32, 64, 128, 255];
/// Bytes of an IP and a TCP header without options.
const HEADERS_V4: u32 = 40;
const HEADERS_V6: u32 = 60;
/// The largest packet of Ethernet.
const ETHERNET: u32 = 1500;

/// The fingerprints of a SYN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// A signature of p0f 3, `ver:ittl:olen:mss:wsize,scale:olayout:quirks:pclass`, as its README describes.
    pub tcp: String,
    /// JA4T, `window_options_mss_scale`, as FoxIO describes it (<https://blog.foxio.io/ja4t-tcp-fingerprinting>).
    pub ja4t: String,
}

/// The TTL that a packet most likely began with.
#[must_use]
pub fn initial_ttl(ttl: u8) -> u8 {
    INITIAL.into_iter().find(|initial| ttl <= *initial).unwrap_or(u8::MAX)
}

/// Routers that a packet most likely came through.
#[must_use]
pub fn distance(ttl: u8) -> u8 {
    initial_ttl(ttl).saturating_sub(ttl)
}

/// What the options say.
#[derive(Debug, Default)]
struct Told {
    segment: u16,
    scale: u8,
    has_scale: bool,
    timestamps: Option<(u32, u32)>,
    layout: String,
    kinds: String,
    /// Something other than zero behind the end.
    has_rest: bool,
    is_broken: bool,
}

impl Fingerprint {
    /// Of a packet that begins a connection; `None` of any other.
    #[must_use]
    pub fn of(packet: &Packet<'_>) -> Option<Self> {
        let tcp = packet.tcp()?;
        if !tcp.flags.has(Flags::SYN) || tcp.flags.has(Flags::ACK | Flags::RST | Flags::FIN) {
            return None;
        }
        let told = told(tcp.options);
        let (version, options) = match packet.ip {
            Ip::V4 { options, .. } => (4, options),
            Ip::V6 { .. } => (6, 0),
        };
        let mut text = format!("{version}:{}:{options}:{}:", initial_ttl(packet.ip.ttl()), told.segment);
        match multiple(packet.ip, tcp, &told) {
            Some((unit, times)) => drop(write!(text, "{unit}*{times}")),
            None => drop(write!(text, "{}", tcp.window)),
        }
        let _ = write!(text, ",{}:{}:{}:", told.scale, told.layout, quirks(packet.ip, tcp, &told).join(","));
        text.push(if tcp.payload_length > 0 { '+' } else { '0' });
        Some(Self { tcp: text, ja4t: ja4t(tcp, &told) })
    }
}

fn told(bytes: &[u8]) -> Told {
    let mut told = Told::default();
    let mut options = Options::new(bytes);
    let mut is_over = false;
    while let Some(option) = options.next() {
        let between = if told.kinds.is_empty() { "" } else { "-" };
        let _ = write!(told.kinds, "{between}{}", option.kind);
        if is_over {
            // JA4T lists the bytes behind the end as options, p0f counts them.
            told.has_rest |= option.kind != END;
            continue;
        }
        if !told.layout.is_empty() {
            told.layout.push(',');
        }
        match option.kind {
            END => {
                is_over = true;
                let _ = write!(told.layout, "eol+{}", options.rest().len());
            }
            PADDING => told.layout.push_str("nop"),
            SEGMENT_SIZE => told.layout.push_str("mss"),
            WINDOW_SCALE => told.layout.push_str("ws"),
            SACK_PERMITTED => told.layout.push_str("sok"),
            SACK => told.layout.push_str("sack"),
            TIMESTAMPS => told.layout.push_str("ts"),
            other => drop(write!(told.layout, "?{other}")),
        }
        match (option.kind, option.data) {
            (SEGMENT_SIZE, [high, low]) => told.segment = u16::from_be_bytes([*high, *low]),
            (WINDOW_SCALE, [scale]) => (told.scale, told.has_scale) = (*scale, true),
            (SACK_PERMITTED, []) => {}
            (TIMESTAMPS, [_, _, _, _, _, _, _, _]) => told.timestamps = timestamps(option),
            (SEGMENT_SIZE | WINDOW_SCALE | SACK_PERMITTED | TIMESTAMPS, _) => told.is_broken = true,
            _ => {}
        }
    }
    told.is_broken |= options.broken && !is_over;
    told
}

/// What the window is a whole multiple of, tried in p0f's order: the segment size or the packet size, with what
/// systems subtract for timestamps and assume of Ethernet.
fn multiple(ip: Ip, tcp: &Tcp<'_>, told: &Told) -> Option<(&'static str, u32)> {
    const STAMPS: u32 = 12;
    let (window, segment) = (u32::from(tcp.window), u32::from(told.segment));
    if window == 0 || segment < 100 {
        return None;
    }
    let has_stamps = told.timestamps.is_some_and(|(mine, _)| mine != 0);
    let is_v6 = matches!(ip, Ip::V6 { .. });
    let actual = match ip {
        Ip::V4 { options, .. } => HEADERS_V4.saturating_add(options.into()),
        Ip::V6 { .. } => HEADERS_V6,
    };
    let actual = actual.saturating_add(u32::try_from(tcp.options.len()).unwrap_or(0));
    let ethernet = |headers: u32| ETHERNET.saturating_sub(headers);
    let units = [
        (true, "mss", segment),
        (has_stamps, "mss", segment.saturating_sub(STAMPS)),
        (true, "mss", ethernet(HEADERS_V4)),
        (true, "mss", ethernet(HEADERS_V4.saturating_add(STAMPS))),
        (is_v6, "mss", ethernet(HEADERS_V6)),
        (is_v6, "mss", ethernet(HEADERS_V6.saturating_add(STAMPS))),
        (true, "mtu", segment.saturating_add(HEADERS_V4)),
        (true, "mtu", segment.saturating_add(actual)),
        (is_v6, "mtu", segment.saturating_add(HEADERS_V6)),
        (true, "mtu", ETHERNET),
    ];
    units.into_iter().find_map(|(applies, name, size)| {
        let is_whole = applies && window.checked_rem(size) == Some(0);
        is_whole.then(|| (name, window.checked_div(size).unwrap_or(0)))
    })
}

fn quirks(ip: Ip, tcp: &Tcp<'_>, told: &Told) -> Vec<&'static str> {
    const RESERVED: u16 = 0x8000;
    const WHOLE: u16 = 0x4000;
    /// The largest shift of RFC 7323.
    const MOST_SCALE: u8 = 14;
    let (df, id, ecn, reserved, flow) = match ip {
        Ip::V4 { tos, id, fragment, .. } => {
            (fragment & WHOLE != 0, id, tos & 0x03 != 0, fragment & RESERVED != 0, false)
        }
        Ip::V6 { class, flow, .. } => (false, 1, class & 0x03 != 0, false, flow != 0),
    };
    let is_v4 = matches!(ip, Ip::V4 { .. });
    [
        (df, "df"),
        (df && id != 0, "id+"),
        (is_v4 && !df && id == 0, "id-"),
        (ecn || tcp.flags.has(Flags::ECE | Flags::CWR), "ecn"),
        (reserved || tcp.reserved != 0, "0+"),
        (flow, "flow"),
        (tcp.sequence == 0, "seq-"),
        (tcp.acknowledgement != 0, "ack+"),
        (tcp.urgent != 0 && !tcp.flags.has(Flags::URG), "uptr+"),
        (tcp.flags.has(Flags::URG), "urgf+"),
        (tcp.flags.has(Flags::PSH), "pushf+"),
        (told.timestamps.is_some_and(|(mine, _)| mine == 0), "ts1-"),
        (told.timestamps.is_some_and(|(_, theirs)| theirs != 0), "ts2+"),
        (told.has_rest, "opt+"),
        (told.scale > MOST_SCALE, "exws"),
        (told.is_broken, "bad"),
    ]
    .into_iter()
    .filter_map(|(has, name)| has.then_some(name))
    .collect()
}

/// Two zeros stand for what is not there.
fn ja4t(tcp: &Tcp<'_>, told: &Told) -> String {
    let or_none = |has: bool, value: String| if has { value } else { "00".to_owned() };
    format!(
        "{}_{}_{}_{}",
        tcp.window,
        or_none(!told.kinds.is_empty(), told.kinds.clone()),
        or_none(told.segment != 0, told.segment.to_string()),
        or_none(told.has_scale && told.scale != 0, told.scale.to_string()),
    )
}

#[cfg(test)]
mod tests;
