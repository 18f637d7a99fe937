//! Whether all is well: services that did not start, outputs that fail for long, a journal that cannot be written.

use serde_json::{Value, json};

use super::process::since_1970;
use crate::canary::Canary;
use crate::clock;
use crate::errand::Trouble;

/// What is not well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    /// `service`, `output`, `journal` or `capture`.
    what: &'static str,
    /// Its name, where there are several.
    name: String,
    /// The reason.
    why: String,
}

/// Everything that is not well now.
pub(super) fn complaints(canary: &Canary) -> Vec<Complaint> {
    let of = |what, name: &str, why: &str| Complaint { what, name: name.to_owned(), why: why.to_owned() };
    let (now, patience) = (since_1970(clock::now()), canary.failing_after());
    let mut found = canary.inspect(|posts, rejected, outlets| {
        let mut found: Vec<Complaint> =
            posts.iter().filter_map(|post| Some(of("service", &post.title(), post.failure.as_deref()?))).collect();
        found.extend(rejected.iter().map(|service| {
            let name = format!("{}{}", service.label, crate::machine::suffix(service.host.as_deref()));
            of("service", &name, &service.why)
        }));
        found.extend(outlets.iter().filter_map(|outlet| {
            if let Some(why) = &outlet.failure {
                return Some(of("output", &outlet.name, why));
            }
            let report = outlet.health.report();
            let failing = now.saturating_sub(since_1970(report.unheard_since?));
            let last = report.last_error.map(|(_, text)| text).unwrap_or_default();
            let why = format!("fails for {} s: {last}", failing.as_secs());
            (failing >= patience).then(|| of("output", &outlet.name, &why))
        }));
        found
    });
    found.extend(
        canary
            .errands(|errand| match errand.trouble() {
                Some(Trouble::Failed(why)) => Some(of("service", errand.entry, &why)),
                _ => None,
            })
            .into_iter()
            .flatten(),
    );
    if let Some(Err(why)) = canary.scanner().filter(|_| canary.scans()) {
        found.push(of("service", aviary_scan::NAME, why));
    }
    if let Some(trouble) = canary.reporter().journal().stats().trouble {
        found.push(of("journal", "", &format!("cannot be written: {trouble}")));
    }
    found
}

/// The answer: its status, and what is not well.
pub(super) fn answer(canary: &Canary) -> (u16, Value) {
    let complaints = complaints(canary);
    let listed: Vec<Value> = complaints
        .iter()
        .map(|complaint| match complaint.name.as_str() {
            "" => json!({"what": complaint.what, "why": complaint.why}),
            name => json!({"what": complaint.what, "name": name, "why": complaint.why}),
        })
        .collect();
    let (status, word) = if complaints.is_empty() { (200, "well") } else { (503, "not well") };
    (status, json!({"status": word, "problems": listed}))
}
