//! `/api/v1/sources`: who came, and one attacker's whole story.

use std::net::IpAddr;
use std::sync::Arc;

use aviary_event::Severity;
use aviary_hub::{Hub, Scope};
use aviary_store::{Cursor, IncidentQuery, Networks, SourceQuery, SourceRow, Tried, Whose};
use axum::extract::State;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::Problem;
use crate::access::Caller;
use crate::credentials::shown;
use crate::incidents::Incident;
use crate::wire::{Asked, Named, cursor, moment, time};

const ROWS: usize = 50;
const MOST: usize = 500;
/// Incidents of one source that are told.
const INCIDENTS: usize = 50;
/// Hours, credentials and fingerprints of one source that are told.
const PARTS: usize = 1000;

/// A source.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Source {
    /// Its address.
    #[schema(example = "10.0.0.1")]
    source: String,
    /// Where the address means one machine; empty for everywhere.
    realm: String,
    /// When it was seen first.
    first: String,
    /// When it was seen last.
    last: String,
    /// How many events.
    events: u64,
    /// How many incidents.
    incidents: u64,
    /// How grave the gravest is.
    #[schema(example = "high")]
    severity: Option<&'static str>,
    /// Services that it touched, the most first.
    services: Vec<String>,
    /// Sensors that it touched, the most first.
    sensors: Vec<String>,
    /// How many credentials it tried.
    credentials: u64,
}

impl From<SourceRow> for Source {
    fn from(row: SourceRow) -> Self {
        Self {
            source: row.actor.source.to_string(),
            realm: row.actor.realm,
            first: time(row.span.first),
            last: time(row.span.last),
            events: row.span.events,
            incidents: row.incidents,
            severity: row.severity.map(Severity::word),
            services: row.services,
            sensors: row.sensors,
            credentials: row.credentials,
        }
    }
}

/// A page of sources.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Sources {
    /// Those that were seen last first.
    sources: Vec<Source>,
    /// What `after` takes for the next page; nothing on the last.
    next: Option<String>,
}

/// What is asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Query {
    /// Seen from this moment on.
    since: Option<String>,
    /// An address or network.
    #[param(example = "10.0.0.0/8")]
    cidr: Option<String>,
    /// What `next` of the page before said.
    after: Option<String>,
    /// Rows of a page, up to 500.
    limit: Option<usize>,
}

/// Lists sources, those that were seen last first
#[utoipa::path(
    get, path = "/api/v1/sources", tag = "sources", params(Query), security(("token" = ["read"])),
    responses(
        (status = 200, body = Sources), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 504, body = Problem),
    ),
)]
pub(crate) async fn list(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Asked(query): Asked<Query>,
) -> Result<Json<Sources>, Problem> {
    caller.may(Scope::Read)?;
    let network = match &query.cidr {
        None => None,
        Some(text) => match Networks::parse(text) {
            Some(network) => Some(network),
            None => return Err(Problem::bad("`cidr` is no address or network such as 10.0.0.0/8")),
        },
    };
    let query = SourceQuery {
        since: moment("since", query.since.as_deref())?,
        network,
        after: cursor(query.after.as_deref())?,
        limit: query.limit.unwrap_or(ROWS).clamp(1, MOST),
    };
    let page = hub.store().sources(query).await?;
    let next = page.next.map(Cursor::to_text);
    Ok(Json(Sources { sources: page.rows.into_iter().map(Source::from).collect(), next }))
}

/// One source's whole story.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Story {
    /// Its address.
    source: String,
    /// Where the address means one machine; empty for everywhere.
    realm: String,
    /// When it was seen first.
    first: String,
    /// When it was seen last.
    last: String,
    /// How many events.
    events: u64,
    /// How grave its gravest incident is.
    severity: Option<&'static str>,
    /// Services that it touched, the most first.
    services: Vec<String>,
    /// Sensors that it touched, the most first.
    sensors: Vec<String>,
    /// Its incidents, those with the latest event first, up to 50.
    incidents: Vec<Incident>,
    /// Events of each hour, in order of time; hours without events are missing. The latest 1000.
    timeline: Vec<Hour>,
    /// Credentials that it tried, the most tried first, up to 1000.
    credentials: Vec<Attempt>,
    /// Fingerprints of its software.
    fingerprints: Vec<Fingerprint>,
}

/// An hour.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Hour {
    /// Its first moment.
    hour: String,
    /// How many events.
    events: u64,
}

/// A credential that the source tried at one service.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Attempt {
    /// The user name.
    username: String,
    /// The password.
    password: String,
    /// Where; empty if the events do not say.
    service: String,
    /// How often.
    count: u64,
    /// When first.
    first: String,
    /// When last.
    last: String,
}

impl From<Tried> for Attempt {
    fn from(tried: Tried) -> Self {
        Self {
            username: shown(&tried.credential.username),
            password: shown(&tried.credential.password),
            service: tried.service,
            count: tried.span.events,
            first: time(tried.span.first),
            last: time(tried.span.last),
        }
    }
}

/// A fingerprint of the source's software.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Fingerprint {
    /// Its kind.
    #[schema(example = "hassh")]
    kind: String,
    /// What it is.
    value: String,
}

/// Which of several sources with one address is meant.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// Where the address means one machine; without it, the one that was seen last is told of.
    realm: Option<String>,
}

/// One source's whole story
#[utoipa::path(
    get, path = "/api/v1/sources/{address}", tag = "sources", params(("address" = String, Path), Which),
    security(("token" = ["read"])),
    responses(
        (status = 200, body = Story), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 504, body = Problem),
    ),
)]
pub(crate) async fn one(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Named(address): Named<String>,
    Asked(which): Asked<Which>,
) -> Result<Json<Story>, Problem> {
    caller.may(Scope::Read)?;
    let Ok(address) = address.parse::<IpAddr>() else {
        return Err(Problem::bad("`address` is no address such as 10.0.0.1"));
    };
    let whose = Whose { address, realm: which.realm, limit: PARTS };
    let Some(story) = hub.store().source(whose).await? else {
        return Err(Problem::not_found("this source was never seen"));
    };
    let actor = Some(story.row.actor.clone());
    let query = IncidentQuery { actor, limit: INCIDENTS, ..IncidentQuery::default() };
    let incidents = hub.store().incidents(query).await?;
    let row = Source::from(story.row);
    let fingerprint = |text: String| {
        let (kind, value) = text.split_once(':').unwrap_or(("", &text));
        Fingerprint { kind: kind.to_owned(), value: value.to_owned() }
    };
    Ok(Json(Story {
        source: row.source,
        realm: row.realm,
        first: row.first,
        last: row.last,
        events: row.events,
        severity: row.severity,
        services: row.services,
        sensors: row.sensors,
        incidents: incidents.rows.into_iter().map(Incident::from).collect(),
        timeline: story.timeline.into_iter().map(|(hour, events)| Hour { hour: time(hour), events }).collect(),
        credentials: story.credentials.into_iter().map(Attempt::from).collect(),
        fingerprints: story.fingerprints.into_iter().map(fingerprint).collect(),
    }))
}
