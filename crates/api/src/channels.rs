//! `/api/v1/channels`: where people are told. Secrets go in and never come out.

use std::sync::Arc;

use aviary_hub::{CHANNEL, Channel as Kept, Hub, POLICY, Scope, test_channel};
use aviary_store::{Delivery, DeliveryQuery, Document, Fate};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::Problem;
use crate::access::Caller;
use crate::changes::{Based, change, create, found, name, remove};
use crate::wire::{Asked, Named, Said};

/// A channel.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Channel {
    /// Its name.
    name: String,
    /// The class of output that it is.
    #[schema(example = "ntfy")]
    class: String,
    /// Its options; secrets are shown as `***`.
    #[schema(value_type = Object)]
    options: Map<String, Value>,
    /// Counts its changes.
    version: u64,
    /// `ok`, `failing`, `never used`: how the last try went.
    #[schema(example = "ok")]
    state: &'static str,
    /// What the receiver said, if that failed.
    last_error: Option<String>,
}

impl Channel {
    fn new(document: &Document, last: Option<Delivery>) -> Result<Self, Problem> {
        let kept =
            Kept::read(document).map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
        let state = match &last {
            None => "never used",
            Some(last) if matches!(last.fate, Fate::Delivered | Fate::Digested) => "ok",
            Some(_) => "failing",
        };
        let last_error = last.filter(|_| state == "failing").map(|last| last.answer);
        let Document { key, version, .. } = document;
        Ok(Self { name: key.clone(), class: kept.class, options: kept.options, version: *version, state, last_error })
    }

    async fn of(hub: &Hub, document: &Document) -> Result<Self, Problem> {
        let query =
            DeliveryQuery { channel: Some(document.key.clone()), tried: true, limit: 1, ..DeliveryQuery::default() };
        Self::new(document, hub.store().deliveries(query).await?.rows.pop())
    }
}

/// All channels.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Channels {
    /// By name.
    channels: Vec<Channel>,
    /// Nothing: the list is whole.
    next: Option<String>,
}

/// Lists channels
#[utoipa::path(
    get, path = "/api/v1/channels", tag = "channels", security(("token" = ["read"])),
    responses((status = 200, body = Channels), (status = 401, body = Problem), (status = 403, body = Problem)),
)]
pub(crate) async fn list(State(hub): State<Arc<Hub>>, caller: Caller) -> Result<Json<Channels>, Problem> {
    caller.may(Scope::Read)?;
    let mut channels = Vec::new();
    for document in hub.store().documents(CHANNEL).await? {
        channels.push(Channel::of(&hub, &document).await?);
    }
    Ok(Json(Channels { channels, next: None }))
}

/// One kind of channel.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Class {
    /// What `class` takes.
    #[schema(example = "ntfy")]
    class: &'static str,
    /// What it does.
    about: &'static str,
    /// Its options.
    keys: Vec<Key>,
}

/// An option.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Key {
    /// Its name.
    name: &'static str,
    /// Whether nothing is sent without it.
    required: bool,
    /// Whether it is never shown.
    secret: bool,
    /// What it means.
    about: &'static str,
}

/// All kinds of channel.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Classes {
    /// By class.
    classes: Vec<Class>,
}

/// Lists what a channel may be, with its options
#[utoipa::path(
    get, path = "/api/v1/channels/classes", tag = "channels", security(("token" = ["read"])),
    responses((status = 200, body = Classes), (status = 401, body = Problem), (status = 403, body = Problem)),
)]
pub(crate) async fn classes(State(hub): State<Arc<Hub>>, caller: Caller) -> Result<Json<Classes>, Problem> {
    caller.may(Scope::Read)?;
    let classes = hub.channels().classes().into_iter().map(|(class, entry)| Class {
        class,
        about: entry.summary,
        keys: aviary_hub::keys(entry)
            .into_iter()
            .map(|key| Key { name: key.name, required: key.required, secret: key.secret, about: key.about })
            .collect(),
    });
    Ok(Json(Classes { classes: classes.collect() }))
}

/// A channel as people write it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewChannel {
    /// Its name.
    name: String,
    /// The class of output that it is; `GET /api/v1/channels/classes` lists them.
    #[schema(example = "ntfy")]
    class: String,
    /// Its options. `***` for a secret keeps the one that is there.
    #[serde(default)]
    #[schema(value_type = Object)]
    options: Map<String, Value>,
}

/// Makes a channel
#[utoipa::path(
    post, path = "/api/v1/channels", tag = "channels", request_body = NewChannel, security(("token" = ["administer"])),
    responses(
        (status = 201, body = Channel), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 409, body = Problem), (status = 415, body = Problem),
        (status = 422, body = Problem), (status = 503, body = Problem),
    ),
)]
pub(crate) async fn post(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Said(new): Said<NewChannel>,
) -> Result<(StatusCode, Json<Channel>), Problem> {
    caller.may(Scope::Administer)?;
    let kept = hub.channels().write(name(&new.name)?, &new.class, new.options, None);
    let body = serde_json::to_value(kept.map_err(|error| Problem::bad(error.to_string()))?).unwrap_or_default();
    let document = create(&hub, &caller, CHANNEL, &new.name, body).await?;
    hub.wake();
    Ok((StatusCode::CREATED, Json(Channel::new(&document, None)?)))
}

/// Changes a channel
#[utoipa::path(
    put, path = "/api/v1/channels/{name}", tag = "channels", params(("name" = String, Path), Based), request_body = NewChannel,
    security(("token" = ["administer"])),
    responses(
        (status = 200, body = Channel), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 415, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem),
    ),
)]
pub(crate) async fn put(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Named(key): Named<String>,
    Asked(based): Asked<Based>,
    Said(new): Said<NewChannel>,
) -> Result<Json<Channel>, Problem> {
    caller.may(Scope::Administer)?;
    same(&key, &new.name)?;
    let before = found(&hub, CHANNEL, &key).await?;
    let kept = hub.channels().write(&key, &new.class, new.options, Some(&before));
    let body = serde_json::to_value(kept.map_err(|error| Problem::bad(error.to_string()))?).unwrap_or_default();
    let document = change(&hub, &caller, before, &based, body).await?;
    hub.wake();
    Ok(Json(Channel::of(&hub, &document).await?))
}

/// Refuses a new name: what was told stands in the ledger under the old one.
pub(crate) fn same(key: &str, name: &str) -> Result<(), Problem> {
    if key == name {
        return Ok(());
    }
    Err(Problem::bad(format!("`name` is not `{key}`; a name stays, since the ledger knows it")))
}

/// Removes a channel
///
/// One that a policy names stays.
#[utoipa::path(
    delete, path = "/api/v1/channels/{name}", tag = "channels", params(("name" = String, Path), Based),
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
    let document = found(&hub, CHANNEL, &key).await?;
    for policy in hub.store().documents(POLICY).await? {
        let channels = policy.body.get("channels").and_then(Value::as_array);
        if channels.is_some_and(|channels| channels.iter().any(|channel| channel == key.as_str())) {
            let detail = format!("the policy `{}` sends to it; change that first", policy.key);
            return Err(Problem::new(StatusCode::CONFLICT, detail));
        }
    }
    remove(&hub, &caller, document, &based).await
}

/// What a test came to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TestAnswer {
    /// Whether the receiver has it.
    delivered: bool,
    /// What it said.
    #[schema(example = "taken")]
    answer: String,
}

/// Sends a test message to a channel
#[utoipa::path(
    post, path = "/api/v1/channels/{name}/test", tag = "channels", params(("name" = String, Path)),
    security(("token" = ["act"])),
    responses(
        (status = 200, body = TestAnswer), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem),
    ),
)]
pub(crate) async fn test(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Named(key): Named<String>,
) -> Result<Json<TestAnswer>, Problem> {
    caller.may(Scope::Act)?;
    let (delivered, answer) = test_channel(&hub, &key, caller.name()).await?;
    Ok(Json(TestAnswer { delivered, answer }))
}
