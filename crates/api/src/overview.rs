//! `/api/v1/overview`: what there is to see first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aviary_event::{Severity, Timestamp};
use aviary_hub::sensors::State as Proof;
use aviary_hub::{Hub, Scope};
use aviary_store::{Heard, IncidentQuery, OverviewQuery, State as Standing};
use axum::extract::State;
use axum::response::Json;
use serde::Serialize;
use utoipa::ToSchema;

use crate::Problem;
use crate::access::Caller;
use crate::incidents::Incident;
use crate::wire::time;

const HOUR: i64 = 3_600_000_000;
/// Incidents that began so long ago are new.
const NEW: i64 = 24 * HOUR;
/// Hours of the trend.
const TREND: i64 = 48;
/// Incidents, sources and services that are named.
const TOP: usize = 8;
/// A sensor that is not enrolled and was heard of within this time works, since what it told it has detected.
const ALIVE: i64 = 24 * HOUR;
/// A sensor that was heard of within this time is late, and silent afterwards.
const LATE: i64 = 7 * 24 * HOUR;

/// What there is to see first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Overview {
    incidents: Counts,
    /// Open incidents, those with the latest event first.
    latest: Vec<Incident>,
    sensors: SensorCounts,
    /// Each of the last 48 hours.
    trend: Vec<TrendHour>,
    /// Sources that were seen in these hours, those with the most events first.
    top_sources: Vec<TopSource>,
    /// Services by their events in these hours, the most first.
    top_services: Vec<TopService>,
}

/// Incidents, counted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Counts {
    /// Open ones by how grave they are.
    #[schema(value_type = Object, example = json!({"critical": 1, "high": 3, "medium": 0, "low": 7, "informational": 0}))]
    open: BTreeMap<&'static str, u64>,
    /// Those that began within 24 hours.
    new_24h: u64,
}

/// Sensors, counted.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct SensorCounts {
    /// All that are enrolled, have a token, or ever sent something.
    total: usize,
    /// Proving that they detect; those that are not enrolled: heard of within a day.
    alive: usize,
    /// Heard of, but not detecting.
    blind: usize,
    /// Too slow; those that are not enrolled: heard of within a week.
    late: usize,
    /// Not heard of for longer, or never.
    silent: usize,
}

/// An hour of the trend.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TrendHour {
    /// Its first moment.
    hour: String,
    /// Events by how far they went.
    #[schema(value_type = Object, example = json!({"probe": 12}))]
    kinds: BTreeMap<&'static str, u64>,
}

/// A source and its events.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TopSource {
    /// Its address.
    source: String,
    /// Where the address means one machine; empty for everywhere.
    realm: String,
    /// How many events.
    events: u64,
}

/// A service and its events.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TopService {
    /// Its name.
    service: String,
    /// How many events.
    events: u64,
}

/// What there is to see first
#[utoipa::path(
    get, path = "/api/v1/overview", tag = "overview", security(("token" = ["read"])),
    responses(
        (status = 200, body = Overview), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 504, body = Problem, description = "It took too long"),
    ),
)]
pub(crate) async fn show(State(hub): State<Arc<Hub>>, caller: Caller) -> Result<Json<Overview>, Problem> {
    caller.may(Scope::Read)?;
    let now = hub.now();
    let ago = |micros: i64| Timestamp::from_micros(now.as_micros().saturating_sub(micros));
    // The hour that runs is one of them.
    let begin = ago((TREND - 1) * HOUR);
    let query = OverviewQuery { new: ago(NEW), trend: begin, top: TOP };
    let latest = IncidentQuery { state: Some(Standing::Open), limit: TOP, ..IncidentQuery::default() };
    let sums = hub.store().overview(query).await?;
    let latest = hub.store().incidents(latest).await?;
    let tokens = hub.store().documents("token").await?;
    let named = tokens.iter().filter_map(|token| token.body.get("sensor")?.as_str());
    let mut known: BTreeMap<Timestamp, _> = sums.trend.into_iter().collect();
    let first = begin.as_micros().div_euclid(HOUR);
    let trend = (first..first + TREND).map(|hour| {
        let hour = Timestamp::from_micros(hour.saturating_mul(HOUR));
        let stages = known.remove(&hour).unwrap_or_default();
        TrendHour {
            hour: time(hour),
            kinds: stages.into_iter().map(|(stage, events)| (stage.word(), events)).collect(),
        }
    });
    let open =
        Severity::ALL.into_iter().map(|severity| (severity.word(), sums.open.get(&severity).copied().unwrap_or(0)));
    Ok(Json(Overview {
        incidents: Counts { open: open.collect(), new_24h: sums.new },
        latest: latest.rows.into_iter().map(Incident::from).collect(),
        sensors: sensors(&enrolled(&hub), named.collect(), &sums.sensors, now),
        trend: trend.collect(),
        top_sources: sums
            .sources
            .into_iter()
            .map(|(actor, events)| TopSource { source: actor.source.to_string(), realm: actor.realm, events })
            .collect(),
        top_services: sums.services.into_iter().map(|(service, events)| TopService { service, events }).collect(),
    }))
}

/// The hub's own sensors, and what they have proven.
fn enrolled(hub: &Hub) -> BTreeMap<String, Proof> {
    let rows = hub.sensors().list().into_iter().filter(|row| !row.pass.revoked);
    rows.map(|row| (row.name, row.state)).collect()
}

/// Counts the hub's own sensors by what they have proven, and others, which have a token or an address, by when they were
/// heard of.
fn sensors(enrolled: &BTreeMap<String, Proof>, named: BTreeSet<&str>, heard: &[Heard], now: Timestamp) -> SensorCounts {
    let mut counts = SensorCounts::default();
    for state in enrolled.values() {
        *(match state {
            Proof::Alive => &mut counts.alive,
            Proof::Blind => &mut counts.blind,
            Proof::Late => &mut counts.late,
            Proof::Silent | Proof::Never => &mut counts.silent,
        }) += 1;
    }
    let heard: Vec<&Heard> = heard.iter().filter(|heard| !enrolled.contains_key(&heard.sensor)).collect();
    for heard in &heard {
        let age = now.as_micros().saturating_sub(heard.span.last.as_micros());
        *(if age <= ALIVE {
            &mut counts.alive
        } else if age <= LATE {
            &mut counts.late
        } else {
            &mut counts.silent
        }) += 1;
    }
    let unheard = |name: &&&str| !enrolled.contains_key(**name) && heard.iter().all(|heard| heard.sensor != ***name);
    let never = named.iter().filter(unheard).count();
    counts.silent += never;
    counts.total = enrolled.len() + heard.len() + never;
    counts
}

#[cfg(test)]
mod tests {
    use aviary_store::Span;

    use super::*;

    #[test]
    fn sensors_are_counted_by_when_they_were_heard_of() {
        let heard = |sensor: &str, days: i64| {
            let last = Timestamp::from_micros(-days * 24 * HOUR);
            Heard { sensor: sensor.to_owned(), span: Span { first: last, last, events: 1 } }
        };
        let heard = [heard("a", 0), heard("b", 1), heard("c", 3), heard("d", 30)];
        let now = Timestamp::from_micros(0);
        let counts = sensors(&BTreeMap::new(), BTreeSet::from(["a", "e"]), &heard, now);
        assert_eq!((counts.total, counts.alive, counts.late, counts.silent), (5, 2, 1, 2));
        // What an enrolled one has proven counts, not that it is heard of.
        let enrolled = [("a", Proof::Blind), ("f", Proof::Alive), ("g", Proof::Never)];
        let enrolled = enrolled.map(|(name, state)| (name.to_owned(), state)).into();
        let counts = sensors(&enrolled, BTreeSet::from(["a", "e"]), &heard, now);
        assert_eq!((counts.total, counts.alive, counts.blind, counts.late, counts.silent), (7, 2, 1, 1, 3));
    }
}
