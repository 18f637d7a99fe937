//! What holds for every store.

use aviary_event::{Severity, Timestamp};
use aviary_insight::{Actor, Fact, Stage};
use aviary_store::{
    AuditQuery, AuditRow, Decision, Document, EventQuery, IncidentQuery, Networks, PutError, Record, State, Store,
    StoreError,
};
use serde_json::json;
use uuid::Uuid;

use crate::sqlite::fresh;
use crate::{Made, SECOND};

async fn take(store: &impl Store, records: impl IntoIterator<Item = Made>) -> aviary_store::Taken {
    let records: Vec<Record> = records.into_iter().map(|made| made.record()).collect();
    store.take(records).await.expect("taken")
}

/// The numbers of the events that a query finds.
async fn found(store: &impl Store, query: EventQuery) -> Vec<u128> {
    let page = store.events(EventQuery { limit: 100, ..query }).await.expect("a page");
    page.rows.iter().map(|row| row.id.as_u128()).collect()
}

async fn incidents(store: &impl Store) -> Vec<(i64, String, u64)> {
    let page = store.incidents(IncidentQuery { limit: 100, ..IncidentQuery::default() }).await.expect("a page");
    page.rows.iter().map(|row| (row.number, row.incident.actor.to_string(), row.incident.events)).collect()
}

#[tokio::test]
async fn an_event_is_taken_once_however_often_it_comes() {
    let (_folder, store) = fresh();
    let first = take(&store, [Made::new(1, 0, "10.0.0.1"), Made::new(1, 0, "10.0.0.1")]).await;
    assert_eq!(first.fresh, [true, false]);
    let again = take(&store, [Made::new(2, 1, "10.0.0.1"), Made::new(1, 0, "10.0.0.1")]).await;
    assert_eq!((again.fresh, again.changed.len()), (vec![true, false], 1));
    assert_eq!(incidents(&store).await, [(1, "10.0.0.1".to_owned(), 2)]);
    let nothing = take(&store, [Made::new(2, 1, "10.0.0.1")]).await;
    assert_eq!((nothing.fresh, nothing.changed.len()), (vec![false], 0));
}

#[tokio::test]
async fn the_line_is_kept_as_it_came() {
    let (_folder, store) = fresh();
    take(&store, [Made::new(7, 0, "10.0.0.1")]).await;
    let row = store.event(Uuid::from_u128(7)).await.expect("an answer").expect("the event");
    assert_eq!(row.line, Made::new(7, 0, "10.0.0.1").record().line);
    assert_eq!((row.stage, row.hidden), (Some(Stage::LoginAttempt), None));
    assert_eq!(store.event(Uuid::from_u128(8)).await.expect("an answer"), None);
}

#[tokio::test]
async fn searches_find_what_they_ask_for_and_nothing_else() {
    let (_folder, store) = fresh();
    let mut hidden = Made::new(5, 50, "10.0.0.1").record();
    hidden.hidden = Some("nessus".to_owned());
    let with =
        |number, user| Made { user, ..Made::new(number, 10 * i64::try_from(number).expect("small"), "10.0.0.1") };
    let others = [
        Made { source: "10.0.0.12", ..with(1, "admin") },
        Made { source: "2001:db8::1", ..with(2, "root admin") },
        Made { logtype: 5001, sensor: "south", ..with(3, "x") },
        Made { source: "::ffff:10.0.0.1", ..with(4, "O'Brien \\\" OR 1=1") },
    ];
    take(&store, others).await;
    store.take(vec![hidden]).await.expect("taken");
    let query = EventQuery::default;
    let from = |text: &str| Some(Networks::parse(text).expect("a network"));
    assert_eq!(found(&store, query()).await, [5, 4, 3, 2, 1]);
    assert_eq!(found(&store, EventQuery { sources: from("10.0.0.1"), ..query() }).await, [5, 4, 3]);
    assert_eq!(found(&store, EventQuery { sources: from("10.0.0.0/24"), ..query() }).await, [5, 4, 3, 1]);
    assert_eq!(found(&store, EventQuery { sources: from("2001:db8::/32"), ..query() }).await, [2]);
    assert_eq!(found(&store, EventQuery { destinations: from("10.9.0.12"), ..query() }).await, [0; 0]);
    assert_eq!(found(&store, EventQuery { sensor: Some("south".to_owned()), ..query() }).await, [3]);
    assert_eq!(found(&store, EventQuery { logtype: Some(5001), ..query() }).await, [3]);
    assert_eq!(found(&store, EventQuery { stage: Some(Stage::Probe), ..query() }).await, [5, 4, 2, 1]);
    assert_eq!(found(&store, EventQuery { kind: Some("scan".to_owned()), ..query() }).await, [3]);
    assert_eq!(found(&store, EventQuery { text: Some("ADMIN".to_owned()), ..query() }).await, [2, 1]);
    assert_eq!(found(&store, EventQuery { text: Some("root admin".to_owned()), ..query() }).await, [2]);
    assert_eq!(found(&store, EventQuery { text: Some("\" OR (NOT* : ^".to_owned()), ..query() }).await, [0; 0]);
    let field = |text: &str| EventQuery { fields: vec![("USERNAME".to_owned(), text.to_owned())], ..query() };
    assert_eq!(found(&store, field("admin")).await, [1]);
    assert_eq!(found(&store, EventQuery { hidden: Some(true), ..query() }).await, [5]);
    assert_eq!(found(&store, EventQuery { hidden: Some(false), ..query() }).await, [4, 3, 2, 1]);
    assert_eq!(found(&store, EventQuery { rule: Some("nessus".to_owned()), ..query() }).await, [5]);
    let at = |seconds: i64| Some(Timestamp::from_micros(seconds * SECOND));
    assert_eq!(found(&store, EventQuery { since: at(20), until: at(40), ..query() }).await, [3, 2]);
}

#[tokio::test]
async fn pages_follow_each_other_though_events_come_in_between() {
    let (_folder, store) = fresh();
    // Many of one moment, so that the moment alone is no place to go on from.
    take(&store, (1..=25).map(|number| Made::new(number, i64::try_from(number / 10).expect("small"), "10.0.0.1")))
        .await;
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = store.events(EventQuery { after, limit: 4, ..EventQuery::default() }).await.expect("a page");
        seen.extend(page.rows.iter().map(|row| row.id.as_u128()));
        let newer = 1000 + u128::try_from(seen.len()).expect("small");
        take(&store, [Made::new(newer, 1000, "10.0.0.1")]).await;
        let Some(next) = page.next else { break };
        after = aviary_store::Cursor::from_text(&next.to_text());
    }
    assert_eq!(seen, (1..=25).rev().collect::<Vec<u128>>());
}

#[tokio::test]
async fn what_is_hidden_makes_no_incident() {
    let (_folder, store) = fresh();
    let mut hidden = Made::new(1, 0, "10.0.0.1").record();
    hidden.hidden = Some("nessus".to_owned());
    assert_eq!(store.take(vec![hidden]).await.expect("taken").changed, []);
    assert_eq!(incidents(&store).await, []);
}

#[tokio::test]
async fn a_pause_that_a_late_event_closes_makes_one_of_two_with_the_smaller_number() {
    let (_folder, store) = fresh();
    take(&store, [Made::new(1, 0, "10.0.0.1"), Made::new(2, 6000, "10.0.0.1"), Made::new(3, 0, "10.0.0.12")]).await;
    assert_eq!(incidents(&store).await.len(), 3);
    let decision = Decision {
        state: Some(State::Acknowledged),
        by: "anna".to_owned(),
        text: "looking".to_owned(),
        at: Timestamp::from_micros(0),
    };
    store.decide(2, decision).await.expect("decided");
    let taken = take(&store, [Made::new(4, 3000, "10.0.0.1")]).await;
    assert_eq!((taken.changed[0].now.number, taken.changed[0].absorbed.as_slice()), (1, &[2][..]));
    assert_eq!(incidents(&store).await, [(1, "10.0.0.1".to_owned(), 3), (3, "10.0.0.12".to_owned(), 1)]);
    let old = store.incident(2).await.expect("an answer").expect("the incident");
    assert_eq!(
        (old.number, old.state, old.notes.len()),
        (1, State::Open, 1),
        "one of them is open, and nothing is lost"
    );
}

#[tokio::test]
async fn a_closed_incident_opens_again_for_something_new_only() {
    let (_folder, store) = fresh();
    take(&store, [Made::new(1, 0, "10.0.0.1")]).await;
    let close = |number| Decision {
        state: Some(State::Closed),
        by: "anna".to_owned(),
        text: format!("the intern, {number}"),
        at: Timestamp::from_micros(number),
    };
    let closed = store.decide(1, close(1)).await.expect("decided");
    assert_eq!((closed.state, closed.notes.len()), (State::Closed, 1));
    take(&store, [Made { user: "admin", ..Made::new(2, 1, "10.0.0.1") }]).await;
    assert_eq!(store.incident(1).await.expect("an answer").expect("the incident").state, State::Closed);
    let taken = take(&store, [Made { sensor: "south", ..Made::new(3, 2, "10.0.0.1") }]).await;
    assert_eq!(taken.changed[0].now.state, State::Open);
    store.decide(1, close(2)).await.expect("decided");
    store.told(1, vec![Fact::Sensor("west".to_owned())]).await.expect("noted");
    let taken = take(&store, [Made { sensor: "west", ..Made::new(4, 3, "10.0.0.1") }]).await;
    assert_eq!(taken.changed[0].now.state, State::Closed, "that one was told already");
    let error = store.decide(99, close(3)).await.expect_err("there is none");
    assert!(matches!(error, StoreError::Missing { .. }), "{error}");
}

#[tokio::test]
async fn incidents_are_asked_for_by_state_severity_and_actor() {
    let (_folder, store) = fresh();
    let scan = Made { logtype: 5001, ..Made::new(1, 0, "10.0.0.1") };
    take(&store, [scan, Made::new(2, 10, "10.0.0.12"), Made::new(3, 20, "2001:db8::1")]).await;
    let numbers = |query: IncidentQuery| {
        let store = &store;
        async move {
            let page = store.incidents(IncidentQuery { limit: 10, ..query }).await.expect("a page");
            page.rows.iter().map(|row| row.number).collect::<Vec<i64>>()
        }
    };
    let query = IncidentQuery::default;
    assert_eq!(numbers(query()).await, [3, 2, 1]);
    assert_eq!(numbers(IncidentQuery { severity: Some(Severity::High), ..query() }).await, [3, 2]);
    assert_eq!(numbers(IncidentQuery { actor: Actor::new("10.0.0.1", "", "north"), ..query() }).await, [1]);
    assert_eq!(numbers(IncidentQuery { state: Some(State::Closed), ..query() }).await, [0; 0]);
    assert_eq!(numbers(IncidentQuery { since: Some(Timestamp::from_micros(10 * SECOND)), ..query() }).await, [3, 2]);
    let first = store.incidents(IncidentQuery { limit: 2, ..query() }).await.expect("a page");
    assert_eq!(numbers(IncidentQuery { after: first.next, ..query() }).await, [1]);
}

#[tokio::test]
async fn a_document_is_not_written_over_what_somebody_else_wrote() {
    let (_folder, store) = fresh();
    let at = Timestamp::from_micros(0);
    let new = |version, text: &str| Document {
        kind: "suppression".to_owned(),
        key: "nessus".to_owned(),
        version,
        body: json!({ "reason": text }),
    };
    let put = |document| store.put(document, "anna".to_owned(), at);
    let first = put(new(0, "one")).await.expect("done").expect("written");
    assert_eq!(first.version, 1);
    assert_eq!(put(new(0, "two")).await.expect("done"), Err(PutError::Conflict { now: 1 }));
    assert_eq!(put(new(1, "two")).await.expect("done").expect("written").version, 2);
    let there = store.document("suppression", "nessus").await.expect("an answer").expect("the document");
    assert_eq!((there.version, &there.body), (2, &json!({"reason": "two"})));
    assert_eq!(store.documents("suppression").await.expect("an answer"), [there]);
    assert_eq!(store.documents("sensor").await.expect("an answer"), []);
    let remove = |document| store.remove(document, "anna".to_owned(), at);
    assert_eq!(remove(new(1, "")).await.expect("done"), Err(PutError::Conflict { now: 2 }));
    assert_eq!(remove(new(2, "")).await.expect("done"), Ok(()));
    assert_eq!(store.document("suppression", "nessus").await.expect("an answer"), None);
    assert_eq!(remove(new(0, "")).await.expect("done"), Err(PutError::Conflict { now: 0 }));
}

#[tokio::test]
async fn old_events_go_and_evidence_stays() {
    let (_folder, store) = fresh();
    let scan = |number, seconds, source| Made { logtype: 5001, ..Made::new(number, seconds, source) };
    take(
        &store,
        [scan(1, 0, "10.0.0.1"), scan(2, 1, "10.0.0.2"), Made::new(3, 2, "10.0.0.3"), scan(4, 9000, "10.0.0.1")],
    )
    .await;
    for number in [1, 3] {
        let decision = Decision {
            state: Some(State::Closed),
            by: "anna".to_owned(),
            text: "done".to_owned(),
            at: Timestamp::from_micros(0),
        };
        store.decide(number, decision).await.expect("decided");
    }
    assert_eq!(expire(&store, 5000).await, 1, "2 belongs to an open incident, 3 was grave");
    assert_eq!(found(&store, EventQuery::default()).await, [4, 3, 2]);
    assert_eq!(found(&store, EventQuery { text: Some("root".to_owned()), ..EventQuery::default() }).await, [4, 3, 2]);
}

#[tokio::test]
async fn the_audit_log_says_who_changed_what_from_what_to_what() {
    let (_folder, store) = fresh();
    let new = |key: &str, version, body| Document { kind: "person".to_owned(), key: key.to_owned(), version, body };
    let at = |seconds: i64| Timestamp::from_micros(seconds * SECOND);
    let put = |document, by: &str, seconds| store.put(document, by.to_owned(), at(seconds));
    put(new("bert", 0, json!({"role": "viewer"})), "anna", 1).await.expect("done").expect("written");
    put(new("carl", 0, json!({"role": "admin"})), "anna", 2).await.expect("done").expect("written");
    put(new("bert", 1, json!({"role": "admin"})), "anna", 3).await.expect("done").expect("written");
    put(new("bert", 1, json!({})), "eve", 4).await.expect("done").expect_err("too late");
    store.keep(new("bert", 2, json!({"seen": 1}))).await.expect("done").expect("written");
    assert_eq!(store.keep(new("bert", 2, json!({}))).await.expect("done"), Err(PutError::Conflict { now: 3 }));
    store.remove(new("bert", 3, json!(null)), "carl".to_owned(), at(5)).await.expect("done").expect("removed");
    assert_eq!(store.forget(new("carl", 9, json!(null))).await.expect("done"), Err(PutError::Conflict { now: 1 }));
    assert_eq!(store.forget(new("carl", 1, json!(null))).await.expect("done"), Ok(()));
    assert_eq!(store.documents("person").await.expect("a list"), []);
    put(new("bert", 0, json!({"role": "viewer"})), "carl", 6).await.expect("done").expect("written");
    let page = |query: AuditQuery| {
        let store = &store;
        async move { store.audit(AuditQuery { limit: 2, ..query }).await.expect("a page") }
    };
    let told = |rows: &[AuditRow]| -> Vec<String> {
        let text = |value: &Option<serde_json::Value>| value.as_ref().map_or("-".to_owned(), ToString::to_string);
        let one = |row: &AuditRow| {
            let (before, after) = (text(&row.before), text(&row.after));
            format!("{} {} {} {before} {after} {}", row.by, row.change.word(), row.key, row.at.as_seconds())
        };
        rows.iter().map(one).collect()
    };
    let first = page(AuditQuery::default()).await;
    let admin = r#"{"role":"admin"}"#;
    let viewer = r#"{"role":"viewer"}"#;
    assert_eq!(
        told(&first.rows),
        [format!("carl created bert - {viewer} 6"), format!("carl removed bert {admin} - 5")],
        "what was there before it was removed is not before it was made again"
    );
    let second = page(AuditQuery { after: first.next, ..AuditQuery::default() }).await;
    assert_eq!(
        told(&second.rows),
        [format!("anna changed bert {viewer} {admin} 3"), format!("anna created carl - {admin} 2")]
    );
    let third = page(AuditQuery { after: second.next, ..AuditQuery::default() }).await;
    assert_eq!((told(&third.rows), third.next), (vec![format!("anna created bert - {viewer} 1")], None));
    assert_eq!(page(AuditQuery { by: Some("carl".to_owned()), ..AuditQuery::default() }).await.rows.len(), 2);
    assert_eq!(page(AuditQuery { kind: Some("token".to_owned()), ..AuditQuery::default() }).await.rows.len(), 0);
}

#[tokio::test]
async fn events_are_in_order_of_time_however_they_come() {
    let (_folder, store) = fresh();
    // Backwards, each batch late, and in one moment more than a microsecond has room for.
    for part in (0..4).rev() {
        let records = (0..50).map(|n| Made::new(part * 100 + n, i64::try_from(part).expect("small"), "10.0.0.1"));
        take(&store, records.rev()).await;
    }
    let page = store.events(EventQuery { limit: 1000, ..EventQuery::default() }).await.expect("a page");
    let times: Vec<i64> = page.rows.iter().map(|row| row.at.as_micros() / SECOND).collect();
    assert_eq!(times.len(), 200);
    assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
    let at = |seconds: i64| Some(Timestamp::from_micros(seconds * SECOND));
    for text in [None, Some("root".to_owned())] {
        let query = EventQuery { since: at(1), until: at(3), text, limit: 1000, ..EventQuery::default() };
        let page = store.events(query).await.expect("a page");
        assert!(page.rows.iter().all(|row| (SECOND..3 * SECOND).contains(&row.at.as_micros())));
        assert_eq!(page.rows.len(), 100);
    }
}

#[tokio::test]
async fn networks_of_any_width_find_what_is_in_them() {
    let (_folder, store) = fresh();
    let sources = ["10.0.0.1", "10.0.1.200", "10.128.0.1", "200.0.0.1", "2001:db8::1", "2001:db8:0:1::1", "fd00::1"];
    let records = sources.iter().enumerate().map(|(number, source)| {
        let number = u128::try_from(number).expect("small");
        Made::new(number, i64::try_from(number).expect("small"), source)
    });
    take(&store, records).await;
    let all: Vec<u128> = (0..7).rev().collect();
    for (network, expected) in [
        ("10.0.0.0/31", &[0][..]),
        ("10.0.0.0/25", &[0]),
        ("10.0.0.128/25", &[]),
        ("10.0.0.0/23", &[1, 0]),
        ("10.0.0.0/9", &[1, 0]),
        ("10.0.0.0/8", &[2, 1, 0]),
        ("0.0.0.0/1", &[2, 1, 0]),
        ("128.0.0.0/1", &[3]),
        ("0.0.0.0/0", &[3, 2, 1, 0]),
        ("2001:db8::/127", &[4]),
        ("2001:db8::/64", &[4]),
        ("2001:db8::/63", &[5, 4]),
        ("2001:db8::/50", &[5, 4]),
        ("2000::/3", &[5, 4]),
        ("fc00::/7", &[6]),
        ("8000::/1", &[6]),
        ("::/0", &all),
    ] {
        let query = EventQuery { sources: Networks::parse(network), ..EventQuery::default() };
        assert_eq!(found(&store, query).await, expected, "{network}");
    }
    let decoy = EventQuery { destinations: Networks::parse("10.9.0.0/16"), ..EventQuery::default() };
    assert_eq!(found(&store, decoy).await, all);
}

#[tokio::test]
async fn any_member_of_logdata_is_searched_in_by_its_value() {
    let (_folder, store) = fresh();
    let with = |number: u128, logdata: &str| {
        let mut record = Made::new(number, i64::try_from(number).expect("small"), "10.0.0.1").record();
        record.line = format!(r#"{{"logtype": 1, "logdata": {logdata}}}"#);
        let event = aviary_event::Event::parse(&record.line).expect("an event");
        record.words = aviary_insight::words(&event.logdata);
        record.fields = aviary_insight::fields(&event.logdata);
        record
    };
    let long = "long word ".repeat(100);
    let records = vec![
        with(1, r#"{"USERNAME": "root", "PASSWORD": "toor"}"#),
        with(2, r#"{"USERNAME": "toor", "PASSWORD": "root"}"#),
        with(3, r#"{"COUNT": 22, "SIGNED": true, "a.b": "dot", "q": "it's \"quoted\""}"#),
        with(4, &format!(r#"{{"BODY": "{long}"}}"#)),
    ];
    store.take(records).await.expect("taken");
    for (key, value, expected) in [
        ("USERNAME", "root", &[1][..]),
        ("PASSWORD", "root", &[2]),
        ("USERNAME", "Root", &[]),
        ("username", "root", &[]),
        ("COUNT", "22", &[3]),
        ("SIGNED", "true", &[3]),
        ("a.b", "dot", &[3]),
        ("q", "it's \"quoted\"", &[3]),
        ("BODY", &long, &[4]),
        ("NONE", "", &[]),
    ] {
        let fields = vec![(key.to_owned(), value.to_owned())];
        assert_eq!(found(&store, EventQuery { fields, ..EventQuery::default() }).await, expected, "{key}={value}");
    }
    let both = ["root", "toor"].map(|text| text.to_owned());
    let fields = vec![("USERNAME".to_owned(), both[0].clone()), ("PASSWORD".to_owned(), both[1].clone())];
    assert_eq!(found(&store, EventQuery { fields, ..EventQuery::default() }).await, [1]);
    // Whoever sends the text of a tag is not found by it.
    let forged = with(5, "{\"USERNAME\": \"\u{e000}a8vpijr7e125b8\"}");
    store.take(vec![forged]).await.expect("taken");
    let query = EventQuery { sensor: Some("foobar".to_owned()), ..EventQuery::default() };
    assert_eq!(found(&store, query).await, [0; 0]);
}

/// Removes what is older than some seconds, step by step; gives how many events went.
async fn expire(store: &impl Store, seconds: i64) -> u64 {
    let (mut removed, mut from) = (0, None);
    loop {
        let step = store.expire(Timestamp::from_micros(seconds * SECOND), from).await.expect("done");
        removed += step.removed;
        from = step.next;
        if from.is_none() {
            return removed;
        }
    }
}

#[tokio::test]
async fn evidence_holds_up_nothing_that_is_behind_it() {
    let (_folder, store) = fresh();
    // More evidence than one step looks at, and behind it what nobody needs.
    let evidence = (0..6000).map(|number| Made::new(number, 0, "10.0.0.1"));
    take(&store, evidence).await;
    let mut hidden = Made::new(9000, 1, "10.0.0.2").record();
    hidden.hidden = Some("nessus".to_owned());
    let word = Made { source: "scanner.example", ..Made::new(9001, 2, "") };
    store.take(vec![hidden, word.record()]).await.expect("taken");
    take(&store, [Made::new(9002, 99, "10.0.0.2")]).await;
    assert_eq!(expire(&store, 50).await, 1, "only the hidden one: the others belong to open incidents");
    assert_eq!(expire(&store, 50).await, 0);
    store.decide(2, Decision { state: None, ..crate::closed() }).await.expect("noted");
    assert_eq!(store.size().await.expect("an answer").oldest, Some(Timestamp::from_micros(0)));
}

#[tokio::test]
async fn sums_go_with_what_they_counted() {
    let (_folder, store) = fresh();
    let scan = |number, seconds, source| Made { logtype: 5001, ..Made::new(number, seconds, source) };
    take(&store, [scan(1, 0, "10.0.0.1"), scan(2, 1, "10.0.0.2"), scan(3, 9000, "10.0.0.2")]).await;
    let query = || aviary_store::SourceQuery { limit: 9, ..aviary_store::SourceQuery::default() };
    for number in [1, 2] {
        store.decide(number, crate::closed()).await.expect("decided");
    }
    assert_eq!(expire(&store, 7200).await, 2);
    let rows = store.sources(query()).await.expect("a page").rows;
    let left: Vec<_> = rows.iter().map(|row| (row.actor.to_string(), row.span.events)).collect();
    assert_eq!(left, [("10.0.0.2".to_owned(), 2)], "what is still seen keeps its sums");
    let overview =
        aviary_store::OverviewQuery { new: Timestamp::from_micros(0), trend: Timestamp::from_micros(0), top: 5 };
    assert_eq!(store.overview(overview).await.expect("an answer").trend.len(), 1);
    let size = store.size().await.expect("an answer");
    assert_eq!(size.oldest, Some(Timestamp::from_micros(9000 * SECOND)));
    assert!(size.bytes > 0);
}
