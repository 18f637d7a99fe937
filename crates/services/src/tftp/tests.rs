//! The conversations, against what tftpd-hpa said.

use aviary_event::{LogData, Timestamp};
use aviary_service::{Dialogue, Outbox, Service, Step};
use aviary_testkit::{Datagrams, Line, NOW, Talk, Transcript, build, exchange, facts, unescape};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::ENTRY;

/// A service with the file `hello.txt` of six bytes beside what is given.
fn service(given: &[(&str, &str)]) -> Box<dyn Service> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tftp/fixtures/hello.txt");
    let files = format!(r#"["startup-config", "pxelinux.cfg/default", {{"name": "hello.txt", "path": {path:?}}}]"#);
    let all: Vec<_> = [("tftp.files", files.as_str())].into_iter().chain(given.iter().copied()).collect();
    build(&ENTRY, &all)
}

fn talk(given: &[(&str, &str)], datagrams: &[&[u8]]) -> Transcript {
    let service = service(given);
    exchange(&mut Datagrams::new(&*service, 0, facts(69)), datagrams)
}

fn text(data: &LogData, key: &str) -> String {
    data.get(key).unwrap_or_else(|| panic!("no {key} in {data:?}")).as_str().unwrap().to_owned()
}

#[test]
fn answers_as_tftpd_hpa_step_by_step() {
    let fixture = include_str!("fixtures/tftpd-hpa-5.2.txt");
    for section in fixture.split("## ").skip(1) {
        let (name, steps) = section.split_once('\n').unwrap();
        let service = service(&[("tftp.uploads", "false")]);
        let mut datagrams = Datagrams::new(&*service, 0, facts(69));
        let mut talk = Talk::open(&mut datagrams);
        let mut reply = Vec::new();
        for step in steps.lines() {
            if let Some(sent) = step.strip_prefix("> ") {
                reply = talk.send(&unescape(sent));
            } else {
                let expected = unescape(step.trim_start_matches('<').trim_start_matches(' '));
                assert_eq!(reply.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{name}");
            }
        }
        let t = talk.end();
        assert!(!t.events().is_empty(), "{name}: {t}");
    }
}

#[test]
fn a_decoy_in_blocks_that_were_agreed_on() {
    let ask = b"\0\x01startup-config\0octet\0blksize\x001024\0tsize\x000\0";
    let service = service(&[]);
    let mut datagrams = Datagrams::new(&*service, 0, facts(69));
    let mut talk = Talk::open(&mut datagrams);
    let oack = talk.send(ask);
    let length: usize = String::from_utf8(oack[21..oack.len() - 1].to_vec()).unwrap().parse().unwrap();
    let first = talk.send(b"\0\x04\0\0");
    assert_eq!((first.len(), &first[..4]), (1028, &b"\0\x03\0\x01"[..]));
    let again = talk.send(b"\0\x04\0\0");
    assert_eq!(again, first, "who lost a block asks again");
    let second = talk.send(b"\0\x04\0\x01");
    assert_eq!(&second[..4], b"\0\x03\0\x02");
    assert_eq!(length, first.len() + second.len() - 8);
    assert!(second.ends_with(b"\nend\n"));
    talk.send(b"\0\x04\0\x02");
    let t = talk.end();
    assert!(t.closed());
    let done = t.events_of(31801)[0];
    assert_eq!(done.get("BYTES"), Some(&aviary_event::Value::Int(length.try_into().unwrap())));
    assert_eq!(done.get("COMPLETE"), Some(&aviary_event::Value::Bool(true)));
    assert_eq!(text(t.events_of(10001)[0], "OPCODE"), "READ");
    assert_eq!(text(t.events_of(31800)[0], "OPTIONS"), "blksize=1024 tsize=0");
}

/// What a request draws: the dialogue that goes on, opened, and its steps.
fn conversation(request: &[u8], given: &[(&str, &str)]) -> (Box<dyn Dialogue>, Vec<Step>) {
    let service = service(given);
    let mut out = Outbox::for_datagrams(Timestamp::from_micros(NOW));
    service.datagram(0, &facts(69), request, &mut out);
    for step in out.into_steps() {
        if let Step::Converse(mut dialogue) = step {
            let mut out = Outbox::for_datagrams(Timestamp::from_micros(NOW));
            dialogue.open(&mut out);
            return (dialogue, out.into_steps());
        }
    }
    panic!("nothing goes on");
}

fn feed(dialogue: &mut dyn Dialogue, datagram: &[u8]) -> Vec<Step> {
    let mut out = Outbox::for_datagrams(Timestamp::from_micros(NOW));
    assert_eq!(dialogue.feed(datagram, &mut out), datagram.len());
    out.into_steps()
}

#[test]
fn a_stranger_without_options_is_made_to_prove_itself() {
    let request = b"\0\x01startup-config\0octet\0";
    let (mut dialogue, steps) = conversation(request, &[]);
    let [Step::ReplyOr(block, otherwise)] = steps.as_slice() else { panic!("{steps:?}") };
    assert_eq!((block.len(), otherwise.as_slice()), (516, &b"\0\x03\0\0"[..]));
    // tftp-hpa's client repeats its request to the new port, BusyBox's acknowledges block 0.
    for proof in [&request[..], b"\0\x04\0\0"] {
        let steps = feed(&mut *dialogue, proof);
        let [Step::Reply(sent)] = steps.as_slice() else { panic!("{steps:?}") };
        assert_eq!(sent, block);
    }
}

#[test]
fn a_block_is_sent_again_a_few_times_and_no_more() {
    let (mut dialogue, _) = conversation(b"\0\x01startup-config\0octet\0", &[]);
    let replies = (0..100).map(|_| feed(&mut *dialogue, b"\0\x04\0\0"));
    let replies = replies.flatten().filter(|step| matches!(step, Step::Reply(_))).count();
    assert_eq!(replies, 6);
    let (mut dialogue, _) = conversation(b"\0\x02x\0octet\0", &[]);
    let replies = (0..100).map(|_| feed(&mut *dialogue, b"\0\x03\0\x01x"));
    let replies = replies.flatten().filter(|step| matches!(step, Step::Reply(_))).count();
    assert_eq!(replies, 7);
}

#[test]
fn an_upload_goes_to_the_quarantine_with_its_digest() {
    let blocks = [[b"\0\x03\0\x01".to_vec(), vec![b'a'; 512]].concat(), b"\0\x03\0\x02bcd".to_vec()];
    let t = talk(&[], &[b"\0\x02dir/imp\xfflant.bin\0octet\0", &blocks[0], &blocks[0], &blocks[1], &blocks[1]]);
    let kept: Vec<u8> = t
        .lines
        .iter()
        .filter_map(|l| if let Line::Keep(_, bytes) = l { Some(bytes.clone()) } else { None })
        .flatten()
        .collect();
    assert_eq!(kept, [&[b'a'; 512][..], b"bcd"].concat());
    let upload = t.events_of(31802)[0];
    let digest: String = Sha256::digest(&kept).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((text(upload, "SHA256"), text(upload, "QUARANTINE")), (digest, "1-imp_lant.bin".to_owned()));
    assert_eq!(upload.get("BYTES"), Some(&aviary_event::Value::Int(515)));
    assert_eq!(upload.get("COMPLETE"), Some(&aviary_event::Value::Bool(true)));
    assert_eq!(t.events_of(31802).len(), 1);
    assert_eq!(t.replies(), b"\0\x04\0\0\0\x04\0\x01\0\x04\0\x01\0\x04\0\x02\0\x04\0\x02");
}

#[test]
fn an_upload_ends_where_the_operator_says() {
    let blocks: Vec<Vec<u8>> = (1..=3_u8).map(|n| [vec![0, 3, 0, n], vec![n; 512]].concat()).collect();
    let t = talk(&[("tftp.max_upload_kb", "1")], &[b"\0\x02x\0octet\0", &blocks[0], &blocks[1], &blocks[2]]);
    assert!(t.replies().ends_with(b"\0\x05\0\x03Disk full or allocation exceeded\0"), "{t}");
    assert!(t.closed());
    assert_eq!(text(t.events_of(31802)[0], "REASON"), "too large");
    assert_eq!(t.lines.iter().filter(|line| matches!(line, Line::Keep(..))).count(), 2);
}

#[test]
fn an_upload_that_breaks_off_is_told() {
    for (end, reason) in [(&b"\0\x05\0\0enough\0"[..], "the peer gave up"), (b"", "the peer is gone")] {
        let t = talk(&[], &[b"\0\x02x\0octet\0", &[b"\0\x03\0\x01".to_vec(), vec![b'a'; 512]].concat(), end]);
        let upload = t.events_of(31802)[0];
        assert_eq!(text(upload, "REASON"), reason);
        assert_eq!(upload.get("COMPLETE"), Some(&aviary_event::Value::Bool(false)));
    }
    let (mut dialogue, _) = conversation(b"\0\x02x\0octet\0", &[]);
    let mut out = Outbox::for_datagrams(Timestamp::from_micros(NOW));
    dialogue.expired(&[], &mut out);
    assert!(format!("{:?}", out.into_steps()).contains("the peer fell silent"));
}

#[test]
fn without_uploads_decoys_are_there_and_others_are_not() {
    let refused =
        |name: &str| talk(&[("tftp.uploads", "false")], &[format!("\0\x02{name}\0octet\0").as_bytes()]).replies();
    assert_eq!(refused("startup-config"), b"\0\x05\0\x02Access violation\0");
    assert_eq!(refused("new"), b"\0\x05\0\x01File not found\0");
}

#[test]
fn what_is_no_request_is_told_and_not_answered() {
    for datagram in [&b"\0\x09x\0"[..], b"\0\x04\0\x01", b"x", b"\xff\xff\xff\xff"] {
        let t = talk(&[], &[datagram]);
        assert_eq!(t.events_of(31803)[0].get("DATA").unwrap().as_bytes(), Some(datagram));
        assert_eq!(t.replies(), b"");
    }
    let t = talk(&[], &[b"\0\x01caf\xe9\0octet\0"]);
    assert_eq!(t.events_of(10001)[0].get("FILENAME").unwrap().as_bytes(), Some(&b"caf\xe9"[..]));
    let t = talk(&[], &[b"\0\x01noterm"]);
    assert_eq!((t.events_of(10001).len(), t.events_of(31803).len()), (0, 1));
}

#[test]
fn decoys_are_each_installations_own() {
    let config = |service: &dyn Service| {
        exchange(
            &mut Datagrams::new(service, 0, facts(69)),
            &[b"\0\x01startup-config\0octet\0blksize\x009000\0", b"\0\x04\0\0"],
        )
        .replies()
    };
    let (one, other) = (service(&[]), service(&[]));
    assert_eq!(config(&*one), config(&*one));
    assert_ne!(config(&*one), config(&*other));
    let whole = config(&*one);
    let text = String::from_utf8_lossy(&whole);
    assert!(text.contains("hostname srv01\n") && !text.contains('{'), "{text}");
}

#[test]
fn files_that_cannot_be_served_are_refused() {
    let refusal = |value: &str| {
        let settings = aviary_testkit::settings(ENTRY.keys, &[("tftp.files", value)]);
        let vault = aviary_service::MemoryVault::default();
        let materials = aviary_service::Materials { settings: &settings, vault: &vault, host_name: "srv01" };
        (ENTRY.build)(&materials).err().map(|rejection| rejection.to_string()).unwrap_or_default()
    };
    assert!(refusal(r#"["firmware.bin"]"#).contains("nothing can be made up for `firmware.bin`"));
    assert!(refusal(r#"[{"name": "x"}]"#).contains("`name` and `path`, both texts"));
    assert!(refusal(r#"[{"name": "x", "path": "/nonexistent/x"}]"#).contains("cannot be read"));
    assert!(refusal("[5]").contains("each item is a name"));
    assert_eq!(refusal(r#"["/a.cfg", "pxelinux.cfg/01-00"]"#), "");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_datagrams_end_in_one_account_of_the_transfer(datagrams in prop::collection::vec(datagram(), 1..12)) {
        let chunks: Vec<&[u8]> = datagrams.iter().map(Vec::as_slice).collect();
        let t = talk(&[], &chunks);
        prop_assert!(t.events_of(31801).len() + t.events_of(31802).len() <= 1, "{t}");
        prop_assert!(chunks.iter().all(|chunk| chunk.is_empty()) || !t.events().is_empty(), "{t}");
    }
}

fn datagram() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"\0\x01startup-config\0octet\0".to_vec()),
        Just(b"\0\x01hello.txt\0netascii\0blksize\08\0".to_vec()),
        Just(b"\0\x02x\0octet\0tsize\09\0".to_vec()),
        (0..4_u16).prop_map(super::codec::ack),
        (0..4_u16, prop::collection::vec(any::<u8>(), 0..600)).prop_map(|(n, bytes)| super::codec::data(n, &bytes)),
        Just(b"\0\x05\0\0no\0".to_vec()),
        prop::collection::vec(any::<u8>(), 0..40),
    ]
}
