//! ArcSight's Common Event Format, version 0.
//!
//! ```text
//! CEF:0|Vendor|Product|Version|Event class|Name|Severity|key=value key=value
//! ```
//!
//! In the header `|` and `\` are escaped, in the extension `=`, `\` and line ends. LIMIT: the format
//! gives `cs1` 4,000 characters and `msg` 1,023; receivers that keep to it cut the whole event in
//! `cs1`, and the fields before it still say who did what. Reference: "Micro Focus Security ArcSight
//! Common Event Format", version 26.

use std::fmt::Write as _;

use aviary_event::{Event, Value};

use crate::subject::{Subject, bounded, ip, plain, port, severity_of_ten, strict_line};

/// Longest value of a field that is not `cs1`, bytes: that of `msg` and the user names.
const LONGEST: usize = 1023;

/// Appends the message.
pub(super) fn write(event: &Event, extended: bool, out: &mut String) {
    let subject = Subject(event);
    let version = env!("CARGO_PKG_VERSION");
    let (code, name, severity) = (subject.code(), subject.action(), severity_of_ten(event.severity()));
    let _ = write!(out, "CEF:0|Aviary|Aviary|{version}|{code}|{}|{severity}|", header(&name));
    let mut first = true;
    let mut member = |key: &str, value: Option<String>| {
        let Some(value) = value.filter(|value| !value.is_empty()) else { return };
        let value = if key == "cs1" { value.as_str() } else { bounded(&value, LONGEST) };
        let _ = write!(out, "{}{key}=", if first { "" } else { " " });
        first = false;
        extension(value, out);
    };
    let ours = event.aviary.as_ref();
    member("rt", subject.micros().map(|micros| micros.div_euclid(1000).to_string()));
    member("dvchost", Some(subject.node().to_owned()));
    member("cat", Some(event.class().word().to_owned()));
    member("app", Some(subject.service().to_owned()));
    member("externalId", ours.map(|ours| ours.id.to_string()));
    for (origin, address, v6, host, number) in
        [(subject.source(), "src", "c6a2", "shost", "spt"), (subject.destination(), "dst", "c6a3", "dhost", "dpt")]
    {
        let Some(origin) = origin else { continue };
        match ip(origin) {
            Some(ip) if ip.is_ipv4() => member(address, Some(ip.to_string())),
            Some(ip) => {
                let label = if v6 == "c6a2" { "Source IPv6 Address" } else { "Destination IPv6 Address" };
                member(v6, Some(ip.to_string()));
                member(&format!("{v6}Label"), Some(label.to_owned()));
            }
            None => member(host, Some(origin.host.clone())),
        }
        member(number, port(origin).map(|port| port.to_string()));
    }
    let mac = ours.and_then(|ours| ours.more.get("src_mac")).and_then(Value::as_str);
    member("smac", mac.map(str::to_owned));
    // Whoever logs in tries to become this user on the destination.
    member("duser", subject.user());
    let said = |keys: &[&str]| keys.iter().find_map(|key| event.logdata.get(key)).map(plain);
    member("requestMethod", said(&["METHOD", "REQUEST_TYPE"]));
    member("request", said(&["TARGET", "PATH"]));
    member("requestClientApplication", said(&["USERAGENT"]));
    member("msg", Some(subject.headline()));
    for (key, label, value) in [
        ("cs2", "session", ours.and_then(|ours| ours.session.clone())),
        ("cs3", "technique", ours.map(|ours| ours.technique.join(","))),
        ("cs4", "honeycred", event.honeycred.map(|planted| planted.to_string())),
        ("cs5", "password", said(&["PASSWORD"])),
        ("cs1", "event", Some(strict_line(event, extended))),
    ] {
        if value.as_ref().is_some_and(|value| !value.is_empty()) {
            member(&format!("{key}Label"), Some(label.to_owned()));
            member(key, value);
        }
    }
}

fn header(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '|' | '\\') {
            out.push('\\');
        }
        out.push(if c.is_control() { ' ' } else { c });
    }
    out
}

fn extension(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '=' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(line: &str) -> String {
        let mut out = String::new();
        write(&Event::parse(line).expect("an event"), true, &mut out);
        out
    }

    #[test]
    fn fills_arcsights_fields() {
        let line = r#"{"aviary": {"id": "01990000-0000-7000-8000-000000000001", "kind": "login", "seq": 1, "service": "f|p", "session": "aa", "src_mac": "02:00:00:00:00:66", "technique": ["T1110"], "time": "2026-11-22T22:00:01.000000+00:00"}, "dst_host": "2001:db8::1", "dst_port": 21, "honeycred": true, "logdata": {"PASSWORD": "p=|", "USERNAME": "a=b\\\nc"}, "logtype": 2000, "node_id": "n=1", "src_host": "192.0.2.7", "src_port": 40000}"#;
        let expected = concat!(
            r"CEF:0|Aviary|Aviary|VERSION|2000|login on f\|p|10|",
            r"rt=1795384801000 dvchost=n\=1 cat=login app=f|p externalId=01990000-0000-7000-8000-000000000001 ",
            r"src=192.0.2.7 spt=40000 c6a3=2001:db8::1 c6a3Label=Destination IPv6 Address dpt=21 ",
            r"smac=02:00:00:00:00:66 duser=a\=b\\\nc ",
            r#"msg=login on f|p by "a\=b\\\\\\nc" from 192.0.2.7 "#,
            r"cs2Label=session cs2=aa cs3Label=technique cs3=T1110 cs4Label=honeycred cs4=true ",
            r"cs5Label=password cs5=p\=| cs1Label=event cs1=",
        );
        let expected = expected.replace("VERSION", env!("CARGO_PKG_VERSION"));
        let event = line.replace('\\', "\\\\").replace('=', "\\=");
        assert_eq!(encoded(line), format!("{expected}{event}"));
    }

    #[test]
    fn bounds_every_field_but_the_whole_event() {
        let text = encoded(&format!(r#"{{"logdata": {{"USERNAME": "{}"}}}}"#, "x".repeat(5000)));
        let user = text.split(" duser=").nth(1).and_then(|rest| rest.split(' ').next()).expect("a user");
        assert_eq!(user.len(), LONGEST);
        assert!(text.ends_with(&format!("{}\"}}, \"logtype\": null}}", "x".repeat(5000))));
    }

    #[test]
    fn leaves_out_what_is_not_known() {
        let expected = format!(
            "CEF:0|Aviary|Aviary|{}|0|command on opencanary|5|dvchost=opencanary cat=command app=opencanary msg=command on opencanary cs1Label=event cs1={{\"logdata\": null, \"logtype\": null}}",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(encoded("{}"), expected);
    }
}
