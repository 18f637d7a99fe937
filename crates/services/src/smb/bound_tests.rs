//! What one request, and one compound of them, may cost.

use aviary_event::Timestamp;
use aviary_service::{Dialogue, Outbox, Step};
use aviary_testkit::NOW;

use super::client::{Client, Response, create, parts, read};
use super::codec::command;
use super::status;
use super::tests::{actions, browse, dialogue, names};

const MEGABYTE: usize = 1024 * 1024;

#[test]
fn reads_in_a_compound_share_what_one_may_have() {
    browse(&[], |client| {
        let file = client.create("IT\\Passwords.kdbx", 0x12_019f, 1, 0).file();
        assert_eq!(client.set(file, 20, &(1_u64 << 30).to_le_bytes()).status(), 0);
        let wanted = vec![(command::READ, read(file, 0, 8 << 20)); 64];
        let compound = client.compound(&wanted);
        let reply = client.raw(&compound);
        let parts = parts(&reply);
        assert_eq!(parts.len(), 64);
        // The burst, and 4096 bytes for each that came too late for it.
        assert!(reply.len() < 256 * 1024 + 64 * 4400, "{}", reply.len());
        assert!(parts[1..].iter().all(|part| part.data().len() <= 4096));
    });
}

#[test]
fn a_compound_whose_answers_are_long_enough_is_refused_the_rest() {
    let mut dialogue = dialogue(&[]);
    let mut client = Client::new(&mut *dialogue);
    client.negotiate(&[0x0210]);
    client.login("bob", "Password1");
    client.connect("Finance");
    let file = client.create("big.iso", 0x12_0089, 1, 0).file();
    let other = client.create("notes.txt", 0x12_0089, 1, 0).file();
    client.read(other, 0, 1);
    let mut wanted = vec![(command::READ, read(file, 0, 200_000)); 6];
    wanted.push((command::READ, read(other, 0, 100)));
    let (whole, alone) = (client.compound(&wanted), client.compound(&[(command::READ, read(file, 0, 2 << 20))]));
    // A second later, as much may be read as at most.
    let later = |dialogue: &mut dyn Dialogue, bytes: &[u8]| {
        let mut out = Outbox::new(Timestamp::from_micros(NOW + 1_000_000));
        assert_eq!(dialogue.feed(bytes, &mut out), bytes.len());
        out.into_steps().into_iter().find_map(|step| if let Step::Reply(reply) = step { Some(reply) } else { None })
    };
    drop(client);
    let reply = later(&mut *dialogue, &whole).unwrap();
    assert!((MEGABYTE..MEGABYTE + 8192).contains(&reply.len()), "{}", reply.len());
    let statuses: Vec<u32> = parts(&reply).iter().map(Response::status).collect();
    assert_eq!(statuses, [0, 0, 0, 0, 0, 0, status::INSUFFICIENT_RESOURCES]);
    // What is no compound has the whole budget.
    assert_eq!(parts(&later(&mut *dialogue, &alone).unwrap())[0].data().len(), 2 << 20);
}

#[test]
fn what_is_not_read_is_not_spent() {
    browse(&[], |client| {
        let notes = client.create("notes.txt", 0x12_0089, 1, 0).file();
        let closed = client.create("big.iso", 0x80, 1, 0).file();
        let root = client.create("", 0x81, 1, 1).file();
        for _ in 0..20 {
            assert!(client.read(notes, 0, 8 << 20).data().len() >= 400);
            assert_eq!(client.read(closed, 0, 8 << 20).status(), status::ACCESS_DENIED);
            assert_eq!(names(&client.list(root, 37, 1, "*", 65_536)).len(), 6);
        }
        let file = client.create("big.iso", 0x12_0089, 1, 0).file();
        assert_eq!(client.read(file, 0, 200_000).data().len(), 200_000);
    });
}

#[test]
fn a_file_grows_only_for_who_may_write_and_to_no_more_than_the_volume() {
    let transcript = browse(&[], |client| {
        let reader = client.create("Report.docx", 0x12_0089, 1, 0).file();
        assert_eq!(client.set(reader, 20, &1_u64.to_le_bytes()).status(), status::ACCESS_DENIED);
        let writer = client.create("Report.docx", 0x12_019f, 1, 0).file();
        for size in [u64::MAX, 1 << 40] {
            assert_eq!(client.set(writer, 20, &size.to_le_bytes()).status(), status::DISK_FULL);
        }
        assert_eq!(client.write(writer, 1 << 62, b"far").status(), status::DISK_FULL);
        assert_eq!(client.set(writer, 20, &1_000_000_u64.to_le_bytes()).status(), 0);
        assert!(client.read(writer, 900_000, 64).data().iter().all(|byte| *byte == 0));
        assert_eq!(client.set(writer, 20, &100_u64.to_le_bytes()).status(), 0);
        assert_eq!(client.read(writer, 0, 4096).data().len(), 100);
        let new = client.create("new.txt", 0x12_019f, 2, 0).file();
        assert_eq!(client.write(new, u64::MAX, b"one").status(), 0);
        assert_eq!(client.write(new, u64::MAX, b"two").status(), 0);
        assert_eq!(client.read(new, 0, 64).data(), b"onetwo");
    });
    assert!(actions(&transcript).contains(&"pwrite Report.docx fail (No space left on device)".to_owned()));
}

#[test]
fn a_compound_of_deep_paths_in_a_full_share_is_answered_whole() {
    browse(&[], |client| {
        // Handles are bounded: another tree begins, the files stay.
        let release = |client: &mut Client<'_>| {
            client.ask(command::TREE_DISCONNECT, &[4, 0, 0, 0]);
            client.connect("Finance");
        };
        let mut files = 0;
        while client.create(&format!("file {files}"), 0x12_019f, 2, 0).status() == 0 {
            files += 1;
            if files % 100 == 0 {
                release(client);
            }
        }
        assert!(files > 1100, "{files}");
        let deep = format!("{}file {}", "..\\".repeat(23), files - 1);
        let wanted = vec![(command::CREATE, create(&deep, 0x80, 1, 0)); 64];
        release(client);
        let compound = client.compound(&wanted);
        let reply = client.raw(&compound);
        assert!(parts(&reply).iter().all(|part| part.status() == 0));
    });
}
