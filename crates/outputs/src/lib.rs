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
mod kafka;
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

/// The output that plays a handler class.
#[must_use]
pub fn by_class(class: &str) -> Option<&'static Entry> {
    ALL.iter().copied().find(|entry| entry.classes.contains(&class))
}
