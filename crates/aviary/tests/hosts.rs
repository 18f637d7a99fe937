//! `hosts`: one canary that plays several machines at addresses of the loopback network.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{AVIARY, PATIENCE, Site, connect, free_port, line, redis, say_redis, until};

const FIRST: &str = "127.0.0.2";
const SECOND: &str = "127.0.0.3";

#[track_caller]
fn connect_to(address: &str, port: u16) -> TcpStream {
    let stream = TcpStream::connect((address, port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn refuses(address: &str, port: u16) -> bool {
    TcpStream::connect((address, port)).is_err()
}

/// The names of who was where in events that fit: node id, address, service.
fn names(site: &Site, fits: impl Fn(&Value) -> bool) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let one = |event: &Value| {
        [text(&event["node_id"]), text(&event["dst_host"]), text(&event["aviary"]["service"])].join(" ")
    };
    let mut names: Vec<String> = site.events().iter().filter(|event| fits(event)).map(one).collect();
    names.sort();
    names
}

#[track_caller]
fn log_in(address: &str, port: u16, password: &str) -> String {
    let mut stream = connect_to(address, port);
    let banner = line(&mut stream);
    stream.write_all(format!("USER backup\r\nPASS {password}\r\n").as_bytes()).unwrap();
    line(&mut stream);
    line(&mut stream);
    banner
}

#[test]
fn two_machines_on_the_same_ports_are_told_apart() {
    let site = Site::new();
    let (ftp, ssh, https, own) = (free_port(), free_port(), free_port(), free_port());
    let host = |address: &str, persona: &str| {
        json!({
            "device.listen_addr": address, "device.persona": persona,
            "ftp.enabled": true, "ftp.port": ftp, "ssh.enabled": true, "ssh.port": ssh,
            "https.enabled": true, "https.port": https,
            "http.enabled": false, "smb.enabled": false, "rdp.enabled": false, "mssql.enabled": false, "mysql.enabled": false,
        })
    };
    let mut windows = host(SECOND, "windows-server");
    windows["device.node_id"] = json!("win-7");
    windows["aviary.host_name"] = json!("FS01");
    windows["ftp.honeycreds"] = json!([{"username": "backup", "password": "planted"}]);
    site.config(json!({
        "redis.enabled": true, "redis.port": own, "hosts": {"linux": host(FIRST, "linux-server"), "windows": windows},
    }));
    let canary = site.start();
    let banners = [FIRST, SECOND].map(|address| log_in(address, ftp, "planted"));
    assert!(banners[1].contains("Microsoft") && !banners[0].contains("Microsoft"), "{banners:?}");
    let versions = [FIRST, SECOND].map(|address| line(&mut connect_to(address, ssh)));
    assert!(versions[1].contains("for_Windows") && !versions[0].contains("Windows"), "{versions:?}");
    redis(own, "mine");
    assert!(refuses("127.0.0.1", ftp) && refuses(FIRST, own));
    let logins =
        until("both logins", || Some(names(&site, |event| event["logtype"] == 2000)).filter(|it| it.len() == 2));
    assert_eq!(logins, [format!("test-node/linux {FIRST} ftp"), format!("win-7 {SECOND} ftp")]);
    assert_eq!(site.redis_event("mine")["node_id"], "test-node");
    let mut tail =
        site.command(AVIARY, &["tail", "--node", "win-7", "--last", "100"]).stdout(Stdio::piped()).spawn().unwrap();
    let shown = BufReader::new(tail.stdout.take().unwrap()).lines().map_while(Result::ok);
    let login = shown.take_while(|line| !line.contains("linux")).find(|line| line.contains("PASSWORD=planted"));
    tail.kill().unwrap();
    tail.wait().unwrap();
    assert!(login.is_some_and(|line| line.contains(&format!("127.0.0.1 → win-7:{ftp}"))));
    let planted: Vec<Value> = site.events().into_iter().filter(|event| event["honeycred"] == true).collect();
    assert_eq!(planted.len(), 1);
    assert_eq!(planted[0]["node_id"], "win-7");
    for name in ["ssh-host-ed25519", "ssh-host-rsa", "tls_https.key", "tls_https.crt"] {
        let secret = |host: &str| {
            let path = site.state().join("secrets").join(format!("hosts_{host}_{name}"));
            until("a secret", || std::fs::read(&path).ok().filter(|bytes| !bytes.is_empty()))
        };
        assert_ne!(secret("linux"), secret("windows"), "{name}");
    }
    let certificate = std::fs::read(site.state().join("secrets/hosts_windows_tls_https.crt")).unwrap();
    assert!(certificate.windows(4).any(|part| part == b"FS01"), "the certificate names the host");
    let status = canary.status();
    let listed = |host: Value| {
        let services = status["services"].as_array().unwrap();
        let of_host = services.iter().filter(|service| service["host"] == host);
        of_host.map(|service| service["service"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(listed(Value::Null), ["redis"]);
    for host in ["linux", "windows"] {
        let mut services = listed(json!(host));
        services.sort();
        assert_eq!(services, ["ftp", "https", "ssh"]);
    }
}

/// A client's question to an NTP server: version 4, mode 3.
fn ask_time(socket: &UdpSocket, address: &str, port: u16) -> std::net::SocketAddr {
    let mut question = [0; 48];
    question[0] = 0x23;
    question[40..48].copy_from_slice(b"12345678");
    until("an answer", || {
        socket.send_to(&question, (address, port)).unwrap();
        socket.recv_from(&mut [0; 512]).ok().map(|(_, from)| from)
    })
}

#[test]
fn a_datagram_is_answered_from_the_address_that_was_asked_and_names_its_host() {
    let site = Site::new();
    let port = free_port();
    let ntp = |address: &str| json!({"device.listen_addr": address, "ntp.enabled": true, "ntp.port": port});
    site.config(json!({"ntp.enabled": true, "ntp.port": port, "hosts": {"a": ntp(FIRST), "b": ntp(SECOND)}}));
    let _canary = site.start();
    // One socket asks all, so that only the address that is asked tells the three apart.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let addresses = ["127.0.0.1", FIRST, SECOND];
    for address in addresses {
        assert_eq!(ask_time(&socket, address, port).to_string(), format!("{address}:{port}"));
    }
    let found = until("three hosts", || {
        let mut found = names(&site, |event| event["aviary"]["service"] == "ntp");
        found.dedup();
        (found.len() == 3).then_some(found)
    });
    let wanted = ["test-node 127.0.0.1 ntp", "test-node/a 127.0.0.2 ntp", "test-node/b 127.0.0.3 ntp"];
    assert_eq!(found, wanted);
    let events = site.events();
    let mut sessions: Vec<_> = events.iter().filter_map(|event| event["aviary"]["session"].as_str()).collect();
    sessions.sort_unstable();
    sessions.dedup();
    assert_eq!(sessions.len(), 3, "three flows of one socket are three sessions");
}

#[test]
fn hosts_come_change_and_go_by_themselves() {
    let site = Site::new();
    let port = free_port();
    let redis_at = |address: &str, more: Value| {
        let mut host = json!({"device.listen_addr": address, "redis.enabled": true, "redis.port": port});
        host.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        host
    };
    let config = |hosts: Value| site.config(json!({"redis.enabled": true, "redis.port": port, "hosts": hosts}));
    config(json!({"a": redis_at(FIRST, json!({}))}));
    let _canary = site.start();
    let mut own = connect(port);
    let mut kept = connect_to(FIRST, port);
    say_redis(&mut own, "own");
    say_redis(&mut kept, "kept");

    config(json!({"a": redis_at(FIRST, json!({})), "b": redis_at(SECOND, json!({}))}));
    let said = site.aviary(&["reload"]).good();
    assert_eq!(said.trim(), format!("redis of host `b` started on port {port}"));
    let mut new = connect_to(SECOND, port);
    say_redis(&mut new, "new");
    assert_eq!(site.redis_event("new")["node_id"], "test-node/b");

    // A new name is no new service: whoever is there stays.
    let named = json!({"device.node_id": "beta"});
    config(json!({"a": redis_at(FIRST, json!({})), "b": redis_at(SECOND, named)}));
    assert!(site.aviary(&["reload"]).good().contains("no service or output changed"));
    say_redis(&mut new, "named");
    assert_eq!(site.redis_event("named")["node_id"], "beta");

    let changed = json!({"aviary.host_name": "other"});
    config(json!({"a": redis_at(FIRST, json!({})), "b": redis_at(SECOND, changed)}));
    assert_eq!(site.aviary(&["reload"]).good().trim(), format!("redis of host `b` changed on port {port}"));
    while !line(&mut new).is_empty() {}

    config(json!({"a": redis_at(FIRST, json!({}))}));
    assert_eq!(site.aviary(&["reload"]).good().trim(), format!("redis of host `b` stopped on port {port}"));
    assert!(refuses(SECOND, port));

    // An address that changes its owner does so in one go.
    config(json!({"a": redis_at(SECOND, json!({})), "c": redis_at(FIRST, json!({}))}));
    site.aviary(&["reload"]).good();
    say_redis(&mut connect_to(FIRST, port), "first");
    say_redis(&mut connect_to(SECOND, port), "second");
    assert_eq!(site.redis_event("first")["node_id"], "test-node/c");
    assert_eq!(site.redis_event("second")["node_id"], "test-node/a");
    assert!(say_redis(&mut own, "still").starts_with('-'), "the canary's own were never touched");
}

#[test]
fn what_a_host_that_goes_was_told_last_is_still_of_that_host() {
    let site = Site::new();
    let port = free_port();
    let keys = json!({"device.listen_addr": FIRST, "redis.enabled": true, "redis.port": port});
    site.config(json!({"hosts": {"a": keys}}));
    let _canary = site.start();
    let mut stream = connect_to(FIRST, port);
    let peer = stream.local_addr().unwrap().port();
    stream.write_all(b"AUTH never-ended").unwrap();
    until("a connection", || site.status().filter(|status| status["connections"] == 1));
    site.config(json!({"redis.enabled": true, "redis.port": port}));
    site.aviary(&["reload"]).good();
    let event = site.event("the end of the session", |event| event["src_port"] == peer);
    assert_eq!((&event["node_id"], &event["dst_host"]), (&json!("test-node/a"), &json!(FIRST)));
}

#[test]
fn a_busy_port_of_one_host_leaves_the_others() {
    let site = Site::new();
    let holder = TcpListener::bind((FIRST, 0)).unwrap();
    let port = holder.local_addr().unwrap().port();
    let host = |address: &str| json!({"device.listen_addr": address, "redis.enabled": true, "redis.port": port});
    let path = site.config(json!({"hosts": {"a": host(FIRST), "b": host(SECOND), "c": host("192.0.2.7")}}));
    let said = site.aviary(&["config", "check", path.to_str().unwrap()]).good();
    assert!(said.contains(&format!("service `redis` of host `a`: port {port} is taken by")), "{said}");
    assert!(said.contains("192.0.2.7 in `hosts.c.device.listen_addr` is no address of this machine"), "{said}");
    let _canary = site.start();
    say_redis(&mut connect_to(SECOND, port), "heard");
    assert_eq!(site.redis_event("heard")["node_id"], "test-node/b");
    let table = site.aviary(&["status"]).bad();
    let row = |host: &str| table.lines().find(|line| line.starts_with(host)).unwrap_or_default().to_owned();
    assert!(row("a ").contains("is taken by") && row("b ").ends_with("listening"), "{table}");
    assert!(row("c ").contains("this machine has no address 192.0.2.7"), "{table}");
    let table = site.aviary(&["drill"]).bad();
    let row = |host: &str| table.lines().find(|line| line.starts_with(host)).unwrap_or_default().to_owned();
    assert!(row("b ").ends_with("reported") && row("a ").contains("failed"), "{table}");
}

#[test]
fn the_settings_in_force_are_shown_host_by_host() {
    let site = Site::new();
    let host = json!({"device.listen_addr": FIRST, "redis.enabled": true, "redis.port": 6380});
    let path = site.config(json!({"ftp.enabled": true, "hosts": {"a": host}}));
    let shown = site.aviary(&["config", "show", path.to_str().unwrap()]).good();
    for line in [
        "ftp.enabled = true",
        "# host a, in events test-node/a",
        "hosts.a.redis.port = 6380",
        "hosts.a.redis.mode = \"requirepass\"  # default",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}: {shown}");
    }
    assert!(!shown.contains("hosts.a.ftp") && !shown.contains("hosts.a.logger"), "{shown}");
}

#[test]
fn beside_hosts_every_address_means_every_other() {
    let site = Site::new();
    let port = free_port();
    site.config(json!({
        "device.listen_addr": "", "redis.enabled": true, "redis.port": port,
        "hosts": {"a": {"device.listen_addr": "127.0.0.1", "ftp.enabled": true, "ftp.port": free_port()}},
    }));
    let canary = site.start();
    assert!(refuses("127.0.0.1", port), "the address is the host's");
    let status = canary.status();
    let mut addresses: Vec<_> = status["services"].as_array().unwrap().iter().map(|it| &it["address"]).collect();
    addresses.retain(|address| **address != "127.0.0.1");
    assert!(!addresses.iter().any(|address| **address == "*"), "{addresses:?}");
    // Without its host the canary has every address again.
    site.config(json!({"device.listen_addr": "", "redis.enabled": true, "redis.port": port}));
    site.aviary(&["reload"]).good();
    redis(port, "again");
    assert_eq!(site.redis_event("again")["node_id"], "test-node");
}
