//! The conversations, against what the real servers said.

use aviary_service::{Dialogue, Service, TlsFacts};
use aviary_testkit::{Line, Transcript, build, exchange, facts, unescape};
use proptest::prelude::*;

use super::ENTRY;

/// A section of a fixture: what was sent, what came back in all, and how it ended.
struct Golden {
    name: String,
    sent: Vec<Vec<u8>>,
    reply: Vec<u8>,
    close: Option<String>,
}

/// Reads `## name`, `> sent`, `< reply`, `FIN` and `RST` lines; text is escaped as in Rust.
fn golden(text: &str) -> Vec<Golden> {
    let mut sections: Vec<Golden> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            sections.push(Golden { name: name.to_owned(), sent: vec![], reply: vec![], close: None });
            continue;
        }
        let section = sections.last_mut().expect("a fixture begins with a name");
        match line.split_once(' ') {
            Some((">", sent)) => section.sent.push(unescape(sent)),
            Some(("<", reply)) => section.reply.extend(unescape(reply)),
            _ => section.close = Some(line.to_owned()),
        }
    }
    sections
}

fn service(given: &[(&str, &str)]) -> Box<dyn Service> {
    build(&ENTRY, given)
}

fn dialogue(given: &[(&str, &str)]) -> Box<dyn Dialogue> {
    let mut facts = facts(21);
    facts.local = ([127, 0, 0, 1], 21).into();
    service(given).dialogue(0, &facts)
}

fn talk(given: &[(&str, &str)], chunks: &[&[u8]]) -> Transcript {
    exchange(&mut *dialogue(given), chunks)
}

/// Plays every section. A real capture may end before the last delayed answer, so what it holds is
/// how ours must begin.
fn plays(fixture: &str, given: &[(&str, &str)]) {
    for section in golden(fixture) {
        let chunks: Vec<&[u8]> = section.sent.iter().map(Vec::as_slice).collect();
        let ours = talk(given, &chunks);
        let replies = ours.replies();
        let head = &replies[..section.reply.len().min(replies.len())];
        assert_eq!(
            head.escape_ascii().to_string().replace("\\r\\n", "\n"),
            section.reply.escape_ascii().to_string().replace("\\r\\n", "\n"),
            "{}",
            section.name
        );
        if let Some(close) = &section.close {
            assert_eq!(close, "FIN");
            assert_eq!(replies.len(), section.reply.len(), "{}", section.name);
            assert!(ours.closed(), "{}", section.name);
        }
    }
}

#[test]
fn answers_as_vsftpd() {
    plays(include_str!("fixtures/vsftpd-3.0.3.txt"), &[("ftp.banner", "\"(vsFTPd 3.0.3)\"")]);
}

#[test]
fn answers_as_vsftpd_with_tls() {
    let given = [("ftp.banner", "\"(vsFTPd 3.0.3)\""), ("ftp.tls", "true")];
    plays(include_str!("fixtures/vsftpd-3.0.3-tls.txt"), &given);
}

#[test]
fn answers_as_proftpd() {
    plays(include_str!("fixtures/proftpd-1.3.8.txt"), &[("ftp.banner", "\"ProFTPD Server (Debian)\"")]);
}

#[test]
fn reports_every_password_with_opencanarys_keys() {
    let t = talk(
        &[("ftp.log_auth_attempt_initiated", "true"), ("ftp.log_commands", "false")],
        &[b"USER a\xff\r\nPASS \xfe\xff\r\nUSER b\r\nPASS\r\nUSER c\r\nPASS p q \r\n"],
    );
    insta::assert_snapshot!(t, @r#"
    < 220 (vsFTPd 3.0.5)\r\n
    > USER a\xff\r\nPASS \xfe\xff\r\nUSER b\r\nPASS\r\nUSER c\r\nPASS p q \r\n
    < 331 Please specify the password.\r\n
    ! 2001
    ! 2000 PASSWORD=Bytes(b"\xfe\xff") USERNAME=Bytes(b"a\xff")
      (2610 ms)
    < 530 Login incorrect.\r\n
    < 331 Please specify the password.\r\n
    ! 2001
    ! 2000 PASSWORD=Bytes(b"") USERNAME=Bytes(b"b")
      (2610 ms)
    < 530 Login incorrect.\r\n
    < 331 Please specify the password.\r\n
    ! 2001
    ! 2000 PASSWORD=Bytes(b"p q ") USERNAME=Bytes(b"c")
      (2610 ms)
    < 530 Login incorrect.\r\n
      FIN
    "#);
}

#[test]
fn reports_a_password_that_no_user_precedes() {
    let t = talk(&[("ftp.log_commands", "false")], &[b"PASS x\r\npass\r\n"]);
    assert_eq!(t.events_of(30103).len(), 2);
    assert_eq!(t.events_of(2000).len(), 0);
    assert_eq!(t.replies(), b"220 (vsFTPd 3.0.5)\r\n503 Login with USER first.\r\n503 Login with USER first.\r\n");
}

#[test]
fn reports_commands_and_garbage_before_answering() {
    let t = talk(&[], &[b"PORT 10,0,0,1,0,22\r\nGET / HTTP/1.0\r\n\r\n\x16\x03\x01\r\nPAS"]);
    insta::assert_snapshot!(t, @r#"
    < 220 (vsFTPd 3.0.5)\r\n
    > PORT 10,0,0,1,0,22\r\nGET / HTTP/1.0\r\n\r\n\x16\x03\x01\r\nPAS
    ! 30100 ARGUMENT=Bytes(b"10,0,0,1,0,22") COMMAND=Bytes(b"PORT")
    < 530 Please login with USER and PASS.\r\n
    ! 30100 ARGUMENT=Bytes(b"/ HTTP/1.0") COMMAND=Bytes(b"GET")
    < 530 Please login with USER and PASS.\r\n
    ! 30100 ARGUMENT=Bytes(b"") COMMAND=Bytes(b"")
    ! 30102 DATA=Bytes(b"\x16\x03\x01") REASON=Text("no command")
    < 530 Please login with USER and PASS.\r\n
    ! 30102 DATA=Bytes(b"PAS") REASON=Text("unfinished line")
    "#);
}

#[test]
fn delay_is_the_operators_when_set() {
    let t = talk(&[("ftp.login_delay", "0")], &[b"USER a\r\nPASS b\r\n"]);
    assert!(t.lines.iter().any(|line| matches!(line, Line::Pause(0))));
}

#[test]
fn vsftpd_hangs_up_on_a_line_of_4096_bytes() {
    let t = talk(&[], &[&[b'A'; 4095], b"A"]);
    assert_eq!(t.replies(), b"220 (vsFTPd 3.0.5)\r\n500 Input line too long.\r\n");
    assert!(t.closed());
    assert_eq!(t.events_of(30102).len(), 1);
    let mut fits = vec![b'A'; 4094];
    fits.extend_from_slice(b"\r\n");
    assert!(!talk(&[], &[&fits]).closed());
}

#[test]
fn proftpd_ignores_a_long_line_and_resets_an_endless_one() {
    let proftpd = [("ftp.banner", "\"ProFTPD Server (Debian)\"")];
    let mut long = vec![b'A'; 5000];
    long.extend_from_slice(b"\r\nNOOP\r\n");
    let t = talk(&proftpd, &[&long]);
    assert!(t.replies().ends_with(b"[127.0.0.1]\r\n200 NOOP command successful\r\n"));
    let sent: usize = t.events_of(30102).iter().map(|d| d.get("DATA").unwrap().as_bytes().unwrap().len()).sum();
    assert_eq!(sent, 5000);
    let t = talk(&proftpd, &[&vec![b'A'; 30_000]]);
    assert!(t.lines.iter().any(|line| matches!(line, Line::Close { reset: true })));
}

#[test]
fn begins_tls_when_it_is_on() {
    let given = [("ftp.tls", "true")];
    let mut dialogue = dialogue(&given);
    let t = exchange(&mut *dialogue, &[b"AUTH TLS\r\n"]);
    assert!(t.lines.iter().any(|line| matches!(line, Line::Tls)));
    let mut out = aviary_service::Outbox::new(aviary_event::Timestamp::from_micros(0));
    dialogue.secured(
        &TlsFacts { version: "TLSv1.3", cipher: "TLS_AES_128_GCM_SHA256".into(), ..Default::default() },
        &mut out,
    );
    for line in [&b"PBSZ 0\r\n"[..], b"PROT P\r\n", b"PROT X\r\n", b"AUTH TLS\r\n"] {
        dialogue.feed(line, &mut out);
    }
    let text = format!("{:?}", out.into_steps());
    for part in ["Report(30101", "PBSZ set to 0.", "PROT now Private.", "504 PROT not recognized.", "530 Please"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let service = service(&given);
    assert_eq!(service.tls().unwrap().name, "ftp");
    assert_eq!(service.endpoints()[0].security, aviary_service::Security::OnDemand);
}

#[test]
fn tls_is_off_unless_set_or_the_product_has_it_on() {
    let refused = talk(&[], &[b"AUTH TLS\r\n"]);
    assert!(refused.replies().ends_with(b"530 Please login with USER and PASS.\r\n"));
    assert!(service(&[]).tls().is_none());
    assert!(service(&[("ftp.banner", "\"FileZilla Server 1.9.4\"")]).tls().is_some());
    assert!(service(&[("ftp.banner", "\"FileZilla Server 1.9.4\""), ("ftp.tls", "false")]).tls().is_none());
}

#[test]
fn greets_as_the_banner_says() {
    let greeting = |banner: &str| String::from_utf8(talk(&[("ftp.banner", banner)], &[]).replies()).unwrap();
    assert_eq!(greeting("\"FTP server ready\""), "220 FTP server ready\r\n");
    assert_eq!(greeting("\"220 Microsoft FTP Service\""), "220 Microsoft FTP Service\r\n");
    assert_eq!(
        greeting("\"FileZilla Server 1.9.4\""),
        "220-FileZilla Server 1.9.4\r\n220 Please visit https://filezilla-project.org/\r\n"
    );
    assert_eq!(greeting("\"one\\ntwo\""), "220-one\r\n220 two\r\n");
    assert_eq!(greeting("\"\""), "220 \r\n");
}

#[test]
fn filezilla_hangs_up_after_five_errors_in_a_row() {
    let filezilla = [("ftp.banner", "\"FileZilla Server 1.9.4\"")];
    let t = talk(&filezilla, &[b"A\r\nB\r\nNOOP\r\nC\r\nCWD\r\nCWD x\r\nUSER\r\nPASS x\r\nNOOP\r\n"]);
    assert!(t.replies().ends_with(
        b"200 Noop ok.\r\n500 Wrong command.\r\n501 Missing required argument\r\n530 Please log in with USER and PASS first.\r\n501 Missing required argument\r\n503 Login with USER first.\r\n"
    ));
    assert!(t.closed());
    assert!(talk(&filezilla, &[b"GET / HTTP/1.1\r\n"]).closed());
}

#[test]
fn iis_takes_any_number_of_passwords() {
    let t = talk(&[("ftp.banner", "\"Microsoft FTP Service\"")], &[&b"USER a\r\nPASS b\r\n".repeat(9)]);
    assert_eq!(t.events_of(2000).len(), 9);
    assert!(!t.closed());
}

#[test]
fn silence_is_answered_before_the_end() {
    let mut dialogue = dialogue(&[]);
    let mut out = aviary_service::Outbox::new(aviary_event::Timestamp::from_micros(0));
    dialogue.expired(b"USER ro", &mut out);
    let steps = format!("{:?}", out.into_steps());
    assert!(steps.contains("421 Timeout.") && steps.contains("USER ro"), "{steps}");
}

/// Replies and events without the marks of chunks.
fn gist(t: &Transcript) -> (Vec<u8>, String, bool) {
    (t.replies(), format!("{:?}", t.events()), t.closed())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn chunk_size_changes_nothing(persona in 0..4_usize, parts in prop::collection::vec(part(), 0..12)) {
        let banner = ["\"x\"", "\"ProFTPD\"", "\"Microsoft FTP Service\"", "\"FileZilla Server 1.9.4\""][persona];
        let bytes = parts.concat();
        let whole = talk(&[("ftp.banner", banner)], &[&bytes]);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(gist(&whole), gist(&talk(&[("ftp.banner", banner)], &single)));
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..9000)) {
        for banner in ["\"x\"", "\"ProFTPD\"", "\"Microsoft FTP Service\"", "\"FileZilla Server 1.9.4\""] {
            talk(&[("ftp.banner", banner)], &[&bytes]);
        }
    }
}

fn part() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"USER a\r\n".to_vec()),
        Just(b"PASS b\r\n".to_vec()),
        Just(b"NOOP\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\xff\xfd\x01".to_vec()),
        prop::collection::vec(any::<u8>(), 0..20),
        Just(vec![b'A'; 3000]),
    ]
}
