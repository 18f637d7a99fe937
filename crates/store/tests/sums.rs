//! Sums, in every store.

use std::collections::BTreeMap;
use std::net::IpAddr;

use aviary_event::{Severity, Timestamp};
use aviary_insight::{Actor, Credential, Fact, Stage};
use aviary_store::{
    CredentialQuery, Networks, OverviewQuery, Record, SourceQuery, SourceRow, SourceStory, Store, Whose,
};

use crate::sqlite::fresh;
use crate::{Made, SECOND};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * SECOND)
}

fn credential(user: &str, password: &str) -> Credential {
    Credential { username: user.into(), password: password.into() }
}

/// The event of a login with a password.
fn login(made: Made, password: &str) -> Record {
    let user = made.user;
    let mut record = made.record();
    record.sighting.as_mut().expect("a source").tried = Some(credential(user, password));
    record
}

async fn story(store: &impl Store, address: &str) -> Option<SourceStory> {
    let address: IpAddr = address.parse().expect("an address");
    store.source(Whose { address, realm: None, limit: 10 }).await.expect("an answer")
}

async fn sources(store: &impl Store, query: SourceQuery) -> Vec<SourceRow> {
    store.sources(SourceQuery { limit: 10, ..query }).await.expect("a page").rows
}

/// Events of two sources on two sensors, some of them twice and one hidden.
async fn filled(store: &impl Store) {
    let mut hidden = Made::new(9, 8000, "10.0.0.3").record();
    hidden.hidden = Some("nessus".to_owned());
    let mut print = login(Made::new(3, 7100, "10.0.0.1"), "toor");
    let facts = &mut print.sighting.as_mut().expect("a source").facts;
    facts.push(Fact::Fingerprint("hassh:0123".to_owned()));
    let records = [
        login(Made::new(1, 10, "10.0.0.1"), "root"),
        login(Made { sensor: "south", ..Made::new(2, 3599, "10.0.0.1") }, "root"),
        print,
        login(Made::new(4, 20, "2001:db8::7"), "root"),
        Made { logtype: 5001, ..Made::new(5, 30, "10.0.0.12") }.record(),
        hidden,
    ];
    store.take(records.to_vec()).await.expect("taken");
    store.take(records.to_vec()).await.expect("taken");
}

#[tokio::test]
async fn each_event_counts_once_in_every_sum() {
    let (_folder, store) = fresh();
    filled(&store).await;
    let story = story(&store, "::ffff:10.0.0.1").await.expect("known");
    let row = &story.row;
    assert_eq!((row.span.first, row.span.last, row.span.events), (at(10), at(7100), 3));
    assert_eq!((row.incidents, row.severity), (1, Some(Severity::High)));
    assert_eq!(
        (row.services.as_slice(), row.sensors.as_slice()),
        (&["ssh".to_owned()][..], &["north".to_owned(), "south".to_owned()][..])
    );
    assert_eq!(row.credentials, 2);
    assert_eq!(story.timeline, [(at(0), 2), (at(3600), 1)]);
    assert_eq!(story.fingerprints, ["hassh:0123"]);
    let tried: Vec<_> = story.credentials.iter().map(|tried| (tried.credential.clone(), tried.span.events)).collect();
    assert_eq!(tried, [(credential("root", "root"), 2), (credential("root", "toor"), 1)]);
    assert_eq!((story.credentials[0].span.first, story.credentials[0].span.last), (at(10), at(3599)));
    assert_eq!(self::story(&store, "10.0.0.3").await, None, "what is hidden is no source");
    assert_eq!(self::story(&store, "10.0.0.99").await, None);
}

#[tokio::test]
async fn the_overview_is_of_its_time() {
    let (_folder, store) = fresh();
    filled(&store).await;
    let overview = |new, trend| {
        let query = OverviewQuery { new: at(new), trend: at(trend), top: 2 };
        let answer = store.overview(query);
        async { answer.await.expect("an answer") }
    };
    let all = overview(0, 0).await;
    assert_eq!(all.open, BTreeMap::from([(Severity::Low, 1), (Severity::High, 2)]));
    assert_eq!(all.new, 3);
    let hour = |login, scan| {
        let stages = [(Stage::LoginAttempt, login), (Stage::Scan, scan)];
        stages.into_iter().filter(|(_, events)| *events > 0).collect::<BTreeMap<_, u64>>()
    };
    assert_eq!(all.trend, [(at(0), hour(3, 1)), (at(3600), hour(1, 0))]);
    assert_eq!(all.services, [("ssh".to_owned(), 5)]);
    let actor = |source| Actor::new(source, "", "").expect("an actor");
    assert_eq!(all.sources, [(actor("10.0.0.1"), 3), (actor("10.0.0.12"), 1)]);
    let heard: Vec<_> = all.sensors.iter().map(|heard| (heard.sensor.as_str(), heard.span.events)).collect();
    assert_eq!(heard, [("north", 5), ("south", 1)], "the hidden one, too");
    assert_eq!(all.sensors[0].span.last, at(8000));
    let late = overview(25, 3600).await;
    assert_eq!((late.new, late.trend.len()), (1, 1));
    assert_eq!((late.services, late.sources), (vec![("ssh".to_owned(), 1)], vec![(actor("10.0.0.1"), 3)]));
    store.decide(1, crate::closed()).await.expect("decided");
    assert_eq!(overview(0, 0).await.open, BTreeMap::from([(Severity::Low, 1), (Severity::High, 1)]));
}

#[tokio::test]
async fn sources_are_listed_by_when_they_were_seen_last() {
    let (_folder, store) = fresh();
    filled(&store).await;
    let names = |rows: &[SourceRow]| rows.iter().map(|row| row.actor.to_string()).collect::<Vec<_>>();
    let query = SourceQuery::default;
    assert_eq!(names(&sources(&store, query()).await), ["10.0.0.1", "10.0.0.12", "2001:db8::7"]);
    let network = |text| SourceQuery { network: Networks::parse(text), ..query() };
    assert_eq!(names(&sources(&store, network("10.0.0.1")).await), ["10.0.0.1"]);
    assert_eq!(names(&sources(&store, network("10.0.0.0/28")).await), ["10.0.0.1", "10.0.0.12"]);
    assert_eq!(names(&sources(&store, network("2001:db8::/32")).await), ["2001:db8::7"]);
    assert_eq!(
        names(&sources(&store, SourceQuery { since: Some(at(30)), ..query() }).await),
        ["10.0.0.1", "10.0.0.12"]
    );
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = store.sources(SourceQuery { after, limit: 1, ..query() }).await.expect("a page");
        seen.extend(names(&page.rows));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["10.0.0.1", "10.0.0.12", "2001:db8::7"]);
}

#[tokio::test]
async fn credentials_are_listed_by_count_or_by_time() {
    let (_folder, store) = fresh();
    filled(&store).await;
    let mut telnet = login(Made { user: "admin", ..Made::new(20, 9000, "10.0.0.1") }, "\u{202e}x");
    telnet.service = Some("telnet".to_owned());
    let mut odd = login(Made { user: "a", ..Made::new(21, 9001, "10.0.0.1") }, "");
    odd.sighting.as_mut().expect("a source").tried = Some(Credential { username: vec![0xff, 0], password: Vec::new() });
    store.take(vec![telnet, odd]).await.expect("taken");
    let list = |query: CredentialQuery| {
        let answer = store.credentials(CredentialQuery { limit: 10, ..query });
        async {
            let rows = answer.await.expect("a page").rows;
            rows.into_iter().map(|row| (row.credential.password, row.span.events, row.sources)).collect::<Vec<_>>()
        }
    };
    let password = |text: &str, events, sources| (text.as_bytes().to_vec(), events, sources);
    let all = list(CredentialQuery::default()).await;
    assert_eq!(all[0], password("root", 3, 2));
    assert_eq!(all.len(), 4);
    let latest = list(CredentialQuery { latest: true, ..CredentialQuery::default() }).await;
    assert_eq!(
        latest,
        [password("", 1, 1), password("\u{202e}x", 1, 1), password("toor", 1, 1), password("root", 3, 2)]
    );
    let service = |service: &str| CredentialQuery { service: Some(service.to_owned()), ..CredentialQuery::default() };
    assert_eq!(list(service("telnet")).await, [password("\u{202e}x", 1, 1)]);
    assert_eq!(list(service("ftp")).await, []);
    let since = CredentialQuery { since: Some(at(7100)), ..CredentialQuery::default() };
    assert_eq!(list(since).await.len(), 3);
    for latest in [false, true] {
        for service in [None, Some("ssh".to_owned())] {
            for since in [None, Some(at(0))] {
                let whole = CredentialQuery { latest, since, service: service.clone(), limit: 10, after: None };
                let rows = store.credentials(whole.clone()).await.expect("a page").rows;
                let mut seen = Vec::new();
                let mut after = None;
                loop {
                    let query = CredentialQuery { after, limit: 1, ..whole.clone() };
                    let page = store.credentials(query).await.expect("a page");
                    seen.extend(page.rows);
                    after = page.next;
                    if after.is_none() {
                        break;
                    }
                }
                assert_eq!(seen, rows, "{whole:?}");
            }
        }
    }
}
