//! How a canary is doing, as its hub is told.

use std::net::IpAddr;
use std::path::Path;

use aviary_hub::sensors::{Report, ServiceReport};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::OUTPUT;

/// Out of what `status` says, and the file that it runs on.
pub(super) fn report(status: &Value, config: Option<&Path>) -> Report {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let services = status["services"].as_array().into_iter().flatten().map(|service| ServiceReport {
        service: text(&service["service"]),
        address: text(&service["address"]),
        port: service["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(0),
        protocol: text(&service["protocol"]),
        state: text(&service["state"]),
    });
    let outputs = status["outputs"].as_array().into_iter().flatten();
    let ours = outputs.into_iter().find(|output| output["output"] == OUTPUT);
    Report {
        version: text(&status["version"]),
        node_id: text(&status["node_id"]),
        addresses: addresses(),
        services: services.collect(),
        config_hash: config.and_then(hash_of).unwrap_or_default(),
        backlog: ours.and_then(|output| output["queued"].as_u64()).unwrap_or(0),
        time: aviary_sensor::now_micros(),
        ..Report::default()
    }
}

/// SHA-256 of a file, hexadecimal.
fn hash_of(path: &Path) -> Option<String> {
    let text = std::fs::read(path).ok()?;
    Some(Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The addresses of this machine that others may reach.
fn addresses() -> Vec<String> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let mut found: Vec<IpAddr> = interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let four = address.as_sockaddr_in().map(|four| IpAddr::V4(four.ip()));
            four.or_else(|| address.as_sockaddr_in6().map(|six| IpAddr::V6(six.ip())))
        })
        .filter(|address| !address.is_loopback())
        .collect();
    found.sort();
    found.dedup();
    found.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn says_what_status_says_and_which_file_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        std::fs::write(&file, "abc").unwrap();
        let status = json!({
            "version": "1.2.3", "node_id": "north",
            "services": [{"service": "ftp", "address": "*", "port": 21, "protocol": "tcp", "state": "listening"}],
            "outputs": [{"output": "file", "queued": 9}, {"output": OUTPUT, "queued": 3}],
        });
        let told = report(&status, Some(&file));
        assert_eq!((told.version.as_str(), told.node_id.as_str(), told.backlog), ("1.2.3", "north", 3));
        assert_eq!((told.services[0].service.as_str(), told.services[0].port), ("ftp", 21));
        assert!(told.config_hash.starts_with("ba7816bf8f01cfea"), "{}", told.config_hash);
        assert!(report(&status, None).config_hash.is_empty());
    }
}
