//! What is worth telling people again.

use std::collections::BTreeSet;

use crate::{Fact, Facts, Sort};

/// Kinds of fact of which a new one is news. A further user name, port or fingerprint is not: a hundred thousand
/// guesses are one message.
const NEWS: [Sort; 6] = [Sort::Sensor, Sort::Service, Sort::Stage, Sort::Technique, Sort::Decoy, Sort::Trouble];

/// What people were not told yet, in order; empty when there is nothing to say. An incident of which nothing was told
/// is all news.
#[must_use]
pub fn news(facts: &Facts, told: &BTreeSet<Fact>) -> Vec<Fact> {
    let new = facts.iter().map(|(fact, _)| fact).filter(|fact| NEWS.contains(&fact.sort()) && !told.contains(*fact));
    new.cloned().collect()
}
