//! Lines in, words and incidents out.

mod alerts;
mod embedded;
mod people;
mod retention;
mod sensors;
mod ways;

use std::sync::Arc;

use aviary_event::Timestamp;
use aviary_hub::{Hub, News, Refusal, Source, Word};
use aviary_store::{Document, EventQuery, IncidentQuery, Options, Sqlite};
use serde_json::json;
use tempfile::TempDir;

/// 2026-11-25T00:00:00Z
pub(crate) fn now() -> Timestamp {
    Timestamp::parse_rfc3339("2026-11-25T00:00:00Z").expect("a time")
}

async fn fresh() -> (TempDir, Hub) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Sqlite::open(Options::at(folder.path().join("hub.db"))).expect("a store");
    (folder, Hub::new(Arc::new(store), now).await.expect("a hub"))
}

fn north() -> Source {
    Source { sensor: "north".to_owned(), site: String::new(), nodes: vec!["north-1".to_owned()] }
}

/// A line as OpenCanary 0.9.10 writes it.
fn foreign(source: &str, time: &str) -> String {
    format!(
        r#"{{"dst_host": "10.9.0.1", "dst_port": 21, "local_time": "{time}", "local_time_adjusted": "{time}",
        "logdata": {{"PASSWORD": "hunter2", "USERNAME": "root"}}, "logtype": 2000, "node_id": "north-1",
        "src_host": "{source}", "src_port": 49152, "utc_time": "{time}"}}"#
    )
}

#[tokio::test]
async fn a_line_of_opencanary_is_an_event_and_an_incident_and_comes_once() {
    let (_folder, hub) = fresh().await;
    let line = foreign("10.0.0.1", "2026-11-24 23:59:58.250000");
    let mut news = hub.feed().listen();
    let first = hub.take(&north(), &[&line]).await.expect("taken");
    let Word::Accepted(id) = first[0] else { panic!("{first:?}") };
    assert_eq!(hub.take(&north(), &[&line]).await.expect("taken"), [Word::Duplicate(id)]);
    let stored = hub.store().event(id).await.expect("an answer").expect("the event");
    assert_eq!((stored.line.as_str(), stored.at.as_micros()), (line.as_str(), now().as_micros() - 1_750_000));
    assert!(matches!(news.try_recv(), Ok(News::Event(record)) if record.id == id));
    assert!(matches!(news.try_recv(), Ok(News::Incident(changed)) if changed.born));
    assert!(news.try_recv().is_err(), "a repetition is no news");
    let query = EventQuery { text: Some("hunter2".to_owned()), limit: 5, ..EventQuery::default() };
    assert_eq!(hub.store().events(query).await.expect("a page").rows.len(), 1);
}

#[tokio::test]
async fn a_bad_line_says_why_and_holds_up_no_other() {
    let (_folder, hub) = fresh().await;
    let deep = format!(r#"{{"logdata": {}{}}}"#, "[".repeat(5000), "]".repeat(5000));
    let good = foreign("10.0.0.1", "2026-11-24 12:00:00.000000");
    let long = format!(r#"{{"logdata": "{}"}}"#, "x".repeat(1 << 20));
    let lines: Vec<Vec<u8>> = vec![
        b"{".to_vec(),
        good.clone().into_bytes(),
        b"[1]".to_vec(),
        deep.into_bytes(),
        long.into_bytes(),
        b"{\"logtype\": \"4002\"}".to_vec(),
        b"\xff\xfe".to_vec(),
        good.replace("north-1", "south-1").into_bytes(),
        foreign("10.0.0.1", "2026-11-26 00:00:01.000000").into_bytes(),
        br#"{"logtype": 987654, "new_key": {"a": 1}, "logdata": null, "src_host": "10.0.0.9"}"#.to_vec(),
    ];
    let words = hub.take(&north(), &lines).await.expect("taken");
    let said: Vec<String> = words
        .iter()
        .map(|word| match word {
            Word::Accepted(_) => "accepted".to_owned(),
            Word::Duplicate(_) => "duplicate".to_owned(),
            Word::Refused(why) => why.to_string(),
        })
        .collect();
    assert_eq!(said[0], "not JSON");
    assert_eq!((said[1].as_str(), said[9].as_str()), ("accepted", "accepted"), "a log type that nobody knows is taken");
    assert_eq!(said[2], "not a JSON object");
    assert_eq!(said[3], "nested too deep; accepted: up to 127 levels");
    assert!(said[4].starts_with("the line has 1048"), "{}", said[4]);
    assert_eq!(said[5], "`logtype` is not a number");
    assert_eq!(words[6], Word::Refused(Refusal::NotText));
    assert_eq!(said[7], "`node_id` is `south-1`, which is not one of this credential's: north-1");
    assert!(said[8].starts_with("the event is of 2026-11-26T00:00:01"), "{}", said[8]);
    let page = hub.store().incidents(IncidentQuery { limit: 9, ..IncidentQuery::default() }).await.expect("a page");
    assert_eq!(page.rows.len(), 2, "both accepted ones made an incident");
}

#[tokio::test]
async fn a_rule_hides_from_incidents_and_not_from_the_store() {
    let (_folder, hub) = fresh().await;
    let body =
        json!({"sources": ["10.0.0.1"], "owner": "anna", "reason": "scanner", "expires": "2027-01-01T00:00:00Z"});
    let rule = Document { kind: "suppression".to_owned(), key: "nessus".to_owned(), version: 0, body };
    hub.store().put(rule, "anna".to_owned(), now()).await.expect("done").expect("written");
    hub.reload().await.expect("read");
    let lines = ["10.0.0.1", "10.0.0.12"].map(|source| foreign(source, "2026-11-24 12:00:00.000000"));
    hub.take(&north(), &lines).await.expect("taken");
    let page = hub.store().incidents(IncidentQuery { limit: 9, ..IncidentQuery::default() }).await.expect("a page");
    let actors: Vec<String> = page.rows.iter().map(|row| row.incident.actor.to_string()).collect();
    assert_eq!(actors, ["10.0.0.12"]);
    let query = EventQuery { rule: Some("nessus".to_owned()), limit: 5, ..EventQuery::default() };
    assert_eq!(hub.store().events(query).await.expect("a page").rows.len(), 1);
}
