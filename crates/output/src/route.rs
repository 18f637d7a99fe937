//! Which events an output takes: the key `when` of any handler.
//!
//! Everything that `when` names must be so; of a list, one item is enough. What `when.not` names must not be so.

use std::net::IpAddr;

use aviary_config::IgnoreList;
use aviary_event::{Class, Event, Severity};
use serde_json::{Map, Value};

use crate::Rejection;

/// Conditions that an event must meet.
#[derive(Clone, Debug, Default)]
pub struct Route {
    take: Condition,
    not: Option<Condition>,
    /// Whether life-cycle events go there; `None` leaves it to the output.
    lifecycle: Option<bool>,
}

/// What is asked of an event; what is not given is not asked.
#[derive(Clone, Debug, Default)]
struct Condition {
    logtypes: Option<Vec<(i64, i64)>>,
    services: Option<Vec<String>>,
    kinds: Option<Vec<Class>>,
    sources: Option<IgnoreList>,
    nodes: Option<Vec<String>>,
    severity: Option<Severity>,
    honeycred: Option<bool>,
}

/// The keys of `when`, for messages.
const KNOWN: &str = "logtypes, services, kinds, sources, nodes, severity, honeycred, lifecycle, not";

impl Route {
    /// Reads what a key says.
    ///
    /// # Errors
    /// Names what is wrong in it and what would be accepted.
    pub fn read(key: &str, when: &Value) -> Result<Self, Rejection> {
        let map = object(key, when)?;
        let mut route = Self { take: Condition::read(key, map, &["not", "lifecycle"])?, ..Self::default() };
        let lifecycle = map.get("lifecycle");
        route.lifecycle = lifecycle.map(|value| flag(&format!("{key}.lifecycle"), value)).transpose()?;
        if let Some(not) = map.get("not") {
            let key = format!("{key}.not");
            route.not = Some(Condition::read(&key, object(&key, not)?, &[])?);
        }
        Ok(route)
    }

    /// Whether it says anything about life-cycle events.
    #[must_use]
    pub const fn lifecycle(&self) -> Option<bool> {
        self.lifecycle
    }

    /// Whether an event goes there.
    #[must_use]
    pub fn takes(&self, event: &Event) -> bool {
        // Whoever asks for the canary's own life gets it, whatever else is asked of peers' events.
        if event.is_lifecycle() && self.lifecycle == Some(true) {
            return true;
        }
        self.take.holds(event) && !self.not.as_ref().is_some_and(|not| not.holds(event))
    }
}

impl Condition {
    fn read(path: &str, map: &Map<String, Value>, others: &[&str]) -> Result<Self, Rejection> {
        let mut condition = Self::default();
        for (key, value) in map {
            let path = format!("{path}.{key}");
            match key.as_str() {
                "logtypes" => condition.logtypes = Some(list(&path, value, numbers)?),
                "services" => condition.services = Some(list(&path, value, text)?),
                "nodes" => condition.nodes = Some(list(&path, value, text)?),
                "kinds" => condition.kinds = Some(list(&path, value, class)?),
                "sources" => condition.sources = Some(networks(&path, value)?),
                "severity" => condition.severity = Some(severity(&path, value)?),
                "honeycred" => condition.honeycred = Some(flag(&path, value)?),
                other if others.contains(&other) => {}
                _ => return Err(Rejection::new(path, format!("is not known; accepted: {KNOWN}"))),
            }
        }
        Ok(condition)
    }

    fn holds(&self, event: &Event) -> bool {
        let among = |list: &Option<Vec<String>>, word: Option<&str>| {
            list.as_ref().is_none_or(|list| word.is_some_and(|word| list.iter().any(|item| fits(item, word))))
        };
        let source = || event.src.as_ref().and_then(|src| src.host.parse::<IpAddr>().ok());
        self.logtypes.as_ref().is_none_or(|ranges| {
            event.logtype.is_some_and(|number| ranges.iter().any(|(first, last)| (*first..=*last).contains(&number)))
        }) && among(&self.services, event.service())
            && among(&self.nodes, event.node_id.as_deref())
            && self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&event.class()))
            && self.sources.as_ref().is_none_or(|list| source().is_some_and(|source| list.contains(source)))
            && self.severity.is_none_or(|least| event.severity() >= least)
            && self.honeycred.is_none_or(|wanted| (event.honeycred == Some(true)) == wanted)
    }
}

/// `tcpbanner` stands for `tcpbanner_1` and its like, too.
fn fits(item: &str, word: &str) -> bool {
    let family = word.rsplit_once('_').filter(|(_, number)| number.bytes().all(|byte| byte.is_ascii_digit()));
    item == word || family.is_some_and(|(family, _)| item == family)
}

fn object<'a>(path: &str, value: &'a Value) -> Result<&'a Map<String, Value>, Rejection> {
    value.as_object().ok_or_else(|| wrong(path, value, "an object such as {\"kinds\": [\"login\"]}"))
}

fn wrong(path: &str, value: &Value, accepted: &str) -> Rejection {
    let mut shown: String = value.to_string().chars().take(60).collect();
    if shown.len() < value.to_string().len() {
        shown.push('…');
    }
    Rejection::new(path, format!("is {shown}; it takes {accepted}"))
}

/// One item, or a list of them.
fn list<T>(path: &str, value: &Value, read: fn(&str, &Value) -> Result<T, Rejection>) -> Result<Vec<T>, Rejection> {
    match value {
        Value::Array(items) => items.iter().map(|item| read(path, item)).collect(),
        one => Ok(vec![read(path, one)?]),
    }
}

fn text(path: &str, value: &Value) -> Result<String, Rejection> {
    value.as_str().map(str::to_owned).ok_or_else(|| wrong(path, value, "text, or a list of it"))
}

fn flag(path: &str, value: &Value) -> Result<bool, Rejection> {
    value.as_bool().ok_or_else(|| wrong(path, value, "true or false"))
}

fn numbers(path: &str, value: &Value) -> Result<(i64, i64), Rejection> {
    let words = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let (first, last) = words.split_once('-').unwrap_or((&words, &words));
    match (first.trim().parse::<i64>(), last.trim().parse::<i64>()) {
        (Ok(first), Ok(last)) if first <= last => Ok((first, last)),
        _ => Err(wrong(path, value, "log type numbers such as 4002, or ranges such as \"5001-5005\"")),
    }
}

fn class(path: &str, value: &Value) -> Result<Class, Rejection> {
    let words = Class::ALL.map(Class::word).join(", ");
    value.as_str().and_then(Class::from_word).ok_or_else(|| wrong(path, value, &words))
}

fn severity(path: &str, value: &Value) -> Result<Severity, Rejection> {
    let words = Severity::ALL.map(Severity::word).join(", ");
    value.as_str().and_then(Severity::from_word).ok_or_else(|| wrong(path, value, &format!("the least of {words}")))
}

fn networks(path: &str, value: &Value) -> Result<IgnoreList, Rejection> {
    let mut networks = IgnoreList::default();
    for item in list(path, value, text)? {
        networks.add(&item).map_err(|error| Rejection::new(path, format!("\"{item}\" {error}")))?;
    }
    Ok(networks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(logtype: i64, service: &str, source: &str) -> Event {
        let line = json!({
            "logtype": logtype, "src_host": source, "src_port": 1, "dst_host": "10.0.0.1", "dst_port": 21,
            "node_id": "site/a", "logdata": {},
            "aviary": {"id": "01a2104a-506e-77e5-a548-70a694455bf9", "seq": 1, "service": service,
                       "time": "2026-11-25T01:20:35Z", "kind": Class::of_opencanary(logtype).word()},
        });
        Event::parse(&line.to_string()).unwrap()
    }

    fn takes(when: Value, event: &Event) -> bool {
        Route::read("when", &when).unwrap().takes(event)
    }

    #[test]
    fn everything_named_must_be_so_and_of_a_list_one_is_enough() {
        let login = event(2000, "ftp", "10.1.2.3");
        for (when, taken) in [
            (json!({}), true),
            (json!({"logtypes": 2000}), true),
            (json!({"logtypes": [4002, "1999-2001"]}), true),
            (json!({"logtypes": [4002]}), false),
            (json!({"services": ["ssh", "ftp"], "kinds": "login"}), true),
            (json!({"services": ["ssh"], "kinds": "login"}), false),
            (json!({"sources": "10.0.0.0/8"}), true),
            (json!({"sources": ["192.168.0.0/16", "2001:db8::/32"]}), false),
            (json!({"nodes": "site/a"}), true),
            (json!({"severity": "high"}), true),
            (json!({"severity": "critical"}), false),
            (json!({"honeycred": true}), false),
            (json!({"honeycred": false}), true),
            (json!({"not": {"services": "ftp"}}), false),
            (json!({"kinds": "login", "not": {"sources": "10.9.0.0/16"}}), true),
        ] {
            assert_eq!(takes(when.clone(), &login), taken, "{when}");
        }
        assert!(takes(json!({"services": "tcpbanner"}), &event(18002, "tcpbanner_7", "10.1.2.3")));
        assert!(!takes(json!({"services": "tcpbanner_6"}), &event(18002, "tcpbanner_7", "10.1.2.3")));
    }

    #[test]
    fn the_canarys_own_life_goes_where_it_is_asked_for() {
        let own = event(1001, "aviary", "");
        assert!(takes(json!({"kinds": "login", "lifecycle": true}), &own));
        assert!(!takes(json!({"kinds": "login"}), &own));
        assert_eq!(Route::read("when", &json!({"lifecycle": false})).unwrap().lifecycle(), Some(false));
    }

    #[test]
    fn mistakes_name_the_key_and_what_it_takes() {
        for (when, message) in [
            (json!([]), "`when`: is []; it takes an object such as {\"kinds\": [\"login\"]}"),
            (json!({"kind": "login"}), "`when.kind`: is not known; accepted: logtypes, services"),
            (json!({"kinds": "logins"}), "`when.kinds`: is \"logins\"; it takes login, connection"),
            (json!({"logtypes": "a-b"}), "`when.logtypes`: is \"a-b\"; it takes log type numbers"),
            (json!({"sources": "10.0.0.0/40"}), "`when.sources`: \"10.0.0.0/40\" has a prefix"),
            (json!({"severity": "grave"}), "`when.severity`: is \"grave\"; it takes the least of informational"),
            (json!({"not": {"not": {}}}), "`when.not.not`: is not known"),
        ] {
            let error = Route::read("when", &when).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
