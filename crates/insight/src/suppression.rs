//! Suppression: what is not shown to people, and why. Nothing is deleted.

use aviary_config::IgnoreList;
use aviary_event::{Class, Event, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Fact, Hours, Sighting, Span};

/// A rule as people write it. What is empty is not asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuleText {
    /// Addresses and networks of sources.
    pub sources: Vec<String>,
    /// Addresses and networks of decoys.
    pub destinations: Vec<String>,
    /// Sensors by name.
    pub sensors: Vec<String>,
    /// Services by name.
    pub services: Vec<String>,
    /// Destination ports.
    pub ports: Vec<u16>,
    /// Classes (`scan`) and log types (`5001`).
    pub kinds: Vec<String>,
    /// When it holds; always if missing.
    pub hours: Option<Hours>,
    /// Who answers for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// When it ends, RFC 3339. A rule without an end hides for ever what it once hid with reason.
    pub expires: String,
}

/// Why a rule is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// It asks for nothing.
    #[error(
        "the rule asks for nothing and would hide everything; it takes at least one of sources, destinations, sensors, services, ports, kinds"
    )]
    Everything,
    /// A field is empty that must not be.
    #[error("`{field}` is empty: {why}")]
    Missing {
        /// The field.
        field: &'static str,
        /// Why it is needed.
        why: &'static str,
    },
    /// A field says something else than it takes.
    #[error("`{field}` says `{value}`; accepted: {accepted}")]
    Wrong {
        /// The field.
        field: &'static str,
        /// What it says.
        value: String,
        /// What it takes.
        accepted: &'static str,
    },
}

/// A rule that can be asked.
#[derive(Clone, Debug)]
pub struct Rule {
    sources: IgnoreList,
    destinations: IgnoreList,
    sensors: Vec<String>,
    services: Vec<String>,
    ports: Vec<u16>,
    classes: Vec<Class>,
    numbers: Vec<i64>,
    hours: Option<Span>,
    expires: Timestamp,
}

impl Rule {
    /// Reads a rule.
    ///
    /// # Errors
    /// Names the field, what it says and what it takes.
    pub fn new(text: &RuleText) -> Result<Self, RuleError> {
        let asks = [&text.sources, &text.destinations, &text.sensors, &text.services, &text.kinds];
        if asks.iter().all(|list| list.is_empty()) && text.ports.is_empty() {
            return Err(RuleError::Everything);
        }
        for (field, value, why) in [
            ("owner", &text.owner, "somebody must answer for what is hidden"),
            ("reason", &text.reason, "whoever finds it later must know why"),
            ("expires", &text.expires, "a rule without an end hides for ever"),
        ] {
            if value.trim().is_empty() {
                return Err(RuleError::Missing { field, why });
            }
        }
        let accepted = "a time with zone such as 2027-01-31T00:00:00Z";
        let expires = Timestamp::parse_rfc3339(text.expires.trim());
        let expires = expires.ok_or_else(|| wrong("expires", &text.expires, accepted))?;
        let (mut classes, mut numbers) = (Vec::new(), Vec::new());
        for kind in &text.kinds {
            match (Class::from_word(kind), kind.trim().parse::<i64>()) {
                (Some(class), _) => classes.push(class),
                (None, Ok(number)) => numbers.push(number),
                _ => return Err(wrong("kinds", kind, "a class such as `scan`, or a log type such as 5001")),
            }
        }
        Ok(Self {
            sources: networks("sources", &text.sources)?,
            destinations: networks("destinations", &text.destinations)?,
            sensors: text.sensors.clone(),
            services: text.services.clone(),
            ports: text.ports.clone(),
            classes,
            numbers,
            hours: text.hours.as_ref().map(Span::new).transpose()?,
            expires,
        })
    }

    /// Whether the rule has ended.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        now >= self.expires
    }

    /// Whether it hides an event. Everything that it asks must be so; of a list, one item is enough. `now` is when it is
    /// asked: a rule that has ended hides nothing, not even what happened before.
    #[must_use]
    pub fn hides(&self, event: &Event, sighting: &Sighting, now: Timestamp) -> bool {
        if self.is_over(now) {
            return false;
        }
        let target = sighting.facts.iter().find_map(|fact| match fact {
            Fact::Target(target) => target.parse().ok(),
            _ => None,
        });
        let port = sighting.facts.iter().find_map(|fact| match fact {
            Fact::Port(port) => Some(*port),
            _ => None,
        });
        let sensor = sighting.facts.iter().find_map(|fact| match fact {
            Fact::Sensor(sensor) => Some(sensor.as_str()),
            _ => None,
        });
        let named = |list: &[String], name: Option<&str>| {
            list.is_empty() || name.is_some_and(|name| list.iter().any(|item| item == name))
        };
        let kind = (self.classes.is_empty() && self.numbers.is_empty())
            || self.classes.contains(&event.class())
            || event.logtype.is_some_and(|number| self.numbers.contains(&number));
        (self.sources.is_empty() || sighting.actor.address().is_some_and(|source| self.sources.contains(source)))
            && (self.destinations.is_empty() || target.is_some_and(|target| self.destinations.contains(target)))
            && named(&self.sensors, sensor)
            && named(&self.services, event.service())
            && (self.ports.is_empty() || port.is_some_and(|port| self.ports.contains(&port)))
            && kind
            && self.hours.as_ref().is_none_or(|hours| hours.contains(sighting.at))
    }
}

pub(crate) fn wrong(field: &'static str, value: &str, accepted: &'static str) -> RuleError {
    RuleError::Wrong { field, value: value.chars().take(60).collect(), accepted }
}

fn networks(field: &'static str, items: &[String]) -> Result<IgnoreList, RuleError> {
    let mut list = IgnoreList::default();
    for item in items {
        list.add(item).map_err(|_| wrong(field, item, "an address or network such as 10.0.0.0/8 or 2001:db8::/32"))?;
    }
    Ok(list)
}
