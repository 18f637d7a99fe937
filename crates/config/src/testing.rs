//! A key space as the services would give it, and documents, for tests.

use std::collections::BTreeMap;
use std::path::Path;

use crate::document::{Document, Format};
use crate::search::Surroundings;
use crate::space::KeySpace;
use crate::{Key, Shape};

const fn key(name: &'static str, shape: Shape, default: &'static str) -> Key {
    Key { name, shape, default, doc: "A key of a service." }
}

const fn switch(name: &'static str) -> Key {
    key(name, Shape::Flag, "false")
}

const COUNT: Shape = Shape::Int { min: 1, max: i64::MAX };

/// OpenCanary's keys of all services, as far as its files hold them.
pub(crate) static SERVICES: &[Key] = &[
    switch("ftp.enabled"),
    key("ftp.port", Shape::Port, "21"),
    key("ftp.banner", Shape::Text, r#""(vsFTPd 3.0.5)""#),
    switch("ftp.log_auth_attempt_initiated"),
    switch("git.enabled"),
    key("git.port", Shape::Port, "9418"),
    key("git.max_connections", COUNT, "32"),
    key("git.timeout", COUNT, "10"),
    switch("http.enabled"),
    key("http.port", Shape::Port, "80"),
    key("http.banner", Shape::Text, r#""nginx/1.24.0 (Ubuntu)""#),
    key("http.skin", Shape::OneOf(&["basicLogin", "nasLogin"]), r#""nasLogin""#),
    key("http.skin.list", Shape::List, ""),
    key("http.skindir", Shape::Path, ""),
    switch("http.log_unimplemented_method_requests"),
    switch("http.log_redirect_request"),
    switch("https.enabled"),
    key("https.port", Shape::Port, "443"),
    key("https.skin", Shape::OneOf(&["basicLogin", "nasLogin"]), r#""nasLogin""#),
    key("https.certificate", Shape::Path, r#""/etc/ssl/opencanary/opencanary.pem""#),
    key("https.key", Shape::Path, r#""/etc/ssl/opencanary/opencanary.key""#),
    switch("redis.enabled"),
    key("redis.port", Shape::Port, "6379"),
    switch("ssh.enabled"),
    key("ssh.port", Shape::Port, "22"),
    key("ssh.version", Shape::Text, r#""SSH-2.0-OpenSSH_9.6p1 Ubuntu-3ubuntu13.5""#),
    switch("tcpbanner.enabled"),
    key("tcpbanner.maxnum", Shape::Int { min: 1, max: 100 }, "10"),
    switch("tcpbanner_#.enabled"),
    key("tcpbanner_#.port", Shape::Port, "8001"),
    key("tcpbanner_#.datareceivedbanner", Shape::Text, r#""""#),
    key("tcpbanner_#.initbanner", Shape::Text, r#""""#),
    switch("tcpbanner_#.alertstring.enabled"),
    key("tcpbanner_#.alertstring", Shape::Text, r#""""#),
    switch("tcpbanner_#.keep_alive.enabled"),
    key("tcpbanner_#.keep_alive_secret", Shape::Text, r#""""#),
    key("tcpbanner_#.keep_alive_probes", COUNT, "11"),
    key("tcpbanner_#.keep_alive_interval", COUNT, "300"),
    key("tcpbanner_#.keep_alive_idle", COUNT, "300"),
    switch("telnet.enabled"),
    key("telnet.port", Shape::Port, "23"),
    key("telnet.banner", Shape::Text, r#""""#),
    key("telnet.max_connections", COUNT, "64"),
    key("telnet.timeout", COUNT, "120"),
    switch("telnet.log_tcp_connection"),
    switch("httpproxy.enabled"),
    key("httpproxy.port", Shape::Port, "8080"),
    key("httpproxy.skin", Shape::Text, r#""squid""#),
    key("httpproxy.banner", Shape::Text, ""),
    switch("llmnr.enabled"),
    key("llmnr.query_interval", COUNT, "60"),
    key("llmnr.query_splay", COUNT, "5"),
    key("llmnr.hostname", Shape::Text, r#""FILESRV02""#),
    key("llmnr.port", Shape::Port, "5355"),
    key("smb.auditfile", Shape::Path, r#""/var/log/samba-audit.log""#),
    switch("smb.enabled"),
    switch("mysql.enabled"),
    key("mysql.port", Shape::Port, "3306"),
    key("mysql.banner", Shape::Text, r#""8.0.43-0ubuntu0.24.04.2""#),
    switch("mysql.log_connection_made"),
    switch("rdp.enabled"),
    key("rdp.port", Shape::Port, "3389"),
    switch("sip.enabled"),
    key("sip.port", Shape::Port, "5060"),
    switch("snmp.enabled"),
    key("snmp.port", Shape::Port, "161"),
    switch("ntp.enabled"),
    key("ntp.port", Shape::Port, "123"),
    switch("tftp.enabled"),
    key("tftp.port", Shape::Port, "69"),
    switch("mssql.enabled"),
    key("mssql.version", Shape::Text, r#""2014""#),
    key("mssql.port", Shape::Port, "1433"),
    switch("vnc.enabled"),
    key("vnc.port", Shape::Port, "5900"),
    switch("mongodb.enabled"),
    key("mongodb.port", Shape::Port, "27017"),
    key("mongodb.version", Shape::Text, r#""7.0.14""#),
    switch("portscan.enabled"),
    switch("portscan.ignore_localhost"),
    key("portscan.logfile", Shape::Path, r#""/var/log/kern.log""#),
    key("portscan.synrate", COUNT, "5"),
    key("portscan.nmaposrate", COUNT, "5"),
    key("portscan.lorate", COUNT, "3"),
    key("portscan.ignore_ports", Shape::List, "[]"),
];

/// The key space with these services.
pub(crate) fn space() -> KeySpace {
    KeySpace::new([SERVICES])
}

/// A machine with `HOME` and nothing else.
pub(crate) fn surroundings() -> Surroundings {
    Surroundings { variables: BTreeMap::from([("HOME".into(), "/root".into())]), ..Surroundings::default() }
}

/// A document of OpenCanary's spelling that parses.
pub(crate) fn document(text: &str) -> Document {
    Document::parse(Path::new("opencanary.conf"), text, Format::Json, &space())
        .unwrap_or_else(|problem| panic!("{problem}"))
}
