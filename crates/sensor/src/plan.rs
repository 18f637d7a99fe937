//! The plan: services and outputs built from the settings, before anything is bound or opened.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aviary_config::{Handler, MetricsPlace, Settings};
use aviary_output::{Blueprint, Output, Rejection};
use aviary_service::{Endpoint, Entry, Materials, Service, Vault};
use jiff::tz::TimeZone;

use crate::handlers;
use crate::machine::{Machine, MachineVault};
use crate::post::Post;
use crate::reporter::Rules;
use crate::scanning::Wanted;
use crate::tls::Tls;

/// What to do with a port that may not be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortRule {
    /// Say so; the others run.
    AsConfigured,
    /// Try 10000 + port too: for a first try as an ordinary user.
    MoveUp,
}

/// A service as planned.
pub struct PlannedService {
    /// The machine that plays it.
    pub machine: Arc<Machine>,
    /// The registry's line.
    pub entry: &'static Entry,
    /// The service, or why it cannot be built.
    pub service: Result<Arc<dyn Service>, String>,
    /// TLS, where it has it.
    pub tls: Option<Tls>,
    /// Its settings as text: equal text, equal service.
    pub digest: String,
}

impl PlannedService {
    /// Whether it is this service of this machine, as a post or an errand of before names them.
    #[must_use]
    pub(crate) fn is(&self, host: Option<&Arc<str>>, entry: &str) -> bool {
        self.entry.name == entry && self.machine.host.as_ref() == host
    }

    /// Its name, and whose it is: "`ssh` of host `printer`".
    #[must_use]
    pub fn title(&self) -> String {
        format!("`{}`{}", self.entry.name, self.machine.suffix())
    }

    /// Where it listens.
    #[must_use]
    pub fn endpoints(&self) -> Vec<Endpoint> {
        self.service.as_ref().map(|service| service.endpoints()).unwrap_or_default()
    }
}

/// An output as planned.
pub struct PlannedOutput {
    /// The handler.
    pub handler: Handler,
    /// The output, or why it cannot be built.
    pub output: Result<Box<dyn Output>, Rejection>,
    /// Its settings as text.
    pub digest: String,
}

impl PlannedOutput {
    /// The file that it writes whole events to. In one with a template, no event can be found again.
    #[must_use]
    pub(crate) fn file(&self) -> Option<&str> {
        let options = &self.handler.options;
        let has_template = options.get("template").is_some_and(|template| !template.is_null());
        options.get("filename").and_then(|name| name.as_str()).filter(|_| !has_template)
    }
}

/// All that the settings ask for.
pub struct Plan {
    /// Services that are enabled.
    pub services: Vec<PlannedService>,
    /// Outputs.
    pub outputs: Vec<PlannedOutput>,
    /// Rules for the reporter.
    pub rules: Rules,
    /// What is looked at on the wire.
    pub(crate) capture: Wanted,
    /// The machines that are played: the canary's own first, then the hosts.
    pub machines: Vec<Arc<Machine>>,
    /// Connections at once, in all and from one source.
    pub connections: (usize, usize),
    /// Bounds of the journal: bytes and days.
    pub journal: (u64, u64),
    /// Datagrams a second that one source may be sent.
    pub datagram_rate: u64,
    /// Bounds of the quarantine in bytes: all files, and one.
    pub quarantine: (u64, u64),
    /// Where the page of metrics is, if there is one.
    pub metrics: Option<MetricsPlace>,
    /// How long an output fails before all is not well.
    pub failing_after: Duration,
    /// Settings that a reload does not apply, as text.
    pub fixed: String,
}

impl Plan {
    /// Builds everything that is enabled. A service or output that cannot be built is planned as
    /// failed, so that the others run and `status` says why.
    #[must_use]
    pub fn build(settings: &Settings, vault: &dyn Vault) -> Self {
        let machines = crate::machine::all(settings);
        let services = machines.iter().flat_map(|(machine, settings)| {
            let on = entries(settings).into_iter().filter(|entry| entry.is_enabled(settings));
            on.map(|entry| plan_service(entry, settings, vault, machine))
        });
        let services = services.collect();
        let outputs = settings.handlers().iter().map(|handler| plan_output(handler.clone(), settings)).collect();
        let number = |name| usize::try_from(settings.int(name)).unwrap_or(0);
        let connections = (number("aviary.limits.connections"), number("aviary.limits.connections_per_source"));
        let whole = |name| u64::try_from(settings.int(name)).unwrap_or(0);
        let journal = (whole("aviary.journal.max_mb") << 20, whole("aviary.journal.max_age_days"));
        let datagram_rate = whole("aviary.limits.datagrams_per_source");
        let quarantine = (whole("aviary.quarantine.max_mb") << 20, whole("aviary.quarantine.max_file_mb") << 20);
        let fixed =
            format!("{connections:?} {journal:?} {datagram_rate} {quarantine:?} {}", settings.text("aviary.state_dir"));
        Self {
            services,
            outputs,
            capture: Wanted::of(settings, &machines),
            rules: rules(settings, &machines),
            machines: machines.into_iter().map(|(machine, _)| machine).collect(),
            connections,
            journal,
            datagram_rate,
            quarantine,
            // What is no place does not get through the check.
            metrics: MetricsPlace::read(&settings.text("aviary.metrics.listen")).ok().flatten(),
            failing_after: Duration::from_secs(whole("aviary.metrics.failing_after")),
            fixed,
        }
    }

    /// The service of a post.
    #[must_use]
    pub(crate) fn service_of(&self, post: &Post) -> Option<&PlannedService> {
        self.services.iter().find(|service| service.is(post.host.as_ref(), post.entry.name))
    }
}

/// Every service there is: the built-in ones, and the user's modules that the settings name.
#[must_use]
pub fn entries(settings: &Settings) -> Vec<&'static Entry> {
    let taken = |name: &str| aviary_services::ALL.iter().any(|entry| entry.name == name);
    aviary_services::ALL.iter().copied().chain(aviary_script::entries(settings, &taken)).collect()
}

fn plan_service(
    entry: &'static Entry,
    settings: &Settings,
    vault: &dyn Vault,
    machine: &Arc<Machine>,
) -> PlannedService {
    let vault = &MachineVault::new(vault, machine);
    let host_name = &machine.host_name;
    let built = (entry.build)(&Materials { settings, vault, host_name });
    let service: Result<Arc<dyn Service>, String> = built.map(Arc::from).map_err(|error| error.to_string());
    let tls = service.as_ref().ok().and_then(|service| service.tls()).map(|profile| Tls::new(profile, vault));
    let digest = digest(entry, settings, host_name);
    PlannedService { machine: Arc::clone(machine), entry, service, tls, digest }
}

fn digest(entry: &Entry, settings: &Settings, host_name: &str) -> String {
    let mut values: BTreeMap<String, String> = BTreeMap::new();
    let (dot, line) = (format!("{}.", entry.name), format!("{}_", entry.name));
    for (key, value) in settings.iter() {
        if key.starts_with(&dot) || key.starts_with(&line) || entry.keys.iter().any(|known| known.name == key) {
            values.insert(key.to_owned(), value.to_string());
        }
    }
    // A module whose script changed is another entry, of the same name.
    format!("{:p} {host_name} {:?} {values:?}", std::ptr::from_ref(entry), settings.persona())
}

fn plan_output(mut handler: Handler, settings: &Settings) -> PlannedOutput {
    let node_id = settings.node_id();
    let extended = settings.extended();
    let found = handlers::by_class(&handler.class);
    if let Some((_, class)) = found {
        // Outputs that play several classes look at it, and know no short forms.
        class.clone_into(&mut handler.class);
        handler.options.insert("class".to_owned(), class.into());
    }
    let output = match found {
        Some((entry, _)) => {
            let (name, options, format) = (&handler.name, &handler.options, handler.format());
            let blueprint = Blueprint { name, options, format, extended, node_id: &node_id };
            (entry.build)(&blueprint).and_then(|output| aviary_output::routed(output, entry.options, options))
        }
        None => Err(Rejection::new("class", handlers::unknown_class(&handler.class))),
    };
    // A script that changed is another output; so is one that could not be built, for another reason.
    let source = match &output {
        Ok(output) => output.source().to_owned(),
        Err(why) => why.to_string(),
    };
    let (class, options, formatter) = (&handler.class, &handler.options, &handler.formatter);
    let digest = format!("{class} {options:?} {formatter:?} {extended} {node_id} {source}");
    PlannedOutput { handler, output, digest }
}

fn rules(settings: &Settings, machines: &[(Arc<Machine>, &Settings)]) -> Rules {
    let honeycreds = machines.iter().flat_map(|(machine, settings)| {
        let names = entries(settings).into_iter().map(|entry| entry.name);
        names.map(|name| (machine.path(name), settings.honeycreds(name)))
    });
    Rules {
        node_id: settings.node_id().into_owned(),
        hosts: machines
            .iter()
            .map(|(machine, _)| Arc::clone(machine))
            .filter(|machine| machine.host.is_some())
            .collect(),
        ignore: settings.ignore().clone(),
        honeycreds: honeycreds.filter(|(_, creds)| !creds.is_empty()).collect(),
        zone: TimeZone::try_system().unwrap_or(TimeZone::UTC),
    }
}
