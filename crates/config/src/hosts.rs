//! Hosts: machines that are played at addresses of their own, each with its persona, services and node id.

use crate::settings::Settings;

/// A member of `hosts`.
///
/// Its settings are its own alone: what a host does not say, it has from its persona or the shipped
/// defaults, never from the top of the file.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its name in the file: 1 to 63 letters, digits and hyphens.
    pub name: String,
    /// Its settings.
    pub settings: Settings,
}

impl Host {
    /// Its name in events: `device.node_id`, or else the canary's and its own name, `opencanary-1/printer`.
    #[must_use]
    pub fn node_id(&self, canary: &str) -> String {
        match self.settings.is_set("device.node_id") {
            true => self.settings.node_id().into_owned(),
            false => format!("{canary}/{}", self.name),
        }
    }

    /// The host name that it plays: `aviary.host_name`, or else its name in the file.
    #[must_use]
    pub fn host_name(&self) -> String {
        let given = self.settings.text("aviary.host_name");
        if given.is_empty() { self.name.clone() } else { given }
    }
}

/// Whether a key is of the whole canary, so that no host has one of its own.
pub(crate) fn is_of_the_whole(key: &str) -> bool {
    let family = key.split('.').next().unwrap_or_default();
    match family {
        "hosts" | "ip" | "llmnr" | "logger" | "logtype" | "outputs" | "portscan" => true,
        "aviary" => key != "aviary.host_name",
        _ => false,
    }
}
