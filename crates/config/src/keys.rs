//! The keys that no service declares: the device, the logger, and Aviary's own.

use crate::{Key, Shape};

const fn key(name: &'static str, shape: Shape, default: &'static str, doc: &'static str) -> Key {
    Key { name, shape, default, doc }
}

const fn count(min: i64, max: i64) -> Shape {
    Shape::Int { min, max }
}

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
        "hosts",
        Shape::Object,
        "",
        "More machines at addresses of their own: each member is a host under a name of your own, with its `device.listen_addr` and the keys of what it plays.",
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
        "outputs",
        Shape::Object,
        "",
        "Where events go, beside or in place of `logger.kwargs.handlers`: each member is one destination under a name of your own, with a handler's keys; `class` may be short, such as \"gelf\". With outputs and no `logger`, events go to them alone.",
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
    key(
        "aviary.host_name",
        Shape::Text,
        "",
        "Host name that the canary plays; if not given, the machine's own, or a host's name in `hosts`.",
    ),
    key("aviary.limits.connections", count(16, 1_000_000), "30000", "Connections at once, over all services."),
    key(
        "aviary.limits.connections_per_source",
        count(1, 1_000_000),
        "1000",
        "Connections at once from one source address.",
    ),
    key(
        "aviary.capture",
        Shape::Flag,
        "true",
        "Whether packets are looked at, where that is permitted, to tell who is behind an address; nothing is sent.",
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
    key(
        "aviary.metrics.listen",
        Shape::Text,
        r#""""#,
        "Where `/metrics` (Prometheus) and `/health` are served: \"127.0.0.1:9464\" or \"unix:/run/aviary/metrics.sock\"; empty means nowhere.",
    ),
    key(
        "aviary.metrics.failing_after",
        count(1, 86_400),
        "300",
        "Seconds for which an output fails before `/health` answers 503.",
    ),
];

/// Keys of OpenCanary's older files that nothing reads.
pub(crate) static IDLE: &[Key] = &[
    key("httpproxy.skin.list", Shape::List, "", "Read by nothing; older files list their skins here."),
    key("httproxy.skin.list", Shape::List, "", "Read by nothing; a slip of the pen in OpenCanary's older files."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_end_with_a_full_stop() {
        for key in CORE.iter().chain(IDLE) {
            assert!(key.doc.ends_with('.'), "{}", key.name);
        }
    }
}
