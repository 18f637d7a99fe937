//! The batteries over every service, and over the template of new ones.

use std::path::{Path, PathBuf};

use aviary_service::Entry;
use aviary_services::ALL;
use aviary_testkit::battery::{self, Finding, Subject};

/// Services whose replies or events tell where the peer's packets ended, as those of the product or of
/// OpenCanary do: pieces matter. Redis 7 drops a pending error when `Host:` waits in the same read.
const PIECES_MATTER: [&str; 2] = ["redis", "tcpbanner"];

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub(crate) fn everyone() -> impl Iterator<Item = &'static Entry> {
    ALL.iter().copied().chain([&crate::echo::ENTRY])
}

/// Runs a check over all services and fails with all findings.
fn over_all(check: impl Fn(&Subject<'_>) -> Finding + Sync) {
    let findings: Vec<String> = everyone().filter_map(|entry| check(&Subject::of(entry, &root())).err()).collect();
    assert!(findings.is_empty(), "{}", findings.join("\n\n"));
}

#[test]
fn declarations_are_whole() {
    over_all(battery::declaration_is_whole);
}

#[test]
fn names_and_keys_are_nobody_elses() {
    let mut names: Vec<&str> = everyone().flat_map(|entry| entry.keys.iter().map(|key| key.name)).collect();
    names.extend(everyone().map(|entry| entry.name));
    names.sort_unstable();
    let twice: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

#[test]
fn events_are_declared() {
    over_all(battery::reports_what_it_declares);
}

#[test]
fn chunk_size_changes_nothing() {
    over_all(|subject| {
        if PIECES_MATTER.contains(&subject.entry.name) { Ok(()) } else { battery::chunk_size_changes_nothing(subject) }
    });
}

#[test]
fn garbage_and_silence_end() {
    over_all(battery::ends_whatever_comes);
}

#[test]
fn silence_loses_nothing() {
    over_all(battery::silence_loses_nothing);
}

#[test]
fn answers_are_bounded() {
    over_all(battery::answers_are_bounded);
}

#[test]
fn replies_name_nothing_of_ours() {
    over_all(battery::names_nothing_of_ours);
}

#[test]
fn same_facts_give_same_answers() {
    over_all(battery::same_facts_same_answers);
}

#[test]
fn installations_share_nothing() {
    over_all(battery::installations_share_nothing);
}

#[test]
fn strangers_get_no_more_than_they_send() {
    over_all(battery::strangers_get_no_more_than_they_send);
}
