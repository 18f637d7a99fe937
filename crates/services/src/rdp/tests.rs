//! The conversations: every negotiation, every way to log in, and what goes wrong.

use std::collections::BTreeMap;

use aviary_event::Value;
use aviary_service::{Dialogue, Service};
use aviary_testkit::{Talk, Transcript, build, exchange, facts};
use aviary_wire::ber;
use aviary_wire::ntlm;
use num_bigint::BigUint;
use proptest::prelude::*;

use super::ENTRY;
use super::client_info::example;
use super::credssp::TsRequest;
use super::fips::Fips;
use super::gcc::packed_length;
use super::security::Rc4Ciphers;
use super::x224;

const INITIAL: &[u8] = include_bytes!("fixtures/connect-initial-nmap.bin");
const ERECT_AND_ATTACH: &[u8] = b"\x03\0\0\x0c\x02\xf0\x80\x04\x01\0\x01\0\x03\0\0\x08\x02\xf0\x80\x28";
const JOIN: &[u8] = b"\x03\0\0\x0c\x02\xf0\x80\x38\0\x06\x03\xeb";

fn service(given: &[(&str, &str)]) -> Box<dyn Service> {
    build(&ENTRY, given)
}

fn dialogue(given: &[(&str, &str)]) -> Box<dyn Dialogue> {
    service(given).dialogue(0, &facts(3389))
}

fn talk(given: &[(&str, &str)], chunks: &[&[u8]]) -> Transcript {
    exchange(&mut *dialogue(given), chunks)
}

/// A connection request with a cookie and, if given, requested protocols.
fn request(user: &str, protocols: Option<u32>) -> Vec<u8> {
    let mut variable = format!("Cookie: mstshash={user}\r\n").into_bytes();
    if let Some(protocols) = protocols {
        variable.extend_from_slice(&[1, 0, 8, 0]);
        variable.extend_from_slice(&protocols.to_le_bytes());
    }
    let length = u8::try_from(variable.len()).unwrap();
    [&[3, 0, 0, length + 11, length + 6, 0xe0, 0, 0, 0, 0, 0][..], &variable].concat()
}

fn answer_to(given: &[(&str, &str)], protocols: Option<u32>) -> Vec<u8> {
    let variable = protocols.map_or_else(Vec::new, |bits| [&[1, 0, 8, 0][..], &bits.to_le_bytes()].concat());
    let length = u8::try_from(variable.len()).unwrap();
    let bytes = [&[3, 0, 0, length + 11, length + 6, 0xe0, 0, 0, 0, 0, 0][..], &variable].concat();
    talk(given, &[&bytes]).replies()
}

fn confirm(tail: &[u8]) -> Vec<u8> {
    [b"\x03\0\0\x13\x0e\xd0\0\0\x12\x34\0", tail].concat()
}

/// MCS data of a client on the main channel.
fn data(content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
    x224::data_packet(&[&[0x64, 0, 6, 3, 0xeb, 0x70, 0x80 | high, low], content].concat())
}

/// A TSRequest of a client.
fn ts_request(version: u8, token: &[u8]) -> Vec<u8> {
    let item = ber::element(0xa0, &ber::element(0x04, token));
    let tokens = ber::element(0xa1, &ber::element(0x30, &ber::element(0x30, &item)));
    ber::element(0x30, &[ber::element(0xa0, &[2, 1, version]), tokens].concat())
}

const NEGOTIATE: &[u8] = b"NTLMSSP\0\x01\0\0\0\xb7\x82\x08\xe2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x0a\0\x63\x45\0\0\0\x0f";

/// An AUTHENTICATE_MESSAGE with an NTLMv2 response that fits no password.
fn authenticate(user: &str, domain: &str, workstation: &str) -> Vec<u8> {
    let nt = [&[0xab; 16][..], &[1, 1, 0, 0, 0, 0, 0, 0], &[0xcd; 36]].concat();
    let fields = [vec![0; 24], nt, ntlm::utf16(domain), ntlm::utf16(user), ntlm::utf16(workstation), Vec::new()];
    let mut out = b"NTLMSSP\0\x03\0\0\0".to_vec();
    let mut offset = 72_u32;
    for field in &fields {
        let length = u16::try_from(field.len()).unwrap();
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&offset.to_le_bytes());
        offset += u32::from(length);
    }
    out.extend_from_slice(&0xe288_8215_u32.to_le_bytes());
    out.extend_from_slice(&[10, 0, 0x63, 0x45, 0, 0, 0, 15]);
    for field in &fields {
        out.extend_from_slice(field);
    }
    out
}

#[test]
fn windows_takes_the_highest_of_what_is_requested() {
    for (requested, selected) in [(0, 0), (1, 1), (2, 2), (3, 2), (8, 8), (0x0b, 8), (4, 0), (0xffff_0000, 0)] {
        let tail = [0x02, 0x1f, 8, 0, selected, 0, 0, 0];
        assert_eq!(answer_to(&[], Some(requested)), confirm(&tail), "{requested:#x}");
    }
    assert_eq!(answer_to(&[], None), b"\x03\0\0\x0b\x06\xd0\0\0\x12\x34\0");
    let off = [("rdp.nla", "\"off\""), ("rdp.version", "\"2012R2\"")];
    assert_eq!(answer_to(&off, Some(3)), confirm(&[0x02, 0x0f, 8, 0, 1, 0, 0, 0]));
}

#[test]
fn who_must_use_credssp_is_told_so() {
    let required = [("rdp.nla", "\"required\"")];
    for requested in [0, 1] {
        assert_eq!(answer_to(&required, Some(requested)), confirm(&[0x03, 0, 8, 0, 5, 0, 0, 0]), "{requested}");
    }
    assert_eq!(answer_to(&required, Some(3)), confirm(&[0x02, 0x1f, 8, 0, 2, 0, 0, 0]));
    let t = talk(&required, &[&request("bob", None)]);
    assert!(t.closed() && t.replies().is_empty());
    assert_eq!(t.events_of(14001).len(), 1);
}

#[test]
fn the_requests_that_xrdp_was_measured_with_differ_only_in_what_windows_is() {
    // A single byte and a request of HTTP draw nothing; a packet too short for anything ends it.
    assert!(talk(&[], &[b"\x03"]).replies().is_empty());
    assert!(talk(&[], &[b"GET / HTTP/1.0\r\n\r\n"]).replies().is_empty());
    let short = talk(&[], &[b"\x03\0\0\x05\0"]);
    assert!(short.closed() && short.replies().is_empty());
    let nothing = b"\x03\0\0\x0c\x02\xf0\x80\x04\x01\0\x01\0";
    let early = talk(&[], &[b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0\0\0\0\0", nothing]);
    assert!(early.closed());
    assert_eq!(early.replies(), confirm(&[0x02, 0x1f, 8, 0, 0, 0, 0, 0]));
}

#[test]
fn a_cookie_alone_is_a_login_at_the_end() {
    insta::assert_snapshot!(talk(&[], &[&request("CORP\\admin.x", Some(11))]), @r#"
    > \x03\x00\x002-\xe0\x00\x00\x00\x00\x00Cookie: mstshash=CORP\\admin.x\r\n\x01\x00\x08\x00\x0b\x00\x00\x00
    ! 31000 COOKIE=Bytes(b"CORP\\admin.x") FLAGS=Int(0) REQUESTED=Text("SSL|HYBRID|HYBRID_EX") SELECTED=Text("HYBRID_EX")
    < \x03\x00\x00\x13\x0e\xd0\x00\x00\x124\x00\x02\x1f\x08\x00\x08\x00\x00\x00
      (TLS)
    ! 14001 USERNAME=Bytes(b"CORP\\admin.x")
    "#);
    let nobody = talk(&[], &[b"\x03\0\0\x0b\x06\xe0\0\0\0\0\0"]);
    assert_eq!(nobody.events_of(14001)[0].get("USERNAME"), Some(&Value::Null));
}

#[test]
fn tls_without_a_request_leads_to_credssp() {
    let mut dialogue = dialogue(&[]);
    let mut talk = Talk::open(&mut *dialogue);
    assert_eq!(talk.send(b"\x16"), b"");
    assert!(talk.transcript().events().is_empty());
    talk.send(b"\x03\x01");
    let t = talk.end();
    assert_eq!(t.events_of(31000)[0].get("DIRECT"), Some(&Value::Bool(true)));
    assert_eq!(t.events_of(31003)[0].get("STAGE").and_then(|v| v.as_str()), Some("credssp"));
    assert_eq!(t.events_of(14001).len(), 1);
    assert!(talk_is_refused(b"\x16\x02"));
}

fn talk_is_refused(bytes: &[u8]) -> bool {
    let t = talk(&[], &[bytes]);
    t.closed() && t.events_of(31003).len() == 1
}

#[test]
fn credssp_gives_a_response_and_is_refused() {
    let authenticate = authenticate("administrator", "CORP", "WKS01");
    let chunks = [request("administrat", Some(3)), ts_request(6, NEGOTIATE), ts_request(6, &authenticate)];
    let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
    insta::assert_snapshot!(talk(&[("rdp.domain", "\"corp.example.com\"")], &chunks), @r#"
    > \x03\x00\x001,\xe0\x00\x00\x00\x00\x00Cookie: mstshash=administrat\r\n\x01\x00\x08\x00\x03\x00\x00\x00
    ! 31000 COOKIE=Bytes(b"administrat") FLAGS=Int(0) REQUESTED=Text("SSL|HYBRID") SELECTED=Text("HYBRID")
    < \x03\x00\x00\x13\x0e\xd0\x00\x00\x124\x00\x02\x1f\x08\x00\x02\x00\x00\x00
      (TLS)
    > 07\xa0\x03\x02\x01\x06\xa100.0,\xa0*\x04(NTLMSSP\x00\x01\x00\x00\x00\xb7\x82\x08\xe2\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\n\x00cE\x00\x00\x00\x0f
    < 0\x81\xf6\xa0\x03\x02\x01\x06\xa1\x81\xee0\x81\xeb0\x81\xe8\xa0\x81\xe5\x04\x81\xe2NTLMSSP\x00\x02\x00\x00\x00\x08\x00\x08\x008\x00\x00\x005\x82\x89\xe2w\xff1\xe9eg\xd0\x84\x00\x00\x00\x00\x00\x00\x00\x00\xa2\x00\xa2\x00@\x00\x00\x00\n\x00|O\x00\x00\x00\x0fC\x00O\x00R\x00P\x00\x02\x00\x08\x00C\x00O\x00R\x00P\x00\x01\x00\n\x00S\x00R\x00V\x000\x001\x00\x04\x00 \x00c\x00o\x00r\x00p\x00.\x00e\x00x\x00a\x00m\x00p\x00l\x00e\x00.\x00c\x00o\x00m\x00\x03\x00,\x00S\x00R\x00V\x000\x001\x00.\x00c\x00o\x00r\x00p\x00.\x00e\x00x\x00a\x00m\x00p\x00l\x00e\x00.\x00c\x00o\x00m\x00\x05\x00 \x00c\x00o\x00r\x00p\x00.\x00e\x00x\x00a\x00m\x00p\x00l\x00e\x00.\x00c\x00o\x00m\x00\x07\x00\x08\x00\x00\xb0\xa2\xd1\xccz\xdd\x01\x00\x00\x00\x00
    > 0\x81\xdc\xa0\x03\x02\x01\x06\xa1\x81\xd40\x81\xd10\x81\xce\xa0\x81\xcb\x04\x81\xc8NTLMSSP\x00\x03\x00\x00\x00\x18\x00\x18\x00H\x00\x00\x00<\x00<\x00`\x00\x00\x00\x08\x00\x08\x00\x9c\x00\x00\x00\x1a\x00\x1a\x00\xa4\x00\x00\x00\n\x00\n\x00\xbe\x00\x00\x00\x00\x00\x00\x00\xc8\x00\x00\x00\x15\x82\x88\xe2\n\x00cE\x00\x00\x00\x0f\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xab\xab\xab\xab\xab\xab\xab\xab\xab\xab\xab\xab\xab\xab\xab\xab\x01\x01\x00\x00\x00\x00\x00\x00\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcdC\x00O\x00R\x00P\x00a\x00d\x00m\x00i\x00n\x00i\x00s\x00t\x00r\x00a\x00t\x00o\x00r\x00W\x00K\x00S\x000\x001\x00
    ! 14001 DOMAIN=Bytes(b"CORP") HOSTNAME=Bytes(b"WKS01") USERNAME=Bytes(b"administrator")
    ! 31002 CREDSSP_VERSION=Int(6) DOMAIN=Bytes(b"CORP") HASHCAT=Bytes(b"administrator::CORP:77ff31e96567d084:abababababababababababababababab:0101000000000000cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd") HASHCAT_MODE=Int(5600) USERNAME=Bytes(b"administrator") WINDOWS_VERSION=Text("10.0.17763") WORKSTATION=Bytes(b"WKS01")
    < 0\r\xa0\x03\x02\x01\x06\xa4\x06\x02\x04\xc0\x00\x00m
      FIN
    "#);
}

#[test]
fn credssp_inside_spnego_is_answered_inside_spnego() {
    let mut dialogue = dialogue(&[]);
    let mut talk = Talk::open(&mut *dialogue);
    talk.send(&request("a", Some(2)));
    // NegTokenInit: Kerberos preferred, NTLM known, and a Kerberos message.
    let kerberos =
        b"\x60\x2f\x06\x06\x2b\x06\x01\x05\x05\x02\xa0\x25\x30\x23\xa0\x19\x30\x17\x06\x09\x2a\x86\x48\x86\xf7\x12\
        \x01\x02\x02\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a\xa2\x06\x04\x04krb5";
    let reply = talk.send(&ts_request(5, kerberos));
    let token = TsRequest::parse(&reply).unwrap().token.unwrap();
    assert_eq!(token, aviary_wire::spnego::ntlm_chosen());
    let reply = talk.send(&ts_request(5, &aviary_wire::spnego::incomplete(NEGOTIATE)));
    let token = TsRequest::parse(&reply).unwrap().token.unwrap();
    assert!(token.starts_with(b"\xa1") && ntlm::find(token).is_some());
    // Version 5 has no field for a refusal.
    let reply = talk.send(&ts_request(5, &aviary_wire::spnego::incomplete(&authenticate("u", "", ""))));
    assert_eq!(reply, b"");
    let t = talk.end();
    assert!(t.closed());
    assert_eq!(t.events_of(31002)[0].get("CREDSSP_VERSION"), Some(&5_i64.into()));
    assert_eq!(t.events_of(14001)[0].get("DOMAIN").and_then(|v| v.as_bytes()), Some(&b""[..]));
}

/// A login by CredSSP of `D\bob` with this password.
fn by_password(given: &[(&str, &str)], password: &[u8]) -> Transcript {
    let mut dialogue = dialogue(given);
    let mut talk = Talk::open(&mut *dialogue);
    talk.send(&request("a", Some(2)));
    let reply = talk.send(&ts_request(2, NEGOTIATE));
    let challenge = ntlm::find(&reply).unwrap()[24..32].to_vec();
    let mut message = authenticate("bob", "D", "W");
    let blob = message[72 + 40..72 + 68].to_vec();
    let nt = aviary_wire::guess::nt_hash(password);
    let key = hmac_md5(&nt, &[ntlm::utf16("BOB"), ntlm::utf16("D")].concat());
    let proof = hmac_md5(&key, &[challenge, blob].concat());
    message[72 + 24..72 + 40].copy_from_slice(&proof);
    // The response ends where its field says: shorten it to proof and the 28 bytes signed above.
    message[20..22].copy_from_slice(&44_u16.to_le_bytes());
    assert_eq!(talk.send(&ts_request(2, &message)), b"", "version 2 knows no refusal");
    talk.end()
}

#[test]
fn a_response_to_a_common_or_planted_password_is_guessed() {
    let planted = [("rdp.honeycreds", r#"[{"username": "bob", "password": "Zebra-Quartz-77"}]"#)];
    let (common, own) = (&b"Welcome1"[..], &b"Zebra-Quartz-77"[..]);
    for (given, password, told) in [
        (&[][..], common, Some(common)),
        (&[], own, None),
        (&planted, common, Some(common)),
        (&planted, own, Some(own)),
    ] {
        let t = by_password(given, password);
        assert_eq!(t.events_of(14001)[0].get("PASSWORD").and_then(|v| v.as_bytes()), told, "{t}");
        assert_eq!(t.events_of(31002)[0].get("GUESSED").and_then(|v| v.as_bytes()), told, "{t}");
    }
}

fn hmac_md5(key: &[u8], message: &[u8]) -> Vec<u8> {
    use hmac::{KeyInit as _, Mac as _};
    let mut mac = hmac::Hmac::<md5::Md5>::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

#[test]
fn what_is_no_credssp_ends_it() {
    for (bytes, reason) in [
        (b"\x03\0\0\x08".to_vec(), "not a TSRequest"),
        (ts_request(6, b"what"), "no NTLM in the token"),
        (ts_request(6, &authenticate("u", "", "")), "an NTLM message that was not due"),
        (ts_request(6, b"NTLMSSP\0\x01\0\0\0"), "the message ends inside its fixed part"),
        (b"\x30\x05\xa0\x03\x02\x01\x06".to_vec(), "no token in the TSRequest"),
        (b"\x30\x03\x02\x01\x06".to_vec(), "TSRequest: tag 0x02 where 0xa0 was expected"),
    ] {
        let t = talk(&[], &[&request("eve", Some(3)), &bytes]);
        assert!(t.closed(), "{t}");
        assert_eq!(t.events_of(31003)[0].get("REASON").and_then(|v| v.as_str()), Some(reason));
        assert_eq!(t.events_of(14001)[0].get("USERNAME").and_then(|v| v.as_str()), Some("eve"));
    }
}

#[test]
fn tls_alone_gives_the_password_in_clear_text() {
    let info = [&[0x40, 0, 0, 0][..], &example("CORP", "admin", "Summer 2026!")].concat();
    let chunks = [request("admin", Some(1)), INITIAL.to_vec(), ERECT_AND_ATTACH.to_vec(), JOIN.to_vec(), data(&info)];
    let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
    insta::assert_snapshot!(talk(&[], &chunks), @r#"
    > \x03\x00\x00+&\xe0\x00\x00\x00\x00\x00Cookie: mstshash=admin\r\n\x01\x00\x08\x00\x01\x00\x00\x00
    ! 31000 COOKIE=Bytes(b"admin") FLAGS=Int(0) REQUESTED=Text("SSL") SELECTED=Text("SSL")
    < \x03\x00\x00\x13\x0e\xd0\x00\x00\x124\x00\x02\x1f\x08\x00\x01\x00\x00\x00
      (TLS)
    > \x03\x00\x01\xa0\x02\xf0\x80\x7fe\x82\x01\x94\x04\x01\x01\x04\x01\x01\x01\x01\xff0\x19\x02\x01\"\x02\x01\x02\x02\x01\x00\x02\x01\x01\x02\x01\x00\x02\x01\x01\x02\x02\xff\xff\x02\x01\x020\x19\x02\x01\x01\x02\x01\x01\x02\x01\x01\x02\x01\x01\x02\x01\x00\x02\x01\x01\x02\x02\x04 \x02\x01\x020\x1c\x02\x02\xff\xff\x02\x02\xfc\x17\x02\x02\xff\xff\x02\x01\x01\x02\x01\x00\x02\x01\x01\x02\x02\xff\xff\x02\x01\x02\x04\x82\x013\x00\x05\x00\x14|\x00\x01\x81*\x00\x08\x00\x10\x00\x01\xc0\x00Duca\x81\x1c\x01\xc0\xd8\x00\x04\x00\x08\x00\x00\x05 \x03\x01\xca\x03\xaa\t\x04\x00\x00(\n\x00\x00E\x00M\x00P\x00-\x00L\x00A\x00P\x00-\x000\x000\x001\x004\x00\x00\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x0c\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\xca\x01\x00\x00\x00\x00\x00\x18\x00\x07\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x04\xc0\x0c\x00\t\x00\x00\x00\x00\x00\x00\x00\x02\xc0\x0c\x00\x1b\x00\x00\x00\x00\x00\x00\x00\x03\xc0,\x00\x03\x00\x00\x00rdpdr\x00\x00\x00\x00\x00\x80\x80cliprdr\x00\x00\x00\xa0\xc0rdpsnd\x00\x00\x00\x00\x00\xc0
    ! 31001 BUILD=Int(2600) CHANNELS=List([Bytes(b"rdpdr"), Bytes(b"cliprdr"), Bytes(b"rdpsnd")]) ENCRYPTION_METHODS=Int(27) HOSTNAME=Bytes(b"EMP-LAP-0014") KEYBOARD=Text("0x00000409") KEYBOARD_TYPE=Int(4) RESOLUTION=Text("1280x800") VERSION=Text("0x00080004")
    < \x03\x00\x00t\x02\xf0\x80\x7ff\x82\x00h\n\x01\x00\x02\x01\x000\x1a\x02\x01\"\x02\x01\x03\x02\x01\x00\x02\x01\x01\x02\x01\x00\x02\x01\x01\x02\x03\x00\xff\xf8\x02\x01\x02\x04\x82\x00B\x00\x05\x00\x14|\x00\x01*\x14v\n\x01\x01\x00\x01\xc0\x00McDn,\x01\x0c\x10\x00\x0c\x00\x08\x00\x01\x00\x00\x00\x07\x00\x00\x00\x03\x0c\x10\x00\xeb\x03\x03\x00\xec\x03\xed\x03\xee\x03\x00\x00\x02\x0c\x0c\x00\x00\x00\x00\x00\x00\x00\x00\x00
    > \x03\x00\x00\x0c\x02\xf0\x80\x04\x01\x00\x01\x00\x03\x00\x00\x08\x02\xf0\x80(
    < \x03\x00\x00\x0b\x02\xf0\x80.\x00\x00\x06
    > \x03\x00\x00\x0c\x02\xf0\x808\x00\x06\x03\xeb
    < \x03\x00\x00\x0f\x02\xf0\x80>\x00\x00\x06\x03\xeb\x03\xeb
    > \x03\x00\x01]\x02\xf0\x80d\x00\x06\x03\xebp\x81N@\x00\x00\x00\t\x04\x00\x00\xfbG\x01\x00\x08\x00\n\x00\x18\x00\x00\x00\x00\x00C\x00O\x00R\x00P\x00\x00\x00a\x00d\x00m\x00i\x00n\x00\x00\x00S\x00u\x00m\x00m\x00e\x00r\x00 \x002\x000\x002\x006\x00!\x00\x00\x00\x00\x00\x00\x00\x02\x00\x12\x001\x000\x00.\x000\x00.\x000\x00.\x005\x00\x00\x00@\x00C\x00:\x00\\\x00W\x00i\x00n\x00d\x00o\x00w\x00s\x00\\\x00S\x00y\x00s\x00t\x00e\x00m\x003\x002\x00\\\x00m\x00s\x00t\x00s\x00c\x00a\x00x\x00.\x00d\x00l\x00l\x00\x00\x00\xc4\xff\xff\xffW\x00.\x00 \x00E\x00u\x00r\x00o\x00p\x00e\x00 \x00S\x00t\x00a\x00n\x00d\x00a\x00r\x00d\x00 \x00T\x00i\x00m\x00e\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00
    ! 14001 DOMAIN=Bytes(b"CORP") HOSTNAME=Bytes(b"EMP-LAP-0014") PASSWORD=Bytes(b"Summer 2026!") USERNAME=Bytes(b"admin")
    ! 31004 CLIENT_ADDRESS=Bytes(b"10.0.0.5") CLIENT_DIRECTORY=Bytes(b"C:\\Windows\\System32\\mstscax.dll") FLAGS=Text("0x000147fb") TIME_ZONE=Bytes(b"W. Europe Standard Time")
    < \x03\x00\x00\"\x02\xf0\x80h\x00\x01\x03\xebp\x14\x80\x00\x00\x00\xff\x03\x10\x00\x07\x00\x00\x00\x02\x00\x00\x00\x04\x00\x00\x00
      (1023 ms)
    < \x03\x00\x00$\x02\xf0\x80h\x00\x01\x03\xebp\x16\x16\x00\x17\x00\xea\x03\xea\x03\x01\x00\x00\x01\x08\x00/\x00\x00\x00\x07\x00\x00\x00\x03\x00\x00\t\x02\xf0\x80!\x80
      FIN
    "#);
}

/// Server random and certificate in a Connect-Response, by its own lengths.
fn key_exchange(response: &[u8], method: u8) -> ([u8; 32], BigUint) {
    let at = memchr::memmem::find(response, b"McDn").unwrap();
    let mut blocks = packed_length(&response[at + 4..]).unwrap().1;
    let mut found = BTreeMap::new();
    while let [k0, k1, l0, l1, ..] = *blocks {
        let length = usize::from(u16::from_le_bytes([l0, l1]));
        found.insert(u16::from_le_bytes([k0, k1]), &blocks[4..length]);
        blocks = &blocks[length..];
    }
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [0x0c01, 0x0c02, 0x0c03]);
    let security = found[&0x0c02];
    assert_eq!(security[..16], [method, 0, 0, 0, 2, 0, 0, 0, 32, 0, 0, 0, 0x78, 1, 0, 0]);
    (security[16..48].try_into().unwrap(), BigUint::from_bytes_le(&security[48 + 36..48 + 292]))
}

#[test]
fn rdps_own_encryption_gives_the_password_too() {
    let mut dialogue = dialogue(&[]);
    let mut talk = Talk::open(&mut *dialogue);
    talk.send(&request("admin", None));
    let (server_random, modulus) = key_exchange(&talk.send(INITIAL), 2);
    assert_eq!(talk.send(ERECT_AND_ATTACH), b"\x03\0\0\x0b\x02\xf0\x80\x2e\0\0\x06");
    let random = [0x33; 32];
    let mut encrypted = BigUint::from_bytes_le(&random).modpow(&BigUint::from(65_537_u32), &modulus).to_bytes_le();
    encrypted.resize(264, 0);
    assert_eq!(talk.send(&data(&[&[1, 0, 0, 0, 8, 1, 0, 0][..], &encrypted].concat())), b"");
    let mut ciphers = Rc4Ciphers::new(2, &random, &server_random).unwrap();
    let reply = talk.send(&data(&ciphers.seal_as_client(&example("", "root", "toor"))));
    assert_eq!(reply[14..18], [0x80, 0, 0, 0], "the licence is not encrypted");
    assert!(reply.ends_with(b"\x03\0\0\x09\x02\xf0\x80\x21\x80"));
    let t = talk.end();
    assert!(t.closed());
    let login = t.events_of(14001)[0];
    for (key, value) in [("DOMAIN", ""), ("HOSTNAME", "EMP-LAP-0014"), ("PASSWORD", "toor"), ("USERNAME", "root")] {
        assert_eq!(login.get(key).and_then(|v| v.as_bytes()), Some(value.as_bytes()), "{key}");
    }
}

#[test]
fn fips_encryption_gives_it_where_nothing_else_is_offered() {
    let mut initial = INITIAL.to_vec();
    let at = memchr::memmem::find(&initial, b"\x02\xc0\x0c\0").unwrap();
    initial[at + 4] = 16;
    let mut dialogue = dialogue(&[]);
    let mut talk = Talk::open(&mut *dialogue);
    talk.send(&request("admin", None));
    let response = talk.send(&initial);
    let (server_random, modulus) = key_exchange(&response, 16);
    let random = [0x33; 32];
    let mut encrypted = BigUint::from_bytes_le(&random).modpow(&BigUint::from(65_537_u32), &modulus).to_bytes_le();
    encrypted.resize(264, 0);
    talk.send(&data(&[&[1, 0, 0, 0, 8, 1, 0, 0][..], &encrypted].concat()));
    let mut client = Fips::mirrored(&random, &server_random);
    talk.send(&data(&client.seal(0x48, &example("D", "fips", "mode"))));
    let t = talk.end();
    assert_eq!(t.events_of(14001)[0].get("PASSWORD").and_then(|v| v.as_bytes()), Some(&b"mode"[..]));
}

#[test]
fn a_client_without_any_encryption_is_refused_outside_tls() {
    let mut initial = INITIAL.to_vec();
    let at = memchr::memmem::find(&initial, b"\x02\xc0\x0c\0").unwrap();
    initial[at + 4] = 0;
    let t = talk(&[], &[&request("bare", Some(0)), &initial]);
    assert!(t.closed());
    assert_eq!(t.events_of(31003)[0].get("REASON").and_then(|v| v.as_str()), Some("no encryption method in common"));
    assert!(!talk(&[], &[&request("bare", Some(1)), &initial]).closed(), "inside TLS it needs none");
}

#[test]
fn broken_encryption_is_told_and_ends_it() {
    let initial = [request("admin", None), INITIAL.to_vec(), ERECT_AND_ATTACH.to_vec()].concat();
    for (content, reason) in [
        (vec![0x48, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9], "the Client Info is encrypted without keys"),
        ([&[1, 0, 0, 0, 8, 1, 0, 0][..], &[0x55; 264]].concat(), "the client's random is encrypted to another key"),
        ([&[1, 0, 0, 0, 8, 2, 0, 0][..], &[0x55; 264]].concat(), "the client's random does not fit its packet"),
        (vec![0x40, 0, 0, 0, 1, 2], "the Client Info does not fit its packet"),
        (vec![0x40, 0, 0], "no security header"),
    ] {
        let t = talk(&[], &[&initial, &data(&content)]);
        assert!(t.closed(), "{t}");
        assert_eq!(t.events_of(31003)[0].get("REASON").and_then(|v| v.as_str()), Some(reason));
        assert_eq!(t.events_of(14001).len(), 1);
    }
}

#[test]
fn a_client_that_leaves_is_told_once() {
    let leaving = [request("gone", Some(0)), INITIAL.to_vec(), b"\x03\0\0\x09\x02\xf0\x80\x21\x80".to_vec()].concat();
    let t = talk(&[], &[&leaving]);
    assert!(t.closed());
    assert_eq!(t.events_of(14001).len(), 1);
    let cut = talk(&[], &[&request("cut", Some(0)), b"\x03\0\0"]);
    assert_eq!((cut.events_of(14001).len(), cut.events_of(31003).len()), (1, 1));
}

#[test]
fn the_certificate_is_windows_own() {
    let profile = service(&[("rdp.domain", "\"corp.example.com\"")]).tls().unwrap();
    assert_eq!(profile.subject, [("CN", "SRV01.corp.example.com".to_owned())]);
    assert!(profile.server_auth && profile.names.is_empty() && profile.days == 182);
    assert_eq!(service(&[]).tls().unwrap().subject, [("CN", "SRV01".to_owned())]);
}

proptest! {
    #[test]
    fn any_bytes_behind_each_stage_are_survived(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        protocols in prop::sample::select(vec![None, Some(0), Some(1), Some(3)]),
        connected in any::<bool>(),
    ) {
        let mut start = request("x", protocols);
        if connected && protocols != Some(3) && protocols.is_some_and(|bits| bits != 0) {
            start.extend_from_slice(INITIAL);
        }
        let t = talk(&[], &[&start, &bytes, &data(&bytes), &ts_request(6, &bytes)]);
        prop_assert!(t.events_of(14001).len() == 1);
    }
}
