//! Tests of the journal as those who report and those who deliver see it.

use std::sync::Arc;
use std::time::Duration;

use aviary_event::{Class, Event, KindInfo, LogData, Origin, Timestamp};
use jiff::tz::TimeZone;
use uuid::Uuid;

use crate::queue::lock;
use crate::{Journal, Options};

static KIND: KindInfo = KindInfo {
    number: 2000,
    constant: "LOG_FTP_LOGIN_ATTEMPT",
    class: Class::Login,
    when: "",
    keys: &[],
    technique: &[],
};

fn now() -> i64 {
    1_700_000_000_000_000
}

fn event(n: u64) -> Event {
    Event::new(
        &KIND,
        LogData::new().with("PASSWORD", n.to_string()),
        Uuid::from_u64_pair(1, n),
        Timestamp::from_micros(now()),
        &TimeZone::UTC,
        "node",
        "ftp",
        None,
        Origin::none(),
        Origin::none(),
    )
}

fn seqs(events: &[Arc<Event>]) -> Vec<u64> {
    events.iter().map(|e| e.aviary.as_ref().map_or(0, |a| a.seq)).collect()
}

async fn fill(journal: &Journal, count: u64) {
    for n in 0..count {
        journal.append(event(n)).await.wait().await;
    }
}

#[tokio::test]
async fn numbers_events_and_gives_them_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _guard) = Journal::open(&Options::at(dir.path().join("j.db")), now).unwrap();
    let mut reader = journal.reader("file");
    fill(&journal, 3).await;
    assert_eq!(seqs(&reader.next(2).await), [1, 2]);
    assert_eq!(seqs(&reader.next(2).await), [3]);
}

#[tokio::test]
async fn goes_on_where_each_output_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::at(dir.path().join("j.db"));
    {
        let (journal, guard) = Journal::open(&options, now).unwrap();
        let mut fast = journal.reader("fast");
        let _slow = journal.reader("slow");
        fill(&journal, 4).await;
        let got = fast.next(3).await;
        fast.advance(seqs(&got)[2]);
        drop(guard);
    }
    let (journal, _guard) = Journal::open(&options, now).unwrap();
    assert_eq!(seqs(&journal.reader("fast").next(10).await), [4]);
    assert_eq!(seqs(&journal.reader("slow").next(10).await), [1, 2, 3, 4]);
    fill(&journal, 1).await;
    assert_eq!(journal.stats().head, 5);
}

#[tokio::test]
async fn a_new_output_begins_at_the_newest_event() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _guard) = Journal::open(&Options::at(dir.path().join("j.db")), now).unwrap();
    fill(&journal, 2).await;
    let mut reader = journal.reader("late");
    fill(&journal, 1).await;
    assert_eq!(seqs(&reader.next(10).await), [3]);
}

#[tokio::test]
async fn reads_from_the_file_what_memory_no_longer_holds() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _guard) = Journal::open(&Options::at(dir.path().join("j.db")), now).unwrap();
    let mut reader = journal.reader("slow");
    let mut receipts = Vec::new();
    for n in 0..2000 {
        receipts.push(journal.append(event(n)).await);
    }
    for receipt in receipts {
        receipt.wait().await;
    }
    let mut all = Vec::new();
    while all.len() < 2000 {
        all.extend(seqs(&reader.next(300).await));
    }
    assert_eq!(all, (1..=2000).collect::<Vec<_>>());
}

#[tokio::test]
async fn keeps_out_a_second_canary() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::at(dir.path().join("j.db"));
    let (_journal, _guard) = Journal::open(&options, now).unwrap();
    let error = Journal::open(&options, now).unwrap_err();
    assert!(error.to_string().contains("in use by another process"), "{error}");
}

#[tokio::test]
async fn moves_a_damaged_file_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j.db");
    std::fs::write(&path, vec![0x5a; 8192]).unwrap();
    let (journal, _guard) = Journal::open(&Options::at(path), now).unwrap();
    fill(&journal, 1).await;
    assert!(dir.path().join("j.db.damaged").exists());
}

#[tokio::test]
async fn a_size_bound_drops_the_oldest_and_counts_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::at(dir.path().join("j.db"));
    options.max_bytes = 64 * 1024;
    let (journal, _guard) = Journal::open(&options, now).unwrap();
    let mut reader = journal.reader("dead");
    fill(&journal, 600).await;
    tokio::time::timeout(Duration::from_secs(30), async {
        while journal.stats().lost.is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await
    .unwrap();
    let lost = journal.stats().lost["dead"];
    assert!(lost > 0);
    assert_eq!(reader.behind(), 600);
    let _ = reader.next(1).await;
}

#[tokio::test]
async fn a_full_disk_loses_nothing_that_memory_can_hold() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _guard) = Journal::open(&Options::at(dir.path().join("j.db")), now).unwrap();
    let mut reader = journal.reader("slow");
    fill(&journal, 1).await;
    lock(&journal.shared.store).play_full_disk(true);
    fill(&journal, 1500).await;
    assert!(journal.stats().trouble.is_some() && journal.stats().failures > 0);
    let mut all = Vec::new();
    while all.len() < 1000 {
        all.extend(seqs(&reader.next(300).await));
    }
    lock(&journal.shared.store).play_full_disk(false);
    while journal.stats().stored < 1501 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    while all.len() < 1501 {
        all.extend(seqs(&reader.next(300).await));
    }
    assert_eq!(all, (1..=1501).collect::<Vec<_>>());
    assert!(journal.stats().trouble.is_none());
    assert_eq!(journal.stats().unsaved, 0);
}

#[tokio::test]
async fn a_position_is_in_the_file_soon_even_when_nothing_else_happens() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _guard) = Journal::open(&Options::at(dir.path().join("j.db")), now).unwrap();
    let mut reader = journal.reader("file");
    fill(&journal, 3).await;
    let last = *seqs(&reader.next(10).await).last().unwrap();
    reader.advance(last);
    // Half of the time after which the writer wakes of its own accord.
    let deadline = std::time::Instant::now() + Duration::from_millis(2500);
    loop {
        let copy = as_after_a_crash(dir.path());
        let (store, _lines) = crate::store::Store::open(&copy.path().join("j.db")).unwrap();
        if store.position().unwrap().2.get("file") == Some(&last) {
            return;
        }
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a canary finds that starts after a `kill -9`.
fn as_after_a_crash(folder: &std::path::Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in ["j.db", "j.db-wal"] {
        std::fs::copy(folder.join(file), copy.path().join(file)).unwrap();
    }
    copy
}

#[tokio::test]
async fn an_output_that_never_had_anything_loses_nothing_by_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _guard) = Journal::open(&Options::at(dir.path().join("j.db")), now).unwrap();
    let _dead = journal.reader("dead");
    fill(&journal, 2).await;
    let copy = as_after_a_crash(dir.path());
    let (journal, _guard) = Journal::open(&Options::at(copy.path().join("j.db")), now).unwrap();
    assert_eq!(seqs(&journal.reader("dead").next(10).await), [1, 2]);
}

#[tokio::test]
async fn holds_the_lock_that_keeps_other_processes_out() {
    use std::os::unix::fs::MetadataExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j.db");
    let (_journal, _guard) = Journal::open(&Options::at(path.clone()), now).unwrap();
    // One line a lock: `1: POSIX ADVISORY WRITE pid major:minor:inode start end`.
    let locks = std::fs::read_to_string("/proc/locks").unwrap();
    let (own, inode) = (std::process::id().to_string(), std::fs::metadata(path).unwrap().ino());
    assert!(
        locks.lines().any(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.contains(&"WRITE") && words.contains(&own.as_str()) && line.contains(&format!(":{inode} "))
        }),
        "{locks}"
    );
}

#[tokio::test]
async fn forgets_outputs_that_are_gone_and_keeps_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _guard) = Journal::open(&Options::at(dir.path().join("j.db")), now).unwrap();
    let mut gone = journal.reader("gone");
    let _stays = journal.reader("stays");
    journal.retain_outputs(&["stays".to_owned()]);
    fill(&journal, 1).await;
    gone.advance(1);
    assert_eq!(journal.stats().cursors.into_iter().collect::<Vec<_>>(), [("stays".to_owned(), 0)]);
}

#[tokio::test]
async fn is_settled_when_readers_see_all_that_was_handed_over() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _guard) = Journal::open(&Options::at(dir.path().join("j.db")), now).unwrap();
    for n in 1..=100 {
        drop(journal.append_now(event(n)));
        journal.settled().await;
        assert_eq!(journal.stats().head, n);
    }
}

#[tokio::test]
async fn writes_what_waits_when_it_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::at(dir.path().join("j.db"));
    {
        let (journal, guard) = Journal::open(&options, now).unwrap();
        for n in 0..500 {
            drop(journal.append_now(event(n)));
        }
        drop(guard);
    }
    let (journal, _guard) = Journal::open(&options, now).unwrap();
    assert_eq!((journal.stats().head, journal.stats().stored), (500, 500));
}

#[tokio::test]
async fn passes_over_what_is_no_event_and_what_was_removed_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _guard) = Journal::open(&Options::at(dir.path().join("j.db")), now).unwrap();
    let mut reader = journal.reader("hook");
    let receipts: Vec<_> = (0..1000).map(|n| journal.append_now(event(n))).collect();
    for receipt in receipts {
        receipt.wait().await;
    }
    let damage = "UPDATE events SET line = 'x' WHERE seq <= 300";
    lock(&journal.shared.store).connection().execute(damage, []).unwrap();
    assert_eq!(seqs(&reader.next(1).await), [301]);
    assert_eq!(seqs(&reader.next(1).await), [302]);
    journal.shared.set_removed_through(310);
    assert_eq!(seqs(&reader.next(2).await), [311, 312]);
    let mut rest = 312;
    while rest < 1000 {
        for seq in seqs(&reader.next(100).await) {
            assert_eq!(seq, rest + 1);
            rest = seq;
        }
    }
}
