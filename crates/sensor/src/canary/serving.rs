//! What a canary's services do: listeners, questions and files, at the start and at a reload.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Canary, Rejected, lock};
use crate::errand::Errand;
use crate::listener::Station;
use crate::metrics::Page;
use crate::plan::{Plan, PlannedService};
use crate::post::{Post, bind_service, wait_until_free};
use crate::session::Shared;
use crate::{follow, seeker};

impl Canary {
    /// Starts listeners, and writes OpenCanary's start-up lines.
    pub(super) fn open_posts(self: &Arc<Self>, plan: &Plan) {
        let mut posts = lock(&self.posts);
        for post in posts.iter_mut() {
            let Some(service) = plan.service_of(post) else { continue };
            self.open_post(post, service);
        }
        for service in &plan.services {
            let is_of_it = |post: &&Post| service.is(post.host.as_ref(), post.entry.name);
            let failed = posts.iter().filter(is_of_it).any(|post| post.failure.is_some());
            let (class, whose) = (service.entry.opencanary, service.machine.suffix());
            let text = match &service.service {
                Err(error) => format!("Failed to add service from class {class}{whose}. {error}"),
                Ok(_) if failed => continue,
                Ok(_) => format!("Added service from class {class} to fake{whose}"),
            };
            self.say(text);
        }
        for post in posts.iter().filter(|post| post.failure.is_some()) {
            let why = post.failure.as_deref().unwrap_or_default();
            let whose = crate::machine::suffix(post.host.as_deref());
            tracing::error!(service = post.label, port = post.endpoint.port, "{why}{whose}");
            self.say(format!("Failed to add service from class {}{whose}. {why}", post.entry.opencanary));
        }
        self.say("Canary running!!!".to_owned());
    }

    /// Lets posts go on, change, end and begin as the plan has it; one line per change. What is the same
    /// keeps its connections. Blocks for as long as ports take to become free.
    pub(super) fn exchange_posts(&self, plan: &Plan) -> Vec<String> {
        let mut changes = Vec::new();
        let mut ending = Vec::new();
        let mut kept = Vec::new();
        let mut posts = lock(&self.posts);
        let mut ended = lock(&self.ended);
        for mut post in std::mem::take(&mut *posts) {
            let service = plan.service_of(&post).filter(|service| {
                post.failure.is_none()
                    && service.machine.addresses.contains(&post.address)
                    && service.endpoints().iter().any(|endpoint| endpoint.is_at(&post.endpoint))
            });
            match service {
                Some(service) if service.digest == post.digest => kept.push(post),
                Some(service) => {
                    if let Some(endpoint) = service.endpoints().into_iter().find(|endpoint| post.plays(endpoint)) {
                        post.endpoint = endpoint;
                    }
                    post.digest.clone_from(&service.digest);
                    self.connections.end(Some(post.number));
                    self.open_post(&mut post, service);
                    changes.push(format!("{} changed on port {}", post.title(), post.port));
                    kept.push(post);
                }
                None => {
                    self.connections.end(Some(post.number));
                    let before = ended.entry((post.label.clone(), post.host.clone())).or_default();
                    before.0 += post.taken();
                    before.1 += self.connections.of_endpoint(post.number).1;
                    if let Some(stop) = post.end() {
                        changes.push(format!("{} stopped on port {}", post.title(), post.port));
                        ending.push(stop);
                    }
                }
            }
        }
        drop(ended);
        wait_until_free(&ending);
        for service in &plan.services {
            for mut post in bind_service(service, self.port_rule, &kept) {
                self.open_post(&mut post, service);
                changes.push(match &post.failure {
                    None => format!("{} started on port {}", post.title(), post.port),
                    Some(why) => format!("{} did not start: {why}", post.title()),
                });
                kept.push(post);
            }
        }
        *posts = kept;
        changes
    }

    /// Moves the page of metrics where the plan has it; one line per change. Blocks for as long as the old place
    /// takes to become free.
    pub(super) fn exchange_page(self: &Arc<Self>, plan: &Plan) -> Option<String> {
        self.failing_after.store(plan.failing_after.as_secs(), Ordering::Relaxed);
        let mut page = lock(&self.page);
        let is_same =
            |page: &Page| page.failure.is_none() && plan.metrics.as_ref().is_some_and(|place| *place == page.place);
        if page.as_ref().is_some_and(is_same) || page.is_none() && plan.metrics.is_none() {
            return None;
        }
        if let Some(before) = page.take() {
            before.end();
        }
        let Some(place) = plan.metrics.clone() else { return Some("metrics are served no more".to_owned()) };
        let fresh = page.insert(Page::open(place, None));
        fresh.begin(self);
        Some(match &fresh.failure {
            None => format!("metrics are served at {}", fresh.place),
            Some(why) => format!("metrics are not served at {}: {why}", fresh.place),
        })
    }

    /// Starts what asks and what reads files where that is new or changed, and ends what is gone; one line
    /// per change.
    pub(super) fn open_errands(&self, plan: &Plan) -> Vec<String> {
        let mut errands = lock(&self.errands);
        let mut changes = Vec::new();
        let before: Vec<_> = errands.iter().map(|errand| (errand.host.clone(), errand.entry)).collect();
        errands.retain(|errand| {
            let is_same = |service: &PlannedService| {
                service.is(errand.host.as_ref(), errand.entry) && service.digest == errand.digest
            };
            plan.services.iter().any(is_same)
        });
        for planned in &plan.services {
            let (name, digest, host) = (planned.entry.name, &planned.digest, &planned.machine.host);
            let Ok(service) = &planned.service else { continue };
            if errands.iter().any(|errand| planned.is(errand.host.as_ref(), errand.entry)) {
                continue;
            }
            let (seeker, follows) = (service.seeker(), service.follows());
            if seeker.is_some() || !follows.is_empty() {
                let verb = if before.contains(&(host.clone(), name)) { "changed" } else { "started" };
                changes.push(format!("{name}{} {verb}", planned.machine.suffix()));
            }
            errands.extend(seeker.map(|seeker| {
                let (reserved, reporter) = (Arc::clone(&self.reserved), Arc::clone(&self.reporter));
                Errand::begin(name, "asking", digest.clone(), |progress, stop| {
                    seeker::run(name, seeker, reserved, reporter, progress, stop)
                })
            }));
            errands.extend(follows.into_iter().map(|file| {
                let (reporter, whose) = (Arc::clone(&self.reporter), (host.clone(), name));
                let errand = Errand::begin(name, "following", digest.clone(), |progress, stop| {
                    follow::run(whose, file, reporter, progress, stop)
                });
                errand.of_host(host.clone())
            }));
        }
        let is_gone = |(host, name): &(Option<Arc<str>>, &str)| {
            !errands.iter().any(|errand| errand.entry == *name && errand.host == *host)
        };
        let gone = before.into_iter().filter(is_gone);
        changes.extend(gone.map(|(host, name)| format!("{name}{} stopped", crate::machine::suffix(host.as_deref()))));
        changes
    }

    fn open_post(&self, post: &mut Post, planned: &PlannedService) {
        let Some(station) = self.station(post, planned) else { return };
        post.open(station, &self.connections, &self.room);
    }

    fn station(&self, post: &Post, planned: &PlannedService) -> Option<Station> {
        let service = planned.service.as_ref().ok()?;
        let index = service.endpoints().iter().position(|endpoint| post.plays(endpoint))?;
        let limits = service.limits();
        Some(Station {
            shared: Arc::new(Shared {
                service: Arc::clone(service),
                endpoint: index,
                security: post.endpoint.security,
                tls: planned.tls.clone(),
                unconsumed: limits.unconsumed,
                received: limits.received,
                reporter: Arc::clone(&self.reporter),
                workshop: Arc::clone(&self.workshop),
                quarantine: Arc::clone(&self.quarantine),
                guard: Arc::clone(&self.datagrams),
            }),
            label: Arc::from(post.label.as_str()),
            host: planned.machine.host.clone(),
            entry: Arc::from(planned.machine.path(planned.entry.name)),
            limits,
            host_name: Arc::from(planned.machine.host_name.as_str()),
            keep_alive: service.keep_alive(index),
        })
    }

    /// Services that the running canary cannot build, with the settings that are at fault.
    pub(super) fn note_rejected(&self, plan: &Plan) {
        *lock(&self.rejected) = plan
            .services
            .iter()
            .filter_map(|service| {
                let why = service.service.as_ref().err()?.clone();
                let host = service.machine.host.clone();
                Some(Rejected { host, label: service.entry.name, why, digest: service.digest.clone() })
            })
            .collect();
    }
}
