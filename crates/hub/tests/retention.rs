//! What is kept, and how long.

use std::time::Duration;

use aviary_hub::{Hub, Keep, retain_once};
use aviary_store::{Decision, EventQuery, IncidentQuery, State};

use super::{foreign, fresh, north, now};

/// Scans of an hour, a few minutes apart, so many hours ago; a source an hour.
async fn scans(hub: &Hub, hours: i64) {
    let lines: Vec<String> = (0..50)
        .map(|number| {
            let at = now().as_micros() - hours * 3_600_000_000 + number * 60_000_000;
            let at = aviary_event::Timestamp::from_micros(at).to_opencanary(&jiff::tz::TimeZone::UTC);
            foreign(&format!("10.0.{hours}.1"), &at).replace("\"logtype\": 2000", "\"logtype\": 5001")
        })
        .collect();
    hub.take(&north(), &lines).await.expect("taken");
}

async fn close_all(hub: &Hub) {
    let page = hub.store().incidents(IncidentQuery { limit: 100, ..IncidentQuery::default() }).await.expect("a page");
    for row in page.rows {
        let text = "done".to_owned();
        let decision = Decision { state: Some(State::Closed), by: "anna".to_owned(), text, at: now() };
        hub.store().decide(row.number, decision).await.expect("decided");
    }
}

async fn left(hub: &Hub) -> usize {
    let query = EventQuery { limit: 10_000, ..EventQuery::default() };
    hub.store().events(query).await.expect("a page").rows.len()
}

#[tokio::test]
async fn what_is_too_old_goes() {
    let (_folder, hub) = fresh().await;
    for hours in [2, 30, 60] {
        scans(&hub, hours).await;
    }
    let day = Keep { age: Some(Duration::from_secs(24 * 3600)), bytes: None };
    assert_eq!(retain_once(&hub, day).await.expect("done"), 0, "evidence of open incidents");
    close_all(&hub).await;
    assert_eq!(retain_once(&hub, Keep::default()).await.expect("done"), 0, "nothing is asked for");
    assert_eq!(retain_once(&hub, day).await.expect("done"), 100);
    assert_eq!(left(&hub).await, 50);
    assert_eq!(retain_once(&hub, day).await.expect("done"), 0);
}

#[tokio::test]
async fn what_is_too_much_goes_from_the_oldest_on() {
    let (_folder, hub) = fresh().await;
    for hours in 2..40 {
        scans(&hub, hours).await;
    }
    close_all(&hub).await;
    let before = hub.store().size().await.expect("an answer");
    let keep = Keep { age: None, bytes: Some(before.bytes * 3 / 4) };
    let removed = retain_once(&hub, keep).await.expect("done");
    let after = hub.store().size().await.expect("an answer");
    assert!(after.bytes <= before.bytes * 3 / 4, "{before:?} {after:?}");
    assert!(removed > 0 && left(&hub).await > 0, "{removed} removed, {} left", left(&hub).await);
    assert!(after.oldest > before.oldest);
    // However full it is, the last hour and evidence stay.
    scans(&hub, 1).await;
    scans(&hub, 50).await;
    retain_once(&hub, Keep { age: None, bytes: Some(1) }).await.expect("done");
    assert_eq!(left(&hub).await, 100, "the last hour, and what is open");
}
