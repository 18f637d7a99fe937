//! What is known of an incident: a set of facts, each with the event that told it first.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{Stage, Stamp};

/// One thing that events tell of an actor.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "fact", content = "value", rename_all = "snake_case")]
pub enum Fact {
    /// A sensor was reached: its name.
    Sensor(String),
    /// An address of a decoy was reached.
    Target(String),
    /// A service was reached, `ssh`.
    Service(String),
    /// A port was reached.
    Port(u16),
    /// A step was taken.
    Stage(Stage),
    /// A technique of MITRE ATT&CK was seen, `T1110`.
    Technique(String),
    /// A log type was seen.
    Kind(i64),
    /// A user name was tried.
    User(String),
    /// A planted credential was used: its user name.
    Decoy(String),
    /// A tool gave itself away, `masscan`.
    Tool(String),
    /// A fingerprint of the actor's software, `hassh:…`.
    Fingerprint(String),
    /// A MAC address that stood for the actor.
    Mac(String),
    /// A name that the actor's machine gave itself.
    Name(String),
    /// Something of one's own does not do what it is for, or does again, with the time.
    Trouble(String),
}

/// The kinds of fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is the fact of its name")]
pub enum Sort {
    Sensor,
    Target,
    Service,
    Port,
    Stage,
    Technique,
    Kind,
    User,
    Decoy,
    Tool,
    Fingerprint,
    Mac,
    Name,
    Trouble,
}

impl Fact {
    /// The fact in words, `sensor north`.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Sensor(name) => format!("sensor {name}"),
            Self::Target(address) => format!("decoy {address}"),
            Self::Service(name) => format!("service {name}"),
            Self::Port(port) => format!("port {port}"),
            Self::Stage(stage) => stage.word().replace('_', " "),
            Self::Technique(technique) => format!("technique {technique}"),
            Self::Kind(number) => format!("log type {number}"),
            Self::User(name) => format!("user {name}"),
            Self::Decoy(name) => format!("planted credential {name}"),
            Self::Tool(name) => format!("tool {name}"),
            Self::Fingerprint(print) => format!("fingerprint {print}"),
            Self::Mac(mac) => format!("MAC address {mac}"),
            Self::Name(name) => format!("name {name}"),
            Self::Trouble(what) => what.clone(),
        }
    }

    /// Its kind.
    #[must_use]
    pub const fn sort(&self) -> Sort {
        match self {
            Self::Sensor(_) => Sort::Sensor,
            Self::Target(_) => Sort::Target,
            Self::Service(_) => Sort::Service,
            Self::Port(_) => Sort::Port,
            Self::Stage(_) => Sort::Stage,
            Self::Technique(_) => Sort::Technique,
            Self::Kind(_) => Sort::Kind,
            Self::User(_) => Sort::User,
            Self::Decoy(_) => Sort::Decoy,
            Self::Tool(_) => Sort::Tool,
            Self::Fingerprint(_) => Sort::Fingerprint,
            Self::Mac(_) => Sort::Mac,
            Self::Name(_) => Sort::Name,
            Self::Trouble(_) => Sort::Trouble,
        }
    }
}

impl Sort {
    /// Most facts of a kind that are kept. What is of interest one by one has room for every sensor of a large
    /// installation; what comes in masses, such as user names, only for the first.
    const fn limit(self) -> usize {
        match self {
            Self::Sensor | Self::Target => 4096,
            Self::Port => 1024,
            Self::Stage | Self::Service | Self::Technique | Self::Kind | Self::Decoy | Self::Trouble => 256,
            Self::User | Self::Tool | Self::Fingerprint | Self::Mac | Self::Name => 64,
        }
    }
}

/// A set of facts. Of a kind that has more than its limit, those that were told first are kept.
///
/// INVARIANT: what a set holds depends on what was added to it and not on the order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Facts {
    known: BTreeMap<Fact, Stamp>,
    /// Kinds of which there are more than are kept.
    more: BTreeSet<Sort>,
}

impl Facts {
    /// Adds a fact that an event told.
    pub fn add(&mut self, fact: Fact, told: Stamp) {
        let sort = fact.sort();
        if self.note(fact, told) {
            self.bound(sort);
        }
    }

    /// Adds all facts of another set.
    pub fn merge(&mut self, other: Self) {
        for (fact, told) in other.known {
            self.add(fact, told);
        }
        self.more.extend(other.more);
    }

    /// The facts of a kind, in order, each with the event that told it first.
    pub fn of(&self, sort: Sort) -> impl Iterator<Item = (&Fact, Stamp)> {
        self.iter().filter(move |(fact, _)| fact.sort() == sort)
    }

    /// All facts, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Fact, Stamp)> {
        self.known.iter().map(|(fact, told)| (fact, *told))
    }

    /// How many facts of a kind are kept, and whether there were more.
    #[must_use]
    pub fn count(&self, sort: Sort) -> (usize, bool) {
        (self.of(sort).count(), self.more.contains(&sort))
    }

    /// Notes a fact, and says whether it was unknown.
    fn note(&mut self, fact: Fact, told: Stamp) -> bool {
        match self.known.entry(fact) {
            Entry::Occupied(mut known) => {
                let first = told.min(*known.get());
                known.insert(first);
                false
            }
            Entry::Vacant(free) => {
                free.insert(told);
                true
            }
        }
    }

    /// Drops what is told last, as long as there is too much of a kind.
    fn bound(&mut self, sort: Sort) {
        // Most kinds hold a handful; counting them all is cheaper than keeping numbers.
        while self.of(sort).count() > sort.limit() {
            let last = self.of(sort).max_by_key(|(fact, told)| (*told, *fact)).map(|(fact, _)| fact.clone());
            let Some(last) = last else { return };
            self.known.remove(&last);
            self.more.insert(sort);
        }
    }
}

/// The form in JSON: JSON's objects have text for keys only.
#[derive(Serialize, Deserialize)]
struct Stored {
    known: Vec<Told>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    more: BTreeSet<Sort>,
}

#[derive(Serialize, Deserialize)]
struct Told {
    #[serde(flatten)]
    fact: Fact,
    #[serde(flatten)]
    first: Stamp,
}

impl From<Stored> for Facts {
    fn from(stored: Stored) -> Self {
        Self { known: stored.known.into_iter().map(|told| (told.fact, told.first)).collect(), more: stored.more }
    }
}

impl From<Facts> for Stored {
    fn from(facts: Facts) -> Self {
        let known = facts.known.into_iter().map(|(fact, first)| Told { fact, first }).collect();
        Self { known, more: facts.more }
    }
}
