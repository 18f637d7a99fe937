//! An event as the aggregation layer sees it.

use aviary_event::{Event, Port, TROUBLE, Timestamp, Value};
use uuid::Uuid;

use crate::{Actor, Credential, Fact, Source, Stage, Stamp};

/// Longest text of a fact, in characters. What is longer is in the event.
const LONGEST: usize = 200;

/// The realm of what the hub tells of itself.
const HUB: &str = "hub";

/// Keys of `logdata` under which services write user names.
const USERS: [&str; 3] = ["USERNAME", "USER", "LOGINNAME"];

/// The log type of what is wrong with the hub.
const TROUBLE_NUMBER: i64 = TROUBLE.number;

/// Members of `aviary.fingerprint` that are facts.
const FINGERPRINTS: [&str; 4] = ["hassh", "ja3", "ja4", "ja4h"];

/// One event: who, when, and what it tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The event's id.
    pub id: Uuid,
    /// When it happened.
    pub at: Timestamp,
    /// Who did it.
    pub actor: Actor,
    /// How far it went.
    pub stage: Stage,
    /// What it tells.
    pub facts: Vec<Fact>,
    /// What it tried to get in with.
    pub tried: Option<Credential>,
}

impl Sighting {
    /// What an event tells; `None` for one without a source, or of the canary's own life. `id` and `at` are those that
    /// the store gave it: foreign lines have no id, and clocks may be wrong. `sensor` is whose credential it came with.
    #[must_use]
    pub fn of(event: &Event, id: Uuid, at: Timestamp, sensor: &str, site: &str) -> Option<Self> {
        let stage = Stage::of(event)?;
        let actor = Actor::new(&event.src.as_ref()?.host, site, sensor)?;
        let mut facts = vec![Fact::Sensor(short(sensor)), Fact::Stage(stage)];
        if let Some(dst) = event.dst.as_ref().filter(|dst| !dst.host.is_empty()) {
            facts.push(Fact::Target(short(&dst.host)));
            facts.extend(port(&dst.port).map(Fact::Port));
        }
        facts.extend(event.logtype.map(Fact::Kind));
        facts.extend(user(event).map(|name| {
            let name = short(&name);
            if event.honeycred == Some(true) { Fact::Decoy(name) } else { Fact::User(name) }
        }));
        if let Some(Value::Text(tool)) = event.logdata.get("TOOL").filter(|tool| tool.as_str() != Some("")) {
            facts.push(Fact::Tool(short(tool)));
        }
        if let (Some(TROUBLE_NUMBER), Some(Value::Text(text))) = (event.logtype, event.logdata.get("TEXT")) {
            facts.push(Fact::Trouble(short(text)));
        }
        if let Some(ours) = &event.aviary {
            facts.push(Fact::Service(short(&ours.service)));
            facts.extend(ours.technique.iter().map(|technique| Fact::Technique(short(technique))));
            let more = |key: &str| ours.more.get(key).and_then(Value::as_str);
            // A router's address says nothing of who stands behind it.
            if ours.more.get("src_mac_router") != Some(&Value::Bool(true)) {
                facts.extend(more("src_mac").map(|mac| Fact::Mac(short(mac))));
            }
            facts.extend(more("src_name").map(|name| Fact::Name(short(name))));
            if let Some(prints) = ours.more.get("fingerprint") {
                let prints = FINGERPRINTS.iter().filter_map(|kind| Some((kind, prints.get(kind)?.as_str()?)));
                facts.extend(prints.map(|(kind, print)| Fact::Fingerprint(format!("{kind}:{}", short(print)))));
            }
        }
        Some(Self { id, at, actor, stage, facts, tried: Credential::of(event) })
    }

    /// What the hub tells of itself and its own: an actor of its own realm, so that nobody else's events come between.
    #[must_use]
    pub fn of_trouble(id: Uuid, at: Timestamp, whose: &str, what: &str, facts: Vec<Fact>) -> Self {
        let actor = Actor { realm: HUB.to_owned(), source: Source::Text(short(whose)) };
        let facts = facts.into_iter().chain([Fact::Trouble(short(what))]).collect();
        Self { id, at, actor, stage: Stage::Touch, facts, tried: None }
    }

    /// When, and which event.
    #[must_use]
    pub const fn stamp(&self) -> Stamp {
        Stamp { at: self.at.as_micros(), event: self.id }
    }
}

fn short(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

fn port(port: &Port) -> Option<u16> {
    match port {
        Port::Number(number) => u16::try_from(*number).ok(),
        Port::Text(text) => text.trim().parse().ok(),
    }
    .filter(|port| *port != 0)
}

fn user(event: &Event) -> Option<String> {
    USERS.iter().find_map(|key| match event.logdata.get(key)? {
        Value::Text(text) if !text.is_empty() => Some(text.clone()),
        Value::Bytes(bytes) if !bytes.is_empty() => Some(bytes.to_string()),
        _ => None,
    })
}
