//! The conversations, against what the real servers said.

use aviary_event::Value;
use aviary_service::{Dialogue, Outbox};
use aviary_testkit::{Talk, Transcript, build, exchange, facts, unescape};
use proptest::prelude::*;

use super::{ENTRY, persona};

fn dialogue(given: &[(&str, &str)]) -> Box<dyn Dialogue> {
    build(&ENTRY, given).dialogue(0, &facts(23))
}

fn talk(persona: &str, chunks: &[&[u8]]) -> Transcript {
    exchange(&mut *dialogue(&[("telnet.persona", &format!("\"{persona}\""))]), chunks)
}

#[test]
fn answers_as_inetutils_step_by_step() {
    let fixture = include_str!("fixtures/inetutils-telnetd-2.4.txt");
    for section in fixture.split("## ").skip(1) {
        let (name, steps) = section.split_once('\n').unwrap();
        let mut dialogue = dialogue(&[("telnet.persona", "\"linux\"")]);
        let mut talk = Talk::open(&mut *dialogue);
        let mut reply = talk.transcript().replies();
        for step in steps.lines() {
            match step.split_at(2) {
                ("> ", sent) => {
                    assert_eq!(reply, b"", "{name}");
                    reply = talk.send(&unescape(sent));
                }
                (_, expected) => {
                    let expected = unescape(expected);
                    assert_eq!(reply.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{name}");
                    reply.clear();
                }
            }
        }
        assert_eq!(reply, b"", "{name}");
    }
}

#[test]
fn inetutils_gives_five_tries_after_negotiation() {
    let mut dialogue = dialogue(&[("telnet.persona", "\"linux\"")]);
    let mut talk = Talk::open(&mut *dialogue);
    let sent = talk.send(b"\xff\xfe\x25\xff\xfe\x26\xff\xfb\x18\xff\xfb\x20\xff\xfb\x23\xff\xfb\x27\xff\xfc\x24");
    assert_eq!(
        sent,
        b"\xff\xfa\x20\x01\xff\xf0\xff\xfa\x23\x01\xff\xf0\xff\xfa\x27\x01\xff\xf0\xff\xfa\x18\x01\xff\xf0"
    );
    let values = b"\xff\xfa\x20\x0038400,38400\xff\xf0\xff\xfa\x23\0h:0\xff\xf0\xff\xfa\x27\0\0USER\x01bob\xff\xf0";
    assert_eq!(talk.send(values), b"");
    let sent = talk.send(b"\xff\xfa\x18\0XTERM\xff\xf0");
    assert_eq!(sent, b"\xff\xfb\x03\xff\xfd\x01\xff\xfd\x22\xff\xfd\x1f\xff\xfb\x05\xff\xfd\x21");
    let sent = talk.send(
        b"\xff\xfd\x03\xff\xfc\x01\xff\xfc\x22\xff\xfb\x1f\xff\xfa\x1f\0\x50\0\x18\xff\xf0\xff\xfd\x05\xff\xfb\x21",
    );
    assert_eq!(
        sent.escape_ascii().to_string(),
        "\\xff\\xfa!\\x03\\xff\\xf0\\xff\\xfb\\x01\\xff\\xfd\\x06\\xff\\xfd\\x00\\r\\nLinux 6.1.0-37-amd64 (srv01) (pts/0)\\r\\n\\r\\nsrv01 login: "
    );
    assert_eq!(talk.send(b"ro\x7foot\r\0"), b"ro\x08 \x08oot\r\nPassword: ");
    assert_eq!(talk.send(b"pw\r\0"), b"\r\n\r\nLogin incorrect\r\nsrv01 login: ");
    for _ in 0..4 {
        talk.send(b"a\rb\r");
    }
    let t = talk.end();
    assert!(t.replies().ends_with(b"\r\n\r\nLogin incorrect\r\nMaximum number of tries exceeded (5)\r\n"));
    assert!(t.closed());
    assert_eq!(t.events_of(6001).len(), 5);
    let terminal = t.events_of(30400)[0];
    assert_eq!(terminal.get("TERMINAL").unwrap().as_str(), Some("XTERM"));
    assert_eq!(terminal.get("WINDOW").unwrap().as_str(), Some("80x24"));
    assert_eq!(t.events_of(30400).len(), 1);
}

#[test]
fn a_dumb_client_of_inetutils_loses_no_credentials() {
    let t = talk("linux", &[b"root\r\npw1\r\nadmin\r\npw2\r\n"]);
    let pairs: Vec<_> =
        t.events_of(6001).iter().map(|d| (d.get("USERNAME").cloned(), d.get("PASSWORD").cloned())).collect();
    let bytes = |text: &str| Some(Value::Bytes(text.into()));
    assert_eq!(pairs, [(bytes("root"), bytes("pw1")), (bytes("admin"), bytes("pw2"))]);
}

#[test]
fn ios_plays_three_tries_to_a_dumb_client() {
    let t = talk("ios", &[b"admin\r\ncisco\r\n\r\nroot\npw\nx\r\0y\r\0"]);
    insta::assert_snapshot!(t, @r#"
    < \xff\xfb\x01\xff\xfb\x03\xff\xfd\x18\xff\xfd\x1f\r\n\r\nUser Access Verification\r\n\r\nUsername: 
    > admin\r\ncisco\r\n\r\nroot\npw\nx\r\x00y\r\x00
    < admin\r\nPassword: 
    ! 6001 PASSWORD=Bytes(b"cisco") USERNAME=Bytes(b"admin")
    < \r\n
      (94 ms)
    < % Login invalid\r\n\r\nUsername: 
    < \r\nUsername: root\r\nPassword: 
    ! 6001 PASSWORD=Bytes(b"pw") USERNAME=Bytes(b"root")
    < \r\n
      (94 ms)
    < % Login invalid\r\n\r\nUsername: 
    < x\r\nPassword: 
    ! 6001 PASSWORD=Bytes(b"y") USERNAME=Bytes(b"x")
    < \r\n
      (94 ms)
    < % Bad passwords\r\n
      FIN
    "#);
}

#[test]
fn agreeing_to_every_offer_is_answered_by_values_only() {
    let t = talk("ios", &[b"\xff\xfd\x01\xff\xfd\x03\xff\xfb\x18\xff\xfb\x1f\xff\xfa\x1f\0\x50\0\x18\xff\xf0"]);
    assert!(t.replies().ends_with(b"Username: \xff\xfa\x18\x01\xff\xf0"));
    let refused = talk("ios", &[b"\xff\xfbc\xff\xfdc\xff\xfe\x01ab\r"]);
    assert!(refused.replies().ends_with(b"Username: \xff\xfec\xff\xfcc\r\nPassword: "), "{refused}");
}

#[test]
fn a_value_is_asked_for_once_however_often_it_is_offered() {
    let t = talk("ios", &[&b"\xff\xfb\x18".repeat(100)]);
    assert!(t.replies().ends_with(b"Username: \xff\xfa\x18\x01\xff\xf0"));
}

#[test]
fn banner_stands_before_the_login() {
    let t = exchange(&mut *dialogue(&[("telnet.banner", "\"Hello\\nworld\"")]), &[]);
    assert!(t.replies().ends_with(b"\x1f\r\nHello\r\nworld\r\n\r\nUser Access Verification\r\n\r\nUsername: "));
}

#[test]
fn busybox_answers_no_negotiation_and_closes_after_three() {
    let t = talk("busybox", &[b"\xff\xfd\x01\xff\xfb\x63", b"\r\na\r\0b\r\0", b"a\nb\na\nb\n"]);
    let text = t.replies().escape_ascii().to_string();
    assert!(text.starts_with("\\xff\\xfd\\x01\\xff\\xfd\\x1f\\xff\\xfb\\x01\\xff\\xfb\\x03\\r\\r\\nsrv01 login: \\r\\nsrv01 login: a\\r\\nPassword: "));
    assert!(text.ends_with("\\r\\nLogin incorrect\\r\\n"), "{text}");
    assert!(t.closed());
}

#[test]
fn procurve_wants_a_key_but_loses_no_name() {
    for typed in [&b" admin\rpw\r"[..], b"\r\nadmin\rpw\r", b"admin\rpw\r"] {
        let t = talk("procurve", &[typed]);
        assert_eq!(t.events_of(6001)[0].get("USERNAME").unwrap().as_str(), Some("admin"));
    }
}

#[test]
fn windows_refuses_three_times() {
    let t = talk("windows", &[&b"admin\r\npw\r\n".repeat(3)]);
    let text = t.replies().escape_ascii().to_string();
    assert!(text.starts_with("\\xff\\xfd%\\xff\\xfb\\x01\\xff\\xfb\\x03\\xff\\xfd\\'\\xff\\xfd\\x1f\\xff\\xfd\\x00\\xff\\xfb\\x00Welcome to Microsoft Telnet Service \\r\\n\\n\\rlogin: admin\\n\\rpassword: "), "{text}");
    assert!(text.ends_with("Telnet Server has closed the connection\\r\\n"));
}

#[test]
fn reports_the_exploit_of_the_user_variable() {
    let t = talk("linux", &[b"\xff\xfa\x27\0\0USER\x01-f root\xff\xf0"]);
    assert_eq!(t.events_of(30401)[0].get("VALUE").unwrap().as_str(), Some("-f root"));
    assert_eq!(t.events_of(30400).len(), 1);
}

#[test]
fn hangs_up_on_a_subnegotiation_of_256_bytes() {
    let mut sent = b"\xff\xfa\x18".to_vec();
    sent.extend(std::iter::repeat_n(b'A', 255));
    let t = talk("ios", &[&sent]);
    let error = t.events_of(6001)[0].get("ERROR").unwrap().as_str().map(str::to_owned);
    assert_eq!(error.as_deref(), Some("Telnet subnegotiation buffer limit reached"));
    assert_eq!(t.events_of(30402).len(), 1);
    assert!(t.closed());
    assert!(!talk("ios", &[&sent[..257]]).closed());
}

#[test]
fn reports_what_never_became_a_login() {
    let t = talk("ios", &[b"admin\r\nhalf"]);
    let data = t.events_of(30402)[0];
    assert_eq!(data.get("USERNAME").unwrap().as_str(), Some("admin"));
    assert_eq!(data.get("DATA").unwrap().as_str(), Some("half"));
    let name = talk("ios", &[b"admin\r\n"]);
    assert_eq!(name.events_of(30402)[0].get("REASON").unwrap().as_str(), Some("user name without password"));
    let cut = talk("ios", &[b"ad\xff"]);
    assert_eq!(cut.events_of(30402).len(), 2);
    let long = talk("ios", &[&[b'A'; 3000]]);
    let sum: usize = long.events_of(30402).iter().map(|d| d.get("DATA").unwrap().as_bytes().unwrap().len()).sum();
    assert_eq!(sum, 3000);
}

#[test]
fn keeps_bytes_that_are_no_text() {
    let t = talk("ios", &[b"\xfe\xff\xff\r\n\x80\0x\r\n"]);
    let data = t.events_of(6001)[0];
    assert_eq!(data.get("USERNAME").unwrap().as_bytes(), Some(&b"\xfe\xff"[..]));
    assert_eq!(data.get("PASSWORD").unwrap().as_bytes(), Some(&b"\x80\0x"[..]));
    assert!(t.replies().windows(3).any(|w| w == b"\xfe\xff\xff"));
}

#[test]
fn interrupt_and_erase_commands_edit() {
    let t = talk("ios", &[b"abx\xff\xf7\r\npw\xff\xf8q\r\n"]);
    let data = t.events_of(6001)[0];
    assert_eq!(
        (data.get("USERNAME").unwrap().as_str(), data.get("PASSWORD").unwrap().as_str()),
        (Some("ab"), Some("q"))
    );
}

#[test]
fn silence_ends_with_the_products_words() {
    for (sent, words) in [(&b"a"[..], "% Username:  timeout expired!"), (b"a\r", "% Password:  timeout expired!")] {
        let mut dialogue = dialogue(&[]);
        let mut out = Outbox::new(aviary_event::Timestamp::from_micros(0));
        dialogue.open(&mut out);
        dialogue.feed(sent, &mut out);
        dialogue.expired(&[], &mut out);
        let text = format!("{:?}", out.into_steps());
        assert!(text.contains(words) && text.contains("30402"), "{text}");
    }
}

#[test]
fn limits_are_the_operators() {
    let service = build(&ENTRY, &[("telnet.max_connections", "5"), ("telnet.timeout", "7")]);
    assert_eq!((service.limits().connections, service.limits().idle.as_secs()), (5, 7));
    assert_eq!(build(&ENTRY, &[]).limits().connections, 64);
}

#[test]
fn connection_is_reported_if_asked_for() {
    let t = exchange(&mut *dialogue(&[("telnet.log_tcp_connection", "true")]), &[]);
    assert_eq!(t.events_of(6002).len(), 1);
    assert_eq!(talk("ios", &[]).events().len(), 0);
}

/// Replies and events without the marks of chunks.
fn gist(t: &Transcript) -> (Vec<u8>, String, bool) {
    (t.replies(), format!("{:?}", t.events()), t.closed())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn chunk_size_changes_nothing(persona in 0..5_usize, parts in prop::collection::vec(part(), 0..16)) {
        let bytes = parts.concat();
        let whole = talk(persona::NAMES[persona], &[&bytes]);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(gist(&whole), gist(&talk(persona::NAMES[persona], &single)));
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        for persona in persona::NAMES {
            talk(persona, &[&bytes]);
        }
    }
}

fn part() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"admin\r\n".to_vec()),
        Just(b"pw\r\0".to_vec()),
        Just(b"x\n".to_vec()),
        Just(b"\x7f\x08\x15\x03".to_vec()),
        Just(b"\xff\xfc\x18\xff\xfc\x20\xff\xfc\x23\xff\xfc\x27\xff\xfc\x24".to_vec()),
        (250..=254_u8, 0..40_u8).prop_map(|(verb, option)| vec![255, verb, option]),
        (0..40_u8, prop::collection::vec(any::<u8>(), 0..12)).prop_map(|(option, body)| {
            let mut bytes = vec![255, 250, option];
            bytes.extend(body);
            bytes.extend([255, 240]);
            bytes
        }),
        prop::collection::vec(any::<u8>(), 0..12),
    ]
}
