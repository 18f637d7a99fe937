//! The outputs against real files, sockets and programs.

mod battery;
mod bench;
mod chat;
mod collectors;
mod console;
mod documents;
mod file;
mod gelf;
mod hpfeeds;
mod socket;
mod structured;
mod syslog;
mod webhook;
