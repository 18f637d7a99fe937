//! Suppression rules as documents, and all of them together.

use aviary_event::{Event, Timestamp};
use aviary_insight::{Rule, RuleError, RuleText, Sighting};
use aviary_store::Document;

/// The kind of their documents.
pub const SUPPRESSION: &str = "suppression";

/// A rule with its name.
#[derive(Clone, Debug)]
pub struct Suppression {
    /// The document's key.
    pub name: String,
    /// What it says.
    pub text: RuleText,
    rule: Rule,
}

impl Suppression {
    /// Reads a rule.
    ///
    /// # Errors
    /// Names the field, what it says and what it takes.
    pub fn new(name: &str, text: RuleText) -> Result<Self, RuleError> {
        Ok(Self { name: name.to_owned(), rule: Rule::new(&text)?, text })
    }

    /// Whether the rule has ended.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.rule.is_over(now)
    }

    /// Whether it hides an event.
    #[must_use]
    pub fn hides(&self, event: &Event, sighting: &Sighting, now: Timestamp) -> bool {
        self.rule.hides(event, sighting, now)
    }
}

/// All rules, by name.
#[derive(Clone, Debug, Default)]
pub struct Suppressions(Vec<Suppression>);

impl Suppressions {
    /// Reads documents. One that cannot be read hides nothing, and is told.
    #[must_use]
    pub fn read(documents: &[Document]) -> Self {
        let mut rules = Vec::new();
        for document in documents {
            let text: Result<RuleText, _> = serde_json::from_value(document.body.clone());
            let rule = text.map_err(|error| error.to_string());
            match rule.and_then(|text| Suppression::new(&document.key, text).map_err(|error| error.to_string())) {
                Ok(rule) => rules.push(rule),
                Err(error) => tracing::error!(rule = document.key, error, "a suppression rule cannot be read"),
            }
        }
        Self(rules)
    }

    /// The first rule that hides an event.
    #[must_use]
    pub fn hiding(&self, event: &Event, sighting: &Sighting, now: Timestamp) -> Option<&Suppression> {
        self.0.iter().find(|rule| rule.hides(event, sighting, now))
    }
}
