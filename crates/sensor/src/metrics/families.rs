//! The metrics that there are: names, labels and meanings. `docs/metrics.md` is written from here.

use prometheus_client::metrics::MetricType;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Only grows, until the canary starts anew.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Always 1; its labels say something.
    Info,
}

impl Sort {
    /// The word in `# TYPE`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Info => "info",
        }
    }

    pub(super) const fn metric_type(self) -> MetricType {
        match self {
            Self::Counter => MetricType::Counter,
            Self::Gauge => MetricType::Gauge,
            Self::Info => MetricType::Info,
        }
    }
}

/// A metric.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// The name that queries use, with `_total` or `_info` at its end.
    pub name: &'static str,
    /// What it is.
    pub sort: Sort,
    /// Its labels; `host` only where the service is that of one of `hosts`.
    pub labels: &'static [&'static str],
    /// What it says, without a full stop.
    pub help: &'static str,
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, sort: Sort::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, sort: Sort::Gauge, labels, help }
}

const SERVICE: &[&str] = &["service", "host"];
const OUTPUT: &[&str] = &["output"];

/// All of them, in the order of the page.
pub static FAMILIES: &[Family] = &[
    Family { name: "aviary_build_info", sort: Sort::Info, labels: &["version"], help: "The version that runs" },
    counter(
        "aviary_events_total",
        &["service", "logtype", "kind"],
        "Events reported, by service, log type and what the log type means",
    ),
    counter("aviary_events_ignored_total", &[], "Events that ignore rules kept out"),
    gauge("aviary_service_up", SERVICE, "Whether a service that is switched on works: 1, or 0 when it did not start"),
    gauge("aviary_services", &["state"], "Services that are switched on: `running` and `failed`"),
    counter("aviary_connections_total", SERVICE, "Connections accepted; for a service over UDP, datagrams taken"),
    gauge("aviary_connections_open", SERVICE, "Connections that are open"),
    counter("aviary_connections_limited_total", SERVICE, "Connections that were cut off because there were too many"),
    gauge("aviary_connections_limit", &[], "Connections that may be open at once, over all services"),
    counter(
        "aviary_datagrams_withheld_total",
        &[],
        "Answers over UDP that were not sent, because nothing proved their receiver's address",
    ),
    gauge("aviary_output_up", &["output", "class"], "Whether an output was started: 1, or 0 when it cannot be built"),
    counter("aviary_output_delivered_total", OUTPUT, "Events that the receiver took"),
    counter("aviary_output_refused_total", OUTPUT, "Events that the receiver refused for good"),
    counter("aviary_output_retries_total", OUTPUT, "Deliveries that failed and were tried again"),
    counter(
        "aviary_output_held_back_total",
        OUTPUT,
        "Events that the output's `rate` held back; a digest tells of them",
    ),
    counter("aviary_output_lost_total", OUTPUT, "Events that the journal's bounds removed before the output had them"),
    gauge("aviary_output_queue_length", OUTPUT, "Events that the output is not yet done with"),
    gauge("aviary_output_oldest_age_seconds", OUTPUT, "Age of the oldest of them; 0 when there is none"),
    gauge("aviary_output_failing", OUTPUT, "Whether the last delivery failed: 1 or 0"),
    gauge("aviary_output_failing_seconds", OUTPUT, "For how long the receiver has given no answer; 0 when all is well"),
    gauge("aviary_output_dead_letters", OUTPUT, "Refused events that are kept, until they are sent again or discarded"),
    gauge("aviary_output_last_success_timestamp_seconds", OUTPUT, "When the receiver last took an event, since 1970"),
    gauge("aviary_output_last_success_age_seconds", OUTPUT, "Seconds since the receiver last took an event"),
    counter("aviary_journal_events_total", &[], "Number of the journal's newest event, over all starts"),
    gauge("aviary_journal_stored_events", &[], "Events in the journal"),
    gauge("aviary_journal_size_bytes", &[], "Size of the journal's file"),
    gauge("aviary_journal_failing", &[], "Whether the journal cannot be written, as when the disk is full: 1 or 0"),
    counter("aviary_journal_write_failures_total", &[], "Writes of the journal that failed; each is tried again"),
    counter(
        "aviary_journal_unsaved_total",
        &[],
        "Events that never reached the file because it could not be written; outputs that kept up have had them",
    ),
    counter("aviary_capture_packets_total", &[], "Packets that were looked at"),
    counter("aviary_capture_dropped_total", &[], "Packets that the receive buffer had no room for"),
    counter("aviary_capture_untold_scans_total", &[], "Scans that were too many to be told of"),
    counter("process_cpu_seconds_total", &[], "Time on processors"),
    gauge("process_resident_memory_bytes", &[], "Memory that is resident"),
    gauge("process_virtual_memory_bytes", &[], "Memory that is mapped"),
    gauge("process_threads", &[], "Threads"),
    gauge("process_open_fds", &[], "File descriptors that are open"),
    gauge("process_max_fds", &[], "File descriptors that may be open"),
    gauge("process_start_time_seconds", &[], "When the canary started, since 1970"),
];
