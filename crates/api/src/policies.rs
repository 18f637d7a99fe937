//! `/api/v1/policies`: of what people are told, and when.

use std::sync::Arc;

use aviary_hub::{CHANNEL, Hub, POLICY, Scope};
use aviary_insight::{Policy as Judged, PolicyText};
use aviary_store::Document;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::Problem;
use crate::access::Caller;
use crate::changes::{Based, change, create, found, remove};
use crate::channels::same;
use crate::wire::{Asked, Named, Said};

/// A policy.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Policy {
    /// Its name.
    name: String,
    /// Counts its changes; not read.
    #[serde(default)]
    version: u64,
    /// At least as grave: `low`, `medium`, `high`, `critical`.
    #[serde(default = "lowest")]
    #[schema(example = "high")]
    severity: String,
    /// Steps (`login_attempt`), log types (`5001`), and `trouble` of the hub itself; all if empty.
    #[serde(default)]
    kinds: Vec<String>,
    /// Groups, tags, sites and names of sensors; all if empty.
    #[serde(default)]
    groups: Vec<String>,
    /// When it holds; always if missing.
    #[serde(default)]
    schedule: Option<Hours>,
    /// Channels by name.
    channels: Vec<String>,
    /// How many messages a recipient gets; any number if missing.
    #[serde(default)]
    budget: Option<Budget>,
    /// For how long messages are gathered into one; not at all if missing.
    #[serde(default)]
    #[schema(example = "15m")]
    digest: Option<String>,
    /// Whether it holds at all.
    #[serde(default = "yes")]
    enabled: bool,
}

/// A time of day.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hours {
    /// `mon` to `sun`, the day on which the time begins; every day if empty.
    #[serde(default)]
    days: Vec<String>,
    /// `22:00`
    #[schema(example = "22:00")]
    from: String,
    /// `06:00`, the next day if it is before `from`; not included.
    #[schema(example = "06:00")]
    to: String,
    /// A time zone.
    #[schema(example = "Europe/Berlin")]
    zone: String,
}

impl Hours {
    pub(crate) const fn new(days: Vec<String>, from: String, to: String, zone: String) -> Self {
        Self { days, from, to, zone }
    }

    /// As rules and policies have them.
    pub(crate) fn text(self) -> aviary_insight::Hours {
        aviary_insight::Hours { from: self.from, to: self.to, days: self.days, zone: self.zone }
    }
}

/// So many messages in a time.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Budget {
    /// Messages.
    messages: u32,
    /// The time.
    #[schema(example = "1h")]
    per: String,
}

fn lowest() -> String {
    "low".to_owned()
}

const fn yes() -> bool {
    true
}

impl Policy {
    /// As it is stored.
    async fn body(&self, hub: &Hub) -> Result<Value, Problem> {
        let mut body = serde_json::to_value(self).unwrap_or_default();
        if let Value::Object(map) = &mut body {
            map.remove("name");
            map.remove("version");
        }
        let text: PolicyText = serde_json::from_value(body.clone()).map_err(|error| Problem::bad(error.to_string()))?;
        Judged::new(&self.name, &text).map_err(|error| Problem::bad(error.to_string()))?;
        for channel in &self.channels {
            if hub.store().document(CHANNEL, channel).await?.is_none() {
                return Err(Problem::bad(format!("`channels` names `{channel}`, which is not there")));
            }
        }
        Ok(body)
    }

    fn of(document: Document) -> Result<Self, Problem> {
        let Value::Object(mut body) = document.body else { return Err(broken("no object")) };
        let more = [("name", Value::from(document.key)), ("version", document.version.into())];
        body.extend(more.map(|(key, value)| (key.to_owned(), value)));
        serde_json::from_value(Value::Object(Map::from_iter(body))).map_err(|error| broken(&error.to_string()))
    }
}

fn broken(why: &str) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("a stored policy cannot be read: {why}"))
}

/// All policies.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Policies {
    /// By name.
    policies: Vec<Policy>,
    /// Nothing: the list is whole.
    next: Option<String>,
}

/// Lists policies
#[utoipa::path(
    get, path = "/api/v1/policies", tag = "policies", security(("token" = ["read"])),
    responses((status = 200, body = Policies), (status = 401, body = Problem), (status = 403, body = Problem)),
)]
pub(crate) async fn list(State(hub): State<Arc<Hub>>, caller: Caller) -> Result<Json<Policies>, Problem> {
    caller.may(Scope::Read)?;
    let documents = hub.store().documents(POLICY).await?;
    let policies = documents.into_iter().map(Policy::of).collect::<Result<_, _>>()?;
    Ok(Json(Policies { policies, next: None }))
}

/// Makes a policy
#[utoipa::path(
    post, path = "/api/v1/policies", tag = "policies", request_body = Policy, security(("token" = ["administer"])),
    responses(
        (status = 201, body = Policy), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 409, body = Problem), (status = 415, body = Problem),
        (status = 422, body = Problem), (status = 503, body = Problem),
    ),
)]
pub(crate) async fn post(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Said(policy): Said<Policy>,
) -> Result<(StatusCode, Json<Policy>), Problem> {
    caller.may(Scope::Administer)?;
    let body = policy.body(&hub).await?;
    let document = create(&hub, &caller, POLICY, &policy.name, body).await?;
    hub.wake();
    Ok((StatusCode::CREATED, Json(Policy::of(document)?)))
}

/// One policy
#[utoipa::path(
    get, path = "/api/v1/policies/{name}", tag = "policies", params(("name" = String, Path)),
    security(("token" = ["read"])),
    responses(
        (status = 200, body = Policy), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem),
    ),
)]
pub(crate) async fn one(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Named(key): Named<String>,
) -> Result<Json<Policy>, Problem> {
    caller.may(Scope::Read)?;
    Ok(Json(Policy::of(found(&hub, POLICY, &key).await?)?))
}

/// Changes a policy
#[utoipa::path(
    put, path = "/api/v1/policies/{name}", tag = "policies", params(("name" = String, Path), Based), request_body = Policy,
    security(("token" = ["administer"])),
    responses(
        (status = 200, body = Policy), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 415, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem),
    ),
)]
pub(crate) async fn put(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Named(key): Named<String>,
    Asked(based): Asked<Based>,
    Said(policy): Said<Policy>,
) -> Result<Json<Policy>, Problem> {
    caller.may(Scope::Administer)?;
    same(&key, &policy.name)?;
    let before = found(&hub, POLICY, &key).await?;
    let body = policy.body(&hub).await?;
    let document = change(&hub, &caller, before, &based, body).await?;
    hub.wake();
    Ok(Json(Policy::of(document)?))
}

/// Removes a policy
///
/// What it had decided to tell is still told.
#[utoipa::path(
    delete, path = "/api/v1/policies/{name}", tag = "policies", params(("name" = String, Path), Based),
    security(("token" = ["administer"])),
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
    caller.may(Scope::Administer)?;
    let document = found(&hub, POLICY, &key).await?;
    remove(&hub, &caller, document, &based).await
}
