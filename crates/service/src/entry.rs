//! The registry's line for a service: its name, keys and kinds, and how to build it.

use std::fmt;

use aviary_config::{Key, Settings};
use aviary_event::KindInfo;

use crate::{Service, Vault};

/// A service as the list `ALL` holds it.
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
    pub build: fn(&Materials<'_>) -> Result<Box<dyn Service>, Rejection>,
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
