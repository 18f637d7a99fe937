//! The registry's line for a service: its name, keys and kinds, and how to build it.

use std::fmt;

use aviary_config::{Key, Settings, Shape};
use aviary_event::KindInfo;

use crate::{Service, Vault};

/// Builds a service; a function for those in the list, a closure that holds the script for a user's module.
pub type Build = dyn Fn(&Materials<'_>) -> Result<Box<dyn Service>, Rejection> + Send + Sync;

/// A service as the list `ALL` holds it, or a user's module.
pub struct Entry {
    /// The name: prefix of its keys, word in `aviary.service`, name of its folder unless shared.
    pub name: &'static str,
    /// What it imitates, in a few words, for tables.
    pub summary: &'static str,
    /// OpenCanary's class and module, for its start-up line: `CanaryFTP in opencanary.modules.ftp`.
    pub opencanary: &'static str,
    /// Config keys, with their defaults.
    pub keys: &'static [Key],
    /// Kinds of event that it reports.
    pub kinds: &'static [KindInfo],
    /// Builds it. Pure but for reading files that the settings name.
    pub build: &'static Build,
}

impl Entry {
    /// Whether the settings switch it on: `NAME.enabled`, or for a service without that key a list that is not
    /// empty.
    #[must_use]
    pub fn is_enabled(&self, settings: &Settings) -> bool {
        let switch = format!("{}.enabled", self.name);
        let mut lists = self.keys.iter().filter(|key| key.shape == Shape::List);
        if self.keys.iter().any(|key| key.name == switch) {
            settings.flag(&switch)
        } else {
            lists.any(|key| !settings.list(key.name).is_empty())
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a service is built from.
pub struct Materials<'a> {
    /// All settings.
    pub settings: &'a Settings,
    /// Secrets of this installation.
    pub vault: &'a dyn Vault,
    /// The host name that the canary plays.
    pub host_name: &'a str,
}

/// Why a service cannot be built: the key at fault and what is accepted.
#[derive(Debug, thiserror::Error)]
#[error("`{key}`: {reason}")]
pub struct Rejection {
    /// The config key.
    pub key: String,
    /// What is wrong and what would be accepted.
    pub reason: String,
}

impl Rejection {
    /// A rejection of a key.
    #[must_use]
    pub fn new(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { key: key.into(), reason: reason.into() }
    }
}
