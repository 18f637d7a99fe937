//! How far somebody went.

use std::fmt;

use aviary_event::{Class, Event, Severity};
use serde::{Deserialize, Serialize};

/// Techniques of MITRE ATT&CK that mean that somebody runs or plants something, and not that somebody looks:
/// exploitation (T1190, T1203, T1210, T1068), execution (T1059), a changed account (T1098), a tool brought along
/// (T1105, T1570), persistence (T1505).
const ATTACKS: [&str; 9] = ["T1059", "T1068", "T1098", "T1105", "T1190", "T1203", "T1210", "T1505", "T1570"];

/// Steps of an attack, from the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Connected, and said nothing.
    Touch,
    /// Looked for open ports.
    Scan,
    /// Asked a service for something.
    Probe,
    /// Tried a credential.
    LoginAttempt,
    /// Used a planted credential or decoy.
    DecoyUsed,
    /// Tried to run or plant something.
    ExploitAttempt,
}

impl Stage {
    /// All of them, from the least.
    pub const ALL: [Self; 6] =
        [Self::Touch, Self::Scan, Self::Probe, Self::LoginAttempt, Self::DecoyUsed, Self::ExploitAttempt];

    /// The word in JSON and in searches.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Touch => "touch",
            Self::Scan => "scan",
            Self::Probe => "probe",
            Self::LoginAttempt => "login_attempt",
            Self::DecoyUsed => "decoy_used",
            Self::ExploitAttempt => "exploit_attempt",
        }
    }

    /// How grave the step is by itself.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::Touch | Self::Scan => Severity::Low,
            Self::Probe => Severity::Medium,
            Self::LoginAttempt => Severity::High,
            Self::DecoyUsed | Self::ExploitAttempt => Severity::Critical,
        }
    }

    /// The step that an event shows; `None` for the canary's own life. A log type that nobody knows is a probe: what
    /// touches a decoy and is not understood must not be passed over.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        let class = event.class();
        if class == Class::Lifecycle || event.is_lifecycle() {
            return None;
        }
        let techniques = event.aviary.as_ref().map(|ours| ours.technique.as_slice()).unwrap_or_default();
        if techniques.iter().any(|technique| is_attack(technique)) {
            return Some(Self::ExploitAttempt);
        }
        if event.honeycred == Some(true) {
            return Some(Self::DecoyUsed);
        }
        Some(match class {
            Class::Login => Self::LoginAttempt,
            Class::Command | Class::Violation => Self::Probe,
            Class::Scan => Self::Scan,
            Class::Connection | Class::Limit | Class::Lifecycle => Self::Touch,
        })
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Whether it is one of [`ATTACKS`], or one of their sub-techniques (`T1059.004`).
fn is_attack(technique: &str) -> bool {
    let main = technique.split_once('.').map_or(technique, |(main, _)| main);
    ATTACKS.contains(&main)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(line: &str) -> Option<Stage> {
        Stage::of(&Event::parse(line).expect("an event"))
    }

    #[test]
    fn opencanary_lines_have_stages() {
        assert_eq!(stage(r#"{"logtype": 1001, "logdata": {}}"#), None);
        assert_eq!(stage(r#"{"logtype": 4000, "logdata": {}}"#), Some(Stage::Touch));
        assert_eq!(stage(r#"{"logtype": 5001, "logdata": {}}"#), Some(Stage::Scan));
        assert_eq!(stage(r#"{"logtype": 3000, "logdata": {}}"#), Some(Stage::Probe));
        assert_eq!(stage(r#"{"logtype": 4002, "logdata": {}}"#), Some(Stage::LoginAttempt));
        assert_eq!(stage(r#"{"logtype": 4002, "honeycred": true, "logdata": {}}"#), Some(Stage::DecoyUsed));
        assert_eq!(stage(r#"{"logtype": 77777, "logdata": {}}"#), Some(Stage::Probe), "what nobody knows");
        assert_eq!(stage(r#"{"logtype": null, "logdata": {}}"#), Some(Stage::Probe));
    }

    #[test]
    fn techniques_tell_an_attack_from_a_look() {
        let with = |technique: &str| {
            stage(&format!(
                r#"{{"logtype": 17001, "logdata": {{}}, "aviary": {{"id": "01a2104a-506e-77e5-a548-70a694455bf9", "seq": 1,
                "service": "redis", "time": "2026-11-25T01:20:35Z", "kind": "command", "technique": ["{technique}"]}}}}"#
            ))
        };
        assert_eq!(with("T1059.004"), Some(Stage::ExploitAttempt));
        assert_eq!(with("T1046"), Some(Stage::Probe));
        assert_eq!(with("T10590"), Some(Stage::Probe));
    }

    #[test]
    fn words_and_severities_grow() {
        for pair in Stage::ALL.windows(2) {
            assert!(pair[0] < pair[1] && pair[0].severity() <= pair[1].severity());
        }
    }
}
