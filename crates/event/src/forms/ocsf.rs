//! The event in the Open Cybersecurity Schema Framework, version 1.5.
//!
//! A login is [Authentication](https://schema.ocsf.io/1.5.0/classes/authentication), a life-cycle
//! event [Application Lifecycle](https://schema.ocsf.io/1.5.0/classes/application_lifecycle), and all
//! else [Network Activity](https://schema.ocsf.io/1.5.0/classes/network_activity).

use crate::forms::Object;
use crate::json::write_value;
use crate::{Class, Event, Origin, Timestamp, Value};

/// `metadata.version`.
const VERSION: &str = "1.5.0";

/// A class of OCSF with an activity in it.
struct Activity {
    category: i64,
    class: i64,
    activity: i64,
}

/// Identifiers are OCSF's own.
const fn activity(class: Class) -> Activity {
    let (class, activity) = match class {
        Class::Login => (3002, 1),      // Authentication: Logon
        Class::Connection => (4001, 1), // Network Activity: Open
        Class::Command => (4001, 6),    // Network Activity: Traffic
        Class::Violation => (4001, 6),  // Network Activity: Traffic
        Class::Scan => (4001, 99),      // Network Activity: Other
        Class::Limit => (4001, 5),      // Network Activity: Refuse
        Class::Lifecycle => (6002, 99), // Application Lifecycle: Other
    };
    Activity { category: class / 1000, class, activity }
}

impl Event {
    /// One JSON object in OCSF, without a newline. `logdata` stands whole in `unmapped`, and
    /// `metadata.event_code` is the log type.
    #[must_use]
    pub fn to_ocsf(&self) -> String {
        let ours = self.aviary.as_ref();
        let kind = activity(self.class());
        let service = self.service().filter(|service| !service.is_empty());
        let is_login = self.class() == Class::Login;

        let metadata = Object::default()
            .with("version", VERSION)
            .with("product", Value::Map(Object::default().with("name", "Aviary").with("vendor_name", "Aviary").0))
            .with("log_name", service.unwrap_or("opencanary"))
            .with_known("profiles", self.techniques().map(|_| vec!["security_control"]))
            .with_known("event_code", self.logtype.map(|number| number.to_string()))
            .with_known("uid", ours.map(|ours| ours.id.to_string()))
            .with_known("sequence", ours.map(|ours| i64::try_from(ours.seq).unwrap_or(i64::MAX)))
            .with_known("correlation_uid", ours.and_then(|ours| ours.session.clone()));

        let attacks = self.techniques().map(|ids| {
            let attack =
                |id| Value::Map(Object::default().with_object("technique", Object::default().with("uid", id)).0);
            ids.into_iter().map(attack).collect::<Vec<_>>()
        });

        // Authentication requires a user; without a name its type is said to be unknown.
        let user = Object::default()
            .with_known("name", self.user_name().cloned())
            .with_known("type_id", is_login.then_some(0_i64));

        let unmapped = Object::default()
            .with("logdata", self.strict_logdata())
            .with_known("raw", self.raw())
            .with_known("honeycred", self.honeycred)
            .with_known("fingerprint", self.fingerprint())
            .with_all(self.source_members());

        let time = ours.map(|ours| ours.time).or_else(|| {
            let utc = self.utc_time.as_ref().or(self.local_time.as_ref())?;
            Timestamp::parse_rfc3339(&(utc.replacen(' ', "T", 1) + "Z"))
        });

        // An address that is none stands in `hostname` already.
        let source = endpoint(self.src.as_ref()).with_known("mac", self.source_mac().cloned());
        let source = match self.source_name() {
            Some(name) if !source.0.contains_key("hostname") => source.with("hostname", name.clone()),
            _ => source,
        };

        let whole = Object::default()
            .with("category_uid", kind.category)
            .with("class_uid", kind.class)
            .with("activity_id", kind.activity)
            .with("type_uid", kind.class * 100 + kind.activity)
            .with("severity_id", self.severity().ocsf())
            .with_known("activity_name", (kind.activity == 99).then(|| self.class().word()))
            .with_known("time", time.map(|time| time.as_micros().div_euclid(1000)))
            .with_object("metadata", metadata)
            .with_object("src_endpoint", source)
            .with_object("dst_endpoint", endpoint(self.dst.as_ref()).with_known("name", self.node_id.clone()))
            .with_object("user", user)
            .with_known("is_remote", is_login.then_some(true))
            .with_known("status_id", is_login.then_some(0_i64))
            .with_object("service", Object::default().with_known("name", service.filter(|_| is_login)))
            .with_object("app", Object::default().with_known("name", self.is_lifecycle().then_some("Aviary")))
            .with_known("attacks", attacks)
            .with_object("unmapped", unmapped);
        let mut text = String::with_capacity(1024);
        write_value(&mut text, &Value::Map(whole.0));
        text
    }
}

fn endpoint(origin: Option<&Origin>) -> Object {
    let Some(origin) = origin.filter(|origin| !origin.host.is_empty()) else { return Object::default() };
    let host = if origin.ip().is_some() { "ip" } else { "hostname" };
    Object::default().with(host, origin.host.as_str()).with_known("port", origin.known_port())
}
