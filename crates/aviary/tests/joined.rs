//! The canary and the hub of `aviary up`.

use std::process::Stdio;

use aviary_store::{EventQuery, IncidentQuery, Options, Sqlite, Store as _};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::harness::{AVIARY, Site, free_port, redis, until};

/// `aviary up` with these arguments while somebody does something; what it printed. It is told to stop as by Ctrl-C.
fn up(site: &Site, arguments: &[&str], meanwhile: impl FnOnce()) -> String {
    let config = site.path("canary.conf").display().to_string();
    let out = site.path("out");
    let mut command = site.command(AVIARY, &[&["up", "--config", &config], arguments].concat());
    command.stdout(std::fs::File::create(&out).unwrap()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    until("a canary", || site.status());
    meanwhile();
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    assert!(until("its end", || child.try_wait().unwrap()).success());
    std::fs::read_to_string(out).unwrap()
}

fn names(site: &Site) -> Vec<String> {
    let status = site.status().unwrap();
    let outputs = status["outputs"].as_array().unwrap().clone();
    outputs.iter().map(|output| output["output"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_the_canary_reports_is_an_incident_of_its_hub() {
    let site = Site::new();
    let port = free_port();
    site.config(json!({"redis.enabled": true, "redis.port": port}));
    let any = ["--listen", "127.0.0.1:0"];
    let told = up(&site, &any, || {
        assert_eq!(names(&site), ["file", "hub (here)"]);
        redis(port, "first");
        site.redis_event("first");
        site.aviary(&["reload"]).good();
        assert_eq!(names(&site), ["file", "hub (here)"]);
        redis(port, "second");
        site.redis_event("second");
    });
    assert!(told.contains("console  https://127.0.0.1:") && told.contains("/console/#/setup/"), "{told}");
    let token = std::fs::read_to_string(site.path("state/hub/canary.token")).unwrap();
    // At the end, too, it takes all that there is; a second start joins with the same token.
    up(&site, &any, || {
        redis(port, "third");
        site.redis_event("third");
    });
    assert_eq!(std::fs::read_to_string(site.path("state/hub/canary.token")).unwrap(), token);
    let store = Sqlite::open(Options::at(site.path("state/hub/hub.db"))).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (events, incidents) = runtime.block_on(async {
        let events = store.events(EventQuery { limit: 1000, ..EventQuery::default() }).await.unwrap();
        (events, store.incidents(IncidentQuery { limit: 100, ..IncidentQuery::default() }).await.unwrap())
    });
    for password in ["first", "second", "third"] {
        assert!(events.rows.iter().any(|row| row.line.contains(password)), "{password}");
    }
    assert_eq!(incidents.rows.len(), 1, "one source, one incident");
}

#[test]
fn no_hub_starts_where_none_is_wanted() {
    let site = Site::new();
    let keys = json!({"redis.enabled": true, "redis.port": free_port()});
    site.config(keys.clone());
    let told = up(&site, &["--canary-only"], || assert_eq!(names(&site), ["file"]));
    assert!(!told.contains("console"), "{told}");
    let mut keys = keys;
    let hub = json!({"class": "aviary.hub", "url": "https://127.0.0.1:1", "token": "t"});
    keys["logger"] = site.logger(json!({"central": hub}));
    site.config(keys);
    let told = up(&site, &[], || assert_eq!(names(&site), ["file", "central"]));
    assert!(!told.contains("console"), "{told}");
    assert!(!site.path("state/hub").exists());
}

#[test]
fn an_output_that_is_called_hub_stays_what_it_is() {
    let site = Site::new();
    let mine = json!({"class": "logging.FileHandler", "filename": site.path("mine.log")});
    let logger = site.logger(json!({"hub": mine}));
    site.config(json!({"redis.enabled": true, "redis.port": free_port(), "logger": logger}));
    up(&site, &["--listen", "127.0.0.1:0"], || assert_eq!(names(&site), ["file", "hub", "hub (here)"]));
}

#[test]
fn a_hub_that_cannot_start_says_how_to_do_without() {
    let site = Site::new();
    let config = site.config(json!({"redis.enabled": true, "redis.port": free_port()}));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let said = site.aviary(&["up", "--config", config.to_str().unwrap(), "--listen", &listen]).bad();
    assert!(said.contains("--canary-only") && said.contains(&listen), "{said}");
    assert!(site.status().is_none());
}
