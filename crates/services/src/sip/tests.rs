//! Conversations with the telephone server.

use aviary_event::Value;
use aviary_service::Service;
use aviary_testkit::{Datagrams, Line, Talk, Transcript, build, exchange, facts};
use aviary_wire::digest::Credentials;
use proptest::prelude::*;

use super::ENTRY;

/// nmap's probe over TCP.
const NMAP: &[u8] = b"OPTIONS sip:nm SIP/2.0\r\nVia: SIP/2.0/TCP nm;branch=foo\r\nFrom: <sip:nm@nm>;tag=root\r\n\
    To: <sip:nm2@nm2>\r\nCall-ID: 50000\r\nCSeq: 42 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\
    Contact: <sip:nm@nm>\r\nAccept: application/sdp\r\n\r\n";

fn service(given: &[(&str, &str)]) -> Box<dyn Service> {
    build(&ENTRY, given)
}

fn talk(given: &[(&str, &str)], chunks: &[&[u8]]) -> Transcript {
    exchange(&mut *service(given).dialogue(TCP, &facts(5060)), chunks)
}

/// The endpoint over TCP.
const TCP: usize = 1;

/// The endpoint over UDP.
const UDP: usize = 0;

fn request(method: &str, target: &str, more: &str) -> Vec<u8> {
    format!(
        "{method} {target} SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.7:5062;branch=z9hG4bK776asdhds;rport\r\n\
         Max-Forwards: 70\r\nTo: \"Bob\" <sip:100@192.0.2.1>\r\nFrom: <sip:100@192.0.2.1>;tag=1928301774\r\n\
         Call-ID: a84b4c76e66710@192.0.2.7\r\nCSeq: 314159 {method}\r\nUser-Agent: friendly-scanner\r\n{more}\
         Content-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The value between `nonce="` and the next quote.
fn nonce_of(reply: &str) -> &str {
    reply.split("nonce=\"").nth(1).unwrap_or_else(|| panic!("no nonce in {reply}")).split('"').next().unwrap()
}

/// An `Authorization` header with the digest of this password.
fn authorization(user: &str, password: &str, nonce: &str, method: &str, uri: &str) -> String {
    use md5::{Digest as _, Md5};
    let hash = |text: String| super::nonce::hex(&Md5::digest(text.as_bytes()));
    let secret = hash(format!("{user}:asterisk:{password}"));
    let request = hash(format!("{method}:{uri}"));
    let response = hash(format!("{secret}:{nonce}:00000001:0a4f113b:auth:{request}"));
    format!(
        "Authorization: Digest username=\"{user}\", realm=\"asterisk\", nonce=\"{nonce}\", uri=\"{uri}\", \
         response=\"{response}\", cnonce=\"0a4f113b\", nc=00000001, qop=auth, algorithm=MD5\r\n"
    )
}

#[test]
fn tells_what_it_can_do_as_each_product_does() {
    for persona in super::persona::NAMES {
        insta::assert_snapshot!(
            format!("options_{persona}"),
            talk(&[("sip.server", &format!("\"{persona}\""))], &[NMAP])
        );
    }
}

#[test]
fn challenges_a_registration_as_each_product_does() {
    for persona in super::persona::NAMES {
        let service = service(&[("sip.server", &format!("\"{persona}\""))]);
        let mut dialogue = service.dialogue(TCP, &facts(5060));
        let mut talk = Talk::open(&mut *dialogue);
        let reply = text(&talk.send(&request("REGISTER", "sip:192.0.2.1", "")));
        let nonce = nonce_of(&reply);
        // The vault of a test forgets, so the tag in the nonce is another each time.
        insta::assert_snapshot!(format!("register_{persona}"), reply.replace(nonce, "<nonce>").replace("\r\n", "\n"));
    }
}

#[test]
fn a_digest_is_refused_and_reported_with_its_password() {
    let service = service(&[]);
    let mut dialogue = service.dialogue(TCP, &facts(5060));
    let mut talk = Talk::open(&mut *dialogue);
    let reply = text(&talk.send(&request("REGISTER", "sip:192.0.2.1", "")));
    let login = authorization("100", "secret123", nonce_of(&reply), "REGISTER", "sip:192.0.2.1");
    let refused = text(&talk.send(&request("REGISTER", "sip:192.0.2.1", &login)));
    assert!(refused.starts_with("SIP/2.0 403 Forbidden\r\n"), "{refused}");
    let transcript = talk.end();
    let [login] = transcript.events_of(31701)[..] else { panic!("{transcript}") };
    let of = |key: &str| login.get(key).and_then(Value::as_bytes).unwrap_or_else(|| panic!("{key} in {login:?}"));
    assert_eq!((of("USERNAME"), of("REALM"), of("PASSWORD")), (&b"100"[..], &b"asterisk"[..], &b"secret123"[..]));
    let line = text(of("HASHCAT"));
    assert!(line.starts_with("$sip$***100*asterisk*REGISTER*sip*192.0.2.1**1795384800/"), "{line}");
}

#[test]
fn a_nonce_that_is_not_ours_or_too_old_gets_a_new_one() {
    let foreign = authorization("100", "x", "1795384800/0123456789abcdef0123456789abcdef", "REGISTER", "sip:h");
    let reply = text(&talk(&[], &[&request("REGISTER", "sip:h", &foreign)]).replies());
    assert!(reply.starts_with("SIP/2.0 401 ") && !reply.contains("stale"), "{reply}");

    let service = service(&[]);
    let mut dialogue = service.dialogue(TCP, &facts(5060));
    let mut talk = Talk::open(&mut *dialogue);
    let reply = text(&talk.send(&request("REGISTER", "sip:h", "")));
    let nonce = nonce_of(&reply).to_owned();
    let mut out = aviary_service::Outbox::new(aviary_event::Timestamp::from_micros(aviary_testkit::NOW + 60_000_000));
    let late = request("REGISTER", "sip:h", &authorization("100", "x", &nonce, "REGISTER", "sip:h"));
    let mut dialogue = service.dialogue(TCP, &facts(5060));
    assert_eq!(dialogue.feed(&late, &mut out), late.len());
    let steps = format!("{:?}", out.into_steps());
    assert!(steps.contains("401 Unauthorized") && steps.contains("stale=true"), "{steps}");
}

#[test]
fn every_challenge_has_a_fresh_nonce() {
    for persona in super::persona::NAMES {
        let service = service(&[("sip.server", &format!("\"{persona}\""))]);
        let mut dialogue = service.dialogue(TCP, &facts(5060));
        let mut talk = Talk::open(&mut *dialogue);
        let mut ask = || nonce_of(&text(&talk.send(&request("INVITE", "sip:100@h", "")))).to_owned();
        let nonces = [ask(), ask(), ask()];
        assert!(nonces[0] != nonces[1] && nonces[1] != nonces[2] && nonces[0] != nonces[2], "{nonces:?}");
    }
}

#[test]
fn reports_the_number_dialled() {
    let sdp = "v=0\r\nc=IN IP4 198.51.100.9\r\n";
    let call = text(&request("INVITE", "sip:900442071234567@192.0.2.1", "")).replace(
        "Content-Length: 0\r\n\r\n",
        &format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}", sdp.len()),
    );
    let transcript = talk(&[], &[call.as_bytes()]).to_string();
    let nonce = nonce_of(&transcript.replace('\\', "")).to_owned();
    insta::assert_snapshot!(transcript.replace(&nonce, "<nonce>"));
}

#[test]
fn says_nothing_to_what_deserves_nothing() {
    for bytes in [
        request("ACK", "sip:100@h", ""),
        b"SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP h\r\n\r\n".to_vec(),
        b"GET / HTTP/1.0\r\n\r\n".to_vec(),
        b"OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/TCP h\r\n\r\n".to_vec(),
        b"\r\n\r\n".to_vec(),
    ] {
        let transcript = talk(&[], &[&bytes]);
        assert_eq!(text(&transcript.replies()), "", "{}", bytes.escape_ascii());
        assert!(!transcript.events().is_empty(), "{}", bytes.escape_ascii());
    }
}

#[test]
fn ends_no_call_that_never_was() {
    for (method, status) in [("BYE", "481"), ("CANCEL", "481"), ("MESSAGE", "401"), ("FOO", "401")] {
        let reply = text(&talk(&[], &[&request(method, "sip:100@h", "")]).replies());
        assert!(reply.starts_with(&format!("SIP/2.0 {status} ")), "{method}: {reply}");
    }
}

#[test]
fn several_messages_in_a_piece_are_answered_one_by_one() {
    let both = [b"\r\n\r\n".as_slice(), NMAP, &request("REGISTER", "sip:h", ""), b"\r\n"].concat();
    let transcript = talk(&[], &[&both]);
    let replies = text(&transcript.replies());
    assert_eq!(replies.matches("\r\n\r\n").count(), 2, "{replies}");
    assert_eq!(transcript.events_of(15001).len(), 2);
}

#[test]
fn headers_are_opencanarys() {
    let transcript = talk(
        &[],
        &[b"REGISTER sip:a SIP/2.0\r\nv: SIP/2.0/UDP 10.0.2.15:46759\r\nf: <sip:a@b>\r\n\
        X-A:  1 \r\nX-a: \xff\r\nt: x\r\n y\r\nl: 0\r\n\r\n"],
    );
    let [request] = transcript.events_of(15001)[..] else { panic!("{transcript}") };
    let Some(Value::Map(headers)) = request.get("HEADERS") else { panic!("{transcript}") };
    let list = |name: &str| -> Vec<Vec<u8>> {
        let Some(Value::List(values)) = headers.get(name) else { panic!("{name} in {transcript}") };
        values.iter().map(|value| value.as_bytes().unwrap().to_vec()).collect()
    };
    assert_eq!(list("via"), [b"SIP/2.0/UDP 10.0.2.15:46759;received=192.0.2.7;rport=40000"]);
    assert_eq!(list("x-a"), [&b"1 "[..], b"\xff"]);
    assert_eq!(list("to"), [b"xy"]);
    assert_eq!(list("content-length"), [b"0"]);
    assert_eq!(headers.len(), 5);
}

#[test]
fn an_answer_over_udp_is_no_longer_than_its_request() {
    let nmap = text(NMAP).replace("TCP nm;branch=foo", "UDP nm;branch=foo;rport");
    for persona in super::persona::NAMES {
        let service = service(&[("sip.server", &format!("\"{persona}\""))]);
        let contact = "Contact: <sip:100@192.0.2.7:5062>\r\n";
        for request in [nmap.clone().into_bytes(), request("REGISTER", "sip:192.0.2.1", contact)] {
            let mut datagrams = Datagrams::new(&*service, UDP, facts(5060));
            let reply = text(&exchange(&mut datagrams, &[&request]).replies());
            assert!(reply.len() <= request.len(), "{persona}: {} for {}: {reply}", reply.len(), request.len());
            assert!(reply.starts_with("SIP/2.0 ") && reply.ends_with("\r\n\r\n"), "{persona}: {reply}");
        }
        // A scanner reads the product out of this one.
        let reply = exchange(&mut Datagrams::new(&*service, UDP, facts(5060)), &[nmap.as_bytes()]).replies();
        assert!(text(&reply).contains("\r\nServer: "), "{persona}: {}", text(&reply));
    }
}

#[test]
fn who_echoes_a_nonce_has_proven_its_address() {
    let service = service(&[]);
    let mut datagrams = Datagrams::new(&*service, UDP, facts(5060));
    let mut talk = Talk::open(&mut datagrams);
    // So short a request that its answer is written in the shortest way.
    let reply = text(&talk.send(&request("REGISTER", "sip:h", "")));
    assert!(reply.contains("\r\ni: ") && nonce_of(&reply).len() == 16, "{reply}");
    let forged = "1795384800/0123456789abcdef0123456789abcdef";
    talk.send(&request("REGISTER", "sip:h", &authorization("1", "x", forged, "REGISTER", "sip:h")));
    assert!(!talk.transcript().lines.iter().any(|line| matches!(line, Line::Proven)), "{}", talk.transcript());
    talk.send(&request("REGISTER", "sip:h", &authorization("1", "x", nonce_of(&reply), "REGISTER", "sip:h")));
    let lines = &talk.transcript().lines;
    let proof = lines.iter().position(|line| matches!(line, Line::Proven)).unwrap_or_else(|| panic!("{lines:?}"));
    let behind: Vec<_> = lines.iter().skip(proof).filter(|line| matches!(line, Line::Reply(_))).collect();
    let [Line::Reply(refusal)] = behind[..] else { panic!("the proof is not before the answer: {lines:?}") };
    assert!(text(refusal).contains("\r\nServer: "), "whole again: {}", text(refusal));
}

#[test]
fn a_guessed_short_nonce_and_a_long_one_of_others_prove_nothing() {
    let service = service(&[("sip.server", "\"chan_sip\"")]);
    let mut datagrams = Datagrams::new(&*service, UDP, facts(5060));
    let mut talk = Talk::open(&mut datagrams);
    let reply = text(&talk.send(&request("REGISTER", "sip:h", "")));
    let short = nonce_of(&reply);
    assert!(short.len() < super::nonce::PROOF, "{reply}");
    let of = |nonce: &str| authorization("1", "x", nonce, "REGISTER", "sip:h");
    let long = of("1795384800/0123456789abcdef0123456789abcdef");
    for both in [of(short) + &long, long + &of(short)] {
        let refused = text(&talk.send(&request("REGISTER", "sip:h", &both)));
        assert!(refused.starts_with("SIP/2.0 403 "), "the short one is ours: {refused}");
    }
    assert!(!talk.transcript().lines.iter().any(|line| matches!(line, Line::Proven)), "{}", talk.transcript());
}

#[test]
fn a_datagram_with_too_long_a_head_is_reported_and_not_read() {
    let service = service(&[]);
    let padding = format!("X: {}\r\n", "x".repeat(super::codec::LONGEST_HEAD));
    let datagram = request("REGISTER", "sip:h", &padding);
    let transcript = exchange(&mut Datagrams::new(&*service, UDP, facts(5060)), &[&datagram]);
    let [(31702, data)] = transcript.events()[..] else { panic!("{transcript}") };
    assert_eq!(data.get("ERROR").and_then(Value::as_str), Some("head too long"));
    assert_eq!(data.get("DATA").and_then(Value::as_bytes), datagram.get(..4096));
    assert_eq!(transcript.replies(), b"");
}

#[test]
fn passwords_are_guessed_so_often_in_a_second() {
    let service = service(&[("sip.honeycreds", r#"[{"username": "200", "password": "zq7!kept"}]"#)]);
    let found = |password: &str, later: i64| {
        let login = request("REGISTER", "sip:h", &authorization("100", password, "n", "REGISTER", "sip:h"));
        let now = aviary_event::Timestamp::from_micros(aviary_testkit::NOW + later * 1_000_000);
        let told = |mut out: aviary_service::Outbox, udp: bool| {
            if udp {
                service.datagram(UDP, &facts(5060), &login, &mut out);
            } else {
                service.dialogue(TCP, &facts(5060)).feed(&login, &mut out);
            }
            format!("{:?}", out.into_steps()).contains("PASSWORD")
        };
        [told(aviary_service::Outbox::for_datagrams(now), true), told(aviary_service::Outbox::new(now), false)]
    };
    let count = |later| (0..100).flat_map(|_| found("secret123", later)).filter(|found| *found).count();
    assert_eq!(count(0), 64, "over both transports together");
    assert_eq!(found("zq7!kept", 0), [true, true], "what was planted is always known");
    assert_eq!(count(1), 64);
}

#[test]
fn a_datagram_that_is_none_is_reported() {
    let service = service(&[]);
    for (bytes, error) in [
        (&b""[..], "blank lines and no message"),
        (b"\r\n\r\n", "blank lines and no message"),
        (b"\0\0", "unfinished message"),
        (b"OPTIONS sip:h SIP/2.0\r\n", "unfinished message"),
        (b"\xff\xfe\r\n\r\n", "no first line of a message"),
    ] {
        let mut out = aviary_service::Outbox::for_datagrams(aviary_event::Timestamp::from_micros(aviary_testkit::NOW));
        service.datagram(UDP, &facts(5060), bytes, &mut out);
        let steps = format!("{:?}", out.into_steps());
        assert!(steps.contains("Report(31702") && steps.contains(error), "{}: {steps}", bytes.escape_ascii());
    }
}

#[test]
fn reports_what_is_no_message() {
    for (bytes, error) in [
        (&b"OPTIONS sip:h SIP/2.0\r\nVia: x"[..], "unfinished message"),
        (b"BYE sip:h SIP/2.0\r\nl: -1\r\n\r\n", "Content-Length is no number"),
        (b"\x16\x03\x01\0\x2f", "unfinished message"),
        (b"\r\n", "blank lines and no message"),
        (b"hello\r\n\r\n", "no first line of a message"),
    ] {
        let transcript = talk(&[], &[bytes]);
        let [data] = transcript.events_of(31702)[..] else { panic!("{transcript}") };
        assert_eq!(data.get("ERROR").and_then(Value::as_str), Some(error), "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_planted_password_is_found_in_a_digest() {
    let given = [("sip.honeycreds", r#"[{"username": "200", "password": "zq7!kept"}]"#)];
    let login = authorization("200", "zq7!kept", "n", "REGISTER", "sip:h");
    let transcript = talk(&given, &[&request("REGISTER", "sip:h", &login)]);
    let [data] = transcript.events_of(31701)[..] else { panic!("{transcript}") };
    assert_eq!(data.get("PASSWORD").and_then(Value::as_str), Some("zq7!kept"));
    assert!(Credentials::parse(b"Digest a=b").is_some());
}

proptest! {
    #[test]
    fn garbage_is_reported(garbage in prop::collection::vec(any::<u8>(), 1..300), start in any::<bool>()) {
        let head: &[u8] = if start { b"INVITE sip:1@h SIP/2.0\r\n" } else { b"" };
        let transcript = talk(&[], &[&[head, &garbage].concat()]);
        prop_assert!(!transcript.events().is_empty());
    }
}
