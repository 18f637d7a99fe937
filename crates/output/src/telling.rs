//! An event as people read it: who touched which decoy, with what, and when. What a template's fields stand for.

use aviary_event::{ALERT, Class, Event, Origin, Port, Severity, Value as Datum};
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use crate::format::{asctime, moment};
use crate::throttle::{DIGEST, TEST};

/// What messages for people are made of.
#[derive(Debug)]
pub struct Telling<'a> {
    /// The event itself.
    pub event: &'a Event,
    /// The line in the handler's format.
    pub line: String,
    /// The line's members in their order, as OpenCanary's handlers read them back.
    pub members: Map<String, Value>,
    /// `Login attempt on ftp of opencanary-1 from 192.0.2.7`
    pub title: String,
    /// Name and value, the most telling first.
    pub facts: Vec<(String, String)>,
    /// How bad it is.
    pub severity: Severity,
}

impl<'a> Telling<'a> {
    /// `line` is the event in the handler's format; `extended` says whether the members hold the `aviary` object.
    #[must_use]
    pub fn new(event: &'a Event, line: String, extended: bool) -> Self {
        let members = match serde_json::from_str(&event.to_line(extended)) {
            Ok(Value::Object(members)) => members,
            // Python's `NaN` in a line of another canary is no JSON.
            _ => Map::from_iter([("message".to_owned(), Value::from(event.to_line(extended)))]),
        };
        let mut alert =
            Self { event, line, members, title: String::new(), facts: Vec::new(), severity: event.severity() };
        alert.title = alert.headline();
        alert.facts = alert.gather();
        alert
    }

    fn headline(&self) -> String {
        let class = self.event.class();
        let worded = self
            .datum("TEXT")
            .and_then(Value::as_str)
            .filter(|_| [DIGEST.number, ALERT.number].iter().any(|number| self.event.logtype == Some(*number)));
        if self.event.logtype == Some(ALERT.number)
            && let Some(text) = worded
        {
            return text.to_owned();
        }
        let what = match class {
            _ if worded.is_some() => worded.unwrap_or_default(),
            _ if self.severity == Severity::Critical => "Planted credential used",
            Class::Login => "Login attempt",
            Class::Connection => "Connection",
            Class::Command => "Activity",
            Class::Violation => "Protocol violation",
            Class::Scan => "Port scan",
            Class::Limit => "Peer cut off",
            Class::Lifecycle if self.event.logtype == Some(TEST.number) => "Test of canary",
            Class::Lifecycle => "Canary",
        };
        let mut title = what.to_owned();
        if class != Class::Lifecycle {
            match self.decoy() {
                decoy if decoy.is_empty() => {}
                decoy => title = format!("{title} on {decoy}"),
            }
        }
        if let Some(node) = self.event.node_id.as_deref().filter(|node| !node.is_empty()) {
            title = if class == Class::Lifecycle { format!("{title} {node}") } else { format!("{title} of {node}") };
        }
        if let Some(host) = known_host(self.event.src.as_ref()) {
            title = format!("{title} from {host}");
        }
        title
    }

    /// The service, or the port where nobody says which service that is.
    fn decoy(&self) -> String {
        let service = self.event.service().filter(|service| !service.is_empty());
        let port = || known_port(self.event.dst.as_ref()).map(|port| format!("port {port}"));
        service.map(str::to_owned).or_else(port).unwrap_or_default()
    }

    fn gather(&self) -> Vec<(String, String)> {
        let mut facts = Vec::new();
        let mut add = |name: &str, value: String| {
            if !value.is_empty() {
                facts.push((name.to_owned(), value));
            }
        };
        add("Source", self.source());
        let place = end(self.event.dst.as_ref());
        let decoy = self.event.service().filter(|service| !service.is_empty() && !self.event.is_lifecycle());
        add(
            "Decoy",
            [decoy.unwrap_or_default(), &place]
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join(", "),
        );
        let named =
            |keys: &[&'static str]| keys.iter().copied().find(|key| self.datum(key).is_some_and(|v| !v.is_null()));
        let (user, password) = (named(USER), named(PASSWORD));
        add("User", user.map(|key| self.datum_text(key)).unwrap_or_default());
        add("Password", password.map(|key| self.datum_text(key)).unwrap_or_default());
        add("Time", self.time());
        let logtype = self.event.logtype.map(|number| number.to_string());
        let id = self.event.aviary.as_ref().map(|ours| ours.id.hyphenated().to_string());
        add("Event", [logtype, id].into_iter().flatten().collect::<Vec<_>>().join(", "));
        match self.members.get("logdata") {
            Some(Value::Object(data)) => {
                for (key, value) in data.iter().filter(|(key, _)| ![user, password].contains(&Some(key.as_str()))) {
                    add(key, words(value));
                }
            }
            Some(other) => add("Data", words(other)),
            None => add("Data", self.members.get("message").map(words).unwrap_or_default()),
        }
        facts
    }

    /// Address, name, MAC address and its maker, as far as known.
    fn source(&self) -> String {
        let mut parts = vec![end(self.event.src.as_ref())];
        parts.push(self.more("src_name"));
        let mac = self.more("src_mac");
        if !mac.is_empty() {
            let routed =
                self.event.aviary.as_ref().is_some_and(|o| o.more.get("src_mac_router") == Some(&Datum::Bool(true)));
            let whose = if routed { "behind router " } else { "" };
            parts.push(format!("{whose}{mac} {}", self.more("src_vendor")).trim_end().to_owned());
        }
        parts.retain(|part| !part.is_empty());
        parts.join(", ")
    }

    fn time(&self) -> String {
        let time = moment(self.event).map(|time| time.to_opencanary(&TimeZone::UTC));
        time.map(|time| format!("{} UTC", time.get(..19).unwrap_or(&time))).unwrap_or_default()
    }

    fn more(&self, key: &str) -> String {
        let known = self.event.aviary.as_ref().and_then(|ours| ours.more.get(key));
        known.and_then(Datum::as_str).unwrap_or_default().to_owned()
    }

    fn datum(&self, key: &str) -> Option<&Value> {
        self.members.get("logdata")?.get(key)
    }

    fn datum_text(&self, key: &str) -> String {
        self.datum(key).map(words).unwrap_or_default()
    }

    /// What a template's field stands for; nothing where it is not known.
    #[must_use]
    pub fn field(&self, name: &str) -> String {
        let first = |keys: &[&str]| keys.iter().map(|key| self.datum_text(key)).find(|text| !text.is_empty());
        let host = |origin: Option<&Origin>| origin.map(|origin| origin.host.clone()).unwrap_or_default();
        match name {
            "message" => self.line.clone(),
            "asctime" => asctime(self.event),
            "process" => std::process::id().to_string(),
            "summary" => self.title.clone(),
            "details" => {
                let facts: Vec<String> = self.facts.iter().map(|(name, value)| format!("{name}: {value}")).collect();
                facts.join("; ")
            }
            "time" => self.time(),
            "service" => self.decoy(),
            "kind" => self.event.class().word().to_owned(),
            "severity" => self.severity.word().to_owned(),
            "logtype" => self.event.logtype.map(|number| number.to_string()).unwrap_or_default(),
            "node_id" => self.event.node_id.clone().unwrap_or_default(),
            "src_host" => host(self.event.src.as_ref()),
            "src_port" => known_port(self.event.src.as_ref()).unwrap_or_default(),
            "dst_host" => host(self.event.dst.as_ref()),
            "dst_port" => known_port(self.event.dst.as_ref()).unwrap_or_default(),
            "username" => first(USER).unwrap_or_default(),
            "password" => first(PASSWORD).unwrap_or_default(),
            "id" => self.event.aviary.as_ref().map(|ours| ours.id.hyphenated().to_string()).unwrap_or_default(),
            name => match name.strip_prefix("logdata.") {
                Some(key) => self.datum_text(key),
                None => self.more(name),
            },
        }
    }
}

/// Keys of `logdata` that name an account, and a password.
const USER: &[&str] = &["USERNAME", "UserName", "USER", "username"];
const PASSWORD: &[&str] = &["PASSWORD", "password"];

/// A JSON value as text: text as it is, everything else as its JSON.
fn words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn known_host(origin: Option<&Origin>) -> Option<&str> {
    origin.map(|origin| origin.host.as_str()).filter(|host| !host.is_empty())
}

fn known_port(origin: Option<&Origin>) -> Option<String> {
    match &origin?.port {
        Port::Number(number) => u16::try_from(*number).ok().map(|port| port.to_string()),
        Port::Text(text) => text.parse::<u16>().ok().map(|port| port.to_string()),
    }
}

/// `192.0.2.7:40000`, `[2001:db8::7]:40000`
fn end(origin: Option<&Origin>) -> String {
    match (known_host(origin), known_port(origin)) {
        (Some(host), Some(port)) if host.contains(':') => format!("[{host}]:{port}"),
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => String::new(),
    }
}
