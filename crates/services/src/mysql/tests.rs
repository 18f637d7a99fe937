//! Whole conversations, against what the real servers said.

use aviary_config::Settings;
use aviary_event::{LogData, Timestamp, Value};
use aviary_service::{Dialogue, Facts, Materials, MemoryVault, Outbox, Security, Service};
use aviary_testkit::{Talk, Transcript, build, exchange, facts, settings};
use insta::assert_snapshot;
use proptest::prelude::*;
use rand_core::OsRng;
use rsa::pkcs8::DecodePublicKey as _;
use rsa::{Oaep, RsaPublicKey};
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

use super::ENTRY;
use super::codec::{HEADER, LONGEST, packet};
use super::handshake::flag;
use super::persona::of_banner;
use super::scramble::Plugin;

const MYSQL_8: &str = "8.0.46-0ubuntu0.22.04.5";
const MYSQL_9: &str = "9.7.4-2";
const MARIADB: &str = "10.11.19-MariaDB-0+deb12u1";

/// The answers of the recorded dialogues: `root`, a response of twenty times `A`, and a plugin.
const RECORDED: u32 = 0x000f_a685;

fn service(banner: &str) -> Box<dyn Service> {
    build(&ENTRY, &[("mysql.banner", &format!("{banner:?}"))])
}

fn local(count: u64) -> Facts {
    Facts { peer: ([127, 0, 0, 1], 40000).into(), count, ..facts(3306) }
}

fn dialogue(banner: &str) -> Box<dyn Dialogue> {
    service(banner).dialogue(0, &local(1))
}

fn answer(capabilities: u32, user: &[u8], response: &[u8], plugin: &str) -> Vec<u8> {
    let length = u8::try_from(response.len()).expect("a short response");
    let fixed = [&capabilities.to_le_bytes()[..], &[0, 0, 0, 1, 0x21], &[0; 23]].concat();
    packet(1, &[&fixed, user, &[0, length], response, plugin.as_bytes(), &[0]].concat())
}

fn recorded(user: &[u8]) -> Vec<u8> {
    answer(RECORDED, user, &[b'A'; 20], "mysql_native_password")
}

/// What comes after the greeting of a dialogue that was sent this.
fn replies(banner: &str, sent: &[u8]) -> (Vec<u8>, Transcript) {
    let mut dialogue = dialogue(banner);
    let mut talk = Talk::open(&mut *dialogue);
    let reply = talk.send(sent);
    (reply, talk.end())
}

fn text<'a>(data: &'a LogData, key: &str) -> Option<&'a str> {
    data.get(key).and_then(Value::as_str)
}

fn login(transcript: &Transcript) -> &LogData {
    let logins = transcript.events_of(30801);
    assert_eq!(logins.len(), 1, "{transcript}");
    logins[0]
}

fn salt_of(greeting: &[u8]) -> [u8; 20] {
    let at = 5 + greeting[5..].iter().position(|byte| *byte == 0).expect("a version") + 5;
    [&greeting[at..at + 8], &greeting[at + 27..at + 39]].concat().try_into().expect("twenty bytes")
}

fn native(password: &[u8], salt: &[u8]) -> Vec<u8> {
    let once = Sha1::digest(password);
    let hash = Sha1::new().chain_update(salt).chain_update(Sha1::digest(once)).finalize();
    once.iter().zip(hash).map(|(a, b)| a ^ b).collect()
}

fn caching_sha2(password: &[u8], salt: &[u8]) -> Vec<u8> {
    let once = Sha256::digest(password);
    let hash = Sha256::new().chain_update(Sha256::digest(once)).chain_update(salt).finalize();
    once.iter().zip(hash).map(|(a, b)| a ^ b).collect()
}

fn greeting(talk: &Talk<'_>) -> Vec<u8> {
    talk.transcript().replies()
}

// The golden answers.

#[test]
fn greets_as_recorded_but_for_salt_and_number() {
    for (banner, golden) in [
        (
            MYSQL_8,
            &b"[\0\0\0\n8.0.46-0ubuntu0.22.04.5\0\x07\0\0\0[ \x15.hX#}\0\xff\xff\xff\x02\0\xff\xdf\x15\0\0\0\0\0\0\0\0\0\0\x1b.nmI?M5\tu\rh\0caching_sha2_password\0"[..],
        ),
        (
            MYSQL_9,
            b"K\0\0\0\n9.7.4-2\0\x08\0\0\0\x16(;E,\nO^\0\xff\xff\xff\x02\0\xff\xdf\x15\0\0\0\0\0\0\0\0\0\0o\x107%\x01\x1et&Ix?\x0b\0caching_sha2_password\0",
        ),
        (
            MARIADB,
            b"d\0\0\0\n5.5.5-10.11.19-MariaDB-0+deb12u1\0\x04\0\0\0MYY2--6g\0\xfe\xf7\x08\x02\0\xff\x81\x15\0\0\0\0\0\0\x1d\0\0\0'+BI+7tct?xa\0mysql_native_password\0",
        ),
    ] {
        let mut ours = exchange(&mut *dialogue(banner), &[]).replies();
        ours.truncate(golden.len());
        let start = 6 + golden[5..].iter().position(|byte| *byte == 0).unwrap();
        for (at, byte) in golden.iter().enumerate() {
            let is_number = at == start;
            let is_salt = (start + 4..start + 12).contains(&at) || (start + 31..start + 43).contains(&at);
            assert!(is_number || is_salt || ours[at] == *byte, "{banner}: byte {at} is {:#x}", ours[at]);
        }
    }
}

#[test]
fn numbers_count_from_the_products_first() {
    for (banner, first) in [(MYSQL_8, 8), (MARIADB, 4), ("5.7.44", 2)] {
        let (service, shown) = (service(banner), of_banner(banner).unwrap().1);
        for count in [1, 2, 300] {
            let greeting = exchange(&mut *service.dialogue(0, &local(count)), &[]).replies();
            let at = 6 + shown.len();
            let number = u32::from_le_bytes(greeting[at..at + 4].try_into().unwrap());
            assert_eq!(u64::from(number), first + count - 1, "{banner}");
        }
    }
}

#[test]
fn what_is_out_of_order_is_told_so_with_number_one() {
    let golden = b"\x21\0\0\x01\xff\x84\x04#08S01Got packets out of order";
    let wrong = |sequence| {
        let mut bytes = recorded(b"root");
        bytes[3] = sequence;
        bytes
    };
    for banner in [MYSQL_8, MYSQL_9, MARIADB] {
        let probes = [
            vec![0xff; 50],
            vec![0; 4],
            b"SELECT 1;\n".to_vec(),
            b"GET / HTTP/1.0\r\n\r\n".to_vec(),
            b"J\0\0\0\n5.1.29\0\x0b\0\0\0!>4\x1bQ?43`\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec(),
            wrong(0),
            wrong(5),
        ];
        for probe in probes {
            let (reply, transcript) = replies(banner, &probe);
            assert_eq!(reply, golden, "{banner} {probe:?}");
            // MariaDB leaves bytes unread, which turns the FIN into an RST; the header alone it reads.
            let end = if banner == MARIADB && probe.len() > 4 { "  RST\n" } else { "  FIN\n" };
            assert!(transcript.to_string().ends_with(end), "{banner}: {transcript}");
            let data = transcript.events_of(30802)[0].get("DATA").unwrap().as_bytes().unwrap();
            assert_eq!(data, probe);
        }
    }
}

#[test]
fn a_short_packet_is_a_bad_handshake() {
    for banner in [MYSQL_8, MYSQL_9, MARIADB] {
        let (reply, transcript) = replies(banner, b"\x05\0\0\x01\x85\xa6\x0f\0\0");
        assert_eq!(reply, b"\x16\0\0\x02\xff\x13\x04#08S01Bad handshake");
        assert!(transcript.to_string().ends_with("  FIN\n"));
        assert_eq!(transcript.events_of(30802).len(), 1);
    }
}

#[test]
fn root_of_mysql_8_is_switched_to_its_plugin_with_the_same_salt() {
    for banner in [MYSQL_8, MYSQL_9] {
        for sent in [recorded(b"root"), answer(RECORDED, b"root", b"", "mysql_native_password")] {
            let mut dialogue = dialogue(banner);
            let mut talk = Talk::open(&mut *dialogue);
            let salt = salt_of(&greeting(&talk));
            let expected = [&b"\x2c\0\0\x02\xfecaching_sha2_password\0"[..], &salt, &[0]].concat();
            assert_eq!(talk.send(&sent), expected);
            assert!(!talk.transcript().closed());
        }
    }
}

#[test]
fn the_empty_name_and_others_get_a_plugin_of_their_own() {
    let service = service(MYSQL_8);
    let mut seen = Vec::new();
    let names: Vec<String> =
        (0..40).map(|n| format!("user{n}")).chain([String::new(), "r\u{f6}\u{f6}t".to_owned()]).collect();
    for name in &names {
        let ask = |entropy| {
            let mut dialogue = service.dialogue(0, &Facts { entropy, ..local(1) });
            let mut talk = Talk::open(&mut *dialogue);
            let salt = salt_of(&greeting(&talk));
            let reply = talk.send(&recorded(name.as_bytes()));
            assert_eq!(reply[3..5], [2, 0xfe], "{name}");
            let end = 5 + reply[5..].iter().position(|byte| *byte == 0).unwrap();
            let plugin = Plugin::of_name(&reply[5..end]).unwrap();
            // Only `sha256_password` begins anew with a salt of its own.
            assert_eq!(reply[end + 1..end + 21] == salt, plugin != Plugin::Sha256);
            plugin
        };
        let plugin = ask([1; 32]);
        assert_eq!(plugin, ask([2; 32]), "{name}");
        seen.push(plugin);
    }
    for plugin in [Plugin::CachingSha2, Plugin::Native, Plugin::Sha256] {
        assert!(seen.contains(&plugin), "{plugin:?}");
    }
}

#[test]
fn mariadb_denies_at_once() {
    let long = [b'A'; 200];
    let message =
        |user: &str, with: &str| format!("Access denied for user '{user}'@'127.0.0.1' (using password: {with})");
    for (user, response, expected) in [
        (&b"root"[..], &[b'A'; 20][..], message("root", "YES")),
        (b"root", b"", message("root", "NO")),
        (b"", &[b'A'; 20], message("", "YES")),
        ("r\u{f6}\u{f6}t".as_bytes(), &[b'A'; 20], message("r\u{f6}\u{f6}t", "YES")),
        (&long, &[b'A'; 20], message(&"A".repeat(128), "YES")),
    ] {
        let (reply, transcript) = replies(MARIADB, &answer(RECORDED, user, response, "mysql_native_password"));
        let payload = [b"\xff\x15\x04#28000", expected.as_bytes()].concat();
        assert_eq!(reply, packet(2, &payload), "{}", reply.escape_ascii());
        assert!(transcript.to_string().ends_with("  FIN\n"));
    }
}

#[test]
fn a_server_without_tls_refuses_a_request_for_it() {
    let request = packet(1, &[&0x000f_ae85_u32.to_le_bytes()[..], &[0, 0, 0, 1, 0x21], &[0; 23]].concat());
    let (reply, transcript) = replies(MARIADB, &request);
    assert_eq!(reply, b"\x16\0\0\x02\xff\x13\x04#08S01Bad handshake");
    assert_eq!(transcript.events_of(30802).len(), 1);
    let (reply, transcript) = replies(MYSQL_8, &request);
    assert!(transcript.to_string().contains("(TLS)"), "{transcript}");
    // The end of input is told to the client of today.
    assert_eq!(reply, b"");
    assert_eq!(text(transcript.events_of(30802)[0], "REASON"), Some("TLS was asked for and no login followed"));
}

#[test]
fn tls_begins_even_if_a_login_stands_in_its_request() {
    let sent = answer(RECORDED | flag::SSL, b"root", &[b'A'; 20], "mysql_native_password");
    let (_, transcript) = replies(MYSQL_8, &sent);
    assert!(transcript.to_string().contains("(TLS)"), "{transcript}");
    assert_eq!(transcript.events_of(8001).len(), 1);
    let (reply, transcript) = replies(MARIADB, &sent);
    assert_eq!(reply, b"\x16\0\0\x02\xff\x13\x04#08S01Bad handshake");
    assert_eq!(transcript.events_of(8001).len(), 1);
}

// Logins.

#[test]
fn a_native_login_is_reported_in_hashcats_form() {
    let mut dialogue = dialogue(MARIADB);
    let mut talk = Talk::open(&mut *dialogue);
    let salt = salt_of(&greeting(&talk));
    talk.send(&answer(RECORDED, b"root", &native(b"toor", &salt), "mysql_native_password"));
    assert_snapshot!(talk.end(), @r##"
    < d\x00\x00\x00\n5.5.5-10.11.19-MariaDB-0+deb12u1\x00\x04\x00\x00\x00vD[~rj7q\x00\xfe\xf7\x08\x02\x00\xff\x81\x15\x00\x00\x00\x00\x00\x00\x1d\x00\x00\x00\".\"nKdQ`^t8{\x00mysql_native_password\x00
    > P\x00\x00\x01\x85\xa6\x0f\x00\x00\x00\x00\x01!\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00root\x00\x14\xb9\x00\xe4\xd4\xc3\xe0\xdd\x98*t\x071?\xdb&\xae\x1b\x1b\x90\\mysql_native_password\x00
    ! 30800 CAPABILITIES=Int(1025669) CHARSET=Int(33) MAX_PACKET=Int(16777216) PLUGIN=Bytes(b"mysql_native_password") RESPONSE=Text("b900e4d4c3e0dd982a7407313fdb26ae1b1b905c") USERNAME=Bytes(b"root")
    ! 8001 PASSWORD=Text("b900e4d4c3e0dd982a7407313fdb26ae1b1b905c") USERNAME=Bytes(b"root")
    ! 30801 GUESSED=Bytes(b"toor") HASHCAT=Text("$mysqlna$76445b7e726a3771222e226e4b6451605e74387b*b900e4d4c3e0dd982a7407313fdb26ae1b1b905c") HASHCAT_MODE=Int(11200) METHOD=Text("response") PASSWORD=Bytes(b"toor") PLUGIN=Bytes(b"mysql_native_password") RESPONSE=Text("b900e4d4c3e0dd982a7407313fdb26ae1b1b905c") SALT=Text("76445b7e726a3771222e226e4b6451605e74387b") USERNAME=Bytes(b"root")
    < H\x00\x00\x02\xff\x15\x04#28000Access denied for user \'root\'@\'127.0.0.1\' (using password: YES)
      FIN
    "##);
}

#[test]
fn caching_sha2_over_tls_gives_the_password() {
    let mut dialogue = dialogue(MYSQL_8);
    let mut talk = Talk::open(&mut *dialogue);
    let salt = salt_of(&greeting(&talk));
    let tls = flag::SSL | RECORDED;
    talk.send(&packet(1, &[&tls.to_le_bytes()[..], &[0, 0, 0, 1, 0xff], &[0; 23]].concat()));
    let mut sent = answer(tls, b"root", &caching_sha2(b"s3cr\xc3\xaat!", &salt), "caching_sha2_password");
    sent[3] = 2;
    assert_eq!(talk.send(&sent), packet(3, &[1, 4]));
    let denied = b"\xff\x15\x04#28000Access denied for user 'root'@'127.0.0.1' (using password: YES)";
    assert_eq!(talk.send(&packet(4, b"s3cr\xc3\xaat!\0")), packet(5, denied));
    assert_snapshot!(talk.end(), @r##"
    < [\x00\x00\x00\n8.0.46-0ubuntu0.22.04.5\x00\x08\x00\x00\x00\x15YHR}i%t\x00\xff\xff\xff\x02\x00\xff\xdf\x15\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00vpnbQh\"\x1dml\x18\x7f\x00caching_sha2_password\x00
    >  \x00\x00\x01\x85\xae\x0f\x00\x00\x00\x00\x01\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00
      (TLS)
    > \\\x00\x00\x02\x85\xae\x0f\x00\x00\x00\x00\x01!\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00root\x00 \x84\x04*\xb5\xb0,/\t~+\x01\xaf\x99\x98\x85\xa9- \xbb\x16\xf1\x1eL\xde\xff\xbe\x00\xa7X\x1aYWcaching_sha2_password\x00
    ! 30800 CAPABILITIES=Int(1027717) CHARSET=Int(33) MAX_PACKET=Int(16777216) PLUGIN=Bytes(b"caching_sha2_password") RESPONSE=Text("84042ab5b02c2f097e2b01af999885a92d20bb16f11e4cdeffbe00a7581a5957") TLS_CIPHER=Text("") TLS_VERSION=Text("") USERNAME=Bytes(b"root")
    < \x02\x00\x00\x03\x01\x04
    > \t\x00\x00\x04s3cr\xc3\xaat!\x00
    ! 8001 PASSWORD=Bytes(b"s3cr\xc3\xaat!") USERNAME=Bytes(b"root")
    ! 30801 HASH=Text("$mysqlsha2$155948527d69257476706e625168221d6d6c187f*84042ab5b02c2f097e2b01af999885a92d20bb16f11e4cdeffbe00a7581a5957") METHOD=Text("clear") PASSWORD=Bytes(b"s3cr\xc3\xaat!") PLUGIN=Bytes(b"caching_sha2_password") RESPONSE=Text("84042ab5b02c2f097e2b01af999885a92d20bb16f11e4cdeffbe00a7581a5957") SALT=Text("155948527d69257476706e625168221d6d6c187f") USERNAME=Bytes(b"root")
    < H\x00\x00\x05\xff\x15\x04#28000Access denied for user \'root\'@\'127.0.0.1\' (using password: YES)
      FIN
    "##);
}

/// Logs in without TLS as far as the request for the key; gives key and salt.
fn ask_for_key(talk: &mut Talk<'_>) -> (RsaPublicKey, [u8; 20]) {
    let salt = salt_of(&greeting(talk));
    let sent = answer(RECORDED, b"root", &caching_sha2(b"Tr0ub4dor&3", &salt), "caching_sha2_password");
    assert_eq!(talk.send(&sent), packet(2, &[1, 4]));
    let reply = talk.send(&packet(3, &[2]));
    assert_eq!(reply[..5], [0xc4, 1, 0, 4, 1]);
    assert!(
        reply[5..].starts_with(b"-----BEGIN PUBLIC KEY-----\n") && reply.ends_with(b"\n-----END PUBLIC KEY-----\n")
    );
    (RsaPublicKey::from_public_key_pem(std::str::from_utf8(&reply[5..]).unwrap()).unwrap(), salt)
}

#[test]
fn caching_sha2_under_our_key_gives_the_password() {
    let mut dialogue = dialogue(MYSQL_8);
    let mut talk = Talk::open(&mut *dialogue);
    let (key, salt) = ask_for_key(&mut talk);
    let hidden: Vec<u8> = b"Tr0ub4dor&3\0".iter().zip(salt.iter().cycle()).map(|(a, b)| a ^ b).collect();
    let cipher = key.encrypt(&mut OsRng, Oaep::new::<sha1_of_rsa::Sha1>(), &hidden).unwrap();
    let reply = talk.send(&packet(5, &cipher));
    assert_eq!(reply[3], 6);
    assert!(reply.ends_with(b"Access denied for user 'root'@'127.0.0.1' (using password: YES)"));
    let transcript = talk.end();
    assert_eq!(text(transcript.events_of(8001)[0], "PASSWORD"), Some("Tr0ub4dor&3"));
    let data = login(&transcript);
    assert_eq!((text(data, "PASSWORD"), text(data, "METHOD")), (Some("Tr0ub4dor&3"), Some("rsa")));
    assert!(text(data, "HASH").unwrap().starts_with("$mysqlsha2$"));
    assert_eq!(data.get("GUESSED"), None);
}

#[test]
fn what_does_not_decrypt_is_kept_and_denied() {
    for sent in [&[0x42; 256][..], &[0x42; 255], &[2]] {
        let mut dialogue = dialogue(MYSQL_8);
        let mut talk = Talk::open(&mut *dialogue);
        ask_for_key(&mut talk);
        let reply = talk.send(&packet(5, sent));
        assert!(reply.ends_with(b"(using password: YES)"));
        let transcript = talk.end();
        assert!(transcript.closed());
        let hex: String = sent.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text(transcript.events_of(8001)[0], "PASSWORD"), Some(hex.as_str()));
        assert_eq!(login(&transcript).get("PASSWORD"), None);
    }
}

#[test]
fn a_client_that_gives_up_leaves_its_fast_response() {
    let mut dialogue = dialogue(MYSQL_8);
    let mut talk = Talk::open(&mut *dialogue);
    let salt = salt_of(&greeting(&talk));
    let response = caching_sha2(b"hunter2", &salt);
    talk.send(&answer(RECORDED, b"root", &response, "caching_sha2_password"));
    let transcript = talk.end();
    let hex: String = response.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(text(transcript.events_of(8001)[0], "PASSWORD"), Some(hex.as_str()));
    let data = login(&transcript);
    assert_eq!((text(data, "GUESSED"), text(data, "METHOD")), (Some("hunter2"), Some("response")));
    assert!(transcript.replies().ends_with(b"\x04#08S01Got an error reading communication packets"));
}

/// A name that gets this plugin from this service.
fn name_with(service: &dyn Service, plugin: Plugin) -> Vec<u8> {
    let has_it = |name: &Vec<u8>| {
        let mut dialogue = service.dialogue(0, &local(1));
        let mut talk = Talk::open(&mut *dialogue);
        let reply = talk.send(&recorded(name));
        reply.windows(plugin.name().len()).any(|window| window == plugin.name().as_bytes())
    };
    (0..200).map(|n| format!("u{n}").into_bytes()).find(has_it).expect("every plugin is drawn")
}

#[test]
fn an_account_of_the_native_plugin_is_asked_for_its_response() {
    let service = service(MYSQL_8);
    let name = name_with(&*service, Plugin::Native);
    let mut dialogue = service.dialogue(0, &local(1));
    let mut talk = Talk::open(&mut *dialogue);
    let salt = salt_of(&greeting(&talk));
    talk.send(&answer(RECORDED, &name, &caching_sha2(b"nobody knows", &salt), "caching_sha2_password"));
    let response = native(b"nobody knows", &salt);
    let reply = talk.send(&packet(3, &response));
    assert!(reply.ends_with(b"(using password: YES)"));
    let transcript = talk.end();
    let data = login(&transcript);
    assert_eq!(data.get("HASHCAT_MODE"), Some(&Value::Int(11_200)));
    assert_eq!((data.get("PASSWORD"), data.get("GUESSED")), (None, None));
    assert_eq!(text(data, "PLUGIN"), Some("mysql_native_password"));
}

#[test]
fn an_account_of_sha256_is_asked_for_its_password() {
    let service = service(MYSQL_8);
    let name = name_with(&*service, Plugin::Sha256);
    let begin = || service.dialogue(0, &local(1));
    let (mut dialogue, mut over_tls, mut without) = (begin(), begin(), begin());
    let mut talk = Talk::open(&mut *dialogue);
    let switch = talk.send(&recorded(&name));
    let salt = switch[switch.len() - 21..switch.len() - 1].to_vec();
    let reply = talk.send(&packet(3, &[1]));
    let key = RsaPublicKey::from_public_key_pem(std::str::from_utf8(&reply[5..]).unwrap()).unwrap();
    let hidden: Vec<u8> = b"under the key\0".iter().zip(salt.iter().cycle()).map(|(a, b)| a ^ b).collect();
    talk.send(&packet(5, &key.encrypt(&mut OsRng, Oaep::new::<sha1_of_rsa::Sha1>(), &hidden).unwrap()));
    let transcript = talk.end();
    assert_eq!(text(login(&transcript), "PASSWORD"), Some("under the key"));

    let mut talk = Talk::open(&mut *over_tls);
    let tls = flag::SSL | RECORDED;
    talk.send(&packet(1, &[&tls.to_le_bytes()[..], &[0; 28]].concat()));
    let mut sent = recorded(&name);
    sent[3] = 2;
    talk.send(&sent);
    talk.send(&packet(4, b"in clear\0"));
    let transcript = talk.end();
    assert_eq!(
        (text(login(&transcript), "PASSWORD"), text(login(&transcript), "METHOD")),
        (Some("in clear"), Some("clear"))
    );

    let mut talk = Talk::open(&mut *without);
    talk.send(&recorded(&name));
    assert!(talk.send(&packet(3, b"")).ends_with(b"(using password: NO)"));
}

#[test]
fn planted_passwords_are_found_in_a_response() {
    let given = [
        ("mysql.banner", r#""5.7.44""#),
        ("mysql.honeycreds", r#"[{"username": "app", "password": "Zebra-Quartz-77"}]"#),
    ];
    let service = build(&ENTRY, &given);
    let mut dialogue = service.dialogue(0, &facts(3306));
    let mut talk = Talk::open(&mut *dialogue);
    let salt = salt_of(&greeting(&talk));
    talk.send(&answer(RECORDED, b"app", &native(b"Zebra-Quartz-77", &salt), "mysql_native_password"));
    let transcript = talk.end();
    assert_eq!(text(login(&transcript), "PASSWORD"), Some("Zebra-Quartz-77"));
    // OpenCanary's event says what OpenCanary says.
    assert_eq!(text(transcript.events_of(8001)[0], "PASSWORD").map(str::len), Some(40));
}

#[test]
fn old_clients_are_treated_by_age() {
    // Without plugins, on a server whose account has another than theirs.
    let old = flag::PROTOCOL_41 | flag::SECURE_CONNECTION;
    let (reply, transcript) = replies(MYSQL_8, &answer(old, b"root", &[b'A'; 20], ""));
    assert!(reply.starts_with(b"\x6d\0\0\x02\xff\xe3\x04#08004Client does not support"), "{}", reply.escape_ascii());
    assert_eq!(login(&transcript).get("HASHCAT_MODE"), Some(&Value::Int(11_200)));
    let (reply, _) = replies("5.5.62", &answer(old, b"root", &[b'A'; 20], ""));
    assert!(reply.ends_with(b"Access denied for user 'root'@'127.0.0.1' (using password: YES)"));
    // Before 4.1: no state in the error.
    let (reply, transcript) = replies("5.0.96", &packet(1, b"\x0d\0\0\0\0root\0ABCDEFGH"));
    assert_eq!(&reply[4..], b"\xff\x15\x04Access denied for user 'root'@'127.0.0.1' (using password: YES)");
    assert_eq!(text(login(&transcript), "RESPONSE"), Some("4142434445464748"));
    let (reply, transcript) = replies(MYSQL_8, &packet(1, b"\x0d\0\0\0\0root\0ABCDEFGH"));
    assert_eq!(reply, b"\x10\0\0\x02\xff\x13\x04Bad handshake");
    assert_eq!(text(login(&transcript), "RESPONSE"), Some("4142434445464748"));
}

#[test]
fn a_user_at_the_end_of_the_packet_is_a_login_without_password() {
    let fixed = [&RECORDED.to_le_bytes()[..], &[0; 28]].concat();
    for end in [&b"root\0"[..], b"root"] {
        let (reply, transcript) = replies(MARIADB, &packet(1, &[&fixed, end].concat()));
        assert_eq!(reply, b"\x16\0\0\x02\xff\x13\x04#08S01Bad handshake");
        let data = transcript.events_of(8001)[0];
        assert_eq!((text(data, "USERNAME"), data.get("PASSWORD")), (Some("root"), Some(&Value::Null)));
    }
}

#[test]
fn the_empty_name_is_no_event_of_opencanary_but_one_of_ours() {
    let (_, transcript) = replies(MARIADB, &recorded(b""));
    assert_eq!((transcript.events_of(8001).len(), transcript.events_of(30801).len()), (0, 1));
}

#[test]
fn bytes_that_are_no_text_are_kept_and_shown_as_the_server_does() {
    let (reply, transcript) = replies(MARIADB, &recorded(b"\xff\xferoot"));
    assert_eq!(transcript.events_of(8001)[0].get("USERNAME").unwrap().as_bytes(), Some(&b"\xff\xferoot"[..]));
    assert!(reply.windows(8).any(|window| window == b"'??root'"), "{}", reply.escape_ascii());
    let mut latin = recorded(b"r\xf6t");
    latin[12] = 8;
    assert!(replies(MARIADB, &latin).0.windows(6).any(|window| window == "'r\u{f6}t'".as_bytes()));
    let (quoted, _) = replies(MARIADB, &recorded(b"'bob'"));
    assert!(
        quoted.windows(5).any(|window| window == b"'bob'") && !quoted.windows(7).any(|window| window == b"''bob''")
    );
}

#[test]
fn a_long_name_is_cut_where_mysql_cuts_it() {
    let (reply, _) = replies("5.7.44", &recorded("\u{f6}".repeat(60).as_bytes()));
    assert!(String::from_utf8(reply[13..].to_vec()).unwrap().contains(&format!("'{}'@", "\u{f6}".repeat(24))));
}

#[test]
fn a_packet_of_any_claimed_length_is_bounded() {
    let mut sent = recorded(b"root");
    sent[..3].copy_from_slice(&[0xff, 0xff, 0xff]);
    let (reply, transcript) = replies(MYSQL_8, &sent);
    assert_eq!((reply.len(), transcript.events_of(30802).len()), (0, 1));
    sent.resize(HEADER + LONGEST, b'x');
    let (reply, transcript) = replies(MYSQL_8, &sent);
    assert_eq!(reply, b"\x16\0\0\x02\xff\x13\x04#08S01Bad handshake");
    assert_eq!(text(transcript.events_of(8001)[0], "USERNAME"), Some("root"));
    assert!(service(MYSQL_8).limits().unconsumed >= HEADER + LONGEST);
}

#[test]
fn silence_and_the_end_are_told_as_the_version_does() {
    for (banner, last) in [
        (MYSQL_8, &b"\x32\0\0\x01\xff\x87\x04#08S01Got timeout reading communication packets"[..]),
        (MARIADB, b""),
        ("8.0.19", b""),
    ] {
        let mut dialogue = dialogue(banner);
        let mut out = Outbox::new(Timestamp::from_micros(0));
        dialogue.open(&mut out);
        let greeted = format!("{:?}", out.into_steps());
        let mut out = Outbox::new(Timestamp::from_micros(0));
        dialogue.expired(&[], &mut out);
        let steps = format!("{:?}", out.into_steps());
        assert!(greeted.starts_with("[Reply("));
        let expected = if last.is_empty() { "[]".to_owned() } else { format!("[Reply({})]", last.escape_ascii()) };
        assert_eq!(steps, expected, "{banner}");
    }
}

#[test]
fn an_unfinished_login_is_reported_when_its_time_is_up() {
    let mut dialogue = dialogue(MYSQL_8);
    let mut out = Outbox::new(Timestamp::from_micros(0));
    dialogue.open(&mut out);
    dialogue.feed(&recorded(b"root"), &mut out);
    dialogue.expired(&[], &mut out);
    let steps = format!("{:?}", out.into_steps());
    assert!(steps.contains("8001") && steps.contains("30801"), "{steps}");
}

#[test]
fn a_connection_is_reported_if_asked_for() {
    let service = build(&ENTRY, &[("mysql.log_connection_made", "true")]);
    let transcript = exchange(&mut *service.dialogue(0, &facts(3306)), &[]);
    assert_eq!(transcript.events_of(9003), [&LogData::new()]);
    assert_eq!(exchange(&mut *dialogue(MYSQL_8), &[]).events().len(), 0);
}

// The service.

#[test]
fn tls_is_offered_by_products_that_make_themselves_a_certificate() {
    let profile = service("8.0.43-0ubuntu0.24.04.2").tls().unwrap();
    assert_eq!(profile.subject, [("CN", "MySQL_Server_8.0.43_Auto_Generated_Server_Certificate".to_owned())]);
    assert_eq!(profile.issuer, [("CN", "MySQL_Server_8.0.43_Auto_Generated_CA_Certificate".to_owned())]);
    for banner in [MARIADB, "5.7.44", "5.5.62"] {
        let service = service(banner);
        assert!(service.tls().is_none() && service.endpoints()[0].security == Security::Plain, "{banner}");
    }
    assert_eq!(service("11.8.3-MariaDB").endpoints()[0].security, Security::OnDemand);
}

#[test]
fn an_empty_banner_is_the_default_and_a_bad_one_is_refused() {
    let refused = |banner: &str| {
        let given: Settings = settings(ENTRY.keys, &[("mysql.banner", banner)]);
        let vault = MemoryVault::default();
        (ENTRY.build)(&Materials { settings: &given, vault: &vault, host_name: "srv01" }).err().map(|e| e.to_string())
    };
    assert_eq!(refused(r#""""#), None);
    let message = refused(r#""MySQL 8""#).unwrap();
    assert!(message.starts_with("`mysql.banner`: expected a version from 3 to 12"), "{message}");
}

/// Replies and events without the marks of chunks.
fn gist(t: &Transcript) -> (Vec<u8>, String, bool) {
    (t.replies(), format!("{:?}", t.events()), t.closed())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn chunk_size_changes_nothing_of_a_login(
        banner in prop::sample::select(vec![MYSQL_8, MYSQL_9, MARIADB, "5.7.44", "5.0.96", "3.23.58"]),
        user in prop::collection::vec(any::<u8>(), 0..20),
        response in prop::collection::vec(any::<u8>(), 0..40),
        next in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let bytes = [answer(RECORDED, &user, &response, "caching_sha2_password"), packet(3, &next)].concat();
        let service = service(banner);
        let run = |chunks: &[&[u8]]| gist(&exchange(&mut *service.dialogue(0, &local(1)), chunks));
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        let (whole, cut) = (run(&[&bytes]), run(&single));
        prop_assert_eq!(&whole.0, &cut.0);
        prop_assert_eq!(whole.2, cut.2);
    }

    #[test]
    fn garbage_in_a_handshake_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for banner in [MYSQL_8, MARIADB, "4.0.27"] {
            replies(banner, &packet(1, &bytes));
        }
    }
}
