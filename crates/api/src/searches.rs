//! `/api/v1/searches`: filters that a person keeps under a name.

use std::sync::Arc;

use aviary_hub::{Hub, Scope};
use aviary_store::{Document, PutError};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::Problem;
use crate::access::Caller;
use crate::wire::{Named, Said};

/// The kind of their documents.
const KIND: &str = "search";
/// Searches that a person may keep.
const MOST: usize = 200;
/// Longest name, in characters.
const NAME: usize = 100;
/// Longest query, in bytes of JSON.
const QUERY: usize = 16 << 10;

/// A search under a name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Search {
    /// Its name.
    name: String,
    /// The filters, by their names in `GET /api/v1/events`.
    #[schema(value_type = Object, example = json!({"service": "ssh", "stage": "login_attempt"}))]
    query: Value,
}

/// All searches of a person.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Searches {
    /// By name.
    searches: Vec<Search>,
}

/// What is kept.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kept {
    /// The name; that of the address, if it is given at all.
    #[serde(default)]
    name: Option<String>,
    /// The filters: texts, numbers, true and false by name.
    #[schema(value_type = Object, example = json!({"service": "ssh"}))]
    query: Map<String, Value>,
}

/// Lists one's own searches
#[utoipa::path(
    get, path = "/api/v1/searches", tag = "searches", security(("token" = ["read"])),
    responses((status = 200, body = Searches), (status = 401, body = Problem), (status = 403, body = Problem)),
)]
pub(crate) async fn list(State(hub): State<Arc<Hub>>, caller: Caller) -> Result<Json<Searches>, Problem> {
    caller.may(Scope::Read)?;
    Ok(Json(Searches { searches: all(&hub, caller.name()).await? }))
}

/// One search
#[utoipa::path(
    get, path = "/api/v1/searches/{name}", tag = "searches", params(("name" = String, Path)),
    security(("token" = ["read"])),
    responses(
        (status = 200, body = Search), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem),
    ),
)]
pub(crate) async fn one(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Named(name): Named<String>,
) -> Result<Json<Search>, Problem> {
    caller.may(Scope::Read)?;
    let found = hub.store().document(KIND, &key(caller.name(), &name)).await?;
    found.map(|found| Json(search(found))).ok_or_else(|| Problem::not_found("there is no such search"))
}

/// Keeps a search, in place of one of the same name
#[utoipa::path(
    put, path = "/api/v1/searches/{name}", tag = "searches", params(("name" = String, Path)),
    request_body = Kept, security(("token" = ["read"])),
    responses(
        (status = 200, body = Search), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 409, body = Problem), (status = 415, body = Problem),
        (status = 422, body = Problem), (status = 503, body = Problem),
    ),
)]
pub(crate) async fn put(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Named(name): Named<String>,
    Said(kept): Said<Kept>,
) -> Result<Json<Search>, Problem> {
    caller.may(Scope::Read)?;
    if name.trim().is_empty() || name.chars().count() > NAME || name.chars().any(char::is_control) {
        return Err(Problem::bad(format!("`name` is empty, longer than {NAME} characters, or not one line of text")));
    }
    if kept.name.is_some_and(|other| other != name) {
        return Err(Problem::bad("`name` is another one than in the address"));
    }
    if let Some((key, _)) = kept.query.iter().find(|(_, value)| value.is_array() || value.is_object()) {
        let key: String = key.chars().take(NAME).collect();
        return Err(Problem::bad(format!("`query.{key}` is no text, number, true or false")));
    }
    let query = Value::Object(kept.query);
    if query.to_string().len() > QUERY {
        return Err(Problem::bad(format!("`query` is longer than {QUERY} bytes")));
    }
    let person = caller.name();
    let key = key(person, &name);
    let version = hub.store().document(KIND, &key).await?.map_or(0, |there| there.version);
    if version == 0 && all(&hub, person).await?.len() >= MOST {
        return Err(Problem::bad(format!("{MOST} searches are kept already; remove one first")));
    }
    let body = json!({ "person": person, "name": name, "query": query });
    let document = Document { kind: KIND.to_owned(), key, version, body };
    match hub.store().put(document, person.to_owned(), hub.now()).await? {
        Ok(document) => Ok(Json(search(document))),
        Err(error) => Err(conflict(error)),
    }
}

/// Removes a search
#[utoipa::path(
    delete, path = "/api/v1/searches/{name}", tag = "searches", params(("name" = String, Path)),
    security(("token" = ["read"])),
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
    caller.may(Scope::Read)?;
    let Some(document) = hub.store().document(KIND, &key(caller.name(), &name)).await? else {
        return Err(Problem::not_found("there is no such search"));
    };
    let removed = hub.store().remove(document, caller.name().to_owned(), hub.now()).await?;
    removed.map(|()| StatusCode::NO_CONTENT).map_err(conflict)
}

/// The key of a person's search. As JSON, so that no name of one person is another's.
fn key(person: &str, name: &str) -> String {
    json!([person, name]).to_string()
}

async fn all(hub: &Hub, person: &str) -> Result<Vec<Search>, Problem> {
    let documents = hub.store().documents(KIND).await?;
    let own = documents.into_iter().filter(|one| one.body.get("person").and_then(Value::as_str) == Some(person));
    Ok(own.map(search).collect())
}

fn search(mut document: Document) -> Search {
    let name = document.body.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let query = document.body.get_mut("query").map(Value::take).unwrap_or_default();
    Search { name, query }
}

fn conflict(error: PutError) -> Problem {
    Problem::new(StatusCode::CONFLICT, error.to_string())
}
