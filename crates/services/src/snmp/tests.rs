//! The agent against net-snmp's answers, its personas, and what it reports.

use std::sync::Arc;

use aviary_event::{Timestamp, Value as Datum};
use aviary_service::{Facts, Materials, MemoryVault, Outbox, Service, Step, Transport};
use aviary_testkit::{Datagrams, Transcript, build, exchange, facts, settings};
use aviary_wire::ber;
use hmac::{Hmac, KeyInit as _, Mac as _};
use md5::{Digest as _, Md5};
use sha1::Sha1;

use super::ENTRY;
use super::codec::{self, Message, Secure, community_bytes, message, pdu, pdu_bytes, push_variable};
use super::mib::Mib;
use super::persona::{NAMES, Persona};
use super::service::start;
use super::value::Moment;

const NET_SNMP: &str = include_str!("fixtures/net-snmp-5.9.3.txt");
const DISCOVERY: &[u8] = b"0>\x02\x01\x030\x11\x02\x04Ji\xf2\xc2\x02\x03\x00\xff\xe3\x04\x01\x04\x02\x01\x03\x04\x100\x0e\x04\x00\x02\x01\x00\x02\x01\x00\x04\x00\x04\x00\x04\x000\x14\x04\x00\x04\x00\xa0\x0e\x02\x047\x1b\x8bP\x02\x01\x00\x02\x01\x000\x00";
/// Answers that differ: two that net-snmp gives to who has the password, and one where it leaves off early.
const DIFFERENT: [&str; 3] =
    ["v3 known user right password", "v3 known user right password bad time", "v2c bulk end two"];

fn send(service: &dyn Service, datagrams: &[&[u8]]) -> Transcript {
    exchange(&mut Datagrams::new(service, 0, facts(161)), datagrams)
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}

fn arcs(text: &str) -> Vec<u32> {
    text.split('.').map(|arc| arc.parse().expect("a number")).collect()
}

/// A request of version 1 or 2c by `public`.
fn request(version: i64, tag: u8, names: &[&str]) -> Vec<u8> {
    request_with(version, tag, names, (0, 0), &[ber::NULL, 0])
}

fn request_with(version: i64, tag: u8, names: &[&str], fields: (u8, usize), value: &[u8]) -> Vec<u8> {
    let mut variables = Vec::new();
    names.iter().for_each(|name| push_variable(&mut variables, &arcs(name), value));
    community_bytes(version, b"public", &pdu_bytes(tag, 7, fields.0, fields.1, &variables))
}

/// Name, tag and value of each variable of an answer.
fn variables(answer: &[u8]) -> Vec<(String, u8, Vec<u8>)> {
    let Ok(Message::Community(message)) = message(answer) else { panic!("no answer: {answer:?}") };
    message.pdu.variables.iter().map(|v| (codec::dotted(&v.name), v.tag, v.value.to_vec())).collect()
}

fn engine_of(service: &dyn Service) -> Vec<u8> {
    match message(&send(service, &[DISCOVERY]).replies()) {
        Ok(Message::Secure(report)) => report.engine.to_vec(),
        other => panic!("{other:?}"),
    }
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for at in 0..bytes.len().saturating_sub(from.len()) {
        if bytes[at..].starts_with(from) {
            bytes[at..at + from.len()].copy_from_slice(to);
        }
    }
    bytes
}

#[test]
fn net_snmp_is_played_byte_for_byte() {
    let given = [("snmp.contact", "\"root <root@localhost>\""), ("snmp.location", "\"Server Room\"")];
    let settings = settings(ENTRY.keys, &given);
    let vault = MemoryVault::default();
    let materials = Materials { settings: &settings, vault: &vault, host_name: "vm" };
    let service = (ENTRY.build)(&materials).expect("builds");
    let (engine, theirs) = (engine_of(&*service), unhex("80001f8880133cbe5e1205066b00000000"));

    let lines: Vec<&str> = NET_SNMP.lines().filter(|line| !line.starts_with("# ")).collect();
    let (mut answered, mut silent) = (0, 0);
    for case in lines.chunks(3) {
        let [name, request, answer] = case else { panic!("{case:?}") };
        if DIFFERENT.contains(&&name[3..]) {
            continue;
        }
        let bytes = |line: &str| replaced(&unhex(line.get(2..).unwrap_or_default()), &theirs, &engine);
        let (request, golden) = (bytes(request), bytes(answer));
        let ours = send(&*service, &[&request]).replies();
        match (message(&ours), message(&golden)) {
            (Ok(Message::Secure(a)), Ok(Message::Secure(b))) => {
                let gist = |m: &Secure<'_>| {
                    let scoped = m.scoped.as_ref().expect("in clear");
                    let p = &scoped.pdu;
                    let names: Vec<_> = p.variables.iter().map(|v| (v.name.clone(), v.tag)).collect();
                    let who = (m.user.to_vec(), m.digest.to_vec(), scoped.engine.to_vec(), scoped.context.to_vec());
                    (m.id, m.max_size, m.flags, m.engine.to_vec(), who, (p.tag, p.id, p.second, p.third), names)
                };
                assert_eq!(gist(&a), gist(&b), "{name}");
            }
            _ => assert_eq!(ours, golden, "{name}: {}", ours.escape_ascii()),
        }
        if golden.is_empty() { silent += 1 } else { answered += 1 }
    }
    assert_eq!((answered, silent), (104, 39));
}

#[test]
fn every_persona_can_be_walked_to_its_end() {
    for name in NAMES {
        let service = build(&ENTRY, &[("snmp.persona", &format!("\"{name}\""))]);
        let objects = Mib::parse(Persona::of_name(name).table).expect("a table").len();
        for version in [0, 1] {
            let mut at = "1.3".to_owned();
            let mut seen = 0;
            loop {
                let answer = send(&*service, &[&request(version, pdu::GET_NEXT, &[&at])]).replies();
                let Ok(Message::Community(read)) = message(&answer) else { panic!("{name}: no answer") };
                if read.pdu.second != 0 || read.pdu.variables[0].tag == 0x82 {
                    break;
                }
                let next = codec::dotted(&read.pdu.variables[0].name);
                assert!(arcs(&next) > arcs(&at), "{name}: {next} after {at}");
                at = next;
                seen += 1;
            }
            // Version 1 has no 64-bit counters.
            assert!(
                if version == 1 { seen == objects } else { seen <= objects && seen > 40 },
                "{name}: {seen} of {objects}"
            );
        }
    }
}

#[test]
fn every_value_fits_its_kind() {
    let moment = Moment {
        now: Timestamp::from_micros(aviary_testkit::NOW),
        boots: 2,
        uptime: 40 * 86_400_000_000,
        engine: b"engine",
        address: [192, 0, 2, 1].into(),
        mac: [0; 6],
        secret: &[7; 32],
        host: "srv01",
        contact: "c",
        location: "l",
        description: "d",
    };
    for name in NAMES {
        let mib = Mib::parse(Persona::of_name(name).table).expect("a table");
        for (what, content) in mib.contents(&moment) {
            let left = |content: &[u8]| what.contains('{') && content.contains(&b'{');
            assert!(content.is_some_and(|content| !left(&content)), "{name}: {what}");
        }
    }
}

#[test]
fn tables_that_are_none_are_refused() {
    for bad in
        ["x", "at 1.3\n.1 int", "at 1.3\n.1 number 5", "at 1.x\n.1 int 5", "at 1.3\nrows 1 | 2\n.1 int 1 | 2 | 3"]
    {
        assert!(Mib::parse(bad).is_err(), "{bad}");
    }
    assert_eq!(Mib::parse("# nothing\n\nat 1.3\nrows \"ab\"\n.1 int 5").map(|mib| mib.len()), Ok(1));
}

#[test]
fn the_machine_knows_its_address_name_and_users() {
    let service = build(&ENTRY, &[("snmp.persona", "\"windows\"")]);
    let one = |name: &str| variables(&send(&*service, &[&request(1, pdu::GET, &[name])]).replies()).remove(0);
    assert_eq!(one("1.3.6.1.2.1.4.20.1.1.192.0.2.1").2, [192, 0, 2, 1]);
    assert_eq!(one("1.3.6.1.2.1.4.20.1.1.192.0.2.2").1, 0x81);
    assert_eq!(one("1.3.6.1.2.1.1.5.0").2, b"srv01");
    assert_eq!(one("1.3.6.1.4.1.77.1.2.25.1.1.5.71.117.101.115.116").2, b"Guest");
    let linux = build(&ENTRY, &[]);
    let said = variables(&send(&*linux, &[&request(1, pdu::GET, &["1.3.6.1.2.1.1.1.0"])]).replies()).remove(0).2;
    assert!(said.starts_with(b"Linux srv01 6."), "{}", said.escape_ascii());
}

#[test]
fn windows_knows_no_version_3() {
    let t = send(&*build(&ENTRY, &[("snmp.persona", "\"windows\"")]), &[DISCOVERY]);
    assert_eq!((t.replies().len(), t.events_of(31501).len()), (0, 1));
}

#[test]
fn engines_are_named_as_the_product_names_them() {
    for (name, begin, length) in [
        ("linux", &b"\x80\0\x1f\x88\x80"[..], 17),
        ("cisco", b"\x80\0\0\x09\x03\0\x1b\x54", 11),
        ("printer", b"\x80\0\0\x0b\x03\x3c\x52\x82", 11),
        ("ups", b"\x80\0\x01\x3e\x03\0\xc0\xb7", 11),
    ] {
        let engine = engine_of(&*build(&ENTRY, &[("snmp.persona", &format!("\"{name}\""))]));
        assert!(engine.starts_with(begin) && engine.len() == length, "{name}: {engine:02x?}");
    }
}

#[test]
fn both_versions_tell_of_the_same_engine() {
    let service = build(&ENTRY, &[]);
    let names = ["1.3.6.1.6.3.10.2.1.1.0", "1.3.6.1.6.3.10.2.1.2.0", "1.3.6.1.6.3.10.2.1.3.0"];
    let told = variables(&send(&*service, &[&request(1, pdu::GET, &names)]).replies());
    let report = send(&*service, &[DISCOVERY]).replies();
    let Ok(Message::Secure(report)) = message(&report) else { panic!("no report") };
    let number = |at: usize| ber::integer(&told[at].2).expect("a number");
    assert_eq!((told[0].2.as_slice(), number(1), number(2)), (report.engine, report.boots, report.time));
}

#[test]
fn the_machine_starts_anew_now_and_then_and_time_runs() {
    let at = |day: i64| start(Timestamp::from_micros(aviary_testkit::NOW + day * 86_400_000_000), &[9; 32]);
    let mut restarts = 0;
    for day in 0..1000 {
        let (here, next) = (at(day), at(day + 1));
        if next.boots == here.boots {
            assert_eq!(next.uptime - here.uptime, 86_400_000_000);
        } else {
            assert_eq!(next.boots, here.boots + 1);
            assert!(next.uptime < 86_400_000_000);
            restarts += 1;
        }
    }
    assert!((5..=16).contains(&restarts), "{restarts}");
    assert!((1..60).contains(&at(0).boots));
}

#[test]
fn a_bulk_request_draws_no_more_than_a_frame() {
    let service = build(&ENTRY, &[]);
    let answer = send(&*service, &[&request_with(1, pdu::GET_BULK, &["1.3"], (0, 100_000), &[ber::NULL, 0])]).replies();
    assert!((1000..=1400).contains(&answer.len()), "{}", answer.len());
    let many = ["1.3.6.1.2.1.1.9.1.3"; 60];
    let answer = send(&*service, &[&request_with(1, pdu::GET_BULK, &many, (0, 50), &[ber::NULL, 0])]).replies();
    assert!(answer.len() <= 4000, "{}", answer.len());
}

#[test]
fn a_bulk_answer_is_as_long_as_may_be_sent() {
    let service = build(&ENTRY, &[]);
    let bulk = request_with(1, pdu::GET_BULK, &["1.3.6.1.2.1.1.3.0"], (0, 50), &[ber::NULL, 0]);
    let facts = Facts { transport: Transport::Datagrams, ..facts(161) };
    for room in (100..1400).step_by(50) {
        let mut out = Outbox::for_datagrams(Timestamp::from_micros(aviary_testkit::NOW)).with_room(room);
        service.datagram(0, &facts, &bulk, &mut out);
        let replies: Vec<usize> =
            out.into_steps().iter().filter_map(|s| if let Step::Reply(b) = s { Some(b.len()) } else { None }).collect();
        assert!(
            matches!(replies.as_slice(), [length] if *length <= room && *length + 120 > room),
            "{room}: {replies:?}"
        );
    }
}

#[test]
fn an_answer_that_fits_nowhere_is_too_big() {
    let service = build(&ENTRY, &[("snmp.persona", "\"cisco\"")]);
    let names = ["1.3.6.1.2.1.1.1.0"; 10];
    for (version, count) in [(0, 10), (1, 0)] {
        let answer = send(&*service, &[&request(version, pdu::GET, &names)]).replies();
        let Ok(Message::Community(read)) = message(&answer) else { panic!("no answer") };
        assert_eq!((read.pdu.second, read.pdu.variables.len()), (1, count));
    }
}

#[test]
fn a_request_for_too_much_is_too_big_at_once() {
    for (version, tag) in [(0, pdu::GET), (1, pdu::GET_NEXT), (1, pdu::GET_BULK)] {
        let answer = send(&*build(&ENTRY, &[]), &[&request(version, tag, &["1.3"; 1025])]).replies();
        let Ok(Message::Community(read)) = message(&answer) else { panic!("no answer") };
        assert_eq!((read.pdu.second, read.pdu.variables.len()), (1, if version == 0 { 1025 } else { 0 }));
    }
}

#[test]
fn whoever_may_write_is_told_that_nothing_is_writable() {
    let service = build(&ENTRY, &[("snmp.read_write", "[\"public\"]"), ("snmp.communities", "[]")]);
    for (version, status) in [(0, 2), (1, 17)] {
        let set =
            request_with(version, pdu::SET, &["1.3.6.1.2.1.1.4.0"], (0, 0), &ber::element(ber::OCTET_STRING, b"x"));
        let answer = send(&*service, &[&set]).replies();
        let Ok(Message::Community(read)) = message(&answer) else { panic!("no answer") };
        assert_eq!((read.pdu.second, read.pdu.third), (status, 1));
    }
    let set = request_with(1, pdu::SET, &["1.3.6.1.2.1.1.4.0"], (0, 0), &ber::element(ber::OCTET_STRING, b"x\xff"));
    insta::assert_snapshot!(send(&*service, &[&set]), @r#"
    > 0(\x02\x01\x01\x04\x06public\xa3\x1b\x02\x01\x07\x02\x01\x00\x02\x01\x000\x100\x0e\x06\x08+\x06\x01\x02\x01\x01\x04\x00\x04\x02x\xff
    ! 13001 COMMUNITY_STRING=Bytes(b"public") REQUESTS=List([Text("1.3.6.1.2.1.1.4.0")])
    ! 31500 ACCEPTED=Bool(true) COMMUNITY=Bytes(b"public") PDU=Text("SetRequest") REQUEST_ID=Int(7) VARIABLES=List([Map({"OID": Text("1.3.6.1.2.1.1.4.0"), "TYPE": Text("OCTET STRING"), "VALUE": Bytes(b"x\xff")})]) VARIABLE_COUNT=Int(1) VERSION=Text("2c")
    < 0(\x02\x01\x01\x04\x06public\xa2\x1b\x02\x01\x07\x02\x01\x11\x02\x01\x010\x100\x0e\x06\x08+\x06\x01\x02\x01\x01\x04\x00\x04\x02x\xff
    "#);
}

#[test]
fn reads_are_reported_whoever_asks() {
    let other = community_bytes(0, b"\xfe\xff", &pdu_bytes(pdu::GET, 9, 0, 0, b""));
    let service = build(&ENTRY, &[]);
    insta::assert_snapshot!(send(&*service, &[&request(0, pdu::GET, &["1.3.6.1.2.1.1.5.0"]), &other]), @r#"
    > 0&\x02\x01\x00\x04\x06public\xa0\x19\x02\x01\x07\x02\x01\x00\x02\x01\x000\x0e0\x0c\x06\x08+\x06\x01\x02\x01\x01\x05\x00\x05\x00
    ! 13001 COMMUNITY_STRING=Bytes(b"public") REQUESTS=List([Text("1.3.6.1.2.1.1.5.0")])
    ! 31500 ACCEPTED=Bool(true) COMMUNITY=Bytes(b"public") PDU=Text("GetRequest") REQUEST_ID=Int(7) VARIABLES=List([Map({"OID": Text("1.3.6.1.2.1.1.5.0")})]) VARIABLE_COUNT=Int(1) VERSION=Text("1")
    < 0+\x02\x01\x00\x04\x06public\xa2\x1e\x02\x01\x07\x02\x01\x00\x02\x01\x000\x130\x11\x06\x08+\x06\x01\x02\x01\x01\x05\x00\x04\x05srv01
    > 0\x14\x02\x01\x00\x04\x02\xfe\xff\xa0\x0b\x02\x01\t\x02\x01\x00\x02\x01\x000\x00
    ! 13001 COMMUNITY_STRING=Bytes(b"\xfe\xff") REQUESTS=List([])
    ! 31500 ACCEPTED=Bool(false) COMMUNITY=Bytes(b"\xfe\xff") PDU=Text("GetRequest") REQUEST_ID=Int(9) VARIABLES=List([]) VARIABLE_COUNT=Int(0) VERSION=Text("1")
    "#);
    let bulk = request_with(1, pdu::GET_BULK, &["1.3.6.1.2.1.1.4", "1.3.6.1.2.1.1.5"], (1, 2), &[ber::NULL, 0]);
    insta::assert_snapshot!(send(&*service, &[&bulk]), @r#"
    > 02\x02\x01\x01\x04\x06public\xa5%\x02\x01\x07\x02\x01\x01\x02\x01\x020\x1a0\x0b\x06\x07+\x06\x01\x02\x01\x01\x04\x05\x000\x0b\x06\x07+\x06\x01\x02\x01\x01\x05\x05\x00
    ! 13001 COMMUNITY_STRING=Bytes(b"public") REQUESTS=List([Text("1.3.6.1.2.1.1.4"), Text("1.3.6.1.2.1.1.5")])
    ! 31500 ACCEPTED=Bool(true) COMMUNITY=Bytes(b"public") MAX_REPETITIONS=Int(2) NON_REPEATERS=Int(1) PDU=Text("GetBulkRequest") REQUEST_ID=Int(7) VARIABLES=List([Map({"OID": Text("1.3.6.1.2.1.1.4")}), Map({"OID": Text("1.3.6.1.2.1.1.5")})]) VARIABLE_COUNT=Int(2) VERSION=Text("2c")
    < 0V\x02\x01\x01\x04\x06public\xa2I\x02\x01\x07\x02\x01\x00\x02\x01\x000>0\x10\x06\x08+\x06\x01\x02\x01\x01\x04\x00\x04\x04root0\x11\x06\x08+\x06\x01\x02\x01\x01\x05\x00\x04\x05srv010\x17\x06\x08+\x06\x01\x02\x01\x01\x06\x00\x04\x0bServer room
    "#);
}

#[test]
fn lists_in_events_are_bounded() {
    let t = send(&*build(&ENTRY, &[]), &[&request(1, pdu::GET, &["1.3.6.1.2.1.1.5.0"; 2000])]);
    let list = |logtype: i64, key: &str| match t.events_of(logtype)[0].get(key) {
        Some(Datum::List(items)) => items.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!((list(13001, "REQUESTS"), list(31500, "VARIABLES")), (64, 64));
    assert_eq!(t.events_of(31500)[0].get("VARIABLE_COUNT"), Some(&Datum::Int(2000)));
}

#[test]
fn what_is_no_message_is_reported() {
    let t = send(&*build(&ENTRY, &[]), &[b"garbage", b"\x30\x03\x02\x01\x02", &request(1, pdu::GET, &["1.3"])[..20]]);
    assert_eq!((t.replies().len(), t.events_of(31503).len()), (0, 3));
    insta::assert_snapshot!(t, @r#"
    > garbage
    ! 31503 DATA=Bytes(b"garbage") REASON=Text("no BER: the element is longer than what is there")
    > 0\x03\x02\x01\x02
    ! 31503 DATA=Bytes(b"0\x03\x02\x01\x02") REASON=Text("version 2 is none of 0, 1 and 3")
    > 0\x1f\x02\x01\x01\x04\x06public\xa0\x12\x02\x01\x07\x02\x01
    ! 31503 DATA=Bytes(b"0\x1f\x02\x01\x01\x04\x06public\xa0\x12\x02\x01\x07\x02\x01") REASON=Text("no BER: the element is longer than what is there")
    "#);
}

/// A request of version 3 in a user's name, with a digest by a password (RFC 3414, sections 6 and 7).
fn signed(engine: &[u8], user: &[u8], password: &[u8], sha: bool) -> Vec<u8> {
    let octets = |bytes: &[u8]| ber::element(ber::OCTET_STRING, bytes);
    let with = |digest: &[u8]| {
        let header = [codec::integer(5), codec::integer(65_507), octets(&[5]), codec::integer(3)].concat();
        let usm =
            [octets(engine), codec::integer(1), codec::integer(2), octets(user), octets(digest), octets(b"")].concat();
        let mut variables = Vec::new();
        push_variable(&mut variables, &arcs("1.3.6.1.2.1.1.5.0"), &[5, 0]);
        let scoped = [octets(engine), octets(b""), pdu_bytes(pdu::GET, 77, 0, 0, &variables)].concat();
        let parts = [
            codec::integer(3),
            ber::element(ber::SEQUENCE, &header),
            octets(&ber::element(ber::SEQUENCE, &usm)),
            ber::element(ber::SEQUENCE, &scoped),
        ];
        ber::element(ber::SEQUENCE, &parts.concat())
    };
    let mebibyte: Vec<u8> = password.iter().copied().cycle().take(1 << 20).collect();
    let unsigned = with(&[0; 12]);
    let digest: Vec<u8> = if sha {
        let key = Sha1::digest(&mebibyte);
        let key = Sha1::new().chain_update(key).chain_update(engine).chain_update(key).finalize();
        Hmac::<Sha1>::new_from_slice(&key).unwrap().chain_update(&unsigned).finalize().into_bytes().to_vec()
    } else {
        let key = Md5::digest(&mebibyte);
        let key = Md5::new().chain_update(key).chain_update(engine).chain_update(key).finalize();
        Hmac::<Md5>::new_from_slice(&key).unwrap().chain_update(&unsigned).finalize().into_bytes().to_vec()
    };
    with(&digest[..12])
}

#[test]
fn a_login_of_version_3_leaves_a_line_to_crack() {
    let service = build(&ENTRY, &[]);
    let engine = engine_of(&*service);
    for (sha, password, guessed) in
        [(false, "Welcome123", true), (true, "P@ssw0rd", true), (true, "zq8!unheard-of", false)]
    {
        let bytes = signed(&engine, b"admin", password.as_bytes(), sha);
        let t = send(&*service, &[&bytes, b""]);
        let data = t.events_of(31502)[0];
        let text = |key: &str| data.get(key).and_then(Datum::as_str).map(str::to_owned);
        assert_eq!(text("PASSWORD").as_deref(), guessed.then_some(password));
        assert_eq!(data.get("HASHCAT_MODE"), Some(&Datum::Int(25_000)));
        let line = text("HASHCAT").expect("a line");
        let fields: Vec<&str> = line.split('$').collect();
        let ["", "SNMPv3", "0", "1", salt, engine_digits, digest] = fields.as_slice() else { panic!("{line}") };
        let mut salt = unhex(salt);
        let at = salt.len() - bytes.len();
        assert_eq!(
            (at, unhex(engine_digits), salt.windows(12).filter(|w| *w == [0; 12]).count()),
            (0, engine.clone(), 1)
        );
        let zeros = salt.windows(12).position(|w| w == [0; 12]).unwrap();
        salt[zeros..zeros + 12].copy_from_slice(&unhex(digest));
        assert_eq!(salt, bytes);
    }
    assert_eq!(
        send(&*service, &[&signed(&engine, b"bob", b"12345678", false)]).events_of(31502)[0].get("KNOWN_USER"),
        Some(&Datum::Bool(false))
    );
}

#[test]
fn so_many_digests_are_tried_in_a_second() {
    let service = build(&ENTRY, &[]);
    let bytes = signed(&engine_of(&*service), b"admin", b"12345678", false);
    let t = send(&*service, &vec![bytes.as_slice(); 70]);
    let logins = t.events_of(31502);
    let tried = logins.iter().filter(|data| data.get("PASSWORD").is_some()).count();
    assert_eq!((logins.len(), tried), (70, 64));
}

#[test]
fn a_login_to_another_engine_is_kept_and_not_guessed() {
    let service = build(&ENTRY, &[]);
    let t = send(&*service, &[&signed(b"\x80\0\x1f\x88\x80abcdefgh", b"admin", b"12345678", false)]);
    let data = t.events_of(31502)[0];
    assert!(data.get("HASHCAT").is_some() && data.get("PASSWORD").is_none(), "{t}");
    // Eleven octets are too few for hashcat.
    let t = send(&*service, &[&signed(b"\x80\0\0\x09\x03abcdef", b"admin", b"12345678", false)]);
    let data = t.events_of(31502)[0];
    assert!(data.get("HASHCAT").is_some() && data.get("HASHCAT_MODE").is_none(), "{t}");
}

#[test]
fn digests_that_say_nothing_leave_no_line() {
    let service = build(&ENTRY, &[]);
    let engine = engine_of(&*service);
    let bytes = signed(&engine, b"admin", b"12345678", false);
    let digest = match message(&bytes) {
        Ok(Message::Secure(message)) => message.digest.to_vec(),
        other => panic!("{other:?}"),
    };
    let t = send(&*service, &[&replaced(&bytes, &digest, &[0; 12])]);
    assert!(t.events_of(31502)[0].get("HASHCAT").is_none(), "{t}");
}

#[test]
fn the_listed_keys_are_those_of_rfc_3414() {
    let listed = include_str!("fixtures/password-keys.txt");
    // Appendix A.3.1 and A.3.2.
    assert!(
        listed.contains("\nmaplesyrup 9faf3283884e92834ebc9847d8edd963 9fb5cc0381497b3793528939ff788d5d79145211\n")
    );
    let words: Vec<&str> = listed.lines().map(|line| line.rsplitn(3, ' ').nth(2).expect("a word")).collect();
    assert!(words.len() > 150 && words.iter().all(|word| word.len() >= 8));
    for word in ["password", "The Net-SNMP Demo Password"] {
        let mebibyte: Vec<u8> = word.bytes().cycle().take(1 << 20).collect();
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let line = format!("{word} {} {}", hex(&Md5::digest(&mebibyte)), hex(&Sha1::digest(&mebibyte)));
        assert!(listed.lines().any(|listed| listed == line), "{line}");
    }
    // Every common password that is long enough is in it.
    let missing: Vec<_> = aviary_wire::guess::WORDS.iter().filter(|w| w.len() >= 8 && !words.contains(*w)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn facts_of_ipv6_have_no_address_to_show() {
    let service = build(&ENTRY, &[]);
    let facts = Facts { local: "[2001:db8::1]:161".parse().unwrap(), host_name: Arc::from("srv01"), ..facts(161) };
    let next = request(1, pdu::GET_NEXT, &["1.3.6.1.2.1.4.20.1.1"]);
    let t = exchange(&mut Datagrams::new(&*service, 0, facts), &[&next]);
    assert_eq!(variables(&t.replies())[0].2, [127, 0, 0, 1]);
}
