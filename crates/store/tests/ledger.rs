//! The ledger of deliveries and what rules hid, for every store.

use aviary_event::{Severity, Timestamp};
use aviary_insight::{Fact, news};
use aviary_store::{Decided, Delivery, DeliveryQuery, Draft, Fate, Record, Settled, Sqlite, Store};

use crate::sqlite::fresh;
use crate::{Made, SECOND};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * SECOND)
}

fn draft(channel: &str, due: i64, sensor: &str) -> Draft {
    Draft {
        into: None,
        policy: "all".to_owned(),
        channel: channel.to_owned(),
        severity: Severity::High,
        fate: Fate::Waiting,
        due: at(due),
        facts: vec![Fact::Sensor(sensor.to_owned())],
    }
}

async fn take(store: &Sqlite, made: impl IntoIterator<Item = Made>) {
    let records: Vec<Record> = made.into_iter().map(|made| made.record()).collect();
    store.take(records).await.expect("taken");
}

/// Notes what is to be told of an incident.
async fn tell(store: &Sqlite, number: i64, drafts: Vec<Draft>, seconds: i64) {
    let decided = vec![Decided { number, facts: Vec::new(), drafts }];
    store.alert(decided, at(seconds)).await.expect("noted");
}

async fn ledger(store: &Sqlite) -> Vec<Delivery> {
    let query = DeliveryQuery { limit: 100, ..DeliveryQuery::default() };
    store.deliveries(query).await.expect("a page").rows
}

/// Decides on all there is, without telling anybody.
async fn decide(store: &Sqlite, drafts: Vec<Draft>) {
    for row in store.undecided(100).await.expect("an answer") {
        let facts = news(&row.incident.facts, &row.told);
        let decided = vec![Decided { number: row.number, facts, drafts: drafts.clone() }];
        store.alert(decided, at(5)).await.expect("noted");
    }
}

#[tokio::test]
async fn an_incident_is_undecided_until_it_is_decided_and_when_it_learns_something() {
    let (_folder, store) = fresh();
    take(&store, [Made::new(1, 0, "10.0.0.1"), Made::new(2, 0, "10.0.0.12")]).await;
    assert_eq!(store.undecided(100).await.expect("an answer").len(), 2);
    assert_eq!(store.undecided(1).await.expect("an answer").len(), 1);
    decide(&store, vec![draft("ops", 7, "north")]).await;
    assert_eq!(store.undecided(100).await.expect("an answer").len(), 0);
    take(&store, [Made::new(3, 1, "10.0.0.1")]).await;
    assert_eq!(store.undecided(100).await.expect("an answer").len(), 0, "a further guess is no news");
    take(&store, [Made { sensor: "south", ..Made::new(4, 2, "10.0.0.1") }]).await;
    let undecided = store.undecided(100).await.expect("an answer");
    assert_eq!(undecided.iter().map(|row| row.number).collect::<Vec<_>>(), [1]);
    assert_eq!(ledger(&store).await.len(), 2);
    tell(&store, 77, vec![draft("ops", 7, "x")], 5).await;
    assert_eq!(ledger(&store).await.len(), 2, "nothing is told of what is not there");
}

#[tokio::test]
async fn what_is_told_of_two_incidents_that_become_one_stays_told() {
    let (_folder, store) = fresh();
    take(&store, [Made::new(1, 0, "10.0.0.1"), Made::new(2, 5000, "10.0.0.1")]).await;
    decide(&store, vec![draft("ops", 7, "north")]).await;
    assert_eq!(ledger(&store).await.iter().map(|row| row.incident).collect::<Vec<_>>(), [2, 1]);
    take(&store, [Made::new(3, 2500, "10.0.0.1")]).await;
    assert_eq!(ledger(&store).await.iter().map(|row| row.incident).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(store.undecided(100).await.expect("an answer").len(), 0);
}

#[tokio::test]
async fn a_row_takes_in_what_is_new_until_it_is_over() {
    let (_folder, store) = fresh();
    take(&store, [Made::new(1, 0, "10.0.0.1")]).await;
    decide(&store, vec![draft("ops", 7, "north")]).await;
    let row = ledger(&store).await[0].row;
    let more = |sensor| Draft { into: Some(row), severity: Severity::Critical, ..draft("ops", 9, sensor) };
    tell(&store, 1, vec![more("north"), more("south")], 6).await;
    let rows = ledger(&store).await;
    let facts = ["north", "south"].map(|sensor| Fact::Sensor(sensor.to_owned()));
    assert_eq!(
        (rows.len(), &rows[0].facts[..], rows[0].due, rows[0].severity),
        (1, &facts[..], at(9), Severity::Critical)
    );
    let done = |fate, tried| Settled { row, fate, due: at(20), tried, answer: "said".to_owned() };
    store.settle(vec![done(Fate::OverBudget, None)]).await.expect("noted");
    let put_off = &ledger(&store).await[0];
    assert_eq!((put_off.attempts, put_off.tried, put_off.answer.as_str()), (0, None, ""));
    store.settle(vec![done(Fate::Delivered, Some(at(21)))]).await.expect("noted");
    store.settle(vec![done(Fate::Failed, Some(at(22)))]).await.expect("noted");
    tell(&store, 1, vec![more("west")], 23).await;
    let rows = ledger(&store).await;
    assert_eq!((rows.len(), rows[1].fate, rows[1].attempts), (2, Fate::Delivered, 1), "what is over stays so");
    assert_eq!(rows[0].facts, [Fact::Sensor("west".to_owned())], "and what comes after has a row of its own");
    assert_eq!(store.open_deliveries().await.expect("an answer").len(), 1);
}

#[tokio::test]
async fn a_message_counts_once_and_a_dead_channel_hides_no_other() {
    let (_folder, store) = fresh();
    take(&store, [Made::new(1, 0, "10.0.0.1")]).await;
    let dead = (0..300).map(|n| draft("dead", n, "north"));
    let ops = ["a", "b", "c"].map(|sensor| draft("ops", 1, sensor));
    tell(&store, 1, dead.chain(ops).collect(), 0).await;
    let open = store.open_deliveries().await.expect("an answer");
    assert_eq!((open.len(), open.iter().filter(|row| row.channel == "ops").count()), (203, 3));
    let ops: Vec<i64> = open.iter().filter(|row| row.channel == "ops").map(|row| row.row).collect();
    let done = |row, fate, seconds| Settled { row, fate, due: at(0), tried: Some(at(seconds)), answer: String::new() };
    let settled =
        vec![done(ops[0], Fate::Digested, 10), done(ops[1], Fate::Digested, 10), done(ops[2], Fate::Delivered, 30)];
    store.settle(settled).await.expect("noted");
    assert_eq!(store.sent("ops", at(0)).await.expect("an answer"), [at(10), at(30)]);
    assert_eq!(store.sent("ops", at(11)).await.expect("an answer"), [at(30)]);
    let query = DeliveryQuery { channel: Some("ops".to_owned()), tried: true, limit: 2, ..DeliveryQuery::default() };
    let page = store.deliveries(query.clone()).await.expect("a page");
    assert_eq!(page.rows.iter().map(|row| row.row).collect::<Vec<_>>(), [ops[2], ops[1]], "the latest try first");
    let rest = store.deliveries(DeliveryQuery { after: page.next, ..query }).await.expect("a page");
    assert_eq!(rest.rows.iter().map(|row| row.row).collect::<Vec<_>>(), [ops[0]]);
    store.expire(at(1), None).await.expect("removed");
    assert_eq!(ledger(&store).await.len(), 100, "a full page of what is not over");
    assert_eq!(store.sent("ops", at(0)).await.expect("an answer").len(), 0);
}

#[tokio::test]
async fn hits_are_counted_once_and_outlive_the_events() {
    let (_folder, store) = fresh();
    let hidden = |number: u128, rule: &str| {
        let mut record = Made::new(number, i64::try_from(number).expect("small"), "10.0.0.1").record();
        record.hidden = Some(rule.to_owned());
        record
    };
    store.take(vec![hidden(1, "a"), hidden(2, "a"), hidden(3, "b")]).await.expect("taken");
    store.take(vec![hidden(2, "a"), hidden(4, "a")]).await.expect("taken");
    let counts = |hits: Vec<aviary_store::Hits>| hits.into_iter().map(|hit| (hit.rule, hit.events)).collect::<Vec<_>>();
    let expected = [("a".to_owned(), 3), ("b".to_owned(), 1)];
    assert_eq!(counts(store.hits().await.expect("an answer")), expected);
    assert_eq!(store.expire(at(1000), None).await.expect("removed").removed, 4);
    assert_eq!(counts(store.hits().await.expect("an answer")), expected);
    assert_eq!(store.undecided(100).await.expect("an answer").len(), 0, "what is hidden is no incident");
}
