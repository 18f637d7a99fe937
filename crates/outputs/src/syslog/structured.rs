//! `aviary.syslog`: messages with a header that says when, where and what.
//!
//! | key | meaning |
//! |---|---|
//! | `address` | as for `SysLogHandler`; without a port 514, and 6514 over TLS |
//! | `transport` | `udp`, `tcp` or `tls`; `udp` if missing. The path of a Unix socket needs none |
//! | `verify` | over TLS: `false` trusts any certificate, a path names the only trusted ones (PEM); `true` |
//! | `protocol` | `rfc5424` or `rfc3164`; `rfc5424` |
//! | `framing` | on a stream: `octets` or `newline`; `octets`, except for `rfc3164` over TCP |
//! | `message` | `json` (the formatted line), `cef` or `leef`; `json` |
//! | `facility` | as for `SysLogHandler`; `user` |
//! | `app_name` | `opencanaryd` |
//! | `sd_id` | name of the structured data element, `aviary@32473`; 32473 is a number for examples (RFC 5612) that stands for no company |
//!
//! ```text
//! <11>1 2026-11-22T22:00:01.000000+00:00 NODE opencanaryd PID 2000 [aviary@32473 id="..." seq="1" ...] MSG
//! ```
//!
//! MSGID is the log type. The structured data holds what a rule asks for first; `message` holds the
//! whole event in JSON, CEF (member `cs1`) and LEEF (member `event`) alike. The severity is the
//! event's: informational 6, low 5 (notice), medium 4 (warning), high 3 (error), critical 1 (alert). With `rfc3164` a CEF or LEEF message follows the host without a tag, as
//! receivers of both expect it.
//!
//! LIMIT: a message longer than a datagram is cut over UDP and counted as refused; rsyslog and
//! syslog-ng cut at 8 KiB and 64 KiB unless told otherwise. What a receiver had read and not stored
//! when it died is sent again where the connection's end says so. Tried with rsyslog 8.2302 over UDP,
//! TCP and TLS and syslog-ng 3.38 over TCP and TLS. References: RFC 5424, RFC 5425, RFC 5426, RFC 6587, RFC 3164.

use std::sync::Arc;
use std::time::Duration;

use aviary_event::Event;
use aviary_output::{
    Blueprint, Body as Said, Delivery, Destination, Entry, LineFormat, Output, Rejection, Someday, moment,
};
use jiff::tz::TimeZone;
use serde_json::Value;

use super::link::{Framing, Kind, Message, Sender, Target};
use super::{cef, facility, leef, target};
use crate::options::{Options, wrong};
use crate::subject::{Subject, ip, port, syslog_severity};
use crate::tls::{Tls, Trust};

/// Messages with a header.
pub(crate) static STRUCTURED: Entry = Entry {
    name: "structured_syslog",
    classes: &["aviary.syslog"],
    summary: "RFC 5424 and RFC 3164 messages over UDP, TCP, TLS or a Unix socket, with JSON, CEF or LEEF in them",
    options: &[
        "address",
        "transport",
        "verify",
        "protocol",
        "framing",
        "message",
        "facility",
        "app_name",
        "sd_id",
        "template",
    ],
    build,
};

/// The port of syslog over UDP and, by custom, over TCP.
const PORT: u16 = 514;

/// The port of syslog over TLS (RFC 5425).
const SECURE_PORT: u16 = 6514;

/// Messages at once. A burst of datagrams that no daemon's buffer holds would be lost.
const BURST: usize = 64;

/// Longest time that they may take.
const PATIENCE: Duration = Duration::from_secs(20);

fn build(blueprint: &Blueprint<'_>) -> Result<Box<dyn Output>, Rejection> {
    let encoder = Encoder::new(blueprint)?;
    let sender = sender(Options(blueprint.options), &encoder)?;
    Ok(Box::new(StructuredSyslog { encoder, sender }))
}

/// Reads where messages go, and how.
fn sender(options: Options<'_>, encoder: &Encoder) -> Result<Sender, Rejection> {
    let transport = options.choice("transport", &["udp", "tcp", "tls"])?;
    let secure = transport == Some("tls");
    let target = target(options, if secure { SECURE_PORT } else { PORT })?;
    let local = matches!(target, Target::Path(_));
    if local && transport.is_some() {
        return Err(Rejection::new("transport", "is given, but `address` is the path of a Unix socket"));
    }
    let trust = Trust::read(options)?;
    let kind = match transport {
        None if local => Kind::Unsaid,
        None | Some("udp") => Kind::Datagram,
        _ => Kind::Stream,
    };
    let framing = match options.choice("framing", &["octets", "newline"])? {
        Some("newline") => Framing::Line,
        None if local || (encoder.protocol == Protocol::Rfc3164 && !secure) => Framing::Line,
        _ => Framing::Counted,
    };
    Ok(Sender::new("syslog", target, kind).with(framing, secure.then(|| Tls::new(trust))))
}

/// What the header looks like.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Protocol {
    Rfc5424,
    Rfc3164,
}

/// What comes after it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Body {
    Json,
    Cef,
    Leef,
}

/// Turns events into messages.
#[derive(Debug)]
struct Encoder {
    facility: u64,
    protocol: Protocol,
    body: Body,
    app_name: String,
    sd_id: String,
    lines: LineFormat,
}

impl Encoder {
    fn new(blueprint: &Blueprint<'_>) -> Result<Self, Rejection> {
        let options = Options(blueprint.options);
        let protocol = match options.choice("protocol", &["rfc5424", "rfc3164"])? {
            Some("rfc3164") => Protocol::Rfc3164,
            _ => Protocol::Rfc5424,
        };
        let body = match options.choice("message", &["json", "cef", "leef"])? {
            Some("cef") => Body::Cef,
            Some("leef") => Body::Leef,
            _ => Body::Json,
        };
        let lines = LineFormat::with_template(blueprint)?;
        if lines.has_template() && body != Body::Json {
            return Err(Rejection::new("template", "is the text of a message; one in CEF or LEEF has fields instead"));
        }
        let app_name = options.text("app_name")?.unwrap_or("opencanaryd");
        if !is_name(app_name, 48) {
            return Err(wrong("app_name", &Value::from(app_name), "1 to 48 printable ASCII characters, none a space"));
        }
        let sd_id = options.text("sd_id")?.unwrap_or("aviary@32473");
        let number = sd_id.split_once('@').map(|(_, number)| number);
        if !is_name(sd_id, 32)
            || sd_id.contains(['=', ']', '"'])
            || !number.is_some_and(|number| number.starts_with(|c: char| c.is_ascii_digit()))
        {
            return Err(wrong("sd_id", &Value::from(sd_id), "`NAME@NUMBER`, up to 32 characters"));
        }
        Ok(Self {
            facility: facility(options)?,
            protocol,
            body,
            app_name: app_name.to_owned(),
            sd_id: sd_id.to_owned(),
            lines,
        })
    }

    /// A message without framing, up to what it says.
    fn header(&self, event: &Event) -> String {
        let subject = Subject(event);
        let priority = self.facility * 8 + syslog_severity(event.severity());
        let host = printable(subject.node(), 255);
        match self.protocol {
            Protocol::Rfc5424 => {
                let time = moment(event).map(|time| time.to_rfc3339(&TimeZone::UTC));
                // A year before 0 or after 9999 has no spelling there.
                let time = time.filter(|time| time.len() == 32).unwrap_or_else(|| "-".to_owned());
                let (app, pid) = (&self.app_name, std::process::id());
                let code = event.logtype.map_or_else(|| "-".to_owned(), |number| number.to_string());
                format!("<{priority}>1 {time} {host} {app} {pid} {code} {} ", self.structured_data(event))
            }
            Protocol::Rfc3164 => {
                let tag = match self.body {
                    Body::Json => format!("{}[{}]: ", self.app_name, std::process::id()),
                    Body::Cef | Body::Leef => String::new(),
                };
                format!("<{priority}>{} {host} {tag}", bsd_time(event))
            }
        }
    }

    /// A message without framing.
    fn encode(&self, event: &Event) -> String {
        let mut message = self.header(event);
        match self.body {
            Body::Cef => cef::write(event, self.lines.extended(), &mut message),
            Body::Leef => leef::write(event, self.lines.extended(), &mut message),
            Body::Json => {
                self.push(&self.lines.line(event), &mut message);
            }
        }
        message
    }

    fn push(&self, text: &str, message: &mut String) {
        if self.protocol == Protocol::Rfc5424 && !text.is_ascii() {
            // RFC 5424, section 6.4: text in UTF-8 begins with its mark.
            message.push('\u{feff}');
        }
        message.push_str(text);
    }

    /// A message that somebody else wrote, without framing.
    fn wrap(&self, message: &aviary_output::Message) -> Message {
        let mut text = self.header(&message.event);
        match &message.body {
            Said::Text(body) | Said::Json(body) => {
                self.push(body, &mut text);
                Message::Text(text)
            }
            Said::Bytes(bytes) => Message::Pieces(vec![[text.as_bytes(), bytes].concat()]),
        }
    }

    fn structured_data(&self, event: &Event) -> String {
        let mut out = format!("[{}", self.sd_id);
        let mut member = |name: &str, value: Option<String>| {
            let Some(value) = value else { return };
            out.push_str(&format!(" {name}=\""));
            for c in value.chars() {
                if matches!(c, '"' | '\\' | ']') {
                    out.push('\\');
                }
                out.push(if c.is_control() { ' ' } else { c });
            }
            out.push('"');
        };
        let ours = event.aviary.as_ref();
        let subject = Subject(event);
        member("id", ours.map(|ours| ours.id.to_string()));
        member("seq", ours.map(|ours| ours.seq.to_string()));
        member("kind", Some(event.class().word().to_owned()));
        member("service", ours.map(|ours| ours.service.clone()));
        member("session", ours.and_then(|ours| ours.session.clone()));
        for (origin, host, number) in [(subject.source(), "src", "spt"), (subject.destination(), "dst", "dpt")] {
            member(host, origin.map(|origin| ip(origin).map_or_else(|| origin.host.clone(), |ip| ip.to_string())));
            member(number, origin.and_then(port).map(|port| port.to_string()));
        }
        member("user", subject.user());
        member("honeycred", event.honeycred.map(|planted| planted.to_string()));
        out.push(']');
        out
    }
}

fn is_name(text: &str, most: usize) -> bool {
    !text.is_empty() && text.len() <= most && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A header's field: printable ASCII without spaces, of a bounded length, never empty.
fn printable(text: &str, most: usize) -> String {
    let shown: String = text.chars().map(|c| if c.is_ascii_graphic() { c } else { '?' }).take(most).collect();
    if shown.is_empty() { "-".to_owned() } else { shown }
}

/// `Nov  2 22:00:00`, local time, as RFC 3164 has it.
fn bsd_time(event: &Event) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let local = || {
        let text = event.local_time_adjusted.as_deref()?.replacen(' ', "T", 1);
        text.parse::<jiff::civil::DateTime>().ok()
    };
    let utc = || Some(moment(event)?.to_jiff().to_zoned(TimeZone::UTC).datetime());
    let time = local().or_else(utc).unwrap_or_default();
    let month = usize::try_from(time.month() - 1).ok().and_then(|month| MONTHS.get(month)).unwrap_or(&"Jan");
    format!("{month} {:>2} {:02}:{:02}:{:02}", time.day(), time.hour(), time.minute(), time.second())
}

struct StructuredSyslog {
    encoder: Encoder,
    sender: Sender,
}

impl Output for StructuredSyslog {
    fn deliver<'a>(&'a mut self, batch: &'a [Arc<Event>]) -> Delivery<'a> {
        Box::pin(async move {
            let messages: Vec<_> = batch.iter().map(|event| Message::Text(self.encoder.encode(event))).collect();
            self.sender.send_messages(&messages).await
        })
    }

    fn in_doubt(&mut self) -> Someday<'_> {
        Box::pin(self.sender.in_doubt())
    }

    fn batch_limit(&self) -> usize {
        self.sender.batch_limit()
    }

    fn time_limit(&self) -> Duration {
        PATIENCE
    }
}

/// A daemon as a script's destination.
pub(crate) struct Daemon {
    encoder: Encoder,
    sender: Sender,
}

impl Daemon {
    /// The keys that it reads beside `address`.
    pub(crate) const OPTIONS: &'static [&'static str] =
        &["transport", "verify", "protocol", "framing", "facility", "app_name", "sd_id"];

    pub(crate) fn read(blueprint: &Blueprint<'_>) -> Result<Self, Rejection> {
        let encoder = Encoder::new(blueprint)?;
        let sender = sender(Options(blueprint.options), &encoder)?;
        Ok(Self { encoder, sender })
    }
}

impl Destination for Daemon {
    fn send<'a>(&'a mut self, messages: &'a [aviary_output::Message]) -> Delivery<'a> {
        Box::pin(async move {
            let messages: Vec<_> = messages.iter().map(|message| self.encoder.wrap(message)).collect();
            self.sender.send_messages(&messages).await
        })
    }

    fn batch_limit(&self) -> usize {
        BURST
    }

    fn time_limit(&self) -> Duration {
        PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, json};

    const LINE: &str = r#"{"aviary": {"id": "01990000-0000-7000-8000-000000000001", "kind": "login", "seq": 1, "service": "ftp", "session": "aa", "time": "2026-11-02T23:00:01.000000+01:00"}, "dst_host": "192.0.2.1", "dst_port": 21, "local_time_adjusted": "2026-11-02 23:00:01.000000", "logdata": {"PASSWORD": "p|=\\", "USERNAME": "a]\"\\\n\u00e4"}, "logtype": 2000, "node_id": "n 1", "src_host": "192.0.2.7", "src_port": 40000}"#;

    fn encode(options: &Value, line: &str) -> Result<String, String> {
        let empty = Map::new();
        let options = options.as_object().unwrap_or(&empty);
        let blueprint = Blueprint { name: "s", options, format: "%(message)s", extended: true, node_id: "n 1" };
        let encoder = Encoder::new(&blueprint).map_err(|rejection| rejection.to_string())?;
        let event = Event::parse(line).expect("an event");
        Ok(encoder.encode(&event).replace(&format!(" {} ", std::process::id()), " PID "))
    }

    #[test]
    fn writes_rfc_5424_with_structured_data() {
        let expected = concat!(
            "<11>1 2026-11-02T22:00:01.000000+00:00 n?1 opencanaryd PID 2000 ",
            r#"[aviary@32473 id="01990000-0000-7000-8000-000000000001" seq="1" kind="login" service="ftp" session="aa" "#,
            r#"src="192.0.2.7" spt="40000" dst="192.0.2.1" dpt="21" user="a\]\"\\ ä"] "#
        );
        assert_eq!(encode(&json!({}), LINE), Ok(format!("{expected}{LINE}")));
    }

    #[test]
    fn writes_rfc_3164_in_local_time() {
        let pid = std::process::id();
        let options = json!({"protocol": "rfc3164", "facility": "local0", "app_name": "canary"});
        assert_eq!(encode(&options, LINE), Ok(format!("<131>Nov  2 23:00:01 n?1 canary[{pid}]: {LINE}")));
    }

    #[test]
    fn puts_cef_and_leef_behind_the_host() {
        for (message, start) in [("cef", "CEF:0|Aviary|"), ("leef", "LEEF:2.0|Aviary|")] {
            let text = encode(&json!({"protocol": "rfc3164", "message": message}), LINE).expect("good");
            assert!(text.starts_with(&format!("<11>Nov  2 23:00:01 n?1 {start}")), "{text}");
        }
    }

    #[test]
    fn grades_life_cycle_and_planted_credentials() {
        for (line, start) in [
            (r#"{"logtype": 1001, "logdata": {"msg": "x"}}"#, "<14>1 - opencanary opencanaryd PID 1001 "),
            (r#"{"logtype": 4002, "honeycred": true}"#, "<9>1 - opencanary opencanaryd PID 4002 "),
            ("{}", "<12>1 - opencanary opencanaryd PID - [aviary@32473 kind=\"command\"] {"),
        ] {
            let text = encode(&json!({}), line).expect("good");
            assert!(text.starts_with(start), "{text}");
        }
    }

    #[test]
    fn names_the_key_that_is_wrong() {
        for (options, start) in [
            (json!({"protocol": "rfc1"}), "`protocol`: is \"rfc1\"; it takes rfc5424 or rfc3164"),
            (json!({"message": "xml"}), "`message`: is \"xml\"; it takes json, cef or leef"),
            (json!({"app_name": "a b"}), "`app_name`: is"),
            (json!({"sd_id": "aviary"}), "`sd_id`: is"),
            (json!({"sd_id": "a]@1"}), "`sd_id`: is"),
        ] {
            let message = encode(&options, LINE).expect_err("wrong");
            assert!(message.starts_with(start), "{message}");
        }
        let built = |options: Value| {
            let Value::Object(options) = options else { unreachable!("an object was written") };
            let blueprint =
                Blueprint { name: "s", options: &options, format: "%(message)s", extended: true, node_id: "" };
            build(&blueprint).map(|_| ()).map_err(|rejection| rejection.to_string())
        };
        assert!(built(json!({"address": "/dev/log", "transport": "tcp"})).is_err_and(|e| e.starts_with("`transport`")));
        assert!(built(json!({"framing": "lines"})).is_err_and(|e| e.starts_with("`framing`")));
        assert_eq!(built(json!({"address": "/dev/log"})), Ok(()));
    }
}
