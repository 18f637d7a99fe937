//! The service against chrony's answers, and what it reports.

use aviary_event::Value;
use aviary_service::{Facts, Service};
use aviary_testkit::{Datagrams, Transcript, build, exchange, facts};

use super::ENTRY;

const CHRONY: &str = include_str!("fixtures/chrony-4.3.txt");
const TRANSMIT: [u8; 8] = *b"\x11\"3DUfw\x88";

fn send(service: &dyn Service, datagrams: &[&[u8]]) -> Transcript {
    exchange(&mut Datagrams::new(service, 0, facts(123)), datagrams)
}

fn transcript(datagrams: &[&[u8]]) -> Transcript {
    send(&*build(&ENTRY, &[]), datagrams)
}

fn query(first: u8) -> Vec<u8> {
    let mut bytes = vec![0; 40];
    bytes[0] = first;
    bytes.extend(TRANSMIT);
    bytes
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}

#[test]
fn chrony_is_played_byte_for_byte() {
    let service = build(&ENTRY, &[("ntp.stratum", "3"), ("ntp.refid", "\"127.127.1.1\"")]);
    let lines: Vec<&str> = CHRONY.lines().filter(|line| !line.starts_with("# ")).collect();
    let mut compared = 0;
    for case in lines.chunks(3) {
        let [name, request, answer] = case else { panic!("{case:?}") };
        let bytes = |line: &str| unhex(line.get(2..).unwrap_or_default());
        let (request, golden) = (bytes(request), bytes(answer));
        let ours = send(&*service, &[&request]).replies();
        assert_eq!(ours.len(), golden.len(), "{name}");
        assert!(ours.len() <= request.len(), "{name}: amplifies");
        if golden.is_empty() {
            continue;
        }
        // All but the precision of the clock, its distances and the moments.
        for part in [0..3, 12..16, 24..32] {
            assert_eq!(ours[part.clone()], golden[part.clone()], "{name}: {part:?}");
        }
        compared += 1;
    }
    assert_eq!(compared, 16);
}

#[test]
fn the_time_is_true_and_moves_on() {
    let answer = transcript(&[&query(0x23)]).replies();
    let stamp = |at: usize| u64::from_be_bytes(answer[at..at + 8].try_into().unwrap());
    let now = (u64::try_from(aviary_testkit::NOW / 1_000_000).unwrap() + 2_208_988_800) << 32;
    let millisecond = 1_u64 << 22;
    assert!(stamp(32) < now && now - stamp(32) < millisecond, "received before it was seen");
    assert!(stamp(40) > now && stamp(40) - now < millisecond, "sent after");
    assert!(stamp(16) <= stamp(32) && stamp(32) - stamp(16) <= 1024 << 32, "set within 1024 seconds");
    assert_eq!(answer[24..32], TRANSMIT, "the client's own time comes back");
    assert_eq!((answer[0], answer[1], answer[12..16].to_vec()), (0x24, 2, vec![216, 239, 35, 0]));
}

#[test]
fn a_query_is_reported() {
    let mut bytes = query(0xdb);
    bytes[1..4].copy_from_slice(&[0, 10, 0xfa]);
    insta::assert_snapshot!(events(&[&bytes]), @r#"
    ! 31600 ANSWERED=Bool(true) MODE=Int(3) POLL=Int(10) SIZE=Int(48) STRATUM=Int(0) TRANSMIT=Text("1122334455667788") VERSION=Int(3)
    "#);
    let mut field = query(0x23);
    field.extend([0xfa, 0xfa, 0, 28]);
    field.extend([0x55; 24]);
    insta::assert_snapshot!(events(&[&field]), @r#"
    ! 31600 ANSWERED=Bool(true) EXTENSIONS=List([Text("0xfafa")]) MODE=Int(3) POLL=Int(0) SIZE=Int(76) STRATUM=Int(0) TRANSMIT=Text("1122334455667788") VERSION=Int(4)
    "#);
    let mut signed = query(0x23);
    signed.extend([0, 0, 0, 7]);
    signed.extend([0xab; 16]);
    insta::assert_snapshot!(events(&[&signed]), @r#"
    ! 31600 ANSWERED=Bool(false) KEY_ID=Int(7) MODE=Int(3) POLL=Int(0) SIZE=Int(68) STRATUM=Int(0) TRANSMIT=Text("1122334455667788") VERSION=Int(4)
    "#);
}

#[test]
fn what_scanners_for_amplifiers_send_is_reported_and_not_answered() {
    let monlist = b"\x17\0\x03\x2a\0\0\0\0";
    let all = [&monlist[..], b"\x17\0\x02\x14\0\0\0\0", b"\x17\0\x03\x04\0\0\0\0", b"\x16\x02\0\x01\0\0\0\0\0\0\0\0"];
    let t = transcript(&all);
    assert_eq!(t.replies(), b"");
    insta::assert_snapshot!(events(&all), @r#"
    ! 11001 NTP CMD=Text("monlist")
    ! 31602 IMPLEMENTATION=Text("XNTPD") REQUEST=Text("MON_GETLIST_1") REQUEST_CODE=Int(42) SIZE=Int(8) VERSION=Int(2)
    ! 11001 NTP CMD=Text("monlist")
    ! 31602 IMPLEMENTATION=Text("XNTPD_OLD") REQUEST=Text("MON_GETLIST") REQUEST_CODE=Int(20) SIZE=Int(8) VERSION=Int(2)
    ! 31602 IMPLEMENTATION=Text("XNTPD") REQUEST=Text("SYS_INFO") REQUEST_CODE=Int(4) SIZE=Int(8) VERSION=Int(2)
    ! 31601 ASSOCIATION=Int(0) OPERATION=Text("read variables") SIZE=Int(12) VERSION=Int(2)
    "#);
}

#[test]
fn monlists_are_told_from_times() {
    let count = |bytes: &[u8]| transcript(&[bytes]).events_of(11001).len();
    assert_eq!(count(b"\x17\0\x03\x2a"), 1, "MON_GETLIST_1");
    assert_eq!(count(b"\x1f\0\x02\x14\0\0\0\0"), 1, "MON_GETLIST, which OpenCanary does not know");
    assert_eq!(count(b"AAA*"), 1, "OpenCanary looks at one octet");
    assert_eq!(count(b"\xc2\x97\0*"), 1, "and fails at this one");
    assert_eq!(count(b""), 0, "OpenCanary takes nothing for a monlist");
    assert_eq!(count(b"\x97\0\x03\x2a\0\0\0\0"), 0, "an answer asks for nothing");
    let mut precise = query(0x23);
    precise[3] = b'*';
    assert_eq!(count(&precise), 0, "the precision of a client's clock");
}

#[test]
fn what_is_no_message_is_reported() {
    insta::assert_snapshot!(events(&[b"x", b"\x16\x02", b"\x23\0\0\0 and no time"]), @r##"
    ! 31603 DATA=Bytes(b"x") REASON=Text("shorter than any NTP message")
    ! 31603 DATA=Bytes(b"\x16\x02") REASON=Text("shorter than any NTP message")
    ! 31603 DATA=Bytes(b"#\x00\x00\x00 and no time") REASON=Text("a time packet shorter than its header")
    "##);
    let mut out = aviary_service::Outbox::for_datagrams(aviary_event::Timestamp::from_micros(0));
    let facts = Facts { transport: aviary_service::Transport::Datagrams, ..facts(123) };
    build(&ENTRY, &[]).datagram(0, &facts, b"", &mut out);
    let steps = format!("{:?}", out.into_steps());
    assert!(steps.contains("31603") && steps.contains("an empty datagram"), "{steps}");
}

#[test]
fn reference_identifiers_are_addresses_or_letters() {
    for (text, octets) in [("192.0.2.9", [192, 0, 2, 9]), ("GPS", *b"GPS\0"), ("DCFa", *b"DCFa")] {
        let given = [("ntp.refid", format!("\"{text}\""))];
        let given: Vec<(&str, &str)> = given.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let answer = send(&*build(&ENTRY, &given), &[&query(0x23)]).replies();
        assert_eq!(answer[12..16], octets);
    }
    for bad in ["", "GPS12", "G S", "\u{e9}"] {
        let settings = aviary_testkit::settings(ENTRY.keys, &[("ntp.refid", &format!("\"{bad}\""))]);
        let vault = aviary_service::MemoryVault::default();
        let built =
            (ENTRY.build)(&aviary_service::Materials { settings: &settings, vault: &vault, host_name: "srv01" });
        assert!(built.is_err_and(|error| error.to_string().contains("ntp.refid")), "{bad:?}");
    }
}

#[test]
fn data_in_events_is_bounded() {
    let mut long = b"\x16\x02\0\x01\0\0\0\0\0\0\0\0".to_vec();
    long.extend(vec![b'x'; 60_000]);
    let t = transcript(&[&long]);
    let data = t.events_of(31601)[0].get("DATA").and_then(Value::as_bytes).map(<[u8]>::len);
    assert_eq!(data, Some(1024));
}

fn events(datagrams: &[&[u8]]) -> String {
    let lines = transcript(datagrams).to_string();
    lines.lines().filter(|line| line.starts_with('!')).map(|line| format!("{line}\n")).collect()
}
