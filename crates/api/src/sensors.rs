//! `/api/v1/sensors`: the hub's own sensors, for people.

use std::sync::Arc;

use aviary_event::Timestamp;
use aviary_hub::sensors::{Invitation, SensorRow, ServiceReport};
use aviary_hub::{Hub, Scope};
use axum::extract::State;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Problem;
use crate::access::Caller;
use crate::wire::{Named, Said, moment, time};

/// Microseconds for which an enrolment token works, if nothing else is asked for: a day.
const DAY: i64 = 86_400_000_000;
/// Longest text of a group, site or tag, characters.
const LONGEST: usize = 100;
/// Most tags of a sensor.
const TAGS: usize = 50;

/// A sensor.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Sensor {
    /// Its name.
    name: String,
    /// Its group, which has a config.
    group: String,
    /// Words for it.
    tags: Vec<String>,
    /// Where it stands.
    site: String,
    /// What it has proven: `alive`, `blind`, `late`, `silent`, or `never` anything.
    #[schema(example = "alive")]
    state: &'static str,
    /// Why it is not alive.
    why: String,
    /// When it was heard of last.
    last_seen: Option<String>,
    /// Its program's version.
    version: Option<String>,
    /// Its name in events.
    node_id: Option<String>,
    /// Its machine's addresses.
    addresses: Vec<String>,
    /// Its services.
    services: Vec<Service>,
    /// SHA-256 of the config file that it runs on.
    config_hash: Option<String>,
    /// Which of the hub's configs that is, `default/3`; nothing for a file of its own.
    config: Option<String>,
    /// Which of the hub's configs it should run on.
    config_wanted: Option<String>,
    /// Why it did not take that one.
    config_refused: Option<String>,
    /// When it enrolled.
    enrolled: String,
    /// Until when its certificate is good.
    certificate_until: Option<String>,
    /// Whether it is let in no more.
    revoked: bool,
}

/// A service of a sensor.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Service {
    /// Its name.
    service: String,
    /// Where it listens; `*` for everywhere.
    address: String,
    /// Its port.
    port: u16,
    /// `tcp` or `udp`.
    protocol: String,
    /// `listening`, `failed`.
    state: String,
}

impl From<ServiceReport> for Service {
    fn from(report: ServiceReport) -> Self {
        let ServiceReport { service, address, port, protocol, state } = report;
        Self { service, address, port, protocol, state }
    }
}

/// A sensor with what it went through.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Whole {
    /// The sensor.
    #[serde(flatten)]
    sensor: Sensor,
    /// Its changes of state, the newest first.
    history: Vec<Change>,
    /// Its clock less the hub's.
    clock_skew_seconds: Option<f64>,
    /// Events that wait at it for the hub.
    backlog: Option<u64>,
}

/// A change of state.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Change {
    /// When.
    time: String,
    /// What it was before.
    before: &'static str,
    /// What it was then.
    state: &'static str,
    /// Why.
    why: String,
}

/// All sensors.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Sensors {
    /// By name.
    sensors: Vec<Sensor>,
    /// Nothing: the list is whole.
    next: Option<String>,
}

pub(crate) fn at(micros: i64) -> String {
    time(Timestamp::from_micros(micros))
}

impl From<SensorRow> for Sensor {
    fn from(row: SensorRow) -> Self {
        let report = row.report;
        let text = |take: fn(&aviary_hub::sensors::Report) -> &String| {
            report.as_ref().map(take).filter(|text| !text.is_empty()).cloned()
        };
        let refused = report.as_ref().and_then(|report| report.refused.as_ref());
        let refused = refused.filter(|refused| row.wanted.as_ref() == Some(&refused.config));
        Self {
            config_refused: refused.map(|refused| refused.why.clone()),
            state: row.state.word(),
            why: row.why,
            last_seen: row.heard.map(at),
            version: text(|report| &report.version),
            node_id: text(|report| &report.node_id),
            config_hash: text(|report| &report.config_hash),
            config: text(|report| &report.config),
            addresses: report.as_ref().map(|report| report.addresses.clone()).unwrap_or_default(),
            services: report.into_iter().flat_map(|report| report.services).map(Service::from).collect(),
            config_wanted: row.wanted,
            enrolled: at(row.pass.enrolled),
            certificate_until: row.pass.certificates.last().map(|(_, until)| at(*until)),
            name: row.name,
            group: row.pass.group,
            tags: row.pass.tags,
            site: row.pass.site,
            revoked: row.pass.revoked,
        }
    }
}

impl From<SensorRow> for Whole {
    fn from(row: SensorRow) -> Self {
        let history = row.history.iter().rev().map(|change| Change {
            time: at(change.at),
            before: change.before.word(),
            state: change.state.word(),
            why: change.why.clone(),
        });
        Self {
            history: history.collect(),
            // Milliseconds are enough, and exact in a float.
            clock_skew_seconds: row
                .skew
                .and_then(|skew| i32::try_from(skew / 1000).ok())
                .map(|ms| f64::from(ms) / 1000.0),
            backlog: row.report.as_ref().map(|report| report.backlog),
            sensor: row.into(),
        }
    }
}

fn nobody(name: &str) -> Problem {
    Problem::not_found(format!("there is no sensor `{name}`"))
}

/// Texts that people may give a sensor.
fn plain(what: &str, texts: &[String]) -> Result<(), Problem> {
    let is_plain = |text: &String| text.chars().count() <= LONGEST && !text.chars().any(char::is_control);
    if texts.len() <= TAGS && texts.iter().all(is_plain) {
        return Ok(());
    }
    Err(Problem::bad(format!("`{what}` is too long; accepted: up to {LONGEST} printable characters, and {TAGS} tags")))
}

/// A group is a part of addresses and of the names of configs.
pub(crate) fn group(name: &str) -> Result<(), Problem> {
    let is_named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if (1..=63).contains(&name.len()) && name.chars().all(is_named) {
        return Ok(());
    }
    Err(Problem::bad("`group` is no name; accepted: 1 to 63 letters, digits, `-`, `_` and `.`"))
}

/// Lists the sensors
#[utoipa::path(
    get, path = "/api/v1/sensors", tag = "sensors", security(("token" = ["read"])),
    responses((status = 200, body = Sensors), (status = 401, body = Problem), (status = 403, body = Problem)),
)]
pub(crate) async fn list(State(hub): State<Arc<Hub>>, caller: Caller) -> Result<Json<Sensors>, Problem> {
    caller.may(Scope::Read)?;
    Ok(Json(Sensors { sensors: hub.sensors().list().into_iter().map(Sensor::from).collect(), next: None }))
}

/// One sensor
#[utoipa::path(
    get, path = "/api/v1/sensors/{name}", tag = "sensors", params(("name" = String, Path)),
    security(("token" = ["read"])),
    responses(
        (status = 200, body = Whole), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem),
    ),
)]
pub(crate) async fn one(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Named(name): Named<String>,
) -> Result<Json<Whole>, Problem> {
    caller.may(Scope::Read)?;
    hub.sensors().one(&name).map(|row| Json(row.into())).ok_or_else(|| nobody(&name))
}

/// Where a sensor belongs; what is not given stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Place {
    /// The group.
    group: Option<String>,
    /// Words for it.
    tags: Option<Vec<String>>,
    /// The site.
    site: Option<String>,
}

/// Moves a sensor to another group or site, or changes its tags
#[utoipa::path(
    patch, path = "/api/v1/sensors/{name}", tag = "sensors", params(("name" = String, Path)),
    security(("token" = ["administer"])), request_body = Place,
    responses(
        (status = 200, body = Whole), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 415, body = Problem),
        (status = 422, body = Problem), (status = 503, body = Problem),
    ),
)]
pub(crate) async fn change(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Named(name): Named<String>,
    Said(place): Said<Place>,
) -> Result<Json<Whole>, Problem> {
    caller.may(Scope::Administer)?;
    place.group.as_deref().map(group).transpose()?;
    plain("tags", place.tags.as_deref().unwrap_or_default())?;
    plain("site", place.site.as_slice())?;
    let known = hub.sensors().place(&name, caller.name(), |pass| {
        if let Some(group) = place.group {
            pass.group = group;
        }
        if let Some(tags) = place.tags {
            pass.tags = tags;
        }
        if let Some(site) = place.site {
            pass.site = site;
        }
    });
    known.await?;
    hub.sensors().one(&name).map(|row| Json(row.into())).ok_or_else(|| nobody(&name))
}

/// What a sensor that enrols with a token becomes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenTerms {
    /// Its group; `default` if missing.
    group: Option<String>,
    /// Its site.
    #[serde(default)]
    site: String,
    /// Its tags.
    #[serde(default)]
    tags: Vec<String>,
    /// The `node_id`s that its events may have; any if empty.
    #[serde(default)]
    nodes: Vec<String>,
    /// Until when the token works; a day if missing.
    #[schema(example = "2026-11-26T00:00:00Z")]
    expires: Option<String>,
}

/// A token with which one sensor may enrol.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Ticket {
    /// The token; it is shown this once.
    token: String,
    /// What to type at the sensor.
    command: String,
    /// Until when it works.
    expires: String,
}

/// Makes a token with which one sensor may enrol, once
#[utoipa::path(
    post, path = "/api/v1/sensors/tokens", tag = "sensors", security(("token" = ["administer"])),
    request_body = TokenTerms,
    responses(
        (status = 201, body = Ticket), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 415, body = Problem), (status = 422, body = Problem),
        (status = 503, body = Problem),
    ),
)]
pub(crate) async fn invite(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    address: Uri,
    headers: HeaderMap,
    Said(invited): Said<TokenTerms>,
) -> Result<(StatusCode, Json<Ticket>), Problem> {
    caller.may(Scope::Administer)?;
    let TokenTerms { group: into, site, tags, nodes, expires } = invited;
    into.as_deref().map(group).transpose()?;
    plain("tags", &tags)?;
    plain("nodes", &nodes)?;
    plain("site", std::slice::from_ref(&site))?;
    let expires = match moment("expires", expires.as_deref())? {
        Some(expires) => expires.as_micros(),
        None => hub.now().as_micros().saturating_add(DAY),
    };
    if expires <= hub.now().as_micros() {
        return Err(Problem::bad("`expires` is past"));
    }
    let invitation = Invitation { group: into.unwrap_or_default(), site, tags, nodes, expires };
    let token = hub.sensors().invite(&invitation, caller.name()).await.map_err(crate::sensor::refusal)?;
    // As whoever asks reached the hub; a sensor may need another address.
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| address.authority().map(Authority::as_str)).unwrap_or("HUB:8443");
    let command = format!("aviary sensor enrol https://{host} {token}");
    Ok((StatusCode::CREATED, Json(Ticket { token, command, expires: at(expires) })))
}

/// Lets a sensor in no more
#[utoipa::path(
    post, path = "/api/v1/sensors/{name}/revoke", tag = "sensors", params(("name" = String, Path)),
    security(("token" = ["administer"])),
    responses(
        (status = 200, body = Whole), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 503, body = Problem),
    ),
)]
pub(crate) async fn revoke(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Named(name): Named<String>,
) -> Result<Json<Whole>, Problem> {
    caller.may(Scope::Administer)?;
    hub.sensors().revoke(&name, caller.name()).await?;
    hub.sensors().one(&name).map(|row| Json(row.into())).ok_or_else(|| nobody(&name))
}

/// That something began.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Started {
    /// Whether it did.
    started: bool,
}

/// Has a sensor prove now that it detects
#[utoipa::path(
    post, path = "/api/v1/sensors/{name}/drill", tag = "sensors", params(("name" = String, Path)),
    security(("token" = ["act"])),
    responses(
        (status = 200, body = Started), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "The sensor is not there to be asked"),
    ),
)]
pub(crate) async fn drill(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Named(name): Named<String>,
) -> Result<Json<Started>, Problem> {
    caller.may(Scope::Act)?;
    match hub.sensors().drill(&name) {
        Some(true) => Ok(Json(Started { started: true })),
        Some(false) => Err(Problem::new(StatusCode::CONFLICT, format!("`{name}` is silent or revoked"))),
        None => Err(nobody(&name)),
    }
}

/// Has a sensor renew its certificate now
#[utoipa::path(
    post, path = "/api/v1/sensors/{name}/renew", tag = "sensors", params(("name" = String, Path)),
    security(("token" = ["administer"])),
    responses(
        (status = 200, body = Started), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem),
    ),
)]
pub(crate) async fn renew(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Named(name): Named<String>,
) -> Result<Json<Started>, Problem> {
    caller.may(Scope::Administer)?;
    hub.sensors().ask_to_renew(&name).map(|()| Json(Started { started: true })).ok_or_else(|| nobody(&name))
}
