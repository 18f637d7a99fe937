//! What every output in `ALL` must do. A new one gets its options here and all checks for free.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use aviary_outputs::{ALL, FORESEEN, by_class, short_classes};
use serde_json::{Value, json};

use crate::bench::{Setup, deliver, deliver_all, event_with, events, odd_events, temporary};

/// Options that suffice, for a destination inside `folder` that takes whatever comes or, when
/// `absent`, for one that is not there.
fn minimal(name: &str, folder: &Path, absent: bool) -> Value {
    let file = if absent { folder.join("no/such/folder/x.log") } else { folder.join(format!("{name}.log")) };
    match name {
        "clickhouse" | "elasticsearch" => json!({"url": "http://127.0.0.1:9", "timeout": 2}),
        "hub" => json!({"url": "http://127.0.0.1:9", "timeout": 2}),
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
fn every_output_has_a_short_name_that_a_user_would_write() {
    let full = |short: &str| by_class(short).map(|(_, class)| class);
    for (short, class) in [
        ("gelf", "aviary.gelf"),
        // Ours, which takes more, and not Python's.
        ("syslog", "aviary.syslog"),
        ("file", "logging.FileHandler"),
        ("console", "logging.StreamHandler"),
        ("webhook", "opencanary.logger.WebhookHandler"),
        ("email", "logging.handlers.SMTPHandler"),
        ("opensearch", "aviary.opensearch"),
        ("slack", "opencanary.logger.SlackHandler"),
    ] {
        assert_eq!(full(short), Some(class), "{short}");
    }
    let names = short_classes();
    assert!(names.windows(2).all(|two| two[0] < two[1]) && !names.contains(&"structured_syslog"), "{names:?}");
    assert!(names.iter().all(|name| full(name).is_some()));
    // All but Python's own syslog, which needs its full name.
    let reached: BTreeSet<&str> = names.iter().filter_map(|name| Some(by_class(name)?.0.name)).collect();
    let missed: Vec<&str> = ALL.iter().map(|entry| entry.name).filter(|name| !reached.contains(name)).collect();
    assert_eq!(missed, ["syslog"]);
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

/// Outputs whose receivers get fields, or a form of their own, and no text of the operator's.
const WITHOUT_TEXT: &[&str] = &["clickhouse", "dshield", "elasticsearch", "hpfeeds", "http_form", "hub", "splunk"];

#[test]
fn a_template_is_one_language_or_refused_with_a_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    for entry in ALL {
        let build = |template: &str| {
            let mut options = minimal(entry.name, folder.path(), false);
            options["template"] = json!(template);
            Setup::new(entry.classes[0], options).try_build().map(|_| ()).map_err(|rejection| rejection.to_string())
        };
        let taken = build("%(summary)s, %(src_host)s, %(logdata.USERNAME)s, %(asctime)s");
        if WITHOUT_TEXT.contains(&entry.name) {
            let reason = taken.expect_err(entry.name);
            assert!(reason.starts_with("`template`: is not taken here: the receiver gets"), "{}: {reason}", entry.name);
            continue;
        }
        assert_eq!(taken, Ok(()), "{}", entry.name);
        let reason = build("%(massage)s").expect_err(entry.name);
        assert!(reason.contains("names \"massage\"; there are message, summary"), "{}: {reason}", entry.name);
    }
}

#[tokio::test]
async fn a_template_says_the_line_and_no_peer_ends_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let template = "%(service)s: %(username)s (%(src_host)s) %(message)s";
    for name in ["file", "rotating_file", "timed_file"] {
        let mut options = minimal(name, folder.path(), false);
        options["template"] = json!(template);
        let class = by_class(name).expect("an output").1;
        let events = [event_with(1, "a\nb".into()), event_with(2, "root".into())];
        for _ in 0..2 {
            let mut output = Setup { format: "<%(levelno)d>", ..Setup::new(class, options.clone()) }.build();
            deliver_all(&mut output, &events).await;
        }
        let text = fs::read_to_string(folder.path().join(format!("{name}.log"))).expect("the file");
        let once = "ftp: a\\nb (192.0.2.7) <30>\nftp: root (192.0.2.7) <30>\n";
        // Other events might read the same: nothing is taken for standing there already.
        assert_eq!(text, once.repeat(2), "{name}");
    }
    let mut options = minimal("file", folder.path(), false);
    options["template"] = json!("a\n%(summary)s");
    let reason = Setup::new("logging.FileHandler", options).try_build().map(|_| ()).expect_err("two lines").to_string();
    assert_eq!(reason, "`template`: holds a line break; it takes text on one line");
}
