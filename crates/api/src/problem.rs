//! What went wrong, as RFC 9457 has it.

use aviary_hub::PersonError;
use aviary_store::StoreError;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// Seconds after which a busy or full hub may be asked again.
const AGAIN: u64 = 5;

/// Why a request was not answered.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// The status, again.
    status: u16,
    /// The status in words.
    title: &'static str,
    /// What is wrong with this request.
    detail: String,
    /// The password is right, and a code of the second factor is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    code_needed: Option<bool>,
    /// Seconds after which to ask again.
    #[serde(skip)]
    again: Option<u64>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("error");
        Self { status: status.as_u16(), title, detail: detail.into(), code_needed: None, again: None }
    }

    pub(crate) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub(crate) fn method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "this address does not take that method")
    }
}

impl Problem {
    /// What failed with a person, in other words where a password or code of who is signed in is wrong: they stay so.
    pub(crate) fn of_proof(error: PersonError, wrong: &str) -> Self {
        match error {
            PersonError::Wrong => Self::new(StatusCode::FORBIDDEN, wrong),
            error => error.into(),
        }
    }
}

impl From<PersonError> for Problem {
    fn from(error: PersonError) -> Self {
        let status = match &error {
            PersonError::Store(error) => return error.clone().into(),
            PersonError::Wrong | PersonError::CodeNeeded => StatusCode::UNAUTHORIZED,
            PersonError::Limited { .. } => StatusCode::TOO_MANY_REQUESTS,
            PersonError::Busy | PersonError::NoRandomness { .. } => StatusCode::SERVICE_UNAVAILABLE,
            PersonError::Weak { .. } | PersonError::Name | PersonError::OthersLink { .. } => StatusCode::BAD_REQUEST,
            PersonError::Missing { .. } | PersonError::MissingToken => StatusCode::NOT_FOUND,
            PersonError::Link => StatusCode::GONE,
            PersonError::Exists { .. }
            | PersonError::LastAdmin { .. }
            | PersonError::Factor { .. }
            | PersonError::Changed => StatusCode::CONFLICT,
        };
        let mut problem = Self::new(status, error.to_string());
        problem.code_needed = matches!(error, PersonError::CodeNeeded).then_some(true);
        if let PersonError::Limited { seconds } = error {
            problem.again = Some(seconds);
        }
        problem
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let status = match &error {
            StoreError::Full { .. } | StoreError::Closed => StatusCode::SERVICE_UNAVAILABLE,
            StoreError::Busy => StatusCode::TOO_MANY_REQUESTS,
            StoreError::TooSlow { .. } => StatusCode::GATEWAY_TIMEOUT,
            StoreError::Missing { .. } => StatusCode::NOT_FOUND,
            StoreError::Failed { .. } => {
                tracing::error!(%error, "a request failed");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Self::new(status, error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(self.again.unwrap_or(AGAIN)));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
