//! `/api/v1/session` and `/api/v1/setup`: who signs in, stays signed in, and how they prove who they are.

use std::sync::Arc;

use aviary_event::Timestamp;
use aviary_hub::{Attempt, Hub, Link, Scope, SignedIn};
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::{Caller, Origin};
use crate::wire::{Said, time};
use crate::{Problem, cookie};

/// Who is signed in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Session {
    /// Their name.
    name: String,
    /// `viewer`, `analyst`, `admin`.
    #[schema(example = "analyst")]
    role: &'static str,
    /// What the role allows.
    #[schema(value_type = Vec<String>)]
    scopes: &'static [Scope],
    /// Whether they have a second factor.
    totp: bool,
    /// When the session ends without another request.
    expires: String,
}

impl From<&aviary_hub::Session> for Session {
    fn from(session: &aviary_hub::Session) -> Self {
        Self {
            name: session.name.clone(),
            role: session.role.word(),
            scopes: session.role.scopes(),
            totp: session.totp,
            expires: time(Timestamp::from_micros(session.expires)),
        }
    }
}

type Given = (StatusCode, [(HeaderName, HeaderValue); 1], Json<Session>);

fn given(status: StatusCode, signed_in: &SignedIn) -> Given {
    (status, cookie::give(&signed_in.secret, signed_in.seconds), Json((&signed_in.session).into()))
}

/// Whether there is nobody yet.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Needed {
    /// Then the link that the hub printed makes the first admin.
    needed: bool,
}

/// Tells whether the first admin is still to be made
#[utoipa::path(
    get, path = "/api/v1/setup", tag = "session", security(()), responses((status = 200, body = Needed)),
)]
pub(crate) async fn needed(State(hub): State<Arc<Hub>>) -> Result<Json<Needed>, Problem> {
    Ok(Json(Needed { needed: hub.people().is_empty().await? }))
}

/// What a link is opened with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetUp {
    /// The end of the link.
    token: String,
    /// The name that the first admin chooses. Others have one already.
    name: Option<String>,
    /// The password: at least 12 characters.
    password: String,
}

/// Opens a one-time link: makes the first admin or sets a password, and signs in
#[utoipa::path(
    post, path = "/api/v1/setup", tag = "session", security(()), request_body = SetUp,
    responses(
        (status = 201, body = Session), (status = 409, body = Problem),
        (status = 410, body = Problem, description = "The link is of no use any more"),
        (status = 429, body = Problem, description = "Too many tries"),
    ),
)]
pub(crate) async fn set_up(
    State(hub): State<Arc<Hub>>,
    Origin(address): Origin,
    Said(said): Said<SetUp>,
) -> Result<Given, Problem> {
    let link = Link { token: &said.token, name: said.name.as_deref(), password: &said.password, address };
    Ok(given(StatusCode::CREATED, &hub.people().open_link(link).await?))
}

/// Who somebody says that they are.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignIn {
    /// The name.
    name: String,
    /// The password.
    password: String,
    /// The code that the second factor shows.
    code: Option<String>,
}

/// Signs in
///
/// Nothing says whether the name, the password or the code is wrong. `code_needed` of a problem says that the password is
/// right and a code is missing.
#[utoipa::path(
    post, path = "/api/v1/session", tag = "session", security(()), request_body = SignIn,
    responses(
        (status = 200, body = Session), (status = 401, body = Problem), (status = 409, body = Problem),
        (status = 429, body = Problem, description = "Too many tries"),
    ),
)]
pub(crate) async fn sign_in(
    State(hub): State<Arc<Hub>>,
    Origin(address): Origin,
    Said(said): Said<SignIn>,
) -> Result<Given, Problem> {
    let attempt = Attempt { name: &said.name, password: &said.password, code: said.code.as_deref(), address };
    Ok(given(StatusCode::OK, &hub.people().sign_in(attempt).await?))
}

/// Tells who is signed in
#[utoipa::path(
    get, path = "/api/v1/session", tag = "session", security(("session" = [])),
    responses((status = 200, body = Session)),
)]
pub(crate) async fn show(caller: Caller) -> Result<Json<Session>, Problem> {
    Ok(Json(caller.session()?.into()))
}

/// Signs out
#[utoipa::path(
    delete, path = "/api/v1/session", tag = "session", security(("session" = [])), responses((status = 204)),
)]
pub(crate) async fn sign_out(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
) -> Result<(StatusCode, [(HeaderName, HeaderValue); 1]), Problem> {
    hub.people().sign_out(caller.session()?).await?;
    Ok((StatusCode::NO_CONTENT, cookie::take_away()))
}

/// A password for another.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordChange {
    /// The present one.
    old: String,
    /// The one that is to be: at least 12 characters.
    new: String,
}

/// Changes one's own password; all other sessions end
#[utoipa::path(
    put, path = "/api/v1/session/password", tag = "session", security(("session" = [])), request_body = PasswordChange,
    responses((status = 204), (status = 409, body = Problem), (status = 429, body = Problem)),
)]
pub(crate) async fn change_password(
    State(hub): State<Arc<Hub>>,
    Origin(address): Origin,
    caller: Caller,
    Said(said): Said<PasswordChange>,
) -> Result<StatusCode, Problem> {
    let wrong = hub.people().change_password(caller.session()?, &said.old, &said.new, address).await;
    wrong.map_err(|error| Problem::of_proof(error, "`old` is not the password"))?;
    Ok(StatusCode::NO_CONTENT)
}

/// A second factor that is proposed.
#[derive(Serialize, ToSchema)]
pub(crate) struct Factor {
    /// Its secret in Base32.
    secret: String,
    /// What its QR code says.
    uri: String,
}

/// Proposes a second factor, which counts once its first code came
#[utoipa::path(
    post, path = "/api/v1/session/totp", tag = "session", security(("session" = [])),
    responses((status = 200, body = Factor), (status = 409, body = Problem)),
)]
pub(crate) async fn propose_factor(State(hub): State<Arc<Hub>>, caller: Caller) -> Result<Json<Factor>, Problem> {
    let (secret, uri) = hub.people().propose_factor(caller.session()?).await?;
    Ok(Json(Factor { secret, uri }))
}

/// A code.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FactorCode {
    /// Six digits.
    code: String,
}

/// Turns the proposed second factor on
#[utoipa::path(
    put, path = "/api/v1/session/totp", tag = "session", security(("session" = [])), request_body = FactorCode,
    responses((status = 204), (status = 409, body = Problem)),
)]
pub(crate) async fn confirm_factor(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Said(said): Said<FactorCode>,
) -> Result<StatusCode, Problem> {
    let wrong = hub.people().confirm_factor(caller.session()?, &said.code).await;
    wrong.map_err(|error| Problem::of_proof(error, "`code` is wrong or was used"))?;
    Ok(StatusCode::NO_CONTENT)
}

/// A password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OwnPassword {
    /// One's own.
    password: String,
}

/// Turns the second factor off
#[utoipa::path(
    delete, path = "/api/v1/session/totp", tag = "session", security(("session" = [])), request_body = OwnPassword,
    responses((status = 204), (status = 409, body = Problem), (status = 429, body = Problem)),
)]
pub(crate) async fn drop_factor(
    State(hub): State<Arc<Hub>>,
    Origin(address): Origin,
    caller: Caller,
    Said(said): Said<OwnPassword>,
) -> Result<StatusCode, Problem> {
    let wrong = hub.people().drop_factor(caller.session()?, &said.password, address).await;
    wrong.map_err(|error| Problem::of_proof(error, "`password` is not the password"))?;
    Ok(StatusCode::NO_CONTENT)
}
