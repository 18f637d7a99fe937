//! A canary from start to stop: bind, give up privileges, run, reload, stop.

mod serving;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aviary_config::Settings;
use aviary_event::{LogData, Timestamp, Value};
use aviary_journal::{Journal, Reader};
use aviary_output::{Health, Pacing};
use tokio::sync::{Semaphore, watch};

use crate::connections::Connections;
use crate::control::{self, Reload};
use crate::datagrams::Guard;
use crate::errand::Errand;
use crate::ground::{journal_options, make_folder, prepare_files, raise_file_limit};
use crate::metrics::Page;
use crate::outlets::{self, Beside, Feed};
use crate::plan::{Plan, PlannedOutput, PlannedService, PortRule};
use crate::post::{Post, PostView, bind_service};
use crate::privileges::{Identity, PrivilegeError, give_up};
use crate::quarantine::Quarantine;
use crate::reporter::Reporter;
use crate::scanning::Scanner;
use crate::seeker::Reserved;
use crate::vault::FileVault;
use crate::{clock, kinds};

/// How long a stop waits for sessions, and then for outputs.
const STOP_PATIENCE: Duration = Duration::from_secs(3);
/// How long a stop leaves sessions time to say goodbye to peers that do not read.
const CUT_AFTER: Duration = Duration::from_secs(2);
/// File descriptors that are not for connections: the journal, outputs, listeners, the runtime. Those of
/// hosts' listeners come on top.
const RESERVED_FILES: u64 = 96;

/// How to start.
pub struct Startup {
    /// The settings.
    pub settings: Settings,
    /// Folder of the journal, the secrets and the control socket.
    pub state_dir: PathBuf,
    /// What to do with ports that may not be bound.
    pub port_rule: PortRule,
    /// Whom to become once the ports are bound.
    pub identity: Identity,
    /// Keep root's capabilities: OpenCanary's `--allow-run-as-root`.
    pub keep_capabilities: bool,
}

/// Why a canary did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state folder.
    #[error("state folder `{path}` cannot be used; name another with `aviary.state_dir` or AVIARY_STATE_DIR")]
    State {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The journal.
    #[error("journal cannot be opened")]
    Journal(#[from] aviary_journal::OpenError),
    /// Privileges.
    #[error("privileges cannot be given up")]
    Privilege(#[from] PrivilegeError),
}

/// A service that is enabled and cannot be built.
pub(crate) struct Rejected {
    /// The host whose service it is; `None` for the canary's own.
    pub host: Option<Arc<str>>,
    /// The service.
    pub label: &'static str,
    /// What is wrong with its settings.
    pub why: String,
    digest: String,
}

/// An output at work.
pub(crate) struct Outlet {
    /// Name in the file.
    pub name: String,
    /// Handler class.
    pub class: String,
    /// The log file, where it writes one.
    pub file: Option<String>,
    /// Why it is not at work.
    pub failure: Option<String>,
    /// How it is doing.
    pub health: Arc<Health>,
    /// What it is sent beside the journal's events.
    pub beside: Option<Beside>,
    /// Why it takes no test.
    pub no_test: Option<&'static str>,
    digest: String,
    stop: watch::Sender<bool>,
    task: Option<tokio::task::JoinHandle<()>>,
    failing_told: bool,
}

/// Connections taken and cut off, by a service's label and host.
pub(crate) type Ended = BTreeMap<(String, Option<Arc<str>>), (u64, u64)>;

/// A canary that is bound and about to run, or running.
pub struct Canary {
    state_dir: PathBuf,
    port_rule: PortRule,
    vault: Arc<FileVault>,
    reporter: Arc<Reporter>,
    connections: Arc<Connections>,
    room: Arc<Semaphore>,
    workshop: Arc<Semaphore>,
    quarantine: Arc<Quarantine>,
    datagrams: Arc<Guard>,
    /// What looks at packets, or why there is nothing though it was asked for.
    scanner: Option<Result<Scanner, String>>,
    /// Whether scans are watched for.
    scans: AtomicBool,
    started: Instant,
    started_at: Timestamp,
    /// Where metrics are read, if anywhere.
    page: Mutex<Option<Page>>,
    /// Seconds for which an output fails before all is not well.
    failing_after: AtomicU64,
    /// What posts that a reload ended had taken, and lost because there were too many.
    ended: Mutex<Ended>,
    posts: Mutex<Vec<Post>>,
    errands: Mutex<Vec<Errand>>,
    reserved: Arc<Reserved>,
    outlets: Mutex<Vec<Outlet>>,
    planned: Mutex<Option<Plan>>,
    rejected: Mutex<Vec<Rejected>>,
    /// Settings that stay as they were at the start.
    fixed: String,
    losses: Mutex<BTreeMap<String, u64>>,
    guard: Mutex<Option<aviary_journal::Guard>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Canary {
    /// Opens the state folder, binds every port, opens the journal, gives up privileges. Before the
    /// runtime starts, so that no thread keeps what the process gives up.
    ///
    /// # Errors
    /// When nothing could run. A port that cannot be bound is not an error; see [`Canary::posts`].
    pub fn start(startup: Startup) -> Result<Arc<Self>, StartError> {
        let started = Instant::now();
        aviary_script::lend_clock(clock::on_processor);
        let Startup { settings, state_dir, port_rule, identity, keep_capabilities } = startup;
        let identity = identity.resolve()?;
        let in_state = |source| StartError::State { path: state_dir.clone(), source };
        make_folder(&state_dir).map_err(in_state)?;
        let vault = Arc::new(FileVault::open(state_dir.join("secrets")).map_err(in_state)?);
        let plan = Plan::build(&settings, &*vault);
        let mut posts = Vec::new();
        for service in &plan.services {
            posts.extend(bind_service(service, port_rule, &[]));
        }
        let reserved = Reserved::open(&plan);
        let scanner = Scanner::open(&plan.capture);
        // After the services, which are what the canary is for.
        let page = plan.metrics.clone().map(|place| Page::open(place, identity));
        if let Some(identity) = identity {
            prepare_files(&state_dir, &plan, identity);
        }
        give_up(identity, keep_capabilities)?;
        let files = raise_file_limit();
        let options = journal_options(&state_dir, &plan);
        let (journal, guard) = Journal::open(&options, clock::now_micros)?;
        let (cap, per_source) = plan.connections;
        let of_hosts = posts.iter().filter(|post| post.host.is_some()).count();
        let files = usize::try_from(files.saturating_sub(RESERVED_FILES)).unwrap_or(usize::MAX);
        let cap = cap.min(files.saturating_sub(of_hosts)).max(16);
        let reporter = Arc::new(Reporter::new(journal, plan.rules.clone()));
        let quarantine = Quarantine::new(state_dir.join("quarantine"), plan.quarantine);
        Ok(Arc::new(Self {
            state_dir,
            port_rule,
            vault,
            reporter,
            connections: Connections::new(cap, per_source),
            // Above the table's cap: eviction there comes first, this is what never gives way.
            room: Arc::new(Semaphore::new(cap + 16)),
            workshop: Arc::new(Semaphore::new(4)),
            quarantine,
            datagrams: Guard::new(plan.datagram_rate),
            scanner,
            scans: AtomicBool::new(plan.capture.scans.is_some()),
            started,
            started_at: clock::now(),
            page: Mutex::new(page),
            failing_after: AtomicU64::new(plan.failing_after.as_secs()),
            ended: Mutex::default(),
            posts: Mutex::new(posts),
            errands: Mutex::default(),
            reserved,
            outlets: Mutex::default(),
            fixed: plan.fixed.clone(),
            planned: Mutex::new(Some(plan)),
            rejected: Mutex::default(),
            losses: Mutex::default(),
            guard: Mutex::new(Some(guard)),
        }))
    }

    /// What listens and what does not.
    #[must_use]
    pub fn posts(&self) -> Vec<PostView> {
        lock(&self.posts).iter().map(Post::view).collect()
    }

    /// The canary's own name in events.
    #[must_use]
    pub fn node_id(&self) -> String {
        self.reporter.rules().node_id.clone()
    }

    /// The folder of the journal, the secrets and the control socket.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// A reader over the events from now on.
    #[must_use]
    pub fn events(&self) -> Reader {
        let journal = self.reporter.journal();
        journal.peek(journal.stats().head)
    }

    /// Expects a touch of its own from an address: its events carry `word`, and go to hubs only.
    pub fn expect_drill(&self, from: std::net::SocketAddr, word: &Arc<str>) {
        self.reporter.drills().expect(from, word);
    }

    /// Takes what else comes from those addresses for what it is, once a drill is over.
    pub fn end_drill(&self, word: &str) {
        self.reporter.drills().forget(word);
    }

    /// How it is doing, as `aviary status` shows it.
    pub async fn status(self: &Arc<Self>, config: &str) -> serde_json::Value {
        control::status(self, config).await
    }

    /// The reporter.
    #[must_use]
    pub(crate) const fn reporter(&self) -> &Arc<Reporter> {
        &self.reporter
    }

    /// The live connections.
    #[must_use]
    pub(crate) const fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    /// Who may be answered over UDP.
    #[must_use]
    pub(crate) const fn datagrams(&self) -> &Arc<Guard> {
        &self.datagrams
    }

    /// When it was started.
    #[must_use]
    pub(crate) const fn started(&self) -> Instant {
        self.started
    }

    /// The same as a time of day.
    #[must_use]
    pub(crate) const fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// How long an output fails before all is not well.
    #[must_use]
    pub(crate) fn failing_after(&self) -> Duration {
        Duration::from_secs(self.failing_after.load(Ordering::Relaxed))
    }

    /// What posts that a reload ended had taken, and lost because there were too many.
    #[must_use]
    pub(crate) fn ended(&self) -> Ended {
        lock(&self.ended).clone()
    }

    /// Looks at the page of metrics, if there is one.
    pub(crate) fn page<R>(&self, look: impl FnOnce(&Page) -> R) -> Option<R> {
        lock(&self.page).as_ref().map(look)
    }

    /// Serves until told to stop, and stops in order. Inside the runtime; the canary may be looked at
    /// meanwhile. `config` is what `status` shows; `reload` is run on SIGHUP and by `aviary reload`.
    pub async fn run(self: &Arc<Self>, config: String, reload: Reload, stop: impl Future<Output = ()>) {
        contain_panics();
        self.serve();
        match control::open(&self.state_dir) {
            Ok(listener) => {
                let task = control::serve(listener, Arc::clone(self), config, reload);
                drop(tokio::runtime::Handle::current().spawn(task));
            }
            Err(error) => tracing::error!(%error, "control socket cannot be opened: no `status`, `reload` and `tail`"),
        }
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                _ = ticks.tick() => self.tick(),
            }
        }
        self.stop().await;
        let _ = std::fs::remove_file(control::socket_path(&self.state_dir));
    }

    /// Begins to serve.
    fn serve(self: &Arc<Self>) {
        let Some(mut plan) = lock(&self.planned).take() else { return };
        // First, so that the position of an output that is new lies before the start-up lines.
        self.open_outlets(std::mem::take(&mut plan.outputs));
        self.note_rejected(&plan);
        self.show_ports();
        self.watch_for_scans();
        self.open_posts(&plan);
        self.open_errands(&plan);
        if let Some(page) = lock(&self.page).as_mut() {
            page.begin(self);
        }
        self.fill_secrets(plan.services);
    }

    fn watch_for_scans(&self) {
        let class = aviary_scan::OPENCANARY;
        let watching = match &self.scanner {
            None => return,
            Some(Ok(scanner)) => {
                scanner.watch(Arc::clone(&self.reporter)).map_err(|error| format!("no thread for packets: {error}"))
            }
            Some(Err(why)) => Err(why.clone()),
        };
        match watching {
            Ok(()) if self.scans() => self.say(format!("Added service from class {class} to fake")),
            Ok(()) => {}
            Err(why) if self.scans() => {
                tracing::error!(service = aviary_scan::NAME, "{why}");
                self.say(format!("Failed to add service from class {class}. {why}"));
            }
            // Events say less of who is behind an address; `status` says why.
            Err(why) => tracing::info!("who is behind an address is known from the kernel alone: {why}"),
        }
    }

    /// What looks at packets, or why there is nothing though it was asked for.
    pub(crate) const fn scanner(&self) -> Option<&Result<Scanner, String>> {
        self.scanner.as_ref()
    }

    /// Tells what looks at packets where the services stand.
    fn show_ports(&self) {
        if let Some(Ok(scanner)) = &self.scanner {
            let posts = lock(&self.posts);
            let bound = posts.iter().filter(|post| post.failure.is_none());
            scanner.serve(bound.map(|post| (post.proto(), post.port)));
        }
    }

    /// Whether scans are to be watched for.
    pub(crate) fn scans(&self) -> bool {
        self.scans.load(Ordering::Relaxed)
    }

    /// Host keys and certificates are made after the ports are open: an RSA key takes seconds.
    fn fill_secrets(self: &Arc<Self>, services: Vec<PlannedService>) {
        let vault = Arc::clone(&self.vault);
        tokio::task::spawn_blocking(move || {
            vault.fill();
            for tls in services.into_iter().filter_map(|service| service.tls) {
                if let Err(error) = tls.wait() {
                    tracing::error!(%error, "no TLS");
                }
            }
        });
    }

    fn say(&self, text: String) {
        self.reporter.report_own(&kinds::MESSAGE, message(text));
    }

    /// Starts outputs that are new or changed and ends those that are gone; one line per change.
    fn open_outlets(self: &Arc<Self>, planned: Vec<PlannedOutput>) -> Vec<String> {
        let names: Vec<String> = planned.iter().map(|output| output.handler.name.clone()).collect();
        let mut outlets = lock(&self.outlets);
        let mut changes = Vec::new();
        for output in planned {
            if let Some(old) = outlets.iter().find(|outlet| outlet.name == output.handler.name)
                && old.digest == output.digest
                && old.failure.is_none()
            {
                continue;
            }
            let (stop, stopped) = watch::channel(false);
            let health = Arc::new(Health::new(output.handler.name.clone(), clock::now));
            let mut outlet = Outlet {
                name: output.handler.name.clone(),
                class: output.handler.class.clone(),
                file: output.file().map(str::to_owned),
                failure: None,
                health: Arc::clone(&health),
                beside: None,
                no_test: output.output.as_ref().ok().and_then(|output| output.no_test()),
                digest: output.digest,
                stop,
                task: None,
                failing_told: false,
            };
            let place = outlets.iter().position(|outlet| outlet.name == output.handler.name);
            let before = place.map(|place| outlets.remove(place)).and_then(|old| {
                let _ = old.stop.send(true);
                old.task
            });
            match output.output {
                Ok(output) => {
                    let verb = if place.is_some() { "changed" } else { "started" };
                    changes.push(format!("output {} {verb}", outlet.name));
                    let (journal, name) = (self.reporter.journal().clone(), outlet.name.clone());
                    // A new output's position is now; a changed one goes on where the old task ends.
                    drop(journal.reader(&name));
                    let mut seed = [0; 8];
                    let _ = getrandom::fill(&mut seed);
                    let (sender, beside) = outlets::beside();
                    outlet.beside = Some(sender);
                    let pacing = Pacing { seed: u64::from_ne_bytes(seed), ..Pacing::default() };
                    outlet.task = Some(tokio::runtime::Handle::current().spawn(async move {
                        // Two tasks of one name would both move its position.
                        if let Some(before) = before {
                            let _ = before.await;
                        }
                        let feed = Feed::new(journal, &name, beside);
                        aviary_output::run(output, feed, health, stopped, pacing).await;
                    }));
                }
                Err(why) => {
                    tracing::error!(output = outlet.name, "{why}");
                    changes.push(format!("output {} did not start: {why}", outlet.name));
                    outlet.failure = Some(why.to_string());
                }
            }
            outlets.push(outlet);
        }
        outlets.retain(|outlet| {
            let stays = names.contains(&outlet.name);
            if !stays {
                let _ = outlet.stop.send(true);
                let waiting = match self.waiting_for(&outlet.name) {
                    0 => String::new(),
                    waiting => format!(" with {waiting} events undelivered"),
                };
                changes.push(format!("output {} removed{waiting}", outlet.name));
            }
            stays
        });
        self.reporter.journal().retain_outputs(&names);
        changes
    }

    /// Events that an output has not yet had.
    fn waiting_for(&self, output: &str) -> u64 {
        let stats = self.reporter.journal().stats();
        stats.head.saturating_sub(stats.cursors.get(output).copied().unwrap_or(stats.head))
    }

    /// What of a plan cannot be built, and was not already so.
    fn objections(&self, plan: &Plan) -> Vec<String> {
        let (rejected, outlets) = (lock(&self.rejected), lock(&self.outlets));
        let services = plan.services.iter().filter_map(|service| {
            let why = service.service.as_ref().err()?;
            let same = |old: &Rejected| service.is(old.host.as_ref(), old.label) && old.digest == service.digest;
            (!rejected.iter().any(same)).then(|| format!("service {}: {why}", service.title()))
        });
        let outputs = plan.outputs.iter().filter_map(|output| {
            let why = output.output.as_ref().err()?;
            let name = &output.handler.name;
            let known =
                outlets.iter().any(|old| old.name == *name && old.failure.is_some() && old.digest == output.digest);
            (!known).then(|| format!("{} `{name}`: {why}", output.handler.word()))
        });
        services.chain(outputs).collect()
    }

    /// Applies changed settings. Services whose settings did not change keep their connections.
    /// Gives one line per change. Blocks for as long as ports take to become free.
    ///
    /// # Errors
    /// When a service or an output cannot be built from the settings; then nothing changes.
    pub fn reload(self: &Arc<Self>, settings: &Settings) -> Result<Vec<String>, String> {
        let plan = Plan::build(settings, &*self.vault);
        let objections = self.objections(&plan);
        if !objections.is_empty() {
            return Err(objections.join("\n"));
        }
        let mut changes = self.exchange_posts(&plan);
        self.show_ports();
        changes.extend(self.open_errands(&plan));
        self.note_rejected(&plan);
        if plan.fixed != self.fixed {
            changes.push("limits, the journal's bounds and the state folder change with the next start".to_owned());
        }
        self.reporter.set_rules(plan.rules.clone());
        let scans = plan.capture.scans.is_some();
        let before = self.scans.swap(scans, Ordering::Relaxed);
        match &self.scanner {
            Some(Ok(scanner)) => {
                scanner.set(&plan.capture);
                if scans != before {
                    changes.push(format!("the watch for scans {}", if scans { "began" } else { "ended" }));
                }
            }
            _ if scans && !before => changes.push("the watch for scans begins with the next start".to_owned()),
            _ => {}
        }
        changes.extend(self.exchange_page(&plan));
        changes.extend(self.open_outlets(plan.outputs));
        self.fill_secrets(plan.services);
        self.say(format!(
            "Configuration reloaded: {}",
            if changes.is_empty() { "no service or output changed".to_owned() } else { changes.join(", ") }
        ));
        Ok(changes)
    }

    /// What must be done once a second: limits, and what people must be told of outputs and losses.
    fn tick(&self) {
        self.connections.sweep();
        for (source, count) in self.connections.limited() {
            self.reporter.report_limited(source, count);
        }
        for outlet in lock(&self.outlets).iter_mut() {
            let report = outlet.health.report();
            if report.failing != outlet.failing_told {
                outlet.failing_told = report.failing;
                let error = report.last_error.map(|(_, text)| text).unwrap_or_default();
                let waiting = self.waiting_for(&outlet.name);
                let data = LogData::new()
                    .with("ERROR", if report.failing { error } else { String::new() })
                    .with("OUTPUT", outlet.name.as_str())
                    .with("STATE", if report.failing { "failing" } else { "working" })
                    .with("WAITING", i64::try_from(waiting).unwrap_or(i64::MAX));
                self.reporter.report_own(&kinds::OUTPUT, data);
            }
        }
        self.tell_losses();
    }

    /// Losses are the first thing said once they are known.
    fn tell_losses(&self) {
        let stats = self.reporter.journal().stats();
        let mut told = lock(&self.losses);
        let unsaved = (stats.trouble.is_none() && stats.unsaved > 0).then_some(("", stats.unsaved));
        let lost = stats.lost.iter().map(|(output, count)| (output.as_str(), *count)).chain(unsaved);
        for (output, count) in lost {
            let before = told.insert(output.to_owned(), count).unwrap_or(0);
            if count > before {
                let reason = if output.is_empty() { "journal could not be written" } else { "journal bound reached" };
                let data = LogData::new()
                    .with("COUNT", i64::try_from(count - before).unwrap_or(i64::MAX))
                    .with("OUTPUT", output)
                    .with("REASON", reason);
                self.reporter.report_own(&kinds::LOST, data);
            }
        }
    }

    /// Stops in order: no new connections, the live ones end, outputs get what there is for a while.
    async fn stop(&self) {
        lock(&self.errands).clear();
        let ending: Vec<_> = lock(&self.posts).iter_mut().filter_map(Post::end).collect();
        if let Some(Ok(scanner)) = &self.scanner {
            scanner.stop();
        }
        let begun = tokio::time::Instant::now();
        while begun.elapsed() < STOP_PATIENCE {
            // Again each time: a listener may have been about to take one in.
            self.connections.end(None);
            let ended = ending.iter().all(watch::Sender::is_closed);
            if ended && self.connections.count() == 0 && self.datagrams.talks() == 0 {
                break;
            }
            if begun.elapsed() > CUT_AFTER {
                self.connections.cut();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let deadline = tokio::time::Instant::now() + STOP_PATIENCE;
        // Only when the journal has the last event does its head tell who is behind.
        let last = self.reporter.report_last(&kinds::MESSAGE, message("Canary stopped".to_owned()));
        let _ = tokio::time::timeout_at(deadline, last).await;
        while self.someone_is_behind() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let tasks: Vec<_> = lock(&self.outlets)
            .iter_mut()
            .filter_map(|outlet| {
                let _ = outlet.stop.send(true);
                outlet.task.take()
            })
            .collect();
        for task in tasks {
            let _ = tokio::time::timeout(STOP_PATIENCE, task).await;
        }
        let (guard, page) = (lock(&self.guard).take(), lock(&self.page).take());
        let _ = tokio::task::spawn_blocking(move || {
            drop(guard);
            if let Some(page) = page {
                page.end();
            }
        })
        .await;
    }

    fn someone_is_behind(&self) -> bool {
        let stats = self.reporter.journal().stats();
        lock(&self.outlets)
            .iter()
            .filter(|outlet| outlet.failure.is_none() && !outlet.health.report().failing)
            .any(|outlet| stats.cursors.get(&outlet.name).is_some_and(|cursor| *cursor < stats.head))
    }

    /// Looks at every errand.
    pub(crate) fn errands<R>(&self, look: impl FnMut(&Errand) -> R) -> Vec<R> {
        lock(&self.errands).iter().map(look).collect()
    }

    /// Everything about posts and outputs that `status` shows.
    pub(crate) fn inspect<R>(&self, look: impl FnOnce(&[Post], &[Rejected], &[Outlet]) -> R) -> R {
        look(&lock(&self.posts), &lock(&self.rejected), &lock(&self.outlets))
    }
}

/// A panic ends one session or one delivery, never the canary; the log says where it was.
fn contain_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a task failed, the others go on");
    }));
}

/// A life-cycle line as OpenCanary nests it.
fn message(text: String) -> LogData {
    let inner = LogData::new().with("logdata", text);
    LogData::new().with("msg", Value::from(inner))
}
