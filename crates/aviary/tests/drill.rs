//! `aviary drill` against a running canary.

use serde_json::json;

use crate::harness::{Site, free_port};
use crate::receiver::{Manner, Receiver};

#[test]
fn proves_every_service_and_output_with_a_table() {
    let site = Site::new();
    let hook = free_port();
    let receiver = Receiver::on(hook, Manner::Status(200));
    let mut keys = json!({"logger": site.logger(json!({"hook": Receiver::handler(hook)}))});
    let services = ["ftp", "http", "https", "redis", "ssh", "telnet", "git"];
    for service in services {
        keys[format!("{service}.enabled")] = json!(true);
        keys[format!("{service}.port")] = json!(free_port());
    }
    keys["tcpbanner.enabled"] = json!(true);
    keys["tcpbanner_1.enabled"] = json!(true);
    keys["tcpbanner_1.port"] = json!(free_port());
    site.config(keys);
    let _canary = site.start();
    let table = site.aviary(&["drill", "--wait", "25"]).good();
    for service in services.iter().chain(&["tcpbanner_1"]) {
        let row = table.lines().find(|line| line.split_whitespace().next() == Some(service));
        assert!(row.is_some_and(|row| row.ends_with("reported")), "{service}: {table}");
    }
    assert!(table.contains("the receiver took all 8") && table.contains("all 8 stand in"), "{table}");
    assert!(receiver.events().len() >= 8);
}

#[test]
fn fails_when_an_event_did_not_arrive() {
    let site = Site::new();
    site.config(json!({
        "redis.enabled": true, "redis.port": free_port(),
        "logger": site.logger(json!({"hook": Receiver::handler(free_port())})),
    }));
    let _canary = site.start();
    let table = site.aviary(&["drill", "--wait", "2"]).bad();
    assert!(table.contains("did not deliver") && table.contains("reported"), "{table}");
}

#[test]
fn fails_when_a_touch_is_not_reported() {
    let site = Site::new();
    site.config(json!({
        "redis.enabled": true, "redis.port": free_port(), "ip.ignorelist": ["127.0.0.0/8"],
    }));
    let _canary = site.start();
    let table = site.aviary(&["drill", "--wait", "2"]).bad();
    assert!(table.contains("ip.ignorelist"), "{table}");
    assert!(site.aviary(&["drill", "--service", "no-such"]).bad().contains("there are redis"));
}
