//! A datagram to at most one answer and its events.

use aviary_event::LogData;
use aviary_service::{Facts, Outbox};

use super::Config;
use super::clock::{Stamp, quality};
use super::codec::{Answer, Control, First, Packet, Private, Tail, Time, packet};
use super::events::{CONTROL, MALFORMED, MONLIST, PRIVATE, TIME_PACKET};

/// Requests of mode 7 that draw a list of clients: `MON_GETLIST` and `MON_GETLIST_1`.
const MON_GETLIST: [u8; 2] = [20, 42];
/// The octet that OpenCanary looks at, and what it takes for a monlist: 42, an asterisk.
const OPENCANARY_MARK: (usize, u8) = (3, b'*');
/// Octets of a message's data that are kept in an event.
const KEPT: usize = 1024;
/// Log2 of the clock's resolution in seconds: 30 ns.
const PRECISION: i8 = -25;
const CLIENT_PORT: u16 = 123;

/// Answers a datagram, and reports it.
pub(super) fn datagram(config: &Config, facts: &Facts, bytes: &[u8], out: &mut Outbox) {
    let packet = packet(bytes);
    if is_monlist(&packet, bytes) {
        out.report(MONLIST, LogData::new().with("NTP CMD", "monlist"));
    }
    match packet {
        Packet::Time(time) => {
            let mode = answered_in(&time, facts.peer.port());
            if let Some(mode) = mode {
                out.reply(answer(config, facts, &time, mode, out).encode());
            }
            out.report(TIME_PACKET, time_data(&time, mode.is_some(), bytes.len()));
        }
        Packet::Control(control) => out.report(CONTROL, control_data(&control, bytes.len())),
        Packet::Private(private) => out.report(PRIVATE, private_data(&private, bytes.len())),
        Packet::Malformed(reason) => {
            out.report(MALFORMED, LogData::new().with("REASON", reason).with("DATA", kept(bytes)))
        }
    }
}

/// Whether OpenCanary's event is written: for the two requests of mode 7, and for whatever else has
/// OpenCanary's mark and is no packet about the time, whose fourth octet is the precision of a clock.
fn is_monlist(packet: &Packet<'_>, bytes: &[u8]) -> bool {
    let has_mark = bytes.get(OPENCANARY_MARK.0) == Some(&OPENCANARY_MARK.1);
    match packet {
        Packet::Private(private) => !private.is_response && MON_GETLIST.contains(&private.request),
        Packet::Time(time) => has_mark && !(1..=4).contains(&time.first.version),
        Packet::Control(_) | Packet::Malformed(_) => has_mark,
    }
}

/// The mode of chrony's answer, if it answers: 4 for a client, 2 for a symmetric peer that it does not
/// know. A client of version 1 has mode 0 and is told from a peer by its port.
fn answered_in(time: &Time<'_>, port: u16) -> Option<u8> {
    let First { version, mode, .. } = time.first;
    if !(1..=4).contains(&version) || !time.tail.is_answered(version) {
        return None;
    }
    match (version, mode) {
        (_, 3) => Some(4),
        (1, 0) if port != CLIENT_PORT => Some(4),
        (_, 1) => Some(2),
        _ => None,
    }
}

fn answer(config: &Config, facts: &Facts, time: &Time<'_>, mode: u8, out: &Outbox) -> Answer {
    let quality = quality(out.now(), config.secret.wait());
    let [delay, turn, a, b, c, d, ..] = facts.entropy;
    // The kernel stamped the packet a little before it was seen here, and the answer leaves a little later.
    let now = u64::try_from(out.now().as_micros()).unwrap_or(0);
    let received = now.saturating_sub(8 + u64::from(delay % 32));
    let sent = now.saturating_add(12 + u64::from(turn % 16));
    Answer {
        first: First { leap: 0, version: time.first.version, mode },
        stratum: config.stratum,
        poll: time.poll,
        precision: PRECISION,
        root_delay: quality.root_delay,
        root_dispersion: quality.root_dispersion,
        reference_id: config.reference_id,
        reference: quality.reference,
        origin: time.transmit,
        receive: Stamp::of_micros(received, u16::from_be_bytes([a, b])),
        transmit: Stamp::of_micros(sent, u16::from_be_bytes([c, d])),
    }
}

fn time_data(time: &Time<'_>, answered: bool, size: usize) -> LogData {
    let mut data = LogData::new()
        .with("ANSWERED", answered)
        .with("MODE", time.first.mode)
        .with("POLL", i64::from(time.poll.cast_signed()))
        .with("SIZE", size)
        .with("STRATUM", time.stratum)
        .with("TRANSMIT", format!("{:016x}", time.transmit.0))
        .with("VERSION", time.first.version);
    match &time.tail {
        Tail::Fields(types) => {
            data.insert("EXTENSIONS", types.iter().map(|kind| format!("{kind:#06x}")).collect::<Vec<_>>());
        }
        Tail::Mac { key, .. } => data.insert("KEY_ID", *key),
        Tail::None | Tail::Other => {}
    }
    data
}

fn control_data(control: &Control<'_>, size: usize) -> LogData {
    // RFC 9327, section 2.
    let operation = match control.operation {
        1 => "read status".to_owned(),
        2 => "read variables".to_owned(),
        3 => "write variables".to_owned(),
        4 => "read clock variables".to_owned(),
        5 => "write clock variables".to_owned(),
        6 => "set trap".to_owned(),
        7 => "asynchronous message".to_owned(),
        8 => "configure".to_owned(),
        9 => "save configuration".to_owned(),
        10 => "read MRU list".to_owned(),
        11 => "read ordered list".to_owned(),
        12 => "request nonce".to_owned(),
        31 => "unset trap".to_owned(),
        other => other.to_string(),
    };
    let data = LogData::new()
        .with("ASSOCIATION", control.association)
        .with("OPERATION", operation)
        .with("SIZE", size)
        .with("VERSION", control.version);
    marked(data, control.is_response, control.data)
}

fn private_data(private: &Private<'_>, size: usize) -> LogData {
    let implementation = match private.implementation {
        0 => "UNIV".to_owned(),
        2 => "XNTPD_OLD".to_owned(),
        3 => "XNTPD".to_owned(),
        other => other.to_string(),
    };
    let mut data = LogData::new()
        .with("IMPLEMENTATION", implementation)
        .with("REQUEST_CODE", private.request)
        .with("SIZE", size)
        .with("VERSION", private.version);
    // ntpd's ntp_request.h, as far as requests are seen in scans.
    let name = match private.request {
        0 => "PEER_LIST",
        1 => "PEER_LIST_SUM",
        2 => "PEER_INFO",
        3 => "PEER_STATS",
        4 => "SYS_INFO",
        5 => "SYS_STATS",
        6 => "IO_STATS",
        7 => "MEM_STATS",
        8 => "LOOP_INFO",
        16 => "GET_RESTRICT",
        20 => "MON_GETLIST",
        42 => "MON_GETLIST_1",
        44 => "IF_STATS",
        _ => "",
    };
    if !name.is_empty() {
        data.insert("REQUEST", name);
    }
    marked(data, private.is_response, private.data)
}

/// Says that a message is an answer that nobody asked for, and what it carries but zeros.
fn marked(mut data: LogData, is_response: bool, bytes: &[u8]) -> LogData {
    if is_response {
        data.insert("RESPONSE", true);
    }
    if bytes.iter().any(|byte| *byte != 0) {
        data.insert("DATA", kept(bytes));
    }
    data
}

fn kept(bytes: &[u8]) -> &[u8] {
    bytes.get(..KEPT).unwrap_or(bytes)
}
