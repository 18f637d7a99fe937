//! How grave it is that something happens on a decoy.

use std::fmt;

use crate::{ALERT, Class, Event};

/// How grave, in the words of OCSF.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The canary's own life.
    Informational,
    /// Somebody looks around.
    Low,
    /// Somebody asks for something.
    Medium,
    /// Somebody tries to get in.
    High,
    /// Somebody uses a planted credential.
    Critical,
}

impl Severity {
    /// All of them, from the least.
    pub const ALL: [Self; 5] = [Self::Informational, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The word in configurations.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Informational => "informational",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// The severity of a word that [`Severity::word`] gives.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.word() == word)
    }

    /// `severity_id` of OCSF.
    #[must_use]
    pub const fn ocsf(self) -> i64 {
        match self {
            Self::Informational => 1,
            Self::Low => 2,
            Self::Medium => 3,
            Self::High => 4,
            Self::Critical => 5,
        }
    }

    /// That of a class.
    #[must_use]
    pub const fn of_class(class: Class) -> Self {
        match class {
            Class::Login => Self::High,
            Class::Command => Self::Medium,
            Class::Connection | Class::Violation | Class::Scan | Class::Limit => Self::Low,
            Class::Lifecycle => Self::Informational,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Event {
    /// How grave it is. What a hub tells of an incident says so itself, in `aviary.severity`.
    #[must_use]
    pub fn severity(&self) -> Severity {
        let said = self.aviary.as_ref().filter(|_| self.logtype == Some(ALERT.number));
        let said = said.and_then(|ours| Severity::from_word(ours.more.get("severity")?.as_str()?));
        if let Some(said) = said {
            return said;
        }
        if self.honeycred == Some(true) { Severity::Critical } else { Severity::of_class(self.class()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lead_back_and_grow() {
        for pair in Severity::ALL.windows(2) {
            assert!(pair[0] < pair[1] && pair[0].ocsf() < pair[1].ocsf());
        }
        for severity in Severity::ALL {
            assert_eq!(Severity::from_word(severity.word()), Some(severity));
        }
        assert_eq!(Severity::from_word("grave"), None);
    }

    #[test]
    fn a_planted_credential_is_the_gravest() {
        let line = |flag: &str| format!(r#"{{"logtype": 2000, "logdata": {{}}{flag}}}"#);
        let of = |flag: &str| Event::parse(&line(flag)).unwrap().severity();
        assert_eq!(of(""), Severity::High);
        assert_eq!(of(r#", "honeycred": true"#), Severity::Critical);
        assert_eq!(of(r#", "honeycred": false"#), Severity::High);
    }
}
