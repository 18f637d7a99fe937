//! What the programs say of themselves, and to those who call them wrongly.

use serde_json::json;

use crate::harness::{AVIARY, OPENCANARYD, Site, events_in, free_port, is_redis, redis, until};

#[test]
fn every_help_text_shows_an_example() {
    let site = Site::new();
    let commands: [&[&str]; 14] = [
        &[],
        &["up"],
        &["sensor"],
        &["config", "check"],
        &["config", "show"],
        &["config", "copy"],
        &["status"],
        &["reload"],
        &["tail"],
        &["drill"],
        &["completions"],
        &["hub"],
        &["hub", "reset-password"],
        &["drill"],
    ];
    for command in commands {
        let help = site.aviary(&[command, &["--help"]].concat()).good();
        assert!(help.contains("Example"), "{command:?}: {help}");
        let name = format!("aviary {}", command.join(" "));
        assert!(help.contains(name.trim_end()), "{command:?}: {help}");
    }
}

#[test]
fn a_hub_believes_networks_and_resets_where_there_is_one() {
    let site = Site::new();
    assert!(site.aviary(&["hub", "--proxy", "10.0.0"]).bad().contains("no address or network such as 10.0.0.0/8"));
    let folder = site.path("no-hub").display().to_string();
    let said = site.aviary(&["hub", "reset-password", "anna", "--state", &folder]).bad();
    assert!(said.contains("there is no hub in"), "{said}");
}

#[test]
fn completes_in_three_shells() {
    let site = Site::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = site.aviary(&["completions", shell]).good();
        assert!(script.contains("drill") && script.contains("completions"), "{shell}");
    }
    assert!(site.aviary(&["completions", "tcsh"]).bad().contains("bash"));
    // What bash cannot parse would break the login of whoever installed it.
    let script = site.write("completion.sh", &site.aviary(&["completions", "bash"]).good());
    site.run("bash", &["-n", script.to_str().unwrap()]).good();
}

#[test]
fn wrong_flags_are_named_with_what_was_meant() {
    let site = Site::new();
    let said = site.aviary(&["statsu"]).bad();
    assert!(said.contains("statsu") && said.contains("status"), "{said}");
    let said = site.aviary(&["sensor", "--confg", "x"]).bad();
    assert!(said.contains("--confg") && said.contains("--config"), "{said}");
    let said = site.run(OPENCANARYD, &["--strat"]).bad();
    assert!(said.contains("`--strat`") && said.contains("--start"), "{said}");
    let said = site.run(OPENCANARYD, &["--start", "--stop"]).bad();
    assert!(said.contains("give one"), "{said}");
}

#[test]
fn opencanaryd_knows_its_flags() {
    let site = Site::new();
    let help = site.run(OPENCANARYD, &["--help"]).good();
    for flag in [
        "--start",
        "--dev",
        "--stop",
        "--restart",
        "--copyconfig",
        "--usermodule",
        "--version",
        "--uid",
        "--gid",
        "--allow-run-as-root",
    ] {
        assert!(help.contains(flag), "{flag}: {help}");
    }
    assert_eq!(site.run(OPENCANARYD, &[]).bad(), help);
    assert!(site.run(OPENCANARYD, &["--version"]).good().contains("0.9.10"));
}

#[test]
fn asks_of_a_canary_that_does_not_run_say_what_to_do() {
    let site = Site::new();
    for ask in [&["status"][..], &["reload"], &["tail"], &["drill"]] {
        let said = site.aviary(ask).bad();
        assert!(said.contains("no canary runs") && said.contains("aviary up"), "{ask:?}: {said}");
        assert!(said.contains(site.state().to_str().unwrap()), "{said}");
    }
    let said = site.run(OPENCANARYD, &["--stop"]).bad();
    assert!(said.contains("does not run"), "{said}");
}

#[test]
fn a_copied_config_passes_its_check() {
    let site = Site::new();
    for (name, flag) in [("a.conf", None), ("b.conf", Some("--plain")), ("c.toml", Some("--toml"))] {
        let path = site.path(name).display().to_string();
        let mut arguments = vec!["config", "copy", &path];
        arguments.extend(flag);
        site.aviary(&arguments).good();
        let said = site.aviary(&["config", "check", &path]).good();
        assert!(said.contains("0 errors"), "{said}");
        let said = site.aviary(&arguments).bad();
        assert!(said.contains("there already"), "never overwritten: {said}");
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o007, 0, "{mode:o}");
    }
    // What OpenCanary itself reads is plain JSON.
    let text = std::fs::read_to_string(site.path("b.conf")).unwrap();
    serde_json::from_str::<serde_json::Value>(&text).unwrap();
}

#[test]
fn show_gives_values_and_defaults() {
    let site = Site::new();
    let port = free_port();
    let path = site.config(json!({"ftp.enabled": true, "ftp.port": port}));
    let shown = site.aviary(&["config", "show", path.to_str().unwrap()]).good();
    assert!(shown.contains(&format!("ftp.port = {port}\n")), "{shown}");
    assert!(shown.contains("redis.enabled = false  # default"), "{shown}");
}

#[test]
fn the_canary_that_is_meant_may_be_named_behind_the_subcommand() {
    let site = Site::new();
    let config = site.config(json!({"redis.enabled": true, "redis.port": free_port()}));
    let (config, elsewhere) = (config.to_str().unwrap(), site.path("elsewhere"));
    let elsewhere = elsewhere.to_str().unwrap();
    let arguments = ["sensor", "--config", config, "--state", elsewhere];
    let mut command = site.command(AVIARY, &arguments);
    let log = std::fs::File::create(site.path("stderr")).unwrap();
    let mut canary = command.stderr(log).spawn().unwrap();
    until("a canary there", || site.path("elsewhere/control.sock").exists().then_some(()));
    for line in [
        &["outputs", "dead", "--state", elsewhere][..],
        &["outputs", "--state", elsewhere, "dead"],
        &["outputs", "test", "file", "--state", elsewhere],
        &["outputs", "replay", "file", "--since", "1h", "--state", elsewhere],
        &["status", "--state", elsewhere],
        &["reload", "--state", elsewhere],
        &["drill", "--state", elsewhere],
    ] {
        site.aviary(line).good();
    }
    let shown = site.aviary(&["outputs", "--json", "--state", elsewhere]).good();
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert!(matches!(&shown.as_array().unwrap()[..], [one] if one["output"] == "file" && one["dead"] == 0), "{shown}");
    let said = site.aviary(&["outputs", "dead"]).bad();
    assert!(said.contains("no canary runs with the state folder"), "{said}");
    // Its own ports are no trouble.
    let mut check = site.command(AVIARY, &["config", "check", config]);
    let said = check.env("AVIARY_STATE_DIR", elsewhere).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.contains("1 of the ports are held by the canary that runs") && said.contains("0 warnings"), "{said}");
    // Nothing of an unknown service will ever come.
    let said = site.aviary(&["tail", "-s", "rediss", "--state", elsewhere]).bad();
    assert!(said.contains("no service `rediss` is known; did you mean `redis`?"), "{said}");
    let said = site.aviary(&["tail", "-k", "logins", "--state", elsewhere]).bad();
    assert!(said.contains("logins") && said.contains("login"), "{said}");
    canary.kill().unwrap();
    canary.wait().unwrap();
}

#[test]
fn a_console_of_the_config_does_not_show_events_twice_in_up() {
    let site = Site::new();
    let port = free_port();
    let console = json!({"class": "logging.StreamHandler", "stream": "ext://sys.stdout"});
    let config = site.config(json!({
        "redis.enabled": true, "redis.port": port, "logger": site.logger(json!({"console": console})),
    }));
    let mut command = site.command(AVIARY, &["up", "--json", "--config", config.to_str().unwrap()]);
    let out = site.path("stdout");
    let (stdout, log) = (std::fs::File::create(&out).unwrap(), std::fs::File::create(site.path("stderr")).unwrap());
    let mut canary = command.stdout(stdout).stderr(log).spawn().unwrap();
    until("a canary", || site.status());
    redis(port, "once");
    redis(port, "and more");
    let count = |password: &str| events_in(&out).iter().filter(|event| is_redis(event, password)).count();
    until("both events", || (count("and more") > 0).then_some(()));
    let names: Vec<String> = site.status().unwrap()["outputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|output| output["output"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["file", "hub (here)"]);
    site.aviary(&["reload"]).good();
    redis(port, "last");
    until("the last", || (count("last") > 0).then_some(()));
    assert_eq!(["once", "and more", "last"].map(count), [1, 1, 1]);
    canary.kill().unwrap();
    canary.wait().unwrap();
}
