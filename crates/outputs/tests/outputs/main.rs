//! The outputs against real files, sockets and programs.

mod battery;
mod bench;
mod chat;
mod collectors;
mod console;
mod destinations;
mod documents;
mod email;
mod exec;
mod file;
mod gelf;
mod hpfeeds;
mod http_form;
mod hub;
mod hub_server;
mod kafka;
mod mqtt;
mod nats;
mod redis;
mod socket;
mod structured;
mod syslog;
mod webhook;
