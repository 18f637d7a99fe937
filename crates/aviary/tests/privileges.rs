//! Whom the canary becomes, and what an ordinary user can do.

use serde_json::json;

use crate::harness::{AVIARY, OPENCANARYD, Site, free_port, is_root, proc_status, redis, until};

const NOBODY: &str = "65534";

fn as_nobody(program: &str, arguments: &[&str]) -> Vec<String> {
    let wrapper = ["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"];
    wrapper.iter().chain(&[program]).chain(arguments).map(|word| (*word).to_owned()).collect()
}

#[test]
fn becomes_the_given_user_for_good_once_the_ports_are_bound() {
    if !is_root("becomes_the_given_user_for_good_once_the_ports_are_bound") {
        return;
    }
    let site = Site::new();
    let port = free_port();
    let config = site.config(json!({"redis.enabled": true, "redis.port": port}));
    std::fs::rename(config, site.path("home/.opencanary.conf")).unwrap();
    let flags = ["--dev", &format!("--uid={NOBODY}"), &format!("--gid={NOBODY}")];
    let canary = site.start_by(site.command(OPENCANARYD, &flags));
    let ids = [NOBODY; 4].join(" ");
    assert_eq!(proc_status(canary.pid(), "Uid"), ids);
    assert_eq!(proc_status(canary.pid(), "Gid"), ids);
    assert_eq!(proc_status(canary.pid(), "Groups"), NOBODY);
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(proc_status(canary.pid(), set), "0".repeat(16), "{set}");
    }
    assert_eq!(proc_status(canary.pid(), "NoNewPrivs"), "1");
    // Log file and state are its own, even where root had made them.
    assert!(redis(port, "x").starts_with('-'));
    site.redis_event("x");
    let privileges = canary.status()["privileges"].to_string();
    for part in ["user 65534, group 65534", "no capabilities", "no new privileges"] {
        assert!(privileges.contains(part), "{privileges}");
    }
    assert!(!site.stderr().contains("WARNING: will stay root"), "{}", site.stderr());
    canary.kill();
    // As the user now, on what the first start left behind.
    let flags: Vec<String> = as_nobody(OPENCANARYD, &["--dev"]);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let canary = site.start_by(site.command("setpriv", &flags));
    assert!(redis(port, "y").starts_with('-'));
    site.redis_event("y");
    canary.stop();
}

#[test]
fn root_that_stays_root_keeps_no_capabilities_unless_told() {
    if !is_root("root_that_stays_root_keeps_no_capabilities_unless_told") {
        return;
    }
    let site = Site::new();
    let config = site.config(json!({"redis.enabled": true, "redis.port": free_port()}));
    std::fs::rename(config, site.path("home/.opencanary.conf")).unwrap();
    let canary = site.start_by(site.command(OPENCANARYD, &["--dev"]));
    assert_eq!(proc_status(canary.pid(), "CapEff"), "0".repeat(16));
    assert!(site.stderr().contains("WARNING: will stay root, without its capabilities"), "{}", site.stderr());
    canary.stop();
    let before = proc_status(nix::unistd::Pid::this(), "CapEff");
    let canary = site.start_by(site.command(OPENCANARYD, &["--dev", "--allow-run-as-root"]));
    assert_eq!(proc_status(canary.pid(), "CapEff"), before);
    canary.stop();
}

#[test]
fn a_user_who_does_not_exist_is_named() {
    let site = Site::new();
    let config = site.config(json!({"redis.enabled": true, "redis.port": free_port()}));
    let said = site.aviary(&["sensor", "--user", "no-such-user", "--config", config.to_str().unwrap()]).bad();
    assert!(said.contains("there is no user `no-such-user`"), "{said}");
}

#[test]
fn an_ordinary_user_gets_every_port_moved_up_and_a_state_folder_at_home() {
    if !is_root("an_ordinary_user_gets_every_port_moved_up_and_a_state_folder_at_home") {
        return;
    }
    let floor = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    if floor.trim().parse::<u16>().unwrap_or(0) < 1024 {
        eprintln!("not run: anybody may bind low ports here");
        return;
    }
    let site = Site::new();
    std::os::unix::fs::chown(site.path("home"), Some(65534), Some(65534)).unwrap();
    // Two low ports that no other test asks for, and whose tens of thousands are free.
    let free = |from: u16| (from..1000).find(|port| std::net::TcpListener::bind(("127.0.0.1", 10_000 + port)).is_ok());
    let low = free(700 + u16::try_from(std::process::id() % 200).unwrap()).unwrap();
    let config = site.write(
        "canary.conf",
        &json!({
            "device.listen_addr": "127.0.0.1", "redis.enabled": true, "redis.port": low,
            "logger": {"class": "PyLogger", "kwargs": {"handlers": {
                "file": {"class": "logging.FileHandler", "filename": site.path("home/events.log")},
            }}},
        })
        .to_string(),
    );
    let arguments = as_nobody(AVIARY, &["up", "--config", config.to_str().unwrap()]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut command = site.command("setpriv", &arguments);
    command.env_remove("AVIARY_STATE_DIR");
    let out = site.path("home/out");
    let mut child = command.stdout(std::fs::File::create(&out).unwrap()).spawn().unwrap();
    let moved = 10_000 + low;
    let shown =
        until("the table", || std::fs::read_to_string(&out).ok().filter(|text| text.contains("Waiting for somebody")));
    assert!(shown.contains(&format!("{moved} (not {low})")), "{shown}");
    assert!(redis(moved, "x").starts_with('-'));
    let log = site.path("home/events.log");
    until("the event", || crate::harness::events_in(&log).iter().any(|e| e["dst_port"] == moved).then_some(()));
    assert!(site.path("home/.local/state/aviary/journal.db").exists());
    // A sensor does not move: its operator asked for that port.
    let arguments = as_nobody(AVIARY, &["sensor", "--config", config.to_str().unwrap()]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    let mut command = site.command("setpriv", &arguments);
    command.env("AVIARY_STATE_DIR", site.path("home/state2")).stderr(std::process::Stdio::piped());
    let child = command.spawn().unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    until("its socket", || site.path("home/state2/control.sock").exists().then_some(()));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let said = crate::harness::Ended(child.wait_with_output().unwrap()).err();
    assert!(said.contains(&format!("port {low} may not be bound by this user")), "{said}");
}
