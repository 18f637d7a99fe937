//! Whole conversations: handshakes with every algorithm, logins, and what the real server answers.

mod client;

use std::collections::BTreeMap;

use aviary_event::{LogData, Value};
use aviary_service::{Dialogue, Service};
use aviary_testkit::{Line, Talk, Transcript, build, exchange, facts};
use client::{Client, Offer};
use proptest::prelude::*;

use super::ENTRY;
use super::codec::{Writer, message};
use super::negotiation::KexInit;
use super::packet::{Inbound, Outbound, Received};
use super::personas::{DEFAULT, PERSONAS};

const BANNER_9_2: &str = "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10";
const STRICT: &str = "ext-info-c,kex-strict-c-v00@openssh.com";

fn service(banner: &str) -> Box<dyn Service> {
    build(&ENTRY, &[("ssh.version", &format!("{banner:?}"))])
}

fn dialogue(banner: &str) -> Box<dyn Dialogue> {
    service(banner).dialogue(0, &facts(22))
}

fn service_request() -> Vec<u8> {
    Writer::message(message::SERVICE_REQUEST).string("ssh-userauth").done()
}

fn request(user: &[u8], method: &str, fields: Vec<u8>) -> Vec<u8> {
    let start = Writer::message(message::USERAUTH_REQUEST).string(user);
    start.string("ssh-connection").string(method).bytes(fields).done()
}

fn password(user: &[u8], password: &[u8]) -> Vec<u8> {
    request(user, "password", Writer::new().u8(0).string(password).done())
}

const FAILURE: &[u8] = b"\x33\0\0\0\x12publickey,password\0";

/// Shakes hands, then asks for a login that is refused.
fn refused(service: &dyn Service, offer: Offer) {
    let mut dialogue = service.dialogue(0, &facts(22));
    let mut talk = Talk::open(&mut *dialogue);
    let mut client = Client::connect(&mut talk, offer);
    let what = || format!("{} {} {} {}", offer.kex, offer.host_key, offer.cipher, offer.mac);
    assert_eq!(client.ask(&mut talk, &service_request()), Some(b"\x06\0\0\0\x0cssh-userauth".to_vec()), "{}", what());
    assert_eq!(client.ask(&mut talk, &password(b"root", b"secret")).as_deref(), Some(FAILURE), "{}", what());
    assert_eq!(client.ask(&mut talk, &password(b"root", &[b'x'; 3000])).as_deref(), Some(FAILURE), "{}", what());
    let transcript = talk.end();
    assert_eq!(transcript.events_of(4002).len(), 2);
    assert!(transcript.events_of(30306).is_empty(), "{transcript}");
}

#[test]
fn every_cipher_works_with_every_mac() {
    let service = service(BANNER_9_2);
    let split = |list: &'static str| list.split(',');
    let (ciphers, macs) = (PERSONAS[3].ciphers, PERSONAS[3].macs);
    for cipher in split(ciphers) {
        for mac in split(macs) {
            refused(&*service, Offer { cipher, mac, ..Offer::default() });
        }
    }
}

#[test]
fn every_key_exchange_works_with_every_cipher_of_its_persona() {
    for persona in [PERSONAS[3], DEFAULT] {
        let service = service(persona.banner);
        for kex in persona.kex.split(',').filter(|name| super::kex::Method::by_name(name).is_some()) {
            let slow = kex.starts_with("diffie") || kex.ends_with("521");
            for cipher in persona.ciphers.split(',').take(if slow { 1 } else { 6 }) {
                refused(&*service, Offer { kex, cipher, mac: "umac-64-etm@openssh.com", ..Offer::default() });
            }
        }
    }
}

#[test]
fn every_host_key_signs_in_every_way() {
    let service = service(PERSONAS[0].banner);
    for host_key in PERSONAS[0].host_keys.split(',') {
        refused(&*service, Offer { host_key, ..Offer::default() });
    }
}

#[test]
fn two_installations_share_no_host_key() {
    let key = || {
        let mut dialogue = dialogue(BANNER_9_2);
        let mut talk = Talk::open(&mut *dialogue);
        Client::connect(&mut talk, Offer::default());
        talk.end().replies()[1200..1240].to_vec()
    };
    assert_ne!(key(), key());
}

#[test]
fn strict_key_exchange_and_extensions() {
    for persona in PERSONAS {
        let mut dialogue = dialogue(persona.banner);
        let mut talk = Talk::open(&mut *dialogue);
        let markers = if persona.is_strict() { STRICT } else { "ext-info-c" };
        let mut client = Client::connect(&mut talk, Offer { markers, ..Offer::default() });
        let info = client.next().expect("EXT_INFO");
        let count = u32::try_from(persona.extensions.len()).expect("few");
        let expected =
            persona.extensions.iter().fold(Writer::message(message::EXT_INFO).u32(count), |writer, (name, value)| {
                writer.string(name).string(value)
            });
        assert_eq!(info, expected.done(), "{}", persona.banner);
        assert!(client.ask(&mut talk, &service_request()).is_some(), "{}", persona.banner);
    }
}

#[test]
fn signature_algorithms_come_once_more_for_who_asks() {
    let mut dialogue = dialogue(DEFAULT.banner);
    let mut talk = Talk::open(&mut *dialogue);
    let mut client = Client::connect(&mut talk, Offer { markers: STRICT, ..Offer::default() });
    client.next().expect("EXT_INFO");
    let wish = Writer::message(message::EXT_INFO).u32(1).string("ext-info-in-auth@openssh.com").string("0");
    assert_eq!(client.ask(&mut talk, &wish.done()), None);
    client.ask(&mut talk, &service_request());
    let again = client.ask(&mut talk, &request(b"root", "none", vec![])).expect("EXT_INFO");
    assert!(again.starts_with(b"\x07\0\0\0\x01\0\0\0\x0fserver-sig-algs"));
    assert_eq!(client.next().as_deref(), Some(FAILURE));
}

#[test]
fn reports_what_opencanary_reports_with_its_keys() {
    let mut dialogue = dialogue(BANNER_9_2);
    let mut talk = Talk::open(&mut *dialogue);
    let mut client = Client::connect(&mut talk, Offer::default());
    client.ask(&mut talk, &service_request());
    client.ask(&mut talk, &service_request());
    client.ask(&mut talk, &password(b"r\xffot", b"p\xe4ss\0"));
    let transcript = talk.end();
    let keys = |number| -> Vec<String> {
        let events = transcript.events_of(number);
        events[0].iter().map(|(key, _)| key.to_owned()).collect()
    };
    assert_eq!(transcript.events_of(4000)[0], &LogData::new().with("SESSION", "0"));
    assert_eq!(transcript.events_of(4001).len(), 2);
    assert_eq!(keys(4001), ["LOCALVERSION", "REMOTEVERSION"]);
    assert_eq!(keys(4002), ["LOCALVERSION", "PASSWORD", "REMOTEVERSION", "USERNAME"]);
    let login = transcript.events_of(4002)[0];
    assert_eq!(login.get("LOCALVERSION").and_then(Value::as_str), Some(BANNER_9_2));
    assert_eq!(login.get("REMOTEVERSION").and_then(Value::as_str), Some(client::LINE));
    assert_eq!(login.get("USERNAME").and_then(Value::as_bytes), Some(&b"r\xffot"[..]));
    assert_eq!(login.get("PASSWORD").and_then(Value::as_bytes), Some(&b"p\xe4ss\0"[..]));
}

#[test]
fn every_event_has_only_declared_keys_in_order() {
    let mut dialogue = build(&ENTRY, &[("ssh.keyboard_interactive", "true")]).dialogue(0, &facts(22));
    let mut talk = Talk::open(&mut *dialogue);
    let mut client = Client::connect(&mut talk, Offer { markers: "ext-info-c", ..Offer::default() });
    client.next();
    for number in 0..20_u8 {
        client.say(&mut talk, &[message::IGNORE, 0, 0, 0, 1, number]);
    }
    client.ask(&mut talk, &service_request());
    let key = Writer::new().string("ssh-ed25519").string([7; 32]).done();
    client.ask(&mut talk, &request(b"u", "publickey", Writer::new().u8(0).string("ssh-ed25519").string(&key).done()));
    client.ask(&mut talk, &request(b"u", "password", Writer::new().u8(1).string("old").string("new").done()));
    let prompt =
        client.ask(&mut talk, &request(b"u", "keyboard-interactive", Writer::new().string("").string("").done()));
    assert_eq!(prompt.as_deref(), Some(&b"\x3c\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x0aPassword: \0"[..]));
    let answer = Writer::message(message::INFO_RESPONSE).u32(1).string("from the keyboard").done();
    let failure = client.ask(&mut talk, &answer).expect("an answer");
    assert!(failure.ends_with(b"publickey,password,keyboard-interactive\0"));
    client.say(&mut talk, &[200, 1, 2, 3]);
    client.say(&mut talk, &Writer::message(message::DISCONNECT).u32(11).string("bye").string("").done());
    let transcript = talk.end();
    assert!(transcript.closed());
    let seen: Vec<i64> = transcript.events().iter().map(|(number, _)| *number).collect();
    for kind in ENTRY.kinds {
        assert!(seen.contains(&kind.number), "{} was not reported", kind.constant);
        assert!(kind.keys.is_sorted(), "{}", kind.constant);
        for data in transcript.events_of(kind.number) {
            for (key, _) in data.iter() {
                assert!(kind.keys.contains(&key), "{} has {key}", kind.constant);
            }
        }
    }
    let key_event = transcript.events_of(30301)[0];
    let text = |name| key_event.get(name).and_then(Value::as_str).map(str::to_owned);
    assert_eq!(text("KEYTYPE").as_deref(), Some("ssh-ed25519"));
    assert_eq!(text("FINGERPRINT").as_deref(), Some("SHA256:gNSIRW+2Iyiuvsdp/bgjy38bvWHw6wQm3tuoXrl3WjQ"));
    assert_eq!(transcript.events_of(30305).iter().filter_map(|data| data.get("COUNT")).count(), 1);
}

#[test]
fn the_sixth_failure_is_the_last_and_is_reported() {
    let mut dialogue = dialogue(BANNER_9_2);
    let mut talk = Talk::open(&mut *dialogue);
    let mut client = Client::connect(&mut talk, Offer::default());
    client.ask(&mut talk, &service_request());
    for _ in 0..5 {
        assert_eq!(client.ask(&mut talk, &password(b"root", b"x")).as_deref(), Some(FAILURE));
    }
    let last = client.ask(&mut talk, &password(b"root", b"last")).expect("an answer");
    assert_eq!(last, b"\x01\0\0\0\x02\0\0\0\x20Too many authentication failures\0\0\0\0");
    let transcript = talk.end();
    assert!(transcript.closed());
    assert_eq!(transcript.events_of(4002).len(), 6);
}

#[test]
fn a_pause_stands_between_the_event_and_the_refusal() {
    let mut dialogue = dialogue(BANNER_9_2);
    let mut talk = Talk::open(&mut *dialogue);
    let mut client = Client::connect(&mut talk, Offer::default());
    client.ask(&mut talk, &service_request());
    client.ask(&mut talk, &password(b"root", b"x"));
    let transcript = talk.end();
    let order: Vec<_> = transcript.lines.iter().skip_while(|line| !matches!(line, Line::Event(4002, _))).collect();
    assert!(matches!(order[..3], [Line::Event(..), Line::Pause(1000..6000), Line::Reply(_)]), "{order:?}");
}

#[test]
fn a_key_exchange_before_login_is_not_understood() {
    let mut dialogue = dialogue(BANNER_9_2);
    let mut talk = Talk::open(&mut *dialogue);
    let mut client = Client::connect(&mut talk, Offer { markers: "kex-strict-c-v00@openssh.com", ..Offer::default() });
    let answer = client.ask(&mut talk, &Offer::default().init());
    assert_eq!(answer.as_deref(), Some(&b"\x03\0\0\0\0"[..]), "sequence numbers began again with the keys");
}

#[test]
fn a_changed_byte_ends_it_without_a_word() {
    for cipher in ["chacha20-poly1305@openssh.com", "aes128-gcm@openssh.com", "aes256-ctr"] {
        let mut dialogue = dialogue(BANNER_9_2);
        let mut talk = Talk::open(&mut *dialogue);
        let mut client = Client::connect(&mut talk, Offer { cipher, ..Offer::default() });
        let mut packet = client.seal(&service_request());
        *packet.last_mut().expect("bytes") ^= 1;
        assert_eq!(talk.send(&packet), b"");
        let transcript = talk.end();
        assert!(transcript.closed());
        let violation = transcript.events_of(30306)[0];
        assert_eq!(violation.get("REASON").and_then(Value::as_str), Some("wrong MAC"));
        assert_eq!(violation.get("DATA").and_then(Value::as_bytes), Some(&packet[..]));
    }
}

/// One line of the file of recorded answers.
struct Recorded {
    name: String,
    sent: Vec<Vec<u8>>,
    received: Vec<String>,
    end: String,
}

fn recorded() -> Vec<Recorded> {
    let bytes = |hex: &str| -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
        (0..hex.len()).step_by(2).map(digit).collect()
    };
    let lines = include_str!("../fixtures/openssh-9.2p1.txt").lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let [name, sent, received, end] = line.split('|').map(str::trim).collect::<Vec<_>>()[..] else {
                panic!("not four fields: {line}");
            };
            Recorded {
                name: name.to_owned(),
                sent: sent.split_whitespace().map(bytes).collect(),
                received: received.split_whitespace().map(str::to_owned).collect(),
                end: end.to_owned(),
            }
        })
        .collect()
}

/// What a transcript holds, in the words of the file of recorded answers.
fn in_words(transcript: &Transcript, banner: &str) -> (Vec<String>, String) {
    let replies = transcript.replies();
    let mut rest = replies.strip_prefix(format!("{banner}\r\n").as_bytes()).expect("the identification line");
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let mut words = Vec::new();
    while !rest.is_empty() {
        if rest.first().is_some_and(u8::is_ascii_alphabetic) {
            words.push(hex(rest));
            break;
        }
        let Ok(Received::Packet { payload, used, .. }) = Inbound::default().receive(rest) else {
            panic!("not a plain packet: {}", rest.escape_ascii());
        };
        let (packet, more) = rest.split_at(used);
        rest = more;
        let padding = usize::from(packet[4]);
        assert!(packet[used - padding..].iter().all(|byte| *byte == 0), "padding in the clear is zero");
        match payload[0] {
            message::KEXINIT => words.push("KEXINIT".to_owned()),
            message::KEX_REPLY | message::GEX_REPLY => words.push("REPLY".to_owned()),
            message::NEWKEYS => {
                words.push("NEWKEYS".to_owned());
                if !rest.is_empty() {
                    words.push("SEALED".to_owned());
                }
                break;
            }
            _ => words.push(hex(packet)),
        }
    }
    let end = transcript.lines.iter().find_map(|line| match line {
        Line::Close { reset: true } => Some("RST"),
        Line::Close { reset: false } => Some("FIN"),
        _ => None,
    });
    (words, end.unwrap_or("open").to_owned())
}

#[test]
fn answers_as_the_recorded_server_does() {
    let service = service(BANNER_9_2);
    for Recorded { name, sent, received, end } in recorded() {
        let mut dialogue = service.dialogue(0, &facts(22));
        let chunks: Vec<&[u8]> = sent.iter().map(Vec::as_slice).collect();
        let transcript = exchange(&mut *dialogue, &chunks);
        assert_eq!(in_words(&transcript, BANNER_9_2), (received, end), "{name}\n{transcript}");
    }
}

#[test]
fn bytes_one_by_one_are_answered_as_in_one_piece() {
    let service = service(BANNER_9_2);
    for Recorded { name, sent, .. } in recorded() {
        let whole = sent.concat();
        let mut one = service.dialogue(0, &facts(22));
        let one = exchange(&mut *one, &[&whole]);
        let mut many = service.dialogue(0, &facts(22));
        let pieces: Vec<&[u8]> = whole.chunks(1).collect();
        let many = exchange(&mut *many, &pieces);
        assert_eq!(in_words(&one, BANNER_9_2).0, in_words(&many, BANNER_9_2).0, "{name}");
    }
}

#[test]
fn later_builds_leave_local_messages_unanswered() {
    for persona in PERSONAS {
        let mut dialogue = dialogue(persona.banner);
        let mut talk = Talk::open(&mut *dialogue);
        let (mut client, init) = Client::greet(&mut talk);
        assert!(KexInit::parse(&init).is_some());
        let answer = client.ask(&mut talk, &[200, 1, 2, 3, 4]);
        let named = b"\x01\0\0\0\x02\0\0\0\x1dInvalid ssh2 packet type: 200\0\0\0\0".to_vec();
        assert_eq!(answer, (persona.version < (9, 6)).then_some(named), "{}", persona.banner);
        assert!(talk.end().closed());
    }
}

#[test]
fn ping_is_answered_where_the_build_knows_it() {
    let mut dialogue = dialogue(DEFAULT.banner);
    let mut talk = Talk::open(&mut *dialogue);
    let (mut client, _) = Client::greet(&mut talk);
    let answer = client.ask(&mut talk, &Writer::message(message::PING).string("hello").done());
    assert_eq!(answer, Some(Writer::message(message::PONG).string("hello").done()));
}

#[test]
fn what_was_left_unfinished_is_reported() {
    let unfinished = |silence: bool, bytes: &[u8]| {
        let mut dialogue = dialogue(BANNER_9_2);
        let mut talk = Talk::open(&mut *dialogue);
        talk.send(bytes);
        let transcript = if silence { talk.expire() } else { talk.end() };
        let data = transcript.events_of(30306).first().and_then(|event| event.get("DATA")).cloned();
        data.and_then(|data| data.as_bytes().map(<[u8]>::to_vec))
    };
    for silence in [false, true] {
        assert_eq!(unfinished(silence, b"\xff\xff\xff").as_deref(), Some(&b"\xff\xff\xff"[..]));
        assert_eq!(unfinished(silence, b"SSH-2.0-x\r\n\0\0\0\x10ab").as_deref(), Some(&b"\0\0\0\x10ab"[..]));
        assert_eq!(unfinished(silence, b"SSH-2.0-x\r\n"), None);
    }
}

#[test]
fn a_client_that_only_greets_is_reported_with_its_line() {
    let mut dialogue = dialogue(BANNER_9_2);
    let transcript = exchange(&mut *dialogue, &[b"SSH-2.0-Go\r\n"]);
    let client = transcript.events_of(30300);
    assert_eq!(client[0].get("REMOTEVERSION").and_then(Value::as_str), Some("SSH-2.0-Go"));
    assert_eq!(client[0].get("HASSH"), None);
}

#[test]
fn the_client_is_reported_with_every_list_and_its_fingerprint() {
    let mut dialogue = dialogue(BANNER_9_2);
    let mut talk = Talk::open(&mut *dialogue);
    Client::connect(&mut talk, Offer::default());
    let transcript = talk.end();
    let client = transcript.events_of(30300)[0];
    // MD5 of `curve25519-sha256,;chacha20-poly1305@openssh.com;hmac-sha2-256;none,zlib@openssh.com`.
    let hassh = "fe6141206fa29bcb503aa3e6306f6d62";
    assert_eq!(client.get("HASSH").and_then(Value::as_str), Some(hassh));
    assert_eq!(client.iter().count(), 15);
    assert!(
        transcript.lines.iter().any(|line| matches!(line, Line::Note("hassh", Value::Text(text)) if text == hassh))
    );
}

#[test]
fn a_padding_of_any_length_is_read() {
    let mut dialogue = dialogue(BANNER_9_2);
    let mut talk = Talk::open(&mut *dialogue);
    Client::greet(&mut talk);
    let payload = Offer::default().init();
    let padding = 255 - (5 + payload.len() + 255) % 8;
    let length = u32::try_from(1 + payload.len() + padding).expect("short");
    let packet =
        [&length.to_be_bytes()[..], &[padding.try_into().expect("a byte")], &payload, &vec![9; padding]].concat();
    assert_eq!(talk.send(&packet), b"");
    assert_eq!(talk.end().events_of(30300).len(), 1);
}

#[test]
fn the_default_banner_is_the_default_personas() {
    let key = ENTRY.keys.iter().find(|key| key.name == "ssh.version").expect("the key");
    assert_eq!(key.default, format!("{:?}", DEFAULT.banner));
    for given in ["\"\"", key.default] {
        let mut dialogue = build(&ENTRY, &[("ssh.version", given)]).dialogue(0, &facts(22));
        assert_eq!(exchange(&mut *dialogue, &[]).replies(), format!("{}\r\n", DEFAULT.banner).as_bytes());
    }
}

#[test]
fn refuses_a_banner_that_is_none() {
    let long = format!("SSH-2.0-{}", "x".repeat(300));
    for banner in ["OpenSSH", "SSH-2.0-", "SSH-1.5-x", "SSH-2.0-a\nb", "SSH-2.0-\u{f6}", &long] {
        let values = BTreeMap::from([("ssh.version".to_owned(), serde_json::Value::from(banner))]);
        let settings = aviary_config::Settings::new(ENTRY.keys.iter().copied(), values);
        let vault = aviary_service::MemoryVault::default();
        let materials = aviary_service::Materials { settings: &settings, vault: &vault, host_name: "h" };
        let rejection = (ENTRY.build)(&materials).err().expect("a rejection");
        assert_eq!(rejection.key, "ssh.version");
    }
}

#[test]
fn a_text_before_login_is_sent_once() {
    let mut dialogue = build(&ENTRY, &[("ssh.preauth_banner", "\"Keep out\\\\n\"")]).dialogue(0, &facts(22));
    let mut talk = Talk::open(&mut *dialogue);
    let mut client = Client::connect(&mut talk, Offer::default());
    client.ask(&mut talk, &service_request());
    let banner = client.ask(&mut talk, &request(b"u", "none", vec![])).expect("a banner");
    assert_eq!(banner, b"\x35\0\0\0\x09Keep out\n\0\0\0\0");
    assert_eq!(client.next().as_deref(), Some(FAILURE));
    assert_eq!(client.ask(&mut talk, &password(b"u", b"x")).as_deref(), Some(FAILURE));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut dialogue = dialogue(BANNER_9_2);
        exchange(&mut *dialogue, &[&bytes]);
    }

    #[test]
    fn garbage_in_packets_never_panics(payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..80), 1..6)) {
        let mut dialogue = dialogue(DEFAULT.banner);
        let mut talk = Talk::open(&mut *dialogue);
        let mut outbound = Outbound::default();
        talk.send(b"SSH-2.0-x\r\n");
        for payload in payloads {
            let packet = outbound.seal(&payload, &mut super::entropy::Entropy::new([0; 32])).expect("short");
            talk.send(&packet);
        }
        let _ = talk.end();
    }

    #[test]
    fn garbage_under_keys_never_panics(
        numbers in proptest::collection::vec(prop_oneof![Just(50_u8), Just(5), Just(61), Just(7), any::<u8>()], 1..6),
        bytes in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let mut dialogue = dialogue(DEFAULT.banner);
        let mut talk = Talk::open(&mut *dialogue);
        let mut client = Client::connect(&mut talk, Offer::default());
        client.ask(&mut talk, &service_request());
        for number in numbers {
            client.say(&mut talk, &[&[number], &bytes[..]].concat());
        }
        let _ = talk.end();
    }
}
