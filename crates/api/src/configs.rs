//! `/api/v1/configs`: the configs of groups of sensors, in versions.

use std::sync::Arc;

use aviary_hub::sensors::{ConfigRow, Fate, GroupConfig, PushError, Version as Stored, diff};
use aviary_hub::{Hub, Scope};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::Problem;
use crate::access::Caller;
use crate::sensors::{at, group as check_group};
use crate::wire::{Asked, Named, Said};

/// Longest config, bytes.
const LONGEST: usize = 256 << 10;

/// A version of a group's config.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Version {
    /// Counts from 1.
    version: u64,
    /// Who wrote it.
    by: String,
    /// When.
    at: String,
    /// `draft`, `trial`, `applied`, `rolled back`, `failed`.
    #[schema(example = "applied")]
    state: &'static str,
    /// Why.
    why: String,
}

impl From<&Stored> for Version {
    fn from(stored: &Stored) -> Self {
        let state = match stored.state {
            Fate::Draft => "draft",
            Fate::Trial => "trial",
            Fate::Applied => "applied",
            Fate::RolledBack => "rolled back",
            Fate::Failed => "failed",
        };
        Self { version: stored.version, by: stored.by.clone(), at: at(stored.at), state, why: stored.why.clone() }
    }
}

/// The config of a group.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Config {
    /// The group.
    group: String,
    /// Versions, the newest first.
    versions: Vec<Version>,
    /// The version in force; none for sensors' own files.
    applied: Option<u64>,
    /// The text in force.
    current: String,
    /// The newest text.
    newest: String,
}

impl Config {
    fn new(group: &str, config: &GroupConfig) -> Self {
        let text = |version: Option<u64>| {
            version.and_then(|version| config.find(version)).map(|found| found.text.clone()).unwrap_or_default()
        };
        Self {
            group: group.to_owned(),
            versions: config.versions.iter().rev().map(Version::from).collect(),
            applied: config.applied,
            current: text(config.applied),
            newest: text(Some(config.newest())),
        }
    }
}

/// A group's config in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Listed {
    /// Its name: the group's.
    name: String,
    /// The group.
    group: String,
    /// The newest version.
    version: u64,
    /// The version in force; none for sensors' own files.
    applied: Option<u64>,
    /// The version on its way.
    trial: Option<u64>,
    /// The sensor that has it first.
    first: Option<String>,
    /// Sensors of the group.
    sensors: usize,
    /// Those that have the version in force.
    applied_sensors: usize,
}

impl From<ConfigRow> for Listed {
    fn from(row: ConfigRow) -> Self {
        let push = row.config.push.as_ref();
        Self {
            name: row.group.clone(),
            version: row.config.newest(),
            applied: row.config.applied,
            trial: push.map(|push| push.version),
            first: push.map(|push| push.first.clone()),
            sensors: row.sensors.1,
            applied_sensors: row.sensors.0,
            group: row.group,
        }
    }
}

/// All configs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Configs {
    /// By group.
    configs: Vec<Listed>,
    /// Nothing: the list is whole.
    next: Option<String>,
}

fn none(group: &str) -> Problem {
    Problem::not_found(format!("the group `{group}` has no config; its sensors run on files of their own"))
}

/// Lists the configs of groups
#[utoipa::path(
    get, path = "/api/v1/configs", tag = "configs", security(("token" = ["read"])),
    responses((status = 200, body = Configs), (status = 401, body = Problem), (status = 403, body = Problem)),
)]
pub(crate) async fn list(State(hub): State<Arc<Hub>>, caller: Caller) -> Result<Json<Configs>, Problem> {
    caller.may(Scope::Read)?;
    Ok(Json(Configs { configs: hub.sensors().configs().into_iter().map(Listed::from).collect(), next: None }))
}

/// The config of a group
#[utoipa::path(
    get, path = "/api/v1/configs/{group}", tag = "configs", params(("group" = String, Path)),
    security(("token" = ["administer"])),
    responses(
        (status = 200, body = Config), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem),
    ),
)]
pub(crate) async fn one(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Named(group): Named<String>,
) -> Result<Json<Config>, Problem> {
    // A config holds passwords: those of outputs, and planted ones.
    caller.may(Scope::Administer)?;
    let config = hub.sensors().config(&group).ok_or_else(|| none(&group))?;
    Ok(Json(Config::new(&group, &config)))
}

/// The config of a sensor: its group's
#[utoipa::path(
    get, path = "/api/v1/sensors/{name}/config", tag = "configs", params(("name" = String, Path)),
    security(("token" = ["administer"])),
    responses(
        (status = 200, body = Config), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem),
    ),
)]
pub(crate) async fn of_sensor(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Named(name): Named<String>,
) -> Result<Json<Config>, Problem> {
    caller.may(Scope::Administer)?;
    let sensor = hub.sensors().one(&name);
    let group = sensor.ok_or_else(|| Problem::not_found(format!("there is no sensor `{name}`")))?.pass.group;
    let config = hub.sensors().config(&group).unwrap_or_default();
    Ok(Json(Config::new(&group, &config)))
}

/// A text for a config.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Text {
    /// The file, TOML or JSON. `device.node_id` is each sensor's name, whatever it says.
    text: String,
}

/// Writes a new version of a group's config, which goes nowhere until it is pushed
#[utoipa::path(
    put, path = "/api/v1/configs/{group}", tag = "configs", params(("group" = String, Path)),
    security(("token" = ["administer"])), request_body = Text,
    responses(
        (status = 200, body = Version), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 413, body = Problem), (status = 415, body = Problem),
        (status = 422, body = Problem), (status = 503, body = Problem),
    ),
)]
pub(crate) async fn write(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Named(group): Named<String>,
    Said(said): Said<Text>,
) -> Result<Json<Version>, Problem> {
    caller.may(Scope::Administer)?;
    check_group(&group)?;
    if said.text.len() > LONGEST {
        let detail = format!("`text` has {} bytes; accepted: up to {LONGEST}", said.text.len());
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    if said.text.trim().is_empty() {
        return Err(Problem::bad("`text` is empty"));
    }
    let version = hub.sensors().write_config(&group, said.text, caller.name()).await?;
    Ok(Json((&version).into()))
}

/// Two versions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Pair {
    /// The older; the one in force if missing.
    from: Option<u64>,
    /// The newer; the newest if missing.
    to: Option<u64>,
}

/// What changed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Difference {
    /// A unified diff; empty where nothing changed.
    diff: String,
}

/// What changed from one version of a config to another
#[utoipa::path(
    get, path = "/api/v1/configs/{group}/diff", tag = "configs", params(("group" = String, Path), Pair),
    security(("token" = ["administer"])),
    responses(
        (status = 200, body = Difference), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem),
    ),
)]
pub(crate) async fn difference(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Named(group): Named<String>,
    Asked(pair): Asked<Pair>,
) -> Result<Json<Difference>, Problem> {
    caller.may(Scope::Administer)?;
    let config = hub.sensors().config(&group).ok_or_else(|| none(&group))?;
    let find = |version: u64| match config.find(version) {
        Some(found) => Ok((format!("{group}/{version}"), found.text.clone())),
        None => Err(Problem::not_found(format!("the config of `{group}` has no version {version}"))),
    };
    let from = match pair.from.or(config.applied) {
        Some(version) => find(version)?,
        None => ("nothing".to_owned(), String::new()),
    };
    let to = find(pair.to.unwrap_or_else(|| config.newest()))?;
    Ok(Json(Difference { diff: diff((&from.0, &from.1), (&to.0, &to.1)) }))
}

/// What is sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Send {
    /// The version; an older one goes back to it.
    version: u64,
    /// The sensor that has it first; the first by name that proves that it detects if missing.
    first: Option<String>,
}

/// Where it went.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Sent {
    /// The sensor that has it first.
    first: String,
}

/// Sends a version to one sensor first, and to the group once that one has proven that it detects
///
/// A sensor that does not take the version, or does not prove that it detects with it, gets the version before again.
#[utoipa::path(
    post, path = "/api/v1/configs/{group}/push", tag = "configs", params(("group" = String, Path)),
    security(("token" = ["administer"])), request_body = Send,
    responses(
        (status = 200, body = Sent), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "Another is on its way, or no sensor could prove it"),
        (status = 415, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem),
    ),
)]
pub(crate) async fn push(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Named(group): Named<String>,
    Said(said): Said<Send>,
) -> Result<Json<Sent>, Problem> {
    caller.may(Scope::Administer)?;
    let pushed = hub.sensors().push(&group, said.version, said.first.as_deref(), caller.name()).await;
    let first = pushed.map_err(|error| match error {
        PushError::Missing { .. } => Problem::not_found(error.to_string()),
        PushError::Busy { .. } | PushError::Nobody { .. } => Problem::new(StatusCode::CONFLICT, error.to_string()),
        PushError::Store(error) => error.into(),
    })?;
    Ok(Json(Sent { first }))
}
