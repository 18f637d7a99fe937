//! Incidents as the store keeps them.

use std::collections::BTreeSet;

use aviary_event::{Severity, Timestamp};
use aviary_insight::{Actor, Fact, Incident, Stage, news};
use serde::{Deserialize, Serialize};

use crate::Cursor;

/// What people decided of an incident.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nobody has looked.
    #[default]
    Open,
    /// Somebody looks.
    Acknowledged,
    /// It is over, for a reason. A new fact opens it again.
    Closed,
}

impl State {
    /// The word in JSON and in searches.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Acknowledged => "acknowledged",
            Self::Closed => "closed",
        }
    }

    /// The state of a word that [`State::word`] gives.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Open, Self::Acknowledged, Self::Closed].into_iter().find(|state| state.word() == word)
    }
}

/// What somebody said of an incident.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Note {
    /// When, in microseconds since 1970.
    pub at: i64,
    /// Who.
    pub by: String,
    /// The state that it gave, if any.
    pub state: Option<String>,
    /// What was said; the reason of a closing.
    pub text: String,
}

/// An incident with what people decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncidentRow {
    /// Its number, for people. Of two that became one, the smaller.
    pub number: i64,
    /// What is known.
    pub incident: Incident,
    /// How grave it is.
    pub severity: Severity,
    /// The furthest step.
    pub stage: Stage,
    /// What was decided.
    pub state: State,
    /// What was said, in order.
    pub notes: BTreeSet<Note>,
    /// What people were told.
    pub told: BTreeSet<Fact>,
}

impl IncidentRow {
    /// A new incident, of which nobody knows yet. Its number is 0 until it is stored.
    #[must_use]
    pub fn new(incident: Incident) -> Self {
        let verdict = incident.verdict();
        Self {
            number: 0,
            incident,
            severity: verdict.severity,
            stage: verdict.stage,
            state: State::Open,
            notes: BTreeSet::new(),
            told: BTreeSet::new(),
        }
    }

    /// Takes what people decided of another incident that went into this one. What one of them leaves open is open.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.number = match (self.number, other.number) {
            (0, number) | (number, 0) => number,
            (one, two) => one.min(two),
        };
        self.state = self.state.min(other.state);
        self.notes.extend(other.notes);
        self.told.extend(other.told);
    }

    /// Judges anew, after new events. A closed incident of which there is something new to tell is open again.
    pub(crate) fn judge(&mut self) {
        let verdict = self.incident.verdict();
        (self.severity, self.stage) = (verdict.severity, verdict.stage);
        if self.state == State::Closed && !news(&self.incident.facts, &self.told).is_empty() {
            self.state = State::Open;
        }
    }
}

impl AsMut<Incident> for IncidentRow {
    fn as_mut(&mut self) -> &mut Incident {
        &mut self.incident
    }
}

/// An incident that new events changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// As it is now.
    pub now: IncidentRow,
    /// Whether it is new.
    pub born: bool,
    /// Numbers of incidents that went into it.
    pub absorbed: Vec<i64>,
}

/// What somebody decides.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The new state; `None` for a note alone.
    pub state: Option<State>,
    /// Who.
    pub by: String,
    /// Why.
    pub text: String,
    /// When.
    pub at: Timestamp,
}

/// What is asked for; what is not given is not asked.
#[derive(Clone, Debug, Default)]
pub struct IncidentQuery {
    /// Those in this state.
    pub state: Option<State>,
    /// At least as grave.
    pub severity: Option<Severity>,
    /// Those of one actor.
    pub actor: Option<Actor>,
    /// With an event from this moment on.
    pub since: Option<Timestamp>,
    /// Where the page before ended.
    pub after: Option<Cursor>,
    /// Rows of a page.
    pub limit: usize,
}
