//! The hub's own sensors: who they are, whether they prove that they detect, and which config they have.
//!
//! A sensor is never connected to. It asks, over mutual TLS, what there is for it to do, and tells how it is doing
//! ([`Sensors::turn`]); an order waits for the next question.

mod config;
mod enrol;
mod push;
mod turn;
mod watch;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use aviary_event::Timestamp;
use aviary_store::{Document, Store, StoreError};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::Authority;
pub use config::{Fate, GroupConfig, Push, Version, diff};
pub use enrol::{EnrolError, Enrolled, Invitation};
pub use push::{ConfigRow, PushError};
pub use turn::{ConfigOrder, Drilled, Orders, Refused, Report, ServiceReport};
use watch::Watch;
pub use watch::{Change, Pace, State, Touch};

/// The kinds of their documents: what people decided, what the hub saw, and configs of groups.
pub(super) const KIND: &str = "sensor";
const SEEN: &str = "sensor_state";
const CONFIG: &str = "sensor_config";

/// Changes of state that are kept of a sensor.
const HISTORY: usize = 100;

/// Days for which a sensor's certificate is good. The sensor renews it after two thirds of them.
pub const CERTIFICATE_DAYS: i64 = 90;

/// What people decided of a sensor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    /// Its group, which has a config of its own.
    pub group: String,
    /// Where it stands.
    #[serde(default)]
    pub site: String,
    /// Words for it.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The `node_id`s that its events may have; any if empty.
    #[serde(default)]
    pub nodes: Vec<String>,
    /// When it enrolled, microseconds since 1970.
    pub enrolled: i64,
    /// SHA-256 of its certificates, and until when they are good.
    #[serde(default)]
    pub certificates: Vec<(String, i64)>,
    /// Whether it is let in no more.
    #[serde(default)]
    pub revoked: bool,
}

/// What the hub saw of a sensor, as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    state: State,
    why: String,
    heard: Option<i64>,
    report: Option<Report>,
    history: VecDeque<Change>,
}

/// A sensor in memory.
#[derive(Debug)]
struct Entry {
    pass: Pass,
    pass_version: u64,
    seen_version: u64,
    watch: Watch,
    history: VecDeque<Change>,
    report: Option<Report>,
    /// The sensor's clock less the hub's, microseconds.
    skew: Option<i64>,
    /// Whether it shall renew its certificate now.
    renew: bool,
    /// Wakes a question that waits.
    wake: Arc<Notify>,
}

impl Entry {
    fn new(pass: Pass, now: Timestamp) -> Self {
        Self {
            pass,
            pass_version: 0,
            seen_version: 0,
            watch: Watch::new(State::Never, String::new(), None, now.as_micros()),
            history: VecDeque::new(),
            report: None,
            skew: None,
            renew: false,
            wake: Arc::default(),
        }
    }
}

/// A sensor as people see it.
#[derive(Clone, Debug)]
pub struct SensorRow {
    /// Its name.
    pub name: String,
    /// What was decided.
    pub pass: Pass,
    /// What it has proven.
    pub state: State,
    /// Why.
    pub why: String,
    /// When it was heard of last, microseconds since 1970.
    pub heard: Option<i64>,
    /// What it told last.
    pub report: Option<Report>,
    /// Its clock less the hub's, microseconds.
    pub skew: Option<i64>,
    /// Changes of state, the newest last.
    pub history: Vec<Change>,
    /// The config that it should have, `group/3`.
    pub wanted: Option<String>,
}

/// What the hub certifies sensors with, and how it watches them.
struct Setup {
    authority: Arc<Authority>,
    /// What enrolling sensors know the hub by: the authority's SHA-256, or `-` where the hub shows a certificate of
    /// somebody else's.
    pin: String,
    pace: Pace,
    days: i64,
}

#[derive(Default)]
struct Entries {
    sensors: BTreeMap<String, Entry>,
    configs: BTreeMap<String, (GroupConfig, u64)>,
}

/// All sensors.
pub struct Sensors {
    store: Arc<dyn Store>,
    clock: fn() -> Timestamp,
    setup: OnceLock<Setup>,
    entries: Mutex<Entries>,
    /// Held while documents are written, so that a later state is never written before an earlier one.
    writing: tokio::sync::Mutex<()>,
}

impl Sensors {
    /// Reads those that are known.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn read(store: Arc<dyn Store>, clock: fn() -> Timestamp) -> Result<Self, StoreError> {
        let now = clock();
        let mut entries = Entries::default();
        for document in store.documents(KIND).await? {
            let Some(pass) = read::<Pass>(&document) else { continue };
            let mut entry = Entry::new(pass, now);
            entry.pass_version = document.version;
            entries.sensors.insert(document.key, entry);
        }
        for document in store.documents(SEEN).await? {
            let Some(seen) = read::<Seen>(&document) else { continue };
            let Some(entry) = entries.sensors.get_mut(&document.key) else { continue };
            entry.seen_version = document.version;
            entry.watch = Watch::new(seen.state, seen.why, seen.heard, now.as_micros());
            (entry.report, entry.history) = (seen.report, seen.history);
        }
        for document in store.documents(CONFIG).await? {
            let Some(config) = read::<GroupConfig>(&document) else { continue };
            entries.configs.insert(document.key, (config, document.version));
        }
        let entries = Mutex::new(entries);
        Ok(Self { store, clock, setup: OnceLock::new(), entries, writing: tokio::sync::Mutex::default() })
    }

    /// Lets sensors enrol. `is_pinned` says that the hub shows a certificate of this authority's.
    pub fn open(&self, authority: Arc<Authority>, is_pinned: bool, pace: Pace, days: i64) {
        let pin = if is_pinned { authority.fingerprint() } else { "-".to_owned() };
        let _ = self.setup.set(Setup { authority, pin, pace, days });
    }

    /// All of them, by name.
    #[must_use]
    pub fn list(&self) -> Vec<SensorRow> {
        let entries = self.lock();
        entries.sensors.iter().map(|(name, entry)| row(&entries, name, entry)).collect()
    }

    /// One of them.
    #[must_use]
    pub fn one(&self, name: &str) -> Option<SensorRow> {
        let entries = self.lock();
        entries.sensors.get(name).map(|entry| row(&entries, name, entry))
    }

    /// Puts a sensor elsewhere.
    ///
    /// # Errors
    /// When the store takes nothing.
    pub async fn place(&self, name: &str, by: &str, place: impl FnOnce(&mut Pass)) -> Result<bool, StoreError> {
        let _turn = self.writing.lock().await;
        let known = self.with_mut(name, |entry| {
            place(&mut entry.pass);
            // Another group is another config.
            entry.wake.notify_waiters();
        });
        if known.is_some() {
            self.write_pass(name, by, self.now()).await?;
        }
        Ok(known.is_some())
    }

    /// Has a sensor prove itself now. Says whether there is such a sensor, and whether it is heard of.
    #[must_use]
    pub fn drill(&self, name: &str) -> Option<bool> {
        let now = self.now().as_micros();
        self.with_mut(name, |entry| {
            let there = !entry.pass.revoked && entry.watch.state().0 != State::Silent && entry.watch.heard().is_some();
            if let (true, Ok(word)) = (there, enrol::random()) {
                entry.watch.begin(now, word);
                entry.wake.notify_waiters();
            }
            there
        })
    }

    /// Has a sensor renew its certificate now.
    #[must_use]
    pub fn ask_to_renew(&self, name: &str) -> Option<()> {
        self.with_mut(name, |entry| {
            entry.renew = true;
            entry.wake.notify_waiters();
        })
    }

    /// Whether a word is one of a sensor's drills: then its event is hidden from people.
    pub(crate) fn is_drill(&self, sensor: &str, word: &str) -> bool {
        self.with(sensor, |entry| entry.watch.knows(word)).unwrap_or(false)
    }

    /// Notes that an event of a drill is stored.
    pub(crate) fn saw(&self, sensor: &str, word: &str, source: u16) {
        let now = self.now().as_micros();
        self.with_mut(sensor, |entry| entry.watch.saw(word, source, now));
    }

    fn now(&self) -> Timestamp {
        (self.clock)()
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, name: &str, look: impl FnOnce(&Entry) -> T) -> Option<T> {
        self.lock().sensors.get(name).map(look)
    }

    fn with_mut<T>(&self, name: &str, change: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        self.lock().sensors.get_mut(name).map(change)
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Option<Entry>)) {
        let mut entries = self.lock();
        let mut entry = entries.sensors.remove(name);
        change(&mut entry);
        if let Some(entry) = entry {
            entries.sensors.insert(name.to_owned(), entry);
        }
    }
}

fn row(entries: &Entries, name: &str, entry: &Entry) -> SensorRow {
    let (state, why) = entry.watch.state();
    let config = entries.configs.get(&entry.pass.group).map(|(config, _)| config);
    let wanted = config.and_then(|config| config.wanted(name));
    SensorRow {
        name: name.to_owned(),
        pass: entry.pass.clone(),
        state,
        why: why.to_owned(),
        heard: entry.watch.heard(),
        report: entry.report.clone(),
        skew: entry.skew,
        history: entry.history.iter().cloned().collect(),
        wanted: wanted.map(|wanted| id_of(&entry.pass.group, wanted.version)),
    }
}

/// What canary and hub call a version of a group's config.
fn id_of(group: &str, version: u64) -> String {
    format!("{group}/{version}")
}

fn read<T: for<'de> Deserialize<'de>>(document: &Document) -> Option<T> {
    match serde_json::from_value(document.body.clone()) {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::error!(kind = document.kind, key = document.key, %error, "a document cannot be read");
            None
        }
    }
}
