//! Who asks, and whether they may.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use aviary_hub::{Hub, Scope, Session, Source, Token};
use axum::extract::FromRequestParts;
use axum::http::{StatusCode, header, request::Parts};

use crate::Problem;
use crate::cookie;
use crate::serve::{Peer, Shown};

/// The header that a request with a cookie must have to change anything: no other site's page can send it.
pub(crate) const MARK: (&str, &str) = ("x-aviary", "console");

/// Whoever asks.
#[derive(Clone, Debug)]
pub(crate) struct Caller(Arc<Who>);

#[derive(Debug)]
enum Who {
    /// A program with a token, and what the token is removed by.
    Token(String, Token),
    /// A person who signed in.
    Person(Session),
    /// A sensor of the hub's own, by the fingerprint of its certificate.
    Sensor(Arc<str>, Source),
}

impl Caller {
    /// Whom a request names.
    pub(crate) async fn of(hub: &Hub, parts: &Parts) -> Result<Self, Problem> {
        let headers = &parts.headers;
        let unknown = |detail: &str| Problem::new(StatusCode::UNAUTHORIZED, detail);
        let Some(value) = headers.get(header::AUTHORIZATION) else {
            let Some(secret) = cookie::read(headers) else {
                if let Some(Shown(print)) = parts.extensions.get::<Shown>() {
                    let source = hub.sensors().by_certificate(print);
                    let source = source
                        .ok_or_else(|| unknown("the certificate is not known; the sensor may have been revoked"))?;
                    return Ok(Self(Arc::new(Who::Sensor(Arc::clone(print), source))));
                }
                return Err(unknown("nobody is signed in, and a token is missing: `Authorization: Bearer avt_…`"));
            };
            let session = hub.people().session(&secret).await?;
            let session = session.ok_or_else(|| unknown("the session has ended; sign in again"))?;
            let marked = headers.get(MARK.0).is_some_and(|value| value == MARK.1);
            if !parts.method.is_safe() && !marked {
                let detail = "a request with a cookie that changes something takes the header `X-Aviary: console`";
                return Err(Problem::new(StatusCode::FORBIDDEN, detail));
            }
            return Ok(Self(Arc::new(Who::Person(session))));
        };
        let token = value.to_str().ok().and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
        });
        let Some(token) = token else {
            return Err(unknown("`Authorization` is not `Bearer` and a token"));
        };
        match hub.people().token(token).await? {
            Some((key, token)) => Ok(Self(Arc::new(Who::Token(key, token)))),
            None => Err(unknown("the token is not known; it may have been revoked")),
        }
    }

    /// Refuses whoever may not.
    pub(crate) fn may(&self, scope: Scope) -> Result<&Self, Problem> {
        let (scopes, who) = match self.0.as_ref() {
            Who::Token(_, token) => (token.scopes.as_slice(), format!("the token `{}`", token.name)),
            Who::Person(session) => (session.role.scopes(), format!("the role `{}`", session.role.word())),
            Who::Sensor(_, source) => ([Scope::Ingest].as_slice(), format!("the certificate of `{}`", source.sensor)),
        };
        if scopes.contains(&scope) {
            return Ok(self);
        }
        let detail = format!("{who} does not allow this; it takes the scope `{}`", scope.word());
        Err(Problem::new(StatusCode::FORBIDDEN, detail))
    }

    /// The session, or a refusal of tokens.
    pub(crate) fn session(&self) -> Result<&Session, Problem> {
        match self.0.as_ref() {
            Who::Person(session) => Ok(session),
            Who::Token(..) | Who::Sensor(..) => {
                Err(Problem::new(StatusCode::FORBIDDEN, "this is for people who signed in, not for tokens"))
            }
        }
    }

    /// The source whose events it may send.
    pub(crate) fn source(&self) -> Option<Source> {
        match self.0.as_ref() {
            Who::Token(_, token) => token.source(),
            Who::Person(_) => None,
            Who::Sensor(_, source) => Some(source.clone()),
        }
    }

    /// Whether they may still what they might when they asked: an answer may go on for long.
    pub(crate) async fn still_may(&self, hub: &Hub) -> bool {
        let still = match self.0.as_ref() {
            Who::Token(key, _) => hub.people().is_token(key).await,
            Who::Person(session) => hub.people().goes_on(session).await,
            Who::Sensor(print, _) => Ok(hub.sensors().by_certificate(print).is_some()),
        };
        // A store that cannot be read for a moment ends nothing.
        still.unwrap_or(true)
    }

    /// Who it is, for the audit log.
    pub(crate) fn name(&self) -> &str {
        match self.0.as_ref() {
            Who::Token(_, token) => &token.name,
            Who::Person(session) => &session.name,
            Who::Sensor(_, source) => &source.sensor,
        }
    }
}

impl FromRequestParts<Arc<Hub>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, hub: &Arc<Hub>) -> Result<Self, Problem> {
        match parts.extensions.get::<Self>() {
            // The gate has asked already.
            Some(caller) => Ok(caller.clone()),
            None => Self::of(hub, parts).await,
        }
    }
}

/// The address that a request comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin(pub(crate) IpAddr);

impl<S: Send + Sync> FromRequestParts<S> for Origin {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let peer = parts.extensions.get::<Peer>();
        Ok(Self(peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip())))
    }
}
