//! Conversations with the Git daemon, as captured from the real one.

use aviary_event::Value;
use aviary_testkit::{Line, Transcript, build, exchange, facts};
use proptest::prelude::*;

use super::ENTRY;

fn talk(chunks: &[&[u8]]) -> Transcript {
    exchange(&mut *build(&ENTRY, &[]).dialogue(0, &facts(9418)), chunks)
}

/// How the service ended the connection: `-` not at all.
fn end(transcript: &Transcript) -> &'static str {
    match transcript.lines.iter().find(|line| matches!(line, Line::Close { .. })) {
        Some(Line::Close { reset: true }) => "RST",
        Some(_) => "FIN",
        None => "-",
    }
}

fn text<'a>(transcript: &'a Transcript, number: i64, key: &str) -> &'a [u8] {
    let [data] = transcript.events_of(number)[..] else { panic!("{transcript}") };
    data.get(key).and_then(Value::as_bytes).unwrap_or_else(|| panic!("{transcript}"))
}

/// Probe, reply and end, one a line, escaped as Rust escapes bytes; captured from `git daemon`
/// 2.47.3 with an empty base path.
const GOLDEN: &str = include_str!("fixtures/daemon-2.47.3.txt");

#[test]
fn answers_as_the_daemon_does() {
    let mut probes = 0;
    for line in GOLDEN.lines().filter(|line| !line.starts_with('#')) {
        let [probe, reply, close] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let got = talk(&[&unescape(probe)]);
        assert_eq!((got.replies().escape_ascii().to_string().as_str(), end(&got)), (reply, close), "{probe}");
        probes += 1;
    }
    assert!(probes > 40, "{probes}");
}

/// The bytes of `a\x00\r\n`.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let code = match c {
            '\\' => match rest.next() {
                Some('x') => u8::from_str_radix(&rest.by_ref().take(2).collect::<String>(), 16).unwrap(),
                Some('r') => b'\r',
                Some('n') => b'\n',
                other => panic!("{other:?}"),
            },
            c => u8::try_from(c).unwrap(),
        };
        bytes.push(code);
    }
    bytes
}

#[test]
fn reports_a_clone_with_clean_host_and_path() {
    let got = talk(&[b"0033git-upload-pack /project.git\0host=h\0\0version=2\0"]);
    assert_eq!(text(&got, 16001, "HOST"), b"h");
    assert_eq!(text(&got, 16001, "REPO"), b"project.git");
    assert_eq!(text(&got, 30600, "SERVICE"), b"git-upload-pack");
    assert_eq!(text(&got, 30600, "PATH"), b"/project.git");
    assert_eq!(text(&got, 30600, "VERSION"), b"2");
}

#[test]
fn reports_a_push_and_keeps_bytes_that_are_no_text() {
    let got = talk(&[b"001dgit-receive-pack /\xff\xfe\0a", b"rest"]);
    assert!(got.events_of(16001).is_empty());
    assert_eq!(text(&got, 30601, "ERROR"), b"invalid request");
    let got = talk(&[b"0020git-receive-pack /\xff\xfe\0host=x\0"]);
    assert_eq!(text(&got, 30600, "PATH"), b"/\xff\xfe");
    assert_eq!(text(&got, 30600, "VERSION"), b"0");
}

#[test]
fn reports_what_is_no_request() {
    for (probe, error) in [
        (b"GET / HTTP/1.0\r\n\r\n".as_slice(), "bad line length"),
        (b"0012foo /x\0host=x\0", "unknown service"),
        (b"0000", "unknown service"),
        (b"0033git-upload-pack", "unfinished packet"),
    ] {
        let got = talk(&[probe]);
        assert_eq!(text(&got, 30601, "ERROR"), error.as_bytes());
        assert_eq!(text(&got, 30601, "DATA"), probe);
    }
    let got = talk(&[b"0028git-upload-pack /project.git\0host=h\0more"]);
    assert_eq!(text(&got, 30601, "DATA"), b"more");
}

#[test]
fn waits_for_the_whole_packet() {
    let probe = b"0028git-upload-pack /project.git\0host=h\0";
    let bytes: Vec<&[u8]> = probe.chunks(1).collect();
    assert_eq!(talk(&bytes).replies(), talk(&[probe]).replies());
    assert_eq!(talk(&bytes).events(), talk(&[probe]).events());
}

proptest! {
    #[test]
    fn garbage_ends_and_is_reported(garbage in prop::collection::vec(any::<u8>(), 1..200), header in any::<bool>()) {
        let mut probe = if header { format!("{:04x}", garbage.len() + 4).into_bytes() } else { Vec::new() };
        probe.extend_from_slice(&garbage);
        prop_assert!(!talk(&[&probe]).events().is_empty());
    }
}
