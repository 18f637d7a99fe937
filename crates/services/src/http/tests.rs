//! Recorded exchanges with nginx 1.22.1 and Apache 2.4.71 replayed, and what is reported on the way.
//!
//! In the fixtures dates, nonces, the index page and compressed bodies are placeholders, and Apache's
//! `Allow` was put into the order that `apache::ALLOW` explains. Compressed replies are compared without
//! their lengths, since zlib and ours do not find the same matches.

use std::collections::BTreeMap;
use std::sync::Arc;

use aviary_config::HoneyCreds;
use aviary_event::{LogData, Value};
use aviary_service::{Facts, Outbox, Transport};
use aviary_testkit::{Line, NOW, Talk, Transcript, build, exchange, facts};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::challenge::Auth;
use super::dialogue::{Http, Site};
use super::personas::{Family, Persona};
use super::response::http_date;
use super::skin::{File, Route, Skin};
use super::*;

/// A recorded probe and what the real server did.
pub(crate) struct Recorded {
    pub(crate) name: String,
    pub(crate) sent: Vec<u8>,
    pub(crate) reply: Vec<u8>,
    pub(crate) closes: bool,
}

/// Reads a fixture: `## name`, `> sent`, `< reply`, `= open` or `= FIN`, escaped as Rust escapes, with
/// `{a*100}` for a hundred `a`.
pub(crate) fn recorded(text: &str) -> Vec<Recorded> {
    let mut lines = text.lines();
    let mut all = Vec::new();
    while let Some(name) = lines.next() {
        let mut next = |mark| lines.next().unwrap().strip_prefix(mark).unwrap_or_else(|| panic!("{name}"));
        all.push(Recorded {
            name: name.strip_prefix("## ").unwrap().to_owned(),
            sent: unescape(next("> ")),
            reply: unescape(next("< ")),
            closes: next("= ") == "FIN",
        });
    }
    all
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let run = rest.strip_prefix('{').and_then(|r| r.split_once('}')).and_then(|(inside, behind)| {
            let (letter, count) = inside.split_once('*')?;
            Some((letter.repeat(count.parse().ok()?), behind))
        });
        rest = match (c, run) {
            ('{', Some((run, behind))) => {
                out.extend_from_slice(run.as_bytes());
                behind
            }
            ('\\', _) => match &rest[1..2] {
                "x" => {
                    out.push(u8::from_str_radix(&rest[2..4], 16).unwrap());
                    &rest[4..]
                }
                letter => {
                    out.push(match letter {
                        "r" => b'\r',
                        "n" => b'\n',
                        "t" => b'\t',
                        other => other.as_bytes()[0],
                    });
                    &rest[2..]
                }
            },
            _ => {
                out.push(c as u8);
                &rest[1..]
            }
        };
    }
    out
}

/// The page that the recorded servers had at `/index.html`.
fn recorded_index() -> Vec<u8> {
    let lines = "<p>line of text</p>\n".repeat(120);
    format!("<!DOCTYPE html>\n<html><head><title>t</title></head><body>\n{lines}</body></html>\n").into_bytes()
}

fn recorded_site(banner: &str, auth: Auth) -> Site {
    let persona = Persona::of(banner);
    let mut skin = Skin { name: "recorded".to_owned(), realm: "Storage".to_owned(), ..Skin::default() };
    for (path, body, modified) in [
        ("/index.html", recorded_index(), 0x6_60e3_c65d_81c0),
        ("/css/style.css", b"body{}\n".to_vec(), 0x6_60e3_d324_a220),
    ] {
        skin.files.insert(path.to_owned(), File::new(persona.family, path, body, modified));
    }
    skin.routes.push(Route {
        method: String::new(),
        path: "/forb".to_owned(),
        status: 403,
        headers: Vec::new(),
        media: String::new(),
        body: None,
    });
    Site {
        persona,
        skin,
        host_name: "localhost".to_owned(),
        auth,
        secure: false,
        log_requests: true,
        log_redirects: false,
        log_unimplemented: false,
        planted: HoneyCreds::default(),
    }
}

fn local(port: u16, transport: Transport) -> Facts {
    Facts { local: ([127, 0, 0, 1], port).into(), transport, host_name: Arc::from("localhost"), ..facts(port) }
}

/// A reply with what differs from run to run made equal: nonces, boundaries, compressed bytes.
fn settled(reply: &[u8]) -> String {
    let mut text = reply.escape_ascii().to_string();
    for (from, to) in [("nonce=\\\"", "\\\""), ("boundary=", "\\r")] {
        if let Some((before, rest)) = text.clone().split_once(from) {
            let (word, behind) = rest.split_once(to).unwrap();
            text = format!("{before}{from}@{to}{}", behind.replace(&format!("--{word}"), "--@"));
        }
    }
    if let Some((head, body)) = text.clone().split_once("\\r\\n\\r\\n").filter(|(h, _)| h.contains("Encoding: gzip")) {
        let keep = |part: &&str| !part.starts_with("Content-Length") && !part.starts_with("Content-Range");
        let head: Vec<_> = head.split("\\r\\n").filter(keep).collect();
        text = format!("{}|{}", head.join("|"), if body.is_empty() { "" } else { "packed" });
    }
    text
}

fn replay(banner: &str, ports: (u16, u16), fixture: &str) {
    let date = http_date(NOW / 1_000_000);
    let mut wrong = Vec::new();
    for case in recorded(fixture) {
        let auth = match case.name.as_str() {
            "401 digest" => Auth::Digest,
            name if name.starts_with("401") => Auth::Basic,
            _ => Auth::None,
        };
        let facts = match case.name.strip_prefix("tls port") {
            Some(_) => local(ports.1, Transport::PlainOnTlsPort),
            None => local(ports.0, Transport::Plain),
        };
        let mut http = Http::new(Arc::new(recorded_site(banner, auth)), facts);
        let mut talk = Talk::open(&mut http);
        let reply = talk.send(&case.sent);
        let closed = talk.transcript().closed();
        let index = String::from_utf8(recorded_index()).unwrap();
        let expected: Vec<u8> = case.reply.clone();
        let expected = replace(&expected, b"{date}", date.as_bytes());
        let expected = replace(&expected, b"{index}", index.as_bytes());
        let (ours, theirs) = (settled(&reply), settled(&expected));
        if ours != theirs || closed != case.closes {
            wrong.push(format!("{}\n  ours {closed} {ours:.600}\n real {} {theirs:.600}", case.name, case.closes));
        }
        assert!(!talk.end().events().is_empty(), "{}: nothing was reported", case.name);
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut last = 0;
    for at in memchr::memmem::find_iter(text, from) {
        out.extend_from_slice(&text[last..at]);
        out.extend_from_slice(to);
        last = at + from.len();
    }
    out.extend_from_slice(&text[last..]);
    out
}

#[test]
fn answers_as_the_recorded_nginx() {
    replay("nginx/1.22.1", (38080, 38443), include_str!("fixtures/nginx.txt"));
}

#[test]
fn answers_as_the_recorded_apache() {
    replay("Apache/2.4.71 (Debian)", (38081, 38444), include_str!("fixtures/apache.txt"));
}

fn talk(entry: &Entry, given: &[(&str, &str)], chunks: &[&[u8]]) -> Transcript {
    let service = build(entry, given);
    exchange(&mut *service.dialogue(0, &facts(80)), chunks)
}

fn keys(data: &LogData) -> Vec<String> {
    data.iter().map(|(key, _)| key.to_owned()).collect()
}

fn value<'a>(data: &'a LogData, key: &str) -> &'a [u8] {
    data.get(key).and_then(Value::as_bytes).unwrap_or_else(|| panic!("{key} in {data:?}"))
}

fn post(path: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: nas.example:8080\r\nUser-Agent: old\r\nUser-Agent: t/1\r\n\
         Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

const FORM: &str = "application/x-www-form-urlencoded";

#[test]
fn writes_opencanary_s_events_with_exactly_its_keys() {
    let all = [("http.log_unimplemented_method_requests", "true"), ("http.log_redirect_request", "true")];
    let sent = [
        b"GET /index.html?x=1 HTTP/1.0\r\n\r\n".to_vec(),
        post("/index.html", FORM, b"username=b%ff%fe&password=x+y"),
        b"HEAD /index.html HTTP/1.1\r\nHost: [::1]:80\r\n\r\n".to_vec(),
        b"OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
    ];
    let logs: Vec<Transcript> = sent.iter().map(|bytes| talk(&HTTP, &all, &[bytes])).collect();
    let get = logs[0].events_of(3000)[0];
    assert_eq!(keys(get), ["HOSTNAME", "PATH", "SKIN", "USERAGENT"]);
    assert_eq!((value(get, "HOSTNAME"), value(get, "PATH")), (b"192.0.2.1".as_slice(), b"/index.html".as_slice()));
    assert_eq!((value(get, "SKIN"), value(get, "USERAGENT")), (b"basicLogin".as_slice(), b"<not supplied>".as_slice()));
    let login = logs[1].events_of(3001)[0];
    assert_eq!(keys(login), ["HOSTNAME", "PASSWORD", "PATH", "SKIN", "USERAGENT", "USERNAME"]);
    assert_eq!((value(login, "USERNAME"), value(login, "PASSWORD")), (b"b\xff\xfe".as_slice(), b"x y".as_slice()));
    assert_eq!((value(login, "HOSTNAME"), value(login, "USERAGENT")), (b"nas.example".as_slice(), b"t/1".as_slice()));
    let head = logs[2].events_of(3002)[0];
    assert_eq!(keys(head), ["HOSTNAME", "PATH", "REQUEST_TYPE", "SKIN", "USERAGENT"]);
    assert_eq!((value(head, "REQUEST_TYPE"), value(head, "HOSTNAME")), (b"HEAD".as_slice(), b"::1".as_slice()));
    assert_eq!(keys(logs[3].events_of(3003)[0]), ["HOSTNAME", "PATH", "USERAGENT"]);
    for log in &logs {
        assert_eq!(log.events_of(30200).len(), 1);
    }
}

#[test]
fn reports_methods_and_redirects_only_when_asked() {
    let log = talk(&HTTP, &[("http.log_requests", "false")], &[b"PUT / HTTP/1.1\r\nHost: a\r\n\r\n"]);
    assert!(log.events().is_empty());
}

#[test]
fn refuses_every_login_on_the_page_itself() {
    let log = talk(&HTTP, &[], &[&post("/", FORM, b"username=a&password=b")]);
    let reply = String::from_utf8(log.replies()).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n") && reply.contains("is incorrect"), "{reply}");
    assert!(!reply.contains("ETag"));
    assert_eq!(value(log.events_of(3001)[0], "PATH"), b"/");
}

#[test]
fn says_what_was_not_supplied() {
    let log = talk(&HTTP, &[], &[&post("/index.html", FORM, b"nothing")]);
    let login = log.events_of(3001)[0];
    assert_eq!(value(login, "USERNAME"), b"<not supplied>");
    let log = talk(&HTTP, &[], &[&post("/index.html", "application/json", b"{\"username\":\"a\",\"password\":\"b\"}")]);
    assert_eq!(value(log.events_of(3001)[0], "PASSWORD"), b"b");
}

#[test]
fn finds_credentials_on_any_path_and_in_any_form() {
    let found = |bytes: &[u8]| {
        let log = talk(&HTTP, &[("http.skin", "\"nasLogin\"")], &[bytes]);
        let attempt = log.events_of(30201)[0];
        let text = |key| value(attempt, key).escape_ascii().to_string();
        (text("SCHEME"), text("USERNAME"), text("PASSWORD"))
    };
    let expected = |scheme: &str| (scheme.to_owned(), "a".to_owned(), "b".to_owned());
    assert_eq!(found(&post("/wp-login.php", FORM, b"log=a&pwd=b")), expected("form"));
    assert_eq!(
        found(&post("/api/v2/session", "application/json", b"{\"user\":\"a\",\"password\":\"b\"}")),
        expected("JSON")
    );
    assert_eq!(found(b"GET /x?user=a&password=b HTTP/1.0\r\n\r\n"), expected("query"));
    assert_eq!(found(b"GET /x HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YTpi\r\n\r\n"), expected("Basic"));
    // A request that gets 400 counts as well.
    assert_eq!(found(b"GET /x HTTP/1.1\r\nAuthorization: Basic YTpi\r\n\r\n"), expected("Basic"));
}

#[test]
fn keeps_tokens_of_schemes_that_nobody_knows() {
    let log =
        talk(&HTTP, &[], &[b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a.b.c\r\nAuthorization: Odd\r\n\r\n"]);
    let attempts = log.events_of(30201);
    assert_eq!(
        (value(attempts[0], "SCHEME"), value(attempts[0], "TOKEN")),
        (b"Bearer".as_slice(), b"a.b.c".as_slice())
    );
    assert_eq!(value(attempts[1], "SCHEME"), b"Odd");
}

#[test]
fn gives_ntlm_a_challenge_and_writes_the_line() {
    for scheme in ["NTLM", "Negotiate"] {
        let service = build(&HTTP, &[("http.banner", "\"nginx/1.22.1\"")]);
        let mut dialogue = service.dialogue(0, &facts(80));
        let mut talk = Talk::open(&mut *dialogue);
        let opening = STANDARD.encode(b"NTLMSSP\0\x01\0\0\0\x07\x82\x08\xa2");
        let reply =
            talk.send(format!("GET /any HTTP/1.1\r\nHost: a\r\nAuthorization: {scheme} {opening}\r\n\r\n").as_bytes());
        let reply = String::from_utf8(reply).unwrap();
        assert!(reply.starts_with("HTTP/1.1 401 "), "{reply}");
        let token = reply.split(&format!("WWW-Authenticate: {scheme} ")).nth(1).unwrap().split("\r\n").next().unwrap();
        let challenge = STANDARD.decode(token).unwrap();
        assert_eq!(&challenge[..12], b"NTLMSSP\0\x02\0\0\0");
        let shown: String = challenge[24..32].iter().map(|b| format!("{b:02x}")).collect();
        let mut answer = b"NTLMSSP\0\x03\0\0\0".to_vec();
        for (length, offset) in [(0_u8, 64_u8), (24, 64), (0, 88), (2, 88), (0, 90), (0, 90)] {
            answer.extend_from_slice(&[length, 0, length, 0, offset, 0, 0, 0]);
        }
        answer.extend_from_slice(&[1, 2, 0, 0]);
        answer.extend_from_slice(&[0xab; 24]);
        answer.extend_from_slice(b"u\0");
        let answer = STANDARD.encode(answer);
        talk.send(format!("GET /any HTTP/1.1\r\nHost: a\r\nAuthorization: {scheme} {answer}\r\n\r\n").as_bytes());
        let log = talk.end();
        assert_eq!(log.events_of(30201).len(), 1);
        let line = value(log.events_of(30201)[0], "HASHCAT").escape_ascii().to_string();
        assert_eq!(line, format!("u::::{}:{shown}", "ab".repeat(24)));
    }
}

/// A response to the challenge in a reply, with this password.
pub(crate) fn respond(reply: &[u8], user: &str, password: &str) -> (String, [u8; 8]) {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let text = String::from_utf8_lossy(reply).into_owned();
    let token = text.split_once("Authenticate: NTLM ").unwrap().1.split("\r\n").next().unwrap();
    let challenge: [u8; 8] = STANDARD.decode(token).unwrap()[24..32].try_into().unwrap();
    let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let mac = |key: &[u8], parts: &[&[u8]]| {
        let mut mac = Hmac::<md5::Md5>::new_from_slice(key).unwrap();
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().to_vec()
    };
    let blob = [b"\x01\x01\0\0\0\0\0\0".as_slice(), &[7; 16], &[0; 8]].concat();
    let identity = wide(&format!("{}CORP", user.to_uppercase()));
    let key = mac(&aviary_wire::guess::nt_hash(password.as_bytes()), &[&identity]);
    let nt = [mac(&key, &[&challenge, &blob]), blob].concat();
    let fields = [vec![0; 24], nt, wide("CORP"), wide(user), wide("WKS01"), Vec::new()];
    let mut message = b"NTLMSSP\0\x03\0\0\0".to_vec();
    let mut at = 72;
    for field in &fields {
        let length = u16::try_from(field.len()).unwrap().to_le_bytes();
        message.extend_from_slice(&[length, length].concat());
        message.extend_from_slice(&u32::try_from(at).unwrap().to_le_bytes());
        at += field.len();
    }
    message.extend_from_slice(&0xa288_8205_u32.to_le_bytes());
    message.extend_from_slice(&[10, 0, 0x61, 0x4a, 0, 0, 0, 15]);
    message.extend_from_slice(&fields.concat());
    assert!(aviary_wire::ntlm::Authenticate::parse(&message).is_ok());
    (format!("NTLM {}", STANDARD.encode(message)), challenge)
}

#[test]
fn a_planted_password_is_found_in_a_response() {
    let given = r#"[{"username": "bob", "password": "Zebra-Quartz-77"}]"#;
    for (entry, key) in [(&HTTP, "http.honeycreds"), (&HTTPS, "https.honeycreds")] {
        let service = build(entry, &[(key, given)]);
        let mut dialogue = service.dialogue(0, &facts(80));
        let mut talk = Talk::open(&mut *dialogue);
        let get = |credentials: &str| {
            format!("GET /any HTTP/1.1\r\nHost: a\r\nAuthorization: {credentials}\r\n\r\n").into_bytes()
        };
        let reply = talk.send(&get(&format!("NTLM {}", STANDARD.encode(b"NTLMSSP\0\x01\0\0\0\x07\x82\x08\xa2"))));
        talk.send(&get(&respond(&reply, "bob", "Zebra-Quartz-77").0));
        let log = talk.end();
        assert_eq!(value(log.events_of(30201)[0], "PASSWORD"), b"Zebra-Quartz-77", "{key}");
    }
}

#[test]
fn offers_what_is_configured_on_every_page() {
    for (auth, offers) in [
        ("basic", vec!["Basic realm=\"Restricted\""]),
        ("digest", vec!["Digest realm=\"Restricted\", nonce=\""]),
        ("ntlm", vec!["NTLM\r\n"]),
        ("negotiate", vec!["Negotiate\r\n", "NTLM\r\n"]),
    ] {
        let given = [("http.auth", format!("\"{auth}\""))];
        let given: Vec<(&str, &str)> = given.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let reply = talk(&HTTP, &given, &[b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n"]).replies();
        let reply = String::from_utf8(reply).unwrap();
        assert!(reply.starts_with("HTTP/1.1 401 Unauthorized\r\n"));
        for offer in offers {
            assert!(reply.contains(&format!("WWW-Authenticate: {offer}")), "{auth}: {reply}");
        }
    }
}

#[test]
fn shows_the_whole_request_in_order() {
    let long = [b"x".repeat(5000), b"end".to_vec()].concat();
    let sent = [b"POST /a?b HTTP/1.1\r\nhOsT:  a\r\nX-Y : no\r\n".as_slice(), b"\r\n"].concat();
    assert_eq!(talk(&HTTP, &[], &[&sent]).events_of(30202).len(), 1);
    let log = talk(&HTTP, &[("http.banner", "\"nginx/1.22.1\"")], &[&post("/a?b", "text/plain", &long)]);
    let request = log.events_of(30200)[0];
    assert_eq!(value(request, "METHOD"), b"POST");
    assert_eq!(value(request, "TARGET"), b"/a?b");
    assert_eq!(value(request, "VERSION"), b"HTTP/1.1");
    assert_eq!(value(request, "BODY").len(), 4096);
    assert_eq!(request.get("BODY_LENGTH"), Some(&Value::Int(5003)));
    assert_eq!(value(request, "BODY_SHA256").len(), 64);
    let Some(Value::List(headers)) = request.get("HEADERS") else { panic!() };
    assert_eq!(headers[0].as_bytes(), Some(b"Host: nas.example:8080".as_slice()));
    assert_eq!(headers.len(), 5);
}

/// The notes of a transcript, and how many events came before each.
pub(crate) fn noted(transcript: &Transcript) -> Vec<(usize, String)> {
    let mut events = 0;
    let mut notes = Vec::new();
    for line in &transcript.lines {
        match line {
            Line::Event(..) => events += 1,
            Line::Note("ja4h", Value::Text(print)) => notes.push((events, print.clone())),
            _ => {}
        }
    }
    notes
}

#[test]
fn each_request_is_fingerprinted_before_its_events() {
    // The names are those of captures among JA4H's own tests, which give these hashes.
    let first = b"POST /a HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nUser-Agent: x\r\nContent-Type: a/b\r\nContent-Length: 2\r\n\r\nok";
    let second = b"GET /b HTTP/1.1\r\nHost: a\r\nUser-Agent: x\r\nAccept: */*\r\nRange: x\r\n\r\n";
    let hashes = ["po11nn050000_530ceba2075f", "ge11nn040000_ad0fd3707af2"];
    let wanted = [0, 1].map(|n| (n, format!("{}_000000000000_000000000000", hashes[n])));
    for (entry, banner) in [(&HTTP, "http.banner"), (&HTTPS, "https.banner")] {
        for product in ["\"nginx/1.22.1\"", "\"Apache/2.4.71 (Debian)\"", "\"Microsoft-IIS/10.0\""] {
            let log = talk(entry, &[(banner, product)], &[&[first.as_slice(), second].concat()]);
            assert_eq!(noted(&log), wanted, "{product}");
        }
    }
}

#[test]
fn refused_requests_are_fingerprinted_when_their_head_is_whole() {
    let nginx = [("http.banner", "\"nginx/1.22.1\"")];
    let noted = |sent: &[u8]| noted(&talk(&HTTP, &nginx, &[sent]));
    // No host, a name that nginx passes over, and HTTP/0.9.
    assert!(noted(b"GET / HTTP/1.1\r\nA: b\r\n\r\n")[0].1.starts_with("ge11nn010000_"));
    let over = noted(b"GET / HTTP/1.1\r\nHost: a\r\nx_y: z\r\nB: c\r\n\r\n");
    assert_eq!(
        over[0].1,
        aviary_wire::fingerprint::ja4h(
            b"GET",
            Some((1, 1)),
            [(b"Host".as_slice(), b"a".as_slice()), (b"x_y", b"z"), (b"B", b"c")].into_iter()
        )
    );
    let service = build(&HTTPS, &[("http.banner", "\"Apache/2.4.71 (Debian)\"")]);
    let plain = Facts { transport: Transport::PlainOnTlsPort, ..facts(443) };
    let misplaced = exchange(&mut *service.dialogue(0, &plain), &[b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"]);
    assert!(super::tests::noted(&misplaced)[0].1.starts_with("ge11nn010000_"));
    assert!(noted(b"GET /\r\n")[0].1.starts_with("ge09nn000000_000000000000_"));
    // A head that breaks off is none, and neither is what is no request.
    assert_eq!(noted(b"GET / HTTP/1.1\r\nHost: a\r\n"), []);
    assert_eq!(noted(b"\x16\x03\x01\0\x05hello\r\n\r\n"), []);
}

#[test]
fn closes_when_the_persona_s_requests_are_used_up() {
    for (banner, served, last) in [
        ("nginx/1.22.1", 1000, "Connection: close"),
        ("nginx/1.18.0", 100, "Connection: close"),
        ("Apache/2.4.71 (Debian)", 101, "Connection: close"),
    ] {
        let mut http = Http::new(Arc::new(recorded_site(banner, Auth::None)), local(80, Transport::Plain));
        let mut talk = Talk::open(&mut http);
        for n in 1..=served {
            let reply = talk.send(b"GET /none HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
            let reply = String::from_utf8(reply).unwrap();
            assert_eq!(reply.contains(last), n == served, "{banner} {n}");
            if banner.starts_with("Apache") && n < served {
                assert!(reply.contains(&format!("Keep-Alive: timeout=5, max={}\r\n", 101 - n)), "{reply}");
            }
        }
        assert!(talk.transcript().closed());
    }
}

#[test]
fn reports_unfinished_requests() {
    for (sent, kind) in [
        (b"GET / HT".as_slice(), 30202),
        (b"GET / HTTP/1.1\r\nHost: a\r\nFo", 30202),
        (b"POST /index.html HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\nusername=a&password=b", 3001),
        (b"\r\n\r\n", 30202),
    ] {
        let log = talk(&HTTP, &[], &[sent]);
        assert_eq!(log.events_of(kind).len(), 1, "{}", sent.escape_ascii());
    }
}

#[test]
fn refuses_a_request_that_ends_early_as_apache_does() {
    let told = |sent: &[u8], banner: &str| {
        let mut http = Http::new(Arc::new(recorded_site(banner, Auth::None)), local(80, Transport::Plain));
        let mut talk = Talk::open(&mut http);
        talk.send(sent);
        String::from_utf8(talk.end().replies()).unwrap()
    };
    let apache = |sent: &[u8]| told(sent, "Apache/2.4.71 (Debian)");
    let head = apache(b"GET /nonexist HTTP/1.1\r\nHost: x\r\nFo");
    assert!(head.starts_with("HTTP/1.1 400 ") && head.contains("Server at localhost Port 80"), "{head}");
    assert!(apache(b"HEAD / HTTP/1.1\r\nHo").ends_with("iso-8859-1\r\n\r\n"));
    let body = apache(b"POST /css/style.css HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc");
    assert!(body.starts_with("HTTP/1.1 400 ") && body.contains("Server at x Port 80"), "{body}");
    assert_eq!(apache(b"GET /nonexist HT"), "");
    assert_eq!(told(b"GET /nonexist HTTP/1.1\r\nHo", "nginx/1.22.1"), "");
}

#[test]
fn answers_a_slow_request_as_apache_does() {
    let step = |sent: &[u8], banner: &str| {
        let mut http = Http::new(Arc::new(recorded_site(banner, Auth::None)), local(80, Transport::Plain));
        let mut out = Outbox::new(aviary_event::Timestamp::from_micros(NOW));
        let mut rest = sent;
        while !rest.is_empty() {
            let used = http.feed(rest, &mut out);
            if used == 0 {
                break;
            }
            rest = &rest[used..];
        }
        let mut out = Outbox::new(aviary_event::Timestamp::from_micros(NOW));
        http.expired(rest, &mut out);
        format!("{:?}", out.into_steps())
    };
    let told = step(b"GET / HTTP/1.1\r\nHost: x\r\nFo", "Apache/2.4.71 (Debian)");
    assert!(told.contains("408 Request Timeout") && told.contains("30202"), "{told}");
    assert!(
        step(b"POST /n HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab", "Apache/2.4.71")
            .contains("Server at x Port 80")
    );
    assert!(!step(b"GET / HT", "Apache/2.4.71").contains("408"));
    assert!(!step(b"GET / HTTP/1.1\r\nHost: x\r\nFo", "nginx/1.22.1").contains("Reply"));
}

#[test]
fn reports_what_stands_behind_the_last_request() {
    let sent = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /secret HTTP/1.1\r\n\r\n";
    let log = talk(&HTTP, &[], &[sent]);
    assert_eq!(value(log.events_of(30202)[0], "RAW"), b"GET /secret HTTP/1.1\r\n\r\n");
}

#[test]
fn chunk_size_changes_nothing() {
    let sent = [
        post("/index.html", FORM, b"username=a&password=b"),
        b"GET /ui/console.css HTTP/1.1\r\nHost: a\r\nRange: bytes=1-5,9-12\r\n\r\n".to_vec(),
        b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n".to_vec(),
        b"GET /nothing HTTP/1.0\r\nHost: a\r\n\r\n".to_vec(),
    ]
    .concat();
    for banner in ["\"Apache/2.4.71 (Debian)\"", "\"nginx/1.22.1\""] {
        let given = [("http.banner", banner), ("http.skin", "\"nasLogin\"")];
        let whole = talk(&HTTP, &given, &[&sent]);
        let bytes: Vec<&[u8]> = sent.chunks(1).collect();
        let pieces = talk(&HTTP, &given, &bytes);
        assert_eq!(whole.replies().escape_ascii().to_string(), pieces.replies().escape_ascii().to_string());
        assert_eq!(whole.events(), pieces.events());
        assert!(whole.replies().len() > 2000);
    }
}

#[test]
fn serves_https_with_its_own_skin_and_a_plausible_certificate() {
    let service = build(&HTTPS, &[("https.skin", "\"nasLogin\"")]);
    let tls = service.tls().unwrap();
    assert_eq!(tls.subject, [("CN", "srv01".to_owned())]);
    assert_eq!((tls.names, tls.days, tls.key), (vec!["srv01".to_owned()], 3650, TlsKey::Rsa2048));
    assert!(tls.files.is_none());
    assert_eq!(service.endpoints()[0].security, Security::Tls);
    let mut dialogue = service.dialogue(0, &facts(443));
    let log = exchange(&mut *dialogue, &[b"GET /ui HTTP/1.1\r\nHost: a\r\n\r\n"]);
    assert!(String::from_utf8(log.replies()).unwrap().contains("Location: https://a/ui/\r\n"));
    let named = build(
        &HTTPS,
        &[("https.domain_name", "\"nas.example\""), ("https.certificate", "\"/c\""), ("https.key", "\"/k\"")],
    );
    let tls = named.tls().unwrap();
    assert_eq!((tls.names[0].as_str(), tls.files), ("nas.example", Some(("/c".into(), "/k".into()))));
}

#[test]
fn explains_a_skin_that_is_not_there() {
    let settings = aviary_testkit::settings(HTTP.keys, &[("http.skin", "\"nope\"")]);
    let vault = aviary_service::MemoryVault::default();
    let materials = Materials { settings: &settings, vault: &vault, host_name: "srv01" };
    let Err(rejection) = (HTTP.build)(&materials) else { panic!() };
    assert_eq!(rejection.to_string(), "`http.skin`: no skin is called `nope`; there are `basicLogin`, `nasLogin`");
}

#[test]
fn reported_keys_are_declared() {
    let sent = [
        post("/index.html", FORM, b"username=a&password=b"),
        post("/x", FORM, b"user=a&pass=b"),
        b"HEAD / HTTP/1.1\r\nHost: a\r\nAuthorization: Digest username=\"a\", response=\"0123456789abcdef0123456789abcdef\"\r\n\r\n".to_vec(),
        b"junk\r\n".to_vec(),
    ];
    let declared: BTreeMap<i64, &[&str]> = HTTP.kinds.iter().map(|kind| (kind.number, kind.keys)).collect();
    for kind in HTTP.kinds {
        assert!(kind.keys.is_sorted(), "{}", kind.number);
    }
    let all = [("http.log_unimplemented_method_requests", "true"), ("http.log_redirect_request", "true")];
    for bytes in &sent {
        for (number, data) in talk(&HTTP, &all, &[bytes]).events() {
            for key in keys(data) {
                assert!(declared[&number].contains(&key.as_str()), "{number} {key}");
            }
        }
    }
}

#[test]
fn families_differ_in_media_types() {
    assert_eq!(Family::Nginx.media("/a.js"), Some("application/javascript"));
    assert_eq!(Family::Apache.media("/noext"), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn garbage_never_panics_and_is_always_reported(
        pieces in proptest::collection::vec(
            prop_oneof![
                proptest::collection::vec(any::<u8>(), 1..40),
                proptest::sample::select(vec![
                    b"GET / HTTP/1.1\r\n".to_vec(), b"POST /index.html HTTP/1.1\r\n".to_vec(), b"Host: a\r\n".to_vec(),
                    b"\r\n".to_vec(), b"Content-Length: 7\r\n".to_vec(), b"Transfer-Encoding: chunked\r\n".to_vec(),
                    b"Range: bytes=1-2,-3\r\n".to_vec(), b"Authorization: NTLM TlRMTVNTUAABAAAA\r\n".to_vec(),
                    b"Content-Type: multipart/form-data; boundary=b\r\n".to_vec(), b"--b\r\n\r\n--b".to_vec(),
                    b"5\r\nabcde\r\n".to_vec(), b"0\r\n\r\n".to_vec(), b"{\"a\":[1,{\"password\":\"\xff\"}]}".to_vec(),
                ]),
            ],
            1..12,
        ),
        nginx in any::<bool>(),
        misplaced in any::<bool>(),
    ) {
        let banner = if nginx { "nginx/1.22.1" } else { "Apache/2.4.71 (Debian)" };
        let transport = if misplaced { Transport::PlainOnTlsPort } else { Transport::Plain };
        let mut http = Http::new(Arc::new(recorded_site(banner, Auth::None)), local(80, transport));
        let chunks: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        let log = exchange(&mut http, &chunks);
        prop_assert!(!log.events().is_empty());
    }
}

#[test]
fn iis_answers_in_its_own_order_and_http_sys_refuses() {
    let iis = |chunk: &str| {
        let log = talk(&HTTP, &[("http.banner", "\"Microsoft-IIS/10.0\"")], &[chunk.as_bytes()]);
        let text = String::from_utf8_lossy(&log.replies()).into_owned();
        let (head, _) = text.split_once("\r\n\r\n").expect("a head");
        let names: Vec<&str> = head.lines().map(|line| line.split(": ").next().unwrap_or_default()).collect();
        (names.join(" "), text.clone())
    };
    let (names, text) = iis("GET /nothing.html HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(names, "HTTP/1.1 404 Not Found Content-Type Server X-Powered-By Date Content-Length");
    assert!(text.contains("Content-Length: 1245\r\n"), "{text}");
    let (names, _) = iis("GET /index.html HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(names.starts_with("HTTP/1.1 200 OK Content-Type"), "{names}");
    assert!(names.ends_with("Server X-Powered-By Date Connection Content-Length"), "{names}");
    let (names, text) = iis("GET / HTTP/1.1\r\n\r\n");
    assert_eq!(names, "HTTP/1.1 400 Bad Request Content-Type Server Date Connection Content-Length");
    assert!(text.contains("Microsoft-HTTPAPI/2.0") && text.contains("Invalid Hostname"), "{text}");
    let (names, text) = iis("PUT /index.html HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert!(names.starts_with("HTTP/1.1 405 Method Not Allowed Content-Type Allow Server"), "{names} {text}");
}
