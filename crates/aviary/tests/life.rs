//! Start, stop, death and resurrection.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::TcpListener;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::harness::{AVIARY, OPENCANARYD, Site, connect, free_port, is_redis, line, redis, say_redis, until};

#[test]
fn a_busy_port_stops_that_service_alone_and_the_status_names_the_holder() {
    let site = Site::new();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let (busy, free) = (holder.local_addr().unwrap().port(), free_port());
    site.config(json!({
        "ftp.enabled": true, "ftp.port": busy, "redis.enabled": true, "redis.port": free,
    }));
    let canary = site.start();
    assert!(redis(free, "works").starts_with('-'));
    let status = canary.status();
    let ftp = status["services"].as_array().unwrap().iter().find(|service| service["service"] == "ftp").unwrap();
    assert_eq!(ftp["state"], "failed");
    let reason = ftp["reason"].as_str().unwrap();
    assert!(reason.contains(&format!("port {busy} is taken by")), "{reason}");
    assert!(reason.contains(&format!("(pid {})", std::process::id())), "{reason}");
    let said = site.aviary(&["status"]).bad();
    assert!(said.contains("failed: port") && said.contains("listening"), "{said}");
    site.event("OpenCanary's line", |event| {
        event["logtype"] == 1001
            && event["logdata"]["msg"]["logdata"]
                .as_str()
                .is_some_and(|text| text.starts_with("Failed to add service from class CanaryFTP"))
    });
    // Nobody has to restart it: a reload is enough once the port is free.
    drop(holder);
    let said = site.aviary(&["reload"]).good();
    assert!(said.contains(&format!("ftp started on port {busy}")), "{said}");
    assert!(line(&mut connect(busy)).starts_with("220"));
    site.aviary(&["status"]).good();
}

#[test]
fn a_second_canary_with_the_same_state_is_told_who_is_there() {
    let site = Site::new();
    site.config(json!({"redis.enabled": true, "redis.port": free_port()}));
    let _canary = site.start();
    let path = site.path("canary.conf").display().to_string();
    // It ends by itself, or else by force: nothing here waits for ever.
    let said = site.run("timeout", &["10", AVIARY, "sensor", "--config", &path]).bad();
    assert!(said.contains("is a canary with the same state folder running?"), "{said}");
    assert!(site.status().is_some(), "the first one still answers");
}

#[test]
fn opencanaryd_starts_in_the_background_restarts_and_stops() {
    let site = Site::new();
    let port = free_port();
    let config = site.config(json!({"redis.enabled": true, "redis.port": port}));
    std::fs::rename(config, site.path("home/.opencanary.conf")).unwrap();
    let said = site.run(OPENCANARYD, &["--start"]).good();
    let pid = || site.status().and_then(|status| status["pid"].as_i64());
    let first = pid().unwrap();
    assert!(said.contains(&first.to_string()), "{said}");
    redis(port, "one");
    let said = site.run(OPENCANARYD, &["--start"]).bad();
    assert!(said.contains(&format!("runs already as process {first}")), "{said}");
    site.run(OPENCANARYD, &["--restart"]).good();
    let second = pid().unwrap();
    assert_ne!(first, second);
    redis(port, "two");
    // No pid file is left behind that could keep it from starting again.
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(second).unwrap()), Signal::SIGKILL).unwrap();
    until("the end", || TcpListener::bind(("127.0.0.1", port)).ok());
    site.run(OPENCANARYD, &["--start"]).good();
    redis(port, "three");
    site.run(OPENCANARYD, &["--stop"]).good();
    assert!(pid().is_none());
    assert!(!site.state().join("control.sock").exists());
    for password in ["one", "two", "three"] {
        site.redis_event(password);
    }
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(site.state()).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn opencanaryd_says_why_it_did_not_start() {
    let site = Site::new();
    site.write("home/.opencanary.conf", "{\n\"ftp.enabled\": true,\n}");
    let said = site.run(OPENCANARYD, &["--start"]).bad();
    assert!(said.contains(".opencanary.conf:2:20"), "{said}");
}

#[test]
fn a_stop_reports_what_was_under_way() {
    let site = Site::new();
    let (redis_port, ftp_port) = (free_port(), free_port());
    site.config(json!({
        "redis.enabled": true, "redis.port": redis_port, "ftp.enabled": true, "ftp.port": ftp_port,
    }));
    let canary = site.start();
    let silent = connect(redis_port);
    let mut half = connect(redis_port);
    half.write_all(b"AUTH half-a-line").unwrap();
    // Two logins at once: the second waits behind the delay that follows the first.
    let mut ftp = connect(ftp_port);
    assert!(line(&mut ftp).starts_with("220"));
    ftp.write_all(b"USER a\r\nPASS first\r\nUSER b\r\nPASS second\r\n").unwrap();
    site.event("the first login", |event| event["logdata"]["PASSWORD"] == "first");
    until("three connections", || (canary.status()["connections"] == 3).then_some(()));
    canary.stop();
    // All that there is to say stands in the file when the process has ended.
    let events = site.events();
    let has = |fits: &dyn Fn(&serde_json::Value) -> bool| events.iter().any(fits);
    let (silent_port, half_port) = (silent.local_addr().unwrap().port(), half.local_addr().unwrap().port());
    assert!(has(&|event| event["src_port"] == silent_port), "a bare connection leaves its trace");
    assert!(has(&|event| event["src_port"] == half_port && event.to_string().contains("half-a-line")));
    assert!(has(&|event| event["logdata"]["PASSWORD"] == "second"), "{}", json!(events));
    let last = events.last().unwrap();
    assert_eq!(last["logdata"]["msg"]["logdata"], "Canary stopped", "{}", json!(events));
}

#[test]
fn every_attempt_that_was_answered_survives_kill_9_under_load() {
    let site = Site::new();
    let port = free_port();
    site.config(json!({"redis.enabled": true, "redis.port": port}));
    let mut answered = BTreeSet::new();
    for round in 0..4 {
        let canary = site.start();
        let attackers: Vec<_> = (0..4)
            .map(|attacker| {
                std::thread::spawn(move || {
                    let mut answered = Vec::new();
                    let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", port)) else { return answered };
                    for n in 0.. {
                        let password = format!("p-{round}-{attacker}-{n}");
                        if stream.write_all(format!("AUTH {password}\r\n").as_bytes()).is_err()
                            || !line(&mut stream).starts_with('-')
                        {
                            break;
                        }
                        answered.push(password);
                    }
                    answered
                })
            })
            .collect();
        site.event("load", |event| {
            event["logdata"]["ARGS"].as_str().is_some_and(|text| text.starts_with(&format!("p-{round}-0-20")))
        });
        canary.kill();
        for attacker in attackers {
            let passwords = attacker.join().unwrap();
            assert!(passwords.len() >= 2);
            answered.extend(passwords);
        }
    }
    let canary = site.start();
    until("every event", || {
        let told: BTreeSet<String> =
            site.events().iter().filter_map(|event| event["logdata"]["ARGS"].as_str().map(str::to_owned)).collect();
        answered.is_subset(&told).then_some(())
    });
    // Each once: what the file holds already is not written again after a restart.
    let events = site.events();
    let ids: BTreeSet<&str> = events.iter().filter_map(|event| event["aviary"]["id"].as_str()).collect();
    assert_eq!(ids.len(), events.len());
    canary.stop();
}

#[test]
fn a_half_close_is_answered_and_a_reset_leaves_its_trace() {
    let site = Site::new();
    let port = free_port();
    site.config(json!({"redis.enabled": true, "redis.port": port}));
    let _canary = site.start();
    let mut stream = connect(port);
    stream.write_all(b"AUTH half\r\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(line(&mut stream).starts_with('-'));
    assert_eq!(line(&mut stream), "");
    // Many attempts in one piece from a peer that does not stay to hear the answers.
    let mut rude = connect(port);
    let attempts: String = (0..200).map(|n| format!("AUTH rude-{n}\r\n")).collect();
    rude.write_all(attempts.as_bytes()).unwrap();
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    until("the bytes to arrive", || site.events().iter().any(|event| is_redis(event, "rude-0")).then_some(()));
    nix::sys::socket::setsockopt(&rude, nix::sys::socket::sockopt::Linger, &linger).unwrap();
    drop(rude);
    site.redis_event("rude-199");
}

#[test]
fn the_tail_follows_and_filters() {
    let site = Site::new();
    let port = free_port();
    site.config(json!({"redis.enabled": true, "redis.port": port}));
    let canary = site.start();
    redis(port, "before");
    let mut tail = site
        .command(AVIARY, &["tail", "--json", "--service", "redis", "--last", "1000"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = std::io::BufReader::new(tail.stdout.take().unwrap());
    let mut next = || {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
        serde_json::from_str::<serde_json::Value>(&line).unwrap()
    };
    assert!(is_redis(&next(), "before"));
    let mut stream = connect(port);
    say_redis(&mut stream, "after");
    while !is_redis(&next(), "after") {}
    canary.stop();
    assert!(tail.wait().unwrap().success());
    let said = site.aviary(&["tail", "--source", "10.0.0.0/99"]).bad();
    assert!(said.contains("--source 10.0.0.0/99"), "{said}");
}

#[test]
fn a_terminal_that_nobody_reads_does_not_hold_up_the_end() {
    let site = Site::new();
    let port = free_port();
    let path = site.config(json!({"redis.enabled": true, "redis.port": port}));
    let mut up = site
        .command(AVIARY, &["up", "--json", "--config", path.to_str().unwrap()])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    until("the canary", || site.status());
    // More than a pipe holds.
    let mut stream = connect(port);
    for n in 0..400 {
        assert!(say_redis(&mut stream, &format!("{n}-{}", "x".repeat(200))).starts_with('-'));
    }
    let pid = nix::unistd::Pid::from_raw(i32::try_from(up.id()).unwrap());
    nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
    let begun = std::time::Instant::now();
    let ended = until("the end", || up.try_wait().unwrap());
    assert!(ended.success() && begun.elapsed() < Duration::from_secs(12), "{ended} {:?}", begun.elapsed());
    assert_eq!(site.events().iter().filter(|event| event["logtype"] == 17001).count(), 400);
}
