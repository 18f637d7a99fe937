//! Sensors: who is let in, what they are told to do, and what people are told of them.

use std::sync::Arc;

use aviary_hub::sensors::{Change, EnrolError, Fate, Invitation, Pace, PushError, Refused, Report, State, Touch};
use aviary_hub::{Authority, Hub};
use aviary_store::{IncidentQuery, Options, Sqlite};
use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use crate::now;

/// A hub with an authority. A turn waits for a second.
async fn open() -> (TempDir, Hub) {
    let folder = tempfile::tempdir().expect("a folder");
    let hub = again(&folder).await;
    (folder, hub)
}

async fn again(folder: &TempDir) -> Hub {
    let store = Sqlite::open(Options::at(folder.path().join("hub.db"))).expect("a store");
    let hub = Hub::new(Arc::new(store), now).await.expect("a hub");
    let authority = Authority::open(folder.path(), now()).expect("an authority");
    let pace = Pace { every: 100_000_000, deadline: 10_000_000, silent: 3_000_000 };
    hub.sensors().open(Arc::new(authority), true, pace, 90);
    hub
}

fn request() -> String {
    let params = CertificateParams::new(Vec::new()).expect("parameters");
    let request = params.serialize_request(&KeyPair::generate().expect("a key")).expect("a request");
    request.pem().expect("PEM")
}

async fn token(hub: &Hub) -> String {
    let expires = now().as_micros() + 1;
    let invitation =
        Invitation { group: "racks".to_owned(), site: "berlin".to_owned(), expires, ..Invitation::default() };
    hub.sensors().invite(&invitation, "anna").await.expect("a token")
}

/// Enrols and gives the certificate's SHA-256.
async fn enrolled(hub: &Hub, name: &str) -> String {
    let token = token(hub).await;
    hub.sensors().enrol(&token, name, &request()).await.expect("enrolled").issued.fingerprint
}

#[tokio::test]
async fn a_token_lets_one_sensor_in_once() {
    let (_folder, hub) = open().await;
    let sensors = hub.sensors();
    let word = token(&hub).await;
    let error = |result: Result<_, EnrolError>| result.map(|_: aviary_hub::sensors::Enrolled| ()).expect_err("refused");
    assert!(matches!(error(sensors.enrol(&word, "no name", &request()).await), EnrolError::Name { .. }));
    assert!(matches!(error(sensors.enrol(&word, "north", "no request").await), EnrolError::Request(_)));
    assert!(matches!(error(sensors.enrol("ave_00.00", "north", &request()).await), EnrolError::Token));
    let print = sensors.enrol(&word, "north", &request()).await.expect("enrolled").issued.fingerprint;
    assert!(matches!(error(sensors.enrol(&word, "south", &request()).await), EnrolError::Token), "it was used");
    let other = token(&hub).await;
    assert!(matches!(error(sensors.enrol(&other, "north", &request()).await), EnrolError::Taken { .. }));
    let source = sensors.by_certificate(&print).expect("a source");
    assert_eq!((source.sensor.as_str(), source.site.as_str()), ("north", "berlin"));
    assert_eq!(sensors.by_certificate("00"), None);
    let past = Invitation { expires: now().as_micros() - 1, ..Invitation::default() };
    let late = sensors.invite(&past, "anna").await.expect("a token");
    assert!(matches!(error(sensors.enrol(&late, "west", &request()).await), EnrolError::Token), "it has expired");
}

#[tokio::test]
async fn certificates_are_renewed_and_end_with_the_sensor_and_survive_the_hub() {
    let (folder, hub) = open().await;
    let first = enrolled(&hub, "north").await;
    let mut prints = vec![first];
    for _ in 0..2 {
        prints.push(hub.sensors().renew("north", &request()).await.expect("renewed").issued.fingerprint);
    }
    drop(hub);
    let hub = again(&folder).await;
    let known: Vec<bool> = prints.iter().map(|print| hub.sensors().by_certificate(print).is_some()).collect();
    assert_eq!(known, [false, true, true], "the last one, and the one before");
    assert!(hub.sensors().revoke("north", "anna").await.expect("revoked"));
    assert!(prints.iter().all(|print| hub.sensors().by_certificate(print).is_none()));
    assert_eq!(hub.sensors().turn("north", Report::default()).await.expect("an answer"), None);
    let back = enrolled(&hub, "north").await;
    assert!(hub.sensors().by_certificate(&back).is_some(), "it may come back under its name");
}

#[tokio::test]
async fn a_config_is_tried_by_a_sensor_that_detects_and_one_that_is_not_taken_ends_there() {
    let (_folder, hub) = open().await;
    let sensors = hub.sensors();
    enrolled(&hub, "north").await;
    let version = sensors.write_config("racks", "ftp.enabled = true\n".to_owned(), "anna").await.expect("written");
    assert_eq!((version.version, version.state), (1, Fate::Draft));
    let error = sensors.push("racks", 1, None, "anna").await.expect_err("nobody detects");
    assert!(matches!(error, PushError::Nobody { .. }));
    assert!(matches!(sensors.push("racks", 9, None, "anna").await, Err(PushError::Missing { version: 9, .. })));
    let turn = async |report: Report| sensors.turn("north", report).await.expect("an answer").expect("let in");
    assert!(turn(Report::default()).await.is_empty(), "nothing to do yet");
    assert_eq!(sensors.drill("north"), Some(true));
    let word = turn(Report::default()).await.drill.expect("a drill");
    // An event of the drill, as the sensor's reporter marks it.
    let line = format!(
        r#"{{"aviary": {{"drill": "{word}", "id": "01990000-0000-7000-8000-000000000001", "kind": "login", "seq": 1, "service": "ftp", "time": "2026-11-24T22:00:01.000000+00:00"}}, "logdata": {{}}, "logtype": 2000, "src_host": "127.0.0.1", "src_port": 4000}}"#
    );
    let source = aviary_hub::Source { sensor: "north".to_owned(), site: String::new(), nodes: Vec::new() };
    let words = hub.take(&source, &[&line]).await.expect("taken");
    let aviary_hub::Word::Accepted(id) = words[0] else { panic!("{words:?}") };
    assert_eq!(hub.store().event(id).await.expect("an answer").and_then(|row| row.hidden).as_deref(), Some("drill"));
    let touch = Touch { service: "ftp".to_owned(), address: String::new(), port: 21, source: 4000, error: None };
    let drill = Some(aviary_hub::sensors::Drilled { word, touches: vec![touch] });
    turn(Report { drill, ..Report::default() }).await;
    let watched = hub.watch();
    let seen = async {
        while sensors.one("north").expect("a sensor").state != State::Alive {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(sensors.push("racks", 1, None, "anna").await.expect("sent"), "north");
        assert!(matches!(sensors.push("racks", 1, None, "anna").await, Err(PushError::Busy { .. })));
        let order = turn(Report::default()).await.config.expect("a config");
        assert_eq!((order.id.as_str(), order.text.as_str()), ("racks/1", "ftp.enabled = true\n"));
        let refused = Some(Refused { config: order.id, why: "line 1".to_owned() });
        assert_eq!(turn(Report { refused, ..Report::default() }).await.config, None, "not again");
        loop {
            let config = sensors.config("racks").expect("a config");
            let found = config.find(1).expect("a version");
            if found.state == Fate::Failed {
                assert_eq!(found.why, "`north` did not take it: line 1");
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = watched => {}
        done = tokio::time::timeout(std::time::Duration::from_secs(60), seen) => done.expect("in time"),
    }
}

#[tokio::test]
async fn trouble_is_an_incident_that_is_closed_when_it_is_over_and_open_when_it_comes_again() {
    let (_folder, hub) = open().await;
    let change = |seconds: i64, before: State, state: State| Change {
        at: now().as_micros() + seconds * 1_000_000,
        before,
        state,
        why: "ftp on port 21 was touched and not reported".to_owned(),
    };
    let row = async || {
        let query = IncidentQuery { limit: 9, ..IncidentQuery::default() };
        let mut rows = hub.store().incidents(query).await.expect("a page").rows;
        assert_eq!(rows.len(), 1, "{rows:?}");
        rows.remove(0)
    };
    hub.tell_state("north", &change(0, State::Alive, State::Blind)).await.expect("told");
    let open = row().await;
    assert_eq!((open.state.word(), open.severity.word()), ("open", "high"));
    assert_eq!(open.incident.actor.to_string(), "sensor north (hub)");
    hub.tell_state("north", &change(60, State::Blind, State::Alive)).await.expect("told");
    let closed = row().await;
    assert_eq!((closed.state.word(), closed.incident.events), ("closed", 2));
    hub.tell_state("north", &change(120, State::Alive, State::Silent)).await.expect("told");
    assert_eq!(row().await.state.word(), "open");
}
