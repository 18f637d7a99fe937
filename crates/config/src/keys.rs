//! The keys that no built service declares: the device, the logger, Aviary's own, and those of
//! OpenCanary's services that are not played yet.

use crate::{Key, Shape};

const fn key(name: &'static str, shape: Shape, default: &'static str, doc: &'static str) -> Key {
    Key { name, shape, default, doc }
}

const fn switch(name: &'static str, doc: &'static str) -> Key {
    key(name, Shape::Flag, "false", doc)
}

const fn port(name: &'static str, default: &'static str) -> Key {
    key(name, Shape::Port, default, "Port that it listens on.")
}

const fn count(min: i64, max: i64) -> Shape {
    Shape::Int { min, max }
}

/// Services of OpenCanary that are not played yet: enabling one is told, and is no error.
pub const UNBUILT: &[&str] =
    &["httpproxy", "mongodb", "mssql", "mysql", "ntp", "portscan", "rdp", "smb", "snmp", "tftp", "vnc"];

/// Services over UDP, which share no port with those over TCP.
pub(crate) const UDP: &[&str] = &["llmnr", "ntp", "sip", "snmp", "tftp"];

/// OpenCanary's shipped `logger`: the console, and the log file that everybody's shipper reads.
const LOGGER: &str = r#"{
    "class": "PyLogger",
    "kwargs": {
        "formatters": {
            "plain": {"format": "%(message)s"},
            "syslog_rfc": {"format": "opencanaryd[%(process)-5s:%(thread)d]: %(name)s %(levelname)-5s %(message)s"}
        },
        "handlers": {
            "console": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"},
            "file": {"class": "logging.FileHandler", "filename": "/var/tmp/opencanary.log"}
        }
    }
}"#;

/// The device, the logger, and what is Aviary's own.
pub(crate) static CORE: &[Key] = &[
    key("device.node_id", Shape::Text, r#""opencanary-1""#, "Name of this canary in every event; give each its own."),
    key("device.name", Shape::Text, "", "Name of this canary for people."),
    key("device.desc", Shape::Text, "", "What this canary is and where it stands, for people."),
    key(
        "device.listen_addr",
        Shape::TextOrList,
        r#""""#,
        "Address, or list of addresses, that every service listens on; empty means all.",
    ),
    key(
        "device.persona",
        Shape::Text,
        "",
        "The machine to play, with defaults for all services that fit together: linux-server, windows-server, nas, network-device or printer. Keys that are set win, unless they say what OpenCanary ships.",
    ),
    key(
        "ip.ignorelist",
        Shape::List,
        "[]",
        "Sources that are not reported: addresses and networks of IPv4 and IPv6, such as \"10.0.0.5\" or \"2001:db8::/32\".",
    ),
    key("logtype.ignorelist", Shape::List, "[]", "Log type numbers that are not reported."),
    key(
        "logger",
        Shape::Object,
        LOGGER,
        "Where events go: Python's logging configuration; each of `handlers` is one destination.",
    ),
    key(
        "logger.kwargs.extended",
        Shape::Flag,
        "true",
        "Whether each line carries the object `aviary` beside OpenCanary's keys; may also stand in `logger.kwargs`.",
    ),
    key(
        "aviary.state_dir",
        Shape::Path,
        r#""/var/lib/aviary""#,
        "Folder of the journal and of this installation's secrets.",
    ),
    key("aviary.host_name", Shape::Text, "", "Host name that the canary plays; the machine's own if not given."),
    key("aviary.limits.connections", count(16, 1_000_000), "30000", "Connections at once, over all services."),
    key(
        "aviary.limits.connections_per_source",
        count(1, 1_000_000),
        "1000",
        "Connections at once from one source address.",
    ),
    key(
        "aviary.limits.datagrams_per_source",
        count(1, 1_000_000),
        "200",
        "Datagrams a second that one source may be sent over UDP, and five times as many at once.",
    ),
    key(
        "aviary.quarantine.max_mb",
        count(1, 1_048_576),
        "256",
        "Size of all uploads that are kept, in MB; beyond it an upload is reported and not kept.",
    ),
    key("aviary.quarantine.max_file_mb", count(1, 65_536), "16", "Size of one upload that is kept, in MB."),
    key("aviary.limits.memory_mib", count(16, 1_048_576), "256", "Memory that connections may take in all, in MiB."),
    key(
        "aviary.journal.max_mb",
        count(1, 1_048_576),
        "1024",
        "Size of the journal, in MB; beyond it the oldest events go, and this is reported.",
    ),
    key(
        "aviary.journal.max_age_days",
        count(1, 3650),
        "30",
        "Age of events in the journal, in days; older ones go, and undelivered ones are reported.",
    ),
];

/// Keys of [`UNBUILT`] services, as OpenCanary 0.9.10 and its older files know them. Defaults are
/// OpenCanary's, but for values that give it away.
pub(crate) static FORESEEN: &[Key] = &[
    switch("httpproxy.enabled", "An HTTP proxy."),
    port("httpproxy.port", "8080"),
    key("httpproxy.skin", Shape::Text, r#""squid""#, "Product that the proxy plays."),
    key("httpproxy.banner", Shape::Text, "", "Server header of the proxy."),
    key("httpproxy.skin.list", Shape::List, "", "Read by nothing; older files list their skins here."),
    key("httproxy.skin.list", Shape::List, "", "Read by nothing; a slip of the pen in OpenCanary's older files."),
    switch("portscan.enabled", "Reports scans of ports that nothing listens on."),
    switch("portscan.ignore_localhost", "Whether scans from this machine are passed over."),
    key("portscan.logfile", Shape::Path, r#""/var/log/kern.log""#, "File with the kernel's firewall lines."),
    key("portscan.synrate", count(1, 1_000_000), "5", "SYN packets a second from one source that make a scan."),
    key("portscan.nmaposrate", count(1, 1_000_000), "5", "Nmap fingerprint packets a second that make a scan."),
    key("portscan.lorate", count(1, 1_000_000), "3", "Packets a second on the loopback that make a scan."),
    key("portscan.ignore_ports", Shape::List, "[]", "Ports that are passed over."),
    key("smb.auditfile", Shape::Path, r#""/var/log/samba-audit.log""#, "Audit log of a Samba server to watch."),
    switch("smb.enabled", "Reports files opened on a Samba share."),
    switch("mysql.enabled", "A MySQL server."),
    port("mysql.port", "3306"),
    key("mysql.banner", Shape::Text, r#""8.0.43-0ubuntu0.24.04.2""#, "Version that the server names."),
    switch("mysql.log_connection_made", "Whether a connection is an event of its own."),
    switch("rdp.enabled", "A Windows Remote Desktop."),
    port("rdp.port", "3389"),
    switch("snmp.enabled", "An SNMP agent."),
    port("snmp.port", "161"),
    switch("ntp.enabled", "An NTP time server."),
    port("ntp.port", "123"),
    switch("tftp.enabled", "A TFTP server."),
    port("tftp.port", "69"),
    switch("mssql.enabled", "A Microsoft SQL Server."),
    key("mssql.version", Shape::Text, r#""2014""#, "Version of the server; OpenCanary knows 2008R2, 2012 and 2014."),
    port("mssql.port", "1433"),
    switch("vnc.enabled", "A VNC remote desktop."),
    port("vnc.port", "5900"),
    switch("mongodb.enabled", "A MongoDB server."),
    port("mongodb.port", "27017"),
    key("mongodb.version", Shape::Text, r#""7.0.14""#, "Version that the server names."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreseen_keys_belong_to_unbuilt_services() {
        for key in FORESEEN.iter().filter(|key| key.name != "httproxy.skin.list") {
            assert!(UNBUILT.contains(&key.name.split('.').next().expect("a family")), "{}", key.name);
        }
        for service in UNBUILT {
            assert!(FORESEEN.iter().any(|key| key.name == format!("{service}.enabled")), "{service}");
        }
    }

    #[test]
    fn sentences_end_with_a_full_stop() {
        for key in CORE.iter().chain(FORESEEN) {
            assert!(key.doc.ends_with('.'), "{}", key.name);
        }
    }
}
