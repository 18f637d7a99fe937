//! Policies: of what people are told, when, where, and how often.

use std::time::Duration;

use aviary_event::{Severity, Timestamp};
use serde::{Deserialize, Serialize};

use crate::suppression::wrong;
use crate::{Fact, Facts, Hours, RuleError, Sort, Span, Stage};

/// What a policy asks for in place of a step: what is wrong with the hub itself.
const TROUBLE: &str = "trouble";

/// A policy as people write it. What is empty is not asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyText {
    /// At least as grave: `low`, `medium`, `high`, `critical`.
    #[serde(default = "lowest")]
    pub severity: String,
    /// Steps (`login_attempt`), log types (`5001`), and `trouble` of the hub itself.
    #[serde(default)]
    pub kinds: Vec<String>,
    /// Groups, tags, sites and names of sensors.
    #[serde(default)]
    pub groups: Vec<String>,
    /// When it holds; always if missing.
    #[serde(default)]
    pub schedule: Option<Hours>,
    /// Where to.
    pub channels: Vec<String>,
    /// How many messages a recipient gets; any number if missing.
    #[serde(default)]
    pub budget: Option<BudgetText>,
    /// For how long messages are gathered into one, `15m`; not at all if missing.
    #[serde(default)]
    pub digest: Option<String>,
    /// Whether it holds at all.
    #[serde(default = "yes")]
    pub enabled: bool,
}

/// A budget as people write it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetText {
    /// So many messages.
    pub messages: u32,
    /// In this time, `1h`.
    pub per: String,
}

/// So many messages in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Messages.
    pub messages: usize,
    /// The time.
    pub per: Duration,
}

/// A policy that can be asked.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// Where to.
    pub channels: Vec<String>,
    /// How many messages a recipient gets.
    pub budget: Option<Budget>,
    /// For how long messages are gathered into one.
    pub digest: Option<Duration>,
    /// When it holds.
    pub schedule: Option<Span>,
    severity: Severity,
    stages: Vec<Stage>,
    numbers: Vec<i64>,
    trouble: bool,
    groups: Vec<String>,
    enabled: bool,
}

fn lowest() -> String {
    Severity::Low.word().to_owned()
}

const fn yes() -> bool {
    true
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// Names the field, what it says and what it takes.
    pub fn new(name: &str, text: &PolicyText) -> Result<Self, RuleError> {
        if text.channels.is_empty() {
            return Err(RuleError::Missing { field: "channels", why: "nobody would be told" });
        }
        let accepted = "one of informational, low, medium, high, critical";
        let severity =
            Severity::from_word(&text.severity).ok_or_else(|| wrong("severity", &text.severity, accepted))?;
        let (mut stages, mut numbers, mut trouble) = (Vec::new(), Vec::new(), false);
        for kind in &text.kinds {
            let stage = Stage::ALL.into_iter().find(|stage| stage.word() == kind);
            match (stage, kind.trim().parse::<i64>()) {
                (Some(stage), _) => stages.push(stage),
                (None, Ok(number)) => numbers.push(number),
                _ if kind == TROUBLE => trouble = true,
                _ => {
                    let accepted = "touch, scan, probe, login_attempt, decoy_used, exploit_attempt, trouble, or a log type such as 5001";
                    return Err(wrong("kinds", kind, accepted));
                }
            }
        }
        let budget = match &text.budget {
            None => None,
            Some(BudgetText { messages: 0, .. }) => {
                return Err(wrong("budget.messages", "0", "a number of messages, at least 1"));
            }
            Some(budget) => Some(Budget {
                messages: usize::try_from(budget.messages).unwrap_or(usize::MAX),
                per: length("budget.per", &budget.per)?,
            }),
        };
        Ok(Self {
            name: name.to_owned(),
            channels: text.channels.clone(),
            budget,
            digest: text.digest.as_deref().map(|text| length("digest", text)).transpose()?,
            schedule: text.schedule.as_ref().map(Span::new).transpose()?,
            severity,
            stages,
            numbers,
            trouble,
            groups: text.groups.clone(),
            enabled: text.enabled,
        })
    }

    /// Whether it is about an incident, whatever the hour. `groups` gives the names of what a sensor belongs to.
    #[must_use]
    pub fn is_about(&self, facts: &Facts, severity: Severity, groups: &dyn Fn(&str) -> Vec<String>) -> bool {
        let any = self.stages.is_empty() && self.numbers.is_empty() && !self.trouble;
        let kind = any
            || facts.iter().any(|(fact, _)| match fact {
                Fact::Stage(stage) => self.stages.contains(stage),
                Fact::Kind(number) => self.numbers.contains(number),
                Fact::Trouble(_) => self.trouble,
                _ => false,
            });
        let place = self.groups.is_empty()
            || facts.of(Sort::Sensor).any(|(fact, _)| match fact {
                Fact::Sensor(name) => {
                    self.groups.contains(name) || groups(name).iter().any(|group| self.groups.contains(group))
                }
                _ => false,
            });
        self.enabled && severity >= self.severity && kind && place
    }

    /// Whether it holds at a moment.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        self.schedule.as_ref().is_none_or(|hours| hours.contains(now))
    }
}

/// Reads a length of time: `30s`, `15m`, `1h`, `1d`, from a second to 31 days.
///
/// # Errors
/// Names the field, what it says and what it takes.
pub fn length(field: &'static str, text: &str) -> Result<Duration, RuleError> {
    let read = || {
        let trimmed = text.trim();
        let unit = trimmed.chars().last()?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return None,
        };
        let number: u64 = trimmed.strip_suffix(unit)?.trim().parse().ok()?;
        let length = number.checked_mul(seconds)?;
        (1..=31 * 86_400).contains(&length).then(|| Duration::from_secs(length))
    };
    read().ok_or_else(|| wrong(field, text, "a length of time such as 30s, 15m, 1h or 1d, up to 31d"))
}
