//! The page of metrics and health, where privileges and disks matter; `tests/clients/outputs_metrics.py` has the rest.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::json;

use crate::harness::{OPENCANARYD, Site, connect, free_port, is_root, redis};

const NOBODY: &str = "65534";

/// Status and body of an answer.
pub(crate) fn get(mut stream: impl std::io::Read + std::io::Write, path: &str) -> (u16, String) {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.take(1 << 20).read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, body.to_owned())
}

/// The value of a metric without labels, or with exactly these, written as on the page.
fn value(page: &str, metric: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn a_socket_in_roots_folder_belongs_to_whom_the_canary_becomes() {
    if !is_root("a_socket_in_roots_folder_belongs_to_whom_the_canary_becomes") {
        return;
    }
    let site = Site::new();
    let port = free_port();
    let folder = site.path("run");
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("metrics.sock");
    let place = format!("unix:{}", path.display());
    let keys = json!({"redis.enabled": true, "redis.port": port, "aviary.metrics.listen": place});
    std::fs::rename(site.config(keys), site.path("home/.opencanary.conf")).unwrap();
    let flags = ["--dev", &format!("--uid={NOBODY}"), &format!("--gid={NOBODY}")];
    let canary = site.start_by(site.command(OPENCANARYD, &flags));
    assert_eq!(canary.status()["metrics"]["state"], "listening");
    let socket = std::fs::metadata(&path).unwrap();
    assert_eq!((socket.uid(), socket.gid(), socket.mode() & 0o777), (65534, 65534, 0o660));
    assert!(redis(port, "x").starts_with('-'));
    site.redis_event("x");
    let (status, page) = get(UnixStream::connect(&path).unwrap(), "/metrics");
    assert_eq!(status, 200, "{page}");
    let logins = "aviary_events_total{service=\"redis\",logtype=\"17001\",kind=\"command\"}";
    assert_eq!(value(&page, logins), Some(1.0), "{page}");
    // What the system says of the process, it says to the user, too.
    for metric in ["process_open_fds", "process_resident_memory_bytes", "process_threads"] {
        assert!(value(&page, metric).is_some_and(|value| value > 0.0), "{metric}: {page}");
    }
    assert_eq!(get(UnixStream::connect(&path).unwrap(), "/health").0, 200);
    canary.stop();
}

#[test]
fn a_port_that_is_taken_leaves_the_canary_running_and_says_so() {
    let site = Site::new();
    let (port, taken) = (free_port(), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let place = taken.local_addr().unwrap().to_string();
    site.config(json!({"redis.enabled": true, "redis.port": port, "aviary.metrics.listen": place}));
    let canary = site.start();
    let metrics = &canary.status()["metrics"];
    assert_eq!((&metrics["listen"], &metrics["state"]), (&json!(place), &json!("failed")));
    assert!(site.aviary(&["status"]).out().contains("metrics: not served at"));
    drop(taken);
    assert!(site.aviary(&["reload"]).good().contains(&format!("metrics are served at {place}")));
    assert!(site.aviary(&["status"]).good().contains(&format!("metrics: served at {place}")));
    assert!(redis(port, "x").starts_with('-'));
    let stream = connect(place.rsplit(':').next().unwrap().parse().unwrap());
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(get(stream, "/health/live").0, 200);
    canary.stop();
}
