//! The event in Elastic Common Schema 8.17.

use jiff::tz::TimeZone;

use crate::forms::Object;
use crate::json::write_value;
use crate::{Class, Event, Origin, Value};

/// `ecs.version`.
const VERSION: &str = "8.17.0";

impl Event {
    /// One JSON object in Elastic Common Schema, without a newline.
    ///
    /// `event.code` is the log type, `event.dataset` is `aviary.<service>`, and what ECS has no
    /// field for stands under `aviary`, with all of `logdata` there.
    #[must_use]
    pub fn to_ecs(&self) -> String {
        let ours = self.aviary.as_ref();
        let service = self.service().filter(|service| !service.is_empty());
        let time = ours
            .map(|ours| ours.time.to_rfc3339(&TimeZone::UTC))
            .or_else(|| self.utc_time.as_ref().or(self.local_time.as_ref()).map(|t| t.replacen(' ', "T", 1) + "Z"));

        let (category, kind) = category(self.class());
        let event = Object::default()
            .with("kind", if self.is_lifecycle() { "event" } else { "alert" })
            .with("category", vec![category])
            .with("type", vec![kind])
            .with("module", "aviary")
            .with("dataset", format!("aviary.{}", service.unwrap_or("opencanary")))
            .with("action", self.class().word())
            .with_known("code", self.logtype.map(|number| number.to_string()))
            .with_known("id", ours.map(|ours| ours.id.to_string()))
            .with_known("sequence", ours.map(|ours| i64::try_from(ours.seq).unwrap_or(i64::MAX)))
            // What the imitated service answered does not say that a real one would have let it in.
            .with_known("outcome", (self.class() == Class::Login).then_some("unknown"));

        let related = Object::default()
            .with_known("ip", list([self.src.as_ref(), self.dst.as_ref()].map(|origin| origin?.ip().map(Value::from))))
            .with_known("hosts", list([self.source_name().cloned()]))
            .with_known("user", list([self.user_name().cloned()]));

        let more = Object::default()
            .with("logdata", self.strict_logdata())
            .with_known("raw", self.raw())
            .with_known("honeycred", self.honeycred)
            .with_known("session", ours.and_then(|ours| ours.session.clone()))
            .with_known("fingerprint", self.fingerprint())
            .with_all(self.source_members());

        let threat = Object::default()
            .with_known("framework", self.techniques().map(|_| "MITRE ATT&CK"))
            .with_object("technique", Object::default().with_known("id", self.techniques()));

        let source = endpoint(self.src.as_ref())
            .with_known("mac", self.source_mac().map(mac))
            .with_known("domain", self.source_name().cloned());

        let whole = Object::default()
            .with_known("@timestamp", time)
            .with_object("ecs", Object::default().with("version", VERSION))
            .with_object("event", event)
            .with_object("source", source)
            .with_object("destination", endpoint(self.dst.as_ref()))
            .with_object("network", Object::default().with_known("protocol", service.filter(|_| !self.is_lifecycle())))
            .with_object(
                "observer",
                Object::default()
                    .with("type", "honeypot")
                    .with("vendor", "Aviary")
                    .with("product", "Aviary")
                    .with_known("name", self.node_id.clone()),
            )
            .with_object("user", Object::default().with_known("name", self.user_name().cloned()))
            .with_object(
                "user_agent",
                Object::default().with_known("original", self.first_text(&["USERAGENT"]).cloned()),
            )
            .with_object("related", related)
            .with_object("threat", threat)
            .with_object("aviary", more);
        let mut text = String::with_capacity(1024);
        write_value(&mut text, &Value::Map(whole.0));
        text
    }
}

/// `event.category` and `event.type`, from ECS's closed lists.
const fn category(class: Class) -> (&'static str, &'static str) {
    match class {
        Class::Login => ("authentication", "start"),
        Class::Connection => ("network", "connection"),
        Class::Command => ("network", "access"),
        Class::Violation => ("network", "protocol"),
        Class::Scan => ("intrusion_detection", "info"),
        Class::Limit => ("network", "denied"),
        Class::Lifecycle => ("process", "info"),
    }
}

fn endpoint(origin: Option<&Origin>) -> Object {
    let Some(origin) = origin.filter(|origin| !origin.host.is_empty()) else { return Object::default() };
    Object::default()
        .with("address", origin.host.as_str())
        .with_known("ip", origin.ip())
        .with_known("port", origin.known_port())
}

/// ECS writes a MAC address in capitals with hyphens (RFC 7042).
fn mac(value: &Value) -> Value {
    value.as_str().map_or_else(|| value.clone(), |text| Value::Text(text.to_ascii_uppercase().replace(':', "-")))
}

/// What is known of these, each once; `None` when nothing is.
fn list<const N: usize>(values: [Option<Value>; N]) -> Option<Vec<Value>> {
    let mut known: Vec<Value> = Vec::new();
    for value in values.into_iter().flatten() {
        if !known.contains(&value) {
            known.push(value);
        }
    }
    (!known.is_empty()).then_some(known)
}
