//! Many connections, few file descriptors.

use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::time::Instant;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::json;

use crate::harness::{AVIARY, Site, connect, connect_from, free_port, redis, until};

/// Lets this process hold `wanted` files; gives how many it may.
fn raise_files(wanted: u64) -> u64 {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let limit = soft.max(wanted.min(hard));
    setrlimit(Resource::RLIMIT_NOFILE, limit, hard).unwrap();
    limit
}

/// Addresses of the loopback network, so that no source is greedier than another.
fn source(n: usize) -> IpAddr {
    let (high, low) = ((n / 200) % 200, n % 200);
    IpAddr::V4(Ipv4Addr::new(127, 1, u8::try_from(high).unwrap(), u8::try_from(low + 1).unwrap()))
}

fn crowd(port: u16, count: usize) -> Vec<TcpStream> {
    (0..count).map(|n| connect_from(source(n % 100), port).unwrap()).collect()
}

#[test]
fn twenty_thousand_idle_connections_leave_the_others_answering() {
    let files = usize::try_from(raise_files(21_000)).unwrap();
    let count = 20_000.min(files - 200);
    let site = Site::new();
    let (crowded, other) = (free_port(), free_port());
    site.config(json!({
        "ftp.enabled": true, "ftp.port": crowded, "redis.enabled": true, "redis.port": other,
    }));
    let canary = site.start();
    let held = crowd(crowded, count);
    if count < 20_000 {
        eprintln!("only {count} connections, since this process may hold only {files} files");
    }
    until("all of them taken in", || {
        let taken = canary.status()["connections"].as_u64()?;
        (taken >= u64::try_from(count).unwrap() - 16).then_some(())
    });
    let begun = Instant::now();
    assert!(crate::harness::line(&mut connect(crowded)).starts_with("220"));
    assert!(redis(other, "one more").starts_with('-'));
    site.redis_event("one more");
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    drop(held);
    until("an empty table", || (canary.status()["connections"] == 0).then_some(()));
    // Each of them leaves its trace.
    until("all of them told", || {
        (canary.status()["journal"]["head"].as_u64()? >= u64::try_from(count).unwrap()).then_some(())
    });
}

#[test]
fn with_1024_files_the_newcomers_still_get_an_answer() {
    let limit = 1024;
    raise_files(3000);
    let site = Site::new();
    let (crowded, other) = (free_port(), free_port());
    let path = site.config(json!({
        "redis.enabled": true, "redis.port": crowded, "ftp.enabled": true, "ftp.port": other,
    }));
    let arguments = [&format!("--nofile={limit}"), AVIARY, "sensor", "--config", path.to_str().unwrap()];
    let canary = site.start_by(site.command("prlimit", &arguments));
    let held = crowd(crowded, 1500);
    for n in 0..20 {
        assert!(redis(crowded, &format!("late-{n}")).starts_with('-'), "{n}");
        assert!(crate::harness::line(&mut connect(other)).starts_with("220"));
        site.redis_event(&format!("late-{n}"));
    }
    let status = canary.status();
    assert!(status["connections"].as_u64().unwrap() < limit, "{}", status["connections"]);
    // Those who were cut off are told of, once a source and minute.
    let limited = |event: &serde_json::Value| event["logtype"] == 30002;
    site.event("the limit", limited);
    let mut sources: Vec<String> =
        site.events().iter().filter(|event| limited(event)).map(|event| event["src_host"].to_string()).collect();
    let told = sources.len();
    sources.sort();
    sources.dedup();
    assert_eq!(sources.len(), told);
    drop(held);
}

#[test]
fn one_source_cannot_push_out_another() {
    let site = Site::new();
    let port = free_port();
    raise_files(1000);
    site.config(json!({
        "redis.enabled": true, "redis.port": port,
        "aviary.limits.connections": 100, "aviary.limits.connections_per_source": 90,
    }));
    let canary = site.start();
    // Quiet for longer than anybody else, and alone.
    let mut quiet = connect_from(source(7), port).unwrap();
    quiet.set_read_timeout(Some(crate::harness::PATIENCE)).unwrap();
    let greedy: Vec<TcpStream> = (0..400).map(|n| connect_from(source(1 + n % 3), port).unwrap()).collect();
    until("a table at its cap", || (canary.status()["connections"].as_u64()? >= 95).then_some(()));
    assert!(crate::harness::say_redis(&mut quiet, "still here").starts_with('-'));
    drop(greedy);
}

#[test]
fn more_ports_than_connections_are_all_served() {
    let site = Site::new();
    let ports: Vec<u16> = (0..10).map(|_| free_port()).collect();
    let addresses: Vec<String> = (1..7).map(|n| format!("127.0.0.{n}")).collect();
    let mut keys = json!({
        "tcpbanner.enabled": true, "aviary.limits.connections": 16, "device.listen_addr": addresses,
    });
    for (n, port) in ports.iter().enumerate() {
        keys[format!("tcpbanner_{}.enabled", n + 1)] = json!(true);
        keys[format!("tcpbanner_{}.port", n + 1)] = json!(port);
        keys[format!("tcpbanner_{}.initbanner", n + 1)] = json!(format!("banner {n} "));
    }
    site.config(keys);
    let canary = site.start();
    assert_eq!(canary.status()["services"].as_array().unwrap().len(), 60);
    // From the last to the first: whoever came too late for a permit to wait with would starve.
    for (n, port) in ports.iter().enumerate().rev() {
        for address in &addresses {
            let mut stream = TcpStream::connect((address.as_str(), *port)).unwrap();
            stream.set_read_timeout(Some(crate::harness::PATIENCE)).unwrap();
            let mut text = [0; 8];
            std::io::Read::read_exact(&mut stream, &mut text).unwrap();
            assert!(format!("banner {n} ").starts_with(std::str::from_utf8(&text).unwrap()));
        }
    }
}
