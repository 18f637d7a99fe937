//! `/api/v1/sensor`: what sensors ask and tell, over mutual TLS.

use std::sync::Arc;

use aviary_hub::sensors::{EnrolError, Enrolled, Orders, Report};
use aviary_hub::{Hub, Source};
use axum::extract::{FromRequestParts, State};
use axum::http::{StatusCode, request::Parts};
use axum::response::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Problem;
use crate::sensors::at;
use crate::serve::Shown;
use crate::wire::Said;

/// A sensor, known by its certificate.
pub(crate) struct Member(Source);

impl FromRequestParts<Arc<Hub>> for Member {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, hub: &Arc<Hub>) -> Result<Self, Problem> {
        let unknown = |detail: &str| Problem::new(StatusCode::UNAUTHORIZED, detail);
        match parts.extensions.get::<Shown>() {
            None => Err(unknown("this is for sensors, which come with the certificate that they enrolled for")),
            Some(Shown(print)) => hub
                .sensors()
                .by_certificate(print)
                .map(Self)
                .ok_or_else(|| unknown("the certificate is not known; the sensor may have been revoked")),
        }
    }
}

pub(crate) fn refusal(error: EnrolError) -> Problem {
    let status = match &error {
        EnrolError::Token => StatusCode::FORBIDDEN,
        EnrolError::Taken { .. } => StatusCode::CONFLICT,
        EnrolError::Name { .. } | EnrolError::Request(_) => StatusCode::BAD_REQUEST,
        EnrolError::NoAuthority | EnrolError::NoRandomness { .. } => StatusCode::SERVICE_UNAVAILABLE,
        EnrolError::Store(error) => return error.clone().into(),
    };
    Problem::new(status, error.to_string())
}

/// What a sensor says to be enrolled.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct Application {
    /// The token that was made for it.
    token: String,
    /// The name that it shall have.
    name: String,
    /// A request for a certificate, PEM.
    request: String,
}

/// What an enrolled sensor gets.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Membership {
    /// Its name.
    name: String,
    /// Its certificate, PEM.
    certificate: String,
    /// The hub's authority, PEM.
    authority: String,
    /// Until when the certificate is good.
    until: String,
}

impl From<Enrolled> for Membership {
    fn from(enrolled: Enrolled) -> Self {
        let Enrolled { name, issued, authority } = enrolled;
        Self { name, certificate: issued.pem, authority, until: at(issued.until) }
    }
}

/// Enrols a sensor with a token, which is used up
#[utoipa::path(
    post, path = "/api/v1/sensor/enrol", tag = "sensor", security(()), request_body = Application,
    responses(
        (status = 201, body = Membership), (status = 400, body = Problem),
        (status = 403, body = Problem, description = "The token does not work"),
        (status = 409, body = Problem, description = "The name is taken"),
        (status = 415, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem),
    ),
)]
pub(crate) async fn enrol(
    State(hub): State<Arc<Hub>>,
    Said(said): Said<Application>,
) -> Result<(StatusCode, Json<Membership>), Problem> {
    let enrolled = hub.sensors().enrol(&said.token, &said.name, &said.request).await.map_err(refusal)?;
    tracing::info!(sensor = enrolled.name, "a sensor enrolled");
    Ok((StatusCode::CREATED, Json(enrolled.into())))
}

/// A request for another certificate.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct Renewal {
    /// PEM.
    request: String,
}

/// Renews a sensor's certificate
#[utoipa::path(
    post, path = "/api/v1/sensor/renew", tag = "sensor", security(("certificate" = [])), request_body = Renewal,
    responses(
        (status = 200, body = Membership), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 415, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem),
    ),
)]
pub(crate) async fn renew(
    State(hub): State<Arc<Hub>>,
    Member(source): Member,
    Said(said): Said<Renewal>,
) -> Result<Json<Membership>, Problem> {
    Ok(Json(hub.sensors().renew(&source.sensor, &said.request).await.map_err(refusal)?.into()))
}

/// Tells the hub how a sensor is doing, and waits a while for something to do
#[utoipa::path(
    post, path = "/api/v1/sensor/turn", tag = "sensor", security(("certificate" = [])), request_body = Value,
    responses(
        (status = 200, body = Value), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 415, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem),
    ),
)]
pub(crate) async fn turn(
    State(hub): State<Arc<Hub>>,
    Member(source): Member,
    Said(report): Said<Report>,
) -> Result<Json<Orders>, Problem> {
    match hub.sensors().turn(&source.sensor, report).await? {
        Some(orders) => Ok(Json(orders)),
        None => Err(Problem::new(StatusCode::UNAUTHORIZED, "the sensor was revoked")),
    }
}
