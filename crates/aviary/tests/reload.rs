//! SIGHUP and `aviary reload`.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::harness::{Site, connect, free_port, line, redis, say_redis, until};
use crate::receiver::{Manner, Receiver};

#[test]
fn keeps_connections_of_services_that_did_not_change() {
    let site = Site::new();
    let (redis_port, ftp_port) = (free_port(), free_port());
    let keys = |banner: &str| {
        json!({
            "redis.enabled": true, "redis.port": redis_port,
            "ftp.enabled": true, "ftp.port": ftp_port, "ftp.banner": banner,
        })
    };
    site.config(keys("first"));
    let canary = site.start();
    let mut kept = connect(redis_port);
    say_redis(&mut kept, "before");
    let mut changed = connect(ftp_port);
    assert!(line(&mut changed).contains("first"));
    site.config(keys("second"));
    canary.signal(Signal::SIGHUP);
    until("the new banner", || line(&mut connect(ftp_port)).contains("second").then_some(()));
    assert!(say_redis(&mut kept, "after").starts_with('-'));
    site.redis_event("after");
    // The old conversation has ended.
    while !line(&mut changed).is_empty() {}
}

#[test]
fn a_bad_file_changes_nothing_and_is_explained() {
    let site = Site::new();
    let port = free_port();
    let good = json!({"redis.enabled": true, "redis.port": port});
    site.config(good.clone());
    let canary = site.start();
    let mut kept = connect(port);
    let broken = ["{\n\"redis.enabled\": true,,\n}".to_owned(), "{\"redis.port\": \"many\"}".to_owned()];
    for (text, part) in broken.iter().zip(["canary.conf:2:", "redis.port"]) {
        site.write("canary.conf", text);
        let said = site.aviary(&["reload"]).bad();
        assert!(said.contains(part), "{said}");
        assert!(say_redis(&mut kept, "still").starts_with('-'));
    }
    canary.signal(Signal::SIGHUP);
    until("a word in the log", || site.stderr().contains("not reloaded, nothing changed").then_some(()));
    site.config(good);
    let said = site.aviary(&["reload"]).good();
    assert!(said.contains("no service or output changed"), "{said}");
    assert!(say_redis(&mut kept, "at last").starts_with('-'));
}

#[test]
fn an_output_that_cannot_be_built_refuses_the_file() {
    let site = Site::new();
    let port = free_port();
    site.config(json!({"redis.enabled": true, "redis.port": port}));
    let _canary = site.start();
    let moved = free_port();
    site.config(json!({
        "redis.enabled": true, "redis.port": moved,
        "logger": site.logger(json!({"hook": {"class": "opencanary.logger.WebhookHandler", "url": "gopher://x"}})),
    }));
    let said = site.aviary(&["reload"]).bad();
    assert!(said.contains("hook") && said.contains("url"), "{said}");
    assert!(redis(port, "where it was").starts_with('-'));
    assert!(std::net::TcpStream::connect(("127.0.0.1", moved)).is_err());
}

#[test]
fn ports_may_change_hands() {
    let site = Site::new();
    let (one, two) = (free_port(), free_port());
    let keys = |ftp: u16, redis: u16| json!({"ftp.enabled": true, "ftp.port": ftp, "redis.enabled": true, "redis.port": redis});
    site.config(keys(one, two));
    let _canary = site.start();
    for round in 0..6 {
        let (ftp, other) = if round % 2 == 0 { (two, one) } else { (one, two) };
        site.config(keys(ftp, other));
        let said = site.aviary(&["reload"]).good();
        assert!(!said.contains("did not start"), "{said}");
        assert!(line(&mut connect(ftp)).starts_with("220"));
        assert!(redis(other, "moved").starts_with('-'));
    }
}

#[test]
fn services_come_and_go() {
    let site = Site::new();
    let (redis_port, ftp_port) = (free_port(), free_port());
    site.config(json!({"redis.enabled": true, "redis.port": redis_port}));
    let _canary = site.start();
    site.config(json!({"ftp.enabled": true, "ftp.port": ftp_port}));
    let said = site.aviary(&["reload"]).good();
    assert!(said.contains("redis stopped") && said.contains("ftp started"), "{said}");
    assert!(line(&mut connect(ftp_port)).starts_with("220"));
    assert!(std::net::TcpStream::connect(("127.0.0.1", redis_port)).is_err());
    site.event("a line", |event| event.to_string().contains("Configuration reloaded: redis stopped"));
}

#[test]
fn a_changed_output_goes_on_where_it_was() {
    let site = Site::new();
    let (port, hook) = (free_port(), free_port());
    let receiver = Receiver::on(hook, Manner::Status(200));
    let keys = |timeout: u32| {
        let mut handler = Receiver::handler(hook);
        handler["timeout"] = json!(timeout);
        json!({"redis.enabled": true, "redis.port": port, "logger": site.logger(json!({"hook": handler}))})
    };
    site.config(keys(1));
    let _canary = site.start();
    let mut stream = connect(port);
    let mut count = 0;
    for round in 2..6 {
        for _ in 0..25 {
            count += 1;
            say_redis(&mut stream, &format!("n{count}"));
        }
        site.config(keys(round));
        let said = site.aviary(&["reload"]).good();
        assert!(said.contains("output hook changed"), "{said}");
    }
    let wanted: Vec<String> = (1..=count).map(|n| format!("n{n}")).collect();
    until("every event, in order, once", || {
        let got: Vec<String> =
            receiver.events().iter().filter_map(|event| event["logdata"]["ARGS"].as_str().map(str::to_owned)).collect();
        assert!(got.len() <= wanted.len(), "{got:?}");
        (got == wanted).then_some(())
    });
}

#[test]
fn an_output_that_goes_takes_its_queue_along_and_says_so() {
    let site = Site::new();
    let (port, hook) = (free_port(), free_port());
    let keys = json!({"redis.enabled": true, "redis.port": port});
    let mut with = keys.clone();
    with["logger"] = site.logger(json!({"hook": Receiver::handler(hook)}));
    site.config(with);
    let canary = site.start();
    redis(port, "unheard");
    until("a queue", || {
        canary.status()["outputs"].as_array()?.iter().find(|output| output["queued"].as_u64() > Some(0)).map(drop)
    });
    site.config(keys);
    let said = site.aviary(&["reload"]).good();
    assert!(said.contains("output hook removed with") && said.contains("events undelivered"), "{said}");
    assert_eq!(canary.status()["outputs"].as_array().unwrap().len(), 1);
}
