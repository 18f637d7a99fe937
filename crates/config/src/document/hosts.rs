//! The part of a document that is a host's: a member of `hosts`, with keys as at the top of the file.

use std::sync::Arc;

use serde_json::Value;

use super::Document;
use crate::problem::{Location, Problem};
use crate::shape::show;

/// The key whose members are hosts.
pub(crate) const HOSTS: &str = "hosts";

/// A member of `hosts`.
#[derive(Clone, Debug)]
pub struct HostPart {
    /// Its name.
    pub name: String,
    /// Where the name stands.
    pub location: Location,
    /// Its keys.
    pub document: Document,
}

impl Document {
    /// The part for a host of this name, a new one if it is the first that is heard of it.
    pub(super) fn host(&mut self, name: &str, location: &Location) -> &mut Self {
        let at = self.hosts.iter().position(|host| host.name == name).unwrap_or_else(|| {
            let prefix = format!("{HOSTS}.{name}.");
            let document = Self::empty(Arc::clone(&self.file), self.format, prefix);
            self.hosts.push(HostPart { name: name.to_owned(), location: location.clone(), document });
            self.hosts.len() - 1
        });
        &mut self.hosts[at].document
    }

    /// `printer` and `ftp.port` of `hosts.printer.ftp.port`, at the top of a file.
    pub(super) fn host_and_key(&self, key: &str) -> Option<(String, String)> {
        let (host, key) = key.strip_prefix(HOSTS)?.strip_prefix('.')?.split_once('.')?;
        (!self.is_host()).then(|| (host.to_owned(), key.to_owned()))
    }

    /// `printer` of `hosts.printer`, at the top of a file.
    pub(super) fn host_alone(&self, key: &str) -> Option<String> {
        let host = key.strip_prefix(HOSTS)?.strip_prefix('.')?;
        (!self.is_host() && !host.contains('.')).then(|| host.to_owned())
    }

    /// Tells of a member of `hosts` that holds no keys.
    pub(super) fn refuse_host(&mut self, name: &str, value: &Value, location: Location) {
        let key = format!("{HOSTS}.{name}");
        let message = format!("`{key}` is {}; accepted: an object with the keys of a host", show(value));
        let problem = Problem::error(location, message).of_key(key);
        self.problems.push(problem.hint("each member of `hosts` is a host, under a name of your own"));
    }

    /// Tells of a host that is given twice; the keys of both count.
    pub(super) fn note_second(&mut self, name: &str, location: &Location) {
        let Some(earlier) = self.hosts.iter().find(|host| host.name == name) else { return };
        let message = format!(
            "`{HOSTS}.{name}` is given twice, first in line {}; it is one host with the keys of both",
            earlier.location.line
        );
        let problem = Problem::warning(location.clone(), message).of_key(format!("{HOSTS}.{name}"));
        self.problems.push(problem.hint("write them together, or give one another name"));
    }
}
