//! What every output in `ALL` must do. A new one gets its options here and all checks for free.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use aviary_outputs::{ALL, FORESEEN, by_class};
use serde_json::{Value, json};

use crate::bench::{Setup, deliver, events, odd_events, temporary};

/// Options that suffice, for a destination inside `folder` that takes whatever comes or, when
/// `absent`, for one that is not there.
fn minimal(name: &str, folder: &Path, absent: bool) -> Value {
    let file = if absent { folder.join("no/such/folder/x.log") } else { folder.join(format!("{name}.log")) };
    match name {
        "clickhouse" | "elasticsearch" => json!({"url": "http://127.0.0.1:9", "timeout": 2}),
        "gelf" => json!({"address": ["127.0.0.1", 9]}),
        "splunk" => json!({"url": "http://127.0.0.1:9", "token": "t", "timeout": 2}),
        "structured_syslog" => json!({"address": ["127.0.0.1", 9]}),
        "console" => json!({"stream": "ext://sys.stderr"}),
        "email" => json!({"mailhost": "127.0.0.1:9", "fromaddr": "a@b.example", "toaddrs": ["c@d.example"]}),
        "file" | "rotating_file" | "timed_file" => json!({"filename": file}),
        "datagram" | "socket" => json!({"host": folder.join("absent.sock")}),
        "hpfeeds" => json!({"host": "127.0.0.1", "port": 9, "ident": "i", "secret": "s", "channels": ["c"]}),
        "exec" => {
            let program = if absent { folder.join("absent") } else { "/bin/cat".into() };
            json!({"command": [program]})
        }
        "http_form" => json!({"host": "127.0.0.1:9", "url": "/log", "timeout": 2}),
        "kafka" => json!({"brokers": "127.0.0.1:9", "topic": "t", "timeout": 2}),
        "mqtt" => json!({"host": "127.0.0.1", "port": 9}),
        "nats" => json!({"url": "nats://127.0.0.1:9"}),
        "null" => json!({}),
        "redis" => json!({"address": folder.join("absent.sock"), "timeout": 2}),
        "socket_json" => json!({"host": "127.0.0.1", "port": 9}),
        "alertmanager" => json!({"url": "http://127.0.0.1:9/", "timeout": 2}),
        "dingtalk" | "discord" | "feishu" | "mattermost" | "slack" | "teams" | "wecom" => {
            json!({"webhook_url": "http://127.0.0.1:9/hook?key=0123456789abcdef", "timeout": 2})
        }
        "dshield" => {
            json!({"server": "http://127.0.0.1:9", "userid": 7, "auth_key": "key", "interval": 0.01, "timeout": 2})
        }
        "ntfy" => json!({"server": "http://127.0.0.1:9", "topic": "canary", "timeout": 2}),
        "pushover" => {
            json!({"server": "http://127.0.0.1:9", "token": "a".repeat(30), "user": "u".repeat(30), "timeout": 2})
        }
        "telegram" => json!({"server": "http://127.0.0.1:9", "token": "1:abc", "chat_id": -5, "timeout": 2}),
        "syslog" => json!({"address": folder.join("absent.sock"), "socktype": 2}),
        "webhook" => json!({"url": "http://127.0.0.1:9/hook", "timeout": 2}),
        other => panic!("output `{other}` has no options in this battery"),
    }
}

#[test]
fn names_are_sorted_and_classes_unique() {
    let names: Vec<_> = ALL.iter().map(|entry| entry.name).collect();
    assert!(names.is_sorted(), "{names:?}");
    let mut seen = BTreeSet::new();
    for class in ALL.iter().flat_map(|entry| entry.classes).chain(FORESEEN) {
        assert!(seen.insert(class), "{class} twice");
        assert_eq!(by_class(class).is_none(), FORESEEN.contains(class));
    }
}

#[test]
fn builds_with_minimal_options() {
    let folder = tempfile::tempdir().expect("a folder");
    for entry in ALL {
        for class in entry.classes {
            let output = Setup::new(class, minimal(entry.name, folder.path(), false)).build();
            assert!(output.batch_limit() > 0 && !output.time_limit().is_zero());
        }
    }
    assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 0, "building opens no file");
}

#[test]
fn refuses_a_value_of_another_type_and_names_the_option() {
    let folder = tempfile::tempdir().expect("a folder");
    for entry in ALL {
        for option in entry.options {
            let mut refused = false;
            for odd in [json!(-1.5), json!([{"x": []}]), json!({"x": [null]}), json!("\u{0}?")] {
                let mut options = minimal(entry.name, folder.path(), false);
                options[option] = odd;
                if let Err(rejection) = Setup::new(entry.classes[0], options).try_build() {
                    let named = rejection.option == *option || rejection.option.starts_with(&format!("{option}."));
                    assert!(named, "{} {option}: {rejection}", entry.name);
                    assert!(rejection.reason.len() > 10, "{rejection}");
                    refused = true;
                }
            }
            assert!(refused, "{} takes anything for `{option}`", entry.name);
        }
    }
}

#[test]
fn refuses_a_format_that_makes_no_sense() {
    let folder = tempfile::tempdir().expect("a folder");
    for entry in ALL {
        let options = minimal(entry.name, folder.path(), false);
        let setup = Setup { format: "%(massage)s", ..Setup::new(entry.classes[0], options) };
        let rejection = setup.try_build().map(|_| ()).expect_err("a wrong format");
        assert_eq!(rejection.option, "formatter", "{}: {rejection}", entry.name);
    }
}

#[tokio::test]
async fn says_try_again_when_the_destination_is_absent() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().expect("a folder");
    for entry in ALL.iter().filter(|entry| !["console", "null"].contains(&entry.name)) {
        let mut output = Setup::new(entry.classes[0], minimal(entry.name, folder.path(), true)).build();
        for _ in 0..2 {
            let (delivered, reason) = temporary(&mut output, &events(1..=3)).await;
            assert_eq!(delivered, 0, "{}", entry.name);
            assert!(reason.len() > 10, "{}: {reason}", entry.name);
        }
    }
}

#[tokio::test]
async fn stands_odd_events() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().expect("a folder");
    for entry in ALL {
        for (format, extended) in [("%(message)s", true), ("%(asctime)s %(created)f %(msecs)03d %(message)s", false)] {
            let options = minimal(entry.name, folder.path(), false);
            let mut output = Setup { format, extended, ..Setup::new(entry.classes[0], options) }.build();
            for event in odd_events() {
                output.wants(&event);
                assert!(deliver(&mut output, &[event]).await.is_some(), "{} hangs", entry.name);
            }
        }
        if entry.name.ends_with("file") {
            let text = fs::read_to_string(folder.path().join(format!("{}.log", entry.name))).expect("the file");
            assert_eq!(text.lines().count(), 2 * odd_events().len(), "{}: a line each", entry.name);
        }
    }
}
