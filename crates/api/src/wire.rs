//! Types that several resources share.

use aviary_event::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;

use crate::Problem;

/// A moment as the API writes it.
pub(crate) fn time(at: Timestamp) -> String {
    at.to_rfc3339(&TimeZone::UTC)
}

/// A moment of a query.
pub(crate) fn moment(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = text else { return Ok(None) };
    match Timestamp::parse_rfc3339(text) {
        Some(time) => Ok(Some(time)),
        None => {
            Err(Problem::bad(format!("`{name}` is no time; accepted: a time with zone such as 2026-11-25T00:00:00Z")))
        }
    }
}

/// One of a few words of a query.
pub(crate) fn word<T>(
    name: &str,
    text: Option<&str>,
    read: fn(&str) -> Option<T>,
    all: &str,
) -> Result<Option<T>, Problem> {
    let Some(text) = text else { return Ok(None) };
    match read(text) {
        Some(value) => Ok(Some(value)),
        None => Err(Problem::bad(format!("`{name}` is none of {all}"))),
    }
}

/// Where a page begins.
pub(crate) fn cursor(text: Option<&str>) -> Result<Option<aviary_store::Cursor>, Problem> {
    let Some(text) = text else { return Ok(None) };
    match aviary_store::Cursor::from_text(text) {
        Some(cursor) => Ok(Some(cursor)),
        None => Err(Problem::bad("`after` is not what `next` of a page said")),
    }
}

/// A query that is read whole, or refused with the name of what is wrong.
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: for<'de> Deserialize<'de>, S: Send + Sync> axum::extract::FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(error) => Err(Problem::bad(error.body_text())),
        }
    }
}

/// A part of the address that is read, or refused.
pub(crate) struct Named<T>(pub(crate) T);

impl<T: for<'de> Deserialize<'de> + Send, S: Send + Sync> axum::extract::FromRequestParts<S> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(error) => Err(Problem::bad(error.body_text())),
        }
    }
}

/// A body that is read, or refused with the place of what is wrong.
pub(crate) struct Said<T>(pub(crate) T);

impl<T: for<'de> Deserialize<'de>, S: Send + Sync> axum::extract::FromRequest<S> for Said<T> {
    type Rejection = Problem;

    async fn from_request(request: axum::extract::Request, state: &S) -> Result<Self, Problem> {
        match axum::extract::Json::<T>::from_request(request, state).await {
            Ok(axum::extract::Json(value)) => Ok(Self(value)),
            Err(error) => Err(Problem::new(error.status(), error.body_text())),
        }
    }
}
