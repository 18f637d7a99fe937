//! A canary that belongs to a hub: it sends its events there, tells how it is doing, proves that it detects, and takes
//! its config from there.
//!
//! Everything goes over connections that the canary opens, with the certificate that it enrolled for. A hub that cannot
//! be reached holds up nothing: events wait in the journal, and the config stays.

mod drill;
mod enrol;
mod identity;
mod report;
mod takes;
mod turns;

use std::path::{Path, PathBuf};

use aviary_config::{Handler, Settings};
use serde_json::{Map, Value};

pub(crate) use enrol::{Wish, enrol};
pub(crate) use turns::run;

use identity::Identity;
use takes::Pushed;

/// The name of the output to the hub. No file's own is called so.
const OUTPUT: &str = "hub (enrolled)";

/// A canary's membership.
#[derive(Clone, Debug)]
pub(crate) struct Joined {
    identity: Identity,
    pushed: Pushed,
}

impl Joined {
    /// The membership in a state folder; `None` for a canary that belongs to no hub.
    pub(crate) fn open(state: &Path) -> anyhow::Result<Option<Self>> {
        let folder = state.join("joined");
        let identity = Identity::read(&folder)?;
        Ok(identity.map(|identity| Self { identity, pushed: Pushed::at(&folder) }))
    }

    /// The config file that the hub gave; `None` while the canary runs on its own.
    pub(crate) fn config(&self) -> Option<PathBuf> {
        self.pushed.file()
    }

    /// The settings with the hub among the outputs. A config of the hub's is for a group, so that the name in events is
    /// the sensor's own.
    pub(crate) fn adjust(&self, settings: Settings) -> Settings {
        let settings = match self.config() {
            Some(_) => settings.with_value("device.node_id", self.identity.name.as_str().into()),
            None => settings,
        };
        let mut options = Map::new();
        options.insert("url".to_owned(), self.identity.url.as_str().into());
        let file = Value::from(self.identity.certificate().display().to_string());
        options.insert("cert".to_owned(), file.clone());
        options.insert("key".to_owned(), file);
        if self.identity.is_pinned {
            options.insert("verify".to_owned(), self.identity.authority().display().to_string().into());
        }
        settings.with_handler(Handler::beside(OUTPUT, "aviary.hub", options))
    }
}
