//! What holds for the embedded store.

use std::time::Duration;

use aviary_store::{EventQuery, IncidentQuery, OpenError, Options, Sqlite, Store, StoreError};
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
