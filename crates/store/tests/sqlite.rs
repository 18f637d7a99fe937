//! What holds for the embedded store.

use std::time::Duration;

use aviary_event::Timestamp;
use aviary_store::{Document, EventQuery, IncidentQuery, OpenError, Options, Sqlite, Store, StoreError};
use serde_json::json;
use tempfile::TempDir;

use crate::Made;

/// An empty store in a folder of its own.
pub(crate) fn fresh() -> (TempDir, Sqlite) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Sqlite::open(Options::at(folder.path().join("hub.db"))).expect("a store");
    (folder, store)
}

#[tokio::test]
async fn everything_is_there_after_a_restart_and_goes_on() {
    let (folder, store) = fresh();
    store.take(vec![Made::new(1, 0, "10.0.0.1").record()]).await.expect("taken");
    let second = Sqlite::open(Options::at(folder.path().join("hub.db"))).expect_err("held");
    assert!(matches!(second, OpenError::InUse { .. }), "{second}");
    drop(store);
    let store = Sqlite::open(Options::at(folder.path().join("hub.db"))).expect("a store");
    let again = store.take(vec![Made::new(1, 0, "10.0.0.1").record(), Made::new(2, 9, "10.0.0.1").record()]);
    assert_eq!(again.await.expect("taken").fresh, [false, true]);
    let page = store.incidents(IncidentQuery { limit: 9, ..IncidentQuery::default() }).await.expect("a page");
    assert_eq!(page.rows.iter().map(|row| row.incident.events).collect::<Vec<_>>(), [2]);
}

#[tokio::test]
async fn a_newer_layout_and_a_file_that_is_none_are_refused() {
    let (folder, store) = fresh();
    let path = folder.path().join("hub.db");
    drop(store);
    let connection = rusqlite::Connection::open(&path).expect("a database");
    connection.pragma_update(None, "user_version", 99).expect("written");
    drop(connection);
    let error = Sqlite::open(Options::at(&path)).expect_err("newer");
    assert!(matches!(error, OpenError::Newer { found: 99, .. }), "{error}");
    std::fs::write(&path, "no database at all, and longer than the header of one is").expect("written");
    let error = Sqlite::open(Options::at(&path)).expect_err("no database");
    assert!(matches!(error, OpenError::Sqlite { .. }), "{error}");
}

#[tokio::test]
async fn a_search_that_takes_too_long_ends_and_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options { patience: Duration::ZERO, ..Options::at(folder.path().join("hub.db")) };
    let store = Sqlite::open(options).expect("a store");
    let records = (1..9000).map(|number| Made { user: "x", ..Made::new(number, 0, "10.0.0.1") }.record());
    store.take(records.collect()).await.expect("taken");
    // All of one moment, just before which the search ends: the one question that looks at events in vain.
    let slow = EventQuery { until: Some(aviary_event::Timestamp::from_micros(0)), limit: 1, ..EventQuery::default() };
    let error = store.events(slow).await.expect_err("too slow");
    assert!(matches!(error, StoreError::TooSlow { .. }), "{error}");
    assert!(store.document("sensor", "none").await.is_ok(), "the connection is of use again");
}

#[tokio::test]
async fn many_at_once_lose_nothing() {
    let (_folder, store) = fresh();
    let store = std::sync::Arc::new(store);
    let mut tasks = tokio::task::JoinSet::new();
    for part in 0..50_u128 {
        let store = std::sync::Arc::clone(&store);
        tasks.spawn(async move {
            let sources = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
            let record =
                |n: u128| Made::new(part * 20 + n, i64::try_from(n).expect("small"), sources[(n % 3) as usize]);
            store.take((0..20).map(|n| record(n).record()).collect()).await.expect("taken").fresh.len()
        });
    }
    let counts = tasks.join_all().await;
    assert_eq!(counts.iter().sum::<usize>(), 1000);
    let page = store.incidents(IncidentQuery { limit: 9, ..IncidentQuery::default() }).await.expect("a page");
    assert_eq!(page.rows.iter().map(|row| row.incident.events).sum::<u64>(), 1000);
    assert_eq!(page.rows.len(), 3);
}

#[tokio::test]
async fn a_full_disk_takes_nothing_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options { largest: Some(1 << 20), ..Options::at(folder.path().join("hub.db")) };
    let store = std::sync::Arc::new(Sqlite::open(options.clone()).expect("a store"));
    let sources = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
    let batch = |part: u128| {
        (0..200).map(|n| Made::new(part * 200 + n, 0, sources[(n % 3) as usize]).record()).collect::<Vec<_>>()
    };
    let mut taken = Vec::new();
    let mut full = 0;
    // Several at a time, so that some share a transaction with the one that does not fit.
    for round in 0..20_u128 {
        let mut tasks = tokio::task::JoinSet::new();
        for part in (round * 4)..(round * 4 + 4) {
            let (store, records) = (std::sync::Arc::clone(&store), batch(part));
            tasks.spawn(async move { (part, store.take(records).await) });
        }
        for (part, answer) in tasks.join_all().await {
            match answer {
                Ok(answer) => {
                    assert!(answer.fresh.iter().all(|fresh| *fresh));
                    taken.push(part);
                }
                Err(StoreError::Full { .. }) => full += 1,
                Err(other) => panic!("not told as full: {other}"),
            }
        }
    }
    assert!(!taken.is_empty() && full > 0, "{} taken, {full} not", taken.len());
    let document = Document { kind: "sensor".to_owned(), key: "x".repeat(1 << 20), version: 0, body: json!({}) };
    let put = store.put(document, "test".to_owned(), Timestamp::from_micros(0)).await;
    assert!(matches!(put, Err(StoreError::Full { .. })), "{put:?}");
    // With room again it goes on, and has what it answered for and nothing else.
    drop(std::sync::Arc::into_inner(store).expect("the last"));
    let store = Sqlite::open(Options { largest: None, ..options }).expect("a store");
    for part in 0..80_u128 {
        let answer = store.take(batch(part)).await.expect("taken");
        let fresh = !taken.contains(&part);
        assert!(answer.fresh.iter().all(|one| *one == fresh), "batch {part} is there in part");
    }
    let page = store.incidents(IncidentQuery { limit: 9, ..IncidentQuery::default() }).await.expect("a page");
    assert_eq!(page.rows.iter().map(|row| row.incident.events).sum::<u64>(), 80 * 200);
}

#[tokio::test]
async fn what_waits_is_bounded_and_who_comes_then_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options { backlog: 100_000, ..Options::at(folder.path().join("hub.db")) };
    let store = Sqlite::open(options).expect("a store");
    let batch = |part: u128| (0..500).map(|n| Made::new(part * 500 + n, 0, "10.0.0.1").record()).collect::<Vec<_>>();
    // Each is larger than what may wait, so one is taken, and the others as far as the writer keeps up.
    let answers: Vec<_> = (0..50).map(|part| store.take(batch(part))).collect();
    let (mut taken, mut busy) = (0, 0);
    for answer in answers {
        match answer.await {
            Ok(_) => taken += 1,
            Err(StoreError::Busy) => busy += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(taken > 0 && busy > 0, "{taken} taken, {busy} not");
    store.take(batch(99)).await.expect("there is room again");
}
