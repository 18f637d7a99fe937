//! Receivers that are dead, slow or lie, and files that others move, delete or leave no room for.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{AVIARY, Site, connect, events_in, free_port, is_redis, is_root, redis, say_redis, until};
use crate::receiver::{Manner, Receiver};

fn output<'a>(status: &'a Value, name: &str) -> &'a Value {
    status["outputs"].as_array().unwrap().iter().find(|output| output["output"] == name).unwrap()
}

/// A canary whose webhook is `receiver`; passwords are tried while it misbehaves, and must all come
/// once it behaves.
fn misbehaves(manner: Option<Manner>, error: &str) {
    let site = Site::new();
    let (port, hook) = (free_port(), free_port());
    let mut receiver = manner.map(|manner| Receiver::on(hook, manner));
    site.config(json!({
        "redis.enabled": true, "redis.port": port, "logger": site.logger(json!({"hook": Receiver::handler(hook)})),
    }));
    let canary = site.start();
    let begun = Instant::now();
    let mut stream = connect(port);
    for n in 0..20 {
        assert!(say_redis(&mut stream, &format!("n{n}")).starts_with('-'));
    }
    // The file has them while the receiver is still being waited for.
    site.redis_event("n19");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let status = until("the failure in the status", || {
        Some(canary.status()).filter(|status| output(status, "hook")["state"] == "failing")
    });
    let shown = output(&status, "hook");
    assert!(shown["last_error"].as_str().unwrap().contains(error), "{shown}");
    assert!(shown["queued"].as_u64().unwrap() >= 20, "{shown}");
    assert!(shown["oldest_undelivered"].as_str().unwrap().starts_with("20"), "{shown}");
    assert_eq!(output(&status, "file")["state"], "working");
    let said = site.aviary(&["status"]).bad();
    assert!(said.contains("failing: ") && said.contains(error), "{said}");
    // The failure is an event of its own, for the outputs that work.
    site.event("the state's line", |event| event["logtype"] == 30010 && event["logdata"]["STATE"] == "failing");
    match &receiver {
        Some(receiver) => receiver.set(Manner::Status(200)),
        None => receiver = Some(Receiver::on(hook, Manner::Status(200))),
    }
    let receiver = receiver.unwrap();
    let wanted: Vec<String> = (0..20).map(|n| format!("n{n}")).collect();
    until("every event, in order, once", || {
        let got: Vec<String> =
            receiver.events().iter().filter_map(|event| event["logdata"]["ARGS"].as_str().map(str::to_owned)).collect();
        (got == wanted).then_some(())
    });
    until("an empty queue", || (output(&canary.status(), "hook")["queued"] == 0).then_some(()));
}

#[test]
fn a_receiver_that_is_not_there_costs_nothing_but_its_queue() {
    misbehaves(None, "refused");
}

#[test]
fn a_receiver_that_says_503_is_asked_again() {
    misbehaves(Some(Manner::Status(503)), "503");
}

#[test]
fn a_receiver_that_hangs_is_left_after_its_time() {
    misbehaves(Some(Manner::Hang), "");
}

#[test]
fn a_receiver_that_lies_is_not_believed() {
    misbehaves(Some(Manner::Lie), "");
}

#[test]
fn a_queue_survives_a_restart() {
    let site = Site::new();
    let (port, hook) = (free_port(), free_port());
    site.config(json!({
        "redis.enabled": true, "redis.port": port, "logger": site.logger(json!({"hook": Receiver::handler(hook)})),
    }));
    let canary = site.start();
    redis(port, "kept");
    canary.kill();
    let receiver = Receiver::on(hook, Manner::Status(200));
    let canary = site.start();
    until("the event", || receiver.events().iter().any(|event| is_redis(event, "kept")).then_some(()));
    canary.stop();
}

#[test]
fn what_is_refused_is_kept_shown_and_sent_again() {
    let site = Site::new();
    let (port, hook) = (free_port(), free_port());
    let receiver = Receiver::on(hook, Manner::Status(400));
    site.config(json!({
        "redis.enabled": true, "redis.port": port, "logger": site.logger(json!({"hook": Receiver::handler(hook)})),
    }));
    let canary = site.start();
    redis(port, "refused");
    until("the refusal", || (output(&canary.status(), "hook")["refused"] != 0).then_some(()));
    let said = site.aviary(&["outputs"]).good();
    assert!(said.contains("hook: ") && said.contains("aviary outputs dead hook"), "{said}");
    let said = site.aviary(&["outputs", "dead"]).good();
    assert!(said.contains("hook") && said.contains("400"), "{said}");
    let said = site.aviary(&["outputs", "test", "hook"]).bad();
    assert!(said.contains("hook: not delivered: refused: ") && said.contains("400"), "{said}");
    // Kept over a restart.
    canary.stop();
    let canary = site.start();
    let before = receiver.events().len();
    receiver.set(Manner::Status(200));
    let said = site.aviary(&["outputs", "resend", "hook"]).good();
    assert!(said.contains("events are sent again"), "{said}");
    until("the refused event", || {
        receiver.events().iter().skip(before).any(|event| is_redis(event, "refused")).then_some(())
    });
    // The receiver knows of the last one before its answer is there.
    until("all of them", || {
        (site.aviary(&["outputs", "dead", "hook"]).good() == "no event was refused\n").then_some(())
    });
    let said = site.aviary(&["outputs", "test", "hook"]).good();
    assert!(said.starts_with("hook: delivered in "), "{said}");
    assert!(receiver.events().iter().any(|event| event["logtype"] == 30013));
    let said = site.aviary(&["outputs", "test", "mail"]).bad();
    assert!(said.contains("there is no output `mail`; there are "), "{said}");
    // What the journal still has goes there once more.
    let before = receiver.events().len();
    let said = site.aviary(&["outputs", "replay", "hook", "--since", "1h"]).good();
    assert!(said.contains("events are sent once more"), "{said}");
    until("the event once more", || {
        receiver.events().iter().skip(before).any(|event| is_redis(event, "refused")).then_some(())
    });
    canary.stop();
}

#[test]
fn handlers_say_what_goes_where_and_how_often() {
    let site = Site::new();
    let (port, hook) = (free_port(), free_port());
    let receiver = Receiver::on(hook, Manner::Status(200));
    let mut handler = Receiver::handler(hook);
    handler["when"] = json!({"services": "redis", "not": {"logtypes": "30000-39999"}});
    handler["rate"] = json!("2/s");
    site.config(json!({
        "redis.enabled": true, "redis.port": port, "logger": site.logger(json!({"hook": handler})),
    }));
    let canary = site.start();
    let mut stream = connect(port);
    for n in 0..10 {
        say_redis(&mut stream, &format!("n{n}"));
    }
    let count = |event: &Value| match event["logtype"].as_i64() {
        Some(30012) => event["logdata"]["COUNT"].as_i64().unwrap(),
        _ => 1,
    };
    until("all ten, one by one or counted", || {
        let events = receiver.events();
        (events.iter().map(count).sum::<i64>() == 10).then_some(())
    });
    let events = receiver.events();
    assert!(events.len() < 10 && events.iter().any(|event| event["logtype"] == 30012), "{events:?}");
    canary.stop();
    let mut handler = Receiver::handler(hook);
    handler["when"] = json!({"kind": "login"});
    site.config(json!({"redis.enabled": true, "redis.port": port, "logger": site.logger(json!({"hook": handler}))}));
    let canary = site.start();
    let shown = output(&canary.status(), "hook").clone();
    assert!(shown["reason"].as_str().unwrap().starts_with("`when.kind`: is not known; accepted: "), "{shown}");
}

#[test]
fn a_stop_does_not_wait_for_a_receiver_that_hangs() {
    let site = Site::new();
    let (port, hook) = (free_port(), free_port());
    let _receiver = Receiver::on(hook, Manner::Hang);
    let mut handler = Receiver::handler(hook);
    handler["timeout"] = json!(600);
    site.config(json!({
        "redis.enabled": true, "redis.port": port, "logger": site.logger(json!({"hook": handler})),
    }));
    let canary = site.start();
    redis(port, "x");
    site.redis_event("x");
    let begun = Instant::now();
    canary.stop();
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
}

#[test]
fn the_log_file_is_for_its_group_and_survives_renaming_and_deletion() {
    let site = Site::new();
    let port = free_port();
    site.config(json!({"redis.enabled": true, "redis.port": port}));
    let _canary = site.start();
    redis(port, "one");
    site.redis_event("one");
    let mode = std::fs::metadata(site.log()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    std::fs::rename(site.log(), site.path("rotated")).unwrap();
    redis(port, "two");
    site.redis_event("two");
    assert!(events_in(&site.path("rotated")).iter().any(|event| is_redis(event, "one")));
    std::fs::remove_file(site.log()).unwrap();
    redis(port, "three");
    site.redis_event("three");
}

#[test]
fn a_full_disk_loses_nothing() {
    let test = "a_full_disk_loses_nothing";
    if !is_root(test) {
        return;
    }
    let site = Site::new();
    let (port, page) = (free_port(), free_port());
    let small = site.path("small");
    std::fs::create_dir(&small).unwrap();
    let config = site.config(json!({
        "redis.enabled": true, "redis.port": port, "aviary.metrics.listen": format!("127.0.0.1:{page}"),
        "logger": {"class": "PyLogger", "kwargs": {"handlers": {
            "file": {"class": "logging.FileHandler", "filename": small.join("events.log")},
            "elsewhere": {"class": "logging.FileHandler", "filename": site.log()},
        }}},
    }));
    // State and log file on a file system of one megabyte, in a mount namespace of its own.
    let script = format!(
        "mount -t tmpfs -o size=1m none {small} || exit 77; mkdir {small}/state; \
         exec {AVIARY} sensor --config {config}",
        small = small.display(),
        config = config.display(),
    );
    let probe = format!("mount -t tmpfs none {}", small.display());
    if !site.run("unshare", &["-m", "sh", "-c", &probe]).0.status.success() {
        eprintln!("{test}: not run, no mount namespaces here");
        return;
    }
    let mut command = site.command("unshare", &["-m", "sh", "-c", &script]);
    command.env("AVIARY_STATE_DIR", small.join("state"));
    let log = std::fs::File::create(site.path("stderr")).unwrap();
    let mut child = Kept(command.stderr(log).spawn().unwrap());
    // Written as soon as the start-up lines are. Through the process's own view of the file system.
    let inside = std::path::PathBuf::from(format!("/proc/{}/root{}", child.0.id(), small.display()));
    until("the log file", || inside.join("events.log").exists().then_some(()));
    std::fs::write(inside.join("ballast"), vec![b'x'; 256 * 1024]).unwrap();
    let mut stream = connect(port);
    let wanted = 1500;
    for n in 0..wanted {
        let reply = say_redis(&mut stream, &format!("n{n}-{}", "y".repeat(40)));
        assert!(reply.starts_with('-'), "a full disk is not the peer's business: {n} {reply}");
    }
    let has = |text: &str| site.stderr().contains(text);
    until("a word of it", || (has("No space left") || has("full")).then_some(()));
    let health = || crate::metrics::get(connect(page), "/health");
    until("health to say so", || health().1.contains("\"what\":\"journal\"").then_some(()));
    assert_eq!(health().0, 503);
    // What works is not held up.
    until("the other file", || (told(&site.log()) == wanted).then_some(()));
    // Room again: the state alone needs some two megabytes.
    let grow = format!("mount -o remount,size=64m {}", small.display());
    let pid = child.0.id().to_string();
    site.run("nsenter", &["-m", "-t", &pid, "sh", "-c", &grow]).good();
    until("every event", || (told(&inside.join("events.log")) == wanted).then_some(()));
    until("health to be well again", || (health().0 == 200).then_some(()));
    let events = events_in(&inside.join("events.log"));
    let seqs: Vec<u64> = events.iter().filter_map(|event| event["aviary"]["seq"].as_u64()).collect();
    assert!(seqs.is_sorted_by(|a, b| a < b), "in order, each once");
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(i32::try_from(child.0.id()).unwrap()),
        nix::sys::signal::Signal::SIGTERM,
    )
    .unwrap();
    assert!(until("the end", || child.0.try_wait().unwrap()).success());
}

/// A process that does not outlive the test.
struct Kept(std::process::Child);

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn told(log: &std::path::Path) -> usize {
    events_in(log).iter().filter(|event| event["logtype"] == 17001).count()
}

#[test]
fn the_table_of_outputs_stands_for_handlers_in_toml_too() {
    let site = Site::new();
    let (port, hook) = (free_port(), free_port());
    let receiver = Receiver::on(hook, Manner::Status(200));
    let base = format!(
        "[device]\nlisten_addr = \"127.0.0.1\"\nnode_id = \"test-node\"\n[redis]\nenabled = true\nport = {port}\n\
         [outputs.log]\nclass = \"file\"\nfilename = {:?}\n",
        site.log()
    );
    let path = site.write("canary.toml", &base);
    let path = path.to_str().unwrap();
    let _canary = site.start_by(site.command(AVIARY, &["sensor", "--config", path]));
    redis(port, "one");
    site.redis_event("one");
    let status = site.status().unwrap();
    let names: Vec<&str> = status["outputs"].as_array().unwrap().iter().filter_map(|o| o["output"].as_str()).collect();
    assert_eq!(names, ["log"], "nothing of the default logger");
    assert_eq!(output(&status, "log")["class"], "logging.FileHandler");
    // One more, with a secret from a file; what means nothing is told where it stands.
    let token = site.write("token", "s3cret\n");
    let more = format!(
        "{base}[outputs.pager]\nclass = \"webhook\"\nurl = \"http://127.0.0.1:{hook}/\"\nmethod = \"POST\"\n\
         data = \"%(message)s\"\nheadrs = {{}}\nheaders = {{x-token = {:?}}}\n",
        format!("file:{}", token.display())
    );
    site.write("canary.toml", &more);
    let said = site.aviary(&["config", "check", path]).good();
    assert!(said.contains("canary.toml:15:1: warning: `headrs` of output `pager`"), "{said}");
    assert!(said.contains("did you mean `headers`?"), "{said}");
    let said = site.aviary(&["reload"]).good();
    assert!(said.contains("output pager started") && !said.contains("output log"), "{said}");
    redis(port, "two");
    until("the event", || receiver.events().iter().any(|event| is_redis(event, "two")).then_some(()));
    let said = site.stderr();
    assert!(said.contains("`headrs` of output `pager`") && !said.contains("s3cret"), "{said}");
    site.write("canary.toml", &more.replace("\"webhook\"", "\"webhok\""));
    let said = site.aviary(&["config", "check", path]).good();
    assert!(said.contains("canary.toml:11:1: warning: output `pager`: `class`: \"webhok\" is not known"), "{said}");
    let said = site.aviary(&["reload"]).bad();
    assert!(said.contains("did you mean \"webhook\"?"), "{said}");
}

#[test]
fn a_test_knows_its_own_event_among_others() {
    let site = Site::new();
    let (port, hook) = (free_port(), free_port());
    let receiver = Receiver::on(hook, Manner::Status(200));
    site.config(json!({
        "redis.enabled": true, "redis.port": port, "logger": site.logger(json!({"hook": Receiver::handler(hook)})),
    }));
    let canary = site.start();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = connect(port);
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                say_redis(&mut stream, "busy");
            }
        });
        for _ in 0..5 {
            let said = site.aviary(&["outputs", "test", "hook"]).good();
            // It has arrived when it says so, whatever else did.
            let id = said.trim().rsplit(' ').next().unwrap();
            assert!(receiver.events().iter().any(|event| event["aviary"]["id"] == id), "{said}");
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    // One that nobody waits for any longer is not sent after all.
    receiver.set(Manner::Hang);
    redis(port, "stuck");
    until("the failure", || (output(&canary.status(), "hook")["state"] == "failing").then_some(()));
    let before = receiver.events().iter().filter(|event| event["logtype"] == 30013).count();
    let said = site.aviary(&["outputs", "test", "hook"]).bad();
    assert!(said.contains("no answer within 8 s; last error: "), "{said}");
    receiver.set(Manner::Status(200));
    until("what waited", || receiver.events().iter().any(|event| is_redis(event, "stuck")).then_some(()));
    site.aviary(&["outputs", "test", "hook"]).good();
    assert_eq!(receiver.events().iter().filter(|event| event["logtype"] == 30013).count(), before + 1);
}
