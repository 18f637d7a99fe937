//! `/api/v1/tokens`: what programs sign in with.

use std::sync::Arc;

use aviary_hub::{Hub, ListedToken, Scope};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Problem;
use crate::access::Caller;
use crate::wire::{Named, Said, time};

/// Longest text, in characters, and most `node_id`s.
const LONGEST: usize = 100;
const NODES: usize = 1000;

/// A token, but not itself.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Token {
    /// What it is removed by.
    key: String,
    /// What it is for.
    name: String,
    /// What it allows.
    #[schema(value_type = Vec<ScopeWord>)]
    scopes: Vec<Scope>,
    /// The sensor that it stands for.
    sensor: Option<String>,
    /// Where the sensor stands.
    site: Option<String>,
    /// The `node_id`s that its lines may have; any if empty.
    nodes: Vec<String>,
    /// When it was made.
    created: Option<String>,
    /// When it was used last, to five minutes.
    last_used: Option<String>,
}

impl From<ListedToken> for Token {
    fn from(listed: ListedToken) -> Self {
        let token = listed.token;
        Self {
            key: listed.key,
            name: token.name,
            scopes: token.scopes,
            sensor: token.sensor,
            site: Some(token.site).filter(|site| !site.is_empty()),
            nodes: token.nodes,
            created: listed.created.map(time),
            last_used: listed.last_used.map(time),
        }
    }
}

/// All tokens.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Tokens {
    /// By name.
    tokens: Vec<Token>,
}

/// Lists all tokens
#[utoipa::path(
    get, path = "/api/v1/tokens", tag = "tokens", security(("token" = ["administer"])),
    responses((status = 200, body = Tokens)),
)]
pub(crate) async fn list(State(hub): State<Arc<Hub>>, caller: Caller) -> Result<Json<Tokens>, Problem> {
    caller.may(Scope::Administer)?;
    let tokens = hub.people().tokens().await?;
    Ok(Json(Tokens { tokens: tokens.into_iter().map(Token::from).collect() }))
}

/// A scope, in its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ScopeWord {
    /// Send events, as one sensor.
    Ingest,
    /// See everything but secrets.
    Read,
    /// Decide on incidents, suppress.
    Act,
    /// Change everything else.
    Administer,
}

impl From<ScopeWord> for Scope {
    fn from(word: ScopeWord) -> Self {
        match word {
            ScopeWord::Ingest => Self::Ingest,
            ScopeWord::Read => Self::Read,
            ScopeWord::Act => Self::Act,
            ScopeWord::Administer => Self::Administer,
        }
    }
}

/// A token that is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenWanted {
    /// What it is for.
    name: String,
    /// What it is to allow.
    scopes: Vec<ScopeWord>,
    /// The sensor that it stands for; needed for `ingest`.
    sensor: Option<String>,
    /// Where the sensor stands.
    site: Option<String>,
    /// The `node_id`s that its lines may have; any if empty.
    #[serde(default)]
    nodes: Vec<String>,
}

impl TokenWanted {
    fn read(self) -> Result<aviary_hub::Token, Problem> {
        let text = |field: &str, text: &str| {
            let text = text.trim();
            let good = !text.is_empty() && text.chars().count() <= LONGEST && !text.chars().any(char::is_control);
            if good {
                Ok(text.to_owned())
            } else {
                Err(Problem::bad(format!("`{field}` is not 1 to {LONGEST} characters")))
            }
        };
        let mut scopes: Vec<Scope> = self.scopes.into_iter().map(Scope::from).collect();
        scopes.sort_unstable();
        scopes.dedup();
        if scopes.is_empty() {
            return Err(Problem::bad("`scopes` is empty: the token would allow nothing"));
        }
        let sensor = self.sensor.map(|sensor| text("sensor", &sensor)).transpose()?;
        if scopes.contains(&Scope::Ingest) && sensor.is_none() {
            return Err(Problem::bad("`sensor` is missing: a token that sends events stands for one sensor"));
        }
        if self.nodes.len() > NODES {
            return Err(Problem::bad(format!("`nodes` has more than {NODES} entries")));
        }
        let nodes: Result<Vec<String>, Problem> = self.nodes.iter().map(|node| text("nodes", node)).collect();
        let site = self.site.filter(|site| !site.trim().is_empty());
        let site = site.map(|site| text("site", &site)).transpose()?.unwrap_or_default();
        Ok(aviary_hub::Token { name: text("name", &self.name)?, scopes, sensor, site, nodes: nodes? })
    }
}

/// A new token.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenMade {
    /// The token. Nobody can read it again.
    token: String,
    /// What it is listed as.
    #[serde(flatten)]
    listed: Token,
}

/// Makes a token
#[utoipa::path(
    post, path = "/api/v1/tokens", tag = "tokens", security(("token" = ["administer"])), request_body = TokenWanted,
    responses((status = 201, body = TokenMade), (status = 409, body = Problem)),
)]
pub(crate) async fn make(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Said(said): Said<TokenWanted>,
) -> Result<(StatusCode, Json<TokenMade>), Problem> {
    caller.may(Scope::Administer)?;
    let (token, listed) = hub.people().make_token(said.read()?, caller.name()).await?;
    Ok((StatusCode::CREATED, Json(TokenMade { token, listed: listed.into() })))
}

/// Removes a token: from now on nobody knows it
#[utoipa::path(
    delete, path = "/api/v1/tokens/{key}", tag = "tokens", params(("key" = String, Path)),
    security(("token" = ["administer"])),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)),
)]
pub(crate) async fn revoke(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Named(key): Named<String>,
) -> Result<StatusCode, Problem> {
    caller.may(Scope::Administer)?;
    hub.people().revoke_token(&key, caller.name()).await?;
    Ok(StatusCode::NO_CONTENT)
}
