//! Configs of groups of sensors: versions, one of them in force, and at most one on its way.

use serde::{Deserialize, Serialize};

/// Versions that are kept.
const KEPT: usize = 100;

/// What became of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// Written, and at no sensor yet.
    #[serde(rename = "draft")]
    Draft,
    /// At one sensor, which has to prove that it detects.
    #[serde(rename = "trial")]
    Trial,
    /// In force for the group, or was.
    #[serde(rename = "applied")]
    Applied,
    /// The sensor took it and did not prove that it detects; it has the version before again.
    #[serde(rename = "rolled back")]
    RolledBack,
    /// The sensor did not take it.
    #[serde(rename = "failed")]
    Failed,
}

/// One version of a config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Counts from 1.
    pub version: u64,
    /// Who wrote it.
    pub by: String,
    /// When, microseconds since 1970.
    pub at: i64,
    /// What became of it.
    pub state: Fate,
    /// Why.
    #[serde(default)]
    pub why: String,
    /// The file, TOML or JSON.
    pub text: String,
}

/// A version on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// Which.
    pub version: u64,
    /// The sensor that has it first.
    pub first: String,
    /// Since when, microseconds since 1970.
    pub since: i64,
    /// When the sensor had it.
    #[serde(default)]
    pub taken: Option<i64>,
}

/// The config of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupConfig {
    /// From the oldest.
    pub versions: Vec<Version>,
    /// The one in force; none for sensors' own files.
    #[serde(default)]
    pub applied: Option<u64>,
    /// The one on its way.
    #[serde(default)]
    pub push: Option<Push>,
}

impl GroupConfig {
    /// A version.
    #[must_use]
    pub fn find(&self, version: u64) -> Option<&Version> {
        self.versions.iter().find(|known| known.version == version)
    }

    /// The newest version.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.versions.last().map_or(0, |last| last.version)
    }

    /// Adds a version, and gives its number.
    pub fn add(&mut self, text: String, by: &str, at: i64) -> u64 {
        let version = self.newest().saturating_add(1);
        let by = by.to_owned();
        self.versions.push(Version { version, by, at, state: Fate::Draft, why: String::new(), text });
        let spared = [self.applied, self.push.as_ref().map(|push| push.version)];
        while self.versions.len() > KEPT {
            let Some(place) = self.versions.iter().position(|known| !spared.contains(&Some(known.version))) else {
                break;
            };
            self.versions.remove(place);
        }
        version
    }

    /// Sends a version to one sensor.
    pub fn begin(&mut self, version: u64, first: &str, now: i64) {
        self.push = Some(Push { version, first: first.to_owned(), since: now, taken: None });
        self.note(version, Fate::Trial, String::new());
    }

    /// The end of what is on its way.
    pub fn end(&mut self, fate: Fate, why: String) {
        let Some(push) = self.push.take() else { return };
        if fate == Fate::Applied {
            self.applied = Some(push.version);
        }
        self.note(push.version, fate, why);
    }

    /// The version that a sensor of the group should have.
    #[must_use]
    pub fn wanted(&self, sensor: &str) -> Option<&Version> {
        let first = self.push.as_ref().filter(|push| push.first == sensor).map(|push| push.version);
        self.find(first.or(self.applied)?)
    }

    fn note(&mut self, version: u64, state: Fate, why: String) {
        if let Some(known) = self.versions.iter_mut().find(|known| known.version == version) {
            (known.state, known.why) = (state, why);
        }
    }
}

/// What changed from one version to another, as a unified diff.
#[must_use]
pub fn diff(from: (&str, &str), to: (&str, &str)) -> String {
    similar::TextDiff::from_lines(from.1, to.1).unified_diff().header(from.0, to.0).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_it_first_and_all_when_it_is_applied() {
        let mut config = GroupConfig::default();
        assert_eq!(config.wanted("a"), None);
        for text in ["one\n", "two\n"] {
            config.add(text.to_owned(), "anna", 1);
        }
        config.begin(1, "a", 2);
        let wanted = |config: &GroupConfig, sensor: &str| config.wanted(sensor).map(|wanted| wanted.version);
        assert_eq!((wanted(&config, "a"), wanted(&config, "b")), (Some(1), None));
        config.end(Fate::Applied, String::new());
        assert_eq!((wanted(&config, "a"), wanted(&config, "b")), (Some(1), Some(1)));
        config.begin(2, "b", 3);
        config.end(Fate::RolledBack, "blind".to_owned());
        assert_eq!((wanted(&config, "b"), config.find(2).map(|two| two.state)), (Some(1), Some(Fate::RolledBack)));
    }

    #[test]
    fn the_version_in_force_outlives_the_others() {
        let mut config = GroupConfig::default();
        config.add("first\n".to_owned(), "anna", 1);
        config.begin(1, "a", 1);
        config.end(Fate::Applied, String::new());
        for _ in 0..KEPT * 2 {
            config.add("more\n".to_owned(), "anna", 2);
        }
        assert_eq!((config.versions.len(), config.find(1).is_some(), config.newest()), (KEPT, true, 201));
    }

    #[test]
    fn a_diff_names_both_and_shows_lines() {
        let shown = diff(("version 1", "a = 1\nb = 2\n"), ("version 2", "a = 1\nb = 3\n"));
        assert!(shown.starts_with("--- version 1\n+++ version 2\n"), "{shown}");
        assert!(shown.contains("-b = 2\n+b = 3\n"), "{shown}");
    }
}
