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
    for output in ["file", "hook"] {
        let row = table.lines().find(|line| line.split_whitespace().next() == Some(output)).unwrap_or_default();
        assert!(row.contains("delivered in ") && row.ends_with(" ms"), "{output}: {table}");
    }
}

#[test]
fn each_output_is_sent_a_test_past_its_routes_and_its_answer_counts() {
    let site = Site::new();
    let (hook, refusing) = (free_port(), free_port());
    let (receiver, _refusing) = (Receiver::on(hook, Manner::Status(200)), Receiver::on(refusing, Manner::Status(410)));
    let never = json!({"services": "no-such", "lifecycle": false});
    let mut handlers = json!({"hook": Receiver::handler(hook), "gone": Receiver::handler(refusing)});
    for name in ["hook", "gone"] {
        handlers[name]["when"] = never.clone();
        handlers[name]["rate"] = json!("1/d");
    }
    handlers["isc"] = json!({"class": "aviary.dshield", "userid": 7, "auth_key": "k", "server": "http://127.0.0.1:9",
                             "when": never});
    let keys = |handlers: serde_json::Value| json!({"redis.enabled": true, "redis.port": free_port(), "logger": site.logger(handlers)});
    site.config(keys(handlers.clone()));
    let canary = site.start();
    let table = site.aviary(&["drill", "--wait", "25"]).bad();
    let row = |name: &str| table.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    assert!(row("hook").contains("delivered in "), "{table}");
    assert!(row("gone").contains("not delivered: ") && row("gone").contains("410"), "{table}");
    assert!(row("isc").contains("not tested: a test is nobody's visit"), "{table}");
    let tests = receiver.events();
    assert!(matches!(&tests[..], [one] if one["logtype"] == 30013), "{tests:?}");
    assert_eq!(tests[0]["logdata"]["TEXT"], "a test by `aviary drill`: nothing happened");
    canary.stop();
    // Without the one that fails, all is proven.
    handlers.as_object_mut().unwrap().remove("gone");
    site.config(keys(handlers));
    let _canary = site.start();
    site.aviary(&["drill", "--wait", "25"]).good();
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

#[test]
fn every_service_of_opencanarys_file_runs_from_it_and_is_proven() {
    let shipped = include_str!("../../config/fixtures/opencanary-0.9.10-settings.json");
    let mut keys: serde_json::Map<String, serde_json::Value> = serde_json::from_str(shipped).expect("JSON");
    keys.retain(|key, _| key != "logger" && key != "device.node_id");
    let services: Vec<String> = keys.keys().filter_map(|key| key.strip_suffix(".enabled")).map(str::to_owned).collect();
    for service in services.iter().map(String::as_str).chain(["mongodb"]) {
        // The banner's keys that end so are no services.
        if !service.contains('.') {
            keys.insert(format!("{service}.enabled"), json!(true));
            keys.insert(format!("{service}.port"), json!(free_port()));
        }
    }
    for no_port in ["portscan.port", "tcpbanner.port", "llmnr.port"] {
        keys.remove(no_port);
    }
    // What speaks first speaks to nobody here.
    keys.insert("llmnr.interfaces".to_owned(), json!(["lo"]));
    let site = Site::new();
    site.config(keys.into());
    let _canary = site.start();
    let table = site.aviary(&["drill", "--wait", "20"]).either();
    let rows: Vec<&str> = table.lines().filter(|line| line.ends_with("reported")).collect();
    for service in services.iter().map(String::as_str).chain(["mongodb"]) {
        // These have no port to be touched at, or none of their own.
        if service.contains('.') || ["llmnr", "portscan", "tcpbanner"].contains(&service) {
            continue;
        }
        assert!(rows.iter().any(|row| row.split_whitespace().next() == Some(service)), "{service}:\n{table}");
    }
    let status = site.aviary(&["status"]).either();
    assert!(status.lines().any(|line| line.starts_with("llmnr") && line.contains("asking")), "{status}");
    let scans = status.lines().find(|line| line.starts_with("portscan")).unwrap_or_default();
    assert!(scans.contains("watching") || scans.contains("CAP_NET_RAW"), "{status}");
}
