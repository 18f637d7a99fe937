//! `/api/v1/deliveries`: what people were told, and what became of it.

use std::sync::Arc;

use aviary_hub::{Hub, Scope};
use aviary_insight::Fact;
use aviary_store::{Cursor, Delivery as Row, DeliveryQuery, Fate};
use axum::extract::State;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::Problem;
use crate::access::Caller;
use crate::wire::{Asked, cursor, time};

const ROWS: usize = 100;
const MOST: usize = 1000;

/// A row of the ledger.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Delivery {
    /// When it was decided.
    time: String,
    /// The policy that wanted it.
    policy: String,
    /// Where it goes.
    channel: String,
    /// What it is about.
    incident: i64,
    /// How grave that was.
    #[schema(example = "high")]
    severity: &'static str,
    /// `waiting`, `over budget`, `delivered`, `digested` (delivered with others in one message), `failed`.
    #[schema(example = "delivered")]
    state: &'static str,
    /// How often it was tried.
    attempts: u32,
    /// When it was tried last.
    tried: Option<String>,
    /// When it goes out, or is tried again; nothing when it is over.
    due: Option<String>,
    /// What the receiver said to the last try.
    answer: String,
    /// What was new.
    about: Vec<String>,
}

impl From<Row> for Delivery {
    fn from(row: Row) -> Self {
        let state = match row.fate {
            Fate::Gathering => Fate::Waiting.word(),
            fate => fate.word(),
        };
        Self {
            time: time(row.at),
            policy: row.policy,
            channel: row.channel,
            incident: row.incident,
            severity: row.severity.word(),
            state,
            attempts: row.attempts,
            tried: row.tried.map(time),
            due: (!row.fate.is_final()).then(|| time(row.due)),
            answer: row.answer,
            about: row.facts.iter().map(Fact::words).collect(),
        }
    }
}

/// A page of the ledger.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Deliveries {
    /// The newest first.
    deliveries: Vec<Delivery>,
    /// What `after` takes for the next page; nothing on the last.
    next: Option<String>,
}

/// What is asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Query {
    /// Those about an incident.
    incident: Option<i64>,
    /// Those to a channel.
    channel: Option<String>,
    /// What `next` of the page before said.
    after: Option<String>,
    /// Rows of a page, up to 1000.
    limit: Option<usize>,
}

/// Lists deliveries, the newest first
#[utoipa::path(
    get, path = "/api/v1/deliveries", tag = "deliveries", params(Query), security(("token" = ["read"])),
    responses(
        (status = 200, body = Deliveries), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 504, body = Problem),
    ),
)]
pub(crate) async fn list(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Asked(query): Asked<Query>,
) -> Result<Json<Deliveries>, Problem> {
    caller.may(Scope::Read)?;
    let query = DeliveryQuery {
        incident: query.incident,
        channel: query.channel,
        tried: false,
        after: cursor(query.after.as_deref())?,
        limit: query.limit.unwrap_or(ROWS).clamp(1, MOST),
    };
    let page = hub.store().deliveries(query).await?;
    let next = page.next.map(Cursor::to_text);
    Ok(Json(Deliveries { deliveries: page.rows.into_iter().map(Delivery::from).collect(), next }))
}
