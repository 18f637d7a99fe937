//! The imitated services: a folder each, and the list of all.

// Bytes from peers are hostile: nothing here may panic, overflow or truncate on their account.
#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::string_slice,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

use aviary_service::Entry;

pub use answer::answered_ports;
pub use personas::PERSONAS;

mod answer;
mod ftp;
mod git;
mod http;
mod httpproxy;
mod llmnr;
mod mongodb;
mod mssql;
mod mysql;
mod ntp;
mod personas;
mod rdp;
mod redis;
mod sip;
mod smb;
mod snmp;
mod ssh;
mod tcpbanner;
mod telnet;
mod tftp;
mod vnc;

/// Every service, in alphabetical order of folders. A new service is one folder and two lines here.
#[rustfmt::skip] // one line a service
pub static ALL: &[&Entry] = &[
    &answer::ENTRY,
    &ftp::ENTRY,
    &git::ENTRY,
    &http::HTTP,
    &http::HTTPS,
    &httpproxy::ENTRY,
    &llmnr::ENTRY,
    &mongodb::ENTRY,
    &mssql::ENTRY,
    &mysql::ENTRY,
    &ntp::ENTRY,
    &rdp::ENTRY,
    &redis::ENTRY,
    &sip::ENTRY,
    &smb::ENTRY,
    &snmp::ENTRY,
    &ssh::ENTRY,
    &tcpbanner::ENTRY,
    &telnet::ENTRY,
    &tftp::ENTRY,
    &vnc::ENTRY,
];
