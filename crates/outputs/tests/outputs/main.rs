//! The outputs against real files, sockets and programs.

mod battery;
mod bench;
mod chat;
mod console;
mod email;
mod exec;
mod file;
mod hpfeeds;
mod http_form;
mod socket;
mod syslog;
mod webhook;
