//! Broken and odd configurations: what is said, and that nothing starts on them.

use std::net::TcpListener;

use serde_json::json;

use crate::harness::{AVIARY, OPENCANARYD, Site, connect, free_port, is_root, line};

#[test]
fn a_broken_file_is_named_with_line_and_column_and_nothing_starts() {
    let site = Site::new();
    let port = free_port();
    let text = format!("{{\n  \"redis.enabled\": true,\n  \"redis.port\": {port},\n  \"ftp.enabled\": yes\n}}\n");
    let path = site.write("canary.conf", &text);
    for command in
        [&["sensor", "--config"][..], &["up", "--config"], &["config", "check"], &["config", "check", "--config"]]
    {
        let said = site.aviary(&[command, &[path.to_str().unwrap()]].concat()).bad();
        assert!(said.contains("canary.conf:4:18"), "{command:?}: {said}");
    }
    assert!(!site.state().exists());
    assert!(TcpListener::bind(("127.0.0.1", port)).is_ok());
}

#[test]
fn a_wrong_value_stops_the_start_and_every_problem_is_told_at_once() {
    let site = Site::new();
    let path = site.config(json!({"ftp.port": 70000, "redis.enabled": "perhaps", "telnet.prot": 23}));
    let said = site.aviary(&["config", "check", path.to_str().unwrap()]).bad();
    for part in ["ftp.port", "redis.enabled", "telnet.prot", "did you mean `telnet.port`", "2 errors"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let said = site.aviary(&["sensor", "--config", path.to_str().unwrap()]).bad();
    assert!(said.contains("nothing was started") && said.contains("ftp.port"), "{said}");
    assert!(!site.state().exists());
}

#[test]
fn a_watch_for_scans_that_may_not_be_is_told_and_the_services_run() {
    let site = Site::new();
    let port = free_port();
    site.config(json!({"portscan.enabled": true, "redis.enabled": true, "redis.port": port}));
    let _canary = site.start();
    let status = site.aviary(&["status"]).good();
    let line = status.lines().find(|line| line.starts_with("portscan")).unwrap_or_default().to_owned();
    // Root watches; anybody else is told what is missing.
    assert!(line.contains("watching") || line.contains("CAP_NET_RAW"), "{status}");
    connect(port);
}

#[test]
fn the_check_tells_of_ports_that_others_hold() {
    let site = Site::new();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let path = site.config(json!({"redis.enabled": true, "redis.port": port}));
    let said = site.aviary(&["config", "check", path.to_str().unwrap()]).good();
    assert!(said.contains(&format!("port {port} is taken by")), "{said}");
    assert!(said.contains(&format!("(pid {})", std::process::id())), "{said}");
}

#[test]
fn toml_spells_the_same_keys() {
    let site = Site::new();
    let port = free_port();
    let text = format!(
        "[device]\nlisten_addr = \"127.0.0.1\"\n[redis]\nenabled = true\nport = {port}\n\
         [logger.kwargs.handlers.file]\nclass = \"logging.FileHandler\"\nfilename = {:?}\n",
        site.log()
    );
    let path = site.write("canary.toml", &text);
    let _canary = site.start_by(site.command(AVIARY, &["sensor", "--config", path.to_str().unwrap()]));
    assert!(crate::harness::redis(port, "x").starts_with('-'));
    site.redis_event("x");
}

/// A shell in a mount namespace of its own, where `/etc` is the site's copy of what is needed of it.
fn with_own_etc(site: &Site, script: &str) -> Vec<String> {
    let etc = site.path("etc");
    std::fs::create_dir_all(&etc).unwrap();
    for file in ["passwd", "group", "nsswitch.conf"] {
        let _ = std::fs::copy(format!("/etc/{file}"), etc.join(file));
    }
    let script = format!("mount --bind {} /etc || exit 77\n{script}", etc.display());
    ["-m", "sh", "-c", &script].map(str::to_owned).to_vec()
}

#[test]
fn looks_where_opencanary_looks_in_its_order() {
    let test = "looks_where_opencanary_looks_in_its_order";
    if !is_root(test) {
        return;
    }
    let site = Site::new();
    let banner = |name: &str| {
        json!({
            "device.listen_addr": "127.0.0.1", "device.node_id": name,
            "ftp.enabled": true, "ftp.port": free_port(), "ftp.banner": name,
            "logger": site.logger(json!({})),
        })
        .to_string()
    };
    let places = ["etc/opencanaryd/opencanary.conf", "home/.opencanary.conf", "home/opencanary.conf"];
    for folder in ["etc/opencanaryd", "etc/aviary"] {
        std::fs::create_dir_all(site.path(folder)).unwrap();
    }
    for place in places {
        site.write(place, &banner(place));
    }
    site.write("etc/aviary/aviary.toml", "[device]\nnode_id = \"etc/aviary/aviary.toml\"\n");
    let shown = || {
        let arguments = with_own_etc(&site, &format!("exec {AVIARY} config show"));
        site.run("unshare", &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    if shown().0.status.code().is_none_or(|code| code == 77 || code == 1 && shown().err().contains("unshare")) {
        eprintln!("{test}: not run, no mount namespaces here");
        return;
    }
    for place in places.into_iter().chain(["etc/aviary/aviary.toml"]) {
        let text = shown().good();
        assert!(text.contains(&format!("device.node_id = \"{place}\"")), "{place}: {text}");
        // A broken one is not passed over.
        site.write(place, "{ broken");
        let said = shown().bad();
        assert!(said.contains(&format!("{}:1:", place.rsplit('/').next().unwrap())), "{said}");
        std::fs::remove_file(site.path(place)).unwrap();
    }
    let said = shown().bad();
    assert!(said.contains("no config file found") && said.contains("/etc/opencanaryd/opencanary.conf"), "{said}");
}

#[test]
fn copyconfig_writes_the_sample_once() {
    let test = "copyconfig_writes_the_sample_once";
    if !is_root(test) {
        return;
    }
    let site = Site::new();
    let script = format!("{OPENCANARYD} --copyconfig && {OPENCANARYD} --copyconfig");
    let arguments = with_own_etc(&site, &script);
    let ended = site.run("unshare", &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    if ended.0.status.code() == Some(77) || ended.err().contains("unshare") {
        eprintln!("{test}: not run, no mount namespaces here");
        return;
    }
    let said = ended.bad();
    assert!(said.contains("A sample config file is ready") && said.contains("already exists"), "{said}");
    let path = site.path("etc/opencanaryd/opencanary.conf").display().to_string();
    assert!(site.aviary(&["config", "check", &path]).good().contains("0 errors"));
}

#[test]
fn listens_on_each_address_that_is_given() {
    let site = Site::new();
    let port = free_port();
    site.config(json!({
        "device.listen_addr": ["127.0.0.1", "127.0.0.2"], "ftp.enabled": true, "ftp.port": port, "ftp.banner": "hello",
    }));
    let _canary = site.start();
    for address in ["127.0.0.1", "127.0.0.2"] {
        let mut stream = std::net::TcpStream::connect((address, port)).unwrap();
        assert!(line(&mut stream).contains("hello"));
        drop(stream);
        site.event(address, |event| event["dst_host"] == address && event["dst_port"] == port);
    }
    assert!(std::net::TcpStream::connect(("127.0.0.3", port)).is_err());
}
