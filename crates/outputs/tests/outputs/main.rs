//! The outputs against real files, sockets and programs.

mod battery;
mod bench;
mod console;
mod documents;
mod file;
mod syslog;
mod webhook;
