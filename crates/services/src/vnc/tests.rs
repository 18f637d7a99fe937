//! The conversations, against what the real servers said.

use aviary_event::Timestamp;
use aviary_service::{Dialogue, Outbox};
use aviary_testkit::{NOW, Talk, Transcript, build, exchange, facts, unescape};
use cipher::{BlockCipherEncrypt as _, KeyInit as _};
use proptest::prelude::*;

use super::ENTRY;

const ALL_TYPES: &str = "\"X509Plain,X509Vnc,Plain,VncAuth\"";
const V8: &[u8] = b"RFB 003.008\n";

fn dialogue(given: &[(&str, &str)]) -> Box<dyn Dialogue> {
    build(&ENTRY, given).dialogue(0, &facts(5900))
}

fn talk(given: &[(&str, &str)], chunks: &[&[u8]]) -> Transcript {
    exchange(&mut *dialogue(given), chunks)
}

fn text(data: &aviary_event::LogData, key: &str) -> String {
    data.get(key).unwrap_or_else(|| panic!("no {key} in {data:?}")).as_str().unwrap().to_owned()
}

/// A client's response to a challenge.
fn answer(challenge: &[u8], password: &[u8]) -> Vec<u8> {
    let mut key = [0; 8];
    key.iter_mut().zip(password).for_each(|(to, from)| *to = from.reverse_bits());
    let des = des::Des::new(&key.into());
    let blocks = challenge.as_chunks::<8>().0.iter();
    blocks
        .flat_map(|block| {
            let mut block = cipher::Array::from(*block);
            des.encrypt_block(&mut block);
            <[u8; 8]>::from(block)
        })
        .collect()
}

#[test]
fn answers_as_tigervnc_step_by_step() {
    let fixture = include_str!("fixtures/tigervnc-1.12.txt");
    let challenge = dialogue_challenge();
    for section in fixture.split("## ").skip(1) {
        let (name, steps) = section.split_once('\n').unwrap();
        let types = format!("\"{}\"", name.split_once(':').unwrap().0);
        let mut dialogue = dialogue(&[("vnc.security_types", &types)]);
        let mut talk = Talk::open(&mut *dialogue);
        let mut reply = talk.transcript().replies();
        for step in steps.lines() {
            match step.split_at_checked(2).unwrap_or((step, "")) {
                ("> ", sent) => {
                    assert_eq!(reply, b"", "{name}");
                    reply = talk.send(&unescape(sent));
                    // The test kit's TLS stands at once, and the challenge comes inside it.
                    if sent == "\\x00\\x00\\x01\\x05" {
                        reply.truncate(1);
                    }
                }
                ("  ", end) => assert_eq!(talk.transcript().closed(), end == "FIN", "{name}"),
                (_, expected) => {
                    let mut bytes = unescape(expected.trim_end_matches("{challenge}"));
                    if expected.ends_with("{challenge}") {
                        bytes.extend(&challenge);
                    }
                    assert_eq!(reply.escape_ascii().to_string(), bytes.escape_ascii().to_string(), "{name}");
                    reply.clear();
                }
            }
        }
        assert_eq!(reply, b"", "{name}");
    }
}

fn dialogue_challenge() -> Vec<u8> {
    let mut dialogue = dialogue(&[]);
    let mut talk = Talk::open(&mut *dialogue);
    talk.send(V8);
    talk.send(b"\x02")
}

#[test]
fn a_login_by_vnc_authentication() {
    let t = talk(&[], &[V8, b"\x02", b"AAAAAAAAAAAAAAAA"]);
    insta::assert_snapshot!(t);
}

#[test]
fn a_login_in_one_segment_of_a_client_of_3_3() {
    let t = talk(&[], &[b"RFB 003.003\nAAAAAAAAAAAAAAAAmore"]);
    assert!(t.replies().ends_with(b"\0\0\0\x01"), "{t}");
    assert_eq!(t.events_of(12001).len(), 1);
    assert_eq!(t.events().len(), 2);
}

#[test]
fn names_the_common_password_that_made_a_response() {
    for (password, named) in [(&b"password"[..], "password"), (b"root", "root"), (b"", ""), (b"admin123", "admin123")] {
        let mut dialogue = dialogue(&[]);
        let mut talk = Talk::open(&mut *dialogue);
        talk.send(V8);
        let challenge = talk.send(b"\x02");
        talk.send(&answer(&challenge, password));
        let t = talk.end();
        assert_eq!(text(t.events_of(12001)[0], "VNC Password"), named);
        assert_eq!(text(t.events_of(31201)[0], "PASSWORD"), named);
    }
}

#[test]
fn names_the_planted_password_that_made_a_response() {
    let mut dialogue = dialogue(&[("vnc.honeycreds", r#"[{"password": "letmein1-Zebra"}]"#)]);
    let mut talk = Talk::open(&mut *dialogue);
    talk.send(V8);
    let challenge = talk.send(b"\x02");
    talk.send(&answer(&challenge, b"letmein1-Zebra"));
    let t = talk.end();
    // Not the common `letmein1`, which nobody can tell from it.
    assert_eq!(text(t.events_of(31201)[0], "PASSWORD"), "letmein1-Zebra");
}

#[test]
fn vencrypt_gives_user_and_password_in_clear() {
    let plain = [V8, b"\x13", b"\0\x02", b"\0\0\x01\0", b"\0\0\0\x04\0\0\0\x03us\xff\0pwd"];
    let t = talk(&[("vnc.security_types", ALL_TYPES)], &plain);
    insta::assert_snapshot!(t);
    let over_tls = [V8, b"\x13", b"\0\x02", b"\0\0\x01\x06", b"\0\0\0\x04\0\0\0\x03userpwd"];
    let t = talk(&[("vnc.security_types", ALL_TYPES)], &over_tls);
    let login = t.events_of(31201)[0];
    assert_eq!((text(login, "USERNAME"), text(login, "PASSWORD")), ("user".into(), "pwd".into()));
    assert_eq!(text(login, "SECURITY_TYPE"), "X509Plain");
    let challenge = [V8, b"\x13", b"\0\x02", b"\0\0\x01\x05", b"AAAAAAAAAAAAAAAA"];
    let t = talk(&[("vnc.security_types", ALL_TYPES)], &challenge);
    assert_eq!(text(t.events_of(31201)[0], "SECURITY_TYPE"), "X509Vnc");
    assert_eq!(t.events_of(12001).len(), 1);
}

#[test]
fn tightvnc_offers_its_own_type_around_the_same_challenge() {
    let given = [("vnc.server", "\"tightvnc\"")];
    insta::assert_snapshot!(talk(&given, &[V8, b"\x10", b"\0\0\0\x02", b"AAAAAAAAAAAAAAAA"]));
    let t = talk(&given, &[V8, b"\x10", b"\0\0\0\x01"]);
    assert_eq!(text(t.events_of(31203)[0], "REASON"), "authentication that was not offered");
    assert!(t.closed());
}

#[test]
fn macos_gives_user_and_password_of_apples_type() {
    let mut dialogue = dialogue(&[("vnc.server", "\"macos\"")]);
    let mut talk = Talk::open(&mut *dialogue);
    assert_eq!(talk.transcript().replies(), b"RFB 003.889\n");
    assert_eq!(talk.send(b"RFB 003.889\n"), b"\x03\x1e\x02\x23");
    let offer = talk.send(b"\x1e");
    assert_eq!((offer.len(), &offer[..4]), (260, &b"\0\x02\0\x80"[..]));
    let refusal = talk.send(&[0x11; 256]);
    assert_eq!(refusal, b"\0\0\0\x01\0\0\0\x15Authentication failed");
    let t = talk.end();
    let login = t.events_of(31201)[0];
    assert_eq!(text(login, "SECURITY_TYPE"), "ARD");
    assert!(login.get("USERNAME").is_some() && login.get("PASSWORD").is_some());
}

#[test]
fn realvnc_speaks_5_0() {
    let given = [("vnc.server", "\"realvnc\"")];
    let t = talk(&given, &[b"RFB 005.000\n"]);
    assert!(t.replies().ends_with(b"RFB 005.000\n\x01\x02"), "{t}");
    let t = talk(&given, &[b"RFB 006.000\n"]);
    assert!(t.replies().ends_with(b"Client needs protocol version 6.0, server has 5.0"), "{t}");
}

#[test]
fn says_how_far_a_connection_came() {
    for (sent, number, reason) in [
        (&[][..], 31200, "left before its version"),
        (&[&b"RFB 0"[..]][..], 31203, "left inside its version"),
        (&[V8], 31200, "left before it chose a security type"),
        (&[V8, b"\x02"], 31200, "left before its response"),
        (&[V8, b"\x02", b"abc"], 31203, "left inside its response"),
        (&[V8, b"\x01"], 31203, "security type that was not offered"),
        (&[b"GET / HTTP/1.0\r\n\r\n"], 31203, "no RFB version"),
        (&[b"RFB 004.000\n"], 31203, "version"),
        (&[V8, b"\x13\0\x02\0\0"], 31203, "left inside its choice of a security type"),
        (&[V8, b"\x13\0\x02\0\0\x01\x06"], 31200, "left before its login"),
    ] {
        let t = talk(&[("vnc.security_types", ALL_TYPES)], sent);
        let events = t.events();
        assert_eq!(events.len(), 1, "{reason}: {t}");
        assert_eq!((events[0].0, text(events[0].1, "REASON")), (number, reason.to_owned()), "{t}");
    }
    let t = talk(&[("vnc.security_types", "\"X509Plain\"")], &[b"RFB 003.003\n"]);
    assert!(t.replies().ends_with(b"\0\0\0\0\0\0\0\x26No supported security type for 3.3 client"[8..].as_ref()), "{t}");
    assert_eq!(t.events().len(), 1);
}

#[test]
fn silence_loses_nothing_that_came_before_it() {
    let mut dialogue = dialogue(&[]);
    let mut out = Outbox::new(Timestamp::from_micros(NOW));
    dialogue.open(&mut out);
    assert_eq!(dialogue.feed(b"RFB\xff", &mut out), 0);
    dialogue.expired(b"RFB\xff", &mut out);
    let steps = format!("{:?}", out.into_steps());
    assert!(steps.contains("31203") && steps.contains("RFB\\xff"), "{steps}");
}

#[test]
fn the_sixth_connection_is_refused_as_tigervnc_does() {
    let service = build(&ENTRY, &[]);
    for _ in 0..5 {
        let t = exchange(&mut *service.dialogue(0, &facts(5900)), &[V8]);
        assert!(t.replies().starts_with(V8));
    }
    let t = exchange(&mut *service.dialogue(0, &facts(5900)), &[V8]);
    assert_eq!(t.replies(), b"RFB 003.003\n\0\0\0\0\0\0\0\x1aToo many security failures");
    assert_eq!(t.events_of(31202).len(), 1);
    assert_eq!(t.events_of(31202)[0].get("SECONDS"), Some(&aviary_event::Value::Int(10)));
    assert!(t.closed());
    let open = build(&ENTRY, &[("vnc.blacklist", "0")]);
    assert!((0..9).all(|_| exchange(&mut *open.dialogue(0, &facts(5900)), &[]).events_of(31202).is_empty()));
}

#[test]
fn no_challenge_is_sent_twice() {
    let service = build(&ENTRY, &[("vnc.blacklist", "0")]);
    let challenge = |entropy: u8| {
        let facts = aviary_service::Facts { entropy: [entropy; 32], ..facts(5900) };
        exchange(&mut *service.dialogue(0, &facts), &[V8, b"\x02"]).replies()
    };
    assert_ne!(challenge(1), challenge(2));
    assert_eq!(challenge(1), challenge(1));
}

#[test]
fn settings_that_name_no_type_are_refused() {
    let refusal = |key: &str, value: &str| {
        let settings = aviary_testkit::settings(ENTRY.keys, &[(key, value)]);
        let vault = aviary_service::MemoryVault::default();
        let materials = aviary_service::Materials { settings: &settings, vault: &vault, host_name: "srv01" };
        (ENTRY.build)(&materials).err().map(|rejection| rejection.to_string()).unwrap_or_default()
    };
    assert!(refusal("vnc.security_types", "\"TLSVnc\"").contains("there is no `TLSVnc`; accepted are X509Plain"));
    assert!(refusal("vnc.security_types", "\" , \"").contains("names none"));
    assert!(refusal("vnc.wordlist", "\"/nonexistent/words\"").contains("cannot be read"));
}

/// Replies and events without the marks of chunks.
fn gist(t: &Transcript) -> (Vec<u8>, bool, Vec<i64>) {
    (t.replies(), t.closed(), t.events().iter().map(|(number, _)| *number).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn chunk_size_changes_nothing(server in 0..4_usize, parts in prop::collection::vec(part(), 0..8)) {
        let server = format!("\"{}\"", super::persona::NAMES[server]);
        let given = [("vnc.server", server.as_str()), ("vnc.security_types", ALL_TYPES)];
        let bytes = parts.concat();
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(gist(&talk(&given, &[&bytes])), gist(&talk(&given, &single)));
    }
}

fn part() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0..10_u8).prop_map(|minor| format!("RFB 003.00{minor}\n").into_bytes()),
        4 => prop::sample::select(vec![2_u8, 16, 19, 30, 35, 1]).prop_map(|byte| vec![byte]),
        2 => Just(b"\0\x02".to_vec()),
        2 => (255..264_u32).prop_map(|subtype| subtype.to_be_bytes().to_vec()),
        1 => Just(b"\0\0\0\x02\0\0\0\x01abc".to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..300),
    ]
}
