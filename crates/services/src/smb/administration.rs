//! Calls that a guest gets an answer to: shares, the server's and the workstation's facts, the time
//! ([MS-SRVS], [MS-WKST]). All others are denied.

use jiff::tz::TimeZone;

use super::codec::{Put as _, u32_at, wide};
use super::interfaces::{Interface, SRVSVC, WKSSVC};
use super::rpc;
use super::server::{Product, Server};

/// ERROR_ACCESS_DENIED, and the same as an NTSTATUS.
const ACCESS_DENIED: u32 = 5;
const STATUS_ACCESS_DENIED: u32 = 0xc000_0022;
/// ERROR_INVALID_LEVEL.
const INVALID_LEVEL: u32 = 124;

/// What calls are answered from.
pub(super) struct Machine<'a> {
    pub(super) server: &'a Server,
    /// The moment, in microseconds since 1970.
    pub(super) micros: i64,
    /// Number of the connection's association group.
    pub(super) group: u32,
}

/// What a call comes to.
#[derive(Debug)]
pub(super) enum Done {
    /// An answer.
    Answered(Vec<u8>),
    /// An answer that says no.
    Denied(Vec<u8>),
    Fault(u32),
}

/// A share as it is listed: name, type, remark.
type Share = (String, u32, String);

/// Answers a call.
pub(super) fn call(interface: &Interface, number: u16, arguments: &[u8], machine: &Machine<'_>) -> Done {
    let answer = match (interface.uuid, number) {
        (SRVSVC, 15 | 36) => share_enum(arguments, machine.server),
        (SRVSVC, 21) => server_info(arguments, machine.server),
        (SRVSVC, 28) => time_of_day(machine.micros),
        (WKSSVC, 0) => workstation_info(arguments, machine.server),
        _ if interface.opens.contains(&number) => {
            // An empty handle, and the reason in the interface's own terms.
            let mut out = vec![0; 20];
            let status = matches!(interface.name, "lsarpc" | "samr");
            out.put32(if status { STATUS_ACCESS_DENIED } else { ACCESS_DENIED });
            return Done::Denied(out);
        }
        // Numbers beyond what any version has.
        _ if number > 250 => return Done::Fault(rpc::NO_SUCH_CALL),
        _ => return Done::Fault(rpc::ACCESS_DENIED),
    };
    match answer {
        Some((stub, true)) => Done::Answered(stub),
        Some((stub, false)) => Done::Denied(stub),
        None => Done::Fault(rpc::BAD_ARGUMENTS),
    }
}

/// Behind a unique pointer to text: referent (4), then room, 0, length (4 each) and UTF-16.
fn after_text(arguments: &[u8]) -> Option<&[u8]> {
    if u32_at(arguments, 0)? == 0 {
        return arguments.get(4..);
    }
    let length = usize::try_from(u32_at(arguments, 12)?).ok()?;
    let end = length.checked_mul(2)?.checked_add(16)?.checked_next_multiple_of(4)?;
    arguments.get(end..)
}

/// Text with its counts, zero at its end.
fn put_text(out: &mut Vec<u8>, text: &str) {
    let mut text = wide(text);
    text.extend_from_slice(&[0, 0]);
    let count = text.len() / 2;
    out.put_len(count);
    out.put32(0);
    out.put_len(count);
    out.extend_from_slice(&text);
    out.align(4);
}

/// Pointers are numbered as Windows does: 0x00020000 and on in steps of four.
struct Pointers(u32);

impl Pointers {
    const fn next(&mut self) -> u32 {
        let referent = self.0;
        self.0 = self.0.saturating_add(4);
        referent
    }
}

fn shares(server: &Server) -> Vec<Share> {
    let decoy = (server.share.clone(), 0, server.comment.clone());
    match &server.product {
        Product::Windows { .. } => {
            let special = |name: &str, kind: u32, remark: &str| (name.to_owned(), kind, remark.to_owned());
            let mut all = vec![
                special("ADMIN$", 0x8000_0000, "Remote Admin"),
                special("C$", 0x8000_0000, "Default share"),
                special("IPC$", 0x8000_0003, "Remote IPC"),
                decoy,
            ];
            all.sort_by_key(|(name, ..)| name.to_uppercase());
            all
        }
        Product::Samba { version } => {
            let host = server.target.netbios_computer.to_lowercase();
            let remark = format!("IPC Service ({host} server (Samba {version}))");
            vec![decoy, ("IPC$".to_owned(), 0x8000_0003, remark)]
        }
    }
}

/// NetrShareEnum: server, then level and the container of that level. The answer repeats the level
/// and gives entries, their number, a resume handle and a status.
fn share_enum(arguments: &[u8], server: &Server) -> Option<(Vec<u8>, bool)> {
    let rest = after_text(arguments)?;
    let level = u32_at(rest, 0)?;
    let mut out = Vec::new();
    let mut pointers = Pointers(0x0002_0000);
    out.put32(level);
    out.put32(level);
    let denied = match level {
        0 | 1 => None,
        2 | 501..=503 => Some(ACCESS_DENIED),
        _ => Some(INVALID_LEVEL),
    };
    out.put32(pointers.next());
    if let Some(status) = denied {
        for value in [0, 0, 0, 0, status] {
            out.put32(value);
        }
        return Some((out, false));
    }
    let shares = shares(server);
    out.put_len(shares.len());
    out.put32(pointers.next());
    out.put_len(shares.len());
    for (_, kind, _) in &shares {
        out.put32(pointers.next());
        if level == 1 {
            out.put32(*kind);
            out.put32(pointers.next());
        }
    }
    for (name, _, remark) in &shares {
        put_text(&mut out, name);
        if level == 1 {
            put_text(&mut out, remark);
        }
    }
    out.put_len(shares.len());
    // The resume handle, which is at its beginning: nothing is left.
    out.put32(pointers.next());
    out.put32(0);
    out.put32(0);
    Some((out, true))
}

/// NetrServerGetInfo at levels 100 and 101: platform, name; version, type, comment.
fn server_info(arguments: &[u8], server: &Server) -> Option<(Vec<u8>, bool)> {
    let level = u32_at(after_text(arguments)?, 0)?;
    info(level, &server.target.netbios_computer, |out, pointers| {
        if level != 101 {
            return Vec::new();
        }
        let (major, minor) = server.product.version();
        out.put32(major);
        out.put32(minor);
        // Workstation, server, NT, NT server.
        out.put32(0x0000_9003);
        out.put32(pointers.next());
        match &server.product {
            Product::Windows { .. } => vec![String::new()],
            Product::Samba { version } => {
                vec![format!("{} server (Samba {version})", server.target.netbios_computer.to_lowercase())]
            }
        }
    })
}

/// NetrWkstaGetInfo at level 100: platform, name, group, version.
fn workstation_info(arguments: &[u8], server: &Server) -> Option<(Vec<u8>, bool)> {
    let level = u32_at(after_text(arguments)?, 0)?;
    let level = if level == 101 || level == 102 { 102 } else { level };
    info(level, &server.target.netbios_computer, |out, pointers| {
        let (major, minor) = server.product.version();
        out.put32(pointers.next());
        out.put32(major);
        out.put32(minor);
        vec![server.group.clone()]
    })
}

/// A structure of a level that begins with platform and name; `more` adds fields and gives their texts.
fn info(
    level: u32,
    name: &str,
    more: impl FnOnce(&mut Vec<u8>, &mut Pointers) -> Vec<String>,
) -> Option<(Vec<u8>, bool)> {
    let mut out = Vec::new();
    out.put32(level);
    let allowed = level == 100 || level == 101;
    if !allowed {
        out.put32(0);
        out.put32(if matches!(level, 102 | 103 | 502 | 503) { ACCESS_DENIED } else { INVALID_LEVEL });
        return Some((out, false));
    }
    let mut pointers = Pointers(0x0002_0000);
    out.put32(pointers.next());
    out.put32(500);
    out.put32(pointers.next());
    let texts = more(&mut out, &mut pointers);
    put_text(&mut out, name);
    for text in texts {
        put_text(&mut out, &text);
    }
    out.put32(0);
    Some((out, true))
}

/// NetrRemoteTOD: seconds since 1970, milliseconds, hours, minutes, seconds, hundredths, zone, tick
/// in 0.1 ms, day, month, year, weekday.
fn time_of_day(micros: i64) -> Option<(Vec<u8>, bool)> {
    let moment = jiff::Timestamp::from_microsecond(micros).ok()?.to_zoned(TimeZone::UTC);
    let number = |value: i64| u32::try_from(value).unwrap_or(0);
    let hundredths = moment.subsec_nanosecond().checked_div(10_000_000).unwrap_or(0);
    let mut out = Vec::new();
    out.put32(0x0002_0000);
    for value in [
        moment.timestamp().as_second(),
        micros.checked_div(1000).and_then(|millis| millis.checked_rem_euclid(0x8000_0000)).unwrap_or(0),
        i64::from(moment.hour()),
        i64::from(moment.minute()),
        i64::from(moment.second()),
        i64::from(hundredths),
        0,
        310,
        i64::from(moment.day()),
        i64::from(moment.month()),
        i64::from(moment.year()),
        i64::from(moment.weekday().to_sunday_zero_offset()),
    ] {
        out.put32(number(value));
    }
    out.put32(0);
    Some((out, true))
}
