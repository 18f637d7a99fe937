//! `/api/v1/people`: who may sign in.

use std::sync::Arc;

use aviary_event::Timestamp;
use aviary_hub::{Hub, Role, Scope};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Problem;
use crate::access::Caller;
use crate::wire::{Named, Said, time};

/// Somebody.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Person {
    /// Their name.
    name: String,
    /// `viewer`, `analyst`, `admin`.
    #[schema(example = "viewer")]
    role: &'static str,
    /// Whether they have a second factor.
    totp: bool,
    /// Whether they have set a password.
    joined: bool,
    /// When they signed in last.
    last_sign_in: Option<String>,
    /// Whether somebody tried so often that the name is not taken from unknown addresses for a while.
    locked: bool,
    /// Counts the changes.
    version: u64,
}

impl From<aviary_hub::Person> for Person {
    fn from(person: aviary_hub::Person) -> Self {
        Self {
            name: person.name,
            role: person.role.word(),
            totp: person.totp,
            joined: person.joined,
            last_sign_in: person.last_sign_in.map(|at| time(Timestamp::from_micros(at))),
            locked: person.locked,
            version: person.version,
        }
    }
}

/// Everybody.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct People {
    /// By name.
    people: Vec<Person>,
}

/// Lists everybody
#[utoipa::path(
    get, path = "/api/v1/people", tag = "people", security(("token" = ["administer"])),
    responses((status = 200, body = People)),
)]
pub(crate) async fn list(State(hub): State<Arc<Hub>>, caller: Caller) -> Result<Json<People>, Problem> {
    caller.may(Scope::Administer)?;
    let people = hub.people().list().await?;
    Ok(Json(People { people: people.into_iter().map(Person::from).collect() }))
}

/// A role, in its word.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RoleWord {
    /// Sees.
    Viewer,
    /// Sees and decides on incidents.
    Analyst,
    /// Does everything.
    Admin,
}

impl From<RoleWord> for Role {
    fn from(word: RoleWord) -> Self {
        match word {
            RoleWord::Viewer => Self::Viewer,
            RoleWord::Analyst => Self::Analyst,
            RoleWord::Admin => Self::Admin,
        }
    }
}

/// Somebody who is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Invited {
    /// Letters, digits and `._-@`; capitals make no difference.
    name: String,
    /// What they may do.
    role: RoleWord,
}

/// A one-time link.
#[derive(Serialize, ToSchema)]
pub(crate) struct Invitation {
    /// Whose.
    name: String,
    /// What to add to the console's address. It works once, for three days, and nobody can read it again.
    #[schema(example = "#/setup/0f3c…")]
    link: String,
}

/// Makes somebody, and the one-time link with which they set their password
#[utoipa::path(
    post, path = "/api/v1/people", tag = "people", security(("token" = ["administer"])), request_body = Invited,
    responses((status = 201, body = Invitation), (status = 409, body = Problem)),
)]
pub(crate) async fn invite(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Said(said): Said<Invited>,
) -> Result<(StatusCode, Json<Invitation>), Problem> {
    caller.may(Scope::Administer)?;
    let (name, token) = hub.people().invite(&said.name, said.role.into(), caller.name()).await?;
    Ok((StatusCode::CREATED, Json(Invitation { name, link: link(&token) })))
}

/// Another role.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RoleGiven {
    /// What they may do from now on.
    role: RoleWord,
}

/// Gives somebody another role, at once
#[utoipa::path(
    patch, path = "/api/v1/people/{name}", tag = "people", params(("name" = String, Path)),
    security(("token" = ["administer"])), request_body = RoleGiven,
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)),
)]
pub(crate) async fn give_role(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Named(name): Named<String>,
    Said(said): Said<RoleGiven>,
) -> Result<StatusCode, Problem> {
    caller.may(Scope::Administer)?;
    hub.people().give_role(&name, said.role.into(), caller.name()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes somebody; their sessions end
#[utoipa::path(
    delete, path = "/api/v1/people/{name}", tag = "people", params(("name" = String, Path)),
    security(("token" = ["administer"])),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)),
)]
pub(crate) async fn remove(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Named(name): Named<String>,
) -> Result<StatusCode, Problem> {
    caller.may(Scope::Administer)?;
    hub.people().remove(&name, caller.name()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends somebody's password, second factor and sessions, and makes a link for a new password
#[utoipa::path(
    post, path = "/api/v1/people/{name}/reset", tag = "people", params(("name" = String, Path)),
    security(("token" = ["administer"])),
    responses((status = 200, body = Invitation), (status = 404, body = Problem), (status = 409, body = Problem)),
)]
pub(crate) async fn reset(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Named(name): Named<String>,
) -> Result<Json<Invitation>, Problem> {
    caller.may(Scope::Administer)?;
    let token = hub.people().reset(&name, caller.name()).await?;
    Ok(Json(Invitation { name, link: link(&token) }))
}

fn link(token: &str) -> String {
    format!("#/setup/{token}")
}
