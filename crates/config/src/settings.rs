//! Settings: checked values with their defaults.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::Key;
use crate::handlers::{self, Given, Handler, Locate};
use crate::honeycreds::HoneyCreds;
use crate::hosts::Host;
use crate::ignore::{self, IgnoreRules};
use crate::key::numbered;
use crate::persona::Persona;

/// The values of one configuration, each right by construction: what a getter returns has the
/// key's shape, because values of another shape are problems that stop the start.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    defaults: HashMap<&'static str, Value>,
    persona: Option<&'static str>,
    values: BTreeMap<String, Value>,
    handlers: Vec<Handler>,
    ignore: IgnoreRules,
    hosts: Vec<Host>,
}

impl Settings {
    /// Settings over a key space, with values that were checked.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = Key>, values: BTreeMap<String, Value>) -> Self {
        Self::located(keys, values, &|_, _| None)
    }

    /// The same, knowing where the parts of `logger` and `outputs` stand.
    pub(crate) fn located(
        keys: impl IntoIterator<Item = Key>,
        values: BTreeMap<String, Value>,
        locate: &Locate<'_>,
    ) -> Self {
        let default = |key: Key| Some((key.name, serde_json::from_str(key.default).ok()?));
        let mut settings = Self { defaults: keys.into_iter().filter_map(default).collect(), values, ..Self::default() };
        settings.handlers = handlers::read(settings.given(), locate, &mut |_| {});
        settings.ignore = IgnoreRules {
            sources: ignore::sources(settings.items("ip.ignorelist")).0,
            kinds: ignore::kinds(settings.items("logtype.ignorelist")).0,
        };
        settings
    }

    /// The values that handlers stand in.
    pub(crate) fn given(&self) -> Given<'_> {
        Given { logger: self.get("logger"), outputs: self.get("outputs"), logger_is_set: self.is_set("logger") }
    }

    /// The same with the defaults of a machine to play in place of the services' own.
    #[must_use]
    pub fn playing(mut self, persona: &Persona) -> Self {
        self.persona = Some(persona.name);
        self.defaults.extend(persona.values());
        self
    }

    /// The same with machines at addresses of their own.
    #[must_use]
    pub(crate) fn with_hosts(self, hosts: Vec<Host>) -> Self {
        Self { hosts, ..self }
    }

    /// The same without some of the destinations.
    #[must_use]
    pub fn without_handlers(mut self, unwanted: impl Fn(&Handler) -> bool) -> Self {
        self.handlers.retain(|handler| !unwanted(handler));
        self
    }

    /// The same with one more destination, in place of any of its name.
    #[must_use]
    pub fn with_handler(mut self, handler: Handler) -> Self {
        self.handlers.retain(|known| known.name != handler.name);
        self.handlers.push(handler);
        self
    }

    /// The same with another value for a key, which must be of the key's shape.
    #[must_use]
    pub fn with_value(mut self, name: &str, value: Value) -> Self {
        self.values.insert(name.to_owned(), value);
        self
    }

    /// The machines that are played at addresses of their own, in the order of the file.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The machine that is played, if the operator named one.
    #[must_use]
    pub const fn persona(&self) -> Option<&'static str> {
        self.persona
    }

    /// The default of a key: the persona's, or else the service's.
    #[must_use]
    pub fn default_of(&self, name: &str) -> Option<&Value> {
        self.defaults.get(name)
    }

    /// The value of a key as given, or its default; `None` when there is neither.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        if let Some(value) = self.values.get(name).or_else(|| self.defaults.get(name)) {
            return Some(value);
        }
        self.defaults.get(numbered(name)?.0.as_str())
    }

    /// The same, as a copy.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<Value> {
        self.get(name).cloned()
    }

    /// Every key that the file holds, in order, with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Whether the file holds the key.
    #[must_use]
    pub fn is_set(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// A flag; `false` when unknown.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), Some(Value::Bool(true)))
    }

    /// Text; empty when unknown.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        match self.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        }
    }

    /// A path; `None` when unknown or empty.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).and_then(Value::as_str).filter(|path| !path.is_empty()).map(PathBuf::from)
    }

    /// A whole number; 0 when unknown.
    #[must_use]
    pub fn int(&self, name: &str) -> i64 {
        match self.get(name) {
            Some(Value::Number(number)) => number.as_i64().unwrap_or(0),
            Some(Value::String(text)) => text.trim().parse().unwrap_or(0),
            _ => 0,
        }
    }

    /// A port; 0 when unknown.
    #[must_use]
    pub fn port(&self, name: &str) -> u16 {
        u16::try_from(self.int(name)).unwrap_or(0)
    }

    /// An array; empty when unknown.
    #[must_use]
    pub fn list(&self, name: &str) -> Vec<Value> {
        self.items(name).to_vec()
    }

    /// An object, or in TOML a table; `None` when unknown.
    #[must_use]
    pub fn object(&self, name: &str) -> Option<&Map<String, Value>> {
        self.get(name).and_then(Value::as_object)
    }

    /// `device.node_id`: the canary's name in every event.
    #[must_use]
    pub fn node_id(&self) -> Cow<'_, str> {
        match self.get("device.node_id") {
            Some(Value::String(name)) => Cow::Borrowed(name),
            Some(Value::Number(number)) => Cow::Owned(number.to_string()),
            _ => Cow::Borrowed("opencanary-1"),
        }
    }

    /// `device.listen_addr`: the addresses that every service listens on; none means all.
    #[must_use]
    pub fn listen_addrs(&self) -> Vec<IpAddr> {
        match self.get("device.listen_addr") {
            Some(Value::String(address)) => address.trim().parse().into_iter().collect(),
            Some(Value::Array(items)) => items.iter().filter_map(|item| item.as_str()?.trim().parse().ok()).collect(),
            _ => Vec::new(),
        }
    }

    /// What is not reported.
    #[must_use]
    pub const fn ignore(&self) -> &IgnoreRules {
        &self.ignore
    }

    /// The destinations of events: those of `logger`, then those of `outputs`, each in the file's order.
    #[must_use]
    pub fn handlers(&self) -> &[Handler] {
        &self.handlers
    }

    /// Whether lines carry the `aviary` object.
    #[must_use]
    pub fn extended(&self) -> bool {
        let inside = self.get("logger").and_then(|logger| logger.pointer("/kwargs/extended"));
        match self.values.get("logger.kwargs.extended").or(inside) {
            Some(Value::Bool(extended)) => *extended,
            _ => true,
        }
    }

    /// The honeycreds of a service, `ssh`; OpenCanary's upper-case `VNC.honeycreds` counts too.
    #[must_use]
    pub fn honeycreds(&self, service: &str) -> HoneyCreds {
        let items = self.items(&format!("{service}.honeycreds"));
        let upper = self.items(&format!("{}.honeycreds", service.to_ascii_uppercase()));
        HoneyCreds::parse(if items.is_empty() { upper } else { items }).0
    }

    fn items(&self, name: &str) -> &[Value] {
        self.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::space;
    use serde_json::json;

    fn settings(values: Value) -> Settings {
        let values = values.as_object().expect("an object").clone().into_iter().collect();
        Settings::new(space().keys().copied(), values)
    }

    #[test]
    fn getters_fall_back_to_defaults() {
        let settings = settings(json!({"ftp.port": "2121", "tcpbanner_2.initbanner": "hi"}));
        assert_eq!(settings.port("ftp.port"), 2121);
        assert_eq!(settings.port("git.port"), 9418);
        assert_eq!(settings.port("tcpbanner_2.port"), 8001);
        assert_eq!(settings.text("tcpbanner_2.initbanner"), "hi");
        assert_eq!(settings.text("tcpbanner_3.initbanner"), "");
        assert!(!settings.flag("ftp.enabled"));
        assert!(settings.is_set("ftp.port") && !settings.is_set("git.port"));
        assert_eq!(settings.int("no.such.key"), 0);
        assert_eq!(settings.path("aviary.state_dir"), Some("/var/lib/aviary".into()));
        assert_eq!(settings.path("http.skindir"), None);
        assert_eq!(settings.node_id(), "opencanary-1");
    }

    #[test]
    fn listen_addresses_are_one_or_many() {
        let addresses = |value: Value| settings(json!({"device.listen_addr": value})).listen_addrs();
        assert_eq!(addresses(json!("")), Vec::<IpAddr>::new());
        assert_eq!(addresses(json!("10.0.0.5")).len(), 1);
        assert_eq!(addresses(json!(["10.0.0.5", "2001:db8::5"])).len(), 2);
    }

    #[test]
    fn handlers_know_their_format() {
        let settings = settings(json!({"logger": {"kwargs": {
            "formatters": {"plain": {"format": "<%(message)s>"}, "bare": {}},
            "handlers": {
                "a": {"class": "A", "formatter": "plain"},
                "b": {"class": "B", "formatter": "bare"},
                "c": {"class": "C", "url": "x"},
            },
        }}}));
        let formats: Vec<_> =
            settings.handlers().iter().map(|handler| (handler.name.as_str(), handler.format())).collect();
        assert_eq!(formats, [("a", "<%(message)s>"), ("b", "%(message)s"), ("c", "%(message)s")]);
        assert_eq!(settings.handlers()[2].formatter, None);
        assert_eq!(settings.handlers()[2].options["url"], "x");
    }

    #[test]
    fn without_a_logger_events_go_where_opencanarys_sample_sends_them() {
        let settings = settings(json!({}));
        let classes: Vec<_> = settings.handlers().iter().map(|handler| handler.class.as_str()).collect();
        assert_eq!(classes, ["logging.StreamHandler", "logging.FileHandler"]);
    }

    #[test]
    fn extended_may_stand_in_two_places() {
        assert!(settings(json!({})).extended());
        assert!(!settings(json!({"logger.kwargs.extended": false})).extended());
        assert!(!settings(json!({"logger": {"kwargs": {"extended": false, "handlers": {}}}})).extended());
    }

    #[test]
    fn honeycreds_are_found_under_both_spellings() {
        let creds = json!([{"username": "a"}]);
        assert!(settings(json!({"VNC.honeycreds": creds})).honeycreds("vnc").matches(b"a", b""));
        assert!(settings(json!({"vnc.honeycreds": creds})).honeycreds("vnc").matches(b"a", b""));
        assert!(settings(json!({})).honeycreds("ftp").is_empty());
    }
}
