//! Configs on their way: to one sensor first, and to its group once that one has proven that it detects.

use aviary_store::{Document, PutError, StoreError};

use super::{CONFIG, Fate, GroupConfig, Sensors, State, Version, enrol, id_of};

/// How long the first sensor may take to have a config, microseconds.
const PATIENCE: i64 = 180_000_000;

/// A group's config as people see it.
#[derive(Clone, Debug)]
pub struct ConfigRow {
    /// The group.
    pub group: String,
    /// Its versions, and what is on its way.
    pub config: GroupConfig,
    /// Sensors of the group that have the version in force, and all of the group.
    pub sensors: (usize, usize),
}

/// Why a version is not sent.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// There is no such version.
    #[error("the config of `{group}` has no version {version}")]
    Missing {
        /// The group.
        group: String,
        /// The version.
        version: u64,
    },
    /// Another is on its way.
    #[error("version {version} is on its way to `{first}`; wait for what becomes of it")]
    Busy {
        /// Which.
        version: u64,
        /// Where to.
        first: String,
    },
    /// Nobody could prove it.
    #[error("no sensor of `{group}` proves that it detects, so none can try the config first")]
    Nobody {
        /// The group.
        group: String,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Sensors {
    /// The configs of all groups that have one.
    #[must_use]
    pub fn configs(&self) -> Vec<ConfigRow> {
        let entries = self.lock();
        let row = |(group, (config, _)): (&String, &(GroupConfig, u64))| {
            let of_group =
                || entries.sensors.values().filter(|entry| entry.pass.group == *group && !entry.pass.revoked);
            let id = config.applied.map(|version| id_of(group, version));
            let has = of_group().filter(|entry| entry.report.as_ref().map(|report| &report.config) == id.as_ref());
            ConfigRow { group: group.clone(), config: config.clone(), sensors: (has.count(), of_group().count()) }
        };
        entries.configs.iter().map(row).collect()
    }

    /// The config of a group.
    #[must_use]
    pub fn config(&self, group: &str) -> Option<GroupConfig> {
        self.lock().configs.get(group).map(|(config, _)| config.clone())
    }

    /// Writes a new version of a group's config, and gives it.
    ///
    /// # Errors
    /// When the store takes nothing.
    pub async fn write_config(&self, group: &str, text: String, by: &str) -> Result<Version, StoreError> {
        let at = self.now().as_micros();
        let _turn = self.writing.lock().await;
        let (config, version) = self.lock().configs.get(group).cloned().unwrap_or_default();
        let mut config = config;
        let number = config.add(text, by, at);
        let written = config.find(number).cloned();
        self.store_config(group, config, version, by).await?;
        written.ok_or(StoreError::Missing { what: "such version" })
    }

    /// Sends a version to one sensor of the group, and gives which: `first`, or the first by name that proves that it
    /// detects.
    ///
    /// # Errors
    /// When another is on its way, or no sensor could prove it.
    pub async fn push(&self, group: &str, version: u64, first: Option<&str>, by: &str) -> Result<String, PushError> {
        let now = self.now().as_micros();
        let _turn = self.writing.lock().await;
        let found = self.lock().configs.get(group).cloned();
        let (mut config, stored) = found.unwrap_or_default();
        if config.find(version).is_none() {
            return Err(PushError::Missing { group: group.to_owned(), version });
        }
        if let Some(push) = &config.push {
            return Err(PushError::Busy { version: push.version, first: push.first.clone() });
        }
        let chosen = {
            let entries = self.lock();
            let mut able = entries.sensors.iter().filter(|(name, entry)| {
                entry.pass.group == group
                    && !entry.pass.revoked
                    && entry.watch.state().0 == State::Alive
                    && first.is_none_or(|first| first == *name)
            });
            able.next().map(|(name, _)| name.clone())
        };
        let first = chosen.ok_or_else(|| PushError::Nobody { group: group.to_owned() })?;
        config.begin(version, &first, now);
        self.store_config(group, config, stored, by).await?;
        self.with_mut(&first, |entry| {
            // It may well take now what it did not take before.
            if let Some(report) = &mut entry.report {
                report.refused = None;
            }
            entry.wake.notify_waiters();
        });
        Ok(first)
    }

    /// Looks what became of configs on their way.
    pub(super) async fn tick_pushes(&self, now: i64) -> Result<(), StoreError> {
        if self.lock().configs.values().all(|(config, _)| config.push.is_none()) {
            return Ok(());
        }
        let _turn = self.writing.lock().await;
        let groups: Vec<(String, GroupConfig, u64)> = {
            let entries = self.lock();
            let under_way = entries.configs.iter().filter(|(_, (config, _))| config.push.is_some());
            under_way.map(|(group, (config, version))| (group.clone(), config.clone(), *version)).collect()
        };
        for (group, mut config, version) in groups {
            if !self.judge(&group, &mut config, now) {
                continue;
            }
            self.store_config(&group, config, version, "hub").await?;
            for entry in self.lock().sensors.values().filter(|entry| entry.pass.group == group) {
                entry.wake.notify_waiters();
            }
        }
        Ok(())
    }

    /// Whether anything changed of a config on its way.
    fn judge(&self, group: &str, config: &mut GroupConfig, now: i64) -> bool {
        let Some(mut push) = config.push.clone() else { return false };
        let id = id_of(group, push.version);
        let mut entries = self.lock();
        let Some(entry) = entries.sensors.get_mut(&push.first).filter(|entry| !entry.pass.revoked) else {
            config.end(Fate::RolledBack, format!("`{}` is a sensor no more", push.first));
            return true;
        };
        let report = entry.report.as_ref();
        if let Some(refused) = report.and_then(|report| report.refused.as_ref()).filter(|refused| refused.config == id)
        {
            config.end(Fate::Failed, format!("`{}` did not take it: {}", push.first, refused.why));
            return true;
        }
        let (state, why) = entry.watch.state();
        if state == State::Silent {
            config.end(Fate::RolledBack, format!("`{}` is silent: {why}", push.first));
            return true;
        }
        let Some(taken) = push.taken else {
            if report.is_some_and(|report| report.config == id) {
                let Ok(word) = enrol::random() else { return false };
                entry.watch.begin(now, word);
                entry.wake.notify_waiters();
                push.taken = Some(now);
                config.push = Some(push);
                return true;
            }
            if now.saturating_sub(push.since) > PATIENCE {
                config.end(Fate::RolledBack, format!("`{}` did not take it in time", push.first));
                return true;
            }
            return false;
        };
        match entry.watch.proven_since(taken) {
            Some(true) => config.end(Fate::Applied, format!("`{}` proved that it detects", push.first)),
            Some(false) => config.end(Fate::RolledBack, format!("`{}` is {}: {why}", push.first, state.word())),
            None if now.saturating_sub(taken) > PATIENCE => {
                config.end(Fate::RolledBack, format!("`{}` proved nothing in time", push.first));
            }
            None => return false,
        }
        true
    }

    /// Writes a group's config. The caller holds the turn of writing.
    async fn store_config(&self, group: &str, config: GroupConfig, version: u64, by: &str) -> Result<(), StoreError> {
        let body = serde_json::to_value(&config).unwrap_or_default();
        let document = Document { kind: CONFIG.to_owned(), key: group.to_owned(), version, body };
        let version = match self.store.put(document, by.to_owned(), self.now()).await? {
            Ok(written) => written.version,
            Err(PutError::Conflict { .. }) => {
                return Err(StoreError::Failed { reason: "a config was changed by another program".to_owned() });
            }
        };
        self.lock().configs.insert(group.to_owned(), (config, version));
        Ok(())
    }
}
