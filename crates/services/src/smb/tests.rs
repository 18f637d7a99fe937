//! The conversations, request by request.

use aviary_event::{LogData, Value};
use aviary_service::Dialogue;
use aviary_testkit::{Line, Talk, Transcript, build, facts};
use proptest::prelude::*;

use super::ENTRY;
use super::client::{Client, Response, create, write};
use super::codec::{Put as _, command, framed, u16_at, u32_at, wide};
use super::pipe_tests::{SRVSVC, SVCCTL, on_pipes, rpc};
use super::status;

const FILES: (&str, &str) = (
    "smb.files",
    r#"["IT/Passwords.kdbx", "Report.docx", {"name": "notes.txt", "size": 400}, {"name": "big.iso", "size": 5000000}]"#,
);

pub(super) fn dialogue(given: &[(&str, &str)]) -> Box<dyn Dialogue> {
    build(&ENTRY, &[&[FILES], given].concat()).dialogue(0, &facts(445))
}

/// Runs a conversation of somebody who logged in and connected to the share.
pub(super) fn browse(given: &[(&str, &str)], talk: impl FnOnce(&mut Client<'_>)) -> Transcript {
    let mut dialogue = dialogue(given);
    let mut client = Client::new(&mut *dialogue);
    client.negotiate(&[0x0202, 0x0210, 0x0300, 0x0302, 0x0311]);
    assert_eq!(client.login("bob", "Password1").status(), status::SUCCESS);
    assert_eq!(client.connect("finance").status(), status::SUCCESS);
    talk(&mut client);
    client.end()
}

pub(super) fn text(data: &LogData, key: &str) -> String {
    match data.get(key) {
        Some(value) => String::from_utf8_lossy(value.as_bytes().unwrap_or_default()).into_owned(),
        None => String::new(),
    }
}

/// Actions and files of the events 5000.
pub(super) fn actions(transcript: &Transcript) -> Vec<String> {
    let told =
        |data: &&LogData| format!("{} {} {}", text(data, "AUDITACTION"), text(data, "FILENAME"), text(data, "STATUS"));
    transcript.events_of(5000).iter().map(told).collect()
}

/// Names of a listing of class 37.
pub(super) fn names(response: &Response) -> Vec<String> {
    let (mut rest, mut names) = (response.output(), Vec::new());
    loop {
        let length = usize::try_from(u32_at(rest, 60).unwrap()).unwrap();
        names.push(super::codec::text(&rest[104..104 + length]));
        match u32_at(rest, 0).unwrap() {
            0 => return names,
            next => rest = &rest[usize::try_from(next).unwrap()..],
        }
    }
}

#[test]
fn chooses_the_best_dialect_of_those_offered() {
    for (offered, chosen) in [
        (&[0x0202_u16][..], 0x0202),
        (&[0x0202, 0x0210], 0x0210),
        (&[0x0300, 0x0210], 0x0300),
        (&[0x0302, 0x0300], 0x0302),
        (&[0x0311, 0x0302], 0x0311),
    ] {
        let mut dialogue = dialogue(&[]);
        let mut client = Client::new(&mut *dialogue);
        let answer = client.negotiate(offered);
        assert_eq!((answer.status(), u16_at(&answer.0, 68)), (0, Some(chosen)));
        assert_eq!(u16_at(&answer.0, 66), Some(1), "signing enabled, not required");
        let contexts = if chosen == 0x0311 { 2 } else { 0 };
        assert_eq!(u16_at(&answer.0, 70), Some(contexts));
        assert_eq!(client.transcript().events_of(31100).len(), 1);
    }
    let mut dialogue = dialogue(&[]);
    assert_eq!(Client::new(&mut *dialogue).negotiate(&[0x0999]).status(), status::NOT_SUPPORTED);
}

/// nmap's probe.
const SMB1: &[u8] = b"\0\0\0\xa4\xffSMBr\0\0\0\0\x08\x01\x40\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x40\x06\0\0\x01\0\0\x81\0\x02PC NETWORK PROGRAM 1.0\0\x02MICROSOFT NETWORKS 1.03\0\x02MICROSOFT NETWORKS 3.0\0\x02LANMAN1.0\0\x02LM1.2X002\0\x02Samba\0\x02NT LANMAN 1.0\0\x02NT LM 0.12\0";

#[test]
fn turns_smb1_away_as_windows_and_samba_do() {
    let windows = aviary_testkit::exchange(&mut *dialogue(&[]), &[SMB1]);
    assert!(windows.replies().is_empty());
    assert!(windows.lines.iter().any(|line| matches!(line, Line::Close { reset: true })));
    assert_eq!(windows.events_of(31100).len(), 1);
    let samba = aviary_testkit::exchange(&mut *dialogue(&[("smb.server", r#""samba""#)]), &[SMB1]);
    // What nmap knows Samba 4 by.
    assert_eq!(
        samba.replies(),
        b"\0\0\0\x25\xffSMBr\0\0\0\0\x88\x01\x40\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x40\x06\0\0\x01\0\x01\xff\xff\0\0"
    );
}

#[test]
fn answers_smb1_as_a_windows_server_when_it_may() {
    let transcript = aviary_testkit::exchange(&mut *dialogue(&[("smb.smb1", "true")]), &[SMB1]);
    let reply = transcript.replies();
    // nmap: Microsoft Windows Server 2008 R2 - 2012 microsoft-ds.
    assert_eq!(&reply[4..36], b"\xffSMBr\0\0\0\0\x88\x01\x40\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x40\x06\0\0\x01\0");
    assert_eq!(&reply[36..60], b"\x11\x07\0\x03\x32\0\x01\0\x04\x41\0\0\0\0\x01\0\0\0\0\0\xfc\xf3\x01\0");
    assert!(reply.ends_with(&[wide("WORKGROUP\0"), wide("SRV01\0")].concat()));
}

#[test]
fn leads_from_smb1_to_smb2() {
    let body = b"\x02NT LM 0.12\0\x02SMB 2.002\0\x02SMB 2.???\0";
    let mut message = b"\xffSMBr\0\0\0\0\x18\x53\xc8".to_vec();
    message.extend_from_slice(&[0; 20]);
    message.push(0);
    message.put16(u16::try_from(body.len()).unwrap());
    message.extend_from_slice(body);
    let mut dialogue = dialogue(&[]);
    let mut client = Client::new(&mut *dialogue);
    let answer = Response(client.raw(&framed(&message))[4..].to_vec());
    assert_eq!(u16_at(&answer.0, 68), Some(0x02ff));
    assert_eq!(u16_at(&client.negotiate(&[0x0210]).0, 68), Some(0x0210));
}

#[test]
fn a_login_leaves_a_line_for_hashcat_and_becomes_a_guest() {
    let mut dialogue = dialogue(&[]);
    let mut client = Client::new(&mut *dialogue);
    client.negotiate(&[0x0302]);
    let answer = client.login("bob", "Summer2026!");
    assert_eq!((answer.status(), u16_at(&answer.0, 66)), (0, Some(1)));
    let transcript = client.end();
    let [event] = transcript.events_of(31101)[..] else { panic!("{transcript}") };
    assert!(text(event, "HASHCAT").starts_with("bob::CORP:"), "{event:?}");
    assert_eq!((text(event, "PASSWORD"), text(event, "WORKSTATION")), ("Summer2026!".into(), "WKS7".into()));
    assert_eq!(event.get("HASHCAT_MODE"), Some(&Value::Int(5600)));
}

#[test]
fn without_guests_every_login_fails_and_nobody_sees_the_share() {
    let mut dialogue = dialogue(&[("smb.guest", "false")]);
    let mut client = Client::new(&mut *dialogue);
    client.negotiate(&[0x0302]);
    assert_eq!(client.login("bob", "x").status(), status::LOGON_FAILURE);
    client.session = 0;
    let nobody = client.login("", "");
    assert_eq!((nobody.status(), u16_at(&nobody.0, 66)), (0, Some(2)));
    assert_eq!(client.connect("Finance").status(), status::ACCESS_DENIED);
    assert_eq!(client.connect("IPC$").status(), status::SUCCESS);
    assert_eq!(client.create("srvsvc", 3, 1, 0).status(), status::ACCESS_DENIED);
    assert_eq!(client.create("lsarpc", 3, 1, 0).status(), status::SUCCESS);
}

#[test]
fn every_login_gets_another_challenge() {
    let mut dialogue = dialogue(&[]);
    let mut client = Client::new(&mut *dialogue);
    client.negotiate(&[0x0302]);
    let mut challenges = Vec::new();
    for _ in 0..3 {
        client.session = 0;
        let answer = client.setup(b"NTLMSSP\0\x01\0\0\0\x07\x82\x08\xa2");
        challenges.push(answer.0[96..104].to_vec());
    }
    challenges.sort();
    challenges.dedup();
    assert_eq!(challenges.len(), 3);
}

#[test]
fn a_planted_login_is_accepted_and_signed() {
    let planted = [("smb.honeycreds", r#"[{"username": "svc", "password": "Tape-2026!"}]"#), ("smb.guest", "false")];
    for dialect in [0x0202, 0x0210, 0x0300, 0x0311] {
        let mut dialogue = dialogue(&planted);
        let mut client = Client::new(&mut *dialogue);
        client.negotiate(&[dialect]);
        let answer = client.login("SVC", "Tape-2026!");
        assert_eq!((answer.status(), u16_at(&answer.0, 66)), (0, Some(0)));
        assert!(answer.header().flags & 8 != 0 && answer.0[48..64] != [0; 16]);
        let tree = client.connect("Finance");
        assert!(tree.status() == 0 && tree.0[48..64] != [0; 16]);
        let left = client.ask(command::LOGOFF, &[4, 0, 0, 0]);
        assert!(left.status() == 0 && left.0[48..64] != [0; 16]);
        assert_eq!(client.ask(command::LOGOFF, &[4, 0, 0, 0]).status(), status::USER_SESSION_DELETED);
        let transcript = client.end();
        let login = transcript.events_of(31101)[0];
        assert_eq!((text(login, "RESULT"), text(login, "PASSWORD")), ("accepted".to_owned(), "Tape-2026!".to_owned()));
    }
}

#[test]
fn a_planted_password_without_its_user_is_told_in_clear() {
    for (entry, known) in [(r#"[{"password": "Tape-2026!"}]"#, true), (r#"[{"password": "Tape-2027!"}]"#, false)] {
        let mut dialogue = dialogue(&[("smb.honeycreds", entry), ("smb.guest", "false")]);
        let mut client = Client::new(&mut *dialogue);
        client.negotiate(&[0x0311]);
        assert_eq!(client.login("bob", "Tape-2026!").status(), status::LOGON_FAILURE);
        let transcript = client.end();
        let password = transcript.events_of(31101)[0].get("PASSWORD").and_then(Value::as_str);
        assert_eq!(password, known.then_some("Tape-2026!"));
    }
}

#[test]
fn opening_and_reading_are_opencanarys_events() {
    let transcript = browse(&[], |client| {
        let root = client.create("", 0x81, 1, 1);
        assert_eq!(
            names(&client.list(root.file(), 37, 0, "*", 65_536)),
            [".", "..", "big.iso", "IT", "notes.txt", "Report.docx"]
        );
        assert_eq!(client.list(root.file(), 37, 0, "*", 65_536).status(), status::NO_MORE_FILES);
        let file = client.create("it\\passwords.KDBX", 0x12_0089, 1, 0x40);
        let read = client.read(file.file(), 0, 65_536);
        assert!(read.data().starts_with(b"\x03\xd9\xa2\x9a\x67\xfb\x4b\xb5"));
        assert_eq!(client.read(file.file(), 1_000_000, 10).status(), status::END_OF_FILE);
        assert_eq!(client.close(file.file()).status(), 0);
        assert_eq!(client.close(file.file()).status(), status::FILE_CLOSED);
        assert_eq!(client.create("none.txt", 1, 1, 0).status(), status::OBJECT_NAME_NOT_FOUND);
        assert_eq!(client.create("no\\none.txt", 1, 1, 0).status(), status::OBJECT_PATH_NOT_FOUND);
    });
    assert_eq!(
        actions(&transcript),
        [
            "openat . ok",
            "fdopendir . ok",
            "openat IT/Passwords.kdbx ok",
            "pread IT/Passwords.kdbx ok",
            "openat none.txt fail (No such file or directory)",
            "openat no/none.txt fail (No such file or directory)",
        ]
    );
    let keys: Vec<&str> = transcript.events_of(5000)[0].iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ENTRY.kinds[0].keys);
    let event = transcript.events_of(5000)[2];
    let told =
        ["DOMAIN", "LOCALNAME", "REMOTENAME", "SHARENAME", "SMBARCH", "SMBVER", "USER"].map(|key| text(event, key));
    assert_eq!(told, ["CORP", "srv01", "wks7", "Finance", "Vista", "SMB3_11", "bob"]);
}

#[test]
fn nobody_is_called_anonymous() {
    let mut dialogue = dialogue(&[]);
    let mut client = Client::new(&mut *dialogue);
    client.negotiate(&[0x0210]);
    client.login("", "");
    client.connect("Finance");
    client.create("notes.txt", 1, 1, 0);
    let transcript = client.end();
    assert_eq!(text(transcript.events_of(5000)[0], "USER"), "anonymous");
    assert_eq!(text(transcript.events_of(5000)[0], "SMBVER"), "SMB2_10");
}

#[test]
fn listings_come_in_every_class_and_in_small_pieces() {
    browse(&[], |client| {
        let root = client.create("", 0x81, 1, 1).file();
        for class in [1, 2, 3, 12, 37, 38] {
            let listed = client.list(root, class, 1, "*", 65_536);
            assert_eq!(listed.status(), 0, "{class}");
            assert!(memchr::memmem::find(listed.output(), &wide("Report.docx")).is_some());
        }
        assert_eq!(client.list(root, 50, 1, "*", 65_536).status(), status::INVALID_INFO_CLASS);
        assert_eq!(names(&client.list(root, 37, 1, "*.DOCX", 65_536)), ["Report.docx"]);
        assert_eq!(client.list(root, 37, 0x10, "*.nix", 65_536).status(), status::NO_SUCH_FILE);
        assert_eq!(client.list(root, 37, 1, "*", 20).status(), status::INFO_LENGTH_MISMATCH);
        let mut all = names(&client.list(root, 37, 3, "*", 65_536));
        for _ in 0..5 {
            all.extend(names(&client.list(root, 37, 2, "*", 65_536)));
        }
        assert_eq!(all.len(), 6);
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 6);
    });
}

#[test]
fn tells_of_files_and_volumes_in_every_class() {
    browse(&[], |client| {
        let file = client.create("Report.docx", 0x12_0089, 1, 0).file();
        for (kind, class, size) in [
            (1, 4, 40),
            (1, 5, 24),
            (1, 6, 8),
            (1, 7, 4),
            (1, 8, 4),
            (1, 14, 8),
            (1, 16, 4),
            (1, 17, 4),
            (1, 28, 16),
            (1, 34, 56),
            (1, 35, 8),
            (1, 59, 24),
            (2, 3, 24),
            (2, 4, 8),
            (2, 6, 48),
            (2, 7, 32),
            (2, 8, 64),
            (2, 11, 28),
        ] {
            let info = client.info(file, kind, class, 1024);
            assert_eq!((info.status(), info.output().len()), (0, size), "{kind} {class}");
            assert_ne!(client.info(file, kind, class, 2).status(), 0);
        }
        let all = client.info(file, 1, 18, 1024);
        assert_eq!(all.output().len(), 100 + wide("\\Report.docx").len());
        assert_eq!(client.info(file, 1, 18, 100).status(), status::BUFFER_OVERFLOW);
        assert!(client.info(file, 3, 0, 1024).output().starts_with(&[1, 0, 4, 0x80]));
        assert_eq!(client.info(file, 1, 99, 1024).status(), status::INVALID_INFO_CLASS);
    });
}

#[test]
fn what_is_written_goes_to_quarantine_and_can_be_read_again() {
    let transcript = browse(&[], |client| {
        let file = client.create("tool.exe", 0x12_019f, 5, 0x40).file();
        assert_eq!(client.write(file, 0, b"MZ hello ").status(), 0);
        assert_eq!(client.write(file, 9, b"world").status(), 0);
        assert_eq!(client.read(file, 3, 64).data(), b"hello world");
        client.close(file);
    });
    let kept: Vec<u8> = transcript
        .lines
        .iter()
        .filter_map(|l| if let Line::Keep(_, b) = l { Some(b.clone()) } else { None })
        .flatten()
        .collect();
    assert_eq!(kept, b"MZ hello world");
    let event = transcript.events_of(31105)[0];
    assert_eq!(text(event, "SHA256"), sha256(b"MZ hello world"));
    assert_eq!((event.get("SIZE"), text(event, "FILENAME")), (Some(&Value::Int(14)), "tool.exe".to_owned()));
    assert_eq!(actions(&transcript), ["openat tool.exe ok", "pwrite tool.exe ok", "pread tool.exe ok"]);
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_write_of_megabytes_passes_in_pieces() {
    let data = vec![0xa5; 1_000_000];
    let transcript = browse(&[], |client| {
        let file = client.create("big.bin", 0x12_019f, 2, 0).file();
        let message = {
            let body = write(file, 0, &data);
            client.message(command::WRITE, 0, &body)
        };
        let whole = framed(&message);
        let mut answer = Vec::new();
        for piece in whole.chunks(70_000) {
            answer.extend(client.raw(piece));
        }
        let answer = Response(answer[4..].to_vec());
        assert_eq!((answer.status(), u32_at(&answer.0, 68)), (0, Some(1_000_000)));
        assert_eq!(client.close(file).status(), 0);
    });
    let event = transcript.events_of(31105)[0];
    assert_eq!((event.get("SIZE"), text(event, "SHA256")), (Some(&Value::Int(1_000_000)), sha256(&data)));
}

#[test]
fn an_upload_that_breaks_off_is_told() {
    let transcript = browse(&[], |client| {
        let file = client.create("half.bin", 0x12_019f, 2, 0).file();
        client.write(file, 0, b"half");
    });
    assert_eq!(transcript.events_of(31105)[0].get("SIZE"), Some(&Value::Int(4)));
}

#[test]
fn renames_and_deletions_are_seen_by_this_connection_only() {
    let transcript = browse(&[], |client| {
        let file = client.create("Report.docx", 0x0001_0080, 1, 0).file();
        let name = wide("IT\\Old.docx");
        let mut rename = vec![0; 16];
        rename.put_len(name.len());
        rename.extend_from_slice(&name);
        assert_eq!(client.set(file, 10, &rename).status(), 0);
        client.close(file);
        assert_eq!(client.create("Report.docx", 0x80, 1, 0).status(), status::OBJECT_NAME_NOT_FOUND);
        let folder = client.create("IT", 0x0001_0080, 1, 1).file();
        assert_eq!(client.set(folder, 13, &[1]).status(), status::DIRECTORY_NOT_EMPTY);
        let file = client.create("IT\\Old.docx", 0x0001_0000, 1, 0x1000).file();
        client.close(file);
        assert_eq!(client.create("IT\\Old.docx", 0x80, 1, 0).status(), status::OBJECT_NAME_NOT_FOUND);
    });
    let told: Vec<String> = transcript
        .events_of(31106)
        .iter()
        .map(|data| format!("{} {} {}", text(data, "ACTION"), text(data, "FILENAME"), text(data, "NEW_NAME")))
        .collect();
    assert_eq!(told, ["rename Report.docx IT/Old.docx", "delete IT/Old.docx "]);
    assert!(actions(&transcript).contains(&"unlinkat IT/Old.docx ok".to_owned()));
    browse(&[], |client| assert_eq!(client.create("Report.docx", 0x80, 1, 0).status(), 0));
}

#[test]
fn a_share_that_is_not_writable_says_so() {
    let transcript = browse(&[("smb.writable", "false")], |client| {
        assert_eq!(client.create("new.txt", 0x12_019f, 2, 0).status(), status::ACCESS_DENIED);
        assert_eq!(client.create("notes.txt", 0x12_0089, 1, 0).status(), 0);
    });
    assert_eq!(actions(&transcript), ["openat new.txt fail (Permission denied)", "openat notes.txt ok"]);
}

#[test]
fn parts_of_a_compound_work_on_what_the_first_opened() {
    browse(&[], |client| {
        let parts = |client: &mut Client<'_>, name: &str| {
            let mut all = Vec::new();
            let bodies = [
                (command::CREATE, create(name, 0x80, 1, 0)),
                (command::QUERY_INFO, [&[41, 0, 1, 5, 0, 4, 0, 0], [0; 16].as_slice(), &[0xff; 16]].concat()),
                (command::CLOSE, [&[24, 0, 0, 0, 0, 0, 0, 0], [0xff; 16].as_slice()].concat()),
            ];
            for (number, (command, body)) in bodies.iter().enumerate() {
                let mut part = client.message(*command, if number == 0 { 0 } else { 4 }, body);
                if number < 2 {
                    part.align(8);
                    let next = u32::try_from(part.len()).unwrap().to_le_bytes();
                    part[20..24].copy_from_slice(&next);
                }
                all.extend(part);
            }
            let reply = client.raw(&framed(&all));
            let mut statuses = Vec::new();
            let mut rest = &reply[4..];
            loop {
                statuses.push(u32_at(rest, 8).unwrap());
                match u32_at(rest, 20).unwrap() {
                    0 => return statuses,
                    next => rest = &rest[usize::try_from(next).unwrap()..],
                }
            }
        };
        assert_eq!(parts(client, "notes.txt"), [0, 0, 0]);
        assert_eq!(parts(client, "nothing"), [status::OBJECT_NAME_NOT_FOUND; 3]);
    });
}

#[test]
fn a_wait_for_changes_ends_when_it_is_cancelled_or_closed() {
    browse(&[], |client| {
        let root = client.create("", 0x81, 1, 1).file();
        let wait = [&[32, 0, 0, 0, 0, 16, 0, 0], root.as_slice(), &[0xff, 0, 0, 0, 0, 0, 0, 0]].concat();
        let first = client.ask(command::CHANGE_NOTIFY, &wait);
        assert_eq!((first.status(), first.header().flags & 2), (status::PENDING, 2));
        let mut cancel = client.message(command::CANCEL, 2, &[4, 0, 0, 0]);
        cancel[24..32].copy_from_slice(&first.header().message.to_le_bytes());
        cancel[32..40].copy_from_slice(&first.0[32..40]);
        let cancelled = Response(client.raw(&framed(&cancel))[4..].to_vec());
        assert_eq!((cancelled.status(), cancelled.header().message), (status::CANCELLED, first.header().message));
        client.ask(command::CHANGE_NOTIFY, &wait);
        let closed = client.close(root);
        assert_eq!(closed.status(), status::NOTIFY_CLEANUP);
    });
}

#[test]
fn bounds_hold() {
    browse(&[], |client| {
        let opened = (0..200).filter(|_| client.create("notes.txt", 0x80, 1, 0).status() == 0).count();
        assert_eq!(opened, super::state::OPENS);
        let trees = (0..50).filter(|_| client.connect("Finance").status() == 0).count();
        assert_eq!(trees, super::state::TREES - 1);
        let sessions = (0..50).filter(|_| {
            client.session = 0;
            client.setup(b"NTLMSSP\0\x01\0\0\0\x07\x82\x08\xa2").status() == status::MORE_PROCESSING_REQUIRED
        });
        assert_eq!(sessions.count(), super::state::SESSIONS - 1);
    });
}

#[test]
fn pipes_are_fewer_than_files_and_long_names_are_told_once() {
    let transcript = on_pipes(|client| {
        let opened = (0..40).filter(|_| client.create("srvsvc", 3, 1, 0).status() == 0).count();
        assert_eq!(opened, super::state::PIPES);
    });
    assert!(transcript.events_of(31103).len() >= 40);
    let mut dialogue = dialogue(&[]);
    let mut client = Client::new(&mut *dialogue);
    client.negotiate(&[0x0210]);
    client.login(&"n".repeat(5000), "x");
    client.connect("Finance");
    client.create("notes.txt", 1, 1, 0);
    let transcript = client.end();
    assert_eq!(text(transcript.events_of(31101)[0], "USERNAME").len(), 5000);
    assert_eq!(text(transcript.events_of(5000)[0], "USER").len(), super::state::NAME);
}

#[test]
fn what_was_written_is_told_before_a_violation_ends_the_connection() {
    let transcript = browse(&[], |client| {
        let file = client.create("half.bin", 0x12_019f, 2, 0).file();
        client.write(file, 0, b"half");
        client.raw(b"GET / HTTP/1.0");
    });
    let told: Vec<i64> = transcript.events().iter().map(|(number, _)| *number).collect();
    assert!(told.ends_with(&[31107, 31105]) && transcript.closed(), "{told:?}");
}

#[test]
fn reads_without_end_become_short() {
    browse(&[], |client| {
        let file = client.create("big.iso", 0x12_0089, 1, 0).file();
        let lengths: Vec<usize> = (0..4).map(|n| client.read(file, n * 200_000, 200_000).data().len()).collect();
        assert_eq!(lengths[0], 200_000);
        assert!(lengths[1] < 200_000 && lengths[2] == 4096 && lengths[3] == 4096, "{lengths:?}");
    });
}

#[test]
fn rules_that_are_broken_are_told() {
    for (bytes, closes) in [
        (&b"GET / HTTP/1.0\r\n\r\n"[..], true),
        (b"\0\0\0\x10\xfdSMBxxxxxxxxxxxx", true),
        (b"\0\0\0\x10\xfcSMBxxxxxxxxxxxx", true),
        (b"\0\0\0\x08\xfeSMBxxxx", true),
    ] {
        let transcript = aviary_testkit::exchange(&mut *dialogue(&[]), &[bytes]);
        assert_eq!((transcript.events_of(31107).len(), transcript.closed()), (1, closes), "{transcript}");
    }
    let transcript = browse(&[], |client| {
        assert_eq!(client.ask(command::ECHO, &[9, 0, 0, 0]).status(), status::INVALID_PARAMETER);
        client.session = 77;
        assert_eq!(client.create("x", 1, 1, 0).status(), status::USER_SESSION_DELETED);
        client.raw(b"\0\0\x01\0\xfeSMB");
    });
    assert_eq!(transcript.events_of(31107).len(), 2, "{transcript}");
}

#[test]
fn speaks_behind_the_netbios_session_service() {
    let service = build(&ENTRY, &[("smb.netbios_port", "139")]);
    assert_eq!(service.endpoints().len(), 2);
    let mut dialogue = service.dialogue(1, &facts(139));
    let mut client = Client::new(&mut *dialogue);
    let half = |name: &str| -> Vec<u8> {
        let padded = format!("{name:<15}\0");
        let pairs = padded.bytes().flat_map(|byte| [b'A' + (byte >> 4), b'A' + (byte & 15)]);
        std::iter::once(32).chain(pairs).chain(std::iter::once(0)).collect()
    };
    let request = [vec![0x81, 0, 0, 68], half("*SMBSERVER"), half("WKS7")].concat();
    assert_eq!(client.raw(&request), [0x82, 0, 0, 0]);
    assert_eq!(client.negotiate(&[0x0210]).status(), 0);
    let transcript = client.end();
    assert_eq!(text(transcript.events_of(31100)[0], "NETBIOS_CALLING"), "WKS7");
}

#[test]
fn silence_ends_without_a_word_of_its_own() {
    let mut dialogue = dialogue(&[]);
    assert!(Talk::open(&mut *dialogue).expire().lines.is_empty());
    let mut dialogue = self::dialogue(&[]);
    let mut talk = Talk::open(&mut *dialogue);
    talk.send(b"\0\0\0\x40\xfeSMB");
    let transcript = talk.expire();
    assert!(transcript.replies().is_empty());
    let told = transcript.events()[0].1;
    assert_eq!(told.get("DATA").and_then(Value::as_bytes), Some(&b"\0\0\0\x40\xfeSMB"[..]));
}

#[test]
fn what_a_client_says_and_hears() {
    let transcript = browse(&[], |client| {
        let file = client.create("notes.txt", 0x12_0089, 1, 0).file();
        client.read(file, 0, 16);
        client.ask(command::TREE_DISCONNECT, &[4, 0, 0, 0]);
        client.ask(command::LOGOFF, &[4, 0, 0, 0]);
    });
    // The vault's secret differs from run to run: events are compared, replies by their length.
    let told: String = transcript
        .lines
        .iter()
        .filter_map(|line| match line {
            Line::Reply(bytes) => Some(format!("< {} bytes\n", bytes.len())),
            Line::Event(number, data) => {
                let fields: Vec<String> = data.iter().map(|(key, _)| format!("{key}={}", text(data, key))).collect();
                Some(format!("! {number} {}\n", fields.join(" ")))
            }
            _ => None,
        })
        .collect();
    insta::with_settings!({ snapshot_path => "fixtures/snapshots", prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("login-open-read", told);
    });
}

/// Seeds of the fuzz target are conversations as they are today: file and session numbers belong to
/// the connection. `INSTA_UPDATE=always` writes them anew.
#[test]
fn the_seeds_of_fuzzing_are_whole_conversations() {
    let browse = seed(|client| {
        client.negotiate(&[0x0202, 0x0210, 0x0300, 0x0302, 0x0311]);
        client.login("bob", "Password1");
        client.connect("Finance");
        let root = client.create("", 0x81, 1, 1).file();
        client.list(root, 37, 0, "*", 65_536);
        let file = client.create("Passwords.kdbx", 0x12_0089, 1, 0).file();
        client.info(file, 1, 18, 1024);
        client.info(file, 2, 7, 1024);
        client.info(file, 3, 0, 1024);
        client.read(file, 0, 4096);
        client.close(file);
        client.ask(
            command::CHANGE_NOTIFY,
            &[&[32, 0, 0, 0, 0, 16, 0, 0], root.as_slice(), &[255, 0, 0, 0, 0, 0, 0, 0]].concat(),
        );
        client.close(root);
        client.ask(command::LOGOFF, &[4, 0, 0, 0]);
    });
    let change = seed(|client| {
        client.negotiate(&[0x0210]);
        client.login("svc_backup", "Tape-2026!");
        client.connect("Finance");
        let file = client.create("new.exe", 0x13_019f, 5, 0).file();
        client.write(file, 0, b"MZ new");
        let name = wide("HR\\old.exe");
        let mut rename = vec![0; 16];
        rename.put_len(name.len());
        rename.extend_from_slice(&name);
        client.set(file, 10, &rename);
        client.set(file, 13, &[1]);
        client.close(file);
        client.ask(command::TREE_DISCONNECT, &[4, 0, 0, 0]);
    });
    let pipe = seed(|client| {
        client.negotiate(&[0x0302]);
        client.login("", "");
        client.connect("IPC$");
        rpc(
            client,
            "srvsvc",
            SRVSVC,
            3,
            15,
            b"\0\0\0\0\x01\0\0\0\x01\0\0\0\x04\0\x02\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff\0\0\0\0",
        );
        rpc(client, "svcctl", SVCCTL, 2, 15, &[0; 12]);
    });
    let old = seed(|client| {
        client.raw(SMB1);
        client.raw(SMB1_LOGIN);
    });
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/smb");
    for (name, bytes) in [("browse", browse), ("change", change), ("pipe", pipe), ("smb1", old)] {
        let path = folder.join(name);
        if std::env::var("INSTA_UPDATE").is_ok_and(|value| value == "always") {
            std::fs::write(&path, &bytes).unwrap();
        }
        assert!(std::fs::read(&path).is_ok_and(|seed| seed == bytes), "{name} is another conversation today");
    }
}

/// The segments of a conversation with all that `fixtures/settings-smb.json` opens.
fn seed(talk: impl FnOnce(&mut Client<'_>)) -> Vec<u8> {
    let given: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(include_str!("fixtures/settings-smb.json")).unwrap();
    let given: Vec<(String, String)> = given.into_iter().map(|(key, value)| (key, value.to_string())).collect();
    let given: Vec<(&str, &str)> = given.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let mut dialogue = build(&ENTRY, &given).dialogue(0, &facts(445));
    let mut client = Client::new(&mut *dialogue);
    talk(&mut client);
    let segments: Vec<&[u8]> = client.sent.iter().map(Vec::as_slice).collect();
    aviary_testkit::battery::join(&segments)
}

/// A login of Windows NT: user `old`, NetNTLMv1, then the connection to IPC$ as scanners make it.
const SMB1_LOGIN: &[u8] = b"\0\0\0\x82\xffSMBs\0\0\0\0\x18\x01\x40\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x40\x06\0\0\x02\0\x0d\xff\0\0\0\x04\x11\x0a\0\0\0\0\0\0\0\x18\0\x18\0\0\0\0\0\x54\0\0\0\x45\0AAAAAAAAAAAAAAAAAAAAAAAABBBBBBBBBBBBBBBBBBBBBBBBold\0CORP\0Unix\0Samba\0\0";

#[test]
fn an_old_client_leaves_a_line_for_hashcat() {
    let transcript = aviary_testkit::exchange(&mut *dialogue(&[("smb.smb1", "true")]), &[SMB1, SMB1_LOGIN]);
    let event = transcript.events_of(31101)[0];
    assert!(text(event, "HASHCAT").starts_with("old::CORP:4141"), "{event:?}");
    assert_eq!((event.get("HASHCAT_MODE"), text(event, "NATIVE_LM")), (Some(&Value::Int(5500)), "Samba".to_owned()));
    let reply = transcript.replies();
    assert!(memchr::memmem::find(&reply, b"Windows Server 2022 Standard 20348\0").is_some());
}

proptest! {
    #[test]
    fn any_bodies_behind_a_login_are_survived(
        requests in prop::collection::vec((0_u16..20, prop::collection::vec(any::<u8>(), 0..160), any::<bool>()), 1..12),
    ) {
        let sizes = [36_u16, 25, 4, 9, 4, 57, 24, 24, 49, 49, 48, 57, 4, 4, 33, 32, 41, 33, 24, 4];
        browse(&[], |client| {
            let file = client.create("", 0x81, 1, 1).file();
            for (command, mut body, named) in requests {
                let size = sizes[usize::from(command)].to_le_bytes();
                for (slot, byte) in body.iter_mut().zip(size) {
                    *slot = byte;
                }
                let at = if command == command::QUERY_INFO { 24 } else { 8 };
                if named && body.len() >= at + 16 {
                    body[at..at + 16].copy_from_slice(&file);
                }
                let message = client.message(command, 0, &body);
                client.raw(&framed(&message));
            }
        });
    }

    #[test]
    fn any_call_over_any_pipe_is_survived(number in 0_u16..80, stub in prop::collection::vec(any::<u8>(), 0..200)) {
        on_pipes(|client| {
            let (_, answer) = rpc(client, "srvsvc", SRVSVC, 3, number, &stub);
            assert!(matches!(answer[2], 2 | 3));
        });
    }
}
