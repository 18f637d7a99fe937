//! Copies of a store, stores from copies, and files of older layouts.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use aviary_event::Timestamp;
use aviary_store::{
    CredentialQuery, EventQuery, Networks, OpenError, Options, SourceQuery, Sqlite, Store, UpkeepError, backup, check,
    restore,
};

use crate::Made;
use crate::sqlite::fresh;

const NOW: i64 = 1_795_564_800_000_000;

async fn count(path: &Path) -> usize {
    let store = Sqlite::open(Options::at(path)).expect("a store");
    store.events(EventQuery { limit: 10_000, ..EventQuery::default() }).await.expect("a page").rows.len()
}

fn records(from: u128, count: u128) -> Vec<aviary_store::Record> {
    (from..from + count).map(|n| Made::new(n, i64::try_from(n).expect("small"), "10.0.0.1").record()).collect()
}

#[tokio::test]
async fn a_store_is_copied_while_it_is_written_and_put_back() {
    let (folder, store) = fresh();
    let (path, copy) = (folder.path().join("hub.db"), folder.path().join("copy.db"));
    store.take(records(0, 1000)).await.expect("taken");
    let store = Arc::new(store);
    let writing = {
        let store = Arc::clone(&store);
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move {
            for part in 0..20 {
                store.take(records(1000 + part * 100, 100)).await.expect("taken");
            }
        });
        tasks
    };
    let bytes = backup(&path, &copy).expect("a copy");
    assert_eq!(bytes, std::fs::metadata(&copy).expect("a file").len());
    assert_eq!(std::fs::metadata(&copy).expect("a file").permissions().mode() & 0o777, 0o600);
    writing.join_all().await;
    let report = check(&copy).expect("a report");
    assert_eq!(report.problems, [""; 0]);
    assert!((1000..=3000).contains(&report.events) && report.events.is_multiple_of(100), "{report:?}");
    assert_eq!(check(&path).expect("a report").events, 3000, "also while it is in use");
    let error = backup(&path, &copy).expect_err("it is there");
    assert!(matches!(error, UpkeepError::Exists { .. }), "{error}");
    let at = Timestamp::from_micros(NOW);
    let error = restore(&copy, &path, at).expect_err("in use");
    assert!(matches!(error, UpkeepError::Open(OpenError::InUse { .. })), "{error}");
    drop(Arc::into_inner(store).expect("the last"));
    let old = restore(&copy, &path, at).expect("put back").expect("one was there");
    assert_eq!(count(&old).await, 3000, "what was there is kept");
    assert_eq!(u64::try_from(count(&path).await).expect("small"), report.events);
    let elsewhere = folder.path().join("new.db");
    assert_eq!(restore(&copy, &elsewhere, at).expect("put back"), None);
    let store = Sqlite::open(Options::at(&elsewhere)).expect("a store");
    let query = EventQuery { text: Some("root".to_owned()), limit: 1, ..EventQuery::default() };
    assert_eq!(store.events(query).await.expect("a page").rows.len(), 1, "the index came along");
}

#[tokio::test]
async fn what_is_no_sound_store_is_not_put_back() {
    let (folder, store) = fresh();
    let path = folder.path().join("hub.db");
    store.take(records(0, 5000)).await.expect("taken");
    drop(store);
    let file = |name: &str| folder.path().join(name);
    let put = |copy: &Path| restore(copy, &path, Timestamp::from_micros(NOW)).expect_err("refused");
    assert!(matches!(put(&file("none")), UpkeepError::Missing { .. }));
    std::fs::write(file("text"), "no database at all, and longer than the header of one is ".repeat(20))
        .expect("written");
    assert!(matches!(put(&file("text")), UpkeepError::NoStore { .. }), "{}", put(&file("text")));
    std::fs::write(file("empty"), "").expect("written");
    assert!(matches!(put(&file("empty")), UpkeepError::NoStore { .. }), "{}", put(&file("empty")));
    let other = rusqlite::Connection::open(file("other")).expect("a database");
    other.execute_batch("CREATE TABLE events (row INTEGER)").expect("made");
    drop(other);
    assert!(matches!(put(&file("other")), UpkeepError::NoStore { .. }));
    let newer = file("newer");
    backup(&path, &newer).expect("a copy");
    let connection = rusqlite::Connection::open(&newer).expect("a database");
    connection.pragma_update(None, "user_version", 99).expect("written");
    drop(connection);
    assert!(matches!(put(&newer), UpkeepError::Newer { found: 99, .. }));
    assert!(matches!(backup(&newer, &file("x")), Err(UpkeepError::Newer { .. })));
    // Pages in the middle are overwritten.
    let broken = file("broken");
    backup(&path, &broken).expect("a copy");
    let mut bytes = std::fs::read(&broken).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 20_000].fill(0x5a);
    std::fs::write(&broken, bytes).expect("written");
    let error = put(&broken);
    assert!(matches!(error, UpkeepError::Damaged { .. }), "{error}");
    assert!(!check(&broken).expect("a report").problems.is_empty());
    // A copy that breaks off.
    let short = file("short");
    backup(&path, &short).expect("a copy");
    std::fs::OpenOptions::new().write(true).open(&short).expect("a file").set_len(100_000).expect("cut");
    assert!(matches!(put(&short), UpkeepError::Damaged { .. }), "{}", put(&short));
    assert_eq!(count(&path).await, 5000, "nothing was touched");
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_is_put_aside() {
    let (folder, store) = fresh();
    let (path, copy) = (folder.path().join("hub.db"), folder.path().join("copy.db"));
    store.take(records(0, 10)).await.expect("taken");
    backup(&path, &copy).expect("a copy");
    drop(store);
    std::fs::write(&path, "what a broken disk left").expect("written");
    let old = restore(&copy, &path, Timestamp::from_micros(NOW)).expect("put back").expect("one was there");
    assert_eq!(std::fs::read(old).expect("read"), b"what a broken disk left");
    assert_eq!(count(&path).await, 10);
}

#[tokio::test]
async fn a_file_of_the_first_layout_is_brought_up_to_date() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hub.db");
    let connection = rusqlite::Connection::open(&path).expect("a database");
    connection.execute_batch(include_str!("fixtures/layout-1.sql")).expect("filled");
    drop(connection);
    assert_eq!((check(&path).expect("a report").layout, check(&path).expect("a report").events), (1, 40));
    let store = Sqlite::open(Options::at(&path)).expect("a store");
    let found = |query: EventQuery| {
        let answer = store.events(EventQuery { limit: 100, ..query });
        async { answer.await.expect("a page").rows }
    };
    let all = found(EventQuery::default()).await;
    assert_eq!(all.len(), 40);
    assert!(all.is_sorted_by(|a, b| a.at >= b.at));
    let logins = found(EventQuery { kind: Some("login".to_owned()), ..EventQuery::default() }).await;
    assert_eq!(logins.len(), 22);
    let hidden = found(EventQuery { rule: Some("nessus".to_owned()), ..EventQuery::default() }).await;
    assert_eq!(hidden.len(), 1);
    let network = EventQuery { sources: Networks::parse("198.18.144.0/24"), ..EventQuery::default() };
    assert_eq!(found(network).await.len(), 6);
    let field = vec![("PASSWORD".to_owned(), "dragon93506".to_owned())];
    assert_eq!(found(EventQuery { fields: field, ..EventQuery::default() }).await.len(), 1);
    let sources = store.sources(SourceQuery { limit: 100, ..SourceQuery::default() }).await.expect("a page").rows;
    assert_eq!(sources.iter().map(|row| row.span.events).sum::<u64>(), 39, "all but the hidden one");
    let tried = CredentialQuery { limit: 100, ..CredentialQuery::default() };
    let tried = store.credentials(tried).await.expect("a page").rows;
    assert_eq!(tried.iter().map(|row| row.span.events).sum::<u64>(), 22);
    assert_eq!(store.documents("suppression").await.expect("an answer").len(), 1);
    assert!(store.incident(1).await.expect("an answer").is_some());
    // What is there is known by its id.
    let line = Made::new(1, 0, "10.0.0.1");
    let mut again = line.record();
    again.id = all[0].id;
    assert_eq!(store.take(vec![again]).await.expect("taken").fresh, [false]);
    drop(store);
    let report = check(&path).expect("a report");
    assert!(report.layout > 1);
    assert_eq!((report.events, report.incidents, report.problems.len()), (40, 1, 0));
}
