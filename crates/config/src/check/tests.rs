//! Whole files against their messages.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::load::load;
use crate::testing::{space, surroundings};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// What is said about a file, with its folder left out.
fn said(name: &str) -> String {
    let path = fixture(name);
    let text = match load(Some(&path), &surroundings(), &space()) {
        Ok(loaded) => loaded.problems.iter().map(Problem::detailed).collect::<Vec<_>>().join("\n"),
        Err(crate::LoadError::Stopped(problem)) => problem.detailed(),
        Err(error) => error.to_string(),
    };
    text.replace(&format!("{}/", path.parent().expect("a folder").display()), "")
}

#[test]
fn every_bad_file_is_explained() {
    let mut names: Vec<_> = fs::read_dir(fixture("bad"))
        .expect("the folder")
        .map(|entry| entry.expect("a file").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    assert!(names.len() > 20);
    for name in names {
        let text = said(&format!("bad/{name}"));
        assert!(!text.is_empty(), "{name} is not bad");
        insta::with_settings!({snapshot_path => "../../fixtures/snapshots", prepend_module_to_snapshot => false}, {
            insta::assert_snapshot!(name, text);
        });
    }
}

#[test]
fn opencanarys_own_files_load_without_an_error_or_an_unknown_key() {
    for name in ["article-opencanary.conf", "opencanary-0.9.10-settings.json"] {
        let loaded = load(Some(&fixture(name)), &surroundings(), &space()).expect("loaded");
        assert!(loaded.is_usable(), "{name}: {}", said(name));
        assert!(!loaded.problems.iter().any(|problem| problem.message.contains("unknown")), "{name}: {}", said(name));
        assert_eq!(loaded.problems.len(), 1, "{name}: {}", said(name));
        assert!(loaded.problems[0].message.contains("which scanners know"), "{name}: {}", said(name));
        let settings = loaded.settings;
        assert!(settings.flag("ftp.enabled"));
        assert_eq!(settings.port("ntp.port"), 123);
        assert_eq!(settings.port("telnet.port"), 23);
        assert_eq!(settings.handlers().len(), 2);
        assert_eq!(settings.handlers()[1].options["filename"], "/var/tmp/opencanary.log");
        assert!(settings.honeycreds("telnet").matches(b"admin", b"admin1"));
        assert!(!settings.honeycreds("telnet").is_cheap());
    }
}

#[test]
fn a_good_file_in_toml_has_no_problem() {
    let loaded = load(Some(&fixture("good.toml")), &surroundings(), &space()).expect("loaded");
    assert_eq!(said("good.toml"), "");
    let settings = loaded.settings;
    assert_eq!(settings.node_id(), "rack-3");
    assert_eq!(settings.listen_addrs().len(), 2);
    assert!(settings.ignore().passes_over("::ffff:10.0.0.7".parse().ok(), 2000));
    assert!(!settings.extended());
    assert_eq!(settings.handlers()[0].format(), "<%(message)s>");
    assert_eq!(settings.text("tcpbanner_1.alertstring"), "bingo");
}

#[test]
fn outputs_are_handlers_in_every_spelling_and_alone_where_no_logger_is() {
    let read = |name: &str| {
        assert_eq!(said(name), "", "{name}");
        load(Some(&fixture(name)), &surroundings(), &space()).expect("loaded").settings
    };
    for name in ["good-outputs.conf", "good-outputs.toml"] {
        let settings = read(name);
        let [graylog, file, hook] = settings.handlers() else { panic!("{name}: three: {:?}", settings.handlers()) };
        assert_eq!((graylog.name.as_str(), graylog.class.as_str(), graylog.word()), ("graylog", "gelf", "output"));
        assert_eq!(graylog.options["when"]["services"][0], "ftp");
        assert_eq!(graylog.format(), "%(message)s");
        assert_eq!(file.formatter.as_deref(), Some("%(message)s"), "the default's formatters are known");
        assert_eq!(hook.options["headers"]["x-home"], "/root");
        let (class, whole) = (hook.place_of("class").expect("a place"), hook.place_of("nowhere").expect("a place"));
        assert!(class >= whole && Some(whole) == hook.location.as_ref(), "{class} {whole}");
    }
    let said = |text: &str| check(&crate::testing::document(text), &space());
    // An empty table says nothing, and a logger of formatters alone is enough beside one that is not.
    let (settings, problems) = said(r#"{"device.node_id": "n", "ftp.enabled": true, "outputs": {}}"#);
    assert_eq!(settings.handlers().len(), 2);
    assert!(matches!(&problems[..], [one] if one.message.contains("`logger` is not given")), "{problems:?}");
    let (settings, problems) = said(
        r#"{"device.node_id": "n", "ftp.enabled": true, "outputs": {"a": {"class": "file", "formatter": "x"}},
            "logger": {"kwargs": {"formatters": {"x": {"format": "<%(message)s>"}}}}}"#,
    );
    assert_eq!((settings.handlers().len(), settings.handlers()[0].format()), (1, "<%(message)s>"));
    assert_eq!(problems, []);
}

#[test]
fn hosts_have_keys_of_their_own_alone_in_every_spelling() {
    let [json, toml] = ["good-hosts.conf", "good-hosts.toml"].map(|name| {
        assert_eq!(said(name), "", "{name}");
        load(Some(&fixture(name)), &surroundings(), &space()).expect("loaded").settings
    });
    for settings in [&json, &toml] {
        let [printer, files] = settings.hosts() else { panic!("two hosts: {:?}", settings.hosts()) };
        assert_eq!((printer.name.as_str(), files.name.as_str()), ("printer", "files"));
        assert_eq!((printer.node_id("rack"), files.node_id("rack")), ("rack/printer".into(), "files-2".into()));
        assert_eq!((printer.host_name(), files.host_name()), ("printer".into(), "FILES".into()));
        assert_eq!((printer.settings.listen_addrs().len(), files.settings.listen_addrs().len()), (1, 2));
        assert!(printer.settings.flag("ftp.enabled") && !printer.settings.flag("ssh.enabled"));
        assert!(files.settings.flag("ssh.enabled") && !files.settings.flag("ftp.enabled"));
        assert_eq!(printer.settings.text("ftp.banner"), "/root", "variables count in hosts");
        assert!(printer.settings.honeycreds("ftp").matches(b"backup", b""));
        assert!(settings.honeycreds("ftp").is_empty());
        assert_eq!(printer.settings.port("tcpbanner_1.port"), 9100);
    }
    let values = |host: &crate::Host| host.settings.iter().map(|(k, v)| (k.to_owned(), v.clone())).collect::<Vec<_>>();
    for (one, other) in json.hosts().iter().zip(toml.hosts()) {
        assert_eq!(values(one), values(other));
    }
}

#[test]
fn a_host_plays_its_own_persona() {
    let (settings, problems) = playing(
        r#"{"device.persona": "nas", "hosts": {
            "a": {"device.listen_addr": "10.0.0.7", "device.persona": "printer", "redis.enabled": true},
            "b": {"device.listen_addr": "10.0.0.8", "ssh.enabled": true},
            "c": {"device.listen_addr": "10.0.0.9", "device.persona": "nsa"}}}"#,
    );
    let [a, b, c] = settings.hosts() else { panic!("three hosts") };
    assert_eq!([a, b, c].map(|host| host.settings.persona()), [Some("printer"), None, None]);
    assert!(settings.flag("ftp.enabled") && !b.settings.flag("ftp.enabled"), "nothing comes from the top");
    assert_eq!(b.settings.text("ssh.version"), space().find("ssh.version").expect("a key").default.trim_matches('"'));
    let told = |part: &str| problems.iter().any(|problem| problem.to_string().contains(part));
    assert!(told("`hosts.a.redis` is switched on, which no printer has"), "{problems:?}");
    assert!(told("`hosts.c.device.persona` \"nsa\" is not known; accepted: nas, printer"), "{problems:?}");
}

#[test]
fn a_file_that_two_machines_follow_is_told() {
    let text = r#"{"smb.enabled": true, "smb.auditfile": "/a", "hosts": {
        "a": {"device.listen_addr": "10.0.0.7", "smb.enabled": true, "smb.auditfile": "/a"},
        "b": {"device.listen_addr": "10.0.0.8", "smb.enabled": false, "smb.auditfile": "/a"}}}"#;
    let (_, problems) = check(&crate::testing::document(text), &space());
    let told: Vec<_> = problems.iter().filter(|problem| problem.message.contains("two events")).collect();
    assert_eq!(told.len(), 1, "{problems:?}");
    assert_eq!(told[0].key.as_deref(), Some("hosts.a.smb.auditfile"));
}

#[test]
fn ports_clash_within_a_host_and_not_between_hosts() {
    let clashes = |text: &str| {
        let (_, problems) = check(&crate::testing::document(text), &space());
        problems.iter().filter(|problem| problem.is_error()).map(ToString::to_string).collect::<Vec<_>>()
    };
    let host = |address: &str, keys: &str| format!(r#"{{"device.listen_addr": "{address}", {keys}}}"#);
    let (ftp, both) = (r#""ftp.enabled": true"#, r#""ftp.enabled": true, "ssh.enabled": true, "ssh.port": 21"#);
    let (a, b) = (host("10.0.0.7", ftp), host("10.0.0.8", ftp));
    assert_eq!(clashes(&format!(r#"{{"ftp.enabled": true, "hosts": {{"a": {a}, "b": {b}}}}}"#)), Vec::<String>::new());
    let clash = clashes(&format!(r#"{{"hosts": {{"a": {}}}}}"#, host("10.0.0.7", both)));
    assert_eq!(clash.len(), 1);
    assert!(clash[0].contains("port 21 is wanted by `hosts.a.ftp.port` and `hosts.a.ssh.port`"), "{clash:?}");
}

static PERSONAS: [crate::Persona; 2] = [
    crate::Persona {
        name: "nas",
        summary: "a network storage",
        defaults: &[("ssh.version", "\"SSH-2.0-OpenSSH_8.2\""), ("git.port", "9419"), ("ftp.enabled", "true")],
    },
    crate::Persona { name: "printer", summary: "a printer", defaults: &[] },
];

fn playing(text: &str) -> (Settings, Vec<Problem>) {
    check(&crate::testing::document(text), &space().with_personas(&PERSONAS))
}

#[test]
fn a_persona_sets_aside_what_opencanary_ships() {
    let (settings, problems) = playing(
        r#"{"device.persona": "nas", "ssh.enabled": true, "ssh.version": "SSH-2.0-OpenSSH_5.1p1 Debian-4",
            "http.skin": "nasLogin", "telnet.banner": ""}"#,
    );
    assert!(!settings.is_set("ssh.version") && !settings.is_set("http.skin"));
    assert_eq!(settings.text("ssh.version"), "SSH-2.0-OpenSSH_8.2");
    assert_eq!(settings.persona(), Some("nas"));
    assert!(!problems.iter().any(|problem| problem.message.contains("which scanners know")), "{problems:?}");
}

#[test]
fn a_key_that_is_set_wins_over_the_persona() {
    let (settings, _) =
        playing(r#"{"device.persona": "nas", "ssh.version": "SSH-2.0-Mine", "git.port": 9418, "ftp.enabled": false}"#);
    assert_eq!(settings.text("ssh.version"), "SSH-2.0-Mine");
    assert_eq!(settings.port("git.port"), 9418, "ports that OpenCanary ships are ports that are wanted");
    assert!(!settings.flag("ftp.enabled"), "and so is a switch");
    let (settings, _) = playing(r#"{"device.persona": "nas"}"#);
    assert!(settings.flag("ftp.enabled") && settings.port("git.port") == 9419);
}

#[test]
fn without_a_persona_the_file_is_honoured_and_signatures_are_told() {
    let text = r#"{"ssh.enabled": true, "ssh.version": "SSH-2.0-OpenSSH_5.1p1 Debian-4"}"#;
    let (settings, problems) = playing(text);
    assert_eq!(settings.text("ssh.version"), "SSH-2.0-OpenSSH_5.1p1 Debian-4");
    assert!(problems.iter().any(|problem| problem.message.contains("which scanners know")), "{problems:?}");
    assert_eq!(settings.persona(), None);
}

#[test]
fn a_service_that_no_such_machine_has_is_told() {
    let (settings, problems) =
        playing(r#"{"device.persona": "nas", "redis.enabled": true, "ssh.enabled": true, "vnc.port": 5000}"#);
    let told: Vec<_> = problems.iter().filter(|problem| problem.message.contains("which no nas has")).collect();
    assert_eq!(told.len(), 1, "{problems:?}");
    assert!(told[0].message.contains("`redis`"), "{told:?}");
    assert_eq!(settings.port("vnc.port"), 5000, "a port that is written down is wanted");
}

#[test]
fn an_unknown_persona_is_an_error_that_names_those_there_are() {
    let (_, problems) = playing(r#"{"device.persona": "pinter"}"#);
    let problem = problems.iter().find(|problem| problem.is_error()).expect("an error").detailed();
    assert!(problem.contains("accepted: nas, printer") && problem.contains("did you mean \"printer\"?"), "{problem}");
}

#[test]
fn ports_clash_only_among_services_that_listen_the_same_way() {
    let clashes = |text: &str| {
        let (_, problems) = check(&crate::testing::document(text), &space());
        problems.iter().filter(|problem| problem.is_error()).count()
    };
    assert_eq!(clashes(r#"{"ftp.enabled": true, "ftp.port": 22, "ssh.enabled": true}"#), 1);
    assert_eq!(clashes(r#"{"ftp.enabled": true, "ftp.port": 22, "ssh.enabled": false}"#), 0);
    assert_eq!(clashes(r#"{"ftp.enabled": true, "ftp.port": 123, "ntp.enabled": true}"#), 0);
    let banner = r#""tcpbanner_1.enabled": true, "tcpbanner_1.port": 21, "ftp.enabled": true"#;
    assert_eq!(clashes(&format!("{{{banner}}}")), 0);
    assert_eq!(clashes(&format!("{{{banner}, \"tcpbanner.enabled\": true}}")), 1);
}

#[test]
fn a_port_of_udp_is_free_for_tcp() {
    static BUILT: [crate::Key; 2] = [
        crate::Key { name: "ntp.enabled", shape: Shape::Flag, default: "false", doc: "On." },
        crate::Key { name: "git.enabled", shape: Shape::Flag, default: "false", doc: "On." },
    ];
    static PORT: [crate::Key; 1] = [crate::Key { name: "git.port", shape: Shape::Port, default: "123", doc: "Port." }];
    let space = KeySpace::new([&BUILT[..], &PORT[..]]);
    let text = r#"{"ntp.enabled": true, "git.enabled": true, "ntp.port": "123"}"#;
    let document = Document::parse(Path::new("x"), text, Format::Json, &space).expect("parses");
    let (_, problems) = check(&document, &space);
    assert!(!problems.iter().any(Problem::is_error), "{problems:?}");
}
