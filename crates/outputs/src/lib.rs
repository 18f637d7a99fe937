//! The destinations of events: a folder or file each, and the list of all.
//!
//! Each plays the handler classes that an OpenCanary configuration names, with their keys. None of
//! them opens a file or connection before the first delivery, and none can make another wait.

mod chat;
mod clickhouse;
mod console;
mod destination;
mod dial;
mod dshield;
mod elasticsearch;
mod email;
mod exec;
mod file;
mod gelf;
mod hpfeeds;
mod http;
mod http_form;
mod hub;
mod kafka;
mod keys;
mod mqtt;
mod naming;
mod nats;
mod null;
mod options;
mod receipts;
mod redis;
mod socket;
mod splunk;
mod subject;
mod syslog;
mod tls;
mod webhook;
mod worker;

use aviary_output::Entry;
pub use destination::destination;
pub use keys::{Key, is_secret, keys};

/// Every output, in alphabetical order. A new output is one file or folder and two lines here.
pub static ALL: &[&Entry] = &[
    &chat::ALERTMANAGER,
    &clickhouse::ENTRY,
    &console::ENTRY,
    &socket::DATAGRAM,
    &chat::DINGTALK,
    &chat::DISCORD,
    &dshield::ENTRY,
    &elasticsearch::ENTRY,
    &email::ENTRY,
    &exec::ENTRY,
    &chat::FEISHU,
    &file::ENTRY,
    &gelf::ENTRY,
    &hpfeeds::ENTRY,
    &http_form::ENTRY,
    &hub::ENTRY,
    &kafka::ENTRY,
    &chat::MATTERMOST,
    &mqtt::ENTRY,
    &nats::ENTRY,
    &chat::NTFY,
    &null::ENTRY,
    &chat::PUSHOVER,
    &redis::ENTRY,
    &file::ROTATING,
    &chat::SLACK,
    &socket::SOCKET,
    &socket::SOCKET_JSON,
    &splunk::ENTRY,
    &syslog::STRUCTURED,
    &syslog::ENTRY,
    &chat::TEAMS,
    &chat::TELEGRAM,
    &file::TIMED,
    &webhook::ENTRY,
    &chat::WECOM,
];

/// Handler classes that OpenCanary's users have in their files and that nothing here plays yet.
pub const FORESEEN: &[&str] = &[
    "logging.handlers.BufferingHandler",
    "logging.handlers.MemoryHandler",
    "logging.handlers.NTEventLogHandler",
    "logging.handlers.QueueHandler",
];

/// What a handler's `class` stands for: the output that plays it, and the class in full.
///
/// Beside the full class there is a short form. `gelf` is `aviary.gelf`; a name of [`Entry::name`] that no class of
/// ours has, such as `file` or `webhook`, is the first class of that output.
#[must_use]
pub fn by_class(class: &str) -> Option<(&'static Entry, &'static str)> {
    let of = |wanted: &str| {
        ALL.iter().find_map(|entry| Some((*entry, entry.classes.iter().copied().find(|class| *class == wanted)?)))
    };
    let named =
        || ALL.iter().find(|entry| entry.name == class).and_then(|entry| Some((*entry, *entry.classes.first()?)));
    of(class).or_else(|| of(&format!("{OURS}{class}"))).or_else(named)
}

/// What classes of our own begin with.
const OURS: &str = "aviary.";

/// Every short form of a class, sorted.
#[must_use]
pub fn short_classes() -> Vec<&'static str> {
    let ours = ALL.iter().flat_map(|entry| entry.classes).filter_map(|class| class.strip_prefix(OURS));
    // An output that plays a class of ours is found by that alone: `structured_syslog` is nothing that users know.
    let others = ALL.iter().filter(|entry| !entry.classes.iter().any(|class| class.starts_with(OURS)));
    let mut names: Vec<&str> = ours.chain(others.map(|entry| entry.name)).collect();
    names.sort_unstable();
    names.dedup();
    names
}
