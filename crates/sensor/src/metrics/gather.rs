//! Reads the counters that there are anyway into a snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::process::{self, since_1970};
use super::snapshot::Snapshot;
use crate::canary::Canary;
use crate::clock;
use crate::errand::Trouble;
use crate::outlets::oldest_after;

/// How long the journal's file is waited for. A disk that hangs must not hang the page.
const PATIENCE: Duration = Duration::from_secs(2);

/// What one service of one machine did.
#[derive(Debug, Default)]
struct Work {
    failed: bool,
    /// Whether it takes connections.
    listens: bool,
    taken: u64,
    open: u64,
    evicted: u64,
}

/// What only the journal's file says.
#[derive(Debug, Default)]
struct Filed {
    dead: BTreeMap<String, u64>,
    oldest: BTreeMap<String, Duration>,
}

/// Everything as of now.
pub(super) async fn gather(canary: &Arc<Canary>, filing: &Arc<Semaphore>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    snapshot.add("aviary_build_info", &[("version", Some(env!("CARGO_PKG_VERSION")))], 1_u64);
    add_events(&mut snapshot, canary);
    add_services(&mut snapshot, canary);
    add_outputs(&mut snapshot, canary, filing).await;
    let stats = canary.reporter().journal().stats();
    snapshot.add("aviary_journal_events_total", &[], stats.head);
    snapshot.add("aviary_journal_stored_events", &[], stats.stored);
    snapshot.add("aviary_journal_size_bytes", &[], stats.bytes);
    snapshot.add("aviary_journal_failing", &[], stats.trouble.is_some());
    snapshot.add("aviary_journal_write_failures_total", &[], stats.failures);
    snapshot.add("aviary_journal_unsaved_total", &[], stats.unsaved);
    if let Some(Ok(scanner)) = canary.scanner() {
        let seen = scanner.seen();
        snapshot.add("aviary_capture_packets_total", &[], seen.packets);
        snapshot.add("aviary_capture_dropped_total", &[], seen.dropped);
        snapshot.add("aviary_capture_untold_scans_total", &[], seen.untold);
    }
    process::add(&mut snapshot, canary.started_at());
    snapshot
}

fn add_events(snapshot: &mut Snapshot, canary: &Canary) {
    let tally = canary.reporter().tally();
    for (service, kind, events) in tally.counts() {
        let logtype = kind.number.to_string();
        let labels = [("service", Some(service)), ("logtype", Some(&*logtype)), ("kind", Some(kind.class.word()))];
        snapshot.add("aviary_events_total", &labels, events);
    }
    if tally.others() > 0 {
        snapshot.add("aviary_events_total", &[("service", Some("others"))], tally.others());
    }
    snapshot.add("aviary_events_ignored_total", &[], canary.reporter().ignored());
}

fn add_services(snapshot: &mut Snapshot, canary: &Canary) {
    let mut services: BTreeMap<(String, Option<Arc<str>>), Work> = BTreeMap::new();
    canary.inspect(|posts, rejected, _| {
        for post in posts {
            let work = services.entry((post.label.clone(), post.host.clone())).or_default();
            let (open, evicted) = canary.connections().of_endpoint(post.number);
            work.failed |= post.failure.is_some();
            work.listens = true;
            work.taken += post.taken();
            work.open += u64::from(open);
            work.evicted += evicted;
        }
        for service in rejected {
            services.entry((service.label.to_owned(), service.host.clone())).or_default().failed = true;
        }
    });
    canary.errands(|errand| {
        let failed = matches!(errand.trouble(), Some(Trouble::Failed(_)));
        services.entry((errand.entry.to_owned(), errand.host.clone())).or_default().failed |= failed;
    });
    if let Some(scanner) = canary.scanner().filter(|_| canary.scans()) {
        services.entry((aviary_scan::NAME.to_owned(), None)).or_default().failed = scanner.is_err();
    }
    for ((service, host), (taken, evicted)) in canary.ended() {
        // Counters of what a reload ended go on where the service does.
        if let Some(work) = services.get_mut(&(service, host)) {
            work.taken += taken;
            work.evicted += evicted;
        }
    }
    let (mut running, mut failed) = (0_u64, 0_u64);
    for ((service, host), work) in &services {
        *(if work.failed { &mut failed } else { &mut running }) += 1;
        let labels = [("service", Some(service.as_str())), ("host", host.as_deref())];
        snapshot.add("aviary_service_up", &labels, !work.failed);
        if work.listens {
            snapshot.add("aviary_connections_total", &labels, work.taken);
            snapshot.add("aviary_connections_open", &labels, work.open);
            snapshot.add("aviary_connections_limited_total", &labels, work.evicted);
        }
    }
    snapshot.add("aviary_services", &[("state", Some("running"))], running);
    snapshot.add("aviary_services", &[("state", Some("failed"))], failed);
    snapshot.add("aviary_connections_limit", &[], canary.connections().cap);
    snapshot.add("aviary_datagrams_withheld_total", &[], canary.datagrams().withheld());
}

async fn add_outputs(snapshot: &mut Snapshot, canary: &Arc<Canary>, filing: &Arc<Semaphore>) {
    let stats = canary.reporter().journal().stats();
    let now = since_1970(clock::now());
    let mut behind = BTreeMap::new();
    canary.inspect(|_, _, outlets| {
        for outlet in outlets {
            let (name, report) = (outlet.name.as_str(), outlet.health.report());
            let labels = [("output", Some(name))];
            let up = [("output", Some(name)), ("class", Some(outlet.class.as_str()))];
            snapshot.add("aviary_output_up", &up, outlet.failure.is_none());
            snapshot.add("aviary_output_delivered_total", &labels, report.delivered);
            snapshot.add("aviary_output_refused_total", &labels, report.refused);
            snapshot.add("aviary_output_retries_total", &labels, report.retries);
            snapshot.add("aviary_output_held_back_total", &labels, report.held);
            snapshot.add("aviary_output_lost_total", &labels, stats.lost.get(name).copied().unwrap_or(0));
            snapshot.add("aviary_output_failing", &labels, report.failing);
            let failing = report.unheard_since.map(|since| now.saturating_sub(since_1970(since)));
            snapshot.add("aviary_output_failing_seconds", &labels, failing.unwrap_or_default());
            if let Some(last) = report.last_success.map(since_1970) {
                snapshot.add("aviary_output_last_success_timestamp_seconds", &labels, last);
                snapshot.add("aviary_output_last_success_age_seconds", &labels, now.saturating_sub(last));
            }
            let cursor = stats.cursors.get(name).copied().unwrap_or(stats.head);
            let queued = stats.head.saturating_sub(cursor);
            snapshot.add("aviary_output_queue_length", &labels, queued);
            behind.insert(outlet.name.clone(), (queued > 0).then_some(cursor));
        }
    });
    let names: Vec<String> = behind.keys().cloned().collect();
    let Some(filed) = look_up(canary, filing, behind).await else { return };
    for name in &names {
        let labels = [("output", Some(name.as_str()))];
        snapshot.add("aviary_output_dead_letters", &labels, filed.dead.get(name).copied().unwrap_or(0));
        let age = filed.oldest.get(name).map(|oldest| now.saturating_sub(*oldest));
        snapshot.add("aviary_output_oldest_age_seconds", &labels, age.unwrap_or_default());
    }
}

/// Asks the journal's file; `None` when it does not answer in time, or still owes an earlier answer.
async fn look_up(
    canary: &Arc<Canary>,
    filing: &Arc<Semaphore>,
    behind: BTreeMap<String, Option<u64>>,
) -> Option<Filed> {
    let permit = Arc::clone(filing).try_acquire_owned().ok()?;
    let canary = Arc::clone(canary);
    let looking = tokio::runtime::Handle::current().spawn(async move {
        let mut filed = Filed::default();
        let journal = canary.reporter().journal().clone();
        if let Ok(Ok(dead)) = tokio::task::spawn_blocking(move || journal.count_dead()).await {
            filed.dead = dead.into_iter().collect();
        }
        for (name, cursor) in behind {
            let Some(cursor) = cursor else { continue };
            if let Some(time) = oldest_after(&canary, cursor).await {
                filed.oldest.insert(name, since_1970(time));
            }
        }
        drop(permit);
        filed
    });
    tokio::time::timeout(PATIENCE, looking).await.ok()?.ok()
}
