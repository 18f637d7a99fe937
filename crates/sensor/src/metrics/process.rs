//! What the process itself uses, as Linux says it.

use std::time::Duration;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};

use super::snapshot::Snapshot;

/// Adds what can be told; what the system does not say is left out.
pub(super) fn add(snapshot: &mut Snapshot, started: aviary_event::Timestamp) {
    if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
        let time = duration(usage.user_time()) + duration(usage.system_time());
        snapshot.add("process_cpu_seconds_total", &[], time);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    // Sizes are in KiB there.
    if let Some(size) = field("VmRSS:") {
        snapshot.add("process_resident_memory_bytes", &[], size << 10);
    }
    if let Some(size) = field("VmSize:") {
        snapshot.add("process_virtual_memory_bytes", &[], size << 10);
    }
    if let Some(threads) = field("Threads:") {
        snapshot.add("process_threads", &[], threads);
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        // Less the one that reads the folder.
        snapshot.add("process_open_fds", &[], files.count().saturating_sub(1));
    }
    if let Ok((most, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
        snapshot.add("process_max_fds", &[], most);
    }
    snapshot.add("process_start_time_seconds", &[], since_1970(started));
}

/// A moment as the time since 1970.
pub(super) fn since_1970(moment: aviary_event::Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(moment.as_micros()).unwrap_or(0))
}

fn duration(time: nix::sys::time::TimeVal) -> Duration {
    Duration::new(u64::try_from(time.tv_sec()).unwrap_or(0), u32::try_from(time.tv_usec()).unwrap_or(0) * 1000)
}
