//! Recorded exchanges with Squid 5.7 replayed, and what is reported on the way.
//!
//! In the fixtures dates, NTLM's challenges, the style sheet and the proxy's name are marks. They were
//! recorded with `auth_param basic` alone, and with negotiate, ntlm and basic.

use aviary_service::{Dialogue, Materials, MemoryVault};
use aviary_testkit::{NOW, Talk, Transcript, build, exchange, facts, settings};
use insta::assert_snapshot;

use super::ENTRY;
use crate::http::response::http_date;
use crate::http::tests::{noted, recorded, respond};

const PORT: u16 = 32128;

fn dialogue(given: &[(&str, &str)]) -> Box<dyn Dialogue> {
    let settings = settings(ENTRY.keys, given);
    let materials = Materials { settings: &settings, vault: &MemoryVault::default(), host_name: "proxy01" };
    (ENTRY.build)(&materials).unwrap().dialogue(0, &facts(PORT))
}

fn replay(fixture: &str, auth: &str) -> usize {
    let all = recorded(fixture);
    let mut wrong = Vec::new();
    for one in &all {
        let mut dialogue = dialogue(&[("httpproxy.auth", auth)]);
        let mut talk = Talk::open(dialogue.as_mut());
        talk.send(&one.sent);
        let closed = talk.transcript().closed();
        let got = String::from_utf8(talk.transcript().replies()).unwrap();
        let token = got
            .split_once("NTLM T")
            .or_else(|| got.split_once("Negotiate T"))
            .map_or("", |(_, rest)| rest.split("\r\n").next().unwrap());
        let expected = String::from_utf8(one.reply.clone())
            .unwrap()
            .replace("{style}", include_str!("pages/errorpage.css"))
            .replace("{date}", &http_date(NOW / 1_000_000))
            .replace("{port}", &PORT.to_string())
            .replace("{host}", "proxy01")
            .replace("{token}", &format!("T{token}"));
        if got != expected || closed != one.closes {
            let pair = got.lines().zip(expected.lines()).find(|(a, b)| a != b);
            let lengths = (got.len(), expected.len());
            wrong.push(format!("{}: {pair:?}, {lengths:?} bytes, closed: {closed}", one.name));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), all.len(), wrong.join("\n"));
    all.len()
}

#[test]
fn answers_as_squid_does() {
    assert_eq!(replay(include_str!("fixtures/squid-5.7.txt"), "\"basic\""), 76);
}

#[test]
fn offers_as_squid_does() {
    assert_eq!(replay(include_str!("fixtures/squid-5.7-negotiate.txt"), "\"negotiate\""), 8);
}

fn get(authorization: &str) -> Vec<u8> {
    format!(
        "GET http://intranet.example:8080/a?b=1 HTTP/1.1\r\nHost: intranet.example\r\nUser-Agent: test/1\r\n\
         Proxy-Authorization: {authorization}\r\n\r\n"
    )
    .into_bytes()
}

fn events(transcript: &Transcript) -> String {
    transcript.to_string().lines().filter(|line| line.starts_with("! ")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn every_credential_is_reported() {
    let chunks = [
        get("Basic YWRtaW46cGFzczp3b3Jk"),
        get("Basic YfdtaW46/w=="),
        get("Basic YQ=="),
        get("Basic !!"),
        get("Bearer abc"),
        get(
            "Digest username=\"ann\", realm=\"R\", nonce=\"n\", uri=\"/\", response=\"0123456789abcdef0123456789abcdef\"",
        ),
        get("Negotiate YIIabc=="),
    ];
    let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
    assert_snapshot!(events(&exchange(dialogue(&[]).as_mut(), &chunks)));
}

#[test]
fn a_request_is_reported_with_its_target_and_body() {
    let transcript = exchange(
        dialogue(&[]).as_mut(),
        &[
            b"POST http://10.0.0.5/login HTTP/1.1\r\nHost: 10.0.0.5\r\nContent-Length: 8\r\n\r\nuser=",
            b"a&pCONNECT db01.corp.example:1433 HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
        ],
    );
    assert_snapshot!(events(&transcript));
}

#[test]
fn each_request_is_fingerprinted_before_its_events() {
    // The hash is that of a capture among JA4H's own tests.
    let sent: [&[u8]; 2] = [
        b"GET http://a/ HTTP/1.1\r\nHost: a\r\nCookie: b=c\r\nAccept-Language: de\r\n\r\n",
        b"CONNECT a:443 HTTP/1.0\r\nUser-Agent: x\r\n\r\n",
    ];
    let transcript = exchange(dialogue(&[]).as_mut(), &[&sent.concat()]);
    let noted = noted(&transcript);
    assert_eq!(noted.len(), 2);
    assert!(noted[0].0 == 0 && noted[0].1.starts_with("ge11cn02de00_"), "{noted:?}");
    assert_eq!(noted[1], (1, "co10nn010000_b8bcd45ac095_000000000000_000000000000".to_owned()));
}

const OPENING: &str = "NTLM TlRMTVNTUAABAAAAB4IIogAAAAAAAAAAAAAAAAAAAAAKAGFKAAAADw==";

#[test]
fn ntlm_goes_through_to_the_response() {
    for (password, guessed) in [("Password123", "Password123"), ("nobody guesses this", "")] {
        let mut dialogue = dialogue(&[]);
        let mut talk = Talk::open(dialogue.as_mut());
        let reply = talk.send(&get(OPENING));
        assert!(!talk.transcript().closed());
        let (response, challenge) = respond(&reply, "bob", password);
        let last = talk.send(&get(&response));
        assert!(last.starts_with(b"HTTP/1.1 407 ") && !talk.transcript().closed());
        let transcript = talk.end();
        let login = transcript.events_of(7001);
        assert_eq!(login.len(), 1, "the opening is no attempt");
        let text = |key: &str| login[0].get(key).unwrap().as_str().unwrap();
        assert_eq!((text("USERNAME"), text("PASSWORD")), ("bob", guessed));
        let other = transcript.events_of(31401)[0];
        let line = other.get("HASHCAT").unwrap().as_str().unwrap();
        let hex: String = challenge.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(line.starts_with(&format!("bob::CORP:{hex}:")), "{line}");
        assert_eq!(other.get("PASSWORD").is_some(), !guessed.is_empty());
    }
}

#[test]
fn a_planted_password_is_told_in_clear() {
    let planted = [("httpproxy.honeycreds", r#"[{"username": "bob", "password": "Zebra-Quartz-77"}]"#)];
    for (password, told) in [("Zebra-Quartz-77", Some("Zebra-Quartz-77")), ("Zebra-Quartz-78", None)] {
        let mut dialogue = dialogue(&planted);
        let mut talk = Talk::open(dialogue.as_mut());
        let reply = talk.send(&get(OPENING));
        talk.send(&get(&respond(&reply, "bob", password).0));
        let transcript = talk.end();
        let text = |number: i64| transcript.events_of(number)[0].get("PASSWORD").and_then(|value| value.as_str());
        assert_eq!((text(7001), text(31401)), (Some(told.unwrap_or_default()), told));
    }
}

#[test]
fn ntlm_is_not_answered_where_it_is_not_offered() {
    let reply = exchange(dialogue(&[("httpproxy.auth", "\"basic\"")]).as_mut(), &[&get(OPENING)]).replies();
    let text = String::from_utf8(reply).unwrap();
    assert_eq!(text.matches("Proxy-Authenticate: ").count(), 1);
    assert!(text.contains("Proxy-Authenticate: Basic realm=\"Squid proxy-caching web server\"\r\n"));
}

#[test]
fn banner_is_a_name_or_a_realm() {
    let head = |banner: &str| {
        let reply = exchange(dialogue(&[("httpproxy.banner", banner)]).as_mut(), &[&get("Basic YTpi")]).replies();
        String::from_utf8(reply).unwrap()
    };
    let named = head("\"squid/6.13\"");
    assert!(named.contains("Server: squid/6.13\r\n") && named.contains("Via: 1.1 proxy01 (squid/6.13)\r\n"));
    assert!(named.contains("Basic realm=\"Squid proxy-caching web server\""));
    let realm = head("\"My \\\"Proxy\\\"\\r\\nX: y\"");
    assert!(realm.contains("Server: squid/5.7\r\n") && realm.contains("Basic realm=\"My ProxyX: y\"\r\n"), "{realm}");
}

#[test]
fn the_windows_skin_answers_in_its_own_words() {
    let mut dialogue = dialogue(&[("httpproxy.skin", "\"ms-isa\"")]);
    let chunks: [&[u8]; 3] = [
        b"CONNECT h.example:443 HTTP/1.1\r\nHost: h\r\n\r\n",
        b"HEAD http://h.example/ HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
    ];
    assert_snapshot!(String::from_utf8(exchange(dialogue.as_mut(), &chunks).replies()).unwrap().replace('\r', "\\r"));
}

#[test]
fn markup_in_a_target_is_escaped() {
    let sent = b"GET http://h/\"><script>{host}\xff HTTP/1.1\r\nHost: h\r\n\r\n";
    let reply = exchange(dialogue(&[]).as_mut(), &[sent]).replies();
    let text = String::from_utf8(reply).unwrap();
    assert!(text.contains("http://h/&quot;&gt;&lt;script&gt;{host}&#255;</a>"), "{text}");
    let length = text.split_once("Content-Length: ").unwrap().1.split("\r\n").next().unwrap();
    assert_eq!(text.split_once("\r\n\r\n").unwrap().1.len(), length.parse::<usize>().unwrap());
}

#[test]
fn heads_have_an_end() {
    let long = [b"GET http://h/ HTTP/1.1\r\nA: ".as_slice(), &[b'a'; 70_000]].concat();
    let reply = exchange(dialogue(&[]).as_mut(), &[&long]).replies();
    assert!(reply.starts_with(b"HTTP/1.1 431 "));
    let reply = exchange(dialogue(&[]).as_mut(), &[&[b'a'; 70_000]]).replies();
    assert!(reply.starts_with(b"HTTP/1.1 414 "));
    let service = build(&ENTRY, &[]);
    assert!(service.limits().unconsumed > super::LONGEST_HEAD);
}

#[test]
fn an_unfinished_request_is_an_event() {
    let transcript = exchange(dialogue(&[]).as_mut(), &[b"GET http://h/ HTTP/1.1\r\nHost"]);
    assert_eq!(transcript.events_of(31402)[0].get("REASON").unwrap().as_str(), Some("the request ends early"));
    assert!(exchange(dialogue(&[]).as_mut(), &[b"\r\n\r\n"]).events().is_empty());
    let mut silent = dialogue(&[]);
    let mut out = aviary_service::Outbox::new(aviary_event::Timestamp::from_micros(NOW));
    assert_eq!(silent.feed(b"GET http://h/ HTTP/1.1\r\nHo", &mut out), 0);
    silent.expired(b"GET http://h/ HTTP/1.1\r\nHo", &mut out);
    assert!(format!("{out:?}").contains("the request does not go on"));
}
