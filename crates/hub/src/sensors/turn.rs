//! A sensor's turn: it tells how it is doing, and gets what there is to do.

use std::time::Duration;

use aviary_store::{Document, StoreError};
use serde::{Deserialize, Serialize};

use super::{Change, Entry, HISTORY, SEEN, Seen, Sensors, Touch, enrol, id_of};

/// Most of what a sensor may tell of.
const SERVICES: usize = 10_000;

/// A service of a sensor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceReport {
    /// Its name.
    pub service: String,
    /// Where it listens.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// `listening`, `failed`.
    pub state: String,
}

/// What a sensor touched of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drilled {
    /// The drill's word.
    pub word: String,
    /// Each touch.
    pub touches: Vec<Touch>,
}

/// A config that a sensor could not take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Which, `group/3`.
    pub config: String,
    /// Why.
    pub why: String,
}

/// How a sensor is doing, in its own words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Its program's version.
    pub version: String,
    /// Its name in events.
    pub node_id: String,
    /// Its machine's addresses.
    pub addresses: Vec<String>,
    /// Its services.
    pub services: Vec<ServiceReport>,
    /// SHA-256 of the config file that it runs on.
    pub config_hash: String,
    /// Which of the hub's configs that is, `group/3`; empty for a file of its own.
    pub config: String,
    /// The config that it could not take, until it is given another.
    pub refused: Option<Refused>,
    /// Events that wait for the hub.
    #[serde(skip_serializing)]
    pub backlog: u64,
    /// Its clock, microseconds since 1970.
    #[serde(skip_serializing)]
    pub time: i64,
    /// A drill that it was asked for.
    #[serde(skip_serializing)]
    pub drill: Option<Drilled>,
}

/// A config to take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigOrder {
    /// Which, `group/3`; empty for the sensor's own file.
    pub id: String,
    /// The file.
    pub text: String,
}

/// What there is for a sensor to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// Touch each service of its own, so that the events carry this word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill: Option<String>,
    /// Take this config.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<ConfigOrder>,
    /// Renew the certificate.
    #[serde(default)]
    pub renew: bool,
}

impl Orders {
    /// Whether there is anything to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Sensors {
    /// A sensor's turn. Waits a while for something to do, so that an order reaches the sensor at once; gives `None` for a
    /// sensor that is let in no more.
    ///
    /// # Errors
    /// When the store takes nothing.
    pub async fn turn(&self, name: &str, mut report: Report) -> Result<Option<Orders>, StoreError> {
        let now = self.now().as_micros();
        report.services.truncate(SERVICES);
        report.addresses.truncate(SERVICES);
        let told = self.with_mut(name, |entry| {
            let first = entry.watch.heard().is_none();
            entry.watch.hear(now);
            let drill = report.drill.take();
            entry.watch.touched(drill.map(|drill| (drill.word, drill.touches)));
            entry.skew = (report.time > 0).then(|| report.time.saturating_sub(now));
            // What it could not take is told once, and holds until it is given another or the same again.
            if report.refused.is_none() {
                let before = entry.report.as_ref().and_then(|before| before.refused.clone());
                report.refused = before.filter(|refused| refused.config != report.config);
            }
            let plain = |report: &Report| Report { backlog: 0, time: 0, drill: None, ..report.clone() };
            let is_new = first || entry.report.as_ref().map(plain) != Some(plain(&report));
            entry.report = Some(report);
            (is_new, std::sync::Arc::clone(&entry.wake))
        });
        let Some((is_new, wake)) = told else { return Ok(None) };
        if is_new {
            self.write_seen(name).await?;
        }
        // A third of what counts as silence, so that a lost answer is no silence.
        let silent = self.setup.get().map_or(0, |setup| setup.pace.silent);
        let patience = Duration::from_micros(u64::try_from(silent / 3).unwrap_or(0)).min(Duration::from_secs(20));
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            // Listens before it looks, so that nothing falls in between.
            let woken = wake.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            match self.orders(name) {
                Some(orders) if orders.is_empty() => {}
                orders => return Ok(orders),
            }
            if tokio::time::timeout_at(deadline, woken).await.is_err() {
                return Ok(self.orders(name));
            }
        }
    }

    fn orders(&self, name: &str) -> Option<Orders> {
        let now = self.now().as_micros();
        let mut entries = self.lock();
        let super::Entries { sensors, configs } = &mut *entries;
        let entry = sensors.get_mut(name).filter(|entry| !entry.pass.revoked)?;
        let config = config_order(entry, name, configs);
        // One after the other: a drill proves the config that is there then.
        let drill = if config.is_none() { entry.watch.order(now) } else { None };
        Some(Orders { drill, config, renew: entry.renew })
    }

    /// Judges every sensor, and asks for what is due. Gives the changes of state with the sensor's name.
    pub(crate) async fn tick(&self) -> Vec<(String, Change)> {
        let Some(setup) = self.setup.get() else { return Vec::new() };
        let now = self.now().as_micros();
        let mut changes = Vec::new();
        for (name, entry) in &mut self.lock().sensors {
            if entry.pass.revoked {
                continue;
            }
            let waiting = entry.report.as_ref().map_or(0, |report| report.backlog);
            if let Some(change) = entry.watch.judge(now, setup.pace, waiting) {
                entry.history.push_back(change.clone());
                if entry.history.len() > HISTORY {
                    entry.history.pop_front();
                }
                changes.push((name.clone(), change));
            }
            if entry.watch.is_due(now)
                && let Ok(word) = enrol::random()
            {
                entry.watch.begin(now, word);
                entry.wake.notify_waiters();
            }
        }
        for (name, _) in &changes {
            if let Err(error) = self.write_seen(name).await {
                tracing::error!(sensor = name, %error, "its state cannot be stored");
            }
        }
        if let Err(error) = self.tick_pushes(now).await {
            tracing::error!(%error, "the state of a config cannot be stored");
        }
        changes
    }

    /// Writes what the hub saw of a sensor.
    async fn write_seen(&self, name: &str) -> Result<(), StoreError> {
        let _turn = self.writing.lock().await;
        let found = self.with(name, |entry| {
            let (state, why) = entry.watch.state();
            let seen = Seen {
                state,
                why: why.to_owned(),
                heard: entry.watch.heard(),
                report: entry.report.clone(),
                history: entry.history.clone(),
            };
            (serde_json::to_value(seen).unwrap_or_default(), entry.seen_version)
        });
        let Some((body, version)) = found else { return Ok(()) };
        let document = Document { kind: SEEN.to_owned(), key: name.to_owned(), version, body };
        let version = match self.store.put(document, "hub".to_owned(), self.now()).await? {
            Ok(written) => written.version,
            Err(aviary_store::PutError::Conflict { now }) => now,
        };
        self.with_mut(name, |entry| entry.seen_version = version);
        Ok(())
    }
}

/// The config that a sensor should have and does not.
fn config_order(
    entry: &Entry,
    name: &str,
    configs: &std::collections::BTreeMap<String, (super::GroupConfig, u64)>,
) -> Option<ConfigOrder> {
    let report = entry.report.as_ref()?;
    let group = &entry.pass.group;
    let wanted = configs.get(group).and_then(|(config, _)| config.wanted(name));
    let order = match wanted {
        Some(wanted) => ConfigOrder { id: id_of(group, wanted.version), text: wanted.text.clone() },
        None => ConfigOrder { id: String::new(), text: String::new() },
    };
    let is_refused = report.refused.as_ref().is_some_and(|refused| refused.config == order.id);
    (report.config != order.id && !is_refused).then_some(order)
}
