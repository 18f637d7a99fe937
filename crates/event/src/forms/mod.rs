//! Two more forms of the same event, for receivers that know neither OpenCanary's nor our keys:
//! [Elastic Common Schema](https://www.elastic.co/guide/en/ecs/current/ecs-field-reference.html) and
//! [OCSF](https://schema.ocsf.io/).
//!
//! Both say only what the event says: an address goes into an `ip` field when it is one, a member
//! whose value is unknown is left out, and all of `logdata` goes along unchanged.

mod ecs;
mod ocsf;

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::{Class, Event, Origin, Port, Value, raw};

/// An object in the making; what is unknown is left out.
#[derive(Default)]
struct Object(BTreeMap<String, Value>);

impl Object {
    fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.insert(key.to_owned(), value.into());
        self
    }

    fn with_known(self, key: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    fn with_all(mut self, members: impl Iterator<Item = (String, Value)>) -> Self {
        self.0.extend(members);
        self
    }

    /// Adds an object unless it is empty.
    fn with_object(self, key: &str, object: Self) -> Self {
        if object.0.is_empty() { self } else { self.with(key, Value::Map(object.0)) }
    }
}

impl Event {
    /// The class; for lines of other canaries that of OpenCanary's number.
    #[must_use]
    pub fn class(&self) -> Class {
        match &self.aviary {
            Some(ours) => Class::from_word(&ours.kind).unwrap_or(Class::Command),
            None => self.logtype.map_or(Class::Command, Class::of_opencanary),
        }
    }

    /// The first of these keys of `logdata` that holds text.
    fn first_text(&self, keys: &[&str]) -> Option<&Value> {
        keys.iter().filter_map(|key| self.logdata.get(key)).find(|value| value.as_bytes().is_some())
    }

    /// The account that the peer named.
    fn user_name(&self) -> Option<&Value> {
        self.first_text(&["USERNAME", "UserName", "USER", "username"]).filter(|name| name.as_bytes() != Some(b""))
    }

    /// `logdata` as strict JSON can say it: Python's `NaN` and infinities as text.
    fn strict_logdata(&self) -> Value {
        strict(&self.logdata)
    }

    /// Paths and base64 of what `logdata` holds in bytes that are not UTF-8; see `aviary.raw`.
    fn raw(&self) -> Option<Value> {
        raw::is_needed(&self.logdata).then(|| Value::Map(raw::collect(&self.logdata)))
    }

    fn techniques(&self) -> Option<Vec<Value>> {
        let techniques = &self.aviary.as_ref()?.technique;
        (!techniques.is_empty()).then(|| techniques.iter().map(|t| Value::Text(t.clone())).collect())
    }

    /// The source's own MAC address; a router's is not its own.
    fn source_mac(&self) -> Option<&Value> {
        let more = &self.aviary.as_ref()?.more;
        let is_router = more.get("src_mac_router") == Some(&Value::Bool(true));
        more.get("src_mac").filter(|mac| mac.as_str().is_some() && !is_router)
    }

    /// The name that the source tells of itself.
    fn source_name(&self) -> Option<&Value> {
        self.aviary.as_ref()?.more.get("src_name").filter(|name| name.as_str().is_some())
    }

    /// All that is known of the source, in our own words.
    fn source_members(&self) -> impl Iterator<Item = (String, Value)> {
        let more = self.aviary.iter().flat_map(|ours| &ours.more);
        more.filter(|(key, _)| key.starts_with("src_")).map(|(key, value)| (key.clone(), strict(value)))
    }

    fn fingerprint(&self) -> Option<Value> {
        self.aviary.as_ref()?.more.get("fingerprint").map(strict)
    }
}

fn strict(value: &Value) -> Value {
    match value {
        Value::Float(number) if !number.is_finite() => Value::Text(number.to_string()),
        Value::List(items) => Value::List(items.iter().map(strict).collect()),
        Value::Map(map) => Value::Map(map.iter().map(|(key, value)| (key.clone(), strict(value))).collect()),
        other => other.clone(),
    }
}

impl Origin {
    /// The address, when `host` is one.
    fn ip(&self) -> Option<&str> {
        self.host.parse::<IpAddr>().ok().map(|_| self.host.as_str())
    }

    /// The port, when there is one.
    fn known_port(&self) -> Option<u16> {
        match &self.port {
            Port::Number(number) => u16::try_from(*number).ok(),
            Port::Text(text) => text.parse().ok(),
        }
    }
}
