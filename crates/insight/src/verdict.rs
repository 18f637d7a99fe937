//! How grave an incident is, and why.

use aviary_event::Severity;
use serde::Serialize;

use crate::{Fact, Incident, Sort, Stage, Stamp};

/// So many sensors reached make out of a look around a search of the network.
const MANY_SENSORS: usize = 3;

/// How grave an incident is, with the reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How grave.
    pub severity: Severity,
    /// The furthest step.
    pub stage: Stage,
    /// Why, the gravest first.
    pub reasons: Vec<Reason>,
}

/// Something that makes an incident as grave as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// A step was taken, first by this event.
    Stage {
        /// The step.
        stage: Stage,
        /// The event.
        #[serde(flatten)]
        first: Stamp,
    },
    /// A planted credential was used: whoever has it got it from where it was planted.
    Decoy {
        /// Its user name.
        user: String,
        /// The event.
        #[serde(flatten)]
        first: Stamp,
    },
    /// Something of one's own does not do what it is for.
    Trouble {
        /// What.
        what: String,
        /// The event.
        #[serde(flatten)]
        first: Stamp,
    },
    /// Several sensors were reached: nobody reaches several decoys by mistake.
    Breadth {
        /// How many.
        sensors: usize,
    },
}

impl Incident {
    /// How grave it is. The furthest step counts, and one level more when several sensors were reached.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let mut stages: Vec<(Stage, Stamp)> = Vec::new();
        stages.extend(self.facts.of(Sort::Stage).filter_map(|(fact, first)| match fact {
            Fact::Stage(stage) => Some((*stage, first)),
            _ => None,
        }));
        stages.sort_by(|a, b| b.cmp(a));
        let stage = stages.first().map_or(Stage::Touch, |(stage, _)| *stage);
        let mut severity = stage.severity();
        let mut reasons: Vec<Reason> = self
            .facts
            .of(Sort::Decoy)
            .filter_map(|(fact, first)| match fact {
                Fact::Decoy(user) => Some(Reason::Decoy { user: user.clone(), first }),
                _ => None,
            })
            .collect();
        let trouble = self.facts.of(Sort::Trouble).filter_map(|(fact, first)| match fact {
            Fact::Trouble(what) => Some(Reason::Trouble { what: what.clone(), first }),
            _ => None,
        });
        reasons.extend(trouble);
        if reasons.iter().any(|reason| matches!(reason, Reason::Trouble { .. })) {
            severity = severity.max(Severity::High);
        }
        let (sensors, _) = self.facts.count(Sort::Sensor);
        if sensors >= MANY_SENSORS {
            severity = raised(severity);
            reasons.push(Reason::Breadth { sensors });
        }
        reasons.extend(stages.into_iter().map(|(stage, first)| Reason::Stage { stage, first }));
        Verdict { severity, stage, reasons }
    }
}

const fn raised(severity: Severity) -> Severity {
    match severity {
        Severity::Informational => Severity::Low,
        Severity::Low => Severity::Medium,
        Severity::Medium => Severity::High,
        Severity::High | Severity::Critical => Severity::Critical,
    }
}
