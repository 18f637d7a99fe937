//! What a suppression rule would have hidden, over the events that are stored.

use std::collections::{BTreeSet, HashMap};

use aviary_event::{Event, Timestamp};
use aviary_insight::{Fact, RuleError, RuleText, Sighting, Source};
use aviary_store::{EventQuery, EventRow, IncidentQuery, Networks, StoreError};
use jiff::tz::TimeZone;

use crate::{Hub, Suppression};

/// Events that are looked at, the newest first.
const EVENTS: u64 = 200_000;

/// Incidents that are looked at.
const INCIDENTS: usize = 10_000;

/// Events and incidents of a page.
const PAGE: usize = 1000;

/// Events that are shown.
const SAMPLE: usize = 10;

/// How far back it looks if nobody says: seven days, in microseconds.
const WEEK: i64 = 7 * 24 * 3600 * 1_000_000;

/// What a rule would have hidden.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// How many events.
    pub events: u64,
    /// How many were looked at.
    pub looked_at: u64,
    /// Whether there are no more.
    pub complete: bool,
    /// Incidents that hold some of them.
    pub incidents: Vec<i64>,
    /// Some of them, the newest first.
    pub sample: Vec<EventRow>,
}

/// Why there is no preview.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    /// The rule is none.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Looks what a rule would have hidden since a moment. Owner, reason and end need not be there yet.
///
/// # Errors
/// When the rule is none, or the store cannot be read.
pub async fn preview(hub: &Hub, text: RuleText, since: Option<Timestamp>) -> Result<Preview, PreviewError> {
    let now = hub.now();
    let since = since.unwrap_or(Timestamp::from_micros(now.as_micros().saturating_sub(WEEK)));
    let later = Timestamp::from_micros(now.as_micros().saturating_add(WEEK));
    let expires = later.to_rfc3339(&TimeZone::UTC);
    let text = RuleText { owner: "-".to_owned(), reason: "-".to_owned(), expires, ..text };
    let mut query = narrow(&text, since);
    let rule = Suppression::new("preview", text)?;
    let mut preview = Preview { events: 0, looked_at: 0, complete: false, incidents: Vec::new(), sample: Vec::new() };
    // By source: when, and which sensor saw it.
    let mut seen: HashMap<Source, Vec<(i64, String)>> = HashMap::new();
    while preview.looked_at < EVENTS {
        let page = hub.store().events(query.clone()).await?;
        for row in page.rows {
            preview.looked_at = preview.looked_at.saturating_add(1);
            let Ok(event) = Event::parse(&row.line) else { continue };
            let Some(sighting) = Sighting::of(&event, row.id, row.at, &row.sensor, "") else { continue };
            if !rule.hides(&event, &sighting, now) {
                continue;
            }
            preview.events = preview.events.saturating_add(1);
            seen.entry(sighting.actor.source).or_default().push((row.at.as_micros(), row.sensor.clone()));
            if preview.sample.len() < SAMPLE {
                preview.sample.push(row);
            }
        }
        match page.next {
            Some(next) => query.after = Some(next),
            None => {
                preview.complete = true;
                break;
            }
        }
    }
    preview.incidents = incidents(hub, since, &seen).await?;
    Ok(preview)
}

/// What the store can ask itself of a rule.
fn narrow(text: &RuleText, since: Timestamp) -> EventQuery {
    let network = |list: &[String]| match list {
        [one] => Networks::parse(one),
        _ => None,
    };
    let name = |list: &[String]| match list {
        [one] => Some(one.clone()),
        _ => None,
    };
    EventQuery {
        since: Some(since),
        sources: network(&text.sources),
        destinations: network(&text.destinations),
        sensor: name(&text.sensors),
        service: name(&text.services),
        port: match text.ports.as_slice() {
            [one] => Some(*one),
            _ => None,
        },
        limit: PAGE,
        ..EventQuery::default()
    }
}

/// Incidents that hold events of these sources, seen by these sensors at these moments.
async fn incidents(
    hub: &Hub,
    since: Timestamp,
    seen: &HashMap<Source, Vec<(i64, String)>>,
) -> Result<Vec<i64>, StoreError> {
    let mut numbers = BTreeSet::new();
    let mut query = IncidentQuery { since: Some(since), limit: PAGE, ..IncidentQuery::default() };
    let mut looked_at = 0_usize;
    while !seen.is_empty() && looked_at < INCIDENTS {
        let page = hub.store().incidents(query.clone()).await?;
        for row in page.rows {
            looked_at = looked_at.saturating_add(1);
            let incident = &row.incident;
            let sensors: BTreeSet<&str> = incident
                .facts
                .iter()
                .filter_map(|(fact, _)| match fact {
                    Fact::Sensor(name) => Some(name.as_str()),
                    _ => None,
                })
                .collect();
            let holds = |(at, sensor): &(i64, String)| {
                incident.first.at <= *at && *at <= incident.last.at && sensors.contains(sensor.as_str())
            };
            if seen.get(&incident.actor.source).is_some_and(|events| events.iter().any(holds)) {
                numbers.insert(row.number);
            }
        }
        match page.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    Ok(numbers.into_iter().collect())
}
