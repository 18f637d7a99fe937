//! QRadar's Log Event Extended Format, version 2.0.
//!
//! ```text
//! LEEF:2.0|Vendor|Product|Version|Event|x09|key=value TAB key=value
//! ```
//!
//! Members are told apart by tabs. The format knows no escapes, so a tab or line end inside a value
//! is written `\t`, `\n` or `\r`. `event` is the whole event. Reference: "IBM Security QRadar
//! Log Event Extended Format (LEEF)", version 2.

use std::fmt::Write as _;

use aviary_event::{Event, Value};

use crate::subject::{Subject, ip, plain, port, severity_of_ten, strict_line};

/// Appends the message.
pub(super) fn write(event: &Event, extended: bool, out: &mut String) {
    let subject = Subject(event);
    let _ = write!(out, "LEEF:2.0|Aviary|Aviary|{}|{}|x09|", env!("CARGO_PKG_VERSION"), subject.code());
    let mut first = true;
    let mut member = |key: &str, value: Option<String>| {
        let Some(value) = value.filter(|value| !value.is_empty()) else { return };
        let _ = write!(out, "{}{key}=", if first { "" } else { "\t" });
        first = false;
        for c in value.chars() {
            match c {
                '\t' => out.push_str("\\t"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                c if c.is_control() => out.push(' '),
                c => out.push(c),
            }
        }
    };
    let ours = event.aviary.as_ref();
    // Milliseconds since 1970 need no `devTimeFormat`.
    member("devTime", subject.micros().map(|micros| micros.div_euclid(1000).to_string()));
    member("cat", Some(event.class().word().to_owned()));
    member("sev", Some(severity_of_ten(event.severity()).to_string()));
    for (origin, host, number) in [(subject.source(), "src", "srcPort"), (subject.destination(), "dst", "dstPort")] {
        member(host, origin.and_then(ip).map(|ip| ip.to_string()));
        member(number, origin.and_then(port).map(|port| port.to_string()));
    }
    let mac = ours.and_then(|ours| ours.more.get("src_mac")).and_then(Value::as_str);
    member("srcMAC", mac.map(str::to_owned));
    member("usrName", subject.user());
    member("identHostName", Some(subject.node().to_owned()));
    member("service", Some(subject.service().to_owned()));
    member("password", event.logdata.get("PASSWORD").map(plain));
    member("session", ours.and_then(|ours| ours.session.clone()));
    member("technique", ours.map(|ours| ours.technique.join(",")));
    member("honeycred", event.honeycred.map(|planted| planted.to_string()));
    member("id", ours.map(|ours| ours.id.to_string()));
    member("event", Some(strict_line(event, extended)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_qradars_fields() {
        let line = r#"{"aviary": {"id": "01990000-0000-7000-8000-000000000001", "kind": "login", "seq": 1, "service": "ftp", "time": "2026-11-22T22:00:01.000000+00:00"}, "dst_host": "192.0.2.1", "dst_port": 21, "logdata": {"PASSWORD": "=|", "USERNAME": "a\tb\n"}, "logtype": 2000, "node_id": "n", "src_host": "2001:db8::7", "src_port": 40000}"#;
        let mut out = String::new();
        write(&Event::parse(line).expect("an event"), true, &mut out);
        let version = env!("CARGO_PKG_VERSION");
        let expected = [
            &format!("LEEF:2.0|Aviary|Aviary|{version}|2000|x09|devTime=1795384801000"),
            "cat=login",
            "sev=8",
            "src=2001:db8::7",
            "srcPort=40000",
            "dst=192.0.2.1",
            "dstPort=21",
            r"usrName=a\tb\n",
            "identHostName=n",
            "service=ftp",
            "password==|",
            "id=01990000-0000-7000-8000-000000000001",
            &format!("event={line}"),
        ];
        assert_eq!(out, expected.join("\t"));
    }
}
