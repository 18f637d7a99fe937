//! `/api/v1/incidents`: what events come to.

use std::sync::Arc;

use aviary_event::Severity;
use aviary_hub::{Hub, Scope};
use aviary_insight::{Fact, Reason};
use aviary_store::{Cursor, Decision as Decided, IncidentQuery, IncidentRow, State as Standing};
use axum::extract::State;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::Problem;
use crate::access::Caller;
use crate::wire::{Asked, Named, Said, cursor, moment, time, word};

const ROWS: usize = 50;
const MOST: usize = 500;
/// Longest note, in characters.
const LONGEST: usize = 10_000;
const STATES: &str = "open, acknowledged, closed";
const SEVERITIES: &str = "informational, low, medium, high, critical";

/// What one actor did in one stretch of time.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Incident {
    /// Its number.
    number: i64,
    /// Who: the source.
    #[schema(example = "10.0.0.1")]
    source: String,
    /// Where the source's address means one machine; empty for everywhere.
    realm: String,
    /// When it began.
    first: String,
    /// When something happened last.
    last: String,
    /// How many events.
    events: u64,
    /// How grave.
    #[schema(example = "high")]
    severity: &'static str,
    /// The furthest step.
    #[schema(example = "login_attempt")]
    stage: &'static str,
    /// What was decided.
    #[schema(example = "open")]
    state: &'static str,
    /// Why it is as grave as it is.
    #[schema(value_type = Vec<Object>)]
    reasons: Vec<Reason>,
    /// What is known, each fact with the event that told it first.
    #[schema(value_type = Vec<Object>)]
    facts: Vec<Value>,
    /// What was said.
    notes: Vec<Note>,
}

/// What somebody said.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Note {
    /// When.
    time: String,
    /// Who.
    by: String,
    /// The state that it gave, if any.
    state: Option<String>,
    /// What was said.
    text: String,
}

impl From<IncidentRow> for Incident {
    fn from(row: IncidentRow) -> Self {
        let verdict = row.incident.verdict();
        let fact = |(fact, first): (&Fact, aviary_insight::Stamp)| {
            let mut value = serde_json::to_value(fact).unwrap_or_default();
            if let Value::Object(map) = &mut value {
                map.insert("time".to_owned(), time(aviary_event::Timestamp::from_micros(first.at)).into());
                map.insert("event".to_owned(), first.event.to_string().into());
            }
            value
        };
        let notes = row.notes.into_iter().map(|note| Note {
            time: time(aviary_event::Timestamp::from_micros(note.at)),
            by: note.by,
            state: note.state,
            text: note.text,
        });
        Self {
            number: row.number,
            source: row.incident.actor.source.to_string(),
            realm: row.incident.actor.realm.clone(),
            first: time(row.incident.begun()),
            last: time(row.incident.ended()),
            events: row.incident.events,
            severity: row.severity.word(),
            stage: row.stage.word(),
            state: row.state.word(),
            reasons: verdict.reasons,
            facts: row.incident.facts.iter().map(fact).collect(),
            notes: notes.collect(),
        }
    }
}

/// A page of incidents.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Incidents {
    /// Those with the latest event first.
    incidents: Vec<Incident>,
    /// What `after` takes for the next page; nothing on the last.
    next: Option<String>,
}

/// What is asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Query {
    /// `open`, `acknowledged`, `closed`.
    state: Option<String>,
    /// At least as grave: `low`, `medium`, `high`, `critical`.
    severity: Option<String>,
    /// With an event from this moment on.
    since: Option<String>,
    /// What `next` of the page before said.
    after: Option<String>,
    /// Rows of a page, up to 500.
    limit: Option<usize>,
}

/// Lists incidents, those with the latest event first
#[utoipa::path(
    get, path = "/api/v1/incidents", tag = "incidents", params(Query), security(("token" = ["read"])),
    responses(
        (status = 200, body = Incidents), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 504, body = Problem),
    ),
)]
pub(crate) async fn list(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Asked(query): Asked<Query>,
) -> Result<Json<Incidents>, Problem> {
    caller.may(Scope::Read)?;
    let query = IncidentQuery {
        state: word("state", query.state.as_deref(), Standing::from_word, STATES)?,
        severity: word("severity", query.severity.as_deref(), Severity::from_word, SEVERITIES)?,
        actor: None,
        since: moment("since", query.since.as_deref())?,
        after: cursor(query.after.as_deref())?,
        limit: query.limit.unwrap_or(ROWS).clamp(1, MOST),
    };
    let page = hub.store().incidents(query).await?;
    let next = page.next.map(Cursor::to_text);
    Ok(Json(Incidents { incidents: page.rows.into_iter().map(Incident::from).collect(), next }))
}

/// One incident
///
/// One that became part of another is found there: its number is then another one.
#[utoipa::path(
    get, path = "/api/v1/incidents/{number}", tag = "incidents", params(("number" = i64, Path)),
    security(("token" = ["read"])),
    responses(
        (status = 200, body = Incident), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem),
    ),
)]
pub(crate) async fn one(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Named(number): Named<i64>,
) -> Result<Json<Incident>, Problem> {
    caller.may(Scope::Read)?;
    let row = hub.store().incident(number).await?;
    row.map(|row| Json(row.into())).ok_or_else(|| Problem::not_found("there is no such incident"))
}

/// What somebody decides.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Decision {
    /// `open`, `acknowledged`, `closed`; nothing for a note alone.
    state: Option<String>,
    /// Why; needed to close one.
    #[serde(default)]
    text: String,
}

/// Decides on an incident, or says something of it
#[utoipa::path(
    post, path = "/api/v1/incidents/{number}/decisions", tag = "incidents", params(("number" = i64, Path)),
    request_body = Decision, security(("token" = ["act"])),
    responses(
        (status = 200, body = Incident), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 415, body = Problem),
        (status = 422, body = Problem), (status = 503, body = Problem),
    ),
)]
pub(crate) async fn decide(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Named(number): Named<i64>,
    Said(decision): Said<Decision>,
) -> Result<Json<Incident>, Problem> {
    caller.may(Scope::Act)?;
    let state = word("state", decision.state.as_deref(), Standing::from_word, STATES)?;
    let text = decision.text.trim();
    if text.chars().count() > LONGEST {
        return Err(Problem::bad(format!("`text` is longer than {LONGEST} characters")));
    }
    match state {
        Some(Standing::Closed) if text.is_empty() => {
            return Err(Problem::bad("`text` is empty: an incident is closed for a reason"));
        }
        None if text.is_empty() => return Err(Problem::bad("neither `state` nor `text` says anything")),
        _ => {}
    }
    let decided = Decided { state, by: caller.name().to_owned(), text: text.to_owned(), at: hub.now() };
    Ok(Json(hub.store().decide(number, decided).await?.into()))
}
