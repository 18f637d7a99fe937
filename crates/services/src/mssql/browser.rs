//! SQL Browser ([MC-SQLR]): which instances there are, and their ports.
//!
//! [MC-SQLR]: https://learn.microsoft.com/openspecs/windows_protocols/mc-sqlr/

use aviary_event::LogData;
use aviary_service::Outbox;

use super::Config;
use super::events::BROWSER;

/// Longest name of an instance in a question ([MC-SQLR] 2.2.3).
const LONGEST: usize = 32;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request<'a> {
    /// All instances: of every machine of the network (broadcast), or of this one.
    All { broadcast: bool },
    /// One instance.
    One { name: &'a [u8] },
    /// The port of an instance's administrator connection.
    Administrator { name: &'a [u8] },
}

/// Reads a question: 2 or 3 alone; 4, a name and a NUL; or 15, 1, a name and a NUL.
fn parse(bytes: &[u8]) -> Option<Request<'_>> {
    match bytes {
        [2] => Some(Request::All { broadcast: true }),
        [3] => Some(Request::All { broadcast: false }),
        [4, rest @ ..] => name(rest).map(|name| Request::One { name }),
        [0x0f, 1, rest @ ..] => name(rest).map(|name| Request::Administrator { name }),
        _ => None,
    }
}

/// A name up to its NUL, which not every client sends.
fn name(bytes: &[u8]) -> Option<&[u8]> {
    let name = bytes.split(|byte| *byte == 0).next()?;
    (1..=LONGEST).contains(&name.len()).then_some(name)
}

/// Reports a question and answers it. What no server answers gets nothing, as does the administrator
/// port, which is open to the machine itself only.
pub(super) fn answer(config: &Config, bytes: &[u8], out: &mut Outbox) {
    let request = parse(bytes);
    let is_ours = |name: &[u8]| name.eq_ignore_ascii_case(config.instance.as_bytes());
    let (word, instance, answered) = match request {
        Some(Request::All { broadcast: true }) => ("instances of the network", None, true),
        Some(Request::All { broadcast: false }) => ("instances", None, true),
        Some(Request::One { name }) => ("instance", Some(name), is_ours(name)),
        Some(Request::Administrator { name }) => ("administrator port", Some(name), false),
        None => ("unknown", None, false),
    };
    let mut data = LogData::new().with("REQUEST", word);
    if let Some(instance) = instance {
        data.insert("INSTANCE", instance);
    }
    if request.is_none() {
        data.insert("DATA", bytes);
    }
    out.report(&BROWSER, data);
    if answered {
        out.reply(response(config));
    }
}

/// SVR_RESP: 5, length (2, little endian), text.
fn response(config: &Config) -> Vec<u8> {
    let text = format!(
        "ServerName;{};InstanceName;{};IsClustered;No;Version;{};tcp;{};;",
        config.machine, config.instance, config.version, config.port
    );
    let mut out = vec![5];
    out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_questions_and_nothing_else() {
        assert_eq!(parse(b"\x02"), Some(Request::All { broadcast: true }));
        assert_eq!(parse(b"\x03"), Some(Request::All { broadcast: false }));
        assert_eq!(parse(b"\x04SQLEXPRESS\0"), Some(Request::One { name: b"SQLEXPRESS" }));
        assert_eq!(parse(b"\x04SQLEXPRESS"), Some(Request::One { name: b"SQLEXPRESS" }));
        assert_eq!(parse(b"\x0f\x01A\0"), Some(Request::Administrator { name: b"A" }));
        for wrong in [&b""[..], b"\x04", b"\x04\0", b"\x0f\x02A\0", b"\x03\0", b"\x05x", &[4; 40]] {
            assert_eq!(parse(wrong), None, "{}", wrong.escape_ascii());
        }
    }
}
