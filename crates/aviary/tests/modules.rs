//! Users' modules in a real canary: served, reloaded, contained; `aviary module` and `opencanaryd --usermodule`.

use std::io::{Read as _, Write as _};
use std::net::UdpSocket;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{AVIARY, OPENCANARYD, PATIENCE, Site, connect, free_port, line, redis, say_redis, until};

const EXAMPLE: &str = include_str!("../../../docs/modules/example0.rhai");

/// A folder of modules with these files.
fn modules(site: &Site, files: &[(&str, &str)]) {
    std::fs::create_dir_all(site.path("modules")).unwrap();
    for (name, text) in files {
        site.write(&format!("modules/{name}"), text);
    }
}

fn config(site: &Site, keys: &Value) {
    let mut all = json!({"usermodule.path": site.path("modules")});
    all.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    site.config(all);
}

/// The article's session, with this as the first password.
fn three_passwords(port: u16, first: &str) -> String {
    let mut stream = connect(port);
    let mut said = String::new();
    for password in [first, "wrong1", "wrong2"] {
        while !said.ends_with("password: ") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            said.push(char::from(byte[0]));
        }
        write!(stream, "{password}\r\n").unwrap();
        said.push('|');
    }
    stream.read_to_string(&mut said).unwrap();
    said
}

fn is_password(event: &Value, password: &str) -> bool {
    event["logtype"] == 1006 && event["logdata"]["PASSWORD"] == password
}

#[test]
fn the_articles_example_runs_as_a_service() {
    let site = Site::new();
    let port = free_port();
    modules(&site, &[("example0.rhai", EXAMPLE)]);
    let creds = json!([{"username": "", "password": "sesame"}]);
    config(&site, &json!({"example0.enabled": true, "example0.port": port, "example0.honeycreds": creds}));
    let canary = site.start();
    assert!(!site.stderr().contains("unknown key"), "{}", site.stderr());
    let said = three_passwords(port, "sesame");
    assert_eq!(said, "Welcome!\r\npassword: |\r\npassword: |\r\npassword: |\r\nBad passwords\r\n");
    let event = site.event("the password", |event| is_password(event, "sesame"));
    assert_eq!(event["honeycred"], true);
    assert_eq!(event["dst_port"], port);
    assert_eq!(event["aviary"]["service"], "example0");
    assert_eq!(event["aviary"]["kind"], "login");
    let wrong = site.event("the last", |event| is_password(event, "wrong2"));
    assert_eq!((&wrong["honeycred"], &wrong["aviary"]["session"]), (&json!(false), &event["aviary"]["session"]));
    let services = canary.status().to_string();
    assert!(services.contains("example0"), "{services}");
    let drilled = site.aviary(&["drill"]).good();
    assert!(drilled.contains("example0"), "{drilled}");
}

#[test]
fn a_module_that_cannot_be_used_or_runs_away_stops_no_other() {
    let site = Site::new();
    let [good, runaway, redis_port] = [(); 3].map(|()| free_port());
    let declared = format!("fn about() {{ #{{ name: \"runaway\", port: {runaway} }} }}\n");
    modules(
        &site,
        &[
            ("example0.rhai", EXAMPLE),
            ("broken.rhai", "fn about() { #{ name: \"broken\","),
            ("runaway.rhai", &(declared + "fn on_line(session, line) { while true {} }")),
        ],
    );
    config(&site, &json!({"example0.port": good, "redis.enabled": true, "redis.port": redis_port}));
    let _canary = site.start();
    let told = site.event("the broken one", |event| event.to_string().contains("broken.rhai"));
    assert!(told.to_string().contains("Failed to add service from class"), "{told}");
    let mut kept = connect(redis_port);
    say_redis(&mut kept, "before");
    for _ in 0..20 {
        let mut victim = connect(runaway);
        victim.write_all(b"GET /\r\n").unwrap();
        assert_eq!(line(&mut victim), "", "its own session ends");
    }
    let failed = site.event("the failure", |event| event["logtype"] == 32_100);
    assert_eq!(failed["logdata"]["DATA"], "GET /");
    assert!(failed["logdata"]["ERROR"].as_str().unwrap().contains("Too many operations"), "{failed}");
    assert!(say_redis(&mut kept, "after").starts_with('-'));
    assert!(three_passwords(good, "still").ends_with("Bad passwords\r\n"));
    until("all twenty", || (site.events().iter().filter(|e| e["logtype"] == 32_100).count() == 20).then_some(()));
    let lines = site.stderr().lines().filter(|line| line.contains("a module failed")).count();
    assert!((1..=5).contains(&lines), "a stranger does not fill the log: {}", site.stderr());
}

#[test]
fn a_reload_takes_up_what_changed_and_keeps_the_rest() {
    let site = Site::new();
    let [port, redis_port, new_port] = [(); 3].map(|()| free_port());
    modules(&site, &[("example0.rhai", EXAMPLE)]);
    config(&site, &json!({"example0.port": port, "redis.enabled": true, "redis.port": redis_port}));
    let canary = site.start();
    let mut kept = connect(redis_port);
    say_redis(&mut kept, "before");
    assert!(site.aviary(&["reload"]).good().contains("no service or output changed"));
    let second = format!(
        "fn about() {{ #{{ name: \"second\", port: {new_port}, transport: \"udp\" }} }}\n\
         fn on_datagram(session, data) {{ session.report(99007, #{{ DATA: data }}); session.send(data); }}"
    );
    modules(&site, &[("example0.rhai", &EXAMPLE.replace("Welcome!", "Changed!")), ("second.rhai", &second)]);
    let said = site.aviary(&["reload"]).good();
    assert!(said.contains("example0 changed on port") && said.contains("second started on port"), "{said}");
    assert_eq!(line(&mut connect(port)), "Changed!");
    assert!(say_redis(&mut kept, "kept").starts_with('-'));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(b"\xffhello", ("127.0.0.1", new_port)).unwrap();
    let mut answer = [0; 64];
    let length = socket.recv(&mut answer).unwrap();
    assert_eq!(&answer[..length], b"\xffhello");
    let event = site.event("the datagram", |event| event["logtype"] == 99_007);
    assert_eq!(event["logdata"]["DATA"], "\\xffhello");
    assert_eq!(event["aviary"]["raw"]["DATA"], "/2hlbGxv");
    // A module that cannot be used changes nothing.
    modules(&site, &[("second.rhai", "fn about() {")]);
    let refused = site.aviary(&["reload"]).bad();
    assert!(refused.contains("second.rhai"), "{refused}");
    socket.send_to(b"again", ("127.0.0.1", new_port)).unwrap();
    assert_eq!(socket.recv(&mut answer).unwrap(), 5);
    std::fs::remove_file(site.path("modules/second.rhai")).unwrap();
    canary.signal(Signal::SIGHUP);
    until("the end of it", || site.stderr().contains("second stopped on port").then_some(()));
}

#[test]
fn opencanaryd_runs_modules_and_nothing_else() {
    let site = Site::new();
    let [port, redis_port] = [(); 2].map(|()| free_port());
    let nothing = json!({"redis.enabled": true, "redis.port": redis_port});
    let file = site.config(nothing);
    std::fs::copy(&file, site.path("home/opencanary.conf")).unwrap();
    let said = site.run(OPENCANARYD, &["--usermodule"]).bad();
    assert!(said.contains("usermodule.path"), "{said}");
    modules(&site, &[("example0.rhai", EXAMPLE)]);
    config(&site, &json!({"example0.port": port, "redis.enabled": true, "redis.port": redis_port}));
    std::fs::copy(&file, site.path("home/opencanary.conf")).unwrap();
    let canary = site.start_by(site.command(OPENCANARYD, &["--usermodule"]));
    assert!(three_passwords(port, "one").ends_with("Bad passwords\r\n"));
    site.event("the password", |event| is_password(event, "one"));
    assert!(std::net::TcpStream::connect(("127.0.0.1", redis_port)).is_err());
    assert!(site.aviary(&["reload"]).good().contains("no service or output changed"));
    canary.stop();
}

#[test]
fn the_command_begins_checks_and_tests_a_module() {
    let site = Site::new();
    let home = |name: &str| site.path("home").join(name);
    site.aviary(&["module", "new", "teapot"]).good();
    assert!(site.aviary(&["module", "new", "teapot"]).bad().contains("is there already"));
    assert!(site.aviary(&["module", "new", "Tea pot"]).bad().contains("cannot be a module's name"));
    let said = site.aviary(&["module", "check", "teapot.rhai"]).good();
    assert!(said.contains("teapot: what it plays (7000/tcp, logtype 99000)"), "{said}");
    assert!(said.contains("teapot.greeting = \"ready\""), "{said}");
    let said = site.aviary(&["module", "test", "teapot.rhai", "teapot.txt"]).good();
    assert!(said.starts_with("< ready\\r\\n\n> help\\r\\n\n! 99000 {\"LINE\": \"help\"}\n"), "{said}");
    let script = std::fs::read_to_string(home("teapot.rhai")).unwrap();
    std::fs::write(home("teapot.rhai"), script.replace("unknown command", "what?")).unwrap();
    let said = site.aviary(&["module", "test", "teapot.rhai", "teapot.txt"]).bad();
    assert!(said.contains("expected: < unknown command\\r\\n") && said.contains("happened: < what?\\r\\n"), "{said}");
    std::fs::write(home("asks.txt"), "> quit\\r\\n\n").unwrap();
    assert!(site.aviary(&["module", "test", "teapot.rhai", "asks.txt"]).good().ends_with("\n.\n"));
    std::fs::write(home("teapot.rhai"), script.replace("session.close();", "session.clsoe();")).unwrap();
    let said = site.aviary(&["module", "test", "teapot.rhai", "asks.txt"]).bad();
    assert!(said.contains("clsoe") && said.contains("line 13"), "{said}");
    std::fs::write(home("teapot.rhai"), script.replace("fn about", "fn abuot")).unwrap();
    assert!(site.aviary(&["module", "check", "teapot.rhai"]).bad().contains("no function `about`"));
    let shown = site.run(AVIARY, &["module", "--help"]).good();
    assert!(shown.contains("new") && shown.contains("check") && shown.contains("test"), "{shown}");
}

#[test]
fn keys_of_modules_are_checked_as_those_of_services() {
    let site = Site::new();
    modules(&site, &[("example0.rhai", EXAMPLE)]);
    config(&site, &json!({"example0.attempts": "many", "example0.greting": "Hi"}));
    let file = site.path("canary.conf").display().to_string();
    let said = site.aviary(&["config", "check", &file]).either();
    assert!(said.contains("`example0.attempts`") && said.contains("accepted: a whole number"), "{said}");
    assert!(said.contains("did you mean `example0.greeting`?"), "{said}");
    config(&site, &json!({"example0.greeting": "Hi"}));
    let said = site.aviary(&["config", "show", &file]).good();
    assert!(said.contains("example0.greeting = \"Hi\"") && said.contains("example0.port = 8007  # default"), "{said}");
}

/// A canary with Redis, a log file, and an output with this script, which sends to a receiver of ours.
fn with_output(site: &Site, script: &str, redis_port: u16, receiver: u16) {
    site.write("siem.rhai", script);
    let siem = json!({"url": format!("http://127.0.0.1:{receiver}/in"), "timeout": 5});
    let output = json!({"class": "aviary.script", "file": site.path("siem.rhai"), "destinations": {"siem": siem}});
    let logger = site.logger(json!({"siem": output}));
    site.config(json!({"redis.enabled": true, "redis.port": redis_port, "logger": logger}));
}

/// A receiver of requests that gives the body of each, and answers 200.
fn receiver() -> (u16, std::sync::mpsc::Receiver<String>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (give, bodies) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = std::io::BufReader::new(stream);
            loop {
                let mut length = 0;
                let mut header = String::new();
                while std::io::BufRead::read_line(&mut stream, &mut header).is_ok_and(|read| read > 2) {
                    if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                    header.clear();
                }
                let mut body = vec![0; length];
                if length == 0 || stream.read_exact(&mut body).is_err() {
                    break;
                }
                give.send(String::from_utf8(body).unwrap()).unwrap();
                stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
            }
        }
    });
    (port, bodies)
}

/// The output's health, as `status` has it.
fn siem(site: &Site) -> Value {
    let status = site.status().unwrap();
    status["outputs"].as_array().unwrap().iter().find(|output| output["output"] == "siem").unwrap().clone()
}

#[test]
fn an_output_is_taken_up_at_a_reload_and_a_broken_one_changes_nothing() {
    const SENDS: &str = "fn emit(event) {\n    if event.dst_port > 0 { send(\"siem\", `one ${event.logdata}`); }\n}";
    let site = Site::new();
    let redis_port = free_port();
    let (port, bodies) = receiver();
    with_output(&site, SENDS, redis_port, port);
    let _canary = site.start();
    assert!(!site.stderr().contains("unknown key"), "{}", site.stderr());
    redis(redis_port, "a");
    assert!(bodies.recv_timeout(PATIENCE).unwrap().starts_with("one #{"));
    assert!(site.aviary(&["reload"]).good().contains("no service or output changed"));
    site.write("siem.rhai", "fn emit(event) {");
    let refused = site.aviary(&["reload"]).bad();
    assert!(refused.contains("handler `siem`: `file`: module `siem.rhai` cannot be used"), "{refused}");
    while bodies.try_recv().is_ok() {}
    redis(redis_port, "b");
    assert!(bodies.recv_timeout(PATIENCE).unwrap().starts_with("one #{"), "the old one goes on");
    site.write("siem.rhai", &SENDS.replace("one", "two"));
    assert!(site.aviary(&["reload"]).good().contains("output siem changed"));
    redis(redis_port, "c");
    until("the new one", || bodies.recv_timeout(PATIENCE).unwrap().starts_with("two").then_some(()));
}

#[test]
fn an_output_that_errs_is_seen_to_and_its_events_wait_as_dead_letters() {
    let site = Site::new();
    let redis_port = free_port();
    let (port, bodies) = receiver();
    with_output(&site, "fn emit(event) {\n    let x = event.nothing.at.all;\n}", redis_port, port);
    let _canary = site.start();
    redis(redis_port, "a");
    site.redis_event("a");
    let health = until("the failure", || Some(siem(&site)).filter(|health| health["refused"].as_u64() > Some(0)));
    assert_eq!(health["state"], "failing", "{health}");
    let dead = site.aviary(&["outputs", "dead"]).good();
    assert!(dead.contains("the script failed: `siem.rhai`: `emit`: ") && dead.contains("line 2, position"), "{dead}");
    site.write("siem.rhai", "fn emit(event) { send(\"siem\", `${event.logdata}`) }");
    assert!(site.aviary(&["reload"]).good().contains("output siem changed"));
    site.aviary(&["outputs", "resend", "siem"]).good();
    until("the dead letters", || bodies.recv_timeout(PATIENCE).unwrap().contains("\"a\"").then_some(()));
}

#[test]
fn the_command_begins_checks_and_tests_an_output() {
    let site = Site::new();
    site.aviary(&["module", "new", "--output", "siem"]).good();
    let said = site.aviary(&["module", "check", "siem.rhai"]).good();
    assert!(said.contains("siem: logins, in a line each (output)") && said.contains("destinations.siem"), "{said}");
    let said = site.aviary(&["module", "test", "siem.rhai", "siem.txt"]).good();
    assert!(said.contains("\n< siem login as root at ssh from 10.0.0.66\n"), "{said}");
    let none = site.aviary(&["module", "test", "siem.rhai", "siem.txt", "--settings", "{\"kinds\": []}"]).bad();
    assert!(none.contains("expected: < siem login as root"), "{none}");
    let wrong = site.aviary(&["module", "test", "siem.rhai", "siem.txt", "--settings", "{\"kind\": []}"]).bad();
    assert!(wrong.contains("the setting `kind` is not known to the script; there are kinds"), "{wrong}");
    let file = site.path("home").join("siem.rhai");
    let script = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, script.replace("send(", "sned(")).unwrap();
    let said = site.aviary(&["module", "test", "siem.rhai", "siem.txt"]).bad();
    assert!(said.contains("sned") && said.contains("line 12"), "{said}");
}

#[test]
fn outputs_may_lie_beside_modules() {
    let site = Site::new();
    let [port, redis_port] = [(); 2].map(|()| free_port());
    modules(&site, &[("example0.rhai", EXAMPLE), ("siem.rhai", "fn emit(event) { ")]);
    config(&site, &json!({"example0.port": port, "redis.enabled": true, "redis.port": redis_port}));
    let _canary = site.start();
    assert!(three_passwords(port, "x").ends_with("Bad passwords\r\n"));
    let events = site.events();
    assert!(!events.iter().any(|event| event.to_string().contains("siem.rhai")), "{events:?}");
}

/// Redis is here to be seen unharmed.
#[test]
fn a_module_may_not_take_a_services_name() {
    let site = Site::new();
    let port = free_port();
    modules(&site, &[("redis.rhai", &EXAMPLE.replace("\"example0\"", "\"redis\""))]);
    config(&site, &json!({"redis.enabled": true, "redis.port": port}));
    let _canary = site.start();
    assert!(redis(port, "x").starts_with('-'));
    site.event("the refusal", |event| event.to_string().contains("redis.rhai"));
}

#[test]
fn a_host_has_modules_of_its_own() {
    let site = Site::new();
    let port = free_port();
    modules(&site, &[("example0.rhai", EXAMPLE)]);
    let creds = json!([{"username": "", "password": "sesame"}]);
    let host = json!({
        "device.listen_addr": "127.0.0.2", "usermodule.path": site.path("modules"),
        "example0.port": port, "example0.greeting": "From a host", "example0.honeycreds": creds,
    });
    site.config(json!({"hosts": {"printer": host}}));
    let _canary = site.start();
    assert!(!site.stderr().contains("unknown key"), "{}", site.stderr());
    let mut stream = std::net::TcpStream::connect(("127.0.0.2", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(line(&mut stream), "From a host");
    stream.write_all(b"sesame\r\n").unwrap();
    let event = site.event("the password", |event| is_password(event, "sesame"));
    assert_eq!((&event["node_id"], &event["honeycred"]), (&json!("test-node/printer"), &json!(true)));
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "the canary itself has none");
}
