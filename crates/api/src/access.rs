//! Who asks, and whether they may.

use std::sync::Arc;

use aviary_hub::{Hub, Scope, Token, find_token};
use axum::extract::FromRequestParts;
use axum::http::{StatusCode, header, request::Parts};
use utoipa::Modify;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};

use crate::Problem;
use crate::serve::Shown;

/// Whoever asks, known by a token.
#[derive(Clone, Debug)]
pub(crate) struct Caller(Token);

impl Caller {
    /// Refuses whoever may not.
    pub(crate) fn may(&self, scope: Scope) -> Result<&Token, Problem> {
        if self.0.scopes.contains(&scope) {
            return Ok(&self.0);
        }
        let detail = format!("the token `{}` does not allow this; it takes the scope `{}`", self.0.name, word(scope));
        Err(Problem::new(StatusCode::FORBIDDEN, detail))
    }

    /// Who it is, for the audit log.
    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }
}

impl FromRequestParts<Arc<Hub>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, hub: &Arc<Hub>) -> Result<Self, Problem> {
        let unknown = |detail: &str| Problem::new(StatusCode::UNAUTHORIZED, detail);
        let Some(value) = parts.headers.get(header::AUTHORIZATION) else {
            if let Some(Shown(print)) = parts.extensions.get::<Shown>() {
                let source = hub.sensors().by_certificate(print);
                let source =
                    source.ok_or_else(|| unknown("the certificate is not known; the sensor may have been revoked"))?;
                return Ok(Self(Token::of_sensor(source)));
            }
            return Err(unknown("a token is missing: `Authorization: Bearer avt_…`"));
        };
        let token = value.to_str().ok().and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
        });
        let Some(token) = token else {
            return Err(unknown("`Authorization` is not `Bearer` and a token"));
        };
        match find_token(hub.store().as_ref(), token).await? {
            Some(token) => Ok(Self(token)),
            None => Err(unknown("the token is not known; it may have been revoked")),
        }
    }
}

const fn word(scope: Scope) -> &'static str {
    match scope {
        Scope::Ingest => "ingest",
        Scope::Read => "read",
        Scope::Act => "act",
        Scope::Administer => "administer",
    }
}

/// Tells the document that tokens are needed.
pub(crate) struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut OpenApi) {
        let components = document.components.get_or_insert_default();
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        components.add_security_scheme("token", scheme);
    }
}
