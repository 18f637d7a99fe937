//! The outputs against real files, sockets and programs.

mod battery;
mod bench;
mod chat;
mod console;
mod file;
mod hpfeeds;
mod socket;
mod syslog;
mod webhook;
