//! The service as a client sees it, byte for byte.

use aviary_service::{Dialogue, Facts};
use aviary_testkit::{Datagrams, Talk, Transcript, build, exchange, facts};
use aviary_wire::ntlm;
use proptest::prelude::*;

use super::ENTRY;

/// The probe of nmap.
const NMAP: &[u8] = b"\x12\x01\0\x34\0\0\0\0\0\0\x15\0\x06\x01\0\x1b\0\x01\x02\0\x1c\0\x0c\x03\0\x28\0\x04\xff\x08\0\x01\x55\0\0\0MSSQLServer\0\x48\x0f\0\0";

pub(super) fn wide(text: &str) -> Vec<u8> {
    ntlm::utf16(text)
}

/// LOGIN7 of the article's client, with this TDS version, user, password and SSPI token.
pub(super) fn login7(tds: u32, user: &str, password: &str, sspi: &[u8]) -> Vec<u8> {
    let fixed = if tds >> 24 < 0x72 { 86 } else { 94 };
    let obscured: Vec<u8> = wide(password).iter().map(|byte| byte.rotate_left(4) ^ 0xa5).collect();
    // Position of offset and length, value, bytes of a unit.
    let fields: [(usize, Vec<u8>, usize); 9] = [
        (36, wide("Piroguehost"), 2),
        (40, wide(user), 2),
        (44, obscured, 2),
        (48, wide("app"), 2),
        (52, wide("172.18.200.58:1433"), 2),
        (60, wide("DB-Library"), 2),
        (64, wide("us_english"), 2),
        (68, wide("test"), 2),
        (78, sspi.to_vec(), 1),
    ];
    let mut out = vec![0; fixed];
    out[4..8].copy_from_slice(&tds.to_le_bytes());
    out[8..12].copy_from_slice(&4096_u32.to_le_bytes());
    out[12..16].copy_from_slice(&[0, 0, 0, 7]);
    out[16..20].copy_from_slice(&4711_u32.to_le_bytes());
    out[24..28].copy_from_slice(&[0xe0, if sspi.is_empty() { 3 } else { 0x83 }, 0, 0]);
    out[28..32].copy_from_slice(&(-60_i32).to_le_bytes());
    out[32..36].copy_from_slice(&0x0409_u32.to_le_bytes());
    out[72..78].copy_from_slice(&[2, 0x42, 0xac, 0x11, 0, 2]);
    for (at, value, unit) in fields {
        let offset = u16::try_from(out.len()).unwrap();
        let length = u16::try_from(value.len() / unit).unwrap();
        out[at..at + 2].copy_from_slice(&offset.to_le_bytes());
        out[at + 2..at + 4].copy_from_slice(&length.to_le_bytes());
        out.extend(value);
    }
    let length = u32::try_from(out.len()).unwrap();
    out[..4].copy_from_slice(&length.to_le_bytes());
    out
}

/// A message of a client in one packet.
fn packet(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len() + 8).unwrap().to_be_bytes();
    [&[kind, 1, length[0], length[1], 0, 0, 1, 0], payload].concat()
}

/// PRELOGIN with this encryption byte.
fn prelogin(encryption: u8) -> Vec<u8> {
    let mut bytes = NMAP.to_vec();
    bytes[35] = encryption;
    bytes
}

fn login(tds: u32) -> Vec<u8> {
    packet(0x10, &login7(tds, "sa", "sa123456", &[]))
}

fn dialogue(given: &[(&str, &str)]) -> Box<dyn Dialogue> {
    build(&ENTRY, given).dialogue(0, &facts(1433))
}

fn talk(segments: &[&[u8]]) -> Transcript {
    exchange(dialogue(&[]).as_mut(), segments)
}

fn text<'a>(t: &'a Transcript, number: i64, key: &str) -> &'a str {
    t.events_of(number)[0].get(key).unwrap_or_else(|| panic!("no {key} in\n{t}")).as_str().unwrap()
}

/// Splits what a server sent into packets and checks that each has the length that it says.
fn packets(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut packets = Vec::new();
    while !bytes.is_empty() {
        let length = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
        let (packet, rest) = bytes.split_at(length);
        packets.push(packet);
        bytes = rest;
    }
    packets
}

#[test]
fn answers_the_probe_of_nmap_with_the_configured_version() {
    // stealth.md 3.7: the bytes up to the version are what nmap's lines for 2012 to 2022 begin with.
    for (version, bytes) in [
        ("11.0.3128", &b"\x0b\x00\x0c\x38"[..]),
        ("12.0.2000", b"\x0c\x00\x07\xd0"),
        ("13.0.1601", b"\x0d\x00\x06\x41"),
        ("14.0.1000", b"\x0e\x00\x03\xe8"),
        ("15.0.2000", b"\x0f\x00\x07\xd0"),
        ("16.0.1000", b"\x10\x00\x03\xe8"),
    ] {
        let mut dialogue = dialogue(&[("mssql.version", &format!("\"{version}\""))]);
        let head = b"\x04\x01\x00\x25\x00\x00\x01\x00\x00\x00\x15\x00\x06\x01\x00\x1b\x00\x01\x02\x00\x1c\x00\x01\x03\x00\x1d\x00\x00\xff";
        let expected = [head, bytes, b"\0\0\0\0"].concat();
        assert_eq!(exchange(dialogue.as_mut(), &[NMAP]).replies(), expected, "{version}");
    }
}

#[test]
fn refuses_a_plain_login_in_words_of_the_product() {
    insta::assert_snapshot!(talk(&[&prelogin(2), &login(0x7400_0004)]));
}

#[test]
fn the_refusal_is_as_long_as_it_says_in_every_version_of_tds() {
    for (tds, done) in [(0x7100_0001, 9), (0x7209_0002, 13), (0x730b_0003, 13), (0x7400_0004, 13)] {
        let t = talk(&[&prelogin(2), &login(tds)]);
        let replies = t.replies();
        let packets = packets(&replies);
        assert_eq!(packets.len(), 2);
        let tokens = &packets[1][8..];
        let error = usize::from(u16::from_le_bytes([tokens[1], tokens[2]])) + 3;
        assert_eq!((tokens[0], tokens[error], tokens.len()), (0xaa, 0xfd, error + done), "{tds:#x}");
        assert!(memchr::memmem::find(tokens, &wide("Login failed for user 'sa'.")).is_some());
        assert!(memchr::memmem::find(tokens, &wide("SRV01")).is_some());
        assert!(t.closed());
    }
}

#[test]
fn sessions_have_numbers_of_users_that_differ() {
    let numbers: std::collections::BTreeSet<u16> = (0..32_u8)
        .map(|n| {
            let facts = Facts { entropy: [n; 32], ..facts(1433) };
            let mut dialogue = build(&ENTRY, &[]).dialogue(0, &facts);
            let replies = exchange(dialogue.as_mut(), &[&prelogin(2), &login(0x7400_0004)]).replies();
            u16::from_be_bytes([replies[0x25 + 4], replies[0x25 + 5]])
        })
        .collect();
    assert!(numbers.len() > 10 && numbers.iter().all(|n| *n >= 51), "{numbers:?}");
}

#[test]
fn a_login_has_the_keys_of_the_article() {
    let t = talk(&[&prelogin(2), &login(0x7100_0001)]);
    let keys: Vec<&str> = t.events_of(9001)[0].iter().map(|(key, _)| key).collect();
    let expected = ["AppName", "CltIntName", "Database", "HostName", "Language", "Password", "ServerName", "UserName"];
    assert_eq!(keys, expected);
    assert_eq!((text(&t, 9001, "Password"), text(&t, 9001, "CltIntName")), ("sa123456", "DB-Library"));
    assert_eq!((text(&t, 30900, "TDS_VERSION"), text(&t, 30900, "CLIENT_ID")), ("7.1", "02:42:ac:11:00:02"));
}

#[test]
fn a_login_through_tls_alone_is_refused_in_the_clear() {
    let hello = packet(0x12, b"\x16\x03\x01\x00\x05hello");
    let t = talk(&[&prelogin(0), &hello, &login(0x7400_0004)]);
    let order: Vec<String> = t.to_string().lines().map(|line| line.chars().take(8).collect()).collect();
    assert_eq!(
        order[3..],
        ["  (TLS)", "> \\x10\\x", "! 9001 A", "! 30900 ", "  (no TL", "< \\x04\\x", "  FIN"].map(str::to_owned),
        "{t}"
    );
    assert_eq!(text(&t, 30900, "TLS_SCOPE"), "login");
}

#[test]
fn where_everything_is_encrypted_the_refusal_is_too() {
    for asked in [1, 3] {
        let hello = packet(0x12, b"\x16\x03\x01\x00\x05hello");
        let t = talk(&[&prelogin(asked), &hello, &login(0x7400_0004)]);
        assert!(!t.to_string().contains("no TLS"), "{t}");
        assert_eq!((text(&t, 9001, "Password"), text(&t, 30900, "TLS_SCOPE")), ("sa123456", "connection"));
    }
}

#[test]
fn tls_comes_first_where_the_version_knows_it() {
    let hello = b"\x16\x03\x01\x00\x05hello";
    let segments = [&hello[..], &prelogin(0), &login(0x0800_0000)];
    let strict = exchange(dialogue(&[("mssql.version", "\"2022\"")]).as_mut(), &segments);
    assert_eq!((text(&strict, 9001, "Password"), text(&strict, 30900, "TLS_SCOPE")), ("sa123456", "strict"));
    assert_eq!(text(&strict, 30900, "TDS_VERSION"), "8.0");
    let older = talk(&segments);
    assert!(older.replies().is_empty() && older.closed());
    assert_eq!(older.events_of(30903).len(), 1);
}

#[test]
fn what_a_server_does_not_read_is_reported_and_closed_without_a_word() {
    let segments: [(&[u8], i64); 4] = [
        (&login(0x7400_0004), 9001),
        (&packet(0x01, &wide("select 1")), 30903),
        (&packet(0x12, b"\xff"), 30903),
        (b"GET / HTTP/1.0\r\n\r\n", 30903),
    ];
    for (segment, number) in segments {
        let t = talk(&[segment]);
        assert!(t.replies().is_empty() && t.closed() && t.events_of(number).len() == 1, "{t}");
    }
}

#[test]
fn a_login_of_old_without_prelogin_is_answered() {
    for tds in [0x7000_0000, 0x7100_0001] {
        let t = talk(&[&login(tds)]);
        assert_eq!(packets(&t.replies()).len(), 1, "{t}");
        assert!(t.closed() && t.events_of(9001).len() == 1);
    }
}

#[test]
fn a_plain_login_where_tls_was_agreed_is_reported_and_not_answered() {
    let t = talk(&[&prelogin(1), &login(0x7400_0004)]);
    assert_eq!(packets(&t.replies()).len(), 1);
    assert_eq!(text(&t, 9001, "Password"), "sa123456");
}

#[test]
fn several_packets_in_one_segment_are_all_read() {
    let t = talk(&[&[prelogin(2), login(0x7400_0004)].concat()]);
    assert_eq!((packets(&t.replies()).len(), t.events_of(9001).len()), (2, 1));
}

#[test]
fn a_login_may_come_in_many_packets() {
    let whole = login7(0x7400_0004, "sa", &"long password ".repeat(9), &[]);
    let mut bytes = prelogin(2);
    for (n, piece) in whole.chunks(100).enumerate() {
        let mut one = packet(0x10, piece);
        one[1] = u8::from((n + 1) * 100 >= whole.len());
        bytes.extend(one);
    }
    let t = talk(&[&bytes]);
    assert_eq!(text(&t, 9001, "Password"), "long password ".repeat(9));
}

#[test]
fn names_and_passwords_that_are_no_ascii_are_kept() {
    let t = talk(&[&prelogin(2), &packet(0x10, &login7(0x7400_0004, "r\u{f6}t", "\u{1f600}\u{df}", &[]))]);
    assert_eq!((text(&t, 9001, "UserName"), text(&t, 9001, "Password")), ("r\u{f6}t", "\u{1f600}\u{df}"));
    assert!(memchr::memmem::find(&t.replies(), &wide("user 'r\u{f6}t'.")).is_some());
}

/// A NEGOTIATE_MESSAGE and the AUTHENTICATE_MESSAGE of `CORP\eve`, whose response is of no password.
fn ntlm_messages() -> (Vec<u8>, Vec<u8>) {
    let negotiate = b"NTLMSSP\0\x01\0\0\0\x07\x82\x08\xa2".to_vec();
    let fields = [vec![0; 24], vec![7; 60], wide("CORP"), wide("eve"), wide("WKS7"), Vec::new()];
    let mut authenticate = b"NTLMSSP\0\x03\0\0\0".to_vec();
    let mut offset = 64_u32;
    for field in &fields {
        let length = u16::try_from(field.len()).unwrap().to_le_bytes();
        authenticate.extend([length, length].concat());
        authenticate.extend(offset.to_le_bytes());
        offset += u32::try_from(field.len()).unwrap();
    }
    authenticate.extend(ntlm::UNICODE.to_le_bytes());
    authenticate.extend(fields.concat());
    (negotiate, authenticate)
}

#[test]
fn a_windows_login_is_challenged_and_its_response_told() {
    let (negotiate, authenticate) = ntlm_messages();
    let first = packet(0x10, &login7(0x7400_0004, "", "", &negotiate));
    let t = talk(&[&prelogin(2), &first, &packet(0x11, &authenticate)]);
    let replies = t.replies();
    let packets = packets(&replies);
    assert_eq!(packets[1][8], 0xed);
    assert_eq!(packets[1][11..19], *ntlm::SIGNATURE);
    assert_eq!(packets[1][35..43], [0x42; 8], "the challenge");
    let words = "cannot be used with Integrated authentication.";
    assert!(memchr::memmem::find(packets[2], &wide(words)).is_some());
    assert_eq!((text(&t, 9002, "USERNAME"), text(&t, 9002, "PASSWORD")), ("eve", ""));
    assert!(text(&t, 30901, "HASHCAT").starts_with("eve::CORP:4242424242424242:07070707"), "{t}");
    assert_eq!((text(&t, 30901, "DOMAIN"), text(&t, 30901, "WORKSTATION")), ("CORP", "WKS7"));
    assert!(t.events_of(9001).is_empty() && t.closed());
}

#[test]
fn a_planted_password_is_found_in_a_windows_login() {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let (negotiate, mut authenticate) = ntlm_messages();
    let mac = |key: &[u8], message: &[u8]| {
        Hmac::<md5::Md5>::new_from_slice(key).unwrap().chain_update(message).finalize().into_bytes().to_vec()
    };
    let key = mac(&aviary_wire::guess::nt_hash(b"Zebra-Quartz-77"), &wide("EVECORP"));
    // Behind the LM response: 16 bytes of proof over the challenge and the 44 bytes that follow.
    let proof = mac(&key, &[&[0x42; 8][..], &[7; 44]].concat());
    authenticate[64 + 24..64 + 40].copy_from_slice(&proof);
    let first = packet(0x10, &login7(0x7400_0004, "", "", &negotiate));
    let given = [("mssql.honeycreds", r#"[{"username": "eve", "password": "Zebra-Quartz-77"}]"#)];
    let t = exchange(dialogue(&given).as_mut(), &[&prelogin(2), &first, &packet(0x11, &authenticate)]);
    assert_eq!(text(&t, 9002, "PASSWORD"), "Zebra-Quartz-77");
    assert_eq!(text(&t, 30901, "PASSWORD"), "Zebra-Quartz-77");
}

#[test]
fn a_response_under_the_type_of_a_login_is_one_too() {
    let (negotiate, authenticate) = ntlm_messages();
    let first = packet(0x10, &login7(0x7400_0004, "", "", &negotiate));
    assert_eq!(text(&talk(&[&prelogin(2), &first, &packet(0x10, &authenticate)]), 9002, "USERNAME"), "eve");
}

#[test]
fn spnego_is_answered_in_spnego() {
    let (negotiate, authenticate) = ntlm_messages();
    let wrap = |message: &[u8]| [&b"\x60\x82\x01\x01\x06\x06\x2b\x06\x01\x05\x05\x02"[..], message].concat();
    let first = packet(0x10, &login7(0x7400_0004, "", "", &wrap(&negotiate)));
    let t = talk(&[&prelogin(2), &first, &packet(0x11, &wrap(&authenticate))]);
    assert_eq!(packets(&t.replies())[1][8 + 3], 0xa1);
    assert_eq!(text(&t, 9002, "USERNAME"), "eve");
}

#[test]
fn a_client_that_offers_kerberos_too_is_asked_for_ntlm() {
    let (negotiate, authenticate) = ntlm_messages();
    let offer = b"\x60\x20\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a";
    let first = packet(0x10, &login7(0x7400_0004, "", "", offer));
    let t = talk(&[&prelogin(2), &first, &packet(0x11, &negotiate), &packet(0x11, &authenticate)]);
    let replies = t.replies();
    let packets = packets(&replies);
    assert_eq!(packets[1][8..13], [0xed, 23, 0, 0xa1, 0x15]);
    assert_eq!(packets[2][8 + 3], 0xa1, "the challenge is in SPNEGO");
    assert_eq!(text(&t, 9002, "USERNAME"), "eve");
    let alone = talk(&[&prelogin(2), &packet(0x10, &login7(0x7400_0004, "", "", &offer[..13]))]);
    assert_eq!(text(&alone, 30901, "MECHANISM"), "Kerberos");
    assert_eq!(alone.events_of(9002).len(), 1);
    assert!(alone.closed());
}

#[test]
fn a_windows_login_that_goes_no_further_is_told_at_its_end() {
    let first = packet(0x10, &login7(0x7400_0004, "", "", &ntlm_messages().0));
    let t = talk(&[&prelogin(2), &first]);
    assert_eq!((text(&t, 9002, "USERNAME"), text(&t, 30901, "MECHANISM")), ("", "NTLM"));
    let broken = talk(&[&prelogin(2), &first, &packet(0x11, b"NTLMSSP\0\x03\0\0\0")]);
    assert_eq!((broken.events_of(9002).len(), broken.events_of(30903).len()), (1, 1));
}

#[test]
fn a_client_that_does_not_log_in_is_told_once() {
    let t = talk(&[NMAP]);
    insta::assert_snapshot!(t);
    let half = talk(&[NMAP, b"\x10\x01\x01\x00half"]);
    assert_eq!(text(&half, 30902, "DATA"), "\x10\x01\x01\0half");
    assert_eq!(text(&talk(&[b"\x12\x01"]), 30903, "DATA"), "\x12\x01");
    assert!(talk(&[]).events().is_empty());
}

#[test]
fn a_goodbye_to_tls_after_the_login_is_passed_over() {
    let (negotiate, authenticate) = ntlm_messages();
    let hello = packet(0x12, b"\x16\x03\x01\x00\x05hello");
    let first = packet(0x10, &login7(0x7400_0004, "", "", &negotiate));
    let goodbye = [&b"\x15\x03\x03\x00\x02\x01\x00"[..], &packet(0x11, &authenticate)].concat();
    let t = talk(&[&prelogin(0), &hello, &first, &goodbye]);
    assert_eq!(text(&t, 9002, "USERNAME"), "eve");
    assert!(t.events_of(30903).is_empty(), "{t}");
}

#[test]
fn versions_and_instances_that_are_none_are_refused() {
    for (key, value) in [("mssql.version", "\"7\""), ("mssql.instance", "\"a b\""), ("mssql.instance", "\"\"")] {
        let settings = aviary_testkit::settings(ENTRY.keys, &[(key, value)]);
        let vault = aviary_service::MemoryVault::default();
        let materials = aviary_service::Materials { settings: &settings, vault: &vault, host_name: "srv01" };
        let refused = (ENTRY.build)(&materials).err().map(|rejection| rejection.key);
        assert_eq!(refused.as_deref(), Some(key));
    }
    for version in ["2008R2", "2012", "2014", "2016", "2017", "2019", "2022"] {
        assert_eq!(build(&ENTRY, &[("mssql.version", &format!("\"{version}\""))]).endpoints().len(), 1);
    }
}

#[test]
fn a_named_instance_stands_in_the_servers_name() {
    let given = [("mssql.instance", "\"SqlExpress\"")];
    let t = exchange(dialogue(&given).as_mut(), &[&prelogin(2), &login(0x7400_0004)]);
    assert_eq!(packets(&t.replies())[0].last(), Some(&1), "another instance than MSSQLServer");
    assert!(memchr::memmem::find(&t.replies(), &wide("SRV01\\SQLEXPRESS")).is_some());
}

#[test]
fn sql_browser_names_the_instance_and_its_port() {
    let service = build(&ENTRY, &[("mssql.browser", "true"), ("mssql.version", "\"15.0.2000.5\"")]);
    assert_eq!(service.endpoints().len(), 2);
    let ask = |datagrams: &[&[u8]]| {
        let mut browser = Datagrams::new(service.as_ref(), 1, facts(1434));
        let mut talk = Talk::open(&mut browser);
        datagrams.iter().for_each(|datagram| drop(talk.send(datagram)));
        talk.end()
    };
    insta::assert_snapshot!(ask(&[b"\x03", b"\x04mssqlserver\0", b"\x04OTHER\0", b"\x0f\x01MSSQLSERVER\0", b"junk"]));
}

/// A batch behind its headers: one of 18 bytes, the transaction that it belongs to.
fn batch(text: &str) -> Vec<u8> {
    packet(1, &[&b"\x16\0\0\0\x12\0\0\0\x02\0\0\0\0\0\0\0\0\0\x01\0\0\0"[..], &wide(text)].concat())
}

/// What a planted login gets for these batches, after its welcome.
fn inside(batches: &[&str]) -> (Vec<Vec<u8>>, Transcript) {
    let given = [("mssql.honeycreds", r#"[{"username": "backup", "password": "planted!"}]"#)];
    let login = in_database(&login7(0x7400_0004, "backup", "planted!", &[]), "msdb");
    let mut segments = vec![prelogin(2), packet(0x10, &login)];
    segments.extend(batches.iter().map(|text| batch(text)));
    let whole: Vec<&[u8]> = segments.iter().map(Vec::as_slice).collect();
    let t = exchange(dialogue(&given).as_mut(), &whole);
    let replies = t.replies();
    (packets(&replies).iter().map(|packet| packet[8..].to_vec()).collect(), t)
}

/// The login with another database of four letters.
fn in_database(login: &[u8], database: &str) -> Vec<u8> {
    let at = memchr::memmem::find(login, &wide("test")).unwrap();
    let mut login = login.to_vec();
    login[at..at + 8].copy_from_slice(&wide(database));
    login
}

fn holds(reply: &[u8], text: &str) -> bool {
    memchr::memmem::find(reply, &wide(text)).is_some()
}

#[test]
fn a_planted_login_gets_into_an_instance_with_nothing_in_it() {
    let batches = [
        "select @@version",
        "select name from sys.databases",
        "EXEC master..xp_cmdshell 'whoami'",
        "use tempdb; select db_name(), system_user",
        "select * from secrets",
        "exec sp_configure 'xp_cmdshell', 1; RECONFIGURE;",
    ];
    let (replies, t) = inside(&batches);
    insta::assert_snapshot!(t);
    assert_eq!(replies.len(), 2 + batches.len());
    assert!(holds(&replies[1], "Changed database context to 'msdb'."));
    assert!(holds(&replies[2], "Microsoft SQL Server 2019 - 15.0.4430.1 (X64)"));
    assert!(["master", "tempdb", "model", "msdb"].iter().all(|name| holds(&replies[3], name)));
    assert!(holds(&replies[4], "The EXECUTE permission was denied on the object 'xp_cmdshell'"));
    assert!(holds(&replies[5], "tempdb") && holds(&replies[5], "backup"));
    assert!(holds(&replies[6], "Invalid object name 'secrets'."));
    assert!(holds(&replies[7], "You do not have permission to run the RECONFIGURE statement."));
    let queries: Vec<_> =
        t.events_of(30905).iter().map(|data| data.get("QUERY").unwrap().as_str().unwrap().to_owned()).collect();
    assert_eq!(queries, batches);
    assert!(!t.closed());
}

#[test]
fn a_batch_that_is_no_text_is_told_as_it_was_sent_too() {
    let (replies, t) = inside(&["select 1"]);
    assert!(replies.len() == 3 && t.events_of(30905)[0].get("DATA").is_none());
    let given = [("mssql.honeycreds", r#"[{"username": "backup", "password": "planted!"}]"#)];
    let login = in_database(&login7(0x7400_0004, "backup", "planted!", &[]), "msdb");
    let lone = packet(1, b"\x04\0\0\0\x00\xd8a\0");
    let t = exchange(dialogue(&given).as_mut(), &[&prelogin(2), &packet(0x10, &login), &lone]);
    assert_eq!(t.events_of(30905)[0].get("DATA").unwrap().as_bytes(), Some(&lone[8..]));
}

#[test]
fn a_planted_password_that_is_hashed_lets_in_too() {
    // bcrypt of `planted!`, with a cost of 4.
    let hash = "$2b$04$DHvVKs3d8EAt/Z1qdw0gE.p/85/ueT9a7.Z/QOWg.crxEuMfAj/dS";
    let planted = format!(r#"[{{"username": "backup", "password": "{hash}"}}]"#);
    let given = [("mssql.honeycreds", planted.as_str())];
    for (password, let_in) in [("planted!", true), ("planted?", false)] {
        let login = packet(0x10, &in_database(&login7(0x7400_0004, "backup", password, &[]), "msdb"));
        let t = exchange(dialogue(&given).as_mut(), &[&prelogin(2), &login, &batch("select 1")]);
        assert_eq!((t.events_of(30905).len() == 1, t.closed()), (let_in, !let_in), "{t}");
    }
}

#[test]
fn a_planted_login_to_an_unknown_database_is_refused() {
    let given = [("mssql.honeycreds", r#"[{"username": "sa", "password": "sa123456"}]"#)];
    let t = exchange(dialogue(&given).as_mut(), &[&prelogin(2), &login(0x7400_0004)]);
    assert!(holds(&t.replies(), "Cannot open database \"test\" requested by the login. The login failed."));
    assert!(t.closed());
}

#[test]
fn calls_and_transactions_of_a_planted_login_are_told_and_answered() {
    let given = [("mssql.honeycreds", r#"[{"username": "sa", "password": "sa123456"}]"#)];
    let login = packet(0x10, &in_database(&login7(0x7400_0004, "sa", "sa123456", &[]), "msdb"));
    let query = wide("select 7");
    let call = [&b"\x04\0\0\0\xff\xff\x0a\0\0\0\0\0\xe7\x40\x1f\x09\x04\xd0\0\x34\x10\0"[..], &query].concat();
    let segments =
        [prelogin(2), login, packet(14, b"\x04\0\0\0\x05\0\0\0"), packet(3, &call), packet(6, b""), packet(2, b"")];
    let whole: Vec<&[u8]> = segments.iter().map(Vec::as_slice).collect();
    let t = exchange(dialogue(&given).as_mut(), &whole);
    let requests: Vec<_> =
        t.events_of(30905).iter().map(|data| data.get("REQUEST").unwrap().as_str().unwrap().to_owned()).collect();
    assert_eq!(requests, ["begin transaction", "sp_executesql", "attention"]);
    assert_eq!((text(&t, 30903, "REASON"), t.closed()), ("login of TDS 4.2 out of order", true));
    assert!(memchr::memmem::find(&t.replies(), b"\xd1\x04\x07\0\0\0").is_some(), "a row with 7: {t}");
}

/// Replies and events without the marks of chunks.
fn gist(t: &Transcript) -> (Vec<u8>, String, bool) {
    (t.replies(), format!("{:?}", t.events()), t.closed())
}

/// What a client may send next, in order or not, whole or not.
fn part() -> impl Strategy<Value = Vec<u8>> {
    let (negotiate, authenticate) = ntlm_messages();
    prop_oneof![
        (0..5_u8).prop_map(prelogin),
        Just(packet(0x12, b"\x16\x03\x01\x00\x05hello")),
        Just(login(0x7400_0004)),
        Just(login(0x7100_0001)),
        Just(packet(0x10, &login7(0x7400_0004, "", "", &negotiate))),
        Just(packet(0x11, &authenticate)),
        Just(b"\x16\x03\x01\x00\x05hello".to_vec()),
        Just(b"\x15\x03\x03\x00\x02\x01\x00".to_vec()),
        Just(packet(0x10, &in_database(&login7(0x7400_0004, "sa", "sa123456", &[]), "msdb"))),
        "[a-z '();,.@*+-]{0,40}".prop_map(|text| batch(&text)),
        (any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(kind, body)| packet(kind, &body)),
        (0..3_usize).prop_map(|end| login(0x7400_0004)[..end * 5].to_vec()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn chunk_size_changes_nothing(strict in any::<bool>(), parts in prop::collection::vec(part(), 0..6)) {
        let bytes = parts.concat();
        let planted = ("mssql.honeycreds", r#"[{"username": "sa", "password": "sa123456"}]"#);
        let given = [planted, ("mssql.version", if strict { "\"2022\"" } else { "\"2012\"" })];
        let whole = exchange(dialogue(&given).as_mut(), &[&bytes]);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        let cut = exchange(dialogue(&given).as_mut(), &single);
        // Behind what closes there may be more or less of the same.
        if !whole.closed() {
            prop_assert_eq!(gist(&whole), gist(&cut));
        }
        prop_assert_eq!((whole.replies(), whole.closed()), (cut.replies(), cut.closed()));
    }

    #[test]
    fn garbage_inside_a_login_never_panics(at in 0..260_usize, garbage in prop::collection::vec(any::<u8>(), 0..80)) {
        let mut message = login7(0x7400_0004, "sa", "secret", &[]);
        message.truncate(at.max(4));
        message.extend(&garbage);
        let length = u32::try_from(message.len()).unwrap();
        message[..4].copy_from_slice(&length.to_le_bytes());
        let t = talk(&[&prelogin(2), &packet(0x10, &message)]);
        prop_assert!(!t.events().is_empty());
    }

    #[test]
    fn every_datagram_to_sql_browser_is_told(bytes in prop::collection::vec(any::<u8>(), 1..60)) {
        let service = build(&ENTRY, &[("mssql.browser", "true")]);
        let t = exchange(&mut Datagrams::new(service.as_ref(), 1, facts(1434)), &[&bytes]);
        prop_assert_eq!(t.events_of(30904).len(), 1);
    }
}
