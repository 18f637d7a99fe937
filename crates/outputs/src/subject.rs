//! What an event says, in the words and fields that formats of other makers have a place for.

use std::borrow::Cow;
use std::net::IpAddr;

use aviary_event::{Event, Origin, Port, Severity, Value, write_json_value};

/// An event as seen by a format that has fields of its own.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a>(pub(crate) &'a Event);

/// Syslog's number for a severity (RFC 5424, table 2): informational, notice, warning, error, alert.
pub(crate) const fn syslog_severity(severity: Severity) -> u64 {
    match severity {
        Severity::Informational => 6,
        Severity::Low => 5,
        Severity::Medium => 4,
        Severity::High => 3,
        Severity::Critical => 1,
    }
}

/// The same from 1 to 10, as CEF and LEEF have it: low to 3, medium to 6, high to 8.
pub(crate) const fn severity_of_ten(severity: Severity) -> u64 {
    match severity {
        Severity::Informational => 1,
        Severity::Low => 3,
        Severity::Medium => 5,
        Severity::High => 8,
        Severity::Critical => 10,
    }
}

impl<'a> Subject<'a> {
    /// The imitated service; `opencanary` where nobody said which.
    pub(crate) fn service(self) -> &'a str {
        self.0.service().filter(|service| !service.is_empty()).unwrap_or("opencanary")
    }

    /// The canary's name; never empty.
    pub(crate) fn node(self) -> &'a str {
        self.0.node_id.as_deref().filter(|node| !node.is_empty()).unwrap_or("opencanary")
    }

    /// The log type in digits, 0 when there is none.
    pub(crate) fn code(self) -> String {
        self.0.logtype.unwrap_or(0).to_string()
    }

    /// The account that the peer named.
    pub(crate) fn user(self) -> Option<String> {
        ["USERNAME", "UserName", "USER", "username"]
            .iter()
            .find_map(|key| {
                self.0.logdata.get(key).filter(|value| value.as_bytes().is_some_and(|user| !user.is_empty()))
            })
            .map(plain)
    }

    pub(crate) fn source(self) -> Option<&'a Origin> {
        self.0.src.as_ref().filter(|origin| !origin.host.is_empty())
    }

    pub(crate) fn destination(self) -> Option<&'a Origin> {
        self.0.dst.as_ref().filter(|origin| !origin.host.is_empty())
    }

    /// Microseconds since 1970, when the event says when it was.
    pub(crate) fn micros(self) -> Option<i64> {
        aviary_output::moment(self.0).map(aviary_event::Timestamp::as_micros)
    }

    /// What happened, without who did it: `login on ftp`.
    pub(crate) fn action(self) -> String {
        format!("{} on {}", self.0.class(), self.service())
    }

    /// One line for people: `login on ftp by "root" from 192.0.2.7`.
    pub(crate) fn headline(self) -> String {
        if self.0.is_lifecycle()
            && let Some(told) = self.0.logdata.get("msg")
        {
            let told = told.get("logdata").unwrap_or(told);
            return bounded(&plain(told), HEADLINE).to_owned();
        }
        let mut line = self.action();
        if let Some(user) = self.user() {
            let shown = user.escape_debug().to_string();
            line.push_str(&format!(" by \"{}\"", bounded(&shown, 60)));
        }
        if let Some(source) = self.source() {
            line.push_str(&format!(" from {}", bounded(&source.host, 60)));
        }
        line
    }
}

/// Longest headline, bytes.
const HEADLINE: usize = 250;

/// The address of an origin, when its host is one.
pub(crate) fn ip(origin: &Origin) -> Option<IpAddr> {
    origin.host.parse().ok()
}

/// The port, when there is one.
pub(crate) fn port(origin: &Origin) -> Option<u16> {
    match &origin.port {
        Port::Number(number) => u16::try_from(*number).ok(),
        Port::Text(text) => text.parse().ok(),
    }
}

/// As much of a text's beginning as fits into so many bytes.
pub(crate) fn bounded(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or(text)
}

/// Text as it is, with `\xNN` for bytes that are none; everything else as JSON.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Bytes(bytes) => bytes.to_text(),
        other => json(other),
    }
}

/// Any value as JSON.
pub(crate) fn json(value: &Value) -> String {
    let mut text = String::new();
    write_json_value(&mut text, value);
    text
}

/// The event's line as strict JSON can say it: Python's `NaN` and infinities, which OpenCanary's
/// format knows and other parsers refuse, become text.
pub(crate) fn strict_line(event: &Event, extended: bool) -> String {
    let endless = |value: &Value| any(value, &|value| matches!(value, Value::Float(number) if !number.is_finite()));
    let ours = event.aviary.iter().flat_map(|ours| ours.more.values());
    let event = if endless(&event.logdata) || event.more.values().chain(ours).any(endless) {
        let mut event = event.clone();
        soften(&mut event.logdata);
        let ours = event.aviary.iter_mut().flat_map(|ours| ours.more.values_mut());
        event.more.values_mut().chain(ours).for_each(soften);
        Cow::Owned(event)
    } else {
        Cow::Borrowed(event)
    };
    event.to_line(extended)
}

fn any(value: &Value, test: &impl Fn(&Value) -> bool) -> bool {
    match value {
        Value::List(items) => items.iter().any(|item| any(item, test)),
        Value::Map(map) => map.values().any(|item| any(item, test)),
        other => test(other),
    }
}

fn soften(value: &mut Value) {
    match value {
        Value::Float(number) if !number.is_finite() => *value = Value::Text(number.to_string()),
        Value::List(items) => items.iter_mut().for_each(soften),
        Value::Map(map) => map.values_mut().for_each(soften),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(line: &str) -> Event {
        Event::parse(line).expect("an event")
    }

    #[test]
    fn says_what_who_and_from_where() {
        let login = event(r#"{"logtype": 2000, "logdata": {"USERNAME": "a\"\n"}, "src_host": "192.0.2.7"}"#);
        assert_eq!(Subject(&login).headline(), r#"login on opencanary by "a\"\n" from 192.0.2.7"#);
        assert_eq!(Subject(&event("{}")).headline(), "command on opencanary");
        let told = event(r#"{"logtype": 1001, "logdata": {"msg": {"logdata": "Canary running!!!"}}}"#);
        assert_eq!(Subject(&told).headline(), "Canary running!!!");
        let told = event(r#"{"logtype": 1001, "logdata": {"msg": "Added service"}}"#);
        assert_eq!(Subject(&told).headline(), "Added service");
    }

    #[test]
    fn writes_endless_numbers_as_text_and_nothing_else_differently() {
        let odd = event(r#"{"logdata": {"a": [NaN, {"b": -Infinity}], "c": 1.5}, "logtype": 1}"#);
        assert_eq!(strict_line(&odd, true), r#"{"logdata": {"a": ["NaN", {"b": "-inf"}], "c": 1.5}, "logtype": 1}"#);
        let plain = event(r#"{"logdata": {"c": 1.5}, "logtype": 1}"#);
        assert_eq!(strict_line(&plain, true), plain.to_line(true));
    }

    #[test]
    fn grades_grow_with_the_severity() {
        for pair in Severity::ALL.windows(2) {
            assert!(syslog_severity(pair[0]) > syslog_severity(pair[1]));
            assert!(severity_of_ten(pair[0]) < severity_of_ten(pair[1]));
        }
    }
}
