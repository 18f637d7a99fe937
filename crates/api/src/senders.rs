//! `/api/v1/senders`: whose lines come from where, for ways in that have no place for a token.

use std::sync::Arc;

use aviary_hub::{ChangeError, Hub, Scope, Sender};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Problem;
use crate::access::Caller;
use crate::wire::{Named, Said};

/// A sender with its name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SenderRow {
    /// The sensor whose its lines are.
    name: String,
    /// Addresses and networks that its lines come from.
    networks: Vec<String>,
    /// Where it stands; empty where all sites have networks of their own.
    site: String,
    /// The `node_id`s that its lines may have; any if empty.
    nodes: Vec<String>,
}

/// What is said of a sender.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SenderText {
    /// Addresses and networks that its lines come from.
    #[schema(example = json!(["10.0.0.7", "2001:db8:7::/48"]))]
    networks: Vec<String>,
    /// Where it stands; empty where all sites have networks of their own.
    #[serde(default)]
    site: String,
    /// The `node_id`s that its lines may have; any if empty.
    #[serde(default)]
    nodes: Vec<String>,
}

/// All senders.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Senders {
    /// By name.
    senders: Vec<SenderRow>,
    /// Always nothing: they are few.
    next: Option<String>,
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Store(error) => error.into(),
            ChangeError::Missing { .. } => Self::not_found(error.to_string()),
            ChangeError::Conflict(_) => Self::new(StatusCode::CONFLICT, error.to_string()),
            ChangeError::Wrong(_) => Self::bad(error.to_string()),
        }
    }
}

impl From<(String, Sender)> for SenderRow {
    fn from((name, Sender { networks, site, nodes }): (String, Sender)) -> Self {
        Self { name, networks, site, nodes }
    }
}

/// Lists who may send without a token
#[utoipa::path(
    get, path = "/api/v1/senders", tag = "senders", security(("token" = ["read"])),
    responses((status = 200, body = Senders), (status = 401, body = Problem), (status = 403, body = Problem)),
)]
pub(crate) async fn list(State(hub): State<Arc<Hub>>, caller: Caller) -> Result<Json<Senders>, Problem> {
    caller.may(Scope::Read)?;
    let senders = hub.stored_senders().await?.into_iter().map(SenderRow::from).collect();
    Ok(Json(Senders { senders, next: None }))
}

/// Says whose lines come from where
///
/// It holds for lines over TCP and for syslog. Where networks of several senders hold an address, the narrowest counts. Over
/// UDP anybody can write any address into a datagram: prefer TCP, TLS, or a token.
#[utoipa::path(
    put, path = "/api/v1/senders/{name}", tag = "senders", params(("name" = String, Path)), request_body = SenderText,
    security(("token" = ["administer"])),
    responses(
        (status = 200, body = SenderRow), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 409, body = Problem), (status = 415, body = Problem),
        (status = 422, body = Problem), (status = 503, body = Problem),
    ),
)]
pub(crate) async fn put(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Named(name): Named<String>,
    Said(SenderText { networks, site, nodes }): Said<SenderText>,
) -> Result<Json<SenderRow>, Problem> {
    caller.may(Scope::Administer)?;
    let sender = Sender { networks, site, nodes };
    hub.put_sender(&name, &sender, caller.name()).await?;
    Ok(Json((name, sender).into()))
}

/// Takes nothing more from a sender
#[utoipa::path(
    delete, path = "/api/v1/senders/{name}", tag = "senders", params(("name" = String, Path)),
    security(("token" = ["administer"])),
    responses(
        (status = 204), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 503, body = Problem),
    ),
)]
pub(crate) async fn remove(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Named(name): Named<String>,
) -> Result<StatusCode, Problem> {
    caller.may(Scope::Administer)?;
    hub.remove_sender(&name, caller.name()).await?;
    Ok(StatusCode::NO_CONTENT)
}
