//! What resources share that people write: names, versions, and conflicts.

use aviary_hub::Hub;
use aviary_store::{Document, PutError};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;

use crate::Problem;
use crate::access::Caller;

/// Longest name, in characters.
const LONGEST: usize = 64;

/// The version that a change is based on.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Based {
    /// The version that was read; who gives none changes whatever is there.
    pub(crate) version: Option<u64>,
}

/// Refuses what is no name: it stands in addresses, in logs and in messages.
pub(crate) fn name(text: &str) -> Result<&str, Problem> {
    let fits = |c: char| c.is_alphanumeric() || "-_. ".contains(c);
    let sound = !text.trim().is_empty() && text.trim() == text && text.chars().count() <= LONGEST;
    if sound && text.chars().all(fits) {
        return Ok(text);
    }
    let detail = format!("`name` takes up to {LONGEST} letters, digits, `-`, `_`, `.` and spaces between them");
    Err(Problem::bad(detail))
}

/// Makes a document that is not there yet.
pub(crate) async fn create(
    hub: &Hub,
    caller: &Caller,
    kind: &str,
    key: &str,
    body: Value,
) -> Result<Document, Problem> {
    let document = Document { kind: kind.to_owned(), key: name(key)?.to_owned(), version: 0, body };
    match hub.store().put(document, caller.name().to_owned(), hub.now()).await? {
        Ok(document) => Ok(document),
        Err(PutError::Conflict { .. }) => {
            Err(Problem::new(StatusCode::CONFLICT, format!("`{key}` is there already; PUT changes it")))
        }
    }
}

/// The document of a name.
pub(crate) async fn found(hub: &Hub, kind: &'static str, key: &str) -> Result<Document, Problem> {
    let found = hub.store().document(kind, key).await?;
    found.ok_or_else(|| Problem::not_found(format!("there is no {kind} of that name")))
}

/// Changes a document.
pub(crate) async fn change(
    hub: &Hub,
    caller: &Caller,
    mut document: Document,
    based: &Based,
    body: Value,
) -> Result<Document, Problem> {
    document.version = based.version.unwrap_or(document.version);
    document.body = body;
    hub.store().put(document, caller.name().to_owned(), hub.now()).await?.map_err(conflict)
}

/// Removes a document.
pub(crate) async fn remove(
    hub: &Hub,
    caller: &Caller,
    mut document: Document,
    based: &Based,
) -> Result<StatusCode, Problem> {
    document.version = based.version.unwrap_or(document.version);
    hub.store().remove(document, caller.name().to_owned(), hub.now()).await?.map_err(conflict)?;
    Ok(StatusCode::NO_CONTENT)
}

fn conflict(error: PutError) -> Problem {
    Problem::new(StatusCode::CONFLICT, error.to_string())
}
