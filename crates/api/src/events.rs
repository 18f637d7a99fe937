//! `/api/v1/events`: what happened.

use std::sync::Arc;

use aviary_event::Class;
use aviary_hub::{Hub, Scope};
use aviary_insight::Stage;
use aviary_store::{EventQuery, EventRow, Networks};
use axum::extract::State;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::Problem;
use crate::access::Caller;
use crate::wire::{Asked, Named, cursor, moment, time, word};

/// Rows of a page, if none are asked for, and at most.
const ROWS: usize = 100;
const MOST: usize = 1000;

/// An event.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Event {
    /// Its id.
    id: Uuid,
    /// When it happened.
    time: String,
    /// When it arrived.
    received: String,
    /// The sensor whose credential it came with.
    sensor: String,
    /// How far it went.
    #[schema(example = "login_attempt")]
    stage: Option<&'static str>,
    /// The rule that hides it.
    hidden: Option<String>,
    /// The line as it came.
    #[schema(value_type = Object)]
    event: Value,
}

impl From<EventRow> for Event {
    fn from(row: EventRow) -> Self {
        Self {
            id: row.id,
            time: time(row.at),
            received: time(row.received),
            sensor: row.sensor,
            stage: row.stage.map(Stage::word),
            hidden: row.hidden,
            event: serde_json::from_str(&row.line).unwrap_or(Value::String(row.line)),
        }
    }
}

/// A page of events.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Events {
    /// The newest first.
    events: Vec<Event>,
    /// What `after` takes for the next page; nothing on the last.
    next: Option<String>,
}

/// What is asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Query {
    /// From this moment on.
    #[param(example = "2026-11-25T00:00:00Z")]
    since: Option<String>,
    /// Before this moment.
    until: Option<String>,
    /// An address or network of sources.
    #[param(example = "10.0.0.0/8")]
    source: Option<String>,
    /// An address or network of decoys.
    destination: Option<String>,
    /// A sensor.
    sensor: Option<String>,
    /// A service.
    service: Option<String>,
    /// `login`, `connection`, `command`, `violation`, `scan`, `limit`, `lifecycle`.
    kind: Option<String>,
    /// A log type.
    logtype: Option<i64>,
    /// A destination port.
    port: Option<u16>,
    /// At least this step: `touch`, `scan`, `probe`, `login_attempt`, `decoy_used`, `exploit_attempt`.
    stage: Option<String>,
    /// Words that stand somewhere in `logdata`.
    text: Option<String>,
    /// A member of `logdata` and its text.
    #[param(example = "USERNAME=root")]
    field: Option<String>,
    /// Only hidden events, or only others.
    hidden: Option<bool>,
    /// The rule that hides them.
    rule: Option<String>,
    /// Where the source's address means one machine.
    realm: Option<String>,
    /// What `next` of the page before said.
    after: Option<String>,
    /// Rows of a page, up to 1000.
    limit: Option<usize>,
}

impl Query {
    pub(crate) fn read(self) -> Result<EventQuery, Problem> {
        let network = |name: &str, text: Option<String>| match text {
            None => Ok(None),
            Some(text) => match Networks::parse(&text) {
                Some(network) => Ok(Some(network)),
                None => Err(Problem::bad(format!("`{name}` is no address or network such as 10.0.0.0/8"))),
            },
        };
        let stage = |text: &str| Stage::ALL.into_iter().find(|stage| stage.word() == text);
        let fields = match self.field.as_deref().map(|field| field.split_once('=')) {
            None => Vec::new(),
            Some(Some((key, value))) if !key.is_empty() => vec![(key.to_owned(), value.to_owned())],
            Some(_) => return Err(Problem::bad("`field` is not a name, `=` and a text")),
        };
        let kinds = "login, connection, command, violation, scan, limit, lifecycle";
        let stages = "touch, scan, probe, login_attempt, decoy_used, exploit_attempt";
        Ok(EventQuery {
            since: moment("since", self.since.as_deref())?,
            until: moment("until", self.until.as_deref())?,
            sources: network("source", self.source)?,
            destinations: network("destination", self.destination)?,
            realm: self.realm,
            sensor: self.sensor,
            service: self.service,
            kind: word("kind", self.kind.as_deref(), Class::from_word, kinds)?.map(|kind| kind.word().to_owned()),
            logtype: self.logtype,
            stage: word("stage", self.stage.as_deref(), stage, stages)?,
            port: self.port,
            fields,
            text: self.text.filter(|text| !text.trim().is_empty()),
            hidden: self.hidden,
            rule: self.rule,
            after: cursor(self.after.as_deref())?,
            limit: self.limit.unwrap_or(ROWS).clamp(1, MOST),
        })
    }
}

/// The query of an address, for all pages together: also how many events are asked for.
pub(crate) fn read_whole(query: &str) -> Result<(EventQuery, usize), Problem> {
    let uri = axum::http::Uri::builder().path_and_query(format!("/?{query}")).build();
    let uri = uri.map_err(|_| Problem::bad("the query cannot be read"))?;
    let axum::extract::Query(query) = axum::extract::Query::<Query>::try_from_uri(&uri)
        .map_err(|error: axum::extract::rejection::QueryRejection| Problem::bad(error.body_text()))?;
    let most = query.limit.unwrap_or(usize::MAX);
    Ok((query.read()?, most))
}

/// Searches events, the newest first
#[utoipa::path(
    get, path = "/api/v1/events", tag = "events", params(Query), security(("token" = ["read"])),
    responses(
        (status = 200, body = Events), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 504, body = Problem, description = "The search took too long"),
    ),
)]
pub(crate) async fn list(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Asked(query): Asked<Query>,
) -> Result<Json<Events>, Problem> {
    caller.may(Scope::Read)?;
    let page = hub.store().events(query.read()?).await?;
    let next = page.next.map(aviary_store::Cursor::to_text);
    Ok(Json(Events { events: page.rows.into_iter().map(Event::from).collect(), next }))
}

/// One event
#[utoipa::path(
    get, path = "/api/v1/events/{id}", tag = "events", params(("id" = Uuid, Path)), security(("token" = ["read"])),
    responses(
        (status = 200, body = Event), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem),
    ),
)]
pub(crate) async fn one(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Named(id): Named<Uuid>,
) -> Result<Json<Event>, Problem> {
    caller.may(Scope::Read)?;
    let row = hub.store().event(id).await?;
    row.map(|row| Json(row.into())).ok_or_else(|| Problem::not_found("there is no such event"))
}
