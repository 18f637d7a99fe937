//! `/api/v1/credentials`: what was tried.

use std::sync::Arc;

use aviary_event::PeerBytes;
use aviary_hub::{Hub, Scope};
use aviary_store::{CredentialQuery, CredentialRow, Cursor};
use axum::extract::State;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::{IntoParams, ToSchema};

use crate::Problem;
use crate::access::Caller;
use crate::wire::{Asked, cursor, moment, time, word};

const ROWS: usize = 100;
const MOST: usize = 1000;

/// A user name and a password that somebody tried.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Credential {
    /// The user name; empty where the protocol has none. What is not UTF-8 is written as `\xNN`.
    username: String,
    /// The password, in the same way.
    password: String,
    /// How often it was tried; at the service that was asked for, if one was.
    count: u64,
    /// How many sources tried it.
    sources: u64,
    /// Where it was tried, the most first.
    services: Vec<String>,
    /// When first.
    first: String,
    /// When last.
    last: String,
    /// SHA-256 of the password's bytes, to look for it elsewhere without saying it.
    sha256: String,
}

impl From<CredentialRow> for Credential {
    fn from(row: CredentialRow) -> Self {
        let digest = Sha256::digest(&row.credential.password);
        Self {
            username: shown(&row.credential.username),
            password: shown(&row.credential.password),
            count: row.span.events,
            sources: row.sources,
            services: row.services,
            first: time(row.span.first),
            last: time(row.span.last),
            sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

/// Bytes that a peer sent, as text.
pub(crate) fn shown(bytes: &[u8]) -> String {
    PeerBytes::from(bytes).to_text()
}

/// A page of credentials.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Credentials {
    /// In the order that was asked for.
    credentials: Vec<Credential>,
    /// What `after` takes for the next page; nothing on the last.
    next: Option<String>,
}

/// What is asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Query {
    /// Tried from this moment on.
    since: Option<String>,
    /// Tried at this service.
    service: Option<String>,
    /// `count`: those that were tried most first, if nothing is said; `last`: those that were tried last first.
    order: Option<String>,
    /// What `next` of the page before said.
    after: Option<String>,
    /// Rows of a page, up to 1000.
    limit: Option<usize>,
}

/// Lists credentials that were tried
///
/// Only those that the protocol shows whole: what a client hashes is in the events.
#[utoipa::path(
    get, path = "/api/v1/credentials", tag = "credentials", params(Query), security(("token" = ["read"])),
    responses(
        (status = 200, body = Credentials), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 504, body = Problem),
    ),
)]
pub(crate) async fn list(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Asked(query): Asked<Query>,
) -> Result<Json<Credentials>, Problem> {
    caller.may(Scope::Read)?;
    let latest = |text: &str| match text {
        "count" => Some(false),
        "last" => Some(true),
        _ => None,
    };
    let query = CredentialQuery {
        since: moment("since", query.since.as_deref())?,
        service: query.service,
        latest: word("order", query.order.as_deref(), latest, "count, last")?.unwrap_or(false),
        after: cursor(query.after.as_deref())?,
        limit: query.limit.unwrap_or(ROWS).clamp(1, MOST),
    };
    let page = hub.store().credentials(query).await?;
    let next = page.next.map(Cursor::to_text);
    Ok(Json(Credentials { credentials: page.rows.into_iter().map(Credential::from).collect(), next }))
}
