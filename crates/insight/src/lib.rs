//! The aggregation layer as pure functions: what many events come to.
//!
//! An event becomes a [`Sighting`]: an [`Actor`], a moment, and the [`Fact`]s that it tells. Sightings of
//! one actor that follow each other closely are one [`Incident`]. Merging is commutative, associative and,
//! with each event applied once, idempotent: whoever applies events in whatever order gets the same
//! incidents. No clock, no I/O.

mod actor;
mod credential;
mod facts;
mod hours;
mod incident;
mod news;
mod notice;
mod policy;
mod sighting;
mod stage;
mod suppression;
mod verdict;
mod words;

pub use actor::{Actor, Source};
pub use credential::Credential;
pub use facts::{Fact, Facts, Sort};
pub use hours::{Hours, Span};
pub use incident::{Incident, Merged, Stamp, merge};
pub use news::news;
pub use notice::{Earlier, Known, Notice, decide, over_budget};
pub use policy::{Budget, Policy, PolicyText, length};
pub use sighting::Sighting;
pub use stage::Stage;
pub use suppression::{Rule, RuleError, RuleText};
pub use verdict::{Reason, Verdict};
pub use words::{fields, words};
