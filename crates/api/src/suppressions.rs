//! `/api/v1/suppressions`: what is hidden from people, by whom, why, and until when.

use std::sync::Arc;

use aviary_hub::{Hub, SUPPRESSION, Scope, Suppression as Rule, preview};
use aviary_insight::RuleText;
use aviary_store::{Document, Hits};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::Problem;
use crate::access::Caller;
use crate::changes::{Based, change, create, found, remove};
use crate::channels::same;
use crate::events::Event;
use crate::policies::Hours;
use crate::wire::{Asked, Named, Said, moment, time};

/// A suppression rule.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Suppression {
    /// Its name.
    name: String,
    /// Why.
    reason: String,
    /// Who answers for it.
    owner: String,
    /// When it ends.
    #[schema(example = "2027-01-31T00:00:00Z")]
    expires: String,
    /// Whether it has ended.
    over: bool,
    /// What it hides.
    r#match: Match,
    /// How many events it hid.
    hits: u64,
    /// When it hid the last one.
    last_hit: Option<String>,
    /// Counts its changes.
    version: u64,
}

/// What a rule asks; everything must be so, and of a list one item is enough.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Match {
    /// Addresses and networks of sources.
    sources: Vec<String>,
    /// Addresses and networks of decoys.
    destinations: Vec<String>,
    /// Sensors by name.
    sensors: Vec<String>,
    /// Services by name.
    services: Vec<String>,
    /// Destination ports.
    ports: Vec<u16>,
    /// Classes (`scan`) and log types (`5001`).
    kinds: Vec<String>,
    /// When it holds; always if missing.
    hours: Option<Hours>,
}

/// A rule as people write it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct New {
    /// Its name.
    name: String,
    /// Why; needed.
    #[serde(default)]
    reason: String,
    /// Who answers for it; whoever asks if missing.
    #[serde(default)]
    owner: String,
    /// When it ends; needed, since a rule without an end hides for ever what it once hid with reason.
    #[serde(default)]
    #[schema(example = "2027-01-31T00:00:00Z")]
    expires: String,
    /// What it hides.
    r#match: Match,
}

impl Match {
    fn text(self) -> RuleText {
        RuleText {
            sources: self.sources,
            destinations: self.destinations,
            sensors: self.sensors,
            services: self.services,
            ports: self.ports,
            kinds: self.kinds,
            hours: self.hours.map(Hours::text),
            ..RuleText::default()
        }
    }
}

impl New {
    /// As it is stored.
    fn body(self, caller: &Caller) -> Result<Value, Problem> {
        let owner = if self.owner.trim().is_empty() { caller.name().to_owned() } else { self.owner };
        let text = RuleText { owner, reason: self.reason, expires: self.expires, ..self.r#match.text() };
        Rule::new(&self.name, text.clone()).map_err(|error| Problem::bad(error.to_string()))?;
        Ok(serde_json::to_value(text).unwrap_or_default())
    }
}

impl Suppression {
    fn new(hub: &Hub, document: Document, hits: &[Hits]) -> Result<Self, Problem> {
        let broken = |why: String| {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("a stored rule cannot be read: {why}"))
        };
        let text: RuleText = serde_json::from_value(document.body).map_err(|error| broken(error.to_string()))?;
        let hit = hits.iter().find(|hits| hits.rule == document.key);
        let over = Rule::new(&document.key, text.clone()).is_ok_and(|rule| rule.is_over(hub.now()));
        let hours = text.hours.map(|hours| Hours::new(hours.days, hours.from, hours.to, hours.zone));
        Ok(Self {
            name: document.key,
            reason: text.reason,
            owner: text.owner,
            expires: text.expires,
            over,
            r#match: Match {
                sources: text.sources,
                destinations: text.destinations,
                sensors: text.sensors,
                services: text.services,
                ports: text.ports,
                kinds: text.kinds,
                hours,
            },
            hits: hit.map_or(0, |hit| hit.events),
            last_hit: hit.map(|hit| time(hit.last)),
            version: document.version,
        })
    }
}

/// All rules.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Suppressions {
    /// By name.
    suppressions: Vec<Suppression>,
    /// Nothing: the list is whole.
    next: Option<String>,
}

/// Lists suppression rules, with what each hid
#[utoipa::path(
    get, path = "/api/v1/suppressions", tag = "suppressions", security(("token" = ["read"])),
    responses((status = 200, body = Suppressions), (status = 401, body = Problem), (status = 403, body = Problem)),
)]
pub(crate) async fn list(State(hub): State<Arc<Hub>>, caller: Caller) -> Result<Json<Suppressions>, Problem> {
    caller.may(Scope::Read)?;
    let hits = hub.store().hits().await?;
    let documents = hub.store().documents(SUPPRESSION).await?;
    let suppressions =
        documents.into_iter().map(|document| Suppression::new(&hub, document, &hits)).collect::<Result<_, _>>()?;
    Ok(Json(Suppressions { suppressions, next: None }))
}

/// Makes a suppression rule
///
/// It hides what comes from then on, from incidents and alerts and never from searches.
#[utoipa::path(
    post, path = "/api/v1/suppressions", tag = "suppressions", request_body = New, security(("token" = ["act"])),
    responses(
        (status = 201, body = Suppression), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 409, body = Problem), (status = 415, body = Problem),
        (status = 422, body = Problem), (status = 503, body = Problem),
    ),
)]
pub(crate) async fn post(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Said(new): Said<New>,
) -> Result<(StatusCode, Json<Suppression>), Problem> {
    caller.may(Scope::Act)?;
    let name = new.name.clone();
    let document = create(&hub, &caller, SUPPRESSION, &name, new.body(&caller)?).await?;
    hub.reload().await?;
    let hits = hub.store().hits().await?;
    Ok((StatusCode::CREATED, Json(Suppression::new(&hub, document, &hits)?)))
}

/// Changes a suppression rule
#[utoipa::path(
    put, path = "/api/v1/suppressions/{name}", tag = "suppressions", params(("name" = String, Path), Based),
    request_body = New, security(("token" = ["act"])),
    responses(
        (status = 200, body = Suppression), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 415, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem),
    ),
)]
pub(crate) async fn put(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Named(key): Named<String>,
    Asked(based): Asked<Based>,
    Said(new): Said<New>,
) -> Result<Json<Suppression>, Problem> {
    caller.may(Scope::Act)?;
    same(&key, &new.name)?;
    let before = found(&hub, SUPPRESSION, &key).await?;
    let document = change(&hub, &caller, before, &based, new.body(&caller)?).await?;
    hub.reload().await?;
    let hits = hub.store().hits().await?;
    Ok(Json(Suppression::new(&hub, document, &hits)?))
}

/// Removes a suppression rule
///
/// What it hid stays hidden; what comes is shown again.
#[utoipa::path(
    delete, path = "/api/v1/suppressions/{name}", tag = "suppressions", params(("name" = String, Path), Based),
    security(("token" = ["act"])),
    responses(
        (status = 204), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 503, body = Problem),
    ),
)]
pub(crate) async fn delete(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Named(key): Named<String>,
    Asked(based): Asked<Based>,
) -> Result<StatusCode, Problem> {
    caller.may(Scope::Act)?;
    let document = found(&hub, SUPPRESSION, &key).await?;
    let removed = remove(&hub, &caller, document, &based).await?;
    hub.reload().await?;
    Ok(removed)
}

/// A rule that is not saved yet.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Proposal {
    /// What it would hide.
    r#match: Match,
    /// From this moment on; the last seven days if missing.
    #[serde(default)]
    since: Option<String>,
}

/// What a rule would have hidden.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Preview {
    /// How many events.
    events: u64,
    /// How many events were looked at.
    looked_at: u64,
    /// Whether that was all there are; a long past is looked at from its end.
    complete: bool,
    /// Incidents that hold some of them.
    incidents: Vec<i64>,
    /// Some of them, the newest first.
    sample: Vec<Event>,
}

/// Says what a rule would have hidden of what is stored
#[utoipa::path(
    post, path = "/api/v1/suppressions/preview", tag = "suppressions", request_body = Proposal,
    security(("token" = ["read"])),
    responses(
        (status = 200, body = Preview), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 415, body = Problem), (status = 422, body = Problem),
        (status = 504, body = Problem),
    ),
)]
pub(crate) async fn look(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Said(proposal): Said<Proposal>,
) -> Result<Json<Preview>, Problem> {
    caller.may(Scope::Read)?;
    let since = moment("since", proposal.since.as_deref())?;
    let text = proposal.r#match.text();
    let found = preview(&hub, text, since).await.map_err(|error| match error {
        aviary_hub::PreviewError::Rule(error) => Problem::bad(error.to_string()),
        aviary_hub::PreviewError::Store(error) => error.into(),
    })?;
    Ok(Json(Preview {
        events: found.events,
        looked_at: found.looked_at,
        complete: found.complete,
        incidents: found.incidents,
        sample: found.sample.into_iter().map(Event::from).collect(),
    }))
}
