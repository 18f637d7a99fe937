//! What the programs say of themselves, and to those who call them wrongly.

use serde_json::json;

use crate::harness::{OPENCANARYD, Site, free_port};

#[test]
fn every_help_text_shows_an_example() {
    let site = Site::new();
    let commands: [&[&str]; 12] = [
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
